/* Every vector of real tokenizers: made with the Rust tokenizers library (ids, ids with special
 * tokens, decoded text), and llama.cpp's. */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/file.h"
#include "data/json.h"
#include "data/tokenizer.h"
#include "data/tokenizer/decode.h"
#include "support/test.h"

static smft_ctx *ctx;
static int64_t at_first;

static void setup(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_ok(smft_ctx_memory(ctx, &at_first, NULL));
}
static void teardown(void) {
  int64_t now = -1;
  ck_ok(smft_ctx_memory(ctx, &now, NULL));
  ck_assert_int_eq(now, at_first);
  smft_ctx_free(ctx);
}

static smft_tokenizer *load(const char *name) {
  smft_tokenizer *tokenizer = NULL;
  ck_ok(smft_tokenizer_load(&tokenizer, ctx, test_shared(name)));
  return tokenizer;
}

static void check_ids(const smft_tokenizer *tokenizer, const char *text, size_t length,
                      uint32_t flags, const int32_t *expected, int64_t n_expected) {
  int64_t n = -1, again = -1;
  ck_ok(smft_tokenizer_encode(tokenizer, text, length, flags, NULL, 0, &n));
  int32_t *ids = malloc(sizeof *ids * (size_t)(n + 1));
  ck_ok(smft_tokenizer_encode(tokenizer, text, length, flags, ids, n + 1, &again));
  ck_assert_int_eq(n, again);
  for (int64_t i = 0; i < n && i < n_expected; i++)
    ck_assert_msg(ids[i] == expected[i], "\"%s\": id %d of %d is %d, expected %d", text, (int)i,
                  (int)n, ids[i], expected[i]);
  ck_assert_msg(n == n_expected, "\"%s\": %lld ids, expected %lld", text, (long long)n,
                (long long)n_expected);
  free(ids);
}

static int32_t *ids_of(const json_t *list, int64_t *n) {
  *n = (int64_t)json_array_size(list);
  int32_t *ids = malloc(sizeof *ids * (size_t)(*n + 1));
  for (int64_t i = 0; i < *n; i++)
    ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
  return ids;
}

/* The text of the stream of single tokens is the text of all of them, save that it keeps what is
 * not UTF-8. */
static void check_stream(const smft_tokenizer *tokenizer, const int32_t *ids, int64_t n,
                         const char *decoded, size_t n_decoded) {
  smft__buffer out = {ctx, NULL, 0, 0};
  smft__decode_work work;
  int first = 1;
  smft__decode_work_init(&work, ctx);
  for (int64_t i = 0; i < n; i++)
    ck_ok(smft__tokenizer_decode_bytes(tokenizer, &work, ids[i], 0, &first, &out));
  smft__decode_work_free(&work);
  ck_assert_uint_eq((size_t)out.length, n_decoded);
  if (n_decoded > 0)
    ck_assert_mem_eq(out.data, decoded, n_decoded);
  smft__buffer_free(&out);
}

static void check_decoded(const smft_tokenizer *tokenizer, const int32_t *ids, int64_t n,
                          const char *decoded, size_t n_decoded) {
  char text[4096];
  size_t length = 0;
  ck_ok(smft_tokenizer_decode(tokenizer, ids, n, 0, text, sizeof text, &length));
  ck_assert_uint_eq(length, n_decoded);
  ck_assert_mem_eq(text, decoded, length + 1);
}

static void check_vector(const smft_tokenizer *tokenizer, const json_t *vector) {
  const json_t *text_json = json_object_get(vector, "text"),
               *decoded_json = json_object_get(vector, "decoded");
  const char *text = json_string_value(text_json), *decoded = json_string_value(decoded_json);
  size_t length = json_string_length(text_json), n_decoded = json_string_length(decoded_json);
  int64_t n, n_special;
  int32_t *ids = ids_of(json_object_get(vector, "ids"), &n);
  int32_t *special = ids_of(json_object_get(vector, "ids_with_special"), &n_special);
  check_ids(tokenizer, text, length, 0, ids, n);
  check_ids(tokenizer, text, length, SMFT_ENCODE_SPECIAL, special, n_special);
  check_decoded(tokenizer, ids, n, decoded, n_decoded);
  if (!strstr(text, "<|") && !strstr(text, "<s>"))
    check_stream(tokenizer, ids, n, decoded, n_decoded);
  free(ids);
  free(special);
}

static void check_file(const char *vectors, const char *tokenizer_name) {
  smft_tokenizer *tokenizer = load(tokenizer_name);
  json_error_t error;
  json_t *root = json_load_file(test_shared(vectors), JSON_ALLOW_NUL, &error);
  ck_assert_uint_eq(json_array_size(root), 21);
  for (size_t i = 0; i < json_array_size(root); i++)
    check_vector(tokenizer, json_array_get(root, i));
  json_decref(root);
  smft_tokenizer_free(tokenizer);
}

START_TEST(rust_stories) { check_file("tok/vectors/stories260K.json", "models/stories260K"); }
END_TEST
START_TEST(rust_llama3) {
  check_file("tok/vectors/hf_llama3.json", "tok/hf_llama3/tokenizer.json");
}
END_TEST
START_TEST(rust_qwen3) { check_file("tok/vectors/hf_qwen3.json", "tok/hf_qwen3"); }
END_TEST

/* ---- llama.cpp's: texts in one file, a line of ids for each in another ---- */

#define SEPARATOR "\n__ggml_vocab_test__\n"

static int64_t read_line(char **at, int32_t *ids, int64_t capacity) {
  int64_t n = 0;
  while (**at && **at != '\n') {
    char *end;
    long id = strtol(*at, &end, 10);
    if (end == *at)
      break;
    ck_assert_int_lt(n, capacity);
    ids[n++] = (int32_t)id;
    *at = end;
  }
  while (**at && *(*at)++ != '\n') {
  }
  return n;
}

static char *read_text(const char *name) {
  smft__file file = {0};
  ck_ok(smft__file_open(&file, ctx, test_shared(name), 0));
  char *text = calloc(1, (size_t)file.size + 1);
  memcpy(text, file.data, (size_t)file.size);
  smft__file_close(&file);
  return text;
}

static void check_ggml(const char *name, const char *tokenizer_name) {
  char path[256];
  static int32_t ids[4096];
  int n_texts = 0;
  smft_tokenizer *tokenizer = load(tokenizer_name);
  snprintf(path, sizeof path, "tok/vectors/ggml-vocab-%s.gguf.inp", name);
  char *input = read_text(path);
  snprintf(path, sizeof path, "tok/vectors/ggml-vocab-%s.gguf.out", name);
  char *output = read_text(path), *line = output;
  /* the last text is empty */
  for (char *text = input, *end; text; text = end ? end + strlen(SEPARATOR) : NULL, n_texts++) {
    end = strstr(text, SEPARATOR);
    size_t size = end ? (size_t)(end - text) : strlen(text);
    if (end)
      *end = '\0';
    int64_t n = read_line(&line, ids, 4096);
    check_ids(tokenizer, text, size, 0, ids, n);
  }
  ck_assert_int_eq(n_texts, 47);
  free(input);
  free(output);
  smft_tokenizer_free(tokenizer);
}

START_TEST(ggml_gpt2) { check_ggml("gpt-2", "tok/gpt2"); }
END_TEST
START_TEST(ggml_llama3) { check_ggml("llama-bpe", "tok/hf_llama3"); }
END_TEST
START_TEST(ggml_qwen2) { check_ggml("qwen2", "tok/hf_qwen3"); }
END_TEST

Suite *make_suite(void) {
  test_need_shared("tok/vectors/hf_llama3.json");
  Suite *suite = suite_create("tokenizer_vectors");
  TCase *tests = tcase_create("vectors");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, rust_stories);
  tcase_add_test(tests, rust_llama3);
  tcase_add_test(tests, rust_qwen3);
  tcase_add_test(tests, ggml_gpt2);
  tcase_add_test(tests, ggml_llama3);
  tcase_add_test(tests, ggml_qwen2);
  suite_add_tcase(suite, tests);
  return suite;
}
