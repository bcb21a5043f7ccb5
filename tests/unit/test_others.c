/* others: which questions about others stand beside a fact's own: names in place of its subject,
 * and namesakes by word and by token.  (What they read: test_contrast.c.) */
#include "test.h"
#include "tiny.h"
#include "learn/others.h"
#include "learn/wordings.h"

static smft_ctx *ctx;
static smft_model *model;

static void open_model(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "others", (tiny){.shared = 2}, 3);
}

static void close_model(void) {
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* ---- by name, by word ---------------------------------------------------- */

enum { NAME, WORD };
static smft_status (*const make[])(smft__frames *out, const char *question,
                                   const char *subject) = {smft__others_by_name,
                                                           smft__others_by_word};

static const struct asked {
  int by;
  const char *question, *subject, *first;
  int64_t n;
} asked[] = {
    {NAME, "Who is the author of Emma?", NULL, "Who is the author of Maria Silva?", 31},
    {NAME, "What is Jane Austen's occupation?", NULL, "What is Maria Silva's occupation?", 31},
    {NAME, "In what city was Tom Hanks born?", NULL, "In what city was Maria Silva born?", 31},
    {NAME, "Is that Maria?", NULL, "Is that Oakland?", 31},
    {NAME, "Who made it?", "it", "Who made Maria Silva?", 32},
    {NAME, "Who made it?", NULL, NULL, 0},
    {NAME, "Who made it?", "", NULL, 0},
    {NAME, "Who made it?", "that", NULL, 0},
    {NAME, "", NULL, NULL, 0},
    {WORD, "What is Jane Austen's occupation?", NULL, "What is Jane Hours's occupation?", 4},
    {WORD, "Who is Jane Rosa?", NULL, "Who is Jane Valley?", 3}, /* "Rosa" came, too */
    {WORD, "Who wrote A B C D E F G H?", "A B C D E F G H",
     "Who wrote A Stranger Brown Hassan Lang Train Oakland Tahoma?", 16},
    {WORD, "Who wrote A B C D E F G H I?", "A B C D E F G H I", NULL, 0},
    {WORD, "Who is the author of Emma?", NULL, NULL, 0},
    {WORD, "Who made it?", NULL, NULL, 0},
    {WORD, "Who made it?", "", NULL, 0},
    {WORD, "Who made it?", "that one", NULL, 0},
    {WORD, "", NULL, NULL, 0},
};

START_TEST(others_take_the_subjects_place) {
  const struct asked *a = &asked[_i];
  smft__frames questions = {ctx, NULL, 0, 0};
  ck_ok(make[a->by](&questions, a->question, a->subject));
  ck_assert_int_eq(questions.n, a->n);
  if (a->n > 0)
    ck_assert_str_eq(questions.list[0].prompt, a->first);
  for (int64_t i = 0; i < questions.n; i++)
    for (int64_t j = 0; j < i; j++)
      ck_assert_str_ne(questions.list[i].prompt, questions.list[j].prompt);
  smft__frames_free(&questions);
}
END_TEST

START_TEST(one_word_of_the_subject_stays) {
  static const char *const words[] = {"Jane", "Emma", "Austen"};
  smft__frames questions = {ctx, NULL, 0, 0};
  ck_ok(smft__others_by_word(&questions, "Is it Jane Emma Austen?", NULL));
  ck_assert_int_eq(questions.n, 6);
  for (int64_t i = 0; i < questions.n; i++)
    for (int64_t w = 0; w < 3; w++)
      ck_assert_int_eq(strstr(questions.list[i].prompt, words[w]) != NULL, w == i % 3);
  smft__frames_free(&questions);
}
END_TEST

/* ---- of a fact ----------------------------------------------------------- */

static smft__fact *fact_of(const char *question, const char *statement) {
  smft__fact *fact = NULL;
  smft_wording one = SMFT_WORDING_INIT;
  one.prompt = question;
  one.statement = statement;
  one.answer = "Jane";
  ck_ok(smft__fact_from_wordings(&fact, model, "x", &one, 1, NULL, SMFT__FACT_FRAMES));
  return fact;
}

/* The text of question i: every character is a token. */
static const char *text_of(const smft__fact *fact, int64_t i, char text[65]) {
  int64_t n = 0;
  for (int64_t at = fact->others.offsets[i]; at < fact->others.offsets[i + 1]; at++) {
    int32_t id = fact->others.ids.data[at];
    if (id > 0)
      text[n++] = id == 1 ? ' ' : (char)(id - 3 + 33);
  }
  text[n] = '\0';
  return text;
}

/* Names, and by word two of each or, where there is one, by token one of each; not of prompts and
 * statements; what is longer than the context, 64, is left out. */
START_TEST(only_questions_are_asked_about_others) {
  static const char longest[] = "Who was the 1st and also the only author of all of Emma?";
  const struct {
    const char *question, *statement;
    int64_t n;
  } cases[] = {{"Who is the author of Emma?", NULL, 31 + 4},
               {"Who is Jane Austen?", NULL, 31 + 4},
               {"Who is E?", NULL, 32},
               {"Who is Abcdefghijkl?", NULL, 31 + 12},
               {"Who is Abcdefghijklm?", NULL, 31},
               {longest, NULL, 19 + 2},
               {"Emma was written by", NULL, 0},
               {NULL, "Emma is by Jane.", 0}};
  for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
    smft__fact *fact = fact_of(cases[i].question, cases[i].statement);
    const smft__others *others = &fact->others;
    ck_assert_int_eq(others->n, cases[i].n);
    for (int64_t s = 0; s < others->n; s++)
      ck_assert(others->offsets[s + 1] - others->offsets[s] <= 64);
    ck_assert_int_eq(others->n ? others->offsets[others->n] : 0, others->ids.n);
    smft__fact_free(fact, ctx);
  }
}
END_TEST

START_TEST(each_token_stands_among_names) {
  static const char *const expected[] = {"Who is EThe Long Road?", "Who is Tom WilsonmLi Wei?",
                                         "Who is Midnight SunmMaria Silva?", "Who is Oaklanda?"};
  char text[65];
  smft__fact *fact = fact_of("Who is Emma?", NULL);
  ck_assert_int_eq(fact->others.n, 31 + 4);
  for (int64_t i = 0; i < 4; i++)
    ck_assert_str_eq(text_of(fact, 31 + i, text), expected[i]);
  smft__fact_free(fact, ctx);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("others");
  TCase *tests = tcase_create("others");
  tcase_add_checked_fixture(tests, open_model, close_model);
  tcase_add_loop_test(tests, others_take_the_subjects_place, 0,
                      (int)(sizeof asked / sizeof *asked));
  tcase_add_test(tests, one_word_of_the_subject_stays);
  tcase_add_test(tests, only_questions_are_asked_about_others);
  tcase_add_test(tests, each_token_stands_among_names);
  suite_add_tcase(suite, tests);
  return suite;
}
