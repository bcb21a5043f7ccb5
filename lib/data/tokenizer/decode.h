/* decode: the "decoder" of a tokenizer.json: token strings become text. */
#ifndef SMFT__TOKENIZER_DECODE_H
#define SMFT__TOKENIZER_DECODE_H
#include "base/bytes.h"
#include "data/json.h"
#include "data/tokenizer/regex.h"

#define SMFT__DECODE_REPLACE 1 /* pattern -> content */
#define SMFT__DECODE_BYTES 2   /* <0xE2> is a byte */
#define SMFT__DECODE_FUSE 3    /* all strings become one */
#define SMFT__DECODE_STRIP 4   /* content: one character; start, stop: how many at most */
#define SMFT__DECODE_META 5    /* content becomes a space; start: nothing in the first token */
#define SMFT__DECODE_LEVEL 6   /* characters that stand for bytes become these */

typedef struct smft__decoder_step {
  int32_t kind;
  int64_t start, stop;
  smft__pattern pattern;
  char *content;
} smft__decoder_step;

typedef struct smft__decoder {
  smft_ctx *ctx;
  smft__decoder_step *steps;
  int64_t n, capacity;
  int32_t none; /* 1: there is no decoder, strings are joined with spaces */
} smft__decoder;

typedef struct smft__strings { /* one after another */
  smft__buffer text;
  int64_t *ends;
  int64_t n, capacity;
} smft__strings;

smft_status smft__decoder_read(smft__decoder *decoder, smft_ctx *ctx, const json_t *json);
smft_status smft__decoder_byte_level(smft__decoder *decoder, smft_ctx *ctx);
/* U+2581 becomes a space, <0xE2> a byte; strip: one space less at the text's start. */
smft_status smft__decoder_sentencepiece(smft__decoder *decoder, smft_ctx *ctx, int strip);
void smft__decoder_free(smft__decoder *decoder);
smft_status smft__strings_add(smft__strings *strings, const char *text, int64_t length);

/* what decoding needs; used again, it allocates only for longer strings than it had before */
typedef struct smft__decode_work {
  smft__strings strings; /* the tokens; then the decoded text */
  smft__strings spare;
  smft__buffer bytes;
  smft__scan scan;
} smft__decode_work;
void smft__decode_work_init(smft__decode_work *work, smft_ctx *ctx);
void smft__decode_work_clear(smft__decode_work *work); /* of its strings */
void smft__decode_work_free(smft__decode_work *work);
/* So that one string of so many bytes allocates nothing (but for a regular expression's first
 * match). */
smft_status smft__decode_work_reserve(smft__decode_work *work, int64_t bytes);
/* Changes work->strings until their text is the decoded text.
 * raw: one token of a stream: bytes that are no UTF-8 yet stay as they are, and what is stripped
 * from the start of the text is stripped only if `first`. */
smft_status smft__decoder_run(const smft__decoder *decoder, smft__decode_work *work, int raw,
                              int first);
#endif
