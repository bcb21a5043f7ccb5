/* learnt: which slots the facts that a learner has taught read, and how much.  They count as
 * background for the facts that follow, so that these keep away from them. */
#ifndef SMFT__LEARNT_H
#define SMFT__LEARNT_H
#include "learn/facts.h"
#include "memory/rows.h"

struct smft_learner;

typedef struct smft__learnt {
  /* (n_pools), dim 1: sum of the squared weights with which the learnt facts' wordings read a slot
   */
  smft__rows *square;
  int64_t n_wordings;
} smft__learnt;
smft_status smft__learnt_create(struct smft_learner *learner);
void smft__learnt_free(struct smft_learner *learner);
/* Adds the reads of a fact's wordings, as model + patch read them now.  Nothing is added on
 * failure. */
smft_status smft__learnt_add(struct smft_learner *learner, const smft__fact *fact);
/* What a row's learning rate is multiplied with: the selector's damping, with what was learnt
 * counted as background. */
double smft__restraint(const struct smft_learner *learner, int32_t pool, int64_t slot);
#endif
