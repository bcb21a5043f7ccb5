/* integer_avx2: nn/integer.h's kernels for AVX2. */
#ifndef SMFT__INTEGER_AVX2_H
#define SMFT__INTEGER_AVX2_H
#include "nn/integer.h"
void smft__integer_avx2_round(const float *x, int64_t k, const smft__integer_row *out);
void smft__integer_avx2_dots(int32_t dtype, int64_t n, int64_t k, const smft__integer_row *row,
                             const char *b, int64_t row_bytes, float *c, int add);
#endif
