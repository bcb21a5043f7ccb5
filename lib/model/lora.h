/* lora: the low-rank adapters of a LoRA patch: which matrices have one, A and B of each, and how
 * they start.  Files are lora_file.c's, the arithmetic nn/low_rank.h's. */
#ifndef SMFT__LORA_H
#define SMFT__LORA_H
#include "model/model.h"
#include "nn/low_rank.h"

#define SMFT__PART_NAME 160 /* bytes of a trained part's name, the end included */

typedef struct smft__lora { /* one allocation */
  /* as they are: rank, alpha, flags, seed; targets: the kinds of matrices that do have an adapter
   */
  smft_lora_options options;
  int32_t n;                /* adapters, in order of tensor */
  int32_t *tensors;         /* (n) the model's tensor that each adapts */
  int32_t *of;              /* (n_tensors) its adapter, or -1 */
  smft__low_rank *adapters; /* (n) views of the parts */
  float **parts;            /* (2 n) A (rank, in) and B (out, rank) of each */
} smft__lora;

/* Fills the defaults in and checks; options NULL: all defaults. */
smft_status smft__lora_options(smft_lora_options *own, const smft_lora_options *options);
/* wanted (n_tensors): which tensors get an adapter (smft__lora_target of each is not 0, at least
 * one).  options: complete.  A and B are not set. */
smft_status smft__lora_create(smft__lora **out, const smft_model *model,
                              const smft_lora_options *options, const char *wanted);
void smft__lora_free(smft__lora *lora, smft_ctx *ctx); /* NULL is fine */
/* An adapter for every matrix that options->targets names; SMFT_E_UNSUPPORTED if the model has none
 * of them. */
smft_status smft__lora_create_for_targets(smft__lora **out, const smft_model *model,
                                          const smft_lora_options *options);
/* As PEFT starts it: A uniform in +-1/sqrt(in), B zero.  Each A has a stream of its own, which the
 * other adapters do not change. */
void smft__lora_start(smft__lora *lora, const smft_model *model);
smft_status smft__lora_copy(smft__lora **out, const smft_model *model, const smft__lora *from);

/* Which SMFT_LORA_* a tensor is; 0: none. */
uint32_t smft__lora_target(const smft_model *model, int32_t tensor);
/* PEFT's name of a factor (0: A, 1: B) of a tensor that has a target, behind a prefix of a few
 * bytes. */
void smft__lora_factor_name(const smft_model *model, int32_t tensor, int factor, const char *prefix,
                            char name[SMFT__PART_NAME]);
/* A view of a part (even: A (rank, in), odd: B (out, rank)). */
smft__tensor smft__lora_part(const smft__lora *lora, int32_t part);
/* alpha / rank, or alpha / sqrt(rank). */
double smft__lora_scale(const smft_lora_options *options);
/* The adapter of a tensor, or NULL; lora may be NULL. */
const smft__low_rank *smft__lora_adapter(const smft__lora *lora, int32_t tensor);

/* lora_file.c: a directory in PEFT's layout.  Saving replaces the two files one after the other,
 * each whole or not at all. */
smft_status smft__lora_save(const smft__lora *lora, const smft_model *model, const char *directory,
                            int32_t dtype);
smft_status smft__lora_load(smft__lora **out, const smft_model *model, const char *directory);
/* The same in one safetensors file: the config is in its metadata, under the name that its file
 * has. */
struct smft__target;
smft_status smft__lora_save_whole(const smft__lora *lora, const smft_model *model,
                                  struct smft__target *to, int32_t dtype);
smft_status smft__lora_load_whole(smft__lora **out, const smft_model *model,
                                  const smft__source *file);
/* The adapters whose parts a file has under `prefix` and PEFT's names, with their values.  options:
 * the rank and all but the targets. SMFT_E_FORMAT names what does not fit. */
smft_status smft__lora_from_tensors(smft__lora **out, const smft_model *model,
                                    const smft_lora_options *options, const smft__source *file,
                                    const char *prefix);
#endif
