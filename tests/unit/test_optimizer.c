/* optimizer: SGD and AdamW against their formulas in double, groups and clipping on full patches,
 * state that is kept, forgotten, saved and loaded. */
#include "test.h"
#include "tiny.h"
#include "learn/learner.h"

static smft_ctx *ctx;
static smft_model *model;

static void open_model(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "model", (tiny){0, 0, 0, 1}, 3);
}

static void close_model(void) {
  smft_model_free(model);
  smft_ctx_free(ctx);
}

static smft_optimizer *make(const smft_optimizer_options *options) {
  smft_optimizer *optimizer;
  ck_ok(smft_optimizer_create(&optimizer, ctx, options));
  return optimizer;
}

/* ---- arithmetic ---------------------------------------------------------- */

static float number(int i) { return sinf((float)(i * i + 1)); }

/* One weight by the book, in double: out (w, m, v). */
static void by_the_book(const smft_optimizer_options *o, double g, int64_t step, double w[3]) {
  if (o->kind == SMFT_OPTIMIZER_SGD) {
    w[1] = o->momentum * w[1] + g + o->weight_decay * w[0];
    w[0] -= o->lr * w[1];
    return;
  }
  w[0] -= o->lr * o->weight_decay * w[0];
  w[1] = 0.9 * w[1] + 0.1 * g;
  w[2] = 0.999 * w[2] + 0.001 * g * g;
  w[0] -= o->lr * (w[1] / (1 - pow(0.9, (double)step))) /
          (sqrt(w[2] / (1 - pow(0.999, (double)step))) + 1e-8);
}

START_TEST(steps_follow_the_formulas) {
  static const smft_optimizer_options all[] = {
      {sizeof all[0], SMFT_OPTIMIZER_SGD, 0, 0, 0.3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {sizeof all[0], SMFT_OPTIMIZER_SGD, 0, 0, 0.3, 0.8, 0.05, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {sizeof all[0], SMFT_OPTIMIZER_ADAMW, 0, 0, 0.01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {sizeof all[0], SMFT_OPTIMIZER_ADAMW, 0, 0, 0.01, 0, 0.1, 0, 0, 0, 0, 0, 0, 0, 0, 0}};
  enum { N = 37 };
  float w[N], m[N] = {0}, v[N] = {0}, g[N];
  double wanted[N][3];
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_optimizer *optimizer = make(&all[_i]);
  int32_t moments = smft__optimizer_moments(optimizer);
  ck_assert_int_eq(moments, _i < 2 ? _i : 2);
  for (int i = 0; i < N; i++) {
    w[i] = number(i);
    wanted[i][0] = (double)w[i];
    wanted[i][1] = wanted[i][2] = 0;
  }
  for (int64_t step = 1; step <= 6; step++) {
    smft__update_rule rule = smft__optimizer_rule(optimizer, all[_i].lr, 0, step, 0.5);
    for (int i = 0; i < N; i++) {
      g[i] = number(i + 40 * (int)step);
      by_the_book(&all[_i], 0.5 * (double)g[i], step, wanted[i]);
    }
    float alone[N], alone_m[N], alone_v[N]; /* one by one: the same bits as side by side */
    for (int i = 0; i < N; i++)
      ck_assert(smft__update(&rule, w + i, g + i, moments > 0 ? m + i : NULL,
                             moments > 1 ? v + i : NULL, 1, alone + i, alone_m + i, alone_v + i));
    /* only looks */
    ck_assert(smft__update(&rule, w, g, moments > 0 ? m : NULL, moments > 1 ? v : NULL, N, NULL,
                           NULL, NULL));
    ck_assert(
        smft__update(&rule, w, g, moments > 0 ? m : NULL, moments > 1 ? v : NULL, N, w, m, v));
    ck_assert(memcmp(w, alone, sizeof w) == 0);
    ck_assert(moments < 1 || memcmp(m, alone_m, sizeof m) == 0);
    ck_assert(moments < 2 || memcmp(v, alone_v, sizeof v) == 0);
    for (int i = 0; i < N; i++)
      ck_assert_msg(fabs((double)w[i] - wanted[i][0]) <= 1e-5, "step %d, weight %d: %g, wanted %g",
                    (int)step, i, (double)w[i], wanted[i][0]);
  }
  smft_optimizer_free(optimizer);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(numbers_that_are_not_finite_are_seen) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  for (int32_t kind = SMFT_OPTIMIZER_SGD; kind <= SMFT_OPTIMIZER_ADAMW; kind++)
    for (int at = 0; at < 19; at++)
      /* 3: only the square overflows */
      for (int what = 0; what < 3 + (kind == SMFT_OPTIMIZER_ADAMW); what++) {
        smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
        float w[19] = {0}, g[19] = {0}, m[19] = {0}, v[19] = {0};
        options.kind = kind;
        smft_optimizer *optimizer = make(&options);
        smft__update_rule rule = smft__optimizer_rule(optimizer, 2, 0, 1, 1);
        int adam = kind == SMFT_OPTIMIZER_ADAMW;
        ck_assert(
            smft__update(&rule, w, g, adam ? m : NULL, adam ? v : NULL, 19, NULL, NULL, NULL));
        (what == 2 ? w : g)[at] = (float[]){NAN, INFINITY, -INFINITY, 1e30f}[what];
        ck_assert(
            !smft__update(&rule, w, g, adam ? m : NULL, adam ? v : NULL, 19, NULL, NULL, NULL));
        smft_optimizer_free(optimizer);
      }
  smft_ctx_free(ctx);
}
END_TEST

/* ---- full patches: groups, clipping -------------------------------------- */

static const int32_t batch_ids[] = {0, 5, 9, 31, 44, 7, 0, 8, 12, 40, 41, 42, 60};
static const int64_t batch_lengths[] = {6, 7};

static void step_batch(smft_learner *learner, smft_report *report) {
  smft_batch batch = SMFT_BATCH_INIT;
  batch.ids = batch_ids;
  batch.lengths = batch_lengths;
  batch.n_sequences = 2;
  ck_ok(smft_learner_step_batch(learner, &batch, report));
}

static double norm_of(const smft_learner *learner, int pools) {
  const smft__dense *layout = &learner->dense.layout;
  double sum = 0;
  for (int32_t i = 0; i < layout->n_parts; i++)
    for (int64_t j = 0; j < layout->count[i] && (layout->parts[i].pool >= 0) == pools; j++)
      sum += pow((double)learner->dense.gradient[layout->begin[i] + j], 2);
  return sqrt(sum);
}

START_TEST(groups_have_their_own_rate_and_clip) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_patch *patch, *before;
  smft_learner *learner;
  smft_report report = SMFT_REPORT_INIT;
  open_model();
  options.lr = 0.1;
  options.clip_norm = 0.05;
  if (_i) {
    options.pool_lr = 0.7;
    options.pool_clip_norm = 0.002;
    options.pool_weight_decay = 0.01;
    options.weight_decay = 0.02;
  }
  smft_optimizer *optimizer = make(&options);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_FULL));
  ck_ok(smft_patch_create(&before, model, SMFT_PATCH_FULL));
  ck_ok(smft_learner_create(&learner, model, patch, NULL, optimizer, NULL));
  step_batch(learner, &report);
  double norms[2] = {norm_of(learner, 0), norm_of(learner, 1)};
  double all = sqrt(norms[0] * norms[0] + norms[1] * norms[1]);
  ck_assert(fabs(report.gradient_norm - all) <= 1e-6 * all && norms[0] > 0.05 && norms[1] > 0.002);
  double scales[2] = {0.05 / (_i ? norms[0] : all), _i ? 0.002 / norms[1] : 0.05 / all};
  for (int32_t i = 0; i < model->n_tensors; i++) {
    const smft__dense *layout = &learner->dense.layout;
    int pool = layout->parts[i].pool >= 0;
    double lr = pool && _i ? 0.7 : 0.1, decay = !_i ? 0 : pool ? 0.01 : 0.02;
    for (int64_t j = 0; j < layout->count[i]; j++) {
      double old = (double)before->full[i][j];
      double g = (double)learner->dense.gradient[layout->begin[i] + j];
      ck_assert(fabs((double)patch->full[i][j] - (old - lr * (g * scales[pool] + decay * old))) <=
                2e-6);
    }
  }
  ck_assert(report.rows_selected > 0 && report.slots_read > 0 && report.tokens == 13 &&
            report.tokens_supervised == 11);
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_patch_free(before);
  smft_patch_free(patch);
  close_model();
}
END_TEST

/* Full patches with SMFT_OPTIMIZER_LAZY_POOLS: decay and old moments move a pool's row only when
 * the batch reads it. */
START_TEST(lazy_pools_leave_unread_rows) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_patch *patch, *before;
  smft_learner *learner;
  smft_report report = SMFT_REPORT_INIT;
  open_model();
  options.kind = _i ? SMFT_OPTIMIZER_ADAMW : SMFT_OPTIMIZER_SGD;
  options.flags = SMFT_OPTIMIZER_LAZY_POOLS;
  options.momentum = 0.9;
  options.lr = 0.01;
  options.pool_weight_decay = 0.1;
  smft_optimizer *optimizer = make(&options);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_FULL));
  ck_ok(smft_learner_create(&learner, model, patch, NULL, optimizer, NULL));
  step_batch(learner, NULL);
  ck_ok(smft_patch_copy(&before, patch));
  /* the second half of what was there before: some rows have moments and are not read */
  smft_batch batch = SMFT_BATCH_INIT;
  batch.ids = batch_ids + 6;
  batch.lengths = batch_lengths + 1;
  batch.n_sequences = 1;
  ck_ok(smft_learner_step_batch(learner, &batch, &report));
  int32_t pool = smft__pool_tensor(&model->config, 0);
  int64_t dim = model->config.memory.value_dim, moved = 0;
  for (int64_t slot = 0; slot < 256; slot++) {
    int was_read = (int)(learner->dense.read[slot >> 6] >> (slot & 63) & 1);
    int changed = memcmp(before->full[pool] + slot * dim, patch->full[pool] + slot * dim,
                         (size_t)dim * sizeof(float)) != 0;
    ck_assert_int_eq(changed, was_read);
    moved += changed;
  }
  ck_assert(moved == report.slots_read && moved > 0 && moved < 256);
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_patch_free(before);
  smft_patch_free(patch);
  close_model();
}
END_TEST

START_TEST(a_group_scales_the_rate) {
  smft_patch *patch, *before;
  smft_learner *learner;
  open_model();
  smft_optimizer *optimizer = make(NULL);
  ck_ok(smft_optimizer_set_lr(optimizer, 0.1, 0));
  ck_ok(smft_optimizer_set_group(optimizer, "memory", 0.5));
  ck_ok(smft_optimizer_set_group(optimizer, "memory.keys", 0));
  ck_status(smft_optimizer_set_group(optimizer, "", 1), SMFT_E_INVALID);
  ck_status(smft_optimizer_set_group(optimizer, "x", NAN), SMFT_E_INVALID);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_FULL));
  ck_ok(smft_patch_create(&before, model, SMFT_PATCH_FULL));
  ck_ok(smft_learner_create(&learner, model, patch, NULL, optimizer, NULL));
  step_batch(learner, NULL);
  for (int32_t i = 0; i < model->n_tensors; i++) {
    const char *name = model->names[i];
    double lr = 0.1 * (strstr(name, "memory.keys") ? 0 : strstr(name, "memory") ? 0.5 : 1);
    for (int64_t j = 0; j < learner->dense.layout.count[i]; j++) {
      double wanted = (double)before->full[i][j] - lr * (double)learner->dense.gradient_of[i][j];
      ck_assert_msg(fabs((double)patch->full[i][j] - wanted) <= 1e-6, "%s", name);
    }
  }
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_patch_free(before);
  smft_patch_free(patch);
  close_model();
}
END_TEST

/* ---- checkpoints --------------------------------------------------------- */

typedef struct run {
  smft_patch *patch;
  smft_optimizer *optimizer;
  smft_learner *learner;
} run;

static run start(int32_t patch_kind, const smft_optimizer_options *options, smft_patch *patch) {
  run r = {patch, make(options), NULL};
  smft_selector *selector = patch_kind == SMFT_PATCH_SLOTS ? tiny_selector(model, 0, 16) : NULL;
  if (!patch)
    ck_ok(smft_patch_create(&r.patch, model, patch_kind));
  ck_ok(smft_learner_create(&r.learner, model, r.patch, selector, r.optimizer, NULL));
  smft_selector_free(selector);
  return r;
}

static void finish(run *r) {
  smft_learner_free(r->learner);
  smft_optimizer_free(r->optimizer);
  smft_patch_free(r->patch);
}

static const smft_optimizer_options checkpointed[] = {
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_SGD, 0, 0, 0.3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     0},
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_SGD, 0, 0, 0.3, 0.9, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     0},
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_ADAMW, 0, 0, 0.01, 0, 0.1, 0, 0, 0, 0, 0, 0, 0,
     0, 0}};

/* Three steps, saved, loaded, and two more: bit for bit what five in a row give. */
START_TEST(a_checkpoint_goes_on_bit_for_bit) {
  const smft_optimizer_options *options = &checkpointed[_i / 2];
  int32_t kind = _i % 2 ? SMFT_PATCH_FULL : SMFT_PATCH_SLOTS;
  smft_report last = SMFT_REPORT_INIT, wanted = SMFT_REPORT_INIT;
  open_model();
  run whole = start(kind, options, NULL), first = start(kind, options, NULL);
  for (int i = 0; i < 6; i++)
    step_batch(whole.learner, &wanted);
  for (int i = 0; i < 3; i++)
    step_batch(first.learner, NULL);
  ck_ok(smft_optimizer_save(first.optimizer, test_file("state.safetensors")));
  ck_ok(smft_patch_save(first.patch, test_file("patch.safetensors"), 0));
  finish(&first);
  smft_patch *patch;
  ck_ok(smft_patch_load(&patch, model, test_file("patch.safetensors")));
  run second = start(kind, options, patch);
  ck_ok(smft_optimizer_load(second.optimizer, model, test_file("state.safetensors")));
  for (int i = 0; i < 3; i++)
    step_batch(second.learner, &last);
  ck_assert(last.loss == wanted.loss && last.gradient_norm == wanted.gradient_norm);
  for (int32_t i = 0; i < model->n_tensors; i++) {
    int64_t n = smft__tensor_count(&model->tensors[i]);
    float *a = malloc((size_t)n * sizeof *a), *b = malloc((size_t)n * sizeof *b);
    ck_ok(smft_model_tensor_values(model, whole.patch, i, a, n));
    ck_ok(smft_model_tensor_values(model, second.patch, i, b, n));
    ck_assert(memcmp(a, b, (size_t)n * sizeof *a) == 0);
    free(a);
    free(b);
  }
  finish(&second);
  finish(&whole);
  close_model();
}
END_TEST

START_TEST(wrong_checkpoints_are_refused) {
  open_model();
  smft_model *other = tiny_model(ctx, "other", (tiny){0, 0, 0, 1}, 4);
  run r = start(SMFT_PATCH_SLOTS, &checkpointed[2], NULL);
  step_batch(r.learner, NULL);
  const char *path = test_file("state.safetensors");
  ck_ok(smft_optimizer_save(r.optimizer, path));
  smft_optimizer *sgd = make(&checkpointed[1]), *empty = make(&checkpointed[2]);
  ck_status(smft_optimizer_load(sgd, model, path), SMFT_E_MISMATCH);
  ck_status(smft_optimizer_load(r.optimizer, other, path), SMFT_E_MISMATCH);
  ck_status(smft_optimizer_load(r.optimizer, model, test_file("none")), SMFT_E_NOT_FOUND);
  ck_status(smft_optimizer_load(r.optimizer, model,
                                test_write("no.safetensors", "version https://git-lfs", 23)),
            SMFT_E_FORMAT);
  ck_ok(smft_selector_save(r.learner->selector, test_file("counts.safetensors")));
  ck_status(smft_optimizer_load(r.optimizer, model, test_file("counts.safetensors")),
            SMFT_E_FORMAT);
  ck_assert_int_gt(r.optimizer->pools[0].moments.n, 0); /* still there */
  ck_ok(smft_optimizer_save(empty, path));              /* no state is a state, too */
  ck_ok(smft_optimizer_load(r.optimizer, other, path));
  ck_assert_ptr_null(r.optimizer->model);
  smft_optimizer_free(empty);
  smft_optimizer_free(sgd);
  finish(&r);
  smft_model_free(other);
  close_model();
}
END_TEST

/* Steps of a row that leave no room for the next one (found by fuzz/fuzz_optimizer.c). */
START_TEST(a_row_with_too_many_steps_is_refused) {
  open_model();
  run r = start(SMFT_PATCH_SLOTS, &checkpointed[2], NULL);
  step_batch(r.learner, NULL);
  r.optimizer->pools[0].steps[0] = INT64_MAX;
  ck_ok(smft_optimizer_save(r.optimizer, test_file("state.safetensors")));
  ck_status(smft_optimizer_load(r.optimizer, model, test_file("state.safetensors")), SMFT_E_FORMAT);
  r.optimizer->pools[0].steps[0] = INT64_C(1) << 60;
  ck_ok(smft_optimizer_save(r.optimizer, test_file("state.safetensors")));
  ck_ok(smft_optimizer_load(r.optimizer, model, test_file("state.safetensors")));
  finish(&r);
  close_model();
}
END_TEST

/* ---- state from fact to fact --------------------------------------------- */

START_TEST(moments_start_afresh_for_every_fact_unless_kept) {
  smft_optimizer_options options = checkpointed[2];
  options.flags = _i ? SMFT_OPTIMIZER_KEEP_STATE : 0;
  open_model();
  run r = start(SMFT_PATCH_SLOTS, &options, NULL);
  tiny_push(r.learner, "first", "one");
  tiny_push(r.learner, "second", "two");
  ck_ok(smft_step(r.learner, NULL));
  ck_ok(smft_step(r.learner, NULL));
  int64_t n = r.optimizer->pools[0].moments.n;
  ck_assert_int_ge(n, 16);
  r.learner->options.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  ck_ok(smft_learner_skip(r.learner));
  ck_ok(smft_step(r.learner, NULL));
  int64_t most = 0;
  for (int64_t i = 0; i < r.optimizer->pools[0].moments.n; i++)
    most = r.optimizer->pools[0].steps[i] > most ? r.optimizer->pools[0].steps[i] : most;
  if (_i)
    ck_assert(r.optimizer->pools[0].moments.n > n && most > 1);
  else
    ck_assert(r.optimizer->pools[0].moments.n == 16 && most == 1);
  ck_ok(smft_optimizer_reset(r.optimizer));
  ck_assert_ptr_null(r.optimizer->pools);
  finish(&r);
  close_model();
}
END_TEST

START_TEST(state_of_another_model_or_kind_is_refused) {
  open_model();
  smft_model *other = tiny_model(ctx, "other", (tiny){0, 0, 0, 1}, 4);
  run r = start(SMFT_PATCH_SLOTS, &checkpointed[2], NULL);
  step_batch(r.learner, NULL);
  smft_patch *patches[2];
  ck_ok(smft_patch_create(&patches[0], other, SMFT_PATCH_FULL));
  ck_ok(smft_patch_create(&patches[1], model, SMFT_PATCH_FULL));
  for (int i = 0; i < 2; i++) {
    smft_learner *learner;
    smft_batch batch = SMFT_BATCH_INIT;
    batch.ids = batch_ids;
    batch.lengths = batch_lengths;
    batch.n_sequences = 2;
    ck_ok(smft_learner_create(&learner, i ? model : other, patches[i], NULL, r.optimizer, NULL));
    ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_MISMATCH);
    smft_learner_free(learner);
    smft_patch_free(patches[i]);
  }
  finish(&r);
  smft_model_free(other);
  close_model();
}
END_TEST

START_TEST(bad_options) {
  smft_optimizer_options good = SMFT_OPTIMIZER_OPTIONS_INIT, bad;
  smft_optimizer *optimizer = (smft_optimizer *)(uintptr_t)1;
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_status(smft_optimizer_create(NULL, ctx, NULL), SMFT_E_INVALID);
  ck_status(smft_optimizer_create(&optimizer, NULL, NULL), SMFT_E_INVALID);
  ck_assert_ptr_null(optimizer);
#define REFUSED(field, value)                                                                      \
  bad = good;                                                                                      \
  bad.field = value;                                                                               \
  ck_status(smft_optimizer_create(&optimizer, ctx, &bad), SMFT_E_INVALID)
  REFUSED(kind, 3);
  REFUSED(flags, 8);
  REFUSED(lr, -1);
  REFUSED(lr, NAN);
  REFUSED(momentum, 1);
  REFUSED(beta1, 1);
  REFUSED(beta2, -0.1);
  REFUSED(eps, NAN);
  REFUSED(weight_decay, INFINITY);
  REFUSED(clip_norm, -1);
  REFUSED(pool_clip_norm, NAN);
  bad = good;
  bad.struct_size = 7;
  ck_status(smft_optimizer_create(&optimizer, ctx, &bad), SMFT_E_STRUCT_SIZE);
  ck_ok(smft_optimizer_create(&optimizer, ctx, NULL));
  ck_status(smft_optimizer_set_lr(optimizer, NAN, 0), SMFT_E_INVALID);
  ck_status(smft_optimizer_set_lr(NULL, 1, 0), SMFT_E_INVALID);
  ck_status(smft_optimizer_save(optimizer, NULL), SMFT_E_INVALID);
  ck_status(smft_optimizer_load(optimizer, NULL, "x"), SMFT_E_INVALID);
  ck_status(smft_optimizer_reset(NULL), SMFT_E_INVALID);
  smft_optimizer_free(optimizer);
  smft_optimizer_free(NULL);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("optimizer");
  TCase *cases = tcase_create("optimizer");
  tcase_add_loop_test(cases, steps_follow_the_formulas, 0, 4);
  tcase_add_test(cases, numbers_that_are_not_finite_are_seen);
  tcase_add_loop_test(cases, groups_have_their_own_rate_and_clip, 0, 2);
  tcase_add_loop_test(cases, lazy_pools_leave_unread_rows, 0, 2);
  tcase_add_test(cases, a_group_scales_the_rate);
  tcase_add_loop_test(cases, a_checkpoint_goes_on_bit_for_bit, 0, 6);
  tcase_add_test(cases, wrong_checkpoints_are_refused);
  tcase_add_test(cases, a_row_with_too_many_steps_is_refused);
  tcase_add_loop_test(cases, moments_start_afresh_for_every_fact_unless_kept, 0, 2);
  tcase_add_test(cases, state_of_another_model_or_kind_is_refused);
  tcase_add_test(cases, bad_options);
  suite_add_tcase(suite, cases);
  return suite;
}
