/* opening: steps behind what a fact's wordings begin with alike, and each up to the first token
 * that reads a row which may change, against the same steps over whole wordings; what is found,
 * when it is given up, and what other writers do to it. */
#include "test.h"
#include "failing.h"
#include "tiny.h"
#include "learn/learner.h"

#define OPENING 14
#define WORDINGS 6
#define STEPS 6
#define MANY 60

/* Beside the FFN or in its place, two pools or one; the memory of block 2 has a past to look at. */
static const tiny shapes[] = {{0, 0, 1, 2}, {0, 0, 0, 2}, {32, 0, 1, 1}};
#define N_SHAPES 3

typedef struct pupil {
  failing state;
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_learner *learner;
} pupil;

static int32_t token(int64_t i) { return (int32_t)(3 + i * 29 % (TINY_VOCAB - 3)); }

/* Counts the opening, so that what it reads is common, and other sequences. */
static smft_selector *make_selector(const smft_model *model, double max_df) {
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_background background = SMFT_BACKGROUND_INIT;
  smft_selector *selector;
  int32_t ids[8 * OPENING];
  int64_t lengths[8];
  for (int64_t s = 0; s < 8; s++) {
    lengths[s] = OPENING;
    for (int64_t i = 0; i < OPENING; i++)
      ids[s * OPENING + i] = s % 4 < 3 ? token(i) : token(1000 + 7 * s + i * (s + 2));
  }
  options.t = 12;
  options.max_df = max_df;
  options.damping_by = SMFT_DAMPING_DF;
  options.damping = 1;
  options.rule = max_df >= 1 ? SMFT_RULE_ALL : SMFT_RULE_TFIDF;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = 8;
  ck_ok(smft_selector_create(&selector, model, &options));
  ck_ok(smft_selector_count_background(selector, &background));
  return selector;
}

static void open_pupil(pupil *p, int shape, double max_df, int32_t n_threads) {
  memset(p, 0, sizeof *p);
  smft_optimizer_options steps = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  char name[32];
  snprintf(name, sizeof name, "model%d", shape);
  p->ctx = failing_ctx(&p->state, n_threads);
  p->model = tiny_model(p->ctx, name, shapes[shape], 5);
  smft_selector *selector = make_selector(p->model, max_df);
  steps.step_length = 2;
  options.loss_below = 1e-6; /* never, but there are checks */
  options.wordings_per_step = 4;
  options.max_steps = STEPS;
  options.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  ck_ok(smft_optimizer_create(&optimizer, p->ctx, &steps));
  ck_ok(smft_patch_create(&p->patch, p->model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&p->learner, p->model, p->patch, selector, optimizer, &options));
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
}

static void close_pupil(pupil *p) {
  smft_learner_free(p->learner);
  smft_patch_free(p->patch);
  smft_model_free(p->model);
  smft_ctx_free(p->ctx);
}

/* Four wordings begin with the opening, two otherwise. */
static void push(smft_learner *learner, const char *id, int64_t number) {
  int32_t ids[WORDINGS][32];
  smft_ids_wording wordings[WORDINGS];
  for (int64_t w = 0; w < WORDINGS; w++) {
    int64_t n = 0;
    for (int64_t i = 0; w < 4 && i < OPENING; i++)
      ids[w][n++] = token(i);
    for (int64_t i = 0; i < 4 + w; i++)
      ids[w][n++] = token(200 + 31 * w + 5 * i + number);
    int64_t prompt = n;
    for (int64_t i = 0; i < 3; i++)
      ids[w][n++] = token(300 + i + number);
    wordings[w] =
        (smft_ids_wording){sizeof wordings[w], 0, ids[w], prompt, ids[w] + prompt, n - prompt};
  }
  ck_ok(smft_learner_push_ids(learner, id, wordings, WORDINGS));
}

/* As if nothing were shared. */
static void take_whole(smft_learner *learner) {
  learner->opening.serial = learner->queue.first->serial;
  learner->opening.most = 0;
  learner->opening.made_of = 0;
}

/* Tokens that a pass over all n wordings of a fact does without. */
static int64_t spared(const smft_learner *learner, int64_t n_wordings) {
  int64_t n = 0;
  for (int64_t w = 0; w < n_wordings; w++)
    n += learner->opening.past[w];
  return n;
}

static void close_rows(const pupil *a, const pupil *b) {
  float left[32], right[32];
  int64_t dim = a->model->config.memory.value_dim, slots[2][1024], n[2];
  for (int32_t p = 0; p < a->model->config.n_pools; p++) {
    ck_ok(smft_patch_slots(a->patch, p, slots[0], 1024, &n[0]));
    ck_ok(smft_patch_slots(b->patch, p, slots[1], 1024, &n[1]));
    ck_assert(n[0] == n[1] && memcmp(slots[0], slots[1], (size_t)n[0] * sizeof(int64_t)) == 0);
    for (int64_t i = 0; i < n[0]; i++) {
      ck_ok(smft_patch_row(a->patch, p, slots[0][i], left, dim));
      ck_ok(smft_patch_row(b->patch, p, slots[0][i], right, dim));
      ck_assert(test_distance(left, right, dim) < 2e-4);
    }
  }
}

/* The same losses, gradients and rows, at fewer tokens. */
static void compare(const smft_report *a, const smft_report *b) {
  ck_assert_double_eq_tol(a->loss, b->loss, 2e-5 * b->loss);
  ck_assert_double_eq_tol(a->gradient_norm, b->gradient_norm, 2e-4 * b->gradient_norm);
  ck_assert_double_eq_tol(a->worst_loss, b->worst_loss, 2e-5 * b->worst_loss);
  ck_assert_int_eq(a->rows_selected, b->rows_selected);
  ck_assert_int_eq(a->fact_state, b->fact_state);
}

START_TEST(steps_behind_an_opening_are_the_same_steps) {
  pupil shares, whole;
  open_pupil(&shares, _i, 0.5, 2);
  open_pupil(&whole, _i, 0.5, 2);
  int64_t tokens[2] = {0, 0}, checks[2] = {0, 0}, n_spared = 0;
  for (int fact = 0; fact < 2; fact++) {
    push(shares.learner, "fact", fact);
    push(whole.learner, "fact", fact);
    for (int step = 0; step < STEPS; step++) {
      smft_report a = SMFT_REPORT_INIT, b = SMFT_REPORT_INIT;
      take_whole(whole.learner);
      ck_ok(smft_step(shares.learner, &a));
      ck_ok(smft_step(whole.learner, &b));
      ck_assert_int_gt(a.rows_selected, 0);
      compare(&a, &b);
      tokens[0] += a.tokens, tokens[1] += b.tokens;
      checks[0] += a.check_tokens, checks[1] += b.check_tokens;
      ck_assert_int_eq(shares.learner->opening.n_tokens, OPENING);
      ck_assert_int_gt((int64_t)shares.learner->opening.made_of, 0);
      if (step == 0)
        n_spared += spared(shares.learner, WORDINGS);
    }
    close_rows(&shares, &whole);
  }
  /* of 4 wordings a step 4/6 begin with it; each check is over all six */
  ck_assert_int_lt(tokens[0], tokens[1] * 3 / 4);
  ck_assert_int_eq(checks[1] - checks[0], n_spared);
  ck_assert_int_gt(n_spared, 2 * 4 * OPENING);
  close_pupil(&shares);
  close_pupil(&whole);
}
END_TEST

/* A draw that is below is not measured again: the check has the two others, behind the opening. */
START_TEST(a_check_spares_what_was_just_measured) {
  pupil shares, whole;
  smft_report a = SMFT_REPORT_INIT, b = SMFT_REPORT_INIT;
  open_pupil(&shares, 0, 0.5, 2);
  open_pupil(&whole, 0, 0.5, 2);
  int64_t all = 4 * OPENING + WORDINGS * (4 + 3) + 15;
  shares.learner->options.loss_below = whole.learner->options.loss_below = 1000;
  push(shares.learner, "fact", 0);
  push(whole.learner, "fact", 0);
  take_whole(whole.learner);
  ck_ok(smft_step(shares.learner, &a));
  ck_ok(smft_step(whole.learner, &b));
  int64_t n_spared = spared(shares.learner, WORDINGS);
  ck_assert(a.fact_state == SMFT_FACT_DONE && b.fact_state == SMFT_FACT_DONE);
  ck_assert(a.wordings_learnt == WORDINGS && b.wordings_learnt == WORDINGS);
  ck_assert_double_eq_tol(a.worst_loss, b.worst_loss, 2e-5 * b.worst_loss);
  ck_assert_int_eq(b.check_tokens, all);
  ck_assert_int_gt(n_spared, 4 * OPENING);
  ck_assert_int_eq(a.tokens + a.check_tokens, all - n_spared);
  close_pupil(&shares);
  close_pupil(&whole);
}
END_TEST

/* Wordings that begin with nothing in common: n of `length` tokens, the last eight alike, and three
 * that are learnt. */
static void push_apart(smft_learner *learner, int64_t n, int64_t length) {
  int32_t ids[MANY][64];
  smft_ids_wording wordings[MANY];
  for (int64_t w = 0; w < n; w++) {
    for (int64_t i = 0; i < length + 3; i++)
      ids[w][i] = (int32_t)(i < length - 8 ? 3 + (7 * w + i * (i + 3 + w)) % 50 : 70 + i - length);
    wordings[w] = (smft_ids_wording){sizeof wordings[w], 0, ids[w], length, ids[w] + length, 3};
  }
  ck_ok(smft_learner_push_ids(learner, "fact", wordings, n));
}

/* Few rows may change, and no wording runs again before the first token that reads one: not where
 * its own opening has no place any more, either. */
START_TEST(each_wording_has_an_opening_of_its_own) {
  pupil shares, whole;
  int64_t n = _i ? MANY : WORDINGS, length = _i ? 57 : 20, tokens[2] = {0, 0};
  open_pupil(&shares, 0, 0.5, 2);
  open_pupil(&whole, 0, 0.5, 2);
  shares.learner->selector->t = whole.learner->selector->t = 1;
  push_apart(shares.learner, n, length);
  push_apart(whole.learner, n, length);
  for (int step = 0; step < STEPS - 1; step++) {
    smft_report a = SMFT_REPORT_INIT, b = SMFT_REPORT_INIT;
    take_whole(whole.learner);
    ck_ok(smft_step(shares.learner, &a));
    ck_ok(smft_step(whole.learner, &b));
    compare(&a, &b);
    tokens[0] += a.tokens, tokens[1] += b.tokens;
  }
  const smft__opening *opening = &shares.learner->opening;
  ck_assert(opening->n_tokens == 0 && opening->made_of > 0 && opening->n_own > 0);
  ck_assert_int_eq(spared(shares.learner, n), opening->lead.n_tokens);
  ck_assert_int_le(opening->lead.n_tokens, 1024);
  if (_i) /* each might leave out 20 tokens and more */
    ck_assert_msg(opening->n_own < n && opening->lead.n_tokens > 1024 - 57, "%lld %lld",
                  (long long)opening->n_own, (long long)opening->lead.n_tokens);
  ck_assert_int_lt(tokens[0], tokens[1]);
  close_rows(&shares, &whole);
  close_pupil(&shares);
  close_pupil(&whole);
}
END_TEST

/* Rows that the opening reads may change: nothing is shared.  Nor where no max_df is set. */
START_TEST(where_it_may_not_be_shared) {
  pupil p;
  open_pupil(&p, 0, _i ? -1 : 1, 1);
  smft_report report = SMFT_REPORT_INIT;
  push(p.learner, "fact", 0);
  for (int step = 0; step < 2; step++)
    ck_ok(smft_step(p.learner, &report));
  ck_assert(p.learner->opening.n_tokens == 0 && p.learner->opening.made_of == 0);
  close_pupil(&p);
}
END_TEST

/* What somebody else does to the patch between two steps is seen behind the opening, too. */
START_TEST(another_writer_makes_it_anew) {
  pupil shares, whole;
  pupil *both[2] = {&shares, &whole};
  smft_report reports[2] = {SMFT_REPORT_INIT, SMFT_REPORT_INIT};
  float row[20];
  open_pupil(&shares, 0, 0.5, 1);
  open_pupil(&whole, 0, 0.5, 1);
  for (int i = 0; i < 20; i++)
    row[i] = 0.5f - (float)(i % 3);
  for (int k = 0; k < 2; k++) {
    smft_learner *learner = both[k]->learner;
    push(learner, "fact", 0);
    if (k)
      take_whole(learner);
    ck_ok(smft_step(learner, &reports[k]));
    for (int64_t slot = 0; slot < 256; slot++) /* the lowest memory's pool: all tokens see it */
      ck_ok(smft_patch_set_row(both[k]->patch, 0, slot, row, 20));
    ck_ok(smft_step(learner, &reports[k]));
  }
  ck_assert(smft__opening_holds(&shares.learner->opening, smft__patch_current(shares.patch)));
  compare(&reports[0], &reports[1]);
  close_rows(&shares, &whole);
  close_pupil(&shares);
  close_pupil(&whole);
}
END_TEST

START_TEST(what_is_found) {
  pupil p;
  open_pupil(&p, 0, 0.5, 1);
  smft__opening *opening = &p.learner->opening;
  int32_t ids[4][40];
  smft_ids_wording wordings[4];
  /* tokens with which each begins like the first; where its answer begins; how many are found */
  static const int64_t cases[][9] = {
      {20, 20, 20, 20, 25, 25, 25, 25, 20}, {20, 20, 20, 20, 25, 25, 25, 25, 20},
      {30, 18, 0, 0, 31, 31, 31, 31, 18},   {30, 30, 7, 7, 31, 31, 31, 31, 30},
      {30, 10, 10, 10, 31, 31, 31, 31, 10}, {30, 5, 5, 5, 31, 31, 31, 31, 0}, /* 15 spared */
      {30, 30, 30, 30, 9, 9, 31, 31, 30},                                     /* of the last two */
      {30, 30, 30, 30, 30, 30, 30, 30, 29},                                   /* one is left */
      {30, 0, 0, 0, 31, 31, 31, 31, 0},     {30, 30, 30, 30, 1, 1, 1, 1, 0}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    for (int64_t w = 0; w < 4; w++) {
      for (int64_t i = 0; i < 40; i++)
        ids[w][i] = i < cases[c][w] ? token(i) : token(20 + 7 * w + i);
      wordings[w] = (smft_ids_wording){sizeof wordings[w],       0, ids[w], cases[c][4 + w],
                                       ids[w] + cases[c][4 + w], 3};
    }
    ck_ok(smft_learner_push_ids(p.learner, "fact", wordings, 4));
    ck_ok(smft__opening_find(opening, p.learner->queue.first));
    ck_assert_msg(opening->n_tokens == cases[c][8], "case %d: %lld", (int)c,
                  (long long)opening->n_tokens);
    for (int64_t w = 0; w < 4; w++) /* all whose unlearnt beginning is long enough have it */
      ck_assert(opening->past[w] == 0 || opening->past[w] == opening->n_tokens);
    ck_ok(smft_learner_skip(p.learner));
  }
  close_pupil(&p);
}
END_TEST

START_TEST(threads_make_no_difference) {
  smft_report reports[2] = {SMFT_REPORT_INIT, SMFT_REPORT_INIT};
  pupil pupils[2];
  for (int k = 0; k < 2; k++) {
    open_pupil(&pupils[k], _i, 0.5, k ? 5 : 1);
    push(pupils[k].learner, "fact", 0);
    for (int step = 0; step < STEPS; step++)
      ck_ok(smft_step(pupils[k].learner, &reports[k]));
  }
  ck_assert(memcmp(&reports[0].loss, &reports[1].loss, sizeof(double)) == 0);
  ck_assert(memcmp(&reports[0].gradient_norm, &reports[1].gradient_norm, sizeof(double)) == 0);
  for (int k = 0; k < 2; k++)
    close_pupil(&pupils[k]);
}
END_TEST

/* After the first step only what a version of the patch takes. */
START_TEST(steps_allocate_nothing) {
  pupil p;
  open_pupil(&p, 0, 0.5, 2);
  push(p.learner, "fact", 0);
  p.learner->options.wordings_per_step = _i ? -1 : 4; /* chosen in the first step, or before */
  ck_ok(smft_step(p.learner, NULL));
  for (int step = 2; step < STEPS; step++) {
    smft_report report = SMFT_REPORT_INIT;
    long long before = p.state.calls;
    ck_ok(smft_step(p.learner, &report));
    ck_assert_int_le(p.state.calls - before, 2 * report.rows_selected + 3);
    ck_assert_int_gt((int64_t)p.learner->opening.made_of, 0);
  }
  close_pupil(&p);
  ck_assert_int_eq(p.state.live, 0);
}
END_TEST

/* Each allocation of a fact's first steps fails once: the step is taken all the same, later. */
START_TEST(failures_lose_nothing) {
  smft_report wanted = SMFT_REPORT_INIT;
  pupil p;
  open_pupil(&p, 0, 0.5, 1);
  push(p.learner, "fact", 0);
  for (int step = 0; step < 2; step++)
    ck_ok(smft_step(p.learner, &wanted));
  close_pupil(&p);
  for (long long k = 1;; k++) {
    smft_report report = SMFT_REPORT_INIT;
    int failed = 0;
    open_pupil(&p, 0, 0.5, 1);
    push(p.learner, "fact", 0);
    p.state.fail_at = p.state.calls + k;
    for (int step = 0; step < 2;) {
      smft_status status = smft_step(p.learner, &report);
      ck_assert(status == SMFT_OK || status == SMFT_E_NOMEM);
      failed += status != SMFT_OK;
      step += status == SMFT_OK;
    }
    ck_assert(memcmp(&report.loss, &wanted.loss, sizeof(double)) == 0);
    close_pupil(&p);
    ck_assert_int_eq(p.state.live, 0);
    if (!failed)
      break;
  }
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("opening");
  TCase *cases = tcase_create("opening");
  suite_add_tcase(suite, cases);
  tcase_add_loop_test(cases, steps_behind_an_opening_are_the_same_steps, 0, N_SHAPES);
  tcase_add_test(cases, a_check_spares_what_was_just_measured);
  tcase_add_loop_test(cases, each_wording_has_an_opening_of_its_own, 0, 2);
  tcase_add_loop_test(cases, where_it_may_not_be_shared, 0, 2);
  tcase_add_test(cases, another_writer_makes_it_anew);
  tcase_add_test(cases, what_is_found);
  tcase_add_loop_test(cases, threads_make_no_difference, 0, N_SHAPES);
  tcase_add_loop_test(cases, steps_allocate_nothing, 0, 2);
  tcase_add_test(cases, failures_lose_nothing);
  return suite;
}
