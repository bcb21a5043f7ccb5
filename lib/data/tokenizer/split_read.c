/* split_read: pre-tokenizers from JSON.  Each becomes a few simple steps (prefix, cut,
 * replace, bytes), run in order. Does not own: running them (split.c), patterns
 * (regex.c). */
#include "base/alloc.h"
#include "data/tokenizer/normalize.h"
#include "data/tokenizer/split.h"
#include "data/tokenizer/unicode.h"
#include <string.h>

/* White space as PCRE2's \s less U+180E, which is no space since Unicode 6.3. */
#define SPACE                                                                                      \
  "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{"  \
  "205f}\\x{3000}"
#define GPT2_PATTERN                                                                               \
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|[" SPACE                \
  "]+(?![^" SPACE "])|[" SPACE "]+"
#define WORD                                                                                       \
  "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"    \
  "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define WHITESPACE_PATTERN "[" WORD "]+|[^" WORD SPACE "]+"

static smft_status add_step(smft__splitter *splitter, int32_t kind, smft__split_step **step) {
  SMFT__TRY(smft__grow(splitter->ctx, &splitter->steps, &splitter->capacity, splitter->n + 1,
                       sizeof *splitter->steps));
  *step = &splitter->steps[splitter->n++];
  memset(*step, 0, sizeof **step);
  (*step)->kind = kind;
  return SMFT_OK;
}

static smft_status add_cut(smft__splitter *splitter, int32_t behavior, smft__split_step **step) {
  SMFT__TRY(add_step(splitter, SMFT__SPLIT_CUT, step));
  (*step)->behavior = behavior;
  return SMFT_OK;
}

static smft_status add_class_cut(smft__splitter *splitter, int32_t behavior,
                                 smft__code_class is_member) {
  smft__split_step *step;
  SMFT__TRY(add_cut(splitter, behavior, &step));
  step->pattern.code_class = is_member;
  return SMFT_OK;
}

static smft_status add_prefix(smft__splitter *splitter, const char *content, int first_only) {
  smft__split_step *step;
  SMFT__TRY(add_step(splitter, SMFT__SPLIT_PREFIX, &step));
  step->first_only = first_only;
  memcpy(step->content, content, strlen(content) + 1);
  return SMFT_OK;
}

smft_status smft__splitter_byte_level(smft__splitter *splitter, smft_ctx *ctx, int add_prefix_space,
                                      int use_regex) {
  smft__split_step *step;
  splitter->ctx = ctx;
  if (add_prefix_space)
    SMFT__TRY(add_prefix(splitter, " ", 0));
  if (use_regex) {
    SMFT__TRY(add_cut(splitter, SMFT__CUT_ISOLATED, &step));
    SMFT__TRY(smft__pattern_own_regex(&step->pattern, ctx, GPT2_PATTERN));
  }
  return add_step(splitter, SMFT__SPLIT_BYTES, &step);
}

smft_status smft__splitter_patterns(smft__splitter *splitter, smft_ctx *ctx,
                                    const char *const *patterns) {
  smft__split_step *step;
  splitter->ctx = ctx;
  for (; *patterns; patterns++) {
    SMFT__TRY(add_cut(splitter, SMFT__CUT_ISOLATED, &step));
    SMFT__TRY(smft__pattern_regex(&step->pattern, ctx, *patterns, (int64_t)strlen(*patterns)));
  }
  return add_step(splitter, SMFT__SPLIT_BYTES, &step);
}

static smft_status read_byte_level(smft__splitter *splitter, const json_t *json) {
  int add_prefix_space = 0, use_regex = 1;
  SMFT__TRY(
      smft__json_bool(json, "add_prefix_space", 1, &add_prefix_space, "pre_tokenizer ByteLevel"));
  SMFT__TRY(smft__json_bool(json, "use_regex", 1, &use_regex, "pre_tokenizer ByteLevel"));
  return smft__splitter_byte_level(splitter, splitter->ctx, add_prefix_space, use_regex);
}

static smft_status read_behavior(const json_t *json, const char *fallback, int32_t *behavior,
                                 const char *what) {
  static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                      "Contiguous"};
  const char *name = NULL;
  SMFT__TRY(smft__json_string(json, "behavior", fallback, &name, what));
  for (int32_t i = 0; name && i < 5; i++)
    if (strcmp(name, names[i]) == 0) {
      *behavior = i;
      return SMFT_OK;
    }
  return smft__fail(SMFT_E_UNSUPPORTED, "%s: behavior \"%s\" is not supported", what,
                    name ? name : "");
}

static smft_status read_split(smft__splitter *splitter, const json_t *json) {
  smft__split_step *step;
  int invert = 0;
  SMFT__TRY(add_cut(splitter, 0, &step));
  SMFT__TRY(read_behavior(json, NULL, &step->behavior, "pre_tokenizer Split"));
  SMFT__TRY(smft__json_bool(json, "invert", 0, &invert, "pre_tokenizer Split"));
  step->invert = invert;
  return smft__pattern_read(&step->pattern, splitter->ctx, json, "pre_tokenizer Split");
}

static smft_status read_digits(smft__splitter *splitter, const json_t *json) {
  int individual = 0;
  SMFT__TRY(smft__json_bool(json, "individual_digits", 0, &individual, "pre_tokenizer Digits"));
  return add_class_cut(splitter, individual ? SMFT__CUT_ISOLATED : SMFT__CUT_CONTIGUOUS,
                       smft__is_number);
}

static smft_status read_punctuation(smft__splitter *splitter, const json_t *json) {
  int32_t behavior;
  SMFT__TRY(read_behavior(json, "Isolated", &behavior, "pre_tokenizer Punctuation"));
  return add_class_cut(splitter, behavior, smft__is_punctuation);
}

static smft_status read_bert(smft__splitter *splitter) {
  SMFT__TRY(add_class_cut(splitter, SMFT__CUT_REMOVED, smft__is_space));
  return add_class_cut(splitter, SMFT__CUT_ISOLATED, smft__is_punctuation);
}

static smft_status read_whitespace(smft__splitter *splitter) {
  smft__split_step *step;
  SMFT__TRY(add_cut(splitter, SMFT__CUT_REMOVED, &step));
  step->invert = 1;
  return smft__pattern_own_regex(&step->pattern, splitter->ctx, WHITESPACE_PATTERN);
}

/* A string of one character. */
static smft_status read_character(const json_t *json, const char *key, const char *fallback,
                                  const char **text, const char *what) {
  SMFT__TRY(smft__json_string(json, key, fallback, text, what));
  size_t length = *text ? strlen(*text) : 0;
  if (length == 0 || smft__utf8_next(*text, length, NULL) != (int32_t)length)
    return smft__fail(SMFT_E_FORMAT, "%s: expected one character as \"%s\"", what, key);
  return SMFT_OK;
}

static smft_status read_delimiter(smft__splitter *splitter, const json_t *json) {
  const char *text;
  smft__split_step *step;
  SMFT__TRY(read_character(json, "delimiter", NULL, &text, "pre_tokenizer CharDelimiterSplit"));
  SMFT__TRY(add_cut(splitter, SMFT__CUT_REMOVED, &step));
  return smft__pattern_literal(&step->pattern, splitter->ctx, text, (int64_t)strlen(text));
}

/* "prepend_scheme" is always, first or never; before there was one, "add_prefix_space" meant always
 * or never. */
static smft_status read_scheme(const json_t *json, int *prefix, int *first_only) {
  const char *what = "pre_tokenizer Metaspace", *scheme = NULL;
  int add_prefix_space = 1;
  SMFT__TRY(smft__json_bool(json, "add_prefix_space", 1, &add_prefix_space, what));
  SMFT__TRY(smft__json_string(json, "prepend_scheme", add_prefix_space ? "always" : "never",
                              &scheme, what));
  *prefix = strcmp(scheme, "never") != 0;
  *first_only = strcmp(scheme, "first") == 0;
  if (*prefix && !*first_only && strcmp(scheme, "always") != 0)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: prepend_scheme \"%s\" is not supported", what,
                      scheme);
  if (*prefix && !add_prefix_space)
    return smft__fail(SMFT_E_FORMAT, "%s: add_prefix_space is false, but prepend_scheme is \"%s\"",
                      what, scheme);
  return SMFT_OK;
}

static smft_status read_metaspace(smft__splitter *splitter, const json_t *json) {
  const char *mark;
  int prefix, first_only, split = 1;
  smft__split_step *step;
  SMFT__TRY(read_scheme(json, &prefix, &first_only));
  SMFT__TRY(read_character(json, "replacement", "\xE2\x96\x81", &mark, "pre_tokenizer Metaspace"));
  SMFT__TRY(smft__json_bool(json, "split", 1, &split, "pre_tokenizer Metaspace"));
  SMFT__TRY(add_step(splitter, SMFT__SPLIT_REPLACE, &step));
  memcpy(step->content, mark, strlen(mark) + 1);
  SMFT__TRY(smft__pattern_literal(&step->pattern, splitter->ctx, " ", 1));
  if (prefix)
    SMFT__TRY(add_prefix(splitter, mark, first_only));
  if (!split)
    return SMFT_OK;
  SMFT__TRY(add_cut(splitter, SMFT__CUT_WITH_NEXT, &step));
  return smft__pattern_literal(&step->pattern, splitter->ctx, mark, (int64_t)strlen(mark));
}

static smft_status read_sequence(smft__splitter *splitter, const json_t *json) {
  const json_t *list = json_object_get(json, "pretokenizers");
  if (!json_is_array(list))
    return smft__fail(SMFT_E_FORMAT, "pre_tokenizer Sequence: expected an array \"pretokenizers\"");
  for (size_t i = 0; i < json_array_size(list); i++)
    SMFT__TRY(smft__splitter_read(splitter, splitter->ctx, json_array_get(list, i)));
  return SMFT_OK;
}

static smft_status read_typed(smft__splitter *splitter, const json_t *json, const char *type) {
  if (strcmp(type, "Sequence") == 0)
    return read_sequence(splitter, json);
  if (strcmp(type, "ByteLevel") == 0)
    return read_byte_level(splitter, json);
  if (strcmp(type, "Split") == 0)
    return read_split(splitter, json);
  if (strcmp(type, "Metaspace") == 0)
    return read_metaspace(splitter, json);
  if (strcmp(type, "Digits") == 0)
    return read_digits(splitter, json);
  if (strcmp(type, "Punctuation") == 0)
    return read_punctuation(splitter, json);
  if (strcmp(type, "WhitespaceSplit") == 0)
    return add_class_cut(splitter, SMFT__CUT_REMOVED, smft__is_space);
  if (strcmp(type, "Whitespace") == 0)
    return read_whitespace(splitter);
  if (strcmp(type, "BertPreTokenizer") == 0)
    return read_bert(splitter);
  if (strcmp(type, "CharDelimiterSplit") == 0)
    return read_delimiter(splitter, json);
  return smft__fail(SMFT_E_UNSUPPORTED, "pre_tokenizer \"%s\" is not supported", type);
}

smft_status smft__splitter_read(smft__splitter *splitter, smft_ctx *ctx, const json_t *json) {
  const char *type = NULL;
  splitter->ctx = ctx;
  if (!json || json_is_null(json))
    return SMFT_OK;
  if (!json_is_object(json))
    return smft__fail(SMFT_E_FORMAT, "pre_tokenizer: expected an object or null");
  SMFT__TRY(smft__json_string(json, "type", "", &type, "pre_tokenizer"));
  return read_typed(splitter, json, type);
}

void smft__splitter_free(smft__splitter *splitter) {
  if (!splitter->ctx)
    return;
  for (int64_t i = 0; i < splitter->n; i++)
    smft__pattern_free(&splitter->steps[i].pattern);
  smft__free(splitter->ctx, splitter->steps);
  memset(splitter, 0, sizeof *splitter);
}
