/* check: each wording's own loss against a session's, which wordings are drawn, what done means,
 * what a check costs, and why a fact is given up. */
#include "learn/learner.h"
#include "test.h"
#include "tiny.h"

#define WORDINGS 6
#define PROMPT 5
#define ANSWER 3

static smft_ctx *ctx;
static smft_model *model;
static smft_patch *patch;
static smft_learner *learner;
static int32_t tokens[WORDINGS][PROMPT + ANSWER];

/* Wordings of which each has its own answer, so that some are harder than others. */
static void push_fact(void) {
  smft_ids_wording wordings[WORDINGS];
  for (int w = 0; w < WORDINGS; w++) {
    for (int i = 0; i < PROMPT + ANSWER; i++)
      tokens[w][i] = (w * 31 + i * 17 + i * i * w) % TINY_VOCAB;
    wordings[w] =
        (smft_ids_wording){sizeof *wordings, 0, tokens[w], PROMPT, tokens[w] + PROMPT, ANSWER};
  }
  ck_ok(smft_learner_push_ids(learner, "fact", wordings, WORDINGS));
}

static void open_with(int32_t kind, smft_learner_options options) {
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "model", (tiny){0, 0, 0, 1}, 3);
  smft_selector *selector = kind == SMFT_PATCH_SLOTS ? tiny_selector(model, 0, 64) : NULL;
  rate.kind = kind == SMFT_PATCH_SLOTS ? SMFT_OPTIMIZER_SGD : SMFT_OPTIMIZER_ADAMW;
  rate.lr = kind == SMFT_PATCH_SLOTS ? 20 : 0.01;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &rate));
  ck_ok(smft_patch_create(&patch, model, kind));
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, &options));
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  if (learner->selector)
    learner->selector->damping = -1; /* background has read nearly every slot */
  push_fact();
}

static void close_all(void) {
  smft_learner_free(learner);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* The oracle: a session's loss on wording w's answer. */
static double session_loss(int w) {
  smft_session *session;
  float nll[PROMPT + ANSWER];
  double sum = 0;
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_session_nll(session, tokens[w], PROMPT + ANSWER, nll, NULL));
  smft_session_free(session);
  for (int i = 0; i < ANSWER; i++)
    sum += (double)nll[PROMPT - 1 + i];
  return sum / ANSWER;
}

static int n_above(double below) {
  int n = 0;
  for (int w = 0; w < WORDINGS; w++)
    n += session_loss(w) >= below;
  return n;
}

static smft_learner_options two_at_a_time(double below, int32_t max_steps, uint32_t flags) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  options.flags = flags;
  options.loss_below = below;
  options.max_steps = max_steps;
  options.wordings_per_step = 2;
  options.seed = 5;
  return options;
}

/* ---- losses -------------------------------------------------------------- */

static const int32_t kinds[] = {SMFT_PATCH_SLOTS, SMFT_PATCH_FULL, SMFT_PATCH_LORA};

START_TEST(losses_are_a_sessions) {
  smft_report report = SMFT_REPORT_INIT, ignored = SMFT_REPORT_INIT;
  double worst = 0, mean = 0;
  int passed = -1;
  open_with(kinds[_i], two_at_a_time(1e-6, 100, 0));
  for (int step = 0; step < 3; step++)
    ck_ok(smft_step(learner, &report));
  ck_assert_int_eq(report.check_tokens, 0);
  const smft__fact *fact = learner->queue.first;
  ck_ok(smft__check_all(learner, fact, &report, &passed));
  for (int w = 0; w < WORDINGS; w++) {
    double wanted = session_loss(w);
    ck_assert_double_eq_tol(learner->check.losses[w], wanted, 1e-4 * wanted);
    worst = fmax(worst, wanted);
    mean += wanted / WORDINGS;
  }
  smft__check_report(&learner->check, fact, mean, &ignored);
  ck_assert_double_eq_tol(ignored.worst_loss, worst, 1e-4 * worst);
  ck_assert_int_eq(ignored.wordings, WORDINGS);
  ck_assert_int_eq(ignored.wordings_learnt, WORDINGS - n_above(mean));
  ck_assert(passed == 0 && learner->check.failed_at == 3 && report.check_seconds > 0);
  ck_assert_int_eq(report.check_tokens, WORDINGS * (PROMPT + ANSWER));
  close_all();
}
END_TEST

/* Weights count, sequences with nothing to learn do not, and the mean of all is what it was. */
START_TEST(weights_are_respected) {
  const int32_t ids[] = {5, 9, 31, 44, 7, 8, 12, 40, 41, 42, 60};
  const int64_t offsets[] = {0, 4, 6, 11};
  const float weights[] = {9, 1, 0, 0.25f, 0, 0, 3, 0.5f, 0, 0.5f, 2};
  const smft__sequences batch = {ids, offsets, 3, 11, weights};
  smft_session *session;
  double losses[3], wanted[3] = {0}, sums[3] = {0}, loss, all = 0, sum = 0;
  open_with(SMFT_PATCH_SLOTS, two_at_a_time(0, 0, 0));
  ck_ok(smft__network_forward(learner->tape, NULL, &batch, SMFT__KEEP_NOTHING, &loss, NULL));
  smft__network_losses(learner->tape, losses);
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  for (int s = 0; s < 3; s++) {
    float nll[8];
    ck_ok(smft_session_nll(session, ids + offsets[s], offsets[s + 1] - offsets[s], nll, NULL));
    for (int64_t i = offsets[s] + 1; i < offsets[s + 1]; i++) {
      wanted[s] += (double)weights[i] * (double)nll[i - 1 - offsets[s]];
      sums[s] += (double)weights[i];
    }
    all += wanted[s];
    sum += sums[s];
    double mean = sums[s] > 0 ? wanted[s] / sums[s] : 0;
    ck_assert_double_eq_tol(losses[s], mean, 1e-4);
  }
  ck_assert_double_eq_tol(loss, all / sum, 1e-4);
  smft_session_free(session);
  close_all();
}
END_TEST

/* ---- drawing ------------------------------------------------------------- */

/* Of 8 wordings `above` are not learnt (a bit each): what is drawn are these, or some of them, and
 * every one of them sooner or later; others only where there are fewer. */
static void draw(int above, int64_t n) {
  double losses[8];
  int n_high = 0, times[8] = {0};
  smft_ids_wording wordings[8];
  int32_t ids[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (int w = 0; w < 8; w++) {
    wordings[w] = (smft_ids_wording){sizeof *wordings, 0, ids, 2, ids + w, 1};
    losses[w] = above >> w & 1 ? (w == 3 ? NAN : 0.5) : 0.1;
    n_high += above >> w & 1;
  }
  smft__fact *fact;
  ck_ok(smft__fact_from_ids(&fact, model, "fact", wordings, 8, 0));
  for (uint64_t seed = 0; seed < 64; seed++) {
    smft__sequences batch;
    int drawn_high = 0, seen[8] = {0};
    ck_ok(smft__batch_draw(&learner->batch, fact, n, seed, losses, 0.5, NULL, &batch));
    for (int64_t s = 0; s < n; s++) {
      int64_t w = learner->batch.order[s];
      ck_assert_int_eq(seen[w]++, 0);
      ck_assert_int_eq(learner->batch.begins[s], 3 * w);
      drawn_high += above >> w & 1;
      times[w]++;
    }
    ck_assert_int_eq(drawn_high, n_high < n ? n_high : n);
  }
  for (int w = 0; w < 8; w++)
    ck_assert_int_eq(times[w] > 0, above >> w & 1 || n > n_high);
  smft__fact_free(fact, ctx);
}

START_TEST(what_is_not_learnt_is_drawn_first) {
  open_with(SMFT_PATCH_SLOTS, two_at_a_time(0, 0, 0));
  for (int64_t n = 1; n < 8; n++) {
    draw(0x00, n);
    draw(0x08, n);
    draw(0xa4, n);
    draw(0xff, n);
  }
  close_all();
}
END_TEST

/* ---- done ---------------------------------------------------------------- */

/* of full patches, and of slots: values alone cannot do much in a network of random weights */
static const double thresholds[] = {0.5, 4.4};
#define BELOW thresholds[_i]

typedef struct course { /* of a fact to its end */
  smft_report last;
  int steps, checked, failed; /* calls; those that checked, and went on after it */
  int alone;                  /* updates on the one wording that was above */
} course;

/* On slots patches, after a check that failed, a draw has no more wordings than are above. */
static course teach(void) {
  course c = {.last = SMFT_REPORT_INIT};
  do {
    int64_t before = c.last.step;
    ck_ok(smft_step(learner, &c.last));
    c.steps++;
    c.checked += c.last.check_tokens > 0;
    if (c.last.fact_state == SMFT_FACT_LEARNING) {
      c.failed += c.last.check_tokens > 0;
      ck_assert(c.last.rows_selected > 0 && c.last.step == before + 1);
      int alone = c.failed > 0 && smft_patch_kind(patch) == SMFT_PATCH_SLOTS &&
                  c.last.tokens == PROMPT + ANSWER;
      c.alone += alone;
      ck_assert_int_eq(c.last.tokens, (2 - alone) * (PROMPT + ANSWER)); /* of the update alone */
      ck_assert_int_eq(c.last.tokens_supervised, (2 - alone) * ANSWER);
      ck_assert_int_eq(c.last.reason, SMFT_REASON_NONE);
    }
  } while (c.last.fact_state == SMFT_FACT_LEARNING);
  return c;
}

/* By the rule of before a sample's mean decides, and others are not learnt. */
START_TEST(done_means_that_each_wording_is_learnt) {
  open_with(_i ? SMFT_PATCH_SLOTS : SMFT_PATCH_FULL,
            two_at_a_time(BELOW, 1000, SMFT_LEARNER_SAMPLE_DECIDES));
  course before = teach();
  ck_assert_int_eq(before.last.fact_state, SMFT_FACT_DONE);
  ck_assert(before.checked == 0 && before.last.loss < BELOW);
  ck_assert_int_gt(n_above(BELOW), 0);
  close_all();
  open_with(_i ? SMFT_PATCH_SLOTS : SMFT_PATCH_FULL, two_at_a_time(BELOW, 1000, 0));
  course now = teach();
  ck_assert_int_eq(now.last.fact_state, SMFT_FACT_DONE);
  ck_assert_int_eq(n_above(BELOW), 0);
  ck_assert(now.failed > 0 && now.steps > before.steps && (now.alone > 0) == (_i > 0));
  ck_assert(now.last.wordings_learnt == WORDINGS && now.last.wordings == WORDINGS &&
            now.last.worst_loss < BELOW && now.last.worst_loss > 0 && now.last.pending == 0);
  ck_assert_int_eq(now.last.check_tokens, WORDINGS * (PROMPT + ANSWER));
  ck_assert(now.last.rows_selected == 0 && now.last.reason == SMFT_REASON_NONE);
  close_all();
}
END_TEST

/* The last update may have done it: with as many steps as it takes, and no more, it is done. */
START_TEST(the_last_update_is_checked) {
  open_with(_i ? SMFT_PATCH_SLOTS : SMFT_PATCH_FULL, two_at_a_time(BELOW, 1000, 0));
  int32_t needed = (int32_t)teach().last.step;
  close_all();
  open_with(_i ? SMFT_PATCH_SLOTS : SMFT_PATCH_FULL, two_at_a_time(BELOW, needed, 0));
  course enough = teach();
  ck_assert(enough.last.fact_state == SMFT_FACT_DONE && enough.last.rows_selected > 0);
  ck_assert(enough.last.step == needed && enough.last.wordings_learnt == WORDINGS);
  close_all();
  open_with(_i ? SMFT_PATCH_SLOTS : SMFT_PATCH_FULL,
            two_at_a_time(BELOW, needed - 1, SMFT_LEARNER_KEEP_GIVEN_UP));
  course fewer = teach();
  ck_assert(fewer.last.fact_state == SMFT_FACT_GAVE_UP && fewer.last.reason == SMFT_REASON_STEPS &&
            fewer.last.check_tokens > 0);
  ck_assert(fewer.last.wordings_learnt < WORDINGS && fewer.last.worst_loss >= BELOW);
  ck_assert_int_eq(fewer.last.wordings_learnt, WORDINGS - n_above(BELOW));
  close_all();
}
END_TEST

/* Where a negative threshold, or the rule of before, leaves nothing to ask. */
START_TEST(without_a_threshold_nothing_is_checked) {
  open_with(SMFT_PATCH_SLOTS,
            two_at_a_time(_i ? 1e-6 : -1, 4, _i ? SMFT_LEARNER_SAMPLE_DECIDES : 0));
  course c = teach();
  ck_assert(c.steps == 4 && c.checked == 0 && c.last.reason == SMFT_REASON_STEPS);
  ck_assert(c.last.worst_loss > 0 && c.last.wordings_learnt == 0);
  close_all();
}
END_TEST

/* A sample that is below while others are known to be above asks for no check, and a wording that a
 * check found above gets its update even if the sample's own pass rounds it to the other side. */
START_TEST(known_wordings_cost_no_check) {
  smft_report report = SMFT_REPORT_INIT;
  open_with(SMFT_PATCH_SLOTS, two_at_a_time(1000, 100, 0)); /* everything is below */
  smft__check *check = &learner->check;
  ck_ok(smft__check_begin(check, learner->queue.first));
  for (int w = 0; w < WORDINGS; w++)
    check->losses[w] = w < 3 ? 2000 : 1; /* as an earlier check had found them */
  check->failed_at = 0;
  learner->queue.first->steps = 1;
  ck_ok(smft_step(learner, &report)); /* two draws of those three, then the pass over all */
  ck_assert_int_eq(report.fact_state, SMFT_FACT_DONE);
  ck_assert_int_eq(report.check_tokens, (2 + WORDINGS) * (PROMPT + ANSWER));
  close_all();
  open_with(SMFT_PATCH_SLOTS, two_at_a_time(1000, 100, 0));
  ck_ok(smft__check_begin(&learner->check, learner->queue.first));
  learner->check.failed_at = 0;
  ck_ok(smft_step(learner, &report));
  ck_assert(report.fact_state == SMFT_FACT_LEARNING && report.rows_selected > 0);
  close_all();
}
END_TEST

/* ---- reasons ------------------------------------------------------------- */

/* A spared wording, known to be above, is not waited for: nothing but the pass over all is run, and
 * it decides. */
START_TEST(a_spared_wording_is_not_waited_for) {
  smft_report report = SMFT_REPORT_INIT;
  open_with(SMFT_PATCH_SLOTS, two_at_a_time(1000, 100, 0)); /* everything is below */
  smft__fact *fact = learner->queue.first;
  fact->n_spared = _i < 2 ? 1 : 0;
  ck_ok(smft__check_begin(&learner->check, fact));
  for (int w = 0; w < WORDINGS; w++) /* the last, the second, or without a spared one */
    learner->check.losses[w] = w == (_i == 1 ? 1 : WORDINGS - 1) ? 2000 : 1;
  ck_assert_int_eq(smft__check_enough(&learner->check, fact, 1000), _i == 0);
  learner->check.failed_at = 0;
  fact->steps = 1;
  ck_ok(smft_step(learner, &report)); /* else it is drawn, found below, and then all are */
  ck_assert_int_eq(report.fact_state, SMFT_FACT_DONE);
  ck_assert_int_eq(report.tokens, (_i ? 1 : 0) * (PROMPT + ANSWER));
  ck_assert_int_eq(report.check_tokens, WORDINGS * (PROMPT + ANSWER));
  ck_assert(report.loss > 0 && report.loss < 1000);
  close_all();
}
END_TEST

START_TEST(time_is_used_up) {
  smft_learner_options options = two_at_a_time(_i ? -1 : 1e-6, 1000, 0);
  smft_report report = SMFT_REPORT_INIT;
  options.max_seconds = 1e-9;
  open_with(SMFT_PATCH_SLOTS, options);
  ck_ok(smft_step(learner, &report));
  ck_assert(report.fact_state == SMFT_FACT_GAVE_UP && report.reason == SMFT_REASON_TIME);
  ck_assert(report.step == 1 && report.rows_selected > 0 && report.pending == 0);
  ck_assert_int_eq(report.check_tokens > 0, _i == 0);
  close_all();
  options.max_seconds = 1000;
  open_with(SMFT_PATCH_SLOTS, options);
  ck_ok(smft_step(learner, &report));
  ck_assert_int_eq(report.fact_state, SMFT_FACT_LEARNING);
  close_all();
}
END_TEST

/* No background at all, a rule that needs none, and rows of which none is read. */
START_TEST(no_rows_have_a_reason) {
  smft_report report = SMFT_REPORT_INIT;
  open_with(SMFT_PATCH_SLOTS, two_at_a_time(0, 0, 0));
  learner->selector->stats.n_batches = _i == 0 ? 0 : learner->selector->stats.n_batches;
  memset(learner->selector->stats.df, 0x7f, (size_t)smft__n_slots(model) * sizeof(uint32_t));
  if (_i == 0)
    memset(learner->selector->stats.df, 0, (size_t)smft__n_slots(model) * sizeof(uint32_t));
  ck_ok(smft_step(learner, &report));
  ck_assert(report.fact_state == SMFT_FACT_GAVE_UP && report.rows_selected == 0);
  ck_assert_int_eq(report.reason, _i == 0 ? SMFT_REASON_NO_COUNTS : SMFT_REASON_NO_ROWS);
  ck_assert(report.step == 0 && report.check_tokens == 0 && report.wordings == WORDINGS);
  close_all();
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("check");
  TCase *cases = tcase_create("check");
  tcase_set_timeout(cases, 60);
  tcase_add_loop_test(cases, losses_are_a_sessions, 0, 3);
  tcase_add_test(cases, weights_are_respected);
  tcase_add_test(cases, what_is_not_learnt_is_drawn_first);
  tcase_add_loop_test(cases, done_means_that_each_wording_is_learnt, 0, 2);
  tcase_add_loop_test(cases, the_last_update_is_checked, 0, 2);
  tcase_add_loop_test(cases, without_a_threshold_nothing_is_checked, 0, 2);
  tcase_add_test(cases, known_wordings_cost_no_check);
  tcase_add_loop_test(cases, a_spared_wording_is_not_waited_for, 0, 3);
  tcase_add_loop_test(cases, time_is_used_up, 0, 2);
  tcase_add_loop_test(cases, no_rows_have_a_reason, 0, 2);
  suite_add_tcase(suite, cases);
  return suite;
}
