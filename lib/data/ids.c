/* ids: a growing list of token ids.  Owns its memory; knows nothing of what the ids mean. */
#include "data/ids.h"
#include "base/alloc.h"

smft_status smft__ids_put(smft__ids *ids, int32_t id) {
  if (ids->n == ids->capacity)
    SMFT__TRY(smft__grow(ids->ctx, &ids->data, &ids->capacity, ids->n + 1, sizeof *ids->data));
  ids->data[ids->n++] = id;
  return SMFT_OK;
}

void smft__ids_free(smft__ids *ids) {
  if (ids->ctx)
    smft__free(ids->ctx, ids->data);
  ids->data = NULL;
  ids->n = ids->capacity = 0;
}
