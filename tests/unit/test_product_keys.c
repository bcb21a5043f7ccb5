/* product_keys: against a scan of the whole grid, in the order (f32 sum, lower slot id), on every
 * instruction set of this machine. */
#include "test.h"
#include "base/rng.h"
#include "memory/product_keys.h"
#include "base/cpu.h"

static float as_number(float x) { return isnan(x) ? -INFINITY : x; }

typedef struct scored {
  float score;
  int64_t slot;
} scored;

static int by_rank(const void *left, const void *right) {
  const scored *a = left, *b = right;
  if (a->score > b->score || a->score < b->score)
    return a->score > b->score ? -1 : 1;
  return a->slot < b->slot ? -1 : a->slot > b->slot;
}

static void brute_force(const float *s1, const float *s2, int64_t n, scored *all) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      all[i * n + j] = (scored){as_number(as_number(s1[i]) + as_number(s2[j])), i * n + j};
  qsort(all, (size_t)(n * n), sizeof *all, by_rank);
}

static void compare(const float *s1, const float *s2, int64_t n, int64_t k, const scored *all) {
  void *scratch = aligned_alloc(64, (size_t)(smft__product_keys_scratch(n, k) + 63) / 64 * 64);
  int64_t *slots = malloc((size_t)k * sizeof *slots);
  float *scores = malloc((size_t)k * sizeof *scores);
  smft__product_keys_top(smft__product_keys_prepare(n, k, scratch), s1, s2, slots, scores);
  for (int64_t i = 0; i < k; i++) {
    ck_assert_msg(slots[i] == all[i].slot, "n %d k %d rank %d: slot %d, wanted %d (score %g, %g)",
                  (int)n, (int)k, (int)i, (int)slots[i], (int)all[i].slot, (double)scores[i],
                  (double)all[i].score);
    ck_assert(!(scores[i] < all[i].score) && !(scores[i] > all[i].score));
  }
  free(scratch);
  free(slots);
  free(scores);
}

enum {
  RANDOM,
  INTEGERS,
  FEW_VALUES,
  CONSTANT,
  NOT_NUMBERS,
  INFINITIES,
  ABSORBED,
  ONE_SIDE,
  ALL_NAN,
  ZEROS,
  SOME_ZEROS,
  KINDS
};

static float draw(smft__rng *rng, int kind, int64_t i, int which) {
  double x = smft__rng_normal(rng), u = smft__rng_uniform(rng);
  switch (kind) {
  case RANDOM:
    return (float)x;
  case INTEGERS:
    return (float)floor(x * 4);
  case FEW_VALUES:
    return u < 0.5 ? 1.0f : u < 0.7 ? 2.0f : 0.0f;
  case CONSTANT:
    return 1.25f;
  case NOT_NUMBERS:
    return u < 0.9 ? NAN : (float)x;
  case INFINITIES:
    return u < 0.2 ? INFINITY : u < 0.6 ? -INFINITY : u < 0.7 ? NAN : (float)floor(x * 2);
  /* rounding makes sums equal that are not */
  case ABSORBED:
    return which ? (float)(x + 1e8) : (float)x;
  case ONE_SIDE:
    return which ? (float)x : (i == 3 ? 100.0f : (float)x * 1e-3f);
  case ALL_NAN:
    return NAN;
  case ZEROS:
    return u < 0.5 ? -0.0f : 0.0f;
  /* equal sums of different sign bits, none left out */
  default:
    return u < 0.3 ? -0.0f : u < 0.6 ? 0.0f : (float)(-1 - x * x);
  }
}

static void fill(smft__rng *rng, int kind, int64_t n, float *s1, float *s2) {
  for (int64_t i = 0; i < n; i++) {
    s1[i] = draw(rng, kind, i, 0);
    s2[i] = draw(rng, kind, i, 1);
  }
}

static void all_kinds(int64_t n, const int64_t *ks, int n_ks, int rounds) {
  smft__rng rng;
  float *s1 = malloc((size_t)n * sizeof *s1), *s2 = malloc((size_t)n * sizeof *s2);
  scored *all = malloc((size_t)(n * n) * sizeof *all);
  smft__rng_seed(&rng, (uint64_t)n);
  for (int kind = 0; kind < KINDS; kind++)
    for (int round = 0; round < rounds; round++) {
      fill(&rng, kind, n, s1, s2);
      brute_force(s1, s2, n, all);
      for (int i = 0; i < n_ks; i++)
        if (ks[i] <= n)
          compare(s1, s2, n, ks[i], all);
    }
  free(s1);
  free(s2);
  free(all);
}

static void each_level(void (*run)(void)) {
  int best = smft__cpu_limit(SMFT__CPU_TILES);
  for (int level = 0; level <= best; level++) {
    ck_assert_int_eq(smft__cpu_limit(level), level);
    run();
  }
  smft__cpu_limit(best);
}

static void small_grids(void) {
  int64_t ks[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33};
  for (int64_t n = 1; n <= 40; n++)
    all_kinds(n, ks, 12, 4);
}

static void whole_halves(void) { /* k = n */
  for (int64_t n = 1; n <= 70; n += 3)
    all_kinds(n, &n, 1, 2);
}

static void large_grids(void) {
  int64_t ks[] = {1, 8, 32, 64, 100, 128};
  all_kinds(128, ks, 6, 4);
  all_kinds(250, ks, 5, 2);
}

START_TEST(small) { each_level(small_grids); }
END_TEST
START_TEST(whole) { each_level(whole_halves); }
END_TEST
START_TEST(large) { each_level(large_grids); }
END_TEST

START_TEST(largest) {
  int64_t ks[] = {32, 64};
  all_kinds(1024, ks, 2, 1);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("product_keys");
  TCase *cases = tcase_create("top");
  tcase_set_timeout(cases, 60);
  tcase_add_test(cases, small);
  tcase_add_test(cases, whole);
  tcase_add_test(cases, large);
  tcase_add_test(cases, largest);
  suite_add_tcase(suite, cases);
  return suite;
}
