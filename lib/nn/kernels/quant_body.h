/* quant_body: decodes blocks (data/quant.h) for one instruction set, LANES numbers at a time, each
 * equal to the plain decoding to the last bit; gemm_body.h and vector_body.h include it.  No
 * include guard.  dtype is a constant wherever these are inlined.
 *
 * A block is a few runs (one of 32 numbers, or those of 256: 64 in Q4_K and Q5_K, 128 in Q6_K).  In
 * a run, numbers that are SMFT__FN(quant_stride) apart share bytes.  Nothing behind a block is
 * read.
 */

typedef struct SMFT__FN(quant_scales) { /* of a block */
  VEC d, m;                             /* blocks of 32 */
  float scale[16], minimum[16]; /* K: of each 32 numbers, minimum[8] the first; Q6_K: of 16 */
} SMFT__FN(quant_scales);

SMFT__INLINE int SMFT__FN(quant_is_k)(int dtype) {
  return dtype == SMFT__Q4_K || dtype == SMFT__Q5_K || dtype == SMFT__Q6_K;
}

SMFT__INLINE int SMFT__FN(quant_block)(int dtype) { return SMFT__FN(quant_is_k)(dtype) ? 256 : 32; }

SMFT__INLINE int SMFT__FN(quant_bytes)(int dtype) {
  return dtype == SMFT__Q4_0   ? SMFT__Q4_0_BYTES
         : dtype == SMFT__Q4_1 ? SMFT__Q4_1_BYTES
         : dtype == SMFT__Q5_0 ? SMFT__Q5_0_BYTES
         : dtype == SMFT__Q5_1 ? SMFT__Q5_1_BYTES
         : dtype == SMFT__Q8_0 ? SMFT__Q8_0_BYTES
         : dtype == SMFT__Q4_K ? SMFT__Q4_K_BYTES
         : dtype == SMFT__Q5_K ? SMFT__Q5_K_BYTES
                               : SMFT__Q6_K_BYTES;
}

SMFT__INLINE int SMFT__FN(quant_run)(int dtype) {
  return dtype == SMFT__Q6_K ? 128 : SMFT__FN(quant_is_k)(dtype) ? 64 : 32;
}

SMFT__INLINE int SMFT__FN(quant_stride)(int dtype) {
  return dtype == SMFT__Q8_0 || SMFT__FN(quant_is_k)(dtype) ? 32 : 16;
}

/* ---- scales -------------------------------------------------------------- */

/* Q4_K, Q5_K: the eight scales, then the eight minima, a byte each; four at a time, as quant.c has
 * them one by one. */
SMFT__INLINE void SMFT__FN(quant_six_bits)(const char *block, uint32_t out[4]) {
  uint32_t packed[3];
  memcpy(packed, block + SMFT__QK_SCALES, sizeof packed);
  out[0] = packed[0] & 0x3f3f3f3f;
  out[1] = (packed[2] & 0x0f0f0f0f) | (packed[0] >> 2 & 0x30303030);
  out[2] = packed[1] & 0x3f3f3f3f;
  out[3] = (packed[2] >> 4 & 0x0f0f0f0f) | (packed[1] >> 2 & 0x30303030);
}

SMFT__INLINE void SMFT__FN(quant_open_k)(int dtype, const char *block,
                                         SMFT__FN(quant_scales) * scales) {
  if (dtype == SMFT__Q6_K) {
    VEC d = SPLAT_F16(block + SMFT__Q6_K_D);
    SMFT__UNROLL for (int i = 0; i < 16; i += LANES)
        STORE(scales->scale + i, TO_FLOATS(LOAD_I8(block + SMFT__Q6_K_SCALES + i)) * d);
    return;
  }
  uint32_t bytes[4];
  VEC d = SPLAT_F16(block), m = -SPLAT_F16(block + SMFT__QUANT_M);
  SMFT__FN(quant_six_bits)(block, bytes);
  SMFT__UNROLL for (int i = 0; i < 16; i += LANES) {
    VEC number = TO_FLOATS(LOAD_U8((const char *)bytes + i));
    if (i < 8)
      STORE(scales->scale + i, number * d);
    if (i + LANES > 8)
      STORE(scales->minimum + i, number * m);
  }
}

/* Before the numbers of a block are decoded. */
SMFT__INLINE void SMFT__FN(quant_open)(int dtype, const char *block,
                                       SMFT__FN(quant_scales) * scales) {
  if (SMFT__FN(quant_is_k)(dtype)) {
    SMFT__FN(quant_open_k)(dtype, block, scales);
    return;
  }
  scales->d = SPLAT_F16(block);
  if (dtype == SMFT__Q4_1 || dtype == SMFT__Q5_1)
    scales->m = SPLAT_F16(block + SMFT__QUANT_M);
}

/* ---- numbers ------------------------------------------------------------- */

/* The lower halves of bytes, or the upper ones. */
SMFT__INLINE IVEC SMFT__FN(quant_half)(const char *bytes, int upper) {
  IVEC both = LOAD_U8(bytes);
  return upper ? both >> 4 : both & 15;
}

/* Sixteen where bit `at` of 32, and those that follow, are set. */
SMFT__INLINE IVEC SMFT__FN(quant_fifth)(const char *qh, int at) {
  IVEC bits, lane;
  int32_t all;
  memcpy(&all, qh, sizeof all);
  SMFT__UNROLL for (int i = 0; i < LANES; i++) lane[i] = (int32_t)(1u << (at + i));
  bits = (IVEC){0} + all;
  return ((bits & lane) != 0) & 16;
}

/* Numbers [at, at + LANES) of a run in a block of 32. */
SMFT__INLINE VEC SMFT__FN(quant_of_32)(int dtype, const char *block, int at,
                                       const SMFT__FN(quant_scales) * scales) {
  const int upper = at >= 16;
  if (dtype == SMFT__Q8_0)
    return TO_FLOATS(LOAD_I8(block + SMFT__Q8_0_QS + at)) * scales->d;
  if (dtype == SMFT__Q4_0)
    return TO_FLOATS(SMFT__FN(quant_half)(block + SMFT__Q4_0_QS + at % 16, upper) - 8) * scales->d;
  if (dtype == SMFT__Q4_1)
    return FMA(TO_FLOATS(SMFT__FN(quant_half)(block + SMFT__Q4_1_QS + at % 16, upper)), scales->d,
               scales->m);
  if (dtype == SMFT__Q5_0)
    return TO_FLOATS((SMFT__FN(quant_half)(block + SMFT__Q5_0_QS + at % 16, upper) |
                      SMFT__FN(quant_fifth)(block + SMFT__Q5_0_QH, at)) -
                     16) *
           scales->d;
  return FMA(TO_FLOATS(SMFT__FN(quant_half)(block + SMFT__Q5_1_QS + at % 16, upper) |
                       SMFT__FN(quant_fifth)(block + SMFT__Q5_1_QH, at)),
             scales->d, scales->m);
}

/* Numbers [at, at + LANES) of run `run` of a block of 256. */
SMFT__INLINE VEC SMFT__FN(quant_of_256)(int dtype, const char *block, int64_t run, int at,
                                        const SMFT__FN(quant_scales) * scales) {
  const int part = at / 32, i = at % 32;
  if (dtype == SMFT__Q6_K) {
    IVEC low = SMFT__FN(quant_half)(block + 64 * run + at % 64, at >= 64);
    IVEC high = LOAD_U8(block + SMFT__Q6_K_QH + 32 * run + i) >> 2 * part & 3;
    return TO_FLOATS((low | high << 4) - 32) * SPLAT(scales->scale[8 * run + at / 16]);
  }
  int64_t group = 2 * run + part;
  const char *qs = block + (dtype == SMFT__Q4_K ? SMFT__Q4_K_QS : SMFT__Q5_K_QS);
  IVEC q = SMFT__FN(quant_half)(qs + 32 * run + i, part);
  if (dtype == SMFT__Q5_K)
    q |= (LOAD_U8(block + SMFT__Q5_K_QH + i) >> (int)group & 1) << 4;
  return FMA(TO_FLOATS(q), SPLAT(scales->scale[group]), SPLAT(scales->minimum[8 + group]));
}

SMFT__INLINE VEC SMFT__FN(quant_numbers)(int dtype, const char *block, int64_t run, int at,
                                         const SMFT__FN(quant_scales) * scales) {
  return SMFT__FN(quant_is_k)(dtype) ? SMFT__FN(quant_of_256)(dtype, block, run, at, scales)
                                     : SMFT__FN(quant_of_32)(dtype, block, at, scales);
}
