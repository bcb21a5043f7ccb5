/* select: how product_keys looks through n scores at the speed of memory: in plain C, AVX2
 * and AVX-512. Owns no data and no policy. */
#include "memory/kernels/select.h"
#include "nn/kernels/simd.h"
#include <math.h>
#include <stddef.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- what all levels share ----------------------------------------------- */

/* Narrows [low, high] by halving to about the k-th of the maxima, at most that.  No branch depends
 * on a comparison but the last. */
INLINE float narrow(const float *maxima, int64_t n, int64_t k, float low, float high,
                    int64_t (*count)(const float *, int64_t, float)) {
  if (!(low > -INFINITY && high < INFINITY))
    return low;
  for (int step = 0; step < 24; step++) {
    float middle = low + (high - low) * 0.5f;
    int64_t above = count(maxima, n, middle);
    if (!(middle > low && middle < high))
      break;
    low = above < k ? low : middle;
    high = above < k ? middle : high;
    if (above >= k && above <= k + k / 8)
      break;
  }
  return low;
}

/* Sixteen pairs at a time; those that are too many are overwritten by the next row. */
INLINE int64_t pair_rows(const smft__pair_lists *lists, const int32_t *lengths, int64_t n_rows,
                         uint32_t n, float *restrict sums, uint32_t *restrict slots) {
  const float *restrict second = lists->second;
  const uint32_t *restrict positions2 = lists->positions2;
  int64_t count = 0;
  for (int64_t i = 0; i < n_rows; count += lengths[i++]) {
    float score = lists->first[i];
    uint32_t base = lists->positions1[i] * n;
    for (int64_t j = 0; j < lengths[i]; j += 16)
      for (int64_t lane = 0; lane < 16; lane++) {
        sums[count + j + lane] = score + second[j + lane];
        slots[count + j + lane] = base + positions2[j + lane];
      }
  }
  return count;
}

/* ---- plain C ------------------------------------------------------------- */

static void range_of(const float *x, int64_t n, float *least, float *most) {
  float low = INFINITY, high = -INFINITY;
  for (int64_t i = 0; i < n; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  *least = low;
  *most = high;
}

static void fold_plain(const float *x, int64_t n, float *maxima, int64_t n_groups, float *least,
                       float *most) {
  for (int64_t j = 0; j < n_groups; j++)
    maxima[j] = -INFINITY;
  for (int64_t i = 0; i < n; i += n_groups)
    for (int64_t j = 0; j < n_groups && i + j < n; j++)
      maxima[j] = x[i + j] > maxima[j] ? x[i + j] : maxima[j];
  range_of(maxima, n < n_groups ? n : n_groups, least, most);
}

static int64_t count_plain(const float *x, int64_t n, float bound) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++)
    count += x[i] >= bound;
  return count;
}

static float bound_plain(const float *x, int64_t n, int64_t k, float *maxima, int64_t n_groups) {
  float low, high;
  fold_plain(x, n, maxima, n_groups, &low, &high);
  return narrow(maxima, n_groups, k, low, high, count_plain);
}

static int64_t collect_from(const float *x, int64_t begin, int64_t n, float bound, float *values,
                            uint32_t *positions, int64_t count) {
  for (int64_t i = begin; i < n; i++) {
    values[count] = x[i];
    positions[count] = (uint32_t)i;
    count += !(x[i] < bound);
  }
  return count;
}

static int64_t collect_plain(const float *x, int64_t n, float bound, float *values,
                             uint32_t *positions) {
  return collect_from(x, 0, n, bound, values, positions, 0);
}

/* Of every two that differ one is greater. */
static int rank_plain(float *values, int64_t n, uint32_t *ranks) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; i++) {
    uint32_t rank = 0;
    for (int64_t j = 0; j < n; j++)
      rank += values[j] > values[i];
    ranks[i] = rank;
    sum += rank;
  }
  return sum == n * (n - 1) / 2;
}

static void rank_keys_plain(int64_t *keys, int64_t n, int64_t *ranks) {
  for (int64_t i = 0; i < n; i++) {
    ranks[i] = 0;
    for (int64_t j = 0; j < n; j++)
      ranks[i] += keys[j] > keys[i];
  }
}

static int64_t pairs_plain(const smft__pair_lists *lists, const int32_t *lengths, int64_t n_rows,
                           uint32_t n, float *sums, uint32_t *slots) {
  return pair_rows(lists, lengths, n_rows, n, sums, slots);
}

static const smft__select_kernels portable = {bound_plain, collect_plain, rank_plain,
                                              rank_keys_plain, pairs_plain};

#if defined(__x86_64__)

/* The last, short piece of a list whose groups begin at column j. */
static void fold_tail(const float *x, int64_t begin, int64_t n, float *maxima, int64_t n_groups) {
  for (int64_t i = begin; i < n; i++) {
    float *top = &maxima[i % n_groups];
    *top = x[i] > *top ? x[i] : *top;
  }
}

/* What stands at the set bits of a 16-lane mask. */
static inline int64_t put_bits(uint32_t mask, int64_t base, const float *x, float *values,
                               uint32_t *positions, int64_t count) {
  for (; mask; mask &= mask - 1) {
    int64_t position = base + __builtin_ctz(mask);
    values[count] = x[position];
    positions[count++] = (uint32_t)position;
  }
  return count;
}

/* ---- AVX2 --------------------------------------------------------------- */

/* max_ps gives its second operand when one is NaN: the running maximum stands second. */
SMFT__AVX2 static inline void fold_avx2(const float *x, int64_t n, float *maxima, int64_t n_groups,
                                        float *least, float *most) {
  int64_t whole = n - n % n_groups;
  for (int64_t j = 0; j < n_groups; j += 8) {
    __m256 top = _mm256_set1_ps(-INFINITY);
    for (int64_t i = j; i < whole; i += n_groups)
      top = _mm256_max_ps(_mm256_loadu_ps(x + i), top);
    _mm256_storeu_ps(maxima + j, top);
  }
  fold_tail(x, whole, n, maxima, n_groups);
  range_of(maxima, n < n_groups ? n : n_groups, least, most);
}

SMFT__AVX2 static inline int64_t count_avx2(const float *x, int64_t n, float bound) {
  __m256 limit = _mm256_set1_ps(bound);
  __m256i count = _mm256_setzero_si256();
  int32_t lanes[8];
  int64_t sum = 0;
  for (int64_t i = 0; i < n; i += 8)
    count = _mm256_sub_epi32(count, _mm256_castps_si256(
                                        _mm256_cmp_ps(_mm256_loadu_ps(x + i), limit, _CMP_GE_OQ)));
  _mm256_storeu_si256((__m256i *)(void *)lanes, count);
  for (int lane = 0; lane < 8; lane++)
    sum += lanes[lane];
  return sum;
}

SMFT__AVX2 static float bound_avx2(const float *x, int64_t n, int64_t k, float *maxima,
                                   int64_t n_groups) {
  float low, high;
  fold_avx2(x, n, maxima, n_groups, &low, &high);
  return narrow(maxima, n_groups, k, low, high, count_avx2);
}

SMFT__AVX2 static int64_t collect_avx2(const float *x, int64_t n, float bound, float *values,
                                       uint32_t *positions) {
  __m256 limit = _mm256_set1_ps(bound);
  int64_t i = 0, count = 0;
  for (; i + 16 <= n; i += 16) {
    int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + i), limit, _CMP_NLT_UQ));
    int high = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + i + 8), limit, _CMP_NLT_UQ));
    count = put_bits((uint32_t)low | (uint32_t)high << 8, i, x, values, positions, count);
  }
  return collect_from(x, i, n, bound, values, positions, count);
}

SMFT__AVX2 static int rank_avx2(float *values, int64_t n, uint32_t *ranks) {
  int64_t sum = 0;
  for (int64_t i = n; i % 8; i++)
    values[i] = INFINITY; /* of rank 0 */
  for (int64_t i = 0; i < n; i += 8) {
    __m256 own = _mm256_loadu_ps(values + i);
    __m256i rank = _mm256_setzero_si256();
    for (int64_t j = 0; j < n; j++)
      rank = _mm256_sub_epi32(rank, _mm256_castps_si256(
                                        _mm256_cmp_ps(_mm256_set1_ps(values[j]), own, _CMP_GT_OQ)));
    _mm256_storeu_si256((__m256i *)(void *)(ranks + i), rank);
  }
  for (int64_t i = 0; i < n; i++)
    sum += ranks[i];
  return sum == n * (n - 1) / 2;
}

SMFT__AVX2 static void rank_keys_avx2(int64_t *keys, int64_t n, int64_t *ranks) {
  for (int64_t i = n; i % 4; i++)
    keys[i] = 0;
  for (int64_t i = 0; i < n; i += 4) {
    __m256i own = _mm256_loadu_si256((const __m256i *)(const void *)(keys + i)),
            rank = _mm256_setzero_si256();
    for (int64_t j = 0; j < n; j++)
      rank = _mm256_sub_epi64(rank, _mm256_cmpgt_epi64(_mm256_set1_epi64x(keys[j]), own));
    _mm256_storeu_si256((__m256i *)(void *)(ranks + i), rank);
  }
}

SMFT__AVX2 static int64_t pairs_avx2(const smft__pair_lists *lists, const int32_t *lengths,
                                     int64_t n_rows, uint32_t n, float *sums, uint32_t *slots) {
  return pair_rows(lists, lengths, n_rows, n, sums, slots);
}

static const smft__select_kernels avx2 = {bound_avx2, collect_avx2, rank_avx2, rank_keys_avx2,
                                          pairs_avx2};

/* ---- AVX-512 ------------------------------------------------------------- */

/* The lanes that hold x[i..n). */
SMFT__AVX512 static inline __mmask16 lanes_before(int64_t i, int64_t n) {
  return (__mmask16)(n - i >= 16 ? 0xffffu : n > i ? (1u << (n - i)) - 1 : 0u);
}

SMFT__AVX512 static inline void fold_avx512(const float *x, int64_t n, float *maxima,
                                            int64_t n_groups, float *least, float *most) {
  __m512 low = _mm512_set1_ps(INFINITY), high = _mm512_set1_ps(-INFINITY), none = high;
  for (int64_t j = 0; j < n_groups; j += 16) {
    __m512 top = none;
    int64_t i = j;
    for (; i + 16 <= n; i += n_groups)
      top = _mm512_max_ps(_mm512_loadu_ps(x + i), top);
    if (i < n)
      top = _mm512_max_ps(_mm512_mask_loadu_ps(none, lanes_before(i, n), x + i), top);
    _mm512_storeu_ps(maxima + j, top);
    low = _mm512_mask_min_ps(low, lanes_before(j, n), low, top);
    high = _mm512_max_ps(high, top);
  }
  *least = _mm512_reduce_min_ps(low);
  *most = _mm512_reduce_max_ps(high);
}

SMFT__AVX512 static inline int64_t count_avx512(const float *x, int64_t n, float bound) {
  __m512 limit = _mm512_set1_ps(bound);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += 16)
    count +=
        __builtin_popcount((unsigned)_mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), limit, _CMP_GE_OQ));
  return count;
}

SMFT__AVX512 static float bound_avx512(const float *x, int64_t n, int64_t k, float *maxima,
                                       int64_t n_groups) {
  float low, high;
  fold_avx512(x, n, maxima, n_groups, &low, &high);
  return narrow(maxima, n_groups, k, low, high, count_avx512);
}

/* No branches: what stays is moved together in a register, and what is stored beyond it is
 * overwritten. */
SMFT__AVX512 static int64_t collect_avx512(const float *x, int64_t n, float bound, float *values,
                                           uint32_t *positions) {
  __m512 limit = _mm512_set1_ps(bound);
  __m512i here = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
          step = _mm512_set1_epi32(16);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += 16) {
    __mmask16 inside = lanes_before(i, n);
    __m512 value = _mm512_maskz_loadu_ps(inside, x + i);
    __mmask16 mask = _mm512_mask_cmp_ps_mask(inside, value, limit, _CMP_NLT_UQ);
    _mm512_storeu_ps(values + count, _mm512_maskz_compress_ps(mask, value));
    _mm512_storeu_si512(positions + count, _mm512_maskz_compress_epi32(mask, here));
    here = _mm512_add_epi32(here, step);
    count += __builtin_popcount((unsigned)mask);
  }
  return count;
}

/* Two registers of own numbers at a time. */
SMFT__AVX512 static int rank_avx512(float *values, int64_t n, uint32_t *ranks) {
  __m512i one = _mm512_set1_epi32(1), sum = _mm512_setzero_si512();
  for (int64_t i = n; i % 32; i++)
    values[i] = INFINITY; /* of rank 0 */
  for (int64_t i = 0; i < n; i += 32) {
    __m512 low = _mm512_loadu_ps(values + i), high = _mm512_loadu_ps(values + i + 16);
    __m512i rank_low = _mm512_setzero_si512(), rank_high = rank_low;
    for (int64_t j = 0; j < n; j++) {
      __m512 other = _mm512_set1_ps(values[j]);
      rank_low = _mm512_mask_add_epi32(rank_low, _mm512_cmp_ps_mask(other, low, _CMP_GT_OQ),
                                       rank_low, one);
      rank_high = _mm512_mask_add_epi32(rank_high, _mm512_cmp_ps_mask(other, high, _CMP_GT_OQ),
                                        rank_high, one);
    }
    _mm512_storeu_si512(ranks + i, rank_low);
    _mm512_storeu_si512(ranks + i + 16, rank_high);
    sum = _mm512_add_epi32(sum, _mm512_add_epi32(rank_low, rank_high));
  }
  return _mm512_reduce_add_epi32(sum) == n * (n - 1) / 2;
}

SMFT__AVX512 static void rank_keys_avx512(int64_t *keys, int64_t n, int64_t *ranks) {
  __m512i one = _mm512_set1_epi64(1);
  for (int64_t i = n; i % 8; i++)
    keys[i] = 0;
  for (int64_t i = 0; i < n; i += 8) {
    __m512i own = _mm512_loadu_si512(keys + i), rank = _mm512_setzero_si512();
    for (int64_t j = 0; j < n; j++)
      rank = _mm512_mask_add_epi64(rank, _mm512_cmpgt_epi64_mask(_mm512_set1_epi64(keys[j]), own),
                                   rank, one);
    _mm512_storeu_si512(ranks + i, rank);
  }
}

SMFT__AVX512 static int64_t pairs_avx512(const smft__pair_lists *lists, const int32_t *lengths,
                                         int64_t n_rows, uint32_t n, float *sums, uint32_t *slots) {
  return pair_rows(lists, lengths, n_rows, n, sums, slots);
}

static const smft__select_kernels avx512 = {bound_avx512, collect_avx512, rank_avx512,
                                            rank_keys_avx512, pairs_avx512};
#endif

const smft__select_kernels *smft__select_kernels_best(void) {
#if defined(__x86_64__)
  switch (smft__cpu_level()) {
  case SMFT__CPU_AVX512:
    return &avx512;
  case SMFT__CPU_AVX2:
    return &avx2;
  }
#endif
  return &portable;
}
