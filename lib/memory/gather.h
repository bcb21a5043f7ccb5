/* gather: many weighted reads of a value pool: their sums (forward), their weights' gradient and
 * the values' gradient (backward). */
#ifndef SMFT__GATHER_H
#define SMFT__GATHER_H
#include "memory/pool.h"
#include "memory/rows.h"

typedef struct smft__reads { /* what n_tokens tokens read: n_reads slots each */
  const int64_t *slots;      /* (n_tokens, n_reads) */
  const float *weights;      /* (n_tokens, n_reads) */
  int64_t n_tokens, n_reads;
} smft__reads;

/* sum (n_tokens, value_dim) = sum over reads of weight * values[slot], in the order of the reads.
 */
void smft__gather_forward(smft_ctx *ctx, const smft__pool *pool, const smft__reads *reads,
                          float *sum);
/* d_weights (n_tokens, n_reads) = <values[slot], d_sum of the token> */
void smft__gather_backward_weights(smft_ctx *ctx, const smft__pool *pool, const smft__reads *reads,
                                   const float *d_sum, float *d_weights);

/* Gradient of the values: every row that was read gets its sum over reads of weight * d_sum, in
 * token order.  entries: 2 * n_tokens * n_reads working room. */
void smft__gather_backward_dense(smft_ctx *ctx, const smft__reads *reads, const float *d_sum,
                                 int64_t value_dim, float *d_values,
                                 uint64_t *entries); /* d_values (n_slots, value_dim) += */
/* The same, the same bits, for the rows that are in `rows` (their values +=); others are left
 * alone. */
void smft__gather_backward_rows(smft_ctx *ctx, const smft__reads *reads, const float *d_sum,
                                smft__rows *rows, uint64_t *entries);
#endif
