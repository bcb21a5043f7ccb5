/* whiten: mean and covariance of a block's states as they come, and the directions in which what is
 * left without the mean varies most, each at about the same scale. */
#ifndef SMFT__WHITEN_H
#define SMFT__WHITEN_H
#include "base/ctx.h"

/* What a direction's eigenvalue gets beside it, as a share of the mean of all of them. */
#define SMFT__WHITEN_FLOOR 1e-3

typedef struct smft__moments {
  smft_ctx *ctx;
  int64_t d, n;   /* states so far */
  double *shift;  /* (d) the first states' mean, near which numbers are added up */
  double *sum;    /* (d) of states less shift */
  double *outer;  /* (d, d) sum of their products */
  double lengths; /* sum of the states' lengths */
  float *centred; /* (CHUNK, d) */
  float *product; /* (d, d) of a chunk */
} smft__moments;
smft_status smft__moments_create(smft__moments *moments, smft_ctx *ctx, int64_t d);
void smft__moments_free(smft__moments *moments);
/* h (n, d); SMFT_E_NONFINITE where a number is no finite one. */
smft_status smft__moments_add(smft__moments *moments, const float *h, int64_t n);
/* mean (d), covariance (d, d): of all states, divided by their number. */
void smft__moments_mean(const smft__moments *moments, double *mean);
void smft__moments_covariance(const smft__moments *moments, double *covariance);

/* directions (rank, d): eigenvectors of the covariance, which is lost, by descending eigenvalue,
 * each over the root of its eigenvalue + SMFT__WHITEN_FLOOR * the mean of all d of them. */
smft_status smft__whiten(smft_ctx *ctx, double *covariance, int64_t d, int64_t rank,
                         double *directions);
#endif
