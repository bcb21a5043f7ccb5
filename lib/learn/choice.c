/* choice: the rows that may change for the fact in hand.  They are chosen once a fact, by the
 * selector, from the reads of all its wordings; each step then trains those of them that its own
 * batch reads.  Choosing anew in every step's batch (SMFT_LEARNER_ROWS_PER_STEP) touches about
 * twice as many rows for the same learning, since every draw of wordings brings others to the top.
 */
#include "base/alloc.h"
#include "learn/learner.h"

void smft__forget_rows(smft_learner *learner) {
  learner->rows_of = NULL;
  learner->fact_rows.n = 0;
}

smft_status smft__forward_all_wordings(smft_learner *learner, const smft__fact *fact) {
  smft__sequences all = {fact->ids.data, fact->offsets, fact->n_wordings, fact->n_tokens,
                         fact->weights};
  smft__kept_batch kept = {&learner->prefix, fact->offsets};
  SMFT__TRY(smft__keep_prefix(learner, fact));
  SMFT__TRY(smft__patch_begin_read(learner->patch));
  smft_status status = smft__network_forward_kept(learner->tape, learner->patch, &all, &kept,
                                                  SMFT__KEEP_NOTHING, NULL, &learner->cancelled);
  smft__patch_end_read(learner->patch);
  return status;
}

/* From the reads counted last, which are those of every wording. */
static smft_status take_rows(smft_learner *learner, const smft__fact *fact) {
  smft__forget_rows(learner);
  SMFT__TRY(smft__select(learner->selector, learner->slots.counts, &learner->fact_rows));
  learner->rows_of = fact;
  return SMFT_OK;
}

smft_status smft__choose_rows(smft_learner *learner, const smft__fact *fact) {
  if (learner->rows_of == fact)
    return SMFT_OK;
  int64_t reads = 0, distinct = 0;
  SMFT__TRY(smft__forward_all_wordings(learner, fact));
  SMFT__TRY(smft__count_reads(learner, &reads, &distinct));
  return take_rows(learner, fact);
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

smft_status smft__select_fact_rows(smft_learner *learner, const smft__fact *fact) {
  const smft__selection *chosen = &learner->fact_rows;
  smft__selection *selection = &learner->selection;
  selection->n = 0;
  if (learner->rows_of != fact)
    SMFT__TRY(take_rows(learner, fact));
  SMFT__TRY(smft__grow(learner->ctx, &selection->list, &selection->capacity, chosen->n,
                       sizeof *selection->list));
  for (int64_t i = 0; i < chosen->n; i++)
    if (is_read(&learner->slots.counts[chosen->list[i].pool], chosen->list[i].slot))
      selection->list[selection->n++] = chosen->list[i];
  return SMFT_OK;
}
