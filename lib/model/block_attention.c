/* block_attention: x + attention(norm(x)), forward and backward.  Owns the order of its kernels. */
#include <string.h>

#include "model/block.h"
#include "nn/ffn.h"
#include "nn/linear.h"
#include "nn/rope.h"

/* Segment s owns rows [row, row + n_q) of q; its keys and values begin n_past rows before the new
 * ones, or the past stands by itself. */
static void point_segments(const smft__batch_shape *shape, const smft__block_tape *t) {
  const smft__config *c = shape->config;
  int64_t row = 0;
  for (int64_t s = 0; s < shape->n_segments; s++) {
    smft__segment *segment = &shape->segments[s];
    segment->q = t->q + row * smft__q_width(c);
    int64_t before = t->past_k ? 0 : segment->n_past;
    segment->k = t->k + (row - before) * smft__kv_width(c);
    segment->v = t->v + (row - before) * smft__kv_width(c);
    int64_t past_at = segment->past_at * smft__kv_width(c);
    segment->past_k = t->past_k ? t->past_k + past_at : NULL;
    segment->past_v = t->past_v ? t->past_v + past_at : NULL;
    segment->kv_dtype = SMFT__F32;
    segment->out = t->attention + row * smft__q_width(c);
    segment->log_sum = t->log_sum ? t->log_sum + row * c->n_heads : NULL;
    row += segment->n_q;
  }
}

static smft__attention_shape heads_of(const smft__batch_shape *shape, const smft__block_view *w) {
  const smft__config *c = shape->config;
  return (smft__attention_shape){c->n_heads, c->n_kv_heads, c->head_dim, w->plan->window,
                                 w->plan->attention_scale};
}

/* Of a session whose cache is bf16: its one segment reads all keys and values there. */
static void go_through_cache(const smft__batch_shape *shape, const smft__block_tape *t) {
  smft__segment *segment = &shape->segments[0];
  int64_t width = smft__kv_width(shape->config), n = shape->n_tokens * width;
  int64_t begin = smft__row_bytes(SMFT__BF16, segment->n_past * width);
  smft__f32s_to_bf16(t->k, n, (char *)t->cached_k + begin);
  smft__f32s_to_bf16(t->v, n, (char *)t->cached_v + begin);
  segment->k = t->cached_k;
  segment->v = t->cached_v;
  segment->kv_dtype = SMFT__BF16;
}

/* Queries and keys as they are before their norm: of their own for backward, else in place. */
static float *raw_q(const smft__block_tape *t) { return t->raw_q ? t->raw_q : t->q; }
static float *raw_k(const smft__block_tape *t) { return t->raw_k ? t->raw_k : t->k; }

/* Queries, keys and values, with their biases where the family has some. */
static void project(const smft__batch_shape *shape, const smft__block_view *w,
                    const smft__block_tape *t) {
  const smft__matrix *const matrices[] = {&w->at[SMFT__Q], &w->at[SMFT__K], &w->at[SMFT__V]};
  const smft__tensor *const biases[] = {&w->at[SMFT__Q_BIAS].w, &w->at[SMFT__K_BIAS].w,
                                        &w->at[SMFT__V_BIAS].w};
  float *const ys[] = {raw_q(t), raw_k(t), t->v};
  smft__block_matrices(shape, matrices, 3, t->normed, ys);
  smft__biases_forward(shape->ctx, biases, 3, shape->n_tokens, ys);
}

/* Each head of queries and keys by itself. */
static void norm_heads(const smft__batch_shape *shape, const smft__block_view *w,
                       const smft__block_tape *t) {
  const smft__config *c = shape->config;
  if (w->plan->qk_norm == SMFT__QK_NORM_NONE)
    return;
  smft__block_norm(shape, w, SMFT__Q_NORM, raw_q(t), shape->n_tokens * c->n_heads, t->q,
                   t->inv_rms_q);
  smft__block_norm(shape, w, SMFT__K_NORM, raw_k(t), shape->n_tokens * c->n_kv_heads, t->k,
                   t->inv_rms_k);
}

/* What the heads found to middle, normed where the family does that. */
static void project_out(const smft__batch_shape *shape, const smft__block_view *w,
                        const smft__block_tape *t) {
  float *raw = t->raw_o ? t->raw_o : t->middle;
  smft__block_matrices(shape, (const smft__matrix *const[]){&w->at[SMFT__O]}, 1, t->attention,
                       (float *const[]){raw});
  if (w->plan->norms & SMFT__NORMS_AFTER)
    smft__block_norm(shape, w, SMFT__O_NORM, raw, shape->n_tokens, t->middle, t->inv_rms_o);
}

/* q (T, Q) and k (T, KV), or back their gradients, by the block's rotary table if it has one. */
static void turn(const smft__batch_shape *shape, const smft__block_view *w, float *q, float *k,
                 int back) {
  const smft__config *c = shape->config;
  if (w->plan->rope < 0)
    return;
  const smft__rope_table *rope = &c->stack.ropes[w->plan->rope];
  smft__rope(shape->ctx, q, shape->positions, shape->n_tokens, c->n_heads, c->head_dim, rope, back);
  smft__rope(shape->ctx, k, shape->positions, shape->n_tokens, c->n_kv_heads, c->head_dim, rope,
             back);
}

void smft__block_attention_forward(const smft__batch_shape *shape, const smft__block_view *w,
                                   const smft__block_tape *t) {
  const smft__config *c = shape->config;
  smft_ctx *ctx = shape->ctx;
  int64_t n = shape->n_tokens;
  smft__block_norm(shape, w, SMFT__INPUT_NORM, t->x, n, t->normed, t->inv_rms1);
  project(shape, w, t);
  norm_heads(shape, w, t);
  turn(shape, w, t->q, t->k, 0);
  point_segments(shape, t);
  if (t->cached_k)
    go_through_cache(shape, t);
  smft__attention_shape heads = heads_of(shape, w);
  smft__attention_forward(ctx, &heads, shape->segments, shape->n_segments, shape->scratch);
  project_out(shape, w, t);
  smft__add_scaled(ctx, t->middle, t->x, 1, n * c->hidden);
}

static void point_grads(const smft__batch_shape *shape, const smft__block_scratch *s) {
  const smft__config *c = shape->config;
  int64_t row = 0;
  for (int64_t i = 0; i < shape->n_segments; i++) {
    smft__segment_grad *grad = &shape->grads[i];
    grad->d_out = s->d_attention + row * smft__q_width(c);
    grad->dq = s->dq + row * smft__q_width(c);
    grad->dk = s->dk + row * smft__kv_width(c);
    grad->dv = s->dv + row * smft__kv_width(c);
    row += shape->segments[i].n_q;
  }
}

/* dy (rows, head_dim), the gradient of what x was normed to, becomes that of x.  d_attention, which
 * nobody needs any more, is its scratch. */
static void heads_norm_backward(const smft__batch_shape *shape, const smft__block_view *w,
                                const smft__block_scratch *s, const smft__block_grads *g,
                                int32_t line, const float *x, const float *inv_rms, int64_t rows,
                                float *dy) {
  size_t size = (size_t)(rows * shape->config->head_dim) * sizeof(float);
  memset(s->d_attention, 0, size);
  smft__block_norm_backward(shape, w, g, line, x, inv_rms, dy, rows, s->d_attention);
  memcpy(dy, s->d_attention, size);
}

static void norm_heads_backward(const smft__batch_shape *shape, const smft__block_view *w,
                                const smft__block_tape *t, const smft__block_scratch *s,
                                const smft__block_grads *g) {
  int64_t n = shape->n_tokens;
  if (w->plan->qk_norm == SMFT__QK_NORM_NONE)
    return;
  heads_norm_backward(shape, w, s, g, SMFT__Q_NORM, t->raw_q, t->inv_rms_q,
                      n * shape->config->n_heads, s->dq);
  heads_norm_backward(shape, w, s, g, SMFT__K_NORM, t->raw_k, t->inv_rms_k,
                      n * shape->config->n_kv_heads, s->dk);
}

/* The gradient of what O gave, before its norm, from that of `middle`. */
static const float *out_norm_backward(const smft__batch_shape *shape, const smft__block_view *w,
                                      const smft__block_tape *t, const smft__block_scratch *s,
                                      const smft__block_grads *g, const float *d_middle) {
  int64_t n = shape->n_tokens;
  if (!(w->plan->norms & SMFT__NORMS_AFTER))
    return d_middle;
  memset(s->d_branch, 0, (size_t)(n * shape->config->hidden) * sizeof(float));
  smft__block_norm_backward(shape, w, g, SMFT__O_NORM, t->raw_o, t->inv_rms_o, d_middle, n,
                            s->d_branch);
  return s->d_branch;
}

/* From the gradient of `middle` to those of q, k and v as they were projected. */
static void heads_backward(const smft__batch_shape *shape, const smft__block_view *w,
                           const smft__block_tape *t, const smft__block_scratch *s,
                           const smft__block_grads *g, const float *d_middle) {
  const float *d_out = out_norm_backward(shape, w, t, s, g, d_middle);
  smft__block_matrix_backward(shape, &w->at[SMFT__O], t->attention, d_out, &g->at[SMFT__O],
                              s->d_attention, 0);
  point_segments(shape, t);
  point_grads(shape, s);
  smft__attention_shape heads = heads_of(shape, w);
  smft__attention_backward(shape->ctx, &heads, shape->segments, shape->grads, shape->n_segments,
                           shape->scratch);
  turn(shape, w, s->dq, s->dk, 1);
  norm_heads_backward(shape, w, t, s, g);
}

static void projection_backward(const smft__batch_shape *shape, const smft__block_view *w,
                                const smft__block_tape *t, const smft__block_scratch *s,
                                const smft__block_grads *g, float *d_normed) {
  const int32_t matrix[] = {SMFT__Q, SMFT__K, SMFT__V};
  const int32_t bias[] = {SMFT__Q_BIAS, SMFT__K_BIAS, SMFT__V_BIAS};
  const float *const dy[] = {s->dq, s->dk, s->dv};
  for (int i = 0; i < 3; i++) {
    const smft__matrix *m = &w->at[matrix[i]];
    smft__block_matrix_backward(shape, m, t->normed, dy[i], &g->at[matrix[i]], d_normed, i > 0);
    if (g->at[bias[i]].w)
      smft__bias_backward(shape->ctx, dy[i], shape->n_tokens, m->w.shape[0], g->at[bias[i]].w);
  }
}

/* dx is the gradient of `middle`; with SMFT__BACK_INPUT it becomes that of x. */
void smft__block_attention_backward(const smft__batch_shape *shape, const smft__block_view *w,
                                    const smft__block_tape *t, const smft__block_scratch *s,
                                    const smft__block_grads *g, int32_t depth, float *dx) {
  float *d_normed = depth < SMFT__BACK_INPUT && !g->at[SMFT__INPUT_NORM].w ? NULL : s->d_hidden;
  heads_backward(shape, w, t, s, g, dx);
  projection_backward(shape, w, t, s, g, d_normed);
  if (d_normed)
    smft__block_norm_backward(shape, w, g, SMFT__INPUT_NORM, t->x, t->inv_rms1, d_normed,
                              shape->n_tokens, dx);
}
