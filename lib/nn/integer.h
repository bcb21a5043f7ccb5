/* integer: products with weights in blocks (data/quant.h), made in whole numbers, for
 * gemm.c where the context asks for them (SMFT_CTX_INTEGER).
 *
 * Thirty-two numbers x of a row of A become whole numbers X of 15 bits and one scale s, x = s X
 * within s / 2, s = max |x| / SMFT__INTEGER_MOST.  A block's numbers are d q + m with whole q >= 0
 * (types with a sign have it in m), so that a dot product over 32 numbers is
 *   s d sum(q X) + s m sum(X)
 * with exact sums: nothing but x is rounded, and what is left of f32 arithmetic is two
 * multiply-adds for 32 numbers.
 *
 * Owns the layout of such rows and the choice of the kernel. */
#ifndef SMFT__INTEGER_H
#define SMFT__INTEGER_H
#include "nn/gemm.h"
#define SMFT__INTEGER_MOST 16256 /* 127 * 128: |X| */
#define SMFT__INTEGER_COLUMNS 32 /* of C in a panel */

/* A row of k numbers, k a multiple of 32, in memory of smft__integer_bytes(k).  Numbers behind k,
 * up to the next 64, are zeros. */
typedef struct smft__integer_row {
  /* X: 16 bits each, or (nn/kernels/integer_vnni.c) all upper bytes, then all lower ones, of
   * X = 128 upper + lower, -64 <= lower < 64 */
  char *x, *lower; /* lower: where those begin */
  float *scale;    /* (k / 32) s */
  float *sum;      /* (k / 32) s sum(X) */
  /* (k / 16) the same for 16 numbers each; a scale stands there twice */
  float *scale_16, *sum_16;
} smft__integer_row;

int64_t smft__integer_bytes(int64_t k);
smft__integer_row smft__integer_row_at(char *memory, int64_t k);

typedef struct smft__integer_ops {
  /* A number that is not finite makes its scale NaN. */
  void (*round)(const float *x, int64_t k, const smft__integer_row *out);
  /* c[j] = or += row . row j of B (n, k) in blocks of `dtype`, whole ones, at any address */
  void (*dots)(int32_t dtype, int64_t n, int64_t k, const smft__integer_row *row, const char *b,
               int64_t row_bytes, float *c, int add);
  /* More rows: C's rows [row, row_end), at most panel_rows(k), which may be 0, and columns [column,
   * column_end), where `column` is a multiple of SMFT__INTEGER_COLUMNS; B stored (n, k). workspace:
   * SMFT__WORKSPACE_BYTES (base/workspace.h).  NULL: no such kernel. */
  int64_t (*panel_rows)(int64_t k);
  void (*panel)(const smft__gemm_args *args, int64_t row, int64_t row_end, int64_t column,
                int64_t column_end, void *workspace);
} smft__integer_ops;
const smft__integer_ops *smft__integer(void);
#endif
