/* session: inference with a KV cache over model + patch.  Owns the cache and its validity: a patch
 * that changed makes the cached tokens run again.  Sampling and text are generate.c's; the
 * arithmetic is block.c's, the same as in training. */
#include "model/session.h"

#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "base/loan.h"
#include "model/head.h"
#include "nn/loss.h"

/* tokens run at a time: enough for the matrix kernels, little enough for the cache */
#define CHUNK 256
#define NLL_LOGITS ((int64_t)1 << 20) /* floats (4 MB) */
#define FEWEST_IDS 64
#define NOUN "session" /* in messages */

/* ---- life ---------------------------------------------------------------- */

static int64_t adapter_rank(const smft_patch *patch) {
  return patch && patch->lora ? patch->lora->options.rank : 0;
}

static void place(smft_session *s, smft__arena *arena) {
  const smft__config *c = &s->model->config;
  smft__block_tape tape = {0};
  s->positions = smft__arena_take(arena, s->chunk, sizeof *s->positions);
  s->x = smft__arena_take(arena, s->chunk, (size_t)c->hidden * sizeof(float));
  s->hidden = smft__arena_take(arena, s->chunk, (size_t)c->hidden * sizeof(float));
  s->logits = smft__arena_take(arena, c->vocab, sizeof(float));
  s->scratch = smft__arena_take(arena,
                                smft__attention_scratch(s->model->ctx, c->n_heads, c->n_kv_heads,
                                                        c->head_dim, s->context),
                                sizeof(float));
  s->adapted = smft__arena_take(arena, s->chunk * adapter_rank(s->patch), sizeof *s->adapted);
  s->tapes = smft__arena_take(arena, c->n_layers, sizeof *s->tapes);
  smft__block_tape_place(&tape, arena, c, s->chunk, 0);
  if (s->cache.dtype != SMFT__F32) { /* else they are made in the cache itself */
    tape.k = smft__arena_take(arena, s->chunk, (size_t)smft__kv_width(c) * sizeof(float));
    tape.v = smft__arena_take(arena, s->chunk, (size_t)smft__kv_width(c) * sizeof(float));
  }
  if (c->n_memories)
    smft__memory_tape_place(&s->memory, arena, s->model->ctx, &c->memory, s->chunk, 0);
  tape.x = s->x;
  tape.memory = &s->memory;
  for (int32_t layer = 0; s->tapes && layer < c->n_layers; layer++)
    s->tapes[layer] = tape;
}

/* Bytes of what a call borrows; a patch's adapters add to them. */
static smft_status measure_block(smft_session *s) {
  smft__arena arena = {0};
  place(s, &arena);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "smft_session_create: room for %d tokens overflows",
                      s->context);
  s->block_size = arena.used;
  return SMFT_OK;
}

static smft_status borrow_block(smft_session *s) {
  s->block = smft__loan_take(s->model->ctx, s->block_size);
  if (!s->block)
    return SMFT_E_NOMEM;
  smft__arena arena = {s->block, 0, s->block_size};
  place(s, &arena);
  return SMFT_OK;
}

static void give_block_back(smft_session *s) {
  smft__loan_give(s->model->ctx, s->block);
  s->block = NULL;
}

static smft_status check_context(const smft_model *model, int32_t context) {
  SMFT__REQUIRE(context >= 0, "smft_session_options: context_length is negative (%d)", context);
  if (context > model->config.context)
    return smft__fail(SMFT_E_CONTEXT,
                      "smft_session_options: context_length %d is more than the model's %d",
                      context, model->config.context);
  return SMFT_OK;
}

static smft_status check_pin(const smft_patch *patch, int32_t pins) {
  if (pins && patch && patch->kind != SMFT_PATCH_SLOTS)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "SMFT_SESSION_PIN: only slots patches have versions that stay");
  return SMFT_OK;
}

static void destroy(smft_session *s) {
  smft_model *model = s->model;
  smft__buffer_free(&s->text);
  smft__free(model->ctx, s->ids);
  smft__cache_free(&s->cache);
  smft__version_release(s->held);
  smft_patch_free(s->patch);
  smft__free(model->ctx, s);
  smft_model_free(model);
}

/* What a call returns. */
static smft_status released(smft_session *s, int freed, smft_status status) {
  if (!freed)
    return status;
  destroy(s);
  return smft__claim_freed(status, NOUN);
}

static smft_status make(smft_session **out, const smft_model *model, smft_patch *patch,
                        const smft_session_options *options) {
  smft_session *s = smft__calloc_array(model->ctx, 1, sizeof *s);
  if (!s)
    return SMFT_E_NOMEM;
  s->model = smft__model_retain(model);
  s->patch = smft__patch_retain(patch);
  s->context = options->context_length ? options->context_length : model->config.context;
  s->chunk = s->context < CHUNK ? s->context : CHUNK;
  s->text.ctx = model->ctx;
  s->pins = (options->flags & SMFT_SESSION_PIN) != 0;
  int bf16 = (options->flags & SMFT_SESSION_CACHE_BF16) != 0;
  smft_status status =
      smft__cache_create(&s->cache, model->ctx, &model->config, bf16 ? SMFT__BF16 : SMFT__F32);
  if (status == SMFT_OK)
    status = measure_block(s);
  if (status == SMFT_OK)
    *out = s;
  else
    destroy(s);
  return status;
}

smft_status smft_session_create(smft_session **out, const smft_model *model, smft_patch *patch,
                                const smft_session_options *options) {
  smft_session_options own = SMFT_SESSION_OPTIONS_INIT;
  SMFT__REQUIRE(out, "smft_session_create: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(model, "smft_session_create: model is NULL");
  SMFT__TRY(smft__options_read(&own, options, sizeof own, offsetof(smft_session_options, flags),
                               "smft_session_options"));
  SMFT__TRY(smft__reserved_check(own.reserved, "smft_session_options"));
  SMFT__REQUIRE(!(own.flags & ~(SMFT_SESSION_CACHE_BF16 | SMFT_SESSION_PIN)),
                "smft_session_options: unknown flags 0x%x", (unsigned)own.flags);
  if (patch && patch->model != model)
    return smft__fail(SMFT_E_MISMATCH, "smft_session_create: the patch is of another model");
  SMFT__TRY(check_context(model, own.context_length));
  SMFT__TRY(check_pin(patch, (own.flags & SMFT_SESSION_PIN) != 0));
  return make(out, model, patch, &own);
}

void smft_session_free(smft_session *s) {
  if (s && smft__claim_free(&s->claim))
    destroy(s);
}

/* Only slots patches have versions that stay, and those are always to be had. */
static void take_version(smft_session *s) {
  if (!s->held && s->patch && s->patch->kind == SMFT_PATCH_SLOTS)
    (void)smft__patch_begin_read(s->patch, &s->held);
}

static void drop_version(smft_session *s) {
  smft__version_release(s->held);
  s->held = NULL;
}

static smft_status change_patch(smft_session *s, smft_patch *patch) {
  if (patch && patch->model != s->model)
    return smft__fail(SMFT_E_MISMATCH, "smft_session_set_patch: the patch is of another model");
  SMFT__TRY(check_pin(patch, s->pins));
  smft_patch *old = s->patch;
  s->patch = patch;
  smft_status status = measure_block(s);
  if (status != SMFT_OK) {
    s->patch = old;
    return status;
  }
  drop_version(s);
  smft__patch_retain(patch);
  smft_patch_free(old);
  s->cached = 0;
  return SMFT_OK;
}

smft_status smft_session_set_patch(smft_session *s, smft_patch *patch) {
  SMFT__REQUIRE(s, "smft_session_set_patch: session is NULL");
  SMFT__TRY(smft__claim_alone(&s->claim, NOUN, "smft_session_set_patch"));
  smft_status status = change_patch(s, patch);
  return released(s, smft__claim_end(&s->claim), status);
}

int32_t smft_session_finish(const smft_session *s) { return s ? s->finish : SMFT_FINISH_NONE; }

int64_t smft_session_length(const smft_session *s) { return s ? s->length : 0; }

void smft_session_cancel(smft_session *s) {
  if (s)
    smft__claim_stop(&s->claim);
}

/* ---- what every call does ------------------------------------------------ */

smft_status smft__session_claim(smft_session *s, const char *function) {
  SMFT__TRY(smft__claim_alone(&s->claim, NOUN, function));
  smft_status status = smft__claim_check(&s->claim, function);
  return status == SMFT_OK ? SMFT_OK : smft__session_release(s, status);
}

smft_status smft__session_release(smft_session *s, smft_status status) {
  return released(s, smft__claim_end_work(&s->claim), status);
}

void smft__session_hold(smft_session *s) {
  drop_version(s);
  take_version(s);
  s->holds = 1;
}

void smft__session_let_go(smft_session *s) {
  drop_version(s);
  s->holds = 0;
}

smft_status smft__session_begin(smft_session *s) {
  SMFT__TRY(borrow_block(s));
  if (s->pins)
    take_version(s);
  smft_status status = SMFT_OK;
  if (s->held)
    s->version = smft__version_retain(s->held);
  else
    status = smft__patch_begin_read(s->patch, &s->version);
  if (status != SMFT_OK) {
    give_block_back(s);
    return status;
  }
  uint64_t number = s->version ? atomic_load(&s->version->number) : 0;
  if (number != s->number)
    s->cached = 0;
  s->number = number;
  return SMFT_OK;
}

void smft__session_end(smft_session *s) {
  smft__patch_end_read(s->patch, s->version);
  s->version = NULL;
  give_block_back(s);
}

uint64_t smft_session_version(const smft_session *s) { return s ? s->number : 0; }

smft_status smft__session_append(smft_session *s, const int32_t *ids, int64_t n_ids) {
  if (n_ids > s->context - s->length)
    return smft__fail(SMFT_E_CONTEXT, "%lld tokens and %lld more: the session holds %d",
                      (long long)s->length, (long long)n_ids, s->context);
  for (int64_t i = 0; i < n_ids; i++)
    if (ids[i] < 0 || ids[i] >= s->model->config.vocab)
      return smft__fail(SMFT_E_TOKEN, "token %lld: id %d, the vocabulary has %d", (long long)i,
                        ids[i], s->model->config.vocab);
  int64_t room = s->length + n_ids > FEWEST_IDS ? s->length + n_ids : FEWEST_IDS;
  SMFT__TRY(smft__grow(s->model->ctx, &s->ids, &s->ids_capacity, room, sizeof *s->ids));
  for (int64_t i = 0; i < n_ids; i++)
    s->ids[s->length + i] = ids[i];
  s->length += n_ids;
  return SMFT_OK;
}

void smft__session_cut(smft_session *s, int64_t length) {
  s->length = length;
  if (s->cached > length)
    s->cached = length;
  if (length == 0 && !s->holds)
    drop_version(s);
}

/* ---- running tokens ------------------------------------------------------ */

/* New tokens' keys and values go into the cache behind those that are there. */
static void point_into_cache(smft_session *s) {
  smft__cache *cache = &s->cache;
  for (int32_t layer = 0; layer < cache->n_layers; layer++) {
    smft__block_tape *tape = &s->tapes[layer];
    if (cache->dtype == SMFT__F32) {
      tape->k = (float *)cache->keys[layer] + s->cached * cache->width;
      tape->v = (float *)cache->values[layer] + s->cached * cache->width;
    } else {
      tape->cached_k = cache->keys[layer];
      tape->cached_v = cache->values[layer];
    }
  }
}

/* Tokens [cached, cached + n) through all blocks; s->x holds the last block's output. */
static smft_status run_chunk(smft_session *s, int64_t n) {
  const smft__config *c = &s->model->config;
  smft__segment segment = {.n_past = s->cached, .n_q = n};
  smft__pass pass = {s->model,
                     s->version,
                     {s->model->ctx, c, s->positions, &segment, NULL, 1, n, s->scratch, s->adapted,
                      1},
                     s->tapes,
                     s->x,
                     &s->claim.stop};
  SMFT__TRY(smft__cache_reserve(&s->cache, s->cached + n, s->context));
  for (int64_t i = 0; i < n; i++)
    s->positions[i] = (int32_t)(s->cached + i);
  point_into_cache(s);
  smft__stack_embed(&pass, s->ids + s->cached);
  SMFT__TRY(smft__stack_run(&pass, 0, c->n_layers, SMFT__WHOLE, SMFT__WHOLE));
  s->cached += n;
  return SMFT_OK;
}

/* logits (n, V) of rows [begin, begin + n) of the chunk that ran last. */
static smft_status head(smft_session *s, int64_t begin, int64_t n, float *logits) {
  return smft__head_logits(s->model, s->version, s->x + begin * s->model->config.hidden, n,
                           s->hidden, logits);
}

smft_status smft__session_run_chunk(smft_session *s, int *ran) {
  *ran = s->length - s->cached > s->chunk;
  return *ran ? run_chunk(s, s->chunk) : SMFT_OK;
}

smft_status smft__session_run(smft_session *s, int64_t n, float *logits) {
  int64_t wanted = s->length - n; /* logits from this token on */
  if (s->cached > wanted)
    s->cached = wanted; /* their last hidden states are gone: these tokens run again */
  while (s->cached < s->length) {
    int64_t begin = s->cached, rows = s->length - begin < s->chunk ? s->length - begin : s->chunk;
    SMFT__TRY(run_chunk(s, rows));
    int64_t skip = wanted > begin ? wanted - begin : 0;
    if (n > 0 && skip < rows) {
      SMFT__TRY(head(s, skip, rows - skip, logits));
      logits += (rows - skip) * s->model->config.vocab;
    }
  }
  return SMFT_OK;
}

/* ---- feed, rewind -------------------------------------------------------- */

static smft_status feed(smft_session *s, const int32_t *ids, int64_t n_ids, int64_t n_logits,
                        float *logits) {
  int64_t before = s->length;
  SMFT__TRY(smft__session_append(s, ids, n_ids));
  smft_status status = smft__session_run(s, n_logits, logits);
  if (status != SMFT_OK)
    smft__session_cut(s, before);
  return status;
}

smft_status smft__session_feed(smft_session *s, const int32_t *ids, int64_t n_ids, int32_t which,
                               float *logits, int64_t capacity) {
  SMFT__REQUIRE(n_ids >= 0 && (ids || n_ids == 0),
                "smft_session_feed: ids is NULL or n_ids negative");
  SMFT__REQUIRE(which >= SMFT_LOGITS_NONE && which <= SMFT_LOGITS_ALL,
                "smft_session_feed: which must be SMFT_LOGITS_*, got %d", which);
  SMFT__REQUIRE(which == SMFT_LOGITS_NONE || logits, "smft_session_feed: logits is NULL");
  SMFT__REQUIRE(which != SMFT_LOGITS_LAST || n_ids > 0 || s->length > 0,
                "smft_session_feed: no token to give the logits of");
  int64_t n_logits = which == SMFT_LOGITS_ALL ? n_ids : which == SMFT_LOGITS_LAST ? 1 : 0;
  if (n_logits > s->context - (which == SMFT_LOGITS_ALL ? s->length : 0))
    return smft__fail(SMFT_E_CONTEXT,
                      "smft_session_feed: %lld tokens and %lld more: the session holds %d",
                      (long long)s->length, (long long)n_ids, s->context);
  if (capacity < n_logits * s->model->config.vocab)
    return smft__fail(SMFT_E_BUFFER,
                      "smft_session_feed: room for %lld logits, %lld x %d are needed",
                      (long long)capacity, (long long)n_logits, s->model->config.vocab);
  SMFT__TRY(smft__session_begin(s));
  smft_status status = feed(s, ids, n_ids, n_logits, logits);
  smft__session_end(s);
  return status;
}

smft_status smft_session_feed(smft_session *s, const int32_t *ids, int64_t n_ids, int32_t which,
                              float *logits, int64_t capacity) {
  SMFT__REQUIRE(s, "smft_session_feed: session is NULL");
  SMFT__TRY(smft__session_claim(s, "smft_session_feed"));
  return smft__session_release(s, smft__session_feed(s, ids, n_ids, which, logits, capacity));
}

smft_status smft__session_rewind(smft_session *s, int64_t length) {
  SMFT__REQUIRE(length >= 0 && length <= s->length, "smft_session_rewind: length %lld of %lld",
                (long long)length, (long long)s->length);
  smft__session_cut(s, length);
  return SMFT_OK;
}

smft_status smft_session_rewind(smft_session *s, int64_t length) {
  SMFT__REQUIRE(s, "smft_session_rewind: session is NULL");
  SMFT__TRY(smft__claim_alone(&s->claim, NOUN, "smft_session_rewind"));
  smft_status status = smft__session_rewind(s, length);
  return released(s, smft__claim_end(&s->claim), status);
}

/* ---- nll ----------------------------------------------------------------- */

static int64_t nll_rows(const smft_session *s) {
  int64_t rows = NLL_LOGITS / s->model->config.vocab;
  return rows < 16 ? (s->chunk < 16 ? s->chunk : 16) : rows < s->chunk ? rows : s->chunk;
}

/* nll of the tokens that follow rows [0, n) of the chunk that ran last; targets (n), logits
 * (nll_rows, V). */
static smft_status nll_chunk(smft_session *s, float *logits, const int32_t *targets, int64_t n,
                             float *nll, double *sum) {
  int64_t vocab = s->model->config.vocab, most = nll_rows(s);
  float own[CHUNK];
  for (int64_t begin = 0; begin < n; begin += most) {
    int64_t rows = n - begin < most ? n - begin : most;
    SMFT__TRY(head(s, begin, rows, logits));
    smft__nll_rows(s->model->ctx, logits, targets + begin, rows, vocab, own);
    for (int64_t i = 0; i < rows; i++)
      *sum += (double)own[i];
    if (nll)
      memcpy(nll + begin, own, (size_t)rows * sizeof *nll);
  }
  return SMFT_OK;
}

static smft_status nll_all(smft_session *s, float *logits, float *nll, double *mean) {
  double sum = 0;
  int64_t n = s->length - 1; /* the last token predicts nothing */
  while (s->cached < n) {
    int64_t begin = s->cached, rows = n - begin < s->chunk ? n - begin : s->chunk;
    SMFT__TRY(run_chunk(s, rows));
    SMFT__TRY(nll_chunk(s, logits, s->ids + begin + 1, rows, nll ? nll + begin : NULL, &sum));
  }
  if (mean)
    *mean = sum / (double)n;
  return SMFT_OK;
}

static smft_status nll_of(smft_session *s, const int32_t *ids, int64_t n_ids, float *nll,
                          double *mean) {
  SMFT__REQUIRE(ids, "smft_session_nll: ids is NULL");
  SMFT__REQUIRE(n_ids >= 2, "smft_session_nll: at least two tokens are needed, got %lld",
                (long long)n_ids);
  smft__session_cut(s, 0);
  SMFT__TRY(smft__session_begin(s));
  int64_t floats = nll_rows(s) * s->model->config.vocab;
  float *logits = smft__loan_take(s->model->ctx, floats * (int64_t)sizeof *logits);
  smft_status status = logits ? smft__session_append(s, ids, n_ids) : SMFT_E_NOMEM;
  if (status == SMFT_OK)
    status = nll_all(s, logits, nll, mean);
  smft__loan_give(s->model->ctx, logits);
  smft__session_cut(s, 0);
  smft__session_end(s);
  return status;
}

smft_status smft_session_nll(smft_session *s, const int32_t *ids, int64_t n_ids, float *nll,
                             double *mean) {
  SMFT__REQUIRE(s, "smft_session_nll: session is NULL");
  SMFT__TRY(smft__session_claim(s, "smft_session_nll"));
  return smft__session_release(s, nll_of(s, ids, n_ids, nll, mean));
}
