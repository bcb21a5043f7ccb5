/* rng: a small seeded generator (splitmix64-seeded xoshiro256**); same numbers on every machine. */
#ifndef SMFT__RNG_H
#define SMFT__RNG_H
#include <stdint.h>
typedef struct smft__rng {
  uint64_t s[4];
} smft__rng;
void smft__rng_seed(smft__rng *rng, uint64_t seed);
uint64_t smft__rng_next(smft__rng *rng);
double smft__rng_uniform(smft__rng *rng);           /* [0, 1) */
double smft__rng_normal(smft__rng *rng);            /* N(0, 1) */
int64_t smft__rng_below(smft__rng *rng, int64_t n); /* [0, n), unbiased */
#endif
