/* patch: what learning changed: value rows (slots), private copies of every weight (full), or
 * low-rank adapters (lora).  Owns life, kinds and the rule of one writer or many readers; which
 * weights model + patch have is view.c's, rows are patch_rows.c's, files patch_file.c's. */
#include "model/patch.h"

#include <stdio.h>
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

smft_status smft__patch_make(smft_patch **out, const smft_model *model, int32_t kind) {
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
  SMFT__TRY(smft__patch_make(out, model, kind));
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
      patch->lora ? copy_lora(&copy, patch) : smft__patch_make(&copy, patch->model, patch->kind);
  if (status == SMFT_OK)
    status = copy_content(copy, patch);
  smft__patch_end_read(patch);
  if (status == SMFT_OK)
    *out = copy;
  else
    smft_patch_free(copy);
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
  if (smft__params[patch->model->origin[i].line].scope == SMFT__OF_POOL)
    part->pool = patch->model->origin[i].place;
}

void smft__patch_part(const smft_patch *patch, int32_t i, smft__part *part) {
  part->pool = -1;
  if (patch->lora)
    lora_part(patch, i, part);
  else
    full_part(patch, i, part);
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
