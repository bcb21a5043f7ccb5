/* undo: see undo.h.  Owns what is needed for the way back; when it is taken is verdict.c's. */
#include "learn/undo.h"
#include "base/alloc.h"
#include "learn/learner.h"

/* ---- life ---------------------------------------------------------------- */

smft_status smft__undo_create(smft_learner *learner) {
  smft__undo *undo = &learner->undo;
  int64_t n_pools = learner->model->config.n_pools;
  int64_t moments = (int64_t)learner->model->config.memory.value_dim *
                    smft__optimizer_moments(learner->optimizer);
  undo->keeps_moments =
      moments > 0 && (learner->optimizer->options.flags & SMFT_OPTIMIZER_KEEP_STATE);
  undo->pools = smft__calloc_array(learner->ctx, n_pools, sizeof *undo->pools);
  undo->touched = smft__calloc_array(learner->ctx, n_pools, sizeof *undo->touched);
  if (!undo->pools || !undo->touched)
    return SMFT_E_NOMEM;
  for (int64_t p = 0; p < n_pools; p++) {
    smft__rows_init(&undo->touched[p], learner->ctx, undo->keeps_moments ? moments : 1);
    smft__rows_init(&undo->pools[p].aside.moments, learner->ctx, moments);
  }
  return SMFT_OK;
}

void smft__undo_free(smft_learner *learner) {
  smft__undo *undo = &learner->undo;
  for (int32_t p = 0; undo->pools && undo->touched && p < learner->model->config.n_pools; p++) {
    smft__rows_free(&undo->touched[p]);
    smft__free(learner->ctx, undo->pools[p].steps);
    smft__rows_free(&undo->pools[p].aside.moments);
    smft__free(learner->ctx, undo->pools[p].aside.steps);
  }
  smft__free(learner->ctx, undo->touched);
  smft__free(learner->ctx, undo->pools);
  smft__version_release(undo->before);
}

void smft__undo_end(smft_learner *learner) {
  smft__undo *undo = &learner->undo;
  smft__version_release(undo->before);
  undo->before = NULL;
  undo->fact = undo->updates = undo->is_aside = 0;
  for (int32_t p = 0; undo->touched && p < learner->model->config.n_pools; p++)
    smft__rows_clear(&undo->touched[p]);
}

int smft__undo_has(const smft__undo *undo, int64_t fact) {
  return undo->fact == fact && undo->updates > 0;
}

/* ---- while the fact is learnt -------------------------------------------- */

static smft_status reserve(smft_learner *learner, const smft__selection *most) {
  smft_ctx *ctx = learner->ctx;
  int has_moments = smft__optimizer_moments(learner->optimizer) > 0;
  for (int32_t p = 0; p < learner->model->config.n_pools; p++) {
    smft__undo_pool *pool = &learner->undo.pools[p];
    smft__rows *touched = &learner->undo.touched[p];
    int64_t n = touched->n + smft__selection_absent(most, touched, p);
    SMFT__TRY(smft__rows_reserve(touched, n));
    SMFT__TRY(smft__grow(ctx, &pool->steps, &pool->steps_capacity, n, sizeof *pool->steps));
    if (has_moments && !learner->undo.keeps_moments)
      SMFT__TRY(smft__row_state_reserve(&pool->aside, ctx, smft__selection_absent(most, NULL, p)));
  }
  return SMFT_OK;
}

smft_status smft__undo_begin(smft_learner *learner, int64_t fact, const smft__selection *most) {
  smft__undo *undo = &learner->undo;
  if (!smft__undo_has(undo, fact)) {
    smft__undo_end(learner);
    undo->fact = fact;
    undo->before = smft__version_retain(smft__patch_current(learner->patch));
    undo->steps = learner->optimizer->steps;
    undo->state = learner->optimizer->state;
  }
  return reserve(learner, most);
}

static void note_row(smft_learner *learner, int32_t p, int64_t slot) {
  smft__undo_pool *pool = &learner->undo.pools[p];
  smft__rows *touched = &learner->undo.touched[p];
  if (smft__rows_find(touched, slot) >= 0)
    return;
  int64_t at = smft__rows_add(touched, slot);
  if (!learner->undo.keeps_moments)
    return;
  const smft__row_state *state = &learner->optimizer->pools[p];
  int64_t old = smft__rows_find(&state->moments, slot);
  pool->steps[at] = old < 0 ? -1 : state->steps[old];
  if (old >= 0)
    memcpy(smft__rows_at(touched, at), smft__rows_at(&state->moments, old),
           (size_t)state->moments.dim * sizeof(float));
}

static void swap_states(smft_learner *learner) {
  smft_optimizer *optimizer = learner->optimizer;
  for (int32_t p = 0; optimizer->pools && p < optimizer->n_pools; p++) {
    smft__row_state state = optimizer->pools[p];
    optimizer->pools[p] = learner->undo.pools[p].aside;
    learner->undo.pools[p].aside = state;
  }
}

void smft__undo_note(smft_learner *learner, const smft__selection *rows, int afresh) {
  for (int64_t i = 0; i < rows->n; i++)
    note_row(learner, rows->list[i].pool, rows->list[i].slot);
  learner->undo.updates++;
  if (!afresh)
    return;
  swap_states(learner);
  smft__optimizer_clear_rows(learner->optimizer);
  learner->undo.is_aside = 1;
}

/* ---- the way back -------------------------------------------------------- */

/* Rows that are not in the patch any more were taken out by somebody else. */
static smft_status take_pool_back(smft_learner *learner, smft__version *next, int32_t p) {
  const smft__undo *undo = &learner->undo;
  const smft__rows *touched = &undo->touched[p];
  smft__snapshot *rows = touched->n > 0 ? smft__version_pool(next, p, 0) : NULL;
  if (touched->n > 0 && !rows)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < touched->n; i++)
    if (smft__snapshot_find(rows, touched->slots[i]))
      SMFT__TRY(smft__snapshot_take(rows, undo->before->pools[p], touched->slots[i]));
  return SMFT_OK;
}

static smft_status take_rows_back(smft_learner *learner, smft__version **next) {
  *next = smft__version_edit(smft__patch_current(learner->patch));
  smft_status status = *next ? SMFT_OK : SMFT_E_NOMEM;
  for (int32_t p = 0; p < learner->model->config.n_pools && status == SMFT_OK; p++)
    status = take_pool_back(learner, *next, p);
  if (status == SMFT_OK)
    return SMFT_OK;
  smft__version_release(*next);
  *next = NULL;
  return status;
}

/* The last row takes a removed one's place: its steps, too. */
static void remove_state(smft__row_state *state, int64_t at) {
  state->steps[at] = state->steps[state->moments.n - 1];
  smft__rows_remove(&state->moments, state->moments.slots[at]);
}

/* Backwards, so that rows that came last go first, and the others stay in their order. */
static void take_moments_back(smft__row_state *state, const smft__rows *touched,
                              const int64_t *steps) {
  for (int64_t i = touched->n - 1; i >= 0; i--) {
    int64_t at = smft__rows_find(&state->moments, touched->slots[i]);
    if (at >= 0 && steps[i] < 0) {
      remove_state(state, at);
    } else if (at >= 0) {
      state->steps[at] = steps[i];
      memcpy(smft__rows_at(&state->moments, at), smft__rows_at(touched, i),
             (size_t)state->moments.dim * sizeof(float));
    }
  }
}

/* A host that reset or loaded the optimizer since then has a state with which this fact has nothing
 * to do. */
static void take_state_back(smft_learner *learner) {
  smft_optimizer *optimizer = learner->optimizer;
  const smft__undo *undo = &learner->undo;
  if (optimizer->state != undo->state)
    return;
  if (optimizer->options.flags & SMFT_OPTIMIZER_KEEP_STATE) {
    for (int32_t p = 0; undo->keeps_moments && p < optimizer->n_pools; p++)
      take_moments_back(&optimizer->pools[p], &undo->touched[p], undo->pools[p].steps);
    optimizer->steps -= undo->updates;
  } else if (undo->is_aside) {
    swap_states(learner);
    optimizer->steps = undo->steps;
  }
}

smft_status smft__undo_back(smft_learner *learner) {
  smft__version *next = NULL;
  if (learner->undo.updates == 0)
    return SMFT_OK;
  SMFT__TRY(smft__patch_begin_write(learner->patch));
  smft_status status = take_rows_back(learner, &next);
  smft__patch_end_write(learner->patch, next);
  if (status != SMFT_OK)
    return status;
  take_state_back(learner);
  smft__undo_end(learner);
  return SMFT_OK;
}
