/* learner: the queue of facts and the workspace of a step.  learner.c decides what a step is for,
 * step_slots.c and step_dense.c take it. */
#ifndef SMFT__LEARNER_H
#define SMFT__LEARNER_H
#include "base/clock.h"
#include "learn/facts.h"
#include "learn/protect.h"
#include "learn/optimizer.h"
#include "learn/rates.h"
#include "learn/selector.h"
#include "model/network.h"

typedef struct smft__slots_work { /* slots patches */
  smft__counts *counts;           /* (n_pools) */
  smft__rows *gradient;           /* (n_pools): rows selected in this step */
  smft__rows **gradient_of;       /* (n_pools): pointers to them, as smft__grads wants them */
  /* (rows selected, value_dim * (1 + moments)): new values, then new moments */
  float *fresh;
  int64_t fresh_capacity; /* floats */
  float *old;             /* (value_dim * (1 + moments)): one row as it is */
} smft__slots_work;

typedef struct smft__dense_work { /* full and LoRA patches; made once */
  smft__dense layout;
  float **weights; /* (n_parts) the patch's own */
  /* (layout.total) zero but for the ordinary parts and the rows of `read` */
  float *gradient;
  float **gradient_of;      /* (n_parts): where each part's gradient begins */
  double *partial;          /* (blocks) */
  uint64_t *read;           /* (smft__dense_rows): which slots the last gradient's batch read */
  uint64_t *read_now;       /* the same of the last forward pass */
  smft__update_rule *rules; /* (n_parts) of this step */
  const uint64_t **rows;    /* (n_parts) of this step: a pool's rows that may change; NULL: all */
  int64_t n_rows;           /* rows of all parts */
  double largest;           /* no |weight| is larger, as long as the patch's version is: */
  uint64_t version;         /* 0: not known yet */
} smft__dense_work;

struct smft_learner {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_selector *selector; /* slots patches, else NULL */
  smft_optimizer *optimizer;
  smft_learner_options options; /* with the defaults */
  smft__fact *first, *last;     /* the queue; the first is in hand */
  int64_t n_facts;
  smft__fact *finished; /* the last step's, for its id */
  atomic_int cancelled;
  smft__tape *tape;
  smft__slots_work slots;
  smft__dense_work dense;
  smft__selection selection;   /* the rows of the last step */
  smft__selection fact_rows;   /* the rows chosen for a fact, best first */
  const smft__fact *rows_of;   /* which fact; NULL: none */
  smft__kept prefix;           /* slots patches: of all wordings of a fact */
  const smft__fact *prefix_of; /* which fact; NULL: none */
  smft__protect protect;       /* slots patches: what the facts learnt so far read */
  double row_square;           /* smft__mean_row_square of slots patches */
  int32_t *batch_ids;          /* the batch: (n_tokens) */
  float *batch_weights;        /* (n_tokens) */
  int64_t *batch_offsets;      /* (n_sequences + 1) */
  /* (n_sequences): where a drawn wording begins among its fact's tokens */
  int64_t *batch_begins;
  int64_t *order; /* (wordings): drawing without repetition */
  int64_t ids_capacity, weights_capacity, offsets_capacity, begins_capacity, order_capacity;
};

typedef struct smft__step { /* what one step is told, and what it tells */
  smft__sequences batch;
  /* (n_sequences): where each wording begins in the kept prefix; NULL: there is none */
  const int64_t *begins;
  const smft__fact *fact; /* whose rows may change; NULL: rows are chosen from this batch alone */
  int starts_fact;        /* the optimizer's state starts afresh (unless it is to be kept) */
  double loss_below;      /* negative: always update */
  int is_done;            /* out: the loss was below; nothing was changed */
  int changed;            /* out */
  smft_report *report;
} smft__step;
/* Both leave patch and optimizer as they were unless they return SMFT_OK with step->changed.  The
 * patch is open for writing. */
smft_status smft__step_slots(smft_learner *learner, smft__step *step);
smft_status smft__step_dense(smft_learner *learner, smft__step *step);
smft_status smft__slots_work_create(smft_learner *learner);
void smft__slots_work_free(smft_learner *learner);
smft_status smft__dense_work_create(smft_learner *learner);
void smft__dense_work_free(smft_learner *learner);
/* c(i) of the last forward: over all tokens, heads, k and the layers that share a pool, into
 * learner->slots.counts. */
smft_status smft__count_reads(smft_learner *learner, int64_t *reads, int64_t *distinct);
/* room for those of so many tokens */
smft_status smft__reserve_counts(smft_learner *learner, int64_t n_tokens);
/* choice.c: counts the reads of all the fact's wordings and chooses its rows, unless that was
 * done; the fact's rows that the last counted batch reads become the selection (chosen from that
 * batch where they were not before: it holds every wording); forgets them. */
smft_status smft__choose_rows(smft_learner *learner, const smft__fact *fact);
/* to their reads; without loss or backward */
smft_status smft__forward_all_wordings(smft_learner *learner, const smft__fact *fact);
smft_status smft__select_fact_rows(smft_learner *learner, const smft__fact *fact);
void smft__forget_rows(smft_learner *learner);
/* One of the two, under the patch's lock. */
smft_status smft__take_step(smft_learner *learner, smft__step *step);
smft_status smft__reserve_batch(smft_learner *learner, int64_t n_tokens, int64_t n_sequences);
void smft__dequeue(smft_learner *learner); /* the fact in hand becomes `finished` */
void smft__free_queue(smft_learner *learner, smft__fact *fact); /* it and those behind it */
/* Makes the prefix of all the fact's wordings, unless it is kept already; forgets it. */
smft_status smft__keep_prefix(smft_learner *learner, const smft__fact *fact);
void smft__forget_prefix(smft_learner *learner);
/* Forward with everything kept; the loss is finite. */
smft_status smft__step_forward(smft_learner *learner, smft__step *step);
/* Factor that brings a norm down to `limit` (0: none). */
double smft__clip_scale(double norm, double limit);
#endif
