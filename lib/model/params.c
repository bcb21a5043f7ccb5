/* params: the list as a table, and what a config makes of a line: is it there, its shape, its
 * start. Names are the families' (arch/), tensors weights.c's. */
#include "model/params.h"

#include <math.h>

#include "model/config.h"

/* ---- the table ----------------------------------------------------------- */

/* The sizes that a shape is made of, by the letters of the list. */
enum { END, V, D, Q, KV, HD, F, HK, H, N, HALF, DV, SLOTS, TWO, ONE };

/* clang-format off */
enum { IF_ALWAYS, IF_UNTIED, IF_FFN, IF_GATE, IF_BIAS, IF_GATE_BIAS, IF_OUT, IF_OUT_BIAS,
       IF_Q_SCALE, IF_Q_SHIFT, IF_K_SCALE, IF_K_SHIFT, IF_BESIDE };
enum { START_ZERO, START_ONE, START_NORM, START_ALPHA, START_NORMAL_02, START_FAN_IN, START_FAN_OUT,
       START_RESIDUAL, START_XAVIER, START_UNIFORM };
/* clang-format on */

#define SIZES(...) __VA_ARGS__
#define LINE(scope, id, shape, start, there, bias_of, lora)                                        \
  {id, scope, {SIZES shape}, START_##start, IF_##there, SMFT__##bias_of, lora},
#define OF_MODEL(name, ...) LINE(SMFT__OF_MODEL, __VA_ARGS__)
#define OF_BLOCK(name, ...) LINE(SMFT__OF_BLOCK, __VA_ARGS__)
#define OF_MEMORY(name, ...) LINE(SMFT__OF_MEMORY, __VA_ARGS__)
#define OF_POOL(name, ...) LINE(SMFT__OF_POOL, __VA_ARGS__)

/* clang-format off */
const smft__param smft__params[SMFT__N_PARAMS] = {
  SMFT__MODEL_PARAMS(OF_MODEL) SMFT__BLOCK_PARAMS(OF_BLOCK)
  SMFT__MEMORY_PARAMS(OF_MEMORY) SMFT__POOL_PARAMS(OF_POOL)
};
/* clang-format on */

const int32_t smft__first[SMFT__N_SCOPES] = {SMFT__LINE_EMBED, SMFT__LINE_INPUT_NORM,
                                             SMFT__LINE_M_QUERY, SMFT__LINE_VALUES};

/* The lines of the memory stand in the order of memory/params.h. */
#define SAME_NUMBER(name, ...)                                                                     \
  _Static_assert(SMFT__LINE_##name - SMFT__LINE_M_QUERY == (int)SMFT__##name, "memory/params.h");
SMFT__MEMORY_PARAMS(SAME_NUMBER)

/* ---- what a config makes of a line --------------------------------------- */

int32_t smft__n_places(const smft__config *c, int32_t scope) {
  const int32_t n[SMFT__N_SCOPES] = {1, c->n_layers, c->n_memories, c->n_pools};
  return n[scope];
}

static int scales(int32_t norm) {
  return norm == SMFT__NORM_LAYERNORM || norm == SMFT__NORM_RMSNORM;
}

int smft__param_is_there(const smft__config *c, int32_t line, int32_t i) {
  const smft__memory_config *m = &c->memory;
  switch (smft__params[line].there) {
  case IF_UNTIED:
    return !c->tied;
  case IF_FFN:
    return c->blocks[i].memory < 0 || c->placement == SMFT_PLACEMENT_BESIDE;
  case IF_GATE:
    return m->gate;
  case IF_BIAS:
    return m->bias;
  case IF_GATE_BIAS:
    return m->gate && m->bias;
  case IF_OUT:
    return !m->identity;
  case IF_OUT_BIAS:
    return m->bias && !m->identity;
  case IF_Q_SCALE:
    return scales(m->query_norm);
  case IF_Q_SHIFT:
    return m->query_norm == SMFT__NORM_LAYERNORM;
  case IF_K_SCALE:
    return scales(m->key_norm);
  case IF_K_SHIFT:
    return m->key_norm == SMFT__NORM_LAYERNORM;
  case IF_BESIDE:
    return c->placement == SMFT_PLACEMENT_BESIDE;
  default:
    return 1;
  }
}

static int64_t size_of(const smft__config *c, int32_t dim) {
  const smft__memory_config *m = &c->memory;
  const int64_t sizes[] = {[V] = c->vocab,
                           [D] = c->hidden,
                           [Q] = smft__q_width(c),
                           [KV] = smft__kv_width(c),
                           [HD] = c->head_dim,
                           [F] = c->ffn,
                           [HK] = (int64_t)m->heads * m->key_dim,
                           [H] = m->heads,
                           [N] = m->n_keys,
                           [HALF] = m->key_dim / 2,
                           [DV] = m->value_dim,
                           [SLOTS] = (int64_t)m->n_keys * m->n_keys,
                           [TWO] = 2,
                           [ONE] = 1};
  return sizes[dim];
}

int32_t smft__param_shape(const smft__config *c, int32_t line, int64_t shape[4]) {
  const smft__param *p = &smft__params[line];
  int32_t n = 0;
  if (p->bias_of >= 0) {
    shape[0] = size_of(c, smft__params[smft__first[p->scope] + p->bias_of].dims[0]);
    return 1;
  }
  for (; n < 4 && p->dims[n]; n++)
    shape[n] = size_of(c, p->dims[n]);
  return n;
}

/* That of [B]; projections back into the residual stream start small. */
smft__start smft__param_start(const smft__config *c, int32_t line) {
  int64_t shape[4];
  int32_t n = smft__param_shape(c, line, shape);
  double rows = (double)shape[0], columns = (double)shape[n - 1];
  switch (smft__params[line].start) {
  case START_ONE:
    return (smft__start){SMFT__INIT_CONSTANT, 1};
  case START_NORM: /* multiplies with 1 */
    return (smft__start){SMFT__INIT_CONSTANT, c->stack.final_norm == SMFT__NORM_BY_WEIGHT};
  case START_ALPHA:
    return (smft__start){SMFT__INIT_CONSTANT, 0.01};
  case START_NORMAL_02:
    return (smft__start){SMFT__INIT_NORMAL, 0.02};
  case START_FAN_IN:
    return (smft__start){SMFT__INIT_NORMAL, 1 / sqrt(columns)};
  case START_FAN_OUT:
    return (smft__start){SMFT__INIT_NORMAL, 1 / sqrt(rows)};
  case START_RESIDUAL:
    return (smft__start){SMFT__INIT_NORMAL, 1 / sqrt(2.0 * c->n_layers * columns)};
  case START_XAVIER:
    return (smft__start){SMFT__INIT_UNIFORM, sqrt(6.0 / (rows + columns))};
  case START_UNIFORM:
    return (smft__start){SMFT__INIT_UNIFORM, 1 / sqrt(columns)};
  default:
    return (smft__start){SMFT__INIT_CONSTANT, 0};
  }
}
