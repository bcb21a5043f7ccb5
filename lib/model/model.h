/* model: what a model owns: config, mapped tensors by index, tokenizer, fingerprint.  Immutable
 * after load. */
#ifndef SMFT__MODEL_H
#define SMFT__MODEL_H
#include "data/source.h"
#include "data/tokenizer.h"
#include "model/config.h"

typedef struct smft__origin { /* what a tensor is */
  int32_t line, place;        /* which parameter of the list, of which model, block, memory, pool */
} smft__origin;

struct smft_memory {
  smft_model *model;
  int32_t index; /* which memory layer */
};

struct smft_model {
  smft_ctx *ctx;
  atomic_int references;
  smft__config config;
  smft__source source; /* owns the mapping; empty for smft_model_init */
  /* A grafted model (grafted.h): everything but the memory is of the model at base_path, which
   * `source` maps; `graft` has the memory's tensors.  NULL, and empty: the model is not grafted. */
  char *base_path;
  smft__source graft;
  void *owned;       /* weights of smft_model_init, or NULL */
  int32_t n_tensors; /* sorted by name; only those the model uses */
  char **names;
  smft__tensor *tensors;
  smft__origin *origin; /* (n_tensors) */
  struct smft_memory *memory_handles;
  smft_tokenizer *tokenizer; /* or NULL */
  char *path;                /* the directory or file it was loaded from */
  char hash[65];
};
smft_model *smft__model_retain(const smft_model *model);
/* Where its texts are: tokenizer, chat template, generation_config.json. */
static inline const char *smft__model_texts(const smft_model *model) {
  return model->base_path ? model->base_path : model->path;
}
/* A model whose tensors are bound, without its fingerprint and its tokenizer: to be looked at. */
smft_status smft__model_open(smft_model **out, smft_ctx *ctx, const char *path);
/* The hash that a model of this config.json and this safetensors file will have. */
smft_status smft__model_hash_of(char hash[65], smft_ctx *ctx, const char *config,
                                const char *weights);
/* Large mapped pools: how they are read from now on (SMFT__READ_*; a loaded model's: in rows).  A
 * reader of whole pools sets it and sets it back. */
void smft__pools_expect(const smft_model *model, int how);
#endif
