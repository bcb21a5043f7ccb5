/* states: what the FFNs of the chosen blocks read, over all texts: their moments, samples of them,
 * and, where there is room, all of them. */
#ifndef SMFT__STATES_H
#define SMFT__STATES_H
#include "graft/texts.h"
#include "graft/whiten.h"

typedef struct smft__states_block {
  smft__moments moments;
  float *all;     /* (n_tokens, d); NULL: not kept, then: */
  float *samples; /* (n_samples, d) */
} smft__states_block;

typedef struct smft__states {
  smft_ctx *ctx;
  int32_t n_blocks;
  int64_t d, n_tokens, n_samples;
  smft__states_block *blocks; /* (n_blocks) */
  int64_t *picked;            /* (n_samples) tokens, ascending; the same in all blocks */
} smft__states;
/* Nothing is left allocated on failure. */
smft_status smft__states_collect(smft__states *states, const smft_model *model,
                                 const smft__settings *settings, const smft__texts *texts);
void smft__states_free(smft__states *states); /* a zeroed struct is fine */
static inline const float *smft__states_sample(const smft__states *states, int32_t block,
                                               int64_t i) { /* (d) */
  const smft__states_block *b = &states->blocks[block];
  return b->all ? b->all + states->picked[i] * states->d : b->samples + i * states->d;
}
#endif
