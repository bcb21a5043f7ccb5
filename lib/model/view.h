/* view: weights as a model and a version of a patch have them: the one place that knows how a patch
 * changes them. */
#ifndef SMFT__VIEW_H
#define SMFT__VIEW_H
#include "memory/layer.h"
#include "model/patch.h"

/* version NULL: the model alone, everywhere.  A LoRA patch's weights are the base's, with the
 * tensor's adapter beside them. */
/* tensor -1: an absent tensor */
smft__tensor smft__weight(const smft_model *model, const smft__version *version, int32_t tensor);
/* NULL: none */
const smft__low_rank *smft__patch_adapter(const smft__version *version, int32_t tensor);
/* of its adapters; 0: it has none */
int64_t smft__patch_rank(const smft__version *version);
smft__pool smft__patch_pool(const smft_model *model, const smft__version *version, int32_t pool);
/* values (all of a tensor) as model + patch have it, as f32. */
smft_status smft__patch_values(const smft_model *model, const smft__version *version,
                               int32_t tensor, float *values);
/* 1: the patch may change this tensor */
int smft__patch_changes(const smft_model *model, const smft__version *version, int32_t tensor);
/* SMFT_E_UNSUPPORTED, naming pool and bytes, where a pool of zeros that stand nowhere is too large
 * to be written, or copied, whole; `what` wants that. */
smft_status smft__zeros_fit(const smft_model *model, const char *what);
/* SMFT__F32, F16 or BF16: the element type of the embedding, which is taken for the model's. */
int32_t smft__model_dtype(const smft_model *model, const smft__version *version);

typedef struct smft__matrix {    /* a matrix (or a vector), and what a LoRA patch adds to it */
  smft__tensor w;                /* (out, in); absent: data NULL */
  const smft__low_rank *adapter; /* NULL: none */
} smft__matrix;
smft__matrix smft__matrix_view(const smft_model *model, const smft__version *version,
                               smft__where where);

typedef struct smft__block_view {
  const smft__block_plan *plan;
  smft__matrix at[SMFT__N_BLOCK_PARAMS];
  smft__memory_view memory; /* where the plan has one */
  float alpha;              /* 1 where the memory stands alone */
} smft__block_view;
smft__block_view smft__block_view_of(const smft_model *model, const smft__version *version,
                                     int32_t layer);
smft__memory_view smft__memory_view_of(const smft_model *model, const smft__version *version,
                                       int32_t memory);
#endif
