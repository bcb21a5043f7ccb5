/* nn_check: what the gradient tests of lib/nn share: contexts of 1, 2 and 3 threads, random arrays,
 * and central differences of a naive forward pass in double. */
#ifndef NN_CHECK_H
#define NN_CHECK_H
#include "test.h"
#include "base/rng.h"
#include "data/tensor.h"
#include "base/cpu.h"

static inline smft_ctx *nn_context(int threads) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx = NULL;
  options.n_threads = threads;
  ck_ok(smft_ctx_create(&ctx, &options));
  return ctx;
}

static inline float *nn_numbers(smft__rng *rng, int64_t n) {
  float *x = calloc((size_t)n + 1, sizeof *x);
  ck_assert_ptr_nonnull(x);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)smft__rng_normal(rng);
  return x;
}

static inline double *nn_doubles(const float *x, int64_t n) {
  double *wide = calloc((size_t)n + 1, sizeof *wide);
  ck_assert_ptr_nonnull(wide);
  for (int64_t i = 0; i < n; i++)
    wide[i] = (double)x[i];
  return wide;
}

/* A scalar function of everything in `arg`; x is one of its arrays, moved in place. */
typedef double (*nn_function)(const void *arg);

/* Checks that gradient[i] = before[i] (NULL: 0) + d function / d x[i] for every i. */
static inline void nn_differences(nn_function function, const void *arg, double *x, int64_t n,
                                  const float *gradient, const float *before, const char *name) {
  const double step = 1e-5;
  for (int64_t i = 0; i < n; i++) {
    double middle = x[i];
    x[i] = middle + step;
    double above = function(arg);
    x[i] = middle - step;
    double below = function(arg);
    x[i] = middle;
    double wanted = (above - below) / (2 * step) + (before ? (double)before[i] : 0);
    ck_assert_msg(fabs((double)gradient[i] - wanted) <= 2e-5 * (1 + fabs(wanted)),
                  "%s[%ld]: %.8g, wanted %.8g", name, (long)i, (double)gradient[i], wanted);
  }
}

/* sum of a * b: the scalar whose gradient at b is a */
static inline double nn_inner(const float *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += (double)a[i] * b[i];
  return sum;
}

static inline void nn_close(const float *got, const double *wanted, int64_t n, double tolerance,
                            const char *name) {
  for (int64_t i = 0; i < n; i++)
    ck_assert_msg(fabs((double)got[i] - wanted[i]) <= tolerance * (1 + fabs(wanted[i])),
                  "%s[%ld]: %.8g, wanted %.8g", name, (long)i, (double)got[i], wanted[i]);
}
#endif
