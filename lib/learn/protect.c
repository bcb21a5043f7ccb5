/* protect: see protect.h.  Owns the counts; what they are for is selector.c's. */
#include "learn/protect.h"
#include "base/alloc.h"
#include "base/parallel.h"

/* So many background sequences is a learnt wording worth: docs/method.md. */
#define WORTH 10.0

smft_status smft__protect_create(smft__protect *protect, const smft_model *model) {
  int32_t n_pools = model->config.n_pools;
  protect->model = model;
  protect->square = smft__calloc_array(model->ctx, n_pools, sizeof *protect->square);
  if (!protect->square)
    return SMFT_E_NOMEM;
  for (int32_t p = 0; p < n_pools; p++)
    smft__rows_init(&protect->square[p], model->ctx, 1);
  return SMFT_OK;
}

void smft__protect_free(smft__protect *protect) {
  if (!protect->square)
    return;
  for (int32_t p = 0; p < protect->model->config.n_pools; p++)
    smft__rows_free(&protect->square[p]);
  smft__free(protect->model->ctx, protect->square);
}

/* Room for all that is read on the tape, so that counting cannot fail. */
static smft_status reserve(smft__protect *protect, const smft__tape *tape) {
  const smft_model *model = protect->model;
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    int64_t reads = 0, n = 0;
    for (int32_t m = 0; m < model->config.n_memories; m++)
      if (model->config.memories[m].pool == p) {
        smft__tape_slots(tape, m, &n);
        reads += n;
      }
    SMFT__TRY(smft__rows_reserve(&protect->square[p],
                                 smft__least(protect->square[p].n + reads, smft__n_slots(model))));
  }
  return SMFT_OK;
}

/* The reads of one memory layer, as background.c counts them. */
static void count_reads(smft__protect *protect, const smft__tape *tape, int32_t memory) {
  smft__rows *square = &protect->square[protect->model->config.memories[memory].pool];
  int64_t n = 0;
  const int64_t *slots = smft__tape_slots(tape, memory, &n);
  const float *weights = smft__tape_weights(tape, memory, &n);
  for (int64_t i = 0; i < n; i++) {
    int64_t at = smft__rows_find(square, slots[i]);
    if (at < 0) {
      at = smft__rows_add(square, slots[i]);
      *smft__rows_at(square, at) = 0;
    }
    *smft__rows_at(square, at) += weights[i] * weights[i];
  }
}

smft_status smft__protect_add(smft__protect *protect, const smft__tape *tape,
                              const smft__fact *fact) {
  SMFT__TRY(reserve(protect, tape));
  for (int32_t m = 0; m < protect->model->config.n_memories; m++)
    count_reads(protect, tape, m);
  protect->n_wordings += fact->n_wordings;
  return SMFT_OK;
}

double smft__protect_damping(const smft__protect *protect, const smft_selector *selector,
                             int32_t pool, int64_t slot) {
  const smft__rows *square = &protect->square[pool];
  int64_t at = smft__rows_find(square, slot);
  double more = at < 0 ? 0 : (double)*smft__rows_at(square, at);
  return smft__selector_damping(selector, pool, slot, WORTH * more,
                                WORTH * (double)protect->n_wordings);
}
