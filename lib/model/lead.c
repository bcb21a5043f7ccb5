/* lead: see lead.h.  Owns the room and the copying; which pass makes it and which go on from it
 * is network.c's, for how long it holds is known to who asked for it. */
#include "model/lead.h"
#include "base/alloc.h"
#include <string.h>

void smft__lead_init(smft__lead *lead, const smft_model *model) {
  const smft__config *c = &model->config;
  memset(lead, 0, sizeof *lead);
  lead->ctx = model->ctx;
  lead->width = smft__kv_width(c);
  lead->n_layers = c->n_layers;
  lead->first = c->n_memories ? c->memories[0].layer + 1 : c->n_layers;
}

void smft__lead_free(smft__lead *lead) {
  smft__free(lead->ctx, lead->block);
  lead->block = NULL;
  lead->capacity = lead->n_tokens = 0;
}

/* tokens < 2^31, columns <= 2^24, blocks <= 2^16 */
static int64_t floats_of(const smft__lead *lead, int64_t n_tokens) {
  return n_tokens * lead->width;
}

smft_status smft__lead_reserve(smft__lead *lead, int64_t n_tokens) {
  int64_t floats = 0, layers = lead->n_layers - lead->first;
  lead->n_tokens = 0;
  if (!smft__mul_i64(floats_of(lead, n_tokens), 2 * layers, &floats))
    return smft__fail(SMFT_E_NOMEM, "keys and values of %lld tokens before others overflow",
                      (long long)n_tokens);
  SMFT__TRY(smft__grow(lead->ctx, &lead->block, &lead->capacity, floats, sizeof *lead->block));
  lead->k = lead->block;
  lead->v = n_tokens > 0 ? lead->k + floats / 2 : NULL;
  lead->n_tokens = n_tokens;
  return SMFT_OK;
}

/* (KV) of a layer's token */
static int64_t place(const smft__lead *lead, int32_t layer, int64_t token) {
  return floats_of(lead, (layer - lead->first) * lead->n_tokens + token);
}

/* k and v (n, KV) become a layer's n tokens from `to` on. */
static void put(smft__lead *lead, int32_t layer, int64_t to, int64_t n, const float *k,
                const float *v) {
  size_t size = (size_t)floats_of(lead, n) * sizeof(float);
  memcpy(lead->k + place(lead, layer, to), k, size);
  memcpy(lead->v + place(lead, layer, to), v, size);
}

void smft__lead_store(smft__lead *lead, const smft__block_tape *blocks, int64_t from, int64_t n,
                      int64_t to) {
  int64_t first = floats_of(lead, from);
  for (int32_t layer = lead->first; layer < lead->n_layers; layer++)
    put(lead, layer, to, n, blocks[layer].k + first, blocks[layer].v + first);
}

void smft__lead_repeat(smft__lead *lead, int64_t n, int64_t to) {
  for (int32_t layer = lead->first; layer < lead->n_layers; layer++) {
    int64_t first = place(lead, layer, 0);
    put(lead, layer, to, n, lead->k + first, lead->v + first);
  }
}

void smft__lead_point(const smft__lead *lead, smft__block_tape *blocks) {
  for (int32_t layer = lead->first; layer < lead->n_layers; layer++) {
    blocks[layer].past_k = lead->k + place(lead, layer, 0);
    blocks[layer].past_v = lead->v + place(lead, layer, 0);
  }
}
