/* stats: read statistics: what background text read, slot by slot. */
#ifndef SMFT__STATS_H
#define SMFT__STATS_H
#include "model/model.h"

typedef struct smft__stats {
  /* (n_pools, n_slots): in how many batches the slot was read; NULL: nothing counted yet */
  uint32_t *df;
  float *square;     /* (n_pools, n_slots): sum of the squared weights with which it was read */
  int64_t n_batches; /* |B| */
  int64_t n_reads;   /* of all slots together */
  int64_t n_tokens;  /* counted; for the file's metadata, as is: */
  char corpus[256];  /* what was counted last: a text file's name, "texts", "token ids" */
  /* the hash of the model that (some of) it was counted over, where that is another: this one was
   * exported from it; "" else */
  char counted_on[65];
} smft__stats;
/* All zero.  Nothing is left allocated on failure. */
smft_status smft__stats_create(smft__stats *stats, smft_ctx *ctx, const smft_model *model);
void smft__stats_free(smft__stats *stats, smft_ctx *ctx);
/* stats_file.c.  Load: counts of another model are SMFT_E_MISMATCH; stats is set on success only.
 */
smft_status smft__stats_save(const smft__stats *stats, const smft_model *model, const char *path);
smft_status smft__stats_load(smft__stats *stats, const smft_model *model, const char *path);
/* Sum over all slots of all pools of df + 1. */
double smft__stats_total(const smft__stats *stats, const smft_model *model);
/* Mean squared weight of a read; 0 where there was none. */
double smft__stats_mean_square(const smft__stats *stats, const smft_model *model);

int64_t smft__n_slots(const smft_model *model);   /* of a pool */
int64_t smft__all_slots(const smft_model *model); /* of all pools */
#endif
