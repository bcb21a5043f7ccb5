/* selector: background counts, and the ranking of the slots that a batch read (docs/method.md). */
#ifndef SMFT__SELECTOR_H
#define SMFT__SELECTOR_H
#include "base/claim.h"
#include "learn/stats.h"
#include "memory/counts.h"

struct smft_selector {
  smft_ctx *ctx;
  atomic_int references;
  atomic_int warned; /* that nothing was counted */
  smft__claim claim; /* of calls that count, and of steps that read the counts */
  smft_model *model;
  int32_t rule;
  int64_t t;
  int32_t damping_by, rank_by; /* SMFT_DAMPING_*, SMFT_RANK_* */
  double damping;              /* negative: none */
  double max_df;               /* negative: none */
  smft__stats stats;           /* of background text */
  double total;                /* smft__stats_total */
  double mean_square;          /* smft__stats_mean_square */
};
smft_selector *smft__selector_retain(smft_selector *selector);
/* Says in the log, once a selector, that its rule has no counts to go by; nothing where it has. */
void smft__selector_warn(smft_selector *selector, const char *caller);
/* Damping: what a row's step is multiplied with, in (0, 1], beside background also for `n` wordings
 * of learnt facts, which read it with `square`, the sum of their squared weights; and whether that
 * can be less than 1 at all. */
double smft__selector_damping(const smft_selector *selector, int32_t pool, int64_t slot,
                              double square, double n);
int smft__selector_damps(const smft_selector *selector);

typedef struct smft__selection { /* the rows of a step, best first */
  smft_ctx *ctx;
  smft_selected *list; /* (n) */
  int64_t n, capacity;
} smft__selection;
/* How many of a pool's rows in the selection are not in `rows` (NULL: none is) yet. */
int64_t smft__selection_absent(const smft__selection *selection, const smft__rows *rows,
                               int32_t pool);
typedef struct smft__restraint { /* beside what the background says */
  double looser;                 /* times the selector's max_df */
  const smft__counts *others;    /* (n_pools), finished: what they read comes last; NULL: none */
} smft__restraint;
/* counts (n_pools), finished, and weighed where the selector ranks by weights.  restraint: NULL:
 * the selector's own.  O(distinct slots read), memory O(rows selected). */
smft_status smft__select(const smft_selector *selector, const smft__counts *counts,
                         const smft__restraint *restraint, smft__selection *selection);

/* Takes the stats over in exchange for the one before. */
void smft__selector_set(smft_selector *selector, smft__stats *stats);
#endif
