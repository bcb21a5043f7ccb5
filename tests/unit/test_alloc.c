/* alloc: alignment whatever the host gives, counters that come back to zero, overflow refused,
 * failures that leave things as they were. */
#include "base/alloc.h"
#include "failing.h"

static int is_aligned(const void *pointer) { return ((uintptr_t)pointer & 63u) == 0; }

START_TEST(blocks_are_aligned_counted_and_freed) {
  failing host = {0};
  smft_ctx *ctx = failing_ctx(&host, 1);
  int64_t before, now, peak;
  ck_ok(smft_ctx_memory(ctx, &before, NULL));
  ck_assert_int_gt(before, 0);
  char *blocks[100];
  for (size_t i = 0; i < 100; i++) {
    blocks[i] = smft__alloc(ctx, i * 7);
    ck_assert(blocks[i] && is_aligned(blocks[i]));
    memset(blocks[i], (int)i, i * 7);
  }
  ck_ok(smft_ctx_memory(ctx, &now, NULL));
  ck_assert_int_ge(now - before, 99 * 100 / 2 * 7);
  for (size_t i = 0; i < 100; i++)
    smft__free(ctx, blocks[i]);
  smft__free(ctx, NULL);
  ck_ok(smft_ctx_memory(ctx, &before, &peak));
  ck_assert_int_eq(peak, now);
  ck_ok(smft_ctx_memory_reset_peak(ctx));
  ck_ok(smft_ctx_memory(ctx, NULL, &peak));
  ck_assert_int_eq(peak, before);
  smft_ctx_free(ctx);
  ck_assert_int_eq(host.live, 0);
}
END_TEST

START_TEST(realloc_keeps_contents_and_alignment) {
  failing host = {0};
  smft_ctx *ctx = failing_ctx(&host, 1);
  int64_t before, after;
  ck_ok(smft_ctx_memory(ctx, &before, NULL));
  int32_t *numbers = NULL;
  for (int64_t n = 1; n < 3000; n += n / 3 + 1) {
    int32_t *fresh = smft__realloc_array(ctx, numbers, n, sizeof *numbers);
    ck_assert(fresh && is_aligned(fresh));
    numbers = fresh;
    for (int64_t i = 0; i < n / 2; i++)
      ck_assert_int_eq(numbers[i], (int32_t)i);
    for (int64_t i = 0; i < n; i++)
      numbers[i] = (int32_t)i;
  }
  numbers = smft__realloc_array(ctx, numbers, 10, sizeof *numbers);
  ck_assert_int_eq(numbers[9], 9);
  host.fail_at = host.calls + 1;
  ck_assert_ptr_null(smft__realloc_array(ctx, numbers, 1000, sizeof *numbers));
  ck_assert_int_eq(numbers[9], 9);
  smft__free(ctx, numbers);
  ck_ok(smft_ctx_memory(ctx, &after, NULL));
  ck_assert_int_eq(before, after);
  smft_ctx_free(ctx);
  ck_assert_int_eq(host.live, 0);
}
END_TEST

START_TEST(overflow_and_failure_are_errors_with_a_message) {
  failing host = {0};
  smft_ctx *ctx = failing_ctx(&host, 1);
  ck_assert_ptr_null(smft__alloc(ctx, SIZE_MAX));
  ck_assert_ptr_null(smft__alloc(ctx, SIZE_MAX - 79));
  ck_assert_ptr_null(smft__alloc(ctx, (size_t)INT64_MAX));
  ck_assert_ptr_null(smft__alloc_array(ctx, INT64_MAX / 2, 4));
  ck_assert_ptr_null(smft__alloc_array(ctx, -1, 4));
  ck_assert_ptr_null(smft__calloc_array(ctx, (int64_t)1 << 32, (size_t)1 << 32));
  ck_assert_ptr_null(smft__realloc_array(ctx, NULL, INT64_MAX, 8));
  host.fail_at = host.calls + 1;
  ck_assert_ptr_null(smft__alloc(ctx, 1234));
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "1234 bytes"));
  char *text = smft__strdup(ctx, "text");
  ck_assert_str_eq(text, "text");
  smft__free(ctx, text);
  char *zeros = smft__calloc_array(ctx, 100, 1);
  for (int i = 0; i < 100; i++)
    ck_assert_int_eq(zeros[i], 0);
  smft__free(ctx, zeros);
  smft_ctx_free(ctx);
  ck_assert_int_eq(host.live, 0);
}
END_TEST

START_TEST(grow_makes_room_and_fails_cleanly) {
  failing host = {0};
  smft_ctx *ctx = failing_ctx(&host, 1);
  int64_t *array = NULL, capacity = 0;
  for (int64_t n = 1; n < 2000; n++) {
    ck_ok(smft__grow(ctx, &array, &capacity, n, sizeof *array));
    ck_assert_int_ge(capacity, n);
    array[n - 1] = n;
  }
  ck_assert_int_lt(host.calls, 40);
  ck_assert_int_eq(array[0], 1);
  int64_t *same = array, old = capacity;
  host.fail_at = host.calls + 1;
  ck_status(smft__grow(ctx, &array, &capacity, capacity + 1, sizeof *array), SMFT_E_NOMEM);
  ck_status(smft__grow(ctx, &array, &capacity, INT64_MAX, sizeof *array), SMFT_E_NOMEM);
  ck_assert(array == same && capacity == old && array[old > 1999 ? 1998 : 0] != 0);
  smft__free(ctx, array);
  smft_ctx_free(ctx);
  ck_assert_int_eq(host.live, 0);
}
END_TEST

START_TEST(context_creation_survives_each_failure) {
  for (long long k = 1; k < 10; k++) {
    failing host = {.fail_at = k};
    smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
    smft_ctx *ctx = (smft_ctx *)&host;
    options.alloc = failing_alloc;
    options.realloc = failing_realloc;
    options.free = failing_free;
    options.alloc_user = &host;
    smft_status status = smft_ctx_create(&ctx, &options);
    if (status == SMFT_OK) {
      ck_assert_int_gt(k, 1);
      smft_ctx_free(ctx);
      ck_assert_int_eq(host.live, 0);
      return;
    }
    ck_assert_int_eq(status, SMFT_E_NOMEM);
    ck_assert_ptr_null(ctx);
    ck_assert_int_eq(host.live, 0);
  }
  ck_abort_msg("never succeeded");
}
END_TEST

START_TEST(checked_arithmetic) {
  int64_t value = 0;
  ck_assert(smft__mul_i64(3, 4, &value) && value == 12);
  ck_assert(smft__mul_i64(0, INT64_MAX, &value) && value == 0);
  ck_assert(!smft__mul_i64(INT64_MAX, 2, &value));
  ck_assert(!smft__mul_i64(-1, 2, &value));
  ck_assert(!smft__mul_i64(2, -1, &value));
  ck_assert(smft__add_i64(INT64_MAX - 1, 1, &value) && value == INT64_MAX);
  ck_assert(!smft__add_i64(INT64_MAX, 1, &value));
  ck_assert(!smft__add_i64(-1, 1, &value));
}
END_TEST

START_TEST(arena_measures_places_and_refuses) {
  static _Alignas(64) char block[4096];
  smft__arena measure = {0}, place = {block, 0, 0}, bad = {0};
  ck_assert_ptr_null(smft__arena_take(&measure, 3, 4));
  ck_assert_ptr_null(smft__arena_take(&measure, 100, 8));
  ck_assert_int_eq(measure.used, 64 + 832);
  place.size = measure.used;
  char *first = smft__arena_take(&place, 3, 4), *second = smft__arena_take(&place, 100, 8);
  ck_assert(first == block && second == block + 64 && is_aligned(second));
  ck_assert_int_eq(place.used, measure.used);
  ck_assert_ptr_null(smft__arena_take(&place, 1, 1));
  ck_assert_int_lt(place.used, 0);
  smft__arena_take(&bad, INT64_MAX, 2);
  ck_assert_int_lt(bad.used, 0);
  smft__arena_take(&bad, 1, 1);
  ck_assert_int_lt(bad.used, 0);
  bad.used = 0;
  smft__arena_take(&bad, -5, 4);
  ck_assert_int_lt(bad.used, 0);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("alloc");
  TCase *tests = tcase_create("alloc");
  tcase_add_test(tests, blocks_are_aligned_counted_and_freed);
  tcase_add_test(tests, realloc_keeps_contents_and_alignment);
  tcase_add_test(tests, overflow_and_failure_are_errors_with_a_message);
  tcase_add_test(tests, grow_makes_room_and_fails_cleanly);
  tcase_add_test(tests, context_creation_survives_each_failure);
  tcase_add_test(tests, checked_arithmetic);
  tcase_add_test(tests, arena_measures_places_and_refuses);
  suite_add_tcase(suite, tests);
  return suite;
}
