/* translate: regular expressions in Oniguruma's Ruby syntax (that of tokenizer.json) to
 * PCRE2's. Only a part of the language is let through: what both engines read alike, and what can
 * be rewritten exactly (white space, line ends, scripts).  Anything else is an error that names it:
 * a wrong split would give wrong ids and no sign of it. Does not own: compiling and matching
 * (regex.c). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/bytes.h"
#include "data/tokenizer/regex.h"
#include <pcre2.h>
#include <string.h>

/* Unicode's White_Space and its complement, for use inside brackets.  PCRE2's own \s has U+180E
 * too. */
#define WHITE_SPACE                                                                                \
  "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{"  \
  "205f}\\x{3000}"
#define NOT_WHITE_SPACE                                                                            \
  "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"  \
  "\\x{200b}-\\x{2027}"                                                                            \
  "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

#if PCRE2_MAJOR > 10 || (PCRE2_MAJOR == 10 && PCRE2_MINOR >= 40)
#define SCRIPT "sc:" /* since 10.40 a bare script name means the script's extensions too */
#else
#define SCRIPT ""
#endif

typedef struct source {
  smft__buffer *out;
  const char *text;
  int64_t length, at;
  int in_class;
  int can_repeat; /* the last thing is an atom, so that a quantifier may follow */
} source;

static smft_status unsupported(const source *in, const char *what) {
  return smft__fail(SMFT_E_UNSUPPORTED,
                    "regular expression \"%.*s\": %s at its byte %lld is not supported",
                    (int)(in->length < 200 ? in->length : 200), in->text, what, (long long)in->at);
}

static smft_status put(source *in, const char *text) {
  return smft__buffer_put(in->out, text, (int64_t)strlen(text));
}

static smft_status copy(source *in, int64_t n) {
  SMFT__TRY(smft__buffer_put(in->out, in->text + in->at, n));
  in->at += n;
  return SMFT_OK;
}

/* 0 past the end. */
static char peek(const source *in, int64_t ahead) {
  return in->at + ahead < in->length ? in->text[in->at + ahead] : '\0';
}

static int starts(const source *in, const char *word) {
  size_t n = strlen(word);
  return in->length - in->at >= (int64_t)n && memcmp(in->text + in->at, word, n) == 0;
}

static int is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static int is_digit(char c) { return c >= '0' && c <= '9'; }
static int is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* \p{L}, \p{^Lu}, \P{Han}: a general category of one or two letters as it is, a longer name as a
 * script. */
static smft_status translate_property(source *in) {
  int64_t name = 3, n = 0;
  if (peek(in, 2) != '{')
    return unsupported(in, "a property without braces");
  if (peek(in, 3) == '^')
    name = 4;
  while (is_letter(peek(in, name + n)))
    n++;
  if (n == 0 || peek(in, name + n) != '}')
    return unsupported(in, "this property");
  SMFT__TRY(copy(in, name));
  if (n > 2)
    SMFT__TRY(put(in, SCRIPT));
  return copy(in, n + 1);
}

/* \uHHHH; \x{H...}; \xHH means a byte to Oniguruma, which is a character only below 0x80. */
static smft_status translate_number(source *in) {
  int64_t digits = peek(in, 1) == 'u' ? 4 : 2, skip = 2;
  if (peek(in, 1) == 'x' && peek(in, 2) == '{') {
    for (digits = 0, skip = 3; is_hex(peek(in, skip + digits));)
      digits++;
    if (digits == 0 || digits > 6 || peek(in, skip + digits) != '}')
      return unsupported(in, "this character number");
  }
  for (int64_t i = 0; i < digits; i++)
    if (!is_hex(peek(in, skip + i)))
      return unsupported(in, "this character number");
  if (skip == 2 && digits == 2 && peek(in, 2) > '7')
    return unsupported(in, "a byte above 7F");
  SMFT__TRY(smft__buffer_printf(in->out, "\\x{%.*s}", (int)digits, in->text + in->at + skip));
  in->at += skip + digits + (skip == 3);
  return SMFT_OK;
}

static smft_status translate_space(source *in) {
  int negative = peek(in, 1) == 'S';
  in->at += 2;
  if (in->in_class)
    return put(in, negative ? NOT_WHITE_SPACE : WHITE_SPACE);
  return put(in, negative ? "[^" WHITE_SPACE "]" : "[" WHITE_SPACE "]");
}

static smft_status translate_escape(source *in) {
  char c = peek(in, 1);
  in->can_repeat = 1;
  if (c == 's' || c == 'S')
    return translate_space(in);
  if (c == 'p' || c == 'P')
    return translate_property(in);
  if (c == 'u' || c == 'x')
    return translate_number(in);
  if (c == 'v') { /* a vertical tab here, any vertical space to PCRE2 */
    in->at += 2;
    return put(in, "\\x{b}");
  }
  if (c && strchr("nrtfaedD", c))
    return copy(in, 2);
  if (!in->in_class && (c == 'A' || c == 'z')) {
    in->can_repeat = 0;
    return copy(in, 2);
  }
  if (c > ' ' && c < 0x7F && !is_letter(c) && !is_digit(c))
    return copy(in, 2);
  if (c == ' ')
    return copy(in, 2);
  return unsupported(in, "this escape");
}

/* A set of characters as an end of a range ("[\\s-x]", "[a-\\d]") is a literal '-' to one engine
 * and an error or worse to the other. */
static int is_set_in_range(const source *in, int64_t start) {
  int64_t at = in->at, end = at + 2;
  char c = peek(in, 1);
  if (peek(in, 0) != '\\' || !c || !strchr("sSpPdD", c))
    return 0;
  if ((c == 'p' || c == 'P') && peek(in, 2) == '{')
    while (end < in->length && in->text[end - 1] != '}')
      end++;
  int before = at - start >= 2 && in->text[at - 1] == '-' && in->text[at - 2] != '\\';
  return before || (end + 1 < in->length && in->text[end] == '-' && in->text[end + 1] != ']');
}

/* [...]: no classes within classes, no intersections, no POSIX names. */
static smft_status translate_class(source *in) {
  int64_t start;
  SMFT__TRY(copy(in, peek(in, 1) == '^' ? 2 : 1));
  if (peek(in, 0) == ']')
    return unsupported(in, "an empty class");
  in->in_class = 1;
  for (start = in->at; in->at < in->length && peek(in, 0) != ']';) {
    if (peek(in, 0) == '[' || starts(in, "&&"))
      return unsupported(in, "a class within a class");
    if ((starts(in, "--") && in->at > start) || is_set_in_range(in, start))
      return unsupported(in, "a range like this");
    SMFT__TRY(peek(in, 0) == '\\' ? translate_escape(in) : copy(in, 1));
  }
  in->in_class = 0;
  if (in->at >= in->length)
    return unsupported(in, "a class without an end");
  in->can_repeat = 1;
  return copy(in, 1);
}

/* An option in the middle of an expression reaches further in Ruby than in Perl, so (?i) is let
 * through at the start only. */
static smft_status translate_group(source *in) {
  static const char *const openings[] = {"(?:",  "(?=", "(?!",  "(?<=",
                                         "(?<!", "(?>", "(?i:", "(?-i:"};
  in->can_repeat = 0;
  if (in->at == 0 && starts(in, "(?i)"))
    return copy(in, 4);
  for (size_t i = 0; i < sizeof openings / sizeof *openings; i++)
    if (starts(in, openings[i]))
      return copy(in, (int64_t)strlen(openings[i]));
  if (peek(in, 1) == '?' || peek(in, 1) == '*')
    return unsupported(in, "this kind of group");
  return copy(in, 1);
}

/* {n}, {n,}, {n,m}, {n,m}? as they are; {,m}, {n}? and {n,m}+ mean different things to the two
 * engines. */
static smft_status translate_braces(source *in) {
  int64_t n = 1, comma = 0;
  while (is_digit(peek(in, n)) || (peek(in, n) == ',' && !comma && n > 1)) {
    if (peek(in, n) == ',')
      comma = n;
    n++;
  }
  if (n == 1 || peek(in, n) != '}')
    return unsupported(in, "this repetition");
  char next = peek(in, n + 1);
  if (next == '+' || next == '*' || next == '{' || (next == '?' && !comma))
    return unsupported(in, "a repetition of a repetition");
  in->can_repeat = 0;
  return copy(in, n + 1 + (next == '?'));
}

/* * + ? with ? (lazy) or + (possessive) after it. */
static smft_status translate_repeat(source *in) {
  if (!in->can_repeat)
    return unsupported(in, "a repetition of nothing or of a repetition");
  if (peek(in, 0) == '{')
    return translate_braces(in);
  in->can_repeat = 0;
  return copy(in, peek(in, 1) == '?' || peek(in, 1) == '+' ? 2 : 1);
}

static smft_status translate_next(source *in) {
  char c = peek(in, 0);
  if (c == '\\')
    return translate_escape(in);
  if (c == '[')
    return translate_class(in);
  if (c == '(')
    return translate_group(in);
  if (c == '*' || c == '+' || c == '?' || c == '{')
    return translate_repeat(in);
  if (c == '\0' || c == '}' || c == ']')
    return unsupported(in, "this character");
  /* ^ and $ are of lines in both: PCRE2_MULTILINE */
  in->can_repeat = c != '|' && c != '^' && c != '$';
  return copy(in, 1);
}

smft_status smft__regex_translate(smft__buffer *out, const char *text, int64_t length) {
  source in = {out, text, length, 0, 0, 0};
  while (in.at < length)
    SMFT__TRY(translate_next(&in));
  return SMFT_OK;
}
