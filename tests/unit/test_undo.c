/* undo: what is taken back while others change the patch and the optimizer, what the host is asked
 * and may do meanwhile, failures that are put off, and runs that go on.  (That it is bit for bit,
 * whatever the optimizer and the reason: fault/test_learn_exact.) */
#include "learn/learner.h"
#include "failing.h"
#include "test.h"
#include "tiny.h"

typedef struct world {
  failing state;
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_optimizer *optimizer;
  smft_learner *learner;
} world;

static void open_with(world *w, int32_t kind, smft_learner_options options) {
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  memset(w, 0, sizeof *w);
  w->ctx = failing_ctx(&w->state, 1);
  w->model = tiny_model(w->ctx, "model", (tiny){0, 0, 0, 1}, 3);
  smft_selector *selector = kind == SMFT_PATCH_SLOTS ? tiny_selector(w->model, 0, 16) : NULL;
  rate.kind = SMFT_OPTIMIZER_ADAMW;
  rate.flags = SMFT_OPTIMIZER_KEEP_STATE;
  rate.lr = 0.01;
  ck_ok(smft_patch_create(&w->patch, w->model, kind));
  ck_ok(smft_optimizer_create(&w->optimizer, w->ctx, &rate));
  ck_ok(smft_learner_create(&w->learner, w->model, w->patch, selector, w->optimizer, &options));
  smft_selector_free(selector);
  tiny_push(w->learner, "first", "one");
  tiny_push(w->learner, "second", "two");
}

static void close_world(world *w) {
  smft_learner_free(w->learner);
  smft_optimizer_free(w->optimizer);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
  ck_assert_int_eq(w->state.live, 0);
}

static smft_learner_options never_done(int32_t max_steps) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  options.loss_below = -1;
  options.max_steps = max_steps;
  return options;
}

static int64_t n_rows(const world *w) {
  int64_t n = -1;
  ck_ok(smft_patch_slots(w->patch, 0, NULL, 0, &n));
  return n;
}

/* ---- what others do meanwhile -------------------------------------------- */

START_TEST(what_others_changed_stays) {
  world w;
  float mine[20], row[20];
  smft_selected selected[16];
  int64_t n = 0, other = 0;
  open_with(&w, SMFT_PATCH_SLOTS, never_done(100));
  for (int i = 0; i < 20; i++)
    mine[i] = (float)i + 1;
  ck_ok(smft_step(w.learner, NULL));
  ck_ok(smft_learner_selected(w.learner, selected, 16, &n));
  ck_assert_int_eq(n, 16);
  while (smft__snapshot_find(smft__patch_current(w.patch)->pools[0], other))
    other++;
  ck_ok(smft_patch_set_row(w.patch, 0, other, mine, 20));
  ck_ok(smft_patch_set_row(w.patch, 0, selected[0].slot, mine, 20)); /* the fact's own */
  uint64_t version = smft_patch_version(w.patch);
  smft_patch *copy;
  ck_ok(smft_patch_copy(&copy, w.patch));
  ck_ok(smft_learner_skip(w.learner));
  ck_assert(smft_patch_version(w.patch) > version);
  ck_assert_int_eq(n_rows(&w), 1);
  ck_ok(smft_patch_row(w.patch, 0, other, row, 20));
  ck_assert_mem_eq(row, mine, sizeof row);
  ck_ok(smft_patch_slots(copy, 0, NULL, 0, &n)); /* who holds another version keeps it */
  ck_assert_int_eq(n, 17);
  smft_patch_free(copy);
  close_world(&w);
}
END_TEST

/* A row that was there before the fact comes back, unless somebody took it out meanwhile. */
START_TEST(what_others_took_out_stays_out) {
  world w;
  float row[2][20];
  smft_selected selected[16];
  int64_t n = 0;
  smft_learner_options options = never_done(100);
  options.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  open_with(&w, SMFT_PATCH_SLOTS, options);
  tiny_push_about(w.learner, "again", "first", "one"); /* once more, last */
  ck_ok(smft_step(w.learner, NULL));
  ck_ok(smft_learner_selected(w.learner, selected, 16, &n));
  ck_ok(smft_patch_row(w.patch, 0, selected[0].slot, row[0], 20));
  ck_ok(smft_learner_skip(w.learner));
  ck_ok(smft_learner_skip(w.learner));
  ck_assert_int_eq(n_rows(&w), n);
  w.learner->options.flags = 0;
  ck_ok(smft_step(w.learner, NULL));
  ck_ok(smft_patch_row(w.patch, 0, selected[0].slot, row[1], 20));
  ck_assert(memcmp(row[0], row[1], sizeof row[0]) != 0);
  if (_i)
    ck_ok(smft_patch_clear(w.patch));
  ck_ok(smft_learner_skip(w.learner));
  ck_assert_int_eq(n_rows(&w), _i ? 0 : n);
  ck_ok(smft_patch_row(w.patch, 0, selected[0].slot, row[1], 20));
  ck_assert_int_eq(memcmp(row[0], row[1], sizeof row[0]) == 0, !_i);
  close_world(&w);
}
END_TEST

/* An optimizer that the host reset is not filled with what it forgot. */
START_TEST(a_reset_optimizer_stays_so) {
  world w;
  open_with(&w, SMFT_PATCH_SLOTS, never_done(100));
  ck_ok(smft_step(w.learner, NULL));
  ck_ok(smft_optimizer_reset(w.optimizer));
  if (_i)
    ck_ok(smft_step(w.learner, NULL));
  int64_t steps = w.optimizer->steps;
  ck_ok(smft_learner_skip(w.learner));
  ck_assert_int_eq(n_rows(&w), 0);
  ck_assert_int_eq(w.optimizer->steps, steps);
  close_world(&w);
}
END_TEST

/* Another writer has the patch: the fact stays in hand, the update that was made stands, and the
 * next call takes it back. */
START_TEST(a_failure_is_put_off) {
  world w;
  smft_report report = SMFT_REPORT_INIT;
  open_with(&w, SMFT_PATCH_SLOTS, never_done(1));
  ck_ok(smft__patch_begin_write(w.patch));
  ck_status(smft_learner_skip(w.learner), SMFT_OK); /* nothing to take back, so no claim */
  smft__patch_end_write(w.patch, NULL);
  long long k = 1;
  for (int put_off = 0; !put_off; k++) { /* the first failure that comes after the update */
    w.state.fail_at = w.state.calls + k;
    smft_status status = smft_step(w.learner, &report);
    w.state.fail_at = 0;
    ck_assert(status == SMFT_OK || status == SMFT_E_NOMEM);
    put_off = status == SMFT_OK;
  }
  ck_assert(report.fact_state == SMFT_FACT_LEARNING && report.rows_selected == 16 &&
            report.reason == SMFT_REASON_NONE && report.pending == 1 && n_rows(&w) == 16);
  ck_ok(smft__patch_begin_write(w.patch));
  ck_status(smft_step(w.learner, &report), SMFT_E_STATE);
  ck_status(smft_learner_skip(w.learner), SMFT_E_STATE);
  smft__patch_end_write(w.patch, NULL);
  ck_assert(smft_learner_pending(w.learner) == 1 && n_rows(&w) == 16);
  ck_ok(smft_step(w.learner, &report));
  ck_assert(report.fact_state == SMFT_FACT_GAVE_UP && report.reason == SMFT_REASON_STEPS &&
            report.rolled_back == 1 && report.rows_selected == 0 && report.step == 1);
  ck_assert_int_eq(n_rows(&w), 0);
  close_world(&w);
}
END_TEST

/* ---- the host is asked --------------------------------------------------- */

typedef struct host {
  world *w;
  int calls;
  int32_t veto;
  int64_t rows;
  smft_report last;
  char id[16];
} host;

static int32_t ask(void *user, const smft_report *report) {
  host *h = user;
  smft_session *session;
  const int32_t id = 5;
  h->calls++;
  h->last = *report;
  h->rows = n_rows(h->w);
  snprintf(h->id, sizeof h->id, "%s", report->fact_id);
  ck_ok(smft_session_create(&session, h->w->model, h->w->patch, NULL)); /* it may be asked */
  ck_ok(smft_session_feed(session, &id, 1, SMFT_LOGITS_NONE, NULL, 0));
  ck_assert_uint_eq(smft_session_version(session), smft_patch_version(h->w->patch));
  smft_session_free(session);
  ck_status(smft_step(h->w->learner, NULL), SMFT_E_STATE);
  ck_status(smft_learner_skip(h->w->learner), SMFT_E_STATE);
  ck_status(smft_learner_run(h->w->learner, NULL, NULL, NULL), SMFT_E_STATE);
  smft_batch batch = SMFT_BATCH_INIT;
  ck_status(smft_learner_set_patch(h->w->learner, h->w->patch), SMFT_E_STATE);
  ck_status(smft_learner_step_batch(h->w->learner, &batch, NULL), SMFT_E_STATE);
  return h->veto;
}

START_TEST(the_host_may_veto) {
  world w;
  host h = {.w = &w, .veto = _i};
  smft_learner_options options = never_done(100);
  smft_report report = SMFT_REPORT_INIT;
  options.on_fact = ask;
  options.on_fact_user = &h;
  open_with(&w, SMFT_PATCH_SLOTS, options);
  w.learner->selector->damping = 0.5; /* so that what is learnt would be protected */
  ck_ok(smft_step(w.learner, &report));
  ck_assert_int_eq(h.calls, 0);
  w.learner->options.loss_below = 1000;
  ck_ok(smft_step(w.learner, &report));
  ck_assert(h.calls == 1 && h.last.fact_state == SMFT_FACT_DONE && h.last.pending == 1 &&
            h.last.wordings_learnt == 3 && h.last.step == 1 && h.rows == 16);
  ck_assert_str_eq(h.id, "first");
  ck_assert_int_eq(report.fact_state, _i ? SMFT_FACT_GAVE_UP : SMFT_FACT_DONE);
  ck_assert_int_eq(report.reason, _i ? SMFT_REASON_VETOED : SMFT_REASON_NONE);
  ck_assert_int_eq(report.rolled_back, _i);
  ck_assert_int_eq(n_rows(&w), _i ? 0 : 16);
  ck_assert_int_eq(smft_learner_pending(w.learner), 1);
  ck_ok(smft_learner_skip(w.learner));
  ck_assert(h.calls == 2 && h.last.reason == SMFT_REASON_SKIPPED &&
            h.last.fact_state == SMFT_FACT_GAVE_UP && h.last.pending == 0 && h.last.wordings == 3);
  close_world(&w);
}
END_TEST

/* ---- runs ---------------------------------------------------------------- */

START_TEST(a_run_counts_what_it_took_back) {
  world w;
  smft_run_report report = SMFT_RUN_REPORT_INIT;
  smft_learner_options options = never_done(2);
  options.flags = _i ? SMFT_LEARNER_KEEP_GIVEN_UP : 0;
  open_with(&w, SMFT_PATCH_SLOTS, options);
  ck_ok(smft_learner_run(w.learner, NULL, NULL, &report));
  ck_assert(report.facts_gave_up == 2 && report.steps == 4);
  ck_assert_int_eq(report.facts_rolled_back, _i ? 0 : 2);
  ck_assert_int_eq(report.rows_changed > 0, _i);
  close_world(&w);
}
END_TEST

/* Facts that are not finite are given up, and the next one's turn comes; on a full patch, too. */
START_TEST(a_run_goes_on_after_what_is_not_finite) {
  world w;
  smft_run_report report = SMFT_RUN_REPORT_INIT;
  open_with(&w, _i ? SMFT_PATCH_FULL : SMFT_PATCH_SLOTS, never_done(5));
  ck_ok(smft_step(w.learner, NULL));
  ck_ok(smft_optimizer_set_lr(w.optimizer, 1e300, 0));
  ck_ok(smft_learner_run(w.learner, NULL, NULL, &report));
  ck_assert(report.facts_gave_up == 2 && report.steps == 0 && report.facts_done == 0);
  ck_assert_int_eq(report.facts_rolled_back, !_i); /* the other took no step */
  ck_assert_int_eq(smft_learner_pending(w.learner), 0);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("undo");
  TCase *cases = tcase_create("undo");
  tcase_add_test(cases, what_others_changed_stays);
  tcase_add_loop_test(cases, what_others_took_out_stays_out, 0, 2);
  tcase_add_loop_test(cases, a_reset_optimizer_stays_so, 0, 2);
  tcase_add_test(cases, a_failure_is_put_off);
  tcase_add_loop_test(cases, the_host_may_veto, 0, 2);
  tcase_add_loop_test(cases, a_run_counts_what_it_took_back, 0, 2);
  tcase_add_loop_test(cases, a_run_goes_on_after_what_is_not_finite, 0, 2);
  suite_add_tcase(suite, cases);
  return suite;
}
