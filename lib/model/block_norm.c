/* block_norm: a block's norms, by the lines of their weights, forward and backward. */
#include "model/block.h"
#include "nn/norm.h"

void smft__block_norm(const smft__batch_shape *shape, const smft__block_view *w, int32_t line,
                      const float *x, int64_t rows, float *y, float *inv_rms) {
  const smft__tensor *weight = &w->at[line].w;
  smft__rmsnorm_forward(shape->ctx, weight, w->plan->norm, shape->config->norm_eps, x, rows,
                        weight->shape[0], y, inv_rms);
}

void smft__block_norm_backward(const smft__batch_shape *shape, const smft__block_view *w,
                               const smft__block_grads *g, int32_t line, const float *x,
                               const float *inv_rms, const float *dy, int64_t rows, float *dx) {
  const smft__tensor *weight = &w->at[line].w;
  smft__rmsnorm_backward(shape->ctx, weight, w->plan->norm, x, inv_rms, dy, rows, weight->shape[0],
                         dx, g->at[line].w);
}
