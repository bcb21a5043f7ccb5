/* remember: which facts a learner leaves a record of, and what is in it; and that the sums that
 * protect facts are the same bits however they came about. */
#include "failing.h"
#include "learn/learner.h"
#include "tiny.h"

enum { SLOTS = 256, FACTS = 5 };

static failing state;
static smft_ctx *ctx;
static smft_model *model; /* two memory layers, each with a pool of its own */
static smft_patch *patch;
static smft_selector *selector;
static smft_learner *learner;

static smft_learner *open_learner(uint32_t flags, double loss_below, int32_t max_steps) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_learner *made = NULL;
  options.flags = flags;
  options.loss_below = loss_below;
  options.max_steps = max_steps;
  options.wordings_per_step = 2;
  ck_ok(smft_learner_create(&made, model, patch, selector, NULL, &options));
  return made;
}

static void setup(void) {
  memset(&state, 0, sizeof state);
  ctx = failing_ctx(&state, 1);
  model = tiny_model(ctx, "model", (tiny){.shared = 2}, 3);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  selector = tiny_selector(model, SMFT_RULE_TFIDF, 60);
  selector->damping = 1; /* with the default a model so small learns next to nothing */
  learner = open_learner(0, 4.3, 50);
}

static void teardown(void) {
  smft_learner_free(learner);
  smft_selector_free(selector);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}

static const char *const names[FACTS] = {"one", "two", "three", "four", "five"};

static void teach_all(void) {
  for (int i = 0; i < FACTS; i++)
    tiny_push(learner, names[i], (const char *[]){" xy", " ab", " Q", " rst", " 42"}[i]);
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL));
}

static const smft__taught_fact *fact_at(int64_t i) {
  ck_assert_int_lt(i, smft__taught_count(smft__patch_current(patch)->taught));
  return smft__patch_current(patch)->taught->facts[i];
}

/* ---- records ------------------------------------------------------------- */

START_TEST(facts_that_are_learnt_are_listed) {
  teach_all();
  ck_assert_int_eq(smft_patch_fact_count(patch), FACTS);
  for (int i = 0; i < FACTS; i++) {
    const smft__taught_fact *fact = fact_at(i);
    ck_assert_str_eq(fact->id, names[i]);
    ck_assert_int_eq(fact->state, SMFT_FACT_DONE);
    ck_assert_int_eq(fact->n_wordings, 3);
    ck_assert_int_gt(smft__taught_n_rows(fact), 0);
    ck_assert_int_gt(smft__taught_n_reads(fact), smft__taught_n_rows(fact));
  }
}
END_TEST

static int has_row(const smft__taught_fact *fact, int32_t pool, int64_t slot) {
  for (int64_t i = fact->row_begin[pool]; i < fact->row_begin[pool + 1]; i++)
    if (smft__taught_slot(fact, fact->rows, i) == slot)
      return 1;
  return 0;
}

static void a_batch_of_the_hosts(void) {
  const int32_t ids[] = {60, 61, 62, 63, 64, 65};
  const int64_t lengths[] = {6};
  smft_batch batch = SMFT_BATCH_INIT;
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 1;
  ck_ok(smft_learner_step_batch(learner, &batch, NULL));
}

static void add_selected(char touched[2][SLOTS]) {
  smft_selected rows[64];
  int64_t n = 0;
  ck_ok(smft_learner_selected(learner, rows, 64, &n));
  for (int64_t i = 0; i < n; i++)
    touched[rows[i].pool][rows[i].slot] = 1;
}

/* The rows of a fact are those of its steps, whatever a host's batches change in between; so with
 * rows that are chosen once, and in every step anew. */
START_TEST(a_record_has_the_rows_of_all_steps) {
  char touched[2][SLOTS] = {{0}};
  smft_report report = SMFT_REPORT_INIT;
  int64_t n = 0;
  smft_learner_free(learner);
  learner = open_learner(_i ? SMFT_LEARNER_ROWS_PER_STEP : 0, 4.3, 50);
  tiny_push(learner, "before", " xy");
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL));
  tiny_push(learner, "a fact", " ab");
  for (int steps = 0; report.fact_state == SMFT_FACT_LEARNING; steps++) {
    ck_ok(smft_step(learner, &report));
    add_selected(touched);
    if (steps % 2 == 0)
      a_batch_of_the_hosts();
  }
  ck_assert_int_gt(report.step, 2);
  const smft__taught_fact *fact = fact_at(1);
  for (int32_t p = 0; p < 2; p++)
    for (int64_t slot = 0; slot < SLOTS; slot++) {
      n += touched[p][slot];
      ck_assert_int_eq(has_row(fact, p, slot), touched[p][slot]);
    }
  ck_assert_int_eq(smft__taught_n_rows(fact), n);
  ck_assert_int_eq(smft_patch_fact_count(patch), 2); /* batches leave no record */
}
END_TEST

/* What was known already is not listed; without protection rows are, reads are not. */
START_TEST(which_facts_are_listed) {
  int32_t known = _i == 0;
  uint32_t flags = _i == 1 ? SMFT_LEARNER_NO_PROTECT : 0;
  smft_learner_free(learner);
  learner = open_learner(flags, known ? 1000 : 4.3, 50);
  tiny_push(learner, "a fact", " ab");
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL));
  ck_assert_int_eq(smft_patch_fact_count(patch), !known);
  if (known)
    return;
  ck_assert_int_gt(smft__taught_n_rows(fact_at(0)), 0);
  ck_assert_int_eq(smft__taught_n_reads(fact_at(0)) > 0, _i == 2);
  ck_assert_int_eq(smft__taught_protects(fact_at(0)), _i == 2);
}
END_TEST

START_TEST(without_counts_no_reads_are_kept) {
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  options.rule = SMFT_RULE_TF;
  options.t = 60;
  smft_selector_free(selector);
  ck_ok(smft_selector_create(&selector, model, &options));
  smft_learner_free(learner);
  learner = open_learner(0, 4.42, 300);
  tiny_push(learner, "a fact", " ab");
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL));
  ck_assert_int_gt(smft__taught_n_rows(fact_at(0)), 0);
  ck_assert_int_eq(smft__taught_n_reads(fact_at(0)), 0);
}
END_TEST

/* ---- sums ---------------------------------------------------------------- */

static void same_sums(const smft__protect *a, const smft__protect *b) {
  ck_assert_int_eq(a->n_wordings, b->n_wordings);
  for (int32_t p = 0; p < 2; p++) {
    ck_assert_int_eq(a->square[p].n, b->square[p].n);
    for (int64_t slot = 0; slot < SLOTS; slot++) {
      int64_t i = smft__rows_find(&a->square[p], slot), j = smft__rows_find(&b->square[p], slot);
      ck_assert_int_eq(i < 0, j < 0);
      if (i >= 0)
        ck_assert_mem_eq(smft__rows_at(&a->square[p], i), smft__rows_at(&b->square[p], j), 4);
    }
  }
}

static smft__protect sums_of(smft__taught *list) {
  smft__protect protect = {0};
  ck_ok(smft__protect_create(&protect, model));
  ck_ok(smft__protect_follow(&protect, list));
  return protect;
}

static void follow(void) {
  ck_ok(smft__protect_follow(&learner->protect, smft__patch_current(patch)->taught));
}

/* The learner's grew fact by fact. */
START_TEST(sums_made_anew_are_those_that_grew) {
  teach_all();
  follow();
  smft__protect anew = sums_of(smft__patch_current(patch)->taught);
  ck_assert_int_eq(anew.n_wordings, 3 * FACTS);
  same_sums(&learner->protect, &anew);
  smft__protect_free(&anew);
}
END_TEST

/* Of one fact: the squared weights of its reads, added up in their order. */
START_TEST(a_facts_sums_are_those_of_its_reads) {
  float wanted[2][SLOTS] = {{0}};
  tiny_push(learner, "a fact", " ab");
  const smft__fact *fact = learner->queue.first;
  smft__taught_fact *record = NULL;
  ck_ok(smft__forward_all_wordings(&learner->kept, learner->tape, patch, fact, NULL, NULL));
  ck_ok(smft__protect_record(&record, &learner->protect, fact, SMFT_FACT_DONE,
                             learner->undo.touched, learner->tape));
  for (int32_t m = 0; m < 2; m++) {
    int64_t n = 0;
    const int64_t *slots = smft__tape_slots(learner->tape, m, &n);
    const float *weights = smft__tape_weights(learner->tape, m, &n);
    for (int64_t i = 0; i < n; i++)
      wanted[model->config.memories[m].pool][slots[i]] += weights[i] * weights[i];
  }
  ck_assert_int_eq(smft__taught_n_rows(record), 0);
  ck_ok(smft__patch_add_fact(patch, record));
  follow();
  for (int32_t p = 0; p < 2; p++) {
    int64_t before = -1;
    for (int64_t i = record->read_begin[p]; i < record->read_begin[p + 1]; i++) {
      int64_t slot = smft__taught_slot(record, record->reads, i);
      int64_t at = smft__rows_find(&learner->protect.square[p], slot);
      ck_assert_int_gt(slot, before);
      ck_assert_mem_eq(&record->squares[i], &wanted[p][slot], sizeof(float));
      ck_assert_mem_eq(smft__rows_at(&learner->protect.square[p], at), &wanted[p][slot],
                       sizeof(float));
      wanted[p][slot] = 0;
      before = slot;
    }
    for (int64_t slot = 0; slot < SLOTS; slot++)
      ck_assert_float_eq(wanted[p][slot], 0); /* all of them were there */
  }
  smft__taught_fact_release(record);
}
END_TEST

/* A row is written as it is: another version with the same numbers. */
static int32_t write_a_row(void *user, const smft_report *report) {
  float row[64];
  (void)user, (void)report;
  ck_ok(smft_patch_row(patch, 0, 0, row, model->config.memory.value_dim));
  ck_ok(smft_patch_set_row(patch, 0, 0, row, model->config.memory.value_dim));
  return 0;
}

/* The record of a fact that a patch of its own is taught; *passes: how many it took. */
static smft__taught_fact *record_of(int32_t per_step, smft_fact_fn on_fact, int64_t *passes) {
  smft_learner_free(learner);
  ck_ok(smft_patch_clear(patch));
  learner = open_learner(0, 4.3, 50);
  learner->options.wordings_per_step = per_step;
  learner->options.on_fact = on_fact;
  tiny_push(learner, "a fact", " ab");
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL));
  *passes = learner->tape->n_passes;
  smft__taught_fact *fact = smft__patch_current(patch)->taught->facts[0];
  ck_assert_int_eq(fact->state, SMFT_FACT_DONE);
  atomic_fetch_add(&fact->references, 1);
  return fact;
}

/* The pass that found all wordings learnt, a check or a step on all of them, has the reads; where a
 * host wrote to the patch since, another pass makes them, the same. */
START_TEST(the_pass_that_decided_is_not_run_again) {
  int32_t per_step = _i ? 3 : 2;
  int64_t once = 0, again = 0;
  smft__taught_fact *kept = record_of(per_step, NULL, &once);
  smft__taught_fact *made = record_of(per_step, write_a_row, &again);
  int64_t n = smft__taught_n_reads(kept);
  ck_assert_int_eq(again, once + 1);
  ck_assert_int_gt(n, 0);
  ck_assert_int_eq(smft__taught_n_reads(made), n);
  for (int64_t i = 0; i < n; i++)
    ck_assert_int_eq(smft__taught_slot(kept, kept->reads, i),
                     smft__taught_slot(made, made->reads, i));
  ck_assert_mem_eq(kept->squares, made->squares, (size_t)n * sizeof *kept->squares);
  smft__taught_fact_release(kept);
  smft__taught_fact_release(made);
}
END_TEST

static smft__taught *list_without(int64_t index) {
  smft__taught *list = NULL, *longer = NULL;
  for (int64_t i = 0; i < FACTS; i++)
    if (i != index) {
      ck_ok(smft__taught_append(&longer, list, smft__patch_current(patch)->taught->facts[i]));
      smft__taught_release(list);
      list = longer;
    }
  return list;
}

START_TEST(a_fact_that_was_removed_was_never_protected) {
  teach_all();
  follow();
  smft__taught *rest = list_without(_i);
  smft__protect never = sums_of(rest);
  ck_ok(smft_patch_fact_remove(patch, _i));
  ck_assert_int_eq(smft_patch_fact_count(patch), FACTS - 1);
  follow();
  same_sums(&learner->protect, &never);
  ck_assert_int_eq(never.n_wordings, 3 * (FACTS - 1));
  smft__protect_free(&never);
  smft__taught_release(rest);
}
END_TEST

/* A cleared patch, one that goes on from fewer facts, one that shares some: all by the list. */
START_TEST(sums_follow_any_list) {
  teach_all();
  smft__taught *all = smft__taught_retain(smft__patch_current(patch)->taught),
               *rest = list_without(1);
  smft__taught *const lists[] = {all, rest, NULL, rest, all, all};
  for (int i = 0; i < 6; i++) {
    smft__protect anew = sums_of(lists[i]);
    ck_ok(smft__protect_follow(&learner->protect, lists[i]));
    ck_assert_ptr_eq(learner->protect.taught, lists[i]);
    same_sums(&learner->protect, &anew);
    smft__protect_free(&anew);
  }
  ck_ok(smft_patch_clear(patch));
  follow();
  ck_assert_int_eq(learner->protect.n_wordings, 0);
  ck_assert_int_eq(learner->protect.square[0].n, 0);
  smft__taught_release(all);
  smft__taught_release(rest);
}
END_TEST

START_TEST(what_was_given_up_protects_nothing) {
  teach_all();
  smft__taught_fact *fact = smft__patch_current(patch)->taught->facts[2];
  smft__taught *rest = list_without(2);
  smft__protect never = sums_of(rest);
  fact->state = SMFT_FACT_GAVE_UP;
  smft__protect anew = sums_of(smft__patch_current(patch)->taught);
  same_sums(&anew, &never);
  fact->state = SMFT_FACT_DONE;
  smft__protect_free(&anew);
  smft__protect_free(&never);
  smft__taught_release(rest);
}
END_TEST

/* The damping of its steps is that of a learner that has taught nothing. */
START_TEST(a_learner_without_protection_sums_nothing) {
  teach_all();
  smft_learner_free(learner);
  learner = open_learner(SMFT_LEARNER_NO_PROTECT, 4.3, 50);
  tiny_push(learner, "another", " z");
  ck_ok(smft_step(learner, NULL));
  ck_assert_int_eq(learner->protect.n_wordings, 0);
  ck_assert_int_eq(learner->protect.square[0].n, 0);
  smft_learner_free(learner);
  learner = open_learner(0, 4.3, 50);
  tiny_push(learner, "another", " z");
  ck_ok(smft_step(learner, NULL));
  ck_assert_int_eq(learner->protect.n_wordings, 3 * FACTS);
}
END_TEST

/* ---- memory that is not there -------------------------------------------- */

START_TEST(sums_come_back_after_a_failure) {
  int failed = 0;
  teach_all();
  smft__protect anew = sums_of(smft__patch_current(patch)->taught), other = {0};
  ck_ok(smft__protect_create(&other, model));
  for (smft_status status = SMFT_E_NOMEM; status != SMFT_OK; failed++) {
    state.fail_at = state.calls + failed + 1;
    status = smft__protect_follow(&other, smft__patch_current(patch)->taught);
    state.fail_at = 0;
    if (status != SMFT_OK) {
      ck_assert_int_eq(status, SMFT_E_NOMEM);
      ck_assert_int_eq(other.n_wordings, 0);
      ck_assert_ptr_null(other.taught);
    }
  }
  ck_assert_int_gt(failed, 3);
  same_sums(&other, &anew);
  smft__protect_free(&other);
  smft__protect_free(&anew);
}
END_TEST

/* The step that finds the fact learnt, with each allocation failing: the fact stays in hand, the
 * list as it is, and the next step does it. */
START_TEST(a_fact_without_a_record_stays_in_hand) {
  smft_report report = SMFT_REPORT_INIT;
  teach_all();
  smft_learner_free(learner);
  learner = open_learner(0, -1, 50);
  tiny_push(learner, "last", " z");
  ck_ok(smft_step(learner, NULL));
  learner->options.loss_below = 1000;
  int failed = 0;
  for (smft_status status = SMFT_E_NOMEM; status != SMFT_OK; failed++) {
    ck_assert_int_eq(smft_patch_fact_count(patch), FACTS);
    ck_assert_int_eq(smft_learner_pending(learner), 1);
    state.fail_at = state.calls + failed + 1;
    status = smft_step(learner, &report);
    state.fail_at = 0;
    ck_assert_msg(status == SMFT_OK || status == SMFT_E_NOMEM, "%s", smft_error_message());
  }
  ck_assert_int_gt(failed, 2);
  ck_assert_int_eq(report.fact_state, SMFT_FACT_DONE);
  ck_assert_int_eq(smft_patch_fact_count(patch), FACTS + 1);
}
END_TEST

/* The last update of a fact that is given up, with each allocation failing: what comes after the
 * update is put off to the next call, and no fact is lost or listed twice. */
START_TEST(a_record_may_come_later) {
  int put_off = 0;
  smft_learner_free(learner);
  learner = open_learner(SMFT_LEARNER_KEEP_GIVEN_UP, -1, 1);
  for (int k = 1, reached = 1; reached; k++) {
    smft_report report = SMFT_REPORT_INIT;
    int64_t before = smft_patch_fact_count(patch);
    ck_assert_int_lt(k, 500);
    tiny_push(learner, "a fact", " z");
    state.fail_at = state.calls + k;
    smft_status status = smft_step(learner, &report);
    reached = state.calls >= state.fail_at;
    state.fail_at = 0;
    ck_assert_msg(status == SMFT_OK || (reached && status == SMFT_E_NOMEM), "%s",
                  smft_error_message());
    if (status == SMFT_OK && report.fact_state == SMFT_FACT_LEARNING) {
      ck_assert(report.rows_selected > 0 && smft_learner_pending(learner) == 1);
      ck_assert_int_eq(smft_patch_fact_count(patch), before);
      put_off++;
    }
    if (report.fact_state == SMFT_FACT_LEARNING)
      ck_ok(smft_step(learner, &report));
    ck_assert_int_eq(report.fact_state, SMFT_FACT_GAVE_UP);
    ck_assert_int_eq(smft_learner_pending(learner), 0);
    ck_assert_int_eq(smft_patch_fact_count(patch), before + 1);
    ck_assert_int_eq(fact_at(before)->state, SMFT_FACT_GAVE_UP);
    ck_assert_int_eq(smft__taught_n_reads(fact_at(before)), 0);
  }
  ck_assert_int_gt(put_off, 2);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("remember");
  TCase *cases = tcase_create("remember");
  test_directory_make();
  suite_add_tcase(suite, cases);
  tcase_add_checked_fixture(cases, setup, teardown);
  tcase_add_test(cases, facts_that_are_learnt_are_listed);
  tcase_add_loop_test(cases, a_record_has_the_rows_of_all_steps, 0, 2);
  tcase_add_loop_test(cases, which_facts_are_listed, 0, 3);
  tcase_add_test(cases, without_counts_no_reads_are_kept);
  tcase_add_test(cases, sums_made_anew_are_those_that_grew);
  tcase_add_test(cases, a_facts_sums_are_those_of_its_reads);
  tcase_add_loop_test(cases, the_pass_that_decided_is_not_run_again, 0, 2);
  tcase_add_loop_test(cases, a_fact_that_was_removed_was_never_protected, 0, FACTS);
  tcase_add_test(cases, sums_follow_any_list);
  tcase_add_test(cases, what_was_given_up_protects_nothing);
  tcase_add_test(cases, a_learner_without_protection_sums_nothing);
  tcase_add_test(cases, sums_come_back_after_a_failure);
  tcase_add_test(cases, a_fact_without_a_record_stays_in_hand);
  tcase_add_test(cases, a_record_may_come_later);
  return suite;
}
