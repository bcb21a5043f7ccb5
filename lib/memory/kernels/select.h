/* select: the vector loops of product_keys.c: bounds, candidates and ranks of long lists of
 * floats. */
#ifndef SMFT__SELECT_KERNELS_H
#define SMFT__SELECT_KERNELS_H
#include <stdint.h>
typedef struct smft__pair_lists {
  const float *first, *second;
  const uint32_t *positions1, *positions2;
} smft__pair_lists;

typedef struct smft__select_kernels {
  /* A bound that at least k of x (n) reach, and not many more; -inf where NaN have to be among
   * them.  maxima: room for n_groups, a multiple of 16, at least k or (then k <= n) n rounded up to
   * 16: the bound is about the k-th of the maxima of the groups {x[i]: i mod n_groups the same} */
  float (*bound)(const float *x, int64_t n, int64_t k, float *maxima, int64_t n_groups);
  /* numbers of x (n) that are not below bound (NaN is not below) and their positions, ascending;
   * both have room for n + 16 */
  int64_t (*collect)(const float *x, int64_t n, float bound, float *values, uint32_t *positions);
  /* ranks[i] = how many of values (n) are greater than values[i]; all have room for n rounded up to
   * 16, written beyond n.  Returns whether every two differ, so that the ranks do (NaN differs from
   * nothing) */
  int (*rank)(float *values, int64_t n, uint32_t *ranks);
  /* ranks[i] = how many of keys (n) are greater than keys[i] */
  void (*rank_keys)(int64_t *keys, int64_t n, int64_t *ranks);
  /* Sums and slots of pairs, row after row: the lengths[i] first of second with first[i], for i <
   * n_rows; slot = positions1[i] * n + positions2[j].  All but first and positions1 have room for
   * 16 more than they hold */
  int64_t (*pairs)(const smft__pair_lists *lists, const int32_t *lengths, int64_t n_rows,
                   uint32_t n, float *sums, uint32_t *slots);
} smft__select_kernels;
const smft__select_kernels *smft__select_kernels_best(void);
#endif
