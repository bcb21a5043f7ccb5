/* smollm: SmolLM3: Llama with blocks that know no positions (SmolLM 1 and 2 are Llama). */
#include "model/arch.h"
#include "model/rotary.h"

static const char *const names[SMFT__N_PARAMS] = {SMFT__DECODER_NAMES, SMFT__MEMORY_NAMES};

static const char *const keys[] = {"hidden_act",
                                   "no_rope_layers",
                                   "no_rope_layer_interval",
                                   "sliding_window",
                                   "use_sliding_window",
                                   "layer_types",
                                   NULL};

/* The published file has it of Qwen2's. */
static const char *const ignored[] = {"max_window_layers", NULL};

/* "no_rope_layers", against its name: 1 for a block with positions, 0 for one without. */
static smft_status read_listed(const json_t *list, int32_t i, int32_t *rope) {
  const json_t *value = json_array_get(list, (size_t)i);
  if (!json_is_boolean(value) &&
      !(json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= 1))
    return smft__fail(SMFT_E_FORMAT, "config.json: \"no_rope_layers\"[%d] must be 0 or 1", i);
  *rope = json_is_true(value) || json_integer_value(value) ? 0 : -1;
  return SMFT_OK;
}

/* Where no list says which, every so many blocks one has none. */
static smft_status plan_positions(smft__config *config, const json_t *root) {
  const json_t *list = json_object_get(root, "no_rope_layers");
  int64_t interval = 4;
  int listed = list && !json_is_null(list);
  if (listed && (!json_is_array(list) || json_array_size(list) != (size_t)config->n_layers))
    return smft__fail(SMFT_E_FORMAT, "config.json: \"no_rope_layers\" must be a list of %d",
                      config->n_layers);
  SMFT__TRY(smft__json_i64(root, "no_rope_layer_interval", 4, &interval, "config.json"));
  if (interval < 1)
    return smft__fail(SMFT_E_FORMAT, "config.json: \"no_rope_layer_interval\" must be from 1");
  for (int32_t i = 0; i < config->n_layers; i++) {
    config->blocks[i].rope = (i + 1) % interval ? 0 : -1;
    if (listed)
      SMFT__TRY(read_listed(list, i, &config->blocks[i].rope));
  }
  return SMFT_OK;
}

/* Blocks without positions have the window, unless "layer_types" says which. */
static smft_status plan_windows(smft__config *config, const json_t *root) {
  int32_t window = 0;
  int used = 0;
  SMFT__TRY(smft__json_bool(root, "use_sliding_window", 0, &used, "config.json"));
  if (used)
    SMFT__TRY(smft__config_window(root, 0, &window));
  for (int32_t i = 0; i < config->n_layers; i++)
    config->blocks[i].window = config->blocks[i].rope < 0 ? window : 0;
  return smft__config_layer_types(config, root, window);
}

static smft_status plan(smft__config *config, smft_ctx *ctx, const json_t *root) {
  SMFT__TRY(smft__config_only(root, "hidden_act", "silu"));
  config->tied = 1; /* where the file does not say */
  SMFT__TRY(smft__config_decoder(config, ctx, root));
  SMFT__TRY(smft__rotary_plan(config, ctx, root, 2e6));
  SMFT__TRY(plan_positions(config, root));
  return plan_windows(config, root);
}

const smft__arch smft__arch_smollm3 = {.model_type = "smollm3",
                                       .names = names,
                                       .plan = plan,
                                       .keys = keys,
                                       .ignored = ignored,
                                       .gguf = SMFT__GGUF_TURNS_ROWS};
