/* ids: a growing list of token ids. */
#ifndef SMFT__IDS_H
#define SMFT__IDS_H
#include "base/ctx.h"
typedef struct smft__ids {
  smft_ctx *ctx;
  int32_t *data; /* (n) */
  int64_t n, capacity;
} smft__ids;
smft_status smft__ids_put(smft__ids *ids, int32_t id);
/* more (n): not of this list, whose memory may move. */
smft_status smft__ids_put_all(smft__ids *ids, const int32_t *more, int64_t n);
/* Into the caller's buffer, as public functions do: capacity 0 asks for the number only. */
smft_status smft__ids_copy(const smft__ids *from, int32_t *ids, int64_t capacity, int64_t *n_ids,
                           const char *who);
void smft__ids_free(smft__ids *ids); /* a zeroed struct is fine */
#endif
