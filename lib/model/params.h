/* params: the one list of parameters that a model may have.  Loading, starting, gradients, LoRA and
 * export walk it; a parameter is added by its line, the families' names for it (arch/), and the
 * forward and backward that use it.  unit/test_params tries each line on every fixture.
 *
 * The order of lines is part of the design: model | attention | FFN | memory | pool. */
#ifndef SMFT__PARAMS_H
#define SMFT__PARAMS_H
#include "base/ctx.h"
#include "memory/params.h"
struct smft__config;

/* X(name, id, shape, start, there if, bias of, LoRA)
 * Shapes: V vocabulary, D hidden, Q and KV heads * head_dim, HD head_dim, F ffn; of the memory: HK
 * heads * key_dim, H heads, N keys of a half, HALF key_dim / 2, DV value_dim, SLOTS N * N.  A bias
 * has as many numbers as what it is the bias of has rows.  POST_NORM is the norm before the FFN;
 * O_NORM and DOWN_NORM are the norms of what attention and FFN give. */
/* clang-format off */
#define SMFT__MODEL_PARAMS(X)                                                                      \
  X(EMBED,      "embed",      (V, D),  NORMAL_02, ALWAYS, NONE, 0)                                 \
  X(FINAL_NORM, "final_norm", (D),     NORM,      ALWAYS, NONE, 0)                                 \
  X(HEAD,       "head",       (V, D),  NORMAL_02, UNTIED, NONE, 0)
#define SMFT__BLOCK_PARAMS(X)                                                                      \
  X(INPUT_NORM, "input_norm", (D),     NORM,      ALWAYS, NONE, 0)                                 \
  X(Q,          "q",          (Q, D),  FAN_IN,    ALWAYS, NONE, SMFT_LORA_Q)                       \
  X(Q_BIAS,     "q_bias",     (),      ZERO,      ALWAYS, Q,    0)                                 \
  X(Q_NORM,     "heads_q_norm", (HD),  NORM,      ALWAYS, NONE, 0)                                 \
  X(K,          "k",          (KV, D), FAN_IN,    ALWAYS, NONE, SMFT_LORA_K)                       \
  X(K_BIAS,     "k_bias",     (),      ZERO,      ALWAYS, K,    0)                                 \
  X(K_NORM,     "heads_k_norm", (HD),  NORM,      ALWAYS, NONE, 0)                                 \
  X(V,          "v",          (KV, D), FAN_IN,    ALWAYS, NONE, SMFT_LORA_V)                       \
  X(V_BIAS,     "v_bias",     (),      ZERO,      ALWAYS, V,    0)                                 \
  X(O,          "o",          (D, Q),  RESIDUAL,  ALWAYS, NONE, SMFT_LORA_O)                       \
  X(O_NORM,     "o_norm",     (D),     NORM,      ALWAYS, NONE, 0)                                 \
  X(POST_NORM,  "post_norm",  (D),     NORM,      ALWAYS, NONE, 0)                                 \
  X(GATE,       "gate",       (F, D),  FAN_IN,    FFN,    NONE, SMFT_LORA_GATE)                    \
  X(UP,         "up",         (F, D),  FAN_IN,    FFN,    NONE, SMFT_LORA_UP)                      \
  X(DOWN,       "down",       (D, F),  RESIDUAL,  FFN,    NONE, SMFT_LORA_DOWN)                    \
  X(DOWN_NORM,  "down_norm",  (D),     NORM,      FFN,    NONE, 0)
#define SMFT__MEMORY_PARAMS(X)                                                                     \
  X(M_QUERY,           "m_query",      (HK, D),           XAVIER,  ALWAYS,    NONE,         0)     \
  X(M_QUERY_BIAS,      "m_query_bias", (),                ZERO,    BIAS,      M_QUERY,      0)     \
  X(M_GATE,            "m_gate",       (DV, D),           FAN_OUT, GATE,      NONE,         0)     \
  X(M_GATE_BIAS,       "m_gate_bias",  (),                ZERO,    GATE_BIAS, M_GATE,       0)     \
  X(M_OUT,             "m_out",        (D, DV),           FAN_OUT, OUT,       NONE,         0)     \
  X(M_OUT_BIAS,        "m_out_bias",   (),                ZERO,    OUT_BIAS,  M_OUT,        0)     \
  X(M_KEYS,            "m_keys",       (H, TWO, N, HALF), UNIFORM, ALWAYS,    NONE,         0)     \
  X(M_QUERY_NORM,      "q_norm",       (HALF),            ONE,     Q_SCALE,   NONE,         0)     \
  X(M_QUERY_NORM_BIAS, "q_norm_bias",  (),                ZERO,    Q_SHIFT,   M_QUERY_NORM, 0)     \
  X(M_KEY_NORM,        "k_norm",       (HALF),            ONE,     K_SCALE,   NONE,         0)     \
  X(M_KEY_NORM_BIAS,   "k_norm_bias",  (),                ZERO,    K_SHIFT,   M_KEY_NORM,   0)     \
  X(M_ALPHA,           "alpha",        (ONE),             ALPHA,   BESIDE,    NONE,         0)
#define SMFT__POOL_PARAMS(X)                                                                       \
  X(VALUES,     "values",     (SLOTS, DV), FAN_IN, ALWAYS, NONE, 0)
/* clang-format on */

#define SMFT__ENUMERATOR(name, id, shape, start, there, bias_of, lora) SMFT__##name,
enum { SMFT__MODEL_PARAMS(SMFT__ENUMERATOR) SMFT__N_MODEL_PARAMS };
enum { SMFT__BLOCK_PARAMS(SMFT__ENUMERATOR) SMFT__N_BLOCK_PARAMS };
enum { SMFT__POOL_PARAMS(SMFT__ENUMERATOR) SMFT__N_POOL_PARAMS };
enum { SMFT__NONE = -1 };
/* of a block: [INPUT_NORM, POST_NORM) is the attention's, the rest the FFN's */
enum { SMFT__ATTENTION_END = SMFT__POST_NORM };

/* What a parameter belongs to: the model (place 0), a block, a memory layer, a pool. */
enum { SMFT__OF_MODEL, SMFT__OF_BLOCK, SMFT__OF_MEMORY, SMFT__OF_POOL, SMFT__N_SCOPES };

typedef struct smft__param { /* one line of the list, as data */
  const char *id;            /* "q": in messages and tests */
  uint8_t scope;             /* SMFT__OF_* */
  uint8_t dims[4];           /* sizes of the config; 0 ends */
  uint8_t start;
  uint8_t there;  /* which models have it */
  int8_t bias_of; /* a parameter of the same scope, or SMFT__NONE */
  uint8_t lora;   /* SMFT_LORA_* bit, or 0 */
} smft__param;
#define SMFT__LINE(name, ...) SMFT__LINE_##name,
enum { /* lines of the list, in the order of scopes */
       SMFT__MODEL_PARAMS(SMFT__LINE) SMFT__BLOCK_PARAMS(SMFT__LINE) SMFT__MEMORY_PARAMS(SMFT__LINE)
           SMFT__POOL_PARAMS(SMFT__LINE) SMFT__N_PARAMS
};
extern const smft__param smft__params[SMFT__N_PARAMS];
/* The line of a scope's first parameter: line = first + enumerator. */
extern const int32_t smft__first[SMFT__N_SCOPES];
/* How many a scope has: 1, blocks, memory layers, pools. */
int32_t smft__n_places(const struct smft__config *config, int32_t scope);
/* Whether place `i` of the line's scope has it, as far as the config says (a family may have no
 * name for it). */
int smft__param_is_there(const struct smft__config *config, int32_t line, int32_t i);
/* Returns the number of dimensions. */
int32_t smft__param_shape(const struct smft__config *config, int32_t line, int64_t shape[4]);

enum { SMFT__INIT_CONSTANT, SMFT__INIT_NORMAL, SMFT__INIT_UNIFORM };
typedef struct smft__start {
  int32_t kind; /* SMFT__INIT_* */
  double scale; /* the constant, the standard deviation, or the bound */
} smft__start;
smft__start smft__param_start(const struct smft__config *config, int32_t line);
#endif
