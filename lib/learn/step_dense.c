/* step_dense: one update of every weight of a full patch.  Owns the gradient (made once) and the order: measure, look whether every new
 * value is finite, and only then store.  Nothing after the look can fail. */
#include "base/alloc.h"
#include "learn/learner.h"
#include <math.h>

static int64_t words_per_pool(const smft_model *model) { return (smft__n_slots(model) + 63) / 64; }

smft_status smft__dense_work_create(smft_learner *learner) {
  smft__dense_work *work = &learner->dense;
  const smft_model *model = learner->model;
  SMFT__TRY(smft__dense_create(&work->layout, model));
  work->gradient = smft__alloc_array(learner->ctx, work->layout.total, sizeof *work->gradient);
  work->gradient_of = smft__alloc_array(learner->ctx, model->n_tensors, sizeof *work->gradient_of);
  work->partial = smft__alloc_array(learner->ctx, smft__dense_blocks(&work->layout), sizeof *work->partial);
  work->read = smft__alloc_array(learner->ctx, words_per_pool(model) * model->config.n_pools, sizeof *work->read);
  work->read_of = smft__calloc_array(learner->ctx, model->n_tensors, sizeof *work->read_of);
  work->rules = smft__alloc_array(learner->ctx, model->n_tensors, sizeof *work->rules);
  if (!work->gradient || !work->gradient_of || !work->partial || !work->read || !work->read_of || !work->rules)
    return SMFT_E_NOMEM;
  for (int32_t p = 0; p < model->config.n_pools; p++)
    work->read_of[model->pools[p]] = work->read + p * words_per_pool(model);
  for (int32_t i = 0; i < model->n_tensors; i++) {
    work->gradient_of[i] = work->gradient + work->layout.begin[i];
    work->n_rows += model->tensors[i].n_dims > 0 ? model->tensors[i].shape[0] : 1;
  }
  return SMFT_OK;
}

void smft__dense_work_free(smft_learner *learner) {
  smft__dense_work *work = &learner->dense;
  smft__free(learner->ctx, work->gradient);
  smft__free(learner->ctx, work->gradient_of);
  smft__free(learner->ctx, work->partial);
  smft__free(learner->ctx, work->read);
  smft__free(learner->ctx, work->read_of);
  smft__free(learner->ctx, work->rules);
  smft__dense_free(&work->layout, learner->ctx);
}

/* Distinct slots read, by one bit a slot. */
static void count_reads(smft_learner *learner, smft_report *report) {
  int64_t words = words_per_pool(learner->model);
  memset(learner->dense.read, 0, (size_t)(words * learner->model->config.n_pools) * sizeof *learner->dense.read);
  for (int32_t m = 0; m < learner->model->config.n_memories; m++) {
    int64_t n = 0;
    const int64_t *slots = smft__tape_slots(learner->tape, m, &n);
    uint64_t *read = learner->dense.read + words * learner->model->memories[m].pool;
    report->reads += n;
    for (int64_t i = 0; i < n; i++) {
      uint64_t bit = (uint64_t)1 << (slots[i] & 63), before = read[slots[i] >> 6];
      report->slots_read += (before & bit) == 0;
      read[slots[i] >> 6] = before | bit;
    }
  }
}

static smft_status measure(smft_learner *learner, smft_report *report, double scales[2]) {
  const smft_optimizer_options *o = &learner->optimizer->options;
  double sums[2];
  smft__dense_sum_squares(learner->ctx, &learner->dense.layout, learner->dense.gradient, learner->dense.partial, sums);
  report->gradient_norm = sqrt(sums[0] + sums[1]);
  if (!isfinite(report->gradient_norm))
    return smft__fail(SMFT_E_NONFINITE, "step: the gradient is not finite; nothing was changed");
  if (o->pool_clip_norm > 0) {
    scales[0] = smft__clip_scale(sqrt(sums[0]), o->clip_norm);
    scales[1] = smft__clip_scale(sqrt(sums[1]), o->pool_clip_norm);
  } else {
    scales[0] = scales[1] = smft__clip_scale(report->gradient_norm, o->clip_norm);
  }
  return SMFT_OK;
}

static smft_status update(smft_learner *learner, smft_report *report, const double scales[2]) {
  smft_optimizer *optimizer = learner->optimizer;
  double rates[2] = {report->lr, optimizer->options.pool_lr > 0 ? optimizer->options.pool_lr : report->lr};
  int64_t number = optimizer->steps + 1;
  smft__dense_step step = {&learner->dense.layout, learner->patch->full, learner->dense.gradient, optimizer->m, optimizer->v,
                           learner->dense.rules, NULL, learner->model->config.memory.value_dim};
  if (optimizer->options.flags & SMFT_OPTIMIZER_LAZY_POOLS)
    step.read = learner->dense.read_of;
  for (int32_t i = 0; i < learner->model->n_tensors; i++) {
    int pool = learner->dense.layout.is_pool[i];
    double lr = rates[pool] * smft__optimizer_lr_scale(optimizer, learner->model->names[i]);
    learner->dense.rules[i] = smft__optimizer_rule(optimizer, lr, pool, number, scales[pool]);
  }
  if (!smft__dense_update(learner->ctx, &step, 0))
    return smft__fail(SMFT_E_NONFINITE, "step: a new weight or moment would not be finite; nothing was changed");
  smft__dense_update(learner->ctx, &step, 1);
  optimizer->steps = number;
  report->rows_selected = learner->dense.n_rows;
  return SMFT_OK;
}

smft_status smft__step_dense(smft_learner *learner, smft__step *step) {
  double scales[2] = {1, 1};
  SMFT__TRY(smft__optimizer_bind_dense(learner->optimizer, learner->model));
  SMFT__TRY(smft__step_forward(learner, step));
  count_reads(learner, step->report);
  if (step->is_done)
    return SMFT_OK;
  smft__dense_clear(learner->ctx, &learner->dense.layout, learner->dense.gradient);
  smft__grads grads = {learner->dense.gradient_of, NULL};
  SMFT__TRY(smft__network_backward(learner->tape, learner->patch, &grads, &learner->cancelled));
  SMFT__TRY(measure(learner, step->report, scales));
  SMFT__TRY(update(learner, step->report, scales));
  step->changed = 1;
  return SMFT_OK;
}
