/* split: the "pre_tokenizer" of a tokenizer.json: text is cut into the pieces that merges
 * do not cross. */
#ifndef SMFT__TOKENIZER_SPLIT_H
#define SMFT__TOKENIZER_SPLIT_H
#include "base/bytes.h"
#include "data/json.h"
#include "data/tokenizer/regex.h"

/* `content` in front of each piece (first_only: of the text's first) that does not start with it */
#define SMFT__SPLIT_PREFIX 1
#define SMFT__SPLIT_CUT 2     /* at the matches of pattern */
#define SMFT__SPLIT_REPLACE 3 /* pattern -> content */
#define SMFT__SPLIT_BYTES 4   /* each byte becomes the character that stands for it */

#define SMFT__CUT_ISOLATED 0
#define SMFT__CUT_REMOVED 1
#define SMFT__CUT_WITH_PREVIOUS 2
#define SMFT__CUT_WITH_NEXT 3
#define SMFT__CUT_CONTIGUOUS 4

typedef struct smft__split_step {
  int32_t kind, first_only, behavior, invert;
  smft__pattern pattern;
  char content[8];
} smft__split_step;

typedef struct smft__splitter {
  smft_ctx *ctx;
  smft__split_step *steps;
  int64_t n, capacity;
} smft__splitter;

typedef struct smft__piece {
  int64_t start, end; /* bytes of text */
  int32_t at_start;   /* 1: it begins where the whole text begins */
} smft__piece;
typedef struct smft__pieces {
  smft__buffer text;
  smft__piece *data;
  int64_t n, capacity;
} smft__pieces;

/* json: the "pre_tokenizer" value; NULL or null is none.  On failure what was read is freed by
 * smft__splitter_free. */
smft_status smft__splitter_read(smft__splitter *splitter, smft_ctx *ctx, const json_t *json);
/* GPT-2's. */
smft_status smft__splitter_byte_level(smft__splitter *splitter, smft_ctx *ctx, int add_prefix_space,
                                      int use_regex);
/* At the matches of each expression (Oniguruma's syntax; NULL ends), then bytes. */
smft_status smft__splitter_patterns(smft__splitter *splitter, smft_ctx *ctx,
                                    const char *const *patterns);
void smft__splitter_free(smft__splitter *splitter);
/* Fills pieces (emptied before).  at_start: the text is the beginning of all text.  no_prefix:
 * nothing is put in front of that. */
smft_status smft__splitter_run(const smft__splitter *splitter, smft__scan *scan, const char *text,
                               int64_t length, int at_start, int no_prefix, smft__pieces *pieces,
                               smft__pieces *spare);
void smft__pieces_free(smft__pieces *pieces);
/* The character that stands for a byte in byte-level vocabularies, and back (-1: none does). */
uint32_t smft__byte_to_code(unsigned char byte);
int32_t smft__code_to_byte(uint32_t code);
#endif
