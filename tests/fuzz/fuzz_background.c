/* fuzz_background: any bytes as background counts: refused with a message, or counts that a step
 * selects rows and damps them by, and that are the same after they were written and read back. */
#include "fuzz_header.h"
#include "fuzz_model.h"

enum { ROWS = 16 };

static void check_counts(const smft_selector *selector, const smft_selector *again) {
  uint32_t df[ROWS], df_again[ROWS];
  int64_t n = 0, n_again = 0;
  for (int32_t pool = 0; pool < 2; pool++) {
    MUST(smft_selector_df(selector, pool, df, ROWS, &n));
    MUST(smft_selector_df(again, pool, df_again, ROWS, &n_again));
    if (n != n_again || memcmp(df, df_again, sizeof df) != 0)
      give_up("counts that were read back are others");
    for (int i = 0; i < ROWS; i++)
      if (df[i] > n)
        give_up("a row was read in more batches than there are");
  }
}

static smft_selector *make(int32_t rule) {
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_selector *selector = NULL;
  options.flags = SMFT_SELECTOR_EMPTY;
  options.rule = rule;
  options.max_df = rule == SMFT_RULE_KL ? 0.5 : 0;
  MUST(smft_selector_create(&selector, fuzz_model(), &options));
  return selector;
}

/* To what was loaded: no count falls. */
static void count_more(smft_selector *selector) {
  uint32_t before[2][ROWS], after[2][ROWS];
  static const int32_t ids[] = {0, 30, 31};
  static const int64_t length = 3;
  smft_background background = SMFT_BACKGROUND_INIT;
  background.ids = ids;
  background.lengths = &length;
  background.n_sequences = 1;
  for (int32_t pool = 0; pool < 2; pool++)
    MUST(smft_selector_df(selector, pool, before[pool], ROWS, NULL));
  MUST(smft_selector_count_background(selector, &background));
  for (int32_t pool = 0; pool < 2; pool++) {
    MUST(smft_selector_df(selector, pool, after[pool], ROWS, NULL));
    for (int i = 0; i < ROWS; i++)
      if (after[pool][i] < before[pool][i])
        give_up("a count fell");
  }
}

static void use(smft_selector *selector) {
  smft_selector *again = make(SMFT_RULE_TFIDF);
  smft_patch *patch = NULL;
  MUST(smft_selector_save(selector, fuzz_path("again")));
  MUST(smft_selector_load(again, fuzz_path("again")));
  check_counts(selector, again);
  MUST(smft_patch_create(&patch, fuzz_model(), SMFT_PATCH_SLOTS));
  fuzz_step(patch, selector, NULL);
  count_more(selector);
  smft_patch_free(patch);
  smft_selector_free(again);
}

static void run(const uint8_t *data, size_t size) {
  smft_selector *selector = make(size % 2 ? SMFT_RULE_TFIDF : SMFT_RULE_KL);
  smft_status status = smft_selector_load(selector, fuzz_write("counts", data, size));
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED, SMFT_E_MISMATCH);
  if (status == SMFT_OK)
    use(selector);
  smft_selector_free(selector);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint8_t nothing;
  fuzz_run(run, data ? data : &nothing, size);
  return 0;
}
