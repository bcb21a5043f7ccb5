/* regex: what a split or a replacement looks for: a literal, a class of characters, or a
 * regular expression. */
#ifndef SMFT__TOKENIZER_REGEX_H
#define SMFT__TOKENIZER_REGEX_H
#include "base/ctx.h"

typedef struct smft__regex smft__regex; /* a compiled expression, immutable */
typedef int (*smft__code_class)(uint32_t code);

typedef struct smft__pattern {
  smft_ctx *ctx;
  char *literal; /* one of the three is set */
  int64_t literal_length;
  smft__code_class code_class;
  smft__regex *regex;
} smft__pattern;

typedef struct smft__scan { /* scratch of one call; a zeroed struct with ctx set is fine */
  smft_ctx *ctx;
  void *match, *limits; /* made when a regular expression is first used */
  int64_t limits_for;
} smft__scan;

smft_status smft__pattern_literal(smft__pattern *pattern, smft_ctx *ctx, const char *text,
                                  int64_t length);
/* An expression as Hugging Face's tokenizers (Oniguruma, Ruby syntax) mean it.  What PCRE2 would
 * read in another way, or what could not be translated, is E_UNSUPPORTED, named. */
smft_status smft__pattern_regex(smft__pattern *pattern, smft_ctx *ctx, const char *text,
                                int64_t length);
/* An expression of the library's own, in PCRE2's syntax. */
smft_status smft__pattern_own_regex(smft__pattern *pattern, smft_ctx *ctx, const char *text);
void smft__pattern_free(smft__pattern *pattern);
/* The first match at or after `from` in text (valid UTF-8): *start < 0 if there is none.  May be
 * empty. */
smft_status smft__pattern_find(const smft__pattern *pattern, smft__scan *scan, const char *text,
                               int64_t length, int64_t from, int64_t *start, int64_t *end);
/* One after another, all matches: calls next until *start < 0.  `at` starts at 0, `last_end` at -1;
 * empty matches right after a match are passed over. */
typedef struct smft__matches {
  const smft__pattern *pattern;
  smft__scan *scan;
  const char *text;
  int64_t length, at, last_end;
} smft__matches;
smft_status smft__matches_next(smft__matches *matches, int64_t *start, int64_t *end);
void smft__scan_free(smft__scan *scan);
/* Oniguruma's syntax to PCRE2's (appends to out). */
struct smft__buffer;
smft_status smft__regex_translate(struct smft__buffer *out, const char *text, int64_t length);
#endif
