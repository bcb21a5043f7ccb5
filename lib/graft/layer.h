/* layer: the parts of a memory layer that are made from a block's states: queries that whiten and
 * turn them, and sub-keys where the states are. */
#ifndef SMFT__GRAFT_LAYER_H
#define SMFT__GRAFT_LAYER_H
#include "graft/states.h"

typedef struct smft__graft_layer {
  smft_ctx *ctx;
  float *query, *query_bias; /* (H*dk, d), (H*dk) */
  float *keys;               /* (H, 2, n, dk/2) */
} smft__graft_layer;
/* block: of states; progress: rounds of k-means.  Nothing is left allocated on failure. */
smft_status smft__graft_layer_make(smft__graft_layer *layer, const smft__states *states,
                                   int32_t block, const smft__settings *settings);
void smft__graft_layer_free(smft__graft_layer *layer); /* a zeroed struct is fine */
#endif
