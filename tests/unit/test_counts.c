/* counts: against plain counting; memory follows the distinct slots. */
#include "test.h"
#include "failing.h"
#include "base/rng.h"
#include "memory/counts.h"

static void check(const smft__counts *counts, const int64_t *plain, int64_t n_slots) {
  int64_t at = 0, total = 0;
  for (int64_t slot = 0; slot < n_slots; slot++) {
    total += plain[slot];
    if (!plain[slot])
      continue;
    ck_assert(at < counts->n && counts->slots[at] == slot && counts->reads[at] == plain[slot]);
    at++;
  }
  ck_assert(at == counts->n && total == counts->total);
}

START_TEST(counting) {
  enum { SLOTS = 300000, PIECE = 5000 };
  smft_ctx *ctx;
  smft__counts counts;
  smft__rng rng;
  int64_t *plain = calloc(SLOTS, sizeof *plain), *piece = malloc(PIECE * sizeof *piece);
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft__counts_init(&counts, ctx);
  smft__rng_seed(&rng, 4);
  ck_ok(smft__counts_finish(&counts));
  check(&counts, plain, SLOTS);
  for (int round = 0; round < 100; round++) {
    for (int i = 0; i < PIECE; i++) /* a few slots often, many seldom */
      plain[piece[i] = smft__rng_below(&rng, i % 2 ? SLOTS : 50)]++;
    ck_ok(smft__counts_add(&counts, piece, round % 10 ? PIECE : 1));
    if (round % 10 == 0)
      for (int i = 1; i < PIECE; i++)
        plain[piece[i]]--;
    if (round % 33 == 0) {
      ck_ok(smft__counts_finish(&counts));
      check(&counts, plain, SLOTS);
    }
  }
  ck_ok(smft__counts_finish(&counts));
  ck_ok(smft__counts_finish(&counts));
  check(&counts, plain, SLOTS);
  smft__counts_clear(&counts);
  memset(plain, 0, SLOTS * sizeof *plain);
  ck_ok(smft__counts_finish(&counts));
  check(&counts, plain, SLOTS);
  plain[SLOTS - 1] = 2;
  ck_ok(smft__counts_add(&counts, (int64_t[]){SLOTS - 1, SLOTS - 1}, 2));
  ck_ok(smft__counts_finish(&counts));
  check(&counts, plain, SLOTS);
  smft__counts_free(&counts);
  smft__counts_free(&counts);
  smft_ctx_free(ctx);
  free(plain);
  free(piece);
}
END_TEST

START_TEST(weights_are_summed_by_slot) {
  enum { SLOTS = 700, READS = 20000 };
  static int64_t slots[READS];
  static float weights[READS];
  static double plain[SLOTS];
  smft_ctx *ctx;
  smft__counts counts;
  smft__rng rng;
  double all = 0;
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft__counts_init(&counts, ctx);
  smft__rng_seed(&rng, 9);
  for (int i = 0; i < READS; i++) {
    slots[i] = 3 * smft__rng_below(&rng, SLOTS / 3); /* gaps between them */
    weights[i] = (float)smft__rng_uniform(&rng);
    plain[slots[i]] += (double)weights[i];
    all += (double)weights[i];
  }
  ck_ok(smft__counts_add(&counts, slots, READS));
  ck_ok(smft__counts_finish(&counts));
  for (int round = 0; round < 2; round++) { /* the second starts from nothing again */
    ck_ok(smft__counts_weigh(&counts));
    smft__counts_add_weights(&counts, slots, weights, READS / 2);
    smft__counts_add_weights(&counts, slots + READS / 2, weights + READS / 2, READS / 2);
    smft__counts_add_weights(&counts, (int64_t[]){1}, weights, 1); /* never counted: nowhere */
    ck_assert_double_eq(counts.weight, all);
    for (int64_t slot = 0; slot < SLOTS; slot++) {
      int64_t at = smft__counts_find(&counts, slot);
      ck_assert_int_eq(at >= 0, plain[slot] > 0);
      ck_assert(at < 0 || (counts.slots[at] == slot && counts.weights[at] >= plain[slot] &&
                           counts.weights[at] <= plain[slot]));
    }
  }
  smft__counts_free(&counts);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(reserved_counts_allocate_nothing) {
  enum { SLOTS = 5000, PIECE = 3000 };
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 1);
  smft__counts counts;
  smft__rng rng;
  int64_t piece[PIECE];
  smft__counts_init(&counts, ctx);
  smft__rng_seed(&rng, 4);
  ck_ok(smft__counts_reserve(&counts, PIECE, SLOTS));
  long long before = state.calls;
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < PIECE; i++)
      piece[i] = smft__rng_below(&rng, SLOTS);
    ck_ok(smft__counts_add(&counts, piece, round % 2 ? PIECE : PIECE / 3));
    ck_ok(smft__counts_finish(&counts));
  }
  ck_assert_int_eq(state.calls, before);
  ck_assert_int_gt(counts.n, SLOTS * 9 / 10);
  smft__counts_free(&counts);
  smft_ctx_free(ctx);
}
END_TEST

/* Where there is no memory for the list the reads stay pending, however often it is tried. */
START_TEST(failure_loses_nothing) {
  enum { SLOTS = 700, PIECE = 3000 };
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 1);
  smft__counts counts;
  smft__rng rng;
  int64_t piece[PIECE], plain[SLOTS] = {0};
  smft__counts_init(&counts, ctx);
  smft__rng_seed(&rng, 4);
  for (int i = 0; i < PIECE; i++)
    plain[piece[i] = smft__rng_below(&rng, SLOTS)]++;
  ck_ok(smft__counts_add(&counts, piece, PIECE));
  for (int attempt = 0; attempt < 3; attempt++) {
    state.fail_at = state.calls + 1;
    ck_assert_int_eq(smft__counts_finish(&counts), SMFT_E_NOMEM);
  }
  plain[5]++;
  ck_ok(smft__counts_add(&counts, (int64_t[]){5}, 1));
  ck_ok(smft__counts_finish(&counts));
  check(&counts, plain, SLOTS);
  smft__counts_free(&counts);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(memory_follows_distinct_slots) {
  smft_ctx *ctx;
  smft__counts counts;
  int64_t *reads = malloc(1000000 * sizeof *reads), peak;
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft__counts_init(&counts, ctx);
  for (int64_t i = 0; i < 1000000; i++)
    reads[i] = i % 10 * 1000000007 % ((int64_t)1 << 31);
  for (int i = 0; i < 5; i++)
    ck_ok(smft__counts_add(&counts, reads, 1000000));
  ck_ok(smft__counts_finish(&counts));
  ck_assert(counts.n == 10 && counts.total == 5000000 && counts.reads[3] == 500000);
  ck_ok(smft_ctx_memory(ctx, NULL, &peak));
  ck_assert_int_lt(peak, 3 << 20);
  smft__counts_free(&counts);
  smft_ctx_free(ctx);
  free(reads);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("counts");
  TCase *cases = tcase_create("counts");
  tcase_add_test(cases, counting);
  tcase_add_test(cases, memory_follows_distinct_slots);
  tcase_add_test(cases, failure_loses_nothing);
  tcase_add_test(cases, reserved_counts_allocate_nothing);
  tcase_add_test(cases, weights_are_summed_by_slot);
  suite_add_tcase(suite, cases);
  return suite;
}
