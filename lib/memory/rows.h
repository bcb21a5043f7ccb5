/* rows: a small set of rows of a big table: slot -> row of `dim` floats, insertion-ordered, with a
 * hash index.  Shared by patch (changed values), gradient (rows selected in a step) and optimizer
 * (moments).  Memory O(rows). */
#ifndef SMFT__ROWS_H
#define SMFT__ROWS_H
#include "base/alloc.h"
typedef struct smft__rows {
  smft_ctx *ctx;
  int64_t dim;
  int64_t n, capacity;
  int64_t *slots; /* (n) in order of insertion */
  float *values;  /* (n, dim) */
  int32_t *index; /* (index_size) power of two, open addressing: position + 1, 0 empty */
  int64_t index_size;
} smft__rows;
void smft__rows_init(smft__rows *rows, smft_ctx *ctx, int64_t dim);
void smft__rows_free(smft__rows *rows);
/* Room for n rows in all, so that the next adds cannot fail; nothing that can be seen changes. */
smft_status smft__rows_reserve(smft__rows *rows, int64_t n);
/* Position of a slot, or -1.  One lookup; no lock (readers run side by side). */
int64_t smft__rows_find(const smft__rows *rows, int64_t slot);
/* Position of a new, uncleared row for a slot that is not there; needs reserved room (no failure).
 */
int64_t smft__rows_add(smft__rows *rows, int64_t slot);
void smft__rows_remove(smft__rows *rows, int64_t slot); /* the last row takes its place */
void smft__rows_clear(smft__rows *rows);
/* their values, on the context's threads; which slots there are stays */
void smft__rows_zero(smft__rows *rows);
static inline float *smft__rows_at(const smft__rows *rows, int64_t position) {
  return rows->values + position * rows->dim;
}
#endif
