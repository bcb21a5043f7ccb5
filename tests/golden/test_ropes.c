/* ropes: tables of rotary frequencies from config.json against transformers (make_ropes.py):
 * scaling rules in both spellings, their defaults; the divisors and the rows of GGUF files; what of
 * a rule tells two models apart; and what is refused by name. */
#include "files.h"
#include "test.h"

#include "model/arch.h"
#include "model/rotary.h"

static smft_ctx *ctx;

static void setup(void) { ck_ok(smft_ctx_create(&ctx, NULL)); }
static void teardown(void) { smft_ctx_free(ctx); }

/* ---- against transformers ------------------------------------------------ */

static void check_table(const json_t *wanted, const smft__config *config) {
  const json_t *frequencies = json_object_get(wanted, "frequencies");
  const smft__rope_table *table = &config->stack.ropes[0];
  ck_assert_int_eq(config->stack.n_ropes, 1);
  ck_assert_int_eq(table->pairs, SMFT__PAIRS_HALVES);
  ck_assert_uint_eq(json_array_size(frequencies), (size_t)table->dims / 2);
  for (size_t i = 0; i < json_array_size(frequencies); i++) {
    double frequency = json_number_value(json_array_get(frequencies, i));
    ck_assert_double_eq_tol(table->frequency[i], frequency, 1e-12 * frequency);
  }
  ck_assert_double_eq_tol((double)table->magnitude,
                          json_number_value(json_object_get(wanted, "magnitude")), 1e-7);
}

START_TEST(as_transformers_has_them) {
  char *text = test_read(test_source("tests/golden/ropes.json"), NULL);
  json_t *cases = json_loads(text, 0, NULL), *one;
  size_t i, scaled = 0;
  ck_assert_uint_gt(json_array_size(cases), 20);
  json_array_foreach(cases, i, one) {
    smft__config config;
    char *dumped = json_dumps(json_object_get(one, "config"), 0);
    test_write("config.json", dumped, strlen(dumped));
    ck_ok(smft__config_load(&config, ctx, test_directory_path));
    check_table(one, &config);
    scaled += config.rope_text != NULL;
    smft__config_free(&config, ctx);
    free(dumped);
  }
  ck_assert_uint_eq(scaled, json_array_size(cases) - 3); /* the first three are "default" */
  json_decref(cases);
  free(text);
}
END_TEST

/* ---- one object ---------------------------------------------------------- */

extern const smft__arch smft__arch_llama, smft__arch_qwen3;

/* A table of four pairs from a config of a family with these keys. */
static smft_status plan_of(const smft__arch *arch, smft__config *config, const char *keys,
                           int32_t gguf) {
  json_t *root = NULL;
  memset(config, 0, sizeof *config);
  config->arch = arch;
  config->head_dim = 8;
  config->context = 64;
  config->gguf = gguf;
  ck_ok(smft__json_parse(&root, keys, (int64_t)strlen(keys), "keys"));
  smft_status status = smft__rotary_plan(config, ctx, root, 10000);
  json_decref(root);
  return status;
}

static smft_status plan(smft__config *config, const char *keys, int32_t gguf) {
  return plan_of(&smft__arch_llama, config, keys, gguf);
}

#define FACTORS                                                                                    \
  "{\"rope_scaling\": {\"rope_type\": \"factors\", \"factors\": [1, 2.5, 4, 8]}, \"rope_theta\": " \
  "16}"

START_TEST(divisors_of_gguf) {
  static const double wanted[] = {1, 0.5 / 2.5, 0.25 / 4, 0.125 / 8};
  smft__config config;
  ck_ok(plan(&config, FACTORS, 1));
  for (int i = 0; i < 4; i++)
    ck_assert_double_eq_tol(config.stack.ropes[0].frequency[i], wanted[i], 1e-15);
  ck_assert_str_eq(config.rope_text, "rope factors 16 1 2.5 4 8\n");
  ck_assert_int_eq(config.stack.ropes[0].pairs, SMFT__PAIRS_NEIGHBOURS);
  smft__config_free(&config, ctx);
  ck_ok(plan_of(&smft__arch_qwen3, &config, FACTORS, 1));
  ck_assert_int_eq(config.stack.ropes[0].pairs, SMFT__PAIRS_HALVES); /* not Llama's rows */
  smft__config_free(&config, ctx);
  ck_status(plan(&config, FACTORS, 0), SMFT_E_UNSUPPORTED);
  ck_assert_int_eq(config.stack.ropes[0].pairs, SMFT__PAIRS_HALVES);
  smft__config_free(&config, ctx);
}
END_TEST

/* Further tables stand in the text with their theta; config->rope_theta stays the first's. */
START_TEST(a_second_table) {
  smft__config config;
  ck_ok(plan(&config, "{\"rope_theta\": 500}", 0));
  ck_assert_ptr_null(config.rope_text);
  ck_ok(smft__rotary_add(&config, ctx, NULL, "rope_local_base_freq", 16));
  ck_assert_int_eq(config.stack.n_ropes, 2);
  ck_assert_double_eq(config.rope_theta, 500);
  ck_assert_double_eq_tol(config.stack.ropes[1].frequency[1], 0.5, 1e-15);
  ck_assert_str_eq(config.rope_text, "rope default 16\n");
  smft__config_free(&config, ctx);
}
END_TEST

#define YARN "\"rope_type\": \"yarn\", \"factor\": 4"
#define LLAMA3 "\"rope_type\": \"llama3\", \"factor\": 4"

static const struct {
  const char *object; /* of rope_scaling */
  smft_status status;
  const char *needle;
} refused[] = {
    {"3", SMFT_E_FORMAT, "rope_scaling"},
    {"{\"rope_type\": 3}", SMFT_E_FORMAT, "rope_type"},
    {"{\"rope_type\": \"dynamic\", \"factor\": 2}", SMFT_E_UNSUPPORTED, "\"dynamic\""},
    {"{\"type\": \"longrope\"}", SMFT_E_UNSUPPORTED, "\"longrope\""},
    {"{\"type\": \"su\"}", SMFT_E_UNSUPPORTED, "\"su\""},
    {"{\"type\": \"mrope\", \"mrope_section\": [1, 2, 1]}", SMFT_E_UNSUPPORTED, "\"mrope\""},
    {"{\"type\": \"linear\", \"rope_type\": \"dynamic\"}", SMFT_E_UNSUPPORTED, "\"dynamic\""},
    {"{\"rope_type\": \"default\", \"mrope_section\": [1, 2, 1]}", SMFT_E_UNSUPPORTED,
     "mrope_section"},
    {"{\"rope_type\": \"default\", \"factor\": 2}", SMFT_E_UNSUPPORTED, "factor"},
    {"{\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}", SMFT_E_UNSUPPORTED,
     "partial_rotary_factor"},
    {"{\"sliding_attention\": {\"rope_type\": \"default\"}}", SMFT_E_UNSUPPORTED,
     "sliding_attention"},
    {"{\"rope_type\": \"default\", \"rope_theta\": -1}", SMFT_E_FORMAT, "rope_theta"},
    {"{\"type\": \"linear\"}", SMFT_E_FORMAT, "\"factor\""},
    {"{\"type\": \"linear\", \"factor\": 0}", SMFT_E_FORMAT, "\"factor\""},
    {"{\"type\": \"linear\", \"factor\": -2}", SMFT_E_FORMAT, "\"factor\""},
    {"{\"type\": \"linear\", \"factor\": \"2\"}", SMFT_E_FORMAT, "\"factor\""},
    {"{\"type\": \"linear\", \"factor\": 2, \"beta_fast\": 3}", SMFT_E_UNSUPPORTED, "beta_fast"},
    {"{" LLAMA3 "}", SMFT_E_FORMAT, "low_freq_factor"},
    {"{" LLAMA3 ", \"low_freq_factor\": 1}", SMFT_E_FORMAT, "high_freq_factor"},
    {"{" LLAMA3 ", \"low_freq_factor\": 4, \"high_freq_factor\": 4}", SMFT_E_FORMAT,
     "high_freq_factor"},
    {"{" LLAMA3 ", \"low_freq_factor\": 1, \"high_freq_factor\": 4, \"mscale\": 1}",
     SMFT_E_UNSUPPORTED, "mscale"},
    {"{" YARN ", \"attention_factor\": 0}", SMFT_E_FORMAT, "attention_factor"},
    {"{" YARN ", \"mscale\": -1e9, \"mscale_all_dim\": 1}", SMFT_E_FORMAT, "attention_factor"},
    {"{" YARN ", \"truncate\": 1}", SMFT_E_FORMAT, "truncate"},
    {"{" YARN ", \"beta_slow\": -1}", SMFT_E_FORMAT, "beta_slow"},
    {"{" YARN ", \"long_factor\": [1]}", SMFT_E_UNSUPPORTED, "long_factor"},
};

START_TEST(refusals) {
  char keys[512];
  smft__config config;
  snprintf(keys, sizeof keys, "{\"rope_scaling\": %s}", refused[_i].object);
  ck_status(plan(&config, keys, 0), refused[_i].status);
  ck_assert_msg(strstr(smft_error_message(), refused[_i].needle) != NULL,
                "%s: message lacks \"%s\": %s", keys, refused[_i].needle, smft_error_message());
  smft__config_free(&config, ctx);
}
END_TEST

START_TEST(what_is_odd) {
  static const char *const bad[] = {"[1, 2, 3]", "[1, 2, 3, 0]", "[1, 2, 3, null]", "[1, 2, 3, -1]",
                                    "8"};
  smft__config config;
  char keys[256];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(keys, sizeof keys, "{\"rope_scaling\": {\"type\": \"factors\", \"factors\": %s}}",
             bad[i]);
    ck_status(plan(&config, keys, 1), SMFT_E_FORMAT);
    smft__config_free(&config, ctx);
  }
  /* unknown keys that say nothing; an empty object; both spellings, if they say the same */
  ck_ok(plan(&config, "{\"rope_scaling\": {\"type\": \"default\", \"factor\": null}}", 0));
  smft__config_free(&config, ctx);
  ck_ok(plan(&config, "{\"rope_scaling\": {}, \"rope_parameters\": {\"rope_theta\": 9}}", 0));
  ck_assert_double_eq(config.rope_theta, 9);
  smft__config_free(&config, ctx);
  ck_ok(plan(&config,
             "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, "
             "\"rope_parameters\": {\"type\": \"linear\", \"factor\": 2}}",
             0));
  smft__config_free(&config, ctx);
  ck_status(plan(&config,
                 "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, "
                 "\"rope_parameters\": {\"type\": \"linear\", \"factor\": 4}}",
                 0),
            SMFT_E_UNSUPPORTED);
  smft__config_free(&config, ctx);
  /* a base whose logarithm is 0 */
  ck_ok(plan(&config, "{\"rope_theta\": 1, \"rope_scaling\": {" YARN "}}", 0));
  smft__config_free(&config, ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("golden ropes");
  TCase *tests = tcase_create("ropes");
  test_directory_make();
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, as_transformers_has_them);
  tcase_add_test(tests, divisors_of_gguf);
  tcase_add_test(tests, a_second_table);
  tcase_add_loop_test(tests, refusals, 0, (int)(sizeof refused / sizeof *refused));
  tcase_add_test(tests, what_is_odd);
  suite_add_tcase(suite, tests);
  return suite;
}
