/* view: see view.h.  Owns what reads whole weights for hosts, too: smft_model_tensor_values and
 * smft_patch_merge. */
#include "model/view.h"

#include <math.h>
#include <string.h>

#include "model/order.h"

/* bytes of a pool of zeros that is made real; a larger one would be a waste that nobody asked for
 */
#define MOST_ZEROS ((int64_t)256 << 20)

/* ---- single tensors ------------------------------------------------------ */

smft__tensor smft__weight(const smft_model *model, const smft__version *version, int32_t index) {
  smft__tensor tensor = {0};
  if (index < 0)
    return tensor;
  tensor = model->tensors[index];
  if (version && version->full) {
    tensor.data = version->full[index];
    tensor.dtype = SMFT__F32;
  }
  return tensor;
}

const smft__low_rank *smft__patch_adapter(const smft__version *version, int32_t index) {
  return version ? smft__lora_adapter(version->lora, index) : NULL;
}

int64_t smft__patch_rank(const smft__version *version) {
  return version && version->lora ? version->lora->options.rank : 0;
}

smft__pool smft__patch_pool(const smft_model *model, const smft__version *version, int32_t pool) {
  smft__pool view = {0};
  view.base = smft__weight(model, version, smft__pool_tensor(&model->config, pool));
  view.rows = version ? version->pools[pool] : NULL;
  view.n_slots = view.base.shape[0];
  view.value_dim = view.base.shape[1];
  return view;
}

int32_t smft__model_dtype(const smft_model *model, const smft__version *version) {
  return smft__weight(model, version, model->config.stack.at[SMFT__EMBED].tensor).dtype;
}

/* ---- blocks -------------------------------------------------------------- */

smft__matrix smft__matrix_view(const smft_model *model, const smft__version *version,
                               smft__where where) {
  smft__matrix matrix = {smft__weight(model, version, where.tensor),
                         smft__patch_adapter(version, where.tensor)};
  return matrix;
}

smft__memory_view smft__memory_view_of(const smft_model *model, const smft__version *version,
                                       int32_t memory) {
  const smft__memory_plan *plan = &model->config.memories[memory];
  smft__memory_view view = {.config = model->config.memory};
  for (int32_t i = 0; i < SMFT__N_MEMORY_PARAMS; i++)
    view.at[i] = smft__weight(model, version, plan->at[i].tensor);
  view.pool = smft__patch_pool(model, version, plan->pool);
  return view;
}

smft__block_view smft__block_view_of(const smft_model *model, const smft__version *version,
                                     int32_t layer) {
  smft__block_view view;
  memset(&view, 0, sizeof view);
  view.plan = &model->config.blocks[layer];
  for (int32_t i = 0; i < SMFT__N_BLOCK_PARAMS; i++)
    view.at[i] = smft__matrix_view(model, version, view.plan->at[i]);
  view.alpha = 1;
  if (view.plan->memory < 0)
    return view;
  view.memory = smft__memory_view_of(model, version, view.plan->memory);
  if (view.memory.at[SMFT__M_ALPHA].data)
    smft__tensor_to_f32(&view.memory.at[SMFT__M_ALPHA], 0, 1, &view.alpha);
  return view;
}

/* ---- whole tensors ------------------------------------------------------- */

static const smft__snapshot *rows_of(const smft_model *model, const smft__version *version,
                                     int32_t index) {
  smft__origin origin = model->origin[index];
  int is_pool = smft__params[origin.line].scope == SMFT__OF_POOL;
  return is_pool && version ? version->pools[origin.place] : NULL;
}

int smft__patch_changes(const smft_model *model, const smft__version *version, int32_t index) {
  return (version && version->full) || smft__snapshot_count(rows_of(model, version, index)) > 0 ||
         smft__patch_adapter(version, index);
}

smft_status smft__zeros_fit(const smft_model *model, const char *what) {
  for (int32_t pool = 0; pool < model->config.n_pools; pool++) {
    const smft__tensor *values = &model->tensors[smft__pool_tensor(&model->config, pool)];
    int64_t bytes = smft__tensor_bytes(values);
    if (!values->data && bytes > MOST_ZEROS)
      return smft__fail(SMFT_E_UNSUPPORTED,
                        "%s: pool %d would be %lld bytes, nearly all of them zeros (at most %lld "
                        "are written): what was learnt is in the patch",
                        what, pool, (long long)bytes, (long long)MOST_ZEROS);
  }
  return SMFT_OK;
}

/* Into values (n_slots, dim). */
static smft_status put_rows(const smft_model *model, const smft__snapshot *rows, float *values) {
  int64_t n = smft__snapshot_count(rows), dim = model->config.memory.value_dim;
  if (n == 0)
    return SMFT_OK;
  int64_t *slots = smft__alloc_array(model->ctx, n, sizeof *slots);
  if (!slots)
    return SMFT_E_NOMEM;
  smft__snapshot_slots(rows, slots);
  for (int64_t i = 0; i < n; i++)
    memcpy(values + slots[i] * dim, smft__snapshot_find(rows, slots[i]),
           (size_t)dim * sizeof *values);
  smft__free(model->ctx, slots);
  return SMFT_OK;
}

smft_status smft__patch_values(const smft_model *model, const smft__version *version, int32_t index,
                               float *values) {
  smft__tensor tensor = smft__weight(model, version, index);
  const smft__low_rank *adapter = smft__patch_adapter(version, index);
  smft__pools_expect(model, SMFT__READ_IN_ORDER);
  smft__tensor_to_f32(&tensor, 0, smft__tensor_count(&tensor), values);
  smft__pools_expect(model, SMFT__READ_ROWS);
  SMFT__TRY(put_rows(model, rows_of(model, version, index), values));
  if (adapter)
    smft__low_rank_merge(model->ctx, adapter, values);
  return SMFT_OK;
}

smft_status smft_model_tensor_values(const smft_model *model, smft_patch *patch, int64_t index,
                                     float *values, int64_t n_elements) {
  const smft__version *version;
  int64_t n = 0;
  SMFT__REQUIRE(model && values, "smft_model_tensor_values: model or values is NULL");
  SMFT__REQUIRE(!patch || patch->model == model,
                "smft_model_tensor_values: the patch is of another model");
  SMFT__TRY(smft_model_tensor(model, index, NULL, NULL, &n));
  if (n_elements < n)
    return smft__fail(SMFT_E_BUFFER,
                      "smft_model_tensor_values: %s has %lld elements, room for %lld",
                      model->names[index], (long long)n, (long long)n_elements);
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  smft_status status = smft__patch_values(model, version, (int32_t)index, values);
  smft__patch_end_read(patch, version);
  if (status == SMFT_OK)
    smft__order_values(model, (int32_t)index, values);
  return status;
}

/* The weights of every tensor; a product of large factors may overflow. */
static smft_status merge_into(smft_patch *merged, const smft__version *version) {
  const smft_model *model = version->model;
  for (int32_t i = 0; i < model->n_tensors; i++) {
    SMFT__TRY(smft__patch_values(model, version, i, merged->full[i]));
    for (int64_t j = 0; version->lora && j < smft__tensor_count(&model->tensors[i]); j++)
      if (!isfinite(merged->full[i][j]))
        return smft__fail(SMFT_E_NONFINITE, "smft_patch_merge: tensor %s: value %lld is not finite",
                          model->names[i], (long long)j);
  }
  return SMFT_OK;
}

smft_status smft_patch_merge(smft_patch **out, smft_patch *patch) {
  smft_patch *merged = NULL;
  const smft__version *version;
  SMFT__REQUIRE(out, "smft_patch_merge: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(patch, "smft_patch_merge: patch is NULL");
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  smft_status status = smft__patch_make(&merged, patch->model, SMFT_PATCH_FULL);
  if (status == SMFT_OK)
    status = merge_into(merged, version);
  smft__patch_end_read(patch, version);
  if (status == SMFT_OK)
    *out = merged;
  else
    smft_patch_free(merged);
  return status;
}
