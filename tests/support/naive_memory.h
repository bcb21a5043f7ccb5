/* naive_memory: the memory layer of docs/method.md in doubles, as plainly as it can be written:
 * what test_memory.c compares with.  Parameters are arrays by number, so that a test can loop over
 * them.
 */
#ifndef SMFT_NAIVE_MEMORY_H
#define SMFT_NAIVE_MEMORY_H
#include "base/alloc.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "memory/layer.h"

enum {
  P_QUERY_W,
  P_QUERY_B,
  P_GATE_W,
  P_GATE_B,
  P_OUT_W,
  P_OUT_B,
  P_KEYS,
  P_QUERY_NORM_W,
  P_QUERY_NORM_B,
  P_KEY_NORM_W,
  P_KEY_NORM_B,
  P_VALUES,
  P_X,
  P_COUNT
};

typedef struct naive_memory {
  smft__memory_config config;
  int64_t n_tokens;
  double *p[P_COUNT]; /* NULL: absent */
  int64_t n[P_COUNT];
  float *f[P_COUNT]; /* the same numbers (they are floats) */
  int64_t *slots;    /* (T, H, k) the selection */
  double *weights;   /* (T, H, k) */
  double *out;       /* (T, d) */
} naive_memory;

static inline void naive_sizes(naive_memory *m) {
  const smft__memory_config *c = &m->config;
  int64_t d = c->hidden, dv = c->value_dim, hdk = (int64_t)c->heads * c->key_dim;
  int64_t half = c->key_dim / 2;
  int64_t n2 = (int64_t)c->n_keys * c->n_keys;
  int q = c->query_norm, k = c->key_norm;
  int64_t n[P_COUNT] = {hdk * d,
                        c->bias ? hdk : 0,
                        c->gate ? dv * d : 0,
                        c->gate && c->bias ? dv : 0,
                        c->identity ? 0 : d * dv,
                        c->bias && !c->identity ? d : 0,
                        hdk * c->n_keys,
                        q == SMFT__NORM_LAYERNORM || q == SMFT__NORM_RMSNORM ? half : 0,
                        q == SMFT__NORM_LAYERNORM ? half : 0,
                        k == SMFT__NORM_LAYERNORM || k == SMFT__NORM_RMSNORM ? half : 0,
                        k == SMFT__NORM_LAYERNORM ? half : 0,
                        n2 * dv,
                        m->n_tokens * d};
  memcpy(m->n, n, sizeof n);
}

static inline void naive_make(naive_memory *m, smft__memory_config config, int64_t n_tokens,
                              uint64_t seed) {
  smft__rng rng;
  smft__rng_seed(&rng, seed);
  memset(m, 0, sizeof *m);
  m->config = config;
  m->n_tokens = n_tokens;
  naive_sizes(m);
  for (int i = 0; i < P_COUNT; i++) {
    double scale = i == P_QUERY_W ? 0.4 : i == P_X || i == P_VALUES || i == P_KEYS ? 1.0 : 0.3;
    if (m->n[i] == 0)
      continue;
    m->p[i] = malloc((size_t)m->n[i] * sizeof(double));
    m->f[i] = malloc((size_t)m->n[i] * sizeof(float));
    for (int64_t j = 0; j < m->n[i]; j++) {
      m->f[i][j] = (float)(scale * smft__rng_normal(&rng) +
                           (i == P_QUERY_NORM_W || i == P_KEY_NORM_W ? 1.0 : 0.0));
      m->p[i][j] = (double)m->f[i][j];
    }
  }
  m->slots = malloc((size_t)(n_tokens * config.heads * config.top_k) * sizeof *m->slots);
  m->weights = malloc((size_t)(n_tokens * config.heads * config.top_k) * sizeof *m->weights);
  m->out = malloc((size_t)(n_tokens * config.hidden) * sizeof *m->out);
}

static inline void naive_free(naive_memory *m) {
  for (int i = 0; i < P_COUNT; i++) {
    free(m->p[i]);
    free(m->f[i]);
  }
  free(m->slots);
  free(m->weights);
  free(m->out);
}

static inline void naive_norm(int kind, int64_t n, double eps, const double *w, const double *b,
                              double *x) {
  double mean = 0, square = 0;
  if (kind == SMFT__NORM_NONE)
    return;
  for (int64_t i = 0; i < n && kind == SMFT__NORM_LAYERNORM; i++)
    mean += x[i] / (double)n;
  for (int64_t i = 0; i < n; i++)
    square += (x[i] - mean) * (x[i] - mean);
  if (kind != SMFT__NORM_L2)
    square /= (double)n;
  for (int64_t i = 0; i < n; i++)
    x[i] = (x[i] - mean) / sqrt(square + eps) * (w ? w[i] : 1.0) + (b ? b[i] : 0.0);
}

/* The k best of the n*n sums by looking at all of them. */
static inline void naive_top(const double *s1, const double *s2, int64_t n, int64_t k,
                             int64_t *slots) {
  char *taken = calloc((size_t)(n * n), 1);
  for (int64_t i = 0; i < k; i++) {
    int64_t best = -1;
    for (int64_t s = 0; s < n * n; s++)
      if (!taken[s] && (best < 0 || s1[s / n] + s2[s % n] > s1[best / n] + s2[best % n]))
        best = s;
    taken[best] = 1;
    slots[i] = best;
  }
  free(taken);
}

/* y (out) = w (out, in) x + b */
static inline void naive_linear(const double *w, const double *b, const double *x, int64_t in,
                                int64_t out, double *y) {
  for (int64_t o = 0; o < out; o++) {
    y[o] = b ? b[o] : 0.0;
    for (int64_t i = 0; i < in; i++)
      y[o] += w[o * in + i] * x[i];
  }
}

/* One head of one token: adds its reads to sum (dv). */
static inline void naive_head(naive_memory *m, double *q, const double *keys, int64_t t, int64_t h,
                              int select, double *sum) {
  const smft__memory_config *c = &m->config;
  int64_t n = c->n_keys, k = c->top_k, half = c->key_dim / 2, at = (t * c->heads + h) * k;
  double *s = calloc((size_t)(2 * n), sizeof *s), total = 0;
  double *weights = m->weights + at, most;
  for (int which = 0; which < 2; which++) {
    naive_norm(c->query_norm, half, (double)c->norm_eps, m->p[P_QUERY_NORM_W], m->p[P_QUERY_NORM_B],
               q + which * half);
    for (int64_t j = 0; j < n; j++)
      for (int64_t i = 0; i < half; i++)
        s[which * n + j] += (double)c->temperature * q[which * half + i] *
                            keys[((2 * h + which) * n + j) * half + i];
  }
  if (select)
    naive_top(s, s + n, n, k, m->slots + at);
  most = s[m->slots[at] / n] + s[n + m->slots[at] % n];
  for (int64_t i = 0; i < k; i++)
    total += weights[i] = exp(s[m->slots[at + i] / n] + s[n + m->slots[at + i] % n] - most);
  for (int64_t i = 0; i < k; i++) {
    weights[i] /= total;
    for (int64_t j = 0; j < c->value_dim; j++)
      sum[j] += weights[i] * m->p[P_VALUES][m->slots[at + i] * c->value_dim + j];
  }
  free(s);
}

/* select 0: with the slots as they are (for finite differences). */
static inline void naive_forward(naive_memory *m, int select) {
  const smft__memory_config *c = &m->config;
  int64_t d = c->hidden, dv = c->value_dim, hdk = (int64_t)c->heads * c->key_dim;
  int64_t half = c->key_dim / 2;
  double *keys = malloc((size_t)m->n[P_KEYS] * sizeof *keys), *q = malloc((size_t)hdk * sizeof *q);
  double *sum = malloc((size_t)dv * sizeof *sum), *gate = malloc((size_t)dv * sizeof *gate);
  memcpy(keys, m->p[P_KEYS], (size_t)m->n[P_KEYS] * sizeof *keys);
  for (int64_t row = 0; row < m->n[P_KEYS] / half; row++)
    naive_norm(c->key_norm, half, (double)c->norm_eps, m->p[P_KEY_NORM_W], m->p[P_KEY_NORM_B],
               keys + row * half);
  for (int64_t t = 0; t < m->n_tokens; t++) {
    const double *x = m->p[P_X] + t * d;
    naive_linear(m->p[P_QUERY_W], m->p[P_QUERY_B], x, d, hdk, q);
    memset(sum, 0, (size_t)dv * sizeof *sum);
    for (int64_t h = 0; h < c->heads; h++)
      naive_head(m, q + h * c->key_dim, keys, t, h, select, sum);
    if (c->gate) {
      naive_linear(m->p[P_GATE_W], m->p[P_GATE_B], x, d, dv, gate);
      for (int64_t i = 0; i < dv; i++)
        sum[i] *= gate[i] / (1.0 + exp(-gate[i]));
    }
    if (c->identity)
      memcpy(m->out + t * d, sum, (size_t)d * sizeof *sum);
    else
      naive_linear(m->p[P_OUT_W], m->p[P_OUT_B], sum, dv, d, m->out + t * d);
  }
  free(keys);
  free(q);
  free(sum);
  free(gate);
}

/* The layer under test on the same numbers. */
static inline smft__memory_view naive_weights(const naive_memory *m) {
  const smft__memory_config *c = &m->config;
  int64_t d = c->hidden, dv = c->value_dim, hdk = (int64_t)c->heads * c->key_dim;
  int64_t half = c->key_dim / 2, n = c->n_keys;
  smft__memory_view w = {.config = *c};
  w.at[SMFT__M_QUERY] = smft__tensor_f32(m->f[P_QUERY_W], hdk, d);
  w.at[SMFT__M_QUERY_BIAS] = smft__tensor_f32(m->f[P_QUERY_B], hdk, 0);
  w.at[SMFT__M_GATE] = smft__tensor_f32(m->f[P_GATE_W], dv, d);
  w.at[SMFT__M_GATE_BIAS] = smft__tensor_f32(m->f[P_GATE_B], dv, 0);
  w.at[SMFT__M_OUT] = smft__tensor_f32(m->f[P_OUT_W], d, dv);
  w.at[SMFT__M_OUT_BIAS] = smft__tensor_f32(m->f[P_OUT_B], d, 0);
  w.at[SMFT__M_KEYS] = smft__tensor_f32(m->f[P_KEYS], 2 * c->heads * n, half);
  w.at[SMFT__M_QUERY_NORM] = smft__tensor_f32(m->f[P_QUERY_NORM_W], half, 0);
  w.at[SMFT__M_QUERY_NORM_BIAS] = smft__tensor_f32(m->f[P_QUERY_NORM_B], half, 0);
  w.at[SMFT__M_KEY_NORM] = smft__tensor_f32(m->f[P_KEY_NORM_W], half, 0);
  w.at[SMFT__M_KEY_NORM_BIAS] = smft__tensor_f32(m->f[P_KEY_NORM_B], half, 0);
  w.pool.base = smft__tensor_f32(m->f[P_VALUES], n * n, dv);
  w.pool.n_slots = n * n;
  w.pool.value_dim = dv;
  return w;
}

static inline void *naive_tape(smft__memory_tape *tape, smft_ctx *ctx,
                               const smft__memory_config *config, int64_t n_tokens, int mode) {
  smft__arena arena = {0};
  smft__memory_tape_place(tape, &arena, ctx, config, n_tokens, mode);
  arena.size = arena.used;
  arena.used = 0;
  arena.base = smft__alloc(ctx, (size_t)arena.size);
  ck_assert_ptr_nonnull(arena.base);
  smft__memory_tape_place(tape, &arena, ctx, config, n_tokens, mode);
  return arena.base;
}

static inline smft_ctx *naive_ctx(int32_t n_threads) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&ctx, &options));
  return ctx;
}

/* A pointer to the gradient of parameter i; NULL for x. */
static inline float **naive_grad(smft__memory_grads *g, int i) {
  float **by_number[P_COUNT] = {&g->at[SMFT__M_QUERY],
                                &g->at[SMFT__M_QUERY_BIAS],
                                &g->at[SMFT__M_GATE],
                                &g->at[SMFT__M_GATE_BIAS],
                                &g->at[SMFT__M_OUT],
                                &g->at[SMFT__M_OUT_BIAS],
                                &g->at[SMFT__M_KEYS],
                                &g->at[SMFT__M_QUERY_NORM],
                                &g->at[SMFT__M_QUERY_NORM_BIAS],
                                &g->at[SMFT__M_KEY_NORM],
                                &g->at[SMFT__M_KEY_NORM_BIAS],
                                &g->values,
                                NULL};
  return by_number[i];
}

/* The settings that the tests go through. */
static inline smft__memory_config naive_config(int i) {
  smft__memory_config configs[] = {
      /* n, H, k, dk, dv, d, query norm, key norm, gate, bias, eps, temperature, identity */
      {8, 2, 4, 12, 20, 24, SMFT__NORM_LAYERNORM, SMFT__NORM_NONE, 1, 1, 1e-5f, 1.0f, 0},
      {9, 3, 5, 40, 33, 17, SMFT__NORM_RMSNORM, SMFT__NORM_RMSNORM, 1, 0, 1e-6f, 1.0f, 0},
      {16, 1, 7, 32, 16, 32, SMFT__NORM_L2, SMFT__NORM_L2, 0, 1, 1e-4f, 3.5f, 0},
      {5, 4, 5, 16, 8, 16, SMFT__NORM_NONE, SMFT__NORM_NONE, 0, 0, 1e-5f, 0.5f, 0},
      {8, 2, 3, 20, 20, 24, SMFT__NORM_NONE, SMFT__NORM_LAYERNORM, 1, 1, 1e-5f, 1.0f, 0},
      {1, 2, 1, 8, 12, 10, SMFT__NORM_LAYERNORM, SMFT__NORM_L2, 1, 1, 1e-5f, 1.0f, 0},
      {8, 2, 3, 12, 24, 24, SMFT__NORM_LAYERNORM, SMFT__NORM_NONE, 1, 1, 1e-5f, 1.0f, 1},
      {9, 3, 4, 16, 17, 17, SMFT__NORM_NONE, SMFT__NORM_NONE, 0, 1, 1e-5f, 1.0f, 1},
  };
  return configs[i];
}
enum { NAIVE_CONFIGS = 8 };
#endif
