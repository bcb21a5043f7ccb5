/* wordings: a fact's frames as token ids, and when a fact that came in one wording is learnt
 * through them. */
#ifndef SMFT__WORDINGS_H
#define SMFT__WORDINGS_H
#include "learn/facts.h"
#include "learn/frames.h"

struct smft_wordings {
  smft_ctx *ctx;
  smft_model *model;
  char *answer;
  smft__frames frames; /* (n) */
  smft__fact *fact;    /* of n wordings, in the same order; its id is "" */
};

/* How a fact is made of wordings: every token is learnt; one wording becomes its frames. */
#define SMFT__FACT_LOSS_ALL 1u
#define SMFT__FACT_FRAMES 2u
/* subject: of a single wording, or NULL. */
smft_status smft__fact_from_wordings(smft__fact **out, const smft_model *model, const char *id,
                                     const smft_wording *wordings, int64_t n, const char *subject,
                                     uint32_t how);
#endif
