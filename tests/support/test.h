/* test: what every C test shares: libcheck, where the data is, a visible skip, and closeness of
 * arrays. A test file defines `Suite *make_suite(void)` and includes this once; its main is here.
 */
#ifndef SMFT_TEST_H
#define SMFT_TEST_H
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "smft/smft.h"

/* libcheck writes down each check that passes, for the report of a crash, and reads it all after
 * the test: most of the time where a loop checks numbers.  A line that is checked again at once
 * says nothing new. */
static inline void test_mark(const char *file, int line) {
  static _Thread_local int last;
  if (line != last)
    (_mark_point)(file, line);
  last = line;
}
#define _mark_point(file, line) test_mark(file, line)

#define TEST_SKIP 77 /* ctest: SKIP_RETURN_CODE */

/* The sanitizers are not made for fork() of a process with threads: one refuses new threads in the
 * child, the other's allocator may hang, its locks taken. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

/* Defined by CMake: SMFT_SOURCE_DIR. */
static inline const char *test_source(const char *path) {
  static char full[8][4096];
  static int next = 0;
  next = (next + 1) % 8;
  snprintf(full[next], sizeof full[next], "%s/%s", SMFT_SOURCE_DIR, path);
  return full[next];
}
/* Real data (../shared/data beside the checkout, or SMFT_SHARED); NULL where it is not there. */
static inline const char *test_shared(const char *path) {
  static char full[8][4096];
  static int next = 0;
  const char *root = getenv("SMFT_SHARED");
  next = (next + 1) % 8;
  if (root)
    snprintf(full[next], sizeof full[next], "%s/%s", root, path);
  else
    snprintf(full[next], sizeof full[next], "%s/../shared/data/%s", SMFT_SOURCE_DIR, path);
  return access(full[next], R_OK) == 0 ? full[next] : NULL;
}
/* A real checkpoint: in SMFT_MODELS, or where examples/models/get.sh puts it; NULL where it is not.
 */
static inline const char *test_checkpoint(const char *file) {
  static char full[4][4096];
  static int next = 0;
  const char *models = getenv("SMFT_MODELS"), *cache = getenv("XDG_CACHE_HOME");
  const char *home = getenv("HOME");
  next = (next + 1) % 4;
  if (models)
    snprintf(full[next], sizeof full[next], "%s/%s", models, file);
  else if (cache && *cache)
    snprintf(full[next], sizeof full[next], "%s/smft/models/%s", cache, file);
  else
    snprintf(full[next], sizeof full[next], "%s/.cache/smft/models/%s", home ? home : "", file);
  return access(full[next], R_OK) == 0 ? full[next] : NULL;
}
/* For test programs that are nothing without the data: call it first in main or in make_suite. */
static inline void test_need_shared(const char *path) {
  if (test_shared(path))
    return;
  printf("SKIPPED: %s is not there (real data is not in a clone)\n", path);
  exit(TEST_SKIP);
}
#define ck_ok(call)                                                                                \
  do {                                                                                             \
    smft_status ck_ok_status = (call);                                                             \
    ck_assert_msg(ck_ok_status == SMFT_OK, "%s: %s: %s", #call, smft_status_name(ck_ok_status),    \
                  smft_error_message());                                                           \
  } while (0)
#define ck_status(call, expected)                                                                  \
  do {                                                                                             \
    smft_status ck_status_got = (call);                                                            \
    ck_assert_msg(ck_status_got == (expected), "%s: got %s (%s), wanted %s", #call,                \
                  smft_status_name(ck_status_got), smft_error_message(),                           \
                  smft_status_name(expected));                                                     \
  } while (0)
/* max |a - b| / max(1, max |b|) */
static inline double test_distance(const float *a, const float *b, int64_t n) {
  double worst = 0, scale = 1;
  for (int64_t i = 0; i < n; i++) {
    double distance = fabs((double)a[i] - (double)b[i]);
    if (!(distance <= worst))
      worst = distance; /* NaN is worst */
    if (fabs((double)b[i]) > scale)
      scale = fabs((double)b[i]);
  }
  return worst / scale;
}
/* SMFT_TEST_LEVEL=portable|avx2|avx512|tiles: runs the program with the kernels of that instruction
 * set; skipped where the processor lacks it. */
#ifdef SMFT_TEST_INTERNAL /* programs that see the library's insides */
#include "base/cpu.h"
static inline void test_choose_level(void) {
  static const char *const names[] = {"portable", "avx2", "avx512", "tiles"};
  const char *wanted = getenv("SMFT_TEST_LEVEL");
  int level = 0;
  if (!wanted)
    return;
  while (level < 4 && strcmp(wanted, names[level]) != 0)
    level++;
  if (level == 4) {
    printf("SMFT_TEST_LEVEL: expected portable, avx2, avx512 or tiles, got \"%s\"\n", wanted);
    exit(1);
  }
  if (smft__cpu_limit(level) == level)
    return;
  printf("SKIPPED: this processor has no %s\n", wanted);
  exit(TEST_SKIP);
}
#else
static inline void test_choose_level(void) {}
#endif
Suite *make_suite(void);
int main(void) {
  test_choose_level();
  SRunner *runner = srunner_create(make_suite());
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? 1 : 0;
}
#endif
