/* model: what a model owns: config, mapped tensors by index, tokenizer, fingerprint.  Immutable
 * after load. */
#ifndef SMFT__MODEL_H
#define SMFT__MODEL_H
#include "data/safetensors.h"
#include "data/tokenizer.h"
#include "model/config.h"

/* Indices into model->tensors; -1: absent. */
typedef struct smft__memory_index {
  int32_t query_w, query_b, gate_w, gate_b, out_w, out_b, keys, query_norm_w, query_norm_b,
      key_norm_w, key_norm_b, alpha;
  int32_t pool; /* which pool */
} smft__memory_index;
typedef struct smft__block_index {
  /* gate/up/down -1 where memory replaces the FFN */
  int32_t input_norm, q, k, v, o, post_norm, gate, up, down;
  int32_t memory; /* which memory layer, or -1 */
} smft__block_index;

struct smft_memory {
  smft_model *model;
  int32_t index; /* which memory layer */
};

struct smft_model {
  smft_ctx *ctx;
  atomic_int references;
  smft__config config;
  smft__source source; /* owns the mapping; empty for smft_model_init */
  void *owned;         /* weights of smft_model_init, or NULL */
  int32_t n_tensors;   /* sorted by name; only those the model uses */
  char **names;
  smft__tensor *tensors;
  int32_t embed, norm, head;    /* head == embed when tied */
  smft__block_index *blocks;    /* (n_layers) */
  smft__memory_index *memories; /* (n_memories) */
  int32_t *pools;               /* (n_pools) tensor index of each pool's values */
  struct smft_memory *memory_handles;
  smft_tokenizer *tokenizer; /* or NULL */
  char *directory;           /* where it was loaded from */
  char hash[65];
};
smft_model *smft__model_retain(const smft_model *model);
/* Large mapped pools: how they are read from now on (SMFT__READ_*; a loaded model's: in rows).  A
 * reader of whole pools sets it and sets it back. */
void smft__pools_expect(const smft_model *model, int how);
#endif
