/* network: the whole stack over a batch of sequences, forward to the loss and backward to the
 * gradients that are wanted.  Training side; a session runs the same stack with a KV cache
 * (stack.h). */
#ifndef SMFT__NETWORK_H
#define SMFT__NETWORK_H
#include "model/kept.h"
#include "model/lead.h"
#include "model/tape.h"

typedef struct smft__sequences { /* sequences one after another, none padded */
  const int32_t *ids;            /* (n_tokens), checked against the vocabulary */
  const int64_t *offsets;        /* (n_sequences + 1) */
  int64_t n_sequences, n_tokens;
  /* (n_tokens): weight of predicting ids[i] from what stands before it; a sequence's first is
   * ignored; NULL: 1 */
  const float *weights;
} smft__sequences;

/* Forward to the loss = sum(w * nll) / sum(w) over supervised tokens (w != 0); only those get
 * logits.  keep: SMFT__KEEP_*; with SMFT__KEEP_NOTHING loss may be NULL, and then no logits are
 * computed.  cancel (may be NULL): polled between blocks -> SMFT_E_CANCELLED.
 */
smft_status smft__network_forward(smft__tape *tape, const smft__version *version,
                                  const smft__sequences *batch, int keep, double *loss,
                                  const atomic_int *cancel);
/* The states that the FFN reads in blocks `layers` (n, ascending): each gets h (T, d) of the
 * which-th, borrowed, as soon as it is there; what is not SMFT_OK ends the pass.  No block above
 * the highest runs, and of that one nothing after the state. */
typedef smft_status (*smft__state_fn)(void *user, int32_t which, const float *h);
smft_status smft__network_states(smft__tape *tape, const smft__sequences *batch,
                                 const int32_t *layers, int32_t n, smft__state_fn each, void *user);

/* ---- kept lower layers: repeated passes over the same sequences ---------- */
/* A slots patch changes values of memory pools and nothing else.  So whatever it holds, and however
 * it changes between two passes, the blocks below the lowest memory layer give the same tokens the
 * same states; that layer's block the same up to its memory; and its queries and keys the same
 * slots and weights.  All that is made once here, from the model alone: no patch is asked for. */
smft_status smft__network_keep(smft__tape *tape, const smft__sequences *batch, smft__kept *layers,
                               const atomic_int *cancel);

typedef struct smft__kept_batch { /* where a batch stands among kept tokens */
  const smft__kept *layers;
  /* (n_sequences): where each sequence of the batch begins among the kept tokens */
  const int64_t *begins;
  /* NULL: each sequence is whole.  Else those with a past (n_sequences) are what follows it, which
   * neither runs nor is moved again */
  const smft__lead *lead;
  smft__pasts past;
} smft__kept_batch;
/* smft__network_forward, of which it runs only what lies above kept layers (NULL: all).  patch:
 * NULL or of kind slots; keep: not SMFT__KEEP_ALL.  The states below are those of the batch that
 * was kept: a product's rows may be rounded otherwise in a batch of another size. */
smft_status smft__network_forward_kept(smft__tape *tape, const smft__version *version,
                                       const smft__sequences *batch, const smft__kept_batch *kept,
                                       int keep, double *loss, const atomic_int *cancel);

/* What tokens with which sequences begin leave in the blocks above, for passes over what follows
 * them: some: those tokens, which stand in kept layers.  The lead, which is kept->lead, takes each
 * sequence behind its past, or from past.at on where it has none.  Their reads are on the tape.  It
 * holds for as long as no row changes that one of them reads: then what they are does not depend on
 * the rows that do, and gets no gradient. */
smft_status smft__network_share(smft__tape *tape, const smft__version *version,
                                const smft__sequences *some, const smft__kept_batch *kept,
                                smft__lead *lead, const atomic_int *cancel);

/* What a batch reads, on the tape: all sequences begin with the n_shared tokens that the first one
 * begins with; there they run, once, and of each other one the batch holds what follows them. Equal
 * to whole sequences but for rounding. */
smft_status smft__network_reads(smft__tape *tape, const smft__sequences *batch, int64_t n_shared,
                                const atomic_int *cancel);

/* losses (n_sequences): each sequence's own mean loss of the last forward pass that had one, its
 * weights respected; 0 where nothing of a sequence is supervised. */
void smft__network_losses(const smft__tape *tape, double *losses);

/* After forward with SMFT__KEEP_ALL on the same batch and patch, or with SMFT__KEEP_VALUES, once,
 * when only rows are wanted.  Goes down only to the lowest block whose gradient is wanted. */
smft_status smft__network_backward(smft__tape *tape, const smft__version *version,
                                   const smft__grads *grads, const atomic_int *cancel);
#endif
