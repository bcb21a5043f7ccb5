/* protect: which slots the facts that a patch was taught read, and how much.  They count as
 * background for the facts that follow, so that these keep away from them. */
#ifndef SMFT__PROTECT_H
#define SMFT__PROTECT_H
#include "learn/facts.h"
#include "learn/selector.h"
#include "model/network.h"
#include "model/taught.h"

typedef struct smft__protect {
  const smft_model *model;
  smft__taught *taught; /* the list whose sums these are; NULL: of no facts */
  /* (n_pools), dim 1: sum, over the facts in their order, of each fact's own sum of the squared
   * weights with which its wordings read a slot */
  smft__rows *square;
  int64_t n_wordings; /* of those facts */
  smft__rows *reads;  /* (n_pools), dim 1: the same of the fact of which a record is being made */
} smft__protect;
smft_status smft__protect_create(smft__protect *protect, const smft_model *model);
void smft__protect_free(smft__protect *protect); /* a zeroed struct is fine */
/* The sums become those of the list (NULL: no facts), the same bits whether they grow by a fact or
 * are made anew.  Allocates nothing where they are its already.  On failure they are those of no
 * list, and the next call makes them anew. */
smft_status smft__protect_follow(smft__protect *protect, smft__taught *list);
/* A record of a fact: of the rows that it changed (`changed`, n_pools: their slots) and of the
 * reads that a pass over all its wordings left on the tape (NULL: it is not to protect itself). */
smft_status smft__protect_record(smft__taught_fact **out, smft__protect *protect,
                                 const smft__fact *fact, int32_t state, const smft__rows *changed,
                                 const smft__tape *tape);
/* What a row's step is multiplied with: the selector's damping, with what was learnt counted as
 * background. */
double smft__protect_damping(const smft__protect *protect, const smft_selector *selector,
                             int32_t pool, int64_t slot);
#endif
