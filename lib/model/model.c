/* model: opening, starting and describing a model.  Owns the life of the handle and its getters;
 * the list of tensors is weights.c's, the config is config.c's. */
#include "model/model.h"

#include "base/alloc.h"
#include "base/loan.h"
#include "data/gguf_source.h"
#include "data/safetensors.h"
#include "model/grafted.h"
#include "model/stops.h"
#include "model/weights.h"
#include "nn/gemm.h"

/* bytes; a smaller one is soon in memory whole, and quicker so */
#define LARGE_POOL ((int64_t)256 << 20)

/* ---- life ---------------------------------------------------------------- */

static void destroy(smft_model *model) {
  smft_ctx *ctx = model->ctx;
  smft_tokenizer_free(model->tokenizer);
  smft__free(ctx, model->memory_handles);
  smft__free(ctx, model->names);
  smft__free(ctx, model->tensors);
  smft__free(ctx, model->origin);
  smft__free(ctx, model->owned);
  smft__free(ctx, model->path);
  smft__free(ctx, model->base_path);
  smft__source_close(&model->source);
  smft__source_close(&model->graft);
  smft__config_free(&model->config, ctx);
  smft__free(ctx, model);
  smft__loans_free(ctx); /* of its sizes */
  smft__ctx_release(ctx);
}

smft_model *smft__model_retain(const smft_model *model) {
  /* the count is the one thing about a model that changes */
  smft_model *own = (smft_model *)(uintptr_t)model;
  atomic_fetch_add(&own->references, 1);
  return own;
}

void smft_model_free(smft_model *model) {
  if (model && atomic_fetch_sub(&model->references, 1) == 1)
    destroy(model);
}

static smft_status make_handles(smft_model *model) {
  model->memory_handles =
      smft__calloc_array(model->ctx, model->config.n_memories, sizeof *model->memory_handles);
  if (!model->memory_handles)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < model->config.n_memories; i++) {
    model->memory_handles[i].model = model;
    model->memory_handles[i].index = i;
  }
  return SMFT_OK;
}

static smft_status load_tokenizer(smft_model *model) {
  const smft__gguf *gguf = model->source.gguf;
  if (gguf)
    return smft__tokenizer_load_gguf(&model->tokenizer, model->ctx, gguf);
  char *path = NULL;
  SMFT__TRY(smft__path_find(&path, model->ctx, model->path, "tokenizer.json"));
  smft_status status = path ? smft_tokenizer_load(&model->tokenizer, model->ctx, path) : SMFT_OK;
  smft__free(model->ctx, path);
  return status;
}

/* A tokenizer that can produce ids without a row in the embedding is an error here, not a crash
 * later; padded rows are fine. */
static smft_status open_tokenizer(smft_model *model) {
  SMFT__TRY(load_tokenizer(model));
  if (!model->tokenizer || smft_tokenizer_vocab_size(model->tokenizer) <= model->config.vocab)
    return SMFT_OK;
  return smft__fail(SMFT_E_MISMATCH, "%s: %s has ids up to %d, the embedding has %d rows",
                    model->path, model->source.gguf ? "its tokenizer" : "tokenizer.json",
                    smft_tokenizer_vocab_size(model->tokenizer) - 1, model->config.vocab);
}

static smft_status begin(smft_model **out, smft_ctx *ctx, const char *path) {
  smft_model *model = smft__calloc_array(ctx, 1, sizeof *model);
  if (!model)
    return SMFT_E_NOMEM;
  *out = model;
  model->ctx = smft__ctx_retain(ctx);
  atomic_init(&model->references, 1);
  model->path = smft__strdup(ctx, path);
  if (!model->path)
    return SMFT_E_NOMEM;
  return smft__gemm_reserve(ctx);
}

void smft__pools_expect(const smft_model *model, int how) {
  const smft__source *source = model->base_path ? &model->graft : &model->source;
  for (int32_t pool = 0; pool < model->config.n_pools; pool++) {
    const smft__tensor *values = &model->tensors[smft__pool_tensor(&model->config, pool)];
    int64_t size = values->data ? smft__tensor_bytes(values) : 0;
    for (int32_t i = 0; size >= LARGE_POOL && i < source->n_files; i++)
      smft__file_expect(&source->files[i], values->data, size, how);
  }
}

/* ---- what it is made from ------------------------------------------------ */

static smft_status open_directory(smft_model *model, const smft_load_options *options) {
  int copy = (options->flags & SMFT_LOAD_COPY) != 0;
  SMFT__TRY(smft__config_load(&model->config, model->ctx, model->path));
  return smft__safetensors_open_model(&model->source, model->ctx, model->path, copy,
                                      options->progress, options->progress_user);
}

/* The config of an open GGUF file. */
static smft_status translate(smft_model *model) {
  model->source.gguf->path = model->path;
  return smft__config_translated(&model->config, model->ctx, model->source.config, model->path);
}

static smft_status open_gguf(smft_model *model, const char *path,
                             const smft_load_options *options) {
  int copy = (options->flags & SMFT_LOAD_COPY) != 0;
  SMFT__TRY(smft__gguf_open(&model->source, model->ctx, path, copy, options->progress,
                            options->progress_user));
  return translate(model);
}

/* A directory without config.json may hold a GGUF file. */
static smft_status open_found(smft_model *model, const smft_load_options *options) {
  char *path = NULL;
  SMFT__TRY(smft__gguf_find_file(model->ctx, model->path, &path));
  smft_status status = path ? open_gguf(model, path, options) : open_directory(model, options);
  smft__free(model->ctx, path);
  return status;
}

static smft_status open_source(smft_model *model, const smft_load_options *options) {
  if (smft__file_exists(model->path) && !smft__is_directory(model->path))
    return open_gguf(model, model->path, options);
  char *config = NULL;
  SMFT__TRY(smft__path_find(&config, model->ctx, model->path, "config.json"));
  smft__free(model->ctx, config);
  return config ? open_directory(model, options) : open_found(model, options);
}

static smft_status bind_tensors(smft_model *model) {
  SMFT__TRY(make_handles(model));
  SMFT__TRY(smft__weights_list(model));
  smft_status status = smft__weights_bind(model);
  return status == SMFT_OK ? status : smft__fail_within(status, "%s", model->path);
}

/* What is made of an open source: its tensors bound, with HASHED its fingerprint, with TALKS its
 * tokenizer. */
enum { LOOKED_AT = 0, HASHED = 1, TALKS = 2, LOADED = HASHED | TALKS };

static smft_status make_of(smft_model *model, int what) {
  SMFT__TRY(bind_tensors(model));
  if (what & HASHED)
    SMFT__TRY(smft__weights_fingerprint(model));
  smft__pools_expect(model, SMFT__READ_ROWS);
  return what & TALKS ? open_tokenizer(model) : SMFT_OK;
}

/* ---- a memory in a model that stands elsewhere --------------------------- */

static smft_status check_no_memory(const smft_model *base) {
  if (base->config.n_memories == 0)
    return SMFT_OK;
  return smft__fail(SMFT_E_UNSUPPORTED,
                    "%s: it has a memory of its own (%d layers): another one cannot be grafted "
                    "onto it",
                    base->path, base->config.n_memories);
}

static smft_status check_hash(const smft_model *base, const char *hash) {
  if (strcmp(base->hash, hash) == 0)
    return SMFT_OK;
  return smft__fail(SMFT_E_MISMATCH,
                    "%s: not the model that the memory was grafted onto: its hash is %.16s..., "
                    "expected %.16s...",
                    base->path, base->hash, hash);
}

/* A base is a model as it was downloaded, so that no chain of grafts has to be followed. */
static smft_status open_base(smft_model **out, smft_ctx *ctx, const smft__grafted *graft,
                             const smft_load_options *options, int what) {
  smft__grafted further = {0};
  SMFT__TRY(begin(out, ctx, graft->path));
  SMFT__TRY(smft__grafted_read(&further, ctx, graft->path));
  int chain = further.root != NULL;
  smft__grafted_free(&further, ctx);
  if (chain)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "%s: it is grafted itself: a memory is grafted onto a plain model",
                      graft->path);
  SMFT__TRY(open_source(*out, options));
  SMFT__TRY(check_no_memory(*out));
  SMFT__TRY(make_of(*out, what | HASHED));
  return check_hash(*out, graft->hash);
}

/* Moves what the base is into the model that has the memory. */
static void take_base(smft_model *model, smft_model *base) {
  model->config = base->config;
  model->source = base->source; /* of a GGUF: with the path that stays with it */
  model->base_path = base->path;
  model->tokenizer = base->tokenizer;
  memset(&base->config, 0, sizeof base->config);
  memset(&base->source, 0, sizeof base->source);
  base->path = NULL;
  base->tokenizer = NULL;
}

static smft_status add_memory(smft_model *model, const smft__grafted *graft, int copy) {
  char *path = smft__path_join(model->ctx, model->path, SMFT__GRAFTED_WEIGHTS);
  smft_status status =
      path ? smft__config_graft(&model->config, model->ctx, graft->memory) : SMFT_E_NOMEM;
  if (status != SMFT_OK)
    smft__fail_within(status, "%s", model->path);
  else
    status = smft__safetensors_open(&model->graft, model->ctx, path, copy);
  smft__free(model->ctx, path);
  return status;
}

static smft_status open_grafted(smft_model *model, const smft__grafted *graft,
                                const smft_load_options *options, int what) {
  smft_model *base = NULL;
  smft_status status = open_base(&base, model->ctx, graft, options, what);
  if (status == SMFT_OK)
    take_base(model, base);
  else
    smft__fail_within(status, "%s: its base", model->path);
  smft_model_free(base);
  SMFT__TRY(status);
  SMFT__TRY(add_memory(model, graft, (options->flags & SMFT_LOAD_COPY) != 0));
  return make_of(model, what & HASHED);
}

/* ---- loading ------------------------------------------------------------- */

static smft_status open_any(smft_model *model, const smft_load_options *options, int what) {
  smft__grafted graft = {0};
  SMFT__TRY(smft__grafted_read(&graft, model->ctx, model->path));
  if (!graft.root) {
    SMFT__TRY(open_source(model, options));
    return make_of(model, what);
  }
  smft_status status = open_grafted(model, &graft, options, what);
  smft__grafted_free(&graft, model->ctx);
  return status;
}

static smft_status check_startable(const smft_model *model) {
  smft__grafted graft = {0};
  SMFT__TRY(smft__grafted_read(&graft, model->ctx, model->path));
  int grafted = graft.root != NULL;
  smft__grafted_free(&graft, model->ctx);
  return grafted ? smft__fail(SMFT_E_UNSUPPORTED,
                              "%s: a grafted model has its base's weights: it cannot start from "
                              "random ones",
                              model->path)
                 : SMFT_OK;
}

static smft_status start_weights(smft_model *model, uint64_t seed) {
  SMFT__TRY(check_startable(model));
  SMFT__TRY(smft__config_load(&model->config, model->ctx, model->path));
  SMFT__TRY(make_handles(model));
  SMFT__TRY(smft__weights_list(model));
  SMFT__TRY(smft__weights_init(model, seed));
  return smft__weights_fingerprint(model);
}

static smft_status finish(smft_model **out, smft_model *model, smft_status status) {
  if (status == SMFT_OK)
    status = smft__stops_of(&model->config, model->tokenizer);
  if (status == SMFT_OK)
    *out = model;
  else
    smft_model_free(model);
  return status;
}

static smft_status read_options(smft_load_options *own, const smft_load_options *options) {
  SMFT__TRY(smft__options_read(own, options, sizeof *own, sizeof *own, "smft_load_options"));
  SMFT__REQUIRE(!(own->flags & ~SMFT_LOAD_COPY), "smft_load_options: unknown flags 0x%x",
                own->flags);
  return SMFT_OK;
}

smft_status smft_model_load(smft_model **out, smft_ctx *ctx, const char *path,
                            const smft_load_options *options) {
  smft_load_options own = SMFT_LOAD_OPTIONS_INIT;
  smft_model *model = NULL;
  smft_status status = SMFT_OK;
  SMFT__REQUIRE(out, "smft_model_load: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(ctx && path, "smft_model_load: ctx or path is NULL");
  SMFT__TRY(read_options(&own, options));
  SMFT__TRY_GOTO(done, begin(&model, ctx, path));
  SMFT__TRY_GOTO(done, open_any(model, &own, LOADED));
done:
  return finish(out, model, status);
}

smft_status smft__model_open(smft_model **out, smft_ctx *ctx, const char *path) {
  smft_load_options options = SMFT_LOAD_OPTIONS_INIT;
  smft_model *model = NULL;
  smft_status status = SMFT_OK;
  SMFT__TRY_GOTO(done, begin(&model, ctx, path));
  SMFT__TRY_GOTO(done, open_any(model, &options, LOOKED_AT));
done:
  return finish(out, model, status);
}

smft_status smft__model_hash_of(char hash[65], smft_ctx *ctx, const char *config,
                                const char *weights) {
  smft_model *model = NULL;
  smft_status status = SMFT_OK;
  SMFT__TRY_GOTO(done, begin(&model, ctx, weights));
  SMFT__TRY_GOTO(done, smft__config_read(&model->config, ctx, config, weights));
  SMFT__TRY_GOTO(done, smft__safetensors_open(&model->source, ctx, weights, 0));
  SMFT__TRY_GOTO(done, make_of(model, HASHED));
  memcpy(hash, model->hash, sizeof model->hash);
done:
  smft_model_free(model);
  return status;
}

smft_status smft_model_load_buffer(smft_model **out, smft_ctx *ctx, const void *data, int64_t size,
                                   const smft_load_options *options) {
  smft_load_options own = SMFT_LOAD_OPTIONS_INIT;
  smft_model *model = NULL;
  smft_status status = SMFT_OK;
  SMFT__REQUIRE(out, "smft_model_load_buffer: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(ctx && data && size >= 0,
                "smft_model_load_buffer: ctx or data is NULL, or size is negative");
  SMFT__TRY(read_options(&own, options));
  SMFT__TRY_GOTO(done, begin(&model, ctx, "GGUF in memory"));
  SMFT__TRY_GOTO(done, smft__gguf_open_buffer(&model->source, ctx, data, size,
                                              (own.flags & SMFT_LOAD_COPY) != 0));
  SMFT__TRY_GOTO(done, translate(model));
  SMFT__TRY_GOTO(done, make_of(model, LOADED));
done:
  return finish(out, model, status);
}

smft_status smft_model_init(smft_model **out, smft_ctx *ctx, const char *directory, uint64_t seed) {
  smft_model *model = NULL;
  smft_status status = SMFT_OK;
  SMFT__REQUIRE(out, "smft_model_init: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(ctx && directory, "smft_model_init: ctx or directory is NULL");
  SMFT__TRY_GOTO(done, begin(&model, ctx, directory));
  SMFT__TRY_GOTO(done, start_weights(model, seed));
  SMFT__TRY_GOTO(done, open_tokenizer(model));
done:
  return finish(out, model, status);
}

/* ---- getters ------------------------------------------------------------- */

static int64_t count_parameters(const smft_model *model) {
  int64_t n = 0;
  for (int32_t i = 0; i < model->n_tensors; i++)
    n += smft__tensor_count(&model->tensors[i]);
  return n;
}

smft_status smft_model_get_info(const smft_model *model, smft_model_info *info) {
  smft_model_info own = {0};
  SMFT__REQUIRE(model && info, "smft_model_get_info: model or info is NULL");
  const smft__config *c = &model->config;
  own.n_layers = c->n_layers;
  own.hidden_size = c->hidden;
  own.n_heads = c->n_heads;
  own.n_kv_heads = c->n_kv_heads;
  own.head_dim = c->head_dim;
  own.ffn_size = c->ffn;
  own.vocab_size = c->vocab;
  own.context_length = c->context;
  own.bos_id = c->bos;
  own.eos_id = c->eos;
  own.tied = c->tied;
  own.n_memories = c->n_memories;
  own.n_pools = c->n_pools;
  own.n_parameters = count_parameters(model);
  return smft__report_write(info, &own, sizeof own, sizeof own, "smft_model_info");
}

const char *smft_model_hash(const smft_model *model) { return model ? model->hash : ""; }

const char *smft_model_base(const smft_model *model) { return model ? model->base_path : NULL; }

const smft_tokenizer *smft_model_tokenizer(const smft_model *model) {
  return model ? model->tokenizer : NULL;
}

const smft_memory *smft_model_memory(const smft_model *model, int32_t i) {
  return model && i >= 0 && i < model->config.n_memories ? &model->memory_handles[i] : NULL;
}

smft_status smft_memory_get_info(const smft_memory *memory, smft_memory_info *info) {
  smft_memory_info own = {0};
  SMFT__REQUIRE(memory && info, "smft_memory_get_info: memory or info is NULL");
  const smft__config *c = &memory->model->config;
  own.layer = c->memories[memory->index].layer;
  own.pool = c->memories[memory->index].pool;
  own.placement = c->placement;
  own.n_keys = c->memory.n_keys;
  own.heads = c->memory.heads;
  own.top_k = c->memory.top_k;
  own.key_dim = c->memory.key_dim;
  own.value_dim = c->memory.value_dim;
  own.n_slots = (int64_t)c->memory.n_keys * c->memory.n_keys;
  return smft__report_write(info, &own, sizeof own, sizeof own, "smft_memory_info");
}

smft_status smft_model_pool(const smft_model *model, int32_t pool, int64_t *n_slots,
                            int64_t *value_dim) {
  SMFT__REQUIRE(model, "smft_model_pool: model is NULL");
  if (pool < 0 || pool >= model->config.n_pools)
    return smft__fail(SMFT_E_NOT_FOUND, "smft_model_pool: pool %d of %d", pool,
                      model->config.n_pools);
  if (n_slots)
    *n_slots = (int64_t)model->config.memory.n_keys * model->config.memory.n_keys;
  if (value_dim)
    *value_dim = model->config.memory.value_dim;
  return SMFT_OK;
}

smft_status smft_model_tensor(const smft_model *model, int64_t index, const char **name,
                              int32_t *dtype, int64_t *n_elements) {
  SMFT__REQUIRE(model, "smft_model_tensor: model is NULL");
  if (index < 0 || index >= model->n_tensors)
    return smft__fail(SMFT_E_NOT_FOUND, "smft_model_tensor: tensor %lld of %d", (long long)index,
                      model->n_tensors);
  if (name)
    *name = model->names[index];
  if (dtype)
    *dtype = model->tensors[index].dtype;
  if (n_elements)
    *n_elements = smft__tensor_count(&model->tensors[index]);
  return SMFT_OK;
}
