/* teach: see teach.h.  Owns the order in which the learner's parts come to a fact; the parts own
 * what they hold, what a step does to the weights is step_slots.c's and step_dense.c's, what
 * follows when a fact is learnt or given up verdict.c's. */
#include "learn/teach.h"
#include "base/clock.h"
#include "learn/learner.h"
#include <math.h>

static int has_flag(const smft_learner *learner, uint32_t flag) {
  return (learner->options.flags & flag) != 0;
}

/* Whether a pass over all wordings decides: not by the rule of before, nor without a threshold. */
static int checks(const smft_learner *learner) {
  return !has_flag(learner, SMFT_LEARNER_SAMPLE_DECIDES) && learner->options.loss_below >= 0;
}

/* ---- what all steps on a fact share -------------------------------------- */

/* The fact's rows, unless they are chosen already. */
static smft_status choose(smft_learner *learner, const smft__fact *fact) {
  if (learner->choice.serial == fact->serial)
    return SMFT_OK;
  SMFT__TRY(smft__forward_all_wordings(&learner->kept, learner->tape, learner->patch, fact, NULL,
                                       &learner->claim.stop));
  SMFT__TRY(smft__count_reads(learner->slots.counts, learner->model, learner->tape));
  return smft__choose(&learner->choice, learner->selector, learner->slots.counts, learner->tape,
                      fact->serial);
}

/* A fact that is not learnt after so many updates: its subject's words are too common ("What genre
 * is Fish?").  Its rows are chosen anew, among so many times as common ones. */
#define LOOSENS_AFTER 40
#define LOOSER 5

static int is_restrained(const smft_learner *learner) { return learner->selector->max_df >= 0; }

static void loosen(smft_learner *learner, const smft__fact *fact) {
  smft__restraint *restraint = &learner->choice.restraint;
  double looser = is_restrained(learner) && fact->steps >= LOOSENS_AFTER ? LOOSER : 1;
  if (learner->choice.serial == fact->serial && restraint->looser < looser)
    learner->choice.serial = learner->opening.serial = 0;
  restraint->looser = looser;
}

/* What others read stays as it is where what all the world reads does. */
static smft_status restrain(smft_learner *learner, const smft__fact *fact) {
  loosen(learner, fact);
  if (learner->choice.serial == fact->serial)
    return SMFT_OK;
  if (is_restrained(learner) && !has_flag(learner, SMFT_LEARNER_NO_CONTRAST))
    SMFT__TRY(smft__contrast_read(&learner->contrast, learner->tape, fact, &learner->claim.stop));
  learner->choice.restraint.others = smft__contrast_of(&learner->contrast, fact->serial);
  return SMFT_OK;
}

/* Where rows that all the world reads never change, what opens the wordings (a chat template, the
 * words before the subject) need not run with each of them. */
static int may_share(const smft_learner *learner, const smft__step *step) {
  return step->serial && is_restrained(learner);
}

static smft_status share(smft_learner *learner, const smft__fact *fact, int64_t n) {
  smft__opening_work work = smft__opening_work_of(learner, n);
  SMFT__TRY(smft__opening_find(&learner->opening, fact));
  if (learner->choice.serial != fact->serial) /* chosen in this step: from the next one on */
    return SMFT_OK;
  return smft__opening_make(&learner->opening, &work, fact);
}

/* At the fact's first step for every one, so that no other allocates, whatever it draws. */
static smft_status reserve_passes(smft_learner *learner, const smft__fact *fact, int64_t n) {
  int64_t tokens, supervised;
  smft__batch_largest(fact, n, &tokens, &supervised);
  if (checks(learner))
    SMFT__TRY(smft__check_reserve(learner, fact));
  if (learner->selector)
    SMFT__TRY(smft__reserve_counts(learner->slots.counts, learner->model, tokens));
  return smft__tape_reserve(learner->tape, smft__patch_current(learner->patch), tokens, n,
                            supervised, learner->selector ? SMFT__KEEP_VALUES : SMFT__KEEP_ALL);
}

static smft_status prepare(smft_learner *learner, const smft__fact *fact, int64_t n,
                           smft__step *step) {
  SMFT__TRY(smft__check_begin(&learner->check, fact));
  if (learner->selector) {
    SMFT__TRY(smft__keep_layers(&learner->kept, learner->tape, fact, &learner->claim.stop));
    step->serial = has_flag(learner, SMFT_LEARNER_ROWS_PER_STEP) ? 0 : fact->serial;
  }
  if (step->serial)
    SMFT__TRY(restrain(learner, fact));
  if (step->serial && n < fact->n_wordings) /* else the step's own batch tells */
    SMFT__TRY(choose(learner, fact));
  if (may_share(learner, step))
    SMFT__TRY(share(learner, fact, n));
  return fact->steps == 0 ? reserve_passes(learner, fact, n) : SMFT_OK;
}

/* ---- rounds: draws until one of them is worth an update ------------------ */

/* On slots patches, once a check has failed, the wordings that are above and no others, as many as
 * a step draws at most: those that are learnt would only make the step shorter, whose length the
 * rate bounds.  (Where steps have one length, Adam's or smft_optimizer_options.step_length, others
 * are drawn, too: alone, the rows of one short wording would take all of it and be flung away.  And
 * where all weights move.)
 */
static int64_t n_to_draw(const smft_learner *learner, const smft__fact *fact, int64_t most) {
  const smft__check *check = &learner->check;
  int64_t above = fact->n_wordings - smft__check_n_below(check, learner->options.loss_below);
  int alone = learner->selector && learner->optimizer->options.step_length == 0;
  return alone && check->failed_at >= 0 && above > 0 && above < most ? above : most;
}

/* Draws n wordings and takes the step on them, unless all of them are below the threshold. */
static smft_status take_round(smft_learner *learner, const smft__fact *fact, int64_t n,
                              smft__step *step) {
  smft__check *check = &learner->check;
  const smft__opening *opening = &learner->opening;
  int shares = may_share(learner, step) && opening->serial == fact->serial && opening->made_of > 0;
  double below = learner->options.loss_below;
  smft__pasts pasts = smft__opening_pasts(opening);
  SMFT__TRY(smft__batch_draw(&learner->batch, fact, n, learner->options.seed,
                             check->failed_at >= 0 ? check->losses : NULL, below,
                             shares ? &pasts : NULL, &step->batch));
  step->begins = learner->selector ? learner->batch.begins : NULL;
  step->past = shares ? smft__batch_pasts(&learner->batch) : (smft__pasts){NULL, NULL};
  /* a check that failed on these weights is not to be doubted for a rounding error */
  step->loss_below = check->failed_at == fact->steps ? -INFINITY : below;
  SMFT__TRY(smft__take_step(learner, step));
  smft__check_note(check, learner->tape, learner->batch.order, n);
  return SMFT_OK;
}

/* The wordings drawn are below.  The others are, too, if all were drawn or none is known to be
 * above and the pass over all says so. */
static smft_status decide(smft_learner *learner, const smft__fact *fact, int64_t n,
                          smft_report *report, int *learnt) {
  const smft__check *check = &learner->check;
  *learnt = n == fact->n_wordings || !checks(learner);
  if (*learnt ||
      (check->failed_at >= 0 && !smft__check_enough(check, fact, learner->options.loss_below)))
    return SMFT_OK;
  return smft__check_rest(learner, fact, n, report, learnt);
}

/* A round that changed nothing, and that another follows, was a check. */
static void count_as_check(smft_report *report, double seconds) {
  report->check_tokens += report->tokens;
  report->check_seconds += seconds;
  report->tokens = report->tokens_supervised = report->reads = report->slots_read = 0;
}

/* A wording that may be spared is drawn again and again as one of those above: where the others
 * are below, as far as is known, the pass over all is due without waiting for it. */
static smft_status decide_without(smft_learner *learner, const smft__fact *fact,
                                  smft_report *report, int *learnt) {
  const smft__check *check = &learner->check;
  if (fact->n_spared == 0 || !checks(learner) || check->failed_at < 0 ||
      check->failed_at == fact->steps ||
      !smft__check_enough(check, fact, learner->options.loss_below))
    return SMFT_OK;
  SMFT__TRY(smft__check_all(learner, fact, report, learnt));
  if (*learnt)
    report->loss = smft__check_mean(check);
  return SMFT_OK;
}

/* Every round that is not the last finds a wording below that was known to be above, or runs a
 * check, and after a check that failed comes an update: they end. */
static smft_status take_rounds(smft_learner *learner, const smft__fact *fact, smft__step *step,
                               int *learnt) {
  int64_t most = smft__batch_n_drawn(fact, learner->options.wordings_per_step), n;
  SMFT__TRY(prepare(learner, fact, most, step));
  SMFT__TRY(decide_without(learner, fact, step->report, learnt));
  while (!*learnt) {
    double begin = smft__now();
    n = n_to_draw(learner, fact, most);
    SMFT__TRY(take_round(learner, fact, n, step));
    double seconds = smft__now() - begin;
    if (!step->is_done)
      return SMFT_OK;
    SMFT__TRY(decide(learner, fact, n, step->report, learnt));
    if (!*learnt)
      count_as_check(step->report, seconds);
  }
  return SMFT_OK;
}

/* ---- the verdict --------------------------------------------------------- */

/* Why the fact gets no further update; `seconds` of this call are not counted in it yet. */
static int32_t used_up(const smft_learner *learner, const smft__fact *fact, double seconds) {
  double most = learner->options.max_seconds;
  if (fact->steps >= learner->options.max_steps)
    return SMFT_REASON_STEPS;
  return most > 0 && fact->seconds + seconds >= most ? SMFT_REASON_TIME : SMFT_REASON_NONE;
}

/* It may be learnt after its last update.  An update stands: if the check fails after one, the next
 * call begins with it. */
static smft_status last_check(smft_learner *learner, const smft__fact *fact, smft_report *report,
                              int changed, int32_t reason) {
  int learnt = 0;
  if (checks(learner)) {
    SMFT__TRY(smft__check_begin(&learner->check, fact));
    smft_status status = smft__check_all(learner, fact, report, &learnt);
    if (status != SMFT_OK)
      return changed ? SMFT_OK : status;
  }
  report->fact_state = learnt ? SMFT_FACT_DONE : SMFT_FACT_GAVE_UP;
  report->reason = learnt ? SMFT_REASON_NONE : reason;
  return SMFT_OK;
}

/* Without any count every slot's tf-idf score is 0. */
static int32_t why_no_rows(const smft_learner *learner) {
  const smft_selector *selector = learner->selector;
  return selector && selector->rule == SMFT_RULE_TFIDF && selector->stats.n_batches == 0
             ? SMFT_REASON_NO_COUNTS
             : SMFT_REASON_NO_ROWS;
}

smft_status smft__teach(smft_learner *learner, smft__fact *fact, smft_report *report,
                        int *changed) {
  smft__step step = {.fact = fact->serial,
                     .starts_fact = fact->steps == 0,
                     .mean_decides = has_flag(learner, SMFT_LEARNER_SAMPLE_DECIDES),
                     .report = report};
  double begin = smft__now();
  int learnt = 0, only_verdict = used_up(learner, fact, 0) != SMFT_REASON_NONE;
  *changed = 0;
  if (!only_verdict)
    SMFT__TRY(take_rounds(learner, fact, &step, &learnt));
  fact->steps += *changed = step.changed;
  int32_t reason = used_up(learner, fact, smft__now() - begin);
  if (learnt) {
    report->fact_state = SMFT_FACT_DONE;
  } else if (!only_verdict && !step.changed) {
    report->fact_state = SMFT_FACT_GAVE_UP;
    report->reason = why_no_rows(learner);
  } else if (reason != SMFT_REASON_NONE) {
    return last_check(learner, fact, report, step.changed, reason);
  }
  return SMFT_OK;
}
