/* norm: RMSNorm, forward and backward.  Rows in parallel; the weight's gradient in columns, so that
 * each is summed in token order. */
#include "nn/norm.h"
#include "base/parallel.h"
#include "nn/vector.h"
#include <math.h>

#define BLOCK_ELEMENTS 16384
#define WEIGHT_COLUMNS 64
#define CHUNK 512 /* of a row at a time, where the weight must be converted */

typedef struct norm_work {
  const smft__tensor *weight;
  int32_t by;
  float eps;
  const float *x, *dy, *given_inv_rms;
  float *y, *inv_rms, *dx, *dw;
  int64_t n_tokens, d, rows;
} norm_work;

static int64_t rows_in_block(int64_t d) { return d < BLOCK_ELEMENTS ? BLOCK_ELEMENTS / d : 1; }

/* Of columns [j, j + n), n <= CHUNK = room in scratch. */
static const float *factors(const norm_work *work, int64_t j, int64_t n, float *scratch) {
  const float *weight = smft__as_f32(work->weight, j, n, scratch);
  if (work->by == SMFT__NORM_BY_WEIGHT)
    return weight;
  for (int64_t i = 0; i < n; i++)
    scratch[i] = 1.0f + weight[i];
  return scratch;
}

static void forward_rows(void *arg, int64_t block, int32_t lane) {
  const norm_work *work = arg;
  const smft__vector_ops *vector = smft__vector();
  int64_t d = work->d, begin = block * work->rows;
  int64_t end = smft__least(begin + work->rows, work->n_tokens);
  float scratch[CHUNK];
  (void)lane;
  for (int64_t t = begin; t < end; t++) {
    const float *x = work->x + t * d;
    float inv = 1.0f / sqrtf(vector->dot(x, x, d) / (float)d + work->eps);
    for (int64_t j = 0; j < d; j += CHUNK) {
      int64_t n = smft__least(CHUNK, d - j);
      vector->scale_weighted(work->y + t * d + j, x + j, factors(work, j, n, scratch), inv, n);
    }
    if (work->inv_rms)
      work->inv_rms[t] = inv;
  }
}

void smft__rmsnorm_forward(smft_ctx *ctx, const smft__tensor *weight, int32_t by, float eps,
                           const float *x, int64_t n_tokens, int64_t d, float *y, float *inv_rms) {
  norm_work work = {.weight = weight,
                    .by = by,
                    .eps = eps,
                    .x = x,
                    .y = y,
                    .inv_rms = inv_rms,
                    .n_tokens = n_tokens,
                    .d = d,
                    .rows = rows_in_block(d)};
  smft__parallel_for(ctx, smft__blocks(n_tokens, work.rows), forward_rows, &work);
}

/* sum of dy * w * x, a chunk at a time */
static float weighted_dot(const norm_work *work, const float *x, const float *dy) {
  const smft__vector_ops *vector = smft__vector();
  float scratch[CHUNK], product[CHUNK], total = 0;
  for (int64_t j = 0; j < work->d; j += CHUNK) {
    int64_t n = smft__least(CHUNK, work->d - j);
    vector->scale_weighted(product, dy + j, factors(work, j, n, scratch), 1.0f, n);
    total += vector->dot(product, x + j, n);
  }
  return total;
}

/* y = x r w, r = (mean(x^2) + eps)^(-1/2):  dx = r w dy - x r^3 / d * sum(dy w x) */
static void backward_rows(void *arg, int64_t block, int32_t lane) {
  const norm_work *work = arg;
  int64_t d = work->d, begin = block * work->rows;
  int64_t end = smft__least(begin + work->rows, work->n_tokens);
  float scratch[CHUNK];
  (void)lane;
  for (int64_t t = begin; t < end; t++) {
    const float *x = work->x + t * d, *dy = work->dy + t * d;
    float inv = work->given_inv_rms[t];
    float pull = inv * inv * inv / (float)d * weighted_dot(work, x, dy);
    for (int64_t j = 0; j < d; j += CHUNK) {
      int64_t n = smft__least(CHUNK, d - j);
      smft__vector()->norm_back(work->dx + t * d + j, x + j, dy + j, factors(work, j, n, scratch),
                                inv, pull, n);
    }
  }
}

static void weight_columns(void *arg, int64_t block, int32_t lane) {
  const norm_work *work = arg;
  int64_t d = work->d, begin = block * WEIGHT_COLUMNS, n = smft__least(WEIGHT_COLUMNS, d - begin);
  float scaled[WEIGHT_COLUMNS];
  (void)lane;
  for (int64_t t = 0; t < work->n_tokens; t++) {
    int64_t at = t * d + begin;
    smft__vector()->scale_weighted(scaled, work->x + at, work->dy + at, work->given_inv_rms[t], n);
    smft__vector()->add_scaled(work->dw + begin, scaled, 1.0f, n);
  }
}

void smft__rmsnorm_backward(smft_ctx *ctx, const smft__tensor *weight, int32_t by, const float *x,
                            const float *inv_rms, const float *dy, int64_t n_tokens, int64_t d,
                            float *dx, float *dw) {
  norm_work work = {.weight = weight,
                    .by = by,
                    .x = x,
                    .dy = dy,
                    .given_inv_rms = inv_rms,
                    .dx = dx,
                    .dw = dw,
                    .n_tokens = n_tokens,
                    .d = d,
                    .rows = rows_in_block(d)};
  if (dw)
    smft__parallel_for(ctx, smft__blocks(d, WEIGHT_COLUMNS), weight_columns, &work);
  smft__parallel_for(ctx, smft__blocks(n_tokens, work.rows), backward_rows, &work);
}
