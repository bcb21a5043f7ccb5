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
    smft__rows_init(&learner->learnt.df[p], learner->ctx, 1);
  smft__rows_init(&learner->learnt.wording, learner->ctx, 1);
  return SMFT_OK;
}

void smft__learnt_free(smft_learner *learner) {
  if (!learner->learnt.df)
    return;
  for (int32_t p = 0; p < learner->model->config.n_pools; p++)
    smft__rows_free(&learner->learnt.df[p]);
  smft__rows_free(&learner->learnt.wording);
  smft__free(learner->ctx, learner->learnt.df);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The fact's wordings are on the tape: room for all that they read, so that counting cannot fail. */
static smft_status reserve(smft_learner *learner) {
  const smft_model *model = learner->model;
  int64_t most = 0;
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    int64_t reads = 0, n = 0;
    for (int32_t m = 0; m < model->config.n_memories; m++)
      if (model->memories[m].pool == p) {
        smft__tape_slots(learner->tape, m, &n);
        reads += n;
      }
    most = reads > most ? reads : most;
    SMFT__TRY(smft__rows_reserve(&learner->learnt.df[p], least(learner->learnt.df[p].n + reads, smft__n_slots(model))));
  }
  return smft__rows_reserve(&learner->learnt.wording, least(most, smft__n_slots(model)));
}

static void count_once(smft__learnt *learnt, smft__rows *df, const int64_t *slots, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    if (smft__rows_find(&learnt->wording, slots[i]) >= 0)
      continue;
    smft__rows_add(&learnt->wording, slots[i]);
    int64_t at = smft__rows_find(df, slots[i]);
    if (at < 0) {
      at = smft__rows_add(df, slots[i]);
      *smft__rows_at(df, at) = 0;
    }
    *smft__rows_at(df, at) += 1;
  }
}

static void count_wording(smft_learner *learner, int32_t pool, int64_t begin, int64_t end) {
  const smft_model *model = learner->model;
  int64_t reads = (int64_t)model->config.memory.heads * model->config.memory.top_k, n = 0;
  smft__rows_clear(&learner->learnt.wording);
  for (int32_t m = 0; m < model->config.n_memories; m++)
    if (model->memories[m].pool == pool)
      count_once(&learner->learnt, &learner->learnt.df[pool], smft__tape_slots(learner->tape, m, &n) + begin * reads, (end - begin) * reads);
}

smft_status smft__learnt_add(smft_learner *learner, const smft__fact *fact) {
  if (!smft__selector_restrains(learner->selector))
    return SMFT_OK; /* nothing is damped, so nothing needs counting */
  SMFT__TRY(smft__forward_all_wordings(learner, fact));
  SMFT__TRY(reserve(learner));
  for (int32_t p = 0; p < learner->model->config.n_pools; p++)
    for (int64_t w = 0; w < fact->n_wordings; w++)
      count_wording(learner, p, fact->offsets[w], fact->offsets[w + 1]);
  learner->learnt.n_wordings += fact->n_wordings;
  return SMFT_OK;
}

double smft__restraint(const smft_learner *learner, int32_t pool, int64_t slot) {
  const smft__rows *df = &learner->learnt.df[pool];
  int64_t at = smft__rows_find(df, slot);
  return smft__selector_restraint(learner->selector, pool, slot, at < 0 ? 0 : (double)*smft__rows_at(df, at), learner->learnt.n_wordings);
}
