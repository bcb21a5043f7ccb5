/* row: arithmetic on one to four rows of numbers in any float type: the inner loops of
 * gather and scatter. */
#ifndef SMFT__ROW_KERNELS_H
#define SMFT__ROW_KERNELS_H
#include <stdint.h>

enum { SMFT__ROW_GROUP = 4 };

typedef struct smft__row_kernels {
  /* y (n) += weights[0] * rows[0] + ... + weights[3] * rows[3], added in this order: the same bits
   * as four calls of add. next: four rows that will be needed soon, fetched along the way (taken to
   * be of the same type), or NULL. */
  void (*add4)(int32_t dtype, float *y, const void *const *rows, const float *weights,
               const void *const *next, int64_t n);
  void (*add)(int32_t dtype, float *y, const void *row, float weight, int64_t n);
  /* dots[i] = <rows[i], y>: the same bits as four calls of dot */
  void (*dot4)(int32_t dtype, const void *const *rows, const float *y, const void *const *next,
               int64_t n, float *dots);
  float (*dot)(int32_t dtype, const void *row, const float *y, int64_t n);
} smft__row_kernels;
const smft__row_kernels *smft__row_kernels_best(void);
#endif
