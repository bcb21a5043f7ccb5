/* version: see version.h.  Owns what a version is made of; which one is a patch's, and who may
 * replace it, is patch.c's. */
#include "model/version.h"

#include <string.h>

smft__version *smft__version_make(smft_model *model, int32_t kind, uint64_t number) {
  int32_t n_pools = model->config.n_pools;
  smft__version *version =
      smft__calloc_array(model->ctx, 1, sizeof *version + (size_t)n_pools * sizeof(void *));
  if (!version)
    return NULL;
  version->model = smft__model_retain(model);
  atomic_init(&version->references, 1);
  version->kind = kind;
  atomic_init(&version->number, number);
  return version;
}

smft__version *smft__version_retain(const smft__version *version) {
  smft__version *own = (smft__version *)(uintptr_t)version;
  if (own)
    atomic_fetch_add_explicit(&own->references, 1, memory_order_relaxed);
  return own;
}

void smft__version_release(const smft__version *version) {
  smft__version *own = (smft__version *)(uintptr_t)version;
  if (!own || atomic_fetch_sub_explicit(&own->references, 1, memory_order_acq_rel) != 1)
    return;
  smft_model *model = own->model;
  for (int32_t p = 0; p < model->config.n_pools; p++)
    smft__snapshot_release(own->pools[p]);
  smft__taught_release(own->taught);
  smft__free(model->ctx, own);
  smft_model_free(model); /* last: it may hold the context */
}

smft__version *smft__version_edit(const smft__version *from) {
  smft__version *next = smft__version_make(from->model, from->kind, atomic_load(&from->number) + 1);
  for (int32_t p = 0; next && p < from->model->config.n_pools; p++)
    next->pools[p] = smft__snapshot_retain(from->pools[p]);
  if (next)
    next->taught = smft__taught_retain(from->taught);
  return next;
}

smft__snapshot *smft__version_pool(smft__version *next, int32_t pool, int64_t more) {
  smft__snapshot *own = smft__snapshot_edit(next->model->ctx, next->model->config.memory.value_dim,
                                            next->pools[pool], more);
  if (!own)
    return NULL;
  smft__snapshot_release(next->pools[pool]); /* the version before has it, too */
  return next->pools[pool] = own;
}
