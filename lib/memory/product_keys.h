/* product_keys: exact top-k of the n*n grid of sub-key sums (docs/method.md steps 2-3).  Ties go to
 * the lower slot id; NaN is never chosen (a NaN score counts as minus infinity). */
#ifndef SMFT__PRODUCT_KEYS_H
#define SMFT__PRODUCT_KEYS_H
#include <stdint.h>
typedef struct smft__product_keys smft__product_keys;
/* 1 <= k <= n <= 65536.  scratch: smft__product_keys_scratch(n, k) bytes, 64-byte aligned; holds
 * what is returned, for any number of tops. */
int64_t smft__product_keys_scratch(int64_t n, int64_t k);
smft__product_keys *smft__product_keys_prepare(int64_t n, int64_t k, void *scratch);
/* s1, s2 (n) scores of the two halves -> slots (k) = i1 * n + i2 and scores (k), best first. */
void smft__product_keys_top(smft__product_keys *work, const float *s1, const float *s2,
                            int64_t *slots, float *scores);
#endif
