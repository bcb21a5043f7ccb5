/* step: see step.h; and smft_learner_step_batch, which is that and no more.  Owns the lock and the
 * forward pass to the loss; what a step changes is step_slots.c's and step_dense.c's. */
#include "base/clock.h"
#include "learn/learner.h"
#include "learn/rates.h"
#include <math.h>

double smft__clip_scale(double norm, double limit) {
  return limit > 0 && norm > limit ? limit / norm : 1;
}

smft_status smft__take_step(smft_learner *learner, smft__step *step) {
  SMFT__TRY(smft__patch_begin_write(learner->patch));
  smft_status status = learner->patch->kind == SMFT_PATCH_SLOTS ? smft__step_slots(learner, step)
                                                                : smft__step_dense(learner, step);
  smft__patch_end_write(learner->patch, status == SMFT_OK && step->changed);
  return status;
}

smft_status smft__step_forward(smft_learner *learner, smft__step *step) {
  smft_report *report = step->report;
  report->lr = learner->optimizer->options.lr;
  if (report->lr == 0)
    report->lr = smft__default_lr(learner->patch, learner->optimizer->options.kind,
                                  learner->slots.row_square,
                                  learner->selector && smft__selector_damps(learner->selector));
  report->tokens = step->batch.n_tokens;
  for (int64_t s = 0; s < step->batch.n_sequences; s++)
    for (int64_t i = step->batch.offsets[s] + 1; i < step->batch.offsets[s + 1]; i++)
      report->tokens_supervised += step->batch.weights[i] != 0;
  int keep = learner->patch->kind == SMFT_PATCH_SLOTS ? SMFT__KEEP_VALUES : SMFT__KEEP_ALL;
  smft__kept_batch kept = {&learner->kept.layers, step->begins};
  SMFT__TRY(smft__network_forward_kept(learner->tape, learner->patch, &step->batch,
                                       step->begins ? &kept : NULL, keep, &report->loss,
                                       &learner->cancelled));
  if (!isfinite(report->loss))
    return smft__fail(SMFT_E_NONFINITE, "step: the loss is not finite; nothing was changed");
  step->is_done = report->loss < step->loss_below;
  return SMFT_OK;
}

smft_status smft_learner_step_batch(smft_learner *learner, const smft_batch *batch,
                                    smft_report *report) {
  smft_report own = SMFT_REPORT_INIT;
  smft_batch given = SMFT_BATCH_INIT;
  SMFT__REQUIRE(learner && batch, "smft_learner_step_batch: a NULL argument");
  SMFT__TRY(smft__report_check(report, sizeof own, "smft_report"));
  SMFT__TRY(smft__options_read(&given, batch, sizeof given, sizeof given, "smft_batch"));
  double begin = smft__now();
  atomic_store(&learner->cancelled, 0);
  smft__step step = {{0}, NULL, 0, 0, -INFINITY, 0, 0, &own};
  SMFT__TRY(smft__batch_read(&learner->batch, learner->model, &given, &step.batch));
  SMFT__TRY(smft__take_step(learner, &step));
  own.fact_id = "";
  own.step = step.changed;
  own.pending = learner->queue.n;
  own.seconds = smft__now() - begin;
  return report ? smft__report_write(report, &own, sizeof own, sizeof own, "smft_report") : SMFT_OK;
}
