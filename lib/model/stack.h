/* stack: tokens on their way through embedding and blocks, for training and for sessions alike, and
 * the way back. */
#ifndef SMFT__STACK_H
#define SMFT__STACK_H
#include "model/block.h"

typedef struct smft__pass { /* tokens on their way through the blocks */
  const smft_model *model;
  const smft__version *version; /* NULL: the base */
  smft__batch_shape shape;
  /* (n_layers): training's own arrays, or one set shared by all with k and v in the cache */
  smft__block_tape *tapes;
  float *x;                 /* (T, d) output of the last block */
  const atomic_int *cancel; /* polled between blocks; NULL: never */
} smft__pass;

/* How far a block is run: all of it, only to the slots that its memory reads, or only from there,
 * when what comes before is on its tape. */
enum { SMFT__WHOLE, SMFT__LOOKUP, SMFT__RESUME };

/* ids (T) to the first block's input. */
void smft__stack_embed(const smft__pass *pass, const int32_t *ids);
/* Blocks [begin, end).  first: SMFT__WHOLE or RESUME, of block `begin`; last: SMFT__WHOLE or
 * LOOKUP, of block `end` - 1. */
smft_status smft__stack_run(const smft__pass *pass, int32_t begin, int32_t end, int first,
                            int last);
/* dx (T, d): the gradient of the last block's output.  Goes down to the lowest block whose gradient
 * is wanted, or to the embedding; what is left in dx is of no use. */
smft_status smft__stack_backward(const smft__pass *pass, const smft__block_scratch *scratch,
                                 const smft__grads *grads, const int32_t *ids, float *dx);
#endif
