/* gguf: a model from GGUF is the model that its safetensors twin is (make_gguf.py): the same
 * tensors by the same names, logits, gradients, adapters in PEFT's layout, and exported as it was;
 * files in parts, in memory, in directories; what is refused. */
#include "files.h"

#include "base/alloc.h"
#include "data/safetensors.h"
#include "model/network.h"
#include "model/order.h"

static const struct twin {
  const char *gguf, *safetensors, *lora;
  int same_bits;   /* 0: sums of scores are in another order, or the numbers are not the same */
  int same_values; /* 0: Gemma's norms, whose 1 takes bits from them */
} twins[] = {
    {"tests/golden/gguf_qwen2.gguf", "tests/golden/network_qwen2", "tests/golden/lora_qwen2", 1, 1},
    {"tests/golden/gguf_qwen3.gguf", "tests/golden/network_qwen3", "tests/golden/lora_qwen3", 1, 1},
    {"tests/golden/gguf_gemma3.gguf", "tests/golden/network_gemma3", "tests/golden/lora_gemma3", 0,
     0},
};
enum { TWINS = sizeof twins / sizeof *twins, TOKENS = 24, MOST = 1 << 16 };

typedef struct pair {
  smft_ctx *ctx;
  smft_model *gguf, *plain;
} pair;

static pair open_pair(int i) {
  pair p = {0};
  ck_ok(smft_ctx_create(&p.ctx, NULL));
  ck_ok(smft_model_load(&p.gguf, p.ctx, test_source(twins[i].gguf), NULL));
  ck_ok(smft_model_load(&p.plain, p.ctx, test_source(twins[i].safetensors), NULL));
  return p;
}

static void close_pair(pair *p) {
  smft_model_free(p->gguf);
  smft_model_free(p->plain);
  smft_ctx_free(p->ctx);
}

static void check_same(const float *a, const float *b, int64_t n, int exact, const char *what) {
  double distance = test_distance(a, b, n);
  ck_assert_msg(exact ? memcmp(a, b, (size_t)n * sizeof *a) == 0 : distance < 2e-6, "%s: %g", what,
                distance);
}

/* ---- what it is ---------------------------------------------------------- */

static void check_values(const pair *p, smft_patch *left, smft_patch *right, int exact) {
  static float a[MOST], b[MOST];
  const char *name = NULL, *other = NULL;
  int64_t n = 0, m = 0;
  for (int64_t i = 0; smft_model_tensor(p->plain, i, &name, NULL, &n) == SMFT_OK; i++) {
    ck_ok(smft_model_tensor(p->gguf, i, &other, NULL, &m));
    ck_assert_str_eq(name, other);
    ck_assert(n == m && n <= MOST);
    ck_ok(smft_model_tensor_values(p->gguf, left, i, a, MOST));
    ck_ok(smft_model_tensor_values(p->plain, right, i, b, MOST));
    check_same(a, b, n, exact, name);
  }
}

START_TEST(sizes_and_tensors_are_the_same) {
  pair p = open_pair(_i);
  smft_model_info a = SMFT_MODEL_INFO_INIT, b = SMFT_MODEL_INFO_INIT;
  ck_ok(smft_model_get_info(p.gguf, &a));
  ck_ok(smft_model_get_info(p.plain, &b));
  ck_assert_mem_eq(&a, &b, sizeof a);
  ck_assert(p.gguf->config.norm_eps == p.plain->config.norm_eps);
  ck_assert_int_eq(strcmp(smft_model_hash(p.gguf), smft_model_hash(p.plain)) == 0,
                   twins[_i].same_bits); /* the same numbers in another order are another model */
  check_values(&p, NULL, NULL, twins[_i].same_values);
  close_pair(&p);
}
END_TEST

/* ---- what it computes ---------------------------------------------------- */

static void make_ids(const smft_model *model, int32_t ids[TOKENS]) {
  for (int32_t i = 0; i < TOKENS; i++)
    ids[i] = (7 * i + i * i) % model->config.vocab;
}

static float *logits_of(const smft_model *model, smft_patch *patch) {
  int32_t ids[TOKENS];
  int64_t n = (int64_t)TOKENS * model->config.vocab;
  float *logits = malloc((size_t)n * sizeof *logits);
  smft_session *session = NULL;
  make_ids(model, ids);
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_session_feed(session, ids, TOKENS, SMFT_LOGITS_ALL, logits, n));
  smft_session_free(session);
  return logits;
}

static void check_logits(const pair *p, smft_patch *left, smft_patch *right, int exact) {
  float *a = logits_of(p->gguf, left), *b = logits_of(p->plain, right);
  check_same(a, b, (int64_t)TOKENS * p->plain->config.vocab, exact, "logits");
  free(a);
  free(b);
}

START_TEST(logits_are_the_same) {
  pair p = open_pair(_i);
  check_logits(&p, NULL, NULL, twins[_i].same_bits);
  close_pair(&p);
}
END_TEST

/* Of every tensor of a full patch, in the model's own order. */
static float **gradients(smft_model *model) {
  int32_t ids[TOKENS];
  int64_t offsets[2] = {0, TOKENS};
  double loss = 0;
  smft_patch *patch = NULL;
  smft__tape *tape = NULL;
  float **grads = calloc((size_t)model->n_tensors, sizeof *grads);
  make_ids(model, ids);
  for (int32_t i = 0; i < model->n_tensors; i++)
    grads[i] = calloc((size_t)smft__tensor_count(&model->tensors[i]), sizeof **grads);
  smft__sequences batch = {ids, offsets, 1, TOKENS, NULL};
  smft__grads all = {.tensors = grads};
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_FULL));
  ck_ok(smft__tape_create(&tape, model));
  ck_ok(smft__network_forward(tape, patch, &batch, 1, &loss, NULL));
  ck_ok(smft__network_backward(tape, patch, &all, NULL));
  smft__tape_free(tape);
  smft_patch_free(patch);
  return grads;
}

START_TEST(gradients_are_the_same) {
  pair p = open_pair(_i);
  float **a = gradients(p.gguf), **b = gradients(p.plain);
  for (int32_t i = 0; i < p.plain->n_tensors; i++) {
    const smft__tensor *tensor = &p.plain->tensors[i];
    int64_t n = smft__tensor_count(tensor);
    smft__order_to_hf(p.gguf, i, a[i], n / tensor->shape[0] * (int64_t)sizeof **a);
    check_same(a[i], b[i], n, twins[_i].same_bits, p.plain->names[i]);
    free(a[i]);
    free(b[i]);
  }
  free(a);
  free(b);
  close_pair(&p);
}
END_TEST

/* ---- adapters ------------------------------------------------------------ */

static void check_files(smft_ctx *ctx, const char *left, const char *right) {
  smft__source a, b;
  ck_ok(smft__safetensors_open(&a, ctx, left, 1));
  ck_ok(smft__safetensors_open(&b, ctx, right, 1));
  ck_assert_int_eq(a.n, b.n);
  for (int64_t i = 0; i < a.n; i++) {
    ck_assert_str_eq(a.names[i], b.names[i]);
    ck_assert_int_eq(smft__tensor_bytes(&a.tensors[i]), smft__tensor_bytes(&b.tensors[i]));
    ck_assert_mem_eq(a.tensors[i].data, b.tensors[i].data,
                     (size_t)smft__tensor_bytes(&a.tensors[i]));
  }
  smft__source_close(&a);
  smft__source_close(&b);
}

/* PEFT's adapter of the twin fits, computes the same, and is written as it was read. */
START_TEST(adapters_are_the_same) {
  pair p = open_pair(_i);
  smft_patch *left = NULL, *right = NULL;
  char path[256];
  ck_ok(smft_patch_load(&left, p.gguf, test_source(twins[_i].lora)));
  ck_ok(smft_patch_load(&right, p.plain, test_source(twins[_i].lora)));
  check_logits(&p, left, right, twins[_i].same_bits);
  check_values(&p, left, right, twins[_i].same_values);
  ck_ok(smft_patch_save(left, test_file("lora"), 0));
  snprintf(path, sizeof path, "%s/adapter_model.safetensors", twins[_i].lora);
  check_files(p.ctx, test_file("lora/adapter_model.safetensors"), test_source(path));
  smft_patch_free(left);
  ck_ok(smft_patch_load(&left, p.gguf, test_file("lora"))); /* and once more */
  check_values(&p, left, right, twins[_i].same_values);
  smft_patch_free(left);
  smft_patch_free(right);
  close_pair(&p);
}
END_TEST

/* ---- and back ------------------------------------------------------------ */

START_TEST(exported_it_is_the_twin) {
  pair p = open_pair(_i);
  smft_patch *patch = NULL;
  ck_ok(smft_model_export(p.gguf, NULL, test_file("exported"), NULL));
  smft_model_free(p.gguf);
  ck_ok(smft_model_load(&p.gguf, p.ctx, test_file("exported"), NULL));
  check_values(&p, NULL, NULL, twins[_i].same_values);
  check_logits(&p, NULL, NULL, twins[_i].same_values);
  ck_assert_int_eq(strcmp(smft_model_hash(p.gguf), smft_model_hash(p.plain)) == 0,
                   twins[_i].same_values);
  smft_model_free(p.gguf);
  ck_ok(smft_model_load(&p.gguf, p.ctx, test_source(twins[_i].gguf), NULL));
  ck_ok(smft_patch_load(&patch, p.gguf, test_source(twins[_i].lora)));
  ck_ok(smft_model_export(p.gguf, patch, test_file("exported"), NULL));
  smft_patch_free(patch);
  smft_model_free(p.gguf);
  ck_ok(smft_model_load(&p.gguf, p.ctx, test_file("exported"), NULL));
  ck_ok(smft_patch_load(&patch, p.plain, test_source(twins[_i].lora)));
  check_values(&p, NULL, patch, twins[_i].same_values);
  smft_patch_free(patch);
  close_pair(&p);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("gguf");
  TCase *tests = tcase_create("gguf");
  test_directory_make();
  tcase_add_loop_test(tests, sizes_and_tensors_are_the_same, 0, TWINS);
  tcase_add_loop_test(tests, logits_are_the_same, 0, TWINS);
  tcase_add_loop_test(tests, gradients_are_the_same, 0, TWINS);
  tcase_add_loop_test(tests, adapters_are_the_same, 0, TWINS);
  tcase_add_loop_test(tests, exported_it_is_the_twin, 0, TWINS);
  suite_add_tcase(suite, tests);
  return suite;
}
