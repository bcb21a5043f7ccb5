/* defaults: see defaults.h.  Owns the library's own; docs/method.md says where they come from. */
#include "learn/defaults.h"

#define OF_SLOTS 350
#define OF_DAMPING 0.0003
/* many small steps, a few wordings each; 0.2 nats a token leaves the answer at a probability of .8
 * a token */
#define OF_STEPS 200
#define OF_WORDINGS 4
#define OF_LOSS 0.2

smft__learn_defaults smft__defaults_of(const smft_model *model) {
  smft__learn_defaults d = model->config.learn;
  d.t = d.t ? d.t : OF_SLOTS;
  d.max_df = d.max_df == 0 ? -1 : d.max_df;
  d.damping = d.damping == 0 ? OF_DAMPING : d.damping;
  d.damping_by = d.damping_by ? d.damping_by : SMFT_DAMPING_SQUARES;
  d.rank_by = d.rank_by ? d.rank_by : SMFT_RANK_COUNTS;
  d.loss_below = d.loss_below == 0 ? OF_LOSS : d.loss_below;
  d.max_steps = d.max_steps ? d.max_steps : OF_STEPS;
  d.wordings_per_step = d.wordings_per_step ? d.wordings_per_step : OF_WORDINGS;
  return d;
}

smft_status smft_model_learn_defaults(const smft_model *model, smft_learn_defaults *defaults) {
  SMFT__REQUIRE(model && defaults, "smft_model_learn_defaults: a NULL argument");
  smft__learn_defaults d = smft__defaults_of(model);
  smft_learn_defaults own = SMFT_LEARN_DEFAULTS_INIT;
  own.t = d.t;
  own.damping = d.damping;
  own.damping_by = d.damping_by;
  own.max_df = d.max_df;
  own.rank_by = d.rank_by;
  own.step_length = d.step_length;
  own.momentum = d.momentum;
  own.length_by_loss = d.length_by_loss;
  own.loss_below = d.loss_below;
  own.max_steps = d.max_steps;
  own.wordings_per_step = d.wordings_per_step;
  own.frames = d.frames;
  return smft__report_write(defaults, &own, sizeof own, sizeof own, "smft_learn_defaults");
}
