/* block_matrix: a block's products: a matrix and what a LoRA patch adds to it, forward and
 * backward. */
#include "model/block.h"
#include "nn/linear.h"
#include "nn/low_rank.h"

void smft__block_matrices(const smft__batch_shape *shape, const smft__matrix *const *ms, int32_t n,
                          const float *x, float *const *ys) {
  const smft__tensor *ws[3] = {NULL};
  for (int32_t i = 0; i < n; i++)
    ws[i] = &ms[i]->w;
  smft__linears_forward(shape->ctx, ws, n, x, shape->n_tokens, ys);
  for (int32_t i = 0; i < n; i++)
    if (ms[i]->adapter)
      smft__low_rank_forward(shape->ctx, ms[i]->adapter, x, shape->n_tokens, shape->adapted, ys[i]);
}

void smft__block_matrix_backward(const smft__batch_shape *shape, const smft__matrix *m,
                                 const float *x, const float *dy, const smft__matrix_grad *g,
                                 float *dx, int accumulate) {
  smft__linear_backward(shape->ctx, &m->w, x, dy, shape->n_tokens, dx, accumulate, g->w);
  if (m->adapter)
    smft__low_rank_backward(shape->ctx, m->adapter, x, dy, shape->n_tokens, shape->adapted, g->a,
                            g->b, dx);
}
