/* memory layer: forward against the plain doubles of naive_memory.h, element types, patched rows,
 * threads, rows against dense gradient. */
#include "test.h"
#include "naive_memory.h"
#include "base/cpu.h"

static double far_apart(const float *a, const double *b, int64_t n) {
  double worst = 0, scale = 1;
  for (int64_t i = 0; i < n; i++) {
    double distance = fabs((double)a[i] - b[i]);
    if (!(distance <= worst))
      worst = distance;
    if (fabs(b[i]) > scale)
      scale = fabs(b[i]);
  }
  return worst / scale;
}

static void check_forward(int config, int64_t n_tokens, int mode) {
  naive_memory m;
  smft_ctx *ctx = naive_ctx(2);
  smft__memory_tape tape;
  naive_make(&m, naive_config(config), n_tokens, (uint64_t)(17 + config));
  smft__memory_view weights = naive_weights(&m);
  int64_t reads = n_tokens * m.config.heads * m.config.top_k;
  void *block = naive_tape(&tape, ctx, &m.config, n_tokens, mode);
  float *out = malloc((size_t)(n_tokens * m.config.hidden) * sizeof *out);
  naive_forward(&m, 1);
  smft__memory_forward(ctx, &weights, m.f[P_X], n_tokens, &tape, out);
  for (int64_t i = 0; i < reads; i++)
    ck_assert_msg(tape.slots[i] == m.slots[i], "config %d read %d", config, (int)i);
  ck_assert_double_lt(far_apart(tape.weights, m.weights, reads), 1e-5);
  ck_assert_double_lt(far_apart(out, m.out, n_tokens * m.config.hidden), 2e-5);
  free(out);
  smft__free(ctx, block);
  naive_free(&m);
  smft_ctx_free(ctx);
}

static void all_forwards(void) {
  int64_t tokens[] = {1, 3, 131};
  for (int config = 0; config < NAIVE_CONFIGS; config++)
    for (int i = 0; i < 3; i++)
      for (int mode = SMFT__TAPE_FORWARD; mode <= SMFT__TAPE_VALUES; mode++)
        check_forward(config, tokens[i], mode);
}

START_TEST(forward) {
  int best = smft__cpu_limit(SMFT__CPU_TILES);
  for (int level = 0; level <= best; level++) {
    smft__cpu_limit(level);
    all_forwards();
  }
  smft__cpu_limit(best);
}
END_TEST

/* Everything the layer computes, on a given number of threads. */
typedef struct results {
  float *out, *dx, *grads[P_COUNT];
  smft__rows rows;
  smft_ctx *ctx;
} results;

enum { TOKENS = 601 }; /* enough for every piece to be cut in blocks */

static void select_rows(smft__rows *rows, smft_ctx *ctx, const naive_memory *m) {
  smft__rows_init(rows, ctx, m->config.value_dim);
  ck_ok(smft__rows_reserve(rows, m->n[P_VALUES] / m->config.value_dim));
  for (int64_t slot = m->n[P_VALUES] / m->config.value_dim - 1; slot >= 0; slot -= 1 + slot % 3)
    memset(smft__rows_at(rows, smft__rows_add(rows, slot)), 0,
           (size_t)m->config.value_dim * sizeof(float));
}

static void run_all(results *r, const naive_memory *m, int32_t n_threads,
                    const smft__snapshot *patch) {
  smft__memory_tape tape;
  smft__memory_grads grads = {0};
  smft__memory_view weights = naive_weights(m);
  int64_t size = m->n_tokens * m->config.hidden;
  weights.pool.rows = patch;
  r->ctx = naive_ctx(n_threads);
  r->out = calloc((size_t)size, sizeof(float));
  r->dx = calloc((size_t)size, sizeof(float));
  for (int i = 0; i < P_COUNT; i++) {
    r->grads[i] = calloc((size_t)m->n[i] + 1, sizeof(float));
    if (naive_grad(&grads, i) && m->n[i])
      *naive_grad(&grads, i) = r->grads[i];
  }
  select_rows(&r->rows, r->ctx, m);
  grads.rows = &r->rows;
  void *block = naive_tape(&tape, r->ctx, &m->config, m->n_tokens, SMFT__TAPE_BACKWARD);
  smft__memory_forward(r->ctx, &weights, m->f[P_X], m->n_tokens, &tape, r->out);
  smft__memory_backward(r->ctx, &weights, m->f[P_X], m->n_tokens, &tape, r->out, r->dx, &grads);
  smft__free(r->ctx, block);
}

static void free_results(results *r) {
  free(r->out);
  free(r->dx);
  for (int i = 0; i < P_COUNT; i++)
    free(r->grads[i]);
  smft__rows_free(&r->rows);
  smft_ctx_free(r->ctx);
}

START_TEST(threads) {
  for (int config = 0; config < NAIVE_CONFIGS; config++) {
    naive_memory m;
    results one, other;
    naive_make(&m, naive_config(config), TOKENS, 5);
    run_all(&one, &m, 1, NULL);
    for (int32_t n = 2; n <= 3; n++) {
      run_all(&other, &m, n, NULL);
      ck_assert_mem_eq(one.out, other.out, (size_t)m.n[P_X] * sizeof(float));
      ck_assert_mem_eq(one.dx, other.dx, (size_t)m.n[P_X] * sizeof(float));
      for (int i = 0; i < P_COUNT; i++)
        ck_assert_msg(!memcmp(one.grads[i], other.grads[i], (size_t)m.n[i] * sizeof(float)),
                      "config %d parameter %d threads %d", config, i, n);
      ck_assert_mem_eq(one.rows.values, other.rows.values,
                       (size_t)(one.rows.n * one.rows.dim) * sizeof(float));
      free_results(&other);
    }
    free_results(&one);
    naive_free(&m);
  }
}
END_TEST

START_TEST(rows_are_dense_rows) {
  for (int config = 0; config < NAIVE_CONFIGS; config++) {
    naive_memory m;
    results r;
    int64_t dim;
    int nonzero = 0;
    naive_make(&m, naive_config(config), TOKENS, 6);
    run_all(&r, &m, 2, NULL);
    dim = m.config.value_dim;
    for (int64_t i = 0; i < r.rows.n; i++) {
      ck_assert_mem_eq(smft__rows_at(&r.rows, i), r.grads[P_VALUES] + r.rows.slots[i] * dim,
                       (size_t)dim * sizeof(float));
      nonzero += smft__rows_at(&r.rows, i)[0] != 0.0f;
    }
    ck_assert_int_gt(nonzero, 0);
    free_results(&r);
    naive_free(&m);
  }
}
END_TEST

/* The same rows when nothing else is wanted, from the smaller tape, with threads; a second backward
 * adds. */
START_TEST(only_rows) {
  naive_memory m;
  results all;
  smft__memory_tape tape;
  smft__rows rows;
  naive_make(&m, naive_config(0), TOKENS, 6);
  run_all(&all, &m, 1, NULL);
  select_rows(&rows, all.ctx, &m);
  smft__memory_view weights = naive_weights(&m);
  smft__memory_grads grads = {.rows = &rows};
  void *block = naive_tape(&tape, all.ctx, &m.config, TOKENS + 50, SMFT__TAPE_VALUES);
  float *out = malloc((size_t)m.n[P_X] * sizeof *out);
  smft__memory_forward(all.ctx, &weights, m.f[P_X], TOKENS, &tape, out);
  smft__memory_backward(all.ctx, &weights, m.f[P_X], TOKENS, &tape, out, NULL, &grads);
  ck_assert_mem_eq(rows.values, all.rows.values, (size_t)(rows.n * rows.dim) * sizeof(float));
  ck_assert_int_eq(rows.n, all.rows.n);
  smft__memory_forward(all.ctx, &weights, m.f[P_X], TOKENS, &tape, out);
  smft__memory_backward(all.ctx, &weights, m.f[P_X], TOKENS, &tape, out, NULL, &grads);
  for (int64_t i = 0; i < rows.n * rows.dim; i++)
    ck_assert_float_eq_tol(rows.values[i], 2 * all.rows.values[i], 1e-3f);
  free(out);
  smft__free(all.ctx, block);
  smft__rows_free(&rows);
  free_results(&all);
  naive_free(&m);
}
END_TEST

/* A patch's rows stand for the table's: the same bits as with a table that has them, forward and
 * backward. */
START_TEST(patched_rows) {
  naive_memory m;
  results plain, patched;
  smft_ctx *ctx = naive_ctx(1);
  naive_make(&m, naive_config(1), TOKENS, 8);
  int64_t dim = m.config.value_dim, n_slots = m.n[P_VALUES] / dim;
  smft__snapshot *patch = smft__snapshot_edit(ctx, dim, NULL, 1);
  run_all(&plain, &m, 1, NULL);
  for (int64_t slot = n_slots - 1; slot >= 0; slot -= 1 + slot % 3) {
    float *row = m.f[P_VALUES] + slot * dim;
    memcpy(smft__snapshot_put(patch, slot), row, (size_t)dim * sizeof *row);
    for (int64_t j = 0; j < dim; j++)
      row[j] = -77;
  }
  run_all(&patched, &m, 2, patch);
  ck_assert_mem_eq(plain.out, patched.out, (size_t)m.n[P_X] * sizeof(float));
  ck_assert_mem_eq(plain.dx, patched.dx, (size_t)m.n[P_X] * sizeof(float));
  free_results(&plain);
  free_results(&patched);
  smft__snapshot_release(patch);
  smft_ctx_free(ctx);
  naive_free(&m);
}
END_TEST

/* All weights in bf16 or f16, at odd addresses: the same as their f32 values. */
static const void *shrink(const float *from, int64_t n, int32_t dtype, float *back, char *room) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t half = dtype == SMFT__BF16 ? smft__f32_to_bf16(from[i]) : smft__f32_to_f16(from[i]);
    back[i] = dtype == SMFT__BF16 ? smft__bf16_to_f32(half) : smft__f16_to_f32(half);
    memcpy(room + 2 * i, &half, sizeof half);
  }
  return room;
}

/* Every third row of the table as a row of a patch instead: groups of reads are of mixed type then.
 */
static smft__snapshot *move_to_patch(smft_ctx *ctx, const naive_memory *m, char *bytes) {
  int64_t dim = m->config.value_dim, n = m->n[P_VALUES] / dim;
  smft__snapshot *patch = smft__snapshot_edit(ctx, dim, NULL, n);
  for (int64_t slot = 0; slot < n; slot += 3) {
    memcpy(smft__snapshot_put(patch, slot), m->f[P_VALUES] + slot * dim,
           (size_t)dim * sizeof(float));
    memset(bytes + slot * dim * 2, 0x47, (size_t)dim * 2);
  }
  return patch;
}

static void check_type(int config, int32_t dtype, int patched) {
  naive_memory m;
  smft_ctx *ctx = naive_ctx(2);
  smft__memory_tape tape;
  naive_make(&m, naive_config(config), 40, 9);
  smft__memory_view weights = naive_weights(&m);
  smft__tensor *tensors[] = {&weights.at[SMFT__M_QUERY],
                             &weights.at[SMFT__M_QUERY_BIAS],
                             &weights.at[SMFT__M_GATE],
                             &weights.at[SMFT__M_GATE_BIAS],
                             &weights.at[SMFT__M_OUT],
                             &weights.at[SMFT__M_OUT_BIAS],
                             &weights.at[SMFT__M_KEYS],
                             &weights.at[SMFT__M_QUERY_NORM],
                             &weights.at[SMFT__M_QUERY_NORM_BIAS],
                             &weights.at[SMFT__M_KEY_NORM],
                             &weights.at[SMFT__M_KEY_NORM_BIAS],
                             &weights.pool.base};
  char *rooms[P_COUNT] = {NULL};
  for (int i = 0; i < P_X; i++)
    if (m.n[i]) {
      rooms[i] = malloc((size_t)m.n[i] * 2 + 1);
      tensors[i]->data = shrink(m.f[i], m.n[i], dtype, m.f[i], rooms[i] + 1);
      tensors[i]->dtype = dtype;
      for (int64_t j = 0; j < m.n[i]; j++)
        m.p[i][j] = (double)m.f[i][j];
    }
  smft__snapshot *patch = patched ? move_to_patch(ctx, &m, rooms[P_VALUES] + 1) : NULL;
  weights.pool.rows = patch;
  void *block = naive_tape(&tape, ctx, &m.config, 40, SMFT__TAPE_FORWARD);
  float *out = malloc((size_t)m.n[P_X] * sizeof *out);
  naive_forward(&m, 1);
  smft__memory_forward(ctx, &weights, m.f[P_X], 40, &tape, out);
  ck_assert_double_lt(far_apart(out, m.out, m.n[P_X]), 2e-5);
  free(out);
  for (int i = 0; i < P_COUNT; i++)
    free(rooms[i]);
  smft__snapshot_release(patch);
  smft__free(ctx, block);
  naive_free(&m);
  smft_ctx_free(ctx);
}

START_TEST(element_types) {
  int best = smft__cpu_limit(SMFT__CPU_TILES);
  for (int level = 0; level <= best; level++) {
    smft__cpu_limit(level);
    for (int config = 0; config < NAIVE_CONFIGS; config++) {
      check_type(config, SMFT__BF16, 0);
      check_type(config, SMFT__F16, 0);
      check_type(config, SMFT__BF16, 1);
      check_type(config, SMFT__F16, 1);
    }
  }
  smft__cpu_limit(best);
}
END_TEST

/* Rows of a base that is zeros which stand nowhere: the bits of the same rows over zeros that are
 * there; and of no rows at all. */
START_TEST(zeros_that_stand_nowhere) {
  for (int config = 0; config < NAIVE_CONFIGS; config++)
    for (int64_t step = 2; step <= 1000000; step *= 1000) {
      naive_memory m;
      results there, nowhere;
      naive_make(&m, naive_config(config), TOKENS, 12);
      smft_ctx *ctx = naive_ctx(1);
      int64_t dim = m.config.value_dim, n = m.n[P_VALUES] / dim;
      smft__snapshot *patch = smft__snapshot_edit(ctx, dim, NULL, n);
      for (int64_t slot = 1; slot < n; slot += step)
        memcpy(smft__snapshot_put(patch, slot), m.f[P_VALUES] + slot * dim,
               (size_t)dim * sizeof(float));
      memset(m.f[P_VALUES], 0, (size_t)m.n[P_VALUES] * sizeof(float));
      run_all(&there, &m, 2, patch);
      float *values = m.f[P_VALUES];
      m.f[P_VALUES] = NULL;
      run_all(&nowhere, &m, 2, patch);
      m.f[P_VALUES] = values;
      ck_assert_mem_eq(there.out, nowhere.out, (size_t)m.n[P_X] * sizeof(float));
      ck_assert_mem_eq(there.dx, nowhere.dx, (size_t)m.n[P_X] * sizeof(float));
      for (int i = 0; i < P_COUNT; i++)
        ck_assert_msg(!memcmp(there.grads[i], nowhere.grads[i], (size_t)m.n[i] * sizeof(float)),
                      "config %d parameter %d", config, i);
      free_results(&there);
      free_results(&nowhere);
      smft__snapshot_release(patch);
      smft_ctx_free(ctx);
      naive_free(&m);
    }
}
END_TEST

/* A token that is not a number reads valid slots and gives NaN; its neighbours are as they were. */
START_TEST(not_a_number) {
  naive_memory m;
  results good, bad;
  naive_make(&m, naive_config(0), 20, 10);
  run_all(&good, &m, 1, NULL);
  m.f[P_X][7 * m.config.hidden] = NAN;
  run_all(&bad, &m, 1, NULL);
  for (int64_t t = 0; t < 20; t++)
    if (t == 7)
      ck_assert(isnan(bad.out[t * m.config.hidden]));
    else
      ck_assert_mem_eq(good.out + t * m.config.hidden, bad.out + t * m.config.hidden,
                       (size_t)m.config.hidden * sizeof(float));
  free_results(&good);
  free_results(&bad);
  naive_free(&m);
}
END_TEST

/* Nothing is allocated once the tape is there, and no tape grows with the pool. */
START_TEST(memory_does_not_follow_the_pool) {
  smft__memory_config small = naive_config(0), large = small;
  smft_ctx *ctx = naive_ctx(2);
  smft__memory_tape tape;
  smft__arena a = {0}, b = {0};
  large.n_keys = 1024;
  smft__memory_tape_place(&tape, &a, ctx, &small, 256, SMFT__TAPE_VALUES);
  smft__memory_tape_place(&tape, &b, ctx, &large, 256, SMFT__TAPE_VALUES);
  /* scores of a block of tokens, per lane */
  ck_assert_int_lt(b.used - a.used, 2 * 2 * 1024 * 4 * 300);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("memory");
  TCase *cases = tcase_create("layer");
  tcase_set_timeout(cases, 60);
  tcase_add_test(cases, forward);
  tcase_add_test(cases, threads);
  tcase_add_test(cases, rows_are_dense_rows);
  tcase_add_test(cases, only_rows);
  tcase_add_test(cases, patched_rows);
  tcase_add_test(cases, element_types);
  tcase_add_test(cases, zeros_that_stand_nowhere);
  tcase_add_test(cases, not_a_number);
  tcase_add_test(cases, memory_does_not_follow_the_pool);
  suite_add_tcase(suite, cases);
  return suite;
}
