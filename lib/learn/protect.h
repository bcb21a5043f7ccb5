/* protect: which slots the facts that a learner has taught read, and how much.  They count as
 * background for the facts that follow, so that these keep away from them. */
#ifndef SMFT__PROTECT_H
#define SMFT__PROTECT_H
#include "learn/facts.h"
#include "memory/rows.h"

struct smft_learner;

typedef struct smft__protect {
  /* (n_pools), dim 1: sum of the squared weights with which the learnt facts' wordings read a slot
   */
  smft__rows *square;
  int64_t n_wordings;
} smft__protect;
smft_status smft__protect_create(struct smft_learner *learner);
void smft__protect_free(struct smft_learner *learner);
/* Adds the reads of a fact's wordings, as model + patch read them now.  Nothing is added on
 * failure. */
smft_status smft__protect_add(struct smft_learner *learner, const smft__fact *fact);
/* What a row's step is multiplied with: the selector's damping, with what was learnt
 * counted as background. */
double smft__protect_damping(const struct smft_learner *learner, int32_t pool, int64_t slot);
#endif
