/* arch: the families of models: each is data, and one function that reads its config (arch/). */
#ifndef SMFT__ARCH_H
#define SMFT__ARCH_H
#include "model/config.h"

typedef struct smft__arch {
  const char *model_type; /* config.json's */
  /* (SMFT__N_PARAMS) by line of the list; %d: the place in its scope; NULL: it has none */
  const char *const *names;
  /* keys of config.json -> sizes and plans of an empty config; refuses the rest by name */
  smft_status (*plan)(smft__config *config, smft_ctx *ctx, const json_t *root);
} smft__arch;
extern const smft__arch *const smft__archs[]; /* NULL ends */

/* The names of the memory's parameters, which are the same in every family. */
#define SMFT__MEMORY_NAMES                                                                         \
  [SMFT__LINE_M_QUERY] = "model.layers.%d.memory.query.weight",                                    \
  [SMFT__LINE_M_QUERY_BIAS] = "model.layers.%d.memory.query.bias",                                 \
  [SMFT__LINE_M_GATE] = "model.layers.%d.memory.gate.weight",                                      \
  [SMFT__LINE_M_GATE_BIAS] = "model.layers.%d.memory.gate.bias",                                   \
  [SMFT__LINE_M_OUT] = "model.layers.%d.memory.out.weight",                                        \
  [SMFT__LINE_M_OUT_BIAS] = "model.layers.%d.memory.out.bias",                                     \
  [SMFT__LINE_M_KEYS] = "model.layers.%d.memory.keys",                                             \
  [SMFT__LINE_M_QUERY_NORM] = "model.layers.%d.memory.query_norm.weight",                          \
  [SMFT__LINE_M_QUERY_NORM_BIAS] = "model.layers.%d.memory.query_norm.bias",                       \
  [SMFT__LINE_M_KEY_NORM] = "model.layers.%d.memory.key_norm.weight",                              \
  [SMFT__LINE_M_KEY_NORM_BIAS] = "model.layers.%d.memory.key_norm.bias",                           \
  [SMFT__LINE_M_ALPHA] = "model.layers.%d.memory.alpha",                                           \
  [SMFT__LINE_VALUES] = "model.memory_pools.%d.values"
#endif
