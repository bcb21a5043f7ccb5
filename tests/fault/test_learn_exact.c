/* learn_exact: what a step must not do.  No weight outside the selected rows changes by a bit,
 * whatever the optimizer; nothing of a pool's size is allocated; a step that fails, is cancelled or
 * is not finite changes nothing at all; results do not depend on threads. */
#include "test.h"
#include "failing.h"
#include "tiny.h"
#include "learn/learner.h"

/* ---- a model, a patch and a learner, and what they look like ------------- */

typedef struct recipe {
  int32_t patch, kind, rule;
  double momentum, decay, lr;
  uint32_t flags;
  int64_t t;
  tiny shape;
} recipe;

static const recipe sgd = {SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_SGD, SMFT_RULE_TFIDF, 0, 0, 0.5, 0, 10,
                           {0, 0, 0, 1}};
static const recipe sgd_all = {SMFT_PATCH_SLOTS,
                               SMFT_OPTIMIZER_SGD,
                               SMFT_RULE_TFIDF,
                               0.9,
                               0.1,
                               0.5,
                               SMFT_OPTIMIZER_KEEP_STATE,
                               10,
                               {0, 0, 1, 2}};
static const recipe adamw = {SMFT_PATCH_SLOTS,
                             SMFT_OPTIMIZER_ADAMW,
                             SMFT_RULE_KL,
                             0,
                             0.1,
                             0.02,
                             SMFT_OPTIMIZER_KEEP_STATE,
                             10,
                             {0, 0, 0, 1}};
static const recipe adamw_fresh = {
    SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_ADAMW, SMFT_RULE_TFIDF, 0, 0, 0.02, 0, 10, {0, 0, 0, 1}};
static const recipe full = {SMFT_PATCH_FULL, SMFT_OPTIMIZER_ADAMW, 0, 0, 0.1, 1e-3, 0, 0,
                            {0, 0, 0, 1}};
static const recipe full_sgd = {SMFT_PATCH_FULL, SMFT_OPTIMIZER_SGD, 0, 0.9, 0.1, 0.1, 0, 0,
                                {0, 0, 1, 2}};
static const recipe lora = {SMFT_PATCH_LORA, SMFT_OPTIMIZER_ADAMW, 0, 0, 0.1, 1e-2, 0, 0,
                            {0, 0, 0, 1}};
static const recipe lora_sgd = {SMFT_PATCH_LORA, SMFT_OPTIMIZER_SGD, 0, 0.9, 0.1, 0.1, 0, 0,
                                {0, 0, 1, 2}};
static const recipe *const recipes[] = {&sgd,  &sgd_all,  &adamw, &adamw_fresh,
                                        &full, &full_sgd, &lora,  &lora_sgd};
#define N_RECIPES 8

typedef struct world {
  const recipe *recipe;
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_optimizer *optimizer;
  smft_learner *learner;
} world;

static void make_parts(world *w) {
  const recipe *r = w->recipe;
  smft_optimizer_options optimizer = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector *selector =
      r->patch == SMFT_PATCH_SLOTS ? tiny_selector(w->model, r->rule, r->t) : NULL;
  optimizer.kind = r->kind;
  optimizer.flags = r->flags;
  optimizer.lr = r->lr;
  optimizer.momentum = r->momentum;
  optimizer.weight_decay = r->decay;
  options.flags = SMFT_LEARNER_KEEP_GIVEN_UP; /* but for tests of that */
  options.wordings_per_step = 2;
  options.loss_below = -1;
  options.max_steps = 3;
  ck_ok(smft_patch_create(&w->patch, w->model, r->patch));
  ck_ok(smft_optimizer_create(&w->optimizer, w->ctx, &optimizer));
  ck_ok(smft_learner_create(&w->learner, w->model, w->patch, selector, w->optimizer, &options));
  smft_selector_free(selector);
  tiny_push(w->learner, "first", "one");
  tiny_push(w->learner, "second", "two");
  tiny_push(w->learner, "third", "three");
}

static world open_world(const recipe *r, smft_ctx *ctx) {
  world w = {r, ctx, NULL, NULL, NULL, NULL};
  char name[32];
  snprintf(name, sizeof name, "model%d%d", r->shape.beside, r->shape.shared);
  w.model = tiny_model(ctx, name, r->shape, 7);
  make_parts(&w);
  return w;
}

static smft_ctx *plain_ctx(int32_t n_threads) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&ctx, &options));
  return ctx;
}

static void close_world(world *w) {
  smft_learner_free(w->learner);
  smft_optimizer_free(w->optimizer);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

/* Every bit that a step could change, in a form that does not depend on the order of rows. */
typedef struct picture {
  char *bytes;
  size_t n, capacity;
} picture;

static void add(picture *p, const void *data, size_t n) {
  if (p->n + n > p->capacity) {
    p->capacity = 2 * (p->n + n);
    p->bytes = realloc(p->bytes, p->capacity);
    ck_assert_ptr_nonnull(p->bytes);
  }
  memcpy(p->bytes + p->n, data, n);
  p->n += n;
}

static void add_rows(picture *p, const smft__rows *rows, const int64_t *steps, int64_t n_slots) {
  add(p, &rows->n, sizeof rows->n);
  for (int64_t slot = 0; slot < n_slots; slot++) {
    int64_t at = smft__rows_find(rows, slot);
    if (at < 0)
      continue;
    add(p, &slot, sizeof slot);
    add(p, smft__rows_at(rows, at), (size_t)rows->dim * sizeof(float));
    if (steps)
      add(p, &steps[at], sizeof *steps);
  }
}

static void add_changed(picture *p, const smft__snapshot *rows, int64_t dim, int64_t n_slots) {
  int64_t n = smft__snapshot_count(rows);
  add(p, &n, sizeof n);
  for (int64_t slot = 0; slot < n_slots; slot++) {
    const float *row = smft__snapshot_find(rows, slot);
    if (!row)
      continue;
    add(p, &slot, sizeof slot);
    add(p, row, (size_t)dim * sizeof *row);
  }
}

static picture take_picture(const world *w) {
  picture p = {0};
  const smft_optimizer *o = w->optimizer;
  int64_t n_slots = smft__n_slots(w->model);
  for (int32_t pool = 0; pool < w->model->config.n_pools; pool++)
    add_changed(&p, smft__patch_current(w->patch)->pools[pool], w->model->config.memory.value_dim,
                n_slots);
  for (int32_t i = 0; w->patch->full && i < w->model->n_tensors; i++)
    add(&p, w->patch->full[i], (size_t)smft__tensor_count(&w->model->tensors[i]) * sizeof(float));
  for (int32_t i = 0; w->patch->lora && i < 2 * w->patch->lora->n; i++) {
    smft__tensor part = smft__lora_part(w->patch->lora, i);
    add(&p, part.data, (size_t)smft__tensor_count(&part) * sizeof(float));
  }
  for (int32_t pool = 0; o->pools && pool < o->n_pools; pool++)
    if (o->pools[pool].moments.n > 0)
      add_rows(&p, &o->pools[pool].moments, o->pools[pool].steps, n_slots);
  for (int64_t i = 0; o->m && o->steps > 0 && i < o->layout.total; i++) {
    add(&p, &o->m[i], sizeof *o->m);
    if (o->v)
      add(&p, &o->v[i], sizeof *o->v);
  }
  add(&p, &o->steps, sizeof o->steps);
  uint64_t version = smft_patch_version(w->patch);
  add(&p, &version, sizeof version);
  return p;
}

static picture content_of(const world *w) { /* all but the version's number */
  picture p = take_picture(w);
  p.n -= sizeof(uint64_t);
  return p;
}

static void same_picture(const picture *a, const picture *b, const char *what, long long k) {
  ck_assert_msg(a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0,
                "%s (%lld): patch or optimizer changed", what, k);
}

/* ---- only the selected rows ---------------------------------------------- */

static float *values_of(const world *w, int32_t tensor, int64_t *n) {
  ck_ok(smft_model_tensor(w->model, tensor, NULL, NULL, n));
  float *values = malloc((size_t)*n * sizeof *values);
  ck_ok(smft_model_tensor_values(w->model, w->patch, tensor, values, *n));
  return values;
}

static int is_selected(const smft_selected *selected, int64_t n, int32_t pool, int64_t slot) {
  for (int64_t i = 0; i < n; i++)
    if (selected[i].pool == pool && selected[i].slot == slot)
      return 1;
  return 0;
}

static int32_t pool_of(const world *w, int32_t tensor) {
  for (int32_t p = 0; p < w->model->config.n_pools; p++)
    if (smft__pool_tensor(&w->model->config, p) == tensor)
      return p;
  return -1;
}

/* Compares a tensor before and after; returns how many rows of it changed. */
static int64_t check_tensor(const world *w, int32_t tensor, const float *before, const float *after,
                            int64_t n, const smft_selected *selected, int64_t n_selected) {
  int32_t pool = pool_of(w, tensor);
  int64_t dim = pool < 0 ? n : w->model->config.memory.value_dim, changed = 0;
  for (int64_t row = 0; row < n / dim; row++) {
    int same = memcmp(before + row * dim, after + row * dim, (size_t)dim * sizeof *before) == 0;
    ck_assert_msg(same || (pool >= 0 && is_selected(selected, n_selected, pool, row)),
                  "tensor %s row %lld changed, and was not selected", w->model->names[tensor],
                  (long long)row);
    changed += !same;
  }
  return changed;
}

START_TEST(only_selected_rows_change) {
  world w = open_world(recipes[_i], plain_ctx(1));
  float *before[256];
  int64_t n;
  for (int step = 0; step < 6; step++) {
    smft_selected selected[64];
    int64_t n_selected, changed = 0;
    smft_report report = SMFT_REPORT_INIT;
    for (int32_t i = 0; i < w.model->n_tensors; i++)
      before[i] = values_of(&w, i, &n);
    ck_ok(smft_step(w.learner, &report));
    ck_ok(smft_learner_selected(w.learner, selected, 64, &n_selected));
    ck_assert_int_eq(n_selected, w.recipe->t);
    ck_assert_int_eq(report.rows_selected, n_selected);
    for (int32_t i = 0; i < w.model->n_tensors; i++) {
      float *after = values_of(&w, i, &n);
      changed += check_tensor(&w, i, before[i], after, n, selected, n_selected);
      free(before[i]);
      free(after);
    }
    /* a row read only where nothing is predicted any more has no gradient */
    ck_assert(changed > n_selected / 2 && changed <= n_selected);
  }
  close_world(&w);
}
END_TEST

/* Rows selected by the first fact only stay as they were while momentum, moments and decay work on
 * the second one's. */
START_TEST(state_never_touches_other_rows) {
  /* sgd_all, adamw: both with decay and kept state */
  world w = open_world(recipes[1 + _i], plain_ctx(1));
  smft_selected selected[64];
  int64_t n = 0, n_slots = smft__n_slots(w.model), idle = 0;
  static int ever[2][4096];
  memset(ever, 0, sizeof ever); /* tests may run in one process */
  for (int step = 0; step < 6; step++) {
    smft_patch *old;
    ck_ok(smft_patch_copy(&old, w.patch));
    ck_ok(smft_step(w.learner, NULL));
    ck_ok(smft_learner_selected(w.learner, selected, 64, &n));
    for (int64_t i = 0; i < n; i++)
      ever[selected[i].pool][selected[i].slot] = 1;
    for (int32_t p = 0; p < w.model->config.n_pools; p++) {
      const smft__snapshot *before = smft__patch_current(old)->pools[p];
      const smft__snapshot *after = smft__patch_current(w.patch)->pools[p];
      for (int64_t slot = 0; slot < n_slots; slot++) {
        if (!smft__snapshot_find(before, slot) || is_selected(selected, n, p, slot))
          continue;
        idle++;
        /* not only equal: the two versions share the row */
        ck_assert_ptr_eq(smft__snapshot_find(before, slot), smft__snapshot_find(after, slot));
      }
      /* state and patch know the rows ever selected, and no others */
      for (int64_t slot = 0; slot < n_slots; slot++) {
        ck_assert_int_eq(smft__snapshot_find(after, slot) != NULL, ever[p][slot]);
        ck_assert_int_eq(smft__rows_find(&w.optimizer->pools[p].moments, slot) >= 0, ever[p][slot]);
      }
    }
    smft_patch_free(old);
  }
  ck_assert_int_gt(idle, 0);
  close_world(&w);
}
END_TEST

/* ---- the mask trick: the dense gradient of the whole pool, masked, and plain SGD on the whole
 * pool, each row damped by its use ---- */

#define DAMPING 0.5

static double damped_rate(const smft_selector *counted, int32_t pool, int64_t slot, double lr) {
  int64_t at = pool * smft__n_slots(counted->model) + slot;
  double use =
      (double)counted->stats.square[at] / counted->mean_square / (double)counted->stats.n_batches;
  return lr / (1 + use / DAMPING);
}

typedef struct masked {
  float *values[2], *gradient[2]; /* per pool: (n_slots, value_dim) */
  int64_t n;
} masked;

static masked mask_trick(const world *w, const smft__sequences *batch) {
  masked m = {0};
  m.n = smft__n_slots(w->model) * w->model->config.memory.value_dim;
  float **tensors = calloc((size_t)w->model->n_tensors, sizeof *tensors);
  for (int32_t p = 0; p < w->model->config.n_pools; p++) {
    m.values[p] = malloc((size_t)m.n * sizeof(float));
    m.gradient[p] = calloc((size_t)m.n, sizeof(float));
    ck_ok(smft_model_tensor_values(w->model, w->patch, smft__pool_tensor(&w->model->config, p),
                                   m.values[p], m.n));
    tensors[smft__pool_tensor(&w->model->config, p)] = m.gradient[p];
  }
  smft__tape *tape;
  double loss;
  smft__grads grads = {.tensors = tensors};
  ck_ok(smft__tape_create(&tape, w->model));
  ck_ok(smft__network_forward(tape, smft__patch_current(w->patch), batch, 1, &loss, NULL));
  ck_ok(smft__network_backward(tape, smft__patch_current(w->patch), &grads, NULL));
  smft__tape_free(tape);
  free(tensors);
  return m;
}

START_TEST(sparse_step_equals_mask_trick) {
  const recipe *r = _i ? &sgd_all : &sgd;
  recipe plain = *r;
  plain.momentum = plain.decay = 0;
  world w = open_world(&plain, plain_ctx(2));
  int32_t ids[] = {0, 5, 9, 31, 44, 7, 0, 8, 12, 40, 41, 42, 60};
  int64_t lengths[] = {6, 7}, offsets[] = {0, 6, 13}, n, dim = w.model->config.memory.value_dim;
  float weights[13] = {0, 0, 0, 1, 1, 1, 0, 0, 0, 0.5f, 1, 1, 1};
  smft_batch batch = SMFT_BATCH_INIT;
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 2;
  batch.token_weights = weights;
  smft__sequences sequences = {ids, offsets, 2, 13, weights};
  smft_selector *selector = tiny_selector(w.model, plain.rule, plain.t);
  w.learner->selector->damping = DAMPING;
  for (int step = 0; step < 3; step++) {
    smft_selected selected[64];
    masked m = mask_trick(&w, &sequences);
    ck_ok(smft_learner_step_batch(w.learner, &batch, NULL));
    ck_ok(smft_learner_selected(w.learner, selected, 64, &n));
    ck_assert_int_eq(n, plain.t);
    for (int32_t p = 0; p < w.model->config.n_pools; p++) {
      float *after = malloc((size_t)m.n * sizeof *after);
      ck_ok(smft_model_tensor_values(w.model, w.patch, smft__pool_tensor(&w.model->config, p),
                                     after, m.n));
      for (int64_t i = 0; i < m.n; i++) {
        float mask = (float)is_selected(selected, n, p, i / dim);
        float wanted = m.values[p][i] - (float)damped_rate(selector, p, i / dim, plain.lr) *
                                            (m.gradient[p][i] * mask);
        ck_assert_msg(fabsf(after[i] - wanted) <= 1e-7f,
                      "step %d slot %lld: got %.9g, the mask trick %.9g", step,
                      (long long)(i / dim), (double)after[i], (double)wanted);
      }
      free(after);
      free(m.values[p]);
      free(m.gradient[p]);
    }
  }
  smft_selector_free(selector);
  close_world(&w);
}
END_TEST

/* ---- failures ------------------------------------------------------------ */

/* What a step gives when nothing goes wrong. */
static picture undisturbed(const recipe *r, int steps) {
  world w = open_world(r, plain_ctx(1));
  for (int i = 0; i < steps; i++)
    ck_ok(smft_step(w.learner, NULL));
  picture p = take_picture(&w);
  close_world(&w);
  return p;
}

static void failing_step(const recipe *r, int warm) {
  picture wanted = undisturbed(r, warm + 1);
  long long k = 1;
  for (int ended = 0; !ended; k++) {
    failing state = {0};
    world w = open_world(r, failing_ctx(&state, 1));
    for (int i = 0; i < warm; i++)
      ck_ok(smft_step(w.learner, NULL));
    picture before = take_picture(&w);
    int64_t pending = smft_learner_pending(w.learner);
    state.fail_at = state.calls + k;
    smft_status status = smft_step(w.learner, NULL);
    ended = state.calls < state.fail_at; /* the step asked for fewer */
    state.fail_at = 0;
    if (ended) {
      ck_assert_int_eq(status, SMFT_OK);
    } else {
      ck_assert_int_eq(status, SMFT_E_NOMEM);
      picture after = take_picture(&w);
      same_picture(&before, &after, "failed allocation", k);
      ck_assert_int_eq(smft_learner_pending(w.learner), pending);
      free(after.bytes);
      ck_ok(smft_step(w.learner, NULL)); /* and it can be taken again, with the same result */
    }
    picture after = take_picture(&w);
    same_picture(&wanted, &after, "result after a failed allocation", k);
    free(before.bytes);
    free(after.bytes);
    close_world(&w);
    ck_assert_int_eq(state.live, 0);
  }
  ck_assert_int_gt(k, warm ? 1 : 4);
  free(wanted.bytes);
}

START_TEST(failed_allocation_changes_nothing) { failing_step(recipes[_i], 0); }
END_TEST
START_TEST(failed_allocation_at_a_second_fact_changes_nothing) { failing_step(recipes[_i], 3); }
END_TEST

typedef struct canceller { /* a host's parallel_for that cancels at its k-th call */
  smft_learner *learner;
  int64_t calls, at;
} canceller;

static void cancelling_for(void *user, int64_t n, smft_block_fn block, void *arg) {
  canceller *state = user;
  if (++state->calls == state->at)
    smft_learner_cancel(state->learner);
  for (int64_t i = 0; i < n; i++)
    block(arg, i);
}

static world open_cancelling(const recipe *r, canceller *state) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  options.n_threads = 2;
  options.parallel_for = cancelling_for;
  options.parallel_user = state;
  ck_ok(smft_ctx_create(&ctx, &options));
  world w = open_world(r, ctx);
  state->learner = w.learner;
  return w;
}

/* Cancelled at ever later moments of the second step, until it is too late to cancel it. */
START_TEST(cancelled_step_changes_nothing) {
  int64_t cancelled = 0, too_late = 0;
  canceller state = {0};
  world w = open_cancelling(recipes[_i], &state);
  ck_ok(smft_step(w.learner, NULL));
  for (int64_t k = 1; too_late == 0; k++) {
    picture before = take_picture(&w);
    state.at = state.calls + k;
    smft_status status = smft_step(w.learner, NULL);
    if (status == SMFT_OK) {
      too_late++;
    } else {
      ck_assert_int_eq(status, SMFT_E_CANCELLED);
      picture after = take_picture(&w);
      same_picture(&before, &after, "cancelled", k);
      free(after.bytes);
      cancelled++;
    }
    free(before.bytes);
  }
  ck_assert_int_gt(cancelled, 2);
  picture wanted = undisturbed(recipes[_i], 2), after = take_picture(&w);
  same_picture(&wanted, &after, "the step after cancelled ones", cancelled);
  free(wanted.bytes);
  free(after.bytes);
  close_world(&w);
}
END_TEST

/* Sets threshold and seed so that the next step draws two wordings that are below and leaves out
 * one that is above. */
static void draw_those_below(const world *w) {
  smft_learner *l = w->learner;
  smft_report report = SMFT_REPORT_INIT;
  smft__sequences batch;
  int64_t worst = 0, drawn = 2;
  int passed;
  l->options.loss_below = 1e-9;
  ck_ok(smft__check_begin(&l->check, l->queue.first));
  ck_ok(smft__check_all(l, l->queue.first, &report, &passed));
  for (int64_t i = 1; i < 3; i++)
    worst = l->check.losses[i] > l->check.losses[worst] ? i : worst;
  l->options.loss_below = l->check.losses[worst];
  for (l->options.seed = 0; drawn; l->options.seed += drawn > 0) {
    ck_ok(smft__batch_draw(&l->batch, l->queue.first, 2, l->options.seed, NULL, 0, NULL, &batch));
    drawn = l->batch.order[0] == worst || l->batch.order[1] == worst;
  }
  l->check.serial = 0; /* nothing of this is known to it */
}

/* Cancelled at ever later moments of a step that draws, checks and draws again. */
START_TEST(cancelled_check_changes_nothing) {
  int64_t cancelled = 0;
  smft_report report = SMFT_REPORT_INIT, wanted_report = SMFT_REPORT_INIT;
  world u = open_world(recipes[_i], plain_ctx(1));
  ck_ok(smft_step(u.learner, NULL));
  draw_those_below(&u);
  ck_ok(smft_step(u.learner, &wanted_report));
  ck_assert(wanted_report.check_tokens > u.learner->queue.first->n_tokens &&
            wanted_report.rows_selected > 0);
  picture wanted = take_picture(&u);
  close_world(&u);
  canceller state = {0};
  world w = open_cancelling(recipes[_i], &state);
  ck_ok(smft_step(w.learner, NULL));
  draw_those_below(&w);
  picture before = take_picture(&w);
  for (smft_status status = SMFT_E_CANCELLED; status != SMFT_OK; cancelled++) {
    state.at = state.calls + cancelled + 1;
    status = smft_step(w.learner, &report);
    picture after = take_picture(&w);
    if (status != SMFT_OK) {
      ck_assert_int_eq(status, SMFT_E_CANCELLED);
      same_picture(&before, &after, "cancelled", cancelled);
    } else {
      same_picture(&wanted, &after, "the step after cancelled ones", cancelled);
    }
    free(after.bytes);
  }
  ck_assert_int_gt(cancelled, 4);
  ck_assert(report.loss == wanted_report.loss && report.step == 2);
  free(wanted.bytes);
  free(before.bytes);
  close_world(&w);
}
END_TEST

/* The check after the last update, cancelled: the update stands, and the next call only checks. */
START_TEST(a_late_check_may_be_cancelled) {
  int64_t late = 0;
  picture wanted = undisturbed(recipes[_i], 3);
  for (int64_t k = 1;; k++) {
    canceller state = {0};
    smft_report report = SMFT_REPORT_INIT;
    world w = open_cancelling(recipes[_i], &state);
    w.learner->options.loss_below = 1e-9;
    w.learner->options.flags |= SMFT_LEARNER_KEEP_GIVEN_UP;
    ck_ok(smft_step(w.learner, NULL));
    ck_ok(smft_step(w.learner, NULL));
    state.at = state.calls + k;
    smft_status status = smft_step(w.learner, &report);
    int too_late = status == SMFT_OK && report.fact_state != SMFT_FACT_LEARNING;
    if (status == SMFT_OK && !too_late) {
      late++;
      ck_assert(report.step == 3 && report.rows_selected > 0 && report.pending == 3);
      ck_ok(smft_step(w.learner, &report));
      ck_assert(report.step == 3 && report.rows_selected == 0 && report.tokens == 0);
    }
    if (status == SMFT_OK) {
      ck_assert(report.fact_state == SMFT_FACT_GAVE_UP && report.reason == SMFT_REASON_STEPS &&
                report.check_tokens > 0 && report.pending == 2);
      picture after = take_picture(&w);
      same_picture(&wanted, &after, "a late check", k);
      free(after.bytes);
    }
    close_world(&w);
    if (too_late)
      break;
  }
  ck_assert_int_gt(late, 0);
  free(wanted.bytes);
}
END_TEST

/* A step must fail and change nothing; the fact is given up. */
static void not_finite(world *w, const char *what) {
  smft_report report = SMFT_REPORT_INIT;
  picture before = content_of(w);
  int64_t pending = smft_learner_pending(w->learner);
  w->learner->options.flags |= SMFT_LEARNER_KEEP_GIVEN_UP;
  ck_status(smft_step(w->learner, &report), SMFT_E_NONFINITE);
  ck_assert(report.fact_state == SMFT_FACT_GAVE_UP && report.reason == SMFT_REASON_NONFINITE &&
            report.rolled_back == 0 && report.rows_selected == 0);
  ck_assert_str_eq(report.fact_id, "first");
  ck_assert_msg(strstr(smft_error_message(), "fact \"first\"") && report.wordings == 3, "%s",
                smft_error_message());
  picture after = content_of(w);
  same_picture(&before, &after, what, 0);
  ck_assert_int_eq(smft_learner_pending(w->learner), pending - 1);
  free(before.bytes);
  free(after.bytes);
}

/* smft_model_init's weights are in memory */
static void poison(const world *w, int32_t tensor, float value) {
  smft__tensor *t = &w->model->tensors[tensor];
  float *data = w->patch->full ? w->patch->full[tensor] : (float *)(uintptr_t)t->data;
  for (int64_t i = 0; i < smft__tensor_count(t); i++)
    data[i] = value;
}

START_TEST(nan_weights_change_nothing) {
  const float values[] = {NAN, INFINITY, 3e38f};
  for (int v = 0; v < 3; v++)
    for (int where = 0; where < 3; where++) {
      if (v == 2 && where == 2)
        /* so large an embedding normalises to zeros: finite, and none of the fact's rows is read */
        continue;
      world w = open_world(recipes[_i], plain_ctx(1));
      ck_ok(smft_step(w.learner, NULL));
      poison(&w,
             where == 0   ? w.model->config.stack.at[SMFT__FINAL_NORM].tensor
             : where == 1 ? smft__pool_tensor(&w.model->config, 0)
                          : w.model->config.stack.at[SMFT__EMBED].tensor,
             values[v]);
      not_finite(&w, "a weight that is not finite");
      close_world(&w);
    }
}
END_TEST

START_TEST(overflowing_rows_change_nothing) {
  world w = open_world(&sgd, plain_ctx(1));
  float row[64];
  for (int i = 0; i < 64; i++)
    row[i] = 3e38f;
  for (int64_t slot = 0; slot < smft__n_slots(w.model); slot++)
    ck_ok(smft_patch_set_row(w.patch, 0, slot, row, w.model->config.memory.value_dim));
  not_finite(&w, "rows that overflow");
  row[3] = NAN;
  ck_status(smft_patch_set_row(w.patch, 0, 0, row, w.model->config.memory.value_dim),
            SMFT_E_NONFINITE);
  close_world(&w);
}
END_TEST

/* Loss and gradient are finite; the new values would not be. */
START_TEST(overflowing_update_changes_nothing) {
  world w = open_world(recipes[_i], plain_ctx(1));
  ck_ok(smft_step(w.learner, NULL));
  ck_ok(smft_optimizer_set_lr(w.optimizer, 1e300, 0));
  not_finite(&w, "a rate that overflows");
  close_world(&w);
}
END_TEST

/* ---- what is given up leaves nothing behind ------------------------------ */

enum { BY_STEPS, BY_TIME, BY_SKIP, BY_NONFINITE, BY_VETO, N_WAYS };

typedef struct hearing {
  int calls;
  int32_t state, reason, veto;
} hearing;

static int32_t hear(void *user, const smft_report *report) {
  hearing *h = user;
  h->calls++;
  h->state = report->fact_state;
  h->reason = report->reason;
  return h->veto;
}

/* The fact in hand takes n steps and is then given up in one way; rolled back it is if it took any.
 */
static void give_up(world *w, int way, int n, hearing *h) {
  static const int32_t reasons[] = {SMFT_REASON_STEPS, SMFT_REASON_TIME, SMFT_REASON_SKIPPED,
                                    SMFT_REASON_NONFINITE, SMFT_REASON_VETOED};
  smft_learner_options *o = &w->learner->options, before = *o;
  smft_report report = SMFT_REPORT_INIT;
  memset(h, 0, sizeof *h);
  h->veto = 1; /* does nothing to what is given up anyway */
  o->on_fact = hear;
  o->on_fact_user = h;
  o->max_steps = way == BY_STEPS ? n : 100;
  for (int i = 0; i < n; i++) {
    o->max_seconds = way == BY_TIME && i == n - 1 ? w->learner->queue.first->seconds + 1e-9 : 0;
    ck_ok(smft_step(w->learner, &report));
    ck_assert_int_eq(report.rows_selected, w->recipe->t);
  }
  if (way == BY_SKIP) {
    ck_ok(smft_learner_skip(w->learner));
  } else if (way == BY_NONFINITE) {
    ck_ok(smft_optimizer_set_lr(w->optimizer, 1e300, 0));
    ck_status(smft_step(w->learner, &report), SMFT_E_NONFINITE);
    ck_ok(smft_optimizer_set_lr(w->optimizer, w->recipe->lr, 0));
  } else if (way == BY_VETO) {
    o->loss_below = 1000;
    ck_ok(smft_step(w->learner, &report));
  }
  ck_assert(h->calls == 1 && h->reason == (way == BY_VETO ? SMFT_REASON_NONE : reasons[way]));
  ck_assert_int_eq(h->state, way == BY_VETO ? SMFT_FACT_DONE : SMFT_FACT_GAVE_UP);
  ck_assert(way == BY_SKIP ||
            (report.fact_state == SMFT_FACT_GAVE_UP && report.reason == reasons[way] &&
             report.rolled_back == (n > 0 && !(o->flags & SMFT_LEARNER_KEEP_GIVEN_UP))));
  *o = before;
}

/* What comes of the third fact, with the second one taken back after it took n steps, or with the
 * second one never begun. */
static picture third_fact(const recipe *r, int way, int n) {
  world w = open_world(r, plain_ctx(1));
  hearing h;
  w.learner->options.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  for (int i = 0; i < 3; i++)
    ck_ok(smft_step(w.learner, NULL));
  w.learner->options.flags = 0;
  picture before = content_of(&w);
  give_up(&w, way, n, &h);
  ck_assert_int_eq(smft_learner_pending(w.learner), 1);
  picture after = content_of(&w);
  same_picture(&before, &after, "taken back", 10 * way + n);
  free(before.bytes);
  free(after.bytes);
  ck_ok(smft_step(w.learner, NULL));
  ck_ok(smft_step(w.learner, NULL));
  picture p = content_of(&w);
  close_world(&w);
  return p;
}

START_TEST(what_is_given_up_leaves_nothing_behind) {
  const recipe *r = recipes[_i];
  picture wanted = third_fact(r, BY_SKIP, 0);
  for (int way = 0; way < N_WAYS; way++)
    for (int n = way <= BY_TIME; n <= 3; n++) {
      picture p = third_fact(r, way, n);
      same_picture(&wanted, &p, "the fact after it", 10 * way + n);
      free(p.bytes);
    }
  free(wanted.bytes);
}
END_TEST

/* The first fact of all, which leaves an optimizer without a state; and nothing is taken back where
 * the host does not want that, or of a full or LoRA patch. */
START_TEST(what_is_given_up_may_stay) {
  const recipe *r = recipes[_i / 2];
  int keep = _i % 2 || r->patch != SMFT_PATCH_SLOTS;
  for (int way = 0; way < N_WAYS; way++) {
    hearing h;
    world w = open_world(r, plain_ctx(1));
    w.learner->options.flags = _i % 2 ? SMFT_LEARNER_KEEP_GIVEN_UP : 0;
    picture before = content_of(&w);
    if (r->patch == SMFT_PATCH_SLOTS) {
      give_up(&w, way, 2, &h);
    } else {
      ck_ok(smft_step(w.learner, NULL));
      ck_ok(smft_learner_skip(w.learner));
    }
    picture after = content_of(&w);
    ck_assert_int_eq(before.n == after.n && memcmp(before.bytes, after.bytes, after.n) == 0, !keep);
    free(before.bytes);
    free(after.bytes);
    close_world(&w);
  }
}
END_TEST

/* ---- threads, nothing to select, size ------------------------------------ */

START_TEST(threads_do_not_matter) {
  picture wanted = {0};
  for (int32_t threads = 1; threads <= 3; threads++) {
    world w = open_world(recipes[_i], plain_ctx(threads));
    picture p = {0};
    for (int step = 0; step < 7; step++) {
      smft_report report = SMFT_REPORT_INIT;
      ck_ok(smft_step(w.learner, &report));
      add(&p, &report.loss, sizeof report.loss);
      add(&p, &report.gradient_norm, sizeof report.gradient_norm);
    }
    picture state = take_picture(&w);
    add(&p, state.bytes, state.n);
    free(state.bytes);
    if (threads == 1)
      wanted = p;
    else {
      same_picture(&wanted, &p, "threads", threads);
      free(p.bytes);
    }
    close_world(&w);
  }
  free(wanted.bytes);
}
END_TEST

/* No background counts: every tf-idf score is 0. */
START_TEST(no_eligible_slot_changes_nothing) {
  world w = open_world(&sgd, plain_ctx(1));
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_selector *selector;
  smft_learner *learner;
  smft_report report = SMFT_REPORT_INIT;
  int64_t n = -1;
  options.flags = SMFT_SELECTOR_EMPTY;
  ck_ok(smft_selector_create(&selector, w.model, &options));
  ck_ok(smft_learner_create(&learner, w.model, w.patch, selector, NULL, NULL));
  tiny_push(learner, "fact", "x");
  picture before = take_picture(&w);
  ck_ok(smft_step(learner, &report));
  picture after = take_picture(&w);
  same_picture(&before, &after, "nothing eligible", 0);
  ck_assert_int_eq(report.rows_selected, 0);
  ck_assert_int_eq(report.step, 0);
  ck_assert_int_eq(report.fact_state, SMFT_FACT_GAVE_UP);
  ck_assert_int_eq(report.pending, 0);
  ck_assert_str_eq(report.fact_id, "fact");
  ck_assert(report.loss > 0 && report.slots_read > 0 && report.gradient_norm == 0);
  ck_ok(smft_learner_selected(learner, NULL, 0, &n));
  ck_assert_int_eq(n, 0);
  free(before.bytes);
  free(after.bytes);
  smft_learner_free(learner);
  smft_selector_free(selector);
  close_world(&w);
}
END_TEST

#define BIG_KEYS 1024 /* 1,048,576 slots */
#define BIG_DIM 256

/* A tensor of the big model's file: name, shape, and what its numbers are drawn from. */
typedef struct entry {
  const char *name;
  int64_t shape[4];
  float scale, shift;
} entry;

static const entry big_entries[] = {
    {"model.embed_tokens.weight", {TINY_VOCAB, 32}, 1, 0},
    {"model.layers.0.input_layernorm.weight", {32}, 0, 1},
    {"model.layers.0.self_attn.q_proj.weight", {32, 32}, 0.2f, 0},
    {"model.layers.0.self_attn.k_proj.weight", {16, 32}, 0.2f, 0},
    {"model.layers.0.self_attn.v_proj.weight", {16, 32}, 0.2f, 0},
    {"model.layers.0.self_attn.o_proj.weight", {32, 32}, 0.2f, 0},
    {"model.layers.0.post_attention_layernorm.weight", {32}, 0, 1},
    {"model.layers.0.memory.query.weight", {32, 32}, 0.3f, 0},
    {"model.layers.0.memory.gate.weight", {BIG_DIM, 32}, 0.2f, 0},
    {"model.layers.0.memory.out.weight", {32, BIG_DIM}, 0.1f, 0},
    {"model.layers.0.memory.keys", {2, 2, BIG_KEYS, 8}, 0.3f, 0},
    {"model.norm.weight", {32}, 0, 1},
    {"model.memory_pools.0.values",
     {(int64_t)BIG_KEYS * BIG_KEYS, BIG_DIM},
     0,
     0}, /* last: a hole of 1 GiB that takes no disk */
};
#define N_BIG (int)(sizeof big_entries / sizeof *big_entries)

static int64_t entry_count(const entry *e) {
  int64_t n = 1;
  for (int d = 0; d < 4 && e->shape[d]; d++)
    n *= e->shape[d];
  return n;
}

static void big_header(FILE *file) {
  static char text[8192];
  int n = snprintf(text, sizeof text, "{");
  int64_t at = 0;
  for (int i = 0; i < N_BIG; i++) {
    n += snprintf(text + n, sizeof text - (size_t)n, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[",
                  i ? "," : "", big_entries[i].name);
    for (int d = 0; d < 4 && big_entries[i].shape[d]; d++)
      n += snprintf(text + n, sizeof text - (size_t)n, "%s%lld", d ? "," : "",
                    (long long)big_entries[i].shape[d]);
    int64_t end = at + entry_count(&big_entries[i]) * 4;
    n += snprintf(text + n, sizeof text - (size_t)n, "],\"data_offsets\":[%lld,%lld]}",
                  (long long)at, (long long)end);
    at = end;
  }
  n += snprintf(text + n, sizeof text - (size_t)n, "}");
  while (n % 8)
    text[n++] = ' ';
  uint64_t length = (uint64_t)n;
  ck_assert_uint_eq(fwrite(&length, 8, 1, file), 1);
  ck_assert_uint_eq(fwrite(text, 1, (size_t)n, file), (size_t)n);
}

static void big_model(void) {
  static const char config[] =
      "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 1, "
      "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
      "\"intermediate_size\": 48, \"vocab_size\": 98, \"rms_norm_eps\": 1e-5, "
      "\"max_position_embeddings\": 64, "
      "\"tie_word_embeddings\": true, "
      "\"memory\": {\"layers\": [0], \"pools\": [0], \"placement\": \"replace\", \"n_keys\": 1024, "
      "\"heads\": 2, \"top_k\": 32, "
      "\"key_dim\": 16, \"value_dim\": 256, \"query_norm\": \"none\", \"key_norm\": \"none\", "
      "\"gate\": true, \"bias\": false}}";
  uint32_t state = 5;
  mkdir(test_file("big"), 0700);
  test_write("big/config.json", config, sizeof config - 1);
  FILE *file = fopen(test_file("big/model.safetensors"), "wb");
  ck_assert_ptr_nonnull(file);
  big_header(file);
  for (int i = 0; i < N_BIG - 1; i++)
    for (int64_t j = 0; j < entry_count(&big_entries[i]); j++) {
      state = state * 1664525u + 1013904223u;
      float value =
          big_entries[i].shift + big_entries[i].scale * ((float)(state >> 8) / 8388608.0f - 1);
      ck_assert_uint_eq(fwrite(&value, sizeof value, 1, file), 1);
    }
  ck_assert_int_eq(fflush(file), 0);
  ck_assert_int_eq(ftruncate(fileno(file), ftell(file) + entry_count(&big_entries[N_BIG - 1]) * 4),
                   0);
  fclose(file);
}

static void push_ids_fact(smft_learner *learner) { /* 6 wordings of 40 tokens */
  static int32_t ids[6][40];
  smft_ids_wording wordings[6];
  for (int i = 0; i < 6; i++) {
    for (int j = 0; j < 40; j++)
      ids[i][j] = (i * 41 + j * 17 + i * j) % TINY_VOCAB;
    smft_ids_wording wording = {sizeof wording, 0, ids[i], 36, ids[i] + 36, 4};
    wordings[i] = wording;
  }
  ck_ok(smft_learner_push_ids(learner, "fact", wordings, 6));
}

static int64_t resident_bytes(void) {
  long long all = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file) {
    ck_assert_int_eq(fscanf(file, "%lld %lld", &all, &resident), 2);
    fclose(file);
  }
  return resident * (int64_t)sysconf(_SC_PAGESIZE);
}

/* Loading, counting background, and steps of both optimizers: what the context holds stays far
 * below the pool's 1 GiB, and so does what is in memory of the file: the pages of rows that were
 * read. */
START_TEST(big_pool_takes_little_memory) {
  smft_ctx *ctx = plain_ctx(2);
  smft_model *model;
  smft_patch *patch;
  int64_t peak, n;
  big_model();
  int64_t resident = resident_bytes();
  ck_ok(smft_model_load(&model, ctx, test_file("big"), NULL));
  smft_selector *selector = tiny_selector(model, SMFT_RULE_TFIDF, 512);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  for (int32_t kind = SMFT_OPTIMIZER_SGD; kind <= SMFT_OPTIMIZER_ADAMW; kind++) {
    smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
    smft_optimizer *optimizer;
    smft_learner *learner;
    smft_report report = SMFT_REPORT_INIT;
    smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
    learning.wordings_per_step = -1;
    learning.flags = SMFT_LEARNER_ROWS_PER_STEP;
    options.kind = kind;
    options.lr = 0.01; /* the values are zero: there is no default */
    ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
    ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, &learning));
    push_ids_fact(learner);
    for (int i = 0; i < 3; i++)
      ck_ok(smft_step(learner, &report));
    ck_assert_int_eq(report.rows_selected, 512);
    ck_assert_int_eq(report.reads, 6 * 40 * 2 * 32);
    smft_learner_free(learner);
    smft_optimizer_free(optimizer);
  }
  ck_ok(smft_ctx_memory(ctx, NULL, &peak));
  ck_assert_msg(peak < (int64_t)64 << 20, "peak %lld bytes", (long long)peak);
  resident = resident_bytes() - resident;
  ck_assert_msg(resident < (int64_t)320 << 20, "%lld bytes came into memory", (long long)resident);
  ck_ok(smft_patch_slots(patch, 0, NULL, 0, &n));
  ck_assert_int_ge(n, 512);
  smft_patch_free(patch);
  smft_selector_free(selector);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("learn_exact");
  TCase *cases = tcase_create("learn_exact");
  tcase_set_timeout(cases, 60);
  tcase_add_loop_test(cases, only_selected_rows_change, 0, 4);
  tcase_add_loop_test(cases, state_never_touches_other_rows, 0, 2);
  tcase_add_loop_test(cases, sparse_step_equals_mask_trick, 0, 2);
  tcase_add_loop_test(cases, failed_allocation_changes_nothing, 0, N_RECIPES);
  tcase_add_loop_test(cases, failed_allocation_at_a_second_fact_changes_nothing, 0, N_RECIPES);
  tcase_add_loop_test(cases, cancelled_step_changes_nothing, 0, N_RECIPES);
  tcase_add_loop_test(cases, cancelled_check_changes_nothing, 0, N_RECIPES);
  tcase_add_loop_test(cases, a_late_check_may_be_cancelled, 0, N_RECIPES);
  tcase_add_loop_test(cases, nan_weights_change_nothing, 0, N_RECIPES);
  tcase_add_test(cases, overflowing_rows_change_nothing);
  tcase_add_loop_test(cases, overflowing_update_changes_nothing, 0, N_RECIPES);
  tcase_add_loop_test(cases, what_is_given_up_leaves_nothing_behind, 0, 4);
  tcase_add_loop_test(cases, what_is_given_up_may_stay, 0, 2 * N_RECIPES);
  tcase_add_loop_test(cases, threads_do_not_matter, 0, N_RECIPES);
  tcase_add_test(cases, no_eligible_slot_changes_nothing);
  tcase_add_test(cases, big_pool_takes_little_memory);
  suite_add_tcase(suite, cases);
  return suite;
}
