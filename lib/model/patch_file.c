/* patch_file: a patch as a safetensors file (docs/formats.md).  slots: pools.{p}.slots I64 (m)
 * ascending, pools.{p}.rows (m, value_dim), and the facts (taught_file.c); full: every tensor by
 * its name.  The metadata names the kind and the base model's hash.  LoRA patches are directories:
 * lora_file.c. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/safetensors.h"
#include "model/view.h"

#define FORMAT "smft.patch.1"

/* ---- save ---------------------------------------------------------------- */

typedef struct save_set { /* tensors to write, and the sorted copies that stand behind them */
  smft_ctx *ctx;
  smft__save_tensor *tensors;
  char (*names)[64];
  void **copies;
  int64_t n, n_copies;
} save_set;

static smft_status make_set(save_set *set, smft_ctx *ctx, int64_t most) {
  set->ctx = ctx;
  set->tensors = smft__calloc_array(ctx, most, sizeof *set->tensors);
  set->names = smft__calloc_array(ctx, most, sizeof *set->names);
  set->copies = smft__calloc_array(ctx, most, sizeof *set->copies);
  return set->tensors && set->names && set->copies ? SMFT_OK : SMFT_E_NOMEM;
}

static void free_set(save_set *set) {
  for (int64_t i = 0; i < set->n_copies; i++)
    smft__free(set->ctx, set->copies[i]);
  smft__free(set->ctx, set->copies);
  smft__free(set->ctx, set->names);
  smft__free(set->ctx, set->tensors);
}

static void *copy_space(save_set *set, int64_t n, size_t size) {
  void *copy = smft__alloc_array(set->ctx, n, size);
  if (copy)
    set->copies[set->n_copies++] = copy;
  return copy;
}

static void put(save_set *set, int32_t pool, const char *part, smft__tensor tensor, int32_t dtype) {
  snprintf(set->names[set->n], sizeof set->names[set->n], "pools.%d.%s", pool, part);
  set->tensors[set->n] = (smft__save_tensor){set->names[set->n], tensor, dtype};
  set->n++;
}

/* Sorted, so that the same patch gives the same file however its rows came about. */
static smft_status add_pool(save_set *set, const smft__version *version, int32_t pool,
                            int32_t dtype) {
  const smft__snapshot *rows = version->pools[pool];
  int64_t n = smft__snapshot_count(rows), dim = version->model->config.memory.value_dim;
  int64_t *slots = copy_space(set, n, sizeof *slots);
  float *values = copy_space(set, n, (size_t)dim * sizeof *values);
  if (!slots || !values)
    return SMFT_E_NOMEM;
  smft__snapshot_slots(rows, slots);
  for (int64_t i = 0; i < n; i++)
    memcpy(values + i * dim, smft__snapshot_find(rows, slots[i]), (size_t)dim * sizeof *values);
  put(set, pool, "rows", smft__tensor_f32(values, n, dim), dtype);
  put(set, pool, "slots", (smft__tensor){slots, {n}, 1, SMFT__I64}, 0);
  return SMFT_OK;
}

static smft_status add_facts(save_set *set, const smft__taught *list) {
  SMFT__TRY(smft__taught_collect(set->tensors + set->n, &set->copies[set->n_copies], list));
  set->n += SMFT__TAUGHT_TENSORS;
  set->n_copies++;
  return SMFT_OK;
}

static smft_status collect_slots(save_set *set, const smft__version *version, int32_t dtype) {
  int32_t n_pools = version->model->config.n_pools;
  SMFT__TRY(make_set(set, version->model->ctx, 2 * (int64_t)n_pools + SMFT__TAUGHT_TENSORS));
  for (int32_t pool = 0; pool < n_pools; pool++)
    if (smft__snapshot_count(version->pools[pool]) > 0)
      SMFT__TRY(add_pool(set, version, pool, dtype));
  return smft__taught_count(version->taught) > 0 ? add_facts(set, version->taught) : SMFT_OK;
}

static smft_status collect_full(save_set *set, const smft__version *version, int32_t dtype) {
  const smft_model *model = version->model;
  SMFT__TRY(make_set(set, model->ctx, model->n_tensors));
  for (int32_t i = 0; i < model->n_tensors; i++)
    set->tensors[set->n++] =
        (smft__save_tensor){model->names[i], smft__weight(model, version, i), dtype};
  return SMFT_OK;
}

static smft_status save(const smft__version *version, smft__target *to, int32_t dtype) {
  static const char *const keys[] = {"format", "kind", "model_hash"};
  const char *values[] = {FORMAT, version->kind == SMFT_PATCH_SLOTS ? "slots" : "full",
                          version->model->hash};
  save_set set = {0};
  smft_status status = version->kind == SMFT_PATCH_SLOTS ? collect_slots(&set, version, dtype)
                                                         : collect_full(&set, version, dtype);
  if (status == SMFT_OK)
    status = smft__safetensors_write_to(version->model->ctx, to, set.tensors, set.n, keys, values,
                                        3, NULL, NULL);
  free_set(&set);
  return status;
}

/* Adapters: a path is that of a directory. */
static smft_status save_any(smft_patch *patch, smft__target *to, int32_t dtype, const char *call) {
  const smft__version *version;
  smft_status status;
  SMFT__REQUIRE(dtype == 0 || dtype == SMFT_DTYPE_F32 || dtype == SMFT_DTYPE_BF16,
                "%s: dtype must be F32 or BF16, got %d", call, dtype);
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  dtype = dtype ? dtype : SMFT_DTYPE_F32;
  if (!patch->lora)
    status = save(version, to, dtype);
  else if (to->path)
    status = smft__lora_save(patch->lora, patch->model, to->path, dtype);
  else
    status = smft__lora_save_whole(patch->lora, patch->model, to, dtype);
  smft__patch_end_read(patch, version);
  return status;
}

smft_status smft_patch_save(smft_patch *patch, const char *path, int32_t dtype) {
  SMFT__REQUIRE(patch && path, "smft_patch_save: patch or path is NULL");
  return save_any(patch, &(smft__target){.path = path}, dtype, "smft_patch_save");
}

smft_status smft_patch_save_buffer(smft_patch *patch, int32_t dtype, void *buffer, int64_t capacity,
                                   int64_t *size) {
  smft__target to = {.memory = buffer, .capacity = capacity};
  SMFT__REQUIRE(patch && size, "smft_patch_save_buffer: patch or size is NULL");
  SMFT__REQUIRE(capacity >= 0 && (buffer || capacity == 0),
                "smft_patch_save_buffer: buffer is NULL, or capacity negative");
  *size = 0;
  SMFT__TRY(save_any(patch, &to, dtype, "smft_patch_save_buffer"));
  *size = to.size;
  if (capacity > 0 && capacity < to.size)
    return smft__fail(SMFT_E_BUFFER, "smft_patch_save_buffer: %lld bytes, the buffer holds %lld",
                      (long long)to.size, (long long)capacity);
  return SMFT_OK;
}

/* ---- load ---------------------------------------------------------------- */

static const smft__tensor *find(const smft__source *file, int32_t pool, const char *part) {
  char name[64];
  snprintf(name, sizeof name, "pools.%d.%s", pool, part);
  int64_t at = smft__source_find(file, name);
  return at < 0 ? NULL : &file->tensors[at];
}

static smft_status check_pair(const smft_patch *patch, int32_t pool, const smft__tensor *slots,
                              const smft__tensor *rows) {
  int64_t dim = patch->model->config.memory.value_dim;
  if (!slots || !rows)
    return smft__fail(SMFT_E_FORMAT, "pools.%d has slots or rows, not both", pool);
  if (slots->dtype != SMFT__I64 || slots->n_dims != 1)
    return smft__fail(SMFT_E_FORMAT, "pools.%d.slots: expected I64 of one dimension", pool);
  if (!smft__is_weight(rows->dtype) || rows->n_dims != 2 || rows->shape[0] != slots->shape[0] ||
      rows->shape[1] != dim)
    return smft__fail(SMFT_E_FORMAT, "pools.%d.rows: expected floats of shape (%lld, %lld)", pool,
                      (long long)slots->shape[0], (long long)dim);
  return SMFT_OK;
}

/* values (rows, dim) */
static smft_status add_rows(smft__snapshot *to, int32_t pool, const smft__tensor *slots,
                            int64_t n_slots, const float *values, int64_t dim) {
  for (int64_t i = 0; i < slots->shape[0]; i++) {
    int64_t slot = 0;
    /* mapped data may be unaligned */
    memcpy(&slot, (const char *)slots->data + i * 8, sizeof slot);
    if (slot < 0 || slot >= n_slots)
      return smft__fail(SMFT_E_FORMAT, "pools.%d.slots: slot %lld of %lld", pool, (long long)slot,
                        (long long)n_slots);
    if (smft__snapshot_find(to, slot))
      return smft__fail(SMFT_E_FORMAT, "pools.%d.slots: slot %lld stands there twice", pool,
                        (long long)slot);
    float *row = smft__snapshot_put(to, slot);
    if (!row)
      return SMFT_E_NOMEM;
    memcpy(row, values + i * dim, (size_t)dim * sizeof *row);
  }
  return SMFT_OK;
}

static smft_status load_rows(smft_patch *patch, int32_t pool, const smft__tensor *slots,
                             const smft__tensor *rows, float *values) {
  char name[64];
  snprintf(name, sizeof name, "pools.%d.rows", pool);
  SMFT__TRY(smft__tensor_read_finite(rows, name, values));
  /* of a patch that nobody else has yet */
  smft__snapshot *to = smft__version_pool(smft__patch_current(patch), pool, rows->shape[0]);
  int32_t tensor = smft__pool_tensor(&patch->model->config, pool);
  return to ? add_rows(to, pool, slots, patch->model->tensors[tensor].shape[0], values,
                       rows->shape[1])
            : SMFT_E_NOMEM;
}

static smft_status load_pool(smft_patch *patch, const smft__source *file, int32_t pool) {
  const smft__tensor *slots = find(file, pool, "slots"), *rows = find(file, pool, "rows");
  if (!slots && !rows)
    return SMFT_OK;
  SMFT__TRY(check_pair(patch, pool, slots, rows));
  if (rows->shape[0] == 0)
    return SMFT_OK;
  float *values = smft__alloc_array(patch->model->ctx, smft__tensor_count(rows), sizeof *values);
  smft_status status = values ? load_rows(patch, pool, slots, rows, values) : SMFT_E_NOMEM;
  smft__free(patch->model->ctx, values);
  return status;
}

static smft_status load_slots(smft_patch *patch, const smft__source *file) {
  for (int32_t pool = 0; pool < patch->model->config.n_pools; pool++)
    SMFT__TRY(load_pool(patch, file, pool));
  return smft__taught_read(
      &smft__patch_current(patch)->taught, file, patch->model->config.n_pools,
      patch->model->tensors[smft__pool_tensor(&patch->model->config, 0)].shape[0]);
}

static smft_status load_full(smft_patch *patch, const smft__source *file) {
  const smft_model *model = patch->model;
  for (int32_t i = 0; i < model->n_tensors; i++) {
    int64_t at = smft__source_find(file, model->names[i]);
    if (at < 0)
      return smft__fail(SMFT_E_FORMAT, "tensor %s is missing", model->names[i]);
    const smft__tensor *found = &file->tensors[at], *own = &model->tensors[i];
    if (!smft__is_weight(found->dtype) || found->n_dims != own->n_dims ||
        memcmp(found->shape, own->shape, (size_t)own->n_dims * sizeof *own->shape) != 0)
      return smft__fail(SMFT_E_FORMAT, "tensor %s: type or shape is not the model's",
                        model->names[i]);
    SMFT__TRY(smft__tensor_read_finite(found, model->names[i], patch->full[i]));
  }
  return SMFT_OK;
}

static smft_status check_header(const smft__source *file, const smft_model *model, int32_t *kind) {
  const char *format = smft__source_metadata(file, "format");
  const char *kind_name = smft__source_metadata(file, "kind");
  const char *hash = smft__source_metadata(file, "model_hash");
  if (!format || strcmp(format, FORMAT) != 0 || !kind_name || !hash)
    return smft__fail(SMFT_E_FORMAT, "not a patch: its metadata lacks \"format\": \"" FORMAT
                                     "\", \"kind\" or \"model_hash\"");
  if (strcmp(hash, model->hash) != 0)
    return smft__fail(SMFT_E_MISMATCH,
                      "a patch of another model: expected hash %.16s..., got %.16s...", model->hash,
                      hash);
  if (strcmp(kind_name, "slots") != 0 && strcmp(kind_name, "full") != 0)
    return smft__fail(SMFT_E_UNSUPPORTED, "patch kind \"%s\" is not supported", kind_name);
  *kind = strcmp(kind_name, "slots") == 0 ? SMFT_PATCH_SLOTS : SMFT_PATCH_FULL;
  return SMFT_OK;
}

static smft_status load(smft_patch **patch, const smft_model *model, const smft__source *file) {
  int32_t kind = 0;
  SMFT__TRY(check_header(file, model, &kind));
  SMFT__TRY(smft__patch_make(patch, model, kind));
  return kind == SMFT_PATCH_SLOTS ? load_slots(*patch, file) : load_full(*patch, file);
}

static smft_status load_file(smft_patch **patch, const smft_model *model, const char *path) {
  smft__source file = {0};
  SMFT__TRY(smft__safetensors_open(&file, model->ctx, path, 1));
  smft_status status = load(patch, model, &file);
  smft__source_close(&file);
  return status == SMFT_OK ? SMFT_OK : smft__fail_within(status, "%s", path);
}

static smft_status load_directory(smft_patch **patch, const smft_model *model, const char *path) {
  smft__lora *lora = NULL;
  smft_status status = smft__lora_load(&lora, model, path);
  if (status == SMFT_OK)
    status = smft__patch_from_lora(patch, model, lora);
  return status == SMFT_OK ? SMFT_OK : smft__fail_within(status, "%s", path);
}

/* A file of either kind: adapters have no kind of ours. */
static smft_status load_whole(smft_patch **patch, const smft_model *model,
                              const smft__source *file) {
  smft__lora *lora = NULL;
  const char *format = smft__source_metadata(file, "format");
  if (!format || strcmp(format, "pt") != 0)
    return load(patch, model, file);
  SMFT__TRY(smft__lora_load_whole(&lora, model, file));
  return smft__patch_from_lora(patch, model, lora);
}

smft_status smft_patch_load_buffer(smft_patch **out, const smft_model *model, const void *data,
                                   int64_t size) {
  static const char *const what = "a patch in memory";
  smft_patch *patch = NULL;
  smft__source file = {0};
  SMFT__REQUIRE(out, "smft_patch_load_buffer: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(model && data && size >= 0,
                "smft_patch_load_buffer: model or data is NULL, or size negative");
  SMFT__TRY(smft__safetensors_open_buffer(&file, model->ctx, data, size, what));
  smft_status status = load_whole(&patch, model, &file);
  smft__source_close(&file);
  if (status == SMFT_OK) {
    *out = patch;
    return SMFT_OK;
  }
  smft_patch_free(patch);
  return smft__fail_within(status, "%s", what);
}

smft_status smft_patch_load(smft_patch **out, const smft_model *model, const char *path) {
  smft_patch *patch = NULL;
  SMFT__REQUIRE(out, "smft_patch_load: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(model && path, "smft_patch_load: model or path is NULL");
  smft_status status = smft__is_directory(path) ? load_directory(&patch, model, path)
                                                : load_file(&patch, model, path);
  if (status == SMFT_OK) {
    *out = patch;
    return SMFT_OK;
  }
  smft_patch_free(patch);
  return status;
}
