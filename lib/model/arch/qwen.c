/* qwen: Qwen2 (and Qwen2.5): Llama with biases on queries, keys and values.  Qwen3: without them,
 * but with a norm on each head of queries and keys. */
#include "model/arch.h"
#include "model/rotary.h"

static const char *const names2[SMFT__N_PARAMS] = {
    SMFT__DECODER_NAMES,
    [SMFT__LINE_Q_BIAS] = "model.layers.%d.self_attn.q_proj.bias",
    [SMFT__LINE_K_BIAS] = "model.layers.%d.self_attn.k_proj.bias",
    [SMFT__LINE_V_BIAS] = "model.layers.%d.self_attn.v_proj.bias",
    SMFT__MEMORY_NAMES,
};

static const char *const names3[SMFT__N_PARAMS] = {
    SMFT__DECODER_NAMES,
    SMFT__QK_NORM_NAMES,
    SMFT__MEMORY_NAMES,
};

static const char *const keys[] = {"hidden_act",        "use_sliding_window", "sliding_window",
                                   "max_window_layers", "layer_types",        NULL};

/* Blocks from "max_window_layers" on have the window, unless newer files' "layer_types" says which.
 * "sliding_window" is a number in older files, and means nothing unless it is used. */
static smft_status plan_windows(smft__config *config, const json_t *root) {
  int64_t first = 0;
  int32_t window = 0;
  int used = 0;
  SMFT__TRY(smft__json_bool(root, "use_sliding_window", 0, &used, "config.json"));
  SMFT__TRY(smft__json_i64(root, "max_window_layers", 28, &first, "config.json"));
  if (used)
    SMFT__TRY(smft__config_window(root, 4096, &window));
  for (int32_t i = 0; i < config->n_layers; i++)
    config->blocks[i].window = i >= first ? window : 0;
  return smft__config_layer_types(config, root, window);
}

static smft_status plan(smft__config *config, smft_ctx *ctx, const json_t *root) {
  SMFT__TRY(smft__config_only(root, "hidden_act", "silu"));
  SMFT__TRY(smft__config_decoder(config, ctx, root));
  SMFT__TRY(smft__rotary_plan(config, ctx, root, 10000));
  return plan_windows(config, root);
}

/* A file without "head_dim" means 128, whatever its other sizes. */
static smft_status plan3(smft__config *config, smft_ctx *ctx, const json_t *root) {
  config->head_dim = 128;
  SMFT__TRY(plan(config, ctx, root));
  for (int32_t i = 0; i < config->n_layers; i++)
    config->blocks[i].qk_norm = SMFT__QK_NORM_PER_HEAD;
  return SMFT_OK;
}

const smft__arch smft__arch_qwen2 = {.model_type = "qwen2",
                                     .names = names2,
                                     .plan = plan,
                                     .keys = keys};
const smft__arch smft__arch_qwen3 = {.model_type = "qwen3",
                                     .names = names3,
                                     .plan = plan3,
                                     .keys = keys};
