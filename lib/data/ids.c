/* ids: a growing list of token ids.  Owns its memory; knows nothing of what the ids mean. */
#include "data/ids.h"
#include "base/alloc.h"
#include <string.h>

smft_status smft__ids_put(smft__ids *ids, int32_t id) {
  if (ids->n == ids->capacity)
    SMFT__TRY(smft__grow(ids->ctx, &ids->data, &ids->capacity, ids->n + 1, sizeof *ids->data));
  ids->data[ids->n++] = id;
  return SMFT_OK;
}

smft_status smft__ids_put_all(smft__ids *ids, const int32_t *more, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY(smft__ids_put(ids, more[i]));
  return SMFT_OK;
}

smft_status smft__ids_copy(const smft__ids *from, int32_t *ids, int64_t capacity, int64_t *n_ids,
                           const char *who) {
  *n_ids = from->n;
  if (capacity == 0)
    return SMFT_OK;
  if (capacity < from->n)
    return smft__fail(SMFT_E_BUFFER, "%s: %lld ids, room for %lld", who, (long long)from->n,
                      (long long)capacity);
  if (from->n > 0)
    memcpy(ids, from->data, (size_t)from->n * sizeof *ids);
  return SMFT_OK;
}

void smft__ids_free(smft__ids *ids) {
  if (ids->ctx)
    smft__free(ids->ctx, ids->data);
  ids->data = NULL;
  ids->n = ids->capacity = 0;
}
