/* low_rank: y += s (x A^T) B^T, forward, backward, and merged into a full matrix; on gemm.  Owns no
 * memory: u = s x A^T is made again in backward, which is cheaper than keeping it for every matrix.
 */
#include "nn/low_rank.h"
#include "base/parallel.h"
#include "nn/gemm.h"
#include "nn/linear.h"
#include "nn/vector.h"

#define MERGE_ROWS 16
#define MERGE_COLUMNS 256

/* u (T, rank) = s x A^T: scaled here, where it is thinnest, so that dB = dy^T u has the scale too.
 */
static void project(smft_ctx *ctx, const smft__low_rank *w, const float *x, int64_t n_tokens,
                    float *u) {
  smft__tensor a = smft__tensor_f32(w->a, w->rank, w->in);
  smft__linear_forward(ctx, &a, NULL, x, n_tokens, u);
  smft__vector()->scale(u, u, w->scale, n_tokens * w->rank);
}

void smft__low_rank_forward(smft_ctx *ctx, const smft__low_rank *w, const float *x,
                            int64_t n_tokens, float *scratch, float *y) {
  smft__gemm_args args = {.m = n_tokens,
                          .n = w->out,
                          .k = w->rank,
                          .a = scratch,
                          .lda = w->rank,
                          .trans_b = 1,
                          .b = w->b,
                          .ldb = w->rank,
                          .b_dtype = SMFT__F32,
                          .accumulate = 1,
                          .c = y,
                          .ldc = w->out};
  project(ctx, w, x, n_tokens, scratch);
  smft__gemm(ctx, &args);
}

void smft__low_rank_backward(smft_ctx *ctx, const smft__low_rank *w, const float *x,
                             const float *dy, int64_t n_tokens, float *scratch, float *da,
                             float *db, float *dx) {
  smft__tensor a = smft__tensor_f32(w->a, w->rank, w->in);
  smft__tensor b = smft__tensor_f32(w->b, w->out, w->rank);
  float *u = scratch, *du = scratch + n_tokens * w->rank; /* both (T, rank) */
  if (db) {
    project(ctx, w, x, n_tokens, u);
    smft__linear_backward_weight(ctx, u, dy, n_tokens, w->rank, w->out, db, NULL);
  }
  if (!da && !dx)
    return;
  smft__linear_backward_input(ctx, &b, dy, n_tokens, du, 0);
  smft__vector()->scale(du, du, w->scale, n_tokens * w->rank);
  if (da)
    smft__linear_backward_weight(ctx, x, du, n_tokens, w->in, w->rank, da, NULL);
  if (dx)
    smft__linear_backward_input(ctx, &a, du, n_tokens, dx, 1);
}

/* ---- merge --------------------------------------------------------------- */

typedef struct merge_work {
  const smft__low_rank *w;
  float *values; /* (out, in) */
} merge_work;

/* Some columns of one row: the sum over the rank first, then one rounding into the weights. */
static void merge_row(const smft__low_rank *w, int64_t row, int64_t begin, int64_t n,
                      float *values) {
  float sum[MERGE_COLUMNS] = {0};
  for (int64_t k = 0; k < w->rank; k++)
    smft__vector()->add_scaled(sum, w->a + k * w->in + begin, w->b[row * w->rank + k], n);
  smft__vector()->add_scaled(values + row * w->in + begin, sum, w->scale, n);
}

static void merge_block(void *arg, int64_t block, int32_t lane) {
  const merge_work *work = arg;
  const smft__low_rank *w = work->w;
  int64_t first = block * MERGE_ROWS;
  int64_t last = first + MERGE_ROWS < w->out ? first + MERGE_ROWS : w->out;
  (void)lane;
  for (int64_t begin = 0; begin < w->in; begin += MERGE_COLUMNS)
    for (int64_t row = first; row < last; row++)
      merge_row(w, row, begin, w->in - begin < MERGE_COLUMNS ? w->in - begin : MERGE_COLUMNS,
                work->values);
}

void smft__low_rank_merge(smft_ctx *ctx, const smft__low_rank *w, float *values) {
  merge_work work = {w, values};
  smft__parallel_for(ctx, smft__blocks(w->out, MERGE_ROWS), merge_block, &work);
}
