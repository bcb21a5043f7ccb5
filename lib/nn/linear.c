/* linear: y = x W^T + b and its gradients, on gemm.  Owns nothing but the bias. */
#include "nn/linear.h"
#include "base/parallel.h"
#include "nn/gemm.h"
#include "nn/vector.h"

#define BIAS_ROWS 64
#define BIAS_COLUMNS 256

typedef struct bias_work {
  const smft__tensor *bias;
  const float *dy;
  float *y, *db;
  int64_t n_tokens, out;
} bias_work;

/* The bias is laid down first and the product added to it. */
static void fill_rows(void *arg, int64_t block, int32_t lane) {
  const bias_work *work = arg;
  int64_t begin = block * BIAS_ROWS, end = smft__least(begin + BIAS_ROWS, work->n_tokens);
  (void)lane;
  for (int64_t t = begin; t < end; t++)
    smft__vector()->to_f32(work->bias->data, work->bias->dtype, work->out, work->y + t * work->out);
}

static smft__gemm_args forward_args(const smft__tensor *w, const float *x, int64_t n_tokens,
                                    float *y) {
  int64_t out = w->shape[0], in = w->shape[1];
  smft__gemm_args args = {.m = n_tokens,
                          .n = out,
                          .k = in,
                          .a = x,
                          .lda = in,
                          .trans_b = 1,
                          .b = w->data,
                          .ldb = in,
                          .b_dtype = w->dtype,
                          .c = y,
                          .ldc = out};
  return args;
}

static smft__gemm_args input_args(const smft__tensor *w, const float *dy, int64_t n_tokens,
                                  float *dx, int accumulate) {
  int64_t out = w->shape[0], in = w->shape[1];
  smft__gemm_args args = {.m = n_tokens,
                          .n = in,
                          .k = out,
                          .a = dy,
                          .lda = out,
                          .b = w->data,
                          .ldb = in,
                          .b_dtype = w->dtype,
                          .accumulate = accumulate,
                          .c = dx,
                          .ldc = in};
  return args;
}

static smft__gemm_args weight_args(const float *x, const float *dy, int64_t n_tokens, int64_t in,
                                   int64_t out, float *dw) {
  smft__gemm_args args = {.m = out,
                          .n = in,
                          .k = n_tokens,
                          .a = dy,
                          .lda = out,
                          .trans_a = 1,
                          .b = x,
                          .ldb = in,
                          .b_dtype = SMFT__F32,
                          .accumulate = 1,
                          .c = dw,
                          .ldc = in};
  return args;
}

void smft__linear_forward(smft_ctx *ctx, const smft__tensor *w, const smft__tensor *bias,
                          const float *x, int64_t n_tokens, float *y) {
  smft__gemm_args args = forward_args(w, x, n_tokens, y);
  if (bias && bias->data) {
    bias_work work = {bias, NULL, y, NULL, n_tokens, args.n};
    smft__parallel_for(ctx, smft__blocks(n_tokens, BIAS_ROWS), fill_rows, &work);
    args.accumulate = 1;
  }
  smft__gemm(ctx, &args);
}

int smft__linear_forward_finite(smft_ctx *ctx, const smft__tensor *w, const float *x,
                                int64_t n_tokens, float *y) {
  smft__gemm_args args = forward_args(w, x, n_tokens, y);
  atomic_int not_finite = 0;
  args.not_finite = &not_finite;
  smft__gemm(ctx, &args);
  return !atomic_load(&not_finite);
}

void smft__linears_forward(smft_ctx *ctx, const smft__tensor *const *ws, int32_t n, const float *x,
                           int64_t n_tokens, float *const *ys) {
  smft__gemm_args args[SMFT__GEMM_MOST];
  for (int32_t i = 0; i < n; i++)
    args[i] = forward_args(ws[i], x, n_tokens, ys[i]);
  smft__gemm_several(ctx, args, n);
}

static void add_rows(void *arg, int64_t block, int32_t lane) {
  const bias_work *work = arg;
  int64_t first = block * BIAS_ROWS, end = smft__least(first + BIAS_ROWS, work->n_tokens);
  float piece[BIAS_COLUMNS];
  (void)lane;
  for (int64_t begin = 0; begin < work->out; begin += BIAS_COLUMNS) {
    int64_t width = smft__least(BIAS_COLUMNS, work->out - begin);
    const float *bias = smft__as_f32(work->bias, begin, width, piece);
    for (int64_t t = first; t < end; t++)
      smft__vector()->add_scaled(work->y + t * work->out + begin, bias, 1.0f, width);
  }
}

void smft__biases_forward(smft_ctx *ctx, const smft__tensor *const *biases, int32_t n,
                          int64_t n_tokens, float *const *ys) {
  for (int32_t i = 0; i < n; i++) {
    bias_work work = {biases[i], NULL, ys[i], NULL, n_tokens, biases[i]->shape[0]};
    if (biases[i]->data)
      smft__parallel_for(ctx, smft__blocks(n_tokens, BIAS_ROWS), add_rows, &work);
  }
}

void smft__linear_backward(smft_ctx *ctx, const smft__tensor *w, const float *x, const float *dy,
                           int64_t n_tokens, float *dx, int accumulate, float *dw) {
  smft__gemm_args args[2];
  int32_t n = 0;
  if (dw)
    args[n++] = weight_args(x, dy, n_tokens, w->shape[1], w->shape[0], dw);
  if (dx)
    args[n++] = input_args(w, dy, n_tokens, dx, accumulate);
  smft__gemm_several(ctx, args, n);
}

void smft__linear_backward_input(smft_ctx *ctx, const smft__tensor *w, const float *dy,
                                 int64_t n_tokens, float *dx, int accumulate) {
  smft__gemm_args args = input_args(w, dy, n_tokens, dx, accumulate);
  smft__gemm(ctx, &args);
}

/* Columns of dy, summed in token order. */
static void bias_columns(void *arg, int64_t block, int32_t lane) {
  const bias_work *work = arg;
  int64_t begin = block * BIAS_COLUMNS, width = smft__least(BIAS_COLUMNS, work->out - begin);
  (void)lane;
  for (int64_t t = 0; t < work->n_tokens; t++)
    smft__vector()->add_scaled(work->db + begin, work->dy + t * work->out + begin, 1.0f, width);
}

void smft__bias_backward(smft_ctx *ctx, const float *dy, int64_t n_tokens, int64_t out, float *db) {
  bias_work work = {NULL, dy, NULL, db, n_tokens, out};
  smft__parallel_for(ctx, smft__blocks(out, BIAS_COLUMNS), bias_columns, &work);
}

void smft__linear_backward_weight(smft_ctx *ctx, const float *x, const float *dy, int64_t n_tokens,
                                  int64_t in, int64_t out, float *dw, float *db) {
  smft__gemm_args args = weight_args(x, dy, n_tokens, in, out, dw);
  smft__gemm(ctx, &args);
  if (db)
    smft__bias_backward(ctx, dy, n_tokens, out, db);
}
