/* cpu: asks the processor once and remembers the answers in atomics, the only state of the library
 * that no handle has.  Two threads that ask at the same time store the same answer. */
#include "base/cpu.h"
#include <stdatomic.h>
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

static atomic_int chosen = -1, tiles = -1, tiles_for_all = 0;

#if defined(__x86_64__)
/* clang's __builtin_cpu_supports does not know f16c. */
static int has_f16c(void) {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}
#endif

static int detect(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
    return SMFT__CPU_PORTABLE;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return SMFT__CPU_AVX512;
  return SMFT__CPU_AVX2;
#else
  return SMFT__CPU_PORTABLE;
#endif
}

/* Linux lets a process use the tiles (8 KiB more of registers) once it has asked, and not where a
 * signal stack is too small to hold them. */
static int detect_tiles(void) {
#if defined(__x86_64__) && defined(__linux__)
  const long ask = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
  unsigned int a = 0, b = 0, c = 0, d = 0;
  if (detect() < SMFT__CPU_AVX512 || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
    return 0;
  int has_amx = (d >> 22 & 1) && (d >> 24 & 1); /* bf16 products, tiles */
  return has_amx && syscall(SYS_arch_prctl, ask, tile_data) == 0;
#else
  return 0;
#endif
}

int smft__cpu_has_tiles(int wanted) {
  if (!wanted && !atomic_load_explicit(&tiles_for_all, memory_order_relaxed))
    return 0;
  int has = atomic_load_explicit(&tiles, memory_order_relaxed);
  if (has < 0) {
    has = detect_tiles();
    atomic_store_explicit(&tiles, has, memory_order_relaxed);
  }
  return has;
}

int smft__cpu_has_vnni(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512vnni") != 0;
#else
  return 0;
#endif
}

int smft__cpu_has_bf16(void) {
#if defined(__x86_64__)
  unsigned int a = 0, b = 0, c = 0, d = 0; /* compilers learnt the name late */
  return smft__cpu_level() == SMFT__CPU_AVX512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
         (a >> 5 & 1);
#else
  return 0;
#endif
}

int smft__cpu_level(void) {
  int level = atomic_load_explicit(&chosen, memory_order_relaxed);
  if (level < 0) {
    level = detect();
    atomic_store_explicit(&chosen, level, memory_order_relaxed);
  }
  return level;
}

int smft__cpu_limit(int level) {
  int best = detect();
  int limited = level < best ? level : best, has = level >= SMFT__CPU_TILES && detect_tiles();
  atomic_store_explicit(&chosen, limited, memory_order_relaxed);
  atomic_store_explicit(&tiles, has, memory_order_relaxed);
  atomic_store_explicit(&tiles_for_all, has, memory_order_relaxed);
  return has ? SMFT__CPU_TILES : limited;
}
