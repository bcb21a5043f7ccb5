/* simd: one vocabulary of vector operations for each instruction set; deliberately without an
 * include guard.  levels.h includes it with SMFT__LEVEL = 0 (portable, 4 lanes), 1 (AVX2 + FMA +
 * F16C, 8 lanes), 2 (AVX-512, 16 lanes), each time followed by a body of kernels.
 *
 *   SMFT__FN(name)   the name of a function of this level
 *   SMFT__TARGET     the attribute it must carry
 *   SMFT__INLINE     for helpers (always inlined)
 *   SMFT__UNROLL     before a loop with a constant count
 *   VEC, LANES       LOAD(p) STORE(p, v) SPLAT(x) FMA(a, b, c) = a * b + c
 *   VMAX(a, b), VMIN(a, b)        b where a is NaN or b is
 *   LOAD_BF16(p), LOAD_F16(p)     LANES elements as f32
 *   SPLAT_F16(p)                  one element as f32
 *   LOAD_U8(p), LOAD_I8(p)        LANES bytes as integers, without and with a sign
 *   TO_FLOATS(v)                  integers as floats
 *   BITS(v), FLOATS(v)            the same bits as integers or floats
 *   SHUFFLE(a, b, i...)           the lanes i of a and b end to end
 *   ZIP_LOW(a, b), ZIP_HIGH(a, b) lower or upper halves, interleaved
 * Without SMFT__LEVEL it gives only the attributes of functions written for one instruction set:
 *   SMFT__AVX2, SMFT__AVX512
 * Pointers need no alignment at all.  Explicit FMA everywhere: with -std=c11 gcc does not contract
 * on its own, and clang would. */
#include "base/cpu.h"
#if defined(__x86_64__) && !defined(SMFT__AVX2)
#include <immintrin.h>
#define SMFT__AVX2 __attribute__((target("avx2,fma,f16c")))
#define SMFT__AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#endif

#ifdef SMFT__LEVEL
#undef SMFT__FN
#undef SMFT__TARGET
#undef SMFT__INLINE
#undef SMFT__UNROLL
#undef VEC
#undef IVEC
#undef LANES
#undef LOAD
#undef STORE
#undef SPLAT
#undef FMA
#undef VMAX
#undef VMIN
#undef LOAD_BF16
#undef LOAD_F16
#undef SPLAT_F16
#undef LOAD_U8
#undef LOAD_I8
#undef TO_FLOATS
#undef BITS
#undef FLOATS
#undef SHUFFLE
#undef SHUFFLE_BY
#undef ZIP_LOW
#undef ZIP_HIGH

#if defined(__clang__)
#define SMFT__UNROLL _Pragma("unroll")
#else
#define SMFT__UNROLL _Pragma("GCC unroll 16")
#endif
#define SMFT__INLINE static inline __attribute__((always_inline)) SMFT__TARGET
#define BITS(v) ((IVEC)(v))
#define FLOATS(v) ((VEC)(v))
#define TO_FLOATS(v) __builtin_convertvector(v, VEC)
#define LOAD(p) ((VEC) * (const SMFT__FN(loose) *)(const void *)(p))
#define STORE(p, v) (*(SMFT__FN(loose) *)(void *)(p) = (v))
/* As many i as there are lanes.  gcc learnt clang's word for it in 12; its own wants the i in
 * integers as wide as the lanes. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE_BY(integers, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE_BY(integers, a, b, ...) __builtin_shuffle(a, b, (integers){__VA_ARGS__})
#endif
#define SHUFFLE(a, b, ...) SHUFFLE_BY(IVEC, a, b, __VA_ARGS__)

#if SMFT__LEVEL == 2
#define SMFT__FN(name) name##_avx512
#define SMFT__TARGET SMFT__AVX512
#define VEC __m512
#define IVEC SMFT__FN(ints)
#define LANES 16
#define SPLAT(x) _mm512_set1_ps(x)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VMAX(a, b) _mm512_max_ps(a, b)
#define VMIN(a, b) _mm512_min_ps(a, b)
#define LOAD_BF16(p)                                                                               \
  _mm512_castsi512_ps(_mm512_slli_epi32(                                                           \
      _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p))), 16))
#define LOAD_F16(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define SPLAT_F16(p) _mm512_cvtph_ps(_mm256_set1_epi16(SMFT__FN(load_short)(p)))
#define LOAD_U8(p) ((IVEC)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define LOAD_I8(p) ((IVEC)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))))
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif SMFT__LEVEL == 1
#define SMFT__FN(name) name##_avx2
#define SMFT__TARGET SMFT__AVX2
#define VEC __m256
#define IVEC SMFT__FN(ints)
#define LANES 8
#define SPLAT(x) _mm256_set1_ps(x)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VMAX(a, b) _mm256_max_ps(a, b)
#define VMIN(a, b) _mm256_min_ps(a, b)
#define LOAD_BF16(p)                                                                               \
  _mm256_castsi256_ps(_mm256_slli_epi32(                                                           \
      _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p))), 16))
#define LOAD_F16(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define SPLAT_F16(p) _mm256_cvtph_ps(_mm_set1_epi16(SMFT__FN(load_short)(p)))
#define LOAD_U8(p) ((IVEC)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))
#define LOAD_I8(p) ((IVEC)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p))))
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define SMFT__FN(name) name##_portable
#define SMFT__TARGET
#define VEC SMFT__FN(floats)
#define IVEC SMFT__FN(ints)
#define LANES 4
#define SPLAT(x) ((VEC){(x), (x), (x), (x)})
#if defined(__aarch64__)
#define FMA(a, b, c) ((VEC)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif
#define VMAX(a, b) SMFT__FN(pick)((a) > (b), a, b)
#define VMIN(a, b) SMFT__FN(pick)((a) < (b), a, b)
#define LOAD_BF16(p) SMFT__FN(load_bf16)(p)
#define LOAD_F16(p) SMFT__FN(load_f16)(p)
#define SPLAT_F16(p) SPLAT(smft__f16_to_f32((uint16_t)SMFT__FN(load_short)(p)))
#define LOAD_U8(p) SMFT__FN(load_u8)(p)
#define LOAD_I8(p) SMFT__FN(load_i8)(p)
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#endif

typedef int32_t SMFT__FN(ints) __attribute__((vector_size(LANES * 4)));
typedef float SMFT__FN(loose) __attribute__((vector_size(LANES * 4), aligned(1), may_alias));

#if SMFT__LEVEL == 0
typedef float SMFT__FN(floats) __attribute__((vector_size(16)));
static inline __attribute__((always_inline)) VEC SMFT__FN(pick)(IVEC mask, VEC yes, VEC no) {
  return FLOATS((mask & BITS(yes)) | (~mask & BITS(no)));
}
static inline __attribute__((always_inline, unused)) VEC SMFT__FN(load_bf16)(const void *source) {
  typedef uint16_t shorts __attribute__((vector_size(16)));
  const shorts zero = {0};
  shorts h = {0};
  memcpy(&h, source, 4 * sizeof(uint16_t));
  /* little-endian: each in the upper half */
  return FLOATS((IVEC)SHUFFLE_BY(shorts, zero, h, 0, 8, 1, 9, 2, 10, 3, 11));
}
/* The exponent's offset is put right by a multiplication, which also makes subnormal halves right;
 * infinity and NaN are patched in. */
static inline __attribute__((always_inline, unused)) VEC SMFT__FN(load_f16)(const void *source) {
  IVEC half = (BITS(SMFT__FN(load_bf16)(source)) >> 16) & 0xffff;
  IVEC magnitude = half & 0x7fff, sign = (half & 0x8000) << 16;
  IVEC special = (magnitude > 0x7bff) & 0x7f800000;
  VEC value = FLOATS(magnitude << 13) * SPLAT(0x1p112f);
  return FLOATS(BITS(value) | special | sign);
}
static inline __attribute__((always_inline, unused)) IVEC SMFT__FN(load_u8)(const void *source) {
  const uint8_t *from = source;
  return (IVEC){from[0], from[1], from[2], from[3]};
}
static inline __attribute__((always_inline, unused)) IVEC SMFT__FN(load_i8)(const void *source) {
  const int8_t *from = source;
  return (IVEC){from[0], from[1], from[2], from[3]};
}
#endif

static inline __attribute__((always_inline, unused)) int16_t SMFT__FN(load_short)(
    const void *source) {
  int16_t value;
  memcpy(&value, source, sizeof value);
  return value;
}

/* The lanes of a vector, summed in pairs. */
SMFT__INLINE float SMFT__FN(sum_lanes)(VEC v) {
  float lane[LANES];
  STORE(lane, v);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++)
      lane[i] += lane[i + half];
  return lane[0];
}
#endif
