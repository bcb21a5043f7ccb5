/* attention: causal grouped-query attention, blocked over queries and keys with a running maximum;
 * forward and backward. One block of work forward is (segment, head, QUERIES queries); backward it
 * is (segment, key-value head), which owns its dk and dv. Whatever the threads, each block's sums
 * run in key order (forward) or in query order (backward). */
#include "nn/attention.h"
#include "base/parallel.h"
#include "nn/gemm.h"
#include "nn/vector.h"
#include <math.h>
#include <string.h>

#define QUERIES 64
#define KEYS 256
#define INLINE_WORK 100000 /* multiply-adds; less is not worth waking a thread */

typedef struct attention_work {
  smft_ctx *ctx;
  const smft__segment *segments;
  const smft__segment_grad *grads;
  int64_t n_segments, n_heads, n_kv_heads, head_dim, window, q_blocks;
  float *scratch, factor; /* scores are multiplied with it */
} attention_work;

/* queries [query, query + n) of one head against keys [key, key + n_keys); `first`: where the keys
 * that any of them sees begin */
typedef struct attention_tile {
  int64_t head, kv_head, query, n, first, key, n_keys;
} attention_tile;

typedef struct key_range { /* [begin, end), counted from tile->key; empty: none */
  int64_t begin, end;
} key_range;

/* One lane's: weights and their gradient (QUERIES, KEYS), and three rows (QUERIES). */
#define LANE_FLOATS (2 * QUERIES * KEYS + 3 * QUERIES)

int64_t smft__attention_scratch(const smft_ctx *ctx, int32_t n_heads, int32_t n_kv_heads,
                                int32_t head_dim, int64_t longest) {
  (void)n_heads, (void)n_kv_heads, (void)head_dim, (void)longest;
  return (int64_t)smft__lanes(ctx) * LANE_FLOATS;
}

static int64_t within(int64_t x, int64_t most) { return x < 0 ? 0 : smft__least(x, most); }

/* Of the tile's keys, those that its row i sees. */
static key_range seen(const attention_work *work, const smft__segment *segment,
                      const attention_tile *tile, int64_t i) {
  int64_t end = segment->n_past + tile->query + i + 1 - tile->key;
  key_range range = {0, within(end, tile->n_keys)};
  if (work->window)
    range.begin = within(end - work->window, range.end);
  return range;
}

/* Queries [query, query + QUERIES) of a segment, or as many as it has, before their first key. */
static attention_tile new_tile(const attention_work *work, const smft__segment *segment,
                               int64_t head, int64_t query) {
  attention_tile tile = {.head = head,
                         .kv_head = head / (work->n_heads / work->n_kv_heads),
                         .query = query,
                         .n = smft__least(QUERIES, segment->n_q - query)};
  int64_t last = segment->n_past + query + 1; /* of the keys of the first query */
  if (work->window && last > work->window)
    tile.first = last - work->window;
  return tile;
}

static int64_t q_at(const attention_work *work, const attention_tile *tile) {
  return (tile->query * work->n_heads + tile->head) * work->head_dim;
}

/* Where the tile's first key stands in keys that begin with number `first`. */
static int64_t k_at(const attention_work *work, const attention_tile *tile, int64_t first) {
  return ((tile->key - first) * work->n_kv_heads + tile->kv_head) * work->head_dim;
}

/* The tile's keys (or values): `own` begins with the first new one where the past stands elsewhere.
 */
static const void *keys_of(const attention_work *work, const smft__segment *segment,
                           const attention_tile *tile, const void *past, const void *own) {
  int32_t dtype = segment->kv_dtype ? segment->kv_dtype : SMFT__F32;
  if (!past)
    return smft__element(own, dtype, k_at(work, tile, 0));
  return tile->key < segment->n_past ? smft__element(past, dtype, k_at(work, tile, 0))
                                     : smft__element(own, dtype, k_at(work, tile, segment->n_past));
}

/* Keys from tile->key on, to the last of n_keys, that are in one place; at most KEYS. */
static int64_t keys_together(const smft__segment *segment, const attention_tile *tile,
                             int64_t n_keys) {
  int64_t end = segment->past_k && tile->key < segment->n_past
                    ? smft__least(segment->n_past, n_keys)
                    : n_keys;
  return smft__least(KEYS, end - tile->key);
}

/* out (n, n_keys) = rows (n, head_dim) of a head, times the tile's keys or values transposed */
static void times_keys(const attention_work *work, const attention_tile *tile, const float *rows,
                       const void *keys, int32_t dtype, float *out) {
  smft__gemm_args args = {.m = tile->n,
                          .n = tile->n_keys,
                          .k = work->head_dim,
                          .a = rows + q_at(work, tile),
                          .lda = work->n_heads * work->head_dim,
                          .trans_b = 1,
                          .b = keys,
                          .ldb = work->n_kv_heads * work->head_dim,
                          .b_dtype = dtype,
                          .c = out,
                          .ldc = KEYS};
  smft__gemm_serial(work->ctx, &args);
}

/* rows (n, head_dim) of a head = or += weights (n, n_keys) times the tile's keys or values */
static void times_values(const attention_work *work, const attention_tile *tile,
                         const float *weights, const void *values, int32_t dtype, float *rows,
                         int accumulate) {
  smft__gemm_args args = {.m = tile->n,
                          .n = work->head_dim,
                          .k = tile->n_keys,
                          .a = weights,
                          .lda = KEYS,
                          .b = values,
                          .ldb = work->n_kv_heads * work->head_dim,
                          .b_dtype = dtype,
                          .accumulate = accumulate,
                          .c = rows + q_at(work, tile),
                          .ldc = work->n_heads * work->head_dim};
  smft__gemm_serial(work->ctx, &args);
}

/* d_values (n_keys, head_dim) += weights^T times rows (n, head_dim) of a head */
static void add_transposed(const attention_work *work, const attention_tile *tile,
                           const float *weights, const float *rows, float *d_values) {
  smft__gemm_args args = {.m = tile->n_keys,
                          .n = work->head_dim,
                          .k = tile->n,
                          .a = weights,
                          .lda = KEYS,
                          .trans_a = 1,
                          .b = rows + q_at(work, tile),
                          .ldb = work->n_heads * work->head_dim,
                          .b_dtype = SMFT__F32,
                          .accumulate = 1,
                          .c = d_values,
                          .ldc = work->n_kv_heads * work->head_dim};
  smft__gemm_serial(work->ctx, &args);
}

static void clear_outside(float *row, key_range keys, int64_t n_keys) {
  memset(row, 0, (size_t)keys.begin * sizeof *row);
  memset(row + keys.end, 0, (size_t)(n_keys - keys.end) * sizeof *row);
}

/* scores -> unnormalised weights; the running maximum and sum of each row, and its output so far,
 * follow. */
static void weigh(const attention_work *work, const smft__segment *segment,
                  const attention_tile *tile, float *scores, float *most, float *sum) {
  const smft__vector_ops *vector = smft__vector();
  for (int64_t i = 0; i < tile->n; i++) {
    float *row = scores + i * KEYS;
    float *out = segment->out + q_at(work, tile) + i * work->n_heads * work->head_dim;
    key_range keys = seen(work, segment, tile, i);
    int64_t n = keys.end - keys.begin;
    clear_outside(row, keys, tile->n_keys);
    if (n == 0)
      continue;
    row += keys.begin;
    float peak = vector->maximum(row, n) * work->factor;
    peak = peak > most[i] ? peak : most[i];
    float shrink = tile->key > tile->first ? expf(most[i] - peak) : 0.0f;
    sum[i] = sum[i] * shrink + (float)vector->exp_sum(row, work->factor, peak, n, row);
    if (tile->key > tile->first && shrink != 1.0f)
      vector->scale(out, out, shrink, work->head_dim);
    most[i] = peak;
  }
}

static void forward_tiles(const attention_work *work, const smft__segment *segment,
                          attention_tile *tile, float *scratch) {
  int64_t n_keys = segment->n_past + tile->query + tile->n;
  int64_t row_step = work->n_heads * work->head_dim;
  int32_t dtype = segment->kv_dtype ? segment->kv_dtype : SMFT__F32;
  float *most = scratch + QUERIES * KEYS, *sum = most + QUERIES;
  for (int64_t i = 0; i < tile->n; i++) {
    most[i] = -INFINITY;
    sum[i] = 0;
  }
  for (tile->key = tile->first; tile->key < n_keys; tile->key += tile->n_keys) {
    const void *k = keys_of(work, segment, tile, segment->past_k, segment->k);
    const void *v = keys_of(work, segment, tile, segment->past_v, segment->v);
    tile->n_keys = keys_together(segment, tile, n_keys);
    times_keys(work, tile, segment->q, k, dtype, scratch);
    weigh(work, segment, tile, scratch, most, sum);
    times_values(work, tile, scratch, v, dtype, segment->out, tile->key > tile->first);
  }
  for (int64_t i = 0; i < tile->n; i++) {
    float *out = segment->out + q_at(work, tile) + i * row_step;
    smft__vector()->scale(out, out, 1.0f / sum[i], work->head_dim);
    if (segment->log_sum)
      segment->log_sum[(tile->query + i) * work->n_heads + tile->head] = most[i] + logf(sum[i]);
  }
}

/* Blocks count the longest segment's queries for every segment; those that a shorter one lacks are
 * empty. */
static void forward_block(void *arg, int64_t block, int32_t lane) {
  const attention_work *work = arg;
  const smft__segment *segment = &work->segments[block / (work->n_heads * work->q_blocks)];
  int64_t head = block / work->q_blocks % work->n_heads, query = block % work->q_blocks * QUERIES;
  if (query >= segment->n_q)
    return;
  attention_tile tile = new_tile(work, segment, head, query);
  forward_tiles(work, segment, &tile, work->scratch + (int64_t)lane * LANE_FLOATS);
}

/* All blocks on this lane. */
static void forward_all(void *arg, int64_t block, int32_t lane) {
  const attention_work *work = arg;
  (void)block;
  for (int64_t i = 0; i < work->n_segments * work->n_heads * work->q_blocks; i++)
    forward_block(arg, i, lane);
}

/* Decided by the shapes alone. */
static int is_small(const attention_work *work) {
  double total = 0;
  for (int64_t i = 0; i < work->n_segments && total < INLINE_WORK; i++) {
    const smft__segment *segment = &work->segments[i];
    int64_t keys = segment->n_past + segment->n_q;
    if (work->window)
      keys = smft__least(keys, work->window + QUERIES);
    total += (double)segment->n_q * (double)keys * (double)(work->n_heads * work->head_dim);
  }
  return total < INLINE_WORK;
}

static attention_work new_work(smft_ctx *ctx, const smft__attention_shape *shape,
                               const smft__segment *segments, int64_t n_segments, float *scratch) {
  attention_work work = {.ctx = ctx,
                         .segments = segments,
                         .n_segments = n_segments,
                         .n_heads = shape->n_heads,
                         .n_kv_heads = shape->n_kv_heads,
                         .head_dim = shape->head_dim,
                         .window = shape->window,
                         .scratch = scratch,
                         .factor = shape->scale};
  for (int64_t i = 0; i < n_segments; i++) {
    int64_t blocks = smft__blocks(segments[i].n_q, QUERIES);
    work.q_blocks = blocks > work.q_blocks ? blocks : work.q_blocks;
  }
  return work;
}

void smft__attention_forward(smft_ctx *ctx, const smft__attention_shape *shape,
                             const smft__segment *segments, int64_t n_segments, float *scratch) {
  attention_work work = new_work(ctx, shape, segments, n_segments, scratch);
  if (is_small(&work))
    smft__parallel_for(ctx, 1, forward_all, &work);
  else
    smft__parallel_for(ctx, n_segments * work.n_heads * work.q_blocks, forward_block, &work);
}

/* scores -> weights p from the row's log-sum; d (n, n_keys) the weights' gradient -> the scores':
 * scale * p * (d - row's mean). The mean of d under p is d_out . out. */
static void weights_back(const attention_work *work, const smft__segment *segment,
                         const attention_tile *tile, const float *mean, float *weights, float *d) {
  for (int64_t i = 0; i < tile->n; i++) {
    float *row = weights + i * KEYS, *d_row = d + i * KEYS;
    float log_sum = segment->log_sum[(tile->query + i) * work->n_heads + tile->head];
    key_range keys = seen(work, segment, tile, i);
    int64_t at = keys.begin, n = keys.end - at;
    smft__vector()->exp_sum(row + at, work->factor, log_sum, n, row + at);
    smft__vector()->softmax_back(d_row + at, row + at, mean[i], work->factor, n);
    clear_outside(row, keys, tile->n_keys);
    clear_outside(d_row, keys, tile->n_keys);
  }
}

static void backward_tiles(const attention_work *work, const smft__segment *segment,
                           const smft__segment_grad *grad, attention_tile *tile, float *scratch) {
  int64_t n_keys = segment->n_past + tile->query + tile->n;
  int64_t row_step = work->n_heads * work->head_dim;
  float *d = scratch + QUERIES * KEYS, *mean = d + QUERIES * KEYS;
  for (int64_t i = 0; i < tile->n; i++) {
    int64_t at = q_at(work, tile) + i * row_step;
    mean[i] = smft__vector()->dot(grad->d_out + at, segment->out + at, work->head_dim);
  }
  for (tile->key = tile->first; tile->key < n_keys; tile->key += tile->n_keys) {
    const void *k = keys_of(work, segment, tile, segment->past_k, segment->k);
    const void *v = keys_of(work, segment, tile, segment->past_v, segment->v);
    tile->n_keys = keys_together(segment, tile, n_keys);
    times_keys(work, tile, segment->q, k, SMFT__F32, scratch);
    times_keys(work, tile, grad->d_out, v, SMFT__F32, d);
    weights_back(work, segment, tile, mean, scratch, d);
    if (tile->key >= segment->n_past) {
      int64_t at = k_at(work, tile, segment->n_past);
      add_transposed(work, tile, scratch, grad->d_out, grad->dv + at);
      add_transposed(work, tile, d, segment->q, grad->dk + at);
    }
    times_values(work, tile, d, k, SMFT__F32, grad->dq, tile->key > tile->first);
  }
}

static void clear_head(const attention_work *work, int64_t n_keys, int64_t kv_head, float *d) {
  for (int64_t j = 0; j < n_keys; j++)
    memset(d + (j * work->n_kv_heads + kv_head) * work->head_dim, 0,
           (size_t)work->head_dim * sizeof *d);
}

static void backward_block(void *arg, int64_t block, int32_t lane) {
  const attention_work *work = arg;
  int64_t index = block / work->n_kv_heads, kv_head = block % work->n_kv_heads;
  int64_t group = work->n_heads / work->n_kv_heads;
  const smft__segment *segment = &work->segments[index];
  const smft__segment_grad *grad = &work->grads[index];
  clear_head(work, segment->n_q, kv_head, grad->dk);
  clear_head(work, segment->n_q, kv_head, grad->dv);
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++)
    for (int64_t query = 0; query < segment->n_q; query += QUERIES) {
      attention_tile tile = new_tile(work, segment, head, query);
      backward_tiles(work, segment, grad, &tile, work->scratch + (int64_t)lane * LANE_FLOATS);
    }
}

void smft__attention_backward(smft_ctx *ctx, const smft__attention_shape *shape,
                              const smft__segment *segments, const smft__segment_grad *grads,
                              int64_t n_segments, float *scratch) {
  attention_work work = new_work(ctx, shape, segments, n_segments, scratch);
  work.grads = grads;
  smft__parallel_for(ctx, n_segments * work.n_kv_heads, backward_block, &work);
}
