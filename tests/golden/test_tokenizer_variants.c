/* Small tokenizers with every part that the library reads, against what the Rust tokenizers library
 * makes of the same texts (tokenizer_variants.json, by make_tokenizer_variants.py). */
#include "support/test.h"
#include <jansson.h>

static smft_ctx *ctx;
static json_t *root;
static char path[64];

static void setup(void) {
  json_error_t error;
  ck_ok(smft_ctx_create(&ctx, NULL));
  root = json_load_file(test_source("tests/golden/tokenizer_variants.json"), 0, &error);
  ck_assert_msg(root != NULL, "%s", error.text);
  strcpy(path, "/tmp/smft_variant_XXXXXX");
  int file = mkstemp(path);
  ck_assert_int_ge(file, 0);
  close(file);
}

static void teardown(void) {
  json_decref(root);
  remove(path);
  smft_ctx_free(ctx);
}

/* The base's tokenizer.json with the variant's changes, as a file. */
static smft_tokenizer *load_variant(const json_t *variant) {
  smft_tokenizer *tokenizer = NULL;
  const char *base = json_string_value(json_object_get(variant, "base")), *key;
  json_t *whole = json_deep_copy(json_object_get(json_object_get(root, "bases"), base)), *change;
  json_t *changes = json_object_get(variant, "changes");
  json_object_foreach(changes, key, change) {
    if (strcmp(key, "model") == 0)
      json_object_update(json_object_get(whole, "model"), change);
    else
      json_object_set(whole, key, change);
  }
  ck_assert_int_eq(json_dump_file(whole, path, 0), 0);
  json_decref(whole);
  ck_ok(smft_tokenizer_load(&tokenizer, ctx, path));
  return tokenizer;
}

static void check_ids(const smft_tokenizer *t, const char *name, const json_t *vector,
                      int32_t flags, const json_t *expected) {
  const char *text = json_string_value(json_array_get(vector, 0));
  int32_t ids[2048];
  int64_t n = 0, wanted = (int64_t)json_array_size(expected);
  ck_ok(smft_tokenizer_encode(t, text, strlen(text), (uint32_t)flags, ids, 2048, &n));
  for (int64_t i = 0; i < n && i < wanted; i++)
    ck_assert_msg(ids[i] == json_integer_value(json_array_get(expected, (size_t)i)),
                  "%s: \"%s\": id %d differs", name, text, (int)i);
  ck_assert_msg(n == wanted, "%s: \"%s\": %d ids, expected %d", name, text, (int)n, (int)wanted);
}

static void check_text(const smft_tokenizer *t, const char *name, const json_t *ids_json,
                       uint32_t flags, const json_t *expected) {
  int32_t ids[2048];
  int64_t n = (int64_t)json_array_size(ids_json);
  char text[8192];
  size_t length = 0;
  for (int64_t i = 0; i < n; i++)
    ids[i] = (int32_t)json_integer_value(json_array_get(ids_json, (size_t)i));
  ck_ok(smft_tokenizer_decode(t, ids, n, flags, text, sizeof text, &length));
  ck_assert_msg(strcmp(text, json_string_value(expected)) == 0,
                "%s: decoded \"%s\", expected \"%s\"", name, text, json_string_value(expected));
}

START_TEST(all_variants) {
  const json_t *variants = json_object_get(root, "variants");
  int n_vectors = 0;
  for (size_t i = 0; i < json_array_size(variants); i++) {
    const json_t *variant = json_array_get(variants, i),
                 *vectors = json_object_get(variant, "vectors");
    const char *name = json_string_value(json_object_get(variant, "name"));
    smft_tokenizer *t = load_variant(variant);
    for (size_t k = 0; k < json_array_size(vectors); k++, n_vectors++) {
      const json_t *vector = json_array_get(vectors, k), *special = json_array_get(vector, 2);
      check_ids(t, name, vector, 0, json_array_get(vector, 1));
      check_ids(t, name, vector, SMFT_ENCODE_SPECIAL, special);
      check_text(t, name, special, 0, json_array_get(vector, 3));
      check_text(t, name, special, SMFT_DECODE_SKIP_SPECIAL, json_array_get(vector, 4));
    }
    smft_tokenizer_free(t);
  }
  ck_assert_int_gt(n_vectors, 400);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("tokenizer_variants");
  TCase *tests = tcase_create("variants");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, all_variants);
  suite_add_tcase(suite, tests);
  return suite;
}
