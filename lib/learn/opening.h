/* opening: the tokens with which a fact's wordings begin and that nothing learnt reaches: what
 * several begin with alike, such as what a chat template puts before every question, and what
 * follows in each up to the first token that reads a row which may change.  Run once, and not again
 * in each step. */
#ifndef SMFT__OPENING_H
#define SMFT__OPENING_H
#include "learn/batch.h"
#include "learn/choice.h"
#include "learn/forward.h"

typedef struct smft__opening { /* zero but for ctx and lead: empty */
  smft_ctx *ctx;
  smft__lead lead; /* what is shared; then, of each wording that has more, all that it leaves out */
  int64_t serial;  /* of the fact whose opening it is; 0: nobody's */
  int64_t wording; /* one that begins with what is shared */
  int64_t n_tokens; /* that are shared; 0: none are */
  int64_t most;     /* tokens that the lead may come to have; 0: nothing is left out */
  int64_t *past;    /* (wordings): tokens of each that need not run */
  int64_t *at;      /* (wordings): which of the lead's is the first of them */
  int64_t *ends;    /* (wordings): how many may be left out */
  int64_t *own;     /* (n_own): wordings that leave out more than what is shared */
  int64_t n_own, past_capacity, at_capacity, ends_capacity, own_capacity;
  uint64_t made_of; /* number of the patch's version for which the lead holds; 0: not made yet */
} smft__opening;
typedef struct smft__opening_work { /* what its passes need */
  const smft__choice *choice;
  smft__batch_room *room;
  smft__kept_layers *kept; /* the fact's */
  smft__tape *tape;
  smft_patch *patch;
  int64_t n; /* wordings of a pass at most */
  const atomic_int *cancel;
} smft__opening_work;
void smft__opening_free(smft__opening *opening);
/* Finds what is shared, as it spares most tokens, unless that was done for the fact, and makes room
 * for it and for what each wording may add, so that nothing after allocates.  Nothing that is
 * learnt is in an opening. */
smft_status smft__opening_find(smft__opening *opening, const smft__fact *fact);
/* Runs it with the patch's version, up to where the choice allows, unless that was done. */
smft_status smft__opening_make(smft__opening *opening, const smft__opening_work *work,
                               const smft__fact *fact);
/* A pass to the losses of the wordings of `order` (n; NULL: the first n), behind the opening; where
 * that does not hold, of all of them whole, as smft__forward_all_wordings, and all is 1. */
smft_status smft__opening_check(smft__opening *opening, const smft__opening_work *work,
                                const smft__fact *fact, const int64_t *order, int64_t n, int *all);
/* Whether passes on a version of the patch may go on behind it. */
int smft__opening_holds(const smft__opening *opening, const smft__version *version);
/* What it leaves out of each wording, once it is made. */
smft__pasts smft__opening_pasts(const smft__opening *opening);
#endif
