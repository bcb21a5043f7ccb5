/* join: whether a space stands between two texts that are written one behind the other, by the
 * characters that meet.  Does not own: how the joined text becomes ids (encode.c). */
#include "base/utf8.h"
#include "data/tokenizer.h"
#include "data/tokenizer/unicode.h"
#include <utf8proc.h>

#define NONE 0 /* in place of a character where there is none, or no valid one */

typedef struct reader { /* of the characters of a text, from one of its ends */
  const char *text;
  size_t begin, end;
} reader;

static uint32_t take_first(reader *r) {
  uint32_t code = NONE;
  int32_t n = smft__utf8_next(r->text + r->begin, r->end - r->begin, &code);
  r->begin = n ? r->begin + (size_t)n : r->end;
  return n ? code : NONE;
}

static uint32_t take_last(reader *r) {
  uint32_t code = NONE;
  size_t at = r->end;
  while (at > r->begin && r->end - at < 4 && ((unsigned char)r->text[--at] & 0xC0u) == 0x80u)
    continue;
  int32_t n = smft__utf8_next(r->text + at, r->end - at, &code);
  n = n && at + (size_t)n == r->end ? n : 0;
  r->end = n ? at : r->begin;
  return n ? code : NONE;
}

static int category(uint32_t code) { return (int)utf8proc_category((utf8proc_int32_t)code); }

/* A mark that opens or closes, as its place says: "Emma", „Emma“, »Emma«. */
static int is_quote(uint32_t code) {
  int c = category(code);
  return code == '"' || code == '\'' || c == UTF8PROC_CATEGORY_PI || c == UTF8PROC_CATEGORY_PF;
}

static int opens(uint32_t code) {
  return category(code) == UTF8PROC_CATEGORY_PS || code == 0xBF || code == 0xA1; /* ¿ ¡ */
}

static int closes(uint32_t code) {
  static const uint32_t signs[] = {'.',    ',',   ';',   ':',   '!',   '?',   '%',
                                   0x2026, 0x60C, 0x61B, 0x61F, 0x6D4, 0x964, 0x965};
  for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
    if (code == signs[i])
      return 1;
  return category(code) == UTF8PROC_CATEGORY_PE;
}

static int is_word_sign(uint32_t code) { /* ASCII alone: what makes ".NET" and ".5" words */
  return (code >= '0' && code <= '9') || ((code | 32) >= 'a' && (code | 32) <= 'z');
}

/* ---- scripts without spaces ---------------------------------------------- */

typedef struct range {
  uint32_t first, last;
} range;

static int is_in(uint32_t code, const range *ranges, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (code >= ranges[i].first && code <= ranges[i].last)
      return 1;
  return 0;
}

/* Han and kana, with their full-width signs. */
static int is_east_asian(uint32_t code) {
  static const range ranges[] = {{0x2E80, 0x312F},   {0x31A0, 0x9FFF},  {0xF900, 0xFAFF},
                                 {0xFE30, 0xFE4F},   {0xFF01, 0xFF9F},  {0xFFE0, 0xFFEF},
                                 {0x1B000, 0x1B16F}, {0x20000, 0x3FFFF}};
  return is_in(code, ranges, sizeof ranges / sizeof *ranges);
}

/* Thai and Lao, Myanmar, Khmer. */
static int is_south_east_asian(uint32_t code) {
  static const range ranges[] = {{0x0E00, 0x0EFF}, {0x1000, 0x109F}, {0x1780, 0x17FF},
                                 {0x19E0, 0x19FF}, {0xA9E0, 0xA9FF}, {0xAA60, 0xAA7F}};
  return is_in(code, ranges, sizeof ranges / sizeof *ranges);
}

/* A full-width sign has its space in it. */
static int is_wide_sign(uint32_t code) { return is_east_asian(code) && smft__is_punctuation(code); }

/* Chinese and Japanese text puts none before Latin letters and digits either; Thai does. */
static int without_spaces(uint32_t last, uint32_t first) {
  return is_wide_sign(last) || is_wide_sign(first) || is_east_asian(last) ||
         (is_south_east_asian(last) && (is_south_east_asian(first) || is_east_asian(first)));
}

/* ---- where the two texts meet -------------------------------------------- */

/* A quotation mark at the end opens where white space, or nothing, or a bracket stands before it.
 */
static int ends_open(reader before) {
  uint32_t code = take_last(&before);
  if (!is_quote(code))
    return opens(code);
  while (is_quote(code))
    code = take_last(&before);
  return code == NONE || smft__is_space(code) || opens(code);
}

/* A quotation mark at the beginning closes where no word follows it; an apostrophe is one. */
static int begins_closed(reader after) {
  uint32_t code = take_first(&after);
  if (closes(code))
    return category(code) == UTF8PROC_CATEGORY_PE || !is_word_sign(take_first(&after));
  if (!is_quote(code) || code == 0x2019)
    return code == 0x2019;
  while (is_quote(code))
    code = take_first(&after);
  return code == NONE || smft__is_space(code) || closes(code);
}

int smft__text_needs_space(const char *before, size_t n_before, const char *after, size_t n_after) {
  reader left = {before, 0, n_before}, right = {after, 0, n_after};
  reader left_end = left, right_begin = right;
  if (n_before == 0 || n_after == 0)
    return 0;
  uint32_t last = take_last(&left_end), first = take_first(&right_begin);
  return !smft__is_space(last) && !smft__is_space(first) && !ends_open(left) &&
         !begins_closed(right) && !without_spaces(last, first);
}
