/* test_nn_integer: products with blocks in whole numbers (SMFT_CTX_INTEGER), of every
 * type on every instruction set.  Where rounding changes nothing they are the naive sums in double;
 * elsewhere they are away by no more than half a step of 15 bits; same bits on 1, 2 and 3 threads;
 * what is not finite comes through; other products keep their bits. */
#include "base/workspace.h"
#include "blocks.h"
#include "fixture.h"
#include "nn/gemm.h"
#include "nn/integer.h"
#include "base/cpu.h"
#include "nn/linear.h"

enum { N_LEVELS = SMFT__CPU_AVX512 + 1, ALL = N_BLOCK_TYPES * N_LEVELS, GROUP = 32 };

static smft_ctx *many[3];

static void open_all(void) {
  set_up();
  for (int t = 0; t < 3; t++) {
    smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
    options.n_threads = t + 1;
    options.flags = SMFT_CTX_INTEGER;
    ck_ok(smft_ctx_create(&many[t], &options));
  }
}

static void close_all(void) {
  for (int t = 0; t < 3; t++)
    smft_ctx_free(many[t]);
  tear_down();
}

/* A loop test's number: instruction set and type; 0 where the set is not there, or has no such
 * kernels. */
static int32_t type_of(int number) {
  int level = number / N_BLOCK_TYPES;
  return smft__cpu_limit(level) == level && smft__integer() ? block_types[number % N_BLOCK_TYPES]
                                                            : 0;
}

typedef struct product {
  int64_t m, n, k;
  int accumulate;
  int64_t offset;   /* bytes that B is moved by */
  char *blocks;     /* (n, k) at `offset` */
  float *b, *a, *c; /* decoded (n, k), (m, k), (m, n) before */
} product;

static product make(int32_t dtype, int64_t m, int64_t n, int64_t k, int accumulate,
                    int64_t offset) {
  product p = {m, n, k, accumulate, offset, NULL, NULL, NULL, NULL};
  smft__rng rng;
  smft__rng_seed(&rng, (uint64_t)(m * 1000003 + n * 1009 + k));
  p.blocks = random_blocks(&rng, dtype, n * k, 1, offset);
  p.b = malloc((size_t)(n * k) * sizeof *p.b);
  p.a = malloc((size_t)(m * k) * sizeof *p.a);
  p.c = malloc((size_t)(m * n) * sizeof *p.c);
  ck_assert(p.b && p.a && p.c);
  smft__dtype_traits(dtype)->to_f32(p.blocks + offset, n * k, p.b);
  for (int64_t i = 0; i < m * k; i++)
    p.a[i] = (float)smft__rng_normal(&rng);
  for (int64_t i = 0; i < m * n; i++)
    p.c[i] = (float)smft__rng_normal(&rng);
  return p;
}

static void done(product *p) { free(p->blocks), free(p->b), free(p->a), free(p->c); }

/* Every |x| a whole number, the largest of 32 as large as X may be: rounding changes nothing. */
static void make_whole(product *p) {
  for (int64_t i = 0; i < p->m * p->k; i++)
    p->a[i] = i % GROUP == (i / GROUP) % GROUP
                  ? (i / GROUP % 2 ? 1 : -1) * (float)SMFT__INTEGER_MOST
                  : roundf(p->a[i] * 4000);
}

static float *multiply(smft_ctx *with, const product *p, int32_t dtype) {
  size_t size = (size_t)(p->m * p->n) * sizeof(float);
  float *c = malloc(size);
  ck_assert_ptr_nonnull(c);
  memcpy(c, p->c, size);
  smft__gemm_args args = {p->m, p->n,  p->k,          p->a, p->k, 0,   1, p->blocks + p->offset,
                          p->k, dtype, p->accumulate, c,    p->n, NULL};
  smft__gemm(with, &args);
  return c;
}

/* What rounding may change of an element: half a step of each 32 numbers. */
static void ck_product(const product *p, int32_t dtype, int whole, const float *c) {
  for (int64_t i = 0; i < p->m; i++)
    for (int64_t j = 0; j < p->n; j++) {
      double sum = p->accumulate ? (double)p->c[i * p->n + j] : 0, size = fabs(sum), may = 0;
      for (int64_t g = 0; g < p->k; g += GROUP) {
        double most = 0, weights = 0, heaviest = 0, sums = 0;
        for (int64_t q = g; q < g + GROUP; q++) {
          double x = (double)p->a[i * p->k + q], w = (double)p->b[j * p->k + q];
          sum += x * w, weights += fabs(w), sums += fabs(x);
          most = fmax(most, fabs(x)), heaviest = fmax(heaviest, fabs(w));
        }
        size += sums * heaviest; /* d q and m are as large as the largest of d q + m, or twice */
        may += whole ? 0 : most / SMFT__INTEGER_MOST / 2 * weights;
      }
      double got = (double)c[i * p->n + j];
      ck_assert_msg(fabs(got - sum) <= may + 2e-5 * size,
                    "%s m %ld n %ld k %ld (%ld, %ld): %g, wanted %g within %g",
                    smft__dtype_name(dtype), (long)p->m, (long)p->n, (long)p->k, (long)i, (long)j,
                    got, sum, may + 2e-5 * size);
    }
}

static void check(product *p, int32_t dtype, int whole) {
  size_t size = (size_t)(p->m * p->n) * sizeof(float);
  float *c[3], *exact;
  if (whole)
    make_whole(p);
  for (int t = 0; t < 3; t++) {
    c[t] = multiply(many[t], p, dtype);
    ck_assert_mem_eq(c[t], c[0], size);
  }
  ck_product(p, dtype, whole, c[0]);
  exact = multiply(ctx, p, dtype);
  if (!whole && p->n > 8 &&
      (p->m < 4 || smft__integer()->panel)) /* it is not the product of every other context */
    ck_assert_mem_ne(c[0], exact, size);
  free(exact);
  for (int t = 0; t < 3; t++)
    free(c[t]);
}

/* One block, some, more than a chunk, half of a pair; columns that are fours, and not. */
START_TEST(products_in_whole_numbers) {
  static const int64_t rows[] = {1, 2, 3, 4, 11, 70}, columns[] = {1, 3, 4, 7, 33, 80};
  int32_t dtype = type_of(_i);
  if (!dtype)
    return;
  int64_t block = smft__dtype_traits(dtype)->block;
  const int64_t depths[] = {block, 3 * block, block == 32 ? 256 : 512, block == 32 ? 544 : 1024};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (size_t j = 0; j < sizeof columns / sizeof *columns; j++)
      for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
        for (int whole = 0; whole < 2; whole++) {
          product p =
              make(dtype, rows[i], columns[j], depths[d], (int)(i + j) % 2, (int64_t)(j + d) % 4);
          check(&p, dtype, whole);
          done(&p);
        }
}
END_TEST

/* So that threads share them. */
START_TEST(many_columns) {
  int32_t dtype = type_of(_i);
  if (!dtype)
    return;
  for (int64_t rows = 1; rows < 700; rows += 600) {
    product p = make(dtype, rows, rows == 1 ? 3000 : 100, 768, 0, 1);
    check(&p, dtype, 0);
    done(&p);
  }
}
END_TEST

/* Gradients, and weights that are not in blocks, are multiplied as ever. */
START_TEST(other_products_keep_their_bits) {
  enum { M = 80, N = 40, K = 512 };
  product p = make(SMFT__Q8_0, M, N, K, 0, 0);
  smft__tensor blocks = {p.blocks, {N, K}, 2, SMFT__Q8_0}, w = smft__tensor_f32(p.b, N, K);
  float *dx[2] = {malloc(M * K * sizeof(float)), malloc(M * K * sizeof(float))};
  for (int i = 0; i < 2; i++)
    smft__linear_backward_input(i ? many[0] : ctx, &blocks, p.c, M, dx[i], 0);
  ck_assert_mem_eq(dx[0], dx[1], M * K * sizeof(float));
  for (int i = 0; i < 2; i++)
    smft__linear_forward(i ? many[0] : ctx, &w, NULL, p.a, M, dx[i]);
  ck_assert_mem_eq(dx[0], dx[1], M * N * sizeof(float));
  free(dx[0]), free(dx[1]), done(&p);
}
END_TEST

/* A number that is not finite, and one whose reciprocal is not, in a row of A. */
START_TEST(hostile_numbers) {
  static const float hostile[] = {INFINITY, -INFINITY, NAN, 1e36f, 1e-39f, 0};
  enum { N = 5, K = 512, AT = 70 };
  int32_t dtype = type_of(_i);
  if (!dtype)
    return;
  for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++) {
    product p = make(dtype, _i % 2 ? 2 : 9, N, K, 0, 0);
    for (int i = 0; i < K; i++)
      p.a[i] = i == AT ? hostile[h] : 0;
    float *c = multiply(many[0], &p, dtype);
    for (int j = 0; j < N; j++) {
      double wanted = (double)hostile[h] * (double)p.b[j * K + AT];
      ck_assert_int_eq(!isfinite(hostile[h]), !isfinite(c[j]));
      if (isfinite(c[j]))
        ck_assert(fabs((double)c[j] - wanted) <=
                  1e-4 * fabs((double)hostile[h]) * (fabs((double)p.b[j * K + AT]) + 40) + 1e-36);
      ck_assert(isfinite(c[N + j])); /* the other row's */
    }
    free(c), done(&p);
  }
}
END_TEST

/* Bytes of all ones: scales that are not finite. */
START_TEST(hostile_blocks) {
  enum { N = 9, K = 512, ROW = 6 };
  int32_t dtype = type_of(_i);
  if (!dtype)
    return;
  product p = make(dtype, _i % 2 ? 1 : 5, N, K, 0, 0);
  memset(p.blocks + ROW * smft__row_bytes(dtype, K), 0xff,
         (size_t)smft__dtype_traits(dtype)->bytes);
  float *c = multiply(many[0], &p, dtype);
  for (int64_t j = 0; j < p.m * N; j++)
    ck_assert_int_eq(!isfinite(c[j]), j % N == ROW);
  free(c), done(&p);
}
END_TEST

/* Rows that no memory is there for are multiplied as they are. */
START_TEST(rows_that_do_not_fit) {
  enum { M = 3, N = 3, K = 200000 };
  product p = make(SMFT__Q4_0, M, N, K, 0, 0);
  ck_assert_int_gt(M * smft__integer_bytes(K), SMFT__WORKSPACE_BYTES);
  float *c[2] = {multiply(ctx, &p, SMFT__Q4_0), multiply(many[0], &p, SMFT__Q4_0)};
  ck_assert_mem_eq(c[0], c[1], M * N * sizeof(float));
  free(c[0]), free(c[1]), done(&p);
}
END_TEST

static int no_memory;
static void *host_alloc(void *user, size_t size) {
  (void)user;
  return no_memory ? NULL : malloc(size);
}
static void *host_realloc(void *user, void *pointer, size_t size) {
  (void)user;
  return no_memory ? NULL : realloc(pointer, size);
}
static void host_free(void *user, void *pointer) {
  (void)user;
  free(pointer);
}

START_TEST(no_memory_for_rows) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *poor = NULL;
  options.n_threads = 1, options.flags = SMFT_CTX_INTEGER;
  options.alloc = host_alloc, options.realloc = host_realloc, options.free = host_free;
  ck_ok(smft_ctx_create(&poor, &options));
  product p = make(SMFT__Q5_1, 2, 20, 320, 0, 0);
  float *c[2] = {multiply(ctx, &p, SMFT__Q5_1), NULL};
  no_memory = 1;
  c[1] = multiply(poor, &p, SMFT__Q5_1);
  no_memory = 0;
  ck_assert_mem_eq(c[0], c[1], 2 * 20 * sizeof(float));
  free(c[0]), free(c[1]), done(&p);
  p = make(SMFT__Q5_1, 70, 20, 320, 0, 0);
  no_memory = 1;
  c[0] = multiply(poor, &p, SMFT__Q5_1);
  no_memory = 0;
  ck_product(&p, SMFT__Q5_1, 1, c[0]); /* as in f32 */
  free(c[0]), done(&p), smft_ctx_free(poor);
}
END_TEST

/* The three products of one input share its rows; one of another does not. */
START_TEST(several_products_of_one_input) {
  enum { N = 50, K = 768 };
  product p = make(SMFT__Q4_1, 2, N, K, 0, 0), q = make(SMFT__Q4_1, 2, N, K, 0, 1);
  for (int i = 0; i < 2 * K; i++)
    q.a[i] = -2 * q.a[i] + 1;
  float *alone[2] = {multiply(many[0], &p, SMFT__Q4_1), multiply(many[0], &q, SMFT__Q4_1)};
  float *c[3];
  smft__gemm_args args[3];
  for (int i = 0; i < 3; i++) {
    const product *from = i == 1 ? &q : &p;
    c[i] = calloc(2 * N, sizeof(float));
    args[i] = (smft__gemm_args){2, N,          K, from->a, K, 0,   1, from->blocks + from->offset,
                                K, SMFT__Q4_1, 0, c[i],    N, NULL};
  }
  smft__gemm_several(many[1], args, 3);
  ck_assert_mem_eq(c[0], alone[0], sizeof(float) * 2 * N);
  ck_assert_mem_eq(c[2], alone[0], sizeof(float) * 2 * N);
  double away = test_distance(c[1], alone[1], 2 * N); /* whichever of the two ways it takes */
  ck_assert(away < 1e-4);
  for (int i = 0; i < 3; i++)
    free(c[i]);
  free(alone[0]), free(alone[1]), done(&p), done(&q);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("nn_integer");
  TCase *tests = tcase_create("integer");
  tcase_add_checked_fixture(tests, open_all, close_all);
  tcase_add_loop_test(tests, products_in_whole_numbers, 0, ALL);
  tcase_add_loop_test(tests, many_columns, 0, ALL);
  tcase_add_test(tests, other_products_keep_their_bits);
  tcase_add_loop_test(tests, hostile_numbers, 0, ALL);
  tcase_add_loop_test(tests, hostile_blocks, 0, ALL);
  tcase_add_test(tests, rows_that_do_not_fit);
  tcase_add_test(tests, no_memory_for_rows);
  tcase_add_test(tests, several_products_of_one_input);
  tcase_set_timeout(tests, 120);
  suite_add_tcase(suite, tests);
  return suite;
}
