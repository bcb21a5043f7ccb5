/* test_nn_gemm: products against naive double loops: odd shapes, transpositions, leading dimensions, three dtypes, unaligned weights,
 * every instruction set of this machine; and the same bits for 1, 2 and 3 threads. */
#include "test.h"
#include "base/rng.h"
#include "nn/cpu.h"
#include "nn/gemm.h"

typedef struct product { /* shape and layout of one product */
  int64_t m, n, k, extra; /* extra: what leading dimensions have beyond the row */
  int trans_a, trans_b, dtype, accumulate, offset; /* offset: bytes that b is moved by */
} product;

static float *numbers(smft__rng *rng, int64_t n) {
  float *x = malloc((size_t)(n + 1) * sizeof *x);
  ck_assert_ptr_nonnull(x);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)smft__rng_normal(rng);
  return x;
}

/* The weights in `dtype`, moved by offset bytes; *values become what they are after rounding. */
static char *stored(float *values, int64_t n, int dtype, int offset) {
  char *bytes = malloc((size_t)n * 4 + 16);
  ck_assert_ptr_nonnull(bytes);
  for (int64_t i = 0; i < n; i++) {
    uint16_t half = dtype == SMFT__BF16 ? smft__f32_to_bf16(values[i]) : smft__f32_to_f16(values[i]);
    if (dtype == SMFT__F32) {
      memcpy(bytes + offset + i * 4, &values[i], 4);
    } else {
      values[i] = dtype == SMFT__BF16 ? smft__bf16_to_f32(half) : smft__f16_to_f32(half);
      memcpy(bytes + offset + i * 2, &half, 2);
    }
  }
  return bytes;
}

static double naive(const product *p, const float *a, int64_t lda, const float *b, int64_t ldb, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t q = 0; q < p->k; q++)
    sum += (double)(p->trans_a ? a[q * lda + i] : a[i * lda + q]) * (double)(p->trans_b ? b[j * ldb + q] : b[q * ldb + j]);
  return sum;
}

static void check(smft_ctx *const ctx[3], const product *p) {
  smft__rng rng;
  smft__rng_seed(&rng, (uint64_t)(p->m * 1000003 + p->n * 1009 + p->k));
  int64_t lda = (p->trans_a ? p->m : p->k) + p->extra, ldb = (p->trans_b ? p->k : p->n) + p->extra, ldc = p->n + p->extra;
  int64_t a_size = lda * (p->trans_a ? p->k : p->m), b_size = ldb * (p->trans_b ? p->n : p->k);
  float *a = numbers(&rng, a_size), *b = numbers(&rng, b_size), *before = numbers(&rng, p->m * ldc), *c[4];
  char *bytes = stored(b, b_size, p->dtype, p->offset);
  smft__gemm_args args = {p->m, p->n, p->k, a, lda, p->trans_a, p->trans_b, bytes + p->offset, ldb, p->dtype, p->accumulate, NULL, ldc};
  for (int t = 0; t < 4; t++) {
    c[t] = malloc((size_t)(p->m * ldc + 1) * sizeof(float));
    memcpy(c[t], before, (size_t)(p->m * ldc) * sizeof(float));
    args.c = c[t];
    if (t < 3)
      smft__gemm(ctx[t], &args);
    else
      smft__gemm_serial(&args);
    ck_assert_msg(memcmp(c[t], c[0], (size_t)(p->m * ldc) * sizeof(float)) == 0, "threads change bits: m %ld n %ld k %ld", (long)p->m,
                  (long)p->n, (long)p->k);
  }
  for (int64_t i = 0; i < p->m; i++)
    for (int64_t j = 0; j < ldc; j++) {
      float got = c[0][i * ldc + j], old = before[i * ldc + j];
      double wanted = j < p->n ? naive(p, a, lda, b, ldb, i, j) + (p->accumulate ? (double)old : 0) : (double)old;
      ck_assert_msg(fabs((double)got - wanted) <= 8e-6 * sqrt((double)p->k + 1),
                    "m %ld n %ld k %ld ta %d tb %d dtype %d (%ld, %ld): %g, wanted %g",
                    (long)p->m, (long)p->n, (long)p->k, p->trans_a, p->trans_b, p->dtype, (long)i, (long)j, (double)got, wanted);
    }
  free(a), free(b), free(before), free(bytes);
  for (int t = 0; t < 4; t++)
    free(c[t]);
}

static void contexts(smft_ctx *ctx[3]) {
  for (int t = 0; t < 3; t++) {
    smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
    options.n_threads = t + 1;
    ck_ok(smft_ctx_create(&ctx[t], &options));
  }
}

/* Every layout of one shape. */
static void check_layouts(smft_ctx *const ctx[3], int64_t m, int64_t n, int64_t k) {
  static const int dtypes[] = {SMFT__F32, SMFT__F16, SMFT__BF16};
  for (int layout = 0; layout < 4; layout++)
    for (int d = 0; d < 3; d++) {
      product p = {m, n, k, (layout + d) % 2 * 3, layout & 1, layout >> 1, dtypes[d], (layout + d) % 2, (d + layout) % 3};
      check(ctx, &p);
    }
}

static const int64_t shapes[][3] = {{1, 1, 1},    {1, 7, 5},     {1, 33, 257}, {2, 16, 16},   {3, 31, 64},   {4, 1, 100},  {5, 37, 19},
                                    {7, 64, 48},  {8, 129, 300}, {9, 32, 16},  {13, 47, 31},  {14, 32, 256}, {15, 33, 257}, {16, 16, 48},
                                    {29, 97, 65}, {64, 96, 192}, {61, 53, 59}, {257, 67, 23}, {31, 8, 513},  {6, 15, 1000}, {28, 64, 7},
                                    {300, 3, 11}, {1, 1000, 64}, {8, 200, 520}};

START_TEST(test_shapes) {
  smft_ctx *ctx[3];
  if (smft__cpu_limit(_i) != _i)
    return;
  contexts(ctx);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    check_layouts(ctx, shapes[s][0], shapes[s][1], shapes[s][2]);
  for (int t = 0; t < 3; t++)
    smft_ctx_free(ctx[t]);
}
END_TEST

/* Big enough for many blocks, so that threads do share them. */
START_TEST(test_many_blocks) {
  smft_ctx *ctx[3];
  contexts(ctx);
  static const product big[] = {{300, 400, 290, 0, 0, 1, SMFT__BF16, 0, 0}, {530, 150, 270, 0, 0, 0, SMFT__F32, 1, 0},
                                {200, 330, 400, 0, 1, 0, SMFT__F32, 1, 0}, {3, 3000, 570, 0, 0, 1, SMFT__F16, 0, 1}};
  for (size_t i = 0; i < sizeof big / sizeof *big; i++)
    check(ctx, &big[i]);
  for (int t = 0; t < 3; t++)
    smft_ctx_free(ctx[t]);
}
END_TEST

START_TEST(test_nothing_to_do) {
  float c[4] = {1, 2, 3, 4}, x[4] = {1, 1, 1, 1};
  smft__gemm_args args = {2, 2, 0, x, 1, 0, 0, x, 2, SMFT__F32, 1, c, 2};
  smft__gemm_serial(&args); /* k = 0 adds nothing */
  ck_assert(c[0] == 1 && c[3] == 4);
  args.m = 0, args.k = 2, args.accumulate = 0;
  smft__gemm_serial(&args);
  ck_assert(c[0] == 1 && c[3] == 4);
  args.m = 2, args.k = 0;
  smft__gemm_serial(&args);
  ck_assert(c[0] == 0 && c[3] == 0);
}
END_TEST

/* A value that is not finite comes through, and touches its own row or column alone. */
START_TEST(test_nan_stays_where_it_is) {
  float a[20 * 3], b[40 * 3], c[20 * 40];
  for (int i = 0; i < 20 * 3; i++)
    a[i] = 1;
  for (int i = 0; i < 40 * 3; i++)
    b[i] = 2;
  a[7 * 3 + 1] = NAN;
  smft__gemm_args args = {20, 40, 3, a, 3, 0, 1, b, 3, SMFT__F32, 0, c, 40};
  smft__gemm_serial(&args);
  for (int i = 0; i < 20 * 40; i++)
    ck_assert(i / 40 == 7 ? isnan(c[i]) : c[i] == 6);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("nn_gemm");
  TCase *tests = tcase_create("gemm");
  tcase_add_loop_test(tests, test_shapes, SMFT__CPU_PORTABLE, SMFT__CPU_AVX512 + 1);
  tcase_add_test(tests, test_many_blocks);
  tcase_add_test(tests, test_nothing_to_do);
  tcase_add_test(tests, test_nan_stays_where_it_is);
  tcase_set_timeout(tests, 120);
  suite_add_tcase(suite, tests);
  return suite;
}
