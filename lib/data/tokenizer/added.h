/* added: "added_tokens": spellings that are found in the text itself, before anything
 * else is done with it. */
#ifndef SMFT__TOKENIZER_ADDED_H
#define SMFT__TOKENIZER_ADDED_H
#include "data/tokenizer/normalize.h"
#include "data/tokenizer/vocab.h"

typedef struct smft__added_token {
  int32_t id;
  int32_t single_word, lstrip, rstrip, normalized, special;
} smft__added_token;

typedef struct smft__trie_node { /* children are a list of siblings */
  int32_t child, sibling;        /* -1: none */
  int32_t token;                 /* index into tokens, -1: no spelling ends here */
  unsigned char byte;
} smft__trie_node;

typedef struct smft__trie {
  smft_ctx *ctx;
  smft__trie_node *nodes;
  int64_t n, capacity;
  int32_t first[256]; /* node of each first byte, -1: none */
} smft__trie;

typedef struct smft__added {
  smft_ctx *ctx;
  smft__added_token *tokens;
  int64_t n, capacity;
  smft__trie plain, normalized; /* found before and after the normalizer */
} smft__added;

typedef struct smft__found {
  int64_t start, end; /* what it takes of the text, stripped space included */
  int32_t id;         /* -1: none */
} smft__found;

void smft__added_start(smft__added *added, smft_ctx *ctx);
/* text: the spelling, normalized where the token is. */
smft_status smft__added_add(smft__added *added, const smft__added_token *token, const char *text,
                            int64_t length);
void smft__added_free(smft__added *added);

typedef struct smft__span { /* bytes of a text */
  int64_t start, end;
} smft__span;
typedef struct smft__spans { /* in order, none of them empty */
  const smft__span *data;    /* (n) */
  int64_t n;
} smft__spans;

typedef struct smft__walk { /* down a trie, a byte at a time */
  const smft__trie *trie;
  int32_t node; /* -1: at the top */
} smft__walk;
static inline smft__walk smft__walk_start(const smft__trie *trie) { return (smft__walk){trie, -1}; }
/* 0: no spelling goes on with this byte.  *token: the index of the one that ends here, or -1. */
int smft__walk_step(smft__walk *walk, unsigned char byte, int32_t *token);

typedef struct smft__search { /* one pass over a text; at and done start at 0 */
  const smft__added *added;
  const smft__trie *trie;
  const char *text;
  int64_t length;
  int no_special;                /* special tokens are not looked for */
  const smft__spans *plain;      /* nor with a byte in these; may be NULL */
  int64_t shift;                 /* where in the text of `plain` this text begins */
  int64_t at;                    /* where the search goes on */
  int64_t done;                  /* up to where text is accounted for */
  int64_t space_from, space_end; /* white space known to reach from one to the other */
} smft__search;
/* Whether a token counts where its spelling stands. */
int smft__search_wants(const smft__search *search, const smft__added_token *token, int64_t start,
                       int64_t end);
/* The leftmost, and there the longest; id -1 at the end. */
void smft__search_next(smft__search *search, smft__found *found);
#endif
