/* test_nn_quant: kernels that read blocks.  What they decode has the bits of the plain decoding, on
 * every instruction set, at any address; products equal naive sums over what was decoded, in both
 * orientations, at any number of rows, columns and blocks, with the same bits on 1, 2 and 3
 * threads; scales that are not finite come through. */
#include "blocks.h"
#include "fixture.h"
#include "nn/embedding.h"
#include "nn/gemm.h"
#include "base/cpu.h"
#include "nn/linear.h"
#include "nn/vector.h"

/* ---- decoding ------------------------------------------------------------ */

static float *decoded(int32_t dtype, const char *blocks, int64_t n) {
  float *values = malloc((size_t)n * sizeof *values);
  ck_assert_ptr_nonnull(values);
  smft__dtype_traits(dtype)->to_f32(blocks, n, values);
  return values;
}

/* A loop test's number: instruction set and type. */
static int32_t type_of(int number) {
  int level = number / N_BLOCK_TYPES;
  return smft__cpu_limit(level) == level ? block_types[number % N_BLOCK_TYPES] : 0;
}

static void ck_bits(const float *got, const float *wanted, int64_t n, const char *what) {
  for (int64_t i = 0; i < n; i++)
    ck_assert_msg(memcmp(&got[i], &wanted[i], sizeof *got) == 0, "%s: %lld is %a, not %a", what,
                  (long long)i, (double)got[i], (double)wanted[i]);
}

START_TEST(vectors_decode_every_bit) {
  enum { N = 3 * 256 };
  int32_t dtype = type_of(_i);
  const char *name = smft__dtype_name(dtype);
  smft__rng rng;
  float out[N + 1];
  if (!dtype)
    return;
  smft__rng_seed(&rng, 11);
  char *blocks = random_blocks(&rng, dtype, N, 1, 1);
  float *values = decoded(dtype, blocks + 1, N);
  out[N] = 7;
  smft__vector()->to_f32(blocks + 1, dtype, N, out);
  ck_bits(out, values, N, name);
  for (int64_t begin = 0; begin < N; begin += 32)
    for (int64_t n = 0; n <= N - begin; n += 32) {
      out[n] = 7;
      smft__vector()->blocks_to_f32(blocks + 1, dtype, begin, n, out);
      ck_bits(out, values + begin, n, name);
      ck_assert(out[n] == 7);
    }
  free(blocks), free(values);
}
END_TEST

START_TEST(an_embedding_of_blocks_is_read) {
  enum { ROWS = 9, D = 512 };
  static const int32_t ids[] = {8, 0, 3, 3};
  int32_t dtype = block_types[_i];
  smft__rng rng;
  float y[4 * D];
  smft__rng_seed(&rng, 12);
  char *blocks = random_blocks(&rng, dtype, ROWS * D, 1, 3);
  float *values = decoded(dtype, blocks + 3, ROWS * D);
  smft__tensor table = {blocks + 3, {ROWS, D}, 2, dtype};
  smft__embedding_forward(ctx, &table, ids, 4, 1, y);
  for (int t = 0; t < 4; t++)
    ck_bits(y + t * D, values + ids[t] * D, D, "embedding");
  free(blocks), free(values);
}
END_TEST

/* ---- products ------------------------------------------------------------ */

typedef struct product {
  int64_t m, n, k;
  int trans_b, accumulate;
  int64_t offset; /* bytes that B is moved by */
} product;

static float *numbers(smft__rng *rng, int64_t n) {
  float *x = malloc((size_t)(n + 1) * sizeof *x);
  ck_assert_ptr_nonnull(x);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)smft__rng_normal(rng);
  return x;
}

static void ck_product(const product *p, int32_t dtype, const float *a, const float *b, int64_t ldb,
                       const float *before, const float *c) {
  for (int64_t i = 0; i < p->m; i++)
    for (int64_t j = 0; j < p->n; j++) {
      double sum = p->accumulate ? (double)before[i * p->n + j] : 0;
      for (int64_t q = 0; q < p->k; q++)
        sum += (double)a[i * p->k + q] * (double)b[p->trans_b ? j * ldb + q : q * ldb + j];
      double got = (double)c[i * p->n + j];
      ck_assert_msg(fabs(got - sum) <= 8e-6 * sqrt((double)p->k),
                    "%s m %ld n %ld k %ld trans %d (%ld, %ld): %g, wanted %g",
                    smft__dtype_name(dtype), (long)p->m, (long)p->n, (long)p->k, p->trans_b,
                    (long)i, (long)j, got, sum);
    }
}

/* Columns along the blocks: n is cut down to leave the last block of a row unfinished. */
static void check(smft_ctx *const many[3], const product *p, int32_t dtype) {
  int64_t block = smft__dtype_traits(dtype)->block;
  int64_t ldb = p->trans_b ? p->k : (p->n + block - 1) / block * block;
  int64_t size = ldb * (p->trans_b ? p->n : p->k), c_size = p->m * p->n;
  smft__rng rng;
  smft__rng_seed(&rng, (uint64_t)(p->m * 1000003 + p->n * 1009 + p->k));
  char *blocks = random_blocks(&rng, dtype, size, 1, p->offset);
  float *b = decoded(dtype, blocks + p->offset, size), *a = numbers(&rng, p->m * p->k);
  float *before = numbers(&rng, c_size), *c[3];
  for (int t = 0; t < 3; t++) {
    c[t] = numbers(&rng, c_size);
    memcpy(c[t], before, (size_t)c_size * sizeof(float));
    smft__gemm_args args = {p->m, p->n,  p->k,          a,
                            p->k, 0,     p->trans_b,    blocks + p->offset,
                            ldb,  dtype, p->accumulate, c[t],
                            p->n, NULL};
    smft__gemm(many[t], &args);
    ck_bits(c[t], c[0], c_size, "threads");
  }
  ck_product(p, dtype, a, b, ldb, before, c[0]);
  free(blocks), free(a), free(b), free(before);
  for (int t = 0; t < 3; t++)
    free(c[t]);
}

static void contexts(smft_ctx *many[3]) {
  for (int t = 0; t < 3; t++) {
    smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
    options.n_threads = t + 1;
    options.flags = t == 1 ? SMFT_CTX_AMX : 0; /* which changes nothing */
    ck_ok(smft_ctx_create(&many[t], &options));
  }
}

static void free_contexts(smft_ctx *many[3]) {
  for (int t = 0; t < 3; t++)
    smft_ctx_free(many[t]);
}

/* One block, several, more than are taken at a time; panels that are full, and not. */
START_TEST(products_read_blocks) {
  static const int64_t rows[] = {1, 2, 3, 4, 5, 17, 64}, columns[] = {1, 4, 7, 33, 48, 100};
  int32_t dtype = type_of(_i);
  smft_ctx *many[3];
  if (!dtype)
    return;
  int64_t block = smft__dtype_traits(dtype)->block;
  const int64_t depths[] = {block, 3 * block, block == 32 ? 544 : 1024};
  contexts(many);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (size_t j = 0; j < sizeof columns / sizeof *columns; j++)
      for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        product p = {rows[i], columns[j], depths[d], 1, (int)(i + j) % 2, (int64_t)(j + d) % 4};
        check(many, &p, dtype);
        p.trans_b = 0, p.k = 1 + (int64_t)(37 * d * (j + 1));
        check(many, &p, dtype);
      }
  free_contexts(many);
}
END_TEST

/* So that threads share them, and that row of blocks is cut within a block of 256. */
START_TEST(many_blocks_of_c) {
  static const product big[] = {{1, 3000, 768, 1, 0, 1},  {3, 2000, 512, 1, 1, 0},
                                {300, 200, 512, 1, 0, 2}, {130, 1100, 300, 0, 1, 0},
                                {530, 700, 70, 0, 0, 1},  {2, 900, 100, 0, 0, 0}};
  smft_ctx *many[3];
  contexts(many);
  for (size_t i = 0; i < sizeof big / sizeof *big; i++)
    check(many, &big[i], block_types[_i]);
  free_contexts(many);
}
END_TEST

/* A row that is 1 at one place, and 0 elsewhere, picks a column of W out of the product: its bits
 * are the plain decoding's. */
static void check_picked(int32_t dtype, int64_t m) {
  enum { OUT = 7, IN = 512 };
  static float x[64 * IN], y[64 * OUT];
  smft__rng rng;
  smft__rng_seed(&rng, 13);
  char *blocks = random_blocks(&rng, dtype, OUT * IN, 1, 0);
  float *values = decoded(dtype, blocks, OUT * IN);
  smft__tensor w = {blocks, {OUT, IN}, 2, dtype};
  for (int64_t p = 0; p < IN; p += m) {
    int64_t rows = p + m < IN ? m : IN - p;
    memset(x, 0, sizeof x);
    for (int64_t i = 0; i < rows; i++)
      x[i * IN + p + i] = 1;
    smft__linear_forward(ctx, &w, NULL, x, m, y);
    for (int64_t i = 0; i < rows; i++)
      for (int64_t j = 0; j < OUT; j++) {
        float wanted = values[j * IN + p + i] + 0.0f; /* sums of zeros have lost the sign of -0 */
        ck_bits(&y[i * OUT + j], &wanted, 1, smft__dtype_name(dtype));
      }
  }
  free(blocks), free(values);
}

START_TEST(products_decode_every_bit) {
  int32_t dtype = type_of(_i);
  if (!dtype)
    return;
  check_picked(dtype, 1);
  check_picked(dtype, 3);
  check_picked(dtype, 64);
}
END_TEST

/* Forward and backward of a layer, against the same layer in f32. */
START_TEST(a_layer_is_its_f32_self) {
  enum { OUT = 96, IN = 768 };
  static const int64_t tokens[] = {1, 3, 5, 64};
  int32_t dtype = block_types[_i];
  smft__rng rng;
  smft__rng_seed(&rng, 14);
  char *blocks = random_blocks(&rng, dtype, OUT * IN, 1, 2);
  float *values = decoded(dtype, blocks + 2, OUT * IN);
  smft__tensor w = {blocks + 2, {OUT, IN}, 2, dtype}, plain = smft__tensor_f32(values, OUT, IN);
  for (int t = 0; t < 4; t++) {
    int64_t n = tokens[t];
    float *x = numbers(&rng, n * IN), *dy = numbers(&rng, n * OUT);
    float *y[2] = {numbers(&rng, n * OUT), numbers(&rng, n * OUT)};
    float *dx[2] = {numbers(&rng, n * IN), numbers(&rng, n * IN)};
    smft__linear_forward(ctx, &w, NULL, x, n, y[0]);
    smft__linear_forward(ctx, &plain, NULL, x, n, y[1]);
    smft__linear_backward(ctx, &w, x, dy, n, dx[0], 0, NULL);
    smft__linear_backward(ctx, &plain, x, dy, n, dx[1], 0, NULL);
    ck_assert(test_distance(y[0], y[1], n * OUT) < 2e-6);
    ck_assert(test_distance(dx[0], dx[1], n * IN) < 2e-6);
    free(x), free(dy), free(y[0]), free(y[1]), free(dx[0]), free(dx[1]);
  }
  free(blocks), free(values);
}
END_TEST

/* ---- hostile blocks ------------------------------------------------------ */

/* Bytes of all ones: scales are NaN, and infinite ones make NaN of zeros.  Only the row with such a
 * block is touched, and whoever asks is told. */
START_TEST(what_is_not_finite_comes_through) {
  enum { OUT = 40, IN = 512, ROW = 21 };
  int32_t dtype = block_types[_i];
  smft__rng rng;
  smft__rng_seed(&rng, 15);
  for (int64_t m = 1; m <= 64; m += 21) {
    char *blocks = random_blocks(&rng, dtype, OUT * IN, 1, 0);
    smft__tensor w = {blocks, {OUT, IN}, 2, dtype};
    float *x = numbers(&rng, m * IN), *y = numbers(&rng, m * OUT);
    ck_assert_int_eq(smft__linear_forward_finite(ctx, &w, x, m, y), 1);
    memset(blocks + ROW * smft__row_bytes(dtype, IN), 0xff,
           (size_t)smft__dtype_traits(dtype)->bytes);
    ck_assert_int_eq(smft__linear_forward_finite(ctx, &w, x, m, y), 0);
    for (int64_t i = 0; i < m * OUT; i++)
      ck_assert_int_eq(!isfinite(y[i]), i % OUT == ROW);
    free(blocks), free(x), free(y);
  }
}
END_TEST

Suite *make_suite(void) {
  enum { ALL = N_BLOCK_TYPES * (SMFT__CPU_AVX512 + 1) };
  Suite *suite = suite_create("nn_quant");
  TCase *tests = tcase_create("blocks");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_loop_test(tests, vectors_decode_every_bit, 0, ALL);
  tcase_add_loop_test(tests, an_embedding_of_blocks_is_read, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, products_read_blocks, 0, ALL);
  tcase_add_loop_test(tests, many_blocks_of_c, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, products_decode_every_bit, 0, ALL);
  tcase_add_loop_test(tests, a_layer_is_its_f32_self, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, what_is_not_finite_comes_through, 0, N_BLOCK_TYPES);
  tcase_set_timeout(tests, 120);
  suite_add_tcase(suite, tests);
  return suite;
}
