/* naive_network: loss of a whole memory model in plain double loops, written from
 * docs/method.md and the families' definitions alone, but for
 * what the plan says which it is; for models of tiny.h, and batches of at
 * most NAIVE_MOST tokens a sequence. */
#ifndef SMFT_TEST_NAIVE_NETWORK_H
#define SMFT_TEST_NAIVE_NETWORK_H
#include "tiny.h"
#include "model/network.h"

#define NAIVE_MOST 32

typedef struct naive {
  const smft_model *model;
  double **w; /* (n_tensors) */
} naive;

static inline const double *at(const naive *net, int32_t index) {
  return index < 0 ? NULL : net->w[index];
}

static inline void linear(const double *w, const double *b, const double *x, int64_t out,
                          int64_t in, double *y) {
  for (int64_t o = 0; o < out; o++) {
    y[o] = b ? b[o] : 0;
    for (int64_t i = 0; i < in; i++)
      y[o] += w[o * in + i] * x[i];
  }
}

/* by: SMFT__NORM_BY_*; y may be x */
static inline void rmsnorm(const double *w, int32_t by, const double *x, int64_t d, double eps,
                           double *y) {
  double sum = 0;
  for (int64_t i = 0; i < d; i++)
    sum += x[i] * x[i];
  for (int64_t i = 0; i < d; i++)
    y[i] = x[i] / sqrt(sum / (double)d + eps) * (w[i] + (by == SMFT__NORM_BY_1_PLUS));
}

static inline void layernorm(const double *w, const double *b, double *x, int64_t d, double eps) {
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < d; i++)
    mean += x[i] / (double)d;
  for (int64_t i = 0; i < d; i++)
    variance += (x[i] - mean) * (x[i] - mean) / (double)d;
  for (int64_t i = 0; i < d; i++)
    x[i] = (x[i] - mean) / sqrt(variance + eps) * w[i] + b[i];
}

static inline double silu(double x) { return x / (1 + exp(-x)); }

static inline double gelu_tanh(double x) {
  return x / 2 * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

static inline void rotate(double *x, int64_t position, int64_t n_heads, int64_t hd, double theta) {
  for (int64_t h = 0; h < n_heads; h++)
    for (int64_t i = 0; i < hd / 2; i++) {
      double angle = (double)position * pow(theta, -2.0 * (double)i / (double)hd);
      double a = x[h * hd + i], b = x[h * hd + hd / 2 + i];
      x[h * hd + i] = a * cos(angle) - b * sin(angle);
      x[h * hd + hd / 2 + i] = b * cos(angle) + a * sin(angle);
    }
}

/* One query row against keys and values (rows first to t) of its kv head. */
static inline void attend(const double *q, const double *k, const double *v, int64_t first,
                          int64_t t, int64_t stride, int64_t hd, double scale, double *out) {
  double s[NAIVE_MOST], sum = 0;
  for (int64_t j = first; j <= t; j++) {
    s[j] = 0;
    for (int64_t i = 0; i < hd; i++)
      s[j] += q[i] * k[j * stride + i];
    s[j] = exp(s[j] * scale);
    sum += s[j];
  }
  for (int64_t i = 0; i < hd; i++) {
    out[i] = 0;
    for (int64_t j = first; j <= t; j++)
      out[i] += s[j] / sum * v[j * stride + i];
  }
}

/* Each head of a row by itself. */
static inline void norm_heads(const naive *net, const smft__block_plan *b, int32_t line,
                              int64_t heads, double *x) {
  const smft__config *c = &net->model->config;
  for (int64_t h = 0; h < heads && b->qk_norm == SMFT__QK_NORM_PER_HEAD; h++)
    rmsnorm(at(net, b->at[line].tensor), b->norm, x + h * c->head_dim, c->head_dim,
            (double)c->norm_eps, x + h * c->head_dim);
}

/* What attention or FFN gave, where the family norms that. */
static inline void norm_after(const naive *net, const smft__block_plan *b, int32_t line,
                              double *y) {
  const smft__config *c = &net->model->config;
  if (b->norms & SMFT__NORMS_AFTER)
    rmsnorm(at(net, b->at[line].tensor), b->norm, y, c->hidden, (double)c->norm_eps, y);
}

static inline double theta_of(const smft__config *c, const smft__block_plan *b) {
  return pow(c->stack.ropes[b->rope].frequency[1], -c->head_dim / 2.0);
}

static inline void attention(const naive *net, const smft__block_plan *b, double (*x)[32],
                             int64_t n) {
  const smft__config *c = &net->model->config;
  int64_t qw = c->n_heads * c->head_dim, kvw = c->n_kv_heads * c->head_dim;
  int64_t group = c->n_heads / c->n_kv_heads, d = c->hidden;
  double q[NAIVE_MOST][32], k[NAIVE_MOST * 32], v[NAIVE_MOST * 32], h[32], out[32], y[32];
  for (int64_t t = 0; t < n; t++) {
    rmsnorm(at(net, b->at[SMFT__INPUT_NORM].tensor), b->norm, x[t], d, (double)c->norm_eps, h);
    linear(at(net, b->at[SMFT__Q].tensor), at(net, b->at[SMFT__Q_BIAS].tensor), h, qw, d, q[t]);
    linear(at(net, b->at[SMFT__K].tensor), at(net, b->at[SMFT__K_BIAS].tensor), h, kvw, d,
           k + t * kvw);
    linear(at(net, b->at[SMFT__V].tensor), at(net, b->at[SMFT__V_BIAS].tensor), h, kvw, d,
           v + t * kvw);
    norm_heads(net, b, SMFT__Q_NORM, c->n_heads, q[t]);
    norm_heads(net, b, SMFT__K_NORM, c->n_kv_heads, k + t * kvw);
    if (b->rope < 0)
      continue;
    rotate(q[t], t, c->n_heads, c->head_dim, theta_of(c, b));
    rotate(k + t * kvw, t, c->n_kv_heads, c->head_dim, theta_of(c, b));
  }
  for (int64_t t = 0; t < n; t++) {
    int64_t first = b->window && t >= b->window ? t + 1 - b->window : 0;
    for (int64_t head = 0; head < c->n_heads; head++)
      attend(q[t] + head * c->head_dim, k + head / group * c->head_dim,
             v + head / group * c->head_dim, first, t, kvw, c->head_dim, (double)b->attention_scale,
             out + head * c->head_dim);
    linear(at(net, b->at[SMFT__O].tensor), NULL, out, d, qw, y);
    norm_after(net, b, SMFT__O_NORM, y);
    for (int64_t i = 0; i < d; i++)
      x[t][i] += y[i];
  }
}

/* The exact top-k of the full grid, and what its softmax adds to y. */
static inline void read_head(const smft__memory_config *m, const double *query, const double *keys,
                             const double *values, double *y) {
  static double grid[4096];
  int64_t n = m->n_keys, half = m->key_dim / 2, slots[16];
  double weights[16], sum = 0;
  for (int64_t s = 0; s < n * n; s++) {
    grid[s] = 0;
    for (int64_t i = 0; i < half; i++)
      grid[s] += query[i] * keys[s / n * half + i] + query[half + i] * keys[(n + s % n) * half + i];
  }
  for (int64_t k = 0; k < m->top_k; k++) {
    slots[k] = 0;
    for (int64_t s = 1; s < n * n; s++)
      if (grid[s] > grid[slots[k]])
        slots[k] = s;
    weights[k] = exp(grid[slots[k]] * (double)m->temperature);
    sum += weights[k];
    grid[slots[k]] = -1e300;
  }
  for (int64_t k = 0; k < m->top_k; k++)
    for (int64_t i = 0; i < m->value_dim; i++)
      y[i] += weights[k] / sum * values[slots[k] * m->value_dim + i];
}

static inline void add_memory(const naive *net, int32_t memory, const double *h, double *x) {
  const smft__memory_plan *a = &net->model->config.memories[memory];
  const smft__memory_config *m = &net->model->config.memory;
  double q[64], y[64] = {0}, gate[64], out[32];
  int64_t dk = m->key_dim, half = dk / 2;
  linear(at(net, a->at[SMFT__M_QUERY].tensor), at(net, a->at[SMFT__M_QUERY_BIAS].tensor), h,
         m->heads * dk, m->hidden, q);
  for (int64_t i = 0; i < 2 * m->heads; i++)
    layernorm(at(net, a->at[SMFT__M_QUERY_NORM].tensor),
              at(net, a->at[SMFT__M_QUERY_NORM_BIAS].tensor), q + i * half, half,
              (double)m->norm_eps);
  for (int64_t head = 0; head < m->heads; head++)
    read_head(m, q + head * dk, at(net, a->at[SMFT__M_KEYS].tensor) + head * 2 * m->n_keys * half,
              at(net, smft__pool_tensor(&net->model->config, a->pool)), y);
  linear(at(net, a->at[SMFT__M_GATE].tensor), at(net, a->at[SMFT__M_GATE_BIAS].tensor), h,
         m->value_dim, m->hidden, gate);
  for (int64_t i = 0; i < m->value_dim; i++)
    y[i] *= silu(gate[i]);
  if (m->identity)
    memcpy(out, y, (size_t)m->hidden * sizeof *out);
  else
    linear(at(net, a->at[SMFT__M_OUT].tensor), at(net, a->at[SMFT__M_OUT_BIAS].tensor), y,
           m->hidden, m->value_dim, out);
  for (int64_t i = 0; i < m->hidden; i++)
    x[i] +=
        out[i] * (a->at[SMFT__M_ALPHA].tensor < 0 ? 1 : at(net, a->at[SMFT__M_ALPHA].tensor)[0]);
}

static inline void add_ffn(const naive *net, const smft__block_plan *b, const double *h,
                           double *x) {
  const smft__config *c = &net->model->config;
  double gate[48], up[48], y[32];
  linear(at(net, b->at[SMFT__GATE].tensor), NULL, h, c->ffn, c->hidden, gate);
  linear(at(net, b->at[SMFT__UP].tensor), NULL, h, c->ffn, c->hidden, up);
  for (int64_t i = 0; i < c->ffn; i++)
    gate[i] = (b->activation == SMFT__GELU_TANH ? gelu_tanh(gate[i]) : silu(gate[i])) * up[i];
  linear(at(net, b->at[SMFT__DOWN].tensor), NULL, gate, c->hidden, c->ffn, y);
  norm_after(net, b, SMFT__DOWN_NORM, y);
  for (int64_t i = 0; i < c->hidden; i++)
    x[i] += y[i];
}

static inline double nll(const naive *net, const double *x, int32_t target) {
  const smft__config *c = &net->model->config;
  double h[32], logits[TINY_VOCAB], sum = 0;
  rmsnorm(at(net, net->model->config.stack.at[SMFT__FINAL_NORM].tensor), c->stack.final_norm, x,
          c->hidden, (double)c->norm_eps, h);
  linear(at(net, c->stack.at[c->tied ? SMFT__EMBED : SMFT__HEAD].tensor), NULL, h, c->vocab,
         c->hidden, logits);
  for (int32_t i = 0; i < c->vocab; i++)
    sum += exp(logits[i]);
  return log(sum) - logits[target];
}

/* sum of w * nll of one sequence */
static inline double sequence_loss(const naive *net, const int32_t *ids, const float *weights,
                                   int64_t n) {
  const smft__config *c = &net->model->config;
  double x[NAIVE_MOST][32], h[32], loss = 0;
  for (int64_t t = 0; t < n; t++)
    for (int64_t i = 0; i < c->hidden; i++)
      x[t][i] = at(net, c->stack.at[SMFT__EMBED].tensor)[ids[t] * c->hidden + i] *
                (double)c->stack.embedding_scale;
  for (int32_t layer = 0; layer < c->n_layers; layer++) {
    const smft__block_plan *b = &net->model->config.blocks[layer];
    attention(net, b, x, n);
    for (int64_t t = 0; t < n; t++) {
      rmsnorm(at(net, b->at[SMFT__POST_NORM].tensor), b->norm, x[t], c->hidden, (double)c->norm_eps,
              h);
      if (b->at[SMFT__GATE].tensor >= 0)
        add_ffn(net, b, h, x[t]);
      if (b->memory >= 0)
        add_memory(net, b->memory, h, x[t]);
    }
  }
  for (int64_t t = 1; t < n; t++)
    loss += (double)weights[t] * nll(net, x[t - 1], ids[t]);
  return loss;
}

static inline double naive_loss(const naive *net, const smft__sequences *batch) {
  double loss = 0, sum = 0;
  for (int64_t s = 0; s < batch->n_sequences; s++) {
    int64_t begin = batch->offsets[s], n = batch->offsets[s + 1] - begin;
    loss += sequence_loss(net, batch->ids + begin, batch->weights + begin, n);
    for (int64_t t = 1; t < n; t++)
      sum += (double)batch->weights[begin + t];
  }
  return loss / sum;
}
#endif
