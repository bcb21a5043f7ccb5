/* pool: reads of single values through a patch's changed rows.
 * Owns nothing; the loops over many reads are gather.c's. */
#include "memory/pool.h"
#include "memory/kernels/row.h"

const void *smft__pool_row(const smft__pool *pool, int64_t slot, int32_t *dtype) {
  const float *changed = smft__snapshot_find(pool->rows, slot);
  if (changed) {
    *dtype = SMFT__F32;
    return changed;
  }
  *dtype = pool->base.dtype;
  if (smft__pool_is_zeros(pool))
    return NULL;
  return (const char *)pool->base.data +
         slot * pool->value_dim * SMFT__WEIGHT_BYTES(pool->base.dtype);
}

void smft__pool_read(const smft__pool *pool, int64_t slot, float *row) {
  const float *changed = smft__snapshot_find(pool->rows, slot);
  if (changed)
    memcpy(row, changed, (size_t)pool->value_dim * sizeof *row);
  else
    smft__tensor_to_f32(&pool->base, slot * pool->value_dim, pool->value_dim, row);
}

void smft__pool_accumulate(const smft__pool *pool, int64_t slot, float weight, float *y) {
  int32_t dtype;
  const void *row = smft__pool_row(pool, slot, &dtype);
  if (row)
    smft__row_kernels_best()->add(dtype, y, row, weight, pool->value_dim);
}

float smft__pool_dot(const smft__pool *pool, int64_t slot, const float *dy) {
  int32_t dtype;
  const void *row = smft__pool_row(pool, slot, &dtype);
  return row ? smft__row_kernels_best()->dot(dtype, row, dy, pool->value_dim) : 0;
}

void smft__pool_prefetch(const smft__pool *pool, int64_t slot) {
  int32_t dtype;
  const char *row = smft__pool_row(pool, slot, &dtype);
  int64_t bytes = pool->value_dim * SMFT__WEIGHT_BYTES(dtype);
  for (int64_t i = 0; row && i < bytes; i += 64)
    __builtin_prefetch(row + i);
}
