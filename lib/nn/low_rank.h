/* low_rank: what a pair of thin matrices adds to a linear layer, and its gradients: y += s (x A^T)
 * B^T, in time and memory linear in the rank: neither B A nor a gradient of its size is ever made.
 * As all of lib/nn: no allocation, no failure, no dependence on threads. */
#ifndef SMFT__LOW_RANK_H
#define SMFT__LOW_RANK_H
#include "data/tensor.h"
typedef struct smft__low_rank {
  const float *a; /* (rank, in) */
  const float *b; /* (out, rank) */
  int64_t rank, in, out;
  float scale;
} smft__low_rank;
/* y (T, out) += scale (x A^T) B^T, x (T, in).  scratch (T, rank). */
void smft__low_rank_forward(smft_ctx *ctx, const smft__low_rank *w, const float *x,
                            int64_t n_tokens, float *scratch, float *y);
/* dy (T, out): da (rank, in), db (out, rank) and dx (T, in) are added to; NULL: not wanted. scratch
 * (T, 2 rank). */
void smft__low_rank_backward(smft_ctx *ctx, const smft__low_rank *w, const float *x,
                             const float *dy, int64_t n_tokens, float *scratch, float *da,
                             float *db, float *dx);
/* values (out, in) += scale B A */
void smft__low_rank_merge(smft_ctx *ctx, const smft__low_rank *w, float *values);
#endif
