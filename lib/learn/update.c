/* update: the SGD and AdamW kernels, and what can be said of their results beforehand.  Owns the
 * arithmetic; knows nothing of tensors, rows or threads. The AVX2 kernels do per lane exactly what
 * the portable ones do (no fused multiply-add), so both give the same bits. */
#include "learn/update.h"
#include "nn/kernels/simd.h"
#include <math.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SMFT__UPDATE_AVX2 1
#endif

/* Finite means: the exponent is not all ones.  0 * x is NaN exactly when x is not finite, so a sum
 * of such products tells. */

static float adamw_portable(const smft__update_rule *r, const float *w, const float *g,
                            const float *m, const float *v, int64_t n, float *w_out, float *m_out,
                            float *v_out) {
  float bad = 0;
  for (int64_t i = 0; i < n; i++) {
    float gradient = g[i] * r->scale;
    float m_new = r->beta1 * m[i] + r->one_minus_beta1 * gradient;
    float v_new = r->beta2 * v[i] + r->one_minus_beta2 * gradient * gradient;
    float w_new = w[i] * r->decay - r->lr * m_new / (sqrtf(v_new) / r->root_bias2 + r->eps);
    bad += w_new * 0.0f + m_new * 0.0f + v_new * 0.0f;
    if (w_out) {
      w_out[i] = w_new;
      m_out[i] = m_new;
      v_out[i] = v_new;
    }
  }
  return bad;
}

static float sgd_portable(const smft__update_rule *r, const float *w, const float *g,
                          const float *m, int64_t n, float *w_out, float *m_out) {
  float bad = 0;
  for (int64_t i = 0; i < n; i++) {
    float gradient = g[i] * r->scale + r->decay * w[i];
    if (m)
      gradient = r->momentum * m[i] + gradient;
    float w_new = w[i] - r->lr * gradient;
    bad += w_new * 0.0f + gradient * 0.0f;
    if (w_out) {
      w_out[i] = w_new;
      if (m)
        m_out[i] = gradient;
    }
  }
  return bad;
}

#ifdef SMFT__UPDATE_AVX2

/* Sum over the lanes of the "bad" register: NaN as soon as one lane is. */
SMFT__AVX2 static float lanes_sum(__m256 x) {
  float lane[8];
  _mm256_storeu_ps(lane, x);
  return lane[0] + lane[1] + lane[2] + lane[3] + lane[4] + lane[5] + lane[6] + lane[7];
}

SMFT__AVX2 static float adamw_avx2(const smft__update_rule *r, const float *w, const float *g,
                                   const float *m, const float *v, int64_t n, float *w_out,
                                   float *m_out, float *v_out) {
  const __m256 scale = _mm256_set1_ps(r->scale), lr = _mm256_set1_ps(r->lr),
               decay = _mm256_set1_ps(r->decay);
  const __m256 b1 = _mm256_set1_ps(r->beta1), c1 = _mm256_set1_ps(r->one_minus_beta1);
  const __m256 b2 = _mm256_set1_ps(r->beta2), c2 = _mm256_set1_ps(r->one_minus_beta2);
  const __m256 root = _mm256_set1_ps(r->root_bias2), eps = _mm256_set1_ps(r->eps),
               zero = _mm256_setzero_ps();
  __m256 bad = zero;
  for (int64_t i = 0; i < n; i += 8) {
    __m256 gradient = _mm256_mul_ps(_mm256_loadu_ps(g + i), scale);
    __m256 m_new =
        _mm256_add_ps(_mm256_mul_ps(b1, _mm256_loadu_ps(m + i)), _mm256_mul_ps(c1, gradient));
    __m256 v_new = _mm256_add_ps(_mm256_mul_ps(b2, _mm256_loadu_ps(v + i)),
                                 _mm256_mul_ps(_mm256_mul_ps(c2, gradient), gradient));
    __m256 under = _mm256_add_ps(_mm256_div_ps(_mm256_sqrt_ps(v_new), root), eps);
    __m256 step = _mm256_div_ps(_mm256_mul_ps(lr, m_new), under);
    __m256 w_new = _mm256_sub_ps(_mm256_mul_ps(_mm256_loadu_ps(w + i), decay), step);
    bad = _mm256_add_ps(bad, _mm256_mul_ps(_mm256_add_ps(_mm256_mul_ps(w_new, zero), m_new), zero));
    bad = _mm256_add_ps(bad, _mm256_mul_ps(v_new, zero));
    if (w_out) {
      _mm256_storeu_ps(w_out + i, w_new);
      _mm256_storeu_ps(m_out + i, m_new);
      _mm256_storeu_ps(v_out + i, v_new);
    }
  }
  return lanes_sum(bad);
}

SMFT__AVX2 static float sgd_avx2(const smft__update_rule *r, const float *w, const float *g,
                                 const float *m, int64_t n, float *w_out, float *m_out) {
  const __m256 scale = _mm256_set1_ps(r->scale), lr = _mm256_set1_ps(r->lr),
               decay = _mm256_set1_ps(r->decay);
  const __m256 momentum = _mm256_set1_ps(r->momentum), zero = _mm256_setzero_ps();
  __m256 bad = zero;
  for (int64_t i = 0; i < n; i += 8) {
    __m256 old = _mm256_loadu_ps(w + i);
    __m256 gradient =
        _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(g + i), scale), _mm256_mul_ps(decay, old));
    if (m)
      gradient = _mm256_add_ps(_mm256_mul_ps(momentum, _mm256_loadu_ps(m + i)), gradient);
    __m256 w_new = _mm256_sub_ps(old, _mm256_mul_ps(lr, gradient));
    bad = _mm256_add_ps(bad,
                        _mm256_add_ps(_mm256_mul_ps(w_new, zero), _mm256_mul_ps(gradient, zero)));
    if (w_out) {
      _mm256_storeu_ps(w_out + i, w_new);
      if (m)
        _mm256_storeu_ps(m_out + i, gradient);
    }
  }
  return lanes_sum(bad);
}
#endif

static float adamw(const smft__update_rule *r, const float *w, const float *g, const float *m,
                   const float *v, int64_t n, float *w_out, float *m_out, float *v_out) {
  float bad = 0;
  int64_t done = 0;
#ifdef SMFT__UPDATE_AVX2
  if (smft__cpu_level() >= SMFT__CPU_AVX2) {
    done = n & ~(int64_t)7;
    bad = adamw_avx2(r, w, g, m, v, done, w_out, m_out, v_out);
  }
#endif
  return bad + adamw_portable(r, w + done, g + done, m + done, v + done, n - done,
                              w_out ? w_out + done : NULL, w_out ? m_out + done : NULL,
                              w_out ? v_out + done : NULL);
}

static float sgd(const smft__update_rule *r, const float *w, const float *g, const float *m,
                 int64_t n, float *w_out, float *m_out) {
  float bad = 0;
  int64_t done = 0;
#ifdef SMFT__UPDATE_AVX2
  if (smft__cpu_level() >= SMFT__CPU_AVX2) {
    done = n & ~(int64_t)7;
    bad = sgd_avx2(r, w, g, m, done, w_out, m_out);
  }
#endif
  return bad + sgd_portable(r, w + done, g + done, m ? m + done : NULL, n - done,
                            w_out ? w_out + done : NULL, w_out && m ? m_out + done : NULL);
}

int smft__update(const smft__update_rule *rule, const float *w, const float *g, const float *m,
                 const float *v, int64_t n, float *w_out, float *m_out, float *v_out) {
  float bad = rule->adamw ? adamw(rule, w, g, m, v, n, w_out, m_out, v_out)
                          : sgd(rule, w, g, m, n, w_out, m_out);
  return bad == 0.0f; /* NaN compares unequal */
}

/* ---- what an update can and cannot do ------------------------------------ */

/* AdamW: w * 1 - lr * 0 / (0 / root + eps); SGD: w - lr * (0 + 0 * w). */
int smft__update_leaves_idle(const smft__update_rule *r) {
  if (!isfinite(r->lr) || !isfinite(r->scale))
    return 0;
  if (r->adamw)
    return r->decay >= 1 && r->decay <= 1 && r->eps > 0 && r->root_bias2 > 0;
  return r->decay <= 0;
}

/* As the kernels do it, with the triangle inequality and some room for their rounding. */
smft__bounds smft__update_bounds(const smft__update_rule *r, const smft__bounds *before,
                                 double gradient) {
  const double room = 1 + 1e-5;
  double g = gradient * (double)r->scale, lr = (double)r->lr, decay = fabs((double)r->decay);
  smft__bounds after = *before;
  if (r->adamw) {
    after.m = room * ((double)r->beta1 * before->m + (double)r->one_minus_beta1 * g);
    after.v = room * ((double)r->beta2 * before->v + (double)r->one_minus_beta2 * g * g);
    after.w =
        room * (before->w * decay + lr * after.m / (r->root_bias2 > 0 ? (double)r->eps : 0.0));
  } else {
    double step = room * (g + decay * before->w + (double)r->momentum * before->m);
    after.m = r->momentum > 0 ? step : 0;
    after.w = room * (before->w + lr * step);
  }
  if (!(g < SMFT__BOUNDS_SAFE) || !(lr * after.m < SMFT__BOUNDS_SAFE))
    after.w = INFINITY;
  after.w = after.w < SMFT__BOUNDS_SAFE ? after.w : INFINITY; /* NaN, too */
  after.m = after.m < SMFT__BOUNDS_SAFE ? after.m : INFINITY;
  after.v = after.v < SMFT__BOUNDS_SAFE ? after.v : INFINITY;
  return after;
}

/* ---- sums and maxima ----------------------------------------------------- */

#ifdef SMFT__UPDATE_AVX2
/* n and the position in the sum are multiples of 8. */
SMFT__AVX2 static void add_squares_avx2(double sum[8], const float *x, int64_t n) {
  __m256d low = _mm256_loadu_pd(sum), high = _mm256_loadu_pd(sum + 4);
  for (int64_t i = 0; i < n; i += 8) {
    __m256d a = _mm256_cvtps_pd(_mm_loadu_ps(x + i)), b = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4));
    low = _mm256_add_pd(low, _mm256_mul_pd(a, a));
    high = _mm256_add_pd(high, _mm256_mul_pd(b, b));
  }
  _mm256_storeu_pd(sum, low);
  _mm256_storeu_pd(sum + 4, high);
}
#endif

static void add_squares_portable(double sum[8], const float *x, int64_t n, int64_t at) {
  for (int64_t i = 0; i < n; i++)
    sum[(at + i) & 7] += (double)x[i] * (double)x[i];
}

void smft__add_squares(double sum[8], const float *x, int64_t n, int64_t at) {
  int64_t done = (8 - (at & 7)) & 7;
  done = done < n ? done : n;
  add_squares_portable(sum, x, done, at);
#ifdef SMFT__UPDATE_AVX2
  if (smft__cpu_level() >= SMFT__CPU_AVX2) {
    int64_t whole = (n - done) & ~(int64_t)7;
    add_squares_avx2(sum, x + done, whole);
    done += whole;
  }
#endif
  add_squares_portable(sum, x + done, n - done, at + done);
}

double smft__sum_lanes(const double sum[8]) {
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

double smft__sum_squares(const float *x, int64_t n) {
  double sum[8] = {0};
  smft__add_squares(sum, x, n, 0);
  return smft__sum_lanes(sum);
}

/* Magnitudes compare as their bits do; everything that is not finite lies above. */
double smft__largest(const float *x, int64_t n) {
  uint32_t largest = 0, bits;
  float value;
  for (int64_t i = 0; i < n; i++) {
    memcpy(&bits, &x[i], sizeof bits);
    bits &= 0x7FFFFFFFu;
    largest = bits > largest ? bits : largest;
  }
  memcpy(&value, &largest, sizeof value);
  return isfinite(value) ? (double)value : INFINITY;
}
