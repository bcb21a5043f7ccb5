/* status: codes, messages (always valid UTF-8, per thread, never cut in a character), the version
 * rule of structs, contexts. */
#include "test.h"
#include "base/bytes.h"
#include "base/ctx.h"
#include "failing.h"
#include <pthread.h>

START_TEST(every_code_has_a_name_and_a_meaning) {
  ck_assert_str_eq(smft_status_name(SMFT_OK), "OK");
  ck_assert_str_eq(smft_status_name(SMFT_E_NOMEM), "E_NOMEM");
  ck_assert_str_eq(smft_status_name(12345), "E_UNKNOWN");
  ck_assert_int_eq(SMFT_E_INTERNAL, -99);
#define HAS_TEXT(name, number, meaning) ck_assert_str_eq(smft_status_meaning(number), meaning);
  SMFT_STATUS_LIST(HAS_TEXT)
  ck_assert_ptr_nonnull(smft_status_meaning(12345));
  ck_assert_str_eq(smft_version_string(), SMFT_VERSION_STRING);
  ck_assert_uint_eq(smft_version_number(), 100);
}
END_TEST

static void *other_thread(void *arg) {
  (void)arg;
  ck_assert_str_eq(smft_error_message(), "");
  smft__fail(SMFT_E_IO, "other");
  return NULL;
}

START_TEST(message_belongs_to_its_thread) {
  pthread_t thread;
  ck_assert_ptr_nonnull(smft_error_message());
  ck_assert_int_eq(smft__fail(SMFT_E_IO, "mine %d", 7), SMFT_E_IO);
  ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, NULL), 0);
  pthread_join(thread, NULL);
  ck_assert_str_eq(smft_error_message(), "mine 7");
  smft__fail_within(SMFT_E_IO, "in %s", "file");
  ck_assert_str_eq(smft_error_message(), "in file: mine 7");
  smft__fail(SMFT_E_IO, "again (%s)", smft_error_message());
  ck_assert_str_eq(smft_error_message(), "again (in file: mine 7)");
}
END_TEST

/* Lengths around the buffer's end, characters of 1 to 4 bytes: the message stays valid and is a
 * prefix. */
START_TEST(message_is_never_cut_in_a_character) {
  static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
  char text[1200];
  const char *one = characters[_i];
  size_t step = strlen(one);
  for (size_t lead = 0; lead < 4; lead++) {
    size_t length = lead;
    memset(text, 'x', lead);
    while (length + step < sizeof text) {
      memcpy(text + length, one, step);
      length += step;
    }
    text[length] = '\0';
    smft__fail(SMFT_E_IO, "%s", text);
    size_t got = strlen(smft_error_message());
    ck_assert_uint_ge(got, 1020);
    ck_assert_uint_eq((got - lead) % step, 0);
    ck_assert_mem_eq(smft_error_message(), text, got);
    smft__fail_within(SMFT_E_IO, "prefix%.*s", (int)lead, "xyz");
    ck_assert(smft__utf8_valid(smft_error_message(), strlen(smft_error_message()), NULL));
    ck_assert_uint_ge(strlen(smft_error_message()), 1020);
    smft__fail_within(SMFT_E_IO, "%s", text); /* a prefix that fills all */
    ck_assert(smft__utf8_valid(smft_error_message(), strlen(smft_error_message()), NULL));
  }
}
END_TEST

START_TEST(message_with_bad_bytes_becomes_valid) {
  smft__fail(SMFT_E_IO, "path \xFF\xC3(\xED\xA0\x80 end\xE2\x82");
  ck_assert_str_eq(smft_error_message(), "path ?\?(\?\?\? end?\?");
}
END_TEST

/* ---- structs that grow --------------------------------------------------- */

typedef struct first_version {
  uint32_t struct_size;
  int32_t a;
} first_version;
typedef struct known_version {
  uint32_t struct_size;
  int32_t a;
  int64_t b;
} known_version;
typedef struct newer_version {
  uint32_t struct_size;
  int32_t a;
  int64_t b, c;
} newer_version;

static smft_status read_known(known_version *own, const void *given) {
  memset(own, 0, sizeof *own);
  own->b = 42;
  return smft__options_read(own, given, sizeof *own, sizeof(first_version), "options");
}

START_TEST(options_of_any_version_are_read) {
  known_version own, same = {sizeof same, 1, 2};
  first_version old = {sizeof old, 5};
  newer_version fresh = {sizeof fresh, 7, 8, 0};
  ck_ok(read_known(&own, NULL));
  ck_assert(own.a == 0 && own.b == 42 && own.struct_size == sizeof own);
  ck_ok(read_known(&own, &same));
  ck_assert(own.a == 1 && own.b == 2);
  ck_ok(read_known(&own, &old));
  ck_assert(own.a == 5 && own.b == 42 && own.struct_size == sizeof own);
  ck_ok(read_known(&own, &fresh));
  ck_assert(own.a == 7 && own.b == 8 && own.struct_size == sizeof own);
  fresh.c = 1;
  ck_status(read_known(&own, &fresh), SMFT_E_UNSUPPORTED);
  old.struct_size = 0;
  ck_status(read_known(&own, &old), SMFT_E_STRUCT_SIZE);
  old.struct_size = 7;
  ck_status(read_known(&own, &old), SMFT_E_STRUCT_SIZE);
  old.struct_size = 4097;
  ck_status(read_known(&own, &old), SMFT_E_STRUCT_SIZE);
  old.struct_size = UINT32_MAX;
  ck_status(read_known(&own, &old), SMFT_E_STRUCT_SIZE);
}
END_TEST

START_TEST(reports_of_any_version_are_written) {
  known_version own = {0, 1, 2};
  first_version old[2] = {{sizeof old[0], 0}, {77, 78}};
  newer_version fresh = {sizeof fresh, 0, 0, 9};
  ck_ok(smft__report_write(NULL, &own, sizeof own, sizeof(first_version), "report"));
  ck_ok(smft__report_write(old, &own, sizeof own, sizeof(first_version), "report"));
  ck_assert(old[0].a == 1 && old[0].struct_size == sizeof old[0] && old[1].struct_size == 77 &&
            old[1].a == 78);
  ck_ok(smft__report_write(&fresh, &own, sizeof own, sizeof(first_version), "report"));
  ck_assert(fresh.a == 1 && fresh.b == 2 && fresh.c == 9 && fresh.struct_size == sizeof fresh);
  fresh.struct_size = 3;
  ck_status(smft__report_write(&fresh, &own, sizeof own, sizeof(first_version), "report"),
            SMFT_E_STRUCT_SIZE);
  ck_status(smft__report_check(&fresh, sizeof(first_version), "report"), SMFT_E_STRUCT_SIZE);
  ck_ok(smft__report_check(NULL, sizeof(first_version), "report"));
}
END_TEST

/* ---- contexts ------------------------------------------------------------ */

static char last_log[256];
static void keep_log(void *user, int32_t level, const char *message) {
  *(int32_t *)user = level;
  snprintf(last_log, sizeof last_log, "%s", message);
}

START_TEST(context_checks_its_options) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx = (smft_ctx *)&options;
  ck_status(smft_ctx_create(NULL, NULL), SMFT_E_INVALID);
  options.n_threads = -1;
  ck_status(smft_ctx_create(&ctx, &options), SMFT_E_INVALID);
  ck_assert_ptr_null(ctx);
  options.n_threads = 0;
  options.alloc = failing_alloc;
  ck_status(smft_ctx_create(&ctx, &options), SMFT_E_INVALID);
  options.alloc = NULL;
  options.struct_size = 4;
  ck_status(smft_ctx_create(&ctx, &options), SMFT_E_STRUCT_SIZE);
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_assert_int_ge(smft_ctx_n_threads(ctx), 1);
  smft_ctx_free(ctx);
  smft_ctx_free(NULL);
  ck_assert_int_eq(smft_ctx_n_threads(NULL), 0);
  ck_status(smft_ctx_memory(NULL, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_ctx_memory_reset_peak(NULL), SMFT_E_INVALID);
}
END_TEST

START_TEST(context_lives_as_long_as_its_children_and_logs) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  int32_t level = -1;
  options.log = keep_log;
  options.log_user = &level;
  ck_ok(smft_ctx_create(&ctx, &options));
  smft__ctx_retain(ctx);
  smft_ctx_free(ctx);
  smft__log(ctx, 2, "warn %d", 3);
  ck_assert_int_eq(level, 2);
  ck_assert_str_eq(last_log, "warn 3");
  smft__ctx_release(ctx);
  smft__ctx_release(NULL);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("status");
  TCase *tests = tcase_create("status");
  tcase_add_test(tests, every_code_has_a_name_and_a_meaning);
  tcase_add_test(tests, message_belongs_to_its_thread);
  tcase_add_loop_test(tests, message_is_never_cut_in_a_character, 0, 4);
  tcase_add_test(tests, message_with_bad_bytes_becomes_valid);
  tcase_add_test(tests, options_of_any_version_are_read);
  tcase_add_test(tests, reports_of_any_version_are_written);
  tcase_add_test(tests, context_checks_its_options);
  tcase_add_test(tests, context_lives_as_long_as_its_children_and_logs);
  suite_add_tcase(suite, tests);
  return suite;
}
