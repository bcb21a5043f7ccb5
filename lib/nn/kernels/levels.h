/* levels: compiles the file SMFT__BODY once for each instruction set (nn/kernels/simd.h says with
 * what words).  No include guard: a .c file defines SMFT__BODY and includes this; its functions
 * SMFT__FN(name) are then name_portable, name_avx2 and name_avx512. */
#include "data/tensor.h"
#include <stdint.h>
#include <string.h>
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define SMFT__LEVEL 0
#include "nn/kernels/simd.h"
#include SMFT__BODY
#undef SMFT__LEVEL
#if defined(__x86_64__)
#define SMFT__LEVEL 1
#include "nn/kernels/simd.h"
#include SMFT__BODY
#undef SMFT__LEVEL
#define SMFT__LEVEL 2
#include "nn/kernels/simd.h"
#include SMFT__BODY
#undef SMFT__LEVEL
#endif
