/* step: what steps on facts and on a host's batches, sparse and full, have in common: the lock,
 * room for a batch; and smft_learner_step_batch, which is that and no more. */
#include "base/alloc.h"
#include "learn/learner.h"
#include <math.h>

/* The update, under the patch's lock. */
smft_status smft__take_step(smft_learner *learner, smft__step *step) {
  SMFT__TRY(smft__patch_begin_write(learner->patch));
  smft_status status = learner->patch->kind == SMFT_PATCH_SLOTS ? smft__step_slots(learner, step)
                                                                : smft__step_dense(learner, step);
  smft__patch_end_write(learner->patch, status == SMFT_OK && step->changed);
  return status;
}

smft_status smft__reserve_batch(smft_learner *learner, int64_t n_tokens, int64_t n_sequences) {
  smft_ctx *ctx = learner->ctx;
  SMFT__TRY(smft__grow(ctx, &learner->batch_ids, &learner->ids_capacity, n_tokens,
                       sizeof *learner->batch_ids));
  SMFT__TRY(smft__grow(ctx, &learner->batch_weights, &learner->weights_capacity, n_tokens,
                       sizeof *learner->batch_weights));
  SMFT__TRY(smft__grow(ctx, &learner->batch_begins, &learner->begins_capacity, n_sequences,
                       sizeof *learner->batch_begins));
  return smft__grow(ctx, &learner->batch_offsets, &learner->offsets_capacity, n_sequences + 1,
                    sizeof *learner->batch_offsets);
}

/* ---- a step on the host's own batch -------------------------------------- */

static smft_status read_sequence(const smft_learner *learner, const smft_batch *batch, int64_t s,
                                 int64_t begin) {
  int64_t n = batch->lengths[s];
  SMFT__REQUIRE(n > 0, "smft_batch.lengths[%lld] is %lld", (long long)s, (long long)n);
  if (n > learner->model->config.context)
    return smft__fail(SMFT_E_CONTEXT,
                      "smft_batch: sequence %lld has %lld tokens, the model's context holds %d",
                      (long long)s, (long long)n, (int)learner->model->config.context);
  for (int64_t i = begin; i < begin + n; i++) {
    if (batch->ids[i] < 0 || batch->ids[i] >= learner->model->config.vocab)
      return smft__fail(
          SMFT_E_TOKEN,
          "smft_batch: sequence %lld, token %lld: id %d is outside the vocabulary of %d",
          (long long)s, (long long)(i - begin), (int)batch->ids[i],
          (int)learner->model->config.vocab);
    SMFT__REQUIRE(!batch->token_weights || isfinite(batch->token_weights[i]),
                  "smft_batch.token_weights[%lld] is not finite", (long long)i);
  }
  return SMFT_OK;
}

/* Offsets and weights as the network wants them; a sequence's first token has weight 0. */
static smft_status read_batch(smft_learner *learner, const smft_batch *batch,
                              smft__sequences *sequences) {
  SMFT__REQUIRE(batch->ids && batch->lengths && batch->n_sequences > 0,
                "smft_batch: ids or lengths are NULL, or there is no sequence");
  SMFT__TRY(smft__reserve_batch(learner, 0, batch->n_sequences));
  double sum = 0;
  int64_t at = learner->batch_offsets[0] = 0;
  for (int64_t s = 0; s < batch->n_sequences; s++) {
    SMFT__TRY(read_sequence(learner, batch, s, at));
    SMFT__TRY(smft__reserve_batch(learner, at + batch->lengths[s], batch->n_sequences));
    for (int64_t i = 0; i < batch->lengths[s]; i++) {
      float weight = batch->token_weights ? batch->token_weights[at + i] : 1;
      learner->batch_weights[at + i] = i > 0 ? weight : 0;
      sum += i > 0 ? (double)weight : 0;
    }
    learner->batch_offsets[s + 1] = at += batch->lengths[s];
  }
  SMFT__REQUIRE(sum > 0,
                "smft_batch: the weights of the predicted tokens do not add up to more than 0");
  smft__sequences made = {batch->ids, learner->batch_offsets, batch->n_sequences, at,
                          learner->batch_weights};
  *sequences = made;
  return SMFT_OK;
}

smft_status smft_learner_step_batch(smft_learner *learner, const smft_batch *batch,
                                    smft_report *report) {
  smft_report own = SMFT_REPORT_INIT;
  smft_batch given = SMFT_BATCH_INIT;
  SMFT__REQUIRE(learner && batch, "smft_learner_step_batch: a NULL argument");
  SMFT__TRY(smft__report_check(report, sizeof own, "smft_report"));
  SMFT__TRY(smft__options_read(&given, batch, sizeof given, sizeof given, "smft_batch"));
  double begin = smft__now();
  atomic_store(&learner->cancelled, 0);
  smft__step step = {{0}, NULL, NULL, 0, -INFINITY, 0, 0, &own};
  SMFT__TRY(read_batch(learner, &given, &step.batch));
  SMFT__TRY(smft__take_step(learner, &step));
  own.fact_id = "";
  own.step = step.changed;
  own.pending = learner->n_facts;
  own.seconds = smft__now() - begin;
  return report ? smft__report_write(report, &own, sizeof own, sizeof own, "smft_report") : SMFT_OK;
}
