/* rotate: random directions that stand upright on each other. */
#ifndef SMFT__ROTATE_H
#define SMFT__ROTATE_H
#include "base/rng.h"
/* rows (n, d), n <= d: Q^T of the QR decomposition of n Gaussian vectors, R's diagonal positive. */
void smft__rotation(smft__rng *rng, double *rows, int64_t n, int64_t d);
/* rows (n, d): Gaussian vectors of length 1. */
void smft__random_units(smft__rng *rng, float *rows, int64_t n, int64_t d);
#endif
