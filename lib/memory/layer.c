/* layer: the product-key memory layer from x to out and back, as a sequence of the pieces of this
 * directory and of lib/nn. Owns the tape.  Does not own: block structure (norm, residual, alpha),
 * which gradients are wanted, or any weight. */
#include "memory/layer.h"
#include "base/alloc.h"
#include "base/parallel.h"
#include "memory/gather.h"
#include "memory/lookup.h"
#include "nn/ffn.h"
#include "nn/linear.h"
#include "nn/vector.h"

/* ---- tape ---------------------------------------------------------------- */

static smft__lookup lookup_shape(const smft__memory_config *config, int64_t n_tokens) {
  smft__lookup lookup = {.n_tokens = n_tokens,
                         .heads = config->heads,
                         .n_keys = config->n_keys,
                         .top_k = config->top_k,
                         .half = config->key_dim / 2,
                         .temperature = config->temperature};
  return lookup;
}

static int64_t count_keys(const smft__memory_config *config) {
  return (int64_t)config->heads * config->n_keys * config->key_dim;
}

/* A (T, dv) array.  Where no backward goes through the look-up its queries are not needed after it,
 * and the i-th such array has their room, if there is that much of it. */
static float *take_values(const smft__memory_tape *tape, smft__arena *arena,
                          const smft__memory_config *config, int64_t n_tokens, int64_t i) {
  int64_t dim = config->value_dim;
  if (tape->mode == SMFT__TAPE_BACKWARD || (i + 1) * dim > (int64_t)config->heads * config->key_dim)
    return smft__arena_take(arena, n_tokens * dim, sizeof(float));
  return tape->query ? tape->query + i * n_tokens * dim : NULL;
}

static void place_backward(smft__memory_tape *tape, smft__arena *arena, const smft_ctx *ctx,
                           const smft__memory_config *config, int64_t n_tokens) {
  int64_t reads = n_tokens * config->heads * config->top_k;
  tape->d_sum = take_values(tape, arena, config, n_tokens, config->gate ? 1 : 0);
  /* which is not needed again once the gradient of W2 is there; but only once */
  tape->d_gate = tape->gated;
  if (config->gate && tape->mode == SMFT__TAPE_BACKWARD)
    tape->d_gate = smft__arena_take(arena, n_tokens * config->value_dim, sizeof(float));
  tape->entries = smft__arena_take(arena, 2 * reads, sizeof *tape->entries);
  tape->d_query = tape->d_keys = tape->d_scores = tape->norm_scratch = NULL;
  tape->halves = NULL;
  if (tape->mode == SMFT__TAPE_VALUES)
    return;
  tape->d_query =
      smft__arena_take(arena, n_tokens * config->heads * config->key_dim, sizeof(float));
  tape->d_keys =
      config->key_norm ? smft__arena_take(arena, count_keys(config), sizeof(float)) : NULL;
  tape->d_scores = smft__arena_take(arena, reads, sizeof(float));
  tape->halves = smft__arena_take(arena, 2 * reads, sizeof *tape->halves);
  tape->norm_scratch =
      smft__arena_take(arena, smft__half_norm_scratch(ctx, config->key_dim / 2), sizeof(float));
}

void smft__memory_tape_place(smft__memory_tape *tape, smft__arena *arena, const smft_ctx *ctx,
                             const smft__memory_config *config, int64_t n_tokens, int backward) {
  int64_t reads = n_tokens * config->heads * config->top_k;
  int64_t queries = n_tokens * config->heads * config->key_dim;
  int64_t values = n_tokens * config->value_dim;
  smft__lookup lookup = lookup_shape(config, n_tokens);
  tape->mode = backward;
  tape->query = smft__arena_take(arena, queries, sizeof(float));
  tape->query_hat = tape->query; /* the norm works in place where its input is not needed again */
  if (config->query_norm && backward == SMFT__TAPE_BACKWARD)
    tape->query_hat = smft__arena_take(arena, queries, sizeof(float));
  tape->keys_hat =
      config->key_norm ? smft__arena_take(arena, count_keys(config), sizeof(float)) : NULL;
  tape->slots = smft__arena_take(arena, reads, sizeof *tape->slots);
  tape->weights = smft__arena_take(arena, reads, sizeof(float));
  tape->sum = smft__arena_take(arena, values, sizeof(float));
  tape->gate = config->gate ? take_values(tape, arena, config, n_tokens, 0) : NULL;
  tape->gated = config->gate ? tape->gate : tape->sum;
  if (config->gate && backward)
    tape->gated = smft__arena_take(arena, values, sizeof(float));
  tape->norm_room = smft__arena_take(arena, 2 * (int64_t)config->key_dim, sizeof(float));
  tape->scratch = smft__arena_take(arena, smft__lookup_scratch(ctx, &lookup), 1);
  if (backward)
    place_backward(tape, arena, ctx, config, n_tokens);
}

/* ---- forward ------------------------------------------------------------- */

/* room (dk): for weights that are not aligned floats. */
static smft__half_norm norm_of(const smft__memory_config *config, int32_t kind,
                               const smft__tensor *weight, const smft__tensor *bias, float *room) {
  int64_t half = config->key_dim / 2;
  smft__half_norm norm = {.kind = kind, .size = half, .eps = config->norm_eps};
  if (weight->data && kind != SMFT__NORM_L2)
    norm.weight = smft__as_f32(weight, 0, half, room);
  if (bias->data && kind == SMFT__NORM_LAYERNORM)
    norm.bias = smft__as_f32(bias, 0, half, room + half);
  return norm;
}

static smft__half_norm query_norm_of(const smft__memory_view *view, const smft__memory_tape *tape) {
  return norm_of(&view->config, view->config.query_norm, &view->at[SMFT__M_QUERY_NORM],
                 &view->at[SMFT__M_QUERY_NORM_BIAS], tape->norm_room);
}

static smft__half_norm key_norm_of(const smft__memory_view *view, const smft__memory_tape *tape) {
  return norm_of(&view->config, view->config.key_norm, &view->at[SMFT__M_KEY_NORM],
                 &view->at[SMFT__M_KEY_NORM_BIAS], tape->norm_room + view->config.key_dim);
}

/* Rows of dk/2 numbers. */
static int64_t count_query_rows(const smft__memory_config *config, int64_t n_tokens) {
  return n_tokens * config->heads * 2;
}

static int64_t count_key_rows(const smft__memory_config *config) {
  return (int64_t)config->heads * 2 * config->n_keys;
}

static smft__tensor query_tensor(const smft__memory_config *config, const smft__memory_tape *tape,
                                 int64_t n_tokens) {
  return smft__tensor_f32(tape->query, count_query_rows(config, n_tokens), config->key_dim / 2);
}

static smft__lookup lookup_of(const smft__memory_view *view, const smft__memory_tape *tape,
                              int64_t n_tokens) {
  smft__lookup lookup = lookup_shape(&view->config, n_tokens);
  lookup.query = tape->query_hat;
  lookup.keys = view->config.key_norm ? tape->keys_hat : view->at[SMFT__M_KEYS].data;
  lookup.keys_dtype = view->config.key_norm ? SMFT__F32 : view->at[SMFT__M_KEYS].dtype;
  return lookup;
}

static smft__reads reads_of(const smft__memory_config *config, const smft__memory_tape *tape,
                            int64_t n_tokens) {
  smft__reads reads = {tape->slots, tape->weights, n_tokens,
                       (int64_t)config->heads * config->top_k};
  return reads;
}

static void forward_norms(smft_ctx *ctx, const smft__memory_view *view, int64_t n_tokens,
                          smft__memory_tape *tape) {
  const smft__memory_config *config = &view->config;
  if (config->query_norm) {
    smft__half_norm norm = query_norm_of(view, tape);
    smft__tensor query = query_tensor(config, tape, n_tokens);
    smft__half_norm_forward(ctx, &norm, &query, count_query_rows(config, n_tokens),
                            tape->query_hat);
  }
  if (config->key_norm) {
    smft__half_norm norm = key_norm_of(view, tape);
    smft__half_norm_forward(ctx, &norm, &view->at[SMFT__M_KEYS], count_key_rows(config),
                            tape->keys_hat);
  }
}

void smft__memory_lookup(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                         int64_t n_tokens, smft__memory_tape *tape) {
  if (n_tokens <= 0)
    return;
  smft__linear_forward(ctx, &view->at[SMFT__M_QUERY], &view->at[SMFT__M_QUERY_BIAS], x, n_tokens,
                       tape->query);
  forward_norms(ctx, view, n_tokens, tape);
  smft__lookup lookup = lookup_of(view, tape, n_tokens);
  smft__lookup_forward(ctx, &lookup, tape->slots, tape->weights, tape->scratch);
}

void smft__memory_values(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                         int64_t n_tokens, smft__memory_tape *tape, float *out) {
  const smft__memory_config *config = &view->config;
  smft__reads reads = reads_of(config, tape, n_tokens);
  if (n_tokens <= 0)
    return;
  smft__gather_forward(ctx, &view->pool, &reads, tape->sum);
  if (config->gate) {
    smft__linear_forward(ctx, &view->at[SMFT__M_GATE], &view->at[SMFT__M_GATE_BIAS], x, n_tokens,
                         tape->gate);
    smft__swiglu_forward(ctx, tape->gate, tape->sum, n_tokens * config->value_dim, tape->gated);
  }
  if (config->identity)
    memcpy(out, tape->gated, (size_t)(n_tokens * config->value_dim) * sizeof *out);
  else
    smft__linear_forward(ctx, &view->at[SMFT__M_OUT], &view->at[SMFT__M_OUT_BIAS], tape->gated,
                         n_tokens, out);
}

void smft__memory_forward(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                          int64_t n_tokens, smft__memory_tape *tape, float *out) {
  smft__memory_lookup(ctx, view, x, n_tokens, tape);
  smft__memory_values(ctx, view, x, n_tokens, tape, out);
}

/* ---- backward ------------------------------------------------------------ */

/* dw (out, in) += and db (out) +=, each only where wanted. */
static void linear_gradients(smft_ctx *ctx, const float *x, const float *dy, int64_t n_tokens,
                             int64_t in, int64_t out, float *dw, float *db) {
  if (dw) {
    smft__linear_backward_weight(ctx, x, dy, n_tokens, in, out, dw, db);
    return;
  }
  for (int64_t t = 0; db && t < n_tokens; t++)
    smft__vector()->add_scaled(db, dy + t * out, 1.0f, out);
}

/* From d_out to the gradient of what W2 reads, in d_sum, and W2's own. */
static void backward_projection(smft_ctx *ctx, const smft__memory_view *view, int64_t n_tokens,
                                smft__memory_tape *tape, const float *d_out,
                                const smft__memory_grads *grads) {
  const smft__memory_config *config = &view->config;
  int64_t hidden = config->hidden, dim = config->value_dim;
  if (config->identity) {
    memcpy(tape->d_sum, d_out, (size_t)(n_tokens * dim) * sizeof *d_out);
    return;
  }
  smft__linear_backward_input(ctx, &view->at[SMFT__M_OUT], d_out, n_tokens, tape->d_sum, 0);
  linear_gradients(ctx, tape->gated, d_out, n_tokens, dim, hidden, grads->at[SMFT__M_OUT],
                   grads->at[SMFT__M_OUT_BIAS]);
}

/* From d_out to the gradient of the sum of values: out projection and gate. */
static void backward_output(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                            int64_t n_tokens, smft__memory_tape *tape, const float *d_out,
                            float *dx, const smft__memory_grads *grads) {
  const smft__memory_config *config = &view->config;
  int64_t hidden = config->hidden, dim = config->value_dim;
  backward_projection(ctx, view, n_tokens, tape, d_out, grads);
  if (!config->gate)
    return;
  smft__swiglu_backward(ctx, tape->gate, tape->sum, tape->d_sum, n_tokens * dim, tape->d_gate,
                        tape->d_sum);
  linear_gradients(ctx, x, tape->d_gate, n_tokens, hidden, dim, grads->at[SMFT__M_GATE],
                   grads->at[SMFT__M_GATE_BIAS]);
  if (dx)
    smft__linear_backward_input(ctx, &view->at[SMFT__M_GATE], tape->d_gate, n_tokens, dx, 1);
}

static void backward_keys(smft_ctx *ctx, const smft__memory_view *view, const smft__lookup *lookup,
                          smft__memory_tape *tape, const smft__memory_grads *grads) {
  const smft__memory_config *config = &view->config;
  if (!config->key_norm) {
    smft__lookup_backward_keys(ctx, lookup, tape->d_scores, tape->halves, grads->at[SMFT__M_KEYS],
                               0);
    return;
  }
  smft__half_norm norm = key_norm_of(view, tape);
  smft__lookup_backward_keys(ctx, lookup, tape->d_scores, tape->halves, tape->d_keys, 1);
  smft__half_norm_backward(ctx, &norm, &view->at[SMFT__M_KEYS], count_key_rows(config),
                           tape->d_keys,
                           grads->at[SMFT__M_KEYS] ? grads->at[SMFT__M_KEYS] : tape->d_keys,
                           grads->at[SMFT__M_KEYS] != NULL, grads->at[SMFT__M_KEY_NORM],
                           grads->at[SMFT__M_KEY_NORM_BIAS], tape->norm_scratch);
}

static void backward_query(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                           int64_t n_tokens, smft__memory_tape *tape, float *dx,
                           const smft__memory_grads *grads) {
  const smft__memory_config *config = &view->config;
  int64_t width = (int64_t)config->heads * config->key_dim;
  if (config->query_norm) {
    smft__half_norm norm = query_norm_of(view, tape);
    smft__tensor query = query_tensor(config, tape, n_tokens);
    smft__half_norm_backward(ctx, &norm, &query, count_query_rows(config, n_tokens), tape->d_query,
                             tape->d_query, 0, grads->at[SMFT__M_QUERY_NORM],
                             grads->at[SMFT__M_QUERY_NORM_BIAS], tape->norm_scratch);
  }
  linear_gradients(ctx, x, tape->d_query, n_tokens, config->hidden, width, grads->at[SMFT__M_QUERY],
                   grads->at[SMFT__M_QUERY_BIAS]);
  if (dx)
    smft__linear_backward_input(ctx, &view->at[SMFT__M_QUERY], tape->d_query, n_tokens, dx, 1);
}

/* Through the softmax weights to keys and queries, as far as anyone wants it. */
static void backward_lookup(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                            int64_t n_tokens, smft__memory_tape *tape, float *dx,
                            const smft__memory_grads *grads) {
  int query = dx || grads->at[SMFT__M_QUERY] || grads->at[SMFT__M_QUERY_BIAS] ||
              grads->at[SMFT__M_QUERY_NORM] || grads->at[SMFT__M_QUERY_NORM_BIAS];
  int keys =
      grads->at[SMFT__M_KEYS] ||
      (view->config.key_norm && (grads->at[SMFT__M_KEY_NORM] || grads->at[SMFT__M_KEY_NORM_BIAS]));
  smft__reads reads = reads_of(&view->config, tape, n_tokens);
  smft__lookup lookup = lookup_of(view, tape, n_tokens);
  if ((!query && !keys) || tape->mode != SMFT__TAPE_BACKWARD)
    return;
  smft__gather_backward_weights(ctx, &view->pool, &reads, tape->d_sum, tape->d_scores);
  smft__lookup_backward_query(ctx, &lookup, tape->slots, tape->weights, tape->d_scores,
                              tape->halves, query ? tape->d_query : NULL);
  if (keys)
    backward_keys(ctx, view, &lookup, tape, grads);
  if (query)
    backward_query(ctx, view, x, n_tokens, tape, dx, grads);
}

void smft__memory_backward(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                           int64_t n_tokens, smft__memory_tape *tape, const float *d_out, float *dx,
                           const smft__memory_grads *grads) {
  smft__reads reads = reads_of(&view->config, tape, n_tokens);
  if (n_tokens <= 0)
    return;
  backward_output(ctx, view, x, n_tokens, tape, d_out, dx, grads);
  if (grads->values)
    smft__gather_backward_dense(ctx, &reads, tape->d_sum, view->config.value_dim, grads->values,
                                tape->entries);
  if (grads->rows)
    smft__gather_backward_rows(ctx, &reads, tape->d_sum, grads->rows, tape->entries);
  backward_lookup(ctx, view, x, n_tokens, tape, dx, grads);
}
