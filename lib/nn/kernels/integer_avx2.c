/* integer_avx2: dot products of blocks with rows of whole numbers (nn/integer.h), which are 16 bits
 * each here: sixteen products of 16 bits at a time, two a lane.  A group is 32 numbers, a block or
 * an eighth of one; Q6_K's have two scales.  Scales are made for a chunk at once. */
#include "nn/kernels/integer_avx2.h"
#if defined(__x86_64__)
#include "data/quant.h"
#include "data/tensor.h"
#include <string.h>
#define SMFT__LEVEL 1
#include "nn/kernels/simd.h"
#include "nn/kernels/quant_body.h"

#define INLINE static inline __attribute__((always_inline)) SMFT__AVX2
#define GROUP 32
#define CHUNK 256

/* ---- a row of A ---------------------------------------------------------- */

INLINE __m256 fold_max(__m256 v) {
  v = _mm256_max_ps(v, _mm256_permute2f128_ps(v, v, 1));
  v = _mm256_max_ps(v, _mm256_shuffle_ps(v, v, 0x4e));
  return _mm256_max_ps(v, _mm256_shuffle_ps(v, v, 0xb1));
}

INLINE float fold_sum(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

/* Sixteen X, and their sum. */
INLINE int32_t store_whole(__m256 first, __m256 second, __m256 back, int16_t *whole) {
  const __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(first, back));
  const __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(second, back));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
  int32_t lane[8], sum = 0;
  _mm256_storeu_si256((__m256i *)(void *)whole, packed);
  _mm256_storeu_si256((__m256i *)(void *)lane, _mm256_add_epi32(low, high));
  for (int i = 0; i < 8; i++)
    sum += lane[i];
  return sum;
}

INLINE void round_group(const float *x, int64_t group, const smft__integer_row *out) {
  int16_t *whole = (int16_t *)(void *)out->x + GROUP * group;
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 v[4], most = _mm256_setzero_ps(), check = _mm256_setzero_ps();
  for (int i = 0; i < 4; i++) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    most = _mm256_max_ps(_mm256_andnot_ps(sign, v[i]), most);
    check = _mm256_add_ps(check, _mm256_sub_ps(v[i], v[i])); /* 0 where it is finite */
  }
  const float largest = _mm256_cvtss_f32(fold_max(most)), finite = fold_sum(check);
  const float scale = largest / SMFT__INTEGER_MOST + finite;
  /* of NaN and infinity whatever comes, times a scale that is NaN */
  const float back = largest > 0x1p-100f && finite == 0 ? SMFT__INTEGER_MOST / largest : 0;
  for (int i = 0; i < 2; i++) {
    int32_t sum = store_whole(v[2 * i], v[2 * i + 1], _mm256_set1_ps(back), whole + 16 * i);
    out->scale_16[2 * group + i] = scale;
    out->sum_16[2 * group + i] = scale * (float)sum;
  }
  out->scale[group] = scale;
  out->sum[group] = out->sum_16[2 * group] + out->sum_16[2 * group + 1];
}

SMFT__AVX2 void smft__integer_avx2_round(const float *x, int64_t k, const smft__integer_row *out) {
  for (int64_t p = 0; p < k; p += GROUP)
    round_group(x + p, p / GROUP, out);
}

/* ---- numbers ------------------------------------------------------------- */

INLINE __m256i load_32(const char *p) {
  return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* The lower halves of sixteen bytes, then the upper ones. */
INLINE __m256i both_halves(const char *p) {
  __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}
/* Of 32 bytes the lower halves or the upper ones. */
INLINE __m256i half_of(const char *p, int upper) {
  __m256i bytes = load_32(p);
  return _mm256_and_si256(upper ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}
/* Sixteen where byte i of `masked` is not zero. */
INLINE __m256i sixteens(__m256i masked) {
  return _mm256_andnot_si256(_mm256_cmpeq_epi8(masked, _mm256_setzero_si256()),
                             _mm256_set1_epi8(16));
}
/* Sixteen where bit i of 32 is set. */
INLINE __m256i fifth_bits(const char *qh) {
  int32_t bits;
  memcpy(&bits, qh, sizeof bits);
  const __m256i byte_of =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201ull);
  return sixteens(_mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), byte_of), bit_of));
}

INLINE __m256i numbers_5_k(const char *b, int group) {
  __m256i bit = _mm256_set1_epi8((char)(1 << group));
  return _mm256_or_si256(half_of(b + SMFT__Q5_K_QS + 32 * (group / 2), group % 2),
                         sixteens(_mm256_and_si256(load_32(b + SMFT__Q5_K_QH), bit)));
}

INLINE __m256i numbers_6_k(const char *b, int group) {
  const int run = group / 4, part = group % 4;
  __m256i two = load_32(b + SMFT__Q6_K_QH + 32 * run);
  two = part < 2 ? _mm256_slli_epi16(two, 4 - 2 * part) : _mm256_srli_epi16(two, 2 * part - 4);
  return _mm256_or_si256(half_of(b + 64 * run + 32 * (part % 2), part >= 2),
                         _mm256_and_si256(two, _mm256_set1_epi8(0x30)));
}

/* q of a block's group */
INLINE __m256i numbers_of(int dtype, const char *b, int group) {
  switch (dtype) {
  case SMFT__Q4_0:
    return both_halves(b + SMFT__Q4_0_QS);
  case SMFT__Q4_1:
    return both_halves(b + SMFT__Q4_1_QS);
  case SMFT__Q5_0:
    return _mm256_or_si256(both_halves(b + SMFT__Q5_0_QS), fifth_bits(b + SMFT__Q5_0_QH));
  case SMFT__Q5_1:
    return _mm256_or_si256(both_halves(b + SMFT__Q5_1_QS), fifth_bits(b + SMFT__Q5_1_QH));
  case SMFT__Q8_0:
    return _mm256_xor_si256(load_32(b + SMFT__Q8_0_QS), _mm256_set1_epi8(-128));
  case SMFT__Q4_K:
    return half_of(b + SMFT__Q4_K_QS + 32 * (group / 2), group % 2);
  case SMFT__Q5_K:
    return numbers_5_k(b, group);
  default:
    return numbers_6_k(b, group);
  }
}

/* ---- scales -------------------------------------------------------------- */

/* Of a chunk, up to 256 numbers: eight blocks of 32, or one of 256.  d: of its groups of 32, or of
 * its sixteen halves of groups (Q6_K), times the scales of A's row there.  minima: what m adds, in
 * eight parts. */
typedef struct chunk_scales {
  float d[16];
  __m256 minima;
} chunk_scales;

/* The lower 16 bits of each lane. */
INLINE __m256 halves_to_f32(__m256i lanes) {
  const __m256i low = _mm256_setr_epi64x(0x0d0c090805040100, -1, 0x0d0c090805040100, -1);
  __m256i packed = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(lanes, low), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}
INLINE __m256 splat_f16(const char *from) {
  return _mm256_cvtph_ps(_mm_set1_epi16(load_short_avx2(from)));
}
INLINE __m256 bytes_to_f32(const void *eight) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)eight)));
}

/* The first `n` lanes. */
INLINE __m256i lanes_below(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE void open_32(int dtype, const char *b, int blocks, const smft__integer_row *row, int64_t p,
                    chunk_scales *s) {
  const __m256i at = _mm256_mullo_epi32(_mm256_set1_epi32(quant_bytes_avx2(dtype)),
                                        _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  const __m256i there = lanes_below(blocks);
  const __m256i both = _mm256_mask_i32gather_epi32(_mm256_setzero_si256(),
                                                   (const int *)(const void *)b, at, there, 1);
  const __m256 d = halves_to_f32(both);
  const __m256 m = dtype == SMFT__Q4_1 || dtype == SMFT__Q5_1
                       ? halves_to_f32(_mm256_srli_epi32(both, 16))
                       : _mm256_mul_ps(d, _mm256_set1_ps(dtype == SMFT__Q4_0   ? -8.0f
                                                         : dtype == SMFT__Q5_0 ? -16.0f
                                                                               : -128.0f));
  _mm256_storeu_ps(s->d, _mm256_mul_ps(d, _mm256_maskload_ps(row->scale + p / 32, there)));
  s->minima = _mm256_fmadd_ps(m, _mm256_maskload_ps(row->sum + p / 32, there), s->minima);
}

/* Q4_K, Q5_K: eight scales and eight minima of six bits. */
INLINE void open_six_bits(const char *b, const smft__integer_row *row, int64_t p, chunk_scales *s) {
  uint32_t numbers[4];
  quant_six_bits_avx2(b, numbers);
  const __m256 d = _mm256_mul_ps(bytes_to_f32(numbers), splat_f16(b));
  const __m256 m = _mm256_mul_ps(bytes_to_f32(numbers + 2), splat_f16(b + SMFT__QUANT_M));
  _mm256_storeu_ps(s->d, _mm256_mul_ps(d, _mm256_loadu_ps(row->scale + p / 32)));
  s->minima = _mm256_fnmadd_ps(m, _mm256_loadu_ps(row->sum + p / 32), s->minima);
}

INLINE void open_6_k(const char *b, const smft__integer_row *row, int64_t p, chunk_scales *s) {
  for (int i = 0; i < 16; i += 8) {
    __m256 d = _mm256_mul_ps(bytes_to_f32(b + SMFT__Q6_K_SCALES + i), splat_f16(b + SMFT__Q6_K_D));
    _mm256_storeu_ps(s->d + i, _mm256_mul_ps(d, _mm256_loadu_ps(row->scale_16 + p / 16 + i)));
    s->minima = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(-32.0f)),
                                _mm256_loadu_ps(row->sum_16 + p / 16 + i), s->minima);
  }
}

INLINE void open_chunk(int dtype, const char *b, int blocks, const smft__integer_row *row,
                       int64_t p, chunk_scales *s) {
  if (dtype == SMFT__Q6_K)
    open_6_k(b, row, p, s);
  else if (quant_is_k_avx2(dtype))
    open_six_bits(b, row, p, s);
  else
    open_32(dtype, b, blocks, row, p, s);
}

/* ---- dot products -------------------------------------------------------- */

/* Sixteen of q times sixteen of X, two products a lane. */
INLINE __m256i products(__m128i q, const int16_t *x) {
  return _mm256_madd_epi16(_mm256_cvtepu8_epi16(q),
                           _mm256_loadu_si256((const __m256i *)(const void *)x));
}

/* sum += what group `group` of a chunk adds; x: its X */
INLINE __m256 add_group(int dtype, const char *b, int group, const float *d, const int16_t *x,
                        __m256 sum) {
  const int in_block = quant_is_k_avx2(dtype) ? group : 0;
  const __m256i q = numbers_of(dtype, b + (group - in_block) * quant_bytes_avx2(dtype), in_block);
  const __m256i first = products(_mm256_castsi256_si128(q), x);
  const __m256i second = products(_mm256_extracti128_si256(q, 1), x + 16);
  if (dtype != SMFT__Q6_K)
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(first, second)),
                           _mm256_broadcast_ss(d + group), sum);
  sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(first), _mm256_broadcast_ss(d + 2 * group), sum);
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(second), _mm256_broadcast_ss(d + 2 * group + 1), sum);
}

INLINE float dot(int dtype, int64_t k, const smft__integer_row *row, const char *b) {
  const int chunk_bytes = quant_bytes_avx2(dtype) * (quant_is_k_avx2(dtype) ? 1 : 8);
  const int16_t *x = (const int16_t *)(const void *)row->x;
  __m256 sum = _mm256_setzero_ps();
  chunk_scales s = {{0}, _mm256_setzero_ps()};
  int64_t p = 0;
  for (; p + CHUNK <= k; p += CHUNK, b += chunk_bytes) {
    open_chunk(dtype, b, 8, row, p, &s);
    SMFT__UNROLL for (int group = 0; group < 8; group++) sum =
        add_group(dtype, b, group, s.d, x + p + GROUP * group, sum);
  }
  if (p < k && !quant_is_k_avx2(dtype)) {
    const int blocks = (int)((k - p) / GROUP);
    open_chunk(dtype, b, blocks, row, p, &s);
    SMFT__UNROLL for (int group = 0; group < 7; group++) if (group < blocks) sum =
        add_group(dtype, b, group, s.d, x + p + GROUP * group, sum);
  }
  return fold_sum(_mm256_add_ps(sum, s.minima));
}

INLINE void any_dots(int dtype, int64_t n, int64_t k, const smft__integer_row *row, const char *b,
                     int64_t row_bytes, float *c, int add) {
  for (int64_t j = 0; j < n; j++, b += row_bytes) {
    float sum = dot(dtype, k, row, b);
    c[j] = add ? c[j] + sum : sum;
  }
}

SMFT__AVX2 void smft__integer_avx2_dots(int32_t dtype, int64_t n, int64_t k,
                                        const smft__integer_row *row, const char *b,
                                        int64_t row_bytes, float *c, int add) {
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
