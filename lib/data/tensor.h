/* tensor: read-only views of arrays.  A view owns nothing.  Mapped data may be
 * unaligned: kernels use unaligned loads. */
#ifndef SMFT__TENSOR_H
#define SMFT__TENSOR_H
#include "data/dtype.h"

#define SMFT__MAX_DIMS 8

typedef struct smft__tensor {
  const void *data; /* NULL: absent; of a pool of values: zeros that stand nowhere */
  int64_t shape[SMFT__MAX_DIMS];
  int32_t n_dims;
  int32_t dtype;
} smft__tensor;

/* elements; checked when the view was made */
int64_t smft__tensor_count(const smft__tensor *tensor);
int64_t smft__tensor_bytes(const smft__tensor *tensor);
/* out (n) = elements [begin, begin + n) of a tensor of weights, as f32; zeros where data is NULL.
 */
void smft__tensor_to_f32(const smft__tensor *tensor, int64_t begin, int64_t n, float *out);
/* out (all elements) of a tensor of weights, as f32; SMFT_E_NONFINITE names it when one of them is
 * not finite. */
smft_status smft__tensor_read_finite(const smft__tensor *tensor, const char *name, float *out);

/* columns 0: one dimension */
static inline smft__tensor smft__tensor_f32(const float *data, int64_t rows, int64_t columns) {
  smft__tensor tensor = {data, {rows, columns}, columns ? 2 : 1, SMFT__F32};
  return tensor;
}
#endif
