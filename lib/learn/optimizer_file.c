/* optimizer_file: moments and step counts as a safetensors file, the second half of a checkpoint.  Slots: pools.{p}.slots i64 (n),
 * pools.{p}.steps i64 (n), pools.{p}.moments f32 (n, m then v).  Full: m.{tensor} and v.{tensor}, f32, in the tensor's shape.  Metadata:
 * format, kind, patch ("none", "slots", "full"), moments, steps, model_hash. */
#include "base/alloc.h"
#include "data/safetensors.h"
#include "learn/optimizer.h"
#include <math.h>
#include <stdio.h>

#define FORMAT "smft.optimizer.1"
#define NAME 512

static const char *kind_name(const smft_optimizer *optimizer) { return optimizer->options.kind == SMFT_OPTIMIZER_ADAMW ? "adamw" : "sgd"; }

static const char *patch_name(const smft_optimizer *optimizer) {
  if (!optimizer->model)
    return "none";
  return optimizer->pools ? "slots" : "full";
}

/* ---- save ---- */

typedef struct listing { /* tensors to be written */
  smft_ctx *ctx;
  smft__save_tensor *list;
  char (*names)[NAME];
  int64_t n;
} listing;

static void put(listing *all, const char *name, const smft__tensor *tensor) {
  snprintf(all->names[all->n], NAME, "%s", name);
  all->list[all->n].name = all->names[all->n];
  all->list[all->n].tensor = *tensor;
  all->n++;
}

static void list_pools(const smft_optimizer *optimizer, listing *all) {
  char name[NAME];
  for (int32_t p = 0; p < optimizer->n_pools; p++) {
    const smft__row_state *state = &optimizer->pools[p];
    int64_t n = state->moments.n;
    if (n == 0)
      continue;
    smft__tensor slots = {state->moments.slots, {n}, 1, SMFT__I64}, steps = {state->steps, {n}, 1, SMFT__I64};
    smft__tensor moments = {state->moments.values, {n, state->moments.dim}, 2, SMFT__F32};
    snprintf(name, sizeof name, "pools.%d.slots", (int)p);
    put(all, name, &slots);
    snprintf(name, sizeof name, "pools.%d.steps", (int)p);
    put(all, name, &steps);
    snprintf(name, sizeof name, "pools.%d.moments", (int)p);
    put(all, name, &moments);
  }
}

static void list_dense(const smft_optimizer *optimizer, listing *all) {
  const float *arrays[2] = {optimizer->m, optimizer->v};
  char name[NAME];
  for (int k = 0; k < 2 && arrays[k]; k++)
    for (int32_t i = 0; i < optimizer->layout.n_tensors; i++) {
      smft__tensor tensor = optimizer->model->tensors[i];
      tensor.data = arrays[k] + optimizer->layout.begin[i];
      tensor.dtype = SMFT__F32;
      snprintf(name, sizeof name, "%c.%s", "mv"[k], optimizer->model->names[i]);
      put(all, name, &tensor);
    }
}

static smft_status write_listing(const smft_optimizer *optimizer, const listing *all, const char *path) {
  char steps[32], moments[32];
  snprintf(steps, sizeof steps, "%lld", (long long)optimizer->steps);
  snprintf(moments, sizeof moments, "%d", (int)smft__optimizer_moments(optimizer));
  const char *keys[] = {"format", "kind", "patch", "moments", "steps", "model_hash"};
  const char *values[] = {FORMAT, kind_name(optimizer), patch_name(optimizer), moments, steps,
                          optimizer->model ? optimizer->model->hash : ""};
  return smft__safetensors_write(optimizer->ctx, path, all->list, all->n, keys, values, 6, NULL, NULL);
}

smft_status smft_optimizer_save(smft_optimizer *optimizer, const char *path) {
  SMFT__REQUIRE(optimizer && path, "smft_optimizer_save: a NULL argument");
  int64_t most = 3 * (int64_t)optimizer->n_pools + 2 * (int64_t)optimizer->layout.n_tensors + 1;
  listing all = {optimizer->ctx, NULL, NULL, 0};
  all.list = smft__calloc_array(all.ctx, most, sizeof *all.list);
  all.names = smft__alloc_array(all.ctx, most, sizeof *all.names);
  smft_status status = all.list && all.names ? SMFT_OK : SMFT_E_NOMEM;
  if (status == SMFT_OK && optimizer->pools)
    list_pools(optimizer, &all);
  else if (status == SMFT_OK && optimizer->model)
    list_dense(optimizer, &all);
  if (status == SMFT_OK)
    status = write_listing(optimizer, &all, path);
  smft__free(all.ctx, all.list);
  smft__free(all.ctx, all.names);
  return status;
}

/* ---- load: into a second optimizer, which takes the first one's place when all of it is right ---- */

static int all_finite(const float *x, int64_t n) { return isfinite(smft__sum_squares(x, n)); }

static smft_status find(const smft__safetensors *file, const char *path, const char *name, int32_t dtype, const smft__tensor **out) {
  int64_t at = smft__safetensors_find(file, name);
  *out = at >= 0 ? &file->tensors[at] : NULL;
  if (!*out || (*out)->dtype != dtype)
    return smft__fail(SMFT_E_MISMATCH, "%s: expected a tensor \"%s\" of type %s", path, name, smft__dtype_name(dtype));
  return SMFT_OK;
}

static smft_status load_rows(smft__row_state *state, const smft__safetensors *file, const char *path, int32_t pool, int64_t n_slots) {
  const smft__tensor *slots, *steps, *moments;
  char name[NAME];
  snprintf(name, sizeof name, "pools.%d.slots", (int)pool);
  SMFT__TRY(find(file, path, name, SMFT__I64, &slots));
  snprintf(name, sizeof name, "pools.%d.steps", (int)pool);
  SMFT__TRY(find(file, path, name, SMFT__I64, &steps));
  snprintf(name, sizeof name, "pools.%d.moments", (int)pool);
  SMFT__TRY(find(file, path, name, SMFT__F32, &moments));
  int64_t n = smft__tensor_count(slots), dim = state->moments.dim;
  if (smft__tensor_count(steps) != n || moments->n_dims != 2 || moments->shape[0] != n || moments->shape[1] != dim)
    return smft__fail(SMFT_E_MISMATCH, "%s: pool %d: slots, steps and moments have different shapes", path, (int)pool);
  for (int64_t i = 0; i < n; i++) {
    int64_t slot, step;
    memcpy(&slot, (const char *)slots->data + i * 8, sizeof slot);
    memcpy(&step, (const char *)steps->data + i * 8, sizeof step);
    if (slot < 0 || slot >= n_slots || step < 1 || smft__rows_find(&state->moments, slot) >= 0)
      return smft__fail(SMFT_E_FORMAT, "%s: pool %d, row %lld: slot %lld of %lld, step %lld: out of range, or there twice", path, (int)pool,
                        (long long)i, (long long)slot, (long long)n_slots, (long long)step);
    float *row = smft__rows_at(&state->moments, smft__rows_add(&state->moments, slot));
    memcpy(row, (const char *)moments->data + (size_t)(i * dim) * sizeof *row, (size_t)dim * sizeof *row);
    state->steps[i] = step;
    if (!all_finite(row, dim))
      return smft__fail(SMFT_E_NONFINITE, "%s: pool %d, slot %lld: a moment is not finite", path, (int)pool, (long long)slot);
  }
  return SMFT_OK;
}

static smft_status load_pools(smft_optimizer *loaded, const smft_model *model, const smft__safetensors *file, const char *path) {
  SMFT__TRY(smft__optimizer_bind_rows(loaded, model));
  for (int32_t p = 0; p < loaded->n_pools; p++) {
    char name[NAME];
    snprintf(name, sizeof name, "pools.%d.slots", (int)p);
    int64_t at = smft__safetensors_find(file, name);
    if (at < 0)
      continue; /* no row of this pool was ever selected */
    SMFT__TRY(smft__optimizer_reserve_rows(loaded, p, smft__tensor_count(&file->tensors[at])));
    SMFT__TRY(load_rows(&loaded->pools[p], file, path, p, (int64_t)model->config.memory.n_keys * model->config.memory.n_keys));
  }
  return SMFT_OK;
}

static smft_status load_dense(smft_optimizer *loaded, const smft_model *model, const smft__safetensors *file, const char *path) {
  SMFT__TRY(smft__optimizer_bind_dense(loaded, model));
  float *arrays[2] = {loaded->m, loaded->v};
  for (int k = 0; k < 2 && arrays[k]; k++)
    for (int32_t i = 0; i < loaded->layout.n_tensors; i++) {
      char name[NAME];
      const smft__tensor *tensor;
      float *to = arrays[k] + loaded->layout.begin[i];
      snprintf(name, sizeof name, "%c.%s", "mv"[k], model->names[i]);
      SMFT__TRY(find(file, path, name, SMFT__F32, &tensor));
      if (smft__tensor_count(tensor) != loaded->layout.count[i])
        return smft__fail(SMFT_E_MISMATCH, "%s: tensor \"%s\": expected %lld numbers, got %lld", path, name,
                          (long long)loaded->layout.count[i], (long long)smft__tensor_count(tensor));
      memcpy(to, tensor->data, (size_t)loaded->layout.count[i] * sizeof *to);
      if (!all_finite(to, loaded->layout.count[i]))
        return smft__fail(SMFT_E_NONFINITE, "%s: tensor \"%s\": a moment is not finite", path, name);
    }
  return SMFT_OK;
}

static int64_t number_of(const char *text) { /* -1: not a whole number */
  int64_t value = 0;
  int digits = 0;
  for (; text && *text >= '0' && *text <= '9' && digits < 18; text++, digits++)
    value = value * 10 + (*text - '0');
  return text && digits > 0 && *text == 0 ? value : -1;
}

static smft_status check_metadata(const smft_optimizer *optimizer, const smft_model *model, const smft__safetensors *file,
                                  const char *path) {
  const char *keys[] = {"format", "kind", "model_hash"};
  const char *expected[] = {FORMAT, kind_name(optimizer), model->hash};
  const char *patch = smft__safetensors_metadata(file, "patch");
  int stateless = patch && strcmp(patch, "none") == 0;
  for (int i = 0; i < (stateless ? 2 : 3); i++) {
    const char *got = smft__safetensors_metadata(file, keys[i]);
    if (!got || strcmp(got, expected[i]) != 0)
      return smft__fail(i == 0 ? SMFT_E_FORMAT : SMFT_E_MISMATCH, "%s: not this optimizer's state: \"%s\" is \"%s\", expected \"%s\"", path,
                        keys[i], got ? got : "", expected[i]);
  }
  if (number_of(smft__safetensors_metadata(file, "moments")) != smft__optimizer_moments(optimizer))
    return smft__fail(SMFT_E_MISMATCH, "%s: its number of moments is not this optimizer's (%d): momentum differs", path,
                      (int)smft__optimizer_moments(optimizer));
  if (!patch || number_of(smft__safetensors_metadata(file, "steps")) < 0)
    return smft__fail(SMFT_E_FORMAT, "%s: \"patch\" or \"steps\" is missing or wrong", path);
  return SMFT_OK;
}

static smft_status load_state(smft_optimizer *loaded, const smft_model *model, const smft__safetensors *file, const char *path) {
  const char *patch = smft__safetensors_metadata(file, "patch");
  if (strcmp(patch, "slots") == 0)
    SMFT__TRY(load_pools(loaded, model, file, path));
  else if (strcmp(patch, "full") == 0)
    SMFT__TRY(load_dense(loaded, model, file, path));
  else if (strcmp(patch, "none") != 0)
    return smft__fail(SMFT_E_FORMAT, "%s: state of an unknown kind of patch: \"%s\"", path, patch);
  loaded->steps = number_of(smft__safetensors_metadata(file, "steps"));
  return SMFT_OK;
}

static void take_over(smft_optimizer *optimizer, const smft_optimizer *loaded) {
  smft__optimizer_free_state(optimizer);
  optimizer->model = loaded->model;
  optimizer->pools = loaded->pools;
  optimizer->n_pools = loaded->n_pools;
  optimizer->layout = loaded->layout;
  optimizer->m = loaded->m;
  optimizer->v = loaded->v;
  optimizer->steps = loaded->steps;
}

smft_status smft_optimizer_load(smft_optimizer *optimizer, const smft_model *model, const char *path) {
  SMFT__REQUIRE(optimizer && model && path, "smft_optimizer_load: a NULL argument");
  smft__safetensors file = {0};
  SMFT__TRY(smft__safetensors_open(&file, optimizer->ctx, path, 0));
  smft_optimizer loaded = {0};
  loaded.ctx = optimizer->ctx;
  loaded.options = optimizer->options;
  smft_status status = check_metadata(optimizer, model, &file, path);
  if (status == SMFT_OK)
    status = load_state(&loaded, model, &file, path);
  if (status == SMFT_OK)
    take_over(optimizer, &loaded);
  else
    smft__optimizer_free_state(&loaded);
  smft__safetensors_close(&file);
  return status;
}
