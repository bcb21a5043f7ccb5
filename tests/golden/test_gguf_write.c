/* gguf_write: models exported as GGUF: bit for bit what the package gguf made of the same weights
 * (make_gguf.py), loaded back with the same logits, from Hugging Face and from GGUF; element types,
 * patches, tokenizers; what is refused, and the old file that stays.  llama.cpp itself:
 * check_llama_cpp.py. */
#include "failing.h"
#include "files.h"

#include "base/alloc.h"
#include "data/gguf.h"
#include "data/safetensors.h"
#include "model/model.h"

static smft_ctx *ctx;
static void set_up(void) { ck_ok(smft_ctx_create(&ctx, NULL)); }
static void tear_down(void) { smft_ctx_free(ctx); }

static const struct twin { /* of one model; as plain files and by the package gguf */
  const char *plain, *gguf;
} twins[] = {
    {"tests/golden/network_qwen2", "tests/golden/gguf_qwen2.gguf"},
    {"tests/golden/network_qwen3", "tests/golden/gguf_qwen3.gguf"},
    {"tests/golden/network_gemma3", "tests/golden/gguf_gemma3.gguf"},
    {"tests/golden/network_mistral", "tests/golden/gguf_mistral.gguf"},
    {"tests/golden/network_linear", "tests/golden/gguf_linear.gguf"},
    {"tests/golden/network_llama3", "tests/golden/gguf_llama3.gguf"},
};
enum { TWINS = sizeof twins / sizeof *twins, TOKENS = 24, MOST = 1 << 16 };

static smft_model *load(const char *path) {
  smft_model *model = NULL;
  ck_ok(smft_model_load(&model, ctx, path, NULL));
  return model;
}

/* Of Gemma 3 llama.cpp takes the scale of attention from the size of heads, which the fixture's is
 * not: a copy that is. */
static smft_model *load_plain(const char *directory) {
  char command[2048];
  if (!strstr(directory, "gemma3"))
    return load(test_source(directory));
  snprintf(command, sizeof command,
           "mkdir -p '%s' && cp '%s'/model.safetensors '%s' && "
           "sed 's/\"query_pre_attn_scalar\": 9/\"query_pre_attn_scalar\": 6/' '%s'/config.json > "
           "'%s'/config.json",
           test_file("gemma3"), test_source(directory), test_file("gemma3"), test_source(directory),
           test_file("gemma3"));
  ck_assert_int_eq(system(command), 0);
  return load(test_file("gemma3"));
}

static smft_status export_as(const smft_model *model, smft_patch *patch, int32_t dtype,
                             const char *path) {
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  options.format = SMFT_FORMAT_GGUF;
  options.dtype = dtype;
  return smft_model_export(model, patch, path, &options);
}

static float *logits_of(const smft_model *model, smft_patch *patch) {
  int32_t ids[TOKENS];
  int64_t n = (int64_t)TOKENS * model->config.vocab;
  float *logits = malloc((size_t)n * sizeof *logits);
  smft_session *session = NULL;
  for (int32_t i = 0; i < TOKENS; i++)
    ids[i] = (7 * i + i * i) % model->config.vocab;
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_session_feed(session, ids, TOKENS, SMFT_LOGITS_ALL, logits, n));
  smft_session_free(session);
  return logits;
}

/* The file that was written computes what model + patch does. */
static void check_logits(const smft_model *model, smft_patch *patch, const char *path,
                         double most) {
  smft_model *back = load(path);
  float *a = logits_of(model, patch), *b = logits_of(back, NULL);
  double distance = test_distance(a, b, (int64_t)TOKENS * model->config.vocab);
  ck_assert_msg(distance <= most, "%s: %g", path, distance);
  free(a);
  free(b);
  smft_model_free(back);
}

/* ---- against the package gguf -------------------------------------------- */

static void check_tensor(const smft__gguf_tensor *a, const smft__gguf_tensor *b) {
  ck_assert_msg(a != NULL, "%s was not written", b->name);
  ck_assert_str_eq(a->type->name, b->type->name);
  ck_assert_int_eq(a->n_dims, b->n_dims);
  ck_assert_mem_eq(a->dims, b->dims, sizeof(int64_t) * (size_t)a->n_dims);
  ck_assert_msg(memcmp(a->data, b->data, (size_t)a->bytes) == 0, "%s: other bits", a->name);
}

START_TEST(every_bit_is_gguf_s) {
  const struct twin *twin = &twins[_i];
  const char *path = test_file("made.gguf");
  size_t sizes[2];
  smft__gguf a = {0}, b = {0};
  smft_model *model = load_plain(twin->plain);
  ck_ok(export_as(model, NULL, 0, path));
  char *files[2] = {test_read(path, &sizes[0]), test_read(test_source(twin->gguf), &sizes[1])};
  ck_ok(smft__gguf_read(&a, ctx, files[0], (int64_t)sizes[0], "made"));
  ck_ok(smft__gguf_read(&b, ctx, files[1], (int64_t)sizes[1], "gguf's"));
  ck_assert_int_eq(a.n_tensors, b.n_tensors);
  for (int64_t i = 0; i < b.n_tensors; i++)
    check_tensor(smft__gguf_find_tensor(&a, b.tensors[i].name), &b.tensors[i]);
  smft__gguf_free(&a);
  smft__gguf_free(&b);
  free(files[0]);
  free(files[1]);
  smft_model_free(model);
}
END_TEST

/* ---- and back ------------------------------------------------------------ */

/* In GGUF's order pairs lie elsewhere: sums of scores are in another order. */
START_TEST(comes_back_as_it_was) {
  const char *path = test_file("there.gguf"), *again = test_file("again.gguf");
  smft_model *model = load_plain(twins[_i].plain);
  ck_ok(export_as(model, NULL, 0, path));
  check_logits(model, NULL, path, 2e-6);
  smft_model *gguf = load(path);
  ck_ok(export_as(gguf, NULL, 0, again)); /* rows do not turn twice */
  check_logits(gguf, NULL, again, 0);
  smft_model *twice = load(again);
  ck_assert_str_eq(smft_model_hash(gguf), smft_model_hash(twice));
  smft_model_free(twice);
  smft_model_free(gguf);
  smft_model_free(model);
}
END_TEST

static smft_patch *make_lora(smft_model *model) {
  static const int32_t ids[] = {1, 5, 2, 7, 3, 9, 4, 11};
  static const int64_t length = 8;
  smft_patch *patch = NULL;
  smft_learner *learner = NULL;
  smft_optimizer *optimizer = NULL;
  smft_optimizer_options how = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_batch batch = SMFT_BATCH_INIT;
  how.kind = SMFT_OPTIMIZER_ADAMW;
  how.lr = 0.01;
  batch.ids = ids;
  batch.lengths = &length;
  batch.n_sequences = 1;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_LORA));
  ck_ok(smft_optimizer_create(&optimizer, ctx, &how));
  ck_ok(smft_learner_create(&learner, model, patch, NULL, optimizer, NULL));
  for (int i = 0; i < 3; i++)
    ck_ok(smft_learner_step_batch(learner, &batch, NULL));
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  return patch;
}

START_TEST(a_patch_is_merged) {
  const char *path = test_file("merged.gguf");
  smft_model *model = load_plain(twins[_i].plain);
  smft_patch *patch = make_lora(model), *full = NULL;
  ck_ok(export_as(model, patch, SMFT_DTYPE_F32, path));
  check_logits(model, patch, path, 1e-5);
  ck_ok(smft_patch_merge(&full, patch));
  ck_ok(export_as(model, full, SMFT_DTYPE_F32, path));
  check_logits(model, full, path, 2e-6);
  smft_patch_free(full);
  smft_patch_free(patch);
  smft_model_free(model);
}
END_TEST

/* ---- element types ------------------------------------------------------- */

static int32_t dtype_of(const smft_model *model, const char *wanted) {
  const char *name = NULL;
  int32_t dtype = 0;
  for (int64_t i = 0; smft_model_tensor(model, i, &name, &dtype, NULL) == SMFT_OK; i++)
    if (strcmp(name, wanted) == 0)
      return dtype;
  return -1;
}

#define UP "model.layers.0.mlp.up_proj.weight"
#define DOWN "model.layers.0.mlp.down_proj.weight"
#define NORM "model.norm.weight"

static smft_model *stories(void) { /* rows of 64; of 172 in "down" */
  const char *path = test_shared("models/stories260K");
  return path ? load(path) : NULL;
}

START_TEST(types_are_as_asked) {
  static const int32_t types[][2] = {{SMFT_DTYPE_F32, SMFT_DTYPE_F32},
                                     {SMFT_DTYPE_F16, SMFT_DTYPE_F16},
                                     {SMFT_DTYPE_BF16, SMFT_DTYPE_BF16},
                                     {SMFT_DTYPE_Q8_0, SMFT_DTYPE_F16}};
  smft_model *model = stories();
  for (int i = 0; model && i < 4; i++) {
    ck_ok(export_as(model, NULL, types[i][0], test_file("typed.gguf")));
    check_logits(model, NULL, test_file("typed.gguf"), i ? 0.05 : 2e-6);
    smft_model *back = load(test_file("typed.gguf"));
    ck_assert_int_eq(dtype_of(back, UP), types[i][0]);
    ck_assert_int_eq(dtype_of(back, DOWN), types[i][1]);
    ck_assert_int_eq(dtype_of(back, NORM), SMFT_DTYPE_F32);
    smft_model_free(back);
  }
  smft_model_free(model);
}
END_TEST

/* A patch on a model in blocks: what it does not change stays bit for bit, the rest is BF16; on the
 * twin that is not in blocks it is refused by the base's hash. */
START_TEST(blocks_stay_and_take_patches) {
  smft_model *model = stories(), *blocks = NULL;
  smft_patch *patch = NULL, *back = NULL;
  if (!model)
    return;
  ck_ok(export_as(model, NULL, SMFT_DTYPE_Q8_0, test_file("blocks.gguf")));
  blocks = load(test_file("blocks.gguf"));
  ck_ok(export_as(blocks, NULL, 0, test_file("same.gguf")));
  smft_model *same = load(test_file("same.gguf"));
  ck_assert_str_eq(smft_model_hash(blocks), smft_model_hash(same));
  patch = make_lora(blocks);
  ck_ok(smft_patch_save(patch, test_file("adapter"), 0));
  ck_ok(smft_patch_load(&back, same, test_file("adapter")));
  smft_patch_free(back);
  ck_status(smft_patch_load(&back, model, test_file("adapter")), SMFT_E_MISMATCH);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "hash"));
  ck_ok(export_as(blocks, patch, 0, test_file("merged.gguf")));
  check_logits(blocks, patch, test_file("merged.gguf"), 0.05);
  smft_model *merged = load(test_file("merged.gguf"));
  ck_assert_int_eq(dtype_of(merged, UP), SMFT_DTYPE_BF16);
  ck_assert_int_eq(dtype_of(merged, "model.embed_tokens.weight"), SMFT_DTYPE_Q8_0);
  smft_model_free(merged);
  smft_patch_free(patch);
  smft_model_free(same);
  smft_model_free(blocks);
  smft_model_free(model);
}
END_TEST

/* ---- tokenizers ---------------------------------------------------------- */

START_TEST(the_tokenizer_comes_along) {
  static const char text[] =
      "Once upon a time, there was a caf\xC3\xA9 \xF0\x9F\x98\x80  \n\tLily's.";
  smft_model *model = stories(), *back = NULL;
  int32_t a[256], b[256];
  int64_t n = 0, m = 0;
  if (!model)
    return;
  ck_ok(export_as(model, NULL, 0, test_file("words.gguf")));
  back = load(test_file("words.gguf"));
  ck_ok(smft_tokenizer_encode(smft_model_tokenizer(model), text, sizeof text - 1,
                              SMFT_ENCODE_SPECIAL, a, 256, &n));
  ck_ok(smft_tokenizer_encode(smft_model_tokenizer(back), text, sizeof text - 1,
                              SMFT_ENCODE_SPECIAL, b, 256, &m));
  ck_assert(n == m && n > 20);
  ck_assert_mem_eq(a, b, sizeof *a * (size_t)n);
  smft_model_free(back);
  smft_model_free(model);
}
END_TEST

/* ---- refusals ------------------------------------------------------------ */

static void check_refused(const char *model_path, const char *path, smft_status wanted,
                          const char *word) {
  smft_model *model = load(test_source(model_path));
  ck_status(export_as(model, NULL, 0, path), wanted);
  ck_assert_msg(strstr(smft_error_message(), word) != NULL, "%s", smft_error_message());
  smft_model_free(model);
}

START_TEST(what_a_gguf_cannot_have_is_refused) {
  const char *path = test_file("refused.gguf");
  check_refused("tests/golden/network_beside", path, SMFT_E_UNSUPPORTED, "memory");
  check_refused("tests/golden/network_qwen2_window", path, SMFT_E_UNSUPPORTED, "windows");
  check_refused("tests/golden/network_gemma3", path, SMFT_E_UNSUPPORTED, "query_pre_attn_scalar");
  check_refused("tests/golden/network_yarn", path, SMFT_E_UNSUPPORTED, "truncate");
  check_refused("tests/golden/network_smollm3", path, SMFT_E_UNSUPPORTED, "no_rope_layers");
  check_refused("tests/golden/network_qwen2", test_file(""), SMFT_E_INVALID, "directory");
  ck_assert_int_ne(access(path, F_OK), 0);
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  smft_model *model = load(test_source("tests/golden/network_qwen2"));
  options.dtype = SMFT_DTYPE_Q8_0; /* not for Hugging Face */
  ck_status(smft_model_export(model, NULL, path, &options), SMFT_E_INVALID);
  options.format = 3;
  ck_status(smft_model_export(model, NULL, path, &options), SMFT_E_INVALID);
  ck_status(export_as(model, NULL, SMFT_DTYPE_Q4_0, path), SMFT_E_INVALID);
  smft_model_free(model);
}
END_TEST

static int32_t stop_soon(void *user, const char *stage, int64_t done, int64_t total) {
  ck_assert_str_eq(stage, "saving");
  ck_assert(done <= total);
  return ++*(int *)user == 3;
}

START_TEST(cancelled_leaves_the_old_file) {
  smft_model *model = load(test_source("tests/golden/network_qwen2"));
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  const char *path = test_write("old.gguf", "old", 3);
  int calls = 0;
  options.format = SMFT_FORMAT_GGUF;
  options.progress = stop_soon;
  options.progress_user = &calls;
  ck_status(smft_model_export(model, NULL, path, &options), SMFT_E_CANCELLED);
  size_t size = 0;
  char *old = test_read(path, &size);
  ck_assert_uint_eq(size, 3);
  free(old);
  smft_model_free(model);
}
END_TEST

/* Each allocation of an export fails once: nothing is written, nothing is lost. */
START_TEST(every_failing_allocation_is_told) {
  static const char *const models[] = {"tests/golden/network_llama3", "models/stories260K"};
  failing state = {0};
  smft_ctx *own = failing_ctx(&state, 1);
  const char *directory = _i ? test_shared(models[1]) : test_source(models[0]);
  smft_model *model = NULL;
  smft_patch *lora = NULL;
  smft_status status = SMFT_E_NOMEM;
  long long k = 0, live;
  if (!directory) {
    smft_ctx_free(own);
    return;
  }
  ck_ok(smft_model_load(&model, own, directory, NULL));
  ck_ok(smft_patch_create(&lora, model, SMFT_PATCH_LORA));
  live = state.live;
  for (k = 1; status == SMFT_E_NOMEM; k++) {
    state.fail_at = state.calls + k;
    status = export_as(model, lora, SMFT_DTYPE_F16, test_file("failed.gguf"));
    ck_assert(status == SMFT_OK || (status == SMFT_E_NOMEM && state.live == live));
    ck_assert_int_eq(access(test_file("failed.gguf"), F_OK) == 0, status == SMFT_OK);
  }
  ck_ok(status);
  ck_assert_int_gt(k, 20);
  unlink(test_file("failed.gguf"));
  smft_patch_free(lora);
  smft_model_free(model);
  smft_ctx_free(own);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("gguf_write");
  TCase *c = tcase_create("files");
  test_directory_make();
  tcase_add_checked_fixture(c, set_up, tear_down);
  tcase_add_loop_test(c, every_bit_is_gguf_s, 0, TWINS);
  tcase_add_loop_test(c, comes_back_as_it_was, 0, TWINS);
  tcase_add_loop_test(c, a_patch_is_merged, 0, TWINS);
  tcase_add_test(c, types_are_as_asked);
  tcase_add_test(c, blocks_stay_and_take_patches);
  tcase_add_test(c, the_tokenizer_comes_along);
  tcase_add_test(c, what_a_gguf_cannot_have_is_refused);
  tcase_add_test(c, cancelled_leaves_the_old_file);
  tcase_add_loop_test(c, every_failing_allocation_is_told, 0, 2);
  suite_add_tcase(suite, c);
  return suite;
}
