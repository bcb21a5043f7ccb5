/* fuzz_optimizer: any bytes as an optimizer's state, for the kind that they name: refused with a
 * message, or a state that goes on for a step, and is read back after it was written. */
#include "fuzz_header.h"
#include "fuzz_model.h"

static int says(const uint8_t *data, size_t size, const char *what) {
  return memmem(data, size, what, strlen(what)) != NULL;
}

static smft_optimizer *make(const uint8_t *data, size_t size) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer = NULL;
  options.kind = says(data, size, "adamw") ? SMFT_OPTIMIZER_ADAMW : SMFT_OPTIMIZER_SGD;
  options.flags = SMFT_OPTIMIZER_KEEP_STATE;
  options.lr = 0.01;
  if (options.kind == SMFT_OPTIMIZER_SGD && says(data, size, "\"moments\":\"1\""))
    options.momentum = 0.9;
  MUST(smft_optimizer_create(&optimizer, fuzz_ctx(), &options));
  return optimizer;
}

static void step_slots(smft_optimizer *optimizer) {
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_selector *selector = NULL;
  smft_patch *patch = NULL;
  options.rule = SMFT_RULE_ALL;
  options.flags = SMFT_SELECTOR_EMPTY;
  MUST(smft_selector_create(&selector, fuzz_model(), &options));
  MUST(smft_patch_create(&patch, fuzz_model(), SMFT_PATCH_SLOTS));
  fuzz_step(patch, selector, optimizer);
  smft_patch_free(patch);
  smft_selector_free(selector);
}

/* lora: of the layout that corpus/optimizer has. */
static void step_dense(smft_optimizer *optimizer, int lora) {
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  smft_patch *patch = NULL;
  options.rank = 1;
  options.targets = SMFT_LORA_Q | SMFT_LORA_DOWN;
  if (lora)
    MUST(smft_patch_create_lora(&patch, fuzz_model(), &options));
  else
    MUST(smft_patch_create(&patch, fuzz_model(), SMFT_PATCH_FULL));
  fuzz_step(patch, NULL, optimizer);
  smft_patch_free(patch);
}

static void run(const uint8_t *data, size_t size) {
  smft_optimizer *optimizer = make(data, size);
  const char *path = fuzz_write("optimizer", data, size);
  smft_status status = smft_optimizer_load(optimizer, fuzz_model(), path);
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED, SMFT_E_MISMATCH, SMFT_E_NONFINITE);
  if (status == SMFT_OK) {
    MUST(smft_optimizer_save(optimizer, fuzz_path("again")));
    MUST(smft_optimizer_load(optimizer, fuzz_model(), fuzz_path("again")));
    if (says(data, size, "\"slots\""))
      step_slots(optimizer);
    else
      step_dense(optimizer, says(data, size, "\"lora\""));
  }
  smft_optimizer_free(optimizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint8_t nothing;
  fuzz_run(run, data ? data : &nothing, size);
  return 0;
}
