/* llama: Llama, and what says of itself that it is one: names of tensors, keys, plan. */
#include "model/arch.h"

static const char *const names[SMFT__N_PARAMS] = {SMFT__DECODER_NAMES, SMFT__MEMORY_NAMES};

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
