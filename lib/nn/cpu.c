/* cpu: asks the processor once and remembers the answer in one atomic, the only state of lib/nn.  Two threads that ask at the same time
 * store the same answer. */
#include "nn/cpu.h"
#include <stdatomic.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static atomic_int chosen = -1;

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
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return SMFT__CPU_AVX512;
  return SMFT__CPU_AVX2;
#else
  return SMFT__CPU_PORTABLE;
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
  int limited = level < best ? level : best;
  atomic_store_explicit(&chosen, limited, memory_order_relaxed);
  return limited;
}
