/* linear: y = x W^T + b and its gradients.  W (out, in) row-major in F32, F16 or BF16, read as it
 * is; everything else f32. Kernels of lib/nn never allocate and never fail; shapes were checked by
 * the caller. Results do not depend on the number of threads, and a row's result does not depend on
 * which other rows are in the call beyond float rounding. */
#ifndef SMFT__LINEAR_H
#define SMFT__LINEAR_H
#include "data/tensor.h"
/* y (T, out) = x (T, in) W^T + bias (out; NULL: none; F32/F16/BF16 tensor or absent).  y may not
 * overlap x. */
void smft__linear_forward(smft_ctx *ctx, const smft__tensor *w, const smft__tensor *bias,
                          const float *x, int64_t n_tokens, float *y);
/* The same without bias; 0 where an element of y is NaN or infinite. */
int smft__linear_forward_finite(smft_ctx *ctx, const smft__tensor *w, const float *x,
                                int64_t n_tokens, float *y);
/* ys[i] (T, out of ws[i]) = x (T, in) ws[i]^T for n matrices (at most 3) of one input. */
void smft__linears_forward(smft_ctx *ctx, const smft__tensor *const *ws, int32_t n, const float *x,
                           int64_t n_tokens, float *const *ys);
/* ys[i] (T, out) += biases[i] (out; absent: nothing) for n products made side by side; db (out) +=
 * the column sums of dy (T, out). */
void smft__biases_forward(smft_ctx *ctx, const smft__tensor *const *biases, int32_t n,
                          int64_t n_tokens, float *const *ys);
void smft__bias_backward(smft_ctx *ctx, const float *dy, int64_t n_tokens, int64_t out, float *db);
/* dx (T, in; NULL: not wanted) = or += dy (T, out) W; dw (out, in; NULL: not wanted) += dy^T x.  dx
 * may not overlap x or dy. */
void smft__linear_backward(smft_ctx *ctx, const smft__tensor *w, const float *x, const float *dy,
                           int64_t n_tokens, float *dx, int accumulate, float *dw);
/* One of them: dx (T, in) = or += dy (T, out) W */
void smft__linear_backward_input(smft_ctx *ctx, const smft__tensor *w, const float *dy,
                                 int64_t n_tokens, float *dx, int accumulate);
/* dw (out, in) += dy^T x; db (out; NULL: none) += column sums of dy */
void smft__linear_backward_weight(smft_ctx *ctx, const float *x, const float *dy, int64_t n_tokens,
                                  int64_t in, int64_t out, float *dw, float *db);
#endif
