/* tensor: element types, their names and sizes, and half-precision conversions.
 * Does not own: the arrays (files, patches), arithmetic (nn/). */
#include "data/tensor.h"
#include <math.h>

static const struct {
  const char *name;
  size_t size;
} dtypes[] = {[SMFT__F32] = {"F32", 4}, [SMFT__F16] = {"F16", 2}, [SMFT__BF16] = {"BF16", 2},
              [SMFT__F64] = {"F64", 8}, [SMFT__I64] = {"I64", 8}, [SMFT__I32] = {"I32", 4},
              [SMFT__U32] = {"U32", 4}, [SMFT__U8] = {"U8", 1},   [SMFT__BOOL] = {"BOOL", 1},
              [SMFT__I8] = {"I8", 1},   [SMFT__I16] = {"I16", 2}, [SMFT__U16] = {"U16", 2},
              [SMFT__U64] = {"U64", 8}};
#define N_DTYPES ((int32_t)(sizeof dtypes / sizeof dtypes[0]))

size_t smft__dtype_size(int32_t dtype) {
  return dtype > 0 && dtype < N_DTYPES ? dtypes[dtype].size : 0;
}

const char *smft__dtype_name(int32_t dtype) {
  return dtype > 0 && dtype < N_DTYPES ? dtypes[dtype].name : "unknown";
}

int32_t smft__dtype_from_name(const char *name) {
  for (int32_t i = 1; i < N_DTYPES; i++)
    if (strcmp(dtypes[i].name, name) == 0)
      return i;
  return 0;
}

int64_t smft__tensor_count(const smft__tensor *tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor->n_dims; i++)
    count *= tensor->shape[i];
  return count;
}

/* ---- half precision: integer arithmetic, so that a host's flush-to-zero mode changes nothing ----
 */

static inline float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

float smft__f16_to_f32(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 0x1Fu;
  uint32_t mantissa = half & 0x3FFu;
  if (exponent == 0) { /* zero or subnormal: mantissa * 2^-24, exact in f32 */
    float value = (float)mantissa * 0x1p-24f;
    return sign ? -value : value;
  }
  if (exponent == 31)
    return from_bits(sign | 0x7F800000u | mantissa << 13);
  return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t smft__f32_to_bf16(float value) {
  uint32_t bits = to_bits(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
    /* quiet, so that cutting the low bits does not make it infinite */
    return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

uint16_t smft__f32_to_f16(float value) {
  uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u)
    return (uint16_t)(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
  if (magnitude >= 0x477FF000u) /* 65520 and up round to infinity */
    return (uint16_t)(sign | 0x7C00u);
  /* normal in f16: round away 13 bits; a carry into the exponent is right */
  if (magnitude >= 0x38800000u) {
    magnitude -= 112u << 23;
    return (uint16_t)(sign | (magnitude + 0xFFFu + (magnitude >> 13 & 1u)) >> 13);
  }
  uint32_t exponent = magnitude >> 23;
  if (exponent < 102) /* under half of the least subnormal, 2^-25 */
    return (uint16_t)sign;
  uint32_t shift = 126 - exponent, mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
  uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1);
  uint32_t half = 1u << (shift - 1);
  return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1u)))));
}

/* Element loads by memcpy: mapped data may be unaligned. */
void smft__tensor_to_f32(const smft__tensor *tensor, int64_t begin, int64_t n, float *out) {
  const char *from = (const char *)tensor->data + begin * (int64_t)smft__dtype_size(tensor->dtype);
  uint16_t half;
  switch (tensor->dtype) {
  case SMFT__F32:
    if (n > 0)
      memcpy(out, from, (size_t)n * sizeof *out);
    break;
  case SMFT__F16:
    for (int64_t i = 0; i < n; i++) {
      memcpy(&half, from + 2 * i, sizeof half);
      out[i] = smft__f16_to_f32(half);
    }
    break;
  case SMFT__BF16:
    for (int64_t i = 0; i < n; i++) {
      memcpy(&half, from + 2 * i, sizeof half);
      out[i] = smft__bf16_to_f32(half);
    }
    break;
  default: /* callers check that the tensor is of floats; zeros rather than what was in out before
            */
    for (int64_t i = 0; i < n; i++)
      out[i] = 0;
  }
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
