/* norm: RMSNorm over the last dimension: y = x * rsqrt(mean(x^2) + eps) * weight, or * (1 +
 * weight). */
#ifndef SMFT__NORM_H
#define SMFT__NORM_H
#include "data/tensor.h"
/* What a row is multiplied with: the weight, or 1 more. */
enum { SMFT__NORM_BY_WEIGHT, SMFT__NORM_BY_1_PLUS };
/* x, y (T, d), weight (d), inv_rms (T; NULL: not kept).  y may be x. */
void smft__rmsnorm_forward(smft_ctx *ctx, const smft__tensor *weight, int32_t by, float eps,
                           const float *x, int64_t n_tokens, int64_t d, float *y, float *inv_rms);
/* dx (T, d) += ; dw (d; NULL: none) += , summed in token order */
void smft__rmsnorm_backward(smft_ctx *ctx, const smft__tensor *weight, int32_t by, const float *x,
                            const float *inv_rms, const float *dy, int64_t n_tokens, int64_t d,
                            float *dx, float *dw);
#endif
