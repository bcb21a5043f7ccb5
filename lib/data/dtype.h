/* dtype: element types: their names, sizes and conversion to f32. */
#ifndef SMFT__DTYPE_H
#define SMFT__DTYPE_H
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
  SMFT__U64 = 13,
  SMFT__Q4_0 = SMFT_DTYPE_Q4_0, /* in blocks: data/quant.h */
  SMFT__Q4_1 = SMFT_DTYPE_Q4_1,
  SMFT__Q5_0 = SMFT_DTYPE_Q5_0,
  SMFT__Q5_1 = SMFT_DTYPE_Q5_1,
  SMFT__Q8_0 = SMFT_DTYPE_Q8_0,
  SMFT__Q4_K = SMFT_DTYPE_Q4_K,
  SMFT__Q5_K = SMFT_DTYPE_Q5_K,
  SMFT__Q6_K = SMFT_DTYPE_Q6_K,
  SMFT__N_DTYPES
};

typedef struct smft__dtype { /* traits of an element type */
  const char *name;          /* safetensors' name, "F32", or GGUF's, "Q8_0" */
  int32_t block, bytes;      /* elements of a block, and its bytes; bytes 0: no known type */
  uint8_t is_weight;         /* kernels can multiply with it */
  /* n elements, whole blocks at any address: the plain reference of every kernel; NULL: no weight
   */
  void (*to_f32)(const void *blocks, int64_t n, float *out);
} smft__dtype;
extern const smft__dtype smft__dtypes[SMFT__N_DTYPES];
/* Of a safetensors file, which knows no blocks; 0: unknown. */
int32_t smft__dtype_from_name(const char *name);

/* Of any number: one that is no type has the traits of type 0. */
static inline const smft__dtype *smft__dtype_traits(int32_t dtype) {
  return &smft__dtypes[dtype > 0 && dtype < SMFT__N_DTYPES ? dtype : 0];
}
static inline const char *smft__dtype_name(int32_t dtype) {
  return smft__dtype_traits(dtype)->name;
}
static inline int smft__is_weight(int32_t dtype) { return smft__dtype_traits(dtype)->is_weight; }
/* Of more than one number. */
static inline int smft__is_block(int32_t dtype) { return smft__dtype_traits(dtype)->block > 1; }
/* Bytes of n elements, whole blocks. */
static inline int64_t smft__row_bytes(int32_t dtype, int64_t n) {
  const smft__dtype *type = smft__dtype_traits(dtype);
  return n / type->block * type->bytes;
}
/* The same of one weight, for kernels that are specialised by type: a constant there.  A macro: gcc
 * specialises them worse with a function in its place (4% more instructions in packing). */
#define SMFT__WEIGHT_BYTES(dtype)                                                                  \
  ((dtype) == SMFT__F32 ? (int)sizeof(float) : (int)sizeof(uint16_t))

static inline float smft__bf16_to_f32(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
float smft__f16_to_f32(uint16_t half);
uint16_t smft__f32_to_bf16(float value); /* round to nearest even; NaN stays NaN */
uint16_t smft__f32_to_f16(float value);
void smft__f32s_to_bf16(const float *values, int64_t n, void *out); /* any address */
#endif
