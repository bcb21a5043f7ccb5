/* network: gradients of the whole stack against central differences of the naive forward pass in
 * double. */
#include "naive_network.h"

#include "base/rng.h"

#define MOST NAIVE_MOST
#define CHECKED 12 /* entries of each tensor */

/* ---- the comparison ------------------------------------------------------ */

/* Weights large enough for every gradient to be seen. */
static void fill_patch(smft_patch *patch, smft__rng *rng) {
  for (int32_t i = 0; i < patch->model->n_tensors; i++) {
    const smft__tensor *tensor = &patch->model->tensors[i];
    double scale = tensor->n_dims > 1 ? 1.5 / sqrt((double)tensor->shape[tensor->n_dims - 1]) : 0.3;
    double shift = strstr(patch->model->names[i], "norm.weight") ? 1 : 0;
    for (int64_t j = 0; j < smft__tensor_count(tensor); j++)
      patch->full[i][j] = (float)(shift + scale * smft__rng_normal(rng));
  }
}

static naive make_naive(const smft_patch *patch) {
  naive net = {patch->model, calloc((size_t)patch->model->n_tensors, sizeof(double *))};
  for (int32_t i = 0; i < patch->model->n_tensors; i++) {
    int64_t n = smft__tensor_count(&patch->model->tensors[i]);
    net.w[i] = malloc((size_t)n * sizeof(double));
    for (int64_t j = 0; j < n; j++)
      net.w[i][j] = (double)patch->full[i][j];
  }
  return net;
}

static void check_tensor(const naive *net, const smft__sequences *batch, int32_t i,
                         const float *gradient, smft__rng *rng) {
  int64_t n = smft__tensor_count(&net->model->tensors[i]);
  double scale = 1e-2;
  for (int64_t j = 0; j < n; j++)
    scale = fmax(scale, fabs((double)gradient[j]));
  for (int k = 0; k < CHECKED; k++) {
    int64_t j = k == 0 ? 0 : smft__rng_below(rng, n);
    double kept = net->w[i][j], h = 1e-6;
    net->w[i][j] = kept + h;
    double above = naive_loss(net, batch);
    net->w[i][j] = kept - h;
    double below = naive_loss(net, batch);
    net->w[i][j] = kept;
    double wanted = (above - below) / (2 * h);
    ck_assert_msg(fabs((double)gradient[j] - wanted) <= 5e-5 * scale,
                  "%s[%lld]: got %.8g, differences give %.8g (scale %g)", net->model->names[i],
                  (long long)j, (double)gradient[j], wanted, scale);
  }
}

static void check_all(const smft_model *model, smft_patch *patch, const smft__sequences *batch,
                      smft__rng *rng) {
  smft__tape *tape = NULL;
  naive net = make_naive(patch);
  float **tensors = calloc((size_t)model->n_tensors, sizeof *tensors);
  smft__grads grads = {.tensors = tensors};
  double loss = 0;
  for (int32_t i = 0; i < model->n_tensors; i++)
    tensors[i] = calloc((size_t)smft__tensor_count(&model->tensors[i]), sizeof **tensors);
  ck_ok(smft__tape_create(&tape, model));
  ck_ok(smft__network_forward(tape, smft__patch_current(patch), batch, 1, &loss, NULL));
  ck_assert_double_eq_tol(loss, naive_loss(&net, batch), 1e-5);
  ck_ok(smft__network_backward(tape, smft__patch_current(patch), &grads, NULL));
  for (int32_t i = 0; i < model->n_tensors; i++)
    check_tensor(&net, batch, i, tensors[i], rng);
  /* only now: every check runs the whole network */
  for (int32_t i = 0; i < model->n_tensors; i++) {
    free(tensors[i]);
    free(net.w[i]);
  }
  smft__tape_free(tape);
  free(tensors);
  free(net.w);
}

#define GEMMA3                                                                                     \
  "\"model_type\": \"gemma3_text\", \"head_dim\": 6, \"sliding_window\": 3, "                      \
  "\"sliding_window_pattern\": 2, \"query_pre_attn_scalar\": 9, \"rope_local_base_freq\": 50"

static const struct {
  tiny shape;
  const char *family; /* NULL: Llama */
} models[] = {
    {{8, 20, 0, 0}, NULL},
    {{8, 20, 1, 1}, NULL},
    {{6, 24, 0, 2}, NULL},
    {{8, 20, 1, 1}, "\"model_type\": \"mistral\", \"sliding_window\": 4"},
    {{8, 20, 0, 2}, "\"model_type\": \"smollm3\", \"no_rope_layers\": [0, 1, 0]"},
    {{6, 24, 1, 0},
     "\"model_type\": \"qwen2\", \"use_sliding_window\": true, \"sliding_window\": 3, "
     "\"max_window_layers\": 1"},
    {{8, 20, 1, 1}, "\"model_type\": \"qwen3\", \"head_dim\": 6"},
    {{8, 20, 0, 2}, GEMMA3},
    {{8, 20, 1, 1}, GEMMA3},
    {{6, 24, 1, 0}, GEMMA3},
};
enum { N_MODELS = sizeof models / sizeof *models };

START_TEST(differences) {
  smft_ctx *ctx = NULL;
  smft_patch *patch = NULL;
  smft__rng rng;
  int32_t ids[MOST];
  float weights[MOST];
  int64_t offsets[] = {0, 9, 10, 24};
  smft__sequences batch = {ids, offsets, 3, 24, weights};
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_model *model = tiny_model_of(ctx, "tiny", models[_i].shape, models[_i].family, 5);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_FULL));
  smft__rng_seed(&rng, 100 + (uint64_t)_i);
  fill_patch(patch, &rng);
  for (int i = 0; i < 24; i++) {
    ids[i] = (int32_t)smft__rng_below(&rng, TINY_VOCAB);
    weights[i] = (float)smft__rng_below(&rng, 3);
  }
  check_all(model, patch, &batch, &rng);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("grad network");
  TCase *tests = tcase_create("network");
  test_directory_make();
  tcase_add_loop_test(tests, differences, 0, N_MODELS);
  suite_add_tcase(suite, tests);
  return suite;
}
