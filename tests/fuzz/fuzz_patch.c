/* fuzz_patch: any bytes as a patch: refused with a message, or one whose rows and facts can be
 * read, that answers, and is the same after it was written and read back. */
#include "fuzz_header.h"
#include "fuzz_model.h"

enum { ROWS = 16, DIM = 4 };

static void read_rows(smft_patch *patch) {
  int64_t slots[ROWS], n = 0;
  float row[DIM];
  for (int32_t pool = 0; pool < 2; pool++) {
    MUST(smft_patch_slots(patch, pool, slots, ROWS, &n));
    for (int64_t i = 0; i < n; i++) {
      if (slots[i] < 0 || slots[i] >= ROWS || (i > 0 && slots[i] <= slots[i - 1]))
        give_up("slots that are not there, or not in order");
      MUST(smft_patch_row(patch, pool, slots[i], row, DIM));
    }
  }
}

static void read_fact(smft_patch *patch, int64_t i) {
  char id[1 << 16];
  smft_fact_row rows[2 * ROWS];
  int64_t n = 0;
  size_t length = 0;
  smft_fact_info info = SMFT_FACT_INFO_INIT;
  MUST(smft_patch_fact_get(patch, i, &info));
  if (info.state != SMFT_FACT_DONE && info.state != SMFT_FACT_GAVE_UP)
    give_up("a fact in no state");
  MUST(smft_patch_fact_id(patch, i, id, sizeof id, &length));
  if (!smft__utf8_valid(id, length, NULL))
    give_up("an id that is not UTF-8");
  MUST(smft_patch_fact_rows(patch, i, rows, 2 * ROWS, &n));
}

static void use(smft_patch *patch) {
  if (smft_patch_kind(patch) == SMFT_PATCH_SLOTS) {
    read_rows(patch);
    for (int64_t i = 0; i < smft_patch_fact_count(patch); i++)
      read_fact(patch, i);
  }
  fuzz_feed(patch);
  fuzz_patch_again(patch);
  if (smft_patch_fact_count(patch) > 0) {
    MUST(smft_patch_fact_remove(patch, 0));
    fuzz_patch_again(patch);
  }
}

static void run(const uint8_t *data, size_t size) {
  smft_patch *patch = NULL;
  smft_status status = smft_patch_load_buffer(&patch, fuzz_model(), data, (int64_t)size);
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED, SMFT_E_MISMATCH, SMFT_E_NONFINITE);
  if ((status == SMFT_OK) != (patch != NULL))
    give_up("a patch and an error, or neither");
  if (patch)
    use(patch);
  smft_patch_free(patch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint8_t nothing;
  fuzz_run(run, data ? data : &nothing, size);
  return 0;
}
