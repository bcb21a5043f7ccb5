/* network: embedding, blocks, head and loss over a batch of whole sequences, and the way back. Owns
 * the tape (activations, one allocation), where a forward pass begins and ends and how far down a
 * backward pass has to go; the blocks' insides are block.c's. */
#include "model/network.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/block.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/loss.h"
#include "nn/norm.h"

#define MOST_TOKENS ((int64_t)1 << 31)
/* floats (64 MB): more logits are not kept for backward but made anew */
#define KEPT_LOGITS ((int64_t)1 << 24)
/* logits of so many rows at a time: with few, packing the head's weights anew for each would take
 * longer than its product */
#define CHUNK_ROWS 256

typedef struct head_tape { /* supervised rows only; m of them */
  int64_t m, chunk;        /* rows; rows of one chunk */
  int32_t kept;            /* 1: logits holds all rows */
  int64_t *rows;           /* (m) position whose hidden state predicts */
  int32_t *targets;        /* (m) token that follows it */
  float *scale;            /* (m) weight / sum of weights */
  float *nll;              /* (m) */
  float *x;                /* (m, d) last block's output */
  float *inv_rms;          /* (m) */
  float *hidden;           /* (m, d) after the norm */
  float *logits;           /* (m or chunk, V); after forward with keep: their gradient */
  float *d_hidden;         /* (m, d) */
  float *dx;               /* (m, d) */
} head_tape;

struct smft__tape {
  smft_model *model;
  smft__block_tape *blocks;    /* (n_layers); those that keep nothing share their arrays */
  smft__memory_tape *memories; /* (n_memories) */
  char *block;                 /* the one allocation that everything below stands in */
  int64_t capacity;
  int64_t n_tokens, n_sequences, longest, rank; /* rank: of the patch's adapters */
  /* SMFT__KEEP_*; the last forward succeeded; a backward pass used up what SMFT__KEEP_VALUES keeps
   */
  int32_t keep, ready, spent;
  int32_t *ids, *positions; /* (T) */
  smft__segment *segments;  /* (n_sequences) */
  smft__segment_grad *grads;
  float *scratch; /* attention's */
  float *adapted; /* (T, 2 rank) the adapters' */
  float *x;       /* (T, d) output of the last block */
  float *dx;      /* (T, d) */
  smft__block_scratch back;
  head_tape head;
};

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

/* ---- what a batch may be ------------------------------------------------- */

static smft_status check_sequence(const smft_model *model, const smft__sequences *batch,
                                  int64_t s) {
  int64_t begin = batch->offsets[s], length = batch->offsets[s + 1] - begin;
  if (begin < 0 || length < 1 || begin + length > batch->n_tokens)
    return smft__fail(SMFT_E_INVALID, "sequence %lld: from token %lld, %lld tokens, of %lld",
                      (long long)s, (long long)begin, (long long)length,
                      (long long)batch->n_tokens);
  if (length > model->config.context)
    return smft__fail(SMFT_E_CONTEXT, "sequence %lld has %lld tokens, the context is %d",
                      (long long)s, (long long)length, model->config.context);
  for (int64_t i = begin; i < begin + length; i++)
    if (batch->ids[i] < 0 || batch->ids[i] >= model->config.vocab)
      return smft__fail(SMFT_E_TOKEN, "sequence %lld: token %lld is id %d, the vocabulary has %d",
                        (long long)s, (long long)(i - begin), batch->ids[i], model->config.vocab);
  return SMFT_OK;
}

static smft_status check_batch(const smft_model *model, const smft_patch *patch,
                               const smft__sequences *batch) {
  SMFT__REQUIRE(batch->n_sequences > 0 && batch->n_tokens > 0 && batch->n_tokens < MOST_TOKENS,
                "a batch of %lld sequences, %lld tokens", (long long)batch->n_sequences,
                (long long)batch->n_tokens);
  SMFT__REQUIRE(!patch || patch->model == model, "the patch is of another model");
  SMFT__REQUIRE(batch->offsets[0] == 0 && batch->offsets[batch->n_sequences] == batch->n_tokens,
                "offsets do not span the tokens");
  for (int64_t s = 0; s < batch->n_sequences; s++)
    SMFT__TRY(check_sequence(model, batch, s));
  return SMFT_OK;
}

static float weight_of(const smft__sequences *batch, int64_t i) {
  return batch->weights ? batch->weights[i] : 1;
}

static smft_status count_supervised(const smft__sequences *batch, int64_t *m, double *sum) {
  *m = 0;
  *sum = 0;
  for (int64_t s = 0; s < batch->n_sequences; s++)
    for (int64_t i = batch->offsets[s] + 1; i < batch->offsets[s + 1]; i++) {
      float weight = weight_of(batch, i);
      *m += weight < 0 || weight > 0 || isnan(weight);
      *sum += (double)weight;
    }
  SMFT__REQUIRE(*m > 0, "no token of the batch is supervised");
  SMFT__REQUIRE(isfinite(*sum) && *sum > 0,
                "the token weights of the batch do not add up to a positive number");
  return SMFT_OK;
}

/* ---- the tape's arena ---------------------------------------------------- */

static float *floats(smft__arena *arena, int64_t rows, int64_t columns) {
  return smft__arena_take(arena, rows * columns, sizeof(float)); /* rows < 2^31, columns <= 2^24 */
}

static void place_head(head_tape *head, smft__arena *arena, const smft__config *c, int keep) {
  int64_t m = head->m;
  head->chunk = KEPT_LOGITS / c->vocab < 16           ? 16
                : KEPT_LOGITS / c->vocab > CHUNK_ROWS ? CHUNK_ROWS
                                                      : KEPT_LOGITS / c->vocab;
  head->kept = keep && m <= KEPT_LOGITS / c->vocab;
  head->rows = smft__arena_take(arena, m, sizeof *head->rows);
  head->targets = smft__arena_take(arena, m, sizeof *head->targets);
  head->scale = floats(arena, m, 1);
  head->nll = floats(arena, m, 1);
  head->x = floats(arena, m, c->hidden);
  head->inv_rms = floats(arena, m, 1);
  head->hidden = floats(arena, m, c->hidden);
  head->logits = floats(arena, head->kept || m < head->chunk ? m : head->chunk, c->vocab);
  head->d_hidden = keep ? floats(arena, m, c->hidden) : NULL;
  head->dx = keep ? floats(arena, m, c->hidden) : NULL;
}

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
  int32_t memory = tape->model->blocks[layer].memory, lowest = lowest_kept(tape);
  if (layer >= lowest || layer == 0) {
    block->x = floats(arena, tape->n_tokens, c->hidden);
    block->k = floats(arena, tape->n_tokens, (int64_t)c->n_kv_heads * c->head_dim);
    block->v = floats(arena, tape->n_tokens, (int64_t)c->n_kv_heads * c->head_dim);
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
  tape->scratch = floats(arena,
                         smft__attention_scratch(tape->model->ctx, c->n_heads, c->n_kv_heads,
                                                 c->head_dim, tape->longest),
                         1);
  tape->adapted = floats(arena, n, (tape->keep ? 2 : 1) * tape->rank);
  for (int32_t layer = 0; layer < c->n_layers; layer++)
    place_block(tape, arena, layer);
  tape->x = tape->keep ? floats(arena, n, c->hidden) : tape->blocks[0].x;
  place_head(&tape->head, arena, c, tape->keep);
  if (!tape->keep)
    return;
  tape->dx = floats(arena, n, c->hidden);
  smft__block_scratch_place(&tape->back, arena, c, n);
}

/* What a pass needs to know of its batch before it has room. */
static void set_shape(smft__tape *tape, const smft_patch *patch, int64_t n_tokens,
                      int64_t n_sequences, int64_t longest, int64_t m, int keep) {
  tape->ready = tape->spent = 0;
  tape->keep = keep;
  tape->n_tokens = n_tokens;
  tape->n_sequences = n_sequences;
  tape->rank = smft__patch_rank(patch);
  tape->longest = longest;
  tape->head.m = m;
}

/* Room for the shape that is set, without placing anything there yet. */
static smft_status grow(smft__tape *tape) {
  smft__arena arena = {0};
  place(tape, &arena);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "a batch of %lld tokens: its activations overflow",
                      (long long)tape->n_tokens);
  if (arena.used <= tape->capacity)
    return SMFT_OK;
  smft__free(tape->model->ctx, tape->block);
  tape->capacity = 0;
  tape->block = smft__alloc_array(tape->model->ctx, arena.used, 1);
  if (!tape->block)
    return SMFT_E_NOMEM;
  tape->capacity = arena.used;
  return SMFT_OK;
}

smft_status smft__tape_reserve(smft__tape *tape, const smft_patch *patch, int64_t n_tokens,
                               int64_t n_sequences, int64_t n_supervised, int keep) {
  /* the rows for which the head needs the most */
  int64_t most_kept = KEPT_LOGITS / tape->model->config.vocab;
  SMFT__REQUIRE(n_tokens > 0 && n_tokens < MOST_TOKENS, "a batch of %lld tokens",
                (long long)n_tokens);
  set_shape(tape, patch, n_tokens, n_sequences, n_tokens, n_supervised, keep);
  SMFT__TRY(grow(tape));
  if (n_supervised <= most_kept)
    return SMFT_OK;
  tape->head.m = most_kept;
  return grow(tape);
}

static smft_status reserve(smft__tape *tape, const smft_patch *patch, const smft__sequences *batch,
                           int keep, int64_t m) {
  int64_t longest = 0;
  for (int64_t s = 0; s < batch->n_sequences; s++)
    if (batch->offsets[s + 1] - batch->offsets[s] > longest)
      longest = batch->offsets[s + 1] - batch->offsets[s];
  set_shape(tape, patch, batch->n_tokens, batch->n_sequences, longest, m, keep);
  SMFT__TRY(grow(tape));
  smft__arena arena = {tape->block, 0, tape->capacity};
  place(tape, &arena);
  return SMFT_OK;
}

static void fill(smft__tape *tape, const smft__sequences *batch) {
  memcpy(tape->ids, batch->ids, (size_t)batch->n_tokens * sizeof *tape->ids);
  for (int64_t s = 0; s < batch->n_sequences; s++) {
    memset(&tape->segments[s], 0, sizeof tape->segments[s]);
    tape->segments[s].n_q = batch->offsets[s + 1] - batch->offsets[s];
    for (int64_t i = batch->offsets[s]; i < batch->offsets[s + 1]; i++)
      tape->positions[i] = (int32_t)(i - batch->offsets[s]);
  }
}

static void fill_head(head_tape *head, const smft__sequences *batch, double sum) {
  int64_t m = 0;
  for (int64_t s = 0; s < batch->n_sequences; s++)
    for (int64_t i = batch->offsets[s] + 1; i < batch->offsets[s + 1]; i++) {
      float weight = weight_of(batch, i);
      if (!(weight < 0 || weight > 0))
        continue;
      head->rows[m] = i - 1;
      head->targets[m] = batch->ids[i];
      head->scale[m++] = (float)((double)weight / sum);
    }
}

/* ---- blocks -------------------------------------------------------------- */

static smft__batch_shape shape_of(const smft__tape *tape) {
  smft__batch_shape shape = {tape->model->ctx,
                             &tape->model->config,
                             tape->positions,
                             tape->segments,
                             tape->keep ? tape->grads : NULL,
                             tape->n_sequences,
                             tape->n_tokens,
                             tape->scratch,
                             tape->adapted};
  return shape;
}

static smft_status check_cancel(const atomic_int *cancel) {
  return cancel && atomic_load(cancel) ? smft__fail(SMFT_E_CANCELLED, "cancelled") : SMFT_OK;
}

/* Counting reads needs no block above the highest memory layer, and of that one's only the slots.
 */
static int32_t blocks_needed(const smft_model *model, int with_head) {
  const smft__config *c = &model->config;
  return with_head ? c->n_layers : c->n_memories ? c->memories[c->n_memories - 1].layer + 1 : 0;
}

static void embed(smft__tape *tape, const smft_patch *patch) {
  smft__tensor table = smft__weight(tape->model, patch, tape->model->embed);
  smft__embedding_forward(tape->model->ctx, &table, tape->ids, tape->n_tokens, tape->blocks[0].x);
}

/* How far a block is run: all of it, only to the slots that its memory reads, or only from there.
 */
enum { WHOLE, LOOKUP, RESUME };

static void run_block(smft__tape *tape, const smft_patch *patch, int32_t layer, int part) {
  const smft_model *model = tape->model;
  smft__batch_shape shape = shape_of(tape);
  smft__block_weights weights = smft__block_weights_of(model, patch, layer);
  float *out = layer + 1 < model->config.n_layers ? tape->blocks[layer + 1].x : tape->x;
  if (part == LOOKUP)
    smft__block_lookup(&shape, &weights, &tape->blocks[layer]);
  else if (part == RESUME)
    smft__block_resume(&shape, &weights, &tape->blocks[layer], out);
  else
    smft__block_forward(&shape, &weights, &tape->blocks[layer], out);
}

/* Blocks [begin, end).  kept: what the first one makes up to its memory is on the tape. reads_only:
 * of the last, only that is wanted. */
static smft_status run_blocks(smft__tape *tape, const smft_patch *patch, int32_t begin, int32_t end,
                              int kept, int reads_only, const atomic_int *cancel) {
  for (int32_t layer = begin; layer < end; layer++) {
    int resumes = kept && layer == begin, stops = reads_only && layer + 1 == end;
    SMFT__TRY(check_cancel(cancel));
    if (!(resumes && stops))
      run_block(tape, patch, layer, resumes ? RESUME : stops ? LOOKUP : WHOLE);
  }
  return check_cancel(cancel);
}

/* ---- head ---------------------------------------------------------------- */

static void gather_rows(const head_tape *head, const float *x, int64_t d) {
  for (int64_t i = 0; i < head->m; i++)
    memcpy(head->x + i * d, x + head->rows[i] * d, (size_t)d * sizeof *x);
}

/* Logits of rows [begin, begin + n), which become their own gradient when `keep`. */
static float *head_chunk(const smft__tape *tape, const smft__tensor *w, int64_t begin, int64_t n,
                         int keep) {
  const head_tape *head = &tape->head;
  smft_ctx *ctx = tape->model->ctx;
  int64_t vocab = w->shape[0], d = w->shape[1];
  float *logits = head->kept ? head->logits + begin * vocab : head->logits;
  smft__linear_forward(ctx, w, NULL, head->hidden + begin * d, n, logits);
  if (keep)
    smft__nll_rows_backward(ctx, logits, head->targets + begin, head->scale + begin, n, vocab,
                            head->nll + begin);
  else
    smft__nll_rows(ctx, logits, head->targets + begin, n, vocab, head->nll + begin);
  return logits;
}

static int64_t chunk_rows(const head_tape *head, int64_t begin) {
  return head->m - begin < head->chunk ? head->m - begin : head->chunk;
}

static void head_forward(smft__tape *tape, const smft_patch *patch) {
  const smft_model *model = tape->model;
  head_tape *head = &tape->head;
  smft__tensor norm = smft__weight(model, patch, model->norm);
  smft__tensor w = smft__weight(model, patch, model->head);
  int64_t d = model->config.hidden;
  gather_rows(head, tape->x, d);
  smft__rmsnorm_forward(model->ctx, &norm, model->config.norm_eps, head->x, head->m, d,
                        head->hidden, head->inv_rms);
  for (int64_t begin = 0; begin < head->m; begin += head->chunk) {
    int64_t n = chunk_rows(head, begin);
    float *logits = head_chunk(tape, &w, begin, n, tape->keep);
    if (tape->keep)
      smft__linear_backward_input(model->ctx, &w, logits, n, head->d_hidden + begin * d, 0);
  }
}

static void head_weight_backward(const smft__tape *tape, const smft__tensor *w, float *dw) {
  const head_tape *head = &tape->head;
  int64_t vocab = w->shape[0], d = w->shape[1];
  if (head->kept) {
    smft__linear_backward_weight(tape->model->ctx, head->hidden, head->logits, head->m, d, vocab,
                                 dw, NULL);
    return;
  }
  for (int64_t begin = 0; begin < head->m; begin += head->chunk) {
    int64_t n = chunk_rows(head, begin);
    float *d_logits = head_chunk(tape, w, begin, n, 1);
    smft__linear_backward_weight(tape->model->ctx, head->hidden + begin * d, d_logits, n, d, vocab,
                                 dw, NULL);
  }
}

/* tape->dx becomes the gradient of the last block's output. */
static void head_backward(smft__tape *tape, const smft_patch *patch, float *dw, float *d_norm) {
  const smft_model *model = tape->model;
  head_tape *head = &tape->head;
  smft__tensor norm = smft__weight(model, patch, model->norm);
  smft__tensor w = smft__weight(model, patch, model->head);
  int64_t d = model->config.hidden;
  if (dw)
    head_weight_backward(tape, &w, dw);
  memset(head->dx, 0, (size_t)(head->m * d) * sizeof(float));
  smft__rmsnorm_backward(model->ctx, &norm, head->x, head->inv_rms, head->d_hidden, head->m, d,
                         head->dx, d_norm);
  memset(tape->dx, 0, (size_t)(tape->n_tokens * d) * sizeof(float));
  for (int64_t i = 0; i < head->m; i++)
    memcpy(tape->dx + head->rows[i] * d, head->dx + i * d, (size_t)d * sizeof(float));
}

/* ---- forward ------------------------------------------------------------- */

static smft_status finish_loss(const smft__tape *tape, double *loss) {
  double sum = 0;
  for (int64_t i = 0; i < tape->head.m; i++)
    sum += (double)tape->head.scale[i] * (double)tape->head.nll[i];
  if (!isfinite(sum))
    return smft__fail(
        SMFT_E_NONFINITE,
        "the loss is not finite: a weight of the model or the patch is NaN, infinite or too large");
  if (loss)
    *loss = sum;
  return SMFT_OK;
}

/* Where each sequence's tokens are among those that are kept. */
static smft_status check_kept(const smft_model *model, const smft_patch *patch,
                              const smft__sequences *batch, const smft__kept *kept, int keep) {
  SMFT__REQUIRE(keep != SMFT__KEEP_ALL, "a kept prefix has not all that any backward pass needs");
  SMFT__REQUIRE(model->config.n_memories > 0 && (!patch || patch->kind == SMFT_PATCH_SLOTS),
                "a kept prefix is for slots patches only");
  for (int64_t s = 0; s < batch->n_sequences; s++) {
    int64_t begin = kept->begins[s], end = begin + batch->offsets[s + 1] - batch->offsets[s];
    SMFT__REQUIRE(begin >= 0 && end <= kept->prefix->n_tokens,
                  "sequence %lld: tokens %lld to %lld of a kept prefix of %lld", (long long)s,
                  (long long)begin, (long long)end, (long long)kept->prefix->n_tokens);
  }
  return SMFT_OK;
}

static void fetch(smft__tape *tape, const smft__sequences *batch, const smft__kept *kept) {
  const smft__block_tape *lowest = &tape->blocks[tape->model->config.memories[0].layer];
  for (int64_t s = 0; s < batch->n_sequences; s++)
    smft__prefix_fetch(kept->prefix, kept->begins[s], batch->offsets[s + 1] - batch->offsets[s],
                       lowest->middle, lowest->memory, batch->offsets[s]);
}

smft_status smft__network_forward_kept(smft__tape *tape, const smft_patch *patch,
                                       const smft__sequences *batch, const smft__kept *kept,
                                       int keep, double *loss, const atomic_int *cancel) {
  const smft_model *model = tape->model;
  int with_head = keep || loss;
  int64_t m = 0;
  double sum = 0;
  SMFT__TRY(check_batch(model, patch, batch));
  if (kept)
    SMFT__TRY(check_kept(model, patch, batch, kept, keep));
  if (with_head)
    SMFT__TRY(count_supervised(batch, &m, &sum));
  SMFT__TRY(reserve(tape, patch, batch, keep, m));
  fill(tape, batch);
  if (kept)
    fetch(tape, batch, kept);
  else
    embed(tape, patch);
  SMFT__TRY(run_blocks(tape, patch, kept ? model->config.memories[0].layer : 0,
                       blocks_needed(model, with_head), kept != NULL, !with_head, cancel));
  if (with_head) {
    fill_head(&tape->head, batch, sum);
    head_forward(tape, patch);
    SMFT__TRY(finish_loss(tape, loss));
  }
  tape->ready = 1;
  return SMFT_OK;
}

smft_status smft__network_forward(smft__tape *tape, const smft_patch *patch,
                                  const smft__sequences *batch, int keep, double *loss,
                                  const atomic_int *cancel) {
  return smft__network_forward_kept(tape, patch, batch, NULL, keep, loss, cancel);
}

smft_status smft__network_prefix(smft__tape *tape, const smft__sequences *batch,
                                 smft__prefix *prefix, const atomic_int *cancel) {
  const smft_model *model = tape->model;
  SMFT__REQUIRE(model->config.n_memories > 0, "a kept prefix needs a memory layer");
  SMFT__TRY(check_batch(model, NULL, batch));
  SMFT__TRY(smft__prefix_reserve(prefix, batch->n_tokens));
  SMFT__TRY(reserve(tape, NULL, batch, SMFT__KEEP_NOTHING, 0));
  int32_t lowest = model->config.memories[0].layer;
  fill(tape, batch);
  embed(tape, NULL);
  SMFT__TRY(run_blocks(tape, NULL, 0, lowest + 1, 0, 1, cancel));
  smft__prefix_store(prefix, tape->blocks[lowest].middle, tape->blocks[lowest].memory,
                     batch->n_tokens);
  return SMFT_OK;
}

/* ---- backward ------------------------------------------------------------ */

static float *wanted(const smft__grads *grads, int32_t index) {
  return index >= 0 && grads->tensors ? grads->tensors[index] : NULL;
}

static smft__matrix_grad wanted_matrix(const smft_patch *patch, const smft__grads *grads,
                                       int32_t index) {
  smft__matrix_grad g = {wanted(grads, index), NULL, NULL};
  if (!grads->adapters || !smft__patch_adapter(patch, index))
    return g;
  g.a = grads->adapters[2 * patch->lora->of[index]];
  g.b = grads->adapters[2 * patch->lora->of[index] + 1];
  return g;
}

static smft__memory_grads memory_grads(const smft_model *model, const smft__grads *grads,
                                       int32_t memory) {
  const smft__memory_index *at = &model->memories[memory];
  smft__memory_grads g = {0};
  g.query_w = wanted(grads, at->query_w);
  g.query_b = wanted(grads, at->query_b);
  g.gate_w = wanted(grads, at->gate_w);
  g.gate_b = wanted(grads, at->gate_b);
  g.out_w = wanted(grads, at->out_w);
  g.out_b = wanted(grads, at->out_b);
  g.keys = wanted(grads, at->keys);
  g.query_norm_w = wanted(grads, at->query_norm_w);
  g.query_norm_b = wanted(grads, at->query_norm_b);
  g.key_norm_w = wanted(grads, at->key_norm_w);
  g.key_norm_b = wanted(grads, at->key_norm_b);
  g.values = wanted(grads, model->pools[at->pool]);
  g.rows = grads->rows ? grads->rows[at->pool] : NULL;
  return g;
}

static smft__block_grads block_grads(const smft_model *model, const smft_patch *patch,
                                     const smft__grads *grads, int32_t layer) {
  const smft__block_index *at = &model->blocks[layer];
  smft__block_grads g;
  memset(&g, 0, sizeof g);
  g.input_norm = wanted(grads, at->input_norm);
  g.q = wanted_matrix(patch, grads, at->q);
  g.k = wanted_matrix(patch, grads, at->k);
  g.v = wanted_matrix(patch, grads, at->v);
  g.o = wanted_matrix(patch, grads, at->o);
  g.post_norm = wanted(grads, at->post_norm);
  g.gate = wanted_matrix(patch, grads, at->gate);
  g.up = wanted_matrix(patch, grads, at->up);
  g.down = wanted_matrix(patch, grads, at->down);
  if (at->memory >= 0) {
    g.alpha = wanted(grads, model->memories[at->memory].alpha);
    g.memory = memory_grads(model, grads, at->memory);
  }
  return g;
}

static int wants_attention(const smft__block_grads *g) {
  return g->input_norm || smft__wants_matrix(&g->q) || smft__wants_matrix(&g->k) ||
         smft__wants_matrix(&g->v) || smft__wants_matrix(&g->o);
}

static int wants_branch(const smft__block_grads *g) {
  const smft__memory_grads *m = &g->memory;
  return g->post_norm || smft__wants_matrix(&g->gate) || smft__wants_matrix(&g->up) ||
         smft__wants_matrix(&g->down) || g->alpha || m->query_w || m->query_b || m->gate_w ||
         m->gate_b || m->out_w || m->out_b || m->keys || m->query_norm_w || m->query_norm_b ||
         m->key_norm_w || m->key_norm_b || m->values || m->rows;
}

/* The lowest block that has something to learn; -1: the embedding; n_layers: none. */
static int32_t lowest_block(const smft_model *model, const smft_patch *patch,
                            const smft__grads *grads) {
  if (wanted(grads, model->embed))
    return -1;
  for (int32_t layer = 0; layer < model->config.n_layers; layer++) {
    smft__block_grads g = block_grads(model, patch, grads, layer);
    if (wants_attention(&g) || wants_branch(&g))
      return layer;
  }
  return model->config.n_layers;
}

smft_status smft__network_backward(smft__tape *tape, const smft_patch *patch,
                                   const smft__grads *grads, const atomic_int *cancel) {
  const smft_model *model = tape->model;
  if (!tape->ready || !tape->keep)
    return smft__fail(SMFT_E_STATE, "backward needs a forward pass that kept its activations");
  if (tape->keep == SMFT__KEEP_VALUES && (grads->tensors || grads->adapters || tape->spent))
    return smft__fail(
        SMFT_E_STATE,
        "backward to tensors, or a second one, needs a forward pass that kept all activations");
  if (smft__patch_rank(patch) != tape->rank)
    return smft__fail(
        SMFT_E_STATE,
        "backward needs the patch of the forward pass: its adapters have another rank");
  tape->spent = 1;
  int32_t lowest = lowest_block(model, patch, grads);
  smft__batch_shape shape = shape_of(tape);
  head_backward(tape, patch, wanted(grads, model->head), wanted(grads, model->norm));
  for (int32_t layer = model->config.n_layers - 1; layer >= 0 && layer >= lowest; layer--) {
    SMFT__TRY(check_cancel(cancel));
    smft__block_weights weights = smft__block_weights_of(model, patch, layer);
    smft__block_grads g = block_grads(model, patch, grads, layer);
    int32_t depth = layer > lowest        ? SMFT__BACK_INPUT
                    : wants_attention(&g) ? SMFT__BACK_ATTENTION
                                          : SMFT__BACK_BRANCH;
    smft__block_backward(&shape, &weights, &tape->blocks[layer], &tape->back, &g, depth, tape->dx);
  }
  if (lowest < 0)
    smft__embedding_backward(model->ctx, tape->ids, tape->dx, tape->n_tokens, model->config.hidden,
                             wanted(grads, model->embed));
  return check_cancel(cancel);
}
