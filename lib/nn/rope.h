/* rope: rotary positions, Hugging Face layout (first half of a head paired with its second half).
 */
#ifndef SMFT__ROPE_H
#define SMFT__ROPE_H
#include "base/ctx.h"
/* x (T, n_heads, head_dim) in place, positions (T).  inverse: rotates back, which is also the
 * gradient.  head_dim is even. */
void smft__rope(smft_ctx *ctx, float *x, const int32_t *positions, int64_t n_tokens,
                int32_t n_heads, int32_t head_dim, double theta, int inverse);
#endif
