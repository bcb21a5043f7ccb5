/* rope: rotary positions: pairs of a head's numbers turn by an angle that grows with the position.
 */
#ifndef SMFT__ROPE_H
#define SMFT__ROPE_H
#include "base/ctx.h"
/* Which numbers are pair i: (i, i + dims / 2), as Hugging Face has them, or (2i, 2i + 1). */
enum { SMFT__PAIRS_HALVES, SMFT__PAIRS_NEIGHBOURS };
typedef struct smft__rope_table {
  int32_t dims;      /* of a head that turn, even; the rest passes */
  int32_t pairs;     /* SMFT__PAIRS_* */
  float magnitude;   /* what turned, is multiplied with it; 1 but for YaRN */
  double *frequency; /* (dims / 2): of a pair, in radians a position */
} smft__rope_table;
/* frequency (dims / 2) = theta^(-2i / dims) */
void smft__rope_frequencies(double *frequency, int32_t dims, double theta);
/* x (T, n_heads, head_dim) in place, positions (T).  inverse: the transpose, which is the
 * gradient: rotates back, with the same magnitude. */
void smft__rope(smft_ctx *ctx, float *x, const int32_t *positions, int64_t n_tokens,
                int32_t n_heads, int32_t head_dim, const smft__rope_table *table, int inverse);
#endif
