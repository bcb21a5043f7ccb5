/* choice: see choice.h.  A fact's rows are chosen once, by the selector, from the reads of all its
 * wordings; each step then trains those of them that its own batch reads.  Choosing anew in every
 * step's batch (SMFT_LEARNER_ROWS_PER_STEP) touches about twice as many rows for the same learning,
 * since every draw of wordings brings others to the top.  Owns no rule: that is selector.c's. */
#include "learn/choice.h"

smft_status smft__choose(smft__choice *choice, const smft_selector *selector,
                         const smft__counts *counts, int64_t serial) {
  choice->serial = 0;
  SMFT__TRY(smft__select(selector, counts, &choice->rows));
  choice->serial = serial;
  return SMFT_OK;
}

static int is_read(const smft__counts *counts, int64_t slot) {
  int64_t low = 0, high = counts->n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (counts->slots[middle] < slot)
      low = middle + 1;
    else
      high = middle;
  }
  return low < counts->n && counts->slots[low] == slot;
}

smft_status smft__choice_read(const smft__choice *choice, const smft__counts *counts,
                              smft__selection *selection) {
  const smft__selection *chosen = &choice->rows;
  selection->n = 0;
  SMFT__TRY(smft__grow(selection->ctx, &selection->list, &selection->capacity, chosen->n,
                       sizeof *selection->list));
  for (int64_t i = 0; i < chosen->n; i++)
    if (is_read(&counts[chosen->list[i].pool], chosen->list[i].slot))
      selection->list[selection->n++] = chosen->list[i];
  return SMFT_OK;
}
