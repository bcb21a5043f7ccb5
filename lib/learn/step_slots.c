/* step_slots: sparse memory finetuning (docs/method.md): one update of the value rows that were
 * chosen.  Owns the order of the step and the commit; every allocation comes before the first
 * change, so that the commit cannot fail. */
#include "base/alloc.h"
#include "learn/learner.h"
#include "learn/rates.h"
#include <math.h>

/* Floats of a row's moments. */
static int64_t moment_floats(const smft_learner *learner) {
  return (int64_t)learner->model->config.memory.value_dim *
         smft__optimizer_moments(learner->optimizer);
}

smft_status smft__slots_work_create(smft_learner *learner) {
  smft__slots_work *work = &learner->slots;
  int32_t n_pools = learner->model->config.n_pools;
  work->selection.ctx = learner->ctx;
  work->row_square = smft__mean_row_square(learner->model);
  work->counts = smft__calloc_array(learner->ctx, n_pools, sizeof *work->counts);
  work->gradient = smft__calloc_array(learner->ctx, n_pools, sizeof *work->gradient);
  work->gradient_of = smft__calloc_array(learner->ctx, n_pools, sizeof *work->gradient_of);
  work->old = smft__alloc_array(learner->ctx,
                                learner->model->config.memory.value_dim + moment_floats(learner),
                                sizeof *work->old);
  if (!work->counts || !work->gradient || !work->gradient_of || !work->old)
    return SMFT_E_NOMEM;
  for (int32_t p = 0; p < n_pools; p++) {
    smft__counts_init(&work->counts[p], learner->ctx);
    smft__rows_init(&work->gradient[p], learner->ctx, learner->model->config.memory.value_dim);
    work->gradient_of[p] = &work->gradient[p];
  }
  return SMFT_OK;
}

void smft__slots_work_free(smft_learner *learner) {
  smft__slots_work *work = &learner->slots;
  for (int32_t p = 0;
       p < learner->model->config.n_pools && work->gradient_of && work->gradient_of[p]; p++) {
    smft__counts_free(&work->counts[p]);
    smft__rows_free(&work->gradient[p]);
  }
  smft__free(learner->ctx, work->counts);
  smft__free(learner->ctx, work->selection.list);
  smft__free(learner->ctx, work->gradient);
  smft__free(learner->ctx, work->gradient_of);
  smft__free(learner->ctx, work->fresh);
  smft__free(learner->ctx, work->old);
}

/* All that steps on this fact can select: its first one makes room for that, and none after it
 * needs more. */
static const smft__selection *widest(const smft_learner *learner, const smft__step *step) {
  return step->serial ? &learner->choice.rows : &learner->slots.selection;
}

/* Empty gradient rows for what was selected. */
static smft_status prepare_gradient(smft_learner *learner, const smft__selection *most) {
  const smft__selection *selection = &learner->slots.selection;
  smft__slots_work *work = &learner->slots;
  for (int32_t p = 0; p < learner->model->config.n_pools; p++) {
    smft__rows_clear(&work->gradient[p]);
    SMFT__TRY(smft__rows_reserve(&work->gradient[p], smft__selection_absent(most, NULL, p)));
  }
  for (int64_t i = 0; i < selection->n; i++)
    smft__rows_add(&work->gradient[selection->list[i].pool], selection->list[i].slot);
  for (int32_t p = 0; p < learner->model->config.n_pools; p++)
    smft__rows_zero(&work->gradient[p]);
  return SMFT_OK;
}

typedef struct norms { /* of the gradient g, the rows' dampings being P */
  double root;         /* each row times the root of its damping: its square is g . P g */
  double damped;       /* of P g: the length of the step at a rate of 1 */
} norms;

static smft_status measure(smft_learner *learner, smft_report *report, norms *n) {
  double sum = 0, root = 0, damped = 0;
  for (int32_t p = 0; p < learner->model->config.n_pools; p++)
    for (int64_t i = 0; i < learner->slots.gradient[p].n; i++) {
      const smft__rows *gradient = &learner->slots.gradient[p];
      double square = smft__sum_squares(smft__rows_at(gradient, i), gradient->dim);
      double damping =
          smft__protect_damping(&learner->protect, learner->selector, p, gradient->slots[i]);
      sum += square;
      root += square * damping;
      damped += square * damping * damping;
    }
  report->gradient_norm = sqrt(sum);
  n->root = sqrt(root);
  n->damped = sqrt(damped);
  if (!isfinite(report->gradient_norm))
    return smft__fail(SMFT_E_NONFINITE, "step: the gradient is not finite; nothing was changed");
  return SMFT_OK;
}

static double length_of(const smft_optimizer_options *o, double loss) {
  int by_loss = (o->flags & SMFT_OPTIMIZER_LENGTH_BY_LOSS) != 0;
  return o->step_length * (by_loss ? smft__length_by_loss(loss) : 1);
}

/* The rate of this step; 0: a step of a length has no direction to go in. */
static double rate_of(const smft_learner *learner, const smft_report *report, const norms *n,
                      int afresh) {
  const smft_optimizer_options *o = &learner->optimizer->options;
  double lr = report->lr;
  if (o->step_length > 0)
    lr = smft__length_lr(length_of(o, report->loss), n->damped);
  else if (o->lr == 0 && o->kind == SMFT_OPTIMIZER_SGD)
    lr = smft__capped_lr(report->loss, n->root, lr);
  return lr *
         smft__optimizer_warmup(learner->optimizer, (afresh ? 0 : learner->optimizer->steps) + 1);
}

/* Memory for the moments that the commit writes. */
static smft_status reserve(smft_learner *learner, const smft__selection *most) {
  smft__slots_work *work = &learner->slots;
  int64_t floats;
  if (moment_floats(learner) == 0)
    return SMFT_OK;
  if (!smft__mul_i64(most->n, moment_floats(learner), &floats))
    return smft__fail(SMFT_E_NOMEM, "step: %lld rows are too many", (long long)most->n);
  SMFT__TRY(
      smft__grow(learner->ctx, &work->fresh, &work->fresh_capacity, floats, sizeof *work->fresh));
  for (int32_t p = 0; p < learner->model->config.n_pools; p++)
    SMFT__TRY(smft__optimizer_reserve_rows(
        learner->optimizer, p,
        smft__selection_absent(most, &learner->optimizer->pools[p].moments, p)));
  return SMFT_OK;
}

/* How many of the selected rows are not changed yet. */
static int64_t count_new(const smft_learner *learner, const smft__version *now, int32_t pool) {
  const smft__selection *selection = &learner->slots.selection;
  int64_t n = 0;
  for (int64_t i = 0; i < selection->n; i++)
    n += selection->list[i].pool == pool &&
         !smft__snapshot_find(now->pools[pool], selection->list[i].slot);
  return n;
}

/* The version that follows, whose selected rows are still as they are. */
static smft_status begin_next(const smft_learner *learner, smft__version **next) {
  const smft__version *now = smft__patch_current(learner->patch);
  *next = smft__version_edit(now);
  for (int32_t p = 0; p < learner->model->config.n_pools && *next; p++)
    if (learner->slots.gradient[p].n > 0 &&
        !smft__version_pool(*next, p, count_new(learner, now, p)))
      return SMFT_E_NOMEM;
  return *next ? SMFT_OK : SMFT_E_NOMEM;
}

/* old: the moments of a row as they are, zero when it was never selected; returns in how many steps
 * it was. */
static int64_t old_moments(const smft_learner *learner, const smft_selected *selected, int afresh,
                           float *old) {
  const smft__row_state *state = &learner->optimizer->pools[selected->pool];
  int64_t at = afresh ? -1 : smft__rows_find(&state->moments, selected->slot);
  if (at < 0)
    memset(old, 0, (size_t)state->moments.dim * sizeof *old);
  else
    memcpy(old, smft__rows_at(&state->moments, at), (size_t)state->moments.dim * sizeof *old);
  return at < 0 ? 0 : state->steps[at];
}

/* What an update multiplies the gradient by, and the rate of that.  With momentum, steps of a
 * length are added up, not their gradients, which have other lengths. */
static double scale_of(const smft_learner *learner, const smft_report *report, double *lr) {
  const smft_optimizer_options *o = &learner->optimizer->options;
  int adds_steps = o->step_length > 0 && o->momentum > 0;
  *lr = adds_steps ? 1 : report->lr;
  return adds_steps ? report->lr : smft__clip_scale(report->gradient_norm, o->clip_norm);
}

/* New values of every selected row into the next version, new moments into `fresh`. */
static smft_status compute(smft_learner *learner, const smft_report *report, int afresh,
                           smft__version *next) {
  const smft__selection *selection = &learner->slots.selection;
  int32_t moments = smft__optimizer_moments(learner->optimizer);
  int64_t dim = learner->model->config.memory.value_dim;
  float *old = learner->slots.old, *m = moments > 0 ? old + dim : NULL;
  float *v = moments > 1 ? m + dim : NULL;
  double rate, scale = scale_of(learner, report, &rate);
  for (int64_t i = 0; i < selection->n; i++) {
    const smft_selected *selected = &selection->list[i];
    const smft__rows *gradient = &learner->slots.gradient[selected->pool];
    smft__pool pool = smft__patch_pool(learner->model, next, selected->pool);
    smft__pool_read(&pool, selected->slot, old);
    float *row = smft__snapshot_put(next->pools[selected->pool], selected->slot);
    float *fresh = m ? learner->slots.fresh + i * moment_floats(learner) : NULL;
    if (!row)
      return SMFT_E_NOMEM;
    int64_t steps = m ? old_moments(learner, selected, afresh, m) : 0;
    double lr = rate * smft__protect_damping(&learner->protect, learner->selector, selected->pool,
                                             selected->slot);
    smft__update_rule rule = smft__optimizer_rule(learner->optimizer, lr, 0, steps + 1, scale);
    const float *g = smft__rows_at(gradient, smft__rows_find(gradient, selected->slot));
    if (!smft__update(&rule, old, g, m, v, dim, row, fresh, v ? fresh + dim : NULL))
      return smft__fail(SMFT_E_NONFINITE,
                        "step: slot %lld of pool %d would not be finite; nothing was changed",
                        (long long)selected->slot, (int)selected->pool);
  }
  return SMFT_OK;
}

static float *row_for_writing(smft__rows *rows, int64_t slot, int64_t *position) {
  int64_t at = smft__rows_find(rows, slot);
  *position = at < 0 ? smft__rows_add(rows, slot) : at;
  return smft__rows_at(rows, *position);
}

/* Of the optimizer; the version is published by whoever has the patch in hand. */
static void commit(smft_learner *learner, int64_t fact, int afresh) {
  const smft__selection *selection = &learner->slots.selection;
  int64_t at, n = moment_floats(learner);
  if (fact)
    smft__undo_note(learner, selection, afresh);
  learner->optimizer->steps++;
  for (int64_t i = 0; i < selection->n && n > 0; i++) {
    const smft_selected *selected = &selection->list[i];
    const float *fresh = learner->slots.fresh + i * n;
    smft__row_state *state = &learner->optimizer->pools[selected->pool];
    int64_t before = state->moments.n;
    memcpy(row_for_writing(&state->moments, selected->slot, &at), fresh, (size_t)n * sizeof *fresh);
    state->steps[at] = at == before ? 1 : state->steps[at] + 1;
  }
}

static smft_status update(smft_learner *learner, smft__step *step) {
  const smft_optimizer_options *o = &learner->optimizer->options;
  int afresh = step->starts_fact && !(o->flags & SMFT_OPTIMIZER_KEEP_STATE);
  smft__grads grads = {.rows = learner->slots.gradient_of};
  norms measured = {0};
  SMFT__TRY(prepare_gradient(learner, widest(learner, step)));
  SMFT__TRY(smft__network_backward(learner->tape, smft__patch_current(learner->patch), &grads,
                                   &learner->claim.stop));
  SMFT__TRY(measure(learner, step->report, &measured));
  step->report->lr = rate_of(learner, step->report, &measured, afresh);
  if (o->step_length > 0 && step->report->lr == 0) { /* no direction, no step */
    learner->slots.selection.n = 0;
    return SMFT_OK;
  }
  SMFT__TRY(reserve(learner, widest(learner, step)));
  if (step->fact)
    SMFT__TRY(smft__undo_begin(learner, step->fact, widest(learner, step)));
  SMFT__TRY(begin_next(learner, &step->next));
  SMFT__TRY(compute(learner, step->report, afresh, step->next));
  commit(learner, step->fact, afresh);
  step->report->rows_selected = learner->slots.selection.n;
  step->changed = 1;
  return SMFT_OK;
}

/* The rows of this step, from its reads: of those chosen for the fact, or of all. */
static smft_status select_rows(smft_learner *learner, int64_t serial) {
  smft__slots_work *work = &learner->slots;
  if (!serial)
    return smft__choose_of(learner->selector, work->counts, NULL, learner->tape, &work->selection);
  if (learner->choice.serial != serial) /* the batch holds every wording */
    SMFT__TRY(
        smft__choose(&learner->choice, learner->selector, work->counts, learner->tape, serial));
  return smft__choice_read(&learner->choice, work->counts, &work->selection);
}

smft_status smft__step_slots(smft_learner *learner, smft__step *step) {
  smft__slots_work *work = &learner->slots;
  work->selection.n = 0;
  if (!(learner->options.flags & SMFT_LEARNER_NO_PROTECT))
    SMFT__TRY(smft__protect_follow(&learner->protect, smft__patch_current(learner->patch)->taught));
  if (smft__optimizer_moments(learner->optimizer) > 0)
    SMFT__TRY(smft__optimizer_bind_rows(learner->optimizer, learner->model));
  SMFT__TRY(smft__step_forward(learner, step));
  SMFT__TRY(smft__count_reads(work->counts, learner->model, learner->tape));
  for (int32_t p = 0; p < learner->model->config.n_pools; p++) {
    step->report->reads += work->counts[p].total;
    step->report->slots_read += work->counts[p].n;
  }
  if (step->is_done)
    return SMFT_OK;
  smft_status status = select_rows(learner, step->serial);
  if (status == SMFT_OK && work->selection.n > 0)
    status = update(learner, step);
  if (status != SMFT_OK) {
    work->selection.n = 0;
    smft__version_release(step->next);
    step->next = NULL;
  }
  return status;
}
