/* network: the whole stack over a batch of sequences, forward to the loss and backward to the gradients that are wanted.  Training side; a
 * session runs the same blocks with a KV cache (block.h). */
#ifndef SMFT__NETWORK_H
#define SMFT__NETWORK_H
#include "model/patch.h"

typedef struct smft__sequences { /* sequences one after another, none padded */
  const int32_t *ids;       /* (n_tokens), checked against the vocabulary */
  const int64_t *offsets;   /* (n_sequences + 1) */
  int64_t n_sequences, n_tokens;
  const float *weights;     /* (n_tokens): weight of predicting ids[i] from what stands before it; a sequence's first is ignored; NULL: 1 */
} smft__sequences;

typedef struct smft__tape smft__tape; /* activations; grows to the largest batch it has seen, freed by smft__tape_free */
smft_status smft__tape_create(smft__tape **out, const smft_model *model);
void smft__tape_free(smft__tape *tape);

typedef struct smft__grads { /* what is wanted; all are added to */
  float **tensors;   /* (n_tensors), entries NULL where not wanted; NULL: no dense gradient at all */
  smft__rows **rows; /* (n_pools), entries NULL where not wanted: see smft__memory_grads.rows; NULL: none */
  float **adapters;  /* LoRA patches: (2 n) A and B of each adapter, entries NULL where not wanted; NULL: none */
} smft__grads;

/* What a forward pass keeps: nothing (counting; loss only), all that any backward pass needs, or what one backward pass to smft__grads.rows
 * needs: nothing of the blocks below the lowest memory layer, and half of that layer. */
enum { SMFT__KEEP_NOTHING, SMFT__KEEP_ALL, SMFT__KEEP_VALUES };

/* Forward to the loss = sum(w * nll) / sum(w) over supervised tokens (w != 0); only those get logits.  keep: SMFT__KEEP_*; with
 * SMFT__KEEP_NOTHING loss may be NULL, and then no logits are computed.  cancel (may be NULL): polled between blocks -> SMFT_E_CANCELLED.
 */
smft_status smft__network_forward(smft__tape *tape, const smft_patch *patch, const smft__sequences *batch, int keep, double *loss,
                                  const atomic_int *cancel);
/* After forward with SMFT__KEEP_ALL on the same batch and patch, or with SMFT__KEEP_VALUES, once, when only rows are wanted.  Goes down
 * only to the lowest block whose gradient is wanted. */
smft_status smft__network_backward(smft__tape *tape, const smft_patch *patch, const smft__grads *grads, const atomic_int *cancel);
/* Slots that memory layer m read in the last forward: (n_tokens, H, k); NULL out of range. */
const int64_t *smft__tape_slots(const smft__tape *tape, int32_t memory, int64_t *n);
const float *smft__tape_weights(const smft__tape *tape, int32_t memory, int64_t *n);
#endif
