/* cache: keys and values of a session's tokens, layer by layer, in room that grows with them.
 * Blocks with a window keep all of them, too: a session may be cut back to any length. */
#ifndef SMFT__CACHE_H
#define SMFT__CACHE_H
#include "model/config.h"

typedef struct smft__cache {
  smft_ctx *ctx;
  int32_t dtype; /* SMFT__F32 or SMFT__BF16 */
  int32_t n_layers;
  int64_t width;         /* KV */
  int64_t capacity;      /* tokens that there is room for, in every layer */
  void **keys, **values; /* (n_layers) arrays (capacity, KV) */
} smft__cache;
smft_status smft__cache_create(smft__cache *cache, smft_ctx *ctx, const smft__config *config,
                               int32_t dtype);
void smft__cache_free(smft__cache *cache); /* a zeroed struct is fine */
/* Room for n_tokens, and for some more, but not for more than `most`; what is there stays.  On
 * failure there is as much as before. */
smft_status smft__cache_reserve(smft__cache *cache, int64_t n_tokens, int64_t most);
#endif
