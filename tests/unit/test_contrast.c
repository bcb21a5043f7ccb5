/* contrast: what questions about others read (each of them alone is the oracle), and that a fact's
 * rows are those which they do not read, as long as there are any.  (Which they are:
 * test_others.c.) (The order of slots that others read: test_selector.c.  Alloc failures:
 * fault/test_alloc_failures.c.) */
#include "test.h"
#include "tiny.h"
#include "learn/contrast.h"
#include "learn/learner.h"
#include "learn/wordings.h"

static smft_ctx *ctx;
static smft_model *model;
static int64_t ctx_bytes;

static void open_model(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_model_free(tiny_model(ctx, "contrast", (tiny){.shared = 2}, 3));
  ck_ok(smft_ctx_memory(ctx, &ctx_bytes, NULL));
  model = tiny_model(ctx, "contrast", (tiny){.shared = 2}, 3);
}

static void close_model(void) {
  int64_t live = 0;
  smft_model_free(model);
  ck_ok(smft_ctx_memory(ctx, &live, NULL));
  ck_assert_int_eq(live, ctx_bytes);
  smft_ctx_free(ctx);
}

/* ---- what they read ------------------------------------------------------ */

/* With how many tokens all of the first n begin. */
static int64_t n_alike(const smft__others *others, int64_t n) {
  for (int64_t i = 0;; i++)
    for (int64_t s = 1; s < n; s++)
      if (others->ids.data[others->offsets[s] + i] != others->ids.data[i])
        return i;
}

/* Twice: one pass, and, with the same ones again, two.  What all begin with is read once a pass. */
START_TEST(reads_are_those_of_each_alone) {
  smft_wording wording = {sizeof wording, 0, "Who is the author of E?", "Jane", NULL, NULL};
  smft__fact *fact = NULL;
  ck_ok(smft__fact_from_wordings(&fact, model, "x", &wording, 1, NULL, SMFT__FACT_FRAMES));
  const smft__others *others = &fact->others;
  smft__contrast contrast = {0};
  smft__tape *tape = NULL;
  int64_t total[2] = {0, 0}, alike = n_alike(others, others->n);
  fact->serial = 7;
  for (int64_t i = 0, n = _i ? others->ids.n : 0, s = 0; i < n; i++) {
    ck_ok(smft__ids_put(&fact->others.ids, others->ids.data[i]));
    if (i + 1 == others->offsets[s + 1] && ++s > 0)
      ck_ok(smft__fact_end_other(fact));
  }
  ck_assert_int_eq(others->n, _i ? 64 : 32);
  ck_ok(smft__contrast_create(&contrast, model));
  ck_ok(smft__tape_create(&tape, model));
  ck_assert_ptr_null(smft__contrast_of(&contrast, 7));
  ck_ok(smft__contrast_read(&contrast, tape, fact, NULL));
  ck_assert_ptr_null(smft__contrast_of(&contrast, 8));
  ck_assert_ptr_null(smft__contrast_of(&contrast, 0));
  const smft__counts *read = smft__contrast_of(&contrast, 7);
  ck_assert_ptr_nonnull(read);
  for (int64_t s = 0; s < others->n; s++) {
    int64_t n = 0, offsets[2] = {0, others->offsets[s + 1] - others->offsets[s]};
    smft__sequences one = {others->ids.data + others->offsets[s], offsets, 1, offsets[1], NULL};
    ck_ok(smft__network_forward(tape, NULL, &one, SMFT__KEEP_NOTHING, NULL, NULL));
    for (int32_t p = 0; p < 2; p++) {
      const int64_t *slots = smft__tape_slots(tape, p, &n);
      int64_t reads = n / offsets[1]; /* of a token */
      total[p] += n - (s % 32 ? alike * reads : 0);
      for (int64_t i = 0; i < n; i++)
        ck_assert(smft__counts_find(&read[p], slots[i]) >= 0);
    }
  }
  ck_assert(alike > 5); /* or it shows nothing */
  for (int32_t p = 0; p < 2; p++)
    ck_assert_int_eq(read[p].total, total[p]);
  smft__tape_free(tape);
  smft__contrast_free(&contrast);
  smft__fact_free(fact, ctx);
}
END_TEST

/* ---- what follows from it ------------------------------------------------ */

/* Of the rows chosen for the fact, how many the others read. */
static int64_t chosen_and_read(uint32_t flags, double max_df, int known) {
  smft_selector_options select = SMFT_SELECTOR_OPTIONS_INIT;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_report report = SMFT_REPORT_INIT;
  smft_wording one = SMFT_WORDING_INIT;
  smft_selector *selector = NULL;
  smft_learner *learner = NULL;
  smft_patch *patch = NULL;
  int64_t n = 0;
  select.rule = SMFT_RULE_TF;
  select.t = 24;
  select.max_df = max_df;
  select.flags = SMFT_SELECTOR_EMPTY;
  options.flags = flags | SMFT_LEARNER_FRAMES;
  ck_ok(smft_selector_create(&selector, model, &select));
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&learner, model, patch, selector, NULL, &options));
  one.prompt = "Who is the author of Emma?";
  one.answer = "Jane";
  ck_ok(smft_learner_push(learner, "emma", &one, 1));
  ck_ok(smft_step(learner, &report));
  ck_assert_int_eq(learner->choice.rows.n, 24);
  ck_assert_int_eq(smft__contrast_of(&learner->contrast, 1) != NULL, known);
  ck_ok(smft__contrast_read(&learner->contrast, learner->tape, learner->queue.first, NULL));
  const smft__counts *read = smft__contrast_of(&learner->contrast, 1);
  for (int64_t i = 0; i < learner->choice.rows.n; i++) {
    const smft_selected *row = &learner->choice.rows.list[i];
    n += smft__counts_find(&read[row->pool], row->slot) >= 0;
  }
  smft_learner_free(learner);
  smft_selector_free(selector);
  smft_patch_free(patch);
  return n;
}

START_TEST(rows_that_others_read_are_chosen_last) {
  int64_t with = chosen_and_read(0, 1, 1);
  int64_t without = chosen_and_read(SMFT_LEARNER_NO_CONTRAST, 1, 0);
  ck_assert(with < without);
  ck_assert_int_eq(chosen_and_read(0, -1, 0), without); /* any row may change */
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("contrast");
  TCase *tests = tcase_create("contrast");
  tcase_add_checked_fixture(tests, open_model, close_model);
  tcase_add_loop_test(tests, reads_are_those_of_each_alone, 0, 2);
  tcase_add_test(tests, rows_that_others_read_are_chosen_last);
  suite_add_tcase(suite, tests);
  return suite;
}
