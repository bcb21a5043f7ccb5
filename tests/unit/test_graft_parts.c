/* graft_parts: the mathematics of a graft, each against what it must satisfy: eigenvectors against
 * the matrix, sums against plain ones, rotations against their products, k-means against a plain
 * one; and that none depends on threads. */
#include "test.h"
#include "base/alloc.h"
#include "base/rng.h"
#include "graft/eigen.h"
#include "graft/kmeans.h"
#include "graft/rotate.h"
#include "graft/whiten.h"

static smft_ctx *make_ctx(int32_t n_threads) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&ctx, &options));
  return ctx;
}

static double *doubles(int64_t n) { return calloc((size_t)n, sizeof(double)); }
static float *floats(int64_t n) { return calloc((size_t)n, sizeof(float)); }

static void fill_normal(float *x, int64_t n, uint64_t seed) {
  smft__rng rng;
  smft__rng_seed(&rng, seed);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)smft__rng_normal(&rng);
}

/* ---- eigenvalues --------------------------------------------------------- */

/* Symmetric (n, n) of n_parts random vectors, part i with weight 1 / (1 + i)^2. */
static void fill_symmetric(double *a, int64_t n, int64_t n_parts) {
  smft__rng rng;
  double *x = doubles(n);
  smft__rng_seed(&rng, (uint64_t)(n * 1000 + n_parts));
  for (int64_t p = 0; p < n_parts; p++) {
    for (int64_t i = 0; i < n; i++)
      x[i] = smft__rng_normal(&rng) / (double)(1 + p);
    for (int64_t i = 0; i < n * n; i++)
      a[i] += x[i / n] * x[i % n];
  }
  free(x);
}

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

static void check_vector(const double *a, int64_t n, double value, const double *v, double scale) {
  double largest = 0;
  for (int64_t i = 0; i < n; i++) {
    ck_assert(fabs(dot(a + i * n, v, n) - value * v[i]) <= 1e-12 * scale);
    largest = fabs(v[i]) > fabs(largest) ? v[i] : largest;
  }
  ck_assert(largest > 0);
}

/* The m first of them: A v = value v, descending, upright on each other; all of them: the trace. */
static void check_eigen(smft_ctx *ctx, const double *matrix, int64_t n, int64_t m) {
  double *a = doubles(n * n), *values = doubles(m), *vectors = doubles(m * n);
  double trace = 0, sum = 0, scale = 1e-300;
  memcpy(a, matrix, (size_t)(n * n) * sizeof *a);
  ck_ok(smft__eigen_top(ctx, a, n, m, values, vectors));
  for (int64_t i = 0; i < n; i++) {
    trace += matrix[i * n + i];
    scale = fmax(scale, sqrt(dot(matrix + i * n, matrix + i * n, n)));
  }
  for (int64_t i = 0; i < m; i++) {
    sum += values[i];
    ck_assert(i == 0 || values[i] <= values[i - 1]);
    check_vector(matrix, n, values[i], vectors + i * n, scale);
    for (int64_t j = 0; j <= i; j++)
      ck_assert(fabs(dot(vectors + i * n, vectors + j * n, n) - (i == j)) <= 1e-12);
  }
  if (m == n)
    ck_assert(fabs(sum - trace) <= 1e-12 * scale * (double)n);
  free(a);
  free(values);
  free(vectors);
}

START_TEST(vectors_are_those_of_the_matrix) {
  static const int64_t sizes[] = {1, 2, 3, 7, 33, 100, 151};
  smft_ctx *ctx = make_ctx(2);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int64_t n = sizes[i];
    double *a = doubles(n * n);
    fill_symmetric(a, n, n + 5);
    check_eigen(ctx, a, n, n);
    check_eigen(ctx, a, n, (n + 1) / 2);
    free(a);
  }
  smft_ctx_free(ctx);
}
END_TEST

/* Equal eigenvalues, zeros, matrices that fall apart. */
START_TEST(awkward_matrices) {
  smft_ctx *ctx = make_ctx(1);
  int64_t n = 40;
  double *a = doubles(n * n);
  check_eigen(ctx, a, n, n); /* zero */
  for (int64_t i = 0; i < n; i++)
    a[i * n + i] = 3;
  check_eigen(ctx, a, n, n); /* one value */
  a[5 * n + 7] = a[7 * n + 5] = -2;
  a[20 * n + 30] = a[30 * n + 20] = 1e-9;
  check_eigen(ctx, a, n, n);
  memset(a, 0, (size_t)(n * n) * sizeof *a);
  fill_symmetric(a, n, 3); /* three values that are not 0 */
  check_eigen(ctx, a, n, n);
  for (int64_t i = 0; i < n * n; i++)
    a[i] *= -1e-30;
  check_eigen(ctx, a, n, n);
  for (int64_t i = 0; i < n * n; i++)
    a[i] *= 1e60;
  check_eigen(ctx, a, n, n);
  free(a);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- whitening ----------------------------------------------------------- */

static void mix(float *x, int64_t n, int64_t d) { /* another mean and scale in each column */
  for (int64_t i = 0; i < n * d; i++)
    x[i] = x[i] * (1.0f + (float)(i % d)) + 20.0f * (float)(i % 7) + (i % d ? x[i - 1] : 0);
}

static void plain_moments(const float *x, int64_t n, int64_t d, double *mean, double *covariance) {
  for (int64_t t = 0; t < n; t++)
    for (int64_t i = 0; i < d; i++)
      mean[i] += (double)x[t * d + i] / (double)n;
  for (int64_t t = 0; t < n; t++)
    for (int64_t i = 0; i < d * d; i++)
      covariance[i] += ((double)x[t * d + i / d] - mean[i / d]) *
                       ((double)x[t * d + i % d] - mean[i % d]) / (double)n;
}

START_TEST(moments_are_plain_sums) {
  enum { N = 1300, D = 20 };
  smft_ctx *ctx = make_ctx(2);
  smft__moments moments;
  float *x = floats(N * D);
  double mean[D], wanted_mean[D] = {0}, covariance[D * D], wanted[D * D] = {0}, lengths = 0;
  fill_normal(x, N * D, 1);
  mix(x, N, D);
  plain_moments(x, N, D, wanted_mean, wanted);
  ck_ok(smft__moments_create(&moments, ctx, D));
  ck_ok(smft__moments_add(&moments, x, 7));
  ck_ok(smft__moments_add(&moments, x + 7 * D, N - 7));
  smft__moments_mean(&moments, mean);
  smft__moments_covariance(&moments, covariance);
  for (int64_t i = 0; i < D; i++)
    ck_assert(fabs(mean[i] - wanted_mean[i]) <= 1e-6 * fabs(wanted_mean[i]));
  for (int64_t i = 0; i < D * D; i++)
    ck_assert(fabs(covariance[i] - wanted[i]) <=
              2e-6 * sqrt(wanted[i / D * D + i / D] * wanted[i % D * D + i % D]));
  for (int64_t t = 0; t < N; t++) {
    double square = 0;
    for (int64_t i = 0; i < D; i++)
      square += (double)x[t * D + i] * (double)x[t * D + i];
    lengths += sqrt(square);
  }
  ck_assert(fabs(moments.lengths - lengths) <= 1e-9 * lengths);
  x[3] = NAN;
  ck_status(smft__moments_add(&moments, x, 1), SMFT_E_NONFINITE);
  smft__moments_free(&moments);
  free(x);
  smft_ctx_free(ctx);
}
END_TEST

/* directions C directions^T is diagonal: value / (value + floor). */
START_TEST(whitened_states_vary_alike) {
  enum { D = 24, RANK = 10 };
  smft_ctx *ctx = make_ctx(2);
  double *a = doubles(D * D), *copy = doubles(D * D), *directions = doubles(RANK * D);
  double trace = 0, product[D], before = 1;
  fill_symmetric(a, D, D + 9);
  memcpy(copy, a, D * D * sizeof *a);
  for (int64_t i = 0; i < D; i++)
    trace += a[i * D + i];
  ck_ok(smft__whiten(ctx, copy, D, RANK, directions));
  for (int64_t r = 0; r < RANK; r++) {
    for (int64_t i = 0; i < D; i++)
      product[i] = dot(a + i * D, directions + r * D, D);
    double square = dot(directions + r * D, directions + r * D, D);
    double variance = dot(product, directions + r * D, D), floor = 1e-3 * trace / D;
    ck_assert(fabs(1 / square - variance / square - floor) <= 1e-9 * trace);
    ck_assert(variance <= before);
    before = variance;
    for (int64_t q = 0; q < r; q++)
      ck_assert(fabs(dot(product, directions + q * D, D)) <= 1e-10);
  }
  memset(copy, 0, D * D * sizeof *copy);
  ck_status(smft__whiten(ctx, copy, D, RANK, directions), SMFT_E_INVALID);
  free(a);
  free(copy);
  free(directions);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- rotations ----------------------------------------------------------- */

START_TEST(rotations_keep_lengths) {
  static const int64_t shapes[][2] = {{1, 1}, {8, 8}, {64, 256}};
  smft__rng rng;
  smft__rng_seed(&rng, 5);
  for (size_t s = 0; s < 3; s++) {
    int64_t n = shapes[s][0], d = shapes[s][1];
    double *rows = doubles(n * d);
    smft__rotation(&rng, rows, n, d);
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j <= i; j++)
        ck_assert(fabs(dot(rows + i * d, rows + j * d, d) - (i == j)) <= 1e-13);
    free(rows);
  }
}
END_TEST

/* ---- k-means ------------------------------------------------------------- */

/* One round of one set, from the definition; returns how many centres had no sample. */
static int plain_round(const smft__kmeans *a, int64_t set, float *centres) {
  double *sums = doubles(a->n_centres * a->d), *far = doubles(a->n);
  int64_t *counts = calloc((size_t)a->n_centres, sizeof *counts);
  int empty = 0;
  for (int64_t i = 0; i < a->n; i++) {
    const float *x = a->x + (i * a->sets + set) * a->d;
    int64_t nearest = 0;
    far[i] = INFINITY;
    for (int64_t c = 0; c < a->n_centres; c++) {
      double square = 0;
      for (int64_t j = 0; j < a->d; j++) {
        double one = (double)x[j] - (double)centres[c * a->d + j];
        square += one * one;
      }
      if (square < far[i] - 1e-5) { /* rounding; equal ones to the first */
        far[i] = square;
        nearest = c;
      }
    }
    counts[nearest]++;
    for (int64_t j = 0; j < a->d; j++)
      sums[nearest * a->d + j] += (double)x[j];
  }
  for (int64_t c = 0; c < a->n_centres; c++) {
    int64_t farthest = 0;
    for (int64_t i = 0; i < a->n && counts[c] == 0; i++)
      farthest = far[i] > far[farthest] + 1e-5 ? i : farthest;
    empty += counts[c] == 0;
    for (int64_t j = 0; j < a->d; j++)
      centres[c * a->d + j] = counts[c] ? (float)(sums[c * a->d + j] / (double)counts[c])
                                        : a->x[(farthest * a->sets + set) * a->d + j];
    far[farthest] = counts[c] ? far[farthest] : -1;
  }
  free(sums);
  free(far);
  free(counts);
  return empty;
}

static void check_rounds(int32_t n_threads, int n_alike, int wants_empty) {
  smft_ctx *ctx = make_ctx(n_threads);
  smft__kmeans a = {NULL, 3, 500, 5, 40, 0, 9};
  float *x = floats(a.sets * a.n * a.d), *got = floats(a.sets * a.n_centres * a.d);
  float *wanted = floats(a.sets * a.n_centres * a.d);
  int empty = 0;
  fill_normal(x, a.sets * a.n * a.d, 2);
  for (int64_t i = 0; i < n_alike; i++) /* the same sample again and again */
    memcpy(x + (i * 2 + 1) * a.sets * a.d, x, (size_t)(a.sets * a.d) * sizeof *x);
  a.x = x;
  ck_ok(smft__kmeans_start(ctx, &a, got));
  memcpy(wanted, got, (size_t)(a.sets * a.n_centres * a.d) * sizeof *got);
  a.rounds = 4;
  ck_ok(smft__kmeans_run(ctx, &a, got, NULL, NULL));
  for (int round = 0; round < 4; round++)
    for (int64_t set = 0; set < a.sets; set++)
      empty += plain_round(&a, set, wanted + set * a.n_centres * a.d);
  ck_assert(test_distance(got, wanted, a.sets * a.n_centres * a.d) <= 1e-5);
  ck_assert_int_eq(empty > 0, wants_empty);
  free(x);
  free(got);
  free(wanted);
  smft_ctx_free(ctx);
}

START_TEST(rounds_are_plain_ones) {
  check_rounds(1, 0, 0);
  check_rounds(3, 0, 0);
  check_rounds(2, 200, 1);
}
END_TEST

START_TEST(it_starts_at_different_samples) {
  smft_ctx *ctx = make_ctx(1);
  enum { N = 30 };
  float x[2 * N], centres[2 * N], sum[2] = {0};
  smft__kmeans a = {x, 2, N, 1, N, 0, 4};
  for (int i = 0; i < 2 * N; i++)
    x[i] = (float)i;
  ck_ok(smft__kmeans_start(ctx, &a, centres));
  for (int i = 0; i < N; i++) { /* all of them, in another order in each set */
    sum[0] += centres[i];
    sum[1] += centres[N + i];
  }
  ck_assert(fabsf(sum[0] - N * (N - 1)) < 0.5f && fabsf(sum[1] - N * N) < 0.5f);
  ck_assert(fabsf(centres[0] + 1 - centres[N]) > 0.5f ||
            fabsf(centres[1] + 1 - centres[N + 1]) > 0.5f);
  smft_ctx_free(ctx);
}
END_TEST

static smft_status stop_at_2(void *user, int32_t round) {
  *(int *)user += 1;
  return round == 2 ? SMFT_E_CANCELLED : SMFT_OK;
}

START_TEST(a_round_may_be_the_last) {
  smft_ctx *ctx = make_ctx(1);
  float x[] = {0, 1, 2, 3}, centres[2];
  smft__kmeans a = {x, 1, 4, 1, 2, 9, 4};
  int calls = 0;
  ck_ok(smft__kmeans_start(ctx, &a, centres));
  ck_status(smft__kmeans_run(ctx, &a, centres, stop_at_2, &calls), SMFT_E_CANCELLED);
  ck_assert_int_eq(calls, 3);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(rows_get_length_1) {
  float rows[] = {3, 4, 0, 0, -2, 0};
  smft__to_length_1(rows, 3, 2);
  ck_assert(fabsf(rows[0] - 0.6f) < 1e-6f && fabsf(rows[1] - 0.8f) < 1e-6f);
  ck_assert(fabsf(rows[2]) + fabsf(rows[3]) < 1e-30f && fabsf(rows[4] + 1) < 1e-6f);
}
END_TEST

/* ---- threads ------------------------------------------------------------- */

/* All of it once, into one array. */
static void run_all(int32_t n_threads, double *out, int64_t n, int64_t rank) {
  smft_ctx *ctx = make_ctx(n_threads);
  smft__moments moments;
  double *covariance = doubles(n * n);
  float *x = floats(3 * n * n), *centres = floats(2 * 20 * (n / 2));
  fill_normal(x, 3 * n * n, 8);
  mix(x, 3 * n, n);
  ck_ok(smft__moments_create(&moments, ctx, n));
  ck_ok(smft__moments_add(&moments, x, 3 * n));
  smft__moments_covariance(&moments, covariance);
  ck_ok(smft__whiten(ctx, covariance, n, rank, out));
  smft__kmeans a = {x, 2, 3 * n, n / 2, 20, 5, 1};
  ck_ok(smft__kmeans_start(ctx, &a, centres));
  ck_ok(smft__kmeans_run(ctx, &a, centres, NULL, NULL));
  for (int64_t i = 0; i < 20 * n; i++)
    out[rank * n + i] = (double)centres[i];
  smft__moments_free(&moments);
  free(covariance);
  free(x);
  free(centres);
  smft_ctx_free(ctx);
}

START_TEST(threads_change_no_bit) {
  enum { D = 130, RANK = 70, ALL = (RANK + 20) * D };
  double *one = doubles(ALL), *three = doubles(ALL);
  run_all(1, one, D, RANK);
  run_all(3, three, D, RANK);
  ck_assert(memcmp(one, three, ALL * sizeof *one) == 0);
  free(one);
  free(three);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("graft_parts");
  TCase *tests = tcase_create("graft_parts");
  tcase_add_test(tests, vectors_are_those_of_the_matrix);
  tcase_add_test(tests, awkward_matrices);
  tcase_add_test(tests, moments_are_plain_sums);
  tcase_add_test(tests, whitened_states_vary_alike);
  tcase_add_test(tests, rotations_keep_lengths);
  tcase_add_test(tests, rounds_are_plain_ones);
  tcase_add_test(tests, it_starts_at_different_samples);
  tcase_add_test(tests, a_round_may_be_the_last);
  tcase_add_test(tests, rows_get_length_1);
  tcase_add_test(tests, threads_change_no_bit);
  suite_add_tcase(suite, tests);
  return suite;
}
