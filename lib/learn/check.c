/* check: see check.h.  Owns what is known of the wordings of the fact in hand; what follows from it
 * is teach.c's. */
#include "base/alloc.h"
#include "base/clock.h"
#include "learn/learner.h"
#include <math.h>

void smft__check_free(smft__check *check) {
  smft__free(check->ctx, check->losses);
  smft__free(check->ctx, check->fresh);
}

smft_status smft__check_begin(smft__check *check, const smft__fact *fact) {
  if (check->serial == fact->serial)
    return SMFT_OK;
  check->serial = 0;
  SMFT__TRY(smft__grow(check->ctx, &check->losses, &check->losses_capacity, fact->n_wordings,
                       sizeof *check->losses));
  SMFT__TRY(smft__grow(check->ctx, &check->fresh, &check->fresh_capacity, fact->n_wordings,
                       sizeof *check->fresh));
  check->n = fact->n_wordings;
  for (int64_t w = 0; w < check->n; w++)
    check->losses[w] = NAN;
  check->failed_at = -1;
  check->serial = fact->serial;
  return SMFT_OK;
}

void smft__check_note(smft__check *check, const smft__tape *tape, const int64_t *order, int64_t n) {
  smft__network_losses(tape, check->fresh);
  for (int64_t s = 0; s < n; s++)
    check->losses[order ? order[s] : s] = check->fresh[s];
}

int64_t smft__check_n_below(const smft__check *check, double below) {
  int64_t n = 0;
  for (int64_t w = 0; w < check->n; w++)
    n += check->losses[w] < below;
  return n;
}

double smft__check_mean(const smft__check *check) {
  double sum = 0;
  for (int64_t w = 0; w < check->n; w++)
    sum += check->losses[w];
  return sum / (double)check->n;
}

int smft__check_enough(const smft__check *check, const smft__fact *fact, double below) {
  if (smft__check_n_below(check, below) < fact->n_wordings - fact->n_spared)
    return 0;
  for (int64_t w = 0; fact->n_spared > 0 && w < 2 && w < check->n; w++)
    if (!(check->losses[w] < below))
      return 0;
  return 1;
}

void smft__check_report(const smft__check *check, const smft__fact *fact, double below,
                        smft_report *report) {
  report->wordings = fact->n_wordings;
  report->wordings_left_out = fact->n_left_out;
  if (check->serial != fact->serial) /* its first step failed before it measured anything */
    return;
  report->wordings_learnt = smft__check_n_below(check, below);
  for (int64_t w = 0; w < check->n; w++) /* false for NaN */
    if (check->losses[w] > report->worst_loss)
      report->worst_loss = check->losses[w];
}

/* ---- the pass over all --------------------------------------------------- */

smft_status smft__check_reserve(smft_learner *learner, const smft__fact *fact) {
  int64_t tokens, supervised;
  smft__batch_largest(fact, fact->n_wordings, &tokens, &supervised);
  return smft__tape_reserve(learner->tape, smft__patch_current(learner->patch), tokens,
                            fact->n_wordings, supervised, SMFT__KEEP_NOTHING);
}

smft_status smft__check_rest(smft_learner *learner, const smft__fact *fact, int64_t n,
                             smft_report *report, int *passed) {
  double begin = smft__now();
  const int64_t *order = n > 0 ? learner->batch.order + n : NULL;
  int all = 0;
  smft__opening_work work = smft__opening_work_of(learner, fact->n_wordings);
  SMFT__TRY(smft__opening_check(&learner->opening, &work, fact, order, fact->n_wordings - n, &all));
  smft__check_note(&learner->check, learner->tape, all ? NULL : order,
                   fact->n_wordings - (all ? 0 : n));
  *passed = smft__check_enough(&learner->check, fact, learner->options.loss_below);
  if (!*passed)
    learner->check.failed_at = fact->steps;
  report->check_tokens += learner->tape->n_tokens;
  report->check_seconds += smft__now() - begin;
  return SMFT_OK;
}

smft_status smft__check_all(smft_learner *learner, const smft__fact *fact, smft_report *report,
                            int *passed) {
  return smft__check_rest(learner, fact, 0, report, passed);
}
