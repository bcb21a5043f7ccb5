/* step_dense: one update of everything that a full or LoRA patch trains.  Owns the gradient (made
 * once) and the order: measure, make sure that every new value is finite, and only then store.
 * Nothing after that can fail.
 *
 * A batch reads few of a pool's rows, so nothing walks over the others without need.  Their
 * gradient stays zero from step to step, and a row whose gradient was zero since the optimizer's
 * state began does not change unless it decays. */
#include "base/alloc.h"
#include "learn/learner.h"
#include <math.h>

/* ---- life ---------------------------------------------------------------- */

static int64_t words_per_pool(const smft_model *model) { return (smft__n_slots(model) + 63) / 64; }

static smft_status allocate(smft_learner *learner) {
  smft__dense_work *work = &learner->dense;
  int32_t n = work->layout.n_parts;
  work->weights = smft__alloc_array(learner->ctx, n, sizeof *work->weights);
  work->gradient = smft__calloc_array(learner->ctx, work->layout.total, sizeof *work->gradient);
  work->gradient_of = smft__alloc_array(learner->ctx, n, sizeof *work->gradient_of);
  work->partial =
      smft__alloc_array(learner->ctx, smft__dense_blocks(&work->layout), sizeof *work->partial);
  work->read = smft__dense_rows(learner->ctx, &work->layout);
  work->read_now =
      smft__calloc_array(learner->ctx,
                         words_per_pool(learner->model) * learner->model->config.n_pools,
                         sizeof *work->read_now);
  work->rows = smft__alloc_array(learner->ctx, n, sizeof *work->rows);
  work->rules = smft__alloc_array(learner->ctx, n, sizeof *work->rules);
  if (!work->weights || !work->gradient || !work->gradient_of || !work->partial || !work->read ||
      !work->read_now || !work->rows || !work->rules)
    return SMFT_E_NOMEM;
  return SMFT_OK;
}

smft_status smft__dense_work_create(smft_learner *learner) {
  smft__dense_work *work = &learner->dense;
  SMFT__TRY(smft__dense_create(&work->layout, learner->patch));
  SMFT__TRY(allocate(learner));
  for (int32_t i = 0; i < work->layout.n_parts; i++) {
    smft__part part;
    smft__patch_part(learner->patch, i, &part);
    work->weights[i] = part.values;
    work->gradient_of[i] = work->gradient + work->layout.begin[i];
    work->n_rows += part.shape.n_dims > 0 ? part.shape.shape[0] : 1;
  }
  return SMFT_OK;
}

void smft__dense_work_free(smft_learner *learner) {
  smft__dense_work *work = &learner->dense;
  smft__free(learner->ctx, work->weights);
  smft__free(learner->ctx, work->gradient);
  smft__free(learner->ctx, work->gradient_of);
  smft__free(learner->ctx, work->partial);
  smft__free(learner->ctx, work->read);
  smft__free(learner->ctx, work->read_now);
  smft__free(learner->ctx, work->rows);
  smft__free(learner->ctx, work->rules);
  smft__dense_free(&work->layout, learner->ctx);
}

/* ---- gradient ------------------------------------------------------------ */

/* Distinct slots read by the forward pass, by one bit a slot. */
static void count_reads(smft_learner *learner, smft_report *report) {
  int64_t words = words_per_pool(learner->model);
  memset(learner->dense.read_now, 0,
         (size_t)(words * learner->model->config.n_pools) * sizeof *learner->dense.read_now);
  for (int32_t m = 0; m < learner->model->config.n_memories; m++) {
    int64_t n = 0;
    const int64_t *slots = smft__tape_slots(learner->tape, m, &n);
    uint64_t *read = learner->dense.read_now + words * learner->model->config.memories[m].pool;
    report->reads += n;
    for (int64_t i = 0; i < n; i++) {
      uint64_t bit = (uint64_t)1 << (slots[i] & 63), before = read[slots[i] >> 6];
      report->slots_read += (before & bit) == 0;
      read[slots[i] >> 6] = before | bit;
    }
  }
}

/* Of pools, only rows of the gradient before can be other than zero. */
static smft_status compute_gradient(smft_learner *learner) {
  smft__dense_work *work = &learner->dense;
  smft__grads grads = {.tensors = NULL};
  if (learner->patch->kind == SMFT_PATCH_LORA)
    grads.adapters = work->gradient_of;
  else
    grads.tensors = work->gradient_of;
  smft__dense_clear(learner->ctx, &work->layout, work->gradient, work->read);
  memcpy(work->read, work->read_now,
         (size_t)(work->layout.n_pools * work->layout.words) * sizeof *work->read);
  return smft__network_backward(learner->tape, smft__patch_current(learner->patch), &grads,
                                &learner->claim.stop);
}

static smft_status measure(smft_learner *learner, smft_report *report, double scales[2]) {
  const smft_optimizer_options *o = &learner->optimizer->options;
  const smft__dense_work *work = &learner->dense;
  double sums[2];
  smft__dense_sum_squares(learner->ctx, &work->layout, work->gradient, work->read, work->partial,
                          sums);
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

/* ---- update -------------------------------------------------------------- */

static void set_rules(smft_learner *learner, smft_report *report, const double scales[2]) {
  const smft_optimizer *optimizer = learner->optimizer;
  const smft__dense *layout = &learner->dense.layout;
  int64_t number = optimizer->steps + 1;
  double warmup = smft__optimizer_warmup(optimizer, number);
  report->lr *= warmup;
  double rates[2] = {report->lr, optimizer->options.pool_lr > 0
                                     ? optimizer->options.pool_lr * warmup
                                     : report->lr};
  for (int32_t i = 0; i < layout->n_parts; i++) {
    int pool = layout->parts[i].pool >= 0;
    double lr = rates[pool] * smft__optimizer_lr_scale(optimizer, layout->parts[i].name);
    learner->dense.rules[i] = smft__optimizer_rule(optimizer, lr, pool, number, scales[pool]);
  }
}

/* Which rows of pools change: those that were read; where the rule moves others, too, those with
 * moments, or all. */
static void set_rows(smft_learner *learner) {
  smft__dense_work *work = &learner->dense;
  uint64_t *touched = learner->optimizer->touched;
  int lazy = (learner->optimizer->options.flags & SMFT_OPTIMIZER_LAZY_POOLS) != 0;
  const uint64_t *rows = lazy || !touched ? work->read : touched;
  for (int64_t i = 0; touched && i < work->layout.n_pools * work->layout.words; i++)
    /* also if the step fails: their moments are zero then, and that does no harm */
    touched[i] |= work->read[i];
  for (int32_t i = 0; i < work->layout.n_parts; i++)
    work->rows[i] = lazy || smft__update_leaves_idle(&work->rules[i])
                        ? smft__dense_rows_of(&work->layout, rows, i)
                        : NULL;
}

/* No |weight| is larger.  Scanned only when someone else changed the patch. */
static double largest_weight(smft_learner *learner) {
  smft__dense_work *work = &learner->dense;
  uint64_t version = smft_patch_version(learner->patch); /* never 0 */
  if (work->version != version)
    work->largest = smft__dense_largest(learner->ctx, &work->layout, work->weights, work->partial);
  work->version = version;
  return work->largest;
}

/* What the largest numbers are after the step; where that alone does not prove them finite, every
 * new value is looked at. */
static smft_status check_finite(smft_learner *learner, const smft__dense_step *step,
                                double gradient, smft__bounds *after) {
  smft__bounds before = learner->optimizer->bounds;
  before.w = largest_weight(learner);
  *after = (smft__bounds){0};
  for (int32_t i = 0; i < step->dense->n_parts; i++) {
    smft__bounds part = smft__update_bounds(&step->rules[i], &before, gradient);
    after->w = fmax(after->w, part.w);
    after->m = fmax(after->m, part.m);
    after->v = fmax(after->v, part.v);
  }
  if (isfinite(after->w) && isfinite(after->m) && isfinite(after->v))
    return SMFT_OK;
  if (!smft__dense_update(learner->ctx, step, 0))
    return smft__fail(SMFT_E_NONFINITE,
                      "step: a new weight or moment would not be finite; nothing was changed");
  return SMFT_OK;
}

static smft_status update(smft_learner *learner, smft_report *report, const double scales[2]) {
  smft_optimizer *optimizer = learner->optimizer;
  smft__dense_work *work = &learner->dense;
  smft__bounds after;
  set_rules(learner, report, scales);
  set_rows(learner);
  smft__dense_step step = {&work->layout, work->weights, work->gradient, optimizer->m,
                           optimizer->v,  work->rules,   work->rows};
  SMFT__TRY(check_finite(learner, &step, report->gradient_norm, &after));
  smft__dense_update(learner->ctx, &step, 1);
  optimizer->steps++;
  optimizer->bounds = after;
  work->largest = after.w;
  work->version++; /* as the patch's does when the step ends */
  report->rows_selected = work->n_rows;
  return SMFT_OK;
}

smft_status smft__step_dense(smft_learner *learner, smft__step *step) {
  double scales[2] = {1, 1};
  SMFT__TRY(smft__optimizer_bind_dense(learner->optimizer, learner->patch, &learner->dense.layout));
  SMFT__TRY(smft__step_forward(learner, step));
  count_reads(learner, step->report);
  if (step->is_done)
    return SMFT_OK;
  SMFT__TRY(compute_gradient(learner));
  SMFT__TRY(measure(learner, step->report, scales));
  SMFT__TRY(update(learner, step->report, scales));
  step->changed = 1;
  step->next = smft__patch_current(learner->patch);
  return SMFT_OK;
}
