/* test_nn_gemm: products against naive double loops: odd shapes, transpositions, leading
 * dimensions, three dtypes, unaligned weights, every instruction set of this machine; the same bits
 * for 1, 2 and 3 threads; no less exact than f32; what is not finite; without AMX. */
#include "test.h"
#include "base/rng.h"
#include "base/cpu.h"
#include "nn/gemm.h"

typedef struct product {  /* shape and layout of one product */
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
    uint16_t half =
        dtype == SMFT__BF16 ? smft__f32_to_bf16(values[i]) : smft__f32_to_f16(values[i]);
    if (dtype == SMFT__F32) {
      memcpy(bytes + offset + i * 4, &values[i], 4);
    } else {
      values[i] = dtype == SMFT__BF16 ? smft__bf16_to_f32(half) : smft__f16_to_f32(half);
      memcpy(bytes + offset + i * 2, &half, 2);
    }
  }
  return bytes;
}

static double naive(const product *p, const float *a, int64_t lda, const float *b, int64_t ldb,
                    int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t q = 0; q < p->k; q++)
    sum += (double)(p->trans_a ? a[q * lda + i] : a[i * lda + q]) *
           (double)(p->trans_b ? b[j * ldb + q] : b[q * ldb + j]);
  return sum;
}

static void check(smft_ctx *const ctx[3], const product *p) {
  smft__rng rng;
  smft__rng_seed(&rng, (uint64_t)(p->m * 1000003 + p->n * 1009 + p->k));
  int64_t lda = (p->trans_a ? p->m : p->k) + p->extra;
  int64_t ldb = (p->trans_b ? p->k : p->n) + p->extra, ldc = p->n + p->extra;
  int64_t a_size = lda * (p->trans_a ? p->k : p->m), b_size = ldb * (p->trans_b ? p->n : p->k);
  float *a = numbers(&rng, a_size), *b = numbers(&rng, b_size);
  float *before = numbers(&rng, p->m * ldc), *c[4];
  char *bytes = stored(b, b_size, p->dtype, p->offset);
  smft__gemm_args args = {p->m, p->n,       p->k,          a,
                          lda,  p->trans_a, p->trans_b,    bytes + p->offset,
                          ldb,  p->dtype,   p->accumulate, NULL,
                          ldc,  NULL};
  for (int t = 0; t < 4; t++) {
    c[t] = malloc((size_t)(p->m * ldc + 1) * sizeof(float));
    memcpy(c[t], before, (size_t)(p->m * ldc) * sizeof(float));
    args.c = c[t];
    if (t < 3)
      smft__gemm(ctx[t], &args);
    else
      smft__gemm_serial(ctx[0], &args);
    ck_assert_msg(memcmp(c[t], c[0], (size_t)(p->m * ldc) * sizeof(float)) == 0,
                  "threads change bits: m %ld n %ld k %ld", (long)p->m, (long)p->n, (long)p->k);
  }
  for (int64_t i = 0; i < p->m; i++)
    for (int64_t j = 0; j < ldc; j++) {
      float got = c[0][i * ldc + j], old = before[i * ldc + j];
      double wanted = j < p->n ? naive(p, a, lda, b, ldb, i, j) + (p->accumulate ? (double)old : 0)
                               : (double)old;
      ck_assert_msg(fabs((double)got - wanted) <= 8e-6 * sqrt((double)p->k + 1),
                    "m %ld n %ld k %ld ta %d tb %d dtype %d (%ld, %ld): %g, wanted %g", (long)p->m,
                    (long)p->n, (long)p->k, p->trans_a, p->trans_b, p->dtype, (long)i, (long)j,
                    (double)got, wanted);
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

static void free_contexts(smft_ctx *ctx[3]) {
  for (int t = 0; t < 3; t++)
    smft_ctx_free(ctx[t]);
}

/* Every layout of one shape. */
static void check_layouts(smft_ctx *const ctx[3], int64_t m, int64_t n, int64_t k) {
  static const int dtypes[] = {SMFT__F32, SMFT__F16, SMFT__BF16};
  for (int layout = 0; layout < 4; layout++)
    for (int d = 0; d < 3; d++) {
      product p = {m,
                   n,
                   k,
                   (layout + d) % 2 * 3,
                   layout & 1,
                   layout >> 1,
                   dtypes[d],
                   (layout + d) % 2,
                   (d + layout) % 3};
      check(ctx, &p);
    }
}

static const int64_t shapes[][3] = {{1, 1, 1},     {1, 7, 5},     {1, 33, 257},  {2, 16, 16},
                                    {3, 31, 64},   {4, 1, 100},   {5, 37, 19},   {7, 64, 48},
                                    {8, 129, 300}, {9, 32, 16},   {13, 47, 31},  {14, 32, 256},
                                    {15, 33, 257}, {16, 16, 48},  {29, 97, 65},  {64, 96, 192},
                                    {61, 53, 59},  {257, 67, 23}, {31, 8, 513},  {6, 15, 1000},
                                    {28, 64, 7},   {300, 3, 11},  {1, 1000, 64}, {8, 200, 520},
                                    {48, 32, 32},  {49, 33, 33},  {65, 47, 801}, {530, 40, 70},
                                    {96, 160, 33}};

START_TEST(test_shapes) {
  smft_ctx *ctx[3];
  if (smft__cpu_limit(_i) != _i)
    return;
  contexts(ctx);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    check_layouts(ctx, shapes[s][0], shapes[s][1], shapes[s][2]);
  free_contexts(ctx);
}
END_TEST

/* Big enough for many blocks, so that threads do share them. */
START_TEST(test_many_blocks) {
  smft_ctx *ctx[3];
  contexts(ctx);
  static const product big[] = {{300, 400, 290, 0, 0, 1, SMFT__BF16, 0, 0},
                                {530, 150, 270, 0, 0, 0, SMFT__F32, 1, 0},
                                {200, 330, 400, 0, 1, 0, SMFT__F32, 1, 0},
                                {600, 210, 450, 0, 1, 0, SMFT__F32, 0, 0},
                                {3, 3000, 570, 0, 0, 1, SMFT__F16, 0, 1}};
  for (size_t i = 0; i < sizeof big / sizeof *big; i++)
    check(ctx, &big[i]);
  free_contexts(ctx);
}
END_TEST

/* Products side by side have the bits that they have one after the other; one of them has nothing
 * to multiply. */
START_TEST(test_several_at_once) {
  enum { TOKENS = 70, IN = 130, OUT = 300 };
  static float x[TOKENS * IN], w[OUT * IN], dy[TOKENS * OUT], alone[3][OUT * IN],
      together[3][OUT * IN];
  smft_ctx *ctx[3];
  for (int i = 0; i < OUT * IN; i++)
    w[i] = cosf((float)i), x[i % (TOKENS * IN)] = sinf((float)i),
    dy[i % (TOKENS * OUT)] = sinf((float)i * 5);
  contexts(ctx);
  for (int n_tokens = 0; n_tokens <= TOKENS; n_tokens += 5) { /* of the first one alone */
    smft__gemm_args args[3] = {
        {n_tokens, OUT, IN, x, IN, 0, 1, w, IN, SMFT__F32, 0, alone[0], OUT, NULL},
        {OUT, IN, TOKENS, dy, OUT, 1, 0, x, IN, SMFT__F32, 1, alone[1], IN, NULL},
        {TOKENS, IN, OUT, dy, OUT, 0, 0, w, IN, SMFT__F32, 0, alone[2], IN, NULL}};
    memset(alone, 0, sizeof alone);
    for (int i = 0; i < 3; i++)
      smft__gemm(ctx[1], &args[i]);
    for (int t = 0; t < 3; t++) {
      memset(together, 0, sizeof together);
      for (int i = 0; i < 3; i++)
        args[i].c = together[i];
      smft__gemm_several(ctx[t], args, 3);
      ck_assert_mem_eq(together, alone, sizeof alone);
    }
  }
  free_contexts(ctx);
}
END_TEST

/* Of each kind of product: the bits that it has unasked; told when one element, of any block, is
 * not finite. */
START_TEST(test_checked) {
  static const int64_t shapes_of_kinds[][3] = {{1, 700, 300}, {70, 330, 40}, {300, 200, 60}};
  smft_ctx *ctx[3];
  smft__rng rng;
  contexts(ctx);
  smft__rng_seed(&rng, 6);
  for (int s = 0; s < 3; s++) {
    int64_t m = shapes_of_kinds[s][0], n = shapes_of_kinds[s][1], k = shapes_of_kinds[s][2];
    float *a = numbers(&rng, m * k), *b = numbers(&rng, n * k), *c = numbers(&rng, m * n);
    float *checked = numbers(&rng, m * n);
    smft__gemm_args args = {m, n, k, a, k, 0, 1, b, k, SMFT__F32, 0, c, n, NULL};
    smft__gemm(ctx[1], &args);
    args.c = checked;
    for (int64_t column = 0; column < n; column += n / 7) {
      atomic_int bad = 0;
      args.not_finite = &bad;
      smft__gemm(ctx[1], &args);
      ck_assert_int_eq(bad, 0);
      ck_assert_mem_eq(checked, c, (size_t)(m * n) * sizeof *c);
      float was = b[column * k];
      b[column * k] = column % 2 ? NAN : 3e38f * (float)(k * 100);
      smft__gemm(ctx[1], &args);
      ck_assert_int_eq(bad, 1);
      b[column * k] = was;
    }
    free(a), free(b), free(c), free(checked);
  }
  free_contexts(ctx);
}
END_TEST

START_TEST(test_nothing_to_do) {
  float c[4] = {1, 2, 3, 4}, x[4] = {1, 1, 1, 1};
  smft__gemm_args args = {2, 2, 0, x, 1, 0, 0, x, 2, SMFT__F32, 1, c, 2, NULL};
  smft_ctx *ctx[3];
  contexts(ctx);
  smft__gemm_serial(ctx[0], &args); /* k = 0 adds nothing */
  ck_assert(c[0] == 1 && c[3] == 4);
  args.m = 0, args.k = 2, args.accumulate = 0;
  smft__gemm_serial(ctx[0], &args);
  ck_assert(c[0] == 1 && c[3] == 4);
  args.m = 2, args.k = 0;
  smft__gemm_serial(ctx[0], &args);
  ck_assert(c[0] == 0 && c[3] == 0);
  free_contexts(ctx);
}
END_TEST

static float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

enum { M = 70, N = 40, K = 50, ROW = 7 };

/* A value that is not finite comes through (as itself or as NaN), and touches its own row alone. */
static void check_special(smft_ctx *ctx, float special) {
  float a[M * K], b[N * K], c[M * N];
  for (int i = 0; i < M * K; i++)
    a[i] = 1;
  for (int i = 0; i < N * K; i++)
    b[i] = 2;
  a[ROW * K + 33] = special;
  smft__gemm_args args = {M, N, K, a, K, 0, 1, b, K, SMFT__F32, 0, c, N, NULL};
  smft__gemm_serial(ctx, &args);
  for (int i = 0; i < M * N; i++)
    ck_assert_msg(i / N == ROW ? !isfinite(c[i]) : c[i] == 2 * K, "special %g: %d is %g",
                  (double)special, i, (double)c[i]);
}

START_TEST(test_what_is_not_finite_stays_in_its_row) {
  smft_ctx *ctx[3];
  if (smft__cpu_limit(_i) != _i)
    return;
  contexts(ctx);
  check_special(ctx[0], NAN);
  check_special(ctx[0], from_bits(0xffffffff)); /* NaNs whose payload a rounding could carry away */
  check_special(ctx[0], from_bits(0x7fffffff));
  check_special(ctx[0], INFINITY);
  check_special(ctx[0], -INFINITY);
  check_special(ctx[0], -3e38f); /* times 2 */
  free_contexts(ctx);
}
END_TEST

/* The largest error of all elements, as a part of the sum of the products' magnitudes: of c, and of
 * f32 sums in order of k. */
static void errors(const float *a, const float *b, const float *c, int64_t m, int64_t n, int64_t k,
                   double *ours, double *plain) {
  *ours = *plain = 0;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0, magnitude = 0;
      float rounded = 0;
      for (int64_t p = 0; p < k; p++) {
        double term = (double)a[i * k + p] * (double)b[j * k + p];
        sum += term;
        magnitude += fabs(term);
        rounded = fmaf(a[i * k + p], b[j * k + p], rounded);
      }
      *ours = fmax(*ours, fabs((double)c[i * n + j] - sum) / magnitude);
      *plain = fmax(*plain, fabs((double)rounded - sum) / magnitude);
    }
}

/* Numbers of all magnitudes with all their bits in use: whatever the instruction set, no less exact
 * than a loop in f32. */
START_TEST(test_as_exact_as_f32) {
  static const int64_t sizes[][3] = {{64, 48, 32}, {64, 64, 300}, {96, 64, 1600}};
  smft_ctx *ctx[3];
  smft__rng rng;
  if (smft__cpu_limit(_i) != _i)
    return;
  contexts(ctx);
  smft__rng_seed(&rng, 5);
  for (int s = 0; s < 3; s++) {
    int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
    float *a = numbers(&rng, m * k), *b = numbers(&rng, n * k);
    float *c = malloc((size_t)(m * n) * sizeof *c);
    for (int64_t i = 0; i < m * k; i++)
      a[i] *= ldexpf(1, (int)(i * 7 % 41) - 20);
    for (int64_t i = 0; i < n * k; i++)
      b[i] *= ldexpf(1, (int)(i * 11 % 31) - 15);
    smft__gemm_args args = {m, n, k, a, k, 0, 1, b, k, SMFT__F32, 0, c, n, NULL};
    double ours, plain;
    smft__gemm(ctx[1], &args);
    errors(a, b, c, m, n, k, &ours, &plain);
    ck_assert_msg(ours <= 1.25 * plain, "%ld x %ld x %ld: error %g, of f32 %g", (long)m, (long)n,
                  (long)k, ours, plain);
    free(a), free(b), free(c);
  }
  free_contexts(ctx);
}
END_TEST

static void *no_alloc(void *user, size_t size) { return *(int *)user ? NULL : malloc(size); }
static void *no_realloc(void *user, void *pointer, size_t size) {
  return *(int *)user ? NULL : realloc(pointer, size);
}
static void plain_free(void *user, void *pointer) {
  (void)user;
  free(pointer);
}

/* A context that does not ask for AMX, one that has no memory for it, and the vectors by
 * themselves: the same bits.  One that does: others. */
START_TEST(test_amx_is_asked_for) {
  enum { SIZE = 96, ASKS_NOT = 0, NO_MEMORY, ASKS, VECTORS, RUNS };
  static float a[SIZE * SIZE], b[SIZE * SIZE], c[RUNS][SIZE * SIZE];
  int fails = 0;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  for (int i = 0; i < SIZE * SIZE; i++) {
    a[i] = sinf((float)i);
    b[i] = cosf((float)i * 3);
  }
  options.n_threads = 2;
  options.alloc = no_alloc, options.realloc = no_realloc, options.free = plain_free,
  options.alloc_user = &fails;
  for (int run = 0; run < RUNS; run++) {
    smft__gemm_args args = {SIZE, SIZE, SIZE,      a, SIZE,   0,    1,
                            b,    SIZE, SMFT__F32, 0, c[run], SIZE, NULL};
    options.flags = run == ASKS_NOT ? 0 : SMFT_CTX_AMX;
    if (run == VECTORS)
      smft__cpu_limit(SMFT__CPU_AVX512);
    ck_ok(smft_ctx_create(&ctx, &options));
    fails = run == NO_MEMORY;
    if (run == ASKS)
      ck_ok(smft__gemm_reserve(ctx));
    if (run == NO_MEMORY && smft__cpu_has_tiles(1))
      ck_assert_int_eq(smft__gemm_reserve(ctx), SMFT_E_NOMEM);
    smft__gemm(ctx, &args);
    fails = 0;
    smft_ctx_free(ctx);
  }
  ck_assert_mem_eq(c[VECTORS], c[ASKS_NOT], sizeof c[0]);
  ck_assert_mem_eq(c[VECTORS], c[NO_MEMORY], sizeof c[0]);
  ck_assert_int_eq(memcmp(c[VECTORS], c[ASKS], sizeof c[0]) != 0,
                   smft__cpu_limit(SMFT__CPU_TILES) == SMFT__CPU_TILES);
  options.flags = 1u << 31;
  ck_assert_int_eq(smft_ctx_create(&ctx, &options), SMFT_E_INVALID);
}
END_TEST

/* A stored (k, m) is packed where there is memory for that; the bits are the same without. */
START_TEST(test_packing_a_needs_no_memory) {
  enum { SIZE = 130 };
  static float a[SIZE * SIZE], c[2][SIZE * SIZE];
  int fails = 0;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  if (smft__cpu_limit(_i) != _i)
    return;
  for (int i = 0; i < SIZE * SIZE; i++)
    a[i] = sinf((float)i);
  options.n_threads = 1;
  options.alloc = no_alloc, options.realloc = no_realloc, options.free = plain_free,
  options.alloc_user = &fails;
  for (int run = 0; run < 2; run++) {
    smft__gemm_args args = {SIZE, SIZE, SIZE,      a, SIZE,   1,    0,
                            a,    SIZE, SMFT__F32, 0, c[run], SIZE, NULL};
    ck_ok(smft_ctx_create(&ctx, &options));
    fails = run;
    ck_assert_int_eq(smft__gemm_reserve(ctx), fails ? SMFT_E_NOMEM : SMFT_OK);
    smft__gemm(ctx, &args);
    fails = 0;
    smft_ctx_free(ctx);
  }
  ck_assert_mem_eq(c[0], c[1], sizeof c[0]);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("nn_gemm");
  TCase *tests = tcase_create("gemm");
  tcase_add_loop_test(tests, test_shapes, SMFT__CPU_PORTABLE, SMFT__CPU_TILES + 1);
  tcase_add_test(tests, test_many_blocks);
  tcase_add_test(tests, test_several_at_once);
  tcase_add_test(tests, test_checked);
  tcase_add_loop_test(tests, test_packing_a_needs_no_memory, SMFT__CPU_PORTABLE, SMFT__CPU_TILES);
  tcase_add_test(tests, test_nothing_to_do);
  tcase_add_loop_test(tests, test_what_is_not_finite_stays_in_its_row, SMFT__CPU_PORTABLE,
                      SMFT__CPU_TILES + 1);
  tcase_add_loop_test(tests, test_as_exact_as_f32, SMFT__CPU_PORTABLE, SMFT__CPU_TILES + 1);
  tcase_add_test(tests, test_amx_is_asked_for);
  tcase_set_timeout(tests, 120);
  suite_add_tcase(suite, tests);
  return suite;
}
