/* check: which of a fact's wordings are learnt: the loss of each as it was measured last, and the
 * pass over all of them that decides. */
#ifndef SMFT__CHECK_H
#define SMFT__CHECK_H
#include "learn/facts.h"
#include "model/network.h"

typedef struct smft__check { /* zero but for ctx: empty */
  smft_ctx *ctx;
  int64_t serial; /* of the fact whose wordings these are; 0: nobody's */
  int64_t n;      /* of its wordings */
  double *losses; /* (n) as each was measured last, nats a token; NaN: not yet */
  double *fresh;  /* (n) of the last pass, in the order of its batch */
  int64_t losses_capacity, fresh_capacity;
  /* the fact's steps when a pass over all wordings last found some above; -1: none did.  From then
   * on those are drawn first */
  int64_t failed_at;
} smft__check;
void smft__check_free(smft__check *check);
/* Of no wording is anything known, unless the check is the fact's already. */
smft_status smft__check_begin(smft__check *check, const smft__fact *fact);
/* The losses of the last pass, over the n wordings of `order` (NULL: the first n). */
void smft__check_note(smft__check *check, const smft__tape *tape, const int64_t *order, int64_t n);
/* How many wordings were below the threshold when they were measured last. */
int64_t smft__check_n_below(const smft__check *check, double below);
/* The mean of what was measured last; each is known. */
double smft__check_mean(const smft__check *check);
/* Whether that is enough: all but the fact's spared ones. */
int smft__check_enough(const smft__check *check, const smft__fact *fact, double below);
/* What it says of the wordings. */
void smft__check_report(const smft__check *check, const smft__fact *fact, double below,
                        smft_report *report);

/* The pass over all wordings, whose reads it leaves on the tape.  It takes notes, changes nothing
 * else and adds its cost to the report; passed: enough wordings are below. */
smft_status smft__check_all(smft_learner *learner, const smft__fact *fact, smft_report *report,
                            int *passed);
/* The same where the first n of the last draw were measured on these weights just now: behind an
 * opening the others alone. */
smft_status smft__check_rest(smft_learner *learner, const smft__fact *fact, int64_t n,
                             smft_report *report, int *passed);
/* Room for it, so that it allocates nothing. */
smft_status smft__check_reserve(smft_learner *learner, const smft__fact *fact);
#endif
