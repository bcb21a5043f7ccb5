/* config: config.json of a model, checked.  Unknown model_type, activation, rope scaling, attention
 * bias and the like are SMFT_E_UNSUPPORTED, named; nothing that changes results is ignored. */
#ifndef SMFT__CONFIG_H
#define SMFT__CONFIG_H
#include <math.h>

#include "data/json.h"
#include "memory/layer.h"
#include "model/learn_defaults.h"
#include "model/plan.h"
struct smft__arch;

typedef struct smft__config {
  const struct smft__arch *arch; /* which family */
  int32_t n_layers, hidden, n_heads, n_kv_heads, head_dim, ffn, vocab, context, bos, eos, tied;
  int32_t n_stops; /* ids that end a generation, each once: `eos` is the first (model/stops.h) */
  int32_t stops[64];
  float norm_eps;
  double rope_theta; /* of the first rotary table */
  int32_t gguf; /* numbers lie as llama.cpp's converter writes them; set before the plan is made */
  int32_t n_memories, n_pools, placement;
  smft__memory_config memory; /* shared by all memory layers */
  smft__learn_defaults learn; /* no part of the fingerprint: it changes no result of the model */
  int32_t zero_values;        /* pools are zeros where no patch changed a row; no tensor has them */
  /* the plan; arrays are allocated with ctx */
  smft__stack_plan stack;
  smft__block_plan *blocks;    /* (n_layers) */
  smft__memory_plan *memories; /* (n_memories), ascending layer */
  smft__pool_plan *pools;      /* (n_pools) */
  char *rope_text;             /* scaling rules and further tables, for the fingerprint; or NULL */
  char *json;                  /* the file's text, for export and the fingerprint */
} smft__config;
static inline float smft__usual_scale(const smft__config *c) { /* of attention */
  return 1.0f / sqrtf((float)c->head_dim);
}
static inline int64_t smft__q_width(const smft__config *c) {
  return (int64_t)c->n_heads * c->head_dim;
}
static inline int64_t smft__kv_width(const smft__config *c) {
  return (int64_t)c->n_kv_heads * c->head_dim;
}
/* The tensor of a pool's values. */
static inline int32_t smft__pool_tensor(const smft__config *c, int32_t pool) {
  return c->pools[pool].at[SMFT__VALUES].tensor;
}
/* For arch/: what the decoders of all families here share, from the names that Hugging Face has for
 * it: sizes, heads, special tokens, a tied head; then rotary.h's.  What the family has set before,
 * head_dim, context and tied, is what a file without them means. */
smft_status smft__config_decoder(smft__config *config, smft_ctx *ctx, const json_t *root);
/* The keys that config.c reads for all of them; NULL ends. */
extern const char *const smft__config_keys[];
/* SMFT_E_UNSUPPORTED, naming the key, unless it is missing or says `value`. */
smft_status smft__config_only(const json_t *root, const char *key, const char *value);
/* "sliding_window": null: 0; missing: `fallback`. */
smft_status smft__config_window(const json_t *root, int32_t fallback, int32_t *out);
/* Where "layer_types" says of each block how far it sees, that is put in place of the windows that
 * the plan has: `window` for "sliding_attention" (refused where that is 0), 0 for "full_attention";
 * the rest is refused. */
smft_status smft__config_layer_types(smft__config *config, const json_t *root, int32_t window);

smft_status smft__config_load(smft__config *config, smft_ctx *ctx, const char *directory);
/* config.json alone, whatever the file's name; `path` for messages. */
smft_status smft__config_read(smft__config *config, smft_ctx *ctx, const char *file,
                              const char *path);
/* The same from the text that a GGUF file's keys were translated into; `path` for messages. */
smft_status smft__config_translated(smft__config *config, smft_ctx *ctx, const char *text,
                                    const char *path);
/* Puts a memory object (config.json's) into the config of a model without one: a grafted model. */
smft_status smft__config_graft(smft__config *config, smft_ctx *ctx, json_t *memory);
void smft__config_free(smft__config *config, smft_ctx *ctx);
#endif
