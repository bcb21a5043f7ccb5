/* cache: a session's keys and values: room that grows with the tokens, bf16, memory that runs out.
 */
#include "failing.h"
#include "tiny.h"

#include "model/cache.h"
#include "model/model.h"

#define MOST 3000
#define V 31

static failing state;
static smft_ctx *ctx;
static smft_model *model;
static int32_t many[MOST];
static float all[MOST * V], again[MOST * V];

static void setup(void) {
  static const char text[] =
      "{\"model_type\": \"llama\", \"hidden_size\": 16, \"num_hidden_layers\": 2, "
      "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"intermediate_size\": 24, "
      "\"vocab_size\": 31, \"max_position_embeddings\": 3000}";
  ctx = failing_ctx(&state, 1);
  mkdir(test_file("long"), 0700);
  test_write("long/config.json", text, sizeof text - 1);
  ck_ok(smft_model_init(&model, ctx, test_file("long"), 1));
  for (int i = 0; i < MOST; i++)
    many[i] = (i * 7 + i / 13) % V;
}

static void teardown(void) {
  smft_model_free(model);
  smft_ctx_free(ctx);
}

static smft_session *open_session(uint32_t flags, int32_t context) {
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  smft_session *session = NULL;
  options.flags = flags;
  options.context_length = context;
  ck_ok(smft_session_create(&session, model, NULL, &options));
  return session;
}

/* In pieces of `step` tokens, from an empty session. */
static void feed(smft_session *session, int64_t n, int64_t step, float *logits) {
  ck_ok(smft_session_rewind(session, 0));
  for (int64_t at = 0; at < n; at += step)
    ck_ok(smft_session_feed(session, many + at, n - at < step ? n - at : step, SMFT_LOGITS_ALL,
                            logits + at * V, (n - at) * V));
}

static int64_t bytes_now(void) {
  int64_t now = 0;
  ck_ok(smft_ctx_memory(ctx, &now, NULL));
  return now;
}

/* ---- the room ------------------------------------------------------------ */

START_TEST(rows_stay_and_room_doubles) {
  smft__cache cache;
  ck_ok(smft__cache_create(&cache, ctx, &model->config, SMFT__F32));
  ck_assert_int_eq(cache.width, 8);
  ck_assert_int_eq(cache.capacity, 0);
  for (int64_t n = 1; n <= MOST; n++) {
    int64_t before = cache.capacity;
    ck_ok(smft__cache_reserve(&cache, n, MOST));
    ck_assert_int_ge(cache.capacity, n);
    ck_assert_int_le(cache.capacity, n <= 64 ? 64 : 2 * n);
    if (cache.capacity != before)
      ck_assert_int_ge(cache.capacity, 2 * before < MOST ? 2 * before : MOST);
    for (int layer = 0; layer < 2; layer++) {
      ((float *)cache.keys[layer])[(n - 1) * 8] = (float)(n + layer);
      ((float *)cache.values[layer])[n * 8 - 1] = (float)(n - layer);
    }
  }
  ck_assert_int_eq(cache.capacity, MOST);
  for (int64_t n = 1; n <= MOST; n++)
    for (int layer = 0; layer < 2; layer++) {
      ck_assert_float_eq(((float *)cache.keys[layer])[(n - 1) * 8], (float)(n + layer));
      ck_assert_float_eq(((float *)cache.values[layer])[n * 8 - 1], (float)(n - layer));
    }
  smft__cache_free(&cache);
  smft__cache_free(&cache);
}
END_TEST

/* What calls borrow is there from then on. */
static void lend(uint32_t flags) {
  smft_session *session = open_session(flags, 0);
  feed(session, 1000, 1000, all);
  smft_session_free(session);
}

START_TEST(a_short_session_is_small) {
  lend(0);
  lend(SMFT_SESSION_CACHE_BF16);
  int64_t empty = bytes_now(), token = 8 * 2 * 8; /* 8 * layers * KV */
  smft_session *session = open_session(0, 0), *half = open_session(SMFT_SESSION_CACHE_BF16, 0);
  int64_t both = bytes_now();
  smft_session *narrow = open_session(0, 256), *wide = open_session(0, MOST);
  int64_t all_four = bytes_now();
  smft_session_free(wide);
  int64_t of_wide = all_four - bytes_now();
  smft_session_free(narrow);
  /* a longer context costs the ids' room, until there are tokens */
  ck_assert_int_le(2 * of_wide - (all_four - both), (MOST - 256) * 4 + 256);
  feed(session, 1000, 1000, all);
  int64_t grown = bytes_now() - both;
  ck_assert_int_ge(grown, 1000 * token);
  ck_assert_int_le(grown, 2000 * token + 1024);
  feed(half, 1000, 1000, all);
  int64_t grown_half = bytes_now() - both - grown;
  ck_assert_int_ge(grown_half, 500 * token);
  ck_assert_int_le(grown_half, 1000 * token + 1024);
  ck_ok(smft_session_rewind(session, 0)); /* the room stays for the next tokens */
  ck_assert_int_eq(bytes_now(), both + grown + grown_half);
  smft_session_free(session);
  smft_session_free(half);
  ck_assert_int_eq(bytes_now(), empty);
}
END_TEST

/* ---- results ------------------------------------------------------------- */

/* A session that grows while it is fed, and one that has all its room already. */
START_TEST(growing_changes_no_bit) {
  smft_session *session = open_session(_i ? SMFT_SESSION_CACHE_BF16 : 0, 0);
  feed(session, 700, 100, all);
  feed(session, MOST, MOST, again);
  feed(session, 700, 100, again);
  ck_assert_mem_eq(all, again, sizeof *all * 700 * V);
  smft_session_free(session);
}
END_TEST

START_TEST(bf16_is_near) {
  smft_session *exact = open_session(0, 0), *half = open_session(SMFT_SESSION_CACHE_BF16, 0);
  feed(exact, 900, 900, all);
  feed(half, 900, 900, again);
  double distance = test_distance(again, all, 900 * V);
  ck_assert_double_gt(distance, 0);
  ck_assert_double_lt(distance, 4e-2);
  feed(half, 900, 77, all); /* the same keys and values, however they came */
  ck_assert_double_lt(test_distance(again, all, 900 * V), 1e-5);
  smft_session_free(exact);
  smft_session_free(half);
}
END_TEST

/* ---- faults -------------------------------------------------------------- */

START_TEST(unknown_flags) {
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  smft_session *session = (smft_session *)&options;
  options.flags = 4;
  ck_assert_int_eq(smft_session_create(&session, model, NULL, &options), SMFT_E_INVALID);
  ck_assert_ptr_null(session);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "flags"));
}
END_TEST

/* Wherever memory runs out, the session is as before and takes the same tokens afterwards. */
START_TEST(no_memory_to_grow) {
  smft_session *session = open_session(_i ? SMFT_SESSION_CACHE_BF16 : 0, 0);
  int failures = 0;
  feed(session, 300, 300, all);
  ck_ok(smft_session_rewind(session, 60));
  for (long long k = 1;; k++) {
    state.calls = 0;
    state.fail_at = k;
    smft_status status =
        smft_session_feed(session, many + 60, 1200, SMFT_LOGITS_ALL, again, 1200 * V);
    state.fail_at = 0;
    if (status == SMFT_OK)
      break;
    ck_assert_int_eq(status, SMFT_E_NOMEM);
    ck_assert_int_eq(smft_session_length(session), 60);
    failures++;
  }
  ck_assert_int_ge(failures, 4); /* keys and values of two layers */
  ck_assert_double_lt(test_distance(again, all + 60 * V, 240 * V), 1e-5);
  smft_session_free(session);
}
END_TEST

Suite *make_suite(void) {
  Suite *all_tests = suite_create("cache");
  TCase *tests = tcase_create("cache");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, rows_stay_and_room_doubles);
  tcase_add_test(tests, a_short_session_is_small);
  tcase_add_loop_test(tests, growing_changes_no_bit, 0, 2);
  tcase_add_test(tests, bf16_is_near);
  tcase_add_test(tests, unknown_flags);
  tcase_add_loop_test(tests, no_memory_to_grow, 0, 2);
  suite_add_tcase(all_tests, tests);
  return all_tests;
}
