/* choice: see choice.h.  A fact's rows are chosen once, by the selector, from the reads of all its
 * wordings; each step then trains those of them that its own batch reads.  Choosing anew in every
 * step's batch (SMFT_LEARNER_ROWS_PER_STEP) touches about twice as many rows for the same learning,
 * since every draw of wordings brings others to the top.  Owns no rule: that is selector.c's. */
#include "learn/choice.h"

smft_status smft__choose_of(const smft_selector *selector, smft__counts *counts,
                            const smft__restraint *restraint, const smft__tape *tape,
                            smft__selection *selection) {
  if (selector->rank_by == SMFT_RANK_WEIGHTS)
    SMFT__TRY(smft__weigh_reads(counts, selector->model, tape));
  return smft__select(selector, counts, restraint, selection);
}

smft_status smft__choose(smft__choice *choice, const smft_selector *selector, smft__counts *counts,
                         const smft__tape *tape, int64_t serial) {
  choice->serial = 0;
  SMFT__TRY(smft__choose_of(selector, counts, &choice->restraint, tape, &choice->rows));
  choice->serial = serial;
  return SMFT_OK;
}

smft_status smft__choice_read(const smft__choice *choice, const smft__counts *counts,
                              smft__selection *selection) {
  const smft__selection *chosen = &choice->rows;
  selection->n = 0;
  SMFT__TRY(smft__grow(selection->ctx, &selection->list, &selection->capacity, chosen->n,
                       sizeof *selection->list));
  for (int64_t i = 0; i < chosen->n; i++)
    if (smft__counts_find(&counts[chosen->list[i].pool], chosen->list[i].slot) >= 0)
      selection->list[selection->n++] = chosen->list[i];
  return SMFT_OK;
}
