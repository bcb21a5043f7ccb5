/* others: see others.h.  Owns the names, and which questions are made with them; how a question
 * becomes ids is wordings.c's, what is done with them contrast.c's.
 * Early blocks tell what a name's word is, and hardly beside which other it stands: a row that
 * reads "Elizabeth" in the subject of a fact reads it in every Elizabeth's.  A name with that word
 * alone says which rows these are; left are those that want more of the subject. */
#include "learn/others.h"
#include "base/parallel.h"
#include "learn/grammar.h"
#include <string.h>

/* People, places, works: what they are does not matter, as long as they are many. */
static const char *const names[] = {
    "Maria Silva",    "Oakland",       "The Long Road", "Tom Wilson",   "Lake Tahoma",
    "Li Wei",         "Midnight Sun",  "Kingsbridge",   "Anna Keller",  "Port Ellen",
    "Golden Days",    "John Parker",   "Green Valley",  "David Okafor", "Silent Hours",
    "Novara",         "Sofia Petrova", "Brightwater",   "The Stranger", "Carlos Mendes",
    "Blue River",     "Emma Brown",    "Broken Wings",  "Santa Rosa",   "Ahmed Hassan",
    "Northfield",     "A Quiet Place", "Robert Lang",   "Mount Arden",  "Yuki Tanaka",
    "The Last Train", "Westmore"};
#define N_NAMES (sizeof names / sizeof *names)
#define MOST_WORDS 8  /* of a subject; one of more is rather a sentence */
#define TIMES 2       /* that each word stands among others */
#define MOST_PARTS 12 /* tokens of a subject: as for words */
#define N_BY_TOKEN 8  /* names among whose tokens they stand */

typedef struct span { /* bytes of a text */
  size_t at, n;
} span;

static span subject_in(const char *question, const char *subject) {
  smft__sentence s = {0};
  smft__grammar g = {0};
  const char *found = subject && *subject ? strstr(question, subject) : NULL;
  if (subject)
    return (span){found ? (size_t)(found - question) : 0, found ? strlen(subject) : 0};
  if (!smft__sentence_read(&s, question, strlen(question), NULL))
    return (span){0, 0};
  smft__grammar_read(&g, &s, "");
  int32_t n, at = smft__grammar_subject(&g, &s, &n);
  return (span){(size_t)at, (size_t)n};
}

static smft_status add(smft__frames *out, const char *question, span subject, const char *name) {
  smft__buffer text = {out->ctx, NULL, 0, 0};
  smft_status status = smft__buffer_printf(&text, "%.*s%s%s", (int)subject.at, question, name,
                                           question + subject.at + subject.n);
  if (status == SMFT_OK)
    return smft__frames_add(out, SMFT_FRAME_CHAT, text.data);
  smft__buffer_free(&text);
  return status;
}

/* ---- by name ------------------------------------------------------------- */

/* The letters of one of the name's words stand in the question: it may be about the same, or about
 * one that is called so, too. */
static int shares_word(const char *name, const char *question) {
  char word[32];
  while (*name) {
    size_t n = strcspn(name, " ");
    memcpy(word, name, n);
    word[n] = '\0';
    if (strstr(question, word))
      return 1;
    name += n + (name[n] != '\0');
  }
  return 0;
}

smft_status smft__others_by_name(smft__frames *out, const char *question, const char *subject) {
  span found = subject_in(question, subject);
  for (size_t i = 0; found.n > 0 && i < N_NAMES; i++)
    if (!shares_word(names[i], question))
      SMFT__TRY(add(out, question, found, names[i]));
  return SMFT_OK;
}

/* ---- by word ------------------------------------------------------------- */

static size_t n_words(const char *text, size_t n) {
  size_t count = 1;
  for (size_t i = 0; i < n; i++)
    count += text[i] == ' ';
  return count;
}

static size_t word_length(const char *text, size_t n) {
  const char *space = memchr(text, ' ', n);
  return space ? (size_t)(space - text) : n;
}

/* A name's first word opens one, its last ends one. */
static span word_of_name(const char *name, size_t place) {
  const char *last = strrchr(name, ' ');
  if (place == 0 || !last)
    return (span){0, strcspn(name, " ")};
  return (span){(size_t)(last + 1 - name), strlen(last + 1)};
}

/* The subject, of which only word `kept` stays. */
static smft_status put_words(smft__buffer *out, const char *subject, size_t n, size_t kept,
                             size_t time) {
  smft_status status = SMFT_OK;
  size_t at = 0, words = n_words(subject, n);
  for (size_t k = 0; k < words && status == SMFT_OK; k++) {
    const char *name = names[(kept * 5 + k * 3 + time * 11 + n) % N_NAMES];
    span own = {at, word_length(subject + at, n - at)}, other = word_of_name(name, k);
    const char *word = k == kept ? subject + own.at : name + other.at;
    size_t length = k == kept ? own.n : other.n;
    status = smft__buffer_printf(out, "%s%.*s", k > 0 ? " " : "", (int)length, word);
    at += own.n + 1;
  }
  return status;
}

/* What was put in place of its words may be just these. */
static int is_subject(const smft__buffer *name, const char *subject, size_t n) {
  return (size_t)name->length == n && memcmp(name->data, subject, n) == 0;
}

static smft_status add_namesake(smft__frames *out, const char *question, span subject, size_t kept,
                                size_t time) {
  smft__buffer name = {out->ctx, NULL, 0, 0};
  const char *text = question + subject.at;
  smft_status status = put_words(&name, text, subject.n, kept, time);
  if (status == SMFT_OK && !is_subject(&name, text, subject.n))
    status = add(out, question, subject, name.data);
  smft__buffer_free(&name);
  return status;
}

smft_status smft__others_by_word(smft__frames *out, const char *question, const char *subject) {
  span found = subject_in(question, subject);
  size_t words = found.n > 0 ? n_words(question + found.at, found.n) : 0;
  if (words < 2 || words > MOST_WORDS)
    return SMFT_OK;
  for (size_t time = 0; time < TIMES; time++)
    for (size_t kept = 0; kept < words; kept++)
      SMFT__TRY(add_namesake(out, question, found, kept, time));
  return SMFT_OK;
}

/* ---- by token ------------------------------------------------------------ */

typedef struct asked { /* the fact's own question, and how it is like those by name */
  const int32_t *ids;
  int64_t n;
  int64_t before, behind; /* tokens of it that stand around the subject */
} asked;

/* With how many tokens, `most` at most, both end. */
static int64_t end_in_common(const int32_t *left_end, const int32_t *right_end, int64_t most) {
  int64_t n = 0;
  while (n < most && left_end[-1 - n] == right_end[-1 - n])
    n++;
  return n;
}

static asked around_subject(const smft__others *others, const int32_t *ids, int64_t n) {
  asked own = {ids, n, n, n};
  for (int64_t i = 0; i < N_BY_TOKEN; i++) {
    const int32_t *begin = others->ids.data + others->offsets[i];
    int64_t most = others->offsets[i + 1] - others->offsets[i];
    own.before = smft__ids_in_common(begin, ids, smft__least(own.before, most));
    own.behind = end_in_common(begin + most, ids + n, smft__least(own.behind, most));
  }
  return own;
}

/* What stands in question i where the subject does; ids that are put may move those that are. */
static smft_status put_name(smft__others *others, int64_t i, const asked *own) {
  for (int64_t at = others->offsets[i] + own->before; at < others->offsets[i + 1] - own->behind;
       at++)
    SMFT__TRY(smft__ids_put(&others->ids, others->ids.data[at]));
  return SMFT_OK;
}

/* Of the subject only token `kept` stays: a name before it, unless it is the first, and one behind
 * it, unless it is the last. */
static smft_status put_namesake(smft__others *others, const asked *own, int64_t kept) {
  int64_t at = own->before + kept, end = own->n - own->behind;
  SMFT__TRY(smft__ids_put_all(&others->ids, own->ids, own->before));
  if (kept > 0)
    SMFT__TRY(put_name(others, kept * 3 % N_BY_TOKEN, own));
  SMFT__TRY(smft__ids_put(&others->ids, own->ids[at]));
  if (at + 1 < end)
    SMFT__TRY(put_name(others, (kept * 3 + 2) % N_BY_TOKEN, own));
  return smft__ids_put_all(&others->ids, own->ids + end, own->behind);
}

smft_status smft__others_by_token(smft__fact *fact, const int32_t *ids, int64_t n, int64_t most) {
  smft__others *others = &fact->others;
  if (others->n < N_BY_TOKEN)
    return SMFT_OK;
  asked own = around_subject(others, ids, n);
  int64_t parts = n - own.before - own.behind;
  for (int64_t kept = 0; parts > 1 && parts <= MOST_PARTS && kept < parts; kept++) {
    int64_t begin = others->ids.n;
    SMFT__TRY(put_namesake(others, &own, kept));
    if (others->ids.n - begin <= most)
      SMFT__TRY(smft__fact_end_other(fact));
    else
      others->ids.n = begin;
  }
  return SMFT_OK;
}
