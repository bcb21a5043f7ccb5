/* remember: see remember.h.  Owns which facts get a record, and which of them are protected; what a
 * record is made of is protect.c's, the list is the patch's (model/taught.h). */
#include "learn/remember.h"
#include "learn/learner.h"

/* Whether facts that follow are to spare what this one read: where nothing is damped that is of no
 * use, and costs a pass. */
static int protects(const smft_learner *learner, int32_t state) {
  return state == SMFT_FACT_DONE && !(learner->options.flags & SMFT_LEARNER_NO_PROTECT) &&
         smft__selector_damps(learner->selector);
}

smft_status smft__remember(smft_learner *learner, const smft__fact *fact, int32_t state) {
  smft__taught_fact *record = NULL;
  if (!learner->selector || !smft__undo_has(&learner->undo, fact->serial))
    return SMFT_OK;
  int reads = protects(learner, state);
  if (reads)
    SMFT__TRY(smft__forward_all_wordings(&learner->kept, learner->tape, learner->patch, fact, NULL,
                                         &learner->claim.stop));
  SMFT__TRY(smft__protect_record(&record, &learner->protect, fact, state, learner->undo.touched,
                                 reads ? learner->tape : NULL));
  smft_status status = smft__patch_add_fact(learner->patch, record);
  smft__taught_fact_release(record);
  return status;
}
