/* learner: teaches queued facts, one after another.  Owns the learner's life and what hosts call;
 * how a fact is taught is teach.c's, what follows when it is learnt or given up verdict.c's. */
#include "learn/learner.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/loan.h"
#include "learn/defaults.h"
#include "learn/teach.h"
#include "learn/verdict.h"
#include "learn/wordings.h"
#include <math.h>
#include <stddef.h>

/* with the rule of before, whose draws stand for all wordings, unless the model says otherwise */
#define SAMPLE_MAX_STEPS 100
#define SAMPLE_LOSS_BELOW 0.1
#define KNOWN_FLAGS                                                                                \
  (SMFT_LEARNER_LOSS_ALL | SMFT_LEARNER_ROWS_PER_STEP | SMFT_LEARNER_NO_PROTECT |                  \
   SMFT_LEARNER_SAMPLE_DECIDES | SMFT_LEARNER_KEEP_GIVEN_UP | SMFT_LEARNER_FRAMES |                \
   SMFT_LEARNER_NO_FRAMES | SMFT_LEARNER_NO_CONTRAST)
/* as 0.1 first had them */
#define SMALLEST_REPORT offsetof(smft_report, reason)
#define SMALLEST_RUN_REPORT offsetof(smft_run_report, facts_rolled_back)

/* ---- life ---------------------------------------------------------------- */

static void fill_defaults(smft_learner_options *own, const smft_model *model) {
  const smft__learn_defaults *said = &model->config.learn, usual = smft__defaults_of(model);
  int sample = (own->flags & SMFT_LEARNER_SAMPLE_DECIDES) != 0;
  double loss_below = sample && said->loss_below == 0 ? SAMPLE_LOSS_BELOW : usual.loss_below;
  int32_t max_steps = sample && !said->max_steps ? SAMPLE_MAX_STEPS : usual.max_steps;
  own->max_steps = own->max_steps ? own->max_steps : max_steps;
  own->loss_below = own->loss_below == 0 ? loss_below : own->loss_below;
  own->wordings_per_step =
      own->wordings_per_step ? own->wordings_per_step : usual.wordings_per_step;
}

static smft_status read_options(smft_learner_options *own, const smft_learner_options *options) {
  if (options)
    SMFT__TRY(smft__options_read(own, options, sizeof *own,
                                 offsetof(smft_learner_options, max_seconds),
                                 "smft_learner_options"));
  SMFT__REQUIRE((own->flags & ~KNOWN_FLAGS) == 0,
                "smft_learner_options.flags: unknown bits in 0x%x", (unsigned)own->flags);
  SMFT__REQUIRE(!(own->flags & SMFT_LEARNER_FRAMES) || !(own->flags & SMFT_LEARNER_NO_FRAMES),
                "smft_learner_options.flags: frames are asked for and forbidden (0x%x)",
                (unsigned)own->flags);
  SMFT__REQUIRE(own->max_steps >= 0,
                "smft_learner_options.max_steps: expected a number of steps, got %d",
                (int)own->max_steps);
  SMFT__REQUIRE(!isnan(own->loss_below), "smft_learner_options.loss_below is NaN");
  SMFT__REQUIRE(own->max_seconds >= 0, /* false for NaN */
                "smft_learner_options.max_seconds: expected a number of seconds, got %g",
                own->max_seconds);
  return SMFT_OK;
}

static smft_status check_parts(const smft_model *model, const smft_patch *patch,
                               const smft_selector *selector, const smft_optimizer *optimizer) {
  if (strcmp(patch->model->hash, model->hash) != 0)
    return smft__fail(SMFT_E_MISMATCH,
                      "smft_learner_create: the patch is of another model (%s, the model is %s)",
                      patch->model->hash, model->hash);
  SMFT__REQUIRE(!selector || patch->kind == SMFT_PATCH_SLOTS,
                "smft_learner_create: a selector is for slots patches only");
  if (optimizer && optimizer->options.step_length > 0 && patch->kind != SMFT_PATCH_SLOTS)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "smft_learner_create: steps of a length (smft_optimizer_options.step_length) "
                      "are for slots patches only");
  if (selector && strcmp(selector->model->hash, model->hash) != 0)
    return smft__fail(SMFT_E_MISMATCH,
                      "smft_learner_create: the selector is of another model (%s, the model is %s)",
                      selector->model->hash, model->hash);
  return SMFT_OK;
}

/* On slots patches as the model says; on full and LoRA patches: the paper's baselines. */
static smft_status default_optimizer(smft_learner *learner) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  if (learner->patch->kind == SMFT_PATCH_SLOTS) {
    smft__learn_defaults usual = smft__defaults_of(learner->model);
    options.step_length = usual.step_length;
    options.momentum = usual.momentum;
    options.flags = usual.length_by_loss ? SMFT_OPTIMIZER_LENGTH_BY_LOSS : 0;
  } else {
    options.kind = SMFT_OPTIMIZER_ADAMW;
    options.weight_decay = options.pool_weight_decay = 0.1;
    options.clip_norm = 1;
  }
  return smft_optimizer_create(&learner->optimizer, learner->ctx, &options);
}

static smft_status take_parts(smft_learner *learner, smft_selector *selector,
                              smft_optimizer *optimizer) {
  int slots = learner->patch->kind == SMFT_PATCH_SLOTS;
  if (optimizer)
    learner->optimizer = smft__optimizer_retain(optimizer);
  else
    SMFT__TRY(default_optimizer(learner));
  if (selector)
    learner->selector = smft__selector_retain(selector);
  else if (slots)
    SMFT__TRY(smft_selector_create(&learner->selector, learner->model, NULL));
  SMFT__TRY(smft__tape_create(&learner->tape, learner->model));
  if (slots)
    SMFT__TRY(smft__protect_create(&learner->protect, learner->model));
  if (slots)
    SMFT__TRY(smft__contrast_create(&learner->contrast, learner->model));
  if (slots)
    SMFT__TRY(smft__undo_create(learner));
  return slots ? smft__slots_work_create(learner) : smft__dense_work_create(learner);
}

static void destroy(smft_learner *learner) {
  smft_ctx *ctx = learner->ctx;
  smft__queue_free(&learner->queue);
  smft__batch_free(&learner->batch);
  smft__check_free(&learner->check);
  smft__free(ctx, learner->choice.rows.list);
  smft__contrast_free(&learner->contrast);
  smft__kept_free(&learner->kept.layers);
  smft__opening_free(&learner->opening);
  smft__protect_free(&learner->protect);
  smft__undo_free(learner);
  smft__slots_work_free(learner);
  smft__dense_work_free(learner);
  smft__tape_free(learner->tape);
  smft__loans_free(ctx); /* none may be as large again for long */
  smft_selector_free(learner->selector);
  smft_optimizer_free(learner->optimizer);
  smft_patch_free(learner->patch);
  smft_model_free(learner->model);
  smft__free(ctx, learner);
  smft__ctx_release(ctx);
}

smft_status smft_learner_create(smft_learner **out, const smft_model *model, smft_patch *patch,
                                smft_selector *selector, smft_optimizer *optimizer,
                                const smft_learner_options *options) {
  SMFT__REQUIRE(out, "smft_learner_create: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(model && patch, "smft_learner_create: model or patch is NULL");
  smft_learner_options own = SMFT_LEARNER_OPTIONS_INIT;
  SMFT__TRY(read_options(&own, options));
  SMFT__TRY(check_parts(model, patch, selector, optimizer));
  fill_defaults(&own, model);
  smft_learner *learner = smft__calloc_array(model->ctx, 1, sizeof *learner);
  if (!learner)
    return SMFT_E_NOMEM;
  learner->ctx = smft__ctx_retain(model->ctx);
  learner->model = smft__model_retain(model);
  learner->patch = smft__patch_retain(patch);
  learner->options = own;
  learner->queue.ctx = learner->batch.ctx = learner->check.ctx = learner->choice.rows.ctx =
      learner->opening.ctx = learner->ctx;
  smft__kept_init(&learner->kept.layers, model);
  smft__lead_init(&learner->opening.lead, model);
  smft_status status = take_parts(learner, selector, optimizer);
  if (status != SMFT_OK) {
    destroy(learner);
    return status;
  }
  if (learner->selector)
    smft__selector_warn(learner->selector, "smft_learner_create");
  *out = learner;
  return SMFT_OK;
}

void smft_learner_free(smft_learner *learner) {
  if (learner && smft__claim_free(&learner->claim))
    destroy(learner);
}

smft_status smft_learner_selected(const smft_learner *learner, smft_selected *selected,
                                  int64_t capacity, int64_t *n) {
  SMFT__REQUIRE(learner && n && (selected || capacity == 0),
                "smft_learner_selected: a NULL argument");
  *n = learner->slots.selection.n;
  if (capacity == 0)
    return SMFT_OK;
  if (capacity < *n)
    return smft__fail(SMFT_E_BUFFER, "smft_learner_selected: %lld rows, the buffer holds %lld",
                      (long long)*n, (long long)capacity);
  if (*n > 0)
    memcpy(selected, learner->slots.selection.list, (size_t)*n * sizeof *selected);
  return SMFT_OK;
}

void smft_learner_cancel(smft_learner *learner) {
  if (learner)
    smft__claim_stop(&learner->claim);
}

/* ---- what every call does ------------------------------------------------ */

#define NOUN "learner" /* in messages */

/* What a call returns. */
static smft_status released(smft_learner *learner, int freed, smft_status status) {
  if (!freed)
    return status;
  destroy(learner);
  return smft__claim_freed(status, NOUN);
}

/* Of calls that are done at once; those that may be stopped have the two below. */
static smft_status end(smft_learner *learner, smft_status status) {
  return released(learner, smft__claim_end(&learner->claim), status);
}

static smft_status end_work(smft_learner *learner, smft_status status) {
  return released(learner, smft__claim_end_work(&learner->claim), status);
}

static smft_status begin_work(smft_learner *learner, const char *function) {
  SMFT__TRY(smft__claim_alone(&learner->claim, NOUN, function));
  smft_status status = smft__claim_check(&learner->claim, function);
  return status == SMFT_OK ? SMFT_OK : end_work(learner, status);
}

/* A step has the optimizer alone and reads the selector's counts: either may be another learner's,
 * too, and be in use in another thread. */
static smft_status claim_parts(smft_learner *learner) {
  SMFT__TRY(smft__claim_alone(&learner->optimizer->claim, "optimizer", "step"));
  smft_status status = SMFT_OK;
  if (learner->selector)
    status = smft__claim_read(&learner->selector->claim, "selector", "step");
  if (status != SMFT_OK)
    (void)smft__claim_end(&learner->optimizer->claim);
  return status;
}

static void end_parts(smft_learner *learner) {
  (void)smft__claim_end(&learner->optimizer->claim);
  if (learner->selector)
    (void)smft__claim_end(&learner->selector->claim);
}

/* ---- another patch ------------------------------------------------------- */

static smft_status check_next_patch(const smft_learner *learner, const smft_patch *patch) {
  const smft__fact *fact = learner->queue.first;
  if (patch->model != learner->model)
    return smft__fail(SMFT_E_MISMATCH, "smft_learner_set_patch: the patch is of another model");
  if (learner->patch->kind != SMFT_PATCH_SLOTS || patch->kind != SMFT_PATCH_SLOTS)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "smft_learner_set_patch: both patches must be of slots: %s is not",
                      patch->kind == SMFT_PATCH_SLOTS ? "the learner's" : "the new one");
  if (fact && fact->steps > 0)
    return smft__fail(
        SMFT_E_STATE,
        "smft_learner_set_patch: fact \"%s\" is %d steps under way: finish or skip it", fact->id,
        (int)fact->steps);
  return SMFT_OK;
}

/* Kept layers depend on no patch, and protection follows the patch's own list (protect.c); what a
 * failed first step left of the fact in hand is of the patch before. */
static smft_status set_patch(smft_learner *learner, smft_patch *patch) {
  SMFT__TRY(check_next_patch(learner, patch));
  smft__undo_end(learner);
  smft__patch_retain(patch);
  smft_patch_free(learner->patch);
  learner->patch = patch;
  learner->choice.serial = learner->check.serial = learner->opening.serial = 0;
  return SMFT_OK;
}

smft_status smft_learner_set_patch(smft_learner *learner, smft_patch *patch) {
  SMFT__REQUIRE(learner && patch, "smft_learner_set_patch: learner or patch is NULL");
  SMFT__TRY(smft__claim_alone(&learner->claim, NOUN, "smft_learner_set_patch"));
  return end(learner, set_patch(learner, patch));
}

/* ---- the queue ----------------------------------------------------------- */

static int loss_all(const smft_learner *learner) {
  return (learner->options.flags & SMFT_LEARNER_LOSS_ALL) != 0;
}

/* A fact in one wording is learnt through its frames where the host or the model asks for that. */
static uint32_t how_made(const smft_learner *learner) {
  uint32_t flags = learner->options.flags;
  int frames = !(flags & SMFT_LEARNER_NO_FRAMES) &&
               ((flags & SMFT_LEARNER_FRAMES) || learner->model->config.learn.frames);
  return (frames ? SMFT__FACT_FRAMES : 0) | (loss_all(learner) ? SMFT__FACT_LOSS_ALL : 0);
}

/* The queue's, where it was made. */
static smft_status add(smft_learner *learner, smft__fact *fact, smft_status status) {
  if (status == SMFT_OK)
    status = smft__queue_add(&learner->queue, fact);
  return end(learner, status);
}

smft_status smft_learner_push(smft_learner *learner, const char *id, const smft_wording *wordings,
                              int64_t n_wordings) {
  smft__fact *fact = NULL;
  SMFT__REQUIRE(learner, "smft_learner_push: learner is NULL");
  SMFT__TRY(smft__claim_alone(&learner->claim, NOUN, "smft_learner_push"));
  smft_status status = smft__fact_from_wordings(&fact, learner->model, id, wordings, n_wordings,
                                                NULL, how_made(learner));
  return add(learner, fact, status);
}

smft_status smft_learner_push_ids(smft_learner *learner, const char *id,
                                  const smft_ids_wording *wordings, int64_t n_wordings) {
  smft__fact *fact = NULL;
  SMFT__REQUIRE(learner, "smft_learner_push_ids: learner is NULL");
  SMFT__TRY(smft__claim_alone(&learner->claim, NOUN, "smft_learner_push_ids"));
  smft_status status =
      smft__fact_from_ids(&fact, learner->model, id, wordings, n_wordings, loss_all(learner));
  return add(learner, fact, status);
}

smft_status smft_learner_push_wordings(smft_learner *learner, const char *id,
                                       const smft_wordings *list) {
  smft__fact *fact = NULL;
  SMFT__REQUIRE(learner && list, "smft_learner_push_wordings: a NULL argument");
  SMFT__TRY(smft__claim_alone(&learner->claim, NOUN, "smft_learner_push_wordings"));
  smft_status status =
      strcmp(list->model->hash, learner->model->hash) == 0
          ? smft__fact_copy(&fact, learner->model, list->fact, id, loss_all(learner))
          : smft__fail(SMFT_E_MISMATCH, "smft_learner_push_wordings: they are of another model");
  return add(learner, fact, status);
}

smft_status smft_learner_push_file(smft_learner *learner, const char *path, int64_t *n) {
  int64_t added = 0;
  n = n ? n : &added;
  *n = 0;
  SMFT__REQUIRE(learner && path, "smft_learner_push_file: a NULL argument");
  SMFT__TRY(smft__claim_alone(&learner->claim, NOUN, "smft_learner_push_file"));
  return end(learner,
             smft__queue_add_file(&learner->queue, learner->model, path, how_made(learner), n));
}

int64_t smft_learner_pending(const smft_learner *learner) { return learner ? learner->queue.n : 0; }

/* What every report says of a fact. */
static void describe(const smft_learner *learner, const smft__fact *fact, smft_report *report) {
  report->step = fact->steps;
  report->fact_id = fact->id;
  smft__check_report(&learner->check, fact, learner->options.loss_below, report);
}

static smft_status skip(smft_learner *learner) {
  smft_report report = SMFT_REPORT_INIT;
  if (!learner->queue.first)
    return smft__fail(SMFT_E_STATE, "smft_learner_skip: the queue is empty");
  SMFT__TRY(claim_parts(learner));
  describe(learner, learner->queue.first, &report);
  smft_status status = smft__give_up(learner, learner->queue.first, &report, SMFT_REASON_SKIPPED);
  end_parts(learner);
  return status;
}

smft_status smft_learner_skip(smft_learner *learner) {
  SMFT__REQUIRE(learner, "smft_learner_skip: learner is NULL");
  SMFT__TRY(smft__claim_alone(&learner->claim, NOUN, "smft_learner_skip"));
  return end(learner, skip(learner));
}

/* ---- a step for the fact in hand ----------------------------------------- */

/* One step; own gets the whole report, also where the fact is given up for SMFT_E_NONFINITE. */
static smft_status step_fact(smft_learner *learner, smft_report *own) {
  double begin = smft__now();
  int changed = 0;
  smft__fact *fact = learner->queue.first;
  if (!fact)
    return smft__fail(SMFT_E_STATE, "smft_step: the queue is empty");
  SMFT__TRY(claim_parts(learner));
  smft_status status = smft__teach(learner, fact, own, &changed);
  describe(learner, fact, own);
  own->seconds = smft__now() - begin;
  if (status == SMFT_OK)
    status = smft__conclude(learner, fact, own, changed);
  else if (status == SMFT_E_NONFINITE)
    status = smft__give_up(learner, fact, own, SMFT_REASON_NONFINITE);
  end_parts(learner);
  own->pending = learner->queue.n;
  own->seconds = smft__now() - begin;
  fact->seconds += own->seconds;
  return status == SMFT_OK ? SMFT_OK : smft__fail_within(status, "fact \"%s\"", fact->id);
}

static smft_status step(smft_learner *learner, smft_report *report) {
  smft_report own = SMFT_REPORT_INIT;
  SMFT__TRY(smft__report_check(report, SMALLEST_REPORT, "smft_report"));
  smft_status status = step_fact(learner, &own);
  smft__tape_rest(learner->tape);
  if (status == SMFT_E_NONFINITE && report)
    smft__report_write(report, &own, sizeof own, SMALLEST_REPORT, "smft_report");
  SMFT__TRY(status);
  return report ? smft__report_write(report, &own, sizeof own, SMALLEST_REPORT, "smft_report")
                : SMFT_OK;
}

smft_status smft_step(smft_learner *learner, smft_report *report) {
  SMFT__REQUIRE(learner, "smft_step: learner is NULL");
  SMFT__TRY(begin_work(learner, "smft_step"));
  return end_work(learner, step(learner, report));
}

/* ---- run ----------------------------------------------------------------- */

static int64_t rows_changed(smft_patch *patch) {
  int64_t n = 0;
  const smft__version *version;
  if (patch->kind != SMFT_PATCH_SLOTS || smft__patch_begin_read(patch, &version) != SMFT_OK)
    return 0;
  for (int32_t p = 0; p < patch->model->config.n_pools; p++)
    n += smft__snapshot_count(version->pools[p]);
  smft__patch_end_read(patch, version);
  return n;
}

static smft_status run_queue(smft_learner *learner, smft_progress_fn progress, void *user,
                             smft_run_report *own) {
  int64_t total = learner->queue.n;
  while (learner->queue.first) {
    smft_report step = SMFT_REPORT_INIT;
    if (atomic_load(&learner->claim.stop))
      return smft__fail(SMFT_E_CANCELLED, "smft_learner_run: cancelled before fact \"%s\"",
                        learner->queue.first->id);
    smft_status status = step_fact(learner, &step);
    if (status != SMFT_OK && status != SMFT_E_NONFINITE) /* which is given up like others */
      return status;
    own->steps += step.rows_selected > 0;
    own->facts_done += step.fact_state == SMFT_FACT_DONE;
    own->facts_gave_up += step.fact_state == SMFT_FACT_GAVE_UP;
    own->facts_rolled_back += step.rolled_back;
    if (progress && progress(user, step.fact_id, own->facts_done + own->facts_gave_up, total) != 0)
      return smft__fail(SMFT_E_CANCELLED,
                        "smft_learner_run: cancelled by the progress callback at fact \"%s\"",
                        step.fact_id);
  }
  return SMFT_OK;
}

static smft_status run(smft_learner *learner, smft_progress_fn progress, void *user,
                       smft_run_report *report) {
  smft_run_report own = SMFT_RUN_REPORT_INIT;
  SMFT__TRY(smft__report_check(report, SMALLEST_RUN_REPORT, "smft_run_report"));
  double begin = smft__now();
  smft_status status = run_queue(learner, progress, user, &own);
  smft__tape_rest(learner->tape);
  own.rows_changed = rows_changed(learner->patch);
  own.seconds = smft__now() - begin;
  if (report && (status == SMFT_OK || status == SMFT_E_CANCELLED)) /* what was learnt until then */
    smft__report_write(report, &own, sizeof own, SMALLEST_RUN_REPORT, "smft_run_report");
  return status;
}

smft_status smft_learner_run(smft_learner *learner, smft_progress_fn progress, void *user,
                             smft_run_report *report) {
  SMFT__REQUIRE(learner, "smft_learner_run: learner is NULL");
  SMFT__TRY(begin_work(learner, "smft_learner_run"));
  return end_work(learner, run(learner, progress, user, report));
}

/* ---- a batch of the host's own ------------------------------------------- */

static smft_status take_batch(smft_learner *learner, const smft_batch *given, smft_report *own) {
  smft__step step = {.loss_below = -INFINITY, .mean_decides = 1, .report = own};
  SMFT__TRY(smft__batch_read(&learner->batch, learner->model, given, &step.batch));
  SMFT__TRY(claim_parts(learner));
  smft_status status = smft__take_step(learner, &step);
  smft__tape_rest(learner->tape);
  end_parts(learner);
  own->step = step.changed;
  return status;
}

static smft_status step_batch(smft_learner *learner, const smft_batch *batch, smft_report *report) {
  smft_report own = SMFT_REPORT_INIT;
  smft_batch given = SMFT_BATCH_INIT;
  SMFT__TRY(smft__report_check(report, SMALLEST_REPORT, "smft_report"));
  SMFT__TRY(smft__options_read(&given, batch, sizeof given, sizeof given, "smft_batch"));
  SMFT__TRY(smft__reserved_check(given.reserved, "smft_batch"));
  double begin = smft__now();
  SMFT__TRY(take_batch(learner, &given, &own));
  own.fact_id = "";
  own.pending = learner->queue.n;
  own.seconds = smft__now() - begin;
  return report ? smft__report_write(report, &own, sizeof own, SMALLEST_REPORT, "smft_report")
                : SMFT_OK;
}

smft_status smft_learner_step_batch(smft_learner *learner, const smft_batch *batch,
                                    smft_report *report) {
  SMFT__REQUIRE(learner && batch, "smft_learner_step_batch: a NULL argument");
  SMFT__TRY(begin_work(learner, "smft_learner_step_batch"));
  return end_work(learner, step_batch(learner, batch, report));
}
