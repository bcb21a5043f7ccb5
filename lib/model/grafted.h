/* grafted: a directory that puts a memory into a model which stands elsewhere: config.json with
 * "base" (which model that is) and "memory", and memory.safetensors beside it. */
#ifndef SMFT__GRAFTED_H
#define SMFT__GRAFTED_H
#include "data/json.h"

#define SMFT__GRAFTED_WEIGHTS "memory.safetensors"

typedef struct smft__grafted {
  json_t *root;     /* config.json; NULL: the model is not grafted */
  json_t *memory;   /* its "memory", of root */
  char *path;       /* of the base, as it is to be opened */
  const char *hash; /* that the base must have, of root */
} smft__grafted;
/* Any path of a model: one without "base" in a config.json is SMFT_OK, with root NULL. */
smft_status smft__grafted_read(smft__grafted *out, smft_ctx *ctx, const char *path);
void smft__grafted_free(smft__grafted *grafted, smft_ctx *ctx); /* a zeroed struct is fine */
#endif
