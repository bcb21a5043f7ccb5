/* gguf: a model from GGUF is the model that its safetensors twin is (make_gguf.py): the same
 * tensors by the same names, logits, gradients, adapters in PEFT's layout, and exported as it was;
 * files in parts, in memory, in directories; what is refused. */
#include "files.h"
#include "make_gguf.h"
#include <errno.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "data/safetensors.h"
#include "model/arch.h"
#include "model/network.h"
#include "model/order.h"

static const struct twin {
  const char *gguf, *safetensors, *lora;
  int same_bits;      /* 0: sums of scores are in another order, or the numbers are not the same */
  int same_values;    /* 0: Gemma's norms, whose 1 takes bits from them */
  const char *config; /* in place of the twin's own; NULL: that */
} twins[] = {
    {"tests/golden/gguf_qwen2.gguf", "tests/golden/network_qwen2", "tests/golden/lora_qwen2", 1, 1,
     NULL},
    {"tests/golden/gguf_qwen3.gguf", "tests/golden/network_qwen3", "tests/golden/lora_qwen3", 1, 1,
     NULL},
    {"tests/golden/gguf_gemma3.gguf", "tests/golden/network_gemma3", "tests/golden/lora_gemma3", 0,
     0, NULL},
    {"tests/golden/gguf_mistral.gguf", "tests/golden/network_mistral", "tests/golden/lora_mistral",
     0, 1, NULL},
    {"tests/golden/gguf_linear.gguf", "tests/golden/network_linear", NULL, 0, 1, NULL},
    {"tests/golden/gguf_llama3.gguf", "tests/golden/network_llama3", NULL, 0, 1, NULL},
    {"tests/golden/gguf_smollm3.gguf", "tests/golden/network_smollm3", NULL, 0, 1,
     "tests/golden/gguf_smollm3.json"},
    {"tests/golden/gguf_yarn.gguf", "tests/golden/network_yarn", NULL, 0, 1,
     "tests/golden/gguf_yarn.json"},
};
enum { ADAPTED = 4, TWINS = sizeof twins / sizeof *twins, TOKENS = 24, MOST = 1 << 16 };

typedef struct pair {
  smft_ctx *ctx;
  smft_model *gguf, *plain;
} pair;

/* The twin's directory; with another config, one of its weights and that. */
static const char *twin_path(int i) {
  char path[256];
  size_t size = 0;
  if (!twins[i].config)
    return test_source(twins[i].safetensors);
  ck_assert(mkdir(test_file("twin"), 0755) == 0 || errno == EEXIST);
  char *bytes = test_read(test_source(twins[i].config), &size);
  test_write("twin/config.json", bytes, size);
  free(bytes);
  snprintf(path, sizeof path, "%s/model.safetensors", twins[i].safetensors);
  bytes = test_read(test_source(path), &size);
  test_write("twin/model.safetensors", bytes, size);
  free(bytes);
  return test_file("twin");
}

static pair open_pair(int i) {
  pair p = {0};
  ck_ok(smft_ctx_create(&p.ctx, NULL));
  ck_ok(smft_model_load(&p.gguf, p.ctx, test_source(twins[i].gguf), NULL));
  ck_ok(smft_model_load(&p.plain, p.ctx, twin_path(i), NULL));
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
  ck_ok(smft__network_forward(tape, smft__patch_current(patch), &batch, 1, &loss, NULL));
  ck_ok(smft__network_backward(tape, smft__patch_current(patch), &all, NULL));
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

/* ---- how it is opened ---------------------------------------------------- */

START_TEST(in_memory_and_in_a_directory) {
  pair p = open_pair(0);
  smft_model *model = NULL;
  smft_load_options options = SMFT_LOAD_OPTIONS_INIT;
  size_t size = 0;
  char *bytes = test_read(test_source(twins[0].gguf), &size), command[2048];
  ck_ok(smft_model_load_buffer(&model, p.ctx, bytes, (int64_t)size, NULL));
  ck_assert_str_eq(smft_model_hash(model), smft_model_hash(p.gguf));
  smft_model_free(model);
  options.flags = SMFT_LOAD_COPY;
  ck_ok(smft_model_load_buffer(&model, p.ctx, bytes, (int64_t)size, &options));
  memset(bytes, 0, size);
  float *logits = logits_of(model, NULL), *wanted = logits_of(p.gguf, NULL);
  check_same(logits, wanted, (int64_t)TOKENS * model->config.vocab, 1, "logits of a copy");
  free(logits);
  free(wanted);
  free(bytes);
  smft_model_free(model);
  snprintf(command, sizeof command, "mkdir '%s' && cp '%s' '%s/a.gguf'", test_file("one"),
           test_source(twins[0].gguf), test_file("one"));
  ck_assert_int_eq(system(command), 0);
  ck_ok(smft_model_load(&model, p.ctx, test_file("one"), NULL));
  smft_model_free(model);
  test_write("one/b.gguf", "GGUF", 4);
  ck_status(smft_model_load(&model, p.ctx, test_file("one"), NULL), SMFT_E_UNSUPPORTED);
  ck_assert(strstr(smft_error_message(), "found 2") &&
            strstr(smft_error_message(), "a.gguf, b.gguf"));
  close_pair(&p);
}
END_TEST

/* A model of one block of width 4 and three ids, in so many parts; `lie` changes one thing. */
static void put_part(gguf_bytes *to, uint32_t part, uint32_t parts, uint64_t total, int lie) {
  static const char *const names[] = {"token_embd.weight",        "output_norm.weight",
                                      "blk.0.attn_norm.weight",   "blk.0.attn_q.weight",
                                      "blk.0.attn_k.weight",      "blk.0.attn_v.weight",
                                      "blk.0.attn_output.weight", "blk.0.ffn_norm.weight",
                                      "blk.0.ffn_gate.weight",    "blk.0.ffn_up.weight",
                                      "blk.0.ffn_down.weight"};
  uint32_t n = 11, begin = parts == 1 ? 0 : (part - 1) * 6;
  uint32_t end = parts == 1 || part == parts ? n : part * 6;
  put_header(to, 3, end - begin,
             (part == 1 ? 8u : 0) + (parts > 1 ? 3u : 0) + (lie == 1 || lie == 4));
  if (part == 1) {
    put_key_text(to, "general.architecture", lie == 2 ? "mamba" : "qwen2");
    put_key_u32(to, "qwen2.block_count", 1);
    put_key_u32(to, "qwen2.embedding_length", 4);
    put_key_u32(to, "qwen2.feed_forward_length", 4);
    put_key_u32(to, "qwen2.context_length", 16);
    put_key_u32(to, "qwen2.attention.head_count", 1);
    put_key_f32(to, "qwen2.attention.layer_norm_rms_epsilon", 1e-6f);
    put_key_text(to, "general.license", "mit");
  }
  if (lie == 1)
    put_key_u32(to, "qwen2.expert_count", 8);
  if (lie == 4)
    put_key_f32(to, "qwen2.rope.scaling.attn_factor", 1.5f);
  if (parts > 1) {
    put_key_u32(to, "split.no", part - 1);
    put_key_u32(to, "split.count", parts);
    put_key_u32(to, "split.tensors.count", (uint32_t)total);
  }
  for (uint32_t i = begin; i < end; i++) {
    int odd = lie == 3 && i == 10;
    put_tensor(to, names[i], odd ? 256 : 4,
               strstr(names[i], "norm") ? 0
               : odd                    ? 1
               : i                      ? 4
                                        : 3,
               odd ? 10 : 0, 64ull * (i - begin));
  }
  put_padding(to, 32);
  for (uint32_t i = 0; i < 16 * (end - begin) + 16; i++)
    put_u32(to, 0x3F800000);
}

static smft_status open_part(smft_ctx *ctx, const char *path, const char *says) {
  smft_model *model = NULL;
  smft_status status = smft_model_load(&model, ctx, path, NULL);
  ck_assert_msg(!model && strstr(smft_error_message(), says), "wanted \"%s\": %s", says,
                smft_error_message());
  return status;
}

/* The biases of Qwen2 are what is missing in the end: all parts have been read by then. */
START_TEST(parts_are_one_model) {
  smft_ctx *ctx = NULL;
  gguf_bytes made;
  const char *first = test_file("m-00001-of-00002.gguf");
  ck_ok(smft_ctx_create(&ctx, NULL));
  put_part(&made, 1, 2, 11, 0);
  test_write("m-00001-of-00002.gguf", made.bytes, made.size);
  ck_assert_int_eq(open_part(ctx, first, "part 2 of 2 is missing"), SMFT_E_NOT_FOUND);
  put_part(&made, 2, 2, 11, 0);
  const char *second = test_write("m-00002-of-00002.gguf", made.bytes, made.size);
  ck_assert_int_eq(open_part(ctx, first, "k_proj.bias is missing"), SMFT_E_MISMATCH);
  ck_assert_int_eq(open_part(ctx, second, "k_proj.bias is missing"), SMFT_E_MISMATCH);
  put_part(&made, 2, 2, 12, 0);
  test_write("m-00002-of-00002.gguf", made.bytes, made.size);
  ck_assert_int_eq(open_part(ctx, first, "split.tensors.count\": expected 11, got 12"),
                   SMFT_E_MISMATCH);
  put_part(&made, 1, 2, 11, 0);
  const char *alone = test_write("alone.gguf", made.bytes, made.size);
  ck_assert_int_eq(open_part(ctx, alone, "one of 2 parts"), SMFT_E_MISMATCH);
  test_write("m-00002-of-00002.gguf", made.bytes, made.size);
  ck_assert_int_eq(open_part(ctx, first, "split.no\": expected 1, got 0"), SMFT_E_MISMATCH);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- looking without loading, and what is refused ------------------------ */

START_TEST(inspected) {
  pair p = open_pair(_i);
  const char *paths[2] = {test_source(twins[_i].gguf), twin_path(_i)};
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  ck_ok(smft_model_get_info(p.plain, &info));
  for (int k = 0; k < 2; k++) {
    smft_model_inspection seen = SMFT_MODEL_INSPECTION_INIT;
    ck_ok(smft_model_inspect(p.ctx, paths[k], &seen));
    ck_assert_msg(seen.can_run && !*seen.why, "%s", seen.why);
    ck_assert_int_eq(seen.format, k ? SMFT_FORMAT_HUGGING_FACE : SMFT_FORMAT_GGUF);
    ck_assert_str_eq(seen.family, p.plain->config.arch->model_type);
    ck_assert_str_eq(seen.quantization, "F32");
    ck_assert_str_eq(seen.license, k ? "" : "apache-2.0");
    ck_assert(seen.n_layers == info.n_layers && seen.hidden_size == info.hidden_size &&
              seen.vocab_size == info.vocab_size && seen.context_length == info.context_length &&
              seen.n_parameters == info.n_parameters && seen.dtype == SMFT_DTYPE_F32 &&
              seen.weight_bytes == 4 * info.n_parameters &&
              seen.cache_bytes == 8ll * info.n_layers * info.n_kv_heads * info.head_dim);
  }
  close_pair(&p);
}
END_TEST

START_TEST(what_cannot_be_run_is_named) {
  static const char *const says[] = {"k_proj.bias is missing",
                                     "key \"qwen2.expert_count\": is not supported",
                                     "key \"general.architecture\": expected \"llama\"",
                                     "its type Q2_K is not supported",
                                     "key \"qwen2.rope.scaling.attn_factor\": only \"yarn\""};
  smft_ctx *ctx = NULL;
  gguf_bytes made;
  smft_model_inspection seen = SMFT_MODEL_INSPECTION_INIT;
  ck_ok(smft_ctx_create(&ctx, NULL));
  put_part(&made, 1, 1, 11, _i);
  const char *path = test_write("lies.gguf", made.bytes, made.size);
  ck_ok(smft_model_inspect(ctx, path, &seen));
  ck_assert(!seen.can_run && seen.format == SMFT_FORMAT_GGUF);
  ck_assert_msg(strstr(seen.why, says[_i]), "%s", seen.why);
  ck_assert_str_eq(seen.family, _i == 2 ? "mamba" : "qwen2");
  ck_assert_int_gt(seen.weight_bytes, 0);
  smft_model *model = NULL;
  ck_assert_int_lt(smft_model_load(&model, ctx, path, NULL), 0);
  ck_assert_str_eq(smft_error_message(), seen.why);
  ck_status(smft_model_inspect(ctx, test_file("nowhere"), &seen), SMFT_E_NOT_FOUND);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("gguf");
  TCase *tests = tcase_create("gguf");
  test_directory_make();
  tcase_add_loop_test(tests, sizes_and_tensors_are_the_same, 0, TWINS);
  tcase_add_loop_test(tests, logits_are_the_same, 0, TWINS);
  tcase_add_loop_test(tests, gradients_are_the_same, 0, TWINS);
  tcase_add_loop_test(tests, adapters_are_the_same, 0, ADAPTED);
  tcase_add_loop_test(tests, exported_it_is_the_twin, 0, ADAPTED);
  tcase_add_test(tests, in_memory_and_in_a_directory);
  tcase_add_test(tests, parts_are_one_model);
  tcase_add_loop_test(tests, inspected, 0, TWINS);
  tcase_add_loop_test(tests, what_cannot_be_run_is_named, 0, 5);
  suite_add_tcase(suite, tests);
  return suite;
}
