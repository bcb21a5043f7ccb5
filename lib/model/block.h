/* block: one transformer block, forward and backward.  Training and sessions run the same forward:
 * the rows are new tokens of one or more segments; in a session k and v point into the KV cache
 * behind what is there already. */
#ifndef SMFT__BLOCK_H
#define SMFT__BLOCK_H
#include "model/grads.h"
#include "nn/attention.h"

typedef struct smft__batch_shape { /* what all blocks of one pass share */
  smft_ctx *ctx;
  const smft__config *config;
  const int32_t *positions;  /* (T) */
  smft__segment *segments;   /* (n_segments): n_past and n_q are set, the block sets the pointers */
  smft__segment_grad *grads; /* (n_segments); NULL: forward only */
  int64_t n_segments, n_tokens;
  float *scratch; /* attention's */
  /* the adapters': (T, rank), with grads (T, 2 rank); NULL where the patch has none */
  float *adapted;
  /* 1: nobody asks what a memory reads, so that one which gives zeros need not run */
  int32_t plain;
} smft__batch_shape;

/* activations of one block; T = n_tokens, d = hidden, Q = heads * head_dim, KV = kv heads *
 * head_dim */
typedef struct smft__block_tape {
  float *x;        /* (T, d) input; never written by the block */
  float *inv_rms1; /* (T) */
  float *normed;   /* (T, d) what attention reads */
  float *q;        /* (T, Q) after rotation */
  float *k, *v;    /* (T, KV) k after rotation */
  /* (T, Q), (T, KV) before their norm, and (T, heads), (T, kv heads); NULL: the family norms none,
   * or there is no backward */
  float *raw_q, *raw_k, *inv_rms_q, *inv_rms_k;
  /* (T, d) what attention and FFN give before their norm, and (T); NULL as above */
  float *raw_o, *raw_down, *inv_rms_o, *inv_rms_down;
  /* bf16 (n_past + T, KV): where all keys and values are that attention reads, and where k and v
   * go; NULL: k and v stand right behind the n_past before them */
  void *cached_k, *cached_v;
  /* (rows, KV): where the pasts of segments that have one stand, several in one place (lead.h);
   * NULL: before k and v */
  const float *past_k, *past_v;
  float *attention;       /* (T, Q) */
  float *log_sum;         /* (T, heads) */
  float *middle;          /* (T, d) after attention */
  float *inv_rms2;        /* (T) */
  float *hidden;          /* (T, d) what FFN and memory read */
  float *gate, *up, *act; /* (T, ffn); act may be gate when there is no backward */
  float *memory_out;      /* (T, d) `beside` only */
  smft__memory_tape *memory;
} smft__block_tape;
/* Carves everything but x, k, v and memory.  backward: also what only the backward pass needs. */
void smft__block_tape_place(smft__block_tape *tape, smft__arena *arena, const smft__config *config,
                            int64_t n_tokens, int backward);

/* out (T, d) may be tape->x (then x is lost). */
void smft__block_forward(const smft__batch_shape *shape, const smft__block_view *view,
                         const smft__block_tape *tape, float *out);
/* Its two halves in a block with a memory: to tape->middle and the memory's slots and weights, for
 * which no value of a pool is read; and from there, where these three came onto the tape by the
 * first half or by copying. */
void smft__block_lookup(const smft__batch_shape *shape, const smft__block_view *view,
                        const smft__block_tape *tape);
void smft__block_resume(const smft__batch_shape *shape, const smft__block_view *view,
                        const smft__block_tape *tape, float *out);

typedef struct smft__block_scratch { /* of the backward pass, shared by all blocks */
  float *d_hidden;                   /* (T, d) */
  float *d_branch;                   /* (T, d) of what attention, FFN or memory give */
  float *d_gate, *d_up;              /* (T, ffn) */
  float *d_attention, *dq;           /* (T, Q) */
  float *dk, *dv;                    /* (T, KV) */
} smft__block_scratch;
void smft__block_scratch_place(smft__block_scratch *scratch, smft__arena *arena,
                               const smft__config *config, int64_t n_tokens);

/* how far down a block's backward pass goes */
enum { SMFT__BACK_BRANCH, SMFT__BACK_ATTENTION, SMFT__BACK_INPUT };

/* dx (T, d): gradient of the block's output; becomes that of its input with SMFT__BACK_INPUT, else
 * is left somewhere on the way. */
void smft__block_backward(const smft__batch_shape *shape, const smft__block_view *view,
                          const smft__block_tape *tape, const smft__block_scratch *scratch,
                          const smft__block_grads *grads, int32_t depth, float *dx);

/* ---- the parts of a block, for block.c ----------------------------------- */

/* block_attention.c: from tape->x to tape->middle; and from the gradient of middle, in dx, to that
 * of x with SMFT__BACK_INPUT. */
void smft__block_attention_forward(const smft__batch_shape *shape, const smft__block_view *view,
                                   const smft__block_tape *tape);
void smft__block_attention_backward(const smft__batch_shape *shape, const smft__block_view *view,
                                    const smft__block_tape *tape,
                                    const smft__block_scratch *scratch, const smft__block_grads *g,
                                    int32_t depth, float *dx);
/* block_ffn.c: whether a memory is run: 0: it would add zeros, and nobody asks what it reads. */
int smft__block_remembers(const smft__batch_shape *shape, const smft__block_view *view);
/* block_ffn.c: from tape->middle to its norm in tape->hidden; from there (and from what the
 * memory's look-up left) through FFN, memory or both to out, without the residual; and the gradient
 * of the block's output in dx becomes that of middle, unless depth is SMFT__BACK_BRANCH. */
void smft__block_branch_norm(const smft__batch_shape *shape, const smft__block_view *view,
                             const smft__block_tape *tape);
void smft__block_branch_forward(const smft__batch_shape *shape, const smft__block_view *view,
                                const smft__block_tape *tape, float *out);
void smft__block_branch_backward(const smft__batch_shape *shape, const smft__block_view *view,
                                 const smft__block_tape *tape, const smft__block_scratch *scratch,
                                 const smft__block_grads *g, int32_t depth, float *dx);
/* block_norm.c: y (rows, n) = x normed with the weight (n) of this line; y may be x; inv_rms (rows;
 * NULL: not kept).  dx += the gradient of x; the weight's is made if it is wanted. */
void smft__block_norm(const smft__batch_shape *shape, const smft__block_view *view, int32_t line,
                      const float *x, int64_t rows, float *y, float *inv_rms);
void smft__block_norm_backward(const smft__batch_shape *shape, const smft__block_view *view,
                               const smft__block_grads *g, int32_t line, const float *x,
                               const float *inv_rms, const float *dy, int64_t rows, float *dx);
/* block_matrix.c: ys[i] = x ms[i]^T, and what its adapter adds, for n matrices (at most 3) of one
 * input, side by side. */
void smft__block_matrices(const smft__batch_shape *shape, const smft__matrix *const *ms, int32_t n,
                          const float *x, float *const *ys);
/* The gradients that are wanted; dx (NULL: not wanted) = or += dy W and the adapter's part. */
void smft__block_matrix_backward(const smft__batch_shape *shape, const smft__matrix *m,
                                 const float *x, const float *dy, const smft__matrix_grad *g,
                                 float *dx, int accumulate);
#endif
