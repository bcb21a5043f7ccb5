/* verdict: see verdict.h.  Owns the order in which host, record, rollback and queue come to a
 * fact that is final; each of them is another file's. */
#include "learn/verdict.h"
#include "learn/learner.h"
#include "learn/remember.h"
#include <stdio.h>

/* Nobody has a claim on the patch: the host may ask a session of it. */
static void ask_host(smft_learner *learner, smft_report *report) {
  const smft_learner_options *o = &learner->options;
  if (!o->on_fact)
    return;
  int32_t veto = o->on_fact(o->on_fact_user, report);
  if (!veto || report->fact_state != SMFT_FACT_DONE)
    return;
  report->fact_state = SMFT_FACT_GAVE_UP;
  report->reason = SMFT_REASON_VETOED;
}

/* What stays in the patch gets a record there. */
static smft_status keep_or_take_back(smft_learner *learner, const smft__fact *fact,
                                     smft_report *report) {
  if (report->fact_state == SMFT_FACT_DONE || learner->options.flags & SMFT_LEARNER_KEEP_GIVEN_UP)
    return smft__remember(learner, fact, report->fact_state);
  if (!smft__undo_has(&learner->undo, fact->serial))
    return SMFT_OK;
  SMFT__TRY(smft__undo_back(learner));
  report->rolled_back = 1;
  return SMFT_OK;
}

smft_status smft__conclude(smft_learner *learner, const smft__fact *fact, smft_report *report,
                           int changed) {
  if (report->fact_state == SMFT_FACT_LEARNING)
    return SMFT_OK;
  report->pending = learner->queue.n - 1;
  ask_host(learner, report);
  smft_status status = keep_or_take_back(learner, fact, report);
  if (status != SMFT_OK) {
    report->fact_state = SMFT_FACT_LEARNING;
    report->reason = SMFT_REASON_NONE;
    return changed ? SMFT_OK : status;
  }
  smft__undo_end(learner);
  smft__queue_finish(&learner->queue); /* its id lives on in `finished` */
  return SMFT_OK;
}

smft_status smft__give_up(smft_learner *learner, const smft__fact *fact, smft_report *report,
                          int32_t reason) {
  char message[1024];
  snprintf(message, sizeof message, "%s", smft_error_message());
  report->fact_state = SMFT_FACT_GAVE_UP;
  report->reason = reason;
  SMFT__TRY(smft__conclude(learner, fact, report, 0));
  return reason == SMFT_REASON_NONFINITE ? smft__fail(SMFT_E_NONFINITE, "%s", message) : SMFT_OK;
}
