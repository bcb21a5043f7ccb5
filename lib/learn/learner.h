/* learner: what it was given, and the parts that it is made of, each declared in its own header. */
#ifndef SMFT__LEARNER_H
#define SMFT__LEARNER_H
#include "base/claim.h"
#include "learn/batch.h"
#include "learn/check.h"
#include "learn/contrast.h"
#include "learn/choice.h"
#include "learn/forward.h"
#include "learn/opening.h"
#include "learn/optimizer.h"
#include "learn/protect.h"
#include "learn/queue.h"
#include "learn/step.h"
#include "learn/undo.h"

struct smft_learner {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_selector *selector; /* slots patches, else NULL */
  smft_optimizer *optimizer;
  smft_learner_options options; /* with the defaults */
  smft__claim claim;            /* one call at a time */
  smft__queue queue;
  smft__batch_room batch;
  smft__check check;
  smft__tape *tape;
  smft__choice choice; /* this and what follows: slots patches */
  smft__contrast contrast;
  smft__kept_layers kept;
  smft__opening opening;
  smft__protect protect;
  smft__undo undo;
  smft__slots_work slots;
  smft__dense_work dense; /* full and LoRA patches */
};
/* n: wordings of a pass at most. */
static inline smft__opening_work smft__opening_work_of(smft_learner *learner, int64_t n) {
  return (smft__opening_work){&learner->choice,    &learner->batch, &learner->kept,
                              learner->tape,       learner->patch,  n,
                              &learner->claim.stop};
}
#endif
