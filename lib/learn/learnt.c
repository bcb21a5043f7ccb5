/* learnt: see learnt.h.  Owns the counts; what they are for is selector.c's. */
#include "learn/learnt.h"
#include "base/alloc.h"
#include "learn/learner.h"

smft_status smft__learnt_create(smft_learner *learner) {
  int32_t n_pools = learner->model->config.n_pools;
  learner->learnt.df = smft__calloc_array(learner->ctx, n_pools, sizeof *learner->learnt.df);
  if (!learner->learnt.df)
    return SMFT_E_NOMEM;
  for (int32_t p = 0; p < n_pools; p++)
    smft__rows_init(&learner->learnt.df[p], learner->ctx, 2);
  return SMFT_OK;
}

void smft__learnt_free(smft_learner *learner) {
  if (!learner->learnt.df)
    return;
  for (int32_t p = 0; p < learner->model->config.n_pools; p++)
    smft__rows_free(&learner->learnt.df[p]);
  smft__free(learner->ctx, learner->learnt.df);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The fact's wordings are on the tape: room for all that they read, so that counting cannot fail. */
static smft_status reserve(smft_learner *learner) {
  const smft_model *model = learner->model;
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    int64_t reads = 0, n = 0;
    for (int32_t m = 0; m < model->config.n_memories; m++)
      if (model->memories[m].pool == p) {
        smft__tape_slots(learner->tape, m, &n);
        reads += n;
      }
    SMFT__TRY(smft__rows_reserve(&learner->learnt.df[p], least(learner->learnt.df[p].n + reads, smft__n_slots(model))));
  }
  return SMFT_OK;
}

/* As background.c does it: a slot remembers which wording counted it last. */
static void count_reads(smft__rows *df, float wording, const int64_t *slots, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    int64_t at = smft__rows_find(df, slots[i]);
    if (at < 0) {
      at = smft__rows_add(df, slots[i]);
      memset(smft__rows_at(df, at), 0, 2 * sizeof(float));
    }
    float *row = smft__rows_at(df, at); /* count, last wording */
    if (row[1] < wording || row[1] > wording)
      row[0] += 1;
    row[1] = wording;
  }
}

static void count_wording(smft_learner *learner, int32_t memory, float wording, int64_t begin, int64_t end) {
  const smft_model *model = learner->model;
  int64_t reads = (int64_t)model->config.memory.heads * model->config.memory.top_k, n = 0;
  const int64_t *slots = smft__tape_slots(learner->tape, memory, &n);
  count_reads(&learner->learnt.df[model->memories[memory].pool], wording, slots + begin * reads, (end - begin) * reads);
}

/* Wordings are numbered from 1, and from 1 again where floats would no longer tell them apart. */
static float number_of(int64_t wording) { return (float)(wording % (1 << 24) + 1); }

smft_status smft__learnt_add(smft_learner *learner, const smft__fact *fact) {
  if (!smft__selector_restrains(learner->selector))
    return SMFT_OK; /* nothing is damped, so nothing needs counting */
  SMFT__TRY(smft__forward_all_wordings(learner, fact));
  SMFT__TRY(reserve(learner));
  for (int64_t w = 0; w < fact->n_wordings; w++)
    for (int32_t m = 0; m < learner->model->config.n_memories; m++)
      count_wording(learner, m, number_of(learner->learnt.n_wordings + w), fact->offsets[w], fact->offsets[w + 1]);
  learner->learnt.n_wordings += fact->n_wordings;
  return SMFT_OK;
}

double smft__restraint(const smft_learner *learner, int32_t pool, int64_t slot) {
  const smft__rows *df = &learner->learnt.df[pool];
  int64_t at = smft__rows_find(df, slot);
  return smft__selector_restraint(learner->selector, pool, slot, at < 0 ? 0 : (double)*smft__rows_at(df, at), learner->learnt.n_wordings);
}
