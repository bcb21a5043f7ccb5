/* weights: the tensors that a config asks for, by the list of parameters and the family's names,
 * and what fills them: a file's tensors or random numbers.  Owns names, order and where a parameter
 * is; does not own the mapping (model.c) or what learning changed (view.c). */
#include "model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/rng.h"
#include "model/arch.h"
#include "model/unused.h"

/* ---- the list of a model's tensors --------------------------------------- */

typedef struct entry {
  char name[SMFT__TENSOR_NAME];
  smft__origin origin;
} entry;

typedef struct listing {
  smft_ctx *ctx;
  entry *entries; /* (n) */
  int64_t n, capacity;
} listing;

smft__where *smft__weights_where(smft_model *model, smft__origin origin) {
  smft__config *c = &model->config;
  int32_t scope = smft__params[origin.line].scope, i = origin.place;
  smft__where *at = scope == SMFT__OF_MODEL    ? c->stack.at
                    : scope == SMFT__OF_BLOCK  ? c->blocks[i].at
                    : scope == SMFT__OF_MEMORY ? c->memories[i].at
                                               : c->pools[i].at;
  return &at[origin.line - smft__first[scope]];
}

void smft__weights_name(char name[SMFT__TENSOR_NAME], const smft__config *c, smft__origin origin) {
  int32_t scope = smft__params[origin.line].scope;
  int32_t number = scope == SMFT__OF_MEMORY ? c->memories[origin.place].layer : origin.place;
  snprintf(name, SMFT__TENSOR_NAME, c->arch->names[origin.line], number);
}

static smft_status put(listing *list, const smft__config *c, smft__origin origin) {
  SMFT__TRY(
      smft__grow(list->ctx, &list->entries, &list->capacity, list->n + 1, sizeof *list->entries));
  entry *one = &list->entries[list->n++];
  memset(one, 0, sizeof *one);
  smft__weights_name(one->name, c, origin);
  one->origin = origin;
  return SMFT_OK;
}

static smft_status put_all(listing *list, const smft__config *c) {
  for (int32_t line = 0; line < SMFT__N_PARAMS; line++)
    for (int32_t i = 0; i < smft__n_places(c, smft__params[line].scope); i++)
      if (c->arch->names[line] && smft__param_is_there(c, line, i))
        SMFT__TRY(put(list, c, (smft__origin){line, i}));
  return SMFT_OK;
}

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* Names, shapes and origins of the sorted entries; the block of names holds pointers, then texts.
 */
static smft_status hand_over(smft_model *model, const listing *list) {
  size_t pointers = (size_t)list->n * sizeof(char *);
  model->names = smft__alloc(model->ctx, pointers + (size_t)list->n * SMFT__TENSOR_NAME);
  model->tensors = smft__calloc_array(model->ctx, list->n, sizeof *model->tensors);
  model->origin = smft__calloc_array(model->ctx, list->n, sizeof *model->origin);
  if (!model->names || !model->tensors || !model->origin)
    return SMFT_E_NOMEM;
  model->n_tensors = (int32_t)list->n;
  for (int32_t i = 0; i < model->n_tensors; i++) {
    const entry *one = &list->entries[i];
    model->names[i] = (char *)model->names + pointers + (size_t)i * SMFT__TENSOR_NAME;
    memcpy(model->names[i], one->name, SMFT__TENSOR_NAME);
    model->origin[i] = one->origin;
    model->tensors[i].n_dims =
        smft__param_shape(&model->config, one->origin.line, model->tensors[i].shape);
    smft__weights_where(model, one->origin)->tensor = i;
  }
  return SMFT_OK;
}

smft_status smft__weights_list(smft_model *model) {
  listing list = {model->ctx, NULL, 0, 0};
  smft_status status = put_all(&list, &model->config);
  if (status == SMFT_OK) {
    qsort(list.entries, (size_t)list.n, sizeof *list.entries, compare_entries);
    status = hand_over(model, &list);
  }
  smft__free(model->ctx, list.entries);
  return status;
}

/* ---- from a file --------------------------------------------------------- */

static void shape_text(const int64_t *dims, int32_t n, char *text, size_t size) {
  size_t used = (size_t)snprintf(text, size, "(");
  for (int32_t i = 0; i < n && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, i ? ", %lld" : "%lld", (long long)dims[i]);
  if (used < size)
    snprintf(text + used, size - used, ")");
}

/* Matrices may be in blocks, if their rows are whole ones; vectors, keys and pools of values are
 * read number by number. */
static smft_status check_type(const char *name, int32_t line, const smft__tensor *found) {
  const smft__dtype *type = smft__dtype_traits(found->dtype);
  int64_t row = found->n_dims > 0 ? found->shape[found->n_dims - 1] : 1;
  int whole = found->n_dims != 2 || smft__params[line].scope == SMFT__OF_POOL;
  if (!type->is_weight || (whole && type->block > 1))
    return smft__fail(SMFT_E_MISMATCH, "tensor %s: expected F32, F16 or BF16, found %s", name,
                      type->name);
  if (row % type->block != 0)
    return smft__fail(SMFT_E_MISMATCH,
                      "tensor %s: expected rows of a multiple of %d numbers for %s, found %lld",
                      name, type->block, type->name, (long long)row);
  return SMFT_OK;
}

static smft_status check_found(const char *name, int32_t line, const smft__tensor *wanted,
                               const smft__tensor *found) {
  char expected[128], got[256];
  SMFT__TRY(check_type(name, line, found));
  if (found->n_dims == wanted->n_dims &&
      memcmp(found->shape, wanted->shape, (size_t)wanted->n_dims * sizeof *wanted->shape) == 0)
    return SMFT_OK;
  shape_text(wanted->shape, wanted->n_dims, expected, sizeof expected);
  shape_text(found->shape, found->n_dims, got, sizeof got);
  return smft__fail(SMFT_E_MISMATCH, "tensor %s: config.json makes its shape %s, the file has %s",
                    name, expected, got);
}

/* The number of elements, which no file bounds. */
static smft_status count_of(const smft_model *model, int32_t i, int64_t *n) {
  const smft__tensor *tensor = &model->tensors[i];
  *n = sizeof(float);
  for (int32_t d = 0; d < tensor->n_dims; d++)
    if (!smft__mul_i64(*n, tensor->shape[d], n))
      return smft__fail(SMFT_E_NOMEM, "tensor %s: its size overflows", model->names[i]);
  *n /= (int64_t)sizeof(float);
  return SMFT_OK;
}

/* Zeros that stand nowhere. */
static int is_implied(const smft_model *model, int32_t i) {
  return model->config.zero_values && smft__params[model->origin[i].line].scope == SMFT__OF_POOL;
}

static smft_status bind_zeros(smft_model *model, int32_t i, const smft__source *source) {
  int64_t n = 0;
  if (smft__source_find(source, model->names[i]) >= 0)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "tensor %s is not used: config.json says \"values\": \"zero\"",
                      model->names[i]);
  model->tensors[i].dtype = SMFT__F32;
  return count_of(model, i, &n);
}

static smft_status bind_one(smft_model *model, int32_t i, smft__source *source) {
  int64_t at = smft__source_find(source, model->names[i]);
  if (at < 0)
    return smft__fail(SMFT_E_MISMATCH, "tensor %s is missing: config.json asks for it",
                      model->names[i]);
  SMFT__TRY(check_found(model->names[i], model->origin[i].line, &model->tensors[i],
                        &source->tensors[at]));
  model->tensors[i] = source->tensors[at];
  source->used[at] = 1;
  return SMFT_OK;
}

/* A grafted model's memory stands in a file of its own. */
static smft__source *source_of(smft_model *model, int32_t i) {
  int32_t scope = smft__params[model->origin[i].line].scope;
  int of_memory = scope == SMFT__OF_MEMORY || scope == SMFT__OF_POOL;
  return model->base_path && of_memory ? &model->graft : &model->source;
}

smft_status smft__weights_bind(smft_model *model) {
  SMFT__TRY(smft__source_unused(&model->source));
  if (model->base_path)
    SMFT__TRY(smft__source_unused(&model->graft));
  for (int32_t i = 0; i < model->n_tensors; i++)
    SMFT__TRY(is_implied(model, i) ? bind_zeros(model, i, source_of(model, i))
                                   : bind_one(model, i, source_of(model, i)));
  return smft__unused_tensors(model);
}

/* ---- random -------------------------------------------------------------- */

/* Each tensor has its own stream, so that its numbers do not depend on which other tensors there
 * are. */
static void fill(float *values, int64_t n, const char *name, smft__start start, uint64_t seed) {
  smft__rng rng;
  smft__rng_seed(&rng, smft__mix64(seed) ^ smft__hash_bytes(name, strlen(name)));
  for (int64_t i = 0; i < n; i++) {
    if (start.kind == SMFT__INIT_NORMAL)
      values[i] = (float)(start.scale * smft__rng_normal(&rng));
    else if (start.kind == SMFT__INIT_UNIFORM)
      values[i] = (float)(start.scale * (2 * smft__rng_uniform(&rng) - 1));
    else
      values[i] = (float)start.scale;
  }
}

static smft_status place(smft_model *model, smft__arena *arena) {
  for (int32_t i = 0; i < model->n_tensors; i++) {
    int64_t n = 0;
    SMFT__TRY(count_of(model, i, &n));
    model->tensors[i].dtype = SMFT__F32;
    if (!is_implied(model, i))
      model->tensors[i].data = smft__arena_take(arena, n, sizeof(float));
  }
  return arena->used < 0 ? smft__fail(SMFT_E_NOMEM, "the size of all weights overflows") : SMFT_OK;
}

smft_status smft__weights_init(smft_model *model, uint64_t seed) {
  smft__arena arena = {0};
  SMFT__TRY(place(model, &arena));
  model->owned = smft__alloc_array(model->ctx, arena.used, 1);
  if (!model->owned)
    return SMFT_E_NOMEM;
  arena = (smft__arena){model->owned, 0, arena.used};
  SMFT__TRY(place(model, &arena));
  for (int32_t i = 0; i < model->n_tensors; i++)
    fill((float *)(uintptr_t)model->tensors[i].data,
         is_implied(model, i) ? 0 : smft__tensor_count(&model->tensors[i]), model->names[i],
         smft__param_start(&model->config, model->origin[i].line), seed);
  return SMFT_OK;
}
