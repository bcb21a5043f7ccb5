/* half_norm: norms of many short rows, forward and backward, on the context's threads.
 * Owns nothing.  Statistics are computed again in backward: a row is in the nearest cache, so that
 * costs less than keeping them. */
#include "memory/half_norm.h"
#include "base/parallel.h"
#include "nn/vector.h"
#include <math.h>

typedef struct row_shape {
  float mean, factor; /* hat = (x - mean) * factor */
} row_shape;

/* What part of a row's sum counts: the mean, or for l2 the sum itself. */
static float share(const smft__half_norm *norm) {
  return norm->kind == SMFT__NORM_L2 ? 1.0f : 1.0f / (float)norm->size;
}

#define SMFT__BODY "memory/kernels/half_norm_body.h"
#include "nn/kernels/levels.h"

typedef struct norm_kernels {
  void (*forward)(const smft__half_norm *norm, const float *x, float *y);
  void (*backward)(const smft__half_norm *norm, const float *x, const float *dy, float *dx,
                   int accumulate, float *d_weight, float *d_bias);
} norm_kernels;

static const norm_kernels by_level[] = {
    {forward_portable, backward_portable},
#if defined(__x86_64__)
    {forward_avx2, backward_avx2},
    {forward_avx512, backward_avx512},
#endif
};

/* rows of a block at least; blocks with sums of their own at most */
enum { ROWS = 64, MOST_PARTS = 64 };

typedef struct norm_work {
  const smft__half_norm *norm;
  const smft__tensor *source;
  int64_t n_rows, rows; /* in all, of a block */
  float *out;
  const float *d_out;
  float *d_source, *parts, *room; /* parts (blocks, 2, size), room (lanes, size) */
  int accumulate, sums;
} norm_work;

static int64_t block_end(const norm_work *work, int64_t block) {
  int64_t end = (block + 1) * work->rows;
  return end < work->n_rows ? end : work->n_rows;
}

static void forward_rows(void *arg, int64_t block, int32_t lane) {
  const norm_work *work = arg;
  const norm_kernels *kernels = &by_level[smft__cpu_level()];
  int64_t size = work->norm->size;
  (void)lane;
  for (int64_t row = block * work->rows; row < block_end(work, block); row++) {
    float *to = work->out + row * size;
    kernels->forward(work->norm, smft__as_f32(work->source, row * size, size, to), to);
  }
}

void smft__half_norm_forward(smft_ctx *ctx, const smft__half_norm *norm, const smft__tensor *source,
                             int64_t n_rows, float *out) {
  norm_work work = {.norm = norm, .source = source, .n_rows = n_rows, .rows = ROWS, .out = out};
  smft__parallel_for(ctx, smft__blocks(n_rows, ROWS), forward_rows, &work);
}

int64_t smft__half_norm_scratch(const smft_ctx *ctx, int64_t size) {
  return (2 * MOST_PARTS + smft__lanes(ctx)) * size;
}

static void backward_rows(void *arg, int64_t block, int32_t lane) {
  const norm_work *work = arg;
  const norm_kernels *kernels = &by_level[smft__cpu_level()];
  int64_t size = work->norm->size;
  float *parts = work->parts + 2 * block * size;
  memset(parts, 0, 2 * (size_t)size * sizeof *parts);
  for (int64_t row = block * work->rows; row < block_end(work, block); row++)
    kernels->backward(work->norm,
                      smft__as_f32(work->source, row * size, size, work->room + lane * size),
                      work->d_out + row * size, work->d_source + row * size, work->accumulate,
                      work->sums ? parts : NULL, work->sums ? parts + size : NULL);
}

static void add_parts(const norm_work *work, const float *parts, float *sum) {
  if (sum)
    for (int64_t block = 0; block < smft__blocks(work->n_rows, work->rows); block++)
      smft__vector()->add_scaled(sum, parts + 2 * block * work->norm->size, 1.0f, work->norm->size);
}

void smft__half_norm_backward(smft_ctx *ctx, const smft__half_norm *norm,
                              const smft__tensor *source, int64_t n_rows, const float *d_out,
                              float *d_source, int accumulate, float *d_weight, float *d_bias,
                              float *scratch) {
  norm_work work = {.norm = norm,
                    .source = source,
                    .n_rows = n_rows,
                    .rows = smft__blocks(n_rows, MOST_PARTS),
                    .d_out = d_out,
                    .d_source = d_source,
                    .parts = scratch,
                    .room = scratch + 2 * MOST_PARTS * norm->size,
                    .accumulate = accumulate,
                    .sums = d_weight || d_bias};
  work.rows = work.rows > ROWS ? work.rows : ROWS;
  smft__parallel_for(ctx, smft__blocks(n_rows, work.rows), backward_rows, &work);
  add_parts(&work, work.parts, d_weight);
  add_parts(&work, work.parts + norm->size, d_bias);
}
