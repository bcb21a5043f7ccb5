/* vocab: the strings of all tokens, by id and by spelling.  Filled once, then read-only.
 */
#ifndef SMFT__TOKENIZER_VOCAB_H
#define SMFT__TOKENIZER_VOCAB_H
#include "base/ctx.h"

#define SMFT__TOKEN_MODEL 1u   /* the merge model knows it */
#define SMFT__TOKEN_SPECIAL 2u /* left out by SMFT_DECODE_SKIP_SPECIAL */
/* ids are below this: a table by id stays within bounds whatever a file says */
#define SMFT__VOCAB_MOST (1 << 24)

typedef struct smft__token {
  int64_t start; /* in text; -1: no token has this id */
  int32_t length;
  uint32_t flags;
} smft__token;

typedef struct smft__vocab {
  smft_ctx *ctx;
  char *text; /* all spellings, one after another */
  int64_t text_length, text_capacity;
  smft__token *tokens; /* (n_ids) */
  int64_t n_ids;       /* one more than the largest id */
  int32_t *slots;      /* (n_slots) hash table of ids, -1 empty; n_slots is a power of two */
  int64_t n_slots;
} smft__vocab;

/* Room for n_tokens tokens with ids below n_ids. */
smft_status smft__vocab_start(smft__vocab *vocab, smft_ctx *ctx, int64_t n_tokens, int64_t n_ids);
/* Room for so many bytes of spellings. */
smft_status smft__vocab_reserve(smft__vocab *vocab, int64_t bytes);
void smft__vocab_free(smft__vocab *vocab); /* a zeroed struct is fine */
/* E_FORMAT if the id or the spelling is there already. */
smft_status smft__vocab_add(smft__vocab *vocab, const char *text, int64_t length, int64_t id,
                            uint32_t flags);
/* -1: none. */
int32_t smft__vocab_find(const smft__vocab *vocab, const char *text, int64_t length);
/* only what the merge model knows */
int32_t smft__vocab_find_model(const smft__vocab *vocab, const char *text, int64_t length);
/* Not NUL-terminated; NULL if no token has this id. */
const char *smft__vocab_text(const smft__vocab *vocab, int64_t id, int64_t *length);
#endif
