/* vector: the table of row operations for each instruction set.  The operations are
 * vector_body.h's. */
#include "nn/vector.h"
#include "data/quant.h"
#define SMFT__BODY "nn/kernels/vector_body.h"
#include "nn/kernels/levels.h"

#define TABLE(level)                                                                               \
  {                                                                                                \
    maximum##level, all_finite##level, exp_sum##level, dot##level, dot_double##level,              \
        scale##level, add_scaled##level, scale_weighted##level, norm_back##level, swiglu##level,   \
        swiglu_back##level, geglu##level, geglu_back##level, softmax_back##level, rotate##level,   \
        to_f32##level, blocks_to_f32##level                                                        \
  }

static const smft__vector_ops by_level[3] = {
    TABLE(_portable),
#if defined(__x86_64__)
    TABLE(_avx2),
    TABLE(_avx512),
#endif
};

const smft__vector_ops *smft__vector(void) { return &by_level[smft__cpu_level()]; }
