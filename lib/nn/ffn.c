/* ffn: the elementwise part of SwiGLU and GEGLU, and sums over long arrays, cut into fixed blocks.
 */
#include "nn/ffn.h"
#include "base/parallel.h"
#include "nn/vector.h"

#define BLOCK_ELEMENTS 16384
#define MOST_SUMS 64

typedef void (*gated_op)(float *act, const float *gate, const float *up, int64_t n);
typedef void (*gated_back_op)(float *d_gate, float *d_up, const float *gate, const float *up,
                              const float *d_act, int64_t n);

typedef struct element_work {
  gated_op gated;
  gated_back_op gated_back;
  const float *a, *b, *c;
  float *y, *z, scale;
  double *sums;
  int64_t n, block;
} element_work;

static int64_t block_length(const element_work *work, int64_t begin) {
  return work->n - begin < work->block ? work->n - begin : work->block;
}

/* ---- gated activations --------------------------------------------------- */

static void gated_block(void *arg, int64_t block, int32_t lane) {
  const element_work *work = arg;
  int64_t at = block * work->block;
  (void)lane;
  work->gated(work->y + at, work->a + at, work->b + at, block_length(work, at));
}

static void gated_back_block(void *arg, int64_t block, int32_t lane) {
  const element_work *work = arg;
  int64_t at = block * work->block;
  (void)lane;
  work->gated_back(work->y + at, work->z + at, work->a + at, work->b + at, work->c + at,
                   block_length(work, at));
}

static void forward(smft_ctx *ctx, gated_op op, const float *gate, const float *up, int64_t n,
                    float *act) {
  element_work work = {.gated = op, .a = gate, .b = up, .y = act, .n = n, .block = BLOCK_ELEMENTS};
  smft__parallel_for(ctx, smft__blocks(n, work.block), gated_block, &work);
}

static void backward(smft_ctx *ctx, gated_back_op op, const float *gate, const float *up,
                     const float *d_act, int64_t n, float *d_gate, float *d_up) {
  element_work work = {.gated_back = op,
                       .a = gate,
                       .b = up,
                       .c = d_act,
                       .y = d_gate,
                       .z = d_up,
                       .n = n,
                       .block = BLOCK_ELEMENTS};
  smft__parallel_for(ctx, smft__blocks(n, work.block), gated_back_block, &work);
}

void smft__swiglu_forward(smft_ctx *ctx, const float *gate, const float *up, int64_t n,
                          float *act) {
  forward(ctx, smft__vector()->swiglu, gate, up, n, act);
}

void smft__swiglu_backward(smft_ctx *ctx, const float *gate, const float *up, const float *d_act,
                           int64_t n, float *d_gate, float *d_up) {
  backward(ctx, smft__vector()->swiglu_back, gate, up, d_act, n, d_gate, d_up);
}

void smft__geglu_forward(smft_ctx *ctx, const float *gate, const float *up, int64_t n, float *act) {
  forward(ctx, smft__vector()->geglu, gate, up, n, act);
}

void smft__geglu_backward(smft_ctx *ctx, const float *gate, const float *up, const float *d_act,
                          int64_t n, float *d_gate, float *d_up) {
  backward(ctx, smft__vector()->geglu_back, gate, up, d_act, n, d_gate, d_up);
}

/* ---- sums ---------------------------------------------------------------- */

static void add_block(void *arg, int64_t block, int32_t lane) {
  const element_work *work = arg;
  int64_t at = block * work->block;
  (void)lane;
  smft__vector()->add_scaled(work->y + at, work->a + at, work->scale, block_length(work, at));
}

void smft__add_scaled(smft_ctx *ctx, float *y, const float *x, float scale, int64_t n) {
  element_work work = {.a = x, .y = y, .scale = scale, .n = n, .block = BLOCK_ELEMENTS};
  smft__parallel_for(ctx, smft__blocks(n, work.block), add_block, &work);
}

static void dot_block(void *arg, int64_t block, int32_t lane) {
  const element_work *work = arg;
  int64_t at = block * work->block;
  (void)lane;
  work->sums[block] =
      smft__vector()->dot_double(work->a + at, work->b + at, block_length(work, at));
}

/* At most MOST_SUMS blocks, whose sums are added in order. */
double smft__dot(smft_ctx *ctx, const float *a, const float *b, int64_t n) {
  double sums[MOST_SUMS], total = 0;
  int64_t share = smft__blocks(n, MOST_SUMS);
  element_work work = {.a = a,
                       .b = b,
                       .sums = sums,
                       .n = n,
                       .block = share > BLOCK_ELEMENTS ? share : BLOCK_ELEMENTS};
  int64_t n_blocks = smft__blocks(n, work.block);
  smft__parallel_for(ctx, n_blocks, dot_block, &work);
  for (int64_t i = 0; i < n_blocks; i++)
    total += sums[i];
  return total;
}
