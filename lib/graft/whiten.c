/* whiten: see whiten.h.  Owns the sums.  A chunk's products are f32, made by the matrix kernels;
 * chunks are added up in double, and all near the first chunk's mean, so that a large mean takes no
 * digits from the covariance.  The eigenproblem is eigen.c's. */
#include "graft/whiten.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"
#include "graft/eigen.h"
#include "nn/gemm.h"
#include "nn/vector.h"

enum { CHUNK = 512, ROWS = 16 };

/* ---- sums ---------------------------------------------------------------- */

smft_status smft__moments_create(smft__moments *m, smft_ctx *ctx, int64_t d) {
  smft__moments made = {.ctx = ctx, .d = d};
  int64_t square = 0;
  if (!smft__mul_i64(d, d, &square))
    return smft__fail(SMFT_E_NOMEM, "a covariance of %lld numbers a side", (long long)d);
  made.shift = smft__calloc_array(ctx, d, sizeof *made.shift);
  made.sum = smft__calloc_array(ctx, d, sizeof *made.sum);
  made.outer = smft__calloc_array(ctx, square, sizeof *made.outer);
  made.centred = smft__alloc_array(ctx, CHUNK * d, sizeof *made.centred);
  made.product = smft__alloc_array(ctx, square, sizeof *made.product);
  *m = made;
  if (made.shift && made.sum && made.outer && made.centred && made.product)
    return SMFT_OK;
  smft__moments_free(m);
  return SMFT_E_NOMEM;
}

void smft__moments_free(smft__moments *m) {
  smft__moments none = {0};
  smft__free(m->ctx, m->shift);
  smft__free(m->ctx, m->sum);
  smft__free(m->ctx, m->outer);
  smft__free(m->ctx, m->centred);
  smft__free(m->ctx, m->product);
  *m = none;
}

static void set_shift(smft__moments *m, const float *h, int64_t n) {
  for (int64_t t = 0; t < n; t++)
    for (int64_t i = 0; i < m->d; i++)
      m->shift[i] += (double)h[t * m->d + i];
  for (int64_t i = 0; i < m->d; i++)
    m->shift[i] = (double)(float)(m->shift[i] / (double)n); /* so that centred is exact */
}

static void center(smft__moments *m, const float *h, int64_t n) {
  for (int64_t t = 0; t < n; t++) {
    const float *state = h + t * m->d;
    float *to = m->centred + t * m->d;
    m->lengths += sqrt(smft__vector()->dot_double(state, state, m->d));
    for (int64_t i = 0; i < m->d; i++) {
      to[i] = state[i] - (float)m->shift[i];
      m->sum[i] += (double)to[i];
    }
  }
}

static void add_rows(void *arg, int64_t block, int32_t lane) {
  const smft__moments *m = arg;
  int64_t end = smft__least((block + 1) * ROWS, m->d) * m->d;
  (void)lane;
  for (int64_t i = block * ROWS * m->d; i < end; i++)
    m->outer[i] += (double)m->product[i];
}

static void add_chunk(smft__moments *m, const float *h, int64_t n) {
  center(m, h, n);
  smft__gemm_args args = {.m = m->d,
                          .n = m->d,
                          .k = n,
                          .a = m->centred,
                          .lda = m->d,
                          .trans_a = 1,
                          .b = m->centred,
                          .ldb = m->d,
                          .b_dtype = SMFT__F32,
                          .c = m->product,
                          .ldc = m->d};
  smft__gemm(m->ctx, &args);
  smft__parallel_for(m->ctx, smft__blocks(m->d, ROWS), add_rows, m);
  m->n += n;
}

smft_status smft__moments_add(smft__moments *m, const float *h, int64_t n) {
  if (!smft__vector()->all_finite(h, n, m->d, m->d))
    return smft__fail(SMFT_E_NONFINITE, "a state is NaN or infinite");
  if (m->n == 0 && n > 0)
    set_shift(m, h, n);
  for (int64_t i = 0; i < n; i += CHUNK)
    add_chunk(m, h + i * m->d, smft__least(CHUNK, n - i));
  return SMFT_OK;
}

void smft__moments_mean(const smft__moments *m, double *mean) {
  for (int64_t i = 0; i < m->d; i++)
    mean[i] = m->shift[i] + m->sum[i] / (double)m->n;
}

/* The two halves of the products may differ in their last bits. */
void smft__moments_covariance(const smft__moments *m, double *covariance) {
  double n = (double)m->n;
  for (int64_t i = 0; i < m->d; i++)
    for (int64_t j = 0; j <= i; j++) {
      double outer = (m->outer[i * m->d + j] + m->outer[j * m->d + i]) / 2;
      double value = outer / n - m->sum[i] / n * (m->sum[j] / n);
      covariance[i * m->d + j] = covariance[j * m->d + i] = value;
    }
}

/* ---- directions ---------------------------------------------------------- */

static double mean_eigenvalue(const double *covariance, int64_t d) {
  double trace = 0;
  for (int64_t i = 0; i < d; i++)
    trace += covariance[i * d + i];
  return trace / (double)d;
}

smft_status smft__whiten(smft_ctx *ctx, double *covariance, int64_t d, int64_t rank,
                         double *directions) {
  double floor = SMFT__WHITEN_FLOOR * mean_eigenvalue(covariance, d);
  double *values = smft__alloc_array(ctx, rank, sizeof *values);
  if (!values)
    return SMFT_E_NOMEM;
  smft_status status = smft__eigen_top(ctx, covariance, d, rank, values, directions);
  if (status == SMFT_OK && !(floor > 0))
    status = smft__fail(SMFT_E_INVALID, "all states are the same: the texts are one token");
  for (int64_t i = 0; status == SMFT_OK && i < rank; i++) {
    double scale = 1 / sqrt((values[i] > 0 ? values[i] : 0) + floor);
    for (int64_t j = 0; j < d; j++)
      directions[i * d + j] *= scale;
  }
  smft__free(ctx, values);
  return status;
}
