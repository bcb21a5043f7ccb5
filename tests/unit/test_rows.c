/* rows: a long random life of adds, removes, clears and copies against a plain list; and running
 * out of memory. */
#include "test.h"
#include "base/rng.h"
#include "memory/rows.h"

enum { DIM = 3, SLOTS = 500 };

static smft_ctx *make_ctx(void) {
  smft_ctx *ctx;
  ck_ok(smft_ctx_create(&ctx, NULL));
  return ctx;
}

static void put(smft__rows *rows, int64_t slot) {
  ck_ok(smft__rows_reserve(rows, rows->n + 1));
  float *row = smft__rows_at(rows, smft__rows_add(rows, slot));
  for (int i = 0; i < DIM; i++)
    row[i] = (float)(slot * 10 + i);
}

static void check(const smft__rows *rows, const char *present) {
  int64_t n = 0;
  for (int64_t slot = 0; slot < SLOTS; slot++) {
    int64_t position = smft__rows_find(rows, slot);
    ck_assert_msg((position >= 0) == present[slot], "slot %d", (int)slot);
    if (position < 0)
      continue;
    n++;
    ck_assert(rows->slots[position] == slot);
    ck_assert_float_eq(smft__rows_at(rows, position)[DIM - 1], (float)(slot * 10 + DIM - 1));
  }
  ck_assert_int_eq(n, rows->n);
}

START_TEST(a_long_life) {
  smft_ctx *ctx = make_ctx();
  smft__rows rows;
  smft__rng rng;
  char present[SLOTS] = {0};
  smft__rows_init(&rows, ctx, DIM);
  smft__rng_seed(&rng, 1);
  check(&rows, present);
  for (int step = 0; step < 20000; step++) {
    int64_t slot = smft__rng_below(&rng, SLOTS);
    int remove = smft__rng_below(&rng, 1000) < (step / 2000 % 2 ? 700 : 300);
    if (remove)
      smft__rows_remove(&rows, slot);
    else if (smft__rows_find(&rows, slot) < 0)
      put(&rows, slot);
    present[slot] = (char)!remove;
    if (step % 500 == 0)
      check(&rows, present);
    if (step == 15000) {
      smft__rows_clear(&rows);
      memset(present, 0, sizeof present);
      check(&rows, present);
    }
  }
  check(&rows, present);
  smft__rows_free(&rows);
  smft__rows_free(&rows);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(insertion_order) {
  smft_ctx *ctx = make_ctx();
  smft__rows rows;
  int64_t slots[] = {7, 0, (int64_t)1 << 40, 3};
  smft__rows_init(&rows, ctx, DIM);
  for (int i = 0; i < 4; i++)
    put(&rows, slots[i]);
  ck_assert_mem_eq(rows.slots, slots, sizeof slots);
  smft__rows_remove(&rows, 0); /* the last takes its place */
  ck_assert(rows.n == 3 && rows.slots[1] == 3 && smft__rows_find(&rows, 3) == 1);
  smft__rows_free(&rows);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(reserve_changes_nothing) {
  smft_ctx *ctx = make_ctx();
  smft__rows rows;
  char present[SLOTS] = {0};
  smft__rows_init(&rows, ctx, DIM);
  for (int64_t slot = 0; slot < SLOTS; slot += 7) {
    put(&rows, slot);
    present[slot] = 1;
  }
  ck_ok(smft__rows_reserve(&rows, 100000));
  ck_ok(smft__rows_reserve(&rows, 0));
  check(&rows, present);
  smft__rows_free(&rows);
  smft_ctx_free(ctx);
}
END_TEST

/* An allocator that says no from the n-th request on. */
static int64_t allowance;
static void *scant_alloc(void *user, size_t size) {
  (void)user;
  return allowance-- > 0 ? malloc(size) : NULL;
}
static void *scant_realloc(void *user, void *old, size_t size) {
  (void)user;
  return allowance-- > 0 ? realloc(old, size) : NULL;
}
static void scant_free(void *user, void *pointer) {
  (void)user;
  free(pointer);
}

START_TEST(no_memory) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  options.alloc = scant_alloc;
  options.realloc = scant_realloc;
  options.free = scant_free;
  options.n_threads = 1;
  allowance = 1000;
  ck_ok(smft_ctx_create(&ctx, &options));
  for (int64_t allowed = 0, done = 0; !done; allowed++) {
    smft__rows rows;
    char present[SLOTS] = {0};
    smft__rows_init(&rows, ctx, DIM);
    allowance = 1000;
    for (int64_t slot = 0; slot < 20; slot++) {
      put(&rows, slot);
      present[slot] = 1;
    }
    allowance = allowed;
    smft_status status = smft__rows_reserve(&rows, 5000);
    done = status == SMFT_OK;
    if (!done)
      ck_status(status, SMFT_E_NOMEM);
    check(&rows, present);
    ck_assert_int_lt(allowed, 10);
    smft__rows_free(&rows);
  }
  smft__rows rows;
  smft__rows_init(&rows, ctx, INT64_MAX / 8);
  ck_status(smft__rows_reserve(&rows, 100), SMFT_E_NOMEM);
  ck_status(smft__rows_reserve(&rows, INT32_MAX), SMFT_E_NOMEM);
  smft__rows_free(&rows);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("rows");
  TCase *cases = tcase_create("rows");
  tcase_add_test(cases, a_long_life);
  tcase_add_test(cases, insertion_order);
  tcase_add_test(cases, reserve_changes_nothing);
  tcase_add_test(cases, no_memory);
  suite_add_tcase(suite, cases);
  return suite;
}
