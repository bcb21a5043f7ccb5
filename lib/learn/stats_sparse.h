/* stats_sparse: the counts of a pool as a list of the slots that were read. */
#ifndef SMFT__STATS_SPARSE_H
#define SMFT__STATS_SPARSE_H
#include "learn/stats.h"

typedef struct smft__sparse { /* of one pool of n_slots */
  uint8_t *mask; /* a bit for every slot, the lowest of the first byte for slot 0: was it read? */
  void *df;      /* (n) of the slots whose bits are set, in order */
  float *square; /* (n) */
  int64_t n;
  int32_t dtype; /* of df: U8, U16 or U32, the narrowest that holds it */
} smft__sparse;
/* Slots [first, first + n) of the counts.  Is to be freed whatever comes of it. */
smft_status smft__sparse_make(smft__sparse *sparse, smft_ctx *ctx, const smft__stats *stats,
                              int64_t first, int64_t n);
void smft__sparse_free(smft__sparse *sparse, smft_ctx *ctx);
/* How many of slots [first, first + n) were read. */
int64_t smft__n_read(const smft__stats *stats, int64_t first, int64_t n);

int64_t smft__mask_bytes(int64_t n_slots);
int64_t smft__mask_count(const uint8_t *mask, int64_t n_slots); /* bits that are set */
/* The lists, as many as bits are set, at any address, back into df and square (n_slots each), which
 * are zero before. */
void smft__sparse_spread(const uint8_t *mask, const smft__tensor *counts,
                         const smft__tensor *squares, int64_t n_slots, uint32_t *df, float *square);
#endif
