/* verdict: what follows when a fact is learnt or given up. */
#ifndef SMFT__VERDICT_H
#define SMFT__VERDICT_H
#include "learn/facts.h"

/* By the report's fact_state: asks the host, keeps what was learnt or takes it back, and the fact,
 * the queue's first, leaves the queue.  On failure it stays in hand and the report says so; after
 * an update (changed) that is put off to the next call, which begins with the verdict. */
smft_status smft__conclude(smft_learner *learner, const smft__fact *fact, smft_report *report,
                           int changed);
/* The same for a fact that is given up whatever it was: because of SMFT_E_NONFINITE, whose message
 * stays, or because the host skips it. */
smft_status smft__give_up(smft_learner *learner, const smft__fact *fact, smft_report *report,
                          int32_t reason);
#endif
