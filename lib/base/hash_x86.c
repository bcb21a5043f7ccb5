/* hash_x86: blocks of SHA-256 by the instructions that x86 processors have for it: the one place
 * outside nn/kernels/ with a target attribute, since opening a model is mostly hashing. */
#include "base/hash.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

/* Asked once; two threads that ask at the same time store the same answer. */
int smft__sha256_has_x86(void) {
  static atomic_int has = -1;
  int known = atomic_load_explicit(&has, memory_order_relaxed);
  unsigned int a = 0, b = 0, c = 0, d = 0;
  if (known < 0) {
    int sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c >> 19 & 1);
    known = sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
    atomic_store_explicit(&has, known, memory_order_relaxed);
  }
  return known;
}

#define SHA static inline __attribute__((always_inline, target("sha,sse4.1")))

typedef struct registers { /* a, b, e, f and c, d, g, h, each from its highest lane down */
  __m128i abef, cdgh;
} registers;

SHA registers load_state(const uint32_t state[8]) {
  __m128i abcd = _mm_loadu_si128((const __m128i *)(const void *)state);
  __m128i efgh = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
  abcd = _mm_shuffle_epi32(abcd, 0xb1);
  efgh = _mm_shuffle_epi32(efgh, 0x1b);
  return (registers){_mm_alignr_epi8(abcd, efgh, 8), _mm_blend_epi16(efgh, abcd, 0xf0)};
}

SHA void store_state(uint32_t state[8], registers r) {
  __m128i feba = _mm_shuffle_epi32(r.abef, 0x1b), dchg = _mm_shuffle_epi32(r.cdgh, 0xb1);
  _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Four rounds with their words of the schedule. */
SHA registers four_rounds(registers r, __m128i words, int first) {
  const void *constants = smft__sha256_constants + first;
  __m128i sum = _mm_add_epi32(words, _mm_loadu_si128((const __m128i *)constants));
  r.cdgh = _mm_sha256rnds2_epu32(r.cdgh, r.abef, sum);
  r.abef = _mm_sha256rnds2_epu32(r.abef, r.cdgh, _mm_shuffle_epi32(sum, 0x0e));
  return r;
}

/* The next four words from the sixteen before them, oldest first. */
SHA __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3) {
  __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
  return _mm_sha256msg2_epu32(sum, w3);
}

SHA registers one_block(registers r, const unsigned char *block) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i w[4];
  for (int i = 0; i < 4; i++)
    w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i)),
                            big_endian);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) {
    r = four_rounds(r, w[i % 4], 4 * i);
    if (i < 12)
      w[i % 4] = next_words(w[i % 4], w[(i + 1) % 4], w[(i + 2) % 4], w[(i + 3) % 4]);
  }
  return r;
}

__attribute__((target("sha,sse4.1"))) void smft__sha256_blocks_x86(uint32_t state[8],
                                                                   const unsigned char *blocks,
                                                                   size_t n) {
  registers r = load_state(state);
  for (; n > 0; n--, blocks += 64) {
    registers after = one_block(r, blocks);
    r.abef = _mm_add_epi32(r.abef, after.abef);
    r.cdgh = _mm_add_epi32(r.cdgh, after.cdgh);
  }
  store_state(state, r);
}

#else
int smft__sha256_has_x86(void) { return 0; }
void smft__sha256_blocks_x86(uint32_t state[8], const unsigned char *blocks, size_t n) {
  smft__sha256_blocks_plain(state, blocks, n);
}
#endif
