/* fuzz_facts: any bytes as a file of facts, for a learner that takes them as they are and for one
 * that makes wordings of them by rule, and as a file of probe items: refused with a message, or as
 * many as it says; some inputs are learnt for two steps. */
#include "fuzz_model.h"

static smft_selector *selector_of_all(void) {
  static smft_selector *selector;
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  options.rule = SMFT_RULE_ALL;
  options.flags = SMFT_SELECTOR_EMPTY;
  if (!selector)
    MUST(smft_selector_create(&selector, fuzz_model(), &options));
  return selector;
}

static void teach(smft_learner *learner) {
  for (int i = 0; i < 2 && smft_learner_pending(learner) > 0; i++) {
    smft_report report = SMFT_REPORT_INIT;
    smft_status status = smft_step(learner, &report);
    CHECK(status, SMFT_E_NONFINITE);
    if (!smft__utf8_valid(report.fact_id, strlen(report.fact_id), NULL))
      give_up("an id that is not UTF-8");
  }
}

static void learn(const char *path, uint32_t flags, int taught) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_learner *learner = NULL;
  smft_patch *patch = NULL;
  int64_t n = -1;
  options.flags = flags;
  options.max_steps = 1;
  MUST(smft_patch_create(&patch, fuzz_model(), SMFT_PATCH_SLOTS));
  MUST(smft_learner_create(&learner, fuzz_model(), patch, selector_of_all(), NULL, &options));
  smft_status status = smft_learner_push_file(learner, path, &n);
  CHECK(status, SMFT_E_FORMAT, SMFT_E_ENCODING, SMFT_E_FACT, SMFT_E_CONTEXT, SMFT_E_INVALID);
  if (n != smft_learner_pending(learner) || (status != SMFT_OK && n != 0))
    give_up("not as many facts as it says");
  if (taught)
    teach(learner);
  smft_learner_free(learner);
  smft_patch_free(patch);
}

static void probe(const char *path) {
  smft_probe *items = NULL;
  smft_probe_item item = SMFT_PROBE_ITEM_INIT;
  int64_t n = -1;
  MUST(smft_probe_create(&items, fuzz_ctx(), NULL));
  smft_status status = smft_probe_add_file(items, path, &n);
  CHECK(status, SMFT_E_FORMAT, SMFT_E_ENCODING, SMFT_E_INVALID);
  for (int64_t i = 0; i < n; i++)
    MUST(smft_probe_get_item(items, i, &item));
  if (smft_probe_get_item(items, n, &item) != SMFT_E_NOT_FOUND)
    give_up("not as many items as it says");
  smft_probe_free(items);
}

static void run(const uint8_t *data, size_t size) {
  const char *path = fuzz_write("facts.jsonl", size ? (const void *)data : "", size);
  learn(path, SMFT_LEARNER_NO_FRAMES, size % 32 == 0);
  learn(path, SMFT_LEARNER_FRAMES, size % 64 == 1);
  probe(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_run(run, data, size);
  return 0;
}
