/* rng: xoshiro256** seeded by splitmix64; uniform, normal and bounded numbers from it, without
 * libm, whose last bits differ by machine. Does not own: seeds (each caller has its own). */
#include "base/rng.h"
#include <math.h>
#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc with -std=c11 does not contract */
#endif

static uint64_t splitmix(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

void smft__rng_seed(smft__rng *rng, uint64_t seed) {
  for (int i = 0; i < 4; i++)
    rng->s[i] = splitmix(&seed);
}

static inline uint64_t rotate(uint64_t x, int n) { return (x << n) | (x >> (64 - n)); }

uint64_t smft__rng_next(smft__rng *rng) {
  uint64_t *s = rng->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

double smft__rng_uniform(smft__rng *rng) { return (double)(smft__rng_next(rng) >> 11) * 0x1p-53; }

/* ln(x) of a normal number in (0, 1], of exact operations only: x = m * 2^e, ln(m) = 2 atanh((m -
 * 1) / (m + 1)). */
static double plain_log(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int e = (int)(bits >> 52) - 1022; /* m in [0.5, 1) */
  bits = (bits & 0xfffffffffffffULL) | 0x3fe0000000000000ULL;
  double m;
  memcpy(&m, &bits, sizeof m);
  if (m < 0.70710678118654752) {
    m *= 2;
    e--;
  }
  double f = (m - 1) / (m + 1), square = f * f, sum = 0;
  for (int k = 21; k >= 1; k -= 2)
    sum = sum * square + 1.0 / k;
  return 2 * f * sum + e * 0.69314718055994531;
}

/* Marsaglia's polar method; the second number is thrown away so that the state is the four words
 * alone. */
double smft__rng_normal(smft__rng *rng) {
  double u, s;
  do {
    double v = 2 * smft__rng_uniform(rng) - 1;
    u = 2 * smft__rng_uniform(rng) - 1;
    s = u * u + v * v;
  } while (s >= 1 || s < 0x1p-100);
  return u * sqrt(-2 * plain_log(s) / s);
}

int64_t smft__rng_below(smft__rng *rng, int64_t n) {
  if (n <= 1)
    return 0;
  /* reject = 2^64 mod n: the uneven rest */
  uint64_t range = (uint64_t)n, reject = (0 - range) % range, x;
  do
    x = smft__rng_next(rng);
  while (x < reject);
  return (int64_t)(x % range);
}
