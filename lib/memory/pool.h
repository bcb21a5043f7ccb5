/* pool: one table of memory values as a model and its patch have it: mapped base, rows that the
 * patch changed, or a full private copy.  A base without data (NULL, F32) is all zeros, which stand
 * nowhere: only rows that were changed are in memory. */
#ifndef SMFT__POOL_H
#define SMFT__POOL_H
#include "data/tensor.h"
#include "memory/snapshot.h"
typedef struct smft__pool {
  /* (n_slots, value_dim) F32/F16/BF16, or zeros; a full patch's copy stands here as F32 */
  smft__tensor base;
  const smft__snapshot *rows; /* changed rows, or NULL */
  int64_t n_slots, value_dim;
} smft__pool;
/* row (value_dim) = values[slot] */
void smft__pool_read(const smft__pool *pool, int64_t slot, float *row);
/* y (value_dim) += weight * values[slot] */
void smft__pool_accumulate(const smft__pool *pool, int64_t slot, float weight, float *y);
/* <values[slot], dy> */
float smft__pool_dot(const smft__pool *pool, int64_t slot, const float *dy);
/* Where a row stands and its element type: what the others are made of.  NULL: a row of zeros that
 * stands nowhere. */
const void *smft__pool_row(const smft__pool *pool, int64_t slot, int32_t *dtype);
void smft__pool_prefetch(const smft__pool *pool, int64_t slot);
/* 1: a row that was not changed is zeros that stand nowhere */
static inline int smft__pool_is_zeros(const smft__pool *pool) { return !pool->base.data; }
/* 1: every row is zeros */
static inline int smft__pool_is_empty(const smft__pool *pool) {
  return smft__pool_is_zeros(pool) && smft__snapshot_count(pool->rows) == 0;
}
#endif
