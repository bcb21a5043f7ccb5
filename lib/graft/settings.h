/* settings: what a graft is made of: the options, checked, with their defaults. */
#ifndef SMFT__SETTINGS_H
#define SMFT__SETTINGS_H
#include "model/model.h"

#define SMFT__GRAFT_MOST_LAYERS 64

typedef struct smft__settings {
  smft_graft_options o; /* nothing is 0 where that means a default, but for step_length */
  int32_t layers[SMFT__GRAFT_MOST_LAYERS]; /* (o.n_layers), which is what o.layers points to not */
} smft__settings;
/* step_length stays 0 until the states' length is known: smft__settings_step. */
smft_status smft__settings_read(smft__settings *out, const smft_model *model,
                                const smft_graft_options *given);
double smft__settings_step(const smft__settings *settings, double state_length);
static inline int64_t smft__settings_width(const smft__settings *s) { /* H * dk */
  return (int64_t)s->o.heads * s->o.key_dim;
}
/* Tells the progress callback, where there is one. */
smft_status smft__settings_tell(const smft__settings *settings, const char *stage, int64_t done,
                                int64_t total);
#endif
