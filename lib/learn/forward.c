/* forward: the forward pass of a step, and what it tells: the loss, and which slots were read how
 * often.  Owns whose prefix is kept. */
#include "learn/learner.h"
#include "base/parallel.h"
#include <math.h>

double smft__clip_scale(double norm, double limit) {
  return limit > 0 && norm > limit ? limit / norm : 1;
}

/* ---- the kept prefix ----------------------------------------------------- */

void smft__forget_prefix(smft_learner *learner) { learner->prefix_of = NULL; }

/* A fact's wordings do not change, nor does a model; what the patch holds does not matter
 * (smft__network_keep): another fact is all that makes a kept prefix wrong.  Full and LoRA
 * patches change the blocks below as well, and never come here. */
smft_status smft__keep_prefix(smft_learner *learner, const smft__fact *fact) {
  smft__sequences all = {fact->ids.data, fact->offsets, fact->n_wordings, fact->n_tokens,
                         fact->weights};
  if (learner->prefix_of == fact)
    return SMFT_OK;
  smft__forget_prefix(learner);
  SMFT__TRY(smft__network_keep(learner->tape, &all, &learner->prefix, &learner->cancelled));
  learner->prefix_of = fact;
  return SMFT_OK;
}

/* ---- loss ---------------------------------------------------------------- */

smft_status smft__step_forward(smft_learner *learner, smft__step *step) {
  smft_report *report = step->report;
  report->lr = learner->optimizer->options.lr;
  if (report->lr == 0)
    report->lr =
        smft__default_lr(learner->patch, learner->optimizer->options.kind, learner->row_square,
                         learner->selector && smft__selector_damps(learner->selector));
  report->tokens = step->batch.n_tokens;
  for (int64_t s = 0; s < step->batch.n_sequences; s++)
    for (int64_t i = step->batch.offsets[s] + 1; i < step->batch.offsets[s + 1]; i++)
      report->tokens_supervised += step->batch.weights[i] != 0;
  int keep = learner->patch->kind == SMFT_PATCH_SLOTS ? SMFT__KEEP_VALUES : SMFT__KEEP_ALL;
  smft__kept_batch kept = {&learner->prefix, step->begins};
  SMFT__TRY(smft__network_forward_kept(learner->tape, learner->patch, &step->batch,
                                       step->begins ? &kept : NULL, keep, &report->loss,
                                       &learner->cancelled));
  if (!isfinite(report->loss))
    return smft__fail(SMFT_E_NONFINITE, "step: the loss is not finite; nothing was changed");
  step->is_done = report->loss < step->loss_below;
  return SMFT_OK;
}

/* ---- reads --------------------------------------------------------------- */

smft_status smft__reserve_counts(smft_learner *learner, int64_t n_tokens) {
  const smft__config *c = &learner->model->config;
  int64_t reads = n_tokens * c->memory.heads * c->memory.top_k; /* of one memory layer */
  for (int32_t p = 0; p < c->n_pools; p++) {
    int64_t layers = 0;
    for (int32_t m = 0; m < c->n_memories; m++)
      layers += learner->model->config.memories[m].pool == p;
    SMFT__TRY(smft__counts_reserve(&learner->slots.counts[p], reads,
                                   smft__least(layers * reads, smft__n_slots(learner->model))));
  }
  return SMFT_OK;
}

smft_status smft__count_reads(smft_learner *learner, int64_t *reads, int64_t *distinct) {
  smft__counts *counts = learner->slots.counts;
  int32_t n_pools = learner->model->config.n_pools;
  for (int32_t p = 0; p < n_pools; p++)
    smft__counts_clear(&counts[p]);
  for (int32_t m = 0; m < learner->model->config.n_memories; m++) {
    int64_t n = 0;
    const int64_t *slots = smft__tape_slots(learner->tape, m, &n);
    SMFT__TRY(smft__counts_add(&counts[learner->model->config.memories[m].pool], slots, n));
    *reads += n;
  }
  for (int32_t p = 0; p < n_pools; p++) {
    SMFT__TRY(smft__counts_finish(&counts[p]));
    *distinct += counts[p].n;
  }
  return SMFT_OK;
}
