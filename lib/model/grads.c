/* grads: see grads.h.  Walks the list of parameters, so that none can be forgotten. */
#include "model/grads.h"

#include <string.h>

float *smft__wanted(const smft__grads *grads, smft__where where) {
  return where.tensor >= 0 && grads->tensors ? grads->tensors[where.tensor] : NULL;
}

static smft__matrix_grad matrix_grad(const smft__version *version, const smft__grads *grads,
                                     smft__where where) {
  smft__matrix_grad g = {smft__wanted(grads, where), NULL, NULL};
  if (!grads->adapters || !smft__patch_adapter(version, where.tensor))
    return g;
  g.a = grads->adapters[2 * version->lora->of[where.tensor]];
  g.b = grads->adapters[2 * version->lora->of[where.tensor] + 1];
  return g;
}

static smft__memory_grads memory_grads(const smft_model *model, const smft__grads *grads,
                                       int32_t memory) {
  const smft__memory_plan *plan = &model->config.memories[memory];
  smft__where values = {smft__pool_tensor(&model->config, plan->pool)};
  smft__memory_grads g;
  for (int32_t i = 0; i < SMFT__N_MEMORY_PARAMS; i++)
    g.at[i] = smft__wanted(grads, plan->at[i]);
  g.values = smft__wanted(grads, values);
  g.rows = grads->rows ? grads->rows[plan->pool] : NULL;
  return g;
}

smft__block_grads smft__block_grads_of(const smft_model *model, const smft__version *version,
                                       const smft__grads *grads, int32_t layer) {
  const smft__block_plan *plan = &model->config.blocks[layer];
  smft__block_grads g;
  memset(&g, 0, sizeof g);
  for (int32_t i = 0; i < SMFT__N_BLOCK_PARAMS; i++)
    g.at[i] = matrix_grad(version, grads, plan->at[i]);
  if (plan->memory >= 0)
    g.memory = memory_grads(model, grads, plan->memory);
  return g;
}

static int wants_any(const smft__block_grads *g, int32_t begin, int32_t end) {
  int any = 0;
  for (int32_t i = begin; i < end; i++)
    any |= smft__wants_matrix(&g->at[i]);
  return any;
}

int smft__wants_attention(const smft__block_grads *g) {
  return wants_any(g, 0, SMFT__ATTENTION_END);
}

int smft__wants_memory(const smft__memory_grads *g) {
  int any = g->values || g->rows;
  for (int32_t i = 0; i < SMFT__N_MEMORY_PARAMS; i++)
    any |= i != SMFT__M_ALPHA && g->at[i];
  return any;
}

int smft__wants_branch(const smft__block_grads *g) {
  return wants_any(g, SMFT__ATTENTION_END, SMFT__N_BLOCK_PARAMS) || g->memory.at[SMFT__M_ALPHA] ||
         smft__wants_memory(&g->memory);
}
