/* optimizer: options, life and state of SGD and AdamW.  Owns moments and step counts; the
 * arithmetic is update.c's, the order of a step the learner's, the file format optimizer_file.c's.
 */
#include "learn/optimizer.h"
#include "base/alloc.h"
#include <math.h>
#include <stddef.h>

static int known_number(double x) { return x >= 0 && isfinite(x); } /* false for NaN */

/* What would make a step longer or shorter than it is to be, or does nothing beside it, is refused.
 */

#define NOUN "optimizer" /* in messages */

static smft_status check_length(const smft_optimizer_options *o) {
  SMFT__REQUIRE(known_number(o->step_length),
                "smft_optimizer_options.step_length must be finite and not negative");
  SMFT__REQUIRE(o->step_length > 0 || !(o->flags & SMFT_OPTIMIZER_LENGTH_BY_LOSS),
                "smft_optimizer_options.flags: SMFT_OPTIMIZER_LENGTH_BY_LOSS is for steps of a "
                "length: set step_length");
  if (o->step_length == 0)
    return SMFT_OK;
  SMFT__REQUIRE(o->kind == SMFT_OPTIMIZER_SGD,
                "smft_optimizer_options.step_length is for SMFT_OPTIMIZER_SGD");
  SMFT__REQUIRE(o->lr == 0 && o->pool_lr == 0,
                "smft_optimizer_options: lr and step_length: a step has a rate or a length");
  SMFT__REQUIRE(
      o->weight_decay == 0 && o->clip_norm == 0,
      "smft_optimizer_options.step_length: weight_decay and clip_norm must be 0: one would "
      "make the step another length, the other do nothing");
  return SMFT_OK;
}

#define KNOWN_FLAGS                                                                                \
  (SMFT_OPTIMIZER_KEEP_STATE | SMFT_OPTIMIZER_LAZY_POOLS | SMFT_OPTIMIZER_LENGTH_BY_LOSS)

static smft_status check_options(const smft_optimizer_options *o) {
  SMFT__TRY(smft__reserved_check(o->reserved, "smft_optimizer_options"));
  SMFT__REQUIRE(o->kind == SMFT_OPTIMIZER_SGD || o->kind == SMFT_OPTIMIZER_ADAMW,
                "smft_optimizer_options.kind: expected SMFT_OPTIMIZER_SGD (1) or "
                "SMFT_OPTIMIZER_ADAMW (2), got %d",
                (int)o->kind);
  SMFT__REQUIRE((o->flags & ~KNOWN_FLAGS) == 0,
                "smft_optimizer_options.flags: unknown bits in 0x%x", (unsigned)o->flags);
  SMFT__REQUIRE(known_number(o->lr) && known_number(o->pool_lr),
                "smft_optimizer_options: lr and pool_lr must be finite and not negative");
  SMFT__REQUIRE(o->momentum >= 0 && o->momentum < 1,
                "smft_optimizer_options.momentum must be in [0, 1)");
  SMFT__REQUIRE(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1,
                "smft_optimizer_options: beta1 and beta2 must be in [0, 1)");
  SMFT__REQUIRE(known_number(o->weight_decay) && known_number(o->pool_weight_decay) &&
                    known_number(o->eps),
                "smft_optimizer_options: weight decays and eps must be finite and not negative");
  SMFT__REQUIRE(
      known_number(o->clip_norm) && known_number(o->pool_clip_norm),
      "smft_optimizer_options: clip_norm and pool_clip_norm must be finite and not negative");
  SMFT__REQUIRE(o->warmup_steps >= 0,
                "smft_optimizer_options.warmup_steps: expected a number of steps, got %lld",
                (long long)o->warmup_steps);
  return check_length(o);
}

smft_status smft_optimizer_create(smft_optimizer **out, smft_ctx *ctx,
                                  const smft_optimizer_options *options) {
  SMFT__REQUIRE(out, "smft_optimizer_create: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(ctx, "smft_optimizer_create: ctx is NULL");
  smft_optimizer_options own = SMFT_OPTIMIZER_OPTIONS_INIT;
  if (options)
    SMFT__TRY(smft__options_read(&own, options, sizeof own,
                                 offsetof(smft_optimizer_options, warmup_steps),
                                 "smft_optimizer_options"));
  own.kind = own.kind ? own.kind : SMFT_OPTIMIZER_SGD;
  own.beta1 = own.beta1 == 0 ? 0.9 : own.beta1;
  own.beta2 = own.beta2 == 0 ? 0.999 : own.beta2;
  own.eps = own.eps == 0 ? 1e-8 : own.eps;
  SMFT__TRY(check_options(&own));
  smft_optimizer *optimizer = smft__calloc_array(ctx, 1, sizeof *optimizer);
  if (!optimizer)
    return SMFT_E_NOMEM;
  optimizer->ctx = smft__ctx_retain(ctx);
  atomic_init(&optimizer->references, 1);
  optimizer->options = own;
  *out = optimizer;
  return SMFT_OK;
}

smft_optimizer *smft__optimizer_retain(smft_optimizer *optimizer) {
  atomic_fetch_add(&optimizer->references, 1);
  return optimizer;
}

static void free_pools(smft_optimizer *optimizer) {
  for (int32_t p = 0; optimizer->pools && p < optimizer->n_pools; p++) {
    smft__rows_free(&optimizer->pools[p].moments);
    smft__free(optimizer->ctx, optimizer->pools[p].steps);
  }
  smft__free(optimizer->ctx, optimizer->pools);
  optimizer->pools = NULL;
  optimizer->n_pools = 0;
}

static void free_dense(smft_optimizer *optimizer) {
  smft__free(optimizer->ctx, optimizer->m);
  smft__free(optimizer->ctx, optimizer->v);
  smft__free(optimizer->ctx, optimizer->touched);
  optimizer->m = optimizer->v = NULL;
  optimizer->touched = NULL;
  smft__dense_free(&optimizer->layout, optimizer->ctx);
}

void smft__optimizer_free_state(smft_optimizer *optimizer) {
  free_pools(optimizer);
  free_dense(optimizer);
  optimizer->bounds = (smft__bounds){0};
  optimizer->parts[0] = 0;
  optimizer->patch_kind = 0;
  optimizer->steps = 0;
  optimizer->state++;
  smft_model_free(optimizer->model);
  optimizer->model = NULL;
}

void smft_optimizer_free(smft_optimizer *optimizer) {
  if (!optimizer || atomic_fetch_sub(&optimizer->references, 1) != 1)
    return;
  smft__optimizer_free_state(optimizer);
  smft_ctx *ctx = optimizer->ctx;
  smft__free(ctx, optimizer);
  smft__ctx_release(ctx);
}

smft_status smft_optimizer_set_lr(smft_optimizer *optimizer, double lr, double pool_lr) {
  SMFT__REQUIRE(optimizer, "smft_optimizer_set_lr: optimizer is NULL");
  SMFT__REQUIRE(known_number(lr) && known_number(pool_lr),
                "smft_optimizer_set_lr: rates must be finite and not negative");
  SMFT__REQUIRE(
      optimizer->options.step_length == 0 || (lr == 0 && pool_lr == 0),
      "smft_optimizer_set_lr: the optimizer's steps have a length (step_length), no rate");
  SMFT__TRY(smft__claim_alone(&optimizer->claim, NOUN, "smft_optimizer_set_lr"));
  optimizer->options.lr = lr;
  optimizer->options.pool_lr = pool_lr;
  (void)smft__claim_end(&optimizer->claim);
  return SMFT_OK;
}

static smft_status put_group(smft_optimizer *optimizer, const char *part, double lr_scale) {
  int32_t i = 0;
  while (i < optimizer->n_groups && strcmp(optimizer->groups[i].part, part) != 0)
    i++;
  SMFT__REQUIRE(i < SMFT__MAX_GROUPS, "smft_optimizer_set_group: there are %d groups already",
                SMFT__MAX_GROUPS);
  if (i == optimizer->n_groups)
    strcpy(optimizer->groups[optimizer->n_groups++].part, part);
  optimizer->groups[i].lr_scale = lr_scale;
  return SMFT_OK;
}

smft_status smft_optimizer_set_group(smft_optimizer *optimizer, const char *part, double lr_scale) {
  SMFT__REQUIRE(optimizer && part, "smft_optimizer_set_group: %s is NULL",
                optimizer ? "part" : "optimizer");
  SMFT__REQUIRE(*part && strlen(part) < sizeof optimizer->groups[0].part,
                "smft_optimizer_set_group: part must have 1 to 63 bytes");
  SMFT__REQUIRE(known_number(lr_scale),
                "smft_optimizer_set_group: lr_scale must be finite and not negative");
  SMFT__TRY(smft__claim_alone(&optimizer->claim, NOUN, "smft_optimizer_set_group"));
  smft_status status = put_group(optimizer, part, lr_scale);
  (void)smft__claim_end(&optimizer->claim);
  return status;
}

double smft__optimizer_lr_scale(const smft_optimizer *optimizer, const char *name) {
  double scale = 1;
  for (int32_t i = 0; i < optimizer->n_groups; i++)
    if (strstr(name, optimizer->groups[i].part))
      scale = optimizer->groups[i].lr_scale;
  return scale;
}

smft_status smft_optimizer_reset(smft_optimizer *optimizer) {
  SMFT__REQUIRE(optimizer, "smft_optimizer_reset: optimizer is NULL");
  SMFT__TRY(smft__claim_alone(&optimizer->claim, NOUN, "smft_optimizer_reset"));
  smft__optimizer_free_state(optimizer);
  (void)smft__claim_end(&optimizer->claim);
  return SMFT_OK;
}

int32_t smft__optimizer_moments(const smft_optimizer *optimizer) {
  if (optimizer->options.kind == SMFT_OPTIMIZER_ADAMW)
    return 2;
  return optimizer->options.momentum > 0 ? 1 : 0;
}

double smft__optimizer_warmup(const smft_optimizer *optimizer, int64_t step) {
  int64_t length = optimizer->options.warmup_steps;
  return step < length ? (double)step / (double)length : 1;
}

smft__update_rule smft__optimizer_rule(const smft_optimizer *optimizer, double lr, int pool,
                                       int64_t step, double scale) {
  const smft_optimizer_options *o = &optimizer->options;
  double decay = pool ? o->pool_weight_decay : o->weight_decay;
  smft__update_rule rule = {0};
  rule.adamw = o->kind == SMFT_OPTIMIZER_ADAMW;
  rule.scale = (float)scale;
  rule.momentum = (float)o->momentum;
  rule.lr = (float)lr;
  rule.decay = (float)decay;
  if (!rule.adamw)
    return rule;
  rule.beta1 = (float)o->beta1;
  rule.one_minus_beta1 = (float)(1 - o->beta1);
  rule.beta2 = (float)o->beta2;
  rule.one_minus_beta2 = (float)(1 - o->beta2);
  rule.eps = (float)o->eps;
  rule.lr = (float)(lr / (1 - pow(o->beta1, (double)step)));
  rule.root_bias2 = (float)sqrt(1 - pow(o->beta2, (double)step));
  rule.decay = (float)(1 - lr * decay);
  return rule;
}

static const char *patch_name(int32_t kind) {
  return kind == SMFT_PATCH_SLOTS ? "slots" : kind == SMFT_PATCH_FULL ? "full" : "LoRA";
}

/* State of the same model (same weights, perhaps another handle) may go on. */
static smft_status check_bound(const smft_optimizer *optimizer, const smft_model *model,
                               int32_t kind) {
  if (optimizer->model && strcmp(optimizer->model->hash, model->hash) != 0)
    return smft__fail(SMFT_E_MISMATCH,
                      "optimizer: its moments are those of another model (%s, this one is %s); "
                      "smft_optimizer_reset "
                      "forgets them",
                      optimizer->model->hash, model->hash);
  if (optimizer->model && optimizer->patch_kind != kind)
    return smft__fail(SMFT_E_MISMATCH,
                      "optimizer: its moments are those of a %s patch, this one is a %s patch; "
                      "smft_optimizer_reset "
                      "forgets them",
                      patch_name(optimizer->patch_kind), patch_name(kind));
  return SMFT_OK;
}

/* The first state begins here: steps without one (plain SGD on slots) do not count. */
static void begin_state(smft_optimizer *optimizer, const smft_model *model, int32_t kind) {
  optimizer->model = smft__model_retain(model);
  optimizer->patch_kind = kind;
  optimizer->steps = 0;
}

smft_status smft__optimizer_bind_rows(smft_optimizer *optimizer, const smft_model *model) {
  SMFT__TRY(check_bound(optimizer, model, SMFT_PATCH_SLOTS));
  if (optimizer->pools)
    return SMFT_OK;
  optimizer->pools =
      smft__calloc_array(optimizer->ctx, model->config.n_pools, sizeof *optimizer->pools);
  if (!optimizer->pools)
    return SMFT_E_NOMEM;
  optimizer->n_pools = model->config.n_pools;
  for (int32_t p = 0; p < optimizer->n_pools; p++)
    smft__rows_init(&optimizer->pools[p].moments, optimizer->ctx,
                    (int64_t)model->config.memory.value_dim * smft__optimizer_moments(optimizer));
  begin_state(optimizer, model, SMFT_PATCH_SLOTS);
  return SMFT_OK;
}

static smft_status allocate_dense(smft_optimizer *optimizer, const smft_patch *patch) {
  smft_ctx *ctx = optimizer->ctx;
  int32_t moments = smft__optimizer_moments(optimizer);
  SMFT__TRY(smft__dense_create(&optimizer->layout, patch));
  if (moments == 0)
    return SMFT_OK;
  optimizer->m = smft__calloc_array(ctx, optimizer->layout.total, sizeof *optimizer->m);
  optimizer->v =
      moments > 1 ? smft__calloc_array(ctx, optimizer->layout.total, sizeof *optimizer->v) : NULL;
  optimizer->touched = smft__dense_rows(ctx, &optimizer->layout);
  return optimizer->m && (moments < 2 || optimizer->v) && optimizer->touched ? SMFT_OK
                                                                             : SMFT_E_NOMEM;
}

smft_status smft__optimizer_bind_dense(smft_optimizer *optimizer, const smft_patch *patch,
                                       const smft__dense *layout) {
  SMFT__TRY(check_bound(optimizer, patch->model, patch->kind));
  if (optimizer->model && strcmp(optimizer->parts, layout->hash) != 0)
    return smft__fail(
        SMFT_E_MISMATCH,
        "optimizer: its moments are those of a LoRA patch of another rank or other matrices; "
        "smft_optimizer_reset forgets them");
  if (optimizer->layout.begin)
    return SMFT_OK;
  smft_status status = allocate_dense(optimizer, patch);
  if (status != SMFT_OK)
    free_dense(optimizer);
  else if (!optimizer->model) {
    begin_state(optimizer, patch->model, patch->kind);
    memcpy(optimizer->parts, layout->hash, sizeof optimizer->parts);
  }
  return status;
}

smft_status smft__row_state_reserve(smft__row_state *state, smft_ctx *ctx, int64_t n) {
  SMFT__TRY(smft__rows_reserve(&state->moments, n));
  return smft__grow(ctx, &state->steps, &state->steps_capacity, n, sizeof *state->steps);
}

smft_status smft__optimizer_reserve_rows(smft_optimizer *optimizer, int32_t pool, int64_t n) {
  smft__row_state *state = &optimizer->pools[pool];
  return smft__row_state_reserve(state, optimizer->ctx, state->moments.n + n);
}

void smft__optimizer_clear_rows(smft_optimizer *optimizer) {
  optimizer->steps = 0;
  for (int32_t p = 0; optimizer->pools && p < optimizer->n_pools; p++)
    smft__rows_clear(&optimizer->pools[p].moments);
}
