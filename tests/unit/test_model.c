/* model: load, init, export, fingerprint, getters; contradictions between config and tensors;
 * failing allocations. */
#include "failing.h"
#include "tiny.h"

#include "data/safetensors.h"
#include "model/view.h"
#include "model/weights.h"

static smft_ctx *new_ctx(void) {
  smft_ctx *ctx = NULL;
  ck_ok(smft_ctx_create(&ctx, NULL));
  return ctx;
}

/* ---- a directory with one tensor changed --------------------------------- */

typedef struct change {
  const char *name; /* of a tensor */
  int32_t action;   /* 'd' drop, 's' shape, 't' type I32, 'h' add an lm_head although tied, 'o' one
                       with another number,   'b' one as bf16, 'x' add a tensor of this name */
  const char *needle; /* in the message; NULL: loads */
} change;

static void write_changed(const smft_model *model, const char *directory, const change *c) {
  smft__save_tensor *tensors = calloc((size_t)model->n_tensors + 1, sizeof *tensors);
  char path[600];
  int64_t n = 0;
  for (int32_t i = 0; i < model->n_tensors; i++) {
    smft__save_tensor one = {model->names[i], model->tensors[i], 0};
    if (strcmp(model->names[i], c->name) == 0) {
      if (c->action == 'd')
        continue;
      if (c->action == 's')
        one.tensor.shape[0]--;
      if (c->action == 't')
        one.tensor.dtype = SMFT__I32;
    }
    tensors[n++] = one;
  }
  smft__tensor head = model->tensors[model->config.stack.at[SMFT__EMBED].tensor];
  float *other = malloc((size_t)smft__tensor_bytes(&head));
  memcpy(other, head.data, (size_t)smft__tensor_bytes(&head));
  other[smft__tensor_count(&head) - 1] += c->action == 'o' ? 1.0f : 0.0f;
  head.data = other;
  if (c->action == 'h' || c->action == 'o' || c->action == 'b')
    tensors[n++] = (smft__save_tensor){"lm_head.weight", head, c->action == 'b' ? SMFT__BF16 : 0};
  if (c->action == 'x')
    tensors[n++] = (smft__save_tensor){c->name, smft__tensor_f32(other, 4, 0), 0};
  snprintf(path, sizeof path, "%s/model.safetensors", test_file(directory));
  ck_ok(smft__safetensors_write(model->ctx, path, tensors, n, NULL, NULL, 0, NULL, NULL));
  free(tensors);
  free(other);
}

static const change changes[] = {
    {"model.layers.1.self_attn.k_proj.weight", 'd',
     "model.layers.1.self_attn.k_proj.weight is missing"},
    {"model.layers.0.mlp.up_proj.weight", 's',
     "model.layers.0.mlp.up_proj.weight: config.json makes its shape (48, 32), the file has (47, "
     "32)"},
    {"model.layers.1.memory.keys", 's', "(2, 2, 16, 8), the file has (1, 2, 16, 8)"},
    {"model.memory_pools.0.values", 't',
     "model.memory_pools.0.values: expected F32, F16 or BF16, found I32"},
    {"model.norm.weight", 'd', "model.norm.weight"},
    {"", 'h', NULL},
    {"", 'o', "tensor lm_head.weight is not the same as model.embed_tokens.weight"},
    {"", 'b', "tensor lm_head.weight is not the same as model.embed_tokens.weight"},
    {"model.layers.0.self_attn.rotary_emb.inv_freq", 'x', NULL},
    {"model.rotary_emb.inv_freq", 'x', NULL},
    {"model.layers.1.attn.masked_bias", 'x', NULL},
    {"model.layers.1.attn.bias", 'x', NULL},
    {"model.layers.0.self_attn.q_proj.bias", 'x',
     "model.layers.0.self_attn.q_proj.bias is not used: it looks like a bias that this family"},
    {"model.layers.0.self_attn.q_norm.weight", 'x',
     "model.layers.0.self_attn.q_norm.weight is not used: it looks like a norm"},
    {"model.layers.0.self_attn.q_proj.weight_scale", 'x', "the scale of a quantised weight"},
    {"model.layers.0.self_attn.q_proj.lora_B.weight", 'x', "LoRA adapter that was not merged"},
    {"base_model.model.model.layers.0.mlp.up_proj.base_layer.weight", 'x', "adapter"},
    {"model.layers.2.self_attn.q_proj.weight", 'x', "block 2, config.json has blocks 0 to 1"},
    {"model.layers.99999999999999999999.x", 'x', "model.layers.99999999999999999999.x is not"},
    {"model.layers.1.mlp.up_proj.weight", 'x', "what config.json says leaves it out"},
    {"model.layers.0.memory.keys", 'x', "a memory layer that config.json does not have there"},
    {"model.memory_pools.1.values", 'x', "a pool that config.json does not have"},
    {"grad.model.norm.weight", 'x', "grad.model.norm.weight is not used"},
    {"a", 'x', "tensor a is not used (\"model_type\": \"llama\")"},
    {"", 0, NULL},
};

START_TEST(config_against_tensors) {
  smft_ctx *ctx = new_ctx();
  smft_model *made = tiny_model(ctx, "m", (tiny){0}, 1), *model = (smft_model *)1;
  write_changed(made, "m", &changes[_i]);
  if (changes[_i].needle) {
    ck_status(smft_model_load(&model, ctx, test_file("m"), NULL),
              changes[_i].action == 'x' ? SMFT_E_UNSUPPORTED : SMFT_E_MISMATCH);
    ck_assert_ptr_null(model);
    ck_assert_msg(strstr(smft_error_message(), changes[_i].needle) != NULL, "%s",
                  smft_error_message());
  } else {
    ck_ok(smft_model_load(&model, ctx, test_file("m"), NULL));
    ck_assert_str_eq(smft_model_hash(model), smft_model_hash(made));
    smft_model_free(model);
  }
  smft_model_free(made);
  smft_ctx_free(ctx);
}
END_TEST

/* Of the family whose q, k and v have biases, each must be there, with its matrix's rows. */
static const change qwen2_changes[] = {
    {"model.layers.1.self_attn.q_proj.bias", 'd',
     "model.layers.1.self_attn.q_proj.bias is missing"},
    {"model.layers.0.self_attn.k_proj.bias", 'd',
     "model.layers.0.self_attn.k_proj.bias is missing"},
    {"model.layers.2.self_attn.v_proj.bias", 'd',
     "model.layers.2.self_attn.v_proj.bias is missing"},
    {"model.layers.1.self_attn.k_proj.bias", 's',
     "model.layers.1.self_attn.k_proj.bias: config.json makes its shape (12), the file has (11)"},
    {"", 0, NULL},
};

START_TEST(qwen2_config_against_tensors) {
  smft_ctx *ctx = new_ctx();
  smft_model *whole = NULL, *model = NULL;
  ck_ok(smft_model_load(&whole, ctx, test_source("tests/golden/network_qwen2"), NULL));
  ck_ok(smft_model_export(whole, NULL, test_file("q"), NULL));
  write_changed(whole, "q", &qwen2_changes[_i]);
  if (qwen2_changes[_i].needle) {
    ck_status(smft_model_load(&model, ctx, test_file("q"), NULL), SMFT_E_MISMATCH);
    ck_assert_ptr_null(model);
    ck_assert_msg(strstr(smft_error_message(), qwen2_changes[_i].needle) != NULL, "%s",
                  smft_error_message());
  } else {
    ck_ok(smft_model_load(&model, ctx, test_file("q"), NULL));
    ck_assert_str_eq(smft_model_hash(model), smft_model_hash(whole));
    smft_model_free(model);
  }
  smft_model_free(whole);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- init ---------------------------------------------------------------- */

static void moments(const smft_model *model, const char *name, double *mean, double *deviation,
                    double *largest) {
  int32_t i = 0;
  while (strcmp(model->names[i], name) != 0)
    ck_assert_int_lt(++i, model->n_tensors);
  int64_t n = smft__tensor_count(&model->tensors[i]);
  const float *values = model->tensors[i].data;
  double sum = 0, squares = 0;
  *largest = 0;
  for (int64_t j = 0; j < n; j++) {
    sum += (double)values[j];
    squares += (double)values[j] * (double)values[j];
    *largest = fmax(*largest, fabs((double)values[j]));
  }
  *mean = sum / (double)n;
  *deviation = sqrt(squares / (double)n - *mean * *mean);
}

static void check_moments(const smft_model *model, const char *name, double mean, double deviation,
                          double bound) {
  double got_mean = 0, got = 0, largest = 0;
  moments(model, name, &got_mean, &got, &largest);
  ck_assert_msg(fabs(got_mean - mean) <= 0.15 * deviation + 1e-7 &&
                    fabs(got - deviation) <= 0.1 * deviation + 1e-6,
                "%s: mean %g, deviation %g; wanted %g, %g", name, got_mean, got, mean, deviation);
  ck_assert_msg(largest <= bound, "%s: %g is over the bound %g", name, largest, bound);
}

START_TEST(initial_weights) {
  smft_ctx *ctx = new_ctx();
  smft_model *model = tiny_model(ctx, "m", (tiny){.beside = 1}, 7);
  /* 1/sqrt(fan-in); residual branches over sqrt(2 * layers) more; the memory as [B] has it */
  double any = 1e9;
  check_moments(model, "model.embed_tokens.weight", 0, 0.02, any);
  check_moments(model, "model.layers.0.self_attn.q_proj.weight", 0, 1 / sqrt(32), any);
  check_moments(model, "model.layers.0.self_attn.o_proj.weight", 0, 1 / sqrt(4 * 32), any);
  check_moments(model, "model.layers.1.mlp.down_proj.weight", 0, 1 / sqrt(4 * 48), any);
  check_moments(model, "model.memory_pools.0.values", 0, 1 / sqrt(20), any);
  check_moments(model, "model.layers.1.memory.keys", 0, 1 / sqrt(8) / sqrt(3), 1 / sqrt(8));
  check_moments(model, "model.layers.1.memory.query.weight", 0, sqrt(6.0 / 64) / sqrt(3),
                sqrt(6.0 / 64));
  check_moments(model, "model.layers.1.memory.gate.weight", 0, 1 / sqrt(20), any);
  check_moments(model, "model.layers.1.memory.out.weight", 0, 1 / sqrt(32), any);
  check_moments(model, "model.layers.1.memory.query.bias", 0, 0, 0);
  check_moments(model, "model.layers.1.memory.query_norm.weight", 1, 0, 1);
  check_moments(model, "model.layers.1.memory.query_norm.bias", 0, 0, 0);
  check_moments(model, "model.layers.1.memory.alpha", (double)0.01f, 0, (double)0.01f);
  check_moments(model, "model.norm.weight", 1, 0, 1);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(seeds) {
  smft_ctx *ctx = new_ctx();
  smft_model *a = tiny_model(ctx, "a", (tiny){0}, 3), *b = tiny_model(ctx, "b", (tiny){0}, 3);
  smft_model *c = tiny_model(ctx, "c", (tiny){0}, 4);
  ck_assert_str_eq(smft_model_hash(a), smft_model_hash(b));
  ck_assert_str_ne(smft_model_hash(a), smft_model_hash(c));
  ck_assert_uint_eq(strlen(smft_model_hash(a)), 64);
  smft_model_free(a);
  smft_model_free(b);
  smft_model_free(c);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- export -------------------------------------------------------------- */

static float *logits_of(const smft_model *model, smft_patch *patch) {
  static const int32_t ids[] = {0, 5, 9, 40, 41, 7, 66};
  smft_session *session = NULL;
  float *logits = malloc(7 * TINY_VOCAB * sizeof *logits);
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_session_feed(session, ids, 7, SMFT_LOGITS_ALL, logits, 7 * TINY_VOCAB));
  smft_session_free(session);
  return logits;
}

static void same_logits(const smft_model *a, smft_patch *patch, const smft_model *b,
                        double tolerance) {
  float *left = logits_of(a, patch), *right = logits_of(b, NULL);
  if (tolerance > 0)
    ck_assert_double_lt(test_distance(left, right, 7 * TINY_VOCAB), tolerance);
  else
    ck_assert_mem_eq(left, right, 7 * TINY_VOCAB * sizeof(float));
  free(left);
  free(right);
}

static smft_model *export_and_load(const smft_model *model, smft_patch *patch, int32_t dtype,
                                   uint32_t flags) {
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  smft_load_options load = SMFT_LOAD_OPTIONS_INIT;
  smft_model *copy = NULL;
  options.dtype = dtype;
  load.flags = flags;
  ck_ok(smft_model_export(model, patch, test_file("out"), &options));
  ck_ok(smft_model_load(&copy, model->ctx, test_file("out"), &load));
  return copy;
}

START_TEST(export_and_load_again) {
  smft_ctx *ctx = new_ctx();
  smft_model *model = tiny_model(ctx, "m", (tiny){.shared = _i}, 7);
  for (uint32_t flags = 0; flags <= SMFT_LOAD_COPY; flags++) {
    smft_model *copy = export_and_load(model, NULL, 0, flags);
    ck_assert_str_eq(smft_model_hash(copy), smft_model_hash(model));
    ck_assert_ptr_nonnull(smft_model_tokenizer(copy));
    same_logits(model, NULL, copy, 0);
    smft_model_free(copy);
  }
  for (int32_t dtype = SMFT_DTYPE_F16; dtype <= SMFT_DTYPE_BF16; dtype++) {
    smft_model *copy = export_and_load(model, NULL, dtype, 0), *again = NULL;
    ck_assert_str_ne(smft_model_hash(copy), smft_model_hash(model));
    same_logits(model, NULL, copy, 0.05);
    ck_ok(smft_model_export(copy, NULL, test_file("again"), NULL)); /* 0: types stay */
    ck_ok(smft_model_load(&again, ctx, test_file("again"), NULL));
    ck_assert_str_eq(smft_model_hash(again), smft_model_hash(copy));
    same_logits(copy, NULL, again, 0);
    char *text = test_read(test_file("again/config.json"), NULL);
    ck_assert_ptr_nonnull(strstr(text, dtype == SMFT_DTYPE_F16 ? "\"float16\"" : "\"bfloat16\""));
    free(text);
    smft_model_free(again);
    smft_model_free(copy);
  }
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(export_with_a_patch) {
  smft_ctx *ctx = new_ctx();
  smft_model *model = tiny_model(ctx, "m", (tiny){.shared = 2}, 7);
  float row[20];
  for (int32_t kind = SMFT_PATCH_SLOTS; kind <= SMFT_PATCH_FULL; kind++) {
    smft_patch *patch = NULL;
    ck_ok(smft_patch_create(&patch, model, kind));
    for (int i = 0; i < 20; i++)
      row[i] = (float)i;
    if (kind == SMFT_PATCH_SLOTS) {
      for (int64_t slot = 0; slot < 256; slot += 3)
        ck_ok(smft_patch_set_row(patch, 1, slot, row, 20));
    } else {
      for (int i = 0; i < 32; i++)
        patch->full[model->config.stack.at[SMFT__FINAL_NORM].tensor][i] = 2;
    }
    smft_model *copy = export_and_load(model, patch, 0, 0);
    ck_assert_str_ne(smft_model_hash(copy), smft_model_hash(model));
    same_logits(model, patch, copy, 0);
    smft_model_free(copy);
    smft_patch_free(patch);
  }
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- fingerprint --------------------------------------------------------- */

static void fingerprint_of(smft_model *model, char hash[65]) {
  ck_ok(smft__weights_fingerprint(model));
  memcpy(hash, model->hash, 65);
}

START_TEST(fingerprint_sees_changes) {
  smft_ctx *ctx = new_ctx();
  smft_model *model = tiny_model(ctx, "m", (tiny){.n_keys = 64}, 7); /* a pool of 320 KB: sampled */
  char before[65], after[65];
  fingerprint_of(model, before);
  for (int32_t i = 0; i < model->n_tensors; i++) {
    float *values = (float *)(uintptr_t)model->tensors[i].data, kept = values[0];
    int64_t last = smft__tensor_count(&model->tensors[i]) - 1;
    values[0] += 1;
    fingerprint_of(model, after);
    ck_assert_msg(strcmp(before, after) != 0, "%s: its first value does not count",
                  model->names[i]);
    values[0] = kept;
    kept = values[last];
    values[last] += 1;
    fingerprint_of(model, after);
    ck_assert_msg(strcmp(before, after) != 0, "%s: its last value does not count", model->names[i]);
    values[last] = kept;
  }
  model->config.rope_theta = 500;
  fingerprint_of(model, after);
  ck_assert_str_ne(before, after);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- getters and refusals ------------------------------------------------ */

START_TEST(getters) {
  smft_ctx *ctx = new_ctx();
  smft_model *model = tiny_model(ctx, "m", (tiny){.shared = 1, .n_keys = 10}, 7);
  smft_ctx_free(ctx); /* a child holds its parent */
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  smft_memory_info memory = SMFT_MEMORY_INFO_INIT;
  int64_t n_slots = 0, value_dim = 0, n = 0, total = 0;
  const char *name = NULL, *last = "";
  int32_t dtype = 0;
  ck_ok(smft_model_get_info(model, &info));
  ck_assert_int_eq(info.n_layers, 3);
  ck_assert_int_eq(info.hidden_size, 32);
  ck_assert_int_eq(info.n_kv_heads, 2);
  ck_assert_int_eq(info.tied, 1);
  ck_assert_int_eq(info.bos_id, 0);
  ck_assert_int_eq(info.eos_id, -1);
  ck_assert_int_eq(info.n_memories, 2);
  ck_assert_int_eq(info.n_pools, 1);
  ck_assert_ptr_null(smft_model_memory(model, 2));
  ck_assert_ptr_null(smft_model_memory(model, -1));
  ck_assert_ptr_null(smft_model_memory(NULL, 0));
  ck_ok(smft_memory_get_info(smft_model_memory(model, 1), &memory));
  ck_assert_int_eq(memory.layer, 2);
  ck_assert_int_eq(memory.n_slots, 100);
  ck_assert_int_eq(memory.placement, SMFT_PLACEMENT_REPLACE);
  ck_ok(smft_model_pool(model, 0, &n_slots, &value_dim));
  ck_assert_int_eq(n_slots, 100);
  ck_assert_int_eq(value_dim, 20);
  ck_status(smft_model_pool(model, 1, NULL, NULL), SMFT_E_NOT_FOUND);
  for (int64_t i = 0; smft_model_tensor(model, i, &name, &dtype, &n) == SMFT_OK; i++) {
    ck_assert_int_eq(dtype, SMFT_DTYPE_F32);
    ck_assert_int_gt(strcmp(name, last), 0); /* in order of name */
    last = name;
    total += n;
  }
  ck_assert_int_eq(total, info.n_parameters);
  smft_model_free(model);
}
END_TEST

START_TEST(null_and_nonsense) {
  smft_ctx *ctx = new_ctx();
  smft_model *model = (smft_model *)1;
  smft_model_info info = {0};
  smft_load_options load = SMFT_LOAD_OPTIONS_INIT;
  ck_status(smft_model_load(NULL, ctx, "x", NULL), SMFT_E_INVALID);
  ck_status(smft_model_load(&model, NULL, "x", NULL), SMFT_E_INVALID);
  ck_assert_ptr_null(model);
  ck_status(smft_model_load(&model, ctx, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_model_load(&model, ctx, "/nowhere/at/all", NULL), SMFT_E_NOT_FOUND);
  load.flags = 8;
  ck_status(smft_model_load(&model, ctx, "x", &load), SMFT_E_INVALID);
  load.struct_size = 3;
  ck_status(smft_model_load(&model, ctx, "x", &load), SMFT_E_STRUCT_SIZE);
  ck_status(smft_model_init(NULL, ctx, "x", 1), SMFT_E_INVALID);
  ck_status(smft_model_init(&model, NULL, "x", 1), SMFT_E_INVALID);
  ck_status(smft_model_get_info(NULL, &info), SMFT_E_INVALID);
  ck_status(smft_memory_get_info(NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_model_export(NULL, NULL, "x", NULL), SMFT_E_INVALID);
  ck_status(smft_model_tensor(NULL, 0, NULL, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_model_pool(NULL, 0, NULL, NULL), SMFT_E_INVALID);
  ck_assert_str_eq(smft_model_hash(NULL), "");
  ck_assert_ptr_null(smft_model_tokenizer(NULL));
  smft_model_free(NULL);
  model = tiny_model(ctx, "m", (tiny){0}, 1);
  ck_status(smft_model_get_info(model, &info), SMFT_E_STRUCT_SIZE);
  ck_status(smft_model_get_info(model, NULL), SMFT_E_INVALID);
  float value = 0;
  ck_status(smft_model_tensor_values(model, NULL, 0, &value, 1), SMFT_E_BUFFER);
  ck_status(smft_model_tensor_values(model, NULL, 1000, &value, 1), SMFT_E_NOT_FOUND);
  ck_status(smft_model_tensor_values(model, NULL, 0, NULL, 1), SMFT_E_INVALID);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

/* A tokenizer with more ids than the embedding has rows. */
START_TEST(tokenizer_beyond_the_embedding) {
  smft_ctx *ctx = new_ctx();
  smft_model *model = NULL;
  smft_model_free(tiny_model(ctx, "m", (tiny){0}, 1));
  char *text = test_read(test_file("m/config.json"), NULL);
  char *at = strstr(text, "\"vocab_size\": 98");
  ck_assert_ptr_nonnull(at);
  memcpy(at, "\"vocab_size\": 60", 16);
  test_write("m/config.json", text, strlen(text));
  free(text);
  ck_status(smft_model_init(&model, ctx, test_file("m"), 1), SMFT_E_MISMATCH);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "60"));
  smft_ctx_free(ctx);
}
END_TEST

/* Every allocation in turn fails: an error, nothing leaks, and the next try works. */
START_TEST(failing_allocations) {
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 1);
  smft_model *model = tiny_model(ctx, "m", (tiny){.shared = 1, .n_keys = 6}, 1);
  ck_ok(smft_model_export(model, NULL, test_file("m"), NULL));
  smft_model_free(model);
  long long live = state.live, failures = 0;
  for (int what = 0; what < 2; what++)
    for (long long k = 1;; k++) {
      state.calls = 0;
      state.fail_at = k;
      smft_status status = what ? smft_model_load(&model, ctx, test_file("m"), NULL)
                                : smft_model_init(&model, ctx, test_file("m"), 1);
      state.fail_at = 0;
      if (status == SMFT_OK) {
        smft_model_free(model);
        break;
      }
      ck_assert_int_eq(status, SMFT_E_NOMEM);
      ck_assert_ptr_null(model);
      ck_assert_msg(state.live == live, "allocation %lld: %lld blocks leak", k,
                    (long long)state.live - live);
      failures++;
    }
  ck_assert_int_gt(failures, 20);
  ck_assert_int_eq(state.live, live);
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("unit model");
  TCase *tests = tcase_create("model");
  test_directory_make();
  tcase_add_loop_test(tests, config_against_tensors, 0, (int)(sizeof changes / sizeof *changes));
  tcase_add_loop_test(tests, qwen2_config_against_tensors, 0,
                      (int)(sizeof qwen2_changes / sizeof *qwen2_changes));
  tcase_add_test(tests, initial_weights);
  tcase_add_test(tests, seeds);
  tcase_add_loop_test(tests, export_and_load_again, 0, 3);
  tcase_add_test(tests, export_with_a_patch);
  tcase_add_test(tests, fingerprint_sees_changes);
  tcase_add_test(tests, getters);
  tcase_add_test(tests, null_and_nonsense);
  tcase_add_test(tests, tokenizer_beyond_the_embedding);
  tcase_add_test(tests, failing_allocations);
  suite_add_tcase(suite, tests);
  return suite;
}
