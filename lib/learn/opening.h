/* opening: the tokens that several wordings of a fact begin with alike, such as what a chat
 * template puts before every question: run once, and not again with each wording in each step. */
#ifndef SMFT__OPENING_H
#define SMFT__OPENING_H
#include "learn/batch.h"
#include "learn/choice.h"
#include "learn/forward.h"

typedef struct smft__opening { /* zero but for ctx and lead: empty */
  smft_ctx *ctx;
  smft__lead lead;
  int64_t serial;   /* of the fact whose opening it is; 0: nobody's */
  int64_t wording;  /* one that begins with it */
  int64_t n_tokens; /* 0: nothing is shared, or nothing may be */
  int64_t *past;    /* (wordings): n_tokens of those that begin with it, else 0 */
  int64_t past_capacity;
  uint64_t made_of; /* number of the patch's version for which the lead holds; 0: not made yet */
} smft__opening;
void smft__opening_free(smft__opening *opening);
/* Finds the opening that spares most tokens, unless it is the fact's already, and makes room for
 * it, so that nothing after allocates.  Nothing that is learnt is in an opening. */
smft_status smft__opening_find(smft__opening *opening, const smft__fact *fact);
/* Runs it with the patch's version, unless that was done; the fact's layers are kept.  Where it
 * reads a row that is chosen to change, nothing is shared. */
smft_status smft__opening_make(smft__opening *opening, const smft__choice *choice,
                               smft__kept_layers *kept, smft__tape *tape, smft_patch *patch,
                               const smft__fact *fact, const atomic_int *cancel);
/* A pass to the losses of the wordings of `order` (n; NULL: the first n), behind the opening; where
 * that does not hold, of all of them whole, as smft__forward_all_wordings, and all is 1. */
smft_status smft__opening_check(smft__opening *opening, smft__batch_room *room,
                                smft__kept_layers *kept, smft__tape *tape, smft_patch *patch,
                                const smft__fact *fact, const int64_t *order, int64_t n, int *all,
                                const atomic_int *cancel);
/* Whether passes on a version of the patch may go on behind it. */
int smft__opening_holds(const smft__opening *opening, const smft__version *version);
#endif
