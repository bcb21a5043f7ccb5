/* norm: RMSNorm over the last dimension: y = x * rsqrt(mean(x^2) + eps) * weight. */
#ifndef SMFT__NORM_H
#define SMFT__NORM_H
#include "data/tensor.h"
/* x, y (T, d), weight (d), inv_rms (T; NULL: not kept).  y may be x. */
void smft__rmsnorm_forward(smft_ctx *ctx, const smft__tensor *weight, float eps, const float *x,
                           int64_t n_tokens, int64_t d, float *y, float *inv_rms);
/* dx (T, d) += ; dw (d; NULL: none) += , summed in token order */
void smft__rmsnorm_backward(smft_ctx *ctx, const smft__tensor *weight, const float *x,
                            const float *inv_rms, const float *dy, int64_t n_tokens, int64_t d,
                            float *dx, float *dw);
#endif
