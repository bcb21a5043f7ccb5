/* qwen: Qwen2 (and Qwen2.5): Llama with biases on queries, keys and values.  Qwen3: without them,
 * but with a norm on each head of queries and keys. */
#include <string.h>

#include "model/arch.h"

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

/* Newer files say of each layer how far it sees. */
static smft_status check_layers(const json_t *root) {
  const json_t *types = json_object_get(root, "layer_types");
  for (size_t i = 0; i < json_array_size(types); i++) {
    const char *type = json_string_value(json_array_get(types, i));
    if (!type || strcmp(type, "full_attention") != 0)
      return smft__fail(SMFT_E_UNSUPPORTED,
                        "config.json: \"layer_types\"[%d]: expected \"full_attention\", got %s",
                        (int)i, type ? type : "no string");
  }
  return SMFT_OK;
}

/* "sliding_window" is a number in older files, and means nothing unless it is used. */
static smft_status plan(smft__config *config, smft_ctx *ctx, const json_t *root) {
  SMFT__TRY(smft__config_only(root, "hidden_act", "silu"));
  SMFT__TRY(smft__config_refuse_partial_rope(root));
  SMFT__TRY(smft__config_refuse_present(root, "quantization_config"));
  SMFT__TRY(smft__config_refuse_true(root, "use_sliding_window"));
  SMFT__TRY(check_layers(root));
  return smft__config_decoder(config, ctx, root);
}

/* A file without "head_dim" means 128, whatever its other sizes. */
static smft_status plan3(smft__config *config, smft_ctx *ctx, const json_t *root) {
  config->head_dim = 128;
  SMFT__TRY(smft__config_refuse_true(root, "attention_bias"));
  SMFT__TRY(plan(config, ctx, root));
  for (int32_t i = 0; i < config->n_layers; i++)
    config->blocks[i].qk_norm = SMFT__QK_NORM_PER_HEAD;
  return SMFT_OK;
}

const smft__arch smft__arch_qwen2 = {"qwen2", names2, plan};
const smft__arch smft__arch_qwen3 = {"qwen3", names3, plan3};
