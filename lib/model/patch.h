/* patch: what learning changed.  (Stands in lib/model, not in lib/learn: a session reads it, and
 * includes only point up.) */
#ifndef SMFT__PATCH_H
#define SMFT__PATCH_H
#include "model/lora.h"

struct smft_patch {
  smft_model *model;
  atomic_int references;
  int32_t kind;
  _Atomic int32_t users;    /* -1: one writer; n >= 0: n readers */
  _Atomic uint64_t version; /* grows with every change */
  smft__rows *rows;         /* slots: (n_pools) */
  float **full;             /* full: (n_tensors) private copies, made at creation */
  /* LoRA: the adapters, made at creation; their rank and places never change */
  smft__lora *lora;
};
smft_patch *smft__patch_retain(smft_patch *patch);
/* SMFT_E_STATE when someone else writes (read) or uses (write) it.  NULL patch: nothing to do. */
smft_status smft__patch_begin_read(smft_patch *patch);
void smft__patch_end_read(smft_patch *patch);
smft_status smft__patch_begin_write(smft_patch *patch);
void smft__patch_end_write(smft_patch *patch, int changed); /* changed: version grows */

/* Slots or full; a full patch's copies are not set. */
smft_status smft__patch_make(smft_patch **out, const smft_model *model, int32_t kind);
/* A LoRA patch of adapters, which are the patch's from now on, also when it fails. */
smft_status smft__patch_from_lora(smft_patch **out, const smft_model *model, smft__lora *lora);

/* Changed rows of a pool in ascending order of slot: positions (rows->n), to be freed with
 * smft__free; NULL on no memory. */
int64_t *smft__patch_order(const smft_patch *patch, int32_t pool);

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
