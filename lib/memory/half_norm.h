/* half_norm: the norms of queries and keys, over each half of a head's dk numbers (layernorm,
 * rmsnorm, l2), forward and backward. */
#ifndef SMFT__HALF_NORM_H
#define SMFT__HALF_NORM_H
#include "data/tensor.h"

enum { SMFT__NORM_NONE, SMFT__NORM_LAYERNORM, SMFT__NORM_RMSNORM, SMFT__NORM_L2 };

typedef struct smft__half_norm {
  int32_t kind; /* SMFT__NORM_* but NONE */
  int64_t size; /* numbers in a row */
  float eps;
  const float *weight, *bias; /* (size) or NULL: ones, zeros */
} smft__half_norm;

/* source (n_rows, size; F32/F16/BF16) -> out (n_rows, size), which may be the source. */
void smft__half_norm_forward(smft_ctx *ctx, const smft__half_norm *norm, const smft__tensor *source,
                             int64_t n_rows, float *out);
/* d_out (n_rows, size) -> d_source = or +=, may be d_out; d_weight, d_bias (size) += or NULL,
 * summed in an order of rows that is always the same.  scratch: smft__half_norm_scratch floats. */
int64_t smft__half_norm_scratch(const smft_ctx *ctx, int64_t size);
void smft__half_norm_backward(smft_ctx *ctx, const smft__half_norm *norm,
                              const smft__tensor *source, int64_t n_rows, const float *d_out,
                              float *d_source, int accumulate, float *d_weight, float *d_bias,
                              float *scratch);
#endif
