/* Loading and using the library leaves the host's state alone: floating-point modes, locale,
 * environment, threads.  The library is opened with dlopen, so that its constructors (if it had
 * any) run in this test's sight. */
#include <dlfcn.h>
#include <locale.h>
#include <sys/wait.h>
#include "test.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
static unsigned modes(void) {
  return _mm_getcsr() & ~0x3fu;
} /* without the sticky exception flags */
#else
static unsigned modes(void) { return 0; }
#endif

START_TEST(loading_keeps_floating_point_modes) {
  unsigned before = modes();
  void *library = dlopen(SMFT_BINARY_DIR "/libsmft.so", RTLD_NOW | RTLD_LOCAL);
  ck_assert_msg(library != NULL, "%s", dlerror());
  ck_assert_uint_eq(modes(), before);
}
END_TEST

static int threads_now(void) {
  char line[256];
  int threads = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "Threads:", 8) == 0)
      threads = atoi(line + 8);
  if (file)
    fclose(file);
  return threads;
}

START_TEST(free_of_context_ends_its_threads) {
  smft_ctx *ctx = NULL;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  int before = threads_now();
  options.n_threads = 3;
  ck_ok(smft_ctx_create(&ctx, &options));
  ck_assert_int_eq(smft_ctx_n_threads(ctx), 3);
  smft_ctx_free(ctx);
  ck_assert_int_eq(threads_now(), before);
}
END_TEST

START_TEST(messages_never_null) {
  ck_assert_ptr_nonnull(smft_error_message());
  ck_status(smft_ctx_create(NULL, NULL), SMFT_E_INVALID);
  ck_assert_uint_gt(strlen(smft_error_message()), 5);
  ck_assert_str_eq(smft_status_name(SMFT_E_NOMEM), "E_NOMEM");
  ck_assert_str_eq(smft_version_string(), SMFT_VERSION_STRING);
  ck_assert_str_eq(setlocale(LC_ALL, NULL), "C");
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("host state");
  TCase *tests = tcase_create("state");
  tcase_add_test(tests, loading_keeps_floating_point_modes);
  tcase_add_test(tests, free_of_context_ends_its_threads);
  tcase_add_test(tests, messages_never_null);
  suite_add_tcase(suite, tests);
  return suite;
}
