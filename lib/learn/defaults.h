/* defaults: what zero stands for in the options of selector and learner, and what a learner does
 * without an optimizer: what the model says (model/learn_defaults.h), else the library's own. */
#ifndef SMFT__DEFAULTS_H
#define SMFT__DEFAULTS_H
#include "model/model.h"

/* No field is left to a default, but step_length (0: the optimizer's rate), what belongs to it,
 * and, where it is negative, max_df (none). */
smft__learn_defaults smft__defaults_of(const smft_model *model);
#endif
