/* patch: what learning changed, and the one place that says which weights a session or learner sees.  (Stands in lib/model, not in
 * lib/learn as design.md has it: a session reads it, and includes only point up.) */
#ifndef SMFT__PATCH_H
#define SMFT__PATCH_H
#include "model/model.h"

struct smft_patch {
  smft_model *model;
  atomic_int references;
  int32_t kind;
  _Atomic int32_t users;    /* -1: one writer; n >= 0: n readers */
  _Atomic uint64_t version; /* grows with every change */
  smft__rows *rows;         /* slots: (n_pools) */
  float **full;             /* full: (n_tensors) private copies, made at creation */
};
smft_patch *smft__patch_retain(smft_patch *patch);
/* SMFT_E_STATE when someone else writes (read) or uses (write) it.  NULL patch: nothing to do. */
smft_status smft__patch_begin_read(smft_patch *patch);
void smft__patch_end_read(smft_patch *patch);
smft_status smft__patch_begin_write(smft_patch *patch);
void smft__patch_end_write(smft_patch *patch, int changed); /* changed: version grows */

/* The weights that model + patch (NULL: none) have. */
smft__tensor smft__weight(const smft_model *model, const smft_patch *patch, int32_t index); /* index -1: an absent tensor */
smft__pool smft__patch_pool(const smft_model *model, const smft_patch *patch, int32_t pool);
/* values (all of tensor `index`) as model + patch have it, as f32; the caller holds the patch for reading. */
void smft__patch_values(const smft_model *model, const smft_patch *patch, int32_t index, float *values);
int smft__patch_changes(const smft_model *model, const smft_patch *patch, int32_t index); /* 1: the patch may change this tensor */
/* Changed rows of a pool in ascending order of slot: positions (rows->n), to be freed with smft__free; NULL on no memory. */
int64_t *smft__patch_order(const smft_patch *patch, int32_t pool);
smft__memory_weights smft__patch_memory(const smft_model *model, const smft_patch *patch, int32_t memory);
#endif
