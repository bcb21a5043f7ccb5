/* old_files: what make_files.c writes into files_0_1/ and test_files.c reads: the kinds of patches,
 * the data they learn from, and going on from the files.  The includer defines files_ok(call) ends
 * the program, or the test, where the call fails files_source(path)   the path of a file of the
 * checkout. */
#ifndef SMFT_TEST_OLD_FILES_H
#define SMFT_TEST_OLD_FILES_H
#include <stdio.h>
#include <string.h>
#include "smft/smft.h"

#define FILES_MODEL "tests/golden/network_replace"
#define FILES_DIRECTORY "tests/golden/files_0_1"
enum { FILES_VOCAB = 53, FILES_TOKENS = 8, FILES_LOGITS = FILES_TOKENS * FILES_VOCAB };

/* What NAME.expected holds, as little-endian f32: the model with the patch that was loaded, one
 * step from there, and what it is then. */
typedef struct files_numbers {
  float logits[FILES_LOGITS];
  float loss, gradient_norm, rows_selected;
  float slots[2]; /* changed rows of each pool after the step */
  float logits_after[FILES_LOGITS];
} files_numbers;

#define FILES_ADAMW .struct_size = sizeof(smft_optimizer_options), .kind = SMFT_OPTIMIZER_ADAMW
static const struct files_kind {
  const char *name;
  int32_t patch;
  smft_optimizer_options optimizer;
} files_kinds[] = {
    {"slots", SMFT_PATCH_SLOTS, {FILES_ADAMW, .flags = SMFT_OPTIMIZER_KEEP_STATE, .lr = 0.05}},
    {"momentum",
     SMFT_PATCH_SLOTS,
     {.struct_size = sizeof(smft_optimizer_options),
      .flags = SMFT_OPTIMIZER_KEEP_STATE,
      .lr = 3,
      .momentum = 0.8}},
    {"full", SMFT_PATCH_FULL, {FILES_ADAMW, .lr = 1e-2, .weight_decay = 0.1}},
    {"lora", SMFT_PATCH_LORA, {FILES_ADAMW, .lr = 1e-2}},
};
enum { FILES_KINDS = sizeof files_kinds / sizeof *files_kinds };

typedef struct files_world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_selector *selector;
  smft_optimizer *optimizer;
  smft_learner *learner;
} files_world;

/* "NAME.WHAT" in the directory; valid until four more are asked for. */
static inline const char *files_path(const char *name, const char *what) {
  static char paths[4][512];
  static int next = 0;
  next = (next + 1) % 4;
  snprintf(paths[next], sizeof paths[next], "%s/%s.%s", FILES_DIRECTORY, name, what);
  return files_source(paths[next]);
}

static inline void files_ids(int32_t *ids, int64_t n, int32_t salt) {
  for (int64_t i = 0; i < n; i++)
    ids[i] = (int32_t)((salt * 17 + i * 11 + i * i * salt) % FILES_VOCAB);
}

static inline void files_open_model(files_world *w) {
  files_ok(smft_ctx_create(&w->ctx, NULL));
  files_ok(smft_model_load(&w->model, w->ctx, files_source(FILES_MODEL), NULL));
}

/* After the patch: whoever calls creates or loads that. */
static inline void files_open_learner(files_world *w, const struct files_kind *kind) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector_options selector = SMFT_SELECTOR_OPTIONS_INIT;
  selector.t = 12;      /* of 98 rows */
  selector.damping = 1; /* with the default a step of so small a model hardly shows */
  files_ok(smft_optimizer_create(&w->optimizer, w->ctx, &kind->optimizer));
  if (kind->patch == SMFT_PATCH_SLOTS) {
    files_ok(smft_selector_create(&w->selector, w->model, &selector));
    files_ok(smft_selector_load(w->selector, files_path("background", "counts")));
  }
  files_ok(
      smft_learner_create(&w->learner, w->model, w->patch, w->selector, w->optimizer, &options));
}

static inline void files_close(files_world *w) {
  smft_learner_free(w->learner);
  smft_optimizer_free(w->optimizer);
  smft_selector_free(w->selector);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

/* One update; the salt is the data. */
static inline void files_step(const files_world *w, int32_t salt, smft_report *report) {
  int32_t ids[24];
  const int64_t lengths[] = {10, 14};
  smft_batch batch = SMFT_BATCH_INIT;
  files_ids(ids, 24, salt);
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 2;
  files_ok(smft_learner_step_batch(w->learner, &batch, report));
}

static inline void files_logits(const files_world *w, float logits[FILES_LOGITS]) {
  int32_t ids[FILES_TOKENS];
  smft_session *session = NULL;
  files_ids(ids, FILES_TOKENS, 5);
  files_ok(smft_session_create(&session, w->model, w->patch, NULL));
  files_ok(smft_session_feed(session, ids, FILES_TOKENS, SMFT_LOGITS_ALL, logits, FILES_LOGITS));
  smft_session_free(session);
}

static inline void files_count_slots(const files_world *w, float slots[2]) {
  for (int32_t pool = 0; pool < 2 && smft_patch_kind(w->patch) == SMFT_PATCH_SLOTS; pool++) {
    int64_t n = 0;
    files_ok(smft_patch_slots(w->patch, pool, NULL, 0, &n));
    slots[pool] = (float)n;
  }
}

/* Loads the kind's patch and optimizer, and goes on for one step. */
static inline files_numbers files_go_on(const struct files_kind *kind) {
  files_world w = {0};
  files_numbers numbers = {0};
  smft_report report = SMFT_REPORT_INIT;
  files_open_model(&w);
  files_ok(smft_patch_load(&w.patch, w.model, files_path(kind->name, "patch")));
  files_open_learner(&w, kind);
  files_ok(smft_optimizer_load(w.optimizer, w.model, files_path(kind->name, "optimizer")));
  files_logits(&w, numbers.logits);
  files_step(&w, 3, &report); /* the last data again: the rows that it selects have moments */
  numbers.loss = (float)report.loss;
  numbers.gradient_norm = (float)report.gradient_norm;
  numbers.rows_selected = (float)report.rows_selected;
  files_count_slots(&w, numbers.slots);
  files_logits(&w, numbers.logits_after);
  files_close(&w);
  return numbers;
}
#endif
