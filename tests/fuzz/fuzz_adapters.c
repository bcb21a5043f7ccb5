/* fuzz_adapters: any bytes as adapter_config.json, and behind a 0 as adapter_model.safetensors:
 * refused with a message, or adapters that answer, learn, and are the same after they were written
 * and read back. */
#include "fuzz_header.h"
#include "fuzz_model.h"

static void use(smft_patch *patch) {
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  smft_patch *merged = NULL;
  MUST(smft_patch_get_lora(patch, &options));
  if (options.rank < 1 || !(options.alpha > 0))
    give_up("adapters without a rank or a scale");
  fuzz_feed(patch);
  fuzz_patch_again(patch);
  smft_status status = smft_patch_merge(&merged, patch);
  CHECK(status, SMFT_E_NONFINITE);
  smft_patch_free(merged);
  fuzz_step(patch, NULL, NULL);
  fuzz_feed(patch);
}

static void run(const uint8_t *data, size_t size) {
  smft_patch *patch = NULL;
  size_t length = 0;
  const char *part = fuzz_part(&data, &size, &length);
  fuzz_write("adapter_config.json", part ? part : "", length);
  fuzz_write("adapter_model.safetensors", data ? (const void *)data : "", size);
  smft_status status = smft_patch_load(&patch, fuzz_model(), fuzz_path(""));
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED, SMFT_E_MISMATCH, SMFT_E_NONFINITE,
        SMFT_E_ENCODING);
  if ((status == SMFT_OK) != (patch != NULL))
    give_up("a patch and an error, or neither");
  if (patch)
    use(patch);
  smft_patch_free(patch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_run(run, data, size);
  return 0;
}
