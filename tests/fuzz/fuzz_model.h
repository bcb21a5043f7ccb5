/* fuzz_model: the model that files are read for (tests/fuzz/model: two blocks, in each a memory
 * with a pool of 16 rows, every printable character a token), and what was read in use: some
 * tokens, a step, and written again. */
#ifndef SMFT_FUZZ_MODEL_H
#define SMFT_FUZZ_MODEL_H
#include "fuzz.h"

enum { FUZZ_VOCAB = 98 };

static inline smft_model *fuzz_model(void) {
  static smft_model *model;
  if (!model)
    MUST(smft_model_load(&model, fuzz_ctx(), SMFT_SOURCE_DIR "/tests/fuzz/model", NULL));
  return model;
}

/* Weights may be finite and too large all the same. */
static inline void fuzz_feed(smft_patch *patch) {
  static const int32_t ids[] = {0, 40, 50, 60};
  static float logits[FUZZ_VOCAB];
  smft_session *session = NULL;
  MUST(smft_session_create(&session, fuzz_model(), patch, NULL));
  smft_status status = smft_session_feed(session, ids, 4, SMFT_LOGITS_LAST, logits, FUZZ_VOCAB);
  CHECK(status, SMFT_E_NONFINITE);
  smft_session_free(session);
}

/* A learner's step on four tokens; selector: of slots patches. */
static inline void fuzz_step(smft_patch *patch, smft_selector *selector,
                             smft_optimizer *optimizer) {
  static const int32_t ids[] = {0, 41, 51, 61};
  static const int64_t length = 4;
  smft_batch batch = SMFT_BATCH_INIT;
  smft_learner *learner = NULL;
  batch.ids = ids;
  batch.lengths = &length;
  batch.n_sequences = 1;
  MUST(smft_learner_create(&learner, fuzz_model(), patch, selector, optimizer, NULL));
  smft_status status = smft_learner_step_batch(learner, &batch, NULL);
  CHECK(status, SMFT_E_NONFINITE, SMFT_E_MISMATCH);
  smft_learner_free(learner);
}

/* What the patch is as bytes, to be freed. */
static inline void *fuzz_bytes_of(smft_patch *patch, int64_t *size) {
  MUST(smft_patch_save_buffer(patch, 0, NULL, 0, size));
  void *bytes = malloc((size_t)*size);
  if (!bytes)
    give_up("no memory");
  MUST(smft_patch_save_buffer(patch, 0, bytes, *size, size));
  return bytes;
}

/* What is written is read back, and is the same when it is written again. */
static inline void fuzz_patch_again(smft_patch *patch) {
  smft_patch *again = NULL;
  int64_t size = 0, size_again = 0;
  void *bytes = fuzz_bytes_of(patch, &size);
  MUST(smft_patch_load_buffer(&again, fuzz_model(), bytes, size));
  void *bytes_again = fuzz_bytes_of(again, &size_again);
  if (size != size_again || memcmp(bytes, bytes_again, (size_t)size) != 0)
    give_up("a patch that was read back is another one");
  free(bytes);
  free(bytes_again);
  smft_patch_free(again);
}
#endif
