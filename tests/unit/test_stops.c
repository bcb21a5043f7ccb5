/* Where generation ends: config.json, generation_config.json, and what they may not say. */
#include "tiny.h"

static smft_ctx *ctx;
static smft_model *model;

static void setup(void) { ck_ok(smft_ctx_create(&ctx, NULL)); }

static void teardown(void) {
  smft_model_free(model);
  model = NULL;
  smft_ctx_free(ctx);
}

/* A model whose directory has this generation_config.json. */
static smft_status load(const char *generation) {
  remove(test_file("m/generation_config.json"));
  smft_model_free(tiny_model(ctx, "m", (tiny){0}, 1));
  smft_model_free(model);
  model = NULL;
  test_write("m/generation_config.json", generation, strlen(generation));
  return smft_model_init(&model, ctx, test_file("m"), 1);
}

static int64_t stops(int32_t ids[64]) {
  int64_t n = -1;
  ck_ok(smft_model_stop_ids(model, ids, 64, &n));
  return n;
}

START_TEST(are_read) {
  int32_t ids[64];
  int64_t n = 0;
  ck_ok(load("{}"));
  ck_assert_int_eq(stops(ids), 0);
  ck_ok(load("{\"eos_token_id\": null}"));
  ck_assert_int_eq(stops(ids), 0);
  ck_ok(load("{\"eos_token_id\": 7, \"temperature\": 0.6}"));
  ck_assert_int_eq(stops(ids), 1);
  ck_assert_int_eq(ids[0], 7);
  ck_ok(load("{\"eos_token_id\": [7, 5, 7, 9]}"));
  ck_assert_int_eq(stops(ids), 3); /* each once */
  ck_assert_int_eq(ids[2], 9);
  ck_ok(smft_model_stop_ids(model, NULL, 0, &n));
  ck_assert_int_eq(n, 3);
  ck_status(smft_model_stop_ids(model, ids, 2, &n), SMFT_E_BUFFER);
}
END_TEST

START_TEST(are_refused) {
  char many[512] = "{\"eos_token_id\": [0";
  ck_status(load("{\"eos_token_id\": 98}"), SMFT_E_FORMAT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "generation_config.json"));
  ck_status(load("{\"eos_token_id\": \"</s>\"}"), SMFT_E_FORMAT);
  ck_status(load("{\"eos_token_id\": [1, [2]]}"), SMFT_E_FORMAT);
  ck_status(load("{"), SMFT_E_FORMAT);
  for (int i = 1; i < 65; i++)
    snprintf(many + strlen(many), sizeof many - strlen(many), ",%d", i);
  strcat(many, "]}");
  ck_status(load(many), SMFT_E_UNSUPPORTED);
}
END_TEST

/* What an exported model answers ends where the model's did. */
START_TEST(go_with_an_export) {
  int32_t ids[64];
  ck_ok(load("{\"eos_token_id\": [7, 5]}"));
  ck_ok(smft_model_export(model, NULL, test_file("out"), NULL));
  smft_model_free(model);
  model = NULL;
  ck_ok(smft_model_load(&model, ctx, test_file("out"), NULL));
  ck_assert_int_eq(stops(ids), 2);
  ck_assert_int_eq(ids[1], 5);
}
END_TEST

/* Whatever token comes first: said to be an end, nothing comes. */
START_TEST(end_an_answer) {
  int32_t prompt[] = {5, 6, 7}, out[8];
  char text[64];
  for (int stop = 0; stop < 2; stop++) {
    smft_session *session = NULL;
    int64_t n = 0;
    if (stop)
      snprintf(text, sizeof text, "{\"eos_token_id\": [3, %d]}", (int)out[0]);
    ck_ok(load(stop ? text : "{}"));
    ck_ok(smft_session_create(&session, model, NULL, NULL));
    ck_ok(smft_session_generate_ids(session, prompt, 3, NULL, out, 8, &n));
    ck_assert_int_eq(n, stop ? 0 : 8);
    smft_session_free(session);
  }
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("stops");
  TCase *cases = tcase_create("stops");
  test_directory_make();
  tcase_add_checked_fixture(cases, setup, teardown);
  tcase_add_test(cases, are_read);
  tcase_add_test(cases, are_refused);
  tcase_add_test(cases, go_with_an_export);
  tcase_add_test(cases, end_an_answer);
  suite_add_tcase(suite, cases);
  return suite;
}
