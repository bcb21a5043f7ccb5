/* dense: the trained parts of a full or LoRA patch laid end to end: their gradient, Adam's moments
 * of them, and work on them in fixed blocks.  Of value pools, where a batch reads few rows of many,
 * work may be confined to the rows that have their bit. */
#ifndef SMFT__DENSE_H
#define SMFT__DENSE_H
#include "model/patch.h"
#include "learn/update.h"

typedef struct smft__dense { /* the layout */
  int32_t n_parts;
  smft__part *parts; /* (n_parts) names, shapes, pools; without values */
  int64_t *begin;    /* (n_parts + 1): where a part's numbers begin, each on a 64-byte boundary */
  int64_t *count;    /* (n_parts): its numbers */
  int64_t *block;    /* (n_parts + 1): its first block */
  int64_t total;     /* floats in all: begin[n_parts] */
  int32_t n_pools;   /* of the parts */
  /* of a pool: floats of a row; 64-bit words that hold a bit for each row */
  int64_t row_floats, words;
  char hash[65]; /* SHA-256 of names and shapes: layouts with the same hash are the same */
} smft__dense;
smft_status smft__dense_create(smft__dense *dense, const smft_patch *patch);
void smft__dense_free(smft__dense *dense, smft_ctx *ctx); /* a zeroed struct is fine */

/* Sets of rows, one bit each: (n_pools, words), by number of pool. */
uint64_t *smft__dense_rows(smft_ctx *ctx, const smft__dense *dense); /* empty; NULL on no memory */
/* A part's bits in a set; NULL: it is no pool, or there is no set (rows NULL): every row counts. */
const uint64_t *smft__dense_rows_of(const smft__dense *dense, const uint64_t *rows, int32_t part);

typedef struct smft__dense_step {
  const smft__dense *dense;
  float *const *weights;          /* (n_parts) */
  const float *gradient;          /* (total) */
  float *m, *v;                   /* (total) or NULL */
  const smft__update_rule *rules; /* (n_parts) */
  /* (n_parts): only rows that have their bit are updated; entries NULL: every row */
  const uint64_t *const *rows;
} smft__dense_step;
/* x (total) = 0, of pools only the given rows */
void smft__dense_clear(smft_ctx *ctx, const smft__dense *dense, float *x, const uint64_t *rows);
/* Sums of squares of the ordinary parts and of the pools, whose other rows are all zero: the same
 * bits as if they had been added too. partial (blocks) is scratch: smft__dense_blocks() doubles. */
int64_t smft__dense_blocks(const smft__dense *dense);
void smft__dense_sum_squares(smft_ctx *ctx, const smft__dense *dense, const float *x,
                             const uint64_t *rows, double *partial, double sums[2]);
/* The largest magnitude in parts (n_parts); infinite where a number is not finite.  partial as
 * above. */
double smft__dense_largest(smft_ctx *ctx, const smft__dense *dense, float *const *parts,
                           double *partial);
/* store 0: only looks.  Returns 1 if every new value is finite, else 0 (then store must not
 * follow). */
int smft__dense_update(smft_ctx *ctx, const smft__dense_step *step, int store);
#endif
