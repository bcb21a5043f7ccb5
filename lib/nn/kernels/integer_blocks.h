/* integer_blocks: blocks as bytes and scales, 64 numbers at a time, for the kernels that multiply
 * bytes with AVX-512 VNNI (integer_vnni.c, integer_panel.c).
 *
 * A chunk is up to 256 numbers: eight blocks of 32, or one of 256.  Four bits stay where they are
 * in their byte: a q in the upper half is 16 q, and its scale a sixteenth. */
#ifndef SMFT__INTEGER_BLOCKS_H
#define SMFT__INTEGER_BLOCKS_H
#include "data/quant.h"
#include "data/tensor.h"
#include <string.h>
#define SMFT__LEVEL 2
#include "nn/kernels/simd.h"
#include "nn/kernels/quant_body.h"

#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline, unused)) VNNI
#define CHUNK 256

/* ---- scales -------------------------------------------------------------- */

/* Of a chunk.  d: of eight blocks (or groups of 32) and, in the upper eight lanes, of the halves of
 * their bytes that lie above; Q6_K: of sixteen groups of 16.  m: of as many. */
typedef struct chunk_scales {
  __m512 d, m;
} chunk_scales;

INLINE __m512 twice(__m256 eight) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(eight), eight, 1);
}
INLINE __m512 lower_half(__m256 eight) { return _mm512_zextps256_ps512(eight); }
INLINE __m256 halves_to_f32(__m256i dwords) {
  return _mm256_cvtph_ps(_mm256_cvtepi32_epi16(dwords));
}

/* Four bits whose upper ones are 16 q. */
INLINE int shares_bytes(int dtype) {
  return dtype == SMFT__Q4_0 || dtype == SMFT__Q4_1 || dtype == SMFT__Q4_K;
}

/* d and m of up to eight blocks of 32. */
INLINE chunk_scales open_32(int dtype, const char *b, int blocks) {
  const int bytes = quant_bytes_avx512(dtype);
  const __m256i at =
      _mm256_mullo_epi32(_mm256_set1_epi32(bytes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  __m256i both = _mm256_mmask_i32gather_epi32(_mm256_setzero_si256(),
                                              (__mmask8)(0xff >> (8 - blocks)), at, b, 1);
  __m256 d = halves_to_f32(both), m;
  if (dtype == SMFT__Q4_1 || dtype == SMFT__Q5_1)
    m = halves_to_f32(_mm256_srli_epi32(both, 16));
  else
    m = _mm256_mul_ps(d, _mm256_set1_ps(dtype == SMFT__Q4_0   ? -8.0f
                                        : dtype == SMFT__Q5_0 ? -16.0f
                                                              : -128.0f));
  __m512 spread = twice(d);
  if (shares_bytes(dtype))
    spread = _mm512_mask_mul_ps(spread, 0xff00, spread, _mm512_set1_ps(0.0625f));
  return (chunk_scales){spread, lower_half(m)};
}

INLINE __m512 bytes_to_f32(const void *sixteen) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)sixteen)));
}

INLINE __m512 f16_to_f32(const char *from) {
  uint16_t half;
  memcpy(&half, from, sizeof half);
  return _mm512_cvtph_ps(_mm256_set1_epi16((int16_t)half));
}

/* Q4_K, Q5_K: eight scales and eight minima of six bits (data/quant.h). */
INLINE chunk_scales open_six_bits(int dtype, const char *b) {
  uint32_t out[4];
  quant_six_bits_avx512(b, out);
  __m512 numbers = bytes_to_f32(out);
  __m512 d = _mm512_mul_ps(numbers, f16_to_f32(b));
  __m512 m = _mm512_mul_ps(numbers, f16_to_f32(b + SMFT__QUANT_M));
  if (dtype == SMFT__Q4_K) /* groups 1, 3, 5 and 7 are upper halves */
    d = _mm512_mask_mul_ps(d, 0xaaaa, d, _mm512_set1_ps(0.0625f));
  m = _mm512_sub_ps(_mm512_setzero_ps(), _mm512_shuffle_f32x4(m, m, 0xee));
  return (chunk_scales){d, _mm512_maskz_mov_ps(0x00ff, m)};
}

INLINE chunk_scales open_chunk(int dtype, const char *b, int blocks) {
  if (!quant_is_k_avx512(dtype))
    return open_32(dtype, b, blocks);
  if (dtype != SMFT__Q6_K)
    return open_six_bits(dtype, b);
  __m512 d = _mm512_mul_ps(bytes_to_f32(b + SMFT__Q6_K_SCALES), f16_to_f32(b + SMFT__Q6_K_D));
  return (chunk_scales){d, _mm512_mul_ps(d, _mm512_set1_ps(-32.0f))};
}

/* Which lane of a chunk's d belongs to lanes 4 g to 4 g + 3 of its 64 numbers `i`. */
INLINE __m512i spread_of(int dtype, int i) {
  const __m512i sixteenth = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i blocks = _mm512_setr_epi32(0, 0, 0, 0, 8, 8, 8, 8, 1, 1, 1, 1, 9, 9, 9, 9);
  const __m512i groups = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  if (dtype == SMFT__Q6_K)
    return _mm512_add_epi32(sixteenth, _mm512_set1_epi32(4 * i));
  if (dtype == SMFT__Q4_0 || dtype == SMFT__Q4_1)
    return _mm512_add_epi32(blocks, _mm512_set1_epi32(2 * i));
  return _mm512_add_epi32(groups, _mm512_set1_epi32(2 * i));
}

/* ---- numbers ------------------------------------------------------------- */

INLINE __m512i load_16(const char *p) { /* four times */
  return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)p));
}
INLINE __m512i load_32(const char *p) { /* twice */
  return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
INLINE __m512i load_64(const char *p) { return _mm512_loadu_si512((const void *)p); }

/* Sixteen bytes of a block twice, then those of the next one, or zeros. */
INLINE __m512i two_blocks(const char *b, int bytes, int both) {
  __m512i first = _mm512_maskz_mov_epi32(0x00ff, load_16(b));
  return both ? _mm512_mask_mov_epi32(first, 0xff00, load_16(b + bytes)) : first;
}

/* Halves of bytes: `lanes` of 32 bits are lower ones, the others upper ones, where they are. */
INLINE __m512i in_place(__m512i bytes, __mmask16 lanes) {
  return _mm512_and_si512(bytes, _mm512_mask_mov_epi32(_mm512_set1_epi32((int)0xf0f0f0f0u), lanes,
                                                       _mm512_set1_epi32(0x0f0f0f0f)));
}
/* The same, moved down. */
INLINE __m512i moved(__m512i bytes, __mmask16 lanes) {
  return _mm512_and_si512(_mm512_mask_srli_epi32(bytes, (__mmask16)~lanes, bytes, 4),
                          _mm512_set1_epi8(15));
}

INLINE __m512i numbers_5(const char *b, int bytes, int qh, int qs, int both) {
  uint32_t first, second = 0;
  memcpy(&first, b + qh, sizeof first);
  if (both)
    memcpy(&second, b + bytes + qh, sizeof second);
  __m512i four = moved(two_blocks(b + qs, bytes, both), 0x0f0f);
  return _mm512_mask_add_epi8(four, (__mmask64)second << 32 | first, four, _mm512_set1_epi8(16));
}

INLINE __m512i numbers_8(const char *b, int both) {
  __m512i first = _mm512_maskz_mov_epi64(0x0f, load_32(b + SMFT__Q8_0_QS));
  if (both)
    first = _mm512_mask_mov_epi64(first, 0xf0, load_32(b + SMFT__Q8_0_BYTES + SMFT__Q8_0_QS));
  return _mm512_xor_si512(first, _mm512_set1_epi8(-128));
}

/* The fifth bits: 16 where they are set. */
INLINE __m512i numbers_5_k(const char *b, int i) {
  __m512i four = moved(load_32(b + SMFT__Q5_K_QS + 32 * i), 0x00ff);
  __m512i bits = _mm512_mask_mov_epi32(_mm512_set1_epi8((char)(2 << 2 * i)), 0x00ff,
                                       _mm512_set1_epi8((char)(1 << 2 * i)));
  return _mm512_mask_add_epi8(four, _mm512_test_epi8_mask(load_32(b + SMFT__Q5_K_QH), bits), four,
                              _mm512_set1_epi8(16));
}

INLINE __m512i numbers_6_k(const char *b, int i) {
  __m512i four = load_64(b + 64 * (i / 2)), two = load_32(b + SMFT__Q6_K_QH + 32 * (i / 2));
  four = i % 2 ? _mm512_srli_epi32(four, 4) : four;
  four = _mm512_and_si512(four, _mm512_set1_epi8(15));
  if (i % 2) /* bits 4 and 5, then 6 and 7 */
    two = _mm512_mask_srli_epi32(two, 0xff00, two, 2);
  else
    two = _mm512_mask_slli_epi32(_mm512_slli_epi32(two, 2), 0x00ff, two, 4);
  return _mm512_or_si512(four, _mm512_and_si512(two, _mm512_set1_epi8(0x30)));
}

/* q of the 64 numbers `i` of a chunk; both: not only the first 32 of them are there. */
INLINE __m512i numbers_of(int dtype, const char *b, int i, int both) {
  const int bytes = quant_bytes_avx512(dtype);
  const char *pair = b + 2 * i * bytes;
  switch (dtype) {
  case SMFT__Q4_0:
    return in_place(two_blocks(pair + SMFT__Q4_0_QS, bytes, both), 0x0f0f);
  case SMFT__Q4_1:
    return in_place(two_blocks(pair + SMFT__Q4_1_QS, bytes, both), 0x0f0f);
  case SMFT__Q5_0:
    return numbers_5(pair, bytes, SMFT__Q5_0_QH, SMFT__Q5_0_QS, both);
  case SMFT__Q5_1:
    return numbers_5(pair, bytes, SMFT__Q5_1_QH, SMFT__Q5_1_QS, both);
  case SMFT__Q8_0:
    return numbers_8(pair, both);
  case SMFT__Q4_K:
    return in_place(load_32(b + SMFT__Q4_K_QS + 32 * i), 0x00ff);
  case SMFT__Q5_K:
    return numbers_5_k(b, i);
  default:
    return numbers_6_k(b, i);
  }
}
#endif
