/* test_nn_rounded: products of numbers rounded to bf16 (SMFT_CTX_FAST) are those of the rounded
 * numbers, summed in double, of every layout and type, with the same bits on 1, 2 and 3 threads;
 * NaN and infinity come through; small products are those of f32.
 *
 * And gemm_tiles.c on a processor without AMX: its instructions on tiles, made of loops here, with
 * all that surrounds them as it is: what is rounded, and what is as exact as f32. */
#include <float.h>
#include "base/cpu.h"
#include "base/workspace.h"
#include "blocks.h"
#include "fixture.h"
#include "nn/gemm.h"
#include "nn/kernels/gemm_tiles.h"

/* ---- tiles by loops ------------------------------------------------------ */

#if defined(__x86_64__)
#include <immintrin.h>

static char registers[8][16][64]; /* [tile][row][byte] */

static void loop_zero(int t) { memset(registers[t], 0, sizeof registers[t]); }
static void loop_load(int t, const void *from, int64_t stride) {
  for (int r = 0; r < 16; r++)
    memcpy(registers[t][r], (const char *)from + r * stride, 64);
}
static void loop_store(int t, void *to, int64_t stride) {
  for (int r = 0; r < 16; r++)
    memcpy((char *)to + r * stride, registers[t][r], 64);
}
static float half_at(const char *row, int64_t i) {
  uint16_t half;
  memcpy(&half, row + 2 * i, sizeof half);
  return smft__bf16_to_f32(half);
}
static void loop_dot(int c, int a, int b) {
  for (int m = 0; m < 16; m++)
    for (int k = 0; k < 16; k++)
      for (int n = 0; n < 16; n++) {
        float sum;
        memcpy(&sum, registers[c][m] + 4 * n, sizeof sum);
        sum += half_at(registers[a][m], 2 * k) * half_at(registers[b][k], 2 * n);
        sum += half_at(registers[a][m], 2 * k + 1) * half_at(registers[b][k], 2 * n + 1);
        memcpy(registers[c][m] + 4 * n, &sum, sizeof sum);
      }
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_loadconfig
#undef _tile_release
#define _tile_zero loop_zero
#define _tile_loadd loop_load
#define _tile_stored loop_store
#define _tile_dpbf16ps loop_dot
#define _tile_loadconfig(config) ((void)(config))
#define _tile_release() ((void)0)
#define smft__cpu_has_tiles(wanted) 1
#define smft__gemm_tiles_block looped_block
#define smft__gemm_tiles_rows looped_rows
int64_t looped_rows(int64_t k);
void looped_block(const smft__gemm_args *args, int how, int64_t row, int64_t row_end,
                  int64_t column, int64_t column_end, void *workspace);
#include "../../lib/nn/kernels/gemm_tiles.c" /* the loops stand for its instructions */
#undef smft__cpu_has_tiles
#undef smft__gemm_tiles_block
#undef smft__gemm_tiles_rows
#endif

/* ---- products ------------------------------------------------------------ */

typedef struct product {
  int64_t m, n, k;
  int32_t trans_a, trans_b, dtype, accumulate;
} product;

typedef struct numbers {
  smft__gemm_args args; /* c: what was there before */
  char *b;
  float *a, *b_values, *before; /* b_values: as stored */
} numbers;

static float *normals(smft__rng *rng, int64_t n) {
  float *x = malloc((size_t)n * sizeof *x);
  ck_assert_ptr_nonnull(x);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)smft__rng_normal(rng);
  return x;
}

static char *stored(smft__rng *rng, int32_t dtype, int64_t n) {
  if (smft__is_block(dtype))
    return random_blocks(rng, dtype, n, 1, 0);
  float *x = normals(rng, n);
  if (dtype == SMFT__F32)
    return (char *)x;
  uint16_t *halves = malloc((size_t)n * sizeof *halves);
  ck_assert_ptr_nonnull(halves);
  for (int64_t i = 0; i < n; i++)
    halves[i] = dtype == SMFT__BF16 ? smft__f32_to_bf16(x[i]) : smft__f32_to_f16(x[i]);
  free(x);
  return (char *)halves;
}

static numbers make(const product *p) {
  numbers made = {0};
  int64_t block = smft__dtype_traits(p->dtype)->block;
  int64_t ldb = p->trans_b ? p->k : (p->n + block - 1) / block * block;
  int64_t size = ldb * (p->trans_b ? p->n : p->k);
  smft__rng rng;
  smft__rng_seed(&rng, (uint64_t)(p->m * 10007 + p->n * 101 + p->k));
  made.a = normals(&rng, p->m * p->k);
  made.b = stored(&rng, p->dtype, size);
  made.before = normals(&rng, p->m * p->n);
  made.b_values = malloc((size_t)size * sizeof(float));
  ck_assert_ptr_nonnull(made.b_values);
  smft__dtype_traits(p->dtype)->to_f32(made.b, size, made.b_values);
  made.args =
      (smft__gemm_args){p->m,          p->n,        p->k,   made.a, p->trans_a ? p->m : p->k,
                        p->trans_a,    p->trans_b,  made.b, ldb,    p->dtype,
                        p->accumulate, made.before, p->n,   NULL};
  return made;
}

static void done(numbers *made) {
  free(made->a), free(made->b), free(made->b_values), free(made->before);
}

static float *copy_of(const numbers *made) {
  size_t size = (size_t)(made->args.m * made->args.n) * sizeof(float);
  float *c = malloc(size);
  ck_assert_ptr_nonnull(c);
  memcpy(c, made->before, size);
  return c;
}

static float *product_in(smft_ctx *with, const numbers *made) {
  smft__gemm_args args = made->args;
  args.c = copy_of(made);
  smft__gemm(with, &args);
  return args.c;
}

/* To the nearest bf16. */
static double rounded_to_bf16(double x) {
  return (double)smft__bf16_to_f32(smft__f32_to_bf16((float)x));
}

/* c against the sum in double of what was rounded, or was not. */
static void ck_product(const numbers *made, int round, const float *c) {
  const smft__gemm_args *g = &made->args;
  for (int64_t i = 0; i < g->m; i++)
    for (int64_t j = 0; j < g->n; j++) {
      double sum = g->accumulate ? (double)made->before[i * g->n + j] : 0, size = fabs(sum);
      for (int64_t q = 0; q < g->k; q++) {
        double a = (double)g->a[g->trans_a ? q * g->lda + i : i * g->lda + q];
        double b = (double)made->b_values[g->trans_b ? j * g->ldb + q : q * g->ldb + j];
        double both = round ? rounded_to_bf16(a) * rounded_to_bf16(b) : a * b;
        sum += both, size += fabs(both);
      }
      double got = (double)c[i * g->ldc + j];
      ck_assert_msg(fabs(got - sum) <= 1e-6 * size,
                    "m %ld n %ld k %ld, trans %d %d, %s (%ld, %ld): %g, wanted %g", (long)g->m,
                    (long)g->n, (long)g->k, g->trans_a, g->trans_b, smft__dtype_name(g->b_dtype),
                    (long)i, (long)j, got, sum);
    }
}

/* Parts of tiles, whole ones, more of k than are packed at a time. */
static const int64_t shapes[][3] = {{33, 33, 32},  {40, 100, 64}, {64, 64, 512},
                                    {70, 37, 288}, {96, 48, 800}, {130, 96, 1024}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, N_TYPES = 3 + N_BLOCK_TYPES };

static int32_t type_at(int i) {
  static const int32_t plain[] = {SMFT__F32, SMFT__F16, SMFT__BF16};
  return i < 3 ? plain[i] : block_types[i - 3];
}

/* Rows of blocks are whole ones. */
static int fits(const product *p) {
  return !p->trans_b || p->k % smft__dtype_traits(p->dtype)->block == 0;
}

static product product_at(int shape, int layout, int32_t dtype) {
  product p = {shapes[shape][0],    shapes[shape][1], shapes[shape][2],
               layout & 1,          layout >> 1,      dtype,
               (shape + layout) % 2};
  return p;
}

/* ---- by way of a context ------------------------------------------------- */

static smft_ctx *many[3];

static int open_fast(void) {
  for (int t = 0; t < 3; t++) {
    smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
    options.n_threads = t + 1;
    options.flags = SMFT_CTX_FAST;
    if (!smft__cpu_has_tiles(1) && !smft__cpu_has_bf16()) {
      ck_assert_int_eq(smft_ctx_create(&many[t], &options), SMFT_E_UNSUPPORTED);
      return 0;
    }
    ck_ok(smft_ctx_create(&many[t], &options));
  }
  return 1;
}

static void close_fast(void) {
  for (int t = 0; t < 3; t++)
    smft_ctx_free(many[t]);
}

START_TEST(products_of_rounded_numbers) {
  int32_t dtype = type_at(_i);
  if (!open_fast())
    return;
  for (int shape = 0; shape < N_SHAPES; shape++)
    for (int layout = 0; layout < 4; layout++) {
      product p = product_at(shape, layout, dtype);
      if (!fits(&p))
        continue;
      numbers made = make(&p);
      float *c[3];
      for (int t = 0; t < 3; t++) {
        c[t] = product_in(many[t], &made);
        ck_assert_mem_eq(c[t], c[0], (size_t)(p.m * p.n) * sizeof(float));
      }
      ck_product(&made, 1, c[0]);
      for (int t = 0; t < 3; t++)
        free(c[t]);
      done(&made);
    }
  close_fast();
}
END_TEST

START_TEST(small_products_keep_their_bits) {
  static const product small[] = {{31, 64, 64, 1, 0, SMFT__F32, 0},
                                  {20, 64, 512, 0, 1, SMFT__BF16, 1},
                                  {64, 31, 64, 0, 1, SMFT__F32, 0},
                                  {64, 64, 31, 0, 0, SMFT__F16, 0}};
  if (!open_fast())
    return;
  for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
    numbers made = make(&small[i]);
    float *c[2] = {product_in(many[0], &made), product_in(ctx, &made)};
    ck_assert_mem_eq(c[0], c[1], (size_t)(small[i].m * small[i].n) * sizeof(float));
    free(c[0]), free(c[1]), done(&made);
  }
  close_fast();
}
END_TEST

START_TEST(what_is_not_finite) {
  static const product p = {40, 64, 128, 0, 1, SMFT__F32, 0};
  static const uint32_t all_ones = 0xffffffffu;
  float hostile[] = {INFINITY, -INFINITY, NAN, 0, FLT_MAX};
  memcpy(&hostile[3], &all_ones, sizeof all_ones); /* a NaN */
  if (!open_fast())
    return;
  for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++)
    for (int in_b = 0; in_b < 2; in_b++) {
      numbers made = make(&p);
      float *at = in_b ? (float *)(void *)made.b + 5 * p.k + 100 : made.a + 5 * p.k + 100;
      *at = hostile[h]; /* the largest number, too, rounds to infinity */
      float *c = product_in(many[0], &made);
      for (int64_t i = 0; i < p.m * p.n; i++)
        ck_assert_int_eq(!isfinite(c[i]), in_b ? i % p.n == 5 : i / p.n == 5);
      free(c), done(&made);
    }
  close_fast();
}
END_TEST

/* ---- by way of the loops ------------------------------------------------- */

#if defined(__x86_64__)
/* As gemm.c cuts it, but in the smallest blocks there are. */
static float *looped_product(const numbers *made, int how) {
  smft__gemm_args args = made->args;
  void *workspace = aligned_alloc(64, SMFT__WORKSPACE_BYTES);
  ck_assert_ptr_nonnull(workspace);
  args.c = copy_of(made);
  for (int64_t row = 0; row < args.m; row += 64)
    for (int64_t column = 0; column < args.n; column += SMFT__TILES_UNIT)
      looped_block(&args, how, row, row + 64 < args.m ? row + 64 : args.m, column,
                   column + SMFT__TILES_UNIT < args.n ? column + SMFT__TILES_UNIT : args.n,
                   workspace);
  free(workspace);
  return args.c;
}

START_TEST(tiles_made_of_loops) {
  int32_t dtype = type_at(_i);
  if (smft__cpu_level() < SMFT__CPU_AVX512) /* which packs them */
    return;
  for (int shape = 0; shape < N_SHAPES; shape++)
    for (int layout = 0; layout < 4; layout++)
      for (int round = smft__is_block(dtype); round < 2; round++) {
        product p = product_at(shape, layout, dtype);
        if (!fits(&p) || p.m > 100)
          continue;
        numbers made = make(&p);
        float *c = looped_product(&made, round ? SMFT__TILES_ROUNDED : SMFT__TILES_EXACT);
        ck_product(&made, round, c);
        free(c), done(&made);
      }
  ck_assert_int_ge(looped_rows(4096), 64);
}
END_TEST
#endif

Suite *make_suite(void) {
  Suite *suite = suite_create("nn_rounded");
  TCase *tests = tcase_create("rounded");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_loop_test(tests, products_of_rounded_numbers, 0, N_TYPES);
  tcase_add_test(tests, small_products_keep_their_bits);
  tcase_add_test(tests, what_is_not_finite);
#if defined(__x86_64__)
  tcase_add_loop_test(tests, tiles_made_of_loops, 0, N_TYPES);
#endif
  tcase_set_timeout(tests, 240);
  suite_add_tcase(suite, tests);
  return suite;
}
