/* stack: see stack.h.  Owns the order of blocks; the insides of a block are block.c's, activations
 * whose who makes the pass. */
#include "model/stack.h"

#include "nn/embedding.h"

static smft_status check_cancel(const smft__pass *pass) {
  int stop = pass->cancel && atomic_load(pass->cancel);
  return stop ? smft__fail(SMFT_E_CANCELLED, "cancelled") : SMFT_OK;
}

/* ---- forward ------------------------------------------------------------- */

void smft__stack_embed(const smft__pass *pass, const int32_t *ids) {
  smft__where at = pass->model->config.stack.at[SMFT__EMBED];
  smft__tensor table = smft__weight(pass->model, pass->version, at.tensor);
  smft__embedding_forward(pass->model->ctx, &table, ids, pass->shape.n_tokens,
                          pass->model->config.stack.embedding_scale, pass->tapes[0].x);
}

static void run_block(const smft__pass *pass, int32_t layer, int part) {
  smft__block_view view = smft__block_view_of(pass->model, pass->version, layer);
  const smft__block_tape *tape = &pass->tapes[layer];
  float *out = layer + 1 < pass->model->config.n_layers ? pass->tapes[layer + 1].x : pass->x;
  if (part == SMFT__LOOKUP)
    smft__block_lookup(&pass->shape, &view, tape);
  else if (part == SMFT__RESUME)
    smft__block_resume(&pass->shape, &view, tape, out);
  else
    smft__block_forward(&pass->shape, &view, tape, out);
}

smft_status smft__stack_run(const smft__pass *pass, int32_t begin, int32_t end, int first,
                            int last) {
  for (int32_t layer = begin; layer < end; layer++) {
    int resumes = layer == begin && first == SMFT__RESUME;
    int stops = layer + 1 == end && last == SMFT__LOOKUP;
    SMFT__TRY(check_cancel(pass));
    if (!(resumes && stops))
      run_block(pass, layer, resumes ? SMFT__RESUME : stops ? SMFT__LOOKUP : SMFT__WHOLE);
  }
  return check_cancel(pass);
}

/* ---- backward ------------------------------------------------------------ */

/* The lowest block that has something to learn; -1: the embedding; n_layers: none. */
static int32_t lowest_block(const smft__pass *pass, const smft__grads *grads) {
  const smft__config *c = &pass->model->config;
  if (smft__wanted(grads, c->stack.at[SMFT__EMBED]))
    return -1;
  for (int32_t layer = 0; layer < c->n_layers; layer++) {
    smft__block_grads g = smft__block_grads_of(pass->model, pass->version, grads, layer);
    if (smft__wants_attention(&g) || smft__wants_branch(&g))
      return layer;
  }
  return c->n_layers;
}

static void block_backward(const smft__pass *pass, const smft__block_scratch *scratch,
                           const smft__grads *grads, int32_t layer, int is_lowest, float *dx) {
  smft__block_view view = smft__block_view_of(pass->model, pass->version, layer);
  smft__block_grads g = smft__block_grads_of(pass->model, pass->version, grads, layer);
  int32_t depth = !is_lowest                  ? SMFT__BACK_INPUT
                  : smft__wants_attention(&g) ? SMFT__BACK_ATTENTION
                                              : SMFT__BACK_BRANCH;
  smft__block_backward(&pass->shape, &view, &pass->tapes[layer], scratch, &g, depth, dx);
}

smft_status smft__stack_backward(const smft__pass *pass, const smft__block_scratch *scratch,
                                 const smft__grads *grads, const int32_t *ids, float *dx) {
  const smft__config *c = &pass->model->config;
  int32_t lowest = lowest_block(pass, grads);
  for (int32_t layer = c->n_layers - 1; layer >= 0 && layer >= lowest; layer--) {
    SMFT__TRY(check_cancel(pass));
    block_backward(pass, scratch, grads, layer, layer == lowest, dx);
  }
  if (lowest < 0)
    smft__embedding_backward(pass->model->ctx, ids, dx, pass->shape.n_tokens, c->hidden,
                             c->stack.embedding_scale,
                             smft__wanted(grads, c->stack.at[SMFT__EMBED]));
  return check_cancel(pass);
}
