/* export: what goes with a model besides its weights, and numbers that the type asked for cannot
 * hold: nothing is written of them, whatever is saved. */
#include "tiny.h"

#include "data/json.h"
#include "data/safetensors.h"
#include "learn/selector.h"
#include "model/patch.h"

static smft_ctx *ctx;
static smft_model *model;

static void setup(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "m", (tiny){0}, 1);
}

static void teardown(void) {
  smft_model_free(model);
  smft_ctx_free(ctx);
}

static void said(const char *needle) {
  ck_assert_msg(strstr(smft_error_message(), needle) != NULL, "message lacks \"%s\": %s", needle,
                smft_error_message());
}

static smft_status export_as(const smft_model *from, smft_patch *patch, const char *path,
                             int32_t dtype, int32_t format) {
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  options.dtype = dtype;
  options.format = format;
  return smft_model_export(from, patch, path, &options);
}

static int same_file(const char *a, const char *b) {
  size_t n, m;
  char *one = test_read(a, &n), *other = test_read(b, &m);
  int same = n == m && memcmp(one, other, n) == 0;
  free(one);
  free(other);
  return same;
}

/* ---- numbers that do not fit --------------------------------------------- */

static smft_patch *with_number(float number) {
  float row[20] = {1, 2, 3};
  smft_patch *patch = NULL;
  row[5] = number;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_patch_set_row(patch, 0, 9, row, 20));
  return patch;
}

typedef struct number {
  float value;
  int32_t dtype;
  int fits;
} number;

static const number numbers[] = {
    {65504, SMFT_DTYPE_F16, 1},    {65519, SMFT_DTYPE_F16, 1}, /* rounds down to 65504 */
    {65520, SMFT_DTYPE_F16, 0},    {-70000, SMFT_DTYPE_F16, 0},
    {70000, SMFT_DTYPE_BF16, 1},   {3.3895314e38f, SMFT_DTYPE_BF16, 1},
    {3.4e38f, SMFT_DTYPE_BF16, 0}, {-3.4e38f, SMFT_DTYPE_BF16, 0},
    {3.4e38f, SMFT_DTYPE_F32, 1}};
enum { N_NUMBERS = sizeof numbers / sizeof *numbers };

/* Into an empty place, and over another export, of which nothing is lost. */
START_TEST(exports_refuse_what_does_not_fit) {
  const number *n = &numbers[_i];
  smft_patch *patch = with_number(n->value);
  ck_ok(smft_model_export(model, NULL, test_file("over"), NULL));
  ck_ok(smft_model_export(model, NULL, test_file("kept"), NULL));
  char fresh[32];
  snprintf(fresh, sizeof fresh, "fresh%d", _i);
  const char *places[] = {fresh, "over"};
  for (int i = 0; i < 2; i++) {
    smft_status status = export_as(model, patch, test_file(places[i]), n->dtype, 0);
    ck_assert_int_eq(status, n->fits ? SMFT_OK : SMFT_E_NONFINITE);
    if (!n->fits) { /* row 9 of 20 numbers, the sixth */
      said("model.memory_pools.0.values: number 185, ");
      said(n->dtype == SMFT_DTYPE_F16 ? "F16" : "BF16");
    }
  }
  ck_assert_int_eq(access(test_file(fresh), F_OK) == 0, n->fits);
  ck_assert_int_eq(test_count_files(test_file("over")), test_count_files(test_file("kept")));
  const char *files[] = {"config.json", "model.safetensors", "tokenizer.json"};
  for (int i = 0; i < 3 && !n->fits; i++) {
    char a[64], b[64];
    snprintf(a, sizeof a, "over/%s", files[i]);
    snprintf(b, sizeof b, "kept/%s", files[i]);
    ck_assert_msg(same_file(test_file(a), test_file(b)), "%s", files[i]);
  }
  smft_patch_free(patch);
}
END_TEST

START_TEST(patches_refuse_what_does_not_fit) {
  smft_patch *patch = with_number(3.4e38f);
  ck_status(smft_patch_save(patch, test_file("p"), SMFT_DTYPE_BF16), SMFT_E_NONFINITE);
  said("pools.0.rows: number 5, 3.3999999521443642e+38, has no place in BF16");
  ck_assert(access(test_file("p"), F_OK) != 0);
  ck_ok(smft_patch_save(patch, test_file("p"), 0));
  smft_patch_free(patch);
}
END_TEST

START_TEST(adapters_refuse_what_does_not_fit) {
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create_lora(&patch, model, NULL));
  ck_ok(smft_patch_save(patch, test_file("a"), SMFT_DTYPE_BF16));
  ck_ok(smft_patch_save(patch, test_file("b"), SMFT_DTYPE_BF16));
  patch->lora->parts[0][3] = 3.4e38f;
  ck_status(smft_patch_save(patch, test_file("a"), SMFT_DTYPE_BF16), SMFT_E_NONFINITE);
  said("lora_A.weight: number 3, 3.3999999521443642e+38, has no place in BF16");
  ck_status(smft_patch_save(patch, test_file("none"), SMFT_DTYPE_BF16), SMFT_E_NONFINITE);
  ck_assert(access(test_file("none"), F_OK) != 0);
  ck_assert_int_eq(test_count_files(test_file("a")), 2);
  ck_assert(same_file(test_file("a/adapter_model.safetensors"),
                      test_file("b/adapter_model.safetensors")));
  smft_patch_free(patch);
}
END_TEST

/* A full patch's numbers, in one file for llama.cpp. */
START_TEST(gguf_files_refuse_what_does_not_fit) {
  smft_model *plain = tiny_plain(ctx, "plain", 2, 3);
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create(&patch, plain, SMFT_PATCH_FULL));
  patch->full[0][100] = 1e6f;
  static const int32_t types[] = {SMFT_DTYPE_F16, SMFT_DTYPE_BF16, SMFT_DTYPE_Q8_0};
  for (int i = 0; i < 3; i++)
    ck_status(export_as(plain, patch, test_file("g.gguf"), types[i], SMFT_FORMAT_GGUF),
              i ? SMFT_OK : SMFT_E_NONFINITE);
  patch->full[0][100] = 3e38f; /* the step of its block is none of F16's */
  remove(test_file("g.gguf"));
  ck_status(export_as(plain, patch, test_file("g.gguf"), SMFT_DTYPE_Q8_0, SMFT_FORMAT_GGUF),
            SMFT_E_NONFINITE);
  said("number 100, 3.0000000054977558e+38, has no place in Q8_0");
  ck_assert(access(test_file("g.gguf"), F_OK) != 0);
  smft_patch_free(patch);
  smft_model_free(plain);
}
END_TEST

/* ---- config.json and files of text --------------------------------------- */

static const char *text_in(const json_t *root, const char *key) {
  const char *text = json_string_value(json_object_get(root, key));
  return text ? text : "";
}

/* The key that newer files have says the same as the older, and does not come by itself. */
START_TEST(both_keys_say_the_type) {
  char *text = test_read(test_file("m/config.json"), NULL), more[4096];
  for (int newer = 0; newer < 2; newer++) {
    smft_model *own = NULL;
    json_t *root = NULL;
    int n = snprintf(more, sizeof more, "{%s \"torch_dtype\": \"float32\", %s",
                     newer ? "\"dtype\": \"float32\"," : "", text + 1);
    mkdir(test_file("own"), 0700);
    test_write("own/config.json", more, (size_t)n);
    ck_ok(smft_model_init(&own, ctx, test_file("own"), 1));
    ck_ok(export_as(own, NULL, test_file("typed"), SMFT_DTYPE_BF16, 0));
    ck_ok(smft__json_open(&root, ctx, test_file("typed/config.json")));
    ck_assert_str_eq(text_in(root, "torch_dtype"), "bfloat16");
    ck_assert_str_eq(text_in(root, "dtype"), newer ? "bfloat16" : "");
    json_decref(root);
    smft_model_free(own);
  }
  free(text);
}
END_TEST

START_TEST(texts_go_with_it) {
  static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json",
                                      "chat_template.jinja", "generation_config.json"};
  static const char *const texts[] = {"{\"a\": 1}", "{\"bos_token\": \"<s>\"}", "{{ 1 }}",
                                      "{\"eos_token_id\": 7}"};
  char from[64], to[64];
  for (int i = 0; i < 4; i++) {
    snprintf(from, sizeof from, "m/%s", files[i]);
    test_write(from, texts[i], strlen(texts[i]));
  }
  ck_ok(smft_model_export(model, NULL, test_file("texts"), NULL));
  for (int i = 0; i < 4; i++) {
    snprintf(from, sizeof from, "m/%s", files[i]);
    snprintf(to, sizeof to, "texts/%s", files[i]);
    ck_assert_msg(same_file(test_file(from), test_file(to)), "%s", files[i]);
    remove(test_file(from));
  }
}
END_TEST

/* ---- background counts --------------------------------------------------- */

/* A model on disk with counts beside it, loaded. */
static smft_model *with_counts(const char *name, tiny shape) {
  char path[64];
  smft_model *made = tiny_model(ctx, "made", shape, 4), *loaded = NULL;
  ck_ok(smft_model_export(made, NULL, test_file(name), NULL));
  smft_model_free(made);
  ck_ok(smft_model_load(&loaded, ctx, test_file(name), NULL));
  snprintf(path, sizeof path, "%s/background.safetensors", name);
  remove(test_file(path)); /* of a test before */
  smft_selector *selector = tiny_selector(loaded, 0, 0);
  ck_ok(smft_selector_save(selector, test_file(path)));
  smft_selector_free(selector);
  return loaded;
}

static smft_patch *taught_rows(const smft_model *of) {
  smft_patch *patch = NULL;
  float row[20];
  ck_ok(smft_patch_create(&patch, of, SMFT_PATCH_SLOTS));
  for (int64_t slot = 0; slot < 256; slot += 3) {
    for (int i = 0; i < 20; i++)
      row[i] = (float)((slot * 7 + i * 5) % 11 - 5);
    ck_ok(smft_patch_set_row(patch, 0, slot, row, 20));
  }
  return patch;
}

static void counts_of(const smft_model *of, uint32_t df[256], int64_t *n, char counted_on[65]) {
  smft_selector *selector = NULL;
  ck_ok(smft_selector_create(&selector, of, NULL));
  ck_ok(smft_selector_df(selector, 0, df, 256, n));
  memcpy(counted_on, selector->stats.counted_on, 65);
  smft_selector_free(selector);
}

/* With one memory layer they are what would be counted again; with two, not quite. */
START_TEST(counts_go_with_it) {
  smft_model *from = with_counts("from", (tiny){.shared = _i}), *out = NULL;
  smft_patch *patch = taught_rows(from);
  uint32_t df[256], again[256];
  int64_t n = 0;
  char counted_on[65];
  ck_ok(smft_model_export(from, patch, test_file("out"), NULL));
  ck_ok(smft_model_load(&out, ctx, test_file("out"), NULL));
  ck_assert_str_ne(smft_model_hash(out), smft_model_hash(from));
  counts_of(out, df, &n, counted_on);
  ck_assert_int_eq(n, 24);
  ck_assert_str_eq(counted_on, smft_model_hash(from));
  smft_selector *selector = tiny_selector(out, 0, 0);
  ck_ok(smft_selector_df(selector, 0, again, 256, NULL));
  /* tiny_selector adds to what the model brought */
  for (int i = 0; i < 256; i++)
    again[i] -= df[i];
  ck_assert_int_eq(memcmp(df, again, sizeof df) == 0, _i == 0);
  smft_selector_free(selector);
  smft_patch_free(patch);
  smft_model_free(out);
  smft_model_free(from);
}
END_TEST

/* The mark is of the model that was counted, however often it is written since. */
START_TEST(the_mark_stays) {
  smft_model *from = with_counts("from", (tiny){0}), *same = NULL, *out = NULL, *last = NULL;
  smft_patch *patch = taught_rows(from);
  smft_selector *selector = NULL;
  uint32_t df[256];
  int64_t n = 0;
  char counted_on[65];
  ck_ok(smft_model_export(from, NULL, test_file("same"), NULL));
  ck_ok(smft_model_load(&same, ctx, test_file("same"), NULL));
  counts_of(same, df, &n, counted_on);
  ck_assert_str_eq(counted_on, "");
  ck_ok(smft_model_export(from, patch, test_file("out"), NULL));
  ck_ok(smft_model_load(&out, ctx, test_file("out"), NULL));
  ck_ok(export_as(out, NULL, test_file("last"), SMFT_DTYPE_BF16, 0));
  ck_ok(smft_model_load(&last, ctx, test_file("last"), NULL));
  counts_of(last, df, &n, counted_on);
  ck_assert_str_eq(counted_on, smft_model_hash(from));
  ck_ok(smft_selector_create(&selector, last, NULL));
  ck_ok(smft_selector_save(selector, test_file("saved")));
  ck_ok(smft_selector_load(selector, test_file("saved")));
  ck_assert_str_eq(selector->stats.counted_on, smft_model_hash(from));
  smft_selector_free(selector);
  smft_patch_free(patch);
  smft_model_free(last);
  smft_model_free(out);
  smft_model_free(same);
  smft_model_free(from);
}
END_TEST

/* Patches that change what is read take no counts along, and those of another model stay. */
START_TEST(other_counts_stay) {
  smft_model *from = with_counts("from", (tiny){0});
  smft_patch *full = NULL, *lora = NULL;
  ck_ok(smft_patch_create(&full, from, SMFT_PATCH_FULL));
  ck_ok(smft_patch_create_lora(&lora, from, NULL));
  ck_ok(smft_model_export(from, full, test_file("full"), NULL));
  ck_ok(smft_model_export(from, lora, test_file("lora"), NULL));
  ck_assert(access(test_file("full/background.safetensors"), F_OK) != 0);
  ck_assert(access(test_file("lora/background.safetensors"), F_OK) != 0);
  smft_model *other = NULL;
  ck_ok(smft_model_init(&other, ctx, test_file("from"), 99));
  ck_ok(smft_model_export(other, NULL, test_file("other"), NULL));
  ck_assert(access(test_file("other/background.safetensors"), F_OK) != 0);
  test_write("from/background.safetensors", "<html>", 6);
  ck_status(smft_model_export(from, NULL, test_file("none"), NULL), SMFT_E_FORMAT);
  said("background.safetensors");
  ck_assert(access(test_file("none"), F_OK) != 0);
  smft_patch_free(lora);
  smft_patch_free(full);
  smft_model_free(other);
  smft_model_free(from);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("export");
  TCase *tests = tcase_create("export");
  test_directory_make();
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_loop_test(tests, exports_refuse_what_does_not_fit, 0, N_NUMBERS);
  tcase_add_test(tests, patches_refuse_what_does_not_fit);
  tcase_add_test(tests, adapters_refuse_what_does_not_fit);
  tcase_add_test(tests, gguf_files_refuse_what_does_not_fit);
  tcase_add_test(tests, both_keys_say_the_type);
  tcase_add_test(tests, texts_go_with_it);
  tcase_add_loop_test(tests, counts_go_with_it, 0, 2);
  tcase_add_test(tests, the_mark_stays);
  tcase_add_test(tests, other_counts_stay);
  suite_add_tcase(suite, tests);
  return suite;
}
