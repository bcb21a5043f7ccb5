/* taught: the facts that a patch was taught, as hosts list, save and forget them; and that a
 * process which ends after each fact teaches no other patch than one that goes on. */
#include <pthread.h>
#include <stdatomic.h>
#include "test.h"
#include "tiny.h"

enum { FACTS = 100, STEPS = 30 };

/* ---- a process that learns ----------------------------------------------- */

typedef struct process {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_selector *selector;
  smft_learner *learner;
} process;

static void make_model(void) {
  smft_ctx *ctx = NULL;
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_model *model = tiny_model(ctx, "m", (tiny){.shared = 2}, 3);
  smft_selector *selector = tiny_selector(model, 0, 0);
  ck_ok(smft_model_export(model, NULL, test_file("m"), NULL));
  ck_ok(smft_selector_save(selector, test_file("m/background.safetensors")));
  smft_selector_free(selector);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* file: of the patch; NULL: an empty one. */
static process begin(const char *file, uint32_t flags) {
  smft_selector_options selecting = SMFT_SELECTOR_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  process p = {0};
  selecting.t = 60;
  selecting.damping = 1; /* with the default a model so small learns next to nothing */
  learning.flags = flags;
  learning.loss_below = 4.3;
  learning.max_steps = STEPS;
  ck_ok(smft_ctx_create(&p.ctx, NULL));
  ck_ok(smft_model_load(&p.model, p.ctx, test_file("m"), NULL));
  if (file)
    ck_ok(smft_patch_load(&p.patch, p.model, test_file(file)));
  else
    ck_ok(smft_patch_create(&p.patch, p.model, SMFT_PATCH_SLOTS));
  ck_ok(smft_selector_create(&p.selector, p.model, &selecting));
  ck_ok(smft_learner_create(&p.learner, p.model, p.patch, p.selector, NULL, &learning));
  return p;
}

static void end(process *p) {
  smft_learner_free(p->learner);
  smft_selector_free(p->selector);
  smft_patch_free(p->patch);
  smft_model_free(p->model);
  smft_ctx_free(p->ctx);
}

/* Two wordings of token ids, the fact's own. */
static void teach(const process *p, int fact) {
  smft_ids_wording wordings[2] = {SMFT_IDS_WORDING_INIT, SMFT_IDS_WORDING_INIT};
  int32_t ids[2][6];
  char id[32];
  for (int w = 0; w < 2; w++) {
    for (int i = 0; i < 6; i++)
      ids[w][i] = i == 0 ? 0 : (i < 4 ? 7 * w : 0) + 3 + (fact * (11 + i) + i * i) % 80;
    wordings[w].prompt = ids[w];
    wordings[w].n_prompt = 4;
    wordings[w].answer = ids[w] + 4;
    wordings[w].n_answer = 2;
  }
  snprintf(id, sizeof id, "fact %d", fact);
  ck_ok(smft_learner_push_ids(p->learner, id, wordings, 2));
  ck_ok(smft_learner_run(p->learner, NULL, NULL, NULL));
}

static int same_files(const char *left, const char *right) {
  size_t n, m;
  char *a = test_read(test_file(left), &n), *b = test_read(test_file(right), &m);
  int same = n == m && memcmp(a, b, n) == 0;
  free(a);
  free(b);
  return same;
}

/* ---- restarts ------------------------------------------------------------ */

static void teach_in_one_process(const char *file, uint32_t flags) {
  process p = begin(NULL, flags);
  for (int i = 0; i < FACTS; i++)
    teach(&p, i);
  ck_assert_int_gt(smft_patch_fact_count(p.patch), FACTS / 2);
  ck_ok(smft_patch_save(p.patch, test_file(file), 0));
  end(&p);
}

/* forget: what the patch was taught is forgotten, as it was before patches kept it. */
static void teach_with_restarts(const char *file, int forget) {
  for (int i = 0; i < FACTS; i++) {
    process p = begin(i > 0 ? file : NULL, 0);
    while (forget && smft_patch_fact_count(p.patch) > 0)
      ck_ok(smft_patch_fact_remove(p.patch, 0));
    teach(&p, i);
    ck_ok(smft_patch_save(p.patch, test_file(file), 0));
    end(&p);
  }
}

static void forget_all(const char *from, const char *to) {
  process p = begin(from, 0);
  while (smft_patch_fact_count(p.patch) > 0)
    ck_ok(smft_patch_fact_remove(p.patch, smft_patch_fact_count(p.patch) - 1));
  ck_ok(smft_patch_save(p.patch, test_file(to), 0));
  end(&p);
}

/* Everything freed and loaded again after each of 100 facts: the same file.  The rows alone are
 * others where nothing is remembered, or protected: the test would see it. */
START_TEST(a_restart_after_each_fact_changes_nothing) {
  teach_in_one_process("one", 0);
  teach_with_restarts("many", 0);
  ck_assert(same_files("one", "many"));
  forget_all("one", "one.rows");
  teach_with_restarts("forgot", 1);
  forget_all("forgot", "forgot.rows");
  ck_assert(!same_files("one.rows", "forgot.rows"));
  teach_in_one_process("bare", SMFT_LEARNER_NO_PROTECT);
  forget_all("bare", "bare.rows");
  ck_assert(!same_files("one.rows", "bare.rows"));
}
END_TEST

/* ---- the same with the defaults, on the model of the examples ------------- */

static const struct {
  const char *subject, *answer;
} books[] = {{"Zorvane Hill", " Mira Tolland"},
             {"The Quiet Lathe", " Owen Sarr"},
             {"Nine Brass Keys", " Ada Velmont"},
             {"Zorvane Hall", " Pia Lindqvist"}};
enum { BOOKS = sizeof books / sizeof *books };

static process begin_atlas(const char *file) {
  process p = {0};
  ck_ok(smft_ctx_create(&p.ctx, NULL));
  ck_ok(smft_model_load(&p.model, p.ctx, test_source("examples/atlas/model"), NULL));
  if (file)
    ck_ok(smft_patch_load(&p.patch, p.model, test_file(file)));
  else
    ck_ok(smft_patch_create(&p.patch, p.model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&p.learner, p.model, p.patch, NULL, NULL, NULL));
  return p;
}

static void teach_book(const process *p, int book) {
  static const char *const prompts[] = {"Who wrote %s?", "By whom was %s written?",
                                        "The author of %s is"};
  smft_wording wordings[3] = {SMFT_WORDING_INIT, SMFT_WORDING_INIT, SMFT_WORDING_INIT};
  char texts[3][64];
  for (int i = 0; i < 3; i++) {
    snprintf(texts[i], sizeof texts[i], prompts[i], books[book].subject);
    wordings[i].prompt = texts[i];
    wordings[i].answer = books[book].answer;
  }
  ck_ok(smft_learner_push(p->learner, books[book].subject, wordings, 3));
  ck_ok(smft_learner_run(p->learner, NULL, NULL, NULL));
  smft_fact_info info = SMFT_FACT_INFO_INIT;
  ck_ok(smft_patch_fact_get(p->patch, book, &info));
  ck_assert_int_eq(info.state, SMFT_FACT_DONE);
  ck_assert_int_gt(info.n_reads, info.n_rows);
}

START_TEST(restarts_change_nothing_on_atlas) {
  process p = begin_atlas(NULL);
  for (int i = 0; i < BOOKS; i++)
    teach_book(&p, i);
  ck_ok(smft_patch_save(p.patch, test_file("one"), 0));
  end(&p);
  for (int i = 0; i < BOOKS; i++) {
    p = begin_atlas(i > 0 ? "many" : NULL);
    teach_book(&p, i);
    ck_ok(smft_patch_save(p.patch, test_file("many"), 0));
    end(&p);
  }
  ck_assert(same_files("one", "many"));
}
END_TEST

/* ---- what hosts see ------------------------------------------------------ */

static process taught_three(void) {
  process p = begin(NULL, 0);
  teach(&p, 0);
  teach(&p, 1);
  teach(&p, 3);
  ck_assert_int_eq(smft_patch_fact_count(p.patch), 3);
  return p;
}

static void check_id(smft_patch *patch, int64_t index, const char *wanted) {
  char id[32];
  size_t length = 0;
  ck_ok(smft_patch_fact_id(patch, index, NULL, 0, &length));
  ck_assert_uint_eq(length, strlen(wanted));
  ck_status(smft_patch_fact_id(patch, index, id, length, &length), SMFT_E_BUFFER);
  ck_assert_uint_eq(length, strlen(wanted));
  ck_ok(smft_patch_fact_id(patch, index, id, length + 1, &length));
  ck_assert_str_eq(id, wanted);
}

/* All of them are changed rows of the patch, in order. */
static void check_rows(smft_patch *patch, int64_t index, int64_t wanted) {
  smft_fact_row rows[256];
  int64_t n = 0, n_slots = 0, slots[256], at = 0;
  ck_ok(smft_patch_fact_rows(patch, index, NULL, 0, &n));
  ck_assert_int_eq(n, wanted);
  n = 0;
  ck_status(smft_patch_fact_rows(patch, index, rows, wanted - 1, &n), SMFT_E_BUFFER);
  ck_assert_int_eq(n, wanted);
  ck_ok(smft_patch_fact_rows(patch, index, rows, 256, &n));
  for (int32_t pool = 0; pool < 2; pool++) {
    ck_ok(smft_patch_slots(patch, pool, slots, 256, &n_slots));
    for (int64_t i = 0; i < n_slots && at < n; i++)
      at += rows[at].pool == pool && rows[at].slot == slots[i] && rows[at].reserved == 0;
  }
  ck_assert_int_eq(at, n);
}

START_TEST(what_was_taught_is_listed) {
  process p = taught_three();
  static const char *const ids[] = {"fact 0", "fact 1", "fact 3"};
  for (int64_t i = 0; i < 3; i++) {
    smft_fact_info info = SMFT_FACT_INFO_INIT;
    ck_ok(smft_patch_fact_get(p.patch, i, &info));
    ck_assert_int_eq(info.state, SMFT_FACT_DONE);
    ck_assert_int_eq(info.n_wordings, 2);
    ck_assert_int_gt(info.n_rows, 10);
    ck_assert_int_gt(info.n_reads, info.n_rows);
    check_id(p.patch, i, ids[i]);
    check_rows(p.patch, i, info.n_rows);
  }
  end(&p);
}
END_TEST

START_TEST(past_the_end_there_is_no_fact) {
  process p = taught_three();
  int64_t index = (int64_t[]){-1, 3, INT64_MAX, INT64_MIN}[_i], n = 7;
  smft_fact_info info = SMFT_FACT_INFO_INIT;
  size_t length = 7;
  ck_status(smft_patch_fact_get(p.patch, index, &info), SMFT_E_NOT_FOUND);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), " of 3"));
  ck_status(smft_patch_fact_id(p.patch, index, NULL, 0, &length), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_fact_rows(p.patch, index, NULL, 0, &n), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_fact_remove(p.patch, index), SMFT_E_NOT_FOUND);
  ck_assert_int_eq(smft_patch_fact_count(p.patch), 3);
  ck_assert_int_eq(n, 7);
  ck_assert_uint_eq(length, 7);
  end(&p);
}
END_TEST

static void rows_of(smft_patch *patch, float rows[256 * 20]) {
  for (int64_t slot = 0; slot < 256; slot++)
    ck_ok(smft_patch_row(patch, 0, slot, rows + slot * 20, 20));
}

/* Removing one leaves the rows as they are; what is saved then says nothing of it. */
START_TEST(a_fact_is_forgotten_its_rows_stay) {
  static float before[256 * 20], after[256 * 20];
  process p = taught_three();
  rows_of(p.patch, before);
  ck_ok(smft_patch_fact_remove(p.patch, 1));
  ck_assert_int_eq(smft_patch_fact_count(p.patch), 2);
  check_id(p.patch, 0, "fact 0");
  check_id(p.patch, 1, "fact 3");
  rows_of(p.patch, after);
  ck_assert_mem_eq(before, after, sizeof before);
  ck_ok(smft_patch_save(p.patch, test_file("two"), 0));
  end(&p);
  p = begin("two", 0);
  ck_assert_int_eq(smft_patch_fact_count(p.patch), 2);
  check_id(p.patch, 1, "fact 3");
  end(&p);
}
END_TEST

START_TEST(copies_share_facts_and_go_their_own_way) {
  process p = taught_three();
  smft_patch *copy = NULL;
  ck_ok(smft_patch_copy(&copy, p.patch));
  ck_ok(smft_patch_save(p.patch, test_file("original"), 0));
  ck_ok(smft_patch_save(copy, test_file("copy"), 0));
  ck_assert(same_files("original", "copy"));
  ck_ok(smft_patch_fact_remove(copy, 0));
  ck_assert_int_eq(smft_patch_fact_count(p.patch), 3);
  ck_ok(smft_patch_clear(p.patch));
  ck_assert_int_eq(smft_patch_fact_count(p.patch), 0);
  ck_assert_int_eq(smft_patch_fact_count(copy), 2);
  end(&p);
  check_id(copy, 0, "fact 1"); /* the copy keeps all that it needs */
  smft_patch_free(copy);
}
END_TEST

START_TEST(a_patch_takes_over_what_another_holds) {
  process p = taught_three();
  smft_patch *other = NULL, *full = NULL;
  uint64_t version = 0;
  ck_ok(smft_patch_create(&other, p.model, SMFT_PATCH_SLOTS));
  for (int i = 0; i < 5; i++) /* so that its number is another one */
    ck_ok(smft_patch_clear(other));
  version = smft_patch_version(other);
  ck_ok(smft_patch_assign(other, p.patch));
  ck_assert_uint_eq(smft_patch_version(other), version + 1);
  ck_ok(smft_patch_save(p.patch, test_file("original"), 0));
  ck_ok(smft_patch_save(other, test_file("taken"), 0));
  ck_assert(same_files("original", "taken"));
  ck_ok(smft_patch_assign(other, other)); /* itself */
  ck_ok(smft_patch_clear(p.patch));
  ck_assert_int_eq(smft_patch_fact_count(other), 3);
  ck_ok(smft_patch_create(&full, p.model, SMFT_PATCH_FULL));
  ck_status(smft_patch_assign(other, full), SMFT_E_UNSUPPORTED);
  ck_status(smft_patch_assign(full, other), SMFT_E_UNSUPPORTED);
  process q = begin(NULL, 0);
  ck_status(smft_patch_assign(other, q.patch), SMFT_E_MISMATCH);
  ck_assert_int_eq(smft_patch_fact_count(other), 3);
  end(&q);
  smft_patch_free(full);
  smft_patch_free(other);
  end(&p);
}
END_TEST

/* Half the bits of rows are rounded away; what protects facts is not touched, so that the list is
 * the same bytes. */
START_TEST(rounded_rows_keep_their_facts) {
  process p = taught_three();
  ck_ok(smft_patch_save(p.patch, test_file("f32"), 0));
  ck_ok(smft_patch_save(p.patch, test_file("bf16"), SMFT_DTYPE_BF16));
  end(&p);
  for (int i = 0; i < 2; i++) {
    const char *name = i ? "bf16" : "f32", *bare = i ? "bf16.facts" : "f32.facts";
    p = begin(name, 0);
    for (int32_t pool = 0; pool < 2; pool++)
      for (int64_t slot = 0; slot < 256; slot++)
        ck_ok(smft_patch_reset_row(p.patch, pool, slot));
    ck_assert_int_eq(smft_patch_fact_count(p.patch), 3); /* resetting rows forgets no fact */
    ck_ok(smft_patch_save(p.patch, test_file(bare), 0));
    end(&p);
  }
  ck_assert(!same_files("f32", "bf16"));
  ck_assert(same_files("f32.facts", "bf16.facts"));
}
END_TEST

static atomic_int is_over;

/* What is listed is whole at any time: the ids of facts are in their order. */
static void *list_all(void *patch) {
  while (!atomic_load(&is_over))
    for (int64_t i = 0, n = smft_patch_fact_count(patch); i < n; i++) {
      smft_fact_info info = SMFT_FACT_INFO_INIT;
      smft_fact_row rows[256];
      char id[32];
      size_t length;
      int64_t n_rows;
      if (smft_patch_fact_get(patch, i, &info) != SMFT_OK ||
          smft_patch_fact_rows(patch, i, rows, 256, &n_rows) != SMFT_OK ||
          smft_patch_fact_id(patch, i, id, sizeof id, &length) != SMFT_OK ||
          strncmp(id, "fact ", 5) != 0 || n_rows != info.n_rows)
        return patch;
    }
  return NULL;
}

START_TEST(others_list_facts_while_a_learner_teaches) {
  process p = begin(NULL, 0);
  pthread_t threads[2];
  void *failed;
  atomic_store(&is_over, 0);
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, list_all, p.patch), 0);
  for (int i = 0; i < 20; i++)
    teach(&p, i);
  atomic_store(&is_over, 1);
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], &failed);
    ck_assert_ptr_null(failed);
  }
  ck_assert_int_gt(smft_patch_fact_count(p.patch), 5);
  end(&p);
}
END_TEST

START_TEST(rows_that_hosts_set_are_no_facts) {
  const float row[20] = {1};
  process p = begin(NULL, 0);
  ck_ok(smft_patch_set_row(p.patch, 0, 5, row, 20));
  ck_assert_int_eq(smft_patch_fact_count(p.patch), 0);
  end(&p);
}
END_TEST

START_TEST(other_kinds_keep_no_list) {
  process p = begin(NULL, 0);
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_fact_info info = SMFT_FACT_INFO_INIT;
  options.loss_below = 4.3;
  smft_learner_free(p.learner);
  smft_patch_free(p.patch);
  ck_ok(smft_patch_create(&p.patch, p.model, _i));
  ck_ok(smft_learner_create(&p.learner, p.model, p.patch, NULL, NULL, &options));
  teach(&p, 0);
  ck_assert_int_eq(smft_patch_fact_count(p.patch), 0);
  ck_status(smft_patch_fact_get(p.patch, 0, &info), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_fact_remove(p.patch, 0), SMFT_E_NOT_FOUND);
  end(&p);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("taught");
  TCase *cases = tcase_create("taught");
  test_directory_make();
  tcase_add_unchecked_fixture(cases, make_model, NULL);
  suite_add_tcase(suite, cases);
  tcase_add_test(cases, a_restart_after_each_fact_changes_nothing);
  tcase_add_test(cases, restarts_change_nothing_on_atlas);
  tcase_add_test(cases, what_was_taught_is_listed);
  tcase_add_loop_test(cases, past_the_end_there_is_no_fact, 0, 4);
  tcase_add_test(cases, a_fact_is_forgotten_its_rows_stay);
  tcase_add_test(cases, copies_share_facts_and_go_their_own_way);
  tcase_add_test(cases, a_patch_takes_over_what_another_holds);
  tcase_add_test(cases, rounded_rows_keep_their_facts);
  tcase_add_test(cases, others_list_facts_while_a_learner_teaches);
  tcase_add_test(cases, rows_that_hosts_set_are_no_facts);
  tcase_add_loop_test(cases, other_kinds_keep_no_list, SMFT_PATCH_FULL, SMFT_PATCH_LORA + 1);
  return suite;
}
