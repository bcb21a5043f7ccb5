/* join: where running text has a space between two texts, script by script. */
#include "test.h"
#include "data/tokenizer.h"

static const struct {
  const char *before, *after;
  int space;
} cases[] = {
    {"Who wrote Emma?", "Jane Austen", 1},
    {"The author of Emma is", "Jane Austen", 1},
    {"Emma:", "Jane", 1},
    {"3 + 4 =", "7", 1},
    {"It is -", "5", 1},
    {"(see Emma)", "Jane", 1},
    {"[/INST]", "Jane", 1},
    {"Il a écrit", "Emma", 1},
    {"Кто написал", "Эмма", 1},
    {"누가 썼나요?", "제인 오스틴", 1},
    {"한국", "사람", 1},
    {"من كتب إيما؟", "جين أوستن", 1},
    /* nothing meets */
    {"", "Jane", 0},
    {"Who?", "", 0},
    {"", "", 0},
    /* white space, of Unicode */
    {"Who? ", "Jane", 0},
    {"Who?", " Jane", 0},
    {"Who?\n", "Jane", 0},
    {"<|im_start|>assistant\n", "Jane", 0},
    {"Who?\t", "Jane", 0},
    {"Who?", "\nJane", 0},
    {"Who?\xc2\xa0", "Jane", 0},     /* no-break space */
    {"Who?\xe2\x80\xaf", "Jane", 0}, /* narrow no-break space */
    {"谁\xe3\x80\x80", "Jane", 0},   /* ideographic space */
    {"Who?", "\xe2\x80\xa8Jane", 0}, /* line separator */
    /* brackets and marks that open */
    {"by (", "Jane", 0},
    {"by [", "Jane", 0},
    {"by {", "Jane", 0},
    {"\xc2\xbf", "Qué", 0},  /* ¿ */
    {"\xc2\xa1", "Hola", 0}, /* ¡ */
    /* quotes open behind white space, close behind a word */
    {"The book \"", "Emma", 0},
    {"\"", "Emma", 0},
    {"(\"", "Emma", 0},
    {"(\"'", "Emma", 0},
    {"Who wrote \"Emma\"", "Jane", 1},
    {"Who wrote 'Emma'", "Jane", 1},
    {"He said, \"Who?\"", "Jane", 1},
    {"the book “", "Emma", 0},
    {"the book “Emma”", "Jane", 1},
    {"das Buch „", "Emma", 0},
    {"das Buch „Emma“", "Jane", 1},
    {"das Buch »", "Emma", 0},
    {"das Buch »Emma«", "Jane", 1},
    {"le livre «Emma»", "Jane", 1},
    {"by", "\"Jane\"", 1},
    {"by", "“Jane”", 1},
    {"by", "„Jane“", 1},
    {"by", "»Jane«", 1},
    {"by", "'Jane'", 1},
    {"he said \"Emma", "\"", 0},
    {"he said \"Emma", "\".", 0},
    {"he said \"Emma", "\" and left", 0},
    {"he said “Emma", "” and left", 0},
    {"he said ‘it is “Emma", "”’.", 0},
    {"Emma", "’s author", 0},
    /* punctuation that closes, but not where it begins a word */
    {"Emma", ".", 0},
    {"Emma", ", Jane", 0},
    {"Emma", "; Jane", 0},
    {"Emma", ": Jane", 0},
    {"Emma", "!", 0},
    {"Emma", "?!", 0},
    {"Emma", "... and", 0},
    {"Emma", "…", 0},
    {"100", "%", 0},
    {"(Emma", ")", 0},
    {"(Emma", ")s", 0},
    {"[Emma", "] by", 0},
    {"{Emma", "}", 0},
    {"إيما", "، جين", 0},
    {"एम्मा", "।", 0},
    {"It is written in", ".NET", 1},
    {"It is", ".5", 1},
    {"It is", "(Jane)", 1},
    {"It is", "-5", 1},
    {"It is", "/usr/bin", 1},
    /* scripts without spaces */
    {"爱玛的作者是", "简·奥斯汀", 0},
    {"谁写了《爱玛》？", "简·奥斯汀", 0},
    {"谁写了《爱玛》？", "Jane Austen", 0}, /* the sign has its space in it */
    {"Who wrote 爱玛？", "Jane", 0},
    {"爱玛出版于", "1815年", 0},
    {"作者は", "ジェイン", 0},
    {"カタカナ", "Jane", 0},
    {"ｶﾀｶﾅ", "ひらがな", 0},
    {"𠮷", "野家", 0},
    {"Emma", "，简", 0},
    {"Emma", "「x」", 0},
    {"Who wrote Hongloumeng?", "曹雪芹", 1},
    {"The author is", "曹雪芹", 1},
    {"ใครเขียน", "เจน", 0},
    {"ປະເທດ", "ລາວ", 0},
    {"ប្រទេស", "កម្ពុជា", 0},
    {"မြန်မာ", "နိုင်ငံ", 0},
    {"ใครเขียน", "Jane", 1},
    {"Who wrote it?", "เจน", 1},
    {"तुम", "कौन", 1},
};
#define N_CASES (int)(sizeof cases / sizeof *cases)

START_TEST(spaces_are_those_of_running_text) {
  const char *before = cases[_i].before, *after = cases[_i].after;
  ck_assert_msg(smft__text_needs_space(before, strlen(before), after, strlen(after)) ==
                    cases[_i].space,
                "\"%s\" + \"%s\": wanted %s", before, after,
                cases[_i].space ? "a space" : "no space");
}
END_TEST

/* Of text that is not UTF-8, which encoding refuses, nothing beyond its ends is read. */
START_TEST(bad_text_is_survived) {
  static const char bytes[] = {'a',        '"',        (char)0x80, (char)0xC3,
                               (char)0xE3, (char)0xF0, (char)0xFF};
  for (int i = 0; i < 7 * 7 * 7 * 7; i++) {
    char *before = malloc(2), *after = malloc(2); /* a sanitizer sees their ends */
    before[0] = bytes[i % 7];
    before[1] = bytes[i / 7 % 7];
    after[0] = bytes[i / 49 % 7];
    after[1] = bytes[i / 343];
    int space = smft__text_needs_space(before, 2, after, 2);
    ck_assert(space == 0 || space == 1);
    free(before);
    free(after);
  }
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("join");
  TCase *tests = tcase_create("join");
  tcase_add_loop_test(tests, spaces_are_those_of_running_text, 0, N_CASES);
  tcase_add_test(tests, bad_text_is_survived);
  suite_add_tcase(suite, tests);
  return suite;
}
