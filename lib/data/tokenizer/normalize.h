/* normalize: the "normalizer" of a tokenizer.json. */
#ifndef SMFT__TOKENIZER_NORMALIZE_H
#define SMFT__TOKENIZER_NORMALIZE_H
#include "base/bytes.h"
#include "data/json.h"
#include "data/tokenizer/regex.h"

#define SMFT__NORMALIZE_FORM 1    /* form */
#define SMFT__NORMALIZE_PREPEND 2 /* content */
#define SMFT__NORMALIZE_REPLACE 3 /* pattern -> content */
#define SMFT__NORMALIZE_STRIP 4   /* left, right */
#define SMFT__NORMALIZE_LOWER 5

typedef struct smft__normalizer_step {
  int32_t kind, form, left, right;
  smft__pattern pattern;
  char *content;
} smft__normalizer_step;

typedef struct smft__normalizer {
  smft_ctx *ctx;
  smft__normalizer_step *steps;
  int64_t n, capacity;
} smft__normalizer;

/* json: the "normalizer" value; NULL or null is none.  On failure what was read is freed by
 * smft__normalizer_free. */
smft_status smft__normalizer_read(smft__normalizer *normalizer, smft_ctx *ctx, const json_t *json);
/* Space becomes U+2581; prefix: with one more before a text. */
smft_status smft__normalizer_sentencepiece(smft__normalizer *normalizer, smft_ctx *ctx, int prefix);
void smft__normalizer_free(smft__normalizer *normalizer);
/* Appends to out, which must be empty.  no_prefix: leaves Prepend out. */
smft_status smft__normalizer_run(const smft__normalizer *normalizer, smft__scan *scan,
                                 const char *text, int64_t length, int no_prefix,
                                 smft__buffer *out);
/* {"String": "..."} or {"Regex": "..."}, shared with splits and decoders. */
smft_status smft__pattern_read(smft__pattern *pattern, smft_ctx *ctx, const json_t *json,
                               const char *what);
/* Appends text with every match replaced. */
smft_status smft__pattern_replace(const smft__pattern *pattern, smft__scan *scan, const char *text,
                                  int64_t length, const char *content, smft__buffer *out);
#endif
