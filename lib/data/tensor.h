/* tensor: element types and read-only views of arrays.  A view owns nothing.  Mapped data may be
 * unaligned: kernels use unaligned loads. */
#ifndef SMFT__TENSOR_H
#define SMFT__TENSOR_H
#include "base/ctx.h"
#include <string.h>

enum {
  SMFT__F32 = SMFT_DTYPE_F32,
  SMFT__F16 = SMFT_DTYPE_F16,
  SMFT__BF16 = SMFT_DTYPE_BF16,
  SMFT__F64 = 4,
  SMFT__I64 = 5,
  SMFT__I32 = 6,
  SMFT__U32 = 7,
  SMFT__U8 = 8,
  SMFT__BOOL = 9,
  SMFT__I8 = 10,
  SMFT__I16 = 11,
  SMFT__U16 = 12,
  SMFT__U64 = 13
};
#define SMFT__MAX_DIMS 8

typedef struct smft__tensor {
  const void *data; /* NULL: absent */
  int64_t shape[SMFT__MAX_DIMS];
  int32_t n_dims;
  int32_t dtype;
} smft__tensor;

size_t smft__dtype_size(int32_t dtype);          /* 0: unknown */
const char *smft__dtype_name(int32_t dtype);     /* safetensors' name: "F32" */
int32_t smft__dtype_from_name(const char *name); /* 0: unknown */
/* elements; checked when the view was made */
int64_t smft__tensor_count(const smft__tensor *tensor);
/* out (n) = elements [begin, begin + n) of a float tensor (F32, F16, BF16), as f32. */
void smft__tensor_to_f32(const smft__tensor *tensor, int64_t begin, int64_t n, float *out);
static inline int smft__is_float(int32_t dtype) {
  return dtype == SMFT__F32 || dtype == SMFT__F16 || dtype == SMFT__BF16;
}
/* out (all elements) of a float tensor, as f32; SMFT_E_NONFINITE names it when one of them is not
 * finite. */
smft_status smft__tensor_read_finite(const smft__tensor *tensor, const char *name, float *out);

static inline float smft__bf16_to_f32(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
float smft__f16_to_f32(uint16_t half);
uint16_t smft__f32_to_bf16(float value); /* round to nearest even; NaN stays NaN */
uint16_t smft__f32_to_f16(float value);
/* columns 0: one dimension */
static inline smft__tensor smft__tensor_f32(const float *data, int64_t rows, int64_t columns) {
  smft__tensor tensor = {data, {rows, columns}, columns ? 2 : 1, SMFT__F32};
  return tensor;
}
#endif
