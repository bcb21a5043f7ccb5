/* loss: cross-entropy over the vocabulary. */
#ifndef SMFT__LOSS_H
#define SMFT__LOSS_H
#include "base/ctx.h"
/* logits (m, V) -> nll (m) of targets (m).  log-sum in f32 with a subtracted maximum, the sum in
 * double. */
void smft__nll_rows(smft_ctx *ctx, const float *logits, const int32_t *targets, int64_t m,
                    int64_t vocab, float *nll);
/* In place: logits (m, V) become d(sum of scale_i * nll_i)/dlogits = scale_i * (softmax - onehot);
 * nll (m) as above. */
void smft__nll_rows_backward(smft_ctx *ctx, float *logits, const int32_t *targets,
                             const float *scale, int64_t m, int64_t vocab, float *nll);
/* KL(p || q) per row of two logit matrices (m, V), in double. */
void smft__kl_rows(smft_ctx *ctx, const float *p_logits, const float *q_logits, int64_t m,
                   int64_t vocab, double *kl);
#endif
