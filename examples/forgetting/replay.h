/* replay: teaches a lesson in steps of the host's own, each with sequences of the background beside
 * the lesson's wordings, until each wording's own loss is below the threshold: the learner's rule
 * of done. */
#ifndef FORGETTING_REPLAY_H
#define FORGETTING_REPLAY_H
#include "lessons.h"
#include "sequences.h"
#include "smft/smft.h"

typedef struct replay {
  const smft_tokenizer *tokenizer; /* borrowed, as the learner is */
  smft_learner *learner;
  smft_session *session;   /* says whether a wording is learnt */
  sequences texts;         /* the background */
  sequences lesson, batch; /* the wordings at hand; a step's */
  double loss_below;
  int32_t sequences, wordings, max_steps; /* a step: so many of the background, of the lesson */
  uint64_t state;
} replay;

/* Numbers that are 0 become the learner's defaults; wordings -1: all. */
void replay_make(replay *r, const smft_model *model, smft_patch *patch, smft_learner *learner);
/* Returns the number of steps. */
int64_t replay_teach(replay *r, const lesson *l);
void replay_free(replay *r);
#endif
