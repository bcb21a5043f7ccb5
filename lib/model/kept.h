/* kept: what the network makes of some tokens below the values of its lowest memory layer, kept
 * from one forward pass to the next. */
#ifndef SMFT__KEPT_H
#define SMFT__KEPT_H
#include "memory/layer.h"
#include "model/model.h"

typedef struct smft__kept {
  smft_ctx *ctx;
  int64_t hidden, reads; /* d; H * k */
  int64_t n_tokens;      /* T that are kept; 0: none */
  /* the one allocation of what follows; grows to the most tokens it has seen */
  char *block;
  int64_t capacity; /* bytes */
  float *middle;    /* (T, d) of the lowest memory layer's block, after attention */
  int64_t *slots;   /* (T, H, k) that the memory layer reads */
  float *weights;   /* (T, H, k) with which */
} smft__kept;
void smft__kept_init(smft__kept *kept, const smft_model *model);
void smft__kept_free(smft__kept *kept);
/* Room for n_tokens; what was kept is gone, also on failure. */
smft_status smft__kept_reserve(smft__kept *kept, int64_t n_tokens);
/* Takes the first n_tokens, for which there is room, of a block's middle and of its memory's tape.
 */
void smft__kept_store(smft__kept *kept, const float *middle, const smft__memory_tape *memory,
                      int64_t n_tokens);
/* Puts n_tokens, from `begin` of those kept, where the same stand in a batch: from its token `to`.
 */
void smft__kept_fetch(const smft__kept *kept, int64_t begin, int64_t n_tokens, float *middle,
                      smft__memory_tape *memory, int64_t to);
#endif
