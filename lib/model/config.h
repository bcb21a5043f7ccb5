/* config: config.json of a model, checked.  Unknown model_type, activation, rope scaling, attention
 * bias and the like are SMFT_E_UNSUPPORTED, named; nothing that changes results is ignored. */
#ifndef SMFT__CONFIG_H
#define SMFT__CONFIG_H
#include "data/json.h"
#include "memory/layer.h"
typedef struct smft__memory_place { /* one memory layer */
  int32_t layer, pool;
} smft__memory_place;
typedef struct smft__config {
  int32_t n_layers, hidden, n_heads, n_kv_heads, head_dim, ffn, vocab, context, bos, eos, tied;
  int32_t n_eos;
  int32_t eos_all[8];
  float norm_eps;
  double rope_theta;
  int32_t n_memories, n_pools, placement;
  smft__memory_place *memories; /* (n_memories), ascending layer; allocated with ctx */
  smft__memory_config memory;   /* shared by all memory layers */
  char *json;                   /* the file's text, for export and the fingerprint */
} smft__config;
smft_status smft__config_load(smft__config *config, smft_ctx *ctx, const char *directory);
void smft__config_free(smft__config *config, smft_ctx *ctx);
#endif
