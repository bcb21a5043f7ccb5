/* patch_rows: the changed rows of a slots patch, one by one, as hosts see them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/view.h"

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
  int64_t n_slots = patch->model->tensors[smft__pool_tensor(&patch->model->config, pool)].shape[0];
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
