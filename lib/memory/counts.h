/* counts: how often a batch read which slot: c(i) of docs/method.md. Memory O(distinct slots read),
 * never O(pool). */
#ifndef SMFT__COUNTS_H
#define SMFT__COUNTS_H
#include "base/alloc.h"
typedef struct smft__counts {
  smft_ctx *ctx;
  int64_t n, capacity;
  int64_t *slots;  /* (n) ascending after smft__counts_finish */
  int64_t *reads;  /* (n) */
  double *weights; /* (n) after smft__counts_weigh */
  double weight;   /* their sum */
  int64_t weights_capacity;
  int64_t total;     /* sum of reads */
  uint64_t *pending; /* (2 * pending_room) reads not merged yet, and as much room to sort them */
  int64_t n_pending, pending_room;
} smft__counts;
void smft__counts_init(smft__counts *counts, smft_ctx *ctx);
void smft__counts_free(smft__counts *counts);
void smft__counts_clear(smft__counts *counts);
/* Room for adding at most so many reads at a time, and for so many distinct slots in all: then
 * neither adding nor finishing allocates. */
smft_status smft__counts_reserve(smft__counts *counts, int64_t reads, int64_t distinct);
/* Adds reads: slots (n). */
smft_status smft__counts_add(smft__counts *counts, const int64_t *slots, int64_t n);
/* Sorts and merges; then slots/reads/total are valid. */
smft_status smft__counts_finish(smft__counts *counts);
/* Of finished counts: no slot has a weight yet; and adds the softmax weights of reads that were
 * counted: slots, weights (n).  The sum of each slot's is in the order in which they come. */
smft_status smft__counts_weigh(smft__counts *counts);
void smft__counts_add_weights(smft__counts *counts, const int64_t *slots, const float *weights,
                              int64_t n);
/* Where a slot is in the list of finished counts; -1: it was not read. */
int64_t smft__counts_find(const smft__counts *counts, int64_t slot);
#endif
