/* ffn: the elementwise part of SwiGLU and GEGLU: act = f(gate) * up.  The three projections are
 * linear.h's. */
#ifndef SMFT__FFN_H
#define SMFT__FFN_H
#include "base/ctx.h"
/* all (n) ; act may be gate */
void smft__swiglu_forward(smft_ctx *ctx, const float *gate, const float *up, int64_t n, float *act);
/* d_gate, d_up (n) overwritten; either may be d_act */
void smft__swiglu_backward(smft_ctx *ctx, const float *gate, const float *up, const float *d_act,
                           int64_t n, float *d_gate, float *d_up);
/* The same with GELU by its tanh formula: g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 g^3))) */
void smft__geglu_forward(smft_ctx *ctx, const float *gate, const float *up, int64_t n, float *act);
void smft__geglu_backward(smft_ctx *ctx, const float *gate, const float *up, const float *d_act,
                          int64_t n, float *d_gate, float *d_up);
/* y (n) += scale * x */
void smft__add_scaled(smft_ctx *ctx, float *y, const float *x, float scale, int64_t n);
/* sum of a*b in double, in fixed order */
double smft__dot(smft_ctx *ctx, const float *a, const float *b, int64_t n);
#endif
