/* learn_defaults: how a model wants to be taught, which its config.json may say ("memory":
 * {"learn":
 * {...}}): what learn/ takes where its options are zero.  What they mean is learn/'s. */
#ifndef SMFT__LEARN_DEFAULTS_H
#define SMFT__LEARN_DEFAULTS_H
#include "data/json.h"

typedef struct smft__learn_defaults { /* as the options of those names; 0: the model says nothing */
  int64_t t;
  double max_df, damping, step_length, momentum, loss_below;
  int32_t damping_by, rank_by; /* SMFT_DAMPING_*, SMFT_RANK_* */
  int32_t max_steps, wordings_per_step;
  int length_by_loss; /* SMFT_OPTIMIZER_LENGTH_BY_LOSS */
  int frames;         /* a fact pushed with one wording is learnt through others made of it */
} smft__learn_defaults;

/* What config.json calls SMFT_DAMPING_* and SMFT_RANK_*, from 1. */
extern const char *const smft__damping_names[2], *const smft__rank_names[2];

/* memory: the object "memory".  Without "learn", or where that is null: all zero.  An unknown key
 * or name is SMFT_E_UNSUPPORTED, a number out of range SMFT_E_FORMAT. */
smft_status smft__learn_defaults_read(smft__learn_defaults *out, const json_t *memory);
#endif
