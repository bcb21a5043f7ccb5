/* regex: finding literals, character classes and regular expressions in text. Expressions
 * are compiled once by PCRE2 (with its just-in-time compiler where there is one) and never changed;
 * what a search needs is in the caller's smft__scan. Does not own: the syntax of expressions
 * (translate.c), what is done with matches (split.c and others). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/tokenizer/regex.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include <pcre2.h>
#include <string.h>

/* PCRE2's own limit of one match, and so many more for each byte of text: white space is scanned in
 */
#define STEPS_LEAST 10000000
#define STEPS_PER_BYTE 16     /* several alternatives of the usual expressions */
#define HEAP_MOST_KIB 1048576 /* of backtracking state */

struct smft__regex {
  pcre2_general_context *memory;
  pcre2_code *code;
};

/* ---- making -------------------------------------------------------------- */

static void *take_memory(PCRE2_SIZE size, void *ctx) { return smft__alloc(ctx, size); }
static void give_memory(void *block, void *ctx) { smft__free(ctx, block); }

smft_status smft__pattern_literal(smft__pattern *pattern, smft_ctx *ctx, const char *text,
                                  int64_t length) {
  if (length == 0)
    return smft__fail(SMFT_E_UNSUPPORTED, "an empty pattern is not supported");
  memset(pattern, 0, sizeof *pattern);
  pattern->ctx = ctx;
  pattern->literal = smft__alloc_array(ctx, length, 1);
  if (!pattern->literal)
    return SMFT_E_NOMEM;
  memcpy(pattern->literal, text, (size_t)length);
  pattern->literal_length = length;
  return SMFT_OK;
}

static smft_status fail_compile(int error, PCRE2_SIZE at, const char *text) {
  char reason[160];
  if (error == PCRE2_ERROR_HEAP_FAILED)
    return smft__fail(SMFT_E_NOMEM, "out of memory: compiling the regular expression \"%.200s\"",
                      text);
  pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
  return smft__fail(SMFT_E_UNSUPPORTED, "regular expression \"%.200s\": %s at its byte %zu", text,
                    reason, (size_t)at);
}

/* The text is the translated one. */
static smft_status compile(smft__regex *regex, const char *text, int64_t length) {
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_compile_context *how = pcre2_compile_context_create(regex->memory);
  if (!how)
    return SMFT_E_NOMEM;
  pcre2_set_newline(how, PCRE2_NEWLINE_LF);
  regex->code = pcre2_compile((PCRE2_SPTR)text, (PCRE2_SIZE)length, options, &error, &at, how);
  pcre2_compile_context_free(how);
  if (!regex->code)
    return fail_compile(error, at, text);
  /* where that fails, the interpreter gives the same matches */
  pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
  return SMFT_OK;
}

static smft_status make_regex(smft__pattern *pattern, smft_ctx *ctx, const char *text,
                              int64_t length) {
  memset(pattern, 0, sizeof *pattern);
  pattern->ctx = ctx;
  pattern->regex = smft__calloc_array(ctx, 1, sizeof *pattern->regex);
  if (!pattern->regex)
    return SMFT_E_NOMEM;
  pattern->regex->memory = pcre2_general_context_create(take_memory, give_memory, ctx);
  if (!pattern->regex->memory)
    return SMFT_E_NOMEM;
  return compile(pattern->regex, text, length);
}

smft_status smft__pattern_own_regex(smft__pattern *pattern, smft_ctx *ctx, const char *text) {
  return make_regex(pattern, ctx, text, (int64_t)strlen(text));
}

smft_status smft__pattern_regex(smft__pattern *pattern, smft_ctx *ctx, const char *text,
                                int64_t length) {
  smft__buffer translated = {ctx, NULL, 0, 0};
  smft_status status =
      length > 0 ? smft__regex_translate(&translated, text, length)
                 : smft__fail(SMFT_E_UNSUPPORTED, "an empty regular expression is not supported");
  if (status == SMFT_OK)
    status = make_regex(pattern, ctx, translated.data, translated.length);
  smft__buffer_free(&translated);
  return status;
}

void smft__pattern_free(smft__pattern *pattern) {
  if (!pattern->ctx)
    return;
  if (pattern->regex) {
    pcre2_code_free(pattern->regex->code);
    pcre2_general_context_free(pattern->regex->memory);
  }
  smft__free(pattern->ctx, pattern->regex);
  smft__free(pattern->ctx, pattern->literal);
  memset(pattern, 0, sizeof *pattern);
}

/* ---- finding ------------------------------------------------------------- */

void smft__scan_free(smft__scan *scan) {
  pcre2_match_data_free(scan->match);
  pcre2_match_context_free(scan->limits);
  scan->match = scan->limits = NULL;
}

/* One block of match data serves every expression: only the whole match is asked for. */
static smft_status prepare(smft__scan *scan, const smft__regex *regex, int64_t length) {
  if (!scan->match)
    scan->match = pcre2_match_data_create(1, regex->memory);
  if (!scan->limits)
    scan->limits = pcre2_match_context_create(regex->memory);
  if (!scan->match || !scan->limits)
    return SMFT_E_NOMEM;
  if (scan->limits_for == 0)
    pcre2_set_heap_limit(scan->limits, HEAP_MOST_KIB);
  if (scan->limits_for == 0 || scan->limits_for < length) {
    int64_t steps = length < (INT32_MAX - STEPS_LEAST) / STEPS_PER_BYTE
                        ? STEPS_LEAST + STEPS_PER_BYTE * length
                        : INT32_MAX;
    pcre2_set_match_limit(scan->limits, (uint32_t)steps);
    pcre2_set_depth_limit(scan->limits, (uint32_t)steps);
    scan->limits_for = length > 0 ? length : 1;
  }
  return SMFT_OK;
}

static smft_status fail_match(int error, int64_t from) {
  char reason[160];
  if (error == PCRE2_ERROR_NOMEMORY)
    return smft__fail(SMFT_E_NOMEM, "out of memory: splitting text at byte %lld of a part",
                      (long long)from);
  pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
  return smft__fail(
      SMFT_E_UNSUPPORTED,
      "the tokenizer's regular expression cannot be matched at byte %lld of a part of the text: %s",
      (long long)from, reason);
}

static smft_status find_regex(const smft__regex *regex, smft__scan *scan, const char *text,
                              int64_t length, int64_t from, int64_t *start, int64_t *end) {
  SMFT__TRY(prepare(scan, regex, length));
  /* checked once for the whole text: a check per match would be quadratic */
  uint32_t options = PCRE2_NO_UTF_CHECK;
  int found = pcre2_match(regex->code, (PCRE2_SPTR)text, (PCRE2_SIZE)length, (PCRE2_SIZE)from,
                          options, scan->match, scan->limits);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its state on the heap */
    found = pcre2_match(regex->code, (PCRE2_SPTR)text, (PCRE2_SIZE)length, (PCRE2_SIZE)from,
                        options | PCRE2_NO_JIT, scan->match, scan->limits);
  *start = *end = -1;
  if (found == PCRE2_ERROR_NOMATCH)
    return SMFT_OK;
  if (found < 0)
    return fail_match(found, from);
  const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(scan->match);
  *start = (int64_t)offsets[0];
  *end = (int64_t)offsets[1];
  return SMFT_OK;
}

static void find_class(smft__code_class is_member, const char *text, int64_t length, int64_t from,
                       int64_t *start, int64_t *end) {
  *start = *end = -1;
  for (int64_t at = from; at < length;) {
    uint32_t code = 0;
    int32_t step = smft__utf8_next(text + at, (size_t)(length - at), &code);
    if (is_member(code)) {
      *start = at;
      *end = at + step;
      return;
    }
    at += step > 0 ? step : 1;
  }
}

smft_status smft__pattern_find(const smft__pattern *pattern, smft__scan *scan, const char *text,
                               int64_t length, int64_t from, int64_t *start, int64_t *end) {
  if (pattern->regex)
    return find_regex(pattern->regex, scan, text, length, from, start, end);
  if (pattern->code_class) {
    find_class(pattern->code_class, text, length, from, start, end);
    return SMFT_OK;
  }
  const char *found = memmem(text + from, (size_t)(length - from), pattern->literal,
                             (size_t)pattern->literal_length);
  *start = found ? found - text : -1;
  *end = found ? *start + pattern->literal_length : -1;
  return SMFT_OK;
}

smft_status smft__matches_next(smft__matches *matches, int64_t *start, int64_t *end) {
  *start = *end = -1;
  while (matches->at <= matches->length) {
    SMFT__TRY(smft__pattern_find(matches->pattern, matches->scan, matches->text, matches->length,
                                 matches->at, start, end));
    if (*start < 0)
      break;
    int64_t step = *start < *end ? 0
                                 : smft__utf8_next(matches->text + *end,
                                                   (size_t)(matches->length - *end), NULL);
    matches->at = *start < *end ? *end : *end + (step > 0 ? step : 1);
    if (*start == *end && *start == matches->last_end)
      continue;
    matches->last_end = *end;
    return SMFT_OK;
  }
  *start = *end = -1;
  return SMFT_OK;
}
