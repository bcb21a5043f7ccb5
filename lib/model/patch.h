/* patch: what learning changed, as one version after another.  (Stands in lib/model, not in
 * lib/learn: a session reads it, and includes only point up.) */
#ifndef SMFT__PATCH_H
#define SMFT__PATCH_H
#include "model/version.h"

struct smft_patch {
  smft_model *model;
  atomic_int references;
  int32_t kind;
  /* -1: a writer; n > 0: n readers of a full or LoRA patch (those of a slots patch do not count) */
  _Atomic int32_t users;
  _Atomic(smft__version *) current; /* full, LoRA: always the same */
  _Atomic int32_t entering;         /* readers who are about to retain `current` */
  smft__version *replaced; /* a writer's: versions that somebody may still be about to retain */
  float **full;            /* full: (n_tensors) private copies, made at creation */
  /* LoRA: the adapters, made at creation; their rank and places never change */
  smft__lora *lora;
};
smft_patch *smft__patch_retain(smft_patch *patch);

/* What a call that reads is given from its beginning to its end: the patch as it is now.  A slots
 * patch: always, and nobody waits.  Others: SMFT_E_STATE while someone writes.  NULL patch: NULL
 * version, the base. */
smft_status smft__patch_begin_read(smft_patch *patch, const smft__version **version);
void smft__patch_end_read(smft_patch *patch, const smft__version *version);

/* One writer at a time: SMFT_E_STATE while someone else writes; full and LoRA patches: or reads.
 * Between the two `current` stays.  A slots patch's writer makes the next version of it
 * (smft__version_edit) and publishes that at the end, which cannot fail; NULL: nothing changed.
 * Full and LoRA patches are changed in place: `next` is `current`. */
smft_status smft__patch_begin_write(smft_patch *patch);
void smft__patch_end_write(smft_patch *patch, smft__version *next);
/* For the writer, and for whoever knows that there is none. */
static inline smft__version *smft__patch_current(const smft_patch *patch) {
  return patch ? atomic_load(&patch->current) : NULL;
}

/* Slots or full; a full patch's copies are not set. */
smft_status smft__patch_make(smft_patch **out, const smft_model *model, int32_t kind);
/* A LoRA patch of adapters, which are the patch's from now on, also when it fails. */
smft_status smft__patch_from_lora(smft_patch **out, const smft_model *model, smft__lora *lora);

/* The record of a fact behind those that there are; it is retained.  The patch must not be open
 * for writing.  On failure nothing changes. */
smft_status smft__patch_add_fact(smft_patch *patch, smft__taught_fact *fact);

/* What training a full or LoRA patch changes, piece by piece: every tensor of the model, or A and B
 * of every adapter. */
typedef struct smft__part {
  char name[SMFT__PART_NAME]; /* the tensor's; PEFT's */
  smft__tensor shape;         /* F32, of the part's shape, on its values */
  /* the patch's own, which stay where they are while it lives; NULL for one made up to have a shape
   * only */
  float *values;
  int32_t pool; /* which pool's values they are, or -1 */
} smft__part;
int32_t smft__patch_n_parts(const smft_patch *patch); /* slots: 0 */
void smft__patch_part(const smft_patch *patch, int32_t i, smft__part *part);
#endif
