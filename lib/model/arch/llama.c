/* llama: Llama, and what says of itself that it is one: names of tensors, keys, plan. */
#include "model/arch.h"
#include "model/rotary.h"

static const char *const names[SMFT__N_PARAMS] = {SMFT__DECODER_NAMES, SMFT__MEMORY_NAMES};

static const char *const keys[] = {"hidden_act", NULL};

static smft_status plan(smft__config *config, smft_ctx *ctx, const json_t *root) {
  SMFT__TRY(smft__config_only(root, "hidden_act", "silu"));
  SMFT__TRY(smft__config_decoder(config, ctx, root));
  return smft__rotary_plan(config, ctx, root, 10000);
}

const smft__arch smft__arch_llama = {.model_type = "llama",
                                     .names = names,
                                     .plan = plan,
                                     .keys = keys,
                                     .gguf = SMFT__GGUF_TURNS_ROWS};
