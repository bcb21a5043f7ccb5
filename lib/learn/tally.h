/* tally: what background text read, slot by slot. */
#ifndef SMFT__TALLY_H
#define SMFT__TALLY_H
#include "model/model.h"

typedef struct smft__tally {
  /* (n_pools, n_slots): in how many batches the slot was read; NULL: nothing counted yet */
  uint32_t *df;
  float *square;     /* (n_pools, n_slots): sum of the squared weights with which it was read */
  int64_t n_batches; /* |B| */
  int64_t n_reads;   /* of all slots together */
} smft__tally;
/* All zero.  Nothing is left allocated on failure. */
smft_status smft__tally_create(smft__tally *tally, smft_ctx *ctx, const smft_model *model);
void smft__tally_free(smft__tally *tally, smft_ctx *ctx);
/* Sum over all slots of all pools of df + 1. */
double smft__tally_total(const smft__tally *tally, const smft_model *model);
/* Mean squared weight of a read; 0 where there was none. */
double smft__tally_mean_square(const smft__tally *tally, const smft_model *model);

int64_t smft__n_slots(const smft_model *model);   /* of a pool */
int64_t smft__all_slots(const smft_model *model); /* of all pools */
#endif
