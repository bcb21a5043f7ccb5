/* facts: which wordings of a fact can be learnt where the tokenizer puts nothing before a text, and
 * how the flags of a wording join it.  (What wordings become with begin-of-text: test_learner.c;
 * with end-of-text: test_end_of_text.c.) */
#include "test.h"
#include "tiny.h"
#include "learn/facts_json.h"
#include "learn/learner.h"

#define PROMPT(prompt, answer, end)                                                                \
  { sizeof(smft_wording), 0, prompt, answer, end, NULL }
#define STATEMENT(statement, answer)                                                               \
  { sizeof(smft_wording), 0, NULL, answer, NULL, statement }

static smft_ctx *ctx;
static smft_model *with, *without; /* begin-of-text */
static char logged[512];

static void take_log(void *user, int32_t level, const char *message) {
  (void)user;
  snprintf(logged, sizeof logged, "%d %s", (int)level, message);
}

static void drop_begin(const char *name) {
  static const char begin[] =
      "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, ";
  size_t size = 0;
  char *text = test_read(test_file(name), &size), *at = strstr(text, begin);
  ck_assert_ptr_nonnull(at);
  memmove(at + 11, at + sizeof begin - 1, strlen(at + sizeof begin - 1) + 1);
  test_write(name, text, strlen(text));
  free(text);
}

static void open_both(void) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.log = take_log;
  ck_ok(smft_ctx_create(&ctx, &options));
  with = tiny_model(ctx, "model", (tiny){0, 0, 0, 0}, 3);
  drop_begin("model/tokenizer.json");
  ck_ok(smft_model_init(&without, ctx, test_file("model"), 3));
  logged[0] = 0;
}

static void close_both(void) {
  smft_model_free(with);
  smft_model_free(without);
  smft_ctx_free(ctx);
}

/* The wordings' tokens are the characters of these texts. */
static void check_texts(const smft__fact *fact, const char *const *texts, int64_t n) {
  ck_assert_int_eq(fact->n_wordings, n);
  for (int64_t w = 0; w < n; w++) {
    int64_t begin = fact->offsets[w];
    ck_assert_int_eq(fact->offsets[w + 1] - begin, (int64_t)strlen(texts[w]));
    for (int64_t i = 0; texts[w][i]; i++)
      ck_assert_int_eq(fact->ids.data[begin + i], tiny_id(texts[w][i]));
  }
  ck_assert(fact->n_tokens == fact->offsets[n] && fact->ids.n == fact->n_tokens);
}

START_TEST(a_wording_that_opens_with_its_answer_is_left_out) {
  const smft_wording wordings[] = {STATEMENT("Jane Austen wrote Emma.", "Jane Austen"),
                                   PROMPT("Who wrote Emma?", "Jane Austen", NULL),
                                   PROMPT("", "Jane", NULL),
                                   STATEMENT("Emma is by Jane Austen.", "Jane Austen")};
  const char *left[] = {"Who wrote Emma? Jane Austen\n", "Emma is by Jane Austen."};
  smft__fact *fact = NULL;
  ck_ok(smft__fact_from_text(&fact, without, "emma", wordings, 4, 0));
  check_texts(fact, left, 2);
  ck_assert_int_eq(fact->n_left_out, 2);
  ck_assert_msg(strstr(logged, "2 fact \"emma\": wording 2 is left out") == logged, "%s", logged);
  for (int64_t i = 0; i < fact->n_tokens; i++) /* the second text's answer, and nothing behind it */
    ck_assert(fact->weights[i] == (float)((i >= 15 && i < 28) || (i >= 38 && i < 50)));
  smft__fact_free(fact, ctx);
  ck_ok(
      smft__fact_from_text(&fact, with, "emma", wordings, 4, 0)); /* begin-of-text stands before */
  ck_assert(fact->n_wordings == 4 && fact->n_left_out == 0);
  smft__fact_free(fact, ctx);
  ck_ok(smft__fact_from_text(&fact, without, "emma", wordings, 4, 1)); /* all tokens are learnt */
  ck_assert(fact->n_wordings == 4 && fact->n_left_out == 0 && fact->weights[0] == 0);
  ck_assert(fact->weights[1] == 1 && fact->weights[22] == 1);
  smft__fact_free(fact, ctx);
}
END_TEST

START_TEST(a_fact_of_which_nothing_is_left_is_refused) {
  const smft_wording wordings[] = {STATEMENT("Jane Austen wrote Emma.", "Jane Austen"),
                                   PROMPT("", "Jane", NULL)};
  smft__fact *fact = NULL;
  ck_status(smft__fact_from_text(&fact, without, "emma", wordings, 2, 0), SMFT_E_FACT);
  ck_assert_ptr_null(fact);
  ck_assert_msg(strstr(smft_error_message(), "fact \"emma\": in each of its 2 wordings") &&
                    strstr(smft_error_message(), "give a prompt, or a statement in which"),
                "%s", smft_error_message());
}
END_TEST

/* What is wrong with a wording that would be left out, or with one behind it, is said all the same,
 * with the number that the host gave it. */
START_TEST(left_out_wordings_are_checked_and_counted) {
  static char much[100];
  memset(much, 'x', sizeof much - 1);
  smft_wording wordings[] = {STATEMENT("Jane wrote Emma.", "Jane"), PROMPT("Who?", "", NULL)};
  smft__fact *fact = NULL;
  ck_status(smft__fact_from_text(&fact, without, "emma", wordings, 2, 0), SMFT_E_FACT);
  ck_assert_msg(strstr(smft_error_message(), "wording 1: its answer is empty"), "%s",
                smft_error_message());
  wordings[1] = (smft_wording)PROMPT("", much, NULL);
  ck_status(smft__fact_from_text(&fact, without, "emma", wordings, 2, 0), SMFT_E_CONTEXT);
  ck_assert_msg(strstr(smft_error_message(), "wording 1"), "%s", smft_error_message());
}
END_TEST

/* Token ids are the host's own: nothing is left out. */
START_TEST(token_ids_are_taken_as_they_are) {
  const int32_t ids[] = {5, 6, 7};
  smft_ids_wording wording = {sizeof wording, 0, NULL, 0, ids, 3};
  smft__fact *fact = NULL;
  ck_ok(smft__fact_from_ids(&fact, without, "emma", &wording, 1, 0));
  ck_assert(fact->n_wordings == 1 && fact->n_left_out == 0 && fact->weights[0] == 0 &&
            fact->weights[1] == 1);
  smft__fact_free(fact, ctx);
}
END_TEST

/* ---- joining ------------------------------------------------------------- */

START_TEST(prompt_and_answer_are_joined_as_text_or_exactly) {
  smft_wording wordings[] = {
      PROMPT("Who?", "Me", ""),   PROMPT("Who?", " Me", ""), PROMPT("Who? ", "Me", ""),
      PROMPT("Who?\n", "Me", ""), PROMPT("(", "Me", ""),     PROMPT("Me", ", too", ""),
      STATEMENT("It/Me", "Me"),
  };
  const char *joined[] = {"Who? Me", "Who? Me", "Who? Me", "Who?\nMe", "(Me", "Me, too", "It/Me"};
  const char *exact[] = {"Who?Me", "Who? Me", "Who? Me", "Who?\nMe", "(Me", "Me, too", "It/Me"};
  smft__fact *fact = NULL;
  ck_ok(smft__fact_from_text(&fact, without, "id", wordings, 7, 0));
  check_texts(fact, joined, 7);
  ck_assert(fact->weights[4] == 1 && fact->weights[3] == 0); /* the space is the answer's */
  smft__fact_free(fact, ctx);
  for (int i = 0; i < 7; i++)
    wordings[i].flags = SMFT_WORDING_EXACT;
  ck_ok(smft__fact_from_text(&fact, without, "id", wordings, 7, 0));
  check_texts(fact, exact, 7);
  smft__fact_free(fact, ctx);
}
END_TEST

START_TEST(unknown_flags_are_refused) {
  smft_wording wordings[] = {PROMPT("Who?", "Me", NULL), PROMPT("Who?", "Me", NULL)};
  smft__fact *fact = NULL;
  wordings[1].flags = 2 | SMFT_WORDING_EXACT;
  ck_status(smft__fact_from_text(&fact, with, "id", wordings, 2, 0), SMFT_E_INVALID);
  ck_assert_msg(strstr(smft_error_message(), "fact \"id\", wording 1: smft_wording.flags") &&
                    strstr(smft_error_message(), "0x3"),
                "%s", smft_error_message());
}
END_TEST

static smft_status from_line(smft__fact **fact, const char *line) {
  json_t *object = NULL;
  ck_ok(smft__json_parse(&object, line, (int64_t)strlen(line), "line"));
  smft_status status = smft__fact_from_json(fact, with, object, 0);
  json_decref(object);
  return status;
}

START_TEST(exact_in_json) {
  static const char *const lines[] = {
      "{\"id\": \"x\", \"wordings\": [{\"prompt\": \"a\", \"answer\": \"b\", \"end\": \"\"}]}",
      "{\"id\": \"x\", \"wordings\": [{\"prompt\": \"a\", \"answer\": \"b\", \"end\": \"\", "
      "\"exact\": false}]}",
      "{\"id\": \"x\", \"wordings\": [{\"prompt\": \"a\", \"answer\": \"b\", \"end\": \"\", "
      "\"exact\": true}]}"};
  smft__fact *fact = NULL;
  for (int i = 0; i < 3; i++) {
    ck_ok(from_line(&fact, lines[i]));
    ck_assert_int_eq(fact->n_tokens, i == 2 ? 3 : 4); /* with begin-of-text */
    smft__fact_free(fact, ctx);
  }
  ck_status(from_line(&fact,
                      "{\"id\": \"x\", \"wordings\": [{\"prompt\": \"a\", \"answer\": \"b\", "
                      "\"exact\": 1}]}"),
            SMFT_E_FORMAT);
  ck_assert_msg(strstr(smft_error_message(), "exact"), "%s", smft_error_message());
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("facts");
  TCase *tests = tcase_create("facts");
  tcase_add_checked_fixture(tests, open_both, close_both);
  tcase_add_test(tests, a_wording_that_opens_with_its_answer_is_left_out);
  tcase_add_test(tests, a_fact_of_which_nothing_is_left_is_refused);
  tcase_add_test(tests, left_out_wordings_are_checked_and_counted);
  tcase_add_test(tests, token_ids_are_taken_as_they_are);
  tcase_add_test(tests, prompt_and_answer_are_joined_as_text_or_exactly);
  tcase_add_test(tests, unknown_flags_are_refused);
  tcase_add_test(tests, exact_in_json);
  suite_add_tcase(suite, tests);
  return suite;
}
