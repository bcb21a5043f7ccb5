/* plan: how a model computes: made once when its config is read, constant after; where its numbers
 * are is filled in when its tensors are bound.  A field comes with the first family that sets it to
 * something else; block_*.c is its only reader. */
#ifndef SMFT__PLAN_H
#define SMFT__PLAN_H
#include "model/params.h"
#include "nn/norm.h"
#include "nn/rope.h"

typedef struct smft__where { /* where a parameter's numbers are in a model */
  int32_t tensor;            /* of model->tensors; -1: this model has none */
} smft__where;

/* Whether queries and keys are normed before they turn: not, or each head by itself. */
enum { SMFT__QK_NORM_NONE, SMFT__QK_NORM_PER_HEAD };

/* What attention and FFN read is normed; with SMFT__NORMS_AFTER what they give is, too, before it
 * is added to what they read from. */
enum { SMFT__NORMS_BEFORE = 1, SMFT__NORMS_AFTER = 2 };
enum { SMFT__SILU, SMFT__GELU_TANH };

typedef struct smft__block_plan {
  int32_t norm;          /* of all its norms: SMFT__NORM_BY_* */
  int32_t norms;         /* SMFT__NORMS_*; the same in all blocks */
  int32_t activation;    /* of the FFN: SMFT__SILU, SMFT__GELU_TANH */
  int32_t qk_norm;       /* SMFT__QK_NORM_*; the same in all blocks */
  int32_t rope;          /* which rotary table of the stack; -1: none, positions do not count */
  int32_t window;        /* keys that a query sees, its own with them; 0: all before it */
  float attention_scale; /* of scores: 1 / sqrt(head_dim) unless the family says otherwise */
  int32_t memory;        /* which memory layer, or -1 */
  smft__where at[SMFT__N_BLOCK_PARAMS];
} smft__block_plan;

typedef struct smft__memory_plan { /* one memory layer */
  int32_t layer, pool;             /* in which block it is, which pool it reads */
  smft__where at[SMFT__N_MEMORY_PARAMS];
} smft__memory_plan;

typedef struct smft__pool_plan {
  smft__where at[SMFT__N_POOL_PARAMS];
} smft__pool_plan;

typedef struct smft__stack_plan {
  smft__rope_table *ropes; /* (n_ropes) */
  int32_t n_ropes;
  float embedding_scale; /* of the first block's input; the head knows nothing of it */
  int32_t final_norm;    /* SMFT__NORM_BY_* */
  smft__where at[SMFT__N_MODEL_PARAMS]; /* where the head is tied, it has no place of its own */
} smft__stack_plan;
#endif
