/* forward: what a fact's forward passes have in common: the lower layers, kept from one to the
 * next, and the counts of which slots were read how often. */
#ifndef SMFT__FORWARD_H
#define SMFT__FORWARD_H
#include "learn/facts.h"
#include "memory/counts.h"
#include "model/network.h"

typedef struct smft__kept_layers {
  smft__kept layers; /* of all wordings of a fact */
  int64_t serial;    /* of that fact; 0: nobody */
  /* the last pass over all of a fact's wordings: whose they were (0: nobody's), which of the
   * tape's passes it was, and the number of the version that it read */
  int64_t read_serial, read_pass;
  uint64_t read_version;
} smft__kept_layers;
/* Makes them, unless they are the fact's already. */
smft_status smft__keep_layers(smft__kept_layers *kept, smft__tape *tape, const smft__fact *fact,
                              const atomic_int *cancel);
/* A pass over all the fact's wordings without backward: to their loss, or (NULL) only to their
 * reads; no pass where those are on the tape already.  On slots patches it keeps layers, or goes on
 * from them. */
smft_status smft__forward_all_wordings(smft__kept_layers *kept, smft__tape *tape, smft_patch *patch,
                                       const smft__fact *fact, double *loss,
                                       const atomic_int *cancel);
/* What a pass over this batch of the fact with the kept layers left on the tape are its reads, if
 * the batch has all its wordings in their order. */
void smft__forward_note(smft__kept_layers *kept, const smft__tape *tape,
                        const smft__version *version, const smft__sequences *batch,
                        const int64_t *begins);
/* c(i) of the last forward into counts (n_pools), finished: over all tokens, heads, k and the
 * layers that share a pool. */
smft_status smft__count_reads(smft__counts *counts, const smft_model *model,
                              const smft__tape *tape);
/* Adds them to what is counted already, without finishing. */
smft_status smft__add_reads(smft__counts *counts, const smft_model *model, const smft__tape *tape);
/* Beside finished counts of that forward, the sum of the softmax weights of each slot's reads. */
smft_status smft__weigh_reads(smft__counts *counts, const smft_model *model,
                              const smft__tape *tape);
/* room for those of so many tokens */
smft_status smft__reserve_counts(smft__counts *counts, const smft_model *model, int64_t n_tokens);
#endif
