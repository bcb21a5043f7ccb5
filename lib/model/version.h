/* version: a patch as it is at one time: what everybody who reads weights is given.  A slots
 * patch's versions never change once they are published; a full or LoRA patch has one, whose
 * numbers change in place while nobody reads (patch.h). */
#ifndef SMFT__VERSION_H
#define SMFT__VERSION_H
#include "memory/snapshot.h"
#include "model/lora.h"
#include "model/taught.h"

typedef struct smft__version {
  smft_model *model;
  atomic_int references;
  int32_t kind;
  _Atomic uint64_t number; /* of a patch's versions, each has a larger one than those before it */
  struct smft__version *next; /* in a list of those that were replaced; for patch.c */
  float **full;               /* full: (n_tensors) the patch's own copies */
  smft__lora *lora;           /* LoRA: the patch's own adapters */
  smft__taught *taught;       /* slots: the facts that it was taught; NULL: none */
  smft__snapshot *pools[];    /* (n_pools) slots: changed rows; NULL: none.  Other kinds: NULL */
} smft__version;
/* Empty, with a number; NULL on no memory. */
smft__version *smft__version_make(smft_model *model, int32_t kind, uint64_t number);
smft__version *smft__version_retain(const smft__version *version);
void smft__version_release(const smft__version *version); /* NULL is fine */

/* ---- one that nobody else sees yet --------------------------------------- */

/* The version after `from`, with the same content: `from` must outlive the changes. */
smft__version *smft__version_edit(const smft__version *from);
/* A pool's rows, to be changed, of which `more` are to be added; NULL on no memory. */
smft__snapshot *smft__version_pool(smft__version *next, int32_t pool, int64_t more);
#endif
