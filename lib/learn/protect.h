/* protect: which slots the facts that a learner has taught read, and how much.  They count as
 * background for the facts that follow, so that these keep away from them. */
#ifndef SMFT__PROTECT_H
#define SMFT__PROTECT_H
#include "learn/facts.h"
#include "learn/selector.h"
#include "model/network.h"

typedef struct smft__protect {
  const smft_model *model;
  /* (n_pools), dim 1: sum of the squared weights with which learnt facts' wordings read a slot */
  smft__rows *square;
  int64_t n_wordings;
} smft__protect;
smft_status smft__protect_create(smft__protect *protect, const smft_model *model);
void smft__protect_free(smft__protect *protect); /* a zeroed struct is fine */
/* The reads that a pass over all the fact's wordings left on the tape; on failure none of them. */
smft_status smft__protect_add(smft__protect *protect, const smft__tape *tape,
                              const smft__fact *fact);
/* What a row's step is multiplied with: the selector's damping, with what was learnt counted as
 * background. */
double smft__protect_damping(const smft__protect *protect, const smft_selector *selector,
                             int32_t pool, int64_t slot);
#endif
