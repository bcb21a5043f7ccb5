/* Tokenizers from GGUF files, small ones made by make_vocab_gguf.py, against what llama.cpp makes
 * of the same texts with the same files (tokenizer_gguf.json, by tokenize_llama_cpp.mjs). */
#include "data/tokenizer.h"
#include "support/test.h"
#include <jansson.h>

static smft_ctx *ctx;
static json_t *root;

static void setup(void) {
  json_error_t error;
  ck_ok(smft_ctx_create(&ctx, NULL));
  root = json_load_file(test_source("tests/golden/tokenizer_gguf.json"), 0, &error);
  ck_assert_msg(root != NULL, "%s", error.text);
}

static void teardown(void) {
  json_decref(root);
  smft_ctx_free(ctx);
}

static const char *const names[] = {"bpe.gguf", "bpe_plain.gguf", "spm.gguf", "spm_plain.gguf"};

static smft_tokenizer *load(const char *name) {
  char path[256];
  smft_tokenizer *tokenizer = NULL;
  snprintf(path, sizeof path, "tests/golden/tokenizer_gguf/%s", name);
  ck_ok(smft_tokenizer_load(&tokenizer, ctx, test_source(path)));
  return tokenizer;
}

static int64_t encode(const smft_tokenizer *t, const char *text, uint32_t flags, int32_t *ids) {
  int64_t n = -1;
  ck_ok(smft_tokenizer_encode(t, text, strlen(text), flags, ids, 1024, &n));
  return n;
}

static void check_ids(const char *name, const char *text, const int32_t *ids, int64_t n,
                      const json_t *expected) {
  for (int64_t i = 0; i < n || i < (int64_t)json_array_size(expected); i++) {
    long long theirs = json_integer_value(json_array_get(expected, (size_t)i));
    ck_assert_msg(i < n && i < (int64_t)json_array_size(expected) && ids[i] == theirs,
                  "%s, \"%s\": id %d of %d is %d, llama.cpp's is %lld of %d", name, text, (int)i,
                  (int)n, i < n ? ids[i] : -1, theirs, (int)json_array_size(expected));
  }
}

START_TEST(ids_are_llama_cpps) {
  int32_t ids[1024];
  smft_tokenizer *t = load(names[_i]);
  const json_t *texts = json_object_get(root, "texts");
  const json_t *lists = json_object_get(json_object_get(root, names[_i]), "ids");
  ck_assert_uint_eq(json_array_size(texts), json_array_size(lists));
  for (size_t i = 0; i < json_array_size(texts); i++) {
    const char *text = json_string_value(json_array_get(texts, i));
    const json_t *both = json_array_get(lists, i);
    int64_t n = encode(t, text, SMFT_ENCODE_NO_PARSE, ids);
    check_ids(names[_i], text, ids, n, json_array_get(both, 0));
    n = encode(t, text, 0, ids);
    check_ids(names[_i], text, ids, n, json_array_get(both, 1));
  }
  smft_tokenizer_free(t);
}
END_TEST

static int holds(const json_t *list, int32_t id) {
  for (size_t i = 0; i < json_array_size(list); i++)
    if (json_integer_value(json_array_get(list, i)) == id)
      return 1;
  return 0;
}

START_TEST(stops_are_llama_cpps) {
  smft_tokenizer *t = load(names[_i]);
  const json_t *theirs = json_object_get(json_object_get(root, names[_i]), "stops");
  const int32_t *ids = NULL;
  int64_t n = 0;
  smft__tokenizer_stops(t, &ids, &n);
  ck_assert_int_eq(n, (int64_t)json_array_size(theirs));
  for (int64_t i = 0; i < n; i++)
    ck_assert(holds(theirs, ids[i]));
  smft_tokenizer_free(t);
}
END_TEST

/* What is no text of its own, and added tokens: a space stays after each of those. */
static int comes_back_changed(const char *text) {
  static const char *const parts[] = {"\xE2\x96\x81", "<", "  ", "\n", "xy", "yzz"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (strstr(text, parts[i]))
      return 1;
  return 0;
}

/* SentencePiece's have all bytes; the others lack two on purpose. */
START_TEST(text_comes_back) {
  int32_t ids[1024];
  char back[1024];
  size_t length;
  int n_texts = 0;
  smft_tokenizer *t = load(names[2 + _i]);
  const json_t *texts = json_object_get(root, "texts");
  for (size_t i = 0; i < json_array_size(texts); i++) {
    const char *text = json_string_value(json_array_get(texts, i));
    if (comes_back_changed(text))
      continue;
    int64_t n = encode(t, text, SMFT_ENCODE_SPECIAL, ids);
    ck_ok(smft_tokenizer_decode(t, ids, n, SMFT_DECODE_SKIP_SPECIAL, back, sizeof back, &length));
    ck_assert_str_eq(back, text);
    n_texts++;
  }
  ck_assert_int_ge(n_texts, 10);
  smft_tokenizer_free(t);
}
END_TEST

START_TEST(what_stands_around_a_text) {
  int32_t ids[16];
  smft_tokenizer *bpe = load("bpe.gguf"), *plain = load("bpe_plain.gguf"), *spm = load("spm.gguf");
  ck_assert_int_eq(encode(bpe, "", SMFT_ENCODE_SPECIAL, ids), 0); /* smollm adds nothing */
  ck_assert_int_eq(encode(plain, "", SMFT_ENCODE_SPECIAL, ids), 1);
  ck_assert_int_eq(ids[0], 2); /* the file: no begin-of-text, but its end */
  ck_assert_int_eq(encode(plain, "", SMFT_ENCODE_PROMPT, ids), 0);
  ck_assert_int_eq(encode(spm, "", SMFT_ENCODE_SPECIAL, ids), 1);
  ck_assert_int_eq(ids[0], 1);
  int32_t one[16], more[16];
  int64_t n = encode(spm, "the", 0, one), m = encode(spm, "the", SMFT_ENCODE_CONTINUE, more);
  ck_assert(n != m || memcmp(one, more, (size_t)n * sizeof *one) != 0); /* no space before it */
  smft_tokenizer_free(bpe);
  smft_tokenizer_free(plain);
  smft_tokenizer_free(spm);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("tokenizer_gguf");
  TCase *tests = tcase_create("tokenizer_gguf");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_loop_test(tests, ids_are_llama_cpps, 0, 4);
  tcase_add_loop_test(tests, stops_are_llama_cpps, 0, 4);
  tcase_add_loop_test(tests, text_comes_back, 0, 2);
  tcase_add_test(tests, what_stands_around_a_text);
  suite_add_tcase(suite, tests);
  return suite;
}
