/* weights: which tensors a config asks for: names, shapes, how they start, and where a model keeps
 * their index.  Loading, initialising and exporting all walk this one list. */
#ifndef SMFT__WEIGHTS_H
#define SMFT__WEIGHTS_H
#include "model/model.h"

enum { SMFT__INIT_CONSTANT, SMFT__INIT_NORMAL, SMFT__INIT_UNIFORM };

typedef struct smft__weight_spec {
  char name[96];
  int64_t shape[4];
  int32_t n_dims;
  int32_t init;   /* SMFT__INIT_* */
  double scale;   /* the constant, the standard deviation, or the bound */
  int32_t *index; /* in the model; set when the list is sorted by name */
} smft__weight_spec;

typedef struct smft__weight_plan {
  smft_ctx *ctx;
  smft__weight_spec *specs; /* (n) sorted by name */
  int64_t n, capacity;
} smft__weight_plan;

/* Makes the index arrays of a model whose config is read, and the list of its tensors; all indices
 * are set.  Free the plan in any case. */
smft_status smft__weight_plan_make(smft__weight_plan *plan, smft_model *model);
void smft__weight_plan_free(smft__weight_plan *plan);
/* Names and empty tensor views of the plan's shapes, for the model to fill in. */
smft_status smft__weights_reserve(smft_model *model, const smft__weight_plan *plan);
/* Takes every tensor of the plan from the model's open file; contradictions are SMFT_E_MISMATCH. */
smft_status smft__weights_bind(smft_model *model, const smft__weight_plan *plan);
/* Random f32 weights in one block that the model owns (the initialisation of [B]; same seed, same
 * weights). */
smft_status smft__weights_init(smft_model *model, const smft__weight_plan *plan, uint64_t seed);
/* SHA-256 over the config's meaning and every tensor's name, type, shape and content (large ones
 * sampled); independent of the files. */
smft_status smft__weights_fingerprint(smft_model *model);
#endif
