/* marks: reads of background text become counts: in how many batches each slot is read, and how
 * much. */
#ifndef SMFT__MARKS_H
#define SMFT__MARKS_H
#include "learn/stats.h"

typedef struct smft__marks {
  const smft_model *model;
  smft__stats stats; /* the counts before, plus what was counted; but for: */
  /* (n_pools, n_slots): counted since; a float would lose the small reads of an often read slot */
  double *square;
  uint32_t *last; /* (n_pools, n_slots): the last batch that read the slot, from 1 */
} smft__marks;
/* before: counts to add to; all zero: none.  Nothing is left allocated on failure. */
smft_status smft__marks_begin(smft__marks *marks, const smft_model *model,
                              const smft__stats *before);
void smft__marks_free(smft__marks *marks);
/* n reads of memory layer `memory` by a sequence of batch `batch`, from 1, ascending.  Sequence by
 * sequence over all layers, so that layers which share a pool do not count twice. */
void smft__marks_add(smft__marks *marks, int32_t memory, const int64_t *slots, const float *weights,
                     int64_t n, uint32_t batch);
/* What was counted, n_batches of n_tokens, goes into stats, and the next batch is 1 again. */
void smft__marks_end(smft__marks *marks, int64_t n_batches, int64_t n_tokens);
#endif
