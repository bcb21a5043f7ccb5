/* patch: what learning changed: value rows (slots), private copies of every weight (full), or
 * low-rank adapters (lora).  Owns life, kinds, and who reads and writes which version; which
 * weights model + patch have is view.c's, rows are patch_rows.c's, files patch_file.c's. */
#include "model/patch.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/view.h"

/* ---- readers and a writer ------------------------------------------------ */

/* The current version, retained: it may be replaced between the two, but is not released while
 * someone is entering. */
static void enter(smft_patch *patch, const smft__version **version) {
  atomic_fetch_add(&patch->entering, 1);
  *version = smft__version_retain(atomic_load(&patch->current));
  atomic_fetch_sub(&patch->entering, 1);
}

smft_status smft__patch_begin_read(smft_patch *patch, const smft__version **version) {
  *version = NULL;
  if (!patch)
    return SMFT_OK;
  if (patch->kind == SMFT_PATCH_SLOTS) {
    enter(patch, version);
    return SMFT_OK;
  }
  int32_t users = atomic_load(&patch->users);
  do {
    if (users < 0)
      return smft__fail(SMFT_E_STATE, "the patch is being changed by another call");
  } while (!atomic_compare_exchange_weak(&patch->users, &users, users + 1));
  *version = smft__patch_current(patch);
  return SMFT_OK;
}

void smft__patch_end_read(smft_patch *patch, const smft__version *version) {
  if (patch && patch->kind == SMFT_PATCH_SLOTS)
    smft__version_release(version);
  else if (patch)
    atomic_fetch_sub(&patch->users, 1);
}

smft_status smft__patch_begin_write(smft_patch *patch) {
  int32_t nobody = 0;
  if (!patch || atomic_compare_exchange_strong(&patch->users, &nobody, -1))
    return SMFT_OK;
  return smft__fail(SMFT_E_STATE, "the patch is being %s by another call",
                    nobody < 0 ? "changed" : "read");
}

static void release_replaced(smft_patch *patch) {
  while (patch->replaced) {
    smft__version *version = patch->replaced;
    patch->replaced = version->next;
    smft__version_release(version);
  }
}

/* Whoever entered before the exchange has retained the old version by the time that nobody is
 * entering, and whoever enters after it gets the new one.  Entering takes some instructions, so it
 * is looked for a few times; where someone was interrupted in it, the next writer releases. */
static void publish(smft_patch *patch, smft__version *next) {
  smft__version *old = atomic_exchange(&patch->current, next);
  old->next = patch->replaced;
  patch->replaced = old;
  for (int tries = 0; patch->replaced && tries < 100; tries++)
    if (atomic_load(&patch->entering) == 0)
      release_replaced(patch);
}

void smft__patch_end_write(smft_patch *patch, smft__version *next) {
  if (!patch)
    return;
  if (next && next == smft__patch_current(patch))
    atomic_fetch_add(&next->number, 1);
  else if (next)
    publish(patch, next);
  atomic_store(&patch->users, 0);
}

/* ---- life ---------------------------------------------------------------- */

static void destroy(smft_patch *patch) {
  smft_model *model = patch->model;
  release_replaced(patch);
  smft__version_release(smft__patch_current(patch));
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

static smft_status check_pools(const smft_model *model) {
  if (model->config.n_pools == 0)
    return smft__fail(
        SMFT_E_UNSUPPORTED,
        "smft_patch_create: a slots patch needs a model with memory layers; this one has none");
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
  SMFT__TRY(smft__zeros_fit(model, "a full patch"));
  place_full(NULL, &arena, model);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "smft_patch_create: the size of all weights overflows");
  char *block = smft__alloc_array(model->ctx, arena.used, 1);
  if (!block)
    return SMFT_E_NOMEM;
  arena = (smft__arena){block, 0, arena.used};
  patch->full = smft__patch_current(patch)->full = (float **)(void *)block;
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
  atomic_init(&patch->current, smft__version_make(patch->model, kind, 1));
  if (smft__patch_current(patch))
    return patch;
  destroy(patch);
  return NULL;
}

smft_status smft__patch_make(smft_patch **out, const smft_model *model, int32_t kind) {
  smft_patch *patch = make_empty(model, kind);
  if (!patch)
    return SMFT_E_NOMEM;
  smft_status status = kind == SMFT_PATCH_SLOTS ? check_pools(model) : make_full(patch);
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
  patch->lora = smft__patch_current(patch)->lora = lora;
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
  if (kind == SMFT_PATCH_FULL && model->base_path)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "smft_patch_create: a grafted model is trained by its rows or by LoRA; for a "
                      "full patch load its base: %s",
                      model->base_path);
  SMFT__TRY(smft__patch_make(out, model, kind));
  if (kind == SMFT_PATCH_FULL)
    copy_base(*out);
  return SMFT_OK;
}

/* Of a slots patch the version itself: both share it until one of them changes. */
static void copy_content(smft_patch *to, const smft_patch *from, const smft__version *version) {
  if (from->kind == SMFT_PATCH_SLOTS)
    smft__version_release(atomic_exchange(&to->current, smft__version_retain(version)));
  for (int32_t i = 0; from->full && i < from->model->n_tensors; i++)
    memcpy(to->full[i], from->full[i],
           (size_t)smft__tensor_count(&from->model->tensors[i]) * sizeof(float));
}

static smft_status copy_lora(smft_patch **out, const smft_patch *from) {
  smft__lora *lora = NULL;
  SMFT__TRY(smft__lora_copy(&lora, from->model, from->lora));
  return smft__patch_from_lora(out, from->model, lora);
}

smft_status smft_patch_copy(smft_patch **out, smft_patch *patch) {
  smft_patch *copy = NULL;
  const smft__version *version;
  SMFT__REQUIRE(out, "smft_patch_copy: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(patch, "smft_patch_copy: patch is NULL");
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  smft_status status =
      patch->lora ? copy_lora(&copy, patch) : smft__patch_make(&copy, patch->model, patch->kind);
  if (status == SMFT_OK)
    copy_content(copy, patch, version);
  smft__patch_end_read(patch, version);
  if (status == SMFT_OK)
    *out = copy;
  else
    smft_patch_free(copy);
  return status;
}

/* With the number that follows the patch's own. */
static smft__version *share(const smft_patch *patch, smft_patch *from) {
  const smft__version *version;
  if (smft__patch_begin_read(from, &version) != SMFT_OK)
    return NULL;
  smft__version *next = smft__version_edit(version);
  smft__patch_end_read(from, version);
  if (next)
    atomic_store(&next->number, atomic_load(&smft__patch_current(patch)->number) + 1);
  return next;
}

smft_status smft_patch_assign(smft_patch *patch, smft_patch *from) {
  SMFT__REQUIRE(patch && from, "smft_patch_assign: patch or from is NULL");
  if (patch->kind != SMFT_PATCH_SLOTS || from->kind != SMFT_PATCH_SLOTS)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "smft_patch_assign: both patches must be of slots: %s "
                      "is not",
                      from->kind == SMFT_PATCH_SLOTS ? "the first" : "the second");
  if (patch->model != from->model)
    return smft__fail(SMFT_E_MISMATCH, "smft_patch_assign: the patches are of two models");
  SMFT__TRY(smft__patch_begin_write(patch));
  smft__version *next = share(patch, from);
  smft__patch_end_write(patch, next);
  return next ? SMFT_OK : SMFT_E_NOMEM;
}

int32_t smft_patch_kind(const smft_patch *patch) { return patch ? patch->kind : 0; }

smft_status smft_patch_get_lora(const smft_patch *patch, smft_lora_options *options) {
  SMFT__REQUIRE(patch && options, "smft_patch_get_lora: patch or options is NULL");
  if (!patch->lora)
    return smft__fail(SMFT_E_UNSUPPORTED, "smft_patch_get_lora: the patch is not a LoRA patch");
  return smft__report_write(options, &patch->lora->options, sizeof *options, sizeof *options,
                            "smft_lora_options");
}

uint64_t smft_patch_version(smft_patch *patch) {
  const smft__version *version = NULL;
  if (!patch || patch->kind != SMFT_PATCH_SLOTS)
    return patch ? atomic_load(&smft__patch_current(patch)->number) : 0;
  enter(patch, &version);
  uint64_t number = atomic_load(&version->number);
  smft__version_release(version);
  return number;
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
  smft__version *next = smft__patch_current(patch);
  if (patch->kind == SMFT_PATCH_SLOTS)
    next = smft__version_make(patch->model, patch->kind, atomic_load(&next->number) + 1);
  if (patch->full)
    copy_base(patch);
  if (patch->lora)
    smft__lora_start(patch->lora, patch->model);
  smft__patch_end_write(patch, next);
  return next ? SMFT_OK : SMFT_E_NOMEM;
}
