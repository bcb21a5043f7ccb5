/* undo: what a fact's steps change, as it was when the fact began, and the way back: rows of a
 * slots patch, and the optimizer's state of them.  For every reason to take a fact back: it is
 * given up, skipped, not finite, not wanted by the host; and for those to come (a store whose disk
 * is full, a guard's budget): smft__undo_back may be called at any time between two steps. */
#ifndef SMFT__UNDO_H
#define SMFT__UNDO_H
#include "learn/optimizer.h"
#include "learn/selector.h"

typedef struct smft__undo_pool {
  int64_t *steps; /* (touched.n) of the moments that a row had; -1: it had none */
  int64_t steps_capacity;
  smft__row_state aside; /* the pool's whole state, where a fact begins with an empty one */
} smft__undo_pool;

typedef struct smft__undo {
  int64_t fact;          /* whose steps: a serial; 0: nobody's */
  int64_t updates;       /* of that fact so far */
  smft__version *before; /* the patch when it began; NULL: nobody's */
  /* (n_pools) the fact's rows; dim: of moments that are kept, else 1 and not used; NULL: not a
   * slots patch */
  smft__rows *touched;
  smft__undo_pool *pools; /* (n_pools); NULL likewise */
  /* the optimizer's: does it keep its state from fact to fact, with moments; its steps when the
   * fact began; the number of its state then */
  int keeps_moments;
  int64_t steps;
  uint64_t state;
  int is_aside; /* the state of before is in `aside` */
} smft__undo;
smft_status smft__undo_create(smft_learner *learner);
void smft__undo_free(smft_learner *learner);

/* Before a step of a fact changes rows of `most`: what is now is what there is to go back to,
 * unless the fact has had an update.  Makes room; nothing that can be seen changes.  The patch is
 * open for writing. */
smft_status smft__undo_begin(smft_learner *learner, int64_t fact, const smft__selection *most);
/* The step is about to change these rows; cannot fail.  afresh: the optimizer's state of before is
 * put aside, and it has none. */
void smft__undo_note(smft_learner *learner, const smft__selection *rows, int afresh);
/* Whether there is anything of the fact to take back. */
int smft__undo_has(const smft__undo *undo, int64_t fact);
/* Takes the fact in hand back: its rows, and the state of them, are what they were, bit for bit;
 * what others changed in other rows stays, and what they took out of the patch stays out.  The
 * patch gets a new version.  On failure (SMFT_E_NOMEM, SMFT_E_STATE) nothing changes. */
smft_status smft__undo_back(smft_learner *learner);
/* There is no way back any more: the fact is learnt, kept or taken back. */
void smft__undo_end(smft_learner *learner);
#endif
