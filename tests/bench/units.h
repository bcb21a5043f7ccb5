/* units: the limit that arithmetic sets: loops that multiply and add in registers alone, one for
 * each unit that a processor may have.  units[]: name, whether it is here, the loop, and the
 * operations of one call on one thread (a multiply-add is two). */
#ifndef SMFT_BENCH_UNITS_H
#define SMFT_BENCH_UNITS_H
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { UNIT_STEPS = 1 << 19, TILE_STEPS = 1 << 17 };

typedef struct unit {
  const char *name;
  int (*is_here)(void);
  float (*loop)(float seed);
  double operations;
} unit;

#if defined(__x86_64__)
/* CHAINS sums at a time hide how long one multiply-add takes.  The empty statement keeps the
 * compiler from doing two steps in one. */
#define UNIT_LOOP(name, set, type, chains, start, step)                                            \
  __attribute__((target(set))) static float name(float seed) {                                     \
    type sum[chains];                                                                              \
    float out[16];                                                                                 \
    UNIT_CONSTANTS_##start;                                                                        \
    for (int j = 0; j < (chains); j++)                                                             \
      sum[j] = UNIT_START_##start(seed + (float)j);                                                \
    for (int i = 0; i < UNIT_STEPS; i++) {                                                         \
      _Pragma("GCC unroll 32") for (int j = 0; j < (chains); j++) sum[j] = step(sum[j], x, y);     \
      __asm__ volatile("");                                                                        \
    }                                                                                              \
    for (int j = 1; j < (chains); j++)                                                             \
      sum[0] = UNIT_ADD_##start(sum[0], sum[j]);                                                   \
    memcpy(out, &sum[0], sizeof sum[0]);                                                           \
    return out[0];                                                                                 \
  }
/* Sums that stay finite: sum * 0.999 + 0.001. */
#define UNIT_CONSTANTS_F256 __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f)
#define UNIT_START_F256 _mm256_set1_ps
#define UNIT_ADD_F256 _mm256_add_ps
#define UNIT_CONSTANTS_F512 __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f)
#define UNIT_START_F512 _mm512_set1_ps
#define UNIT_ADD_F512 _mm512_add_ps
UNIT_LOOP(unit_fma256_12, "avx2,fma", __m256, 12, F256, _mm256_fmadd_ps)
UNIT_LOOP(unit_fma512_12, "avx512f", __m512, 12, F512, _mm512_fmadd_ps)
UNIT_LOOP(unit_fma512_24, "avx512f", __m512, 24, F512, _mm512_fmadd_ps)

#define UNIT_CONSTANTS_BF16                                                                        \
  __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f7f), y = (__m512bh)_mm512_set1_epi16(0x3a83)
#define UNIT_START_BF16 _mm512_set1_ps
#define UNIT_ADD_BF16 _mm512_add_ps
UNIT_LOOP(unit_bf16_12, "avx512f,avx512bf16", __m512, 12, BF16, _mm512_dpbf16_ps)
UNIT_LOOP(unit_bf16_24, "avx512f,avx512bf16", __m512, 24, BF16, _mm512_dpbf16_ps)

#define UNIT_CONSTANTS_BYTES __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(-1)
#define UNIT_START_BYTES(seed) _mm512_set1_epi32((int)(seed))
#define UNIT_ADD_BYTES _mm512_add_epi32
UNIT_LOOP(unit_bytes_12, "avx512f,avx512vnni", __m512i, 12, BYTES, _mm512_dpbusd_epi32)
UNIT_LOOP(unit_bytes_24, "avx512f,avx512vnni", __m512i, 24, BYTES, _mm512_dpbusd_epi32)

/* On numbers that use all their bits: on zeros the unit needs less power, and a server that has
 * none to spare does not slow it down.  On others it does, and slows AMX alone, to a third and
 * less. */
static inline void unit_fill(uint16_t *pieces, int n, uint32_t seed) {
  for (int i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    /* as bf16 between 1 and 2, all seven bits of the fraction in use, either sign */
    pieces[i] = (uint16_t)(0x3f80 | (seed >> 24 & 0x7f) | (seed >> 16 & 0x8000));
  }
}

#define TILE_LOOP(name, set, multiply)                                                             \
  __attribute__((target(set))) static float name(float seed) {                                     \
    static const struct {                                                                          \
      uint8_t palette, none[15];                                                                   \
      uint16_t row_bytes[16];                                                                      \
      uint8_t rows[16];                                                                            \
    } config = {1, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};       \
    uint16_t pieces[4][16][32];                                                                    \
    unit_fill(&pieces[0][0][0], 4 * 16 * 32, (uint32_t)seed);                                      \
    _tile_loadconfig(&config);                                                                     \
    _tile_zero(0);                                                                                 \
    _tile_zero(1);                                                                                 \
    _tile_zero(2);                                                                                 \
    _tile_zero(3);                                                                                 \
    _tile_loadd(4, pieces[0], 64);                                                                 \
    _tile_loadd(5, pieces[1], 64);                                                                 \
    _tile_loadd(6, pieces[2], 64);                                                                 \
    _tile_loadd(7, pieces[3], 64);                                                                 \
    for (int i = 0; i < TILE_STEPS; i++) {                                                         \
      multiply(0, 4, 6);                                                                           \
      multiply(1, 4, 7);                                                                           \
      multiply(2, 5, 6);                                                                           \
      multiply(3, 5, 7);                                                                           \
    }                                                                                              \
    _tile_release();                                                                               \
    return seed;                                                                                   \
  }
TILE_LOOP(unit_tiles, "amx-tile,amx-bf16", _tile_dpbf16ps)
TILE_LOOP(unit_tiles_bytes, "amx-tile,amx-int8", _tile_dpbssd)

static int unit_has_fma(void) { return __builtin_cpu_supports("fma") != 0; }
static int unit_has_avx512(void) { return __builtin_cpu_supports("avx512f") != 0; }
static int unit_has_bf16(void) { return __builtin_cpu_supports("avx512bf16") != 0; }
static int unit_has_vnni(void) { return __builtin_cpu_supports("avx512vnni") != 0; }
/* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
static int unit_has_tiles(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

#define UNIT_RATE(lanes, chains) (2.0 * (lanes) * (chains)*UNIT_STEPS)
static const unit units[] = {{"fma", unit_has_fma, unit_fma256_12, UNIT_RATE(8, 12)},
                             {"fma", unit_has_avx512, unit_fma512_12, UNIT_RATE(16, 12)},
                             {"fma", unit_has_avx512, unit_fma512_24, UNIT_RATE(16, 24)},
                             {"bf16", unit_has_bf16, unit_bf16_12, UNIT_RATE(32, 12)},
                             {"bf16", unit_has_bf16, unit_bf16_24, UNIT_RATE(32, 24)},
                             {"bytes", unit_has_vnni, unit_bytes_12, UNIT_RATE(64, 12)},
                             {"bytes", unit_has_vnni, unit_bytes_24, UNIT_RATE(64, 24)},
                             {"tiles", unit_has_tiles, unit_tiles,
                              2.0 * 4 * 16 * 16 * 32 * TILE_STEPS},
                             {"tiles_bytes", unit_has_tiles, unit_tiles_bytes,
                              2.0 * 4 * 16 * 16 * 64 * TILE_STEPS},
                             {NULL, NULL, NULL, 0}};
#else
static const unit units[] = {{NULL, NULL, NULL, 0}};
#endif
#endif
