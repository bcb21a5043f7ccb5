/* bpe: byte-pair merges: a piece of text becomes token ids. */
#ifndef SMFT__TOKENIZER_BPE_H
#define SMFT__TOKENIZER_BPE_H
#include "data/ids.h"
#include "data/tokenizer/queue.h"
#include "data/tokenizer/vocab.h"

#define SMFT__BPE_DIRECT 1024 /* characters below this have their id in a table */

typedef struct smft__merge { /* a slot of the hash table */
  uint64_t pair;             /* left id << 32 | right id; UINT64_MAX: empty */
  int32_t rank;
  int32_t id; /* of the two together */
} smft__merge;

typedef struct smft__bpe {
  smft_ctx *ctx;
  smft__merge *merges; /* (n_slots), a power of two */
  int64_t n_slots, n_merges;
  int32_t direct[SMFT__BPE_DIRECT]; /* id of each character, -1: none */
  int32_t bytes[256];               /* ids of <0x00> to <0xFF>, -1: none */
  int32_t unk;                      /* -1: not in the vocabulary, an error only when it is needed */
  int32_t has_unk, fuse_unk, byte_fallback, ignore_merges;
  int32_t first_counts, holes; /* of the same merge twice; see add_unknown in bpe.c */
} smft__bpe;

typedef struct smft__symbol { /* one node of the linked list */
  int32_t id;                 /* -1: merged away */
  int32_t previous, next;     /* -1: none */
} smft__symbol;
typedef struct smft__bpe_work { /* scratch of one call */
  smft_ctx *ctx;
  smft__symbol *symbols;
  int64_t n_symbols, symbols_capacity;
  smft__queue queue;
} smft__bpe_work;

/* Room for n_merges merges. */
smft_status smft__bpe_start(smft__bpe *bpe, smft_ctx *ctx, int64_t n_merges);
/* Ranks count up from 0.  Tokens that the vocabulary lacks are E_FORMAT.  The same pair again: the
 * later one counts (the first with first_counts). */
smft_status smft__bpe_add(smft__bpe *bpe, const smft__vocab *vocab, const char *left,
                          int64_t left_length, const char *right, int64_t right_length);
/* After the vocabulary is full: fills the tables of characters and bytes. */
void smft__bpe_finish(smft__bpe *bpe, const smft__vocab *vocab);
void smft__bpe_free(smft__bpe *bpe);
void smft__bpe_work_free(smft__bpe_work *work);
/* Appends the ids of one piece (valid UTF-8).  O(n log n). */
smft_status smft__bpe_encode(const smft__bpe *bpe, const smft__vocab *vocab, smft__bpe_work *work,
                             const char *text, int64_t length, smft__ids *ids);
#endif
