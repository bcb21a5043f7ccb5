/* tensor: counting, reading as f32.  Does not own: the arrays (files, patches), element types
 * (dtype.c), arithmetic (nn/). */
#include "data/tensor.h"
#include <math.h>

int64_t smft__tensor_count(const smft__tensor *tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor->n_dims; i++)
    count *= tensor->shape[i];
  return count;
}

int64_t smft__tensor_bytes(const smft__tensor *tensor) {
  return smft__row_bytes(tensor->dtype, smft__tensor_count(tensor));
}

/* Callers check that the tensor is of weights; zeros rather than what was in out before. */
void smft__tensor_to_f32(const smft__tensor *tensor, int64_t begin, int64_t n, float *out) {
  const smft__dtype *type = smft__dtype_traits(tensor->dtype);
  if (n <= 0)
    return;
  if (type->to_f32)
    type->to_f32((const char *)tensor->data + smft__row_bytes(tensor->dtype, begin), n, out);
  else
    memset(out, 0, (size_t)n * sizeof *out);
}

smft_status smft__tensor_read_finite(const smft__tensor *tensor, const char *name, float *out) {
  int64_t n = smft__tensor_count(tensor);
  smft__tensor_to_f32(tensor, 0, n, out);
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(out[i]))
      return smft__fail(SMFT_E_NONFINITE, "tensor %s: value %lld is not finite", name,
                        (long long)i);
  return SMFT_OK;
}
