/* lead: the keys and values of tokens with which sequences begin, in the blocks above the lowest
 * memory layer, for passes over what follows them. */
#ifndef SMFT__LEAD_H
#define SMFT__LEAD_H
#include "model/block.h"

typedef struct smft__lead {
  smft_ctx *ctx;
  int64_t width;           /* KV */
  int32_t first, n_layers; /* blocks [first, n_layers) */
  int64_t n_tokens;        /* P that there is room for; 0: none */
  /* the one allocation of what follows; grows to the most tokens it has seen */
  float *block;
  int64_t capacity; /* floats */
  float *k, *v;     /* (n_layers - first, P, KV) k after rotation */
} smft__lead;
typedef struct smft__pasts { /* of some sequences */
  const int64_t *n;          /* how many tokens come before each; 0: none */
  const int64_t *at;         /* which of a lead's tokens is the first of them */
} smft__pasts;
void smft__lead_init(smft__lead *lead, const smft_model *model);
void smft__lead_free(smft__lead *lead);
/* Room for n_tokens; what was there is gone, also on failure. */
smft_status smft__lead_reserve(smft__lead *lead, int64_t n_tokens);
/* Takes n tokens, from `from` of the blocks' tapes (n_layers), as those from `to` on. */
void smft__lead_store(smft__lead *lead, const smft__block_tape *blocks, int64_t from, int64_t n,
                      int64_t to);
/* Its first n tokens, again from `to` on. */
void smft__lead_repeat(smft__lead *lead, int64_t n, int64_t to);
/* Has the blocks read it before the tokens of segments with n_past, from past_at on. */
void smft__lead_point(const smft__lead *lead, smft__block_tape *blocks);
#endif
