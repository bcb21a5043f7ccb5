/* block: one transformer block, forward and backward.  Training and sessions run the same forward:
 * the rows are new tokens of one or more segments; in a session k and v point into the KV cache
 * behind what is there already. */
#ifndef SMFT__BLOCK_H
#define SMFT__BLOCK_H
#include "memory/layer.h"
#include "model/patch.h"
#include "nn/attention.h"

typedef struct smft__matrix {    /* a matrix, and what a LoRA patch adds to it */
  smft__tensor w;                /* (out, in); absent: data NULL */
  const smft__low_rank *adapter; /* NULL: none */
} smft__matrix;

typedef struct smft__block_weights { /* as model + patch have them; absent tensors have data NULL */
  smft__tensor input_norm, post_norm;
  smft__matrix q, k, v, o, gate, up, down;
  smft__memory_weights memory;
  int32_t has_ffn, has_memory;
  float alpha; /* 1 where the memory stands alone */
} smft__block_weights;
smft__block_weights smft__block_weights_of(const smft_model *model, const smft_patch *patch,
                                           int32_t layer);

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
} smft__batch_shape;

/* activations of one block; T = n_tokens, d = hidden, Q = heads * head_dim, KV = kv heads *
 * head_dim */
typedef struct smft__block_tape {
  float *x;               /* (T, d) input; never written by the block */
  float *inv_rms1;        /* (T) */
  float *normed;          /* (T, d) what attention reads */
  float *q;               /* (T, Q) after rotation */
  float *k, *v;           /* (T, KV) k after rotation */
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
void smft__block_forward(const smft__batch_shape *shape, const smft__block_weights *weights,
                         const smft__block_tape *tape, float *out);
/* Its two halves in a block with a memory: to tape->middle and the memory's slots and weights, for
 * which no value of a pool is read; and from there, where these three came onto the tape by the
 * first half or by copying. */
void smft__block_lookup(const smft__batch_shape *shape, const smft__block_weights *weights,
                        const smft__block_tape *tape);
void smft__block_resume(const smft__batch_shape *shape, const smft__block_weights *weights,
                        const smft__block_tape *tape, float *out);

typedef struct smft__block_scratch { /* of the backward pass, shared by all blocks */
  float *d_hidden;                   /* (T, d) */
  float *d_branch;                   /* (T, d) */
  float *d_gate, *d_up;              /* (T, ffn) */
  float *d_attention, *dq;           /* (T, Q) */
  float *dk, *dv;                    /* (T, KV) */
} smft__block_scratch;
void smft__block_scratch_place(smft__block_scratch *scratch, smft__arena *arena,
                               const smft__config *config, int64_t n_tokens);

typedef struct smft__matrix_grad { /* of the matrix itself, and of its adapter's factors */
  float *w, *a, *b;
} smft__matrix_grad;
static inline int smft__wants_matrix(const smft__matrix_grad *g) { return g->w || g->a || g->b; }

typedef struct smft__block_grads { /* each NULL where not wanted; all are added to */
  float *input_norm, *post_norm, *alpha;
  smft__matrix_grad q, k, v, o, gate, up, down;
  smft__memory_grads memory;
} smft__block_grads;

/* how far down a block's backward pass goes */
enum { SMFT__BACK_BRANCH, SMFT__BACK_ATTENTION, SMFT__BACK_INPUT };

/* dx (T, d): gradient of the block's output; becomes that of its input with SMFT__BACK_INPUT, else
 * is left somewhere on the way. */
void smft__block_backward(const smft__batch_shape *shape, const smft__block_weights *weights,
                          const smft__block_tape *tape, const smft__block_scratch *scratch,
                          const smft__block_grads *grads, int32_t depth, float *dx);
#endif
