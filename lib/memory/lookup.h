/* lookup: from normed queries and keys to the slots a token reads and their weights (steps 2
 * to 4 in docs/method.md), and back. */
#ifndef SMFT__LOOKUP_H
#define SMFT__LOOKUP_H
#include "base/ctx.h"

typedef struct smft__lookup {
  int64_t n_tokens, heads, n_keys, top_k, half; /* T, H, n, k, dk/2 */
  float temperature;
  const float *query; /* (T, H, 2, dk/2) */
  const void *keys;   /* (H, 2, n, dk/2) */
  int32_t keys_dtype;
} smft__lookup;

/* Bytes, 64-byte aligned, for all lanes. */
int64_t smft__lookup_scratch(const smft_ctx *ctx, const smft__lookup *lookup);
/* slots, weights (T, H, k), best first; weights are the softmax of the k scores. */
void smft__lookup_forward(smft_ctx *ctx, const smft__lookup *lookup, int64_t *slots, float *weights,
                          void *scratch);

/* d_scores (T, H, k) holds the gradient of the weights and becomes that of the sub-keys' products.
 * d_query (T, H, 2, dk/2) overwritten (NULL: not wanted).  halves (2, T, H, k): the sub-keys of
 * each slot, written. */
void smft__lookup_backward_query(smft_ctx *ctx, const smft__lookup *lookup, const int64_t *slots,
                                 const float *weights, float *d_scores, int32_t *halves,
                                 float *d_query);
/* After it: d_keys (H, 2, n, dk/2) +=, or = when clear; each sub-key in token order. */
void smft__lookup_backward_keys(smft_ctx *ctx, const smft__lookup *lookup, const float *d_scores,
                                const int32_t *halves, float *d_keys, int clear);
#endif
