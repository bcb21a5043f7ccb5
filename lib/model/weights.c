/* weights: the list of tensors that a config asks for, and what fills it: a safetensors file or
 * random numbers.  Owns names, shapes and the initialisation; does not own the mapping (model.c) or
 * what learning changed (patch.c). */
#include "model/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/rng.h"

/* ---- the list ------------------------------------------------------------ */

typedef struct shape4 {
  int64_t dims[4];
  int32_t n;
} shape4;

static shape4 shape(int64_t a, int64_t b) {
  shape4 s = {{a, b, 0, 0}, b ? 2 : 1};
  return s;
}

static smft_status put(smft__weight_plan *plan, int32_t *index, const char *prefix,
                       const char *name, shape4 dims, int32_t init, double scale) {
  SMFT__TRY(smft__grow(plan->ctx, &plan->specs, &plan->capacity, plan->n + 1, sizeof *plan->specs));
  smft__weight_spec *spec = &plan->specs[plan->n++];
  memset(spec, 0, sizeof *spec);
  snprintf(spec->name, sizeof spec->name, "%s%s", prefix, name);
  memcpy(spec->shape, dims.dims, sizeof spec->shape);
  spec->n_dims = dims.n;
  spec->init = init;
  spec->scale = scale;
  spec->index = index;
  return SMFT_OK;
}

static smft_status put_attention(smft__weight_plan *plan, const smft__config *c,
                                 smft__block_index *block, const char *prefix) {
  int64_t d = c->hidden, q = (int64_t)c->n_heads * c->head_dim;
  int64_t kv = (int64_t)c->n_kv_heads * c->head_dim;
  /* residual branches start small */
  double in_scale = 1 / sqrt((double)d), out_scale = 1 / sqrt(2.0 * c->n_layers * (double)q);
  SMFT__TRY(put(plan, &block->input_norm, prefix, "input_layernorm.weight", shape(d, 0),
                SMFT__INIT_CONSTANT, 1));
  SMFT__TRY(put(plan, &block->q, prefix, "self_attn.q_proj.weight", shape(q, d), SMFT__INIT_NORMAL,
                in_scale));
  SMFT__TRY(put(plan, &block->k, prefix, "self_attn.k_proj.weight", shape(kv, d), SMFT__INIT_NORMAL,
                in_scale));
  SMFT__TRY(put(plan, &block->v, prefix, "self_attn.v_proj.weight", shape(kv, d), SMFT__INIT_NORMAL,
                in_scale));
  SMFT__TRY(put(plan, &block->o, prefix, "self_attn.o_proj.weight", shape(d, q), SMFT__INIT_NORMAL,
                out_scale));
  return put(plan, &block->post_norm, prefix, "post_attention_layernorm.weight", shape(d, 0),
             SMFT__INIT_CONSTANT, 1);
}

static smft_status put_ffn(smft__weight_plan *plan, const smft__config *c, smft__block_index *block,
                           const char *prefix) {
  double in_scale = 1 / sqrt((double)c->hidden);
  double out_scale = 1 / sqrt(2.0 * c->n_layers * (double)c->ffn);
  SMFT__TRY(put(plan, &block->gate, prefix, "mlp.gate_proj.weight", shape(c->ffn, c->hidden),
                SMFT__INIT_NORMAL, in_scale));
  SMFT__TRY(put(plan, &block->up, prefix, "mlp.up_proj.weight", shape(c->ffn, c->hidden),
                SMFT__INIT_NORMAL, in_scale));
  return put(plan, &block->down, prefix, "mlp.down_proj.weight", shape(c->hidden, c->ffn),
             SMFT__INIT_NORMAL, out_scale);
}

static smft_status put_norm(smft__weight_plan *plan, int32_t norm, int64_t half, int32_t *w,
                            int32_t *b, const char *prefix, const char *name) {
  char full[32];
  if (norm != SMFT__NORM_LAYERNORM && norm != SMFT__NORM_RMSNORM)
    return SMFT_OK;
  snprintf(full, sizeof full, "%s.weight", name);
  SMFT__TRY(put(plan, w, prefix, full, shape(half, 0), SMFT__INIT_CONSTANT, 1));
  if (norm != SMFT__NORM_LAYERNORM)
    return SMFT_OK;
  snprintf(full, sizeof full, "%s.bias", name);
  return put(plan, b, prefix, full, shape(half, 0), SMFT__INIT_CONSTANT, 0);
}

static smft_status put_memory_biases(smft__weight_plan *plan, const smft__memory_config *m,
                                     smft__memory_index *memory, const char *prefix) {
  if (!m->bias)
    return SMFT_OK;
  SMFT__TRY(put(plan, &memory->query_b, prefix, "query.bias",
                shape((int64_t)m->heads * m->key_dim, 0), SMFT__INIT_CONSTANT, 0));
  if (m->gate)
    SMFT__TRY(put(plan, &memory->gate_b, prefix, "gate.bias", shape(m->value_dim, 0),
                  SMFT__INIT_CONSTANT, 0));
  return put(plan, &memory->out_b, prefix, "out.bias", shape(m->hidden, 0), SMFT__INIT_CONSTANT, 0);
}

static smft_status put_memory(smft__weight_plan *plan, const smft__config *c,
                              smft__memory_index *memory, const char *block_prefix) {
  const smft__memory_config *m = &c->memory;
  char prefix[64];
  int64_t half = m->key_dim / 2, q = (int64_t)m->heads * m->key_dim, d = m->hidden;
  int64_t dv = m->value_dim;
  shape4 keys = {{m->heads, 2, m->n_keys, half}, 4};
  snprintf(prefix, sizeof prefix, "%smemory.", block_prefix);
  SMFT__TRY(put(plan, &memory->query_w, prefix, "query.weight", shape(q, d), SMFT__INIT_UNIFORM,
                sqrt(6.0 / (double)(q + d))));
  SMFT__TRY(
      put(plan, &memory->keys, prefix, "keys", keys, SMFT__INIT_UNIFORM, 1 / sqrt((double)half)));
  if (m->gate)
    SMFT__TRY(put(plan, &memory->gate_w, prefix, "gate.weight", shape(dv, d), SMFT__INIT_NORMAL,
                  1 / sqrt((double)dv)));
  SMFT__TRY(put(plan, &memory->out_w, prefix, "out.weight", shape(d, dv), SMFT__INIT_NORMAL,
                1 / sqrt((double)d)));
  SMFT__TRY(put_memory_biases(plan, m, memory, prefix));
  SMFT__TRY(put_norm(plan, m->query_norm, half, &memory->query_norm_w, &memory->query_norm_b,
                     prefix, "query_norm"));
  SMFT__TRY(put_norm(plan, m->key_norm, half, &memory->key_norm_w, &memory->key_norm_b, prefix,
                     "key_norm"));
  if (c->placement == SMFT_PLACEMENT_BESIDE)
    SMFT__TRY(put(plan, &memory->alpha, prefix, "alpha", shape(1, 0), SMFT__INIT_CONSTANT, 0.01));
  return SMFT_OK;
}

static smft_status put_block(smft__weight_plan *plan, smft_model *model, int32_t layer) {
  const smft__config *c = &model->config;
  smft__block_index *block = &model->blocks[layer];
  char prefix[48];
  snprintf(prefix, sizeof prefix, "model.layers.%d.", layer);
  SMFT__TRY(put_attention(plan, c, block, prefix));
  if (block->memory < 0 || c->placement == SMFT_PLACEMENT_BESIDE)
    SMFT__TRY(put_ffn(plan, c, block, prefix));
  if (block->memory >= 0)
    SMFT__TRY(put_memory(plan, c, &model->memories[block->memory], prefix));
  return SMFT_OK;
}

static smft_status put_all(smft__weight_plan *plan, smft_model *model) {
  const smft__config *c = &model->config;
  int64_t slots = (int64_t)c->memory.n_keys * c->memory.n_keys;
  char name[64];
  SMFT__TRY(put(plan, &model->embed, "", "model.embed_tokens.weight", shape(c->vocab, c->hidden),
                SMFT__INIT_NORMAL, 0.02));
  SMFT__TRY(put(plan, &model->norm, "", "model.norm.weight", shape(c->hidden, 0),
                SMFT__INIT_CONSTANT, 1));
  if (!c->tied)
    SMFT__TRY(put(plan, &model->head, "", "lm_head.weight", shape(c->vocab, c->hidden),
                  SMFT__INIT_NORMAL, 0.02));
  for (int32_t layer = 0; layer < c->n_layers; layer++)
    SMFT__TRY(put_block(plan, model, layer));
  for (int32_t pool = 0; pool < c->n_pools; pool++) {
    snprintf(name, sizeof name, "model.memory_pools.%d.values", pool);
    SMFT__TRY(put(plan, &model->pools[pool], "", name, shape(slots, c->memory.value_dim),
                  SMFT__INIT_NORMAL, 1 / sqrt((double)c->memory.value_dim)));
  }
  return SMFT_OK;
}

static int compare_specs(const void *a, const void *b) {
  const smft__weight_spec *left = a, *right = b;
  return strcmp(left->name, right->name);
}

/* Every index is an int32, so all-ones bytes mean -1: absent. */
static void *absent_indices(smft_ctx *ctx, int64_t n, size_t size) {
  void *indices = smft__alloc_array(ctx, n, size);
  if (indices)
    memset(indices, 0xff, (size_t)n * size);
  return indices;
}

static smft_status make_indices(smft_model *model) {
  const smft__config *c = &model->config;
  model->blocks = absent_indices(model->ctx, c->n_layers, sizeof *model->blocks);
  model->memories = absent_indices(model->ctx, c->n_memories, sizeof *model->memories);
  model->pools = absent_indices(model->ctx, c->n_pools, sizeof *model->pools);
  if (!model->blocks || !model->memories || !model->pools)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < c->n_memories; i++) {
    model->blocks[c->memories[i].layer].memory = i;
    model->memories[i].pool = c->memories[i].pool;
  }
  return SMFT_OK;
}

smft_status smft__weight_plan_make(smft__weight_plan *plan, smft_model *model) {
  memset(plan, 0, sizeof *plan);
  plan->ctx = model->ctx;
  SMFT__TRY(make_indices(model));
  SMFT__TRY(put_all(plan, model));
  qsort(plan->specs, (size_t)plan->n, sizeof *plan->specs, compare_specs);
  for (int64_t i = 0; i < plan->n; i++)
    *plan->specs[i].index = (int32_t)i;
  if (model->config.tied)
    model->head = model->embed;
  return SMFT_OK;
}

void smft__weight_plan_free(smft__weight_plan *plan) {
  smft__free(plan->ctx, plan->specs);
  memset(plan, 0, sizeof *plan);
}

smft_status smft__weights_reserve(smft_model *model, const smft__weight_plan *plan) {
  size_t pointers = (size_t)plan->n * sizeof(char *);
  /* pointers, then the texts */
  model->names = smft__alloc(model->ctx, pointers + (size_t)plan->n * sizeof plan->specs->name);
  model->tensors = smft__calloc_array(model->ctx, plan->n, sizeof *model->tensors);
  if (!model->names || !model->tensors)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < plan->n; i++) {
    const smft__weight_spec *spec = &plan->specs[i];
    model->names[i] = (char *)model->names + pointers + (size_t)i * sizeof spec->name;
    memcpy(model->names[i], spec->name, sizeof spec->name);
    memcpy(model->tensors[i].shape, spec->shape, sizeof spec->shape);
    model->tensors[i].n_dims = spec->n_dims;
  }
  model->n_tensors = (int32_t)plan->n;
  return SMFT_OK;
}

/* ---- from a file --------------------------------------------------------- */

static void shape_text(const int64_t *dims, int32_t n, char *text, size_t size) {
  size_t used = (size_t)snprintf(text, size, "(");
  for (int32_t i = 0; i < n && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, i ? ", %lld" : "%lld", (long long)dims[i]);
  if (used < size)
    snprintf(text + used, size - used, ")");
}

static smft_status check_found(const smft__weight_spec *spec, const smft__tensor *found) {
  char expected[128], got[256];
  if (!smft__is_weight(found->dtype))
    return smft__fail(SMFT_E_MISMATCH, "tensor %s: expected F32, F16 or BF16, found %s", spec->name,
                      smft__dtype_name(found->dtype));
  if (found->n_dims == spec->n_dims &&
      memcmp(found->shape, spec->shape, (size_t)spec->n_dims * sizeof *spec->shape) == 0)
    return SMFT_OK;
  shape_text(spec->shape, spec->n_dims, expected, sizeof expected);
  shape_text(found->shape, found->n_dims, got, sizeof got);
  return smft__fail(SMFT_E_MISMATCH, "tensor %s: config.json makes its shape %s, the file has %s",
                    spec->name, expected, got);
}

smft_status smft__weights_bind(smft_model *model, const smft__weight_plan *plan) {
  for (int64_t i = 0; i < plan->n; i++) {
    const smft__weight_spec *spec = &plan->specs[i];
    int64_t at = smft__source_find(&model->source, spec->name);
    if (at < 0)
      return smft__fail(SMFT_E_MISMATCH, "tensor %s is missing: config.json asks for it",
                        spec->name);
    SMFT__TRY(check_found(spec, &model->source.tensors[at]));
    model->tensors[i] = model->source.tensors[at];
  }
  return SMFT_OK;
}

/* ---- random -------------------------------------------------------------- */

/* Each tensor has its own stream, so that its numbers do not depend on which other tensors there
 * are. */
static void fill(float *values, int64_t n, const smft__weight_spec *spec, uint64_t seed) {
  smft__rng rng;
  smft__rng_seed(&rng, smft__mix64(seed) ^ smft__hash_bytes(spec->name, strlen(spec->name)));
  for (int64_t i = 0; i < n; i++) {
    if (spec->init == SMFT__INIT_NORMAL)
      values[i] = (float)(spec->scale * smft__rng_normal(&rng));
    else if (spec->init == SMFT__INIT_UNIFORM)
      values[i] = (float)(spec->scale * (2 * smft__rng_uniform(&rng) - 1));
    else
      values[i] = (float)spec->scale;
  }
}

static smft_status count_of(const smft__weight_spec *spec, int64_t *n) {
  *n = 1;
  for (int32_t i = 0; i < spec->n_dims; i++)
    if (!smft__mul_i64(*n, spec->shape[i], n))
      return smft__fail(SMFT_E_NOMEM, "tensor %s: its size overflows", spec->name);
  return SMFT_OK;
}

static smft_status place(smft_model *model, const smft__weight_plan *plan, smft__arena *arena) {
  for (int64_t i = 0; i < plan->n; i++) {
    int64_t n = 0;
    SMFT__TRY(count_of(&plan->specs[i], &n));
    model->tensors[i].data = smft__arena_take(arena, n, sizeof(float));
    model->tensors[i].dtype = SMFT__F32;
  }
  return arena->used < 0 ? smft__fail(SMFT_E_NOMEM, "the size of all weights overflows") : SMFT_OK;
}

smft_status smft__weights_init(smft_model *model, const smft__weight_plan *plan, uint64_t seed) {
  smft__arena arena = {0};
  SMFT__TRY(place(model, plan, &arena));
  model->owned = smft__alloc_array(model->ctx, arena.used, 1);
  if (!model->owned)
    return SMFT_E_NOMEM;
  arena = (smft__arena){model->owned, 0, arena.used};
  SMFT__TRY(place(model, plan, &arena));
  for (int64_t i = 0; i < plan->n; i++)
    fill((float *)(uintptr_t)model->tensors[i].data, smft__tensor_count(&model->tensors[i]),
         &plan->specs[i], seed);
  return SMFT_OK;
}
