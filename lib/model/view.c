/* view: see view.h.  Owns what reads whole weights for hosts, too: smft_model_tensor_values and
 * smft_patch_merge. */
#include "model/view.h"

#include <math.h>
#include <string.h>

#include "model/order.h"

/* ---- single tensors ------------------------------------------------------ */

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
  view.base = smft__weight(model, patch, smft__pool_tensor(&model->config, pool));
  view.rows = patch && patch->rows ? &patch->rows[pool] : NULL;
  view.n_slots = view.base.shape[0];
  view.value_dim = view.base.shape[1];
  return view;
}

int32_t smft__model_dtype(const smft_model *model, const smft_patch *patch) {
  return smft__weight(model, patch, model->config.stack.at[SMFT__EMBED].tensor).dtype;
}

/* ---- blocks -------------------------------------------------------------- */

smft__matrix smft__matrix_view(const smft_model *model, const smft_patch *patch,
                               smft__where where) {
  smft__matrix matrix = {smft__weight(model, patch, where.tensor),
                         smft__patch_adapter(patch, where.tensor)};
  return matrix;
}

smft__memory_view smft__memory_view_of(const smft_model *model, const smft_patch *patch,
                                       int32_t memory) {
  const smft__memory_plan *plan = &model->config.memories[memory];
  smft__memory_view view = {.config = model->config.memory};
  for (int32_t i = 0; i < SMFT__N_MEMORY_PARAMS; i++)
    view.at[i] = smft__weight(model, patch, plan->at[i].tensor);
  view.pool = smft__patch_pool(model, patch, plan->pool);
  return view;
}

smft__block_view smft__block_view_of(const smft_model *model, const smft_patch *patch,
                                     int32_t layer) {
  smft__block_view view;
  memset(&view, 0, sizeof view);
  view.plan = &model->config.blocks[layer];
  for (int32_t i = 0; i < SMFT__N_BLOCK_PARAMS; i++)
    view.at[i] = smft__matrix_view(model, patch, view.plan->at[i]);
  view.alpha = 1;
  if (view.plan->memory < 0)
    return view;
  view.memory = smft__memory_view_of(model, patch, view.plan->memory);
  if (view.memory.at[SMFT__M_ALPHA].data)
    smft__tensor_to_f32(&view.memory.at[SMFT__M_ALPHA], 0, 1, &view.alpha);
  return view;
}

/* ---- whole tensors ------------------------------------------------------- */

static const smft__rows *rows_of(const smft_model *model, const smft_patch *patch, int32_t index) {
  smft__origin origin = model->origin[index];
  int is_pool = smft__params[origin.line].scope == SMFT__OF_POOL;
  return is_pool && patch && patch->rows ? &patch->rows[origin.place] : NULL;
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

smft_status smft_model_tensor_values(const smft_model *model, smft_patch *patch, int64_t index,
                                     float *values, int64_t n_elements) {
  int64_t n = 0;
  SMFT__REQUIRE(model && values, "smft_model_tensor_values: model or values is NULL");
  SMFT__REQUIRE(!patch || patch->model == model,
                "smft_model_tensor_values: the patch is of another model");
  SMFT__TRY(smft_model_tensor(model, index, NULL, NULL, &n));
  if (n_elements < n)
    return smft__fail(SMFT_E_BUFFER,
                      "smft_model_tensor_values: %s has %lld elements, room for %lld",
                      model->names[index], (long long)n, (long long)n_elements);
  SMFT__TRY(smft__patch_begin_read(patch));
  smft__patch_values(model, patch, (int32_t)index, values);
  smft__patch_end_read(patch);
  smft__order_values(model, (int32_t)index, values);
  return SMFT_OK;
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
  smft_status status = smft__patch_make(&merged, patch->model, SMFT_PATCH_FULL);
  if (status == SMFT_OK)
    status = merge_into(merged, patch);
  smft__patch_end_read(patch);
  if (status == SMFT_OK)
    *out = merged;
  else
    smft_patch_free(merged);
  return status;
}
