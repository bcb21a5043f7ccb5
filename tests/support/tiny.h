/* tiny: small memory models made on the spot (random weights, a byte-level tokenizer of printable
 * ASCII), for tests that need no real data. Call test_directory_make() in make_suite first. */
#ifndef SMFT_TEST_TINY_H
#define SMFT_TEST_TINY_H
#include "test.h"
#include "files.h"

#define TINY_VOCAB 98 /* <s>, space, newline, and the 94 printable characters; 97 is spare */

typedef struct tiny { /* a model's shape; zeros: TINY_DEFAULT's */
  /* shared: two memory layers on one pool, 2: on two pools */
  int n_keys, value_dim, beside, shared;
} tiny;

/* config.json of two or three blocks, d 32. */
static inline void tiny_config(const char *name, tiny shape) {
  char path[600], text[2048];
  int n = snprintf(
      text, sizeof text,
      "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": %d, "
      "\"num_attention_heads\": 4, "
      "\"num_key_value_heads\": 2, \"intermediate_size\": 48, \"vocab_size\": %d, "
      "\"rms_norm_eps\": 1e-5, "
      "\"max_position_embeddings\": 64, \"tie_word_embeddings\": true, \"bos_token_id\": 0, "
      "\"memory\": {\"layers\": %s, "
      "\"pools\": %s, \"placement\": \"%s\", \"n_keys\": %d, \"heads\": 2, \"top_k\": 4, "
      "\"key_dim\": 16, \"value_dim\": %d, "
      "\"query_norm\": \"layernorm\", \"key_norm\": \"none\", \"gate\": true, \"bias\": true}}",
      shape.shared ? 3 : 2, TINY_VOCAB, shape.shared ? "[0, 2]" : "[1]",
      shape.shared == 2 ? "[0, 1]"
      : shape.shared    ? "[0, 0]"
                        : "[0]",
      shape.beside ? "beside" : "replace", shape.n_keys ? shape.n_keys : 16,
      shape.value_dim ? shape.value_dim : 20);
  snprintf(path, sizeof path, "%s/config.json", name);
  test_write(path, text, (size_t)n);
}

/* tokenizer.json: every character a token. */
static inline void tiny_tokenizer(const char *name) {
  char path[600], text[8192];
  int n = snprintf(text, sizeof text,
                   "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, "
                   "\"added_tokens\": [{\"id\": 0, \"content\": \"<s>\", "
                   "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": "
                   "false, \"special\": true}], "
                   "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
                   "\"add_prefix_space\": false, "
                   "\"trim_offsets\": true, "
                   "\"use_regex\": true}, \"post_processor\": {\"type\": \"TemplateProcessing\", "
                   "\"single\": [{\"SpecialToken\": {\"id\": "
                   "\"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], "
                   "\"pair\": [], \"special_tokens\": "
                   "{\"<s>\": {\"id\": \"<s>\", \"ids\": [0], \"tokens\": [\"<s>\"]}}}, "
                   "\"decoder\": {\"type\": \"ByteLevel\", "
                   "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}, "
                   "\"model\": {\"type\": \"BPE\", "
                   "\"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, "
                   "\"end_of_word_suffix\": null, "
                   "\"fuse_unk\": false, \"byte_fallback\": false, \"merges\": [], \"vocab\": "
                   "{\"<s>\": 0, \"\\u0120\": 1, \"\\u010a\": 2");
  for (int c = 33; c < 127; c++)
    n += snprintf(text + n, sizeof text - (size_t)n, ", \"%s%c\": %d",
                  c == '"' || c == '\\' ? "\\" : "", c, c - 33 + 3);
  n += snprintf(text + n, sizeof text - (size_t)n, "}}}");
  snprintf(path, sizeof path, "%s/tokenizer.json", name);
  test_write(path, text, (size_t)n);
}

/* Puts `family`, keys of config.json, in place of "model_type": "llama". */
static inline void tiny_family(const char *name, const char *family) {
  static const char llama[] = "{\"model_type\": \"llama\"";
  char path[600], text[4096];
  snprintf(path, sizeof path, "%s/config.json", name);
  char *whole = test_read(test_file(path), NULL);
  ck_assert_ptr_nonnull(strstr(whole, llama));
  int n = snprintf(text, sizeof text, "{%s%s", family, whole + sizeof llama - 1);
  test_write(path, text, (size_t)n);
  free(whole);
}

/* Writes the directory `name` and makes a model with random weights from it; family: NULL, or see
 * tiny_family. */
static inline smft_model *tiny_model_of(smft_ctx *ctx, const char *name, tiny shape,
                                        const char *family, uint64_t seed) {
  smft_model *model = NULL;
  mkdir(test_file(name), 0700);
  tiny_config(name, shape);
  tiny_tokenizer(name);
  if (family)
    tiny_family(name, family);
  ck_ok(smft_model_init(&model, ctx, test_file(name), seed));
  return model;
}

static inline smft_model *tiny_model(smft_ctx *ctx, const char *name, tiny shape, uint64_t seed) {
  return tiny_model_of(ctx, name, shape, NULL, seed);
}

/* Without a memory, on disk, loaded from there: what a graft is made of.  Context 64, d 32. */
static inline smft_model *tiny_plain(smft_ctx *ctx, const char *name, int n_layers, uint64_t seed) {
  char path[600], text[1024];
  smft_model *made = NULL, *model = NULL;
  int n = snprintf(text, sizeof text,
                   "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": %d, "
                   "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
                   "\"intermediate_size\": 48, \"vocab_size\": %d, \"rms_norm_eps\": 1e-5, "
                   "\"max_position_embeddings\": 64, \"tie_word_embeddings\": true, "
                   "\"bos_token_id\": 0}",
                   n_layers, TINY_VOCAB);
  mkdir(test_file(name), 0700);
  snprintf(path, sizeof path, "%s/config.json", name);
  test_write(path, text, (size_t)n);
  tiny_tokenizer(name);
  ck_ok(smft_model_init(&made, ctx, test_file(name), seed));
  ck_ok(smft_model_export(made, NULL, test_file(name), NULL));
  smft_model_free(made);
  ck_ok(smft_model_load(&model, ctx, test_file(name), NULL));
  return model;
}

static inline int32_t tiny_id(char c) { return c == ' ' ? 1 : c == '\n' ? 2 : c - 33 + 3; }

/* Counts 24 sequences of 12 tokens, the same every time. */
static inline smft_selector *tiny_selector(const smft_model *model, int32_t rule, int64_t t) {
  int32_t ids[24 * 12];
  int64_t lengths[24];
  uint32_t state = 1;
  for (int i = 0; i < 24 * 12; i++) {
    state = state * 1664525u + 1013904223u;
    ids[i] = (int32_t)(state >> 8) % TINY_VOCAB;
  }
  for (int i = 0; i < 24; i++)
    lengths[i] = 12;
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  options.rule = rule;
  options.t = t;
  smft_background background = SMFT_BACKGROUND_INIT;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = 24;
  smft_selector *selector = NULL;
  ck_ok(smft_selector_create(&selector, model, &options));
  ck_ok(smft_selector_count_background(selector, &background));
  return selector;
}

/* Queues a fact of three wordings about `subject`. */
static inline void tiny_push_about(smft_learner *learner, const char *id, const char *subject,
                                   const char *answer) {
  smft_wording wordings[3] = {SMFT_WORDING_INIT, SMFT_WORDING_INIT, SMFT_WORDING_INIT};
  char prompts[3][64];
  for (int i = 0; i < 3; i++) {
    snprintf(prompts[i], sizeof prompts[i], "%s %s is",
             (const char *[]){"the", "what", "so now"}[i], subject);
    wordings[i].prompt = prompts[i];
    wordings[i].answer = answer;
  }
  ck_ok(smft_learner_push(learner, id, wordings, 3));
}

static inline void tiny_push(smft_learner *learner, const char *id, const char *answer) {
  tiny_push_about(learner, id, id, answer);
}

/* With counts of one sequence, and damping. */
static inline smft_selector *tiny_damping(const smft_model *model) {
  const int32_t ids[] = {0, 5, 9, 31, 44, 7};
  const int64_t length = 6;
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_background background = SMFT_BACKGROUND_INIT;
  smft_selector *selector = NULL;
  options.rule = SMFT_RULE_ALL;
  options.damping = 1;
  background.ids = ids;
  background.lengths = &length;
  background.n_sequences = 1;
  ck_ok(smft_selector_create(&selector, model, &options));
  ck_ok(smft_selector_count_background(selector, &background));
  return selector;
}

/* A slots patch that was taught one fact, "taught", which is protected. */
static inline smft_patch *tiny_taught(smft_ctx *ctx, const smft_model *model) {
  const int32_t prompt[] = {0, 50, 60}, answer[] = {70, 71};
  smft_ids_wording wording = SMFT_IDS_WORDING_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_selector *selector = tiny_damping(model);
  smft_optimizer *optimizer = NULL;
  smft_learner *learner = NULL;
  smft_patch *patch = NULL;
  smft_fact_info info = SMFT_FACT_INFO_INIT;
  wording.prompt = prompt;
  wording.n_prompt = 3;
  wording.answer = answer;
  wording.n_answer = 2;
  rate.kind = SMFT_OPTIMIZER_ADAMW;
  rate.lr = 0.5;
  learning.loss_below = 4.35; /* a model so small learns little: from 4.5 to 4.1 */
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_optimizer_create(&optimizer, ctx, &rate));
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, &learning));
  ck_ok(smft_learner_push_ids(learner, "taught", &wording, 1));
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL));
  ck_ok(smft_patch_fact_get(patch, 0, &info));
  ck_assert(info.state == SMFT_FACT_DONE && info.n_reads > 0);
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  return patch;
}
#endif
