/* pool and row kernels: every element type, every width around the vectors' length, odd addresses,
 * patched rows, every instruction set. */
#include "test.h"
#include "base/rng.h"
#include "memory/pool.h"
#include "memory/kernels/row.h"
#include "base/cpu.h"

enum { ROWS = 6, WIDEST = 70 };

typedef struct table {
  float numbers[ROWS * WIDEST]; /* what the bytes mean */
  char bytes[ROWS * WIDEST * 4 + 1];
  smft__pool pool;
} table;

static void make_table(table *t, int32_t dtype, int64_t dim) {
  smft__rng rng;
  smft__rng_seed(&rng, (uint64_t)dim);
  memset(&t->pool, 0, sizeof t->pool);
  t->pool.base = smft__tensor_f32((const float *)(const void *)(t->bytes + 1), ROWS, dim);
  t->pool.base.dtype = dtype;
  t->pool.n_slots = ROWS;
  t->pool.value_dim = dim;
  for (int64_t i = 0; i < ROWS * dim; i++) {
    float x = (float)smft__rng_normal(&rng);
    uint16_t half = dtype == SMFT__BF16 ? smft__f32_to_bf16(x) : smft__f32_to_f16(x);
    t->numbers[i] = dtype == SMFT__F32    ? x
                    : dtype == SMFT__BF16 ? smft__bf16_to_f32(half)
                                          : smft__f16_to_f32(half);
    memcpy(t->bytes + 1 + i * SMFT__WEIGHT_BYTES(dtype),
           dtype == SMFT__F32 ? (void *)&x : (void *)&half, (size_t)SMFT__WEIGHT_BYTES(dtype));
  }
}

static void check_single(const table *t) {
  int64_t dim = t->pool.value_dim;
  float row[WIDEST], y[WIDEST], dy[WIDEST];
  for (int64_t slot = 0; slot < ROWS; slot++) {
    const float *wanted = t->numbers + slot * dim;
    double dot = 0;
    smft__pool_prefetch(&t->pool, slot);
    smft__pool_read(&t->pool, slot, row);
    ck_assert_mem_eq(row, wanted, (size_t)dim * sizeof *row);
    for (int64_t i = 0; i < dim; i++) {
      y[i] = (float)i;
      dy[i] = (float)cos((double)i);
      dot += (double)dy[i] * (double)wanted[i];
    }
    smft__pool_accumulate(&t->pool, slot, 0.3f, y);
    for (int64_t i = 0; i < dim; i++)
      ck_assert_float_eq_tol(y[i], (float)i + 0.3f * wanted[i], 1e-5f);
    ck_assert_float_eq_tol(smft__pool_dot(&t->pool, slot, dy), (float)dot, 1e-4f);
  }
}

/* Four at once give the bits of four in turn. */
static void check_groups(const table *t) {
  const smft__row_kernels *kernels = smft__row_kernels_best();
  int64_t dim = t->pool.value_dim;
  int32_t dtype = t->pool.base.dtype;
  const void *rows[4], *next[4];
  float weights[4] = {0.5f, -1.25f, 3.0f, 0.1f}, one[WIDEST] = {0}, four[WIDEST] = {0}, dots[4];
  for (int i = 0; i < 4; i++) {
    rows[i] = smft__pool_row(&t->pool, i, &dtype);
    next[i] = smft__pool_row(&t->pool, 5 - i, &dtype);
  }
  for (int i = 0; i < 4; i++)
    kernels->add(dtype, one, rows[i], weights[i], dim);
  kernels->add4(dtype, four, rows, weights, next, dim);
  ck_assert_mem_eq(one, four, (size_t)dim * sizeof *one);
  kernels->dot4(dtype, rows, one, next, dim, dots);
  for (int i = 0; i < 4; i++) {
    float dot = kernels->dot(dtype, rows[i], one, dim);
    ck_assert_mem_eq(&dot, &dots[i], sizeof dot);
  }
}

/* Without data, all rows are zeros. */
START_TEST(zeros) {
  smft__pool pool = {.n_slots = ROWS, .value_dim = 5};
  float row[5] = {1, 2, 3, 4, 5}, y[5] = {1, 2, 3, 4, 5};
  int32_t dtype = 0;
  pool.base = smft__tensor_f32(NULL, ROWS, 5);
  ck_assert(smft__pool_is_zeros(&pool) && smft__pool_is_empty(&pool));
  ck_assert_ptr_null(smft__pool_row(&pool, 3, &dtype));
  ck_assert_int_eq(dtype, SMFT__F32);
  smft__pool_prefetch(&pool, 3);
  smft__pool_accumulate(&pool, 3, 2.0f, y);
  ck_assert_mem_eq(row, y, sizeof row);
  float dot = smft__pool_dot(&pool, 3, y);
  smft__pool_read(&pool, 3, row);
  ck_assert(dot >= 0 && dot <= 0);
  for (int i = 0; i < 5; i++)
    ck_assert(row[i] >= 0 && row[i] <= 0);
}
END_TEST

START_TEST(element_types) {
  static const int32_t dtypes[] = {SMFT__F32, SMFT__F16, SMFT__BF16};
  int best = smft__cpu_limit(SMFT__CPU_TILES);
  table t;
  for (int level = 0; level <= best; level++)
    for (int64_t dim = 1; dim <= WIDEST; dim++)
      for (int i = 0; i < 3; i++) {
        smft__cpu_limit(level);
        make_table(&t, dtypes[i], dim);
        check_single(&t);
        check_groups(&t);
      }
  smft__cpu_limit(best);
}
END_TEST

START_TEST(patched) {
  table t;
  smft_ctx *ctx;
  smft__snapshot *rows;
  float row[WIDEST], ones[WIDEST];
  ck_ok(smft_ctx_create(&ctx, NULL));
  make_table(&t, SMFT__BF16, 20);
  t.pool.rows = rows = smft__snapshot_edit(ctx, 20, NULL, 1);
  check_single(&t); /* an empty set of rows changes nothing */
  float *mine = smft__snapshot_put(rows, 4);
  for (int i = 0; i < 20; i++) {
    mine[i] = 0.123f;
    ones[i] = 1;
  }
  smft__pool_read(&t.pool, 4, row);
  ck_assert_mem_eq(row, mine, 20 * sizeof *row);
  ck_assert_float_eq_tol(smft__pool_dot(&t.pool, 4, ones), 20 * 0.123f, 1e-5f);
  smft__pool_accumulate(&t.pool, 4, 2.0f, ones);
  ck_assert_float_eq_tol(ones[19], 1.246f, 1e-6f);
  smft__pool_read(&t.pool, 3, row);
  ck_assert_mem_eq(row, t.numbers + 60, 20 * sizeof *row);
  smft__snapshot_release(rows);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("pool");
  TCase *cases = tcase_create("pool");
  tcase_add_test(cases, zeros);
  tcase_add_test(cases, element_types);
  tcase_add_test(cases, patched);
  suite_add_tcase(suite, cases);
  return suite;
}
