/* sentence: a short text as words, which of them are names, and what the text is about.  Owns where
 * words begin and end, and the rule for names: capitals, quotes, and the small words between them.
 * Does not own: what English words mean (grammar.c). */
#include "learn/sentence.h"
#include "base/utf8.h"
#include <string.h>
#include <utf8proc.h>

/* Small words that stand inside names: "Bank of the West", "Ludwig van Beethoven". */
static const char inside_names[] = " of the and in on at to for from with a an as by & de da do di "
                                   "du del della la le les los las el "
                                   "y e et en von van der den des zu zur am im auf vom dos das bin "
                                   "ibn al ben of' d' und og och i ";
/* Capitalised at a sentence's beginning without being a name. */
static const char openers[] =
    " what who whom whose which where when why how what's who's where's when's what’s who’s "
    "where’s "
    "when’s in on at for from to by of with under name give state identify tell please can could "
    "do "
    "does did is are was were has have had will would should i i'd i'm the a an ";
static const char never_names[] = " I I'd I'm I'll I've I’d I’m I’ll I’ve ";

/* ---- characters ---------------------------------------------------------- */

static int category_at(const char *text, int32_t begin, int32_t end) {
  uint32_t code = 0;
  if (begin >= end || smft__utf8_next(text + begin, (size_t)(end - begin), &code) == 0)
    return -1;
  return (int)utf8proc_category((utf8proc_int32_t)code);
}

static int is_capital(const char *text, int32_t begin, int32_t end) {
  int c = category_at(text, begin, end);
  return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LT;
}

/* One line of text: no control characters, no line or paragraph separators. */
static int is_one_line(const char *text, size_t length) {
  for (size_t at = 0; at < length;) {
    uint32_t code = 0;
    int32_t step = smft__utf8_next(text + at, length - at, &code);
    int c = step ? (int)utf8proc_category((utf8proc_int32_t)code) : UTF8PROC_CATEGORY_CC;
    if (c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP)
      return 0;
    at += (size_t)step;
  }
  return 1;
}

static int starts(const char *text, int32_t begin, int32_t end, const char *with) {
  size_t n = strlen(with);
  return (size_t)(end - begin) >= n && memcmp(text + begin, with, n) == 0;
}

static int ends(const char *text, int32_t begin, int32_t end, const char *with) {
  size_t n = strlen(with);
  return (size_t)(end - begin) >= n && memcmp(text + end - n, with, n) == 0;
}

/* ---- words --------------------------------------------------------------- */

static int has_word(const smft__sentence *s, int32_t i, const char *list, int lower) {
  char word[32];
  if (i < 0 || i >= s->n)
    return 0;
  int32_t begin = s->words[i].begin, n = s->words[i].end - begin;
  if (n > 28 || s->words[i].is_quoted)
    return 0;
  word[0] = ' ';
  memcpy(word + 1, s->text + begin, (size_t)n);
  if (lower && word[1] >= 'A' && word[1] <= 'Z')
    word[1] = (char)(word[1] + 'a' - 'A');
  word[n + 1] = ' ';
  word[n + 2] = '\0';
  return strstr(list, word) != NULL;
}

int smft__sentence_has(const smft__sentence *s, int32_t i, const char *list) {
  return has_word(s, i, list, i == 0);
}

/* Without what closes a phrase, then without the 's of an owner. */
static void end_bare(const smft__sentence *s, smft__text_word *word) {
  static const struct {
    const char *ending;
    int32_t n; /* bytes of it that are not the name's */
  } owners[] = {{"'s", 2}, {"’s", 4}, {"s'", 1}, {"s’", 3}};
  int32_t own = 0;
  word->bare = word->end;
  while (word->bare > word->begin + 1 && strchr(",;:.!?", s->text[word->bare - 1]))
    word->bare--;
  if (word->end - word->bare == 1 && s->text[word->bare] == '.')
    word->bare = word->end; /* "Jr.", "D.C." */
  for (size_t i = 0; i < sizeof owners / sizeof *owners && !own; i++)
    own = ends(s->text, word->begin, word->bare, owners[i].ending) ? owners[i].n : 0;
  word->is_owner = own > 0 && word->bare - own > word->begin;
  word->bare -= word->is_owner ? own : 0;
}

static int split(smft__sentence *s) {
  const char *text = s->text;
  for (int32_t at = s->begin; at < s->end;) {
    smft__text_word word = {.begin = at};
    while (at < s->end && text[at] != ' ')
      at++;
    word.end = at;
    while (at < s->end && text[at] == ' ')
      at++;
    if (s->n == SMFT__SENTENCE_WORDS)
      return 0;
    end_bare(s, &word);
    word.is_number = text[word.begin] >= '0' && text[word.begin] <= '9';
    s->words[s->n++] = word;
  }
  return s->n > 0;
}

/* Words from bytes begin to end count as names. */
static void mark_span(smft__sentence *s, int32_t begin, int32_t end, int quoted) {
  for (int32_t i = 0; i < s->n; i++)
    if (s->words[i].end > begin && s->words[i].begin < end) {
      s->words[i].is_name = 1;
      s->words[i].is_quoted |= quoted != 0;
    }
}

static void take_subject(smft__sentence *s, int32_t begin, int32_t end) {
  if (end - begin > s->n_subject) {
    s->subject = begin;
    s->n_subject = end - begin;
  }
}

/* ---- quotes -------------------------------------------------------------- */

/* What is quoted is a name, whatever stands in it; the longest is the subject.  0: a quote does not
 * end. */
static int mark_quotes(smft__sentence *s) {
  static const char *const pairs[][2] = {
      {"\"", "\""},
      {"“", "”"},
      {"„", "“"},
      {"«", "»"},
  };
  for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++)
    for (int32_t at = s->begin; at < s->end; at++) {
      if (!starts(s->text, at, s->end, pairs[p][0]))
        continue;
      int32_t inner = at + (int32_t)strlen(pairs[p][0]), close = inner;
      while (close < s->end && !starts(s->text, close, s->end, pairs[p][1]))
        close++;
      if (close == s->end)
        return p == 1; /* the second sign of „“, perhaps */
      mark_span(s, at, close + 1, 1);
      take_subject(s, inner, close);
      at = close + (int32_t)strlen(pairs[p][1]) - 1;
    }
  return 1;
}

/* ---- names --------------------------------------------------------------- */

/* Word i, its first letter in lower case, opens sentences. */
static int opens(const smft__sentence *s, int32_t i) {
  return has_word(s, i, openers, 1) || has_word(s, i, never_names, 0);
}

static void mark_capitals(smft__sentence *s) {
  for (int32_t i = 0; i < s->n; i++) {
    smft__text_word *word = &s->words[i];
    if (!(i == 0 && opens(s, 0)) && !has_word(s, i, never_names, 0) &&
        is_capital(s->text, word->begin, word->end))
      word->is_name = 1;
    if (starts(s->text, word->begin, word->end, "(") &&
        is_capital(s->text, word->begin + 1, word->end))
      word->is_name = 1;
  }
}

/* A sentence ends with word i: not with the ". " of a name ("J. K. Rowling", "Warner Bros.
 * Pictures"), unless what follows opens a question. */
static int ends_sentence(const smft__sentence *s, int32_t i) {
  const smft__text_word *word = &s->words[i];
  char last = s->text[word->end - 1];
  if (word->is_quoted || i + 1 >= s->n)
    return 0;
  return last == '?' || last == '!' || (last == '.' && (!word->is_name || opens(s, i + 1)));
}

/* Bytes of the dot that ends a sentence, not a name. */
static int32_t ends_with_dot(const smft__sentence *s, int32_t i) {
  int32_t bare = s->words[i].bare;
  return ends_sentence(s, i) && s->text[bare - 1] == '.' ? 1 : 0;
}

/* A phrase ends with this word: "Trivia: ...", but not "2001: A Space Odyssey". */
static int is_broken_at(const smft__sentence *s, int32_t i) {
  char last = s->text[s->words[i].end - 1];
  return last == ';' || (last == ':' && i == 0 && !s->words[0].is_number) || ends_sentence(s, i);
}

/* One past the last word of the name that begins with word i. */
static int32_t name_end(const smft__sentence *s, int32_t i) {
  int32_t end = i + 1;
  for (int32_t at = end; at < s->n && at - end <= 2 && !is_broken_at(s, at - 1); at++) {
    int names = s->words[at].is_name || (s->words[at].is_number && at == end);
    if (names)
      end = at + 1;
    else if (!smft__sentence_has(s, at, inside_names))
      break;
  }
  return end;
}

/* Small words between names belong to them; the longest name is the subject.  A single capital at
 * the beginning of a question is no name: that is how every text begins. */
static void join_names(smft__sentence *s) {
  for (int32_t i = 0; i < s->n;) {
    int numbered = s->words[i].is_number && i + 1 < s->n && s->words[i + 1].is_name;
    if (!s->words[i].is_name && !numbered) {
      i++;
      continue;
    }
    int32_t end = name_end(s, i), first = s->words[i].begin;
    for (int32_t at = i; at < end; at++)
      s->words[at].is_name = 1;
    if (i == 0 && end == 1 && s->has_mark)
      s->words[0].is_name = 0;
    else if (!s->words[i].is_quoted || !s->words[end - 1].is_quoted) /* that was taken already */
      take_subject(s, first, s->words[end - 1].bare - ends_with_dot(s, end - 1));
    i = end;
  }
}

static void mark_given(smft__sentence *s, const char *subject) {
  size_t n = subject ? strlen(subject) : 0, room = (size_t)(s->end - s->begin);
  for (size_t at = 0; n > 0 && n <= room && at <= room - n; at++)
    if (memcmp(s->text + s->begin + at, subject, n) == 0) {
      mark_span(s, s->begin + (int32_t)at, s->begin + (int32_t)(at + n), 0);
      return;
    }
}

/* ---- the whole ----------------------------------------------------------- */

/* Takes white space and the marks that end a question or an order off. */
static void trim(smft__sentence *s) {
  while (s->begin < s->end && s->text[s->begin] == ' ')
    s->begin++;
  while (s->end > s->begin && strchr(" ?", s->text[s->end - 1])) {
    s->has_mark |= s->text[s->end - 1] == '?';
    s->end--;
  }
  if (!s->has_mark && s->end > s->begin && s->text[s->end - 1] == '.')
    s->end--;
}

static int is_single(const smft__sentence *s) {
  for (int32_t i = 0; i < s->n; i++)
    if (ends_sentence(s, i))
      return 0;
  return 1;
}

int smft__sentence_read(smft__sentence *out, const char *text, size_t length, const char *subject) {
  memset(out, 0, sizeof *out);
  if (length > SMFT__SENTENCE_BYTES || !is_one_line(text, length))
    return 0;
  out->text = text;
  out->end = (int32_t)length;
  trim(out);
  if (!split(out) || !mark_quotes(out))
    return 0;
  mark_capitals(out);
  mark_given(out, subject);
  join_names(out);
  out->is_single = is_single(out);
  return 1;
}
