/* rates: default learning rates.  Owns the rule and its constants; who asks for it is the
 * optimizer's and the step's affair.
 *
 * For value rows the rule must not depend on a model's width or on the scale of its values.  If the
 * values grow by s and what follows them shrinks by s, the function is the same, a row's gradient
 * shrinks by s, and the step that has the same effect grows by s: rate ~ s^2, the squared norm of a
 * row.  loss / |gradient|^2 has that scale too, and gets smaller where the gradient is steep. */
#include "learn/rates.h"
#include "memory/pool.h"
#include "base/alloc.h"
#include <float.h>
#include <math.h>

/* a pool: enough for a mean, read in milliseconds from a pool of any size */
#define SAMPLED_ROWS 4096
#define SGD_CAP 0.85 /* of the mean squared row norm */
/* the same where rows that background reads are held back: the others may go further */
#define SGD_DAMPED_CAP 50.0
#define SGD_POLYAK 0.5    /* of loss / |gradient|^2 */
#define BY_LOSS_LEAST 0.5 /* of a step's length */
#define BY_LOSS_MOST 3.0
#define ADAMW_OF_VALUE 0.066 /* of the values' root mean square */
#define ADAMW_DAMPED_OF_VALUE 2.5
#define FULL_ADAMW 1e-5
#define LORA_ADAMW 1e-4
#define DENSE_SGD 1e-2

double smft__mean_row_square(const smft_model *model) {
  double sum = 0;
  int64_t rows = 0, dim = model->config.memory.value_dim;
  float piece[256];
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    const smft__tensor *values = &model->tensors[smft__pool_tensor(&model->config, p)];
    int64_t n = values->shape[0], step = n > SAMPLED_ROWS ? n / SAMPLED_ROWS : 1;
    for (int64_t row = 0; values->data && row < n; row += step, rows++)
      for (int64_t at = 0; at < dim; at += 256) {
        int64_t length = dim - at < 256 ? dim - at : 256;
        smft__tensor_to_f32(values, row * dim + at, length, piece);
        for (int64_t i = 0; i < length; i++)
          sum += (double)piece[i] * (double)piece[i];
      }
  }
  return rows > 0 && isfinite(sum) ? sum / (double)rows : 0;
}

double smft__default_lr(const smft_patch *patch, int32_t optimizer_kind, double row_square,
                        int damped) {
  int adamw = optimizer_kind == SMFT_OPTIMIZER_ADAMW;
  if (patch->kind != SMFT_PATCH_SLOTS && !adamw)
    return DENSE_SGD;
  if (patch->kind != SMFT_PATCH_SLOTS)
    return patch->kind == SMFT_PATCH_LORA ? LORA_ADAMW : FULL_ADAMW;
  if (adamw)
    return (damped ? ADAMW_DAMPED_OF_VALUE : ADAMW_OF_VALUE) *
           sqrt(row_square / (double)patch->model->config.memory.value_dim);
  return (damped ? SGD_DAMPED_CAP : SGD_CAP) * row_square;
}

double smft__capped_lr(double loss, double gradient_norm, double cap) {
  double square = gradient_norm * gradient_norm;
  return square > 0 ? fmin(SGD_POLYAK * loss / square, cap) : cap;
}

double smft__length_lr(double length, double gradient_norm) {
  double lr = gradient_norm > 0 ? length / gradient_norm : 0;
  return lr <= (double)FLT_MAX ? lr : 0; /* rates are floats where they are applied */
}

double smft__length_by_loss(double loss) { return fmin(fmax(loss, BY_LOSS_LEAST), BY_LOSS_MOST); }
