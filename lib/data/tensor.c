/* tensor: counting, reading as f32.  Does not own: the arrays (files, patches), element types
 * (dtype.c), arithmetic (nn/). */
#include "data/tensor.h"
#include "data/quant.h"
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

/* From one block: numbers [first, first + n). */
static void part_to_f32(const smft__dtype *type, const char *block, int64_t first, int64_t n,
                        float *out) {
  float whole[SMFT__QUANT_MOST];
  type->to_f32(block, type->block, whole);
  memcpy(out, whole + first, (size_t)n * sizeof *out);
}

/* A block that begins before `begin`, whole ones, one that ends behind the last number. */
static void range_to_f32(const smft__dtype *type, const char *data, int64_t begin, int64_t n,
                         float *out) {
  const char *block = data + begin / type->block * type->bytes;
  int64_t first = begin % type->block;
  if (first) {
    int64_t here = n < type->block - first ? n : type->block - first;
    part_to_f32(type, block, first, here, out);
    block += type->bytes, n -= here, out += here;
  }
  int64_t rest = n % type->block, whole = n - rest;
  type->to_f32(block, whole, out);
  if (rest)
    part_to_f32(type, block + whole / type->block * type->bytes, 0, rest, out + whole);
}

/* Callers check that the tensor is of weights; zeros rather than what was in out before. */
void smft__tensor_to_f32(const smft__tensor *tensor, int64_t begin, int64_t n, float *out) {
  const smft__dtype *type = smft__dtype_traits(tensor->dtype);
  if (n <= 0)
    return;
  if (tensor->data && type->to_f32)
    range_to_f32(type, tensor->data, begin, n, out);
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
