/* unused: what a config or a file of weights has that nothing here makes use of.  Most of it would
 * change results, and is refused by name; what means nothing passes. */
#ifndef SMFT__UNUSED_H
#define SMFT__UNUSED_H
#include "model/model.h"

/* Keys of config.json that neither config.c nor the family reads: SMFT_E_UNSUPPORTED with key and
 * value, unless the key means nothing to a model that computes, or the value is neutral. */
smft_status smft__unused_keys(const struct smft__arch *arch, smft_ctx *ctx, const json_t *root);
/* Tensors that nothing bound (source.used): SMFT_E_UNSUPPORTED with the name and what it looks
 * like, unless they are derived, or a copy of the embedding that a tied head is. */
smft_status smft__unused_tensors(const smft_model *model);
#endif
