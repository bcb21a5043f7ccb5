/* weights: which tensors a model has, in order of name, and what fills them.  Loading, initialising
 * and exporting all walk the one list of parameters (params.h). */
#ifndef SMFT__WEIGHTS_H
#define SMFT__WEIGHTS_H
#include "model/model.h"

#define SMFT__TENSOR_NAME 96 /* bytes of a tensor's name, the end included */

/* Names, shapes and origins of a model whose config is read; its parameters' places are set. */
smft_status smft__weights_list(smft_model *model);
/* Of a parameter that the family has; a memory layer's has the number of its block. */
void smft__weights_name(char name[SMFT__TENSOR_NAME], const smft__config *c, smft__origin origin);
/* Where the plan keeps the place of a parameter. */
smft__where *smft__weights_where(smft_model *model, smft__origin origin);
/* Takes every listed tensor from the model's open source; contradictions are SMFT_E_MISMATCH, a
 * tensor that is left over SMFT_E_UNSUPPORTED (unused.h). */
smft_status smft__weights_bind(smft_model *model);
/* Random f32 weights in one block that the model owns (the initialisation of [B]; same seed, same
 * weights). */
smft_status smft__weights_init(smft_model *model, uint64_t seed);
/* Whether type, shape and content are the same (large ones sampled). */
int smft__weights_same(const smft__tensor *a, const smft__tensor *b);
/* SHA-256 over the config's meaning and every tensor's name, type, shape and content (large ones
 * sampled); independent of the files. */
smft_status smft__weights_fingerprint(smft_model *model);
#endif
