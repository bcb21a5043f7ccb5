/* block_ffn: the branch after attention: norm, then FFN, memory in its place, or memory beside it,
 * forward and backward.  Owns the order of their kernels and how the two are added.  Where a family
 * norms what its FFN gives, that norm is the FFN's own: what a memory gives is added as it is, so
 * that a changed row moves the state by just what changed. */
#include <string.h>

#include "model/block.h"
#include "nn/ffn.h"

static int has_ffn(const smft__block_view *w) { return w->at[SMFT__GATE].w.data != NULL; }

/* ---- FFN ----------------------------------------------------------------- */

static void activate(const smft__batch_shape *shape, const smft__block_view *w,
                     const smft__block_tape *t) {
  int64_t n = shape->n_tokens * shape->config->ffn;
  if (w->plan->activation == SMFT__GELU_TANH)
    smft__geglu_forward(shape->ctx, t->gate, t->up, n, t->act);
  else
    smft__swiglu_forward(shape->ctx, t->gate, t->up, n, t->act);
}

static void ffn_forward(const smft__batch_shape *shape, const smft__block_view *w,
                        const smft__block_tape *t, float *out) {
  float *raw = t->raw_down ? t->raw_down : out;
  smft__block_matrices(shape, (const smft__matrix *const[]){&w->at[SMFT__GATE], &w->at[SMFT__UP]},
                       2, t->hidden, (float *const[]){t->gate, t->up});
  activate(shape, w, t);
  smft__block_matrices(shape, (const smft__matrix *const[]){&w->at[SMFT__DOWN]}, 1, t->act,
                       (float *const[]){raw});
  if (w->plan->norms & SMFT__NORMS_AFTER)
    smft__block_norm(shape, w, SMFT__DOWN_NORM, raw, shape->n_tokens, out, t->inv_rms_down);
}

/* From the gradient of what was activated, in d_gate, to those of gate and up. */
static void activate_backward(const smft__batch_shape *shape, const smft__block_view *w,
                              const smft__block_tape *t, const smft__block_scratch *s) {
  int64_t n = shape->n_tokens * shape->config->ffn;
  if (w->plan->activation == SMFT__GELU_TANH)
    smft__geglu_backward(shape->ctx, t->gate, t->up, s->d_gate, n, s->d_gate, s->d_up);
  else
    smft__swiglu_backward(shape->ctx, t->gate, t->up, s->d_gate, n, s->d_gate, s->d_up);
}

/* The gradient of what DOWN gave, before its norm, from that of what the FFN gave. */
static const float *down_norm_backward(const smft__batch_shape *shape, const smft__block_view *w,
                                       const smft__block_tape *t, const smft__block_scratch *s,
                                       const smft__block_grads *g, const float *d_out) {
  int64_t n = shape->n_tokens;
  if (!(w->plan->norms & SMFT__NORMS_AFTER))
    return d_out;
  memset(s->d_branch, 0, (size_t)(n * shape->config->hidden) * sizeof(float));
  smft__block_norm_backward(shape, w, g, SMFT__DOWN_NORM, t->raw_down, t->inv_rms_down, d_out, n,
                            s->d_branch);
  return s->d_branch;
}

static void ffn_backward(const smft__batch_shape *shape, const smft__block_view *w,
                         const smft__block_tape *t, const smft__block_scratch *s,
                         const smft__block_grads *g, const float *d_out, float *d_hidden) {
  int further =
      d_hidden || smft__wants_matrix(&g->at[SMFT__GATE]) || smft__wants_matrix(&g->at[SMFT__UP]);
  d_out = down_norm_backward(shape, w, t, s, g, d_out);
  smft__block_matrix_backward(shape, &w->at[SMFT__DOWN], t->act, d_out, &g->at[SMFT__DOWN],
                              further ? s->d_gate : NULL, 0);
  if (!further)
    return;
  activate_backward(shape, w, t, s);
  smft__block_matrix_backward(shape, &w->at[SMFT__GATE], t->hidden, s->d_gate, &g->at[SMFT__GATE],
                              d_hidden, 1);
  smft__block_matrix_backward(shape, &w->at[SMFT__UP], t->hidden, s->d_up, &g->at[SMFT__UP],
                              d_hidden, 1);
}

/* ---- memory -------------------------------------------------------------- */

int smft__block_remembers(const smft__batch_shape *shape, const smft__block_view *w) {
  if (w->plan->memory < 0)
    return 0;
  return !(shape->plain && has_ffn(w) && smft__pool_is_empty(&w->memory.pool));
}

/* The memory's slots and weights are on its tape.  Adds to out in `beside`, writes it in `replace`.
 */
static void memory_values(const smft__batch_shape *shape, const smft__block_view *w,
                          const smft__block_tape *t, float *out) {
  float *target = has_ffn(w) ? t->memory_out : out;
  smft__memory_values(shape->ctx, &w->memory, t->hidden, shape->n_tokens, t->memory, target);
  if (has_ffn(w))
    smft__add_scaled(shape->ctx, out, target, w->alpha, shape->n_tokens * shape->config->hidden);
}

static void memory_backward(const smft__batch_shape *shape, const smft__block_view *w,
                            const smft__block_tape *t, const smft__block_scratch *s,
                            const smft__block_grads *g, const float *d_out, float *d_hidden) {
  int64_t n = shape->n_tokens * shape->config->hidden;
  if (g->memory.at[SMFT__M_ALPHA])
    *g->memory.at[SMFT__M_ALPHA] += (float)smft__dot(shape->ctx, d_out, t->memory_out, n);
  if (!d_hidden && !smft__wants_memory(&g->memory))
    return;
  if (has_ffn(w)) {
    memset(s->d_branch, 0, (size_t)n * sizeof(float));
    smft__add_scaled(shape->ctx, s->d_branch, d_out, w->alpha, n);
    d_out = s->d_branch;
  }
  smft__memory_backward(shape->ctx, &w->memory, t->hidden, shape->n_tokens, t->memory, d_out,
                        d_hidden, &g->memory);
}

/* ---- the branch ---------------------------------------------------------- */

void smft__block_branch_norm(const smft__batch_shape *shape, const smft__block_view *w,
                             const smft__block_tape *t) {
  smft__block_norm(shape, w, SMFT__POST_NORM, t->middle, shape->n_tokens, t->hidden, t->inv_rms2);
}

void smft__block_branch_forward(const smft__batch_shape *shape, const smft__block_view *w,
                                const smft__block_tape *t, float *out) {
  if (has_ffn(w))
    ffn_forward(shape, w, t, out);
  if (smft__block_remembers(shape, w))
    memory_values(shape, w, t, out);
}

void smft__block_branch_backward(const smft__batch_shape *shape, const smft__block_view *w,
                                 const smft__block_tape *t, const smft__block_scratch *s,
                                 const smft__block_grads *g, int32_t depth, float *dx) {
  int64_t d = shape->config->hidden;
  float *d_norm = g->at[SMFT__POST_NORM].w;
  float *d_hidden = depth > SMFT__BACK_BRANCH || d_norm ? s->d_hidden : NULL;
  if (d_hidden)
    memset(d_hidden, 0, (size_t)(shape->n_tokens * d) * sizeof(float));
  if (has_ffn(w))
    ffn_backward(shape, w, t, s, g, dx, d_hidden);
  if (w->plan->memory >= 0)
    memory_backward(shape, w, t, s, g, dx, d_hidden);
  if (d_hidden)
    smft__block_norm_backward(shape, w, g, SMFT__POST_NORM, t->middle, t->inv_rms2, d_hidden,
                              shape->n_tokens, dx);
}
