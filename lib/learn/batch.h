/* batch: what a step learns from, drawn from a fact's wordings or read from a host's batch. */
#ifndef SMFT__BATCH_H
#define SMFT__BATCH_H
#include "learn/facts.h"
#include "model/network.h"

typedef struct smft__batch_room { /* buffers that a batch is built in; zero but for ctx: empty */
  smft_ctx *ctx;
  int32_t *ids;     /* (n_tokens) */
  float *weights;   /* (n_tokens) */
  int64_t *offsets; /* (n_sequences + 1) */
  int64_t *begins;  /* (n_sequences): where what there is of a wording begins in its fact */
  int64_t *past;    /* (n_sequences): how many of its tokens come before that */
  int64_t *past_at; /* (n_sequences): where they stand in a lead */
  int64_t *order;   /* (wordings): drawing without repetition */
  int64_t ids_capacity, weights_capacity, offsets_capacity, begins_capacity, past_capacity;
  int64_t past_at_capacity, order_capacity;
} smft__batch_room;
void smft__batch_free(smft__batch_room *room);
/* How many of the fact's wordings a step draws; per_step negative: all. */
int64_t smft__batch_n_drawn(const smft__fact *fact, int64_t per_step);
/* No batch of n of the fact's wordings has more tokens, or more of them supervised. */
void smft__batch_largest(const smft__fact *fact, int64_t n, int64_t *tokens, int64_t *supervised);
/* Draws n of the fact's wordings; `order` and `begins` say which.  The batch is in the room.
 * losses (n_wordings): those that are not below `below` are drawn before others; NULL: all alike.
 * past (n_wordings): so many tokens of each are left out; NULL: none. */
smft_status smft__batch_draw(smft__batch_room *room, const smft__fact *fact, int64_t n,
                             uint64_t seed, const double *losses, double below,
                             const smft__pasts *past, smft__sequences *batch);
/* Those of `order` (n), or (NULL) the first n.  ends (n_wordings): so many tokens of each, with
 * what is left out; NULL: all. */
smft_status smft__batch_take(smft__batch_room *room, const smft__fact *fact, const int64_t *order,
                             int64_t n, const smft__pasts *past, const int64_t *ends,
                             smft__sequences *batch);
/* What is left out of the batch's sequences. */
smft__pasts smft__batch_pasts(const smft__batch_room *room);
/* Checks what a host gave.  Offsets and weights are in the room, ids stay the host's. */
smft_status smft__batch_read(smft__batch_room *room, const smft_model *model,
                             const smft_batch *given, smft__sequences *batch);
#endif
