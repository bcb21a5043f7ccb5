/* quant_model: models whose matrices are in blocks, beside the same models with those decoded to
 * f32: loss, gradients of adapters and of value rows, logits of sessions, full patches, export;
 * what may not be in blocks is refused by name; scales that are not finite are reported. */
#include "blocks.h"
#include "files.h"

#include "data/safetensors.h"
#include "model/lora.h"
#include "model/network.h"
#include "model/weights.h"
#include "nn/integer.h"

enum { D = 256, VOCAB = 40, TOKENS = 24, SLOTS = 64 };

/* ---- two models ---------------------------------------------------------- */

/* Every row of a matrix is a multiple of 256. */
static void write_config(void) {
  static const char text[] =
      "{\"model_type\": \"llama\", \"hidden_size\": 256, \"num_hidden_layers\": 2, "
      "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"intermediate_size\": 512, "
      "\"vocab_size\": 40, \"rms_norm_eps\": 1e-5, \"max_position_embeddings\": 64, "
      "\"tie_word_embeddings\": true, \"bos_token_id\": 0, "
      "\"memory\": {\"layers\": [1], \"pools\": [0], \"placement\": \"beside\", \"n_keys\": 8, "
      "\"heads\": 2, \"top_k\": 4, \"key_dim\": 16, \"value_dim\": 256, \"query_norm\": "
      "\"layernorm\", \"key_norm\": \"none\", \"gate\": true, \"bias\": true}}";
  mkdir(test_file("q"), 0700);
  test_write("q/config.json", text, sizeof text - 1);
}

typedef struct world {
  smft_ctx *ctx;
  smft_model *model; /* its matrices are in blocks, or were */
  void *made[64];    /* (n_tensors) what its tensors point to; NULL: the model's own */
} world;

static int in_blocks(const smft_model *model, int32_t i) {
  return model->tensors[i].n_dims == 2 &&
         smft__params[model->origin[i].line].scope != SMFT__OF_POOL;
}

/* The same numbers whether they are decoded or not.  flags: SMFT_CTX_* */
static world open_world_with(int32_t dtype, int decode, uint32_t flags) {
  world w = {0};
  smft__rng rng;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.flags = flags;
  write_config();
  ck_ok(smft_ctx_create(&w.ctx, &options));
  ck_ok(smft_model_init(&w.model, w.ctx, test_file("q"), 5));
  ck_assert_int_le(w.model->n_tensors, 64);
  smft__rng_seed(&rng, 17);
  for (int32_t i = 0; i < w.model->n_tensors; i++) {
    smft__tensor *tensor = &w.model->tensors[i];
    int64_t n = smft__tensor_count(tensor);
    if (!in_blocks(w.model, i))
      continue;
    w.made[i] = random_blocks(&rng, dtype, n, 1 / sqrt((double)tensor->shape[1]), 0);
    tensor->data = w.made[i], tensor->dtype = dtype;
    if (!decode)
      continue;
    float *values = malloc((size_t)n * sizeof *values);
    smft__tensor_to_f32(tensor, 0, n, values);
    free(w.made[i]);
    tensor->data = w.made[i] = values, tensor->dtype = SMFT__F32;
  }
  return w;
}

static world open_world(int32_t dtype, int decode) { return open_world_with(dtype, decode, 0); }

static void close_world(world *w) {
  int32_t n = w->model->n_tensors;
  smft_model_free(w->model);
  for (int32_t i = 0; i < n; i++)
    free(w->made[i]);
  smft_ctx_free(w->ctx);
}

static const int64_t offsets[] = {0, 9, 10, TOKENS};
static int32_t ids[TOKENS];

static smft__sequences batch(void) {
  for (int i = 0; i < TOKENS; i++)
    ids[i] = (i * 7 + i / 5) % VOCAB;
  return (smft__sequences){ids, offsets, 3, TOKENS, NULL};
}

static void ck_close(const float *got, const float *wanted, int64_t n, double tolerance,
                     const char *what) {
  double scale = 1e-6;
  for (int64_t i = 0; i < n; i++)
    scale = fmax(scale, fabs((double)wanted[i]));
  for (int64_t i = 0; i < n; i++)
    ck_assert_msg(fabs((double)got[i] - (double)wanted[i]) <= tolerance * scale,
                  "%s[%lld]: %g, with f32 %g (scale %g)", what, (long long)i, (double)got[i],
                  (double)wanted[i], scale);
}

/* ---- training ------------------------------------------------------------ */

static double run(const world *w, smft_patch *patch, const smft__grads *grads) {
  smft__sequences sequences = batch();
  smft__tape *tape = NULL;
  double loss = 0;
  ck_ok(smft__tape_create(&tape, w->model));
  ck_ok(smft__network_forward(tape, smft__patch_current(patch), &sequences, SMFT__KEEP_ALL, &loss,
                              NULL));
  ck_ok(smft__network_backward(tape, smft__patch_current(patch), grads, NULL));
  smft__tape_free(tape);
  return loss;
}

/* Factors at random, and room for their gradients. */
static smft_patch *adapters(const world *w, float **gradient) {
  smft_patch *patch = NULL;
  smft__rng rng;
  ck_ok(smft_patch_create(&patch, w->model, SMFT_PATCH_LORA));
  smft__rng_seed(&rng, 18);
  for (int32_t i = 0; i < 2 * patch->lora->n; i++) {
    smft__tensor part = smft__lora_part(patch->lora, i);
    int64_t n = smft__tensor_count(&part);
    for (int64_t j = 0; j < n; j++)
      patch->lora->parts[i][j] = (float)(0.05 * smft__rng_normal(&rng));
    gradient[i] = calloc((size_t)n, sizeof **gradient);
  }
  return patch;
}

START_TEST(adapters_learn_on_blocks) {
  world w[2] = {open_world(block_types[_i], 0), open_world(block_types[_i], 1)};
  smft_patch *patch[2];
  float *gradient[2][64];
  double loss[2];
  for (int j = 0; j < 2; j++) {
    patch[j] = adapters(&w[j], gradient[j]);
    loss[j] = run(&w[j], patch[j], &(smft__grads){.adapters = gradient[j]});
  }
  ck_assert_double_eq_tol(loss[0], loss[1], 1e-5);
  for (int32_t i = 0; i < 2 * patch[0]->lora->n; i++) {
    smft__tensor part = smft__lora_part(patch[0]->lora, i);
    ck_close(gradient[0][i], gradient[1][i], smft__tensor_count(&part), 2e-5, "gradient");
    free(gradient[0][i]), free(gradient[1][i]);
  }
  for (int j = 0; j < 2; j++)
    smft_patch_free(patch[j]), close_world(&w[j]);
}
END_TEST

START_TEST(slots_learn_on_blocks) {
  world w[2] = {open_world(block_types[_i], 0), open_world(block_types[_i], 1)};
  smft__rows rows[2];
  double loss[2];
  for (int j = 0; j < 2; j++) {
    smft_patch *patch = NULL;
    smft__rows *all[] = {&rows[j]};
    ck_ok(smft_patch_create(&patch, w[j].model, SMFT_PATCH_SLOTS));
    smft__rows_init(&rows[j], w[j].ctx, D);
    ck_ok(smft__rows_reserve(&rows[j], SLOTS));
    for (int64_t slot = 0; slot < SLOTS; slot++)
      smft__rows_add(&rows[j], slot);
    smft__rows_zero(&rows[j]);
    loss[j] = run(&w[j], patch, &(smft__grads){.rows = all});
    smft_patch_free(patch);
  }
  ck_assert_double_eq_tol(loss[0], loss[1], 1e-5);
  ck_close(rows[0].values, rows[1].values, SLOTS * D, 2e-5, "gradient");
  for (int j = 0; j < 2; j++)
    smft__rows_free(&rows[j]), close_world(&w[j]);
}
END_TEST

/* ---- inference, whole patches, export ------------------------------------ */

/* After a prompt of some tokens, then of one at a time. */
static void logits_of(const smft_model *model, smft_patch *patch, float logits[2][VOCAB]) {
  smft_session *session = NULL;
  batch();
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_session_feed(session, ids, 12, SMFT_LOGITS_LAST, logits[0], VOCAB));
  for (int i = 12; i < TOKENS; i++)
    ck_ok(smft_session_feed(session, ids + i, 1, SMFT_LOGITS_LAST, logits[1], VOCAB));
  smft_session_free(session);
}

START_TEST(sessions_read_blocks) {
  world w[2] = {open_world(block_types[_i], 0), open_world(block_types[_i], 1)};
  float logits[3][2][VOCAB];
  smft_patch *full = NULL;
  for (int j = 0; j < 2; j++)
    logits_of(w[j].model, NULL, logits[j]);
  ck_close(logits[0][0], logits[1][0], 2 * VOCAB, 1e-5, "logit");
  ck_ok(smft_patch_create(&full, w[0].model, SMFT_PATCH_FULL)); /* that is: in f32 */
  logits_of(w[0].model, full, logits[2]);
  ck_assert_mem_eq(logits[2], logits[1], sizeof logits[1]);
  smft_patch_free(full);
  for (int j = 0; j < 2; j++)
    close_world(&w[j]);
}
END_TEST

/* A long prompt is read as ever; what follows in whole numbers is as good as the same. */
START_TEST(sessions_in_whole_numbers) {
  world w[2] = {open_world(block_types[_i], 0),
                open_world_with(block_types[_i], 0, SMFT_CTX_INTEGER)};
  float logits[2][2][VOCAB];
  for (int j = 0; j < 2; j++)
    logits_of(w[j].model, NULL, logits[j]);
  ck_assert(test_distance(logits[1][1], logits[0][1], VOCAB) < 3e-4);
  if (smft__integer())
    ck_assert_mem_ne(logits[1][1], logits[0][1], sizeof logits[0][1]);
  for (int j = 0; j < 2; j++)
    close_world(&w[j]);
}
END_TEST

START_TEST(tensors_are_read_out) {
  world w[2] = {open_world(block_types[_i], 0), open_world(block_types[_i], 1)};
  const char *name;
  int32_t dtype;
  int64_t n;
  for (int32_t i = 0; smft_model_tensor(w[0].model, i, &name, &dtype, &n) == SMFT_OK; i++) {
    float *values[2] = {malloc((size_t)n * 4), malloc((size_t)n * 4)};
    ck_assert_int_eq(dtype, in_blocks(w[0].model, i) ? block_types[_i] : SMFT_DTYPE_F32);
    for (int j = 0; j < 2; j++)
      ck_ok(smft_model_tensor_values(w[j].model, NULL, i, values[j], n));
    ck_assert_msg(memcmp(values[0], values[1], (size_t)n * 4) == 0, "%s", name);
    free(values[0]), free(values[1]);
  }
  for (int j = 0; j < 2; j++)
    close_world(&w[j]);
}
END_TEST

/* Types of the exported tensors are as asked, or bf16 for blocks. */
static void check_export(const world *w, smft_patch *patch, int32_t dtype, const char *word) {
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  smft_model *copy = NULL;
  options.dtype = dtype;
  ck_ok(smft_model_export(w->model, patch, test_file("out"), &options));
  ck_ok(smft_model_load(&copy, w->ctx, test_file("out"), NULL));
  for (int32_t i = 0; i < copy->n_tensors; i++) {
    int changed =
        patch && in_blocks(w->model, i) && smft__params[w->model->origin[i].line].lora != 0;
    int32_t expected = in_blocks(w->model, i) && !changed ? SMFT__BF16 : SMFT__F32;
    ck_assert_int_eq(copy->tensors[i].dtype, dtype ? dtype : expected);
  }
  char *text = test_read(test_file("out/config.json"), NULL);
  ck_assert_ptr_nonnull(strstr(text, word));
  free(text);
  smft_model_free(copy);
}

START_TEST(export_has_no_blocks) {
  world w = open_world(block_types[_i], 0);
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  smft_patch *patch = NULL;
  check_export(&w, NULL, 0, "\"bfloat16\"");
  check_export(&w, NULL, SMFT_DTYPE_F32, "\"float32\"");
  check_export(&w, NULL, SMFT_DTYPE_F16, "\"float16\"");
  ck_ok(smft_patch_create(&patch, w.model, SMFT_PATCH_LORA));
  check_export(&w, patch, 0, "\"bfloat16\"");
  options.dtype = block_types[_i];
  ck_status(smft_model_export(w.model, NULL, test_file("out"), &options), SMFT_E_INVALID);
  smft__save_tensor one = {"x", w.model->tensors[0], block_types[_i]};
  ck_status(smft__safetensors_write(w.ctx, test_file("x"), &one, 1, NULL, NULL, 0, NULL, NULL),
            SMFT_E_INVALID);
  smft_patch_free(patch);
  close_world(&w);
}
END_TEST

/* ---- what is refused ----------------------------------------------------- */

/* The model's own tensors as if a file had them, the one of this name as `given`. */
static smft_status bind(world *w, const char *name, smft__tensor given) {
  smft_model *model = w->model;
  char *names[64];
  smft__tensor tensors[64];
  for (int32_t i = 0; i < model->n_tensors; i++) {
    names[i] = model->names[i];
    tensors[i] = strcmp(names[i], name) == 0 ? given : model->tensors[i];
  }
  smft__source none = model->source;
  model->source = (smft__source){.ctx = w->ctx, .n = model->n_tensors};
  model->source.names = names;
  model->source.tensors = tensors;
  smft_status status = smft__weights_bind(model);
  smft__free(w->ctx, model->source.used);
  model->source = none;
  return status;
}

static const struct {
  const char *name, *says;
} refused[] = {
    {"model.norm.weight", "tensor model.norm.weight: expected F32, F16 or BF16, found Q"},
    {"model.layers.0.input_layernorm.weight", "expected F32, F16 or BF16, found Q"},
    {"model.layers.1.memory.query.bias", "expected F32, F16 or BF16, found Q"},
    {"model.layers.1.memory.keys", "model.layers.1.memory.keys: expected F32, F16 or BF16"},
    {"model.memory_pools.0.values", "model.memory_pools.0.values: expected F32, F16 or BF16"},
};

START_TEST(only_matrices_are_in_blocks) {
  world w = open_world(block_types[_i], 0);
  static const char any[1 << 20];
  for (size_t r = 0; r < sizeof refused / sizeof *refused; r++) {
    int32_t i = 0;
    while (strcmp(w.model->names[i], refused[r].name) != 0)
      ck_assert_int_lt(++i, w.model->n_tensors);
    smft__tensor given = w.model->tensors[i];
    given.data = any, given.dtype = block_types[_i];
    ck_status(bind(&w, refused[r].name, given), SMFT_E_MISMATCH);
    ck_assert_msg(strstr(smft_error_message(), refused[r].says), "%s", smft_error_message());
  }
  smft__tensor given = w.model->tensors[0];
  given.shape[1] -= 16;
  ck_status(bind(&w, w.model->names[0], given), SMFT_E_MISMATCH);
  ck_assert_msg(strstr(smft_error_message(), "numbers for Q"), "%s", smft_error_message());
  ck_assert_msg(strstr(smft_error_message(), "found 240"), "%s", smft_error_message());
  ck_ok(bind(&w, "", given));
  close_world(&w);
}
END_TEST

START_TEST(scales_that_are_not_finite) {
  world w = open_world(block_types[_i], 0);
  smft_session *session = NULL;
  float logits[VOCAB];
  int32_t embed = w.model->config.stack.at[SMFT__EMBED].tensor;
  memset((char *)w.made[embed] + smft__row_bytes(block_types[_i], 3 * D), 0xff,
         (size_t)smft__row_bytes(block_types[_i], D)); /* token 3 */
  batch();
  ck_ok(smft_session_create(&session, w.model, NULL, NULL));
  for (int64_t n = 1; n <= 8; n += 7)
    ck_status(smft_session_feed(session, ids, n, SMFT_LOGITS_LAST, logits, VOCAB),
              SMFT_E_NONFINITE);
  ck_assert_int_eq(smft_session_length(session), 0);
  smft_session_free(session);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("quant_model");
  TCase *tests = tcase_create("models");
  test_directory_make();
  tcase_add_loop_test(tests, adapters_learn_on_blocks, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, slots_learn_on_blocks, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, sessions_read_blocks, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, sessions_in_whole_numbers, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, tensors_are_read_out, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, export_has_no_blocks, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, only_matrices_are_in_blocks, 0, N_BLOCK_TYPES);
  tcase_add_loop_test(tests, scales_that_are_not_finite, 0, N_BLOCK_TYPES);
  suite_add_tcase(suite, tests);
  return suite;
}
