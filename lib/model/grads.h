/* grads: which gradients a backward pass is to make, by tensor and as a block asks for them. */
#ifndef SMFT__GRADS_H
#define SMFT__GRADS_H
#include "model/view.h"

typedef struct smft__grads { /* what is wanted; all are added to */
  /* (n_tensors), entries NULL where not wanted; NULL: no dense gradient at all */
  float **tensors;
  /* (n_pools), entries NULL where not wanted: see smft__memory_grads.rows; NULL: none */
  smft__rows **rows;
  /* LoRA patches: (2 n) A and B of each adapter, entries NULL where not wanted; NULL: none */
  float **adapters;
} smft__grads;

typedef struct smft__matrix_grad { /* of the matrix itself, and of its adapter's factors */
  float *w, *a, *b;
} smft__matrix_grad;
static inline int smft__wants_matrix(const smft__matrix_grad *g) { return g->w || g->a || g->b; }

typedef struct smft__block_grads { /* each NULL where not wanted; all are added to */
  smft__matrix_grad at[SMFT__N_BLOCK_PARAMS];
  smft__memory_grads memory; /* its alpha's, too */
} smft__block_grads;
smft__block_grads smft__block_grads_of(const smft_model *model, const smft__version *version,
                                       const smft__grads *grads, int32_t layer);
/* NULL: not wanted */
float *smft__wanted(const smft__grads *grads, smft__where where);
/* Whether anything of these is: attention and the norm before it; all that comes after; of that,
 * the memory but for its alpha. */
int smft__wants_attention(const smft__block_grads *g);
int smft__wants_branch(const smft__block_grads *g);
int smft__wants_memory(const smft__memory_grads *g);
#endif
