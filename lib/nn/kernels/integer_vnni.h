/* integer_vnni: nn/integer.h's kernels where the processor multiplies bytes (AVX-512 VNNI). */
#ifndef SMFT__INTEGER_VNNI_H
#define SMFT__INTEGER_VNNI_H
#include "nn/integer.h"
void smft__integer_vnni_round(const float *x, int64_t k, const smft__integer_row *out);
void smft__integer_vnni_dots(int32_t dtype, int64_t n, int64_t k, const smft__integer_row *row,
                             const char *b, int64_t row_bytes, float *c, int add);
#endif
