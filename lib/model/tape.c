/* tape: see tape.h.  Owns which arrays a pass has and which blocks share them. */
#include "model/tape.h"

#include "base/alloc.h"
#include "base/loan.h"

/* ---- life ---------------------------------------------------------------- */

smft_status smft__tape_create(smft__tape **out, const smft_model *model) {
  *out = NULL;
  smft__tape *tape = smft__calloc_array(model->ctx, 1, sizeof *tape);
  if (!tape)
    return SMFT_E_NOMEM;
  tape->model = smft__model_retain(model);
  tape->blocks = smft__calloc_array(model->ctx, model->config.n_layers, sizeof *tape->blocks);
  tape->memories = smft__calloc_array(model->ctx, model->config.n_memories, sizeof *tape->memories);
  if (!tape->blocks || !tape->memories) {
    smft__tape_free(tape);
    return SMFT_E_NOMEM;
  }
  *out = tape;
  return SMFT_OK;
}

void smft__tape_free(smft__tape *tape) {
  if (!tape)
    return;
  smft_ctx *ctx = tape->model->ctx;
  smft__free(ctx, tape->blocks);
  smft__free(ctx, tape->memories);
  smft__free(ctx, tape->block);
  smft_model *model = tape->model;
  smft__free(ctx, tape); /* before the model, whose context it needs */
  smft_model_free(model);
}

void smft__tape_rest(smft__tape *tape) {
  smft__loan_give(tape->model->ctx, tape->block);
  tape->block = NULL;
  tape->ready = 0;
}

/* Of a memory layer in the last forward pass; NULL and no reads where there is none. */
static const smft__memory_tape *reads_of(const smft__tape *tape, int32_t memory, int64_t *n) {
  *n = 0;
  if (memory < 0 || memory >= tape->model->config.n_memories || !tape->ready)
    return NULL;
  *n = tape->n_tokens * tape->model->config.memory.heads * tape->model->config.memory.top_k;
  return &tape->memories[memory];
}

const int64_t *smft__tape_slots(const smft__tape *tape, int32_t memory, int64_t *n) {
  const smft__memory_tape *reads = reads_of(tape, memory, n);
  return reads ? reads->slots : NULL;
}

const float *smft__tape_weights(const smft__tape *tape, int32_t memory, int64_t *n) {
  const smft__memory_tape *reads = reads_of(tape, memory, n);
  return reads ? reads->weights : NULL;
}

/* ---- the tape's arena ---------------------------------------------------- */

/* The lowest block whose activations are kept; n_layers: none. */
static int32_t lowest_kept(const smft__tape *tape) {
  const smft__config *c = &tape->model->config;
  if (tape->keep == SMFT__KEEP_VALUES && c->n_memories > 0)
    return c->memories[0].layer;
  return tape->keep == SMFT__KEEP_ALL ? 0 : c->n_layers;
}

static void place_block(smft__tape *tape, smft__arena *arena, int32_t layer) {
  const smft__config *c = &tape->model->config;
  smft__block_tape *block = &tape->blocks[layer];
  int32_t memory = c->blocks[layer].memory, lowest = lowest_kept(tape);
  if (layer >= lowest || layer == 0) {
    block->x = smft__arena_floats(arena, tape->n_tokens, c->hidden);
    block->k = smft__arena_floats(arena, tape->n_tokens, smft__kv_width(c));
    block->v = smft__arena_floats(arena, tape->n_tokens, smft__kv_width(c));
    smft__block_tape_place(block, arena, c, tape->n_tokens, layer >= lowest);
  } else {
    *block = tape->blocks[0];
  }
  block->memory = memory >= 0 ? &tape->memories[memory] : NULL;
  if (memory < 0)
    return;
  int values_only = tape->keep == SMFT__KEEP_VALUES && layer == lowest;
  smft__memory_tape_place(block->memory, arena, tape->model->ctx, &c->memory, tape->n_tokens,
                          layer < lowest ? SMFT__TAPE_FORWARD
                          : values_only  ? SMFT__TAPE_VALUES
                                         : SMFT__TAPE_BACKWARD);
}

static void place(smft__tape *tape, smft__arena *arena) {
  const smft__config *c = &tape->model->config;
  int64_t n = tape->n_tokens;
  tape->ids = smft__arena_take(arena, n, sizeof *tape->ids);
  tape->positions = smft__arena_take(arena, n, sizeof *tape->positions);
  tape->segments = smft__arena_take(arena, tape->n_sequences, sizeof *tape->segments);
  tape->grads = smft__arena_take(arena, tape->n_sequences, sizeof *tape->grads);
  tape->scratch =
      smft__arena_floats(arena,
                         smft__attention_scratch(tape->model->ctx, c->n_heads, c->n_kv_heads,
                                                 c->head_dim, tape->longest),
                         1);
  tape->adapted = smft__arena_floats(arena, n, (tape->keep ? 2 : 1) * tape->rank);
  for (int32_t layer = 0; layer < c->n_layers; layer++)
    place_block(tape, arena, layer);
  tape->x = tape->keep ? smft__arena_floats(arena, n, c->hidden) : tape->blocks[0].x;
  smft__head_tape_place(&tape->head, arena, c, tape->keep);
  if (!tape->keep)
    return;
  tape->dx = smft__arena_floats(arena, n, c->hidden);
  smft__block_scratch_place(&tape->back, arena, c, n);
}

/* What a pass needs to know of its batch before it has room. */
static void set_shape(smft__tape *tape, const smft__version *version, int64_t n_tokens,
                      int64_t n_sequences, int64_t longest, int64_t m, int keep) {
  tape->ready = tape->spent = 0;
  tape->keep = keep;
  tape->n_tokens = n_tokens;
  tape->n_sequences = n_sequences;
  tape->rank = smft__patch_rank(version);
  tape->longest = longest;
  tape->head.m = m;
}

/* Room for the shape that is set, and for those before, without placing anything there yet. */
static smft_status grow(smft__tape *tape) {
  smft__arena arena = {0};
  place(tape, &arena);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "a batch of %lld tokens: its activations overflow",
                      (long long)tape->n_tokens);
  if (tape->block && arena.used <= tape->capacity)
    return SMFT_OK;
  smft__free(tape->model->ctx, tape->block); /* outgrown */
  int64_t wanted = arena.used > tape->capacity ? arena.used : tape->capacity;
  tape->capacity = 0;
  tape->block = smft__loan_take(tape->model->ctx, wanted);
  if (!tape->block)
    return SMFT_E_NOMEM;
  tape->capacity = wanted;
  return SMFT_OK;
}

smft_status smft__tape_reserve(smft__tape *tape, const smft__version *version, int64_t n_tokens,
                               int64_t n_sequences, int64_t n_supervised, int keep) {
  int64_t largest = smft__head_largest(&tape->model->config, n_supervised);
  SMFT__REQUIRE(n_tokens > 0 && n_tokens < SMFT__MOST_TOKENS, "a batch of %lld tokens",
                (long long)n_tokens);
  set_shape(tape, version, n_tokens, n_sequences, n_tokens, n_supervised, keep);
  SMFT__TRY(grow(tape));
  tape->head.m = largest;
  return largest < n_supervised ? grow(tape) : SMFT_OK;
}

smft_status smft__tape_begin(smft__tape *tape, const smft__version *version, int64_t n_tokens,
                             int64_t n_sequences, int64_t longest, int64_t n_supervised, int keep) {
  set_shape(tape, version, n_tokens, n_sequences, longest, n_supervised, keep);
  tape->n_passes++;
  SMFT__TRY(grow(tape));
  smft__arena arena = {tape->block, 0, tape->capacity};
  place(tape, &arena);
  return SMFT_OK;
}
