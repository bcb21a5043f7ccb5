/* snapshot: the changed rows of a pool at one time: slot -> row of `dim` floats.  Once others see
 * it nothing in it changes, so any number of threads read it without a lock; one that is made from
 * it shares every row, and every part of the index, that is the same in both. */
#ifndef SMFT__SNAPSHOT_H
#define SMFT__SNAPSHOT_H
#include "base/alloc.h"

typedef struct smft__snapshot smft__snapshot; /* NULL is one without rows, for all that read */

smft__snapshot *smft__snapshot_retain(smft__snapshot *snapshot);
void smft__snapshot_release(smft__snapshot *snapshot); /* NULL is fine */
int64_t smft__snapshot_count(const smft__snapshot *snapshot);
/* The slot's row (dim), or NULL where it is not changed. */
const float *smft__snapshot_find(const smft__snapshot *snapshot, int64_t slot);
/* slots (count) in ascending order. */
void smft__snapshot_slots(const smft__snapshot *snapshot, int64_t *slots);

/* ---- one that nobody else sees yet --------------------------------------- */

/* A copy to change, of which `more` rows are to be added; `from` (NULL: none) must outlive the
 * changes.  NULL on no memory.  The index is as large as the rows need: O(rows / 1,024) here, or
 * O(rows) where it grows, and O(1) for each change. */
smft__snapshot *smft__snapshot_edit(smft_ctx *ctx, int64_t dim, const smft__snapshot *from,
                                    int64_t more);
/* The slot's row, to be filled: a new one, not cleared, in place of the one there was.  NULL on no
 * memory. */
float *smft__snapshot_put(smft__snapshot *snapshot, int64_t slot);
/* The slot gets the row that `from` has, which both share then; where `from` has none, the slot is
 * not changed any more. */
smft_status smft__snapshot_take(smft__snapshot *snapshot, const smft__snapshot *from, int64_t slot);
smft_status smft__snapshot_remove(smft__snapshot *snapshot, int64_t slot);
#endif
