/* attention: causal grouped-query attention over segments.  A segment is one sequence: n_q new
 * query rows whose keys and values are rows [0, n_past + n_q) of k and v; query i sees keys [0,
 * n_past + i], of these the last `window`.  The n_past may stand elsewhere, shared by segments.
 * Blocked over keys with a running maximum (no (T, T) matrix is stored), blocks that nobody sees
 * left out: backward recomputes from the row's log-sum.
 */
#ifndef SMFT__ATTENTION_H
#define SMFT__ATTENTION_H
#include "data/tensor.h"
typedef struct smft__attention_shape {
  int32_t n_heads, n_kv_heads, head_dim;
  int32_t window; /* keys that a query sees, its own with them; 0: all */
  float scale;    /* what scores are multiplied with */
} smft__attention_shape;
typedef struct smft__segment {
  const float *q; /* (n_q, n_heads, head_dim) */
  const void *k;  /* (n_past + n_q, n_kv_heads, head_dim) of kv_dtype; (n_q, ...) with past_k */
  const void *v;  /* the same */
  float *out;     /* (n_q, n_heads, head_dim) */
  /* (n_q, n_heads): log of the softmax's denominator plus maximum, for backward; NULL: not kept */
  float *log_sum;
  int64_t n_past, n_q;
  int64_t past_at;  /* of the rows where pasts stand by themselves, the past's first */
  int32_t kv_dtype; /* SMFT__F32 or SMFT__BF16; 0: F32, which backward wants */
  /* (n_past, n_kv_heads, head_dim) of kv_dtype; NULL: they stand before the new ones */
  const void *past_k, *past_v;
} smft__segment;
/* Of the n_q new rows: keys and values of the past get no gradient.  With n_past > 0 they must
 * stand in past_k and past_v. */
typedef struct smft__segment_grad {
  const float *d_out;
  float *dq, *dk, *dv; /* overwritten */
} smft__segment_grad;
/* scratch: smft__attention_scratch() floats, given by the caller. */
int64_t smft__attention_scratch(const smft_ctx *ctx, int32_t n_heads, int32_t n_kv_heads,
                                int32_t head_dim, int64_t longest);
void smft__attention_forward(smft_ctx *ctx, const smft__attention_shape *shape,
                             const smft__segment *segments, int64_t n_segments, float *scratch);
void smft__attention_backward(smft_ctx *ctx, const smft__attention_shape *shape,
                              const smft__segment *segments, const smft__segment_grad *grads,
                              int64_t n_segments, float *scratch);
#endif
