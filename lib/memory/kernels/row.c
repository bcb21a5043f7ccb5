/* row: chooses the loops over table rows that fit the processor.  Owns no data; the loops
 * are in rows_body.h. */
#include "memory/kernels/row.h"
#define SMFT__BODY "memory/kernels/rows_body.h"
#include "nn/kernels/levels.h"

const smft__row_kernels *smft__row_kernels_best(void) {
#if defined(__x86_64__)
  switch (smft__cpu_level()) {
  case SMFT__CPU_AVX512:
    return &kernels_avx512;
  case SMFT__CPU_AVX2:
    return &kernels_avx2;
  }
#endif
  return &kernels_portable;
}
