/* lookup: which slots a token reads.  Work is cut in blocks of tokens times one head: the products
 * of a block with all sub-keys of both halves are made in the lane's scratch (cache-sized) and used
 * up at once by the selection; no (T, H, 2, n) array exists. Owns nothing.  Backward treats the
 * selection as given: only the k chosen sub-keys of each half have a gradient. */
#include "memory/lookup.h"
#include "base/parallel.h"
#include "memory/product_keys.h"
#include "memory/kernels/row.h"
#include "nn/gemm.h"
#include "nn/vector.h"
#include <math.h>

enum { TOKENS = 256, GROUP = SMFT__ROW_GROUP, SLICE = 64 };
#define SMALL_WORK (1 << 18) /* multiply-adds for which no thread is woken */

typedef struct lookup_work {
  smft_ctx *ctx;
  const smft__lookup *lookup;
  int64_t *slots;
  float *weights;
  char *scratch;
  int64_t lane_size;
  const smft__row_kernels *kernels; /* backward */
  const int64_t *read;
  const float *softmax;
  float *d_scores, *d_query, *d_keys;
  int32_t *halves;
  int clear;
} lookup_work;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static int64_t score_bytes(const smft__lookup *lookup) {
  return aligned(smaller(TOKENS, lookup->n_tokens) * lookup->n_keys * (int64_t)sizeof(float));
}

static int64_t lane_bytes(const smft__lookup *lookup) {
  return 2 * score_bytes(lookup) +
         aligned(smft__product_keys_scratch(lookup->n_keys, lookup->top_k));
}

int64_t smft__lookup_scratch(const smft_ctx *ctx, const smft__lookup *lookup) {
  return smft__lanes(ctx) * lane_bytes(lookup);
}

/* Blocks of tokens times heads, on the caller's thread alone when there is little to do. */
static void run_blocks(smft_ctx *ctx, lookup_work *work, int64_t products, smft__block_body body) {
  const smft__lookup *lookup = work->lookup;
  int64_t n_blocks = smft__blocks(lookup->n_tokens, TOKENS) * lookup->heads;
  if (lookup->n_tokens * lookup->heads * lookup->half * products > SMALL_WORK) {
    smft__parallel_for(ctx, n_blocks, body, work);
    return;
  }
  for (int64_t block = 0; block < n_blocks; block++)
    body(work, block, 0);
}

/* ---- forward ------------------------------------------------------------- */

/* scores (n_tokens, n) = queries of one head and half, tokens from `begin`, times its sub-keys,
 * times the temperature. */
static void half_scores(smft_ctx *ctx, const smft__lookup *lookup, int64_t begin, int64_t n_tokens,
                        int64_t head, int64_t which, float *scores) {
  int64_t n = lookup->n_keys, half = lookup->half, step = 2 * lookup->heads * half;
  smft__gemm_args args = {.m = n_tokens,
                          .n = n,
                          .k = half,
                          .a = lookup->query + begin * step + (2 * head + which) * half,
                          .lda = step,
                          .trans_b = 1,
                          .b = smft__element(lookup->keys, lookup->keys_dtype,
                                             (2 * head + which) * n * half),
                          .ldb = half,
                          .b_dtype = lookup->keys_dtype,
                          .c = scores,
                          .ldc = n};
  smft__gemm_serial(ctx, &args);
  if (lookup->temperature < 1.0f || lookup->temperature > 1.0f)
    smft__vector()->scale(scores, scores, lookup->temperature, n_tokens * n);
}

/* In place.  Scores that are not finite give weights that are not: the caller's loss shows it. */
static void softmax(float *scores, int64_t k) {
  /* the best stands first */
  double sum = smft__vector()->exp_sum(scores, 1.0f, scores[0], k, scores);
  smft__vector()->scale(scores, scores, (float)(1.0 / sum), k);
}

static void forward_block(void *arg, int64_t block, int32_t lane) {
  const lookup_work *work = arg;
  const smft__lookup *lookup = work->lookup;
  int64_t head = block % lookup->heads, begin = block / lookup->heads * TOKENS;
  int64_t n = lookup->n_keys, k = lookup->top_k;
  int64_t count = smaller(TOKENS, lookup->n_tokens - begin);
  char *scratch = work->scratch + lane * work->lane_size;
  float *first = (void *)scratch, *second = (void *)(scratch + score_bytes(lookup));
  smft__product_keys *keys = smft__product_keys_prepare(n, k, scratch + 2 * score_bytes(lookup));
  half_scores(work->ctx, lookup, begin, count, head, 0, first);
  half_scores(work->ctx, lookup, begin, count, head, 1, second);
  for (int64_t t = 0; t < count; t++) {
    int64_t at = ((begin + t) * lookup->heads + head) * k;
    smft__product_keys_top(keys, first + t * n, second + t * n, work->slots + at,
                           work->weights + at);
    softmax(work->weights + at, k);
  }
}

void smft__lookup_forward(smft_ctx *ctx, const smft__lookup *lookup, int64_t *slots, float *weights,
                          void *scratch) {
  lookup_work work = {.ctx = ctx,
                      .lookup = lookup,
                      .slots = slots,
                      .weights = weights,
                      .scratch = scratch,
                      .lane_size = lane_bytes(lookup)};
  run_blocks(ctx, &work, 2 * lookup->n_keys, forward_block);
}

/* ---- backward ------------------------------------------------------------ */

/* d (k) gradient of the weights -> gradient of the products. */
static void softmax_back(const float *weights, float temperature, int64_t k, float *d) {
  float mean = 0;
  for (int64_t i = 0; i < k; i++)
    mean += weights[i] * d[i];
  for (int64_t i = 0; i < k; i++)
    d[i] = temperature * weights[i] * (d[i] - mean);
}

/* d_query (dk/2) = sum of d_scores * sub-keys */
static void sum_keys(const lookup_work *work, int64_t plane, const int32_t *chosen,
                     const float *d_scores, float *d_query) {
  const smft__lookup *lookup = work->lookup;
  int64_t half = lookup->half, k = lookup->top_k;
  int32_t dtype = lookup->keys_dtype;
  memset(d_query, 0, (size_t)half * sizeof *d_query);
  for (int64_t i = 0; i < k; i += GROUP) {
    const void *rows[GROUP];
    int n = (int)smaller(GROUP, k - i);
    for (int j = 0; j < n; j++)
      rows[j] = smft__element(lookup->keys, dtype, (plane * lookup->n_keys + chosen[i + j]) * half);
    if (n == GROUP)
      work->kernels->add4(dtype, d_query, rows, d_scores + i, NULL, half);
    else
      for (int j = 0; j < n; j++)
        work->kernels->add(dtype, d_query, rows[j], d_scores[i + j], half);
  }
}

static void query_block(void *arg, int64_t block, int32_t lane) {
  const lookup_work *work = arg;
  const smft__lookup *lookup = work->lookup;
  int64_t head = block % lookup->heads, begin = block / lookup->heads * TOKENS;
  int64_t end = smaller(begin + TOKENS, lookup->n_tokens);
  int64_t k = lookup->top_k, all = lookup->n_tokens * lookup->heads * k;
  (void)lane;
  for (int64_t t = begin; t < end; t++) {
    int64_t at = (t * lookup->heads + head) * k;
    int32_t *first = work->halves + at, *second = first + all;
    for (int64_t i = 0; i < k; i++) {
      uint32_t slot = (uint32_t)work->read[at + i], n = (uint32_t)lookup->n_keys;
      first[i] = (int32_t)(slot / n);
      second[i] = (int32_t)(slot % n);
    }
    softmax_back(work->softmax + at, lookup->temperature, k, work->d_scores + at);
    if (!work->d_query)
      continue;
    float *d_query = work->d_query + (t * lookup->heads + head) * 2 * lookup->half;
    sum_keys(work, 2 * head, first, work->d_scores + at, d_query);
    sum_keys(work, 2 * head + 1, second, work->d_scores + at, d_query + lookup->half);
  }
}

void smft__lookup_backward_query(smft_ctx *ctx, const smft__lookup *lookup, const int64_t *slots,
                                 const float *weights, float *d_scores, int32_t *halves,
                                 float *d_query) {
  lookup_work work = {.ctx = ctx,
                      .lookup = lookup,
                      .kernels = smft__row_kernels_best(),
                      .read = slots,
                      .softmax = weights,
                      .d_scores = d_scores,
                      .d_query = d_query,
                      .halves = halves};
  run_blocks(ctx, &work, 2 * lookup->top_k, query_block);
}

/* One slice of the columns of one half of one head: nobody else writes there, so tokens are taken
 * in order. */
static void keys_block(void *arg, int64_t block, int32_t lane) {
  const lookup_work *work = arg;
  const smft__lookup *lookup = work->lookup;
  int64_t half = lookup->half, slices = smft__blocks(half, SLICE), plane = block / slices;
  int64_t column = block % slices * SLICE;
  int64_t width = smaller(SLICE, half - column), k = lookup->top_k, heads = lookup->heads;
  int64_t head = plane / 2;
  const int32_t *halves = work->halves + plane % 2 * lookup->n_tokens * heads * k;
  float *d_keys = work->d_keys + plane * lookup->n_keys * half + column;
  (void)lane;
  if (work->clear)
    for (int64_t j = 0; j < lookup->n_keys; j++)
      memset(d_keys + j * half, 0, (size_t)width * sizeof *d_keys);
  for (int64_t t = 0; t < lookup->n_tokens; t++) {
    const float *query = lookup->query + t * heads * 2 * half + plane * half + column;
    for (int64_t at = (t * heads + head) * k; at < (t * heads + head + 1) * k; at++)
      work->kernels->add(SMFT__F32, d_keys + halves[at] * half, query, work->d_scores[at], width);
  }
}

void smft__lookup_backward_keys(smft_ctx *ctx, const smft__lookup *lookup, const float *d_scores,
                                const int32_t *halves, float *d_keys, int clear) {
  lookup_work work = {.ctx = ctx,
                      .lookup = lookup,
                      .kernels = smft__row_kernels_best(),
                      .d_keys = d_keys,
                      .clear = clear};
  work.d_scores = (float *)(uintptr_t)d_scores; /* only read */
  work.halves = (int32_t *)(uintptr_t)halves;
  smft__parallel_for(ctx, 2 * lookup->heads * smft__blocks(lookup->half, SLICE), keys_block, &work);
}
