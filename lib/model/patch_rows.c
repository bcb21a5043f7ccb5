/* patch_rows: the changed rows of a slots patch, one by one, as hosts see them. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/view.h"

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

smft_status smft_patch_slots(smft_patch *patch, int32_t pool, int64_t *slots, int64_t capacity,
                             int64_t *n) {
  smft_status status = SMFT_OK;
  const smft__version *version;
  SMFT__TRY(check_pool(patch, pool, "smft_patch_slots"));
  SMFT__TRY(need_slots(patch, "smft_patch_slots"));
  SMFT__REQUIRE(n && capacity >= 0 && (slots || capacity == 0),
                "smft_patch_slots: n or slots is NULL, or capacity is negative");
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  *n = smft__snapshot_count(version->pools[pool]);
  if (capacity > 0 && capacity < *n)
    status = smft__fail(SMFT_E_BUFFER, "smft_patch_slots: %lld slots, room for %lld", (long long)*n,
                        (long long)capacity);
  else if (capacity > 0)
    smft__snapshot_slots(version->pools[pool], slots);
  smft__patch_end_read(patch, version);
  return status;
}

smft_status smft_patch_row(smft_patch *patch, int32_t pool, int64_t slot, float *row,
                           int64_t value_dim) {
  const smft__version *version;
  SMFT__TRY(check_row(patch, pool, slot, "smft_patch_row"));
  SMFT__REQUIRE(row, "smft_patch_row: row is NULL");
  SMFT__TRY(check_dim(patch, value_dim, "smft_patch_row"));
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  smft__pool view = smft__patch_pool(patch->model, version, pool);
  smft__pool_read(&view, slot, row);
  smft__patch_end_read(patch, version);
  return SMFT_OK;
}

static smft_status check_finite(const float *row, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(row[i]))
      return smft__fail(SMFT_E_NONFINITE, "smft_patch_set_row: value %lld of the row is not finite",
                        (long long)i);
  return SMFT_OK;
}

/* The next version, in which one row is `row` (NULL: the base's). */
static smft_status change_row(smft__version **out, const smft_patch *patch, int32_t pool,
                              int64_t slot, const float *row) {
  smft__version *next = *out = smft__version_edit(smft__patch_current(patch));
  smft__snapshot *rows = next ? smft__version_pool(next, pool, row ? 1 : 0) : NULL;
  if (!rows)
    return SMFT_E_NOMEM;
  if (!row)
    return smft__snapshot_remove(rows, slot);
  float *own = smft__snapshot_put(rows, slot);
  if (!own)
    return SMFT_E_NOMEM;
  memcpy(own, row, (size_t)patch->model->config.memory.value_dim * sizeof *row);
  return SMFT_OK;
}

static smft_status write_row(smft_patch *patch, int32_t pool, int64_t slot, const float *row) {
  smft__version *next = NULL;
  SMFT__TRY(smft__patch_begin_write(patch));
  smft_status status = change_row(&next, patch, pool, slot, row);
  if (status != SMFT_OK)
    smft__version_release(next);
  smft__patch_end_write(patch, status == SMFT_OK ? next : NULL);
  return status;
}

smft_status smft_patch_set_row(smft_patch *patch, int32_t pool, int64_t slot, const float *row,
                               int64_t value_dim) {
  SMFT__TRY(check_row(patch, pool, slot, "smft_patch_set_row"));
  SMFT__TRY(need_slots(patch, "smft_patch_set_row"));
  SMFT__REQUIRE(row, "smft_patch_set_row: row is NULL");
  SMFT__TRY(check_dim(patch, value_dim, "smft_patch_set_row"));
  SMFT__TRY(check_finite(row, value_dim));
  return write_row(patch, pool, slot, row);
}

smft_status smft_patch_reset_row(smft_patch *patch, int32_t pool, int64_t slot) {
  SMFT__TRY(check_row(patch, pool, slot, "smft_patch_reset_row"));
  SMFT__TRY(need_slots(patch, "smft_patch_reset_row"));
  return write_row(patch, pool, slot, NULL);
}
