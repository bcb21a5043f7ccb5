/* rope: rotary positions, Hugging Face layout (first half of a head paired with its second half).
 */
#ifndef SMFT__ROPE_H
#define SMFT__ROPE_H
#include "base/ctx.h"
typedef struct smft__rope_table {
  int32_t dims;      /* of a head that turn, even; the rest passes */
  double *frequency; /* (dims / 2): of a pair, in radians a position */
} smft__rope_table;
/* frequency (dims / 2) = theta^(-2i / dims) */
void smft__rope_frequencies(double *frequency, int32_t dims, double theta);
/* x (T, n_heads, head_dim) in place, positions (T).  inverse: rotates back, which is also the
 * gradient. */
void smft__rope(smft_ctx *ctx, float *x, const int32_t *positions, int64_t n_tokens,
                int32_t n_heads, int32_t head_dim, const smft__rope_table *table, int inverse);
#endif
