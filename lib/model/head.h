/* head: the last norm, logits and the loss of some rows, and the way back. */
#ifndef SMFT__HEAD_H
#define SMFT__HEAD_H
#include "base/alloc.h"
#include "model/grads.h"

/* logits (n, V) of x (n, d), outputs of the last block; hidden (n, d) is scratch.
 * SMFT_E_NONFINITE where a logit is not finite. */
smft_status smft__head_logits(const smft_model *model, const smft__version *version, const float *x,
                              int64_t n, float *hidden, float *logits);

/* Which tensor of the model its rows are: the embedding, where the head is tied. */
int32_t smft__head_tensor(const smft_model *model);

typedef struct smft__head_tape { /* supervised rows only; m of them */
  int64_t m, chunk;              /* rows; rows of one chunk */
  int32_t kept;                  /* 1: logits holds all rows */
  int64_t *rows;                 /* (m) position whose hidden state predicts */
  int32_t *targets;              /* (m) token that follows it */
  float *scale;                  /* (m) weight / sum of weights */
  float *nll;                    /* (m) */
  float *x;                      /* (m, d) last block's output */
  float *inv_rms;                /* (m) */
  float *hidden;                 /* (m, d) after the norm */
  float *logits;                 /* (m or chunk, V); after a forward that keeps: their gradient */
  float *d_hidden;               /* (m, d) */
  float *dx;                     /* (m, d) */
} smft__head_tape;
/* Carves a tape of head->m rows; keep: for backward, too. */
void smft__head_tape_place(smft__head_tape *head, smft__arena *arena, const smft__config *config,
                           int keep);
/* Of all m, that for which a tape needs the most room. */
int64_t smft__head_largest(const smft__config *config, int64_t m);
/* rows, targets and scale are set; x (T, d): the last block's output.  Leaves nll, and with keep
 * what backward needs. */
void smft__head_forward(const smft_model *model, const smft__version *version,
                        smft__head_tape *head, const float *x, int keep);
/* dx (n_tokens, d) becomes the gradient of the last block's output; head and last norm get theirs.
 */
void smft__head_backward(const smft_model *model, const smft__version *version,
                         smft__head_tape *head, const smft__grads *grads, int64_t n_tokens,
                         float *dx);
#endif
