/* head: see head.h.  Owns how many logits are held at a time and which are kept for backward. */
#include "model/head.h"

#include <string.h>

#include "nn/linear.h"
#include "nn/loss.h"
#include "nn/norm.h"

/* floats (64 MB): more logits are not kept for backward but made anew */
#define KEPT_LOGITS ((int64_t)1 << 24)
/* logits of so many rows at a time: with few, packing the head's weights anew for each would take
 * longer than its product */
#define CHUNK_ROWS 256

/* ---- weights ------------------------------------------------------------- */

/* A tied model's head is its embedding. */
static smft__where head_at(const smft_model *model) {
  return model->config.stack.at[model->config.tied ? SMFT__EMBED : SMFT__HEAD];
}

int32_t smft__head_tensor(const smft_model *model) { return head_at(model).tensor; }

static smft__where norm_at(const smft_model *model) {
  return model->config.stack.at[SMFT__FINAL_NORM];
}

/* hidden (n, d) = norm(x (n, d)); inv_rms (n; NULL: not wanted) */
static void norm_rows(const smft_model *model, const smft__version *version, const float *x,
                      int64_t n, float *hidden, float *inv_rms) {
  smft__tensor norm = smft__weight(model, version, norm_at(model).tensor);
  smft__rmsnorm_forward(model->ctx, &norm, model->config.stack.final_norm, model->config.norm_eps,
                        x, n, model->config.hidden, hidden, inv_rms);
}

smft_status smft__head_logits(const smft_model *model, const smft__version *version, const float *x,
                              int64_t n, float *hidden, float *logits) {
  smft__tensor w = smft__weight(model, version, head_at(model).tensor);
  norm_rows(model, version, x, n, hidden, NULL);
  if (!smft__linear_forward_finite(model->ctx, &w, hidden, n, logits))
    return smft__fail(SMFT_E_NONFINITE, "the logits are not finite: a weight of the model or the "
                                        "patch is NaN, infinite or too large");
  return SMFT_OK;
}

/* ---- the tape ------------------------------------------------------------ */

static int64_t most_kept(const smft__config *c) { return KEPT_LOGITS / c->vocab; }

int64_t smft__head_largest(const smft__config *c, int64_t m) {
  return m < most_kept(c) ? m : most_kept(c);
}

void smft__head_tape_place(smft__head_tape *head, smft__arena *arena, const smft__config *c,
                           int keep) {
  int64_t m = head->m, most = most_kept(c);
  head->chunk = most < 16 ? 16 : most > CHUNK_ROWS ? CHUNK_ROWS : most;
  head->kept = keep && m <= most;
  head->rows = smft__arena_take(arena, m, sizeof *head->rows);
  head->targets = smft__arena_take(arena, m, sizeof *head->targets);
  head->scale = smft__arena_floats(arena, m, 1);
  head->nll = smft__arena_floats(arena, m, 1);
  head->x = smft__arena_floats(arena, m, c->hidden);
  head->inv_rms = smft__arena_floats(arena, m, 1);
  head->hidden = smft__arena_floats(arena, m, c->hidden);
  head->logits =
      smft__arena_floats(arena, head->kept || m < head->chunk ? m : head->chunk, c->vocab);
  head->d_hidden = keep ? smft__arena_floats(arena, m, c->hidden) : NULL;
  head->dx = keep ? smft__arena_floats(arena, m, c->hidden) : NULL;
}

/* ---- forward ------------------------------------------------------------- */

static int64_t chunk_rows(const smft__head_tape *head, int64_t begin) {
  return head->m - begin < head->chunk ? head->m - begin : head->chunk;
}

/* Logits of rows [begin, begin + n), which become their own gradient when `keep`. */
static float *chunk_forward(smft_ctx *ctx, const smft__head_tape *head, const smft__tensor *w,
                            int64_t begin, int64_t n, int keep) {
  int64_t vocab = w->shape[0], d = w->shape[1];
  float *logits = head->kept ? head->logits + begin * vocab : head->logits;
  smft__linear_forward(ctx, w, NULL, head->hidden + begin * d, n, logits);
  if (keep)
    smft__nll_rows_backward(ctx, logits, head->targets + begin, head->scale + begin, n, vocab,
                            head->nll + begin);
  else
    smft__nll_rows(ctx, logits, head->targets + begin, n, vocab, head->nll + begin);
  return logits;
}

void smft__head_forward(const smft_model *model, const smft__version *version,
                        smft__head_tape *head, const float *x, int keep) {
  smft__tensor w = smft__weight(model, version, head_at(model).tensor);
  int64_t d = model->config.hidden;
  for (int64_t i = 0; i < head->m; i++)
    memcpy(head->x + i * d, x + head->rows[i] * d, (size_t)d * sizeof *x);
  norm_rows(model, version, head->x, head->m, head->hidden, head->inv_rms);
  for (int64_t begin = 0; begin < head->m; begin += head->chunk) {
    int64_t n = chunk_rows(head, begin);
    float *logits = chunk_forward(model->ctx, head, &w, begin, n, keep);
    if (keep)
      smft__linear_backward_input(model->ctx, &w, logits, n, head->d_hidden + begin * d, 0);
  }
}

/* ---- backward ------------------------------------------------------------ */

static void weight_backward(smft_ctx *ctx, const smft__head_tape *head, const smft__tensor *w,
                            float *dw) {
  int64_t vocab = w->shape[0], d = w->shape[1];
  if (head->kept) {
    smft__linear_backward_weight(ctx, head->hidden, head->logits, head->m, d, vocab, dw, NULL);
    return;
  }
  for (int64_t begin = 0; begin < head->m; begin += head->chunk) {
    int64_t n = chunk_rows(head, begin);
    float *d_logits = chunk_forward(ctx, head, w, begin, n, 1);
    smft__linear_backward_weight(ctx, head->hidden + begin * d, d_logits, n, d, vocab, dw, NULL);
  }
}

void smft__head_backward(const smft_model *model, const smft__version *version,
                         smft__head_tape *head, const smft__grads *grads, int64_t n_tokens,
                         float *dx) {
  smft__tensor norm = smft__weight(model, version, norm_at(model).tensor);
  smft__tensor w = smft__weight(model, version, head_at(model).tensor);
  float *dw = smft__wanted(grads, head_at(model));
  int64_t d = model->config.hidden;
  if (dw)
    weight_backward(model->ctx, head, &w, dw);
  memset(head->dx, 0, (size_t)(head->m * d) * sizeof(float));
  smft__rmsnorm_backward(model->ctx, &norm, model->config.stack.final_norm, head->x, head->inv_rms,
                         head->d_hidden, head->m, d, head->dx, smft__wanted(grads, norm_at(model)));
  memset(dx, 0, (size_t)(n_tokens * d) * sizeof(float));
  for (int64_t i = 0; i < head->m; i++)
    memcpy(dx + head->rows[i] * d, head->dx + i * d, (size_t)d * sizeof(float));
}
