/* tape: the activations of a training pass over a batch of sequences, in one block that is borrowed
 * from the first pass until smft__tape_rest, and as large as the largest batch so far wanted. */
#ifndef SMFT__TAPE_H
#define SMFT__TAPE_H
#include "model/head.h"
#include "model/stack.h"

#define SMFT__MOST_TOKENS ((int64_t)1 << 31)

/* What a forward pass keeps: nothing (counting; loss only), all that any backward pass needs, or
 * what one backward pass to smft__grads.rows needs: nothing of the blocks below the lowest memory
 * layer, and half of that layer. */
enum { SMFT__KEEP_NOTHING, SMFT__KEEP_ALL, SMFT__KEEP_VALUES };

typedef struct smft__tape {
  smft_model *model;
  smft__block_tape *blocks;    /* (n_layers); those that keep nothing share their arrays */
  smft__memory_tape *memories; /* (n_memories) */
  char *block;                 /* that everything below stands in (base/loan.h); NULL: at rest */
  int64_t capacity;            /* of the block, or of the one that the next pass borrows */
  int64_t n_tokens, n_sequences, longest, rank; /* rank: of the patch's adapters */
  /* SMFT__KEEP_*; the last forward succeeded; a backward pass used up what SMFT__KEEP_VALUES keeps
   */
  int32_t keep, ready, spent;
  int64_t n_passes;         /* begun on it, by which one is told from those after it */
  int32_t *ids, *positions; /* (T) */
  smft__segment *segments;  /* (n_sequences) */
  smft__segment_grad *grads;
  float *scratch; /* attention's */
  float *adapted; /* (T, 2 rank) the adapters' */
  float *x;       /* (T, d) output of the last block */
  float *dx;      /* (T, d) */
  smft__block_scratch back;
  smft__head_tape head;
} smft__tape;
smft_status smft__tape_create(smft__tape **out, const smft_model *model);
void smft__tape_free(smft__tape *tape);
/* Gives the block back; what a pass left on the tape is gone. */
void smft__tape_rest(smft__tape *tape);
/* Room for every forward pass with this patch and this `keep` (SMFT__KEEP_*) over at most so many
 * tokens, sequences and supervised tokens: none of them allocates.  What a pass before left on the
 * tape is gone. */
smft_status smft__tape_reserve(smft__tape *tape, const smft__version *version, int64_t n_tokens,
                               int64_t n_sequences, int64_t n_supervised, int keep);

/* Places the arrays of a batch of this shape; longest: tokens of the longest sequence. */
smft_status smft__tape_begin(smft__tape *tape, const smft__version *version, int64_t n_tokens,
                             int64_t n_sequences, int64_t longest, int64_t n_supervised, int keep);
/* Slots that memory layer m read in the last forward: (n_tokens, H, k); NULL out of range. */
const int64_t *smft__tape_slots(const smft__tape *tape, int32_t memory, int64_t *n);
const float *smft__tape_weights(const smft__tape *tape, int32_t memory, int64_t *n);
#endif
