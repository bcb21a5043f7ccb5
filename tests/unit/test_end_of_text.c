/* end of text: a tokenizer whose template ends in </s> asks, measures and teaches what the same
 * tokenizer without it does; only what is learnt has </s> at its end. */
#include "test.h"
#include "tiny.h"
#include "learn/facts.h"

#define END 97 /* </s>: the spare id of tiny.h's vocabulary */

static smft_ctx *ctx;
static smft_model *plain, *ending; /* the same weights */

static char *replace(char *text, const char *from, const char *to) {
  char *at = strstr(text, from);
  ck_assert_ptr_nonnull(at);
  char *out = calloc(1, strlen(text) + strlen(to) + 1);
  ck_assert_ptr_nonnull(out);
  sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
  free(text);
  return out;
}

/* tiny.h's tokenizer with </s> after its template's text. */
static void add_end(const char *name) {
  size_t size = 0;
  char *text = test_read(test_file(name), &size);
  text = replace(text, "\"added_tokens\": [",
                 "\"added_tokens\": [{\"id\": 97, \"content\": \"</s>\", \"normalized\": false, "
                 "\"special\": true}, ");
  text = replace(text, "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}",
                 "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                 "{\"SpecialToken\": {\"id\": \"</s>\", \"type_id\": 0}}");
  text = replace(text, "\"special_tokens\": {",
                 "\"special_tokens\": {\"</s>\": {\"id\": \"</s>\", \"ids\": [97]}, ");
  test_write(name, text, strlen(text));
  free(text);
}

static void open_both(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  plain = tiny_model(ctx, "model", (tiny){0, 0, 0, 0}, 3);
  add_end("model/tokenizer.json");
  ck_ok(smft_model_init(&ending, ctx, test_file("model"), 3));
}

static void close_both(void) {
  smft_model_free(plain);
  smft_model_free(ending);
  smft_ctx_free(ctx);
}

/* ---- ids ----------------------------------------------------------------- */

static int64_t encode(const char *text, uint32_t flags, int32_t ids[16]) {
  int64_t n = 0;
  ck_ok(
      smft_tokenizer_encode(smft_model_tokenizer(ending), text, strlen(text), flags, ids, 16, &n));
  return n;
}

START_TEST(a_prompt_has_only_what_stands_before) {
  int32_t ids[16];
  ck_assert_int_eq(encode("a", SMFT_ENCODE_SPECIAL, ids), 3);
  ck_assert(ids[0] == 0 && ids[1] == tiny_id('a') && ids[2] == END);
  ck_assert_int_eq(encode("a", SMFT_ENCODE_PROMPT, ids), 2);
  ck_assert(ids[0] == 0 && ids[1] == tiny_id('a'));
  ck_assert_int_eq(encode("a", SMFT_ENCODE_PROMPT | SMFT_ENCODE_SPECIAL, ids), 2);
  ck_assert_int_eq(encode("", SMFT_ENCODE_PROMPT, ids), 1);
  ck_assert_int_eq(encode("a", SMFT_ENCODE_PROMPT | SMFT_ENCODE_CONTINUE, ids), 1);
  ck_assert_int_eq(encode("a", 0, ids), 1);
}
END_TEST

/* ---- generation ---------------------------------------------------------- */

static char *generated(const smft_model *model, const char *prompt, int64_t *held) {
  smft_session *session = NULL;
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  options.max_tokens = 12;
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  ck_ok(smft_session_generate(session, prompt, strlen(prompt), &options, &text, NULL));
  char *copy = strdup(text);
  *held = smft_session_length(session);
  smft_session_free(session);
  return copy;
}

START_TEST(generation_goes_on_after_the_prompt) {
  const char *prompts[] = {"Who wrote Emma?", "a", ""};
  for (int i = 0; i < 3; i++) {
    int64_t a = 0, b = 0;
    char *one = generated(plain, prompts[i], &a), *two = generated(ending, prompts[i], &b);
    ck_assert_str_eq(one, two);
    ck_assert_int_eq(a, b);
    ck_assert_int_eq(a, 1 + (int64_t)strlen(prompts[i]) + 12);
    free(one);
    free(two);
  }
}
END_TEST

/* ---- measuring ----------------------------------------------------------- */

static smft_probe_report measured(const smft_model *model, double scores[8]) {
  const char *endings[] = {" Jane", "Emily", "x"}, *answers[] = {"Jane"};
  smft_probe *probe = NULL;
  smft_session *session = NULL;
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  ck_ok(smft_probe_create(&probe, ctx, NULL));
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  ck_ok(smft_probe_add_question(probe, "q", "Who?", answers, 1));
  ck_ok(smft_probe_add_text(probe, "t", "Jane wrote it."));
  for (int64_t i = 0; i < 3; i++)
    ck_ok(
        smft_probe_add_choice(probe, (const char *[]){"c0", "c1", "c2"}[i], "Who?", endings, 3, i));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_ok(smft_probe_measure(probe, session, NULL, NULL, &report));
  for (int64_t i = 0; i < 5; i++) {
    smft_probe_item item = SMFT_PROBE_ITEM_INIT;
    ck_ok(smft_probe_get_item(probe, i, &item));
    scores[i] = item.after;
  }
  smft_session_free(session);
  smft_probe_free(probe);
  return report;
}

START_TEST(questions_texts_and_choices_are_measured_alike) {
  double a[8] = {0}, b[8] = {0};
  smft_probe_report one = measured(plain, a), two = measured(ending, b);
  ck_assert_mem_eq(a, b, sizeof a);
  ck_assert(one.nll == two.nll && one.f1 == two.f1 && one.accuracy == two.accuracy);
}
END_TEST

/* ---- facts --------------------------------------------------------------- */

static const struct {
  smft_wording wording;
  const char *text;   /* tokens after <s>, a character each; '$' is </s> */
  const char *learnt; /* '1' under each that is learnt */
} facts[] = {
    {{sizeof(smft_wording), 0, "Who? ", "Me", NULL, NULL}, "Who? Me\n$", "000011111"},
    {{sizeof(smft_wording), 0, "Who?", " Me", "", NULL}, "Who? Me$", "00001111"},
    {{sizeof(smft_wording), 0, "", "Me", NULL, NULL}, "Me\n$", "1111"},
    {{sizeof(smft_wording), 0, NULL, "Me", NULL, "It is Me"}, "It is Me$", "000001111"},
    {{sizeof(smft_wording), 0, NULL, "Me", NULL, "Me is it"}, "Me is it$", "110000000"},
    {{sizeof(smft_wording), 0, NULL, "Me", ".", "Me is it"}, "Me is it.$", "1100000011"},
};

START_TEST(an_answer_has_what_stands_after) {
  int which = _i / 2, all = _i % 2;
  const char *text = facts[which].text, *learnt = facts[which].learnt;
  smft__fact *fact = NULL;
  ck_ok(smft__fact_from_text(&fact, ending, "id", &facts[which].wording, 1, all));
  ck_assert_int_eq(fact->n_tokens, 1 + (int64_t)strlen(text));
  ck_assert(fact->ids.data[0] == 0 && fact->weights[0] == 0);
  for (int64_t i = 1; i < fact->n_tokens; i++) {
    ck_assert_int_eq(fact->ids.data[i], text[i - 1] == '$' ? END : tiny_id(text[i - 1]));
    ck_assert_msg((fact->weights[i] != 0) == (all || learnt[i - 1] == '1'), "\"%s\", character %d",
                  text, (int)i - 1);
  }
  smft__fact_free(fact, ctx);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("end_of_text");
  TCase *tests = tcase_create("end_of_text");
  tcase_add_checked_fixture(tests, open_both, close_both);
  tcase_add_test(tests, a_prompt_has_only_what_stands_before);
  tcase_add_test(tests, generation_goes_on_after_the_prompt);
  tcase_add_test(tests, questions_texts_and_choices_are_measured_alike);
  tcase_add_loop_test(tests, an_answer_has_what_stands_after, 0,
                      2 * (int)(sizeof facts / sizeof *facts));
  suite_add_tcase(suite, tests);
  return suite;
}
