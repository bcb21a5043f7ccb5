/* step: what steps of both kinds share: the forward pass to the loss, and clipping.  What a step
 * changes is step_slots.c's and step_dense.c's. */
#include "learn/learner.h"
#include "learn/rates.h"
#include <math.h>

double smft__clip_scale(double norm, double limit) {
  return limit > 0 && norm > limit ? limit / norm : 1;
}

/* Whether what the step asks for is below its threshold already. */
static int is_below(smft_learner *learner, const smft__step *step) {
  double *losses = learner->check.fresh;
  if (step->mean_decides || step->loss_below < 0)
    return step->report->loss < step->loss_below;
  smft__network_losses(learner->tape, losses);
  for (int64_t s = 0; s < step->batch.n_sequences; s++)
    if (!(losses[s] < step->loss_below))
      return 0;
  return 1;
}

/* The optimizer's rate, or the default: 0 where the gradient is to decide. */
static smft_status find_rate(const smft_learner *learner, double *lr) {
  const smft_optimizer_options *o = &learner->optimizer->options;
  *lr = o->lr;
  if (o->lr > 0 || o->step_length > 0)
    return SMFT_OK;
  *lr = smft__default_lr(learner->patch, o->kind, learner->slots.row_square,
                         learner->selector && smft__selector_damps(learner->selector));
  return *lr > 0 ? SMFT_OK
                 : smft__fail(SMFT_E_UNSUPPORTED,
                              "step: the model's value rows are zero, which the default rate goes "
                              "by: set smft_optimizer_options.step_length, or lr");
}

smft_status smft__step_forward(smft_learner *learner, smft__step *step) {
  smft_report *report = step->report;
  SMFT__TRY(find_rate(learner, &report->lr));
  report->tokens = step->batch.n_tokens;
  for (int64_t s = 0; s < step->batch.n_sequences; s++)
    for (int64_t i = step->batch.offsets[s] + 1; i < step->batch.offsets[s + 1]; i++)
      report->tokens_supervised += step->batch.weights[i] != 0;
  int keep = learner->patch->kind == SMFT_PATCH_SLOTS ? SMFT__KEEP_VALUES : SMFT__KEEP_ALL;
  const smft__version *version = smft__patch_current(learner->patch);
  const smft__lead *lead = step->past.n ? &learner->opening.lead : NULL;
  smft__kept_batch kept = {&learner->kept.layers, step->begins, lead, step->past};
  if (lead && !smft__opening_holds(&learner->opening, version))
    return smft__fail(SMFT_E_STATE, "step: the patch was changed meanwhile");
  SMFT__TRY(smft__network_forward_kept(learner->tape, version, &step->batch,
                                       step->begins ? &kept : NULL, keep, &report->loss,
                                       &learner->claim.stop));
  if (step->begins)
    smft__forward_note(&learner->kept, learner->tape, version, &step->batch, step->begins);
  if (!isfinite(report->loss))
    return smft__fail(SMFT_E_NONFINITE, "step: the loss is not finite; nothing was changed");
  step->is_done = is_below(learner, step);
  return SMFT_OK;
}

smft_status smft__take_step(smft_learner *learner, smft__step *step) {
  SMFT__TRY(smft__patch_begin_write(learner->patch));
  smft_status status = learner->patch->kind == SMFT_PATCH_SLOTS ? smft__step_slots(learner, step)
                                                                : smft__step_dense(learner, step);
  int publish = status == SMFT_OK && step->changed;
  if (publish && step->past.n) /* which reads none of the rows that changed */
    learner->opening.made_of = atomic_load(&step->next->number);
  smft__patch_end_write(learner->patch, publish ? step->next : NULL);
  return status;
}
