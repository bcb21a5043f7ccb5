/* sampler: one token from one row of logits: greedy, or by temperature, top-k and top-p with a
 * seed. */
#ifndef SMFT__SAMPLER_H
#define SMFT__SAMPLER_H
#include "base/ctx.h"
#include "base/rng.h"

typedef struct smft__sampler {
  float temperature, top_p; /* temperature 0: greedy; top_p 0 or 1: off */
  int32_t top_k;            /* 0: off */
  smft__rng rng;
} smft__sampler;
/* logits (vocab), finite.  order (vocab) is scratch, NULL when greedy.  Ties go to the lower id. */
int32_t smft__sampler_next(smft__sampler *sampler, const float *logits, int32_t vocab,
                           int32_t *order);
#endif
