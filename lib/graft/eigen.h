/* eigen: the largest eigenvalues of a symmetric matrix, and their vectors, in double. */
#ifndef SMFT__EIGEN_H
#define SMFT__EIGEN_H
#include "base/ctx.h"
/* a (n, n) symmetric and finite; its numbers are lost.  values (m) descending, vectors (m, n) of
 * length 1 that stand upright on each other; of each, the largest number is positive (of equal
 * ones the first).  1 <= m <= n <= 32768. */
smft_status smft__eigen_top(smft_ctx *ctx, double *a, int64_t n, int64_t m, double *values,
                            double *vectors);
#endif
