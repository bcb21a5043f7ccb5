/* optimizer_file: moments and step counts as a safetensors file, the second half of a checkpoint.
 * Slots: pools.{p}.slots i64 (n), pools.{p}.steps i64 (n), pools.{p}.moments f32 (n, m then v).
 * Full and LoRA: m.{part} and v.{part}, f32, in the part's shape.  Metadata: format, kind, patch
 * ("none", "slots", "full", "lora"), moments, steps, model_hash, parts (the layout's hash), rank
 * (LoRA). */
#include "base/alloc.h"
#include "data/safetensors.h"
#include "learn/optimizer.h"
#include "nn/vector.h"
#include <math.h>
#include <stdio.h>

#define FORMAT "smft.optimizer.1"
/* of a row, so that the steps that follow do not overflow (data/source.c has as much room for the
 * state's own) */
#define MOST_STEPS (INT64_C(1) << 60)
#define NAME (SMFT__PART_NAME + 16)

static const char *kind_name(const smft_optimizer *optimizer) {
  return optimizer->options.kind == SMFT_OPTIMIZER_ADAMW ? "adamw" : "sgd";
}

static const char *patch_name(const smft_optimizer *optimizer) {
  static const char *const names[] = {
      "none", [SMFT_PATCH_SLOTS] = "slots", [SMFT_PATCH_FULL] = "full", [SMFT_PATCH_LORA] = "lora"};
  return names[optimizer->patch_kind];
}

/* ---- save ---------------------------------------------------------------- */

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
    smft__tensor slots = {state->moments.slots, {n}, 1, SMFT__I64};
    smft__tensor steps = {state->steps, {n}, 1, SMFT__I64};
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
    for (int32_t i = 0; i < optimizer->layout.n_parts; i++) {
      smft__tensor tensor = optimizer->layout.parts[i].shape;
      tensor.data = arrays[k] + optimizer->layout.begin[i];
      snprintf(name, sizeof name, "%c.%s", "mv"[k], optimizer -> layout.parts[i].name);
      put(all, name, &tensor);
    }
}

static smft_status write_listing(const smft_optimizer *optimizer, const listing *all,
                                 const char *path) {
  char steps[32], moments[32], rank[32];
  snprintf(steps, sizeof steps, "%lld", (long long)optimizer->steps);
  snprintf(moments, sizeof moments, "%d", (int)smft__optimizer_moments(optimizer));
  snprintf(rank, sizeof rank, "%lld",
           (long long)(optimizer->layout.n_parts > 0 ? optimizer->layout.parts[0].shape.shape[0]
                                                     : 0));
  const char *keys[] = {"format", "kind",       "patch", "moments",
                        "steps",  "model_hash", "parts", "rank"};
  const char *values[] = {FORMAT,
                          kind_name(optimizer),
                          patch_name(optimizer),
                          moments,
                          steps,
                          optimizer->model ? optimizer->model->hash : "",
                          optimizer->parts,
                          rank};
  int64_t n_pairs = optimizer->patch_kind == SMFT_PATCH_LORA   ? 8
                    : optimizer->patch_kind == SMFT_PATCH_FULL ? 7
                                                               : 6;
  return smft__safetensors_write(optimizer->ctx, path, all->list, all->n, keys, values, n_pairs,
                                 NULL, NULL);
}

static smft_status save(smft_optimizer *optimizer, const char *path) {
  int64_t most = 3 * (int64_t)optimizer->n_pools + 2 * (int64_t)optimizer->layout.n_parts + 1;
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

smft_status smft_optimizer_save(smft_optimizer *optimizer, const char *path) {
  SMFT__REQUIRE(optimizer && path, "smft_optimizer_save: a NULL argument");
  SMFT__TRY(smft__claim_read(&optimizer->claim, "optimizer", "smft_optimizer_save"));
  smft_status status = save(optimizer, path);
  (void)smft__claim_end(&optimizer->claim);
  return status;
}

/* ---- load: into a second optimizer, which takes the first one's place when all of it is right
 * ---- */

static smft_status find(const smft__source *file, const char *path, const char *name, int32_t dtype,
                        const smft__tensor **out) {
  int64_t at = smft__source_find(file, name);
  *out = at >= 0 ? &file->tensors[at] : NULL;
  if (!*out || (*out)->dtype != dtype)
    return smft__fail(SMFT_E_MISMATCH, "%s: expected a tensor \"%s\" of type %s", path, name,
                      smft__dtype_name(dtype));
  return SMFT_OK;
}

static smft_status load_rows(smft__row_state *state, const smft__source *file, const char *path,
                             int32_t pool, int64_t n_slots) {
  const smft__tensor *slots, *steps, *moments;
  char name[NAME];
  snprintf(name, sizeof name, "pools.%d.slots", (int)pool);
  SMFT__TRY(find(file, path, name, SMFT__I64, &slots));
  snprintf(name, sizeof name, "pools.%d.steps", (int)pool);
  SMFT__TRY(find(file, path, name, SMFT__I64, &steps));
  snprintf(name, sizeof name, "pools.%d.moments", (int)pool);
  SMFT__TRY(find(file, path, name, SMFT__F32, &moments));
  int64_t n = smft__tensor_count(slots), dim = state->moments.dim;
  if (smft__tensor_count(steps) != n || moments->n_dims != 2 || moments->shape[0] != n ||
      moments->shape[1] != dim)
    return smft__fail(SMFT_E_MISMATCH,
                      "%s: pool %d: slots, steps and moments have different shapes", path,
                      (int)pool);
  for (int64_t i = 0; i < n; i++) {
    int64_t slot, step;
    memcpy(&slot, (const char *)slots->data + i * 8, sizeof slot);
    memcpy(&step, (const char *)steps->data + i * 8, sizeof step);
    if (slot < 0 || slot >= n_slots || step < 1 || step > MOST_STEPS ||
        smft__rows_find(&state->moments, slot) >= 0)
      return smft__fail(
          SMFT_E_FORMAT,
          "%s: pool %d, row %lld: slot %lld of %lld, step %lld: out of range, or there twice", path,
          (int)pool, (long long)i, (long long)slot, (long long)n_slots, (long long)step);
    float *row = smft__rows_at(&state->moments, smft__rows_add(&state->moments, slot));
    memcpy(row, (const char *)moments->data + (size_t)(i * dim) * sizeof *row,
           (size_t)dim * sizeof *row);
    state->steps[i] = step;
    if (!smft__vector()->all_finite(row, 1, dim, dim))
      return smft__fail(SMFT_E_NONFINITE, "%s: pool %d, slot %lld: a moment is not finite", path,
                        (int)pool, (long long)slot);
  }
  return SMFT_OK;
}

static smft_status load_pools(smft_optimizer *loaded, const smft_model *model,
                              const smft__source *file, const char *path) {
  SMFT__TRY(smft__optimizer_bind_rows(loaded, model));
  for (int32_t p = 0; p < loaded->n_pools; p++) {
    char name[NAME];
    snprintf(name, sizeof name, "pools.%d.slots", (int)p);
    int64_t at = smft__source_find(file, name);
    if (at < 0)
      continue; /* no row of this pool was ever selected */
    SMFT__TRY(smft__optimizer_reserve_rows(loaded, p, smft__tensor_count(&file->tensors[at])));
    SMFT__TRY(load_rows(&loaded->pools[p], file, path, p,
                        (int64_t)model->config.memory.n_keys * model->config.memory.n_keys));
  }
  return SMFT_OK;
}

/* A moment of every part. */
static smft_status load_moments(smft_optimizer *loaded, char which, float *to,
                                const smft__source *file, const char *path, double *bound) {
  for (int32_t i = 0; i < loaded->layout.n_parts; i++) {
    char name[NAME];
    const smft__tensor *tensor;
    float *part = to + loaded->layout.begin[i];
    int64_t n = loaded->layout.count[i];
    snprintf(name, sizeof name, "%c.%s", which, loaded->layout.parts[i].name);
    SMFT__TRY(find(file, path, name, SMFT__F32, &tensor));
    if (smft__tensor_count(tensor) != n)
      return smft__fail(SMFT_E_MISMATCH, "%s: tensor \"%s\": expected %lld numbers, got %lld", path,
                        name, (long long)n, (long long)smft__tensor_count(tensor));
    memcpy(part, tensor->data, (size_t)n * sizeof *part);
    double largest = smft__largest(part, n);
    if (!isfinite(largest))
      return smft__fail(SMFT_E_NONFINITE, "%s: tensor \"%s\": a moment is not finite", path, name);
    *bound = largest > *bound ? largest : *bound;
  }
  return SMFT_OK;
}

/* Rows of pools that have moments. */
static void find_touched(smft_optimizer *loaded) {
  const smft__dense *layout = &loaded->layout;
  const float *arrays[2] = {loaded->m, loaded->v};
  for (int32_t i = 0; i < layout->n_parts; i++) {
    uint64_t *bits = (uint64_t *)(uintptr_t)smft__dense_rows_of(layout, loaded->touched, i);
    for (int64_t row = 0; bits && row < layout->parts[i].shape.shape[0]; row++)
      for (int k = 0; k < 2 && arrays[k]; k++)
        if (smft__largest(arrays[k] + layout->begin[i] + row * layout->row_floats,
                          layout->row_floats) > 0)
          bits[row >> 6] |= (uint64_t)1 << (row & 63);
  }
}

/* shape: a patch that has only its shape. */
static smft_status load_dense(smft_optimizer *loaded, const smft_patch *shape,
                              const smft__source *file, const char *path) {
  const char *parts = smft__source_metadata(file, "parts");
  smft__dense layout;
  SMFT__TRY(smft__dense_create(&layout, shape));
  smft_status status = SMFT_OK;
  if (parts && strcmp(parts, layout.hash) != 0)
    status = smft__fail(SMFT_E_MISMATCH,
                        "%s: its tensors are not those that its \"parts\" are made of", path);
  if (status == SMFT_OK)
    status = smft__optimizer_bind_dense(loaded, shape, &layout);
  smft__dense_free(&layout, loaded->ctx);
  if (status == SMFT_OK && loaded->m)
    status = load_moments(loaded, 'm', loaded->m, file, path, &loaded->bounds.m);
  if (status == SMFT_OK && loaded->v)
    status = load_moments(loaded, 'v', loaded->v, file, path, &loaded->bounds.v);
  if (status == SMFT_OK && loaded->m)
    find_touched(loaded);
  return status;
}

static smft_status load_full(smft_optimizer *loaded, const smft_model *model,
                             const smft__source *file, const char *path) {
  smft_patch shape = {.model = (smft_model *)(uintptr_t)model, .kind = SMFT_PATCH_FULL};
  return load_dense(loaded, &shape, file, path);
}

/* Plain SGD has steps only: which parts they were of is a hash. */
static smft_status load_stateless_lora(smft_optimizer *loaded, const smft_model *model,
                                       const smft__source *file, const char *path) {
  const char *parts = smft__source_metadata(file, "parts");
  if (!parts || strlen(parts) + 1 != sizeof loaded->parts)
    return smft__fail(SMFT_E_FORMAT, "%s: \"parts\" is missing or wrong", path);
  memcpy(loaded->parts, parts, sizeof loaded->parts);
  loaded->model = smft__model_retain(model);
  loaded->patch_kind = SMFT_PATCH_LORA;
  return SMFT_OK;
}

/* Which adapters there are is what the first moments say. */
static smft_status load_lora(smft_optimizer *loaded, const smft_model *model,
                             const smft__source *file, const char *path) {
  smft_patch shape = {.model = (smft_model *)(uintptr_t)model, .kind = SMFT_PATCH_LORA};
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT, own;
  if (smft__optimizer_moments(loaded) == 0)
    return load_stateless_lora(loaded, model, file, path);
  int64_t rank = smft__source_number(file, "rank");
  options.rank = rank > 0 && rank <= INT32_MAX ? (int32_t)rank : -1;
  smft_status status = smft__lora_options(&own, &options);
  if (status != SMFT_OK)
    return smft__fail_within(SMFT_E_FORMAT, "%s: \"rank\"", path);
  status = smft__lora_from_tensors(&shape.lora, model, &own, file, "m.");
  if (status != SMFT_OK)
    return smft__fail_within(status, "%s", path);
  status = load_dense(loaded, &shape, file, path);
  smft__lora_free(shape.lora, model->ctx);
  return status;
}

static smft_status check_metadata(const smft_optimizer *optimizer, const smft_model *model,
                                  const smft__source *file, const char *path) {
  const char *keys[] = {"format", "kind", "model_hash"};
  const char *expected[] = {FORMAT, kind_name(optimizer), model->hash};
  const char *patch = smft__source_metadata(file, "patch");
  int stateless = patch && strcmp(patch, "none") == 0;
  for (int i = 0; i < (stateless ? 2 : 3); i++) {
    const char *got = smft__source_metadata(file, keys[i]);
    if (!got || strcmp(got, expected[i]) != 0)
      return smft__fail(i == 0 ? SMFT_E_FORMAT : SMFT_E_MISMATCH,
                        "%s: not this optimizer's state: \"%s\" is \"%s\", expected \"%s\"", path,
                        keys[i], got ? got : "", expected[i]);
  }
  if (smft__source_number(file, "moments") != smft__optimizer_moments(optimizer))
    return smft__fail(SMFT_E_MISMATCH,
                      "%s: its number of moments is not this optimizer's (%d): momentum differs",
                      path, (int)smft__optimizer_moments(optimizer));
  if (!patch || smft__source_number(file, "steps") < 0)
    return smft__fail(SMFT_E_FORMAT, "%s: \"patch\" or \"steps\" is missing or wrong", path);
  return SMFT_OK;
}

static smft_status load_state(smft_optimizer *loaded, const smft_model *model,
                              const smft__source *file, const char *path) {
  const char *patch = smft__source_metadata(file, "patch");
  if (strcmp(patch, "slots") == 0)
    SMFT__TRY(load_pools(loaded, model, file, path));
  else if (strcmp(patch, "full") == 0)
    SMFT__TRY(load_full(loaded, model, file, path));
  else if (strcmp(patch, "lora") == 0)
    SMFT__TRY(load_lora(loaded, model, file, path));
  else if (strcmp(patch, "none") != 0)
    return smft__fail(SMFT_E_FORMAT, "%s: state of an unknown kind of patch: \"%s\"", path, patch);
  loaded->steps = smft__source_number(file, "steps");
  return SMFT_OK;
}

static void take_over(smft_optimizer *optimizer, const smft_optimizer *loaded) {
  smft__optimizer_free_state(optimizer);
  optimizer->model = loaded->model;
  optimizer->patch_kind = loaded->patch_kind;
  optimizer->pools = loaded->pools;
  optimizer->n_pools = loaded->n_pools;
  memcpy(optimizer->parts, loaded->parts, sizeof optimizer->parts);
  optimizer->layout = loaded->layout;
  optimizer->m = loaded->m;
  optimizer->v = loaded->v;
  optimizer->touched = loaded->touched;
  optimizer->bounds = loaded->bounds;
  optimizer->steps = loaded->steps;
}

static smft_status load(smft_optimizer *optimizer, const smft_model *model, const char *path) {
  smft__source file = {0};
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
  smft__source_close(&file);
  return status;
}

smft_status smft_optimizer_load(smft_optimizer *optimizer, const smft_model *model,
                                const char *path) {
  SMFT__REQUIRE(optimizer && model && path, "smft_optimizer_load: a NULL argument");
  SMFT__TRY(smft__claim_alone(&optimizer->claim, "optimizer", "smft_optimizer_load"));
  smft_status status = load(optimizer, model, path);
  (void)smft__claim_end(&optimizer->claim);
  return status;
}
