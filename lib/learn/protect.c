/* protect: see protect.h.  Owns the sums, and the reads in a fact's record; the list of facts is
 * the patch's (model/taught.h), and what the sums are for is selector.c's. */
#include "learn/protect.h"
#include "base/alloc.h"
#include "base/parallel.h"
#include <stdlib.h>

/* ---- life ---------------------------------------------------------------- */

smft_status smft__protect_create(smft__protect *protect, const smft_model *model) {
  int32_t n_pools = model->config.n_pools;
  protect->model = model;
  protect->square = smft__calloc_array(model->ctx, 2 * (int64_t)n_pools, sizeof *protect->square);
  if (!protect->square)
    return SMFT_E_NOMEM;
  protect->reads = protect->square + n_pools;
  for (int32_t p = 0; p < n_pools; p++) {
    smft__rows_init(&protect->square[p], model->ctx, 1);
    smft__rows_init(&protect->reads[p], model->ctx, 1);
  }
  return SMFT_OK;
}

void smft__protect_free(smft__protect *protect) {
  if (!protect->square)
    return;
  for (int32_t p = 0; p < protect->model->config.n_pools; p++) {
    smft__rows_free(&protect->square[p]);
    smft__rows_free(&protect->reads[p]);
  }
  smft__free(protect->model->ctx, protect->square);
  smft__taught_release(protect->taught);
}

/* ---- sums over facts ----------------------------------------------------- */

static void add_square(smft__rows *square, int64_t slot, float more) {
  int64_t at = smft__rows_find(square, slot);
  if (at < 0) {
    at = smft__rows_add(square, slot);
    *smft__rows_at(square, at) = 0;
  }
  *smft__rows_at(square, at) += more;
}

static smft_status reserve(smft__rows *rows, int64_t more, const smft_model *model) {
  return smft__rows_reserve(rows, smft__least(rows->n + more, smft__n_slots(model)));
}

static smft_status add_fact(smft__protect *protect, const smft__taught_fact *fact) {
  if (!smft__taught_protects(fact))
    return SMFT_OK;
  for (int32_t p = 0; p < fact->n_pools; p++) {
    SMFT__TRY(reserve(&protect->square[p], fact->read_begin[p + 1] - fact->read_begin[p],
                      protect->model));
    for (int64_t i = fact->read_begin[p]; i < fact->read_begin[p + 1]; i++)
      add_square(&protect->square[p], smft__taught_slot(fact, fact->reads, i), fact->squares[i]);
  }
  protect->n_wordings += fact->n_wordings;
  return SMFT_OK;
}

/* How many of the list's facts are in the sums, and nothing else is. */
static int64_t n_summed(const smft__protect *protect, const smft__taught *list) {
  int64_t n = smft__taught_count(protect->taught);
  if (n > smft__taught_count(list))
    return 0;
  for (int64_t i = 0; i < n; i++)
    if (protect->taught->facts[i] != list->facts[i])
      return 0;
  return n;
}

static void set_list(smft__protect *protect, smft__taught *list) {
  smft__taught *before = protect->taught;
  protect->taught = smft__taught_retain(list);
  smft__taught_release(before);
}

static void start_anew(smft__protect *protect) {
  for (int32_t p = 0; p < protect->model->config.n_pools; p++)
    smft__rows_clear(&protect->square[p]);
  protect->n_wordings = 0;
  set_list(protect, NULL);
}

smft_status smft__protect_follow(smft__protect *protect, smft__taught *list) {
  smft_status status = SMFT_OK;
  if (list == protect->taught)
    return SMFT_OK;
  int64_t begin = n_summed(protect, list);
  if (begin == 0)
    start_anew(protect);
  for (int64_t i = begin; status == SMFT_OK && i < smft__taught_count(list); i++)
    status = add_fact(protect, list->facts[i]);
  if (status == SMFT_OK)
    set_list(protect, list);
  else
    start_anew(protect);
  return status;
}

double smft__protect_damping(const smft__protect *protect, const smft_selector *selector,
                             int32_t pool, int64_t slot) {
  const smft__rows *square = &protect->square[pool];
  int64_t at = smft__rows_find(square, slot);
  double more = at < 0 ? 0 : (double)*smft__rows_at(square, at);
  return smft__selector_damping(selector, pool, slot, more, (double)protect->n_wordings);
}

/* ---- a fact's record ----------------------------------------------------- */

/* The reads of one memory layer, as background.c counts them. */
static smft_status count_layer(smft__protect *protect, const smft__tape *tape, int32_t memory) {
  smft__rows *reads = &protect->reads[protect->model->config.memories[memory].pool];
  int64_t n = 0;
  const int64_t *slots = smft__tape_slots(tape, memory, &n);
  const float *weights = smft__tape_weights(tape, memory, &n);
  SMFT__TRY(reserve(reads, n, protect->model));
  for (int64_t i = 0; i < n; i++)
    add_square(reads, slots[i], weights[i] * weights[i]);
  return SMFT_OK;
}

static smft_status count_reads(smft__protect *protect, const smft__tape *tape) {
  for (int32_t p = 0; p < protect->model->config.n_pools; p++)
    smft__rows_clear(&protect->reads[p]);
  for (int32_t m = 0; tape && m < protect->model->config.n_memories; m++)
    SMFT__TRY(count_layer(protect, tape, m));
  return SMFT_OK;
}

typedef struct place { /* of a slot in rows */
  int64_t slot, at;
} place;

static int compare(const void *a, const void *b) {
  const place *left = a, *right = b;
  return (left->slot > right->slot) - (left->slot < right->slot);
}

/* slots, and (unless it is NULL) squares, from `begin` on = those of rows, ascending. */
static void put(smft__taught_fact *fact, const smft__rows *rows, place *order, void *slots,
                float *squares, int64_t begin) {
  for (int64_t i = 0; i < rows->n; i++)
    order[i] = (place){rows->slots[i], i};
  qsort(order, (size_t)rows->n, sizeof *order, compare);
  for (int64_t i = 0; i < rows->n; i++) {
    smft__taught_put_slot(fact, slots, begin + i, order[i].slot);
    if (squares)
      squares[begin + i] = *smft__rows_at(rows, order[i].at);
  }
}

static smft_status make(smft__taught_fact **out, const smft__protect *protect,
                        smft__taught_form *form, int64_t *counts, const smft__rows *changed) {
  int64_t most = 0;
  form->n_rows = counts;
  form->n_reads = counts + form->n_pools;
  for (int32_t p = 0; p < form->n_pools; p++) {
    counts[p] = changed[p].n;
    counts[form->n_pools + p] = protect->reads[p].n;
    most = most < changed[p].n ? changed[p].n : most;
    most = most < protect->reads[p].n ? protect->reads[p].n : most;
  }
  place *order = smft__alloc_array(protect->model->ctx, most, sizeof *order);
  smft_status status = order ? smft__taught_make(out, protect->model->ctx, form) : SMFT_E_NOMEM;
  for (int32_t p = 0; status == SMFT_OK && p < form->n_pools; p++) {
    put(*out, &changed[p], order, (*out)->rows, NULL, (*out)->row_begin[p]);
    put(*out, &protect->reads[p], order, (*out)->reads, (*out)->squares, (*out)->read_begin[p]);
  }
  smft__free(protect->model->ctx, order);
  return status;
}

smft_status smft__protect_record(smft__taught_fact **out, smft__protect *protect,
                                 const smft__fact *fact, int32_t state, const smft__rows *changed,
                                 const smft__tape *tape) {
  smft__taught_form form = {.id = fact->id,
                            .id_length = (int64_t)strlen(fact->id),
                            .n_wordings = fact->n_wordings,
                            .state = state,
                            .n_pools = protect->model->config.n_pools,
                            .n_slots = smft__n_slots(protect->model)};
  SMFT__TRY(count_reads(protect, tape));
  int64_t *counts =
      smft__alloc_array(protect->model->ctx, 2 * (int64_t)form.n_pools, sizeof *counts);
  if (!counts)
    return SMFT_E_NOMEM;
  smft_status status = make(out, protect, &form, counts, changed);
  smft__free(protect->model->ctx, counts);
  return status;
}
