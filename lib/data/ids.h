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
void smft__ids_free(smft__ids *ids); /* a zeroed struct is fine */
#endif
