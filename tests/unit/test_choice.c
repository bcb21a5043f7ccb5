/* choice and rates: a fact's rows are chosen once, from all its wordings; the default rate
 * follows the scale of the values. */
#include "test.h"
#include "tiny.h"
#include "learn/learner.h"
#include "learn/rates.h"

#define T 24
#define MOST 512

static smft_ctx *ctx;
static smft_model *model;
static smft_patch *patch;

static smft_learner *open_learner(uint32_t flags, int32_t wordings, double lr) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  smft_learner *learner;
  options.flags = flags;
  options.wordings_per_step = wordings;
  options.loss_below = -1;
  options.max_steps = 8;
  rate.lr = lr;
  smft_selector *selector = tiny_selector(model, SMFT_RULE_TFIDF, T);
  ck_ok(smft_optimizer_create(&optimizer, ctx, &rate));
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, &options));
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  return learner;
}

static void open_model(uint64_t seed) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "model", (tiny){0, 0, 0, 1}, seed);
}

static void close_all(smft_learner *learner) {
  smft_learner_free(learner);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
  patch = NULL; /* a test that makes none closes too, in the same process where CK_FORK is no */
}

/* Slots selected by the last step; returns their number. */
static int64_t selected(const smft_learner *learner, smft_selected *list) {
  int64_t n = 0;
  ck_ok(smft_learner_selected(learner, list, MOST, &n));
  return n;
}

static int holds(const smft_selected *list, int64_t n, int64_t slot) {
  for (int64_t i = 0; i < n; i++)
    if (list[i].slot == slot)
      return 1;
  return 0;
}

static int64_t rows_after(uint32_t flags) {
  int64_t n = 0;
  open_model(3);
  smft_learner *learner = open_learner(flags | SMFT_LEARNER_KEEP_GIVEN_UP, 1, 5);
  tiny_push(learner, "fact", " one");
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL));
  ck_ok(smft_patch_slots(patch, 0, NULL, 0, &n));
  close_all(learner);
  return n;
}

START_TEST(steps_stay_within_the_choice) {
  smft_selected all[MOST], step[MOST];
  open_model(3);
  smft_learner *learner = open_learner(0, -1, 5);
  tiny_push(learner, "fact", " one");
  ck_ok(smft_step(learner, NULL)); /* every wording: exactly what the rule chooses */
  int64_t n_all = selected(learner, all);
  ck_assert_int_eq(n_all, T);
  close_all(learner);
  open_model(3);
  learner = open_learner(0, 1, 5);
  tiny_push(learner, "fact", " one");
  for (int i = 0; i < 8; i++) {
    ck_ok(smft_step(learner, NULL));
    int64_t n = selected(learner, step);
    ck_assert_int_gt(n, 0);
    for (int64_t j = 0; j < n; j++)
      ck_assert(holds(all, n_all, step[j].slot) && (j == 0 || step[j - 1].score >= step[j].score));
  }
  close_all(learner);
}
END_TEST

START_TEST(rows_per_step_choose_anew) {
  ck_assert_int_le(rows_after(0), T);
  ck_assert_int_gt(rows_after(SMFT_LEARNER_ROWS_PER_STEP), T);
}
END_TEST

/* Every third slot is rare, the others are 5 and 9 times as common; after 40 updates five times
 * max_df goes, where there is one. */
START_TEST(more_common_rows_where_a_fact_is_not_learnt) {
  double max_df = _i ? -1 : 0.02;
  smft_selected before[MOST];
  int64_t n_before = 0, common = 0;
  open_model(3);
  smft_learner *learner = open_learner(0, 1, 1e-9);
  smft_selector *selector = learner->selector;
  learner->options.max_steps = 50;
  selector->max_df = max_df;
  selector->stats.n_batches = 100;
  for (int64_t slot = 0; slot < smft__n_slots(model); slot++)
    selector->stats.df[slot] = 1 + 4 * (uint32_t)(slot % 3);
  tiny_push(learner, "fact", " one");
  for (int i = 0; i < 42; i++) {
    const smft__selection *rows = &learner->choice.rows;
    ck_ok(smft_step(learner, NULL));
    common = 0;
    for (int64_t r = 0; r < rows->n; r++)
      common += rows->list[r].slot % 3 != 0;
    if (i == 39) {
      n_before = rows->n;
      memcpy(before, rows->list, (size_t)rows->n * sizeof *before);
      ck_assert_int_eq(common > 0, max_df < 0);
    }
  }
  ck_assert_int_gt(common, 0);
  const smft__selection *rows = &learner->choice.rows;
  int same = rows->n == n_before;
  for (int64_t r = 0; r < n_before && same; r++)
    same = rows->list[r].slot == before[r].slot;
  ck_assert_int_eq(same, max_df < 0);
  ck_ok(smft_learner_skip(learner));
  tiny_push(learner, "next", " two"); /* is as restrained as the first one was */
  ck_ok(smft_step(learner, NULL));
  for (int64_t r = 0; r < rows->n && max_df > 0; r++)
    ck_assert_int_eq(rows->list[r].slot % 3, 0);
  close_all(learner);
}
END_TEST

START_TEST(next_fact_gets_rows_of_its_own) {
  smft_selected first[MOST], second[MOST];
  open_model(3);
  smft_learner *learner = open_learner(0, -1, 1e-9);
  tiny_push(learner, "aaaa", " one");
  tiny_push(learner, "zq", " two");
  ck_ok(smft_step(learner, NULL));
  int64_t n_first = selected(learner, first), same = 0;
  ck_ok(smft_learner_skip(learner));
  ck_ok(smft_step(learner, NULL));
  int64_t n_second = selected(learner, second);
  for (int64_t i = 0; i < n_second; i++)
    same += holds(first, n_first, second[i].slot);
  ck_assert_int_lt(same, n_second);
  close_all(learner);
}
END_TEST

/* Values times s, what reads them divided by s: the same function, so the default rate must take
 * the same way. */
static void losses_at_scale(float s, double losses[8]) {
  open_model(5);
  for (int32_t i = 0; i < model->n_tensors; i++) {
    float *data = (float *)(uintptr_t)model->tensors[i].data,
          factor = strstr(model->names[i], ".values")              ? s
                   : strstr(model->names[i], ".memory.out.weight") ? 1 / s
                                                                   : 1;
    for (int64_t j = 0; j < smft__tensor_count(&model->tensors[i]); j++)
      data[j] *= factor;
  }
  smft_learner *learner = open_learner(0, -1, 0);
  tiny_push(learner, "fact", " one");
  for (int i = 0; i < 8; i++) {
    smft_report report = SMFT_REPORT_INIT;
    ck_ok(smft_step(learner, &report));
    losses[i] = report.loss;
  }
  close_all(learner);
}

START_TEST(default_rate_follows_the_scale_of_the_values) {
  double one[8], four[8];
  losses_at_scale(1, one);
  losses_at_scale(4, four); /* a power of two: nothing is rounded */
  for (int i = 0; i < 8; i++)
    ck_assert_double_eq_tol(one[i], four[i], 1e-6);
  ck_assert_double_lt(one[7], one[0]);
}
END_TEST

START_TEST(rates) {
  open_model(1);
  double sum = 0;
  const smft__tensor *values = &model->tensors[smft__pool_tensor(&model->config, 0)];
  for (int64_t i = 0; i < smft__tensor_count(values); i++)
    sum += (double)((const float *)values->data)[i] * (double)((const float *)values->data)[i];
  ck_assert_double_eq_tol(smft__mean_row_square(model), sum / (double)values->shape[0], 1e-9);
  ck_assert_double_eq_tol(smft__capped_lr(2, 1, 100), 1, 1e-12);   /* 0.5 * loss / |g|^2 */
  ck_assert_double_eq_tol(smft__capped_lr(2, 0.1, 10), 10, 1e-12); /* the cap */
  ck_assert_double_eq_tol(smft__capped_lr(2, 0, 10), 10, 1e-12);
  close_all(NULL);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("choice");
  TCase *cases = tcase_create("choice");
  patch = NULL;
  test_directory_make();
  tcase_add_test(cases, steps_stay_within_the_choice);
  tcase_add_test(cases, rows_per_step_choose_anew);
  tcase_add_loop_test(cases, more_common_rows_where_a_fact_is_not_learnt, 0, 2);
  tcase_add_test(cases, next_fact_gets_rows_of_its_own);
  tcase_add_test(cases, default_rate_follows_the_scale_of_the_values);
  tcase_add_test(cases, rates);
  suite_add_tcase(suite, cases);
  return suite;
}
