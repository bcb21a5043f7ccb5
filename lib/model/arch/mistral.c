/* mistral: Llama with a window in every block. */
#include "model/arch.h"
#include "model/rotary.h"

static const char *const names[SMFT__N_PARAMS] = {SMFT__DECODER_NAMES, SMFT__MEMORY_NAMES};

static const char *const keys[] = {"hidden_act", "sliding_window", "layer_types", NULL};

/* A missing window is not none, and "layer_types" may only say the same again. */
static smft_status plan_windows(smft__config *config, const json_t *root) {
  int32_t window = 0;
  SMFT__TRY(smft__config_window(root, 4096, &window));
  SMFT__TRY(smft__config_layer_types(config, root, window));
  for (int32_t i = 0; i < config->n_layers; i++) {
    if (json_is_array(json_object_get(root, "layer_types")) && config->blocks[i].window != window)
      return smft__fail(SMFT_E_UNSUPPORTED,
                        "config.json: \"layer_types\"[%d] is not what \"sliding_window\" says", i);
    config->blocks[i].window = window;
  }
  return SMFT_OK;
}

static smft_status plan(smft__config *config, smft_ctx *ctx, const json_t *root) {
  SMFT__TRY(smft__config_only(root, "hidden_act", "silu"));
  SMFT__TRY(smft__config_decoder(config, ctx, root));
  SMFT__TRY(smft__rotary_plan(config, ctx, root, 10000));
  return plan_windows(config, root);
}

const smft__arch smft__arch_mistral = {.model_type = "mistral",
                                       .names = names,
                                       .plan = plan,
                                       .keys = keys,
                                       .gguf = SMFT__GGUF_TURNS_ROWS};
