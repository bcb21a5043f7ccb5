/* test_nn_attention: forward against a naive double pass, with and without a past and a window;
 * backward against differences of it; segments side by side; the same bits for 1, 2 and 3 threads,
 * and for a window that holds all. */
#include "nn_check.h"
#include "nn/attention.h"

typedef struct problem { /* one segment, with its inputs in double too */
  int64_t n_past, n_q, heads, kv_heads, dim, window;
  float *q, *k, *v, *out, *log_sum, *d_out, *dq, *dk, *dv;
  double *wide_q, *wide_k, *wide_v, *wide_out;
} problem;

static problem of_shape(const int64_t *shape) {
  problem p;
  memset(&p, 0, sizeof p);
  p.n_past = shape[0], p.n_q = shape[1], p.heads = shape[2], p.kv_heads = shape[3];
  p.dim = shape[4], p.window = shape[5];
  return p;
}

static int64_t q_size(const problem *p) { return p->n_q * p->heads * p->dim; }
static int64_t k_size(const problem *p) { return (p->n_past + p->n_q) * p->kv_heads * p->dim; }

static void make(problem *p, smft__rng *rng) {
  p->q = nn_numbers(rng, q_size(p)), p->k = nn_numbers(rng, k_size(p)),
  p->v = nn_numbers(rng, k_size(p));
  p->out = nn_numbers(rng, q_size(p)), p->d_out = nn_numbers(rng, q_size(p)),
  p->log_sum = nn_numbers(rng, p->n_q * p->heads);
  p->dq = nn_numbers(rng, q_size(p)), p->dk = nn_numbers(rng, k_size(p)),
  p->dv = nn_numbers(rng, k_size(p));
  p->wide_q = nn_doubles(p->q, q_size(p)), p->wide_k = nn_doubles(p->k, k_size(p)),
  p->wide_v = nn_doubles(p->v, k_size(p));
  p->wide_out = nn_doubles(p->out, q_size(p));
}

static void drop(problem *p) {
  free(p->q), free(p->k), free(p->v), free(p->out), free(p->log_sum), free(p->d_out), free(p->dq),
      free(p->dk), free(p->dv);
  free(p->wide_q), free(p->wide_k), free(p->wide_v), free(p->wide_out);
}

/* One query of one head. */
static void naive_row(const problem *p, int64_t i, int64_t h) {
  int64_t group = p->heads / p->kv_heads, n = p->n_past + i + 1;
  int64_t first = p->window && n > p->window ? n - p->window : 0;
  const double *q = p->wide_q + (i * p->heads + h) * p->dim;
  double *out = p->wide_out + (i * p->heads + h) * p->dim;
  double *weight = calloc((size_t)n, sizeof *weight), most = -1e300, sum = 0;
  for (int64_t j = first; j < n; j++) {
    const double *k = p->wide_k + (j * p->kv_heads + h / group) * p->dim;
    for (int64_t c = 0; c < p->dim; c++)
      weight[j] += q[c] * k[c] / sqrt((double)p->dim);
    most = weight[j] > most ? weight[j] : most;
  }
  memset(out, 0, (size_t)p->dim * sizeof *out);
  for (int64_t j = first; j < n; j++)
    sum += weight[j] = exp(weight[j] - most);
  for (int64_t j = first; j < n; j++)
    for (int64_t c = 0; c < p->dim; c++)
      out[c] += weight[j] / sum * p->wide_v[(j * p->kv_heads + h / group) * p->dim + c];
  free(weight);
}

static double naive(const void *arg) {
  const problem *p = arg;
  for (int64_t i = 0; i < p->n_q; i++)
    for (int64_t h = 0; h < p->heads; h++)
      naive_row(p, i, h);
  return nn_inner(p->d_out, p->wide_out, q_size(p));
}

static smft__segment segment_of(const problem *p) {
  return (smft__segment){p->q, p->k, p->v, p->out, p->log_sum, p->n_past, p->n_q, 0, 0, NULL, NULL};
}

static smft__attention_shape shape_of(const problem *p) {
  return (smft__attention_shape){(int32_t)p->heads, (int32_t)p->kv_heads, (int32_t)p->dim,
                                 (int32_t)p->window, 1.0f / sqrtf((float)p->dim)};
}

static float *scratch_for(const smft_ctx *ctx, const problem *p, int64_t longest) {
  return calloc((size_t)smft__attention_scratch(ctx, (int32_t)p->heads, (int32_t)p->kv_heads,
                                                (int32_t)p->dim, longest),
                sizeof(float));
}

static void forward(smft_ctx *ctx, const problem *p) {
  smft__segment segment = segment_of(p);
  float *scratch = scratch_for(ctx, p, p->n_past + p->n_q);
  smft__attention_shape shape = shape_of(p);
  smft__attention_forward(ctx, &shape, &segment, 1, scratch);
  free(scratch);
}

static void backward(smft_ctx *ctx, const problem *p) {
  smft__segment segment = segment_of(p);
  smft__segment_grad grad = {p->d_out, p->dq, p->dk, p->dv};
  float *scratch = scratch_for(ctx, p, p->n_q);
  smft__attention_shape shape = shape_of(p);
  smft__attention_backward(ctx, &shape, &segment, &grad, 1, scratch);
  free(scratch);
}

/* n_past, n_q, heads, kv_heads, dim, window: lengths around the blocks of 64 queries and 256 keys
 */
static const int64_t shapes[][6] = {{0, 1, 1, 1, 2, 0},       {0, 13, 4, 2, 48, 0},
                                    {0, 64, 3, 1, 16, 0},     {0, 65, 2, 2, 6, 0},
                                    {17, 1, 9, 3, 64, 0},     {300, 1, 4, 1, 32, 0},
                                    {255, 3, 2, 1, 24, 0},    {0, 300, 2, 1, 10, 0},
                                    {250, 70, 2, 2, 12, 0},   {600, 129, 1, 1, 8, 0},
                                    {0, 13, 4, 2, 48, 1},     {0, 13, 4, 2, 48, 5},
                                    {0, 65, 2, 2, 6, 64},     {17, 1, 9, 3, 64, 17},
                                    {300, 1, 4, 1, 32, 40},   {300, 1, 4, 1, 32, 257},
                                    {0, 300, 2, 1, 10, 3},    {0, 300, 2, 1, 10, 299},
                                    {0, 300, 2, 1, 10, 300},  {250, 70, 2, 2, 12, 6},
                                    {600, 129, 1, 1, 8, 256}, {900, 129, 1, 1, 8, 500}};

START_TEST(test_forward) {
  if (smft__cpu_limit(_i) != _i)
    return;
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 1);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    problem p = of_shape(shapes[s]);
    make(&p, &rng);
    forward(ctx, &p);
    naive(&p);
    nn_close(p.out, p.wide_out, q_size(&p), 2e-6, "out");
    drop(&p);
  }
  smft_ctx_free(ctx);
}
END_TEST

/* Keys and values as bf16 at an odd address: the naive pass has the same rounded numbers. */
static void *rounded(float *x, double *wide, int64_t n) {
  char *half = malloc((size_t)(2 * n + 1));
  ck_assert_ptr_nonnull(half);
  smft__f32s_to_bf16(x, n, half + 1);
  for (int64_t i = 0; i < n; i++) {
    uint16_t bits;
    memcpy(&bits, half + 1 + 2 * i, sizeof bits);
    wide[i] = (double)smft__bf16_to_f32(bits);
  }
  return half;
}

START_TEST(test_forward_bf16) {
  if (smft__cpu_limit(_i) != _i)
    return;
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 7);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    problem p = of_shape(shapes[s]);
    make(&p, &rng);
    char *k = rounded(p.k, p.wide_k, k_size(&p)), *v = rounded(p.v, p.wide_v, k_size(&p));
    smft__segment segment = segment_of(&p);
    segment.k = k + 1, segment.v = v + 1, segment.kv_dtype = SMFT__BF16;
    float *scratch = scratch_for(ctx, &p, p.n_past + p.n_q);
    smft__attention_shape shape = shape_of(&p);
    smft__attention_forward(ctx, &shape, &segment, 1, scratch);
    naive(&p);
    nn_close(p.out, p.wide_out, q_size(&p), 2e-6, "out");
    free(scratch), free(k), free(v);
    drop(&p);
  }
  smft_ctx_free(ctx);
}
END_TEST

/* The past in a place of its own, shared: as one array, forward and (of the new rows) backward.  Of
 * backward the reference is a pass over all rows whose first n_past have no gradient. */
START_TEST(test_shared_past) {
  static const int64_t cases[][6] = {{7, 11, 4, 2, 6, 0},   {1, 1, 2, 1, 4, 0},
                                     {70, 65, 2, 1, 8, 0},  {300, 70, 2, 2, 12, 0},
                                     {256, 5, 2, 1, 8, 0},  {40, 30, 2, 1, 8, 20},
                                     {300, 70, 2, 1, 8, 90}};
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 11);
  for (size_t s = 0; s < sizeof cases / sizeof *cases; s++) {
    int64_t whole_shape[6];
    memcpy(whole_shape, cases[s], sizeof whole_shape);
    whole_shape[0] = 0;
    whole_shape[1] += cases[s][0];
    problem p = of_shape(cases[s]), whole = of_shape(whole_shape);
    make(&p, &rng);
    make(&whole, &rng);
    int64_t past_q = p.n_past * p.heads * p.dim, past_k = p.n_past * p.kv_heads * p.dim;
    int64_t own_k = k_size(&p) - past_k;
    memcpy(whole.q + past_q, p.q, (size_t)q_size(&p) * sizeof(float));
    memcpy(whole.k, p.k, (size_t)k_size(&p) * sizeof(float));
    memcpy(whole.v, p.v, (size_t)k_size(&p) * sizeof(float));
    memset(whole.d_out, 0, (size_t)past_q * sizeof(float));
    memcpy(whole.d_out + past_q, p.d_out, (size_t)q_size(&p) * sizeof(float));
    forward(ctx, &whole);
    backward(ctx, &whole);
    smft__segment segment = segment_of(&p);
    segment.k = p.k + past_k, segment.v = p.v + past_k;
    segment.past_k = p.k, segment.past_v = p.v;
    smft__segment_grad grad = {p.d_out, p.dq, p.dk, p.dv};
    float *scratch = scratch_for(ctx, &p, p.n_past + p.n_q);
    smft__attention_shape shape = shape_of(&p);
    smft__attention_forward(ctx, &shape, &segment, 1, scratch);
    smft__attention_backward(ctx, &shape, &segment, &grad, 1, scratch);
    ck_assert(test_distance(p.out, whole.out + past_q, q_size(&p)) < 2e-6);
    ck_assert(test_distance(p.dq, whole.dq + past_q, q_size(&p)) < 5e-6);
    ck_assert(test_distance(p.dk, whole.dk + past_k, own_k) < 5e-6);
    ck_assert(test_distance(p.dv, whole.dv + past_k, own_k) < 5e-6);
    free(scratch);
    drop(&p);
    drop(&whole);
  }
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(test_backward) {
  static const int64_t small[][6] = {{0, 1, 2, 1, 4, 0},  {0, 11, 4, 2, 6, 0}, {0, 19, 3, 3, 2, 0},
                                     {0, 70, 2, 1, 2, 0}, {0, 11, 4, 2, 6, 1}, {0, 19, 3, 3, 2, 4},
                                     {0, 70, 2, 1, 2, 9}, {0, 70, 2, 1, 2, 66}};
  smft_ctx *ctx = nn_context(2);
  smft__rng rng;
  smft__rng_seed(&rng, 2);
  for (size_t s = 0; s < sizeof small / sizeof *small; s++) {
    problem p = of_shape(small[s]);
    make(&p, &rng);
    forward(ctx, &p);
    backward(ctx, &p);
    nn_differences(naive, &p, p.wide_q, q_size(&p), p.dq, NULL, "dq");
    nn_differences(naive, &p, p.wide_k, k_size(&p), p.dk, NULL, "dk");
    nn_differences(naive, &p, p.wide_v, k_size(&p), p.dv, NULL, "dv");
    drop(&p);
  }
  smft_ctx_free(ctx);
}
END_TEST

/* Several blocks of keys: the gradient along random directions, since differences of every element
 * would take long. */
START_TEST(test_backward_long) {
  smft_ctx *ctx = nn_context(3);
  smft__rng rng;
  smft__rng_seed(&rng, 3);
  static const int64_t windows[] = {0, 30, 270};
  problem p = of_shape((const int64_t[]){0, 400, 2, 1, 4, windows[_i]});
  make(&p, &rng);
  forward(ctx, &p);
  backward(ctx, &p);
  double *inputs[] = {p.wide_q, p.wide_k, p.wide_v};
  float *gradients[] = {p.dq, p.dk, p.dv};
  for (int which = 0; which < 3; which++) {
    int64_t n = which ? k_size(&p) : q_size(&p);
    float *direction = nn_numbers(&rng, n);
    double slope = 0, above;
    for (int64_t i = 0; i < n; i++) {
      slope += (double)direction[i] * (double)gradients[which][i];
      inputs[which][i] += 1e-5 * (double)direction[i];
    }
    above = naive(&p);
    for (int64_t i = 0; i < n; i++)
      inputs[which][i] -= 2e-5 * (double)direction[i];
    ck_assert_double_eq_tol(slope, (above - naive(&p)) / 2e-5, 1e-4 * (1 + fabs(slope)));
    for (int64_t i = 0; i < n; i++)
      inputs[which][i] += 1e-5 * (double)direction[i];
    free(direction);
  }
  drop(&p);
  smft_ctx_free(ctx);
}
END_TEST

/* Everything that a call writes, for segments of different lengths in one call. */
static void run_together(smft_ctx *ctx, problem p[4]) {
  smft__segment segments[4];
  smft__segment_grad grads[4];
  float *scratch = scratch_for(ctx, &p[0], 200);
  for (int i = 0; i < 4; i++) {
    segments[i] = segment_of(&p[i]);
    grads[i] = (smft__segment_grad){p[i].d_out, p[i].dq, p[i].dk, p[i].dv};
  }
  smft__attention_shape shape = shape_of(&p[0]);
  smft__attention_forward(ctx, &shape, segments, 4, scratch);
  smft__attention_backward(ctx, &shape, segments, grads, 4, scratch);
  free(scratch);
}

START_TEST(test_segments_and_threads) {
  static const int64_t lengths[] = {5, 200, 1, 64}, windows[] = {0, 7, 1000};
  problem p[4][4];
  for (int t = 0; t < 4; t++) {
    smft_ctx *ctx = nn_context(t < 3 ? t + 1 : 1);
    smft__rng rng;
    smft__rng_seed(&rng, 4);
    for (int i = 0; i < 4; i++) {
      p[t][i] = of_shape((const int64_t[]){0, lengths[i], 4, 2, 24, windows[_i]});
      make(&p[t][i], &rng);
      if (t == 3) { /* one at a time */
        forward(ctx, &p[t][i]);
        backward(ctx, &p[t][i]);
      }
    }
    if (t < 3)
      run_together(ctx, p[t]);
    smft_ctx_free(ctx);
  }
  for (int i = 0; i < 4; i++) {
    size_t q = (size_t)q_size(&p[0][i]) * sizeof(float);
    size_t k = (size_t)k_size(&p[0][i]) * sizeof(float);
    for (int t = 1; t < 4; t++)
      ck_assert(!memcmp(p[t][i].out, p[0][i].out, q) && !memcmp(p[t][i].dq, p[0][i].dq, q) &&
                !memcmp(p[t][i].dk, p[0][i].dk, k) && !memcmp(p[t][i].dv, p[0][i].dv, k));
    for (int t = 0; t < 4; t++)
      drop(&p[t][i]);
  }
}
END_TEST

/* A window that holds all changes no bit. */
START_TEST(test_wide_window) {
  smft_ctx *ctx = nn_context(2);
  problem p[2];
  for (int i = 0; i < 2; i++) {
    smft__rng rng;
    smft__rng_seed(&rng, 6);
    p[i] = of_shape((const int64_t[]){0, 300, 4, 2, 24, i ? 300 : 0});
    make(&p[i], &rng);
    forward(ctx, &p[i]);
    backward(ctx, &p[i]);
  }
  size_t q = (size_t)q_size(&p[0]) * sizeof(float), k = (size_t)k_size(&p[0]) * sizeof(float);
  ck_assert(!memcmp(p[0].out, p[1].out, q) && !memcmp(p[0].dq, p[1].dq, q) &&
            !memcmp(p[0].dk, p[1].dk, k) && !memcmp(p[0].dv, p[1].dv, k));
  drop(&p[0]), drop(&p[1]);
  smft_ctx_free(ctx);
}
END_TEST

/* Scores far beyond exp's range: the running maximum keeps them apart. */
START_TEST(test_large_scores) {
  smft_ctx *ctx = nn_context(1);
  smft__rng rng;
  smft__rng_seed(&rng, 5);
  problem p = of_shape((const int64_t[]){500, 20, 1, 1, 8, 0});
  make(&p, &rng);
  for (int64_t i = 0; i < q_size(&p); i++)
    p.wide_q[i] = (double)(p.q[i] *= 300.0f);
  forward(ctx, &p);
  naive(&p);
  nn_close(p.out, p.wide_out, q_size(&p), 1e-3, "out");
  drop(&p);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("nn_attention");
  TCase *tests = tcase_create("attention");
  tcase_add_test(tests, test_shared_past);
  tcase_add_loop_test(tests, test_forward, SMFT__CPU_PORTABLE, SMFT__CPU_AVX512 + 1);
  tcase_add_loop_test(tests, test_forward_bf16, SMFT__CPU_PORTABLE, SMFT__CPU_AVX512 + 1);
  tcase_add_test(tests, test_backward);
  tcase_add_loop_test(tests, test_backward_long, 0, 3);
  tcase_add_loop_test(tests, test_segments_and_threads, 0, 3);
  tcase_add_test(tests, test_wide_window);
  tcase_add_test(tests, test_large_scores);
  tcase_set_timeout(tests, 120);
  suite_add_tcase(suite, tests);
  return suite;
}
