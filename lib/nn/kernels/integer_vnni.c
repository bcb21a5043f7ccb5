/* integer_vnni: dot products of blocks with rows of whole numbers (nn/integer.h), 64 numbers at a
 * time: unsigned bytes q times signed bytes, four products a lane, for the upper and then the lower
 * bytes of X.
 *
 * The scales of a chunk (integer_blocks.h) are looked up once, sixteen lanes, and spread over the
 * lanes of each 64 numbers.  B is read from its begin to its end, which is what the processor
 * fetches ahead best. */
#include "nn/kernels/integer_vnni.h"
#if defined(__x86_64__)
#include <math.h>
#include "nn/kernels/integer_blocks.h"

#define AHEAD 1536 /* bytes of B asked for before they are read */

/* ---- a row of A ---------------------------------------------------------- */

/* Sums of the sixteen lanes of both, as two numbers. */
INLINE void sum_both(__m512i first, __m512i second, int32_t sums[2]) {
  __m512i v = _mm512_add_epi32(_mm512_shuffle_i64x2(first, second, 0x44),
                               _mm512_shuffle_i64x2(first, second, 0xee));
  v = _mm512_add_epi32(v, _mm512_shuffle_i64x2(v, v, 0xb1));
  v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, _MM_PERM_BADC));
  v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, _MM_PERM_CDAB));
  sums[0] = _mm_cvtsi128_si32(_mm512_castsi512_si128(v));
  sums[1] = _mm_cvtsi128_si32(_mm512_extracti32x4_epi32(v, 2));
}

/* The largest |x| of 32, as bits: those of NaN and of infinity are the largest. */
INLINE uint32_t most_of(__m512i first, __m512i second) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  return _mm512_reduce_max_epu32(
      _mm512_max_epu32(_mm512_and_si512(first, magnitude), _mm512_and_si512(second, magnitude)));
}

/* Thirty-two numbers, of which `first` and `second` are halves. */
INLINE void round_group(__m512 first, __m512 second, char *upper, char *lower,
                        const smft__integer_row *out, int64_t group) {
  const uint32_t bits = most_of(_mm512_castps_si512(first), _mm512_castps_si512(second));
  const int finite = bits < 0x7f800000;
  float most, sum[2];
  memcpy(&most, &bits, sizeof most);
  const float scale = finite ? most / SMFT__INTEGER_MOST : NAN;
  const float back = finite && most > 0x1p-100f ? SMFT__INTEGER_MOST / most : 0;
  /* of NaN and infinity whatever comes, times a scale that is NaN */
  __m512i whole[2] = {_mm512_cvtps_epi32(_mm512_mul_ps(first, _mm512_set1_ps(back))),
                      _mm512_cvtps_epi32(_mm512_mul_ps(second, _mm512_set1_ps(back)))};
  int32_t sums[2];
  sum_both(whole[0], whole[1], sums);
  for (int i = 0; i < 2; i++) {
    __m512i high = _mm512_srai_epi32(_mm512_add_epi32(whole[i], _mm512_set1_epi32(64)), 7);
    __m512i low = _mm512_sub_epi32(whole[i], _mm512_slli_epi32(high, 7));
    _mm_storeu_si128((__m128i *)(void *)(upper + 16 * i), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128((__m128i *)(void *)(lower + 16 * i), _mm512_cvtepi32_epi8(low));
    sum[i] = scale * (float)sums[i];
    out->scale_16[2 * group + i] = scale;
    out->sum_16[2 * group + i] = sum[i];
  }
  out->scale[group] = scale;
  out->sum[group] = sum[0] + sum[1];
}

VNNI void smft__integer_vnni_round(const float *x, int64_t k, const smft__integer_row *out) {
  const size_t fill = (size_t)(out->lower - out->x - k);
  for (int64_t p = 0; p < k; p += 32)
    round_group(_mm512_loadu_ps(x + p), _mm512_loadu_ps(x + p + 16), out->x + p, out->lower + p,
                out, p / 32);
  memset(out->x + k, 0, fill);
  memset(out->lower + k, 0, fill);
}

/* ---- dot products -------------------------------------------------------- */

/* sum += d q X of the 64 numbers `i` of a chunk at p */
INLINE __m512 add_numbers(int dtype, const char *b, int i, int both, __m512 d, const char *upper,
                          const char *lower, __m512 sum) {
  const __m512i q = numbers_of(dtype, b, i, both);
  __m512i whole = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, load_64(upper + 64 * i));
  whole = _mm512_dpbusd_epi32(_mm512_slli_epi32(whole, 7), q, load_64(lower + 64 * i));
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), _mm512_permutexvar_ps(spread_of(dtype, i), d),
                         sum);
}

/* The scales of A's row at p beside those of the chunk's blocks. */
INLINE chunk_scales scales_at(int dtype, const smft__integer_row *row, int64_t p, int blocks) {
  if (dtype == SMFT__Q6_K)
    return (chunk_scales){_mm512_loadu_ps(row->scale_16 + p / 16),
                          _mm512_loadu_ps(row->sum_16 + p / 16)};
  const __mmask8 there = (__mmask8)(0xff >> (8 - blocks));
  return (chunk_scales){twice(_mm256_maskz_loadu_ps(there, row->scale + p / 32)),
                        lower_half(_mm256_maskz_loadu_ps(there, row->sum + p / 32))};
}

INLINE __m512 chunk_dot(int dtype, const char *b, const smft__integer_row *row, int64_t p,
                        int blocks, __m512 sum) {
  const chunk_scales of_b = open_chunk(dtype, b, blocks), of_a = scales_at(dtype, row, p, blocks);
  const __m512 d = _mm512_mul_ps(of_b.d, of_a.d);
  sum = _mm512_fmadd_ps(of_b.m, of_a.m, sum);
  SMFT__UNROLL for (int i = 0; i < 4; i++) if (2 * i < blocks) sum =
      add_numbers(dtype, b, i, 2 * i + 1 < blocks, d, row->x + p, row->lower + p, sum);
  return sum;
}

/* Sixteen partial sums of row . b */
INLINE __m512 partial_sums(int dtype, int64_t k, const smft__integer_row *row, const char *b) {
  const int chunk_bytes = quant_bytes_avx512(dtype) * (quant_is_k_avx512(dtype) ? 1 : 8);
  __m512 sum = _mm512_setzero_ps();
  int64_t p = 0;
  for (; p + CHUNK <= k; p += CHUNK, b += chunk_bytes) {
    for (int line = 0; line < chunk_bytes; line += 64) /* behind B's end: asked for, never read */
      __builtin_prefetch((const void *)((uintptr_t)b + AHEAD + (uintptr_t)line));
    sum = chunk_dot(dtype, b, row, p, 8, sum);
  }
  if (p < k && !quant_is_k_avx512(dtype))
    sum = chunk_dot(dtype, b, row, p, (int)((k - p) / 32), sum);
  return sum;
}

/* Four times sixteen lanes, summed. */
INLINE __m128 sum_four(const __m512 s[4]) {
  __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(s[0], s[1]), _mm512_unpackhi_ps(s[0], s[1]));
  __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(s[2], s[3]), _mm512_unpackhi_ps(s[2], s[3]));
  __m512 all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

INLINE void any_dots(int dtype, int64_t n, int64_t k, const smft__integer_row *row, const char *b,
                     int64_t row_bytes, float *c, int add) {
  for (int64_t j = 0; j < n; j += 4) {
    const int columns = n - j < 4 ? (int)(n - j) : 4;
    const __mmask8 there = (__mmask8)(0xf >> (4 - columns));
    __m512 s[4];
    SMFT__UNROLL for (int i = 0; i < 4; i++) s[i] = _mm512_setzero_ps();
    for (int i = 0; i < columns; i++)
      s[i] = partial_sums(dtype, k, row, b + (j + i) * row_bytes);
    __m128 sum = sum_four(s);
    if (add)
      sum = _mm_add_ps(sum, _mm_maskz_loadu_ps(there, c + j));
    _mm_mask_storeu_ps(c + j, there, sum);
  }
}

VNNI void smft__integer_vnni_dots(int32_t dtype, int64_t n, int64_t k, const smft__integer_row *row,
                                  const char *b, int64_t row_bytes, float *c, int add) {
  switch (dtype) {
#define CASE(type)                                                                                 \
  case type:                                                                                       \
    any_dots(type, n, k, row, b, row_bytes, c, add);                                               \
    break;
    SMFT__QUANT_TYPES(CASE)
#undef CASE
  default:
    break;
  }
}
#endif
