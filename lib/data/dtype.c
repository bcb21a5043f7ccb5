/* dtype: the table of element types, and conversions of half precision: integer arithmetic, so that
 * a host's flush-to-zero mode changes nothing. */
#include "data/dtype.h"
#include "data/quant.h"

/* ---- half precision ------------------------------------------------------ */

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

/* ---- blocks to f32: by memcpy, since mapped data may be unaligned -------- */

static void f32_to_f32(const void *blocks, int64_t n, float *out) {
  memcpy(out, blocks, (size_t)n * sizeof *out);
}

static void f16_to_f32(const void *blocks, int64_t n, float *out) {
  uint16_t half;
  for (int64_t i = 0; i < n; i++) {
    memcpy(&half, (const char *)blocks + 2 * i, sizeof half);
    out[i] = smft__f16_to_f32(half);
  }
}

static void bf16_to_f32(const void *blocks, int64_t n, float *out) {
  uint16_t half;
  for (int64_t i = 0; i < n; i++) {
    memcpy(&half, (const char *)blocks + 2 * i, sizeof half);
    out[i] = smft__bf16_to_f32(half);
  }
}

void smft__f32s_to_bf16(const float *values, int64_t n, void *out) {
  for (int64_t i = 0; i < n; i++) {
    uint16_t half = smft__f32_to_bf16(values[i]);
    memcpy((char *)out + 2 * i, &half, sizeof half);
  }
}

/* ---- the table ----------------------------------------------------------- */

const smft__dtype smft__dtypes[SMFT__N_DTYPES] = {
    [0] = {"unknown", 1, 0, 0, NULL},
    [SMFT__F32] = {"F32", 1, 4, 1, f32_to_f32},
    [SMFT__F16] = {"F16", 1, 2, 1, f16_to_f32},
    [SMFT__BF16] = {"BF16", 1, 2, 1, bf16_to_f32},
    [SMFT__F64] = {"F64", 1, 8, 0, NULL},
    [SMFT__I64] = {"I64", 1, 8, 0, NULL},
    [SMFT__I32] = {"I32", 1, 4, 0, NULL},
    [SMFT__U32] = {"U32", 1, 4, 0, NULL},
    [SMFT__U8] = {"U8", 1, 1, 0, NULL},
    [SMFT__BOOL] = {"BOOL", 1, 1, 0, NULL},
    [SMFT__I8] = {"I8", 1, 1, 0, NULL},
    [SMFT__I16] = {"I16", 1, 2, 0, NULL},
    [SMFT__U16] = {"U16", 1, 2, 0, NULL},
    [SMFT__U64] = {"U64", 1, 8, 0, NULL},
    [SMFT__Q4_0] = {"Q4_0", 32, SMFT__Q4_0_BYTES, 1, smft__q4_0_to_f32},
    [SMFT__Q4_1] = {"Q4_1", 32, SMFT__Q4_1_BYTES, 1, smft__q4_1_to_f32},
    [SMFT__Q5_0] = {"Q5_0", 32, SMFT__Q5_0_BYTES, 1, smft__q5_0_to_f32},
    [SMFT__Q5_1] = {"Q5_1", 32, SMFT__Q5_1_BYTES, 1, smft__q5_1_to_f32},
    [SMFT__Q8_0] = {"Q8_0", 32, SMFT__Q8_0_BYTES, 1, smft__q8_0_to_f32},
    [SMFT__Q4_K] = {"Q4_K", 256, SMFT__Q4_K_BYTES, 1, smft__q4_k_to_f32},
    [SMFT__Q5_K] = {"Q5_K", 256, SMFT__Q5_K_BYTES, 1, smft__q5_k_to_f32},
    [SMFT__Q6_K] = {"Q6_K", 256, SMFT__Q6_K_BYTES, 1, smft__q6_k_to_f32},
    [14] = {"unknown", 1, 0, 0, NULL},
    [15] = {"unknown", 1, 0, 0, NULL},
};

int32_t smft__dtype_from_name(const char *name) {
  for (int32_t i = 1; i < SMFT__N_DTYPES; i++)
    if (smft__dtypes[i].bytes && !smft__is_block(i) && strcmp(smft__dtypes[i].name, name) == 0)
      return i;
  return 0;
}
