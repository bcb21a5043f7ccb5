/* block: x += attention(norm(x)); x += ffn(norm(x)), or memory, or both.  Owns the order of the kernels in a block, forward and backward
 * side by side; owns no memory and no weights. */
#include "model/block.h"

#include <string.h>

#include "base/alloc.h"
#include "nn/ffn.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rope.h"

smft__block_weights smft__block_weights_of(const smft_model *model, const smft_patch *patch, int32_t layer) {
  const smft__block_index *at = &model->blocks[layer];
  smft__block_weights w;
  memset(&w, 0, sizeof w);
  w.input_norm = smft__weight(model, patch, at->input_norm);
  w.q = smft__weight(model, patch, at->q);
  w.k = smft__weight(model, patch, at->k);
  w.v = smft__weight(model, patch, at->v);
  w.o = smft__weight(model, patch, at->o);
  w.post_norm = smft__weight(model, patch, at->post_norm);
  w.gate = smft__weight(model, patch, at->gate);
  w.up = smft__weight(model, patch, at->up);
  w.down = smft__weight(model, patch, at->down);
  w.has_ffn = at->gate >= 0;
  w.has_memory = at->memory >= 0;
  w.alpha = 1;
  if (!w.has_memory)
    return w;
  w.memory = smft__patch_memory(model, patch, at->memory);
  if (w.has_ffn) {
    smft__tensor alpha = smft__weight(model, patch, model->memories[at->memory].alpha);
    smft__tensor_to_f32(&alpha, 0, 1, &w.alpha);
  }
  return w;
}

static int64_t q_width(const smft__config *c) { return (int64_t)c->n_heads * c->head_dim; }
static int64_t kv_width(const smft__config *c) { return (int64_t)c->n_kv_heads * c->head_dim; }

static float *take(smft__arena *arena, int64_t rows, int64_t columns) {
  return smft__arena_take(arena, rows * columns, sizeof(float)); /* widths are at most 2^24 and rows 2^31: no overflow */
}

void smft__block_tape_place(smft__block_tape *tape, smft__arena *arena, const smft__config *c, int64_t n_tokens, int backward) {
  tape->inv_rms1 = backward ? take(arena, n_tokens, 1) : NULL;
  tape->inv_rms2 = backward ? take(arena, n_tokens, 1) : NULL;
  tape->log_sum = backward ? take(arena, n_tokens, c->n_heads) : NULL;
  tape->normed = take(arena, n_tokens, c->hidden);
  tape->hidden = backward ? take(arena, n_tokens, c->hidden) : tape->normed;
  tape->middle = take(arena, n_tokens, c->hidden);
  tape->q = take(arena, n_tokens, q_width(c));
  tape->attention = take(arena, n_tokens, q_width(c));
  tape->gate = take(arena, n_tokens, c->ffn);
  tape->up = take(arena, n_tokens, c->ffn);
  tape->act = backward ? take(arena, n_tokens, c->ffn) : tape->gate;
  tape->memory_out = c->placement == SMFT_PLACEMENT_BESIDE ? take(arena, n_tokens, c->hidden) : NULL;
}

void smft__block_scratch_place(smft__block_scratch *scratch, smft__arena *arena, const smft__config *c, int64_t n_tokens) {
  scratch->d_hidden = take(arena, n_tokens, c->hidden);
  scratch->d_branch = take(arena, n_tokens, c->hidden);
  scratch->d_gate = take(arena, n_tokens, c->ffn);
  scratch->d_up = take(arena, n_tokens, c->ffn);
  scratch->d_attention = take(arena, n_tokens, q_width(c));
  scratch->dq = take(arena, n_tokens, q_width(c));
  scratch->dk = take(arena, n_tokens, kv_width(c));
  scratch->dv = take(arena, n_tokens, kv_width(c));
}

/* ---- attention -------------------------------------------------------------------------------------------------------------- */

/* Segment s owns rows [row, row + n_q) of q; its keys and values begin n_past rows before the new ones. */
static void point_segments(const smft__batch_shape *shape, const smft__block_tape *t) {
  const smft__config *c = shape->config;
  int64_t row = 0;
  for (int64_t s = 0; s < shape->n_segments; s++) {
    smft__segment *segment = &shape->segments[s];
    segment->q = t->q + row * q_width(c);
    segment->k = t->k + (row - segment->n_past) * kv_width(c);
    segment->v = t->v + (row - segment->n_past) * kv_width(c);
    segment->out = t->attention + row * q_width(c);
    segment->log_sum = t->log_sum ? t->log_sum + row * c->n_heads : NULL;
    row += segment->n_q;
  }
}

static void attention_forward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t) {
  const smft__config *c = shape->config;
  smft_ctx *ctx = shape->ctx;
  int64_t n = shape->n_tokens;
  smft__rmsnorm_forward(ctx, &w->input_norm, c->norm_eps, t->x, n, c->hidden, t->normed, t->inv_rms1);
  smft__linear_forward(ctx, &w->q, NULL, t->normed, n, t->q);
  smft__linear_forward(ctx, &w->k, NULL, t->normed, n, t->k);
  smft__linear_forward(ctx, &w->v, NULL, t->normed, n, t->v);
  smft__rope(ctx, t->q, shape->positions, n, c->n_heads, c->head_dim, c->rope_theta, 0);
  smft__rope(ctx, t->k, shape->positions, n, c->n_kv_heads, c->head_dim, c->rope_theta, 0);
  point_segments(shape, t);
  smft__attention_forward(ctx, shape->segments, shape->n_segments, c->n_heads, c->n_kv_heads, c->head_dim, shape->scratch);
  smft__linear_forward(ctx, &w->o, NULL, t->attention, n, t->middle);
  smft__add_scaled(ctx, t->middle, t->x, 1, n * c->hidden);
}

static void point_grads(const smft__batch_shape *shape, const smft__block_scratch *s) {
  const smft__config *c = shape->config;
  int64_t row = 0;
  for (int64_t i = 0; i < shape->n_segments; i++) {
    smft__segment_grad *grad = &shape->grads[i];
    grad->d_out = s->d_attention + row * q_width(c);
    grad->dq = s->dq + row * q_width(c);
    grad->dk = s->dk + row * kv_width(c);
    grad->dv = s->dv + row * kv_width(c);
    row += shape->segments[i].n_q;
  }
}

/* dw += dy^T x where it is wanted. */
static void weight_grad(const smft__batch_shape *shape, const smft__tensor *w, const float *x, const float *dy, float *dw) {
  if (dw)
    smft__linear_backward_weight(shape->ctx, x, dy, shape->n_tokens, w->shape[1], w->shape[0], dw, NULL);
}

static void projections_backward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t,
                                 const smft__block_scratch *s, const smft__block_grads *g, const float *d_middle) {
  const smft__config *c = shape->config;
  weight_grad(shape, &w->o, t->attention, d_middle, g->o);
  smft__linear_backward_input(shape->ctx, &w->o, d_middle, shape->n_tokens, s->d_attention, 0);
  point_segments(shape, t);
  point_grads(shape, s);
  smft__attention_backward(shape->ctx, shape->segments, shape->grads, shape->n_segments, c->n_heads, c->n_kv_heads, c->head_dim,
                           shape->scratch);
  smft__rope(shape->ctx, s->dq, shape->positions, shape->n_tokens, c->n_heads, c->head_dim, c->rope_theta, 1);
  smft__rope(shape->ctx, s->dk, shape->positions, shape->n_tokens, c->n_kv_heads, c->head_dim, c->rope_theta, 1);
  weight_grad(shape, &w->q, t->normed, s->dq, g->q);
  weight_grad(shape, &w->k, t->normed, s->dk, g->k);
  weight_grad(shape, &w->v, t->normed, s->dv, g->v);
}

/* dx is the gradient of `middle`; with SMFT__BACK_INPUT it becomes that of x. */
static void attention_backward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t,
                               const smft__block_scratch *s, const smft__block_grads *g, int32_t depth, float *dx) {
  const smft__config *c = shape->config;
  int64_t n = shape->n_tokens;
  projections_backward(shape, w, t, s, g, dx);
  if (depth < SMFT__BACK_INPUT && !g->input_norm)
    return;
  smft__linear_backward_input(shape->ctx, &w->q, s->dq, n, s->d_hidden, 0);
  smft__linear_backward_input(shape->ctx, &w->k, s->dk, n, s->d_hidden, 1);
  smft__linear_backward_input(shape->ctx, &w->v, s->dv, n, s->d_hidden, 1);
  smft__rmsnorm_backward(shape->ctx, &w->input_norm, t->x, t->inv_rms1, s->d_hidden, n, c->hidden, dx, g->input_norm);
}

/* ---- FFN and memory --------------------------------------------------------------------------------------------------------- */

static void ffn_forward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t, float *out) {
  smft_ctx *ctx = shape->ctx;
  int64_t n = shape->n_tokens;
  smft__linear_forward(ctx, &w->gate, NULL, t->hidden, n, t->gate);
  smft__linear_forward(ctx, &w->up, NULL, t->hidden, n, t->up);
  smft__swiglu_forward(ctx, t->gate, t->up, n * shape->config->ffn, t->act);
  smft__linear_forward(ctx, &w->down, NULL, t->act, n, out);
}

static void ffn_backward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t,
                         const smft__block_scratch *s, const smft__block_grads *g, const float *d_out, float *d_hidden) {
  smft_ctx *ctx = shape->ctx;
  int64_t n = shape->n_tokens;
  weight_grad(shape, &w->down, t->act, d_out, g->down);
  if (!d_hidden && !g->gate && !g->up)
    return;
  smft__linear_backward_input(ctx, &w->down, d_out, n, s->d_gate, 0);
  smft__swiglu_backward(ctx, t->gate, t->up, s->d_gate, n * shape->config->ffn, s->d_gate, s->d_up);
  weight_grad(shape, &w->gate, t->hidden, s->d_gate, g->gate);
  weight_grad(shape, &w->up, t->hidden, s->d_up, g->up);
  if (!d_hidden)
    return;
  smft__linear_backward_input(ctx, &w->gate, s->d_gate, n, d_hidden, 1);
  smft__linear_backward_input(ctx, &w->up, s->d_up, n, d_hidden, 1);
}

/* Adds to out in `beside`, writes it in `replace`. */
static void memory_forward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t, float *out) {
  float *target = w->has_ffn ? t->memory_out : out;
  smft__memory_forward(shape->ctx, &w->memory, t->hidden, shape->n_tokens, t->memory, target);
  if (w->has_ffn)
    smft__add_scaled(shape->ctx, out, target, w->alpha, shape->n_tokens * shape->config->hidden);
}

static int wants_memory(const smft__memory_grads *g) {
  return g->query_w || g->query_b || g->gate_w || g->gate_b || g->out_w || g->out_b || g->keys || g->query_norm_w || g->query_norm_b ||
         g->key_norm_w || g->key_norm_b || g->values || g->rows;
}

static void memory_backward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t,
                            const smft__block_scratch *s, const smft__block_grads *g, const float *d_out, float *d_hidden) {
  int64_t n = shape->n_tokens * shape->config->hidden;
  if (g->alpha)
    *g->alpha += (float)smft__dot(shape->ctx, d_out, t->memory_out, n);
  if (!d_hidden && !wants_memory(&g->memory))
    return;
  if (w->has_ffn) {
    memset(s->d_branch, 0, (size_t)n * sizeof(float));
    smft__add_scaled(shape->ctx, s->d_branch, d_out, w->alpha, n);
    d_out = s->d_branch;
  }
  smft__memory_backward(shape->ctx, &w->memory, t->hidden, shape->n_tokens, t->memory, d_out, d_hidden, &g->memory);
}

/* ---- the block -------------------------------------------------------------------------------------------------------------- */

void smft__block_forward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t, float *out) {
  const smft__config *c = shape->config;
  attention_forward(shape, w, t);
  smft__rmsnorm_forward(shape->ctx, &w->post_norm, c->norm_eps, t->middle, shape->n_tokens, c->hidden, t->hidden, t->inv_rms2);
  if (w->has_ffn)
    ffn_forward(shape, w, t, out);
  if (w->has_memory)
    memory_forward(shape, w, t, out);
  smft__add_scaled(shape->ctx, out, t->middle, 1, shape->n_tokens * c->hidden);
}

void smft__block_backward(const smft__batch_shape *shape, const smft__block_weights *w, const smft__block_tape *t,
                          const smft__block_scratch *s, const smft__block_grads *g, int32_t depth, float *dx) {
  const smft__config *c = shape->config;
  int64_t n = shape->n_tokens * c->hidden;
  float *d_hidden = depth > SMFT__BACK_BRANCH || g->post_norm ? s->d_hidden : NULL;
  if (d_hidden)
    memset(d_hidden, 0, (size_t)n * sizeof(float));
  if (w->has_ffn)
    ffn_backward(shape, w, t, s, g, dx, d_hidden);
  if (w->has_memory)
    memory_backward(shape, w, t, s, g, dx, d_hidden);
  if (d_hidden)
    smft__rmsnorm_backward(shape->ctx, &w->post_norm, t->middle, t->inv_rms2, d_hidden, shape->n_tokens, c->hidden, dx, g->post_norm);
  if (depth > SMFT__BACK_BRANCH)
    attention_backward(shape, w, t, s, g, depth, dx);
}
