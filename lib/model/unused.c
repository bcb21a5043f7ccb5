/* unused: keys of config.json and tensors of a file that nothing makes use of: which of them mean
 * nothing, and the refusal of the others.  Owns the lists that hold for all families; a family has
 * its own (smft__arch).  Does not own what a key that is read may say (config.c, arch/). */
#include "model/unused.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "model/arch.h"
#include "model/head.h"
#include "model/weights.h"

/* Keys about training, text, generation and bookkeeping; buffers that follow from the config.  One
 * '*' stands for any text. */
static const char *const meaningless[] = {
    /* who wrote the file, with what */
    "_*", "architectures", "auto_map", "custom_pipelines", "dtype", "torch_dtype",
    "transformers_version", "transformers.js_config", "unsloth_*", "is_llama_config", "model_name",
    "name_or_path", "attn_implementation", "use_flash_attn*", "use_bfloat16", "torchscript",
    /* how it was trained: dropout and the rest are not done here, in training neither */
    "*_dropout", "*_pdrop", "dropout", "initializer_*", "gradient_checkpointing", "pretraining_tp",
    "max_sequence_length", "router_aux_loss_coef", "*_z_loss",
    /* text and other tasks; bos and eos are read */
    "*_token_id", "bos_token", "eos_token", "pad_token", "unk_token", "tokenizer_class", "id2label",
    "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params",
    /* how the host is to run it: the caller says that here */
    "use_cache", "cache_implementation", "return_dict*", "use_return_dict", "output_attentions",
    "output_hidden_states", "output_scores", "is_decoder", "chunk_size_feed_forward",
    /* defaults of generation, which older transformers wrote here */
    "do_sample", "early_stopping", "max_length", "min_length", "max_new_tokens", "num_beams",
    "num_beam_groups", "num_return_sequences", "diversity_penalty", "length_penalty",
    "repetition_penalty", "encoder_no_repeat_ngram_size", "no_repeat_ngram_size", "bad_words_ids",
    "temperature", "top_k", "top_p", "typical_p", "forced_*", "suppress_tokens",
    "begin_suppress_tokens", "exponential_decay_length_penalty", "remove_invalid_values", "prefix",
    /* tensors */
    "*.rotary_emb.inv_freq", "*.rotary_emb.cos_cached", "*.rotary_emb.sin_cached", "*.attn.bias",
    "*.attn.masked_bias", NULL};

static int matches(const char *pattern, const char *name) {
  const char *star = strchr(pattern, '*');
  if (!star)
    return strcmp(pattern, name) == 0;
  size_t before = (size_t)(star - pattern), behind = strlen(star + 1), length = strlen(name);
  return length >= before + behind && memcmp(name, pattern, before) == 0 &&
         memcmp(name + length - behind, star + 1, behind) == 0;
}

static int listed(const char *const *list, const char *name) {
  for (; list && *list; list++)
    if (matches(*list, name))
      return 1;
  return 0;
}

/* ---- keys ---------------------------------------------------------------- */

/* With these numbers it is as if the key were not there. */
static const struct {
  const char *key;
  double number;
} neutral[] = {
    {"partial_rotary_factor", 1}, {"rotary_pct", 1},
    {"logit_scale", 1},           {"logits_scaling", 1},
    {"residual_multiplier", 1},   {"embedding_multiplier", 1},
    {"num_experts", 0},           {"num_local_experts", 0},
    {"n_routed_experts", 0},      {"num_nextn_predict_layers", 0},
};

/* Not to be there means true. */
static const char *const true_if_missing[] = {"is_causal", "causal", "use_rope",
                                              "scale_attn_weights", NULL};

/* A list that says of every layer that it sees all before it. */
static int all_full_attention(const json_t *types) {
  for (size_t i = 0; i < json_array_size(types); i++) {
    const char *type = json_string_value(json_array_get(types, i));
    if (!type || strcmp(type, "full_attention") != 0)
      return 0;
  }
  return json_is_array(types);
}

static int is_neutral(const char *key, const json_t *value) {
  if (json_is_null(value))
    return 1;
  if (listed(true_if_missing, key))
    return json_is_true(value);
  if (strcmp(key, "layer_types") == 0)
    return all_full_attention(value);
  for (size_t i = 0; json_is_number(value) && i < sizeof neutral / sizeof *neutral; i++)
    if (strcmp(neutral[i].key, key) == 0) {
      double number = json_number_value(value);
      return !(number < neutral[i].number || number > neutral[i].number);
    }
  return json_is_false(value) || (json_is_array(value) && json_array_size(value) == 0) ||
         (json_is_object(value) && json_object_size(value) == 0);
}

static smft_status fail_key(smft_ctx *ctx, const char *key, const json_t *value) {
  smft__buffer text = {ctx, NULL, 0, 0};
  smft_status status =
      smft__json_put(&text, value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
  if (status == SMFT_OK)
    status = smft__fail(SMFT_E_UNSUPPORTED, "config.json: \"%s\": %.100s%s is not supported", key,
                        text.data, text.length > 100 ? "..." : "");
  smft__buffer_free(&text);
  return status;
}

smft_status smft__unused_keys(const smft__arch *arch, smft_ctx *ctx, const json_t *root) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)root, key, value) {
    if (!listed(smft__config_keys, key) && !listed(arch->keys, key) &&
        !listed(arch->ignored, key) && !listed(meaningless, key) && !is_neutral(key, value))
      return fail_key(ctx, key, value);
  }
  return SMFT_OK;
}

/* ---- tensors ------------------------------------------------------------- */

/* Parts of names that people's files have too many of; the first is said. */
static const struct {
  const char *part, *what;
} looks[] = {
    {".lora_", "a part of a LoRA adapter that was not merged"},
    {"base_model.model.", "a part of an adapter"},
    {"weight_scale", "the scale of a quantised weight"},
    {".input_scale", "the scale of a quantised layer"},
    {".scales", "the scales of a quantised weight"},
    {".biases", "the offsets of a quantised weight"},
    {".qweight", "a quantised weight"},
    {".qzeros", "the offsets of a quantised weight"},
    {".g_idx", "the order of a quantised weight"},
    {".weight_packed", "a quantised weight"},
    {".absmax", "the scale of a quantised weight"},
    {".quant_", "a part of a quantised weight"},
    {".memory.", "a part of a memory layer that config.json does not have there"},
    {"model.memory_pools.", "a pool that config.json does not have"},
    {".experts.", "one of several experts"},
    {"vision", "a part for images"},
    {"visual", "a part for images"},
    {"audio", "a part for sound"},
    {".bias", "a bias that this family does not have"},
    {"norm.weight", "a norm that this family does not have"},
};

/* "model.layers.<number>." of a block that the config does not have; -1: it is not. */
static int64_t block_behind(const smft__config *config, const char *name) {
  static const char blocks[] = "model.layers.";
  int64_t number = 0;
  if (strncmp(name, blocks, sizeof blocks - 1) != 0)
    return -1;
  name += sizeof blocks - 1;
  for (int digits = 0; *name >= '0' && *name <= '9' && digits < 9; name++, digits++)
    number = 10 * number + (*name - '0');
  return *name == '.' && number >= config->n_layers ? number : -1;
}

/* Which of the first `n_lines` of the list of parameters has this name, but is left out there by
 * the config; or -1. */
static int32_t left_out(const smft_model *model, const char *name, int32_t n_lines) {
  const smft__config *c = &model->config;
  char own[SMFT__TENSOR_NAME];
  for (int32_t line = 0; line < n_lines; line++)
    for (int32_t i = 0; i < smft__n_places(c, smft__params[line].scope); i++)
      if (c->arch->names[line] && !smft__param_is_there(c, line, i)) {
        smft__weights_name(own, c, (smft__origin){line, i});
        if (strcmp(own, name) == 0)
          return line;
      }
  return -1;
}

static smft_status fail_tensor(const smft_model *model, const char *name, int64_t others) {
  int64_t block = block_behind(&model->config, name);
  char more[64] = "";
  size_t i = 0, n = sizeof looks / sizeof *looks;
  if (others > 0)
    snprintf(more, sizeof more, " (nor %lld other%s)", (long long)others, others == 1 ? "" : "s");
  if (block >= 0)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "tensor %s is not used%s: block %lld, config.json has blocks 0 to %d", name,
                      more, (long long)block, model->config.n_layers - 1);
  if (left_out(model, name, SMFT__N_PARAMS) >= 0)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "tensor %s is not used%s: what config.json says leaves it out", name, more);
  while (i < n && !strstr(name, looks[i].part))
    i++;
  return smft__fail(SMFT_E_UNSUPPORTED, "tensor %s is not used%s%s%s (\"model_type\": \"%s\")",
                    name, more, i < n ? ": it looks like " : "", i < n ? looks[i].what : "",
                    model->config.arch->model_type);
}

static smft_status check_tied(const smft_model *model, int64_t at) {
  int32_t head = smft__head_tensor(model);
  if (smft__weights_same(&model->source.tensors[at], &model->tensors[head]))
    return SMFT_OK;
  return smft__fail(SMFT_E_MISMATCH,
                    "tensor %s is not the same as %s, but config.json ties the head to the "
                    "embedding (\"tie_word_embeddings\": true)",
                    model->source.names[at], model->names[head]);
}

static smft_status check_source(const smft_model *model, const smft__source *source) {
  int64_t first = -1, n = 0;
  for (int64_t i = 0; i < source->n; i++) {
    const char *name = source->names[i];
    if (source->used[i] || listed(meaningless, name) || listed(model->config.arch->ignored, name))
      continue;
    if (source == &model->source &&
        left_out(model, name, SMFT__N_MODEL_PARAMS) >= 0) { /* the head, tied */
      SMFT__TRY(check_tied(model, i));
      continue;
    }
    first = n++ == 0 ? i : first;
  }
  return n == 0 ? SMFT_OK : fail_tensor(model, source->names[first], n - 1);
}

smft_status smft__unused_tensors(const smft_model *model) {
  SMFT__TRY(check_source(model, &model->source));
  return check_source(model, &model->graft);
}
