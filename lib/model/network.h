/* network: the whole stack over a batch of sequences, forward to the loss and backward to the
 * gradients that are wanted.  Training side; a session runs the same blocks with a KV cache
 * (block.h). */
#ifndef SMFT__NETWORK_H
#define SMFT__NETWORK_H
#include "model/patch.h"
#include "model/prefix.h"

typedef struct smft__sequences { /* sequences one after another, none padded */
  const int32_t *ids;            /* (n_tokens), checked against the vocabulary */
  const int64_t *offsets;        /* (n_sequences + 1) */
  int64_t n_sequences, n_tokens;
  /* (n_tokens): weight of predicting ids[i] from what stands before it; a sequence's first is
   * ignored; NULL: 1 */
  const float *weights;
} smft__sequences;

/* activations; grows to the largest batch it has seen, freed by smft__tape_free */
typedef struct smft__tape smft__tape;
smft_status smft__tape_create(smft__tape **out, const smft_model *model);
void smft__tape_free(smft__tape *tape);
/* Room for every forward pass with this patch and this `keep` (SMFT__KEEP_*) over at most so many
 * tokens, sequences and supervised tokens: none of them allocates.  What a pass before left on the
 * tape is gone. */
smft_status smft__tape_reserve(smft__tape *tape, const smft_patch *patch, int64_t n_tokens,
                               int64_t n_sequences, int64_t n_supervised, int keep);

typedef struct smft__grads { /* what is wanted; all are added to */
  /* (n_tensors), entries NULL where not wanted; NULL: no dense gradient at all */
  float **tensors;
  /* (n_pools), entries NULL where not wanted: see smft__memory_grads.rows; NULL: none */
  smft__rows **rows;
  /* LoRA patches: (2 n) A and B of each adapter, entries NULL where not wanted; NULL: none */
  float **adapters;
} smft__grads;

/* What a forward pass keeps: nothing (counting; loss only), all that any backward pass needs, or
 * what one backward pass to smft__grads.rows needs: nothing of the blocks below the lowest memory
 * layer, and half of that layer. */
enum { SMFT__KEEP_NOTHING, SMFT__KEEP_ALL, SMFT__KEEP_VALUES };

/* Forward to the loss = sum(w * nll) / sum(w) over supervised tokens (w != 0); only those get
 * logits.  keep: SMFT__KEEP_*; with SMFT__KEEP_NOTHING loss may be NULL, and then no logits are
 * computed.  cancel (may be NULL): polled between blocks -> SMFT_E_CANCELLED.
 */
smft_status smft__network_forward(smft__tape *tape, const smft_patch *patch,
                                  const smft__sequences *batch, int keep, double *loss,
                                  const atomic_int *cancel);
/* ---- the kept prefix: repeated passes over the same sequences ------------ */
/* A slots patch changes values of memory pools and nothing else.  So whatever it holds, and however
 * it changes between two passes, the blocks below the lowest memory layer give the same tokens the
 * same states; that layer's block the same up to its memory; and its queries and keys the same
 * slots and weights.  All that is made once here, from the model alone: no patch is asked for. */
smft_status smft__network_prefix(smft__tape *tape, const smft__sequences *batch,
                                 smft__prefix *prefix, const atomic_int *cancel);

typedef struct smft__kept {
  const smft__prefix *prefix;
  /* (n_sequences): where each sequence of the batch begins among the prefix's tokens */
  const int64_t *begins;
} smft__kept;
/* smft__network_forward, of which it runs only what lies above the prefix (kept NULL: all).  patch:
 * NULL or of kind slots; keep: not SMFT__KEEP_ALL.  The states below are those of the batch that
 * the prefix was made of: a product's rows may be rounded otherwise in a batch of another size. */
smft_status smft__network_forward_kept(smft__tape *tape, const smft_patch *patch,
                                       const smft__sequences *batch, const smft__kept *kept,
                                       int keep, double *loss, const atomic_int *cancel);

/* After forward with SMFT__KEEP_ALL on the same batch and patch, or with SMFT__KEEP_VALUES, once,
 * when only rows are wanted.  Goes down only to the lowest block whose gradient is wanted. */
smft_status smft__network_backward(smft__tape *tape, const smft_patch *patch,
                                   const smft__grads *grads, const atomic_int *cancel);
/* Slots that memory layer m read in the last forward: (n_tokens, H, k); NULL out of range. */
const int64_t *smft__tape_slots(const smft__tape *tape, int32_t memory, int64_t *n);
const float *smft__tape_weights(const smft__tape *tape, int32_t memory, int64_t *n);
#endif
