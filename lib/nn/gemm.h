/* gemm: C = A B (+ C), f32, on the context's threads, packed and blocked for the cache, the
 * micro-kernel chosen once per process by CPU (AMX, AVX-512, AVX2+FMA, portable).  B may be
 * F32/F16/BF16, read as it is. */
#ifndef SMFT__GEMM_H
#define SMFT__GEMM_H
#include <stdatomic.h>
#include "data/tensor.h"
/* op(A) is (m, k), op(B) (k, n), C (m, n), all row-major with leading dimensions (elements per
 * stored row). trans_a: A is stored (k, m); trans_b: B is stored (n, k). b_dtype:
 * SMFT__F32/F16/BF16.  c = or += . not_finite (NULL: nobody asks) becomes 1 where an element of C
 * is NaN or infinite: C is looked at while it is in the nearest caches. */
typedef struct smft__gemm_args {
  int64_t m, n, k;
  const float *a;
  int64_t lda;
  int32_t trans_a;
  int32_t trans_b;
  const void *b;
  int64_t ldb;
  int32_t b_dtype;
  int32_t accumulate;
  float *c;
  int64_t ldc;
  atomic_int *not_finite;
} smft__gemm_args;
void smft__gemm(smft_ctx *ctx, const smft__gemm_args *args);
/* The same on the caller's thread alone (for use inside a block of smft__parallel_for). */
void smft__gemm_serial(smft_ctx *ctx, const smft__gemm_args *args);
/* n products (at most SMFT__GEMM_MOST) that do not need each other's results: the same bits as one
 * after the other, but the threads are woken, and waited for, once. */
#define SMFT__GEMM_MOST 3
void smft__gemm_several(smft_ctx *ctx, const smft__gemm_args *args, int32_t n);
/* Makes the memory that products on all the context's threads need; without it the first ones do,
 * and where they cannot, they do without. */
smft_status smft__gemm_reserve(smft_ctx *ctx);
#endif
