/* cache: see cache.h.  Owns the arrays and how they grow: each layer has its own, so that what is
 * copied at a time is a layer's, and rows stand the same however the room came about. */
#include "model/cache.h"

#include <string.h>

#include "base/alloc.h"

#define FEWEST_TOKENS 64

smft_status smft__cache_create(smft__cache *cache, smft_ctx *ctx, const smft__config *config,
                               int32_t dtype) {
  memset(cache, 0, sizeof *cache);
  cache->ctx = ctx;
  cache->dtype = dtype;
  cache->n_layers = config->n_layers;
  cache->width = smft__kv_width(config);
  cache->keys = smft__calloc_array(ctx, cache->n_layers, sizeof *cache->keys);
  cache->values = smft__calloc_array(ctx, cache->n_layers, sizeof *cache->values);
  return cache->keys && cache->values ? SMFT_OK : SMFT_E_NOMEM;
}

void smft__cache_free(smft__cache *cache) {
  for (int32_t i = 0; i < cache->n_layers; i++) {
    if (cache->keys)
      smft__free(cache->ctx, cache->keys[i]);
    if (cache->values)
      smft__free(cache->ctx, cache->values[i]);
  }
  if (cache->ctx) {
    smft__free(cache->ctx, cache->keys);
    smft__free(cache->ctx, cache->values);
  }
  memset(cache, 0, sizeof *cache);
}

static smft_status grow(smft__cache *cache, void **rows, int64_t capacity) {
  void *grown = smft__realloc_array(cache->ctx, *rows, capacity,
                                    (size_t)smft__row_bytes(cache->dtype, cache->width));
  if (!grown)
    return SMFT_E_NOMEM;
  *rows = grown;
  return SMFT_OK;
}

/* Twice the room at least, so that a session's tokens are moved once each on average. */
smft_status smft__cache_reserve(smft__cache *cache, int64_t n_tokens, int64_t most) {
  int64_t capacity = 2 * cache->capacity > FEWEST_TOKENS ? 2 * cache->capacity : FEWEST_TOKENS;
  if (n_tokens <= cache->capacity)
    return SMFT_OK;
  capacity = capacity < n_tokens ? n_tokens : capacity;
  capacity = capacity < most ? capacity : most;
  for (int32_t i = 0; i < cache->n_layers; i++) {
    SMFT__TRY(grow(cache, &cache->keys[i], capacity));
    SMFT__TRY(grow(cache, &cache->values[i], capacity));
  }
  cache->capacity = capacity;
  return SMFT_OK;
}
