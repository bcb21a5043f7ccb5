/* files: what an earlier library wrote is read, and means what it meant: patches, optimizers and
 * background counts of files_0_1/, against what that library computed from them (make_files.c). */
#include "test.h"
#define files_ok ck_ok
#define files_source test_source
#include "old_files.h"

#define LOADED_TOLERANCE 1e-5
#define STEP_TOLERANCE 2e-5 /* AdamW makes much of the last bits of a small gradient */

static files_numbers read_expected(const char *name) {
  files_numbers numbers;
  FILE *file = fopen(files_path(name, "expected"), "rb");
  ck_assert_msg(file != NULL, "%s is not there", files_path(name, "expected"));
  ck_assert_uint_eq(fread(&numbers, sizeof numbers, 1, file), 1);
  ck_assert_int_eq(fgetc(file), EOF);
  fclose(file);
  return numbers;
}

static void check_close(const char *what, const float *got, const float *wanted, int64_t n,
                        double tolerance) {
  double distance = test_distance(got, wanted, n);
  ck_assert_msg(distance < tolerance, "%s: %g from the earlier library's", what, distance);
}

START_TEST(patch_and_optimizer) {
  const struct files_kind *kind = &files_kinds[_i];
  const files_numbers wanted = read_expected(kind->name), got = files_go_on(kind);
  check_close("the loaded patch's logits", got.logits, wanted.logits, FILES_LOGITS,
              LOADED_TOLERANCE);
  check_close("a step's loss", &got.loss, &wanted.loss, 1, STEP_TOLERANCE);
  check_close("a step's gradient", &got.gradient_norm, &wanted.gradient_norm, 1, STEP_TOLERANCE);
  ck_assert_float_eq(got.rows_selected, wanted.rows_selected);
  ck_assert_float_eq(got.slots[0], wanted.slots[0]);
  ck_assert_float_eq(got.slots[1], wanted.slots[1]);
  check_close("logits after a step", got.logits_after, wanted.logits_after, FILES_LOGITS,
              STEP_TOLERANCE);
}
END_TEST

START_TEST(patch_kinds) {
  files_world w = {0};
  files_open_model(&w);
  ck_ok(smft_patch_load(&w.patch, w.model, files_path(files_kinds[_i].name, "patch")));
  ck_assert_int_eq(smft_patch_kind(w.patch), files_kinds[_i].patch);
  files_close(&w);
}
END_TEST

START_TEST(adapter_options) {
  files_world w = {0};
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  files_open_model(&w);
  ck_ok(smft_patch_load(&w.patch, w.model, files_path("lora", "patch")));
  ck_ok(smft_patch_get_lora(w.patch, &options));
  ck_assert_int_eq(options.rank, 4);
  ck_assert_double_eq(options.alpha, 8);
  ck_assert_uint_eq(options.targets, SMFT_LORA_ALL);
  ck_assert_uint_eq(options.flags, 0);
  files_close(&w);
}
END_TEST

/* Of each pool: the sum of df, the slots that were read, and the sum of slot * df. */
START_TEST(background_counts) {
  static const int64_t wanted[2][3] = {{812, 49, 20070}, {855, 48, 21379}};
  files_world w = {0};
  files_open_model(&w);
  ck_ok(smft_selector_create(&w.selector, w.model, NULL));
  ck_ok(smft_selector_load(w.selector, files_path("background", "counts")));
  for (int32_t pool = 0; pool < 2; pool++) {
    uint32_t df[49] = {0};
    int64_t n_batches = 0, got[3] = {0};
    ck_ok(smft_selector_df(w.selector, pool, df, 49, &n_batches));
    ck_assert_int_eq(n_batches, 40);
    for (int64_t slot = 0; slot < 49; slot++) {
      got[0] += df[slot];
      got[1] += df[slot] > 0;
      got[2] += slot * df[slot];
    }
    ck_assert_msg(memcmp(got, wanted[pool], sizeof got) == 0, "pool %d: %d %d %d", pool,
                  (int)got[0], (int)got[1], (int)got[2]);
  }
  files_close(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("files");
  TCase *tests = tcase_create("0.1");
  tcase_add_loop_test(tests, patch_kinds, 0, FILES_KINDS);
  tcase_add_loop_test(tests, patch_and_optimizer, 0, FILES_KINDS);
  tcase_add_test(tests, adapter_options);
  tcase_add_test(tests, background_counts);
  suite_add_tcase(suite, tests);
  return suite;
}
