/* memory layer: every gradient against central differences of the plain double forward (selection
 * held), and against PyTorch's autograd (golden/make_memory.py). */
#include "test.h"
#include "naive_memory.h"
#include "data/safetensors.h"

/* ---- differences --------------------------------------------------------- */

static double loss(naive_memory *m, const double *direction) {
  double sum = 0;
  naive_forward(m, 0);
  for (int64_t i = 0; i < m->n[P_X]; i++)
    sum += m->out[i] * direction[i];
  return sum;
}

static double difference(naive_memory *m, const double *direction, double *number) {
  double kept = *number, step = 1e-5, up, down;
  *number = kept + step;
  up = loss(m, direction);
  *number = kept - step;
  down = loss(m, direction);
  *number = kept;
  return (up - down) / (2 * step);
}

static void compare(naive_memory *m, const double *direction, int parameter, const float *gradient,
                    int config) {
  int64_t stride = m->n[parameter] > 60 ? m->n[parameter] / 60 : 1;
  /* some gradients are zero: a bias of all keys changes no softmax */
  double scale = 0.1, worst = 0;
  for (int64_t j = 0; j < m->n[parameter]; j++)
    scale = fabs((double)gradient[j]) > scale ? fabs((double)gradient[j]) : scale;
  for (int64_t j = 0; j < m->n[parameter]; j += stride) {
    double wanted = difference(m, direction, m->p[parameter] + j);
    double away = fabs((double)gradient[j] - wanted) / scale;
    worst = away > worst || isnan(away) ? away : worst;
  }
  ck_assert_msg(worst < 1e-4, "config %d parameter %d: off by %g of its largest", config, parameter,
                worst);
}

static void check_config(int config) {
  naive_memory m;
  smft__memory_tape tape;
  smft__memory_grads grads = {0};
  float *gradient[P_COUNT];
  smft_ctx *ctx = naive_ctx(2);
  naive_make(&m, naive_config(config), 5, (uint64_t)(30 + config));
  smft__memory_view weights = naive_weights(&m);
  void *block = naive_tape(&tape, ctx, &m.config, m.n_tokens, SMFT__TAPE_BACKWARD);
  float *out = malloc((size_t)m.n[P_X] * sizeof *out);
  float *d_out = malloc((size_t)m.n[P_X] * sizeof *d_out);
  double *direction = malloc((size_t)m.n[P_X] * sizeof *direction);
  for (int64_t i = 0; i < m.n[P_X]; i++)
    direction[i] = (double)(d_out[i] = (float)sin(1.0 + (double)i));
  for (int i = 0; i < P_COUNT; i++) {
    gradient[i] = calloc((size_t)m.n[i] + 1, sizeof(float));
    for (int64_t j = 0; j < m.n[i]; j++)
      gradient[i][j] = 0.5f; /* gradients are added to what is there */
    if (naive_grad(&grads, i) && m.n[i])
      *naive_grad(&grads, i) = gradient[i];
  }
  naive_forward(&m, 1);
  smft__memory_forward(ctx, &weights, m.f[P_X], m.n_tokens, &tape, out);
  smft__memory_backward(ctx, &weights, m.f[P_X], m.n_tokens, &tape, d_out, gradient[P_X], &grads);
  for (int i = 0; i < P_COUNT; i++) {
    for (int64_t j = 0; j < m.n[i]; j++)
      gradient[i][j] -= 0.5f;
    compare(&m, direction, i, gradient[i], config);
    free(gradient[i]);
  }
  free(out);
  free(d_out);
  free(direction);
  smft__free(ctx, block);
  naive_free(&m);
  smft_ctx_free(ctx);
}

START_TEST(differences) { check_config(_i); }
END_TEST

/* Each gradient asked for alone is the same as asked for with all others. */
START_TEST(one_at_a_time) {
  naive_memory m;
  smft__memory_tape tape;
  smft_ctx *ctx = naive_ctx(1);
  naive_make(&m, naive_config(_i), 9, 3);
  smft__memory_view weights = naive_weights(&m);
  void *block = naive_tape(&tape, ctx, &m.config, 9, SMFT__TAPE_BACKWARD);
  float *out = malloc((size_t)m.n[P_X] * sizeof *out);
  smft__memory_forward(ctx, &weights, m.f[P_X], 9, &tape, out);
  for (int i = 0; i < P_COUNT; i++) {
    float *alone = calloc((size_t)m.n[i] + 1, sizeof(float));
    float *with = calloc((size_t)m.n[i] + 1, sizeof(float));
    float *rest[P_COUNT];
    smft__memory_grads one = {0}, all = {0};
    for (int j = 0; j < P_COUNT; j++) {
      rest[j] = calloc((size_t)m.n[j] + 1, sizeof(float));
      if (naive_grad(&all, j) && m.n[j])
        *naive_grad(&all, j) = j == i ? with : rest[j];
    }
    if (naive_grad(&one, i) && m.n[i])
      *naive_grad(&one, i) = alone;
    smft__memory_backward(ctx, &weights, m.f[P_X], 9, &tape, out, i == P_X ? alone : NULL, &one);
    smft__memory_backward(ctx, &weights, m.f[P_X], 9, &tape, out, i == P_X ? with : rest[P_X],
                          &all);
    ck_assert_msg(!memcmp(alone, with, (size_t)m.n[i] * sizeof(float)), "parameter %d", i);
    for (int j = 0; j < P_COUNT; j++)
      free(rest[j]);
    free(alone);
    free(with);
  }
  free(out);
  smft__free(ctx, block);
  naive_free(&m);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- PyTorch ------------------------------------------------------------- */

static smft__source file;

static smft__tensor find(int example, const char *name) {
  char full[64];
  smft__tensor absent = {0};
  snprintf(full, sizeof full, "%d.%s", example, name);
  int64_t index = smft__source_find(&file, full);
  return index < 0 ? absent : file.tensors[index];
}

static void same(int example, const char *name, const float *got, double tolerance) {
  smft__tensor wanted = find(example, name);
  if (!wanted.data)
    return;
  int64_t n = smft__tensor_count(&wanted);
  float *numbers = malloc((size_t)n * sizeof *numbers);
  smft__tensor_to_f32(&wanted, 0, n, numbers);
  double distance = 0, scale = 0.1;
  for (int64_t i = 0; i < n; i++) {
    double away = fabs((double)got[i] - (double)numbers[i]);
    if (!(away <= distance))
      distance = away;
    scale = fabs((double)numbers[i]) > scale ? fabs((double)numbers[i]) : scale;
  }
  ck_assert_msg(distance <= tolerance * scale, "example %d %s: %g of %g", example, name, distance,
                scale);
  free(numbers);
}

static smft__memory_view example_weights(int example) {
  smft__memory_view w = {0};
  float numbers[12];
  smft__tensor config = find(example, "config");
  ck_assert_ptr_nonnull(config.data);
  smft__tensor_to_f32(&config, 0, 12, numbers);
  w.config = (smft__memory_config){(int32_t)numbers[0],
                                   (int32_t)numbers[1],
                                   (int32_t)numbers[2],
                                   (int32_t)numbers[3],
                                   (int32_t)numbers[4],
                                   (int32_t)numbers[5],
                                   (int32_t)numbers[6],
                                   (int32_t)numbers[7],
                                   (int32_t)numbers[8],
                                   (int32_t)numbers[9],
                                   numbers[10],
                                   numbers[11],
                                   0};
  w.at[SMFT__M_QUERY] = find(example, "query_w");
  w.at[SMFT__M_QUERY_BIAS] = find(example, "query_b");
  w.at[SMFT__M_GATE] = find(example, "gate_w");
  w.at[SMFT__M_GATE_BIAS] = find(example, "gate_b");
  w.at[SMFT__M_OUT] = find(example, "out_w");
  w.at[SMFT__M_OUT_BIAS] = find(example, "out_b");
  w.at[SMFT__M_KEYS] = find(example, "keys");
  w.at[SMFT__M_QUERY_NORM] = find(example, "query_norm_w");
  w.at[SMFT__M_QUERY_NORM_BIAS] = find(example, "query_norm_b");
  w.at[SMFT__M_KEY_NORM] = find(example, "key_norm_w");
  w.at[SMFT__M_KEY_NORM_BIAS] = find(example, "key_norm_b");
  w.pool.base = find(example, "values");
  w.pool.n_slots = (int64_t)w.config.n_keys * w.config.n_keys;
  w.pool.value_dim = w.config.value_dim;
  return w;
}

START_TEST(pytorch) {
  static const char *const names[P_COUNT] = {
      "query_w.grad",    "query_b.grad",      "gate_w.grad",
      "gate_b.grad",     "out_w.grad",        "out_b.grad",
      "keys.grad",       "query_norm_w.grad", "query_norm_b.grad",
      "key_norm_w.grad", "key_norm_b.grad",   "values.grad",
      "x.grad"};
  smft_ctx *ctx = naive_ctx(2);
  smft__memory_tape tape;
  smft__memory_grads grads = {0};
  float *gradient[P_COUNT];
  ck_ok(smft__safetensors_open(&file, ctx, test_source("tests/golden/memory.safetensors"), 1));
  smft__memory_view weights = example_weights(_i);
  smft__tensor x = find(_i, "x"), d_out = find(_i, "d_out"), slots = find(_i, "slots");
  int64_t n_tokens = x.shape[0], size = smft__tensor_count(&x);
  float *out = malloc((size_t)size * sizeof *out);
  for (int i = 0; i < P_COUNT; i++) {
    smft__tensor wanted = find(_i, names[i]);
    gradient[i] = calloc(wanted.data ? (size_t)smft__tensor_count(&wanted) : 1, sizeof(float));
    if (naive_grad(&grads, i) && wanted.data)
      *naive_grad(&grads, i) = gradient[i];
  }
  void *block = naive_tape(&tape, ctx, &weights.config, n_tokens, SMFT__TAPE_BACKWARD);
  smft__memory_forward(ctx, &weights, x.data, n_tokens, &tape, out);
  smft__memory_backward(ctx, &weights, x.data, n_tokens, &tape, d_out.data, gradient[P_X], &grads);
  ck_assert_mem_eq(tape.slots, slots.data, (size_t)smft__tensor_count(&slots) * sizeof(int64_t));
  same(_i, "weights", tape.weights, 1e-5);
  same(_i, "out", out, 1e-5);
  for (int i = 0; i < P_COUNT; i++) {
    same(_i, names[i], gradient[i], 2e-5);
    free(gradient[i]);
  }
  free(out);
  smft__free(ctx, block);
  smft__source_close(&file);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("memory gradients");
  TCase *cases = tcase_create("layer");
  tcase_set_timeout(cases, 60);
  tcase_add_loop_test(cases, differences, 0, NAIVE_CONFIGS);
  tcase_add_loop_test(cases, one_at_a_time, 0, NAIVE_CONFIGS);
  tcase_add_loop_test(cases, pytorch, 0, 4);
  suite_add_tcase(suite, cases);
  return suite;
}
