/* patch: what learning changed: value rows (slots), private copies of every weight (full), or
 * low-rank adapters (lora).  Owns the rule of one writer or many readers and the one place that
 * says which weights model + patch have; files are patch_file.c's. */
#include "model/patch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

/* ---- life ---------------------------------------------------------------- */

static void destroy(smft_patch *patch) {
  smft_model *model = patch->model;
  for (int32_t i = 0; patch->rows && i < model->config.n_pools; i++)
    smft__rows_free(&patch->rows[i]);
  smft__free(model->ctx, patch->rows);
  smft__free(model->ctx, patch->full);
  smft__lora_free(patch->lora, model->ctx);
  smft__free(model->ctx, patch);
  smft_model_free(model); /* last: it may hold the context */
}

smft_patch *smft__patch_retain(smft_patch *patch) {
  if (patch)
    atomic_fetch_add(&patch->references, 1);
  return patch;
}

void smft_patch_free(smft_patch *patch) {
  if (patch && atomic_fetch_sub(&patch->references, 1) == 1)
    destroy(patch);
}

static smft_status make_rows(smft_patch *patch) {
  const smft__config *c = &patch->model->config;
  if (c->n_pools == 0)
    return smft__fail(
        SMFT_E_UNSUPPORTED,
        "smft_patch_create: a slots patch needs a model with memory layers; this one has none");
  patch->rows = smft__calloc_array(patch->model->ctx, c->n_pools, sizeof *patch->rows);
  if (!patch->rows)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < c->n_pools; i++)
    smft__rows_init(&patch->rows[i], patch->model->ctx, c->memory.value_dim);
  return SMFT_OK;
}

/* The pointers and all copies in one block. */
static void place_full(float **pointers, smft__arena *arena, const smft_model *model) {
  smft__arena_take(arena, model->n_tensors, sizeof *pointers);
  for (int32_t i = 0; i < model->n_tensors; i++) {
    float *piece = smft__arena_take(arena, smft__tensor_count(&model->tensors[i]), sizeof(float));
    if (pointers)
      pointers[i] = piece;
  }
}

static smft_status make_full(smft_patch *patch) {
  const smft_model *model = patch->model;
  smft__arena arena = {0};
  place_full(NULL, &arena, model);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "smft_patch_create: the size of all weights overflows");
  char *block = smft__alloc_array(model->ctx, arena.used, 1);
  if (!block)
    return SMFT_E_NOMEM;
  arena = (smft__arena){block, 0, arena.used};
  patch->full = (float **)(void *)block;
  place_full(patch->full, &arena, model);
  return SMFT_OK;
}

static void copy_base(smft_patch *patch) {
  smft__pools_expect(patch->model, SMFT__READ_IN_ORDER);
  for (int32_t i = 0; i < patch->model->n_tensors; i++)
    smft__tensor_to_f32(&patch->model->tensors[i], 0, smft__tensor_count(&patch->model->tensors[i]),
                        patch->full[i]);
  smft__pools_expect(patch->model, SMFT__READ_ROWS);
}

/* Without content. */
static smft_patch *make_empty(const smft_model *model, int32_t kind) {
  smft_patch *patch = smft__calloc_array(model->ctx, 1, sizeof *patch);
  if (!patch)
    return NULL;
  patch->model = smft__model_retain(model);
  patch->kind = kind;
  atomic_init(&patch->references, 1);
  return patch;
}

/* Slots or full; a full patch's copies are not set. */
static smft_status make(smft_patch **out, const smft_model *model, int32_t kind) {
  smft_patch *patch = make_empty(model, kind);
  if (!patch)
    return SMFT_E_NOMEM;
  smft_status status = kind == SMFT_PATCH_SLOTS ? make_rows(patch) : make_full(patch);
  if (status == SMFT_OK)
    *out = patch;
  else
    smft_patch_free(patch);
  return status;
}

smft_status smft__patch_from_lora(smft_patch **out, const smft_model *model, smft__lora *lora) {
  smft_patch *patch = make_empty(model, SMFT_PATCH_LORA);
  if (!patch) {
    smft__lora_free(lora, model->ctx);
    return SMFT_E_NOMEM;
  }
  patch->lora = lora;
  *out = patch;
  return SMFT_OK;
}

smft_status smft_patch_create_lora(smft_patch **out, const smft_model *model,
                                   const smft_lora_options *options) {
  smft_lora_options own;
  smft__lora *lora = NULL;
  SMFT__REQUIRE(out, "smft_patch_create_lora: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(model, "smft_patch_create_lora: model is NULL");
  SMFT__TRY(smft__lora_options(&own, options));
  SMFT__TRY(smft__lora_create_for_targets(&lora, model, &own));
  smft__lora_start(lora, model);
  return smft__patch_from_lora(out, model, lora);
}

smft_status smft_patch_create(smft_patch **out, const smft_model *model, int32_t kind) {
  SMFT__REQUIRE(out, "smft_patch_create: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(model, "smft_patch_create: model is NULL");
  if (kind == SMFT_PATCH_LORA)
    return smft_patch_create_lora(out, model, NULL);
  SMFT__REQUIRE(kind == SMFT_PATCH_SLOTS || kind == SMFT_PATCH_FULL,
                "smft_patch_create: unknown kind %d", kind);
  SMFT__TRY(make(out, model, kind));
  if (kind == SMFT_PATCH_FULL)
    copy_base(*out);
  return SMFT_OK;
}

static smft_status copy_content(smft_patch *to, const smft_patch *from) {
  for (int32_t i = 0; from->rows && i < from->model->config.n_pools; i++)
    SMFT__TRY(smft__rows_copy(&to->rows[i], &from->rows[i]));
  for (int32_t i = 0; from->full && i < from->model->n_tensors; i++)
    memcpy(to->full[i], from->full[i],
           (size_t)smft__tensor_count(&from->model->tensors[i]) * sizeof(float));
  return SMFT_OK;
}

static smft_status copy_lora(smft_patch **out, const smft_patch *from) {
  smft__lora *lora = NULL;
  SMFT__TRY(smft__lora_copy(&lora, from->model, from->lora));
  return smft__patch_from_lora(out, from->model, lora);
}

smft_status smft_patch_copy(smft_patch **out, smft_patch *patch) {
  smft_patch *copy = NULL;
  SMFT__REQUIRE(out, "smft_patch_copy: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(patch, "smft_patch_copy: patch is NULL");
  SMFT__TRY(smft__patch_begin_read(patch));
  smft_status status =
      patch->lora ? copy_lora(&copy, patch) : make(&copy, patch->model, patch->kind);
  if (status == SMFT_OK)
    status = copy_content(copy, patch);
  smft__patch_end_read(patch);
  if (status == SMFT_OK)
    *out = copy;
  else
    smft_patch_free(copy);
  return status;
}

/* The weights of every tensor; a product of large factors may overflow. */
static smft_status merge_into(smft_patch *merged, const smft_patch *patch) {
  const smft_model *model = patch->model;
  for (int32_t i = 0; i < model->n_tensors; i++) {
    smft__patch_values(model, patch, i, merged->full[i]);
    for (int64_t j = 0; patch->lora && j < smft__tensor_count(&model->tensors[i]); j++)
      if (!isfinite(merged->full[i][j]))
        return smft__fail(SMFT_E_NONFINITE, "smft_patch_merge: tensor %s: value %lld is not finite",
                          model->names[i], (long long)j);
  }
  return SMFT_OK;
}

smft_status smft_patch_merge(smft_patch **out, smft_patch *patch) {
  smft_patch *merged = NULL;
  SMFT__REQUIRE(out, "smft_patch_merge: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(patch, "smft_patch_merge: patch is NULL");
  SMFT__TRY(smft__patch_begin_read(patch));
  smft_status status = make(&merged, patch->model, SMFT_PATCH_FULL);
  if (status == SMFT_OK)
    status = merge_into(merged, patch);
  smft__patch_end_read(patch);
  if (status == SMFT_OK)
    *out = merged;
  else
    smft_patch_free(merged);
  return status;
}

int32_t smft_patch_kind(const smft_patch *patch) { return patch ? patch->kind : 0; }

smft_status smft_patch_get_lora(const smft_patch *patch, smft_lora_options *options) {
  SMFT__REQUIRE(patch && options, "smft_patch_get_lora: patch or options is NULL");
  if (!patch->lora)
    return smft__fail(SMFT_E_UNSUPPORTED, "smft_patch_get_lora: the patch is not a LoRA patch");
  return smft__report_write(options, &patch->lora->options, sizeof *options, sizeof *options,
                            "smft_lora_options");
}

/* ---- one writer or many readers ------------------------------------------ */

smft_status smft__patch_begin_read(smft_patch *patch) {
  if (!patch)
    return SMFT_OK;
  int32_t users = atomic_load(&patch->users);
  do {
    if (users < 0)
      return smft__fail(SMFT_E_STATE, "the patch is being changed by another call");
  } while (!atomic_compare_exchange_weak(&patch->users, &users, users + 1));
  return SMFT_OK;
}

void smft__patch_end_read(smft_patch *patch) {
  if (patch)
    atomic_fetch_sub(&patch->users, 1);
}

smft_status smft__patch_begin_write(smft_patch *patch) {
  int32_t nobody = 0;
  if (!patch || atomic_compare_exchange_strong(&patch->users, &nobody, -1))
    return SMFT_OK;
  return smft__fail(SMFT_E_STATE, "the patch is being %s by another call",
                    nobody < 0 ? "changed" : "read");
}

void smft__patch_end_write(smft_patch *patch, int changed) {
  if (!patch)
    return;
  if (changed)
    atomic_fetch_add(&patch->version, 1);
  atomic_store(&patch->users, 0);
}

/* ---- the weights that model + patch have --------------------------------- */

smft__tensor smft__weight(const smft_model *model, const smft_patch *patch, int32_t index) {
  smft__tensor tensor = {0};
  if (index < 0)
    return tensor;
  tensor = model->tensors[index];
  if (patch && patch->full) {
    tensor.data = patch->full[index];
    tensor.dtype = SMFT__F32;
  }
  return tensor;
}

const smft__low_rank *smft__patch_adapter(const smft_patch *patch, int32_t index) {
  return patch ? smft__lora_adapter(patch->lora, index) : NULL;
}

int64_t smft__patch_rank(const smft_patch *patch) {
  return patch && patch->lora ? patch->lora->options.rank : 0;
}

smft__pool smft__patch_pool(const smft_model *model, const smft_patch *patch, int32_t pool) {
  smft__pool view = {0};
  view.base = smft__weight(model, patch, model->pools[pool]);
  view.rows = patch && patch->rows ? &patch->rows[pool] : NULL;
  view.n_slots = view.base.shape[0];
  view.value_dim = view.base.shape[1];
  return view;
}

smft__memory_weights smft__patch_memory(const smft_model *model, const smft_patch *patch,
                                        int32_t memory) {
  const smft__memory_index *at = &model->memories[memory];
  smft__memory_weights weights = {0};
  weights.config = model->config.memory;
  weights.query_w = smft__weight(model, patch, at->query_w);
  weights.query_b = smft__weight(model, patch, at->query_b);
  weights.gate_w = smft__weight(model, patch, at->gate_w);
  weights.gate_b = smft__weight(model, patch, at->gate_b);
  weights.out_w = smft__weight(model, patch, at->out_w);
  weights.out_b = smft__weight(model, patch, at->out_b);
  weights.keys = smft__weight(model, patch, at->keys);
  weights.query_norm_w = smft__weight(model, patch, at->query_norm_w);
  weights.query_norm_b = smft__weight(model, patch, at->query_norm_b);
  weights.key_norm_w = smft__weight(model, patch, at->key_norm_w);
  weights.key_norm_b = smft__weight(model, patch, at->key_norm_b);
  weights.pool = smft__patch_pool(model, patch, at->pool);
  return weights;
}

static const smft__rows *rows_of(const smft_model *model, const smft_patch *patch, int32_t index) {
  for (int32_t pool = 0; patch && patch->rows && pool < model->config.n_pools; pool++)
    if (model->pools[pool] == index)
      return &patch->rows[pool];
  return NULL;
}

int smft__patch_changes(const smft_model *model, const smft_patch *patch, int32_t index) {
  const smft__rows *rows = rows_of(model, patch, index);
  return (patch && patch->full) || (rows && rows->n > 0) || smft__patch_adapter(patch, index);
}

void smft__patch_values(const smft_model *model, const smft_patch *patch, int32_t index,
                        float *values) {
  smft__tensor tensor = smft__weight(model, patch, index);
  const smft__rows *rows = rows_of(model, patch, index);
  const smft__low_rank *adapter = smft__patch_adapter(patch, index);
  smft__pools_expect(model, SMFT__READ_IN_ORDER);
  smft__tensor_to_f32(&tensor, 0, smft__tensor_count(&tensor), values);
  smft__pools_expect(model, SMFT__READ_ROWS);
  for (int64_t i = 0; rows && i < rows->n; i++)
    memcpy(values + rows->slots[i] * rows->dim, smft__rows_at(rows, i),
           (size_t)rows->dim * sizeof(float));
  if (adapter)
    smft__low_rank_merge(model->ctx, adapter, values);
}

/* ---- what training changes ----------------------------------------------- */

int32_t smft__patch_n_parts(const smft_patch *patch) {
  return patch->kind == SMFT_PATCH_FULL   ? patch->model->n_tensors
         : patch->kind == SMFT_PATCH_LORA ? 2 * patch->lora->n
                                          : 0;
}

static void lora_part(const smft_patch *patch, int32_t i, smft__part *part) {
  smft__lora_factor_name(patch->model, patch->lora->tensors[i / 2], i % 2, "", part->name);
  part->shape = smft__lora_part(patch->lora, i);
  part->values = patch->lora->parts[i];
}

static void full_part(const smft_patch *patch, int32_t i, smft__part *part) {
  snprintf(part->name, sizeof part->name, "%s", patch->model->names[i]);
  part->shape = patch->model->tensors[i];
  part->shape.dtype = SMFT__F32;
  part->shape.data = part->values = patch->full ? patch->full[i] : NULL;
  for (int32_t pool = 0; pool < patch->model->config.n_pools; pool++)
    if (patch->model->pools[pool] == i)
      part->pool = pool;
}

void smft__patch_part(const smft_patch *patch, int32_t i, smft__part *part) {
  part->pool = -1;
  if (patch->lora)
    lora_part(patch, i, part);
  else
    full_part(patch, i, part);
}

/* ---- rows ---------------------------------------------------------------- */

typedef struct ordered_slot {
  int64_t slot, position;
} ordered_slot;

static int compare_slots(const void *a, const void *b) {
  const ordered_slot *left = a, *right = b;
  return (left->slot > right->slot) - (left->slot < right->slot);
}

int64_t *smft__patch_order(const smft_patch *patch, int32_t pool) {
  const smft__rows *rows = &patch->rows[pool];
  ordered_slot *order = smft__alloc_array(patch->model->ctx, rows->n, sizeof *order);
  if (!order)
    return NULL;
  for (int64_t i = 0; i < rows->n; i++)
    order[i] = (ordered_slot){rows->slots[i], i};
  qsort(order, (size_t)rows->n, sizeof *order, compare_slots);
  /* in place: position i is written at or before where it is read */
  int64_t *positions = (int64_t *)(void *)order;
  for (int64_t i = 0; i < rows->n; i++) {
    int64_t position = order[i].position;
    memcpy(&positions[i], &position, sizeof position);
  }
  return positions;
}

static smft_status check_pool(const smft_patch *patch, int32_t pool, const char *call) {
  SMFT__REQUIRE(patch, "%s: patch is NULL", call);
  if (pool < 0 || pool >= patch->model->config.n_pools)
    return smft__fail(SMFT_E_NOT_FOUND, "%s: pool %d of %d", call, pool,
                      patch->model->config.n_pools);
  return SMFT_OK;
}

static smft_status check_row(const smft_patch *patch, int32_t pool, int64_t slot,
                             const char *call) {
  SMFT__TRY(check_pool(patch, pool, call));
  int64_t n_slots = patch->model->tensors[patch->model->pools[pool]].shape[0];
  if (slot < 0 || slot >= n_slots)
    return smft__fail(SMFT_E_NOT_FOUND, "%s: slot %lld of %lld", call, (long long)slot,
                      (long long)n_slots);
  return SMFT_OK;
}

static smft_status need_slots(const smft_patch *patch, const char *call) {
  if (patch->kind != SMFT_PATCH_SLOTS)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: only slots patches have rows of their own", call);
  return SMFT_OK;
}

static smft_status check_dim(const smft_patch *patch, int64_t value_dim, const char *call) {
  SMFT__REQUIRE(value_dim == patch->model->config.memory.value_dim,
                "%s: value_dim must be %d, got %lld", call, patch->model->config.memory.value_dim,
                (long long)value_dim);
  return SMFT_OK;
}

static smft_status write_slots(const smft_patch *patch, int32_t pool, int64_t *slots) {
  int64_t *order = smft__patch_order(patch, pool);
  if (!order)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < patch->rows[pool].n; i++)
    slots[i] = patch->rows[pool].slots[order[i]];
  smft__free(patch->model->ctx, order);
  return SMFT_OK;
}

smft_status smft_patch_slots(smft_patch *patch, int32_t pool, int64_t *slots, int64_t capacity,
                             int64_t *n) {
  smft_status status = SMFT_OK;
  SMFT__TRY(check_pool(patch, pool, "smft_patch_slots"));
  SMFT__TRY(need_slots(patch, "smft_patch_slots"));
  SMFT__REQUIRE(n && capacity >= 0 && (slots || capacity == 0),
                "smft_patch_slots: n or slots is NULL, or capacity is negative");
  SMFT__TRY(smft__patch_begin_read(patch));
  *n = patch->rows[pool].n;
  if (capacity > 0 && capacity < *n)
    status = smft__fail(SMFT_E_BUFFER, "smft_patch_slots: %lld slots, room for %lld", (long long)*n,
                        (long long)capacity);
  else if (capacity > 0)
    status = write_slots(patch, pool, slots);
  smft__patch_end_read(patch);
  return status;
}

smft_status smft_patch_row(smft_patch *patch, int32_t pool, int64_t slot, float *row,
                           int64_t value_dim) {
  SMFT__TRY(check_row(patch, pool, slot, "smft_patch_row"));
  SMFT__REQUIRE(row, "smft_patch_row: row is NULL");
  SMFT__TRY(check_dim(patch, value_dim, "smft_patch_row"));
  SMFT__TRY(smft__patch_begin_read(patch));
  smft__pool view = smft__patch_pool(patch->model, patch, pool);
  smft__pool_read(&view, slot, row);
  smft__patch_end_read(patch);
  return SMFT_OK;
}

static smft_status check_finite(const float *row, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(row[i]))
      return smft__fail(SMFT_E_NONFINITE, "smft_patch_set_row: value %lld of the row is not finite",
                        (long long)i);
  return SMFT_OK;
}

smft_status smft_patch_set_row(smft_patch *patch, int32_t pool, int64_t slot, const float *row,
                               int64_t value_dim) {
  SMFT__TRY(check_row(patch, pool, slot, "smft_patch_set_row"));
  SMFT__TRY(need_slots(patch, "smft_patch_set_row"));
  SMFT__REQUIRE(row, "smft_patch_set_row: row is NULL");
  SMFT__TRY(check_dim(patch, value_dim, "smft_patch_set_row"));
  SMFT__TRY(check_finite(row, value_dim));
  SMFT__TRY(smft__patch_begin_write(patch));
  smft__rows *rows = &patch->rows[pool];
  int64_t at = smft__rows_find(rows, slot);
  smft_status status = at < 0 ? smft__rows_reserve(rows, rows->n + 1) : SMFT_OK;
  if (status == SMFT_OK) {
    if (at < 0)
      at = smft__rows_add(rows, slot);
    memcpy(smft__rows_at(rows, at), row, (size_t)value_dim * sizeof *row);
  }
  smft__patch_end_write(patch, status == SMFT_OK);
  return status;
}

smft_status smft_patch_reset_row(smft_patch *patch, int32_t pool, int64_t slot) {
  SMFT__TRY(check_row(patch, pool, slot, "smft_patch_reset_row"));
  SMFT__TRY(need_slots(patch, "smft_patch_reset_row"));
  SMFT__TRY(smft__patch_begin_write(patch));
  int there = smft__rows_find(&patch->rows[pool], slot) >= 0;
  if (there)
    smft__rows_remove(&patch->rows[pool], slot);
  smft__patch_end_write(patch, there);
  return SMFT_OK;
}

smft_status smft_patch_clear(smft_patch *patch) {
  SMFT__REQUIRE(patch, "smft_patch_clear: patch is NULL");
  SMFT__TRY(smft__patch_begin_write(patch));
  for (int32_t i = 0; patch->rows && i < patch->model->config.n_pools; i++)
    smft__rows_clear(&patch->rows[i]);
  if (patch->full)
    copy_base(patch);
  if (patch->lora)
    smft__lora_start(patch->lora, patch->model);
  smft__patch_end_write(patch, 1);
  return SMFT_OK;
}
