/* directory: a grafted model on disk: written beside its place, then put there whole. */
#ifndef SMFT__GRAFT_DIRECTORY_H
#define SMFT__GRAFT_DIRECTORY_H
#include "graft/layer.h"

typedef struct smft__graft_directory {
  smft_ctx *ctx;
  char *path;      /* where it is to be, without symbolic links */
  char *temporary; /* beside it, while there is one; NULL: none */
  int replaces;    /* a graft that is there */
} smft__graft_directory;
/* Refuses a path that holds something else, and makes the temporary directory. */
smft_status smft__graft_directory_open(smft__graft_directory *out, smft_ctx *ctx, const char *path);
/* config.json and memory.safetensors: layers (n_layers) */
smft_status smft__graft_directory_write(const smft__graft_directory *to, const smft_model *base,
                                        const smft__settings *settings,
                                        const smft__graft_layer *layers, double step_length);
/* Puts all files in place, config.json last. */
smft_status smft__graft_directory_commit(smft__graft_directory *to);
/* Removes what was not put in place; a zeroed struct is fine. */
void smft__graft_directory_close(smft__graft_directory *to);
#endif
