/* protect: see protect.h.  Owns the counts; what they are for is selector.c's. */
#include "learn/protect.h"
#include "base/alloc.h"
#include "base/parallel.h"
#include "learn/learner.h"

/* So many background sequences is a learnt wording worth: docs/method.md. */
#define WORTH 10.0

smft_status smft__protect_create(smft_learner *learner) {
  int32_t n_pools = learner->model->config.n_pools;
  learner->protect.square =
      smft__calloc_array(learner->ctx, n_pools, sizeof *learner->protect.square);
  if (!learner->protect.square)
    return SMFT_E_NOMEM;
  for (int32_t p = 0; p < n_pools; p++)
    smft__rows_init(&learner->protect.square[p], learner->ctx, 1);
  return SMFT_OK;
}

void smft__protect_free(smft_learner *learner) {
  if (!learner->protect.square)
    return;
  for (int32_t p = 0; p < learner->model->config.n_pools; p++)
    smft__rows_free(&learner->protect.square[p]);
  smft__free(learner->ctx, learner->protect.square);
}

/* The fact's wordings are on the tape: room for all that they read, so that counting cannot fail.
 */
static smft_status reserve(smft_learner *learner) {
  const smft_model *model = learner->model;
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    int64_t reads = 0, n = 0;
    for (int32_t m = 0; m < model->config.n_memories; m++)
      if (model->config.memories[m].pool == p) {
        smft__tape_slots(learner->tape, m, &n);
        reads += n;
      }
    SMFT__TRY(smft__rows_reserve(&learner->protect.square[p],
                                 smft__least(learner->protect.square[p].n + reads,
                                             smft__n_slots(model))));
  }
  return SMFT_OK;
}

/* The reads of one memory layer, as background.c counts them. */
static void count_reads(smft_learner *learner, int32_t memory) {
  smft__rows *square = &learner->protect.square[learner->model->memories[memory].pool];
  int64_t n = 0;
  const int64_t *slots = smft__tape_slots(learner->tape, memory, &n);
  const float *weights = smft__tape_weights(learner->tape, memory, &n);
  for (int64_t i = 0; i < n; i++) {
    int64_t at = smft__rows_find(square, slots[i]);
    if (at < 0) {
      at = smft__rows_add(square, slots[i]);
      *smft__rows_at(square, at) = 0;
    }
    *smft__rows_at(square, at) += weights[i] * weights[i];
  }
}

smft_status smft__protect_add(smft_learner *learner, const smft__fact *fact) {
  if (!smft__selector_damps(learner->selector))
    return SMFT_OK; /* nothing is damped, so nothing needs counting */
  SMFT__TRY(smft__forward_all_wordings(learner, fact));
  SMFT__TRY(reserve(learner));
  for (int32_t m = 0; m < learner->model->config.n_memories; m++)
    count_reads(learner, m);
  learner->protect.n_wordings += fact->n_wordings;
  return SMFT_OK;
}

double smft__protect_damping(const smft_learner *learner, int32_t pool, int64_t slot) {
  const smft__rows *square = &learner->protect.square[pool];
  int64_t at = smft__rows_find(square, slot);
  double more = at < 0 ? 0 : (double)*smft__rows_at(square, at);
  return smft__selector_damping(learner->selector, pool, slot, WORTH * more,
                                WORTH * (double)learner->protect.n_wordings);
}
