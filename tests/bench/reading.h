/* reading: the limit that memory sets: numbers read, each added up once and nothing else done, by
 * several methods, of which the fastest counts.  Streams are read as one or as several pages side
 * by side, rows one, four or eight at a time with those after them fetched meanwhile.
 * reading_methods() of each; a method is 0 to that less one. */
#ifndef SMFT_BENCH_READING_H
#define SMFT_BENCH_READING_H
#include <stdint.h>
#include <string.h>

enum { READING_PAGE = 1024, READING_WAYS = 3 }; /* floats; methods of each width of vectors */

/* A function for each width, so that the compiler uses the vectors that the processor has. */
#if defined(__x86_64__)
#define READING_TARGET(set) __attribute__((target(set)))
#else
#define READING_TARGET(set)
#endif

typedef float reading_narrow __attribute__((vector_size(32), aligned(4)));
typedef float reading_wide __attribute__((vector_size(64), aligned(4)));

/* AHEAD: rows that are fetched while others are read. n is a multiple of 8, `row` of 16 floats. */
#define READING_ROWS(name, set, type, AHEAD)                                                       \
  READING_TARGET(set)                                                                              \
  static float name(const float *table, const int64_t *rows, int64_t n, int64_t row) {             \
    enum { LANES = sizeof(type) / sizeof(float), PARTS = 16 / LANES };                             \
    type sum[AHEAD * PARTS];                                                                       \
    float out[LANES], total = 0;                                                                   \
    memset(sum, 0, sizeof sum);                                                                    \
    for (int64_t i = 0; i < n; i += AHEAD) {                                                       \
      const int64_t *at = rows + i, *next = i + AHEAD < n ? at + AHEAD : at;                       \
      for (int64_t j = 0; j < row; j += 16)                                                        \
        _Pragma("GCC unroll 8") for (int r = 0; r < AHEAD; r++) {                                  \
          __builtin_prefetch(table + next[r] * row + j);                                           \
          _Pragma("GCC unroll 2") for (int p = 0; p < PARTS; p++) sum[r * PARTS + p] +=            \
              *(const type *)(const void *)(table + at[r] * row + j + p * LANES);                  \
        }                                                                                          \
    }                                                                                              \
    for (int r = 1; r < AHEAD * PARTS; r++)                                                        \
      sum[0] += sum[r];                                                                            \
    memcpy(out, &sum[0], sizeof out);                                                              \
    for (int i = 0; i < LANES; i++)                                                                \
      total += out[i];                                                                             \
    return total;                                                                                  \
  }

/* PAGES pages side by side, the next so many fetched meanwhile; what is left over at the end, less
 * than PAGES pages, is read, too. */
#define READING_STREAM(name, set, type, PAGES, FETCH)                                              \
  READING_TARGET(set)                                                                              \
  static float name(const float *x, int64_t n) {                                                   \
    enum { LANES = sizeof(type) / sizeof(float), PARTS = 64 / LANES / 4 };                         \
    type sum[PAGES * PARTS];                                                                       \
    float out[LANES], total = 0;                                                                   \
    int64_t i = 0;                                                                                 \
    memset(sum, 0, sizeof sum);                                                                    \
    for (; i + PAGES * READING_PAGE <= n; i += PAGES * READING_PAGE)                               \
      for (int64_t j = i; j < i + READING_PAGE; j += PARTS * LANES)                                \
        _Pragma("GCC unroll 8") for (int page = 0; page < PAGES; page++) {                         \
          const float *line = x + page * READING_PAGE + j;                                         \
          if (FETCH)                                                                               \
            __builtin_prefetch(line + PAGES * READING_PAGE);                                       \
          _Pragma("GCC unroll 4") for (int p = 0; p < PARTS; p++) sum[page * PARTS + p] +=         \
              *(const type *)(const void *)(line + p * LANES);                                     \
        }                                                                                          \
    for (; i + LANES <= n; i += LANES)                                                             \
      sum[0] += *(const type *)(const void *)(x + i);                                              \
    for (int r = 1; r < PAGES * PARTS; r++)                                                        \
      sum[0] += sum[r];                                                                            \
    memcpy(out, &sum[0], sizeof out);                                                              \
    for (int k = 0; k < LANES; k++)                                                                \
      total += out[k];                                                                             \
    return total;                                                                                  \
  }

#define READING_ALL(width, set, type)                                                              \
  READING_ROWS(reading_rows1_##width, set, type, 1)                                                \
  READING_ROWS(reading_rows4_##width, set, type, 4)                                                \
  READING_ROWS(reading_rows8_##width, set, type, 8)                                                \
  READING_STREAM(reading_stream1_##width, set, type, 1, 0)                                         \
  READING_STREAM(reading_stream4_##width, set, type, 4, 1)                                         \
  READING_STREAM(reading_stream8_##width, set, type, 8, 1)
READING_ALL(narrow, "avx2", reading_narrow)
READING_ALL(wide, "avx512f", reading_wide)

typedef float reading_rows_fn(const float *table, const int64_t *rows, int64_t n, int64_t row);
typedef float reading_stream_fn(const float *x, int64_t n);
static reading_rows_fn *const reading_rows[2 * READING_WAYS] = {
    reading_rows1_narrow, reading_rows4_narrow, reading_rows8_narrow,
    reading_rows1_wide,   reading_rows4_wide,   reading_rows8_wide};
static reading_stream_fn *const reading_stream[2 * READING_WAYS] = {
    reading_stream1_narrow, reading_stream4_narrow, reading_stream8_narrow,
    reading_stream1_wide,   reading_stream4_wide,   reading_stream8_wide};

/* How many there are here: 0 on an x86 processor without AVX2. */
static inline int reading_methods(void) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2"))
    return 0;
  return __builtin_cpu_supports("avx512f") ? 2 * READING_WAYS : READING_WAYS;
#else
  return READING_WAYS;
#endif
}
#endif
