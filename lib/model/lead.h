/* lead: the keys and values of tokens that several sequences begin with, in the blocks above the
 * lowest memory layer, for passes over what follows them. */
#ifndef SMFT__LEAD_H
#define SMFT__LEAD_H
#include "model/block.h"

typedef struct smft__lead {
  smft_ctx *ctx;
  int64_t width;           /* KV */
  int32_t first, n_layers; /* blocks [first, n_layers) */
  int64_t n_tokens;        /* P; 0: none */
  /* the one allocation of what follows; grows to the most tokens it has seen */
  float *block;
  int64_t capacity; /* floats */
  float *k, *v;     /* (n_layers - first, P, KV) k after rotation */
} smft__lead;
void smft__lead_init(smft__lead *lead, const smft_model *model);
void smft__lead_free(smft__lead *lead);
/* Room for n_tokens; what was there is gone, also on failure. */
smft_status smft__lead_reserve(smft__lead *lead, int64_t n_tokens);
/* Takes n_tokens, for which there is room, from the blocks' tapes (n_layers). */
void smft__lead_store(smft__lead *lead, const smft__block_tape *blocks, int64_t n_tokens);
/* Has the blocks read it before the tokens of segments with n_past. */
void smft__lead_point(const smft__lead *lead, smft__block_tape *blocks);
#endif
