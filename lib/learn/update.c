/* update: the SGD and AdamW kernels.  Owns the arithmetic; knows nothing of tensors, rows or threads.
 * The AVX2 kernels do per lane exactly what the portable ones do (no fused multiply-add), so both give the same bits. */
#include "learn/update.h"
#include "nn/cpu.h"
#include <math.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SMFT__UPDATE_AVX2 1
#include <immintrin.h>
#endif

/* Finite means: the exponent is not all ones.  0 * x is NaN exactly when x is not finite, so a sum of such products tells. */

static float adamw_portable(const smft__update_rule *r, const float *w, const float *g, const float *m, const float *v, int64_t n,
                            float *w_out, float *m_out, float *v_out) {
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

static float sgd_portable(const smft__update_rule *r, const float *w, const float *g, const float *m, int64_t n, float *w_out,
                          float *m_out) {
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
#define AVX2 __attribute__((target("avx2")))

/* Sum over the lanes of the "bad" register: NaN as soon as one lane is. */
AVX2 static float lanes_sum(__m256 x) {
  float lane[8];
  _mm256_storeu_ps(lane, x);
  return lane[0] + lane[1] + lane[2] + lane[3] + lane[4] + lane[5] + lane[6] + lane[7];
}

AVX2 static float adamw_avx2(const smft__update_rule *r, const float *w, const float *g, const float *m, const float *v, int64_t n,
                             float *w_out, float *m_out, float *v_out) {
  const __m256 scale = _mm256_set1_ps(r->scale), lr = _mm256_set1_ps(r->lr), decay = _mm256_set1_ps(r->decay);
  const __m256 b1 = _mm256_set1_ps(r->beta1), c1 = _mm256_set1_ps(r->one_minus_beta1);
  const __m256 b2 = _mm256_set1_ps(r->beta2), c2 = _mm256_set1_ps(r->one_minus_beta2);
  const __m256 root = _mm256_set1_ps(r->root_bias2), eps = _mm256_set1_ps(r->eps), zero = _mm256_setzero_ps();
  __m256 bad = zero;
  for (int64_t i = 0; i < n; i += 8) {
    __m256 gradient = _mm256_mul_ps(_mm256_loadu_ps(g + i), scale);
    __m256 m_new = _mm256_add_ps(_mm256_mul_ps(b1, _mm256_loadu_ps(m + i)), _mm256_mul_ps(c1, gradient));
    __m256 v_new = _mm256_add_ps(_mm256_mul_ps(b2, _mm256_loadu_ps(v + i)), _mm256_mul_ps(_mm256_mul_ps(c2, gradient), gradient));
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

AVX2 static float sgd_avx2(const smft__update_rule *r, const float *w, const float *g, const float *m, int64_t n, float *w_out,
                           float *m_out) {
  const __m256 scale = _mm256_set1_ps(r->scale), lr = _mm256_set1_ps(r->lr), decay = _mm256_set1_ps(r->decay);
  const __m256 momentum = _mm256_set1_ps(r->momentum), zero = _mm256_setzero_ps();
  __m256 bad = zero;
  for (int64_t i = 0; i < n; i += 8) {
    __m256 old = _mm256_loadu_ps(w + i);
    __m256 gradient = _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(g + i), scale), _mm256_mul_ps(decay, old));
    if (m)
      gradient = _mm256_add_ps(_mm256_mul_ps(momentum, _mm256_loadu_ps(m + i)), gradient);
    __m256 w_new = _mm256_sub_ps(old, _mm256_mul_ps(lr, gradient));
    bad = _mm256_add_ps(bad, _mm256_add_ps(_mm256_mul_ps(w_new, zero), _mm256_mul_ps(gradient, zero)));
    if (w_out) {
      _mm256_storeu_ps(w_out + i, w_new);
      if (m)
        _mm256_storeu_ps(m_out + i, gradient);
    }
  }
  return lanes_sum(bad);
}
#endif

static float adamw(const smft__update_rule *r, const float *w, const float *g, const float *m, const float *v, int64_t n, float *w_out,
                   float *m_out, float *v_out) {
  float bad = 0;
  int64_t done = 0;
#ifdef SMFT__UPDATE_AVX2
  if (smft__cpu_level() >= SMFT__CPU_AVX2) {
    done = n & ~(int64_t)7;
    bad = adamw_avx2(r, w, g, m, v, done, w_out, m_out, v_out);
  }
#endif
  return bad + adamw_portable(r, w + done, g + done, m + done, v + done, n - done, w_out ? w_out + done : NULL,
                              w_out ? m_out + done : NULL, w_out ? v_out + done : NULL);
}

static float sgd(const smft__update_rule *r, const float *w, const float *g, const float *m, int64_t n, float *w_out, float *m_out) {
  float bad = 0;
  int64_t done = 0;
#ifdef SMFT__UPDATE_AVX2
  if (smft__cpu_level() >= SMFT__CPU_AVX2) {
    done = n & ~(int64_t)7;
    bad = sgd_avx2(r, w, g, m, done, w_out, m_out);
  }
#endif
  return bad + sgd_portable(r, w + done, g + done, m ? m + done : NULL, n - done, w_out ? w_out + done : NULL,
                            w_out && m ? m_out + done : NULL);
}

int smft__update(const smft__update_rule *rule, const float *w, const float *g, const float *m, const float *v, int64_t n, float *w_out,
                 float *m_out, float *v_out) {
  float bad = rule->adamw ? adamw(rule, w, g, m, v, n, w_out, m_out, v_out) : sgd(rule, w, g, m, n, w_out, m_out);
  return bad == 0.0f; /* NaN compares unequal */
}

double smft__sum_squares(const float *x, int64_t n) {
  double sum[8] = {0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int lane = 0; lane < 8; lane++)
      sum[lane] += (double)x[i + lane] * (double)x[i + lane];
  for (; i < n; i++)
    sum[i & 7] += (double)x[i] * (double)x[i];
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}
