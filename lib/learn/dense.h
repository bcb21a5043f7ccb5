/* dense: all tensors of a model laid end to end: the gradient of full patches, Adam's moments of full patches, and work on them in fixed
 * blocks. */
#ifndef SMFT__DENSE_H
#define SMFT__DENSE_H
#include "model/patch.h"
#include "learn/update.h"

typedef struct smft__dense { /* the layout */
  int32_t n_tensors;
  int64_t *begin;    /* (n_tensors + 1): where a tensor's numbers begin, each on a 64-byte boundary */
  int64_t *count;    /* (n_tensors): its numbers */
  int64_t *block;    /* (n_tensors + 1): its first block */
  char *is_pool;     /* (n_tensors): it is a value pool */
  int64_t total;     /* floats in all: begin[n_tensors] */
} smft__dense;
smft_status smft__dense_create(smft__dense *dense, const smft_model *model);
void smft__dense_free(smft__dense *dense, smft_ctx *ctx); /* a zeroed struct is fine */

typedef struct smft__dense_step {
  const smft__dense *dense;
  float *const *weights;        /* (n_tensors): a full patch's copies */
  const float *gradient;        /* (total) */
  float *m, *v;                 /* (total) or NULL */
  const smft__update_rule *rules; /* (n_tensors) */
  const uint64_t *const *read;  /* (n_tensors): one bit a row, only rows that have theirs are updated; entries or all NULL: every row */
  int64_t row_floats;           /* of the tensors that have bits */
} smft__dense_step;
/* x (total) = 0 */
void smft__dense_clear(smft_ctx *ctx, const smft__dense *dense, float *x);
/* Sums of squares of the ordinary tensors and of the pools.  partial (blocks) is scratch: smft__dense_blocks() doubles. */
int64_t smft__dense_blocks(const smft__dense *dense);
void smft__dense_sum_squares(smft_ctx *ctx, const smft__dense *dense, const float *x, double *partial, double sums[2]);
/* store 0: only looks.  Returns 1 if every new value is finite, else 0 (then store must not follow). */
int smft__dense_update(smft_ctx *ctx, const smft__dense_step *step, int store);
#endif
