/* config: reads and checks config.json: sizes, the plan that families have in common, the memory
 * object. What a family's keys mean is arch/'s; knows nothing of tensors.
 * Whatever would change results and is not done here is refused by name, never ignored. */
#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/file.h"
#include "model/arch.h"
#include "model/stops.h"
#include "model/unused.h"

#define WHAT "config.json"
#define MOST_LAYERS 65536
#define MOST_CONTEXT (1 << 30)
#define MOST_WIDTH (1 << 24) /* keeps products of two widths far inside int64 */

/* ---- single fields ------------------------------------------------------- */

static smft_status read_int(const json_t *object, const char *key, int64_t fallback, int64_t least,
                            int64_t most, int32_t *out) {
  int64_t value = 0;
  SMFT__TRY(smft__json_i64(object, key, fallback, &value, WHAT));
  if (value < least || value > most)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"%s\" must be from %lld to %lld, got %lld", key,
                      (long long)least, (long long)most, (long long)value);
  *out = (int32_t)value;
  return SMFT_OK;
}

static smft_status read_size(const json_t *object, const char *key, int64_t most, int32_t *out) {
  int64_t value = 0;
  SMFT__TRY(smft__json_i64_required(object, key, &value, WHAT));
  return read_int(object, key, 0, 1, most, out);
}

static smft_status read_positive(const json_t *object, const char *key, double fallback,
                                 double *out) {
  SMFT__TRY(smft__json_double(object, key, fallback, out, WHAT));
  if (!(*out > 0) || *out > 1e30)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"%s\" must be a positive number", key);
  return SMFT_OK;
}

smft_status smft__config_only(const json_t *root, const char *key, const char *value) {
  const char *text = NULL;
  SMFT__TRY(smft__json_string(root, key, value, &text, WHAT));
  return strcmp(text, value) == 0
             ? SMFT_OK
             : smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"%s\": expected \"%s\", got \"%s\"", key,
                          value, text);
}

/* ---- the transformer ----------------------------------------------------- */

static smft_status read_special_ids(smft__config *config, const json_t *root) {
  SMFT__TRY(read_int(root, "bos_token_id", -1, -1, config->vocab - 1, &config->bos));
  SMFT__TRY(smft__stops_add_json(config, json_object_get(root, "eos_token_id"), WHAT));
  config->eos = config->n_stops ? config->stops[0] : -1;
  return SMFT_OK;
}

static int has(const json_t *root, const char *key) {
  const json_t *value = json_object_get(root, key);
  return value && !json_is_null(value);
}

static smft_status read_heads(smft__config *config, const json_t *root) {
  SMFT__TRY(read_size(root, "num_attention_heads", MOST_WIDTH, &config->n_heads));
  SMFT__TRY(read_int(root, "num_key_value_heads", config->n_heads, 1, config->n_heads,
                     &config->n_kv_heads));
  int32_t usual = config->head_dim; /* of the family, or 0 */
  SMFT__TRY(read_int(root, "head_dim", usual ? usual : config->hidden / config->n_heads, 1,
                     MOST_WIDTH, &config->head_dim));
  if (config->n_heads % config->n_kv_heads != 0)
    return smft__fail(
        SMFT_E_FORMAT,
        WHAT ": \"num_attention_heads\" (%d) is no multiple of \"num_key_value_heads\" (%d)",
        config->n_heads, config->n_kv_heads);
  if (!usual && !has(root, "head_dim") && config->hidden % config->n_heads != 0)
    return smft__fail(SMFT_E_FORMAT,
                      WHAT ": \"hidden_size\" (%d) is no multiple of \"num_attention_heads\" (%d)",
                      config->hidden, config->n_heads);
  if (config->head_dim % 2 != 0)
    return smft__fail(SMFT_E_FORMAT,
                      WHAT ": the head dimension must be even for rotary positions, got %d",
                      config->head_dim);
  if ((int64_t)config->n_heads * config->head_dim > MOST_WIDTH)
    return smft__fail(SMFT_E_FORMAT, WHAT ": %d heads of %d are too wide", config->n_heads,
                      config->head_dim);
  return SMFT_OK;
}

static smft_status read_transformer(smft__config *config, const json_t *root) {
  double eps = 0;
  SMFT__TRY(read_size(root, "hidden_size", MOST_WIDTH, &config->hidden));
  SMFT__TRY(read_size(root, "num_hidden_layers", MOST_LAYERS, &config->n_layers));
  SMFT__TRY(read_size(root, "intermediate_size", MOST_WIDTH, &config->ffn));
  SMFT__TRY(read_size(root, "vocab_size", MOST_WIDTH, &config->vocab));
  SMFT__TRY(read_int(root, "max_position_embeddings", config->context ? config->context : 2048, 1,
                     MOST_CONTEXT, &config->context));
  SMFT__TRY(read_heads(config, root));
  SMFT__TRY(read_positive(root, "rms_norm_eps", 1e-6, &eps));
  config->norm_eps = (float)eps;
  int tied = 0;
  SMFT__TRY(smft__json_bool(root, "tie_word_embeddings", config->tied, &tied, WHAT));
  config->tied = tied;
  return read_special_ids(config, root);
}

/* ---- windows ------------------------------------------------------------- */

smft_status smft__config_window(const json_t *root, int32_t fallback, int32_t *out) {
  const json_t *value = json_object_get(root, "sliding_window");
  *out = value ? 0 : fallback;
  if (!value || json_is_null(value))
    return SMFT_OK;
  return read_int(root, "sliding_window", 0, 1, MOST_CONTEXT, out);
}

static smft_status read_layer_type(const json_t *types, int32_t i, int32_t window, int32_t *out) {
  const char *type = json_string_value(json_array_get(types, (size_t)i));
  int slides = type && strcmp(type, "sliding_attention") == 0;
  *out = slides ? window : 0;
  if (slides && !window)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      WHAT ": \"layer_types\"[%d]: \"%s\" without a \"sliding_window\"", i, type);
  if (slides || (type && strcmp(type, "full_attention") == 0))
    return SMFT_OK;
  return smft__fail(SMFT_E_UNSUPPORTED,
                    WHAT ": \"layer_types\"[%d]: expected \"full_attention\" or "
                         "\"sliding_attention\", got %s",
                    i, type ? type : "no string");
}

smft_status smft__config_layer_types(smft__config *config, const json_t *root, int32_t window) {
  const json_t *types = json_object_get(root, "layer_types");
  if (!types || json_is_null(types))
    return SMFT_OK;
  if (!json_is_array(types) || json_array_size(types) != (size_t)config->n_layers)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"layer_types\" must be a list of %d",
                      config->n_layers);
  for (int32_t i = 0; i < config->n_layers; i++)
    SMFT__TRY(read_layer_type(types, i, window, &config->blocks[i].window));
  return SMFT_OK;
}

/* ---- the plan ------------------------------------------------------------ */

/* A plan in which nothing is anywhere yet: every place, and so every int32, is -1. */
static void *nowhere(smft_ctx *ctx, int64_t n, size_t size) {
  void *plans = smft__alloc_array(ctx, n, size);
  if (plans)
    memset(plans, 0xff, (size_t)n * size);
  return plans;
}

const char *const smft__config_keys[] = {"model_type",
                                         "hidden_size",
                                         "num_hidden_layers",
                                         "intermediate_size",
                                         "vocab_size",
                                         "max_position_embeddings",
                                         "num_attention_heads",
                                         "num_key_value_heads",
                                         "head_dim",
                                         "rms_norm_eps",
                                         "rope_theta",
                                         "rope_scaling",
                                         "rope_parameters",
                                         "tie_word_embeddings",
                                         "bos_token_id",
                                         "eos_token_id",
                                         "memory",
                                         NULL};

smft_status smft__config_decoder(smft__config *config, smft_ctx *ctx, const json_t *root) {
  SMFT__TRY(read_transformer(config, root));
  memset(config->stack.at, 0xff, sizeof config->stack.at);
  config->stack.embedding_scale = 1;
  config->stack.final_norm = SMFT__NORM_BY_WEIGHT;
  config->blocks = nowhere(ctx, config->n_layers, sizeof *config->blocks);
  if (!config->blocks)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < config->n_layers; i++) {
    config->blocks[i].norm = SMFT__NORM_BY_WEIGHT;
    config->blocks[i].norms = SMFT__NORMS_BEFORE;
    config->blocks[i].activation = SMFT__SILU;
    config->blocks[i].qk_norm = SMFT__QK_NORM_NONE;
    config->blocks[i].rope = 0;
    config->blocks[i].window = 0;
    config->blocks[i].attention_scale = smft__usual_scale(config);
  }
  return SMFT_OK;
}

/* Memory layers go into their blocks. */
static smft_status plan_memories(smft__config *config, smft_ctx *ctx) {
  config->pools = nowhere(ctx, config->n_pools, sizeof *config->pools);
  for (int32_t i = 0; i < config->n_memories; i++)
    config->blocks[config->memories[i].layer].memory = i;
  return config->pools ? SMFT_OK : SMFT_E_NOMEM;
}

/* ---- the memory object (docs/formats.md) --------------------------------- */

static smft_status check_memory_keys(json_t *memory) {
  static const char *const known[] = {"layers",     "pools",    "placement", "n_keys",
                                      "heads",      "top_k",    "key_dim",   "value_dim",
                                      "query_norm", "key_norm", "norm_eps",  "temperature",
                                      "gate",       "bias",     "out",       "values",
                                      "learn"};
  const char *key;
  json_t *value;
  json_object_foreach(memory, key, value) {
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(key, known[i]) != 0)
      i++;
    if (i == sizeof known / sizeof *known)
      return smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"memory\": \"%s\" is not known", key);
  }
  return SMFT_OK;
}

static smft_status read_choice(const json_t *object, const char *key, const char *const *names,
                               const char *fallback, int32_t *out) {
  const char *name = NULL;
  SMFT__TRY(smft__json_string(object, key, fallback, &name, WHAT));
  for (int32_t i = 0; names[i]; i++)
    if (strcmp(names[i], name) == 0) {
      *out = i;
      return SMFT_OK;
    }
  return smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"memory\": \"%s\": \"%s\" is not known", key,
                    name);
}

static smft_status read_memory_shape(smft__config *config, const json_t *memory) {
  smft__memory_config *shape = &config->memory;
  shape->hidden = config->hidden;
  SMFT__TRY(read_size(memory, "n_keys", 1 << 20, &shape->n_keys));
  SMFT__TRY(read_size(memory, "heads", 1 << 16, &shape->heads));
  SMFT__TRY(read_size(memory, "top_k", 1 << 16, &shape->top_k));
  SMFT__TRY(read_int(memory, "key_dim", config->hidden / 2, 1, MOST_WIDTH, &shape->key_dim));
  SMFT__TRY(read_int(memory, "value_dim", config->hidden, 1, MOST_WIDTH, &shape->value_dim));
  if (shape->top_k > shape->n_keys)
    return smft__fail(SMFT_E_FORMAT,
                      WHAT ": \"memory\": \"top_k\" (%d) is more than \"n_keys\" (%d)",
                      shape->top_k, shape->n_keys);
  if (shape->key_dim % 2 != 0)
    return smft__fail(SMFT_E_FORMAT,
                      WHAT ": \"memory\": \"key_dim\" must be even (two halves), got %d",
                      shape->key_dim);
  if ((int64_t)shape->heads * shape->key_dim > MOST_WIDTH ||
      (int64_t)shape->heads * shape->top_k > MOST_WIDTH)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"memory\": %d heads of %d are too wide", shape->heads,
                      shape->key_dim);
  return SMFT_OK;
}

/* How far the layer is a plain sum of rows, and whether those are on disk. */
static smft_status read_plainness(smft__config *config, const json_t *memory) {
  static const char *const outs[] = {"linear", "identity", NULL};
  static const char *const values[] = {"stored", "zero", NULL};
  const smft__memory_config *m = &config->memory;
  SMFT__TRY(read_choice(memory, "out", outs, "linear", &config->memory.identity));
  SMFT__TRY(read_choice(memory, "values", values, "stored", &config->zero_values));
  if (m->identity && m->value_dim != m->hidden)
    return smft__fail(SMFT_E_FORMAT,
                      WHAT
                      ": \"memory\": \"out\": \"identity\" wants a \"value_dim\" of the hidden "
                      "size %d, got %d",
                      m->hidden, m->value_dim);
  return SMFT_OK;
}

static smft_status read_memory_rules(smft__config *config, const json_t *memory) {
  /* order of SMFT__NORM_* */
  static const char *const norms[] = {"none", "layernorm", "rmsnorm", "l2", NULL};
  static const char *const placements[] = {"replace", "beside", NULL};
  smft__memory_config *rules = &config->memory;
  double eps = 0, temperature = 0;
  SMFT__TRY(read_choice(memory, "query_norm", norms, "none", &rules->query_norm));
  SMFT__TRY(read_choice(memory, "key_norm", norms, "none", &rules->key_norm));
  SMFT__TRY(read_choice(memory, "placement", placements, "replace", &config->placement));
  config->placement = config->placement == 0 ? SMFT_PLACEMENT_REPLACE : SMFT_PLACEMENT_BESIDE;
  SMFT__TRY(read_positive(memory, "norm_eps", 1e-5, &eps));
  SMFT__TRY(read_positive(memory, "temperature", 1, &temperature));
  rules->norm_eps = (float)eps;
  rules->temperature = (float)temperature;
  SMFT__TRY(smft__json_bool(memory, "gate", 1, &rules->gate, WHAT));
  SMFT__TRY(smft__json_bool(memory, "bias", 0, &rules->bias, WHAT));
  return read_plainness(config, memory);
}

static int compare_places(const void *a, const void *b) {
  const smft__memory_plan *left = a, *right = b;
  return (left->layer > right->layer) - (left->layer < right->layer);
}

static smft_status read_place(const smft__config *config, const json_t *layers, const json_t *pools,
                              int32_t i, smft__memory_plan *place) {
  const json_t *layer = json_array_get(layers, (size_t)i), *pool = json_array_get(pools, (size_t)i);
  if (!json_is_integer(layer) || json_integer_value(layer) < 0 ||
      json_integer_value(layer) >= config->n_layers)
    return smft__fail(SMFT_E_FORMAT,
                      WHAT ": \"memory\": \"layers\"[%d] must be a block from 0 to %d", i,
                      config->n_layers - 1);
  if (!json_is_integer(pool) || json_integer_value(pool) < 0 ||
      json_integer_value(pool) >= config->n_memories)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"memory\": \"pools\"[%d] must be from 0 to %d", i,
                      config->n_memories - 1);
  place->layer = (int32_t)json_integer_value(layer);
  place->pool = (int32_t)json_integer_value(pool);
  return SMFT_OK;
}

/* Pools are numbered from 0 without a gap, so that each has a tensor. */
static smft_status check_pools(smft__config *config) {
  for (int32_t i = 0; i < config->n_memories; i++)
    if (config->memories[i].pool >= config->n_pools)
      config->n_pools = config->memories[i].pool + 1;
  for (int32_t pool = 0; pool < config->n_pools; pool++) {
    int32_t i = 0;
    while (i < config->n_memories && config->memories[i].pool != pool)
      i++;
    if (i == config->n_memories)
      return smft__fail(SMFT_E_FORMAT, WHAT ": \"memory\": no layer reads pool %d of %d", pool,
                        config->n_pools);
  }
  return SMFT_OK;
}

static smft_status read_places(smft__config *config, smft_ctx *ctx, const json_t *memory) {
  const json_t *layers = json_object_get(memory, "layers"),
               *pools = json_object_get(memory, "pools");
  size_t n = json_array_size(layers);
  if (!json_is_array(layers) || !json_is_array(pools) || n == 0 || n != json_array_size(pools) ||
      n > (size_t)config->n_layers)
    return smft__fail(
        SMFT_E_FORMAT,
        WHAT ": \"memory\": \"layers\" and \"pools\" must be lists of one length, from 1 to %d",
        config->n_layers);
  config->n_memories = (int32_t)n;
  config->memories = nowhere(ctx, config->n_memories, sizeof *config->memories);
  if (!config->memories)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < config->n_memories; i++)
    SMFT__TRY(read_place(config, layers, pools, i, &config->memories[i]));
  qsort(config->memories, n, sizeof *config->memories, compare_places);
  for (int32_t i = 1; i < config->n_memories; i++)
    if (config->memories[i].layer == config->memories[i - 1].layer)
      return smft__fail(SMFT_E_FORMAT, WHAT ": \"memory\": block %d is listed twice",
                        config->memories[i].layer);
  return check_pools(config);
}

static smft_status read_memory(smft__config *config, smft_ctx *ctx, json_t *memory) {
  if (!memory || json_is_null(memory))
    return SMFT_OK;
  if (!json_is_object(memory))
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"memory\" must be an object");
  SMFT__TRY(check_memory_keys(memory));
  SMFT__TRY(read_memory_shape(config, memory));
  SMFT__TRY(read_memory_rules(config, memory));
  SMFT__TRY(smft__learn_defaults_read(&config->learn, memory));
  return read_places(config, ctx, memory);
}

/* ---- whole --------------------------------------------------------------- */

static smft_status keep_text(smft__config *config, smft_ctx *ctx, const json_t *root) {
  smft__buffer text = {ctx, NULL, 0, 0};
  smft_status status = smft__json_text(&text, root);
  if (status == SMFT_OK)
    config->json = text.data;
  else
    smft__buffer_free(&text);
  return status;
}

static smft_status fail_unknown(const char *type) {
  char known[256] = "";
  size_t used = 0;
  for (int i = 0; smft__archs[i] && used < sizeof known; i++)
    used += (size_t)snprintf(known + used, sizeof known - used, "%s\"%s\"", i ? ", " : "",
                             smft__archs[i]->model_type);
  return type ? smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"model_type\": expected %s, got \"%s\"",
                           known, type)
              : smft__fail(SMFT_E_FORMAT, WHAT ": \"model_type\" is missing, expected %s", known);
}

static smft_status find_arch(smft__config *config, const json_t *root) {
  const char *type = NULL;
  SMFT__TRY(smft__json_string(root, "model_type", NULL, &type, WHAT));
  for (int i = 0; type && smft__archs[i] && !config->arch; i++)
    if (strcmp(type, smft__archs[i]->model_type) == 0)
      config->arch = smft__archs[i];
  return config->arch ? SMFT_OK : fail_unknown(type);
}

static smft_status read_config(smft__config *config, smft_ctx *ctx, const json_t *root) {
  if (!json_is_object(root))
    return smft__fail(SMFT_E_FORMAT, WHAT ": expected an object");
  SMFT__TRY(find_arch(config, root));
  SMFT__TRY(smft__unused_keys(config->arch, ctx, root));
  SMFT__TRY(config->arch->plan(config, ctx, root));
  SMFT__TRY(read_memory(config, ctx, json_object_get(root, "memory")));
  SMFT__TRY(plan_memories(config, ctx));
  return keep_text(config, ctx, root);
}

/* Takes root. */
static smft_status take_config(smft__config *config, smft_ctx *ctx, json_t *root,
                               const char *path) {
  smft_status status = read_config(config, ctx, root);
  if (status != SMFT_OK) {
    status = smft__fail_within(status, "%s", path);
    smft__config_free(config, ctx);
  }
  json_decref(root);
  return status;
}

smft_status smft__config_read(smft__config *config, smft_ctx *ctx, const char *file,
                              const char *path) {
  json_t *root = NULL;
  memset(config, 0, sizeof *config);
  SMFT__TRY(smft__json_open(&root, ctx, file));
  return take_config(config, ctx, root, path);
}

smft_status smft__config_load(smft__config *config, smft_ctx *ctx, const char *directory) {
  memset(config, 0, sizeof *config);
  char *path = smft__path_join(ctx, directory, "config.json");
  if (!path)
    return SMFT_E_NOMEM;
  smft_status status = smft__config_read(config, ctx, path, directory);
  smft__free(ctx, path);
  SMFT__TRY(status);
  status = smft__stops_read(config, ctx, directory);
  if (status != SMFT_OK)
    smft__config_free(config, ctx);
  return status;
}

smft_status smft__config_translated(smft__config *config, smft_ctx *ctx, const char *text,
                                    const char *path) {
  json_t *root = NULL;
  memset(config, 0, sizeof *config);
  config->gguf = 1;
  SMFT__TRY(smft__json_parse(&root, text, (int64_t)strlen(text), "config.json"));
  return take_config(config, ctx, root, path);
}

/* ---- a memory put into a config ------------------------------------------ */

/* The text with "memory" in it, as a file that has both would be. */
static smft_status say_memory(smft__config *config, smft_ctx *ctx, json_t *memory) {
  json_t *root = NULL;
  char *before = config->json;
  SMFT__TRY(smft__json_parse(&root, before, (int64_t)strlen(before), WHAT));
  smft_status status = json_object_set(root, "memory", memory) == 0
                           ? keep_text(config, ctx, root)
                           : smft__fail(SMFT_E_NOMEM, WHAT ": no memory for its \"memory\"");
  if (status == SMFT_OK)
    smft__free(ctx, before);
  json_decref(root);
  return status;
}

smft_status smft__config_graft(smft__config *config, smft_ctx *ctx, json_t *memory) {
  smft__free(ctx, config->pools); /* of none */
  config->pools = NULL;
  SMFT__TRY(read_memory(config, ctx, memory));
  if (config->placement != SMFT_PLACEMENT_BESIDE)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      WHAT ": \"memory\": \"placement\": a memory that is grafted stands "
                           "\"beside\" the FFN, got \"replace\"");
  SMFT__TRY(plan_memories(config, ctx));
  return say_memory(config, ctx, memory);
}

void smft__config_free(smft__config *config, smft_ctx *ctx) {
  for (int32_t i = 0; i < config->stack.n_ropes; i++)
    smft__free(ctx, config->stack.ropes[i].frequency);
  smft__free(ctx, config->stack.ropes);
  smft__free(ctx, config->blocks);
  smft__free(ctx, config->memories);
  smft__free(ctx, config->pools);
  smft__free(ctx, config->rope_text);
  smft__free(ctx, config->json);
  memset(config, 0, sizeof *config);
}
