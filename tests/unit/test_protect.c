/* protect: damping against its formula, and that what a learner has taught counts as background for
 * what follows. */
#include "learn/learner.h"
#include "test.h"
#include "tiny.h"

static smft_ctx *ctx;
static smft_model *model; /* two memory layers on one pool of 256 slots */
static smft_patch *patch;
static smft_learner *learner;

static void open_learner(double damping, int32_t flags, int background) {
  smft_selector_options selector_options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector *selector = NULL;
  int32_t ids[] = {0, 5, 9, 31, 44, 7, 0, 8, 12, 40, 41, 42, 60};
  int64_t lengths[] = {6, 7};
  smft_background counted = SMFT_BACKGROUND_INIT;
  selector_options.rule = SMFT_RULE_ALL;
  selector_options.damping = damping;
  options.flags = (uint32_t)flags;
  options.loss_below = 1000; /* done before the first step, unless a test takes one */
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "model", (tiny){0, 1, 0, 2}, 3);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_selector_create(&selector, model, &selector_options));
  counted.ids = ids;
  counted.lengths = lengths;
  counted.n_sequences = 2;
  if (background)
    ck_ok(smft_selector_count_background(selector, &counted));
  ck_ok(smft_learner_create(&learner, model, patch, selector, NULL, &options));
  smft_selector_free(selector);
}

/* The sums become those of the patch, as in a step. */
static void follow(void) {
  ck_ok(smft__protect_follow(&learner->protect, smft__patch_current(patch)->taught));
}

/* As if the fact in hand had changed a row. */
static void pretend_a_step(void) {
  learner->queue.first->steps = 1;
  learner->undo.fact = learner->queue.first->serial;
  learner->undo.updates = 1;
  ck_ok(smft__rows_reserve(&learner->undo.touched[0], 1));
  smft__rows_add(&learner->undo.touched[0], 7);
}

static void close_all(void) {
  smft_learner_free(learner);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

START_TEST(damping_follows_its_formula) {
  double damping = (double[]){0, 0.5, -1, 2}[_i], used = damping == 0 ? 0.0003 : damping;
  open_learner(damping, 0, 1);
  const smft_selector *selector = learner->selector;
  for (int64_t slot = 0; slot < 256; slot++) {
    double use = (double)selector->stats.square[slot] / selector->mean_square / 2; /* sequences */
    double wanted = damping < 0 ? 1 : 1 / (1 + use / used);
    ck_assert_double_eq_tol(smft__protect_damping(&learner->protect, learner->selector, 0, slot),
                            wanted, 1e-12);
  }
  close_all();
}
END_TEST

/* By df instead: a learnt wording's read of the mean squared weight counts as a sequence. */
START_TEST(damping_by_df_follows_its_formula) {
  double damping = 0.5, learnt = 3;
  open_learner(damping, 0, 1);
  smft_selector *selector = learner->selector;
  smft__rows *square = &learner->protect.square[0];
  selector->damping_by = SMFT_DAMPING_DF;
  ck_assert(smft__selector_damps(selector));
  ck_ok(smft__rows_reserve(square, 1));
  *smft__rows_at(square, smft__rows_add(square, 7)) = (float)(learnt * selector->mean_square);
  learner->protect.n_wordings = 100; /* of no account here */
  int64_t read = 0;
  for (int64_t slot = 0; slot < 256; slot++) {
    double df = (double)selector->stats.df[slot] + (slot == 7 ? learnt : 0);
    ck_assert_double_eq_tol(smft__protect_damping(&learner->protect, selector, 0, slot),
                            1 / (1 + df / (damping * 2)), 1e-7);
    read += df > 0;
  }
  ck_assert(read > 20 && read < 256);
  selector->damping = -1;
  ck_assert(!smft__selector_damps(selector));
  close_all();
}
END_TEST

START_TEST(without_background_nothing_is_damped) {
  open_learner(0.5, 0, 0);
  tiny_push(learner, "first", " one");
  pretend_a_step();
  ck_ok(smft_step(learner, NULL));
  ck_assert_int_eq(smft_learner_pending(learner), 0);
  follow();
  ck_assert_int_eq(learner->protect.n_wordings, 0);
  for (int by = SMFT_DAMPING_SQUARES; by <= SMFT_DAMPING_DF; by++) {
    learner->selector->damping_by = by;
    ck_assert(!smft__selector_damps(learner->selector));
    for (int64_t slot = 0; slot < 256; slot++)
      ck_assert(smft__protect_damping(&learner->protect, learner->selector, 0, slot) == 1);
  }
  close_all();
}
END_TEST

/* The oracle: each wording alone through the counting of background.  A wording is worth ten
 * background sequences. */
START_TEST(learnt_facts_count_as_background) {
  smft_selector *oracle = NULL;
  smft_background counted = SMFT_BACKGROUND_INIT;
  int64_t lengths[3];
  open_learner(0.5, 0, 1);
  tiny_push(learner, "first", " one");
  const smft__fact *fact = learner->queue.first;
  for (int64_t w = 0; w < 3; w++)
    lengths[w] = fact->offsets[w + 1] - fact->offsets[w];
  counted.ids = fact->ids.data;
  counted.lengths = lengths;
  counted.n_sequences = 3;
  ck_ok(smft_selector_create(&oracle, model, NULL));
  ck_ok(smft_selector_count_background(oracle, &counted));
  const float *before = learner->selector->stats.square, *after = oracle->stats.square;
  for (int64_t times = 1; times <= 2; times++) {
    ck_ok(smft__forward_all_wordings(&learner->kept, learner->tape, patch, fact, NULL, NULL));
    smft__taught_fact *record = NULL;
    ck_ok(smft__protect_record(&record, &learner->protect, fact, SMFT_FACT_DONE,
                               learner->undo.touched, learner->tape));
    ck_ok(smft__patch_add_fact(patch, record));
    smft__taught_fact_release(record);
    follow();
    ck_assert_int_eq(learner->protect.n_wordings, 3 * times);
    for (int64_t slot = 0; slot < 256; slot++) {
      double square = (double)before[slot] + 10 * (double)times * (double)after[slot];
      double use = square / learner->selector->mean_square / (double)(2 + 10 * 3 * times);
      ck_assert_double_eq_tol(smft__protect_damping(&learner->protect, learner->selector, 0, slot),
                              1 / (1 + use / 0.5), 1e-6);
    }
  }
  smft_selector_free(oracle);
  close_all();
}
END_TEST

/* Facts that took a step and are done are protected, unless the host does not want it; those that
 * were known already are not. */
START_TEST(which_facts_are_protected) {
  int wanted = _i == 0;
  open_learner(0.5, _i == 1 ? SMFT_LEARNER_NO_PROTECT : 0, 1);
  smft_report report = SMFT_REPORT_INIT;
  tiny_push(learner, "first", " one");
  if (_i < 2)
    pretend_a_step();
  ck_ok(smft_step(learner, &report));
  ck_assert_int_eq(report.fact_state, SMFT_FACT_DONE);
  follow();
  ck_assert_int_eq(learner->protect.n_wordings, wanted ? 3 : 0);
  close_all();
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("protect");
  TCase *cases = tcase_create("protect");
  suite_add_tcase(suite, cases);
  tcase_add_loop_test(cases, damping_follows_its_formula, 0, 4);
  tcase_add_test(cases, damping_by_df_follows_its_formula);
  tcase_add_test(cases, without_background_nothing_is_damped);
  tcase_add_test(cases, learnt_facts_count_as_background);
  tcase_add_loop_test(cases, which_facts_are_protected, 0, 3);
  return suite;
}
