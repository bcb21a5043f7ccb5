/* gemma: Gemma 3, text only: norms by 1 + weight before and after attention and FFN, a norm on each
 * head of queries and keys, GEGLU, a scaled embedding, and windows with rotary positions of their
 * own in five blocks of six. */
#include <math.h>
#include <string.h>

#include "model/arch.h"
#include "model/rotary.h"

#define WHAT "config.json"

/* "post_attention_layernorm" comes after attention here; elsewhere it is the norm before the FFN.
 */
static const char *const names[SMFT__N_PARAMS] = {
    SMFT__COMMON_NAMES,
    SMFT__QK_NORM_NAMES,
    [SMFT__LINE_O_NORM] = "model.layers.%d.post_attention_layernorm.weight",
    [SMFT__LINE_POST_NORM] = "model.layers.%d.pre_feedforward_layernorm.weight",
    [SMFT__LINE_DOWN_NORM] = "model.layers.%d.post_feedforward_layernorm.weight",
    SMFT__MEMORY_NAMES,
};

static const char *const keys[] = {"hidden_activation",
                                   "query_pre_attn_scalar",
                                   "sliding_window",
                                   "sliding_window_pattern",
                                   "layer_types",
                                   "rope_local_base_freq",
                                   NULL};

enum { FULL, SLIDING }; /* rotary tables, by what a block sees */

/* ---- rotary positions ---------------------------------------------------- */

/* Of newer files' "rope_parameters", which have two; NULL where there is none. */
static smft_status find_rope(const json_t *root, const char *type, json_t **out) {
  json_t *both = json_object_get(root, "rope_parameters");
  *out = NULL;
  if (!both || json_is_null(both))
    return SMFT_OK;
  *out = json_object_get(both, type);
  if (!json_is_object(*out))
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"rope_parameters\" must have an object \"%s\"", type);
  return SMFT_OK;
}

/* Two that might say different things, and what neither kind of block has. */
static smft_status check_ropes(const json_t *root) {
  const json_t *older = json_object_get(root, "rope_scaling");
  json_t *both = json_object_get(root, "rope_parameters"), *value;
  const char *key;
  if (both && json_object_size(both) && older && !json_is_null(older))
    return smft__fail(SMFT_E_UNSUPPORTED,
                      WHAT ": \"rope_scaling\" beside \"rope_parameters\" is not supported");
  json_object_foreach(both, key, value) {
    if (strcmp(key, "full_attention") != 0 && strcmp(key, "sliding_attention") != 0)
      return smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"rope_parameters\": \"%s\" is not supported",
                        key);
  }
  return SMFT_OK;
}

/* The blocks that see all have the one that all families have, in newer files one of two. */
static smft_status plan_ropes(smft__config *config, smft_ctx *ctx, const json_t *root) {
  json_t *full = NULL, *sliding = NULL;
  double theta = 0, local = 0;
  SMFT__TRY(find_rope(root, "full_attention", &full));
  SMFT__TRY(find_rope(root, "sliding_attention", &sliding));
  SMFT__TRY(check_ropes(root));
  SMFT__TRY(smft__json_double(root, "rope_theta", 1e6, &theta, WHAT));
  SMFT__TRY(smft__json_double(root, "rope_local_base_freq", 1e4, &local, WHAT));
  if (full)
    SMFT__TRY(smft__rotary_add(config, ctx, full, "rope_parameters", theta));
  else
    SMFT__TRY(smft__rotary_plan(config, ctx, root, theta));
  return smft__rotary_add(config, ctx, sliding,
                          sliding ? "rope_parameters" : "rope_local_base_freq", local);
}

/* ---- windows ------------------------------------------------------------- */

/* "layer_types", or in older files every so manieth block sees all. */
static smft_status plan_windows(smft__config *config, const json_t *root) {
  int64_t pattern = 0;
  int32_t window = 0;
  SMFT__TRY(smft__config_window(root, 4096, &window));
  SMFT__TRY(smft__json_i64(root, "sliding_window_pattern", 6, &pattern, WHAT));
  if (pattern < 1 || window < 1)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      WHAT ": \"sliding_window\" and \"sliding_window_pattern\" must be positive");
  for (int32_t i = 0; i < config->n_layers; i++)
    config->blocks[i].window = (i + 1) % pattern ? window : 0;
  SMFT__TRY(smft__config_layer_types(config, root, window));
  for (int32_t i = 0; i < config->n_layers; i++)
    config->blocks[i].rope = config->blocks[i].window ? SLIDING : FULL;
  return SMFT_OK;
}

/* ---- the plan ------------------------------------------------------------ */

static smft_status plan_blocks(smft__config *config, const json_t *root) {
  double scalar = 0;
  SMFT__TRY(smft__json_double(root, "query_pre_attn_scalar", 256, &scalar, WHAT));
  if (!(scalar > 1e-30) || scalar > 1e30)
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"query_pre_attn_scalar\" must be a positive number");
  for (int32_t i = 0; i < config->n_layers; i++) {
    smft__block_plan *block = &config->blocks[i];
    block->norm = config->stack.final_norm;
    block->norms = SMFT__NORMS_BEFORE | SMFT__NORMS_AFTER;
    block->qk_norm = SMFT__QK_NORM_PER_HEAD;
    block->activation = SMFT__GELU_TANH;
    block->attention_scale = (float)(1 / sqrt(scalar));
  }
  return SMFT_OK;
}

/* What a file means that does not say it; and in a GGUF the 1 has been added to the norms. */
static smft_status plan(smft__config *config, smft_ctx *ctx, const json_t *root) {
  config->head_dim = 256;
  config->context = 131072;
  config->tied = 1;
  SMFT__TRY(smft__config_only(root, "hidden_activation", "gelu_pytorch_tanh"));
  SMFT__TRY(smft__config_decoder(config, ctx, root));
  config->stack.embedding_scale = (float)sqrt((double)config->hidden);
  config->stack.final_norm = config->gguf ? SMFT__NORM_BY_WEIGHT : SMFT__NORM_BY_1_PLUS;
  SMFT__TRY(plan_ropes(config, ctx, root));
  SMFT__TRY(plan_windows(config, root));
  return plan_blocks(config, root);
}

const smft__arch smft__arch_gemma3 = {.model_type = "gemma3_text",
                                      .names = names,
                                      .plan = plan,
                                      .keys = keys,
                                      .gguf = SMFT__GGUF_ADDS_ONE};
