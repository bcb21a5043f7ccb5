/* integer_vnni: nn/integer.h's kernels (integer_vnni.c: of few rows; integer_panel.c: of more)
 * where the processor multiplies bytes (AVX-512 VNNI). */
#ifndef SMFT__INTEGER_VNNI_H
#define SMFT__INTEGER_VNNI_H
#include "nn/integer.h"
void smft__integer_vnni_round(const float *x, int64_t k, const smft__integer_row *out);
void smft__integer_vnni_dots(int32_t dtype, int64_t n, int64_t k, const smft__integer_row *row,
                             const char *b, int64_t row_bytes, float *c, int add);
int64_t smft__integer_panel_rows(int64_t k);
void smft__integer_panel_block(const smft__gemm_args *args, int64_t row, int64_t row_end,
                               int64_t column, int64_t column_end, void *workspace);
#endif
