/* spm: SentencePiece vocabularies whose tokens have scores: a text becomes token ids. */
#ifndef SMFT__TOKENIZER_SPM_H
#define SMFT__TOKENIZER_SPM_H
#include "data/ids.h"
#include "data/tokenizer/queue.h"
#include "data/tokenizer/vocab.h"

typedef struct smft__spm {
  smft_ctx *ctx;
  int32_t *ranks;     /* (n_ids of the vocabulary) the higher the score the lower; NULL: not used */
  int32_t longest;    /* bytes of the longest token */
  int32_t bytes[256]; /* ids of <0x00> to <0xFF>, or of the byte itself; -1: none */
  int32_t unk;        /* -1: none */
} smft__spm;

typedef struct smft__spm_symbol { /* of the text: a node of the linked list */
  int32_t start, length;          /* length 0: merged away */
  int32_t id;                     /* -1: not looked up yet */
  int32_t previous, next;         /* -1: none */
} smft__spm_symbol;
typedef struct smft__spm_work { /* scratch of one call */
  smft_ctx *ctx;
  smft__spm_symbol *symbols;
  int64_t n, capacity;
  smft__queue queue;
} smft__spm_work;

/* Room for the ranks of all tokens of a vocabulary that is full. */
smft_status smft__spm_start(smft__spm *spm, smft_ctx *ctx, const smft__vocab *vocab);
/* E_FORMAT for a score that is no number. */
smft_status smft__spm_set_score(smft__spm *spm, int64_t id, float score);
void smft__spm_free(smft__spm *spm); /* a zeroed struct is fine */
void smft__spm_work_free(smft__spm_work *work);
/* Appends the ids of a text (valid UTF-8).  O(n log n). */
smft_status smft__spm_encode(const smft__spm *spm, const smft__vocab *vocab, smft__spm_work *work,
                             const char *text, int64_t length, smft__ids *ids);
#endif
