/* remember: what is kept of a fact that leaves the queue: its record, in the patch. */
#ifndef SMFT__REMEMBER_H
#define SMFT__REMEMBER_H
#include "learn/facts.h"

/* A fact that is done, or given up and kept (state: SMFT_FACT_*), goes to the end of the patch's
 * list if it changed rows.  Slots patches only; for others there is nothing to do.  No weight
 * changes, so on failure the fact may stay in hand. */
smft_status smft__remember(smft_learner *learner, const smft__fact *fact, int32_t state);
#endif
