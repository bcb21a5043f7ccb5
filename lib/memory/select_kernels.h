/* select_kernels: the vector loops of product_keys.c: bounds, candidates and ranks of long lists of floats. */
#ifndef SMFT__SELECT_KERNELS_H
#define SMFT__SELECT_KERNELS_H
#include <stdint.h>
typedef struct smft__select_kernels {
  /* maxima (n_groups, a multiple of 16) of the groups {x[i]: i mod n_groups the same}; NaN and missing numbers count as -inf;
   * least and most: the range of the maxima of groups that are not empty */
  void (*fold)(const float *x, int64_t n, float *maxima, int64_t n_groups, float *least, float *most);
  /* how many of x (n, a multiple of 16, no NaN) are >= bound */
  int64_t (*count)(const float *x, int64_t n, float bound);
  /* positions, ascending, of the numbers in x (n) that are not below bound (NaN is not below); positions has room for n + 16 */
  int64_t (*collect)(const float *x, int64_t n, float bound, uint32_t *positions);
  /* ranks[i] = how many of keys (n) are greater than keys[i]; keys and ranks have room for n rounded up to 8, written beyond n */
  void (*rank)(int64_t *keys, int64_t n, int64_t *ranks);
} smft__select_kernels;
const smft__select_kernels *smft__select_kernels_best(void);
#endif
