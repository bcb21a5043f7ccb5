/* llama: Llama, and what says of itself that it is one: names of tensors, keys, plan. */
#include "model/arch.h"

static const char *const names[SMFT__N_PARAMS] = {
    [SMFT__LINE_EMBED] = "model.embed_tokens.weight",
    [SMFT__LINE_FINAL_NORM] = "model.norm.weight",
    [SMFT__LINE_HEAD] = "lm_head.weight",
    [SMFT__LINE_INPUT_NORM] = "model.layers.%d.input_layernorm.weight",
    [SMFT__LINE_Q] = "model.layers.%d.self_attn.q_proj.weight",
    [SMFT__LINE_K] = "model.layers.%d.self_attn.k_proj.weight",
    [SMFT__LINE_V] = "model.layers.%d.self_attn.v_proj.weight",
    [SMFT__LINE_O] = "model.layers.%d.self_attn.o_proj.weight",
    [SMFT__LINE_POST_NORM] = "model.layers.%d.post_attention_layernorm.weight",
    [SMFT__LINE_GATE] = "model.layers.%d.mlp.gate_proj.weight",
    [SMFT__LINE_UP] = "model.layers.%d.mlp.up_proj.weight",
    [SMFT__LINE_DOWN] = "model.layers.%d.mlp.down_proj.weight",
    SMFT__MEMORY_NAMES,
};

static smft_status plan(smft__config *config, smft_ctx *ctx, const json_t *root) {
  SMFT__TRY(smft__config_only(root, "hidden_act", "silu"));
  SMFT__TRY(smft__config_refuse_partial_rope(root));
  SMFT__TRY(smft__config_refuse_true(root, "attention_bias"));
  SMFT__TRY(smft__config_refuse_true(root, "mlp_bias"));
  SMFT__TRY(smft__config_refuse_present(root, "quantization_config"));
  SMFT__TRY(smft__config_refuse_present(root, "sliding_window"));
  return smft__config_decoder(config, ctx, root);
}

const smft__arch smft__arch_llama = {"llama", names, plan};
