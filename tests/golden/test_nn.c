/* test_nn: the kernels of lib/nn against PyTorch's results in nn.safetensors (made by make_nn.py).
 */
#include "test.h"
#include "data/safetensors.h"
#include "nn/attention.h"
#include "nn/embedding.h"
#include "nn/ffn.h"
#include "nn/linear.h"
#include "nn/loss.h"
#include "nn/norm.h"
#include "nn/rope.h"

static smft_ctx *ctx;
static smft__source file;
static float y[16384], z[16384], u[16384];

static void set_up(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_ok(smft__safetensors_open(&file, ctx, test_source("tests/golden/nn.safetensors"), 0));
}

static void tear_down(void) {
  smft__source_close(&file);
  smft_ctx_free(ctx);
}

static const smft__tensor *get(const char *name) {
  int64_t at = smft__source_find(&file, name);
  ck_assert_msg(at >= 0, "%s is not in the fixture", name);
  return &file.tensors[at];
}

static const float *values(const char *name) { return get(name)->data; }

static void check(const float *got, const char *name) {
  double distance = test_distance(got, values(name), smft__tensor_count(get(name)));
  ck_assert_msg(distance < 2e-6, "%s differs by %g of its scale", name, distance);
}

static void integers(const char *name, int32_t *to) {
  for (int64_t i = 0; i < smft__tensor_count(get(name)); i++)
    to[i] = (int32_t)values(name)[i];
}

START_TEST(test_linear) {
  smft__linear_forward(ctx, get("linear.w"), get("linear.b"), values("linear.x"), 21, y);
  check(y, "linear.y");
  smft__linear_backward_input(ctx, get("linear.w"), values("linear.dy"), 21, y, 0);
  check(y, "linear.dx");
  memset(y, 0, sizeof y), memset(z, 0, sizeof z);
  smft__linear_backward_weight(ctx, values("linear.x"), values("linear.dy"), 21, 40, 35, y, z);
  check(y, "linear.dw"), check(z, "linear.db");
}
END_TEST

START_TEST(test_norm) {
  float inv_rms[11];
  smft__rmsnorm_forward(ctx, get("norm.w"), SMFT__NORM_BY_WEIGHT, 1e-5f, values("norm.x"), 11, 72,
                        y, inv_rms);
  check(y, "norm.y");
  memset(y, 0, sizeof y), memset(z, 0, sizeof z);
  smft__rmsnorm_backward(ctx, get("norm.w"), SMFT__NORM_BY_WEIGHT, values("norm.x"), inv_rms,
                         values("norm.dy"), 11, 72, y, z);
  check(y, "norm.dx"), check(z, "norm.dw");
}
END_TEST

START_TEST(test_swiglu) {
  smft__swiglu_forward(ctx, values("swiglu.gate"), values("swiglu.up"), 300, y);
  check(y, "swiglu.act");
  smft__swiglu_backward(ctx, values("swiglu.gate"), values("swiglu.up"), values("swiglu.d_act"),
                        300, y, z);
  check(y, "swiglu.d_gate"), check(z, "swiglu.d_up");
}
END_TEST

enum { TOKENS = 70, HEADS = 4, KV_HEADS = 2, DIM = 12 };

static void rotated(const char *name, int32_t heads, float *to) {
  double frequency[DIM / 2];
  smft__rope_table rope = {DIM, SMFT__PAIRS_HALVES, 1, frequency};
  int32_t positions[TOKENS];
  smft__rope_frequencies(frequency, DIM, 5000);
  for (int32_t t = 0; t < TOKENS; t++)
    positions[t] = t;
  memcpy(to, values(name), (size_t)(TOKENS * heads * DIM) * sizeof *to);
  smft__rope(ctx, to, positions, TOKENS, heads, DIM, &rope, 0);
}

static void rotated_back(float *gradient, int32_t heads) {
  double frequency[DIM / 2];
  smft__rope_table rope = {DIM, SMFT__PAIRS_HALVES, 1, frequency};
  int32_t positions[TOKENS];
  smft__rope_frequencies(frequency, DIM, 5000);
  for (int32_t t = 0; t < TOKENS; t++)
    positions[t] = t;
  smft__rope(ctx, gradient, positions, TOKENS, heads, DIM, &rope, 1);
}

START_TEST(test_attention) {
  enum { MOST = TOKENS * HEADS * DIM };
  static float out[MOST], log_sum[TOKENS * HEADS], dq[MOST], dk[MOST], dv[MOST];
  rotated("attention.q", HEADS, y), rotated("attention.k", KV_HEADS, z);
  check(y, "attention.rq");
  smft__segment segment = {y, z, values("attention.v"), out, log_sum, 0, TOKENS, 0, 0, NULL, NULL};
  smft__segment_grad grad = {values("attention.d_out"), dq, dk, dv};
  float *scratch =
      malloc((size_t)smft__attention_scratch(ctx, HEADS, KV_HEADS, DIM, TOKENS) * sizeof *scratch);
  smft__attention_shape shape = {HEADS, KV_HEADS, DIM, 0, 1.0f / sqrtf(DIM)};
  smft__attention_forward(ctx, &shape, &segment, 1, scratch);
  check(out, "attention.out"), check(log_sum, "attention.log_sum");
  smft__attention_backward(ctx, &shape, &segment, &grad, 1, scratch);
  rotated_back(dq, HEADS), rotated_back(dk, KV_HEADS);
  check(dq, "attention.dq"), check(dk, "attention.dk"), check(dv, "attention.dv");
  free(scratch);
}
END_TEST

START_TEST(test_loss) {
  int32_t targets[9];
  float nll[9];
  double kl[9];
  integers("loss.targets", targets);
  smft__nll_rows(ctx, values("loss.logits"), targets, 9, 130, nll);
  check(nll, "loss.nll");
  memcpy(y, values("loss.logits"), 9 * 130 * sizeof *y);
  smft__nll_rows_backward(ctx, y, targets, values("loss.scale"), 9, 130, nll);
  check(nll, "loss.nll"), check(y, "loss.d_logits");
  smft__kl_rows(ctx, values("loss.logits"), values("loss.other"), 9, 130, kl);
  for (int i = 0; i < 9; i++)
    u[i] = (float)kl[i];
  check(u, "loss.kl");
}
END_TEST

START_TEST(test_embedding) {
  int32_t ids[50];
  integers("embedding.ids", ids);
  smft__embedding_forward(ctx, get("embedding.table"), ids, 50, 1, y);
  check(y, "embedding.y");
  memset(y, 0, sizeof y);
  smft__embedding_backward(ctx, ids, values("embedding.dy"), 50, 20, 1, y);
  check(y, "embedding.d_table");
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("nn");
  TCase *tests = tcase_create("against PyTorch");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_test(tests, test_linear);
  tcase_add_test(tests, test_norm);
  tcase_add_test(tests, test_swiglu);
  tcase_add_test(tests, test_attention);
  tcase_add_test(tests, test_loss);
  tcase_add_test(tests, test_embedding);
  suite_add_tcase(suite, tests);
  return suite;
}
