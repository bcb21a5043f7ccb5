/* contrast: what a fact's question reads when it is asked about others: that is of the question,
 * and of words that others have, too, and should not change for this fact. */
#ifndef SMFT__CONTRAST_H
#define SMFT__CONTRAST_H
#include "learn/facts.h"
#include "memory/counts.h"
#include "model/network.h"

typedef struct smft__contrast {
  smft_ctx *ctx;
  smft__counts *read; /* (n_pools) what a fact's others read */
  int32_t n_pools;
  int64_t serial; /* of that fact; 0: nobody's */
  int32_t *ids;   /* of a pass; grows to the most there were */
  int64_t capacity;
} smft__contrast;
smft_status smft__contrast_create(smft__contrast *contrast, const smft_model *model);
void smft__contrast_free(smft__contrast *contrast);
/* Passes over them, unless what they read is known; the tape is spent.  What all of a pass begin
 * with, such as a chat template's opening, runs, and is counted, once. */
smft_status smft__contrast_read(smft__contrast *contrast, smft__tape *tape, const smft__fact *fact,
                                const atomic_int *cancel);
/* (n_pools), or NULL where nothing is known of this fact: it has no others. */
const smft__counts *smft__contrast_of(const smft__contrast *contrast, int64_t serial);
#endif
