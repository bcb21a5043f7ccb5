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
static int64_t layer_floats(const smft__lead *lead, int64_t n_tokens) {
  return n_tokens * lead->width;
}

smft_status smft__lead_reserve(smft__lead *lead, int64_t n_tokens) {
  int64_t floats = 0, layers = 2 * (int64_t)(lead->n_layers - lead->first);
  lead->n_tokens = 0;
  if (!smft__mul_i64(layer_floats(lead, n_tokens), layers, &floats))
    return smft__fail(SMFT_E_NOMEM, "keys and values of %lld shared tokens overflow",
                      (long long)n_tokens);
  return smft__grow(lead->ctx, &lead->block, &lead->capacity, floats, sizeof *lead->block);
}

void smft__lead_store(smft__lead *lead, const smft__block_tape *blocks, int64_t n_tokens) {
  int64_t n = layer_floats(lead, n_tokens);
  lead->k = lead->block;
  lead->v = lead->k + n * (lead->n_layers - lead->first);
  for (int32_t layer = lead->first; layer < lead->n_layers; layer++) {
    int64_t at = n * (layer - lead->first);
    memcpy(lead->k + at, blocks[layer].k, (size_t)n * sizeof(float));
    memcpy(lead->v + at, blocks[layer].v, (size_t)n * sizeof(float));
  }
  lead->n_tokens = n_tokens;
}

void smft__lead_point(const smft__lead *lead, smft__block_tape *blocks) {
  int64_t n = layer_floats(lead, lead->n_tokens);
  for (int32_t layer = lead->first; layer < lead->n_layers; layer++) {
    blocks[layer].past_k = lead->k + n * (layer - lead->first);
    blocks[layer].past_v = lead->v + n * (layer - lead->first);
  }
}
