/* kmeans: centres of samples, for several sets of samples side by side: the halves of all heads. */
#ifndef SMFT__KMEANS_H
#define SMFT__KMEANS_H
#include "base/ctx.h"

typedef struct smft__kmeans {
  /* sets of samples: sample i of set p is x + i * sets * d + p * d, d numbers */
  const float *x;
  int64_t sets, n, d;
  int64_t n_centres; /* of a set; at most n */
  int32_t rounds;
  uint64_t seed; /* for smft__kmeans_start */
} smft__kmeans;
/* after each round, of `rounds`; not 0 cancels */
typedef smft_status (*smft__kmeans_fn)(void *user, int32_t round);

/* centres (sets, n_centres, d) = samples at random, no position twice in a set. */
smft_status smft__kmeans_start(smft_ctx *ctx, const smft__kmeans *args, float *centres);
/* Rounds from there: each sample goes to its nearest centre (the first of equal ones), each centre
 * becomes its samples' mean.  A centre without samples becomes the sample that is farthest from its
 * own centre, another one for each such centre. */
smft_status smft__kmeans_run(smft_ctx *ctx, const smft__kmeans *args, float *centres,
                             smft__kmeans_fn each, void *user);
/* rows (n, d) to length 1; those of length 0 stay. */
void smft__to_length_1(float *rows, int64_t n, int64_t d);
#endif
