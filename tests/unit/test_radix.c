/* radix: against a plain stable sort; entries that are not there; the same whatever the threads and
 * without memory. */
#include "test.h"
#include "failing.h"
#include "base/rng.h"
#include "memory/radix.h"

/* By counting: `sorted` becomes the entries that are there, by their upper half. */
static int64_t plainly(const uint64_t *entries, int64_t n, uint64_t largest, uint64_t *sorted) {
  int64_t *start = calloc((size_t)largest + 2, sizeof *start), kept;
  ck_assert_ptr_nonnull(start);
  for (int64_t i = 0; i < n; i++)
    if (entries[i] != SMFT__RADIX_NOTHING)
      start[(entries[i] >> 32) + 1]++;
  for (uint64_t key = 0; key <= largest; key++)
    start[key + 1] += start[key];
  kept = start[largest + 1];
  for (int64_t i = 0; i < n; i++)
    if (entries[i] != SMFT__RADIX_NOTHING)
      sorted[start[entries[i] >> 32]++] = entries[i];
  free(start);
  return kept;
}

static void check(smft_ctx *ctx, int64_t n, uint64_t largest, int64_t absent) {
  smft__rng rng;
  uint64_t *entries = malloc((size_t)(3 * n + 1) * sizeof *entries), *wanted = entries + 2 * n;
  ck_assert_ptr_nonnull(entries);
  smft__rng_seed(&rng, 3 + (uint64_t)n);
  for (int64_t i = 0; i < n; i++) {
    entries[i] = (uint64_t)smft__rng_below(&rng, (int64_t)largest + 1) << 32 | (uint64_t)i;
    if (smft__rng_below(&rng, 100) < absent)
      entries[i] = SMFT__RADIX_NOTHING;
  }
  int64_t kept = plainly(entries, n, largest, wanted), got = n;
  uint64_t *sorted = smft__radix_sort(ctx, entries, entries + n, &got, largest);
  ck_assert_int_eq(got, kept);
  ck_assert(sorted == entries || sorted == entries + n);
  ck_assert(kept == 0 || memcmp(sorted, wanted, (size_t)kept * sizeof *sorted) == 0);
  free(entries);
}

static void check_all(smft_ctx *ctx) {
  static const int64_t sizes[] = {0, 1, 2, 100, 16384, 16385, 70000, 1300000};
  static const uint64_t largest[] = {0, 1, 127, 2047, 2048, 10000, 1048575, 5000000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (size_t j = 0; j < sizeof largest / sizeof *largest; j++)
      check(ctx, sizes[i], largest[j], (int64_t)(i + j) % 3 * 40);
  check(ctx, 20000, 77, 100);
}

START_TEST(sorted_like_a_plain_sort) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  options.n_threads = _i;
  ck_ok(smft_ctx_create(&ctx, &options));
  check_all(ctx);
  smft_ctx_free(ctx);
}
END_TEST

/* Keys of all 32 bits: three digits. */
START_TEST(widest_keys) {
  uint64_t entries[8] = {0xffffffffull << 32, 5, 0x80000000ull << 32 | 1, 0xffffffffull << 32 | 1,
                         7ull << 32};
  int64_t n = 5;
  smft_ctx *ctx;
  ck_ok(smft_ctx_create(&ctx, NULL));
  uint64_t other[5], *sorted = smft__radix_sort(ctx, entries, other, &n, UINT32_MAX);
  ck_assert(n == 5 && sorted[0] == 5 && sorted[1] == 7ull << 32 &&
            sorted[2] == (0x80000000ull << 32 | 1));
  ck_assert(sorted[3] == 0xffffffffull << 32 && sorted[4] == (0xffffffffull << 32 | 1));
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(no_memory_needed) {
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 2);
  state.fail_at = state.calls + 1;
  check(ctx, 70000, 10000, 30);
  ck_assert_int_ge(state.calls, state.fail_at);
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("radix");
  TCase *cases = tcase_create("radix");
  tcase_add_loop_test(cases, sorted_like_a_plain_sort, 1, 4);
  tcase_add_test(cases, widest_keys);
  tcase_add_test(cases, no_memory_needed);
  suite_add_tcase(suite, cases);
  return suite;
}
