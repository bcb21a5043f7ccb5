/* optimizer: the rule of an update and its state.  Slots patches: moments and step counts of rows
 * that were selected at least once, O(rows). Full and LoRA patches: moments of every trained
 * number.  A step works on copies and commits at the end, so that a failed step changes nothing. */
#ifndef SMFT__OPTIMIZER_H
#define SMFT__OPTIMIZER_H
#include "base/claim.h"
#include "learn/dense.h"

typedef struct smft__row_state { /* one pool */
  smft__rows moments;            /* dim = value_dim * moments(): m, then v */
  int64_t *steps;                /* (moments.n): in how many steps the row was selected */
  int64_t steps_capacity;
} smft__row_state;

#define SMFT__MAX_GROUPS 16
typedef struct smft__group { /* parts of a full or LoRA patch whose name contains `part` */
  char part[64];
  double lr_scale;
} smft__group;

struct smft_optimizer {
  smft_ctx *ctx;
  atomic_int references;
  smft__claim claim;              /* of a learner's step, or of a call */
  smft_optimizer_options options; /* defaults filled in; lr 0 stays 0 */
  smft_model *model;              /* whose state this is; NULL: no state yet, but perhaps steps */
  int32_t patch_kind;             /* SMFT_PATCH_*: of what patches of that model; 0: no state yet */
  smft__row_state *pools;         /* (n_pools) slots patches; NULL: none yet */
  int32_t n_pools;
  /* full and LoRA patches: hash of the layout that the state belongs to */
  char parts[65];
  smft__dense layout; /* the same; without moments it may be missing */
  float *m, *v;       /* (layout.total); NULL: none yet, or the rule has none */
  /* rows of pools that may have moments (smft__dense_rows); NULL without moments or pools */
  uint64_t *touched;
  smft__bounds bounds; /* of m and v */
  int64_t steps;       /* updates since the state began */
  uint64_t state;      /* number of the state: another one after a reset or a load */
  smft__group groups[SMFT__MAX_GROUPS]; /* (n_groups) in the order in which they were first set */
  int32_t n_groups;
};
/* What a tensor's group multiplies the learning rate with: 1 without a group. */
double smft__optimizer_lr_scale(const smft_optimizer *optimizer, const char *name);
smft_optimizer *smft__optimizer_retain(smft_optimizer *optimizer);
/* Moments a weight has: AdamW 2, SGD with momentum 1, plain SGD 0. */
int32_t smft__optimizer_moments(const smft_optimizer *optimizer);
/* The part of the rate that update number `step` (from 1) of the state has: 1 without warm-up. */
double smft__optimizer_warmup(const smft_optimizer *optimizer, int64_t step);
/* Constants of a weight's step number `step` (from 1) at a rate; pool: the weights are a full
 * patch's pool values. */
smft__update_rule smft__optimizer_rule(const smft_optimizer *optimizer, double lr, int pool,
                                       int64_t step, double scale);
/* Makes the (empty) state for a model's slots patches, or for a full or LoRA patch and those of the
 * same layout; SMFT_E_MISMATCH if the state is another model's, another patch kind's or another
 * layout's.  Seen from outside, nothing changes. */
smft_status smft__optimizer_bind_rows(smft_optimizer *optimizer, const smft_model *model);
smft_status smft__optimizer_bind_dense(smft_optimizer *optimizer, const smft_patch *patch,
                                       const smft__dense *layout);
smft_status smft__row_state_reserve(smft__row_state *state, smft_ctx *ctx, int64_t n);
/* Room for n more rows of a pool. */
smft_status smft__optimizer_reserve_rows(smft_optimizer *optimizer, int32_t pool, int64_t n);
/* Slots patches: the state begins anew. */
void smft__optimizer_clear_rows(smft_optimizer *optimizer);
/* Back to no state at all. */
void smft__optimizer_free_state(smft_optimizer *optimizer);
#endif
