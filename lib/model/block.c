/* block: x += attention(norm(x)); x += ffn(norm(x)), or memory, or both.  Owns the order of the
 * kernels in a block, forward and backward side by side; owns no memory and no weights. */
#include "model/block.h"

#include <string.h>

#include "base/alloc.h"
#include "nn/ffn.h"
#include "nn/linear.h"
#include "nn/low_rank.h"
#include "nn/norm.h"
#include "nn/rope.h"

/* ---- a matrix and its adapter -------------------------------------------- */

static smft__matrix matrix_of(const smft_model *model, const smft_patch *patch, int32_t index) {
  smft__matrix matrix = {smft__weight(model, patch, index), smft__patch_adapter(patch, index)};
  return matrix;
}

/* ys[i] = x ms[i]^T, and what its adapter adds, for n matrices (at most 3) of one input, side by
 * side. */
static void matrices_forward(const smft__batch_shape *shape, const smft__matrix *const *ms,
                             int32_t n, const float *x, float *const *ys) {
  const smft__tensor *ws[3];
  for (int32_t i = 0; i < n; i++)
    ws[i] = &ms[i]->w;
  smft__linears_forward(shape->ctx, ws, n, x, shape->n_tokens, ys);
  for (int32_t i = 0; i < n; i++)
    if (ms[i]->adapter)
      smft__low_rank_forward(shape->ctx, ms[i]->adapter, x, shape->n_tokens, shape->adapted, ys[i]);
}

static void matrix_forward(const smft__batch_shape *shape, const smft__matrix *m, const float *x,
                           float *y) {
  matrices_forward(shape, &m, 1, x, &y);
}

/* The gradients that are wanted; dx (NULL: not wanted) = or += dy W and the adapter's part. */
static void matrix_backward(const smft__batch_shape *shape, const smft__matrix *m, const float *x,
                            const float *dy, const smft__matrix_grad *g, float *dx,
                            int accumulate) {
  smft__linear_backward(shape->ctx, &m->w, x, dy, shape->n_tokens, dx, accumulate, g->w);
  if (m->adapter)
    smft__low_rank_backward(shape->ctx, m->adapter, x, dy, shape->n_tokens, shape->adapted, g->a,
                            g->b, dx);
}

/* ---- weights and memory of a block --------------------------------------- */

smft__block_weights smft__block_weights_of(const smft_model *model, const smft_patch *patch,
                                           int32_t layer) {
  const smft__block_index *at = &model->blocks[layer];
  smft__block_weights w;
  memset(&w, 0, sizeof w);
  w.input_norm = smft__weight(model, patch, at->input_norm);
  w.q = matrix_of(model, patch, at->q);
  w.k = matrix_of(model, patch, at->k);
  w.v = matrix_of(model, patch, at->v);
  w.o = matrix_of(model, patch, at->o);
  w.post_norm = smft__weight(model, patch, at->post_norm);
  w.gate = matrix_of(model, patch, at->gate);
  w.up = matrix_of(model, patch, at->up);
  w.down = matrix_of(model, patch, at->down);
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
  /* widths are at most 2^24 and rows 2^31: no overflow */
  return smft__arena_take(arena, rows * columns, sizeof(float));
}

void smft__block_tape_place(smft__block_tape *tape, smft__arena *arena, const smft__config *c,
                            int64_t n_tokens, int backward) {
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
  tape->memory_out =
      c->placement == SMFT_PLACEMENT_BESIDE ? take(arena, n_tokens, c->hidden) : NULL;
}

void smft__block_scratch_place(smft__block_scratch *scratch, smft__arena *arena,
                               const smft__config *c, int64_t n_tokens) {
  scratch->d_hidden = take(arena, n_tokens, c->hidden);
  scratch->d_branch = take(arena, n_tokens, c->hidden);
  scratch->d_gate = take(arena, n_tokens, c->ffn);
  scratch->d_up = take(arena, n_tokens, c->ffn);
  scratch->d_attention = take(arena, n_tokens, q_width(c));
  scratch->dq = take(arena, n_tokens, q_width(c));
  scratch->dk = take(arena, n_tokens, kv_width(c));
  scratch->dv = take(arena, n_tokens, kv_width(c));
}

/* ---- attention ----------------------------------------------------------- */

/* Segment s owns rows [row, row + n_q) of q; its keys and values begin n_past rows before the new
 * ones. */
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

static void attention_forward(const smft__batch_shape *shape, const smft__block_weights *w,
                              const smft__block_tape *t) {
  const smft__config *c = shape->config;
  smft_ctx *ctx = shape->ctx;
  int64_t n = shape->n_tokens;
  smft__rmsnorm_forward(ctx, &w->input_norm, c->norm_eps, t->x, n, c->hidden, t->normed,
                        t->inv_rms1);
  matrices_forward(shape, (const smft__matrix *const[]){&w->q, &w->k, &w->v}, 3, t->normed,
                   (float *const[]){t->q, t->k, t->v});
  smft__rope(ctx, t->q, shape->positions, n, c->n_heads, c->head_dim, c->rope_theta, 0);
  smft__rope(ctx, t->k, shape->positions, n, c->n_kv_heads, c->head_dim, c->rope_theta, 0);
  point_segments(shape, t);
  smft__attention_forward(ctx, shape->segments, shape->n_segments, c->n_heads, c->n_kv_heads,
                          c->head_dim, shape->scratch);
  matrix_forward(shape, &w->o, t->attention, t->middle);
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

/* From the gradient of `middle` to those of q, k and v before their rotation. */
static void heads_backward(const smft__batch_shape *shape, const smft__block_weights *w,
                           const smft__block_tape *t, const smft__block_scratch *s,
                           const smft__block_grads *g, const float *d_middle) {
  const smft__config *c = shape->config;
  matrix_backward(shape, &w->o, t->attention, d_middle, &g->o, s->d_attention, 0);
  point_segments(shape, t);
  point_grads(shape, s);
  smft__attention_backward(shape->ctx, shape->segments, shape->grads, shape->n_segments, c->n_heads,
                           c->n_kv_heads, c->head_dim, shape->scratch);
  smft__rope(shape->ctx, s->dq, shape->positions, shape->n_tokens, c->n_heads, c->head_dim,
             c->rope_theta, 1);
  smft__rope(shape->ctx, s->dk, shape->positions, shape->n_tokens, c->n_kv_heads, c->head_dim,
             c->rope_theta, 1);
}

/* dx is the gradient of `middle`; with SMFT__BACK_INPUT it becomes that of x. */
static void attention_backward(const smft__batch_shape *shape, const smft__block_weights *w,
                               const smft__block_tape *t, const smft__block_scratch *s,
                               const smft__block_grads *g, int32_t depth, float *dx) {
  const smft__config *c = shape->config;
  float *d_normed = depth < SMFT__BACK_INPUT && !g->input_norm ? NULL : s->d_hidden;
  heads_backward(shape, w, t, s, g, dx);
  matrix_backward(shape, &w->q, t->normed, s->dq, &g->q, d_normed, 0);
  matrix_backward(shape, &w->k, t->normed, s->dk, &g->k, d_normed, 1);
  matrix_backward(shape, &w->v, t->normed, s->dv, &g->v, d_normed, 1);
  if (d_normed)
    smft__rmsnorm_backward(shape->ctx, &w->input_norm, t->x, t->inv_rms1, d_normed, shape->n_tokens,
                           c->hidden, dx, g->input_norm);
}

/* ---- FFN and memory ------------------------------------------------------ */

static void ffn_forward(const smft__batch_shape *shape, const smft__block_weights *w,
                        const smft__block_tape *t, float *out) {
  matrices_forward(shape, (const smft__matrix *const[]){&w->gate, &w->up}, 2, t->hidden,
                   (float *const[]){t->gate, t->up});
  smft__swiglu_forward(shape->ctx, t->gate, t->up, shape->n_tokens * shape->config->ffn, t->act);
  matrix_forward(shape, &w->down, t->act, out);
}

static void ffn_backward(const smft__batch_shape *shape, const smft__block_weights *w,
                         const smft__block_tape *t, const smft__block_scratch *s,
                         const smft__block_grads *g, const float *d_out, float *d_hidden) {
  int further = d_hidden || smft__wants_matrix(&g->gate) || smft__wants_matrix(&g->up);
  matrix_backward(shape, &w->down, t->act, d_out, &g->down, further ? s->d_gate : NULL, 0);
  if (!further)
    return;
  smft__swiglu_backward(shape->ctx, t->gate, t->up, s->d_gate, shape->n_tokens * shape->config->ffn,
                        s->d_gate, s->d_up);
  matrix_backward(shape, &w->gate, t->hidden, s->d_gate, &g->gate, d_hidden, 1);
  matrix_backward(shape, &w->up, t->hidden, s->d_up, &g->up, d_hidden, 1);
}

/* The memory's slots and weights are on its tape.  Adds to out in `beside`, writes it in `replace`.
 */
static void memory_values(const smft__batch_shape *shape, const smft__block_weights *w,
                          const smft__block_tape *t, float *out) {
  float *target = w->has_ffn ? t->memory_out : out;
  smft__memory_values(shape->ctx, &w->memory, t->hidden, shape->n_tokens, t->memory, target);
  if (w->has_ffn)
    smft__add_scaled(shape->ctx, out, target, w->alpha, shape->n_tokens * shape->config->hidden);
}

static int wants_memory(const smft__memory_grads *g) {
  return g->query_w || g->query_b || g->gate_w || g->gate_b || g->out_w || g->out_b || g->keys ||
         g->query_norm_w || g->query_norm_b || g->key_norm_w || g->key_norm_b || g->values ||
         g->rows;
}

static void memory_backward(const smft__batch_shape *shape, const smft__block_weights *w,
                            const smft__block_tape *t, const smft__block_scratch *s,
                            const smft__block_grads *g, const float *d_out, float *d_hidden) {
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
  smft__memory_backward(shape->ctx, &w->memory, t->hidden, shape->n_tokens, t->memory, d_out,
                        d_hidden, &g->memory);
}

/* ---- the block ----------------------------------------------------------- */

static void middle_norm(const smft__batch_shape *shape, const smft__block_weights *w,
                        const smft__block_tape *t) {
  const smft__config *c = shape->config;
  smft__rmsnorm_forward(shape->ctx, &w->post_norm, c->norm_eps, t->middle, shape->n_tokens,
                        c->hidden, t->hidden, t->inv_rms2);
}

/* From the normed middle to out. */
static void branch_forward(const smft__batch_shape *shape, const smft__block_weights *w,
                           const smft__block_tape *t, float *out) {
  if (w->has_ffn)
    ffn_forward(shape, w, t, out);
  if (w->has_memory)
    memory_values(shape, w, t, out);
  smft__add_scaled(shape->ctx, out, t->middle, 1, shape->n_tokens * shape->config->hidden);
}

void smft__block_lookup(const smft__batch_shape *shape, const smft__block_weights *w,
                        const smft__block_tape *t) {
  attention_forward(shape, w, t);
  middle_norm(shape, w, t);
  if (w->has_memory)
    smft__memory_lookup(shape->ctx, &w->memory, t->hidden, shape->n_tokens, t->memory);
}

void smft__block_resume(const smft__batch_shape *shape, const smft__block_weights *w,
                        const smft__block_tape *t, float *out) {
  middle_norm(shape, w, t);
  branch_forward(shape, w, t, out);
}

void smft__block_forward(const smft__batch_shape *shape, const smft__block_weights *w,
                         const smft__block_tape *t, float *out) {
  smft__block_lookup(shape, w, t);
  branch_forward(shape, w, t, out);
}

void smft__block_backward(const smft__batch_shape *shape, const smft__block_weights *w,
                          const smft__block_tape *t, const smft__block_scratch *s,
                          const smft__block_grads *g, int32_t depth, float *dx) {
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
    smft__rmsnorm_backward(shape->ctx, &w->post_norm, t->middle, t->inv_rms2, d_hidden,
                           shape->n_tokens, c->hidden, dx, g->post_norm);
  if (depth > SMFT__BACK_BRANCH)
    attention_backward(shape, w, t, s, g, depth, dx);
}
