/* select_kernels: how product_keys looks through n scores at the speed of memory: in plain C, AVX2 and AVX-512.
 * Owns no data and no policy. */
#include "memory/select_kernels.h"
#include "nn/cpu.h"
#include <math.h>
#include <stddef.h>

/* ---- plain C -------------------------------------------------------------------------------------------------------------- */

static void range_of(const float *x, int64_t n, float *least, float *most) {
  float low = INFINITY, high = -INFINITY;
  for (int64_t i = 0; i < n; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  *least = low;
  *most = high;
}

static void fold_plain(const float *x, int64_t n, float *maxima, int64_t n_groups, float *least, float *most) {
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

static int64_t collect_from(const float *x, int64_t begin, int64_t n, float bound, uint32_t *positions, int64_t count) {
  for (int64_t i = begin; i < n; i++) {
    positions[count] = (uint32_t)i;
    count += !(x[i] < bound);
  }
  return count;
}

static int64_t collect_plain(const float *x, int64_t n, float bound, uint32_t *positions) {
  return collect_from(x, 0, n, bound, positions, 0);
}

static void rank_plain(int64_t *keys, int64_t n, int64_t *ranks) {
  for (int64_t i = 0; i < n; i++) {
    ranks[i] = 0;
    for (int64_t j = 0; j < n; j++)
      ranks[i] += keys[j] > keys[i];
  }
}

static const smft__select_kernels portable = {fold_plain, count_plain, collect_plain, rank_plain};

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))

/* The last, short piece of a list whose groups begin at column j. */
static void fold_tail(const float *x, int64_t begin, int64_t n, float *maxima, int64_t n_groups) {
  for (int64_t i = begin; i < n; i++) {
    float *top = &maxima[i % n_groups];
    *top = x[i] > *top ? x[i] : *top;
  }
}

/* Positions of the set bits of a 16-lane mask. */
static inline int64_t put_bits(uint32_t mask, int64_t base, uint32_t *positions, int64_t count) {
  for (; mask; mask &= mask - 1)
    positions[count++] = (uint32_t)(base + __builtin_ctz(mask));
  return count;
}

/* ---- AVX2 ----------------------------------------------------------------------------------------------------------------- */

/* max_ps gives its second operand when one is NaN: the running maximum stands second. */
AVX2 static void fold_avx2(const float *x, int64_t n, float *maxima, int64_t n_groups, float *least, float *most) {
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

AVX2 static int64_t count_avx2(const float *x, int64_t n, float bound) {
  __m256 limit = _mm256_set1_ps(bound);
  __m256i count = _mm256_setzero_si256();
  int32_t lanes[8];
  int64_t sum = 0;
  for (int64_t i = 0; i < n; i += 8)
    count = _mm256_sub_epi32(count, _mm256_castps_si256(_mm256_cmp_ps(_mm256_loadu_ps(x + i), limit, _CMP_GE_OQ)));
  _mm256_storeu_si256((__m256i *)(void *)lanes, count);
  for (int lane = 0; lane < 8; lane++)
    sum += lanes[lane];
  return sum;
}

AVX2 static int64_t collect_avx2(const float *x, int64_t n, float bound, uint32_t *positions) {
  __m256 limit = _mm256_set1_ps(bound);
  int64_t i = 0, count = 0;
  for (; i + 16 <= n; i += 16) {
    int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + i), limit, _CMP_NLT_UQ));
    int high = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + i + 8), limit, _CMP_NLT_UQ));
    count = put_bits((uint32_t)low | (uint32_t)high << 8, i, positions, count);
  }
  return collect_from(x, i, n, bound, positions, count);
}

AVX2 static void rank_avx2(int64_t *keys, int64_t n, int64_t *ranks) {
  for (int64_t i = n; i % 4; i++)
    keys[i] = 0;
  for (int64_t i = 0; i < n; i += 4) {
    __m256i own = _mm256_loadu_si256((const __m256i *)(const void *)(keys + i)), rank = _mm256_setzero_si256();
    for (int64_t j = 0; j < n; j++)
      rank = _mm256_sub_epi64(rank, _mm256_cmpgt_epi64(_mm256_set1_epi64x(keys[j]), own));
    _mm256_storeu_si256((__m256i *)(void *)(ranks + i), rank);
  }
}

static const smft__select_kernels avx2 = {fold_avx2, count_avx2, collect_avx2, rank_avx2};

/* ---- AVX-512 -------------------------------------------------------------------------------------------------------------- */

AVX512 static void fold_avx512(const float *x, int64_t n, float *maxima, int64_t n_groups, float *least, float *most) {
  int64_t whole = n - n % n_groups;
  __m512 low = _mm512_set1_ps(INFINITY), high = _mm512_set1_ps(-INFINITY);
  for (int64_t j = 0; j < n_groups; j += 16) {
    __m512 top = _mm512_set1_ps(-INFINITY);
    for (int64_t i = j; i < whole; i += n_groups)
      top = _mm512_max_ps(_mm512_loadu_ps(x + i), top);
    _mm512_storeu_ps(maxima + j, top);
    low = _mm512_min_ps(low, top);
    high = _mm512_max_ps(high, top);
  }
  *least = _mm512_reduce_min_ps(low);
  *most = _mm512_reduce_max_ps(high);
  if (whole < n) {
    fold_tail(x, whole, n, maxima, n_groups);
    range_of(maxima, n < n_groups ? n : n_groups, least, most);
  }
}

AVX512 static int64_t count_avx512(const float *x, int64_t n, float bound) {
  __m512 limit = _mm512_set1_ps(bound);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += 16)
    count += __builtin_popcount((unsigned)_mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), limit, _CMP_GE_OQ));
  return count;
}

/* No branches: the positions that stay are moved together in a register, and what is stored beyond them is overwritten. */
AVX512 static int64_t collect_avx512(const float *x, int64_t n, float bound, uint32_t *positions) {
  __m512 limit = _mm512_set1_ps(bound);
  __m512i here = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), step = _mm512_set1_epi32(16);
  int64_t i = 0, count = 0;
  for (; i + 16 <= n; i += 16) {
    __mmask16 mask = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + i), limit, _CMP_NLT_UQ);
    _mm512_storeu_si512(positions + count, _mm512_maskz_compress_epi32(mask, here));
    here = _mm512_add_epi32(here, step);
    count += __builtin_popcount((unsigned)mask);
  }
  return collect_from(x, i, n, bound, positions, count);
}

AVX512 static void rank_avx512(int64_t *keys, int64_t n, int64_t *ranks) {
  __m512i one = _mm512_set1_epi64(1);
  for (int64_t i = n; i % 8; i++)
    keys[i] = 0;
  for (int64_t i = 0; i < n; i += 8) {
    __m512i own = _mm512_loadu_si512(keys + i), rank = _mm512_setzero_si512();
    for (int64_t j = 0; j < n; j++)
      rank = _mm512_mask_add_epi64(rank, _mm512_cmpgt_epi64_mask(_mm512_set1_epi64(keys[j]), own), rank, one);
    _mm512_storeu_si512(ranks + i, rank);
  }
}

static const smft__select_kernels avx512 = {fold_avx512, count_avx512, collect_avx512, rank_avx512};
#endif

const smft__select_kernels *smft__select_kernels_best(void) {
#if defined(__x86_64__)
  switch (smft__cpu_level()) {
  case SMFT__CPU_AVX512: return &avx512;
  case SMFT__CPU_AVX2: return &avx2;
  }
#endif
  return &portable;
}
