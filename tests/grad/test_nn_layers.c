/* test_nn_layers: linear, RMSNorm, SwiGLU, rotary positions, embedding and cross-entropy: forward
 * against naive double passes, every gradient against differences of them, what is added to and
 * what is overwritten, and the same bits for 1, 2 and 3 threads. */
#include "nn_check.h"
#include "nn/embedding.h"
#include "nn/ffn.h"
#include "nn/linear.h"
#include "nn/loss.h"
#include "nn/norm.h"
#include "nn/rope.h"

/* ---- linear -------------------------------------------------------------- */

typedef struct linear_problem {
  int64_t n, in, out;
  const float *dy;
  double *x, *w, *b, *y;
} linear_problem;

static double naive_linear(const void *arg) {
  const linear_problem *p = arg;
  for (int64_t t = 0; t < p->n; t++)
    for (int64_t o = 0; o < p->out; o++) {
      double sum = p->b[o];
      for (int64_t i = 0; i < p->in; i++)
        sum += p->x[t * p->in + i] * p->w[o * p->in + i];
      p->y[t * p->out + o] = sum;
    }
  return nn_inner(p->dy, p->y, p->n * p->out);
}

static void linear_case(smft_ctx *ctx, smft__rng *rng, int64_t n, int64_t in, int64_t out) {
  float *x = nn_numbers(rng, n * in), *w = nn_numbers(rng, out * in), *b = nn_numbers(rng, out);
  float *y = nn_numbers(rng, n * out);
  float *dy = nn_numbers(rng, n * out), *dx = nn_numbers(rng, n * in);
  float *dx_before = nn_numbers(rng, n * in);
  float *dw = nn_numbers(rng, out * in), *dw_before = nn_numbers(rng, out * in);
  float *db = nn_numbers(rng, out), *db_before = nn_numbers(rng, out);
  linear_problem p = {n,
                      in,
                      out,
                      dy,
                      nn_doubles(x, n * in),
                      nn_doubles(w, out * in),
                      nn_doubles(b, out),
                      nn_doubles(y, n * out)};
  smft__tensor weight = smft__tensor_f32(w, out, in), bias = smft__tensor_f32(b, out, 0);
  smft__tensor absent = {0};
  naive_linear(&p);
  smft__linear_forward(ctx, &weight, &bias, x, n, y);
  nn_close(y, p.y, n * out, 1e-5, "y");
  smft__linear_backward_input(ctx, &weight, dy, n, dx, 0);
  nn_differences(naive_linear, &p, p.x, n * in, dx, NULL, "dx");
  memcpy(dx, dx_before, (size_t)(n * in) * sizeof *dx);
  smft__linear_backward_input(ctx, &weight, dy, n, dx, 1);
  nn_differences(naive_linear, &p, p.x, n * in, dx, dx_before, "dx added");
  memcpy(dw_before, dw, (size_t)(out * in) * sizeof *dw);
  memcpy(db_before, db, (size_t)out * sizeof *db);
  smft__linear_backward_weight(ctx, x, dy, n, in, out, dw, db);
  nn_differences(naive_linear, &p, p.w, out * in, dw, dw_before, "dw");
  nn_differences(naive_linear, &p, p.b, out, db, db_before, "db");
  smft__linear_forward(ctx, &weight, &absent, x, n, y);
  memset(p.b, 0, (size_t)out * sizeof *p.b);
  naive_linear(&p);
  nn_close(y, p.y, n * out, 1e-5, "y without bias");
  free(x), free(w), free(b), free(y), free(dy), free(dx), free(dx_before), free(dw),
      free(dw_before), free(db), free(db_before);
  free(p.x), free(p.w), free(p.b), free(p.y);
}

START_TEST(test_linear) {
  static const int64_t shapes[][3] = {
      {1, 1, 1}, {1, 33, 17}, {5, 7, 19}, {19, 16, 33}, {40, 12, 5}};
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 1);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    linear_case(ctx, &rng, shapes[s][0], shapes[s][1], shapes[s][2]);
  smft_ctx_free(ctx);
}
END_TEST

/* Weights and bias of two bytes give what their f32 values give. */
START_TEST(test_linear_halves) {
  enum { N = 20, IN = 37, OUT = 41 };
  smft_ctx *ctx = nn_context(1);
  smft__rng rng;
  smft__rng_seed(&rng, 2);
  for (int dtype = SMFT__F16; dtype <= SMFT__BF16; dtype++) {
    uint16_t halves[OUT * IN + OUT];
    float *w = nn_numbers(&rng, OUT * IN + OUT), *x = nn_numbers(&rng, N * IN), y[N * OUT];
    float wide[N * OUT];
    for (int i = 0; i < OUT * IN + OUT; i++)
      halves[i] = dtype == SMFT__BF16 ? smft__f32_to_bf16(w[i]) : smft__f32_to_f16(w[i]);
    smft__tensor half = {halves, {OUT, IN}, 2, dtype};
    smft__tensor half_bias = {halves + OUT * IN, {OUT}, 1, dtype};
    smft__tensor all = {halves, {OUT * IN + OUT}, 1, dtype}, full = smft__tensor_f32(w, OUT, IN);
    smft__tensor bias = smft__tensor_f32(w + OUT * IN, OUT, 0);
    smft__tensor_to_f32(&all, 0, OUT * IN + OUT, w);
    for (int64_t n = 1; n <= N; n += 19) {
      smft__linear_forward(ctx, &half, &half_bias, x, n, y);
      smft__linear_forward(ctx, &full, &bias, x, n, wide);
      ck_assert(test_distance(y, wide, n * OUT) < 1e-6);
    }
    free(w), free(x);
  }
  smft_ctx_free(ctx);
}
END_TEST

/* ---- RMSNorm ------------------------------------------------------------- */

typedef struct norm_problem {
  int64_t n, d;
  const float *dy;
  double *x, *w, *y, eps, plus;
} norm_problem;

static double naive_norm(const void *arg) {
  const norm_problem *p = arg;
  for (int64_t t = 0; t < p->n; t++) {
    const double *x = p->x + t * p->d;
    double square = 0;
    for (int64_t i = 0; i < p->d; i++)
      square += x[i] * x[i];
    for (int64_t i = 0; i < p->d; i++)
      p->y[t * p->d + i] = x[i] / sqrt(square / (double)p->d + p->eps) * (p->plus + p->w[i]);
  }
  return nn_inner(p->dy, p->y, p->n * p->d);
}

static void norm_case(smft_ctx *ctx, smft__rng *rng, int64_t n, int64_t d, int32_t by) {
  float *x = nn_numbers(rng, n * d), *w = nn_numbers(rng, d), *dy = nn_numbers(rng, n * d);
  float *inv = nn_numbers(rng, n);
  float *y = nn_numbers(rng, n * d), *dx = nn_numbers(rng, n * d), *dw = nn_numbers(rng, d);
  float *dx_before = nn_numbers(rng, n * d);
  float *dw_before = nn_numbers(rng, d);
  norm_problem p = {n,
                    d,
                    dy,
                    nn_doubles(x, n * d),
                    nn_doubles(w, d),
                    nn_doubles(y, n * d),
                    1e-3,
                    by == SMFT__NORM_BY_1_PLUS};
  smft__tensor weight = smft__tensor_f32(w, d, 0);
  naive_norm(&p);
  smft__rmsnorm_forward(ctx, &weight, by, 1e-3f, x, n, d, y, inv);
  nn_close(y, p.y, n * d, 2e-6, "y");
  memcpy(dx_before, dx, (size_t)(n * d) * sizeof *dx);
  memcpy(dw_before, dw, (size_t)d * sizeof *dw);
  smft__rmsnorm_backward(ctx, &weight, by, x, inv, dy, n, d, dx, dw);
  nn_differences(naive_norm, &p, p.x, n * d, dx, dx_before, "dx");
  nn_differences(naive_norm, &p, p.w, d, dw, dw_before, "dw");
  smft__rmsnorm_backward(ctx, &weight, by, x, inv, dy, n, d, dx, NULL);
  memcpy(y, x, (size_t)(n * d) * sizeof *y);
  smft__rmsnorm_forward(ctx, &weight, by, 1e-3f, y, n, d, y, NULL);
  naive_norm(&p);
  nn_close(y, p.y, n * d, 2e-6, "y in place");
  free(x), free(w), free(dy), free(inv), free(y), free(dx), free(dw), free(dx_before),
      free(dw_before);
  free(p.x), free(p.w), free(p.y);
}

START_TEST(test_norm) {
  static const int64_t shapes[][2] = {{1, 1}, {3, 5}, {7, 48}, {2, 192}, {1, 1100}};
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 3);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int32_t by = SMFT__NORM_BY_WEIGHT; by <= SMFT__NORM_BY_1_PLUS; by++)
      norm_case(ctx, &rng, shapes[s][0], shapes[s][1], by);
  smft_ctx_free(ctx);
}
END_TEST

/* A weight of two bytes, at an odd address. */
START_TEST(test_norm_halves) {
  enum { D = 1030 };
  char bytes[D * 2 + 1];
  smft__rng rng;
  smft_ctx *ctx = nn_context(1);
  smft__rng_seed(&rng, 4);
  float *x = nn_numbers(&rng, D), *w = nn_numbers(&rng, D), y[D], wide[D];
  for (int i = 0; i < D; i++) {
    uint16_t half = smft__f32_to_bf16(w[i]);
    memcpy(bytes + 1 + 2 * i, &half, 2);
    w[i] = smft__bf16_to_f32(half);
  }
  smft__tensor weight = {bytes + 1, {D}, 1, SMFT__BF16}, full = smft__tensor_f32(w, D, 0);
  for (int32_t by = SMFT__NORM_BY_WEIGHT; by <= SMFT__NORM_BY_1_PLUS; by++) {
    smft__rmsnorm_forward(ctx, &weight, by, 1e-5f, x, 1, D, y, NULL);
    smft__rmsnorm_forward(ctx, &full, by, 1e-5f, x, 1, D, wide, NULL);
    ck_assert(!memcmp(y, wide, sizeof y));
  }
  free(x), free(w);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- gated activations -------------------------------------------------------------- */

typedef struct glu_problem {
  int64_t n;
  const float *d_act;
  double *gate, *up, *act;
} glu_problem;

typedef struct glu { /* one of them, and the same from its formula */
  void (*forward)(smft_ctx *, const float *, const float *, int64_t, float *);
  void (*backward)(smft_ctx *, const float *, const float *, const float *, int64_t, float *,
                   float *);
  double (*naive)(const void *);
} glu;

static double naive_swiglu(const void *arg) {
  const glu_problem *p = arg;
  for (int64_t i = 0; i < p->n; i++)
    p->act[i] = p->gate[i] / (1 + exp(-p->gate[i])) * p->up[i];
  return nn_inner(p->d_act, p->act, p->n);
}

static double naive_geglu(const void *arg) {
  const glu_problem *p = arg;
  for (int64_t i = 0; i < p->n; i++) {
    double g = p->gate[i];
    p->act[i] = g / 2 * (1 + tanh(0.79788456080286535588 * (g + 0.044715 * g * g * g))) * p->up[i];
  }
  return nn_inner(p->d_act, p->act, p->n);
}

static const glu glus[] = {
    {smft__swiglu_forward, smft__swiglu_backward, naive_swiglu},
    {smft__geglu_forward, smft__geglu_backward, naive_geglu},
};

START_TEST(test_glu) {
  enum { N = 203 };
  const glu *f = &glus[_i % 2];
  if (smft__cpu_limit(_i / 2) != _i / 2)
    return;
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 5);
  float *gate = nn_numbers(&rng, N), *up = nn_numbers(&rng, N), *d_act = nn_numbers(&rng, N);
  float act[N], d_gate[N], d_up[N];
  gate[0] = 100, gate[1] = -100, gate[2] = 0, gate[3] = -20, gate[4] = 3.5f, gate[5] = -3.5f;
  glu_problem p = {N, d_act, nn_doubles(gate, N), nn_doubles(up, N), nn_doubles(act, N)};
  f->naive(&p);
  f->forward(ctx, gate, up, N, act);
  nn_close(act, p.act, N, 1e-6, "act");
  f->backward(ctx, gate, up, d_act, N, d_gate, d_up);
  nn_differences(f->naive, &p, p.gate, N, d_gate, NULL, "d_gate");
  nn_differences(f->naive, &p, p.up, N, d_up, NULL, "d_up");
  memcpy(act, d_act, sizeof act); /* in place */
  f->backward(ctx, gate, up, act, N, act, d_up);
  ck_assert(!memcmp(act, d_gate, sizeof act));
  memcpy(act, d_act, sizeof act);
  f->backward(ctx, gate, up, act, N, d_gate, act);
  ck_assert(!memcmp(act, d_up, sizeof act));
  free(gate), free(up), free(d_act), free(p.gate), free(p.up), free(p.act);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- rotary positions ---------------------------------------------------- */

START_TEST(test_rope) {
  enum { T = 75, HEADS = 4 };
  static const int dims[] = {2, 10, 64, 136};
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 6);
  for (int s = 0; s < 4; s++) {
    int dim = dims[s], half = dim / 2;
    float *x = nn_numbers(&rng, T * HEADS * dim), *y = nn_numbers(&rng, T * HEADS * dim);
    double *wanted = nn_doubles(x, T * HEADS * dim);
    int32_t positions[T];
    for (int t = 0; t < T; t++) {
      positions[t] = t < 20 ? t : t < 50 ? t - 20 + 4000 : (t * 37) % 100;
      for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < half; i++) {
          double *low = wanted + (t * HEADS + h) * dim + i, a = low[0], b = low[half];
          double angle = positions[t] * pow(10000, -2.0 * i / dim);
          low[0] = a * cos(angle) - b * sin(angle);
          low[half] = b * cos(angle) + a * sin(angle);
        }
    }
    memcpy(y, x, (size_t)(T * HEADS * dim) * sizeof *y);
    smft__rope_table table = {dim, SMFT__PAIRS_HALVES, 1, calloc((size_t)half + 1, sizeof(double))};
    smft__rope_frequencies(table.frequency, dim, 10000);
    smft__rope(ctx, y, positions, T, HEADS, dim, &table, 0);
    nn_close(y, wanted, T * HEADS * dim, 5e-7, "rotated");
    /* a rotation: its transpose, the gradient, is its inverse */
    smft__rope(ctx, y, positions, T, HEADS, dim, &table, 1);
    ck_assert(test_distance(y, x, T * HEADS * dim) < 1e-6);
    /* the same heads twice as wide: what does not turn passes, bit by bit */
    memcpy(y, x, (size_t)(T * HEADS * dim) * sizeof *y);
    smft__rope(ctx, y, positions, T, HEADS / 2, 2 * dim, &table, 0);
    for (int64_t i = 0; i < T * HEADS * dim; i++)
      if (i / dim % 2)
        ck_assert_mem_eq(y + i, x + i, sizeof *y);
      else
        ck_assert_double_eq_tol((double)y[i], wanted[i], 5e-7 * (1 + fabs(wanted[i])));
    free(table.frequency);
    free(x), free(y), free(wanted);
  }
  smft_ctx_free(ctx);
}
END_TEST

/* head (dim) with pairs (i, i + dim / 2) -> with pairs (2i, 2i + 1) */
static void side_by_side(const float *head, int dim, float *out) {
  for (int i = 0; i < dim / 2; i++) {
    out[2 * i] = head[i];
    out[2 * i + 1] = head[dim / 2 + i];
  }
}

/* The other order of a head has the same bits, also where more frequencies than a chunk's turn. */
START_TEST(test_rope_neighbours) {
  enum { T = 40, HEADS = 3 };
  static const int dims[] = {2, 10, 64, 136};
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 16);
  for (int s = 0; s < 4; s++)
    for (int inverse = 0; inverse < 2; inverse++) {
      int dim = dims[s];
      float *x = nn_numbers(&rng, T * HEADS * dim), *y = nn_numbers(&rng, T * HEADS * dim);
      float *wanted = nn_numbers(&rng, dim);
      int32_t positions[T];
      double frequency[68];
      smft__rope_table table = {dim, SMFT__PAIRS_HALVES, 1.25f, frequency};
      smft__rope_frequencies(frequency, dim, 500);
      for (int t = 0; t < T; t++)
        positions[t] = t < 20 ? t : (t * 37) % 100;
      for (int row = 0; row < T * HEADS; row++)
        side_by_side(x + row * dim, dim, y + row * dim);
      smft__rope(ctx, x, positions, T, HEADS, dim, &table, inverse);
      table.pairs = SMFT__PAIRS_NEIGHBOURS;
      smft__rope(ctx, y, positions, T, HEADS, dim, &table, inverse);
      for (int row = 0; row < T * HEADS; row++) {
        side_by_side(x + row * dim, dim, wanted);
        ck_assert_mem_eq(y + row * dim, wanted, (size_t)dim * sizeof *y);
      }
      free(x), free(y), free(wanted);
    }
  smft_ctx_free(ctx);
}
END_TEST

/* Multiplies what turned, there and back; what passes keeps its bits. */
START_TEST(test_rope_magnitude) {
  enum { T = 9, HEADS = 2, DIM = 12, TURNS = 8 };
  smft_ctx *ctx = nn_context(1);
  smft__rng rng;
  smft__rng_seed(&rng, 17);
  float *x = nn_numbers(&rng, T * HEADS * DIM), *plain = nn_numbers(&rng, T * HEADS * DIM);
  float *more = nn_numbers(&rng, T * HEADS * DIM);
  int32_t positions[T];
  double frequency[TURNS / 2];
  smft__rope_table table = {TURNS, SMFT__PAIRS_HALVES, 1, frequency};
  smft__rope_frequencies(frequency, TURNS, 1e4);
  for (int t = 0; t < T; t++)
    positions[t] = 3 * t;
  for (int inverse = 0; inverse < 2; inverse++) {
    memcpy(plain, x, (size_t)(T * HEADS * DIM) * sizeof *x);
    memcpy(more, x, (size_t)(T * HEADS * DIM) * sizeof *x);
    table.magnitude = 1;
    smft__rope(ctx, plain, positions, T, HEADS, DIM, &table, inverse);
    table.magnitude = 1.7f;
    smft__rope(ctx, more, positions, T, HEADS, DIM, &table, inverse);
    for (int64_t i = 0; i < T * HEADS * DIM; i++) {
      double factor = i % DIM < TURNS ? (double)1.7f : 1;
      ck_assert_double_eq_tol((double)more[i], factor * (double)plain[i], 1e-6);
    }
  }
  free(x), free(plain), free(more);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- embedding ----------------------------------------------------------- */

START_TEST(test_embedding) {
  enum { V = 37, D = 301, T = 200 };
  smft__rng rng;
  smft__rng_seed(&rng, 7);
  float *table = nn_numbers(&rng, V * D), *dy = nn_numbers(&rng, T * D);
  float *start = nn_numbers(&rng, V * D);
  float *wanted = nn_numbers(&rng, V * D), *y = nn_numbers(&rng, T * D);
  float *d_table = nn_numbers(&rng, V * D);
  int32_t ids[T];
  memcpy(wanted, start, (size_t)(V * D) * sizeof *wanted);
  for (int t = 0; t < T; t++) {
    ids[t] = (int32_t)smft__rng_below(&rng, V);
    for (int i = 0; i < D; i++)
      wanted[ids[t] * D + i] += 0.5f * dy[t * D + i]; /* in token order: equal to the bit */
  }
  smft__tensor weight = smft__tensor_f32(table, V, D);
  for (int threads = 1; threads <= 3; threads++) {
    smft_ctx *ctx = nn_context(threads);
    smft__embedding_forward(ctx, &weight, ids, T, 0.5f, y);
    for (int i = 0; i < T * D; i++)
      ck_assert(y[i] >= 0.5f * table[ids[i / D] * D + i % D] &&
                y[i] <= 0.5f * table[ids[i / D] * D + i % D]);
    smft__embedding_forward(ctx, &weight, ids, T, 1, y);
    for (int t = 0; t < T; t++)
      ck_assert(!memcmp(y + t * D, table + ids[t] * D, D * sizeof *y));
    memcpy(d_table, start, (size_t)(V * D) * sizeof *d_table);
    smft__embedding_backward(ctx, ids, dy, T, D, 0.5f, d_table);
    ck_assert(!memcmp(d_table, wanted, (size_t)(V * D) * sizeof *d_table));
    smft_ctx_free(ctx);
  }
  free(table), free(dy), free(start), free(wanted), free(y), free(d_table);
}
END_TEST

/* ---- cross-entropy ------------------------------------------------------- */

typedef struct loss_problem {
  int64_t m, vocab;
  const int32_t *targets;
  const float *scale;
  double *logits, *nll;
} loss_problem;

static double naive_loss(const void *arg) {
  const loss_problem *p = arg;
  double total = 0;
  for (int64_t i = 0; i < p->m; i++) {
    const double *row = p->logits + i * p->vocab;
    double sum = 0;
    for (int64_t j = 0; j < p->vocab; j++)
      sum += exp(row[j]);
    p->nll[i] = log(sum) - row[p->targets[i]];
    total += (double)p->scale[i] * p->nll[i];
  }
  return total;
}

static void loss_case(smft_ctx *ctx, smft__rng *rng, int64_t m, int64_t vocab) {
  float *logits = nn_numbers(rng, m * vocab), *scale = nn_numbers(rng, m);
  float *nll = nn_numbers(rng, m);
  int32_t *targets = calloc((size_t)m, sizeof *targets);
  for (int64_t i = 0; i < m; i++)
    targets[i] = (int32_t)smft__rng_below(rng, vocab);
  loss_problem p = {m, vocab, targets, scale, nn_doubles(logits, m * vocab), nn_doubles(nll, m)};
  naive_loss(&p);
  smft__nll_rows(ctx, logits, targets, m, vocab, nll);
  nn_close(nll, p.nll, m, 1e-6, "nll");
  smft__nll_rows_backward(ctx, logits, targets, scale, m, vocab, nll);
  nn_close(nll, p.nll, m, 1e-6, "nll of backward");
  if (m * vocab < 2000)
    nn_differences(naive_loss, &p, p.logits, m * vocab, logits, NULL, "d_logits");
  free(logits), free(scale), free(nll), free(targets), free(p.logits), free(p.nll);
}

START_TEST(test_loss) {
  static const int64_t shapes[][2] = {{1, 1}, {3, 7}, {5, 50}, {1, 1500}, {2, 20000}};
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 8);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    loss_case(ctx, &rng, shapes[s][0], shapes[s][1]);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(test_loss_extremes) {
  smft_ctx *ctx = nn_context(1);
  float logits[8] = {1000, -1000, 999, 0, -INFINITY, 5, NAN, 1}, nll[2], scale[2] = {1, 1};
  int32_t targets[2] = {2, 1};
  smft__nll_rows(ctx, logits, targets, 2, 4, nll);
  ck_assert_double_eq_tol((double)nll[0], 1 + log1p(exp(-1)), 1e-6);
  ck_assert(isnan(nll[1])); /* never a silent number */
  smft__nll_rows_backward(ctx, logits, targets, scale, 2, 4, nll);
  ck_assert_double_eq_tol((double)logits[0], 1 / (1 + exp(-1)), 1e-6);
  ck_assert(logits[1] == 0 && isnan(logits[4 + 1]) && isnan(nll[1]));
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(test_divergence) {
  enum { M = 3, V = 1100 };
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 9);
  float *p = nn_numbers(&rng, M * V), *q = nn_numbers(&rng, M * V);
  double kl[M], same[M];
  smft__kl_rows(ctx, p, q, M, V, kl);
  smft__kl_rows(ctx, p, p, M, V, same);
  for (int i = 0; i < M; i++) {
    double p_sum = 0, q_sum = 0, wanted = 0;
    for (int j = 0; j < V; j++) {
      p_sum += exp((double)p[i * V + j]);
      q_sum += exp((double)q[i * V + j]);
    }
    for (int j = 0; j < V; j++) {
      double a = exp((double)p[i * V + j]) / p_sum, b = exp((double)q[i * V + j]) / q_sum;
      wanted += a * log(a / b);
    }
    ck_assert_double_eq_tol(kl[i], wanted, 1e-6);
    ck_assert(same[i] == 0);
  }
  free(p), free(q);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- threads ------------------------------------------------------------- */

enum { T = 150, D = 240, H = 5, V = 3001 };
/* Every kernel once, on sizes with several blocks; the results one after another in out. */
static int64_t run_all(smft_ctx *ctx, float *out) {
  smft__rng rng;
  smft__rng_seed(&rng, 10);
  float *x = nn_numbers(&rng, T * D), *w = nn_numbers(&rng, V * D);
  float *logits = nn_numbers(&rng, T * V), *at = out;
  float *scale = nn_numbers(&rng, T);
  int32_t ids[T];
  smft__tensor weight = smft__tensor_f32(w, V, D), row = smft__tensor_f32(w, D, 0);
  for (int t = 0; t < T; t++)
    ids[t] = t * 7 % 90;
  smft__linear_forward(ctx, &weight, NULL, x, T, logits);
  memcpy(at, logits, (size_t)(T * V) * sizeof *at), at += T * V;
  smft__nll_rows_backward(ctx, logits, ids, scale, T, V, at), at += T;
  smft__linear_backward_input(ctx, &weight, logits, T, at, 0), at += T * D;
  memset(at, 0, (size_t)(V * D + V) * sizeof *at);
  smft__linear_backward_weight(ctx, x, logits, T, D, V, at, at + V * D), at += V * D + V;
  smft__rmsnorm_forward(ctx, &row, SMFT__NORM_BY_WEIGHT, 1e-5f, x, T, D, at, at + T * D),
      at += T * D + T;
  memset(at, 0, (size_t)(T * D + D) * sizeof *at);
  smft__rmsnorm_backward(ctx, &row, SMFT__NORM_BY_WEIGHT, x, at - T, logits, T, D, at, at + T * D),
      at += T * D + D;
  smft__swiglu_forward(ctx, x, logits, T * D, at), at += T * D;
  smft__swiglu_backward(ctx, x, logits, w, T * D, at, at + T * D), at += 2 * T * D;
  smft__geglu_forward(ctx, x, logits, T * D, at), at += T * D;
  smft__geglu_backward(ctx, x, logits, w, T * D, at, at + T * D), at += 2 * T * D;
  memcpy(at, x, (size_t)(T * D) * sizeof *at);
  double frequency[D / H / 2];
  smft__rope_frequencies(frequency, D / H, 1e4);
  smft__rope(ctx, at, ids, T, H, D / H, &(smft__rope_table){D / H, 0, 1, frequency}, 0),
      at += T * D;
  smft__add_scaled(ctx, at - T * D, w, 0.3f, T * D);
  *at++ = (float)smft__dot(ctx, w, w, V * D);
  free(x), free(w), free(logits), free(scale);
  return at - out;
}

START_TEST(test_threads) {
  int64_t room = T * V + 11 * T * D + 2 * V * D + 10000, n = 0;
  float *out[3];
  for (int t = 0; t < 3; t++) {
    smft_ctx *ctx = nn_context(t + 1);
    out[t] = calloc((size_t)room, sizeof(float));
    n = run_all(ctx, out[t]);
    ck_assert(n <= room);
    ck_assert(!memcmp(out[t], out[0], (size_t)n * sizeof(float)));
    smft_ctx_free(ctx);
  }
  for (int t = 0; t < 3; t++)
    free(out[t]);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("nn_layers");
  TCase *tests = tcase_create("layers");
  tcase_add_test(tests, test_linear);
  tcase_add_test(tests, test_linear_halves);
  tcase_add_test(tests, test_norm);
  tcase_add_test(tests, test_norm_halves);
  tcase_add_loop_test(tests, test_glu, 2 * SMFT__CPU_PORTABLE, 2 * (SMFT__CPU_AVX512 + 1));
  tcase_add_test(tests, test_rope);
  tcase_add_test(tests, test_rope_neighbours);
  tcase_add_test(tests, test_rope_magnitude);
  tcase_add_test(tests, test_embedding);
  tcase_add_test(tests, test_loss);
  tcase_add_test(tests, test_loss_extremes);
  tcase_add_test(tests, test_divergence);
  tcase_add_test(tests, test_threads);
  tcase_set_timeout(tests, 120);
  suite_add_tcase(suite, tests);
  return suite;
}
