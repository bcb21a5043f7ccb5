/* step: one step on a batch, whosever it is.  step.c has what all steps share; step_slots.c and
 * step_dense.c take it, each in its own workspace. */
#ifndef SMFT__STEP_H
#define SMFT__STEP_H
#include "learn/dense.h"
#include "learn/selector.h"
#include "model/network.h"

typedef struct smft__step { /* what one step is told, and what it tells */
  smft__sequences batch;
  /* (n_sequences): where each wording begins in the kept layers; NULL: there are none */
  const int64_t *begins;
  smft__pasts past;  /* (n_sequences): of its opening, before that; n NULL: wordings are whole */
  int64_t fact;      /* whose step it is: the fact's serial; 0: a host's batch */
  int64_t serial;    /* of the fact whose rows may change; 0: chosen from this batch alone */
  int starts_fact;   /* the optimizer's state starts afresh (unless it is to be kept) */
  double loss_below; /* negative: always update */
  int mean_decides;  /* the batch's mean loss is to be below, not each sequence's own */
  int is_done;       /* out: it was below; nothing was changed */
  int changed;       /* out */
  smft_report *report;
  smft__version *next; /* out, slots patches: the version to publish; NULL: none */
} smft__step;
/* Forward with everything kept; the loss is finite. */
smft_status smft__step_forward(smft_learner *learner, smft__step *step);
/* Factor that brings a norm down to `limit` (0: none). */
double smft__clip_scale(double norm, double limit);

typedef struct smft__slots_work { /* slots patches */
  smft__counts *counts;           /* (n_pools) */
  smft__selection selection;      /* the rows of the last step */
  smft__rows *gradient;           /* (n_pools): rows selected in this step */
  smft__rows **gradient_of;       /* (n_pools): pointers to them, as smft__grads wants them */
  /* (rows selected, value_dim * moments): new moments */
  float *fresh;
  int64_t fresh_capacity; /* floats */
  float *old;             /* (value_dim * (1 + moments)): one row as it is */
  double row_square;      /* smft__mean_row_square */
} smft__slots_work;
smft_status smft__slots_work_create(smft_learner *learner);
void smft__slots_work_free(smft_learner *learner);

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
smft_status smft__dense_work_create(smft_learner *learner);
void smft__dense_work_free(smft_learner *learner);

/* The step of the patch's kind, under the patch's lock. */
smft_status smft__take_step(smft_learner *learner, smft__step *step);
/* Both leave patch and optimizer as they were unless they return SMFT_OK with step->changed.  The
 * patch is open for writing. */
smft_status smft__step_slots(smft_learner *learner, smft__step *step);
smft_status smft__step_dense(smft_learner *learner, smft__step *step);
#endif
