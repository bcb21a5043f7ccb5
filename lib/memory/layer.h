/* layer: the product-key memory layer (docs/method.md), forward and backward. */
#ifndef SMFT__LAYER_H
#define SMFT__LAYER_H
#include "memory/half_norm.h" /* SMFT__NORM_* */
#include "memory/params.h"
#include "memory/pool.h"
#include "memory/rows.h"

typedef struct smft__memory_config {
  int32_t n_keys, heads, top_k, key_dim, value_dim, hidden; /* n, H, k, dk (both halves), dv, d */
  /* SMFT__NORM_*, over each half: dk/2 numbers */
  int32_t query_norm, key_norm;
  int32_t gate, bias; /* gate 0: out = W2 y */
  float norm_eps, temperature;
  int32_t identity; /* there is no W2: out = y, or y * silu(gate), and value_dim is hidden */
} smft__memory_config;

typedef struct smft__memory_view { /* as a model and its patch have it */
  smft__memory_config config;
  smft__tensor at[SMFT__N_MEMORY_PARAMS]; /* absent tensors have data NULL */
  smft__pool pool;
} smft__memory_view;

typedef struct smft__memory_tape {
  /* (T, H, dk) before the norm; lost after forward unless the mode is SMFT__TAPE_BACKWARD */
  float *query;
  float *query_hat; /* (T, H, dk) after it (the same array when there is no norm) */
  /* (H, 2, n, dk/2) f32, after the key norm (made by every forward; NULL when there is none) */
  float *keys_hat;
  int64_t *slots;   /* (T, H, k) best first */
  float *weights;   /* (T, H, k) softmax over the k */
  float *sum;       /* (T, dv) y of step 5 */
  float *gate;      /* (T, dv) W1 x, before silu */
  float *gated;     /* (T, dv) y * silu(gate) */
  void *scratch;    /* per lane: scores of a block of tokens */
  float *norm_room; /* (2, dk) norm weights that are not aligned floats */
  int32_t mode;     /* SMFT__TAPE_* it was carved for; what follows is for backward */
  float *d_sum;     /* (T, dv) */
  float *d_gate;    /* (T, dv) */
  float *d_query;   /* (T, H, dk) */
  float *d_keys;    /* (H, 2, n, dk/2); NULL without key norm */
  float *d_scores;  /* (T, H, k) */
  int32_t *halves;  /* (2, T, H, k) sub-keys of the slots */
  float *norm_scratch;
  uint64_t *entries; /* (2, T * H * k) */
} smft__memory_tape;

/* What a tape is for: inference; every backward; or one backward per forward, with dx NULL and no
 * gradient wanted of queries and keys (they are ignored): half the memory. */
enum { SMFT__TAPE_FORWARD, SMFT__TAPE_BACKWARD, SMFT__TAPE_VALUES };

/* Carves a tape for n_tokens (measure with arena->base NULL).  backward: SMFT__TAPE_*.  Forward and
 * backward may be called with fewer tokens than that. */
void smft__memory_tape_place(smft__memory_tape *tape, smft__arena *arena, const smft_ctx *ctx,
                             const smft__memory_config *config, int64_t n_tokens, int backward);

/* x (T, d), out (T, d) overwritten (without alpha, without residual).  Only the tape's arrays are
 * written besides. */
void smft__memory_forward(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                          int64_t n_tokens, smft__memory_tape *tape, float *out);
/* Its two halves.  Slots and weights depend on x, queries and keys alone, not on the pool; the rest
 * wants them on the tape, from the first half or copied there. */
void smft__memory_lookup(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                         int64_t n_tokens, smft__memory_tape *tape);
void smft__memory_values(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                         int64_t n_tokens, smft__memory_tape *tape, float *out);

typedef struct smft__memory_grads { /* each may be NULL: not wanted; all are added to */
  float *at[SMFT__N_MEMORY_PARAMS];
  float *values; /* dense (n_slots, dv): full finetuning */
  /* sparse: rows that are in it get their gradient added, no others are touched or added */
  smft__rows *rows;
} smft__memory_grads;

/* d_out (T, d); dx (T, d) added to (NULL: not wanted, then only what the value gradient needs is
 * computed).  Row gradients are summed in token order whatever the number of threads. */
void smft__memory_backward(smft_ctx *ctx, const smft__memory_view *view, const float *x,
                           int64_t n_tokens, smft__memory_tape *tape, const float *d_out, float *dx,
                           const smft__memory_grads *grads);
#endif
