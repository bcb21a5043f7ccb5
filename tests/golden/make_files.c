/* make_files: writes the files of tests/golden/files_0_1/ with the library that it is linked with:
 * patches, optimizers and background counts of a small model, and what they give.  Run once, by
 * hand, with the library of 0.1 (files_0_1/README.md says how): written anew, the files would no
 * longer be files of before. */
#include <stdio.h>
#include <stdlib.h>
#include "smft/smft.h"

static void files_check(smft_status status, const char *call) {
  if (status == SMFT_OK)
    return;
  fprintf(stderr, "make_files: %s: %s\n", call, smft_error_message());
  exit(1);
}
#define files_ok(call) files_check(call, #call)
#define files_source(path) (path)
#include "old_files.h"

static void make_counts(void) {
  int32_t ids[120];
  int64_t lengths[40];
  files_world w = {0};
  smft_background background = SMFT_BACKGROUND_INIT;
  for (int i = 0; i < 40; i++)
    lengths[i] = 3;
  files_ids(ids, 120, 6);
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = 40;
  files_open_model(&w);
  files_ok(smft_selector_create(&w.selector, w.model, NULL));
  files_ok(smft_selector_count_background(w.selector, &background));
  files_ok(smft_selector_save(w.selector, files_path("background", "counts")));
  files_close(&w);
}

static void make_patch(const struct files_kind *kind) {
  files_world w = {0};
  smft_lora_options lora = SMFT_LORA_OPTIONS_INIT;
  lora.rank = 4;
  lora.seed = 3;
  files_open_model(&w);
  if (kind->patch == SMFT_PATCH_LORA)
    files_ok(smft_patch_create_lora(&w.patch, w.model, &lora));
  else
    files_ok(smft_patch_create(&w.patch, w.model, kind->patch));
  files_open_learner(&w, kind);
  for (int32_t salt = 1; salt <= 3; salt++)
    files_step(&w, salt, NULL);
  files_ok(smft_patch_save(w.patch, files_path(kind->name, "patch"), 0));
  files_ok(smft_optimizer_save(w.optimizer, files_path(kind->name, "optimizer")));
  files_close(&w);
}

static void make_expected(const struct files_kind *kind) {
  const files_numbers numbers = files_go_on(kind);
  FILE *file = fopen(files_path(kind->name, "expected"), "wb");
  if (!file || fwrite(&numbers, sizeof numbers, 1, file) != 1 || fclose(file) != 0) {
    fprintf(stderr, "make_files: %s cannot be written\n", files_path(kind->name, "expected"));
    exit(1);
  }
  printf("%s: loss %g, gradient %g, %g rows, slots %g + %g\n", kind->name, (double)numbers.loss,
         (double)numbers.gradient_norm, (double)numbers.rows_selected, (double)numbers.slots[0],
         (double)numbers.slots[1]);
}

int main(void) {
  make_counts();
  for (int i = 0; i < FILES_KINDS; i++) {
    make_patch(&files_kinds[i]);
    make_expected(&files_kinds[i]);
  }
  return 0;
}
