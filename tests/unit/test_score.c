/* score: exact match and token F1 of answers, as docs/method.md wants them. */
#include "measure/score.h"
#include "test.h"

static double match, f1;

static void score(const char *answer, const char *const *accepted, int64_t n) {
  match = f1 = -1;
  ck_ok(smft_score_answer(answer, accepted, n, &match, &f1));
  ck_assert(match <= f1);
}

static void score_one(const char *answer, const char *accepted) { score(answer, &accepted, 1); }

static void expect(const char *answer, const char *accepted, double want_match, double want_f1) {
  score_one(answer, accepted);
  ck_assert_msg(match == want_match && fabs(f1 - want_f1) < 1e-12,
                "\"%s\" against \"%s\": %g %g, wanted %g %g", answer, accepted, match, f1,
                want_match, want_f1);
}

START_TEST(normalisation_is_squads) {
  expect(" Jane  Austen.\n", "jane austen", 1, 1);
  expect("The Beatles", "beatles", 1, 1);
  expect("beatles", "A Beatles, an The", 1, 1);
  expect("theatre", "atre", 0, 0); /* an article is a whole word */
  expect("Anna", "na", 0, 0);
  expect("well-known", "wellknown", 1, 1); /* punctuation leaves nothing behind */
  expect("$1,000+", "1000", 1, 1);         /* ASCII symbols count as punctuation, as in SQuAD */
  expect("U.S.A.", "usa", 1, 1);
  expect("tab\tand\r\nline", "tab and line", 1, 1);
}
END_TEST

START_TEST(normalisation_goes_beyond_ascii) {
  expect("ÉDITH PIAF", "édith piaf", 1, 1);
  expect("ΑΘΗΝΑ", "αθηνα", 1, 1);
  expect("МОСКВА", "москва", 1, 1);
  /* accent apart, accent together */
  expect("e\xcc\x81"
         "dith",
         "\xc3\xa9"
         "dith",
         1, 1);
  expect("1914\xe2\x80\x93"
         "1918",
         "1914-1918", 1, 1);                                    /* en dash */
  expect("\xe2\x80\x9cHamlet\xe2\x80\x9d", "\"Hamlet\"", 1, 1); /* curly quotes */
  /* ideographic full stop */
  expect("\xe6\x9d\xb1\xe4\xba\xac\xe3\x80\x82", "\xe6\x9d\xb1\xe4\xba\xac", 1, 1);
  /* no-break and ideographic space */
  expect("New\xc2\xa0York\xe3\x80\x80"
         "City",
         "new york city", 1, 1);
  /* an accent is part of the name */
  expect("Montreal", "Montréal", 0, 0);
  /* lower case takes more bytes than upper case */
  expect("\xc8\xba", "\xe2\xb1\xa5", 1, 1);
}
END_TEST

START_TEST(f1_is_of_multisets) {
  expect("the cat sat", "cat sat down", 0, 2.0 * 2 / (2 + 3));
  expect("cat", "cat cat", 0, 2.0 / 3.0);
  expect("cat cat", "cat cat", 1, 1);
  expect("a b b c", "b b b", 0, 2.0 * 2 / (3 + 3)); /* "a" is an article */
  expect("austen jane", "jane austen", 0, 1);       /* order counts for the match only */
  expect("red", "blue", 0, 0);
}
END_TEST

START_TEST(empty_matches_only_empty) {
  expect("", "", 1, 1);
  expect("", "The!", 1, 1);
  expect(" \n", "...", 1, 1);
  expect("", "Paris", 0, 0);
  expect("Paris", "", 0, 0);
}
END_TEST

START_TEST(best_over_aliases) {
  const char *aliases[] = {"City of Saint Mary", "Ville-Marie", "Montreal"};
  score("montreal.", aliases, 3);
  ck_assert(match == 1 && f1 == 1);
  score("the city of Mary", aliases, 3);
  ck_assert(match == 0 && fabs(f1 - 2.0 * 3 / 7) < 1e-12);
  score("Toronto", aliases, 3);
  ck_assert(match == 0 && f1 == 0);
}
END_TEST

START_TEST(match_never_above_f1) {
  static const char *const texts[] = {"",  "a",   "the", "The Who", "who", "Who?",     "who who",
                                      "!", "a-b", "ab",  "a b",     "b a", "İstanbul", "istanbul"};
  const int n = (int)(sizeof texts / sizeof *texts);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      score_one(texts[i], texts[j]); /* checks match <= f1 */
      double one_way = f1;
      score_one(texts[j], texts[i]);
      ck_assert(one_way == f1 && f1 >= 0 && f1 <= 1);
      ck_assert(i != j || match == 1);
    }
}
END_TEST

START_TEST(long_answers_are_quick) { /* n log n: 200,000 words in well under a second */
  const size_t words = 200000;
  char *text = malloc(words * 8 + 1), *at = text;
  for (size_t i = 0; i < words; i++)
    at += sprintf(at, "w%zu ", (i * 7919) % 100000);
  score_one(text, text);
  ck_assert(match == 1 && f1 == 1);
  free(text);
}
END_TEST

START_TEST(bad_arguments) {
  const char *one[] = {"x"}, *hole[] = {"x", NULL}, *bad[] = {"\xc3("};
  ck_status(smft_score_answer(NULL, one, 1, &match, &f1), SMFT_E_INVALID);
  ck_status(smft_score_answer("x", NULL, 1, &match, &f1), SMFT_E_INVALID);
  ck_status(smft_score_answer("x", one, 0, &match, &f1), SMFT_E_INVALID);
  ck_status(smft_score_answer("x", hole, 2, &match, &f1), SMFT_E_INVALID);
  match = 7;
  ck_status(smft_score_answer("x", bad, 1, &match, &f1), SMFT_E_ENCODING);
  ck_status(smft_score_answer("\xff", one, 1, &match, &f1), SMFT_E_ENCODING);
  ck_assert(match == 7); /* nothing is written on failure */
  ck_ok(smft_score_answer("x", one, 1, NULL, NULL));
}
END_TEST

START_TEST(words_in_order) {
  smft__words words;
  ck_ok(smft__words_read(&words, NULL, "The  Quick, an A brown-Fox!"));
  ck_assert_int_eq(words.n, 2);
  ck_assert_int_eq(words.words[0].length, 5);
  ck_assert_int_eq(words.words[0].code[0], 'q');
  ck_assert_int_eq(words.words[1].length, 8);
  ck_assert_int_eq(words.words[1].code[5], 'f');
  smft__words_free(&words);
  smft__words_free(&words); /* a freed one is empty */
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("score");
  TCase *tests = tcase_create("score");
  tcase_add_test(tests, normalisation_is_squads);
  tcase_add_test(tests, normalisation_goes_beyond_ascii);
  tcase_add_test(tests, f1_is_of_multisets);
  tcase_add_test(tests, empty_matches_only_empty);
  tcase_add_test(tests, best_over_aliases);
  tcase_add_test(tests, match_never_above_f1);
  tcase_add_test(tests, long_answers_are_quick);
  tcase_add_test(tests, bad_arguments);
  tcase_add_test(tests, words_in_order);
  suite_add_tcase(suite, tests);
  return suite;
}
