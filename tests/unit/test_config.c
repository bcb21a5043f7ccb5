/* config: what config.json may say, what is derived, and what is refused by name. */
#include "files.h"

#include "model/arch.h"

#define BASE                                                                                       \
  "\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 3, "                     \
  "\"num_attention_heads\": 4, \"intermediate_size\": 48, "                                        \
  "\"vocab_size\": 97"
#define QWEN2                                                                                      \
  "\"model_type\": \"qwen2\", \"hidden_size\": 32, \"num_hidden_layers\": 3, "                     \
  "\"num_attention_heads\": 4, \"intermediate_size\": 48, "                                        \
  "\"vocab_size\": 97"
#define MISTRAL                                                                                    \
  "\"model_type\": \"mistral\", \"hidden_size\": 32, \"num_hidden_layers\": 3, "                   \
  "\"num_attention_heads\": 4, \"intermediate_size\": 48, "                                        \
  "\"vocab_size\": 97"
#define QWEN3                                                                                      \
  "\"model_type\": \"qwen3\", \"hidden_size\": 32, \"num_hidden_layers\": 3, "                     \
  "\"num_attention_heads\": 4, \"intermediate_size\": 48, "                                        \
  "\"vocab_size\": 97"
#define GEMMA3                                                                                     \
  "\"model_type\": \"gemma3_text\", \"hidden_size\": 32, \"num_hidden_layers\": 7, "               \
  "\"num_attention_heads\": 4, \"num_key_value_heads\": 1, \"intermediate_size\": 48, "            \
  "\"vocab_size\": 97"
#define SMOLLM3                                                                                    \
  "\"model_type\": \"smollm3\", \"hidden_size\": 32, \"num_hidden_layers\": 3, "                   \
  "\"num_attention_heads\": 4, \"intermediate_size\": 48, "                                        \
  "\"vocab_size\": 97"
#define MEMORY                                                                                     \
  "\"layers\": [2, 0], \"pools\": [0, 1], \"n_keys\": 8, \"heads\": 2, \"top_k\": 4, "             \
  "\"key_dim\": 16, \"value_dim\": 24"

static smft_ctx *ctx;

static void setup(void) { ck_ok(smft_ctx_create(&ctx, NULL)); }
static void teardown(void) { smft_ctx_free(ctx); }

static smft_status load(smft__config *config, const char *text) {
  test_write("config.json", text, strlen(text));
  return smft__config_load(config, ctx, test_directory_path);
}

START_TEST(defaults) {
  smft__config c;
  ck_ok(load(&c, "{" BASE "}"));
  ck_assert_int_eq(c.n_kv_heads, 4);
  ck_assert_int_eq(c.head_dim, 8);
  ck_assert_int_eq(c.context, 2048);
  ck_assert_int_eq(c.bos, -1);
  ck_assert_int_eq(c.eos, -1);
  ck_assert_int_eq(c.n_stops, 0);
  ck_assert_int_eq(c.tied, 0);
  ck_assert_int_eq(c.n_memories, 0);
  ck_assert_double_eq(c.rope_theta, 10000);
  ck_assert_double_eq_tol((double)c.norm_eps, 1e-6, 1e-12);
  smft__config_free(&c, ctx);
}
END_TEST

START_TEST(everything_given) {
  smft__config c;
  ck_ok(load(&c, "{" BASE ", \"num_key_value_heads\": 2, \"head_dim\": 10, \"eos_token_id\": [2, "
                 "5], \"bos_token_id\": 1, "
                 "\"rope_theta\": 5e5, \"rms_norm_eps\": 1e-5, \"tie_word_embeddings\": true, "
                 "\"attention_bias\": false, "
                 "\"mlp_bias\": false, \"rope_scaling\": null, "
                 "\"hidden_act\": \"silu\", \"max_position_embeddings\": 64, \"memory\": {" MEMORY
                 ", \"placement\": \"beside\", "
                 "\"query_norm\": \"rmsnorm\", \"key_norm\": \"l2\", \"norm_eps\": 1e-3, "
                 "\"temperature\": 2.5, \"gate\": false, "
                 "\"bias\": true}}"));
  ck_assert_int_eq(c.head_dim, 10);
  ck_assert_int_eq(c.n_kv_heads, 2);
  ck_assert_int_eq(c.eos, 2);
  ck_assert_int_eq(c.n_stops, 2);
  ck_assert_int_eq(c.stops[1], 5);
  ck_assert_int_eq(c.bos, 1);
  ck_assert_int_eq(c.tied, 1);
  ck_assert_int_eq(c.n_memories, 2);
  ck_assert_int_eq(c.n_pools, 2);
  ck_assert_int_eq(c.memories[0].layer, 0); /* ascending, each with its pool */
  ck_assert_int_eq(c.memories[0].pool, 1);
  ck_assert_int_eq(c.memories[1].layer, 2);
  ck_assert_int_eq(c.memories[1].pool, 0);
  ck_assert_int_eq(c.placement, SMFT_PLACEMENT_BESIDE);
  ck_assert_int_eq(c.memory.query_norm, SMFT__NORM_RMSNORM);
  ck_assert_int_eq(c.memory.key_norm, SMFT__NORM_L2);
  ck_assert_int_eq(c.memory.gate, 0);
  ck_assert_int_eq(c.memory.bias, 1);
  ck_assert_int_eq(c.memory.value_dim, 24);
  ck_assert_double_eq((double)c.memory.temperature, 2.5);
  ck_assert_ptr_nonnull(strstr(c.json, "rope_theta"));
  smft__config_free(&c, ctx);
}
END_TEST

START_TEST(newer_rope_parameters) {
  smft__config c;
  ck_ok(load(&c, "{" BASE
                 ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 123.0}}"));
  ck_assert_double_eq(c.rope_theta, 123);
  smft__config_free(&c, ctx);
}
END_TEST

/* As transformers 5 and 4.41 write it (make_qwen2.py): in the older, a window that is off has a
 * size all the same. */
START_TEST(qwen2_as_transformers_writes_it) {
  static const char *const files[] = {"tests/golden/network_qwen2/config.json",
                                      "tests/golden/network_qwen2/config_older.json"};
  smft__config c;
  char *text = test_read(test_source(files[_i]), NULL);
  ck_ok(load(&c, text));
  ck_assert_int_eq(c.hidden, 36);
  ck_assert_int_eq(c.n_layers, 3);
  ck_assert_int_eq(c.n_heads, 6);
  ck_assert_int_eq(c.n_kv_heads, 2);
  ck_assert_int_eq(c.head_dim, 6);
  ck_assert_int_eq(c.ffn, 44);
  ck_assert_int_eq(c.vocab, 96);
  ck_assert_int_eq(c.context, 128);
  ck_assert_int_eq(c.bos, 1);
  ck_assert_int_eq(c.eos, 2);
  ck_assert_int_eq(c.tied, 0);
  ck_assert_int_eq(c.n_memories, 0);
  ck_assert_double_eq(c.rope_theta, 1e6);
  ck_assert_double_eq_tol((double)c.norm_eps, 1e-6, 1e-12);
  smft__config_free(&c, ctx);
  free(text);
}
END_TEST

static void check_windows(const char *text, int32_t first, int32_t second, int32_t third) {
  smft__config c;
  ck_ok(load(&c, text));
  ck_assert_int_eq(c.n_layers, 3);
  ck_assert_int_eq(c.blocks[0].window, first);
  ck_assert_int_eq(c.blocks[1].window, second);
  ck_assert_int_eq(c.blocks[2].window, third);
  smft__config_free(&c, ctx);
}

START_TEST(windows_of_blocks) {
  check_windows("{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": 64, "
                "\"max_window_layers\": 2}",
                0, 0, 64);
  check_windows("{" QWEN2 ", \"use_sliding_window\": true, \"max_window_layers\": 0}", 4096, 4096,
                4096);
  check_windows("{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": null, "
                "\"max_window_layers\": 0}",
                0, 0, 0);
  check_windows("{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": 9, "
                "\"layer_types\": [\"sliding_attention\", \"full_attention\", "
                "\"sliding_attention\"]}",
                9, 0, 9);
  check_windows("{" MISTRAL "}", 4096, 4096, 4096); /* as transformers has it */
  check_windows("{" MISTRAL ", \"sliding_window\": null, \"head_dim\": null}", 0, 0, 0);
  check_windows("{" MISTRAL ", \"sliding_window\": 7, \"layer_types\": null}", 7, 7, 7);
  check_windows("{" MISTRAL ", \"sliding_window\": null, \"layer_types\": [\"full_attention\", "
                "\"full_attention\", \"full_attention\"]}",
                0, 0, 0);
}
END_TEST

static void check_ropes(const char *text, int32_t first, int32_t second, int32_t third) {
  smft__config c;
  ck_ok(load(&c, text));
  ck_assert_int_eq(c.blocks[0].rope, first);
  ck_assert_int_eq(c.blocks[1].rope, second);
  ck_assert_int_eq(c.blocks[2].rope, third);
  ck_assert_double_eq(c.rope_theta, 2e6); /* as transformers has them where the file is silent */
  ck_assert_int_eq(c.tied, 1);
  smft__config_free(&c, ctx);
}

START_TEST(blocks_without_positions) {
  check_ropes("{" SMOLLM3 "}", 0, 0, 0);
  check_ropes("{" SMOLLM3 ", \"no_rope_layer_interval\": 2}", 0, -1, 0);
  check_ropes("{" SMOLLM3 ", \"no_rope_layer_interval\": 1, \"no_rope_layers\": null}", -1, -1, -1);
  check_ropes("{" SMOLLM3 ", \"no_rope_layer_interval\": 2, \"no_rope_layers\": [0, true, false]}",
              -1, 0, -1);
  check_windows("{" SMOLLM3 ", \"no_rope_layers\": [1, 0, 1], \"use_sliding_window\": true, "
                "\"sliding_window\": 8}",
                0, 8, 0);
  check_windows("{" SMOLLM3 ", \"no_rope_layers\": [1, 0, 1], \"sliding_window\": 8}", 0, 0, 0);
}
END_TEST

START_TEST(qwen2_without_a_window) {
  smft__config c;
  ck_ok(load(&c, "{" QWEN2 ", \"use_sliding_window\": false, \"sliding_window\": 32768, "
                 "\"max_window_layers\": 2, \"layer_types\": [\"full_attention\", "
                 "\"full_attention\", \"full_attention\"]}"));
  smft__config_free(&c, ctx);
}
END_TEST

START_TEST(qwen3_norms_its_heads) {
  smft__config c;
  char *text = test_read(test_source("tests/golden/network_qwen3/config.json"), NULL);
  ck_ok(load(&c, text));
  ck_assert_int_eq(c.hidden, 20);
  ck_assert_int_eq(c.head_dim, 6);
  ck_assert_int_eq(c.tied, 1);
  ck_assert_double_eq(c.rope_theta, 1e6);
  for (int32_t i = 0; i < c.n_layers; i++)
    ck_assert_int_eq(c.blocks[i].qk_norm, SMFT__QK_NORM_PER_HEAD);
  smft__config_free(&c, ctx);
  free(text);
  ck_ok(load(&c, "{" QWEN3 ", \"attention_bias\": false}"));
  ck_assert_int_eq(c.head_dim, 128); /* what a file that says nothing means */
  smft__config_free(&c, ctx);
}
END_TEST

/* Keys that mean nothing, and values that are as if the key were not there. */
START_TEST(means_nothing) {
  smft__config c;
  ck_ok(load(
      &c,
      "{" BASE ", \"layer_types\": [\"full_attention\", \"full_attention\", \"full_attention\"], "
      "\"logit_scale\": 1, \"logits_scaling\": 1.0, \"final_logit_softcapping\": null, "
      "\"attn_logit_softcapping\": null, \"pretraining_tp\": 4, \"partial_rotary_factor\": 1.0, "
      "\"num_local_experts\": 0, \"quantization_config\": {}, \"pruned_heads\": {}, "
      "\"sliding_window\": null, \"clip_qkv\": null, \"mlp_bias\": false, \"is_causal\": true, "
      "\"bad\": [], \"_anything\": {\"a\": 1}, \"attention_dropout\": 0.1, \"dtype\": \"float16\", "
      "\"architectures\": [\"LlamaForCausalLM\"], \"auto_map\": {\"AutoModel\": \"m.M\"}, "
      "\"id2label\": {\"0\": \"LABEL_0\"}, \"top_k\": 50, \"temperature\": 0.6, \"do_sample\": "
      "true, "
      "\"pad_token_id\": 96, \"transformers.js_config\": {\"dtype\": \"q4\"}, "
      "\"is_llama_config\": true, \"rope_interleaved\": false, \"use_cache\": true}"));
  smft__config_free(&c, ctx);
}
END_TEST

static void check_gemma3(const smft__config *c) {
  for (int32_t i = 0; i < c->n_layers; i++) {
    const smft__block_plan *block = &c->blocks[i];
    ck_assert_int_eq(block->norm, SMFT__NORM_BY_1_PLUS);
    ck_assert_int_eq(block->norms, SMFT__NORMS_BEFORE | SMFT__NORMS_AFTER);
    ck_assert_int_eq(block->qk_norm, SMFT__QK_NORM_PER_HEAD);
    ck_assert_int_eq(block->activation, SMFT__GELU_TANH);
    ck_assert_int_eq(block->rope, block->window ? 1 : 0);
  }
  ck_assert_int_eq(c->stack.n_ropes, 2);
  ck_assert_int_eq(c->stack.final_norm, SMFT__NORM_BY_1_PLUS);
}

/* theta ^ (-2 / head_dim) */
static void check_theta(const smft__config *c, int32_t rope, double theta) {
  ck_assert_double_eq_tol(c->stack.ropes[rope].frequency[1], pow(theta, -2.0 / c->head_dim), 1e-15);
}

START_TEST(gemma3_as_transformers_writes_it) {
  smft__config c;
  char *text = test_read(test_source("tests/golden/network_gemma3/config.json"), NULL);
  ck_ok(load(&c, text));
  check_gemma3(&c);
  ck_assert_int_eq(c.head_dim, 6);
  ck_assert_int_eq(c.blocks[0].window, 5);
  ck_assert_int_eq(c.blocks[1].window, 0);
  ck_assert_int_eq(c.blocks[2].window, 5);
  ck_assert_double_eq_tol((double)c.blocks[0].attention_scale, 1.0 / 3, 1e-7);
  ck_assert_double_eq_tol((double)c.stack.embedding_scale, sqrt(20), 1e-6);
  check_theta(&c, 0, 1e5);
  check_theta(&c, 1, 300);
  smft__config_free(&c, ctx);
  free(text);
}
END_TEST

/* The words of transformers 4.50, and what a file means that says nothing. */
START_TEST(gemma3_in_older_words) {
  smft__config c;
  ck_ok(load(&c, "{" GEMMA3 ", \"rope_theta\": 5e5, \"rope_local_base_freq\": 2e3, "
                 "\"rope_scaling\": null, \"sliding_window\": 7, \"sliding_window_pattern\": 3, "
                 "\"query_pre_attn_scalar\": 16, \"head_dim\": 8}"));
  check_gemma3(&c);
  check_theta(&c, 0, 5e5);
  check_theta(&c, 1, 2e3);
  for (int32_t i = 0; i < 7; i++)
    ck_assert_int_eq(c.blocks[i].window, i == 2 || i == 5 ? 0 : 7);
  ck_assert_double_eq((double)c.blocks[6].attention_scale, 0.25);
  smft__config_free(&c, ctx);
  ck_ok(load(&c, "{" GEMMA3 "}"));
  check_gemma3(&c);
  check_theta(&c, 0, 1e6);
  check_theta(&c, 1, 1e4);
  for (int32_t i = 0; i < 7; i++)
    ck_assert_int_eq(c.blocks[i].window, i == 5 ? 0 : 4096);
  ck_assert_int_eq(c.head_dim, 256);
  ck_assert_int_eq(c.context, 131072);
  ck_assert_int_eq(c.tied, 1);
  ck_assert_double_eq((double)c.blocks[0].attention_scale, 0.0625);
  smft__config_free(&c, ctx);
}
END_TEST

/* What the published SmolLM3 has besides: Qwen2's key, which nobody reads. */
START_TEST(smollm3_as_published) {
  smft__config c;
  ck_ok(load(&c, "{" SMOLLM3 ", \"attention_bias\": false, \"max_window_layers\": 28, "
                 "\"mlp_bias\": false, \"pretraining_tp\": 2, \"no_rope_layer_interval\": 4, "
                 "\"no_rope_layers\": [1, 1, 0], \"sliding_window\": null, "
                 "\"use_sliding_window\": false, \"rope_scaling\": null, \"layer_types\": "
                 "[\"full_attention\", \"full_attention\", \"full_attention\"]}"));
  ck_assert_int_eq(c.blocks[2].rope, -1);
  smft__config_free(&c, ctx);
}
END_TEST

/* Every key that is said to be read is: some nonsense in its place is refused. */
static int is_read(json_t *root, const char *key) {
  static const char *const nonsense[] = {"{\"nonsense\": 1}", "[{}]", "\"nonsense\"", "-1e300"};
  for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
    smft__config c;
    json_t *config = json_copy(root);
    json_object_set_new(config, key, json_loads(nonsense[i], JSON_DECODE_ANY, NULL));
    char *text = json_dumps(config, 0);
    smft_status status = load(&c, text);
    if (status == SMFT_OK)
      smft__config_free(&c, ctx);
    free(text);
    json_decref(config);
    if (status != SMFT_OK)
      return 1;
  }
  return 0;
}

START_TEST(listed_keys_are_read) {
  for (int a = 0; smft__archs[a]; a++) {
    const char *const *lists[] = {smft__config_keys, smft__archs[a]->keys};
    json_t *root = json_loads("{" BASE "}", 0, NULL);
    for (int i = 0; smft__archs[a]->keys && smft__archs[a]->keys[i]; i++) /* sizes of windows: */
      if (strcmp(smft__archs[a]->keys[i], "use_sliding_window") == 0)
        json_object_set_new(root, "use_sliding_window", json_true());
    json_object_set_new(root, "model_type", json_string(smft__archs[a]->model_type));
    for (int l = 0; l < 2; l++)
      for (int i = 0; lists[l] && lists[l][i]; i++)
        ck_assert_msg(is_read(root, lists[l][i]), "%s: %s is listed, but nothing reads it",
                      smft__archs[a]->model_type, lists[l][i]);
    json_decref(root);
  }
}
END_TEST

/* In a GGUF the 1 has been added to the norms. */
START_TEST(gemma3_of_a_gguf) {
  static const char text[] = "{" GEMMA3 "}";
  extern const smft__arch smft__arch_gemma3;
  json_t *root = NULL;
  smft__config c = {.arch = &smft__arch_gemma3, .gguf = 1};
  ck_ok(smft__json_parse(&root, text, (int64_t)strlen(text), "here"));
  ck_ok(smft__arch_gemma3.plan(&c, ctx, root));
  ck_assert_int_eq(c.stack.final_norm, SMFT__NORM_BY_WEIGHT);
  for (int32_t i = 0; i < c.n_layers; i++)
    ck_assert_int_eq(c.blocks[i].norm, SMFT__NORM_BY_WEIGHT);
  smft__config_free(&c, ctx);
  json_decref(root);
}
END_TEST

static const struct {
  const char *text;
  smft_status status;
  const char *needle; /* in the message */
} refused[] = {
    {"", SMFT_E_FORMAT, "config.json"},
    {"[1]", SMFT_E_FORMAT, "object"},
    {"{\"model_type\": \"llama\"", SMFT_E_FORMAT, "config.json"},
    {"{}", SMFT_E_FORMAT, "model_type"},
    {"{\"model_type\": \"mixtral\"}", SMFT_E_UNSUPPORTED, "mixtral"},
    {"{\"model_type\": \"llama\"}", SMFT_E_FORMAT, "hidden_size"},
    {"{" BASE ", \"hidden_act\": \"gelu\"}", SMFT_E_UNSUPPORTED, "gelu"},
    {"{" BASE ", \"attention_bias\": true}", SMFT_E_UNSUPPORTED, "attention_bias"},
    {"{" BASE ", \"mlp_bias\": true}", SMFT_E_UNSUPPORTED, "mlp_bias"},
    {"{" BASE ", \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 8.0}}",
     SMFT_E_UNSUPPORTED, "dynamic"},
    {"{" BASE ", \"rope_scaling\": {\"type\": \"factors\", \"factors\": [1, 1, 1, 1]}}",
     SMFT_E_UNSUPPORTED, "factors"},
    {"{" BASE ", \"rope_scaling\": 3}", SMFT_E_FORMAT, "rope_scaling"},
    {"{" BASE ", \"rope_parameters\": {\"rope_type\": \"yarn\"}}", SMFT_E_FORMAT, "yarn"},
    {"{" BASE ", \"quantization_config\": {\"quant_method\": \"awq\"}}", SMFT_E_UNSUPPORTED,
     "config.json: \"quantization_config\": {\"quant_method\":\"awq\"} is not supported"},
    {"{" BASE ", \"sliding_window\": 4096}", SMFT_E_UNSUPPORTED,
     "config.json: \"sliding_window\": 4096 is not supported"},
    {"{" BASE ", \"clip_qkv\": 8}", SMFT_E_UNSUPPORTED,
     "config.json: \"clip_qkv\": 8 is not supported"},
    {"{" BASE ", \"logit_scale\": 0.0625}", SMFT_E_UNSUPPORTED, "\"logit_scale\": 0.0625"},
    {"{" BASE ", \"final_logit_softcapping\": 30.0}", SMFT_E_UNSUPPORTED,
     "\"final_logit_softcapping\": 30.0"},
    {"{" BASE ", \"num_experts\": 8}", SMFT_E_UNSUPPORTED, "num_experts"},
    {"{" BASE ", \"num_experts\": \"0\"}", SMFT_E_UNSUPPORTED, "num_experts"},
    {"{" BASE ", \"is_causal\": false}", SMFT_E_UNSUPPORTED, "\"is_causal\": false"},
    {"{" BASE ", \"layer_types\": \"full_attention\"}", SMFT_E_UNSUPPORTED, "layer_types"},
    {"{" BASE ", \"text_config\": {\"hidden_size\": 8}}", SMFT_E_UNSUPPORTED, "text_config"},
    {"{" BASE ", \"use_sliding_window\": true}", SMFT_E_UNSUPPORTED, "use_sliding_window"},
    {"{" BASE ", \"dropouts\": 1}", SMFT_E_UNSUPPORTED, "\"dropouts\": 1"},
    {"{" BASE ", \"attention_bias\": 1}", SMFT_E_UNSUPPORTED, "\"attention_bias\": 1"},
    {"{" BASE ", \"long\": \"0123456789012345678901234567890123456789012345678901234567890123456789"
     "0123456789012345678901234567890123456789\"}",
     SMFT_E_UNSUPPORTED, "012345678... is not supported"},
    {"{" BASE ", \"hidden_size\": 32}", SMFT_E_FORMAT, "hidden_size"}, /* said twice */
    {"{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": 0}", SMFT_E_FORMAT,
     "sliding_window"},
    {"{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": -4}", SMFT_E_FORMAT,
     "sliding_window"},
    {"{" QWEN2 ", \"layer_types\": [\"full_attention\"]}", SMFT_E_FORMAT, "layer_types"},
    {"{" QWEN2 ", \"layer_types\": [1, 2, 3]}", SMFT_E_UNSUPPORTED, "layer_types"},
    {"{" MISTRAL ", \"sliding_window\": 7, \"layer_types\": [\"sliding_attention\", "
     "\"full_attention\", \"sliding_attention\"]}",
     SMFT_E_UNSUPPORTED, "layer_types\"[1]"},
    {"{" MISTRAL ", \"hidden_act\": \"gelu\"}", SMFT_E_UNSUPPORTED, "gelu"},
    {"{" MISTRAL ", \"attention_bias\": true}", SMFT_E_UNSUPPORTED, "attention_bias"},
    {"{" QWEN2 ", \"layer_types\": [\"full_attention\", \"full_attention\", "
     "\"sliding_attention\"]}",
     SMFT_E_UNSUPPORTED, "layer_types"},
    {"{" QWEN2 ", \"layer_types\": [\"linear_attention\", \"full_attention\", "
     "\"full_attention\"]}",
     SMFT_E_UNSUPPORTED, "layer_types"},
    {"{" QWEN2 ", \"hidden_act\": \"gelu\"}", SMFT_E_UNSUPPORTED, "gelu"},
    {"{" QWEN2 ", \"quantization_config\": {\"quant_method\": \"awq\"}}", SMFT_E_UNSUPPORTED,
     "config.json: \"quantization_config\": {\"quant_method\":\"awq\"} is not supported"},
    {"{" QWEN2 ", \"rope_scaling\": {\"type\": \"longrope\", \"factor\": 4.0}}", SMFT_E_UNSUPPORTED,
     "longrope"},
    {"{" SMOLLM3 ", \"no_rope_layers\": [1, 0]}", SMFT_E_FORMAT, "no_rope_layers"},
    {"{" SMOLLM3 ", \"no_rope_layers\": [1, 0, 2]}", SMFT_E_FORMAT, "no_rope_layers\"[2]"},
    {"{" SMOLLM3 ", \"no_rope_layers\": [\"1\", 0, 1]}", SMFT_E_FORMAT, "no_rope_layers\"[0]"},
    {"{" SMOLLM3 ", \"no_rope_layer_interval\": 0}", SMFT_E_FORMAT, "no_rope_layer_interval"},
    {"{" SMOLLM3 ", \"layer_types\": [\"sliding_attention\", \"full_attention\", "
     "\"full_attention\"], \"sliding_window\": 4}",
     SMFT_E_UNSUPPORTED, "layer_types"},
    {"{" SMOLLM3 ", \"attention_bias\": true}", SMFT_E_UNSUPPORTED, "attention_bias"},
    {"{" QWEN3 ", \"attention_bias\": true}", SMFT_E_UNSUPPORTED, "attention_bias"},
    {"{" QWEN3 ", \"layer_types\": [\"sliding_attention\", \"full_attention\", "
     "\"full_attention\"]}",
     SMFT_E_UNSUPPORTED, "sliding_window"},
    {"{" QWEN3 ", \"hidden_act\": \"gelu\"}", SMFT_E_UNSUPPORTED, "gelu"},
    {"{" GEMMA3 ", \"hidden_activation\": \"gelu\"}", SMFT_E_UNSUPPORTED, "gelu"},
    {"{" GEMMA3 ", \"attention_bias\": true}", SMFT_E_UNSUPPORTED, "attention_bias"},
    {"{" GEMMA3 ", \"use_bidirectional_attention\": true}", SMFT_E_UNSUPPORTED,
     "use_bidirectional_attention"},
    {"{" GEMMA3 ", \"final_logit_softcapping\": 30.0}", SMFT_E_UNSUPPORTED,
     "final_logit_softcapping"},
    {"{" GEMMA3 ", \"attn_logit_softcapping\": 50.0}", SMFT_E_UNSUPPORTED,
     "attn_logit_softcapping"},
    {"{" GEMMA3 ", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8}, "
     "\"rope_parameters\": {\"full_attention\": {}, \"sliding_attention\": {}}}",
     SMFT_E_UNSUPPORTED, "rope_scaling"},
    {"{" GEMMA3 ", \"rope_parameters\": {\"full_attention\": {}, \"sliding_attention\": {}, "
     "\"factor\": 8}}",
     SMFT_E_UNSUPPORTED, "\"factor\""},
    {"{" GEMMA3 ", \"query_pre_attn_scalar\": 1e-300}", SMFT_E_FORMAT, "query_pre_attn_scalar"},
    {"{" GEMMA3 ", \"query_pre_attn_scalar\": 0}", SMFT_E_FORMAT, "query_pre_attn_scalar"},
    {"{" GEMMA3 ", \"sliding_window\": null}", SMFT_E_UNSUPPORTED, "sliding_window"},
    {"{" GEMMA3 ", \"sliding_window_pattern\": 0}", SMFT_E_UNSUPPORTED, "sliding_window_pattern"},
    {"{" GEMMA3 ", \"rope_local_base_freq\": -1}", SMFT_E_FORMAT, "rope"},
    {"{" GEMMA3 ", \"rope_parameters\": {\"rope_theta\": 1e6}}", SMFT_E_FORMAT, "full_attention"},
    {"{" GEMMA3 ", \"rope_parameters\": {\"full_attention\": {}}}", SMFT_E_FORMAT,
     "sliding_attention"},
    {"{" GEMMA3 ", \"rope_parameters\": {\"full_attention\": {}, \"sliding_attention\": "
     "{\"rope_type\": \"dynamic\", \"factor\": 2}}}",
     SMFT_E_UNSUPPORTED, "dynamic"},
    {"{\"model_type\": \"gemma3\", \"text_config\": {}}", SMFT_E_UNSUPPORTED, "gemma3"},
    {"{" BASE ", \"partial_rotary_factor\": 0.5}", SMFT_E_UNSUPPORTED, "partial_rotary_factor"},
    {"{" BASE ", \"num_key_value_heads\": 3}", SMFT_E_FORMAT, "num_key_value_heads"},
    {"{" BASE ", \"num_key_value_heads\": 0}", SMFT_E_FORMAT, "num_key_value_heads"},
    {"{" BASE ", \"head_dim\": 7}", SMFT_E_FORMAT, "even"},
    {"{" BASE ", \"head_dim\": -8}", SMFT_E_FORMAT, "head_dim"},
    {"{" BASE ", \"head_dim\": 8000000}", SMFT_E_FORMAT, "wide"},
    {"{" BASE ", \"rms_norm_eps\": 0}", SMFT_E_FORMAT, "rms_norm_eps"},
    {"{" BASE ", \"rms_norm_eps\": \"1e-5\"}", SMFT_E_FORMAT, "rms_norm_eps"},
    {"{" BASE ", \"rope_theta\": -1}", SMFT_E_FORMAT, "rope_theta"},
    {"{" BASE ", \"bos_token_id\": 97}", SMFT_E_FORMAT, "bos_token_id"},
    {"{" BASE ", \"eos_token_id\": 97}", SMFT_E_FORMAT, "eos_token_id"},
    {"{" BASE ", \"eos_token_id\": [1, \"2\"]}", SMFT_E_FORMAT, "eos_token_id"},
    {"{" BASE ", \"max_position_embeddings\": 0}", SMFT_E_FORMAT, "max_position_embeddings"},
    {"{" BASE ", \"max_position_embeddings\": 99999999999}", SMFT_E_FORMAT,
     "max_position_embeddings"},
    {"{\"model_type\": \"llama\", \"hidden_size\": 30, \"num_hidden_layers\": 1, "
     "\"num_attention_heads\": 4, \"intermediate_size\": 4, "
     "\"vocab_size\": 9}",
     SMFT_E_FORMAT, "multiple"},
    {"{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 4000000, "
     "\"num_attention_heads\": 4, "
     "\"intermediate_size\": 4, \"vocab_size\": 9}",
     SMFT_E_FORMAT, "num_hidden_layers"},
    {"{" BASE ", \"memory\": 1}", SMFT_E_FORMAT, "memory"},
    {"{" BASE ", \"memory\": {" MEMORY ", \"dropout\": 0.1}}", SMFT_E_UNSUPPORTED, "dropout"},
    {"{" BASE ", \"memory\": {" MEMORY ", \"placement\": \"instead\"}}", SMFT_E_UNSUPPORTED,
     "instead"},
    {"{" BASE ", \"memory\": {" MEMORY ", \"query_norm\": \"batchnorm\"}}", SMFT_E_UNSUPPORTED,
     "batchnorm"},
    {"{" BASE ", \"memory\": {" MEMORY ", \"temperature\": 0}}", SMFT_E_FORMAT, "temperature"},
    {"{" BASE
     ", \"memory\": {\"layers\": [0], \"pools\": [0], \"n_keys\": 8, \"heads\": 2, \"top_k\": 9}}",
     SMFT_E_FORMAT, "top_k"},
    {"{" BASE ", \"memory\": {\"layers\": [0], \"pools\": [0], \"n_keys\": 8, \"heads\": 2}}",
     SMFT_E_FORMAT, "top_k"},
    {"{" BASE ", \"memory\": {\"layers\": [0], \"pools\": [0], \"n_keys\": 8, \"heads\": 2, "
     "\"top_k\": 2, \"key_dim\": 5}}",
     SMFT_E_FORMAT, "key_dim"},
    {"{" BASE
     ", \"memory\": {\"layers\": [3], \"pools\": [0], \"n_keys\": 8, \"heads\": 2, \"top_k\": 2}}",
     SMFT_E_FORMAT, "layers"},
    {"{" BASE ", \"memory\": {\"layers\": [1, 1], \"pools\": [0, 0], \"n_keys\": 8, \"heads\": 2, "
     "\"top_k\": 2}}",
     SMFT_E_FORMAT, "twice"},
    {"{" BASE ", \"memory\": {\"layers\": [0, 1], \"pools\": [1, 1], \"n_keys\": 8, \"heads\": 2, "
     "\"top_k\": 2}}",
     SMFT_E_FORMAT, "pool 0"},
    {"{" BASE ", \"memory\": {\"layers\": [0, 1], \"pools\": [0], \"n_keys\": 8, \"heads\": 2, "
     "\"top_k\": 2}}",
     SMFT_E_FORMAT, "pools"},
    {"{" BASE
     ", \"memory\": {\"layers\": [0], \"pools\": [5], \"n_keys\": 8, \"heads\": 2, \"top_k\": 2}}",
     SMFT_E_FORMAT, "pools"},
    {"{" BASE
     ", \"memory\": {\"layers\": [], \"pools\": [], \"n_keys\": 8, \"heads\": 2, \"top_k\": 2}}",
     SMFT_E_FORMAT, "layers"},
};

START_TEST(refusals) {
  smft__config c;
  ck_status(load(&c, refused[_i].text), refused[_i].status);
  ck_assert_msg(strstr(smft_error_message(), refused[_i].needle) != NULL,
                "%s: message lacks \"%s\": %s", refused[_i].text, refused[_i].needle,
                smft_error_message());
  ck_assert_ptr_null(c.memories); /* nothing left behind */
}
END_TEST

START_TEST(missing) {
  smft__config c;
  ck_status(smft__config_load(&c, ctx, test_file("nowhere")), SMFT_E_NOT_FOUND);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("unit config");
  TCase *tests = tcase_create("config");
  test_directory_make();
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, defaults);
  tcase_add_test(tests, everything_given);
  tcase_add_test(tests, newer_rope_parameters);
  tcase_add_loop_test(tests, qwen2_as_transformers_writes_it, 0, 2);
  tcase_add_test(tests, qwen2_without_a_window);
  tcase_add_test(tests, windows_of_blocks);
  tcase_add_test(tests, blocks_without_positions);
  tcase_add_test(tests, qwen3_norms_its_heads);
  tcase_add_test(tests, means_nothing);
  tcase_add_test(tests, smollm3_as_published);
  tcase_add_test(tests, listed_keys_are_read);
  tcase_add_test(tests, gemma3_as_transformers_writes_it);
  tcase_add_test(tests, gemma3_in_older_words);
  tcase_add_test(tests, gemma3_of_a_gguf);
  tcase_add_loop_test(tests, refusals, 0, (int)(sizeof refused / sizeof *refused));
  tcase_add_test(tests, missing);
  suite_add_tcase(suite, tests);
  return suite;
}
