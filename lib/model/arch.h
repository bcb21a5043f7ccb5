/* arch: the families of models: each is data, and one function that reads its config (arch/). */
#ifndef SMFT__ARCH_H
#define SMFT__ARCH_H
#include "model/config.h"

/* What llama.cpp's converter does to the numbers of a family: rows of queries and keys are turned,
 * the 1 of norms is added to their weights. */
enum { SMFT__GGUF_TURNS_ROWS = 1, SMFT__GGUF_ADDS_ONE = 2 };

typedef struct smft__arch {
  const char *model_type; /* config.json's */
  /* (SMFT__N_PARAMS) by line of the list; %d: the place in its scope; NULL: it has none */
  const char *const *names;
  /* keys of config.json -> sizes and plans of a config in which only `arch` and `gguf` are set;
   * refuses the rest by name */
  smft_status (*plan)(smft__config *config, smft_ctx *ctx, const json_t *root);
  /* Lists that NULL ends, or NULL.  keys: those of config.json that `plan` reads itself, besides
   * smft__config_decoder; any other that says something is refused (unused.h).  ignored: keys and
   * tensors that mean nothing in this family; one '*' stands for any text */
  const char *const *keys, *const *ignored;
  uint32_t gguf; /* SMFT__GGUF_* */
} smft__arch;
extern const smft__arch *const smft__archs[]; /* NULL ends */

/* Names that all families have; those that most have; and those of the memory's parameters, the
 * same in all. */
#define SMFT__COMMON_NAMES                                                                         \
  [SMFT__LINE_EMBED] = "model.embed_tokens.weight", [SMFT__LINE_FINAL_NORM] = "model.norm.weight", \
  [SMFT__LINE_HEAD] = "lm_head.weight",                                                            \
  [SMFT__LINE_INPUT_NORM] = "model.layers.%d.input_layernorm.weight",                              \
  [SMFT__LINE_Q] = "model.layers.%d.self_attn.q_proj.weight",                                      \
  [SMFT__LINE_K] = "model.layers.%d.self_attn.k_proj.weight",                                      \
  [SMFT__LINE_V] = "model.layers.%d.self_attn.v_proj.weight",                                      \
  [SMFT__LINE_O] = "model.layers.%d.self_attn.o_proj.weight",                                      \
  [SMFT__LINE_GATE] = "model.layers.%d.mlp.gate_proj.weight",                                      \
  [SMFT__LINE_UP] = "model.layers.%d.mlp.up_proj.weight",                                          \
  [SMFT__LINE_DOWN] = "model.layers.%d.mlp.down_proj.weight"
#define SMFT__DECODER_NAMES                                                                        \
  SMFT__COMMON_NAMES, [SMFT__LINE_POST_NORM] = "model.layers.%d.post_attention_layernorm.weight"
#define SMFT__QK_NORM_NAMES                                                                        \
  [SMFT__LINE_Q_NORM] = "model.layers.%d.self_attn.q_norm.weight",                                 \
  [SMFT__LINE_K_NORM] = "model.layers.%d.self_attn.k_norm.weight"
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
