/* score: normalisation of answers, exact match, token F1.  Owns smft_score_answer.  Knows nothing
 * of models.
 *
 * Normalisation, in this order (SQuAD's, carried over to Unicode):
 *   1. NFC, so that a letter and its accent written apart are the same text as the two in one;
 *   2. lower-case, every script (simple mapping, one code point to one);
 *   3. punctuation goes, nothing takes its place ("well-known" -> "wellknown"): ASCII's 32
 *      punctuation and symbol characters, as SQuAD does, and Unicode's categories P* as well,
 *      since answers have quotes and dashes of all kinds;
 *   4. the words a, an, the go; 5. white space (Unicode's) separates words, no matter how much.
 * A text of which nothing is left ("The!") is empty; empty against empty is a match. */
#include "measure/score.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- memory: smft_score_answer has no context ---------------------------- */

static void *take(smft_ctx *ctx, int64_t n, size_t size) {
  if (ctx)
    return smft__alloc_array(ctx, n, size);
  int64_t bytes = 0;
  void *pointer = smft__mul_i64(n ? n : 1, (int64_t)size, &bytes) ? malloc((size_t)bytes) : NULL;
  if (!pointer)
    smft__fail(SMFT_E_NOMEM, "no memory for %lld elements of %zu bytes", (long long)n, size);
  return pointer;
}

static void give(smft_ctx *ctx, void *pointer) {
  if (ctx)
    smft__free(ctx, pointer);
  else
    free(pointer);
}

/* ---- normalisation ------------------------------------------------------- */

static int is_space(int32_t code) {
  if ((code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85)
    return 1;
  utf8proc_category_t category = utf8proc_category(code);
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

static int is_punctuation(int32_t code) {
  if (code < 0x80)
    return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') ||
           (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
  utf8proc_category_t category = utf8proc_category(code);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

static int is_article(const smft__word *word) {
  const int32_t *c = word->code;
  switch (word->length) {
  case 1:
    return c[0] == 'a';
  case 2:
    return c[0] == 'a' && c[1] == 'n';
  case 3:
    return c[0] == 't' && c[1] == 'h' && c[2] == 'e';
  default:
    return 0;
  }
}

/* Code points of a text in NFC; *n their number. */
static smft_status read_codes(smft_ctx *ctx, const char *text, int32_t **out, int64_t *n) {
  const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
  size_t length = strlen(text), bad_at = 0;
  if (!smft__utf8_valid(text, length, &bad_at))
    return smft__fail(SMFT_E_ENCODING, "an answer to score is not valid UTF-8 at byte %zu", bad_at);
  const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
  utf8proc_ssize_t needed = utf8proc_decompose(bytes, (utf8proc_ssize_t)length, NULL, 0, options);
  if (needed < 0)
    return smft__fail(SMFT_E_ENCODING, "an answer to score cannot be normalised: %s",
                      utf8proc_errmsg(needed));
  int32_t *codes = take(ctx, needed + 1, sizeof *codes);
  if (!codes)
    return SMFT_E_NOMEM;
  utf8proc_decompose(bytes, (utf8proc_ssize_t)length, codes, needed, options);
  *n = utf8proc_normalize_utf32(codes, needed, options);
  *out = codes;
  return SMFT_OK;
}

/* Lower-cases codes (n), drops punctuation and white space in place, and notes where words begin.
 * words has room for n / 2 + 1. */
static void split_words(smft__words *words, int64_t n) {
  int32_t *codes = words->codes;
  int64_t i = 0, kept = 0;
  while (i < n) {
    smft__word word = {codes + kept, 0};
    for (; i < n && !is_space(codes[i]);
         i++) /* kept <= i: never overtakes what is still to be read */
      if (!is_punctuation(codes[i]))
        codes[kept + word.length++] = utf8proc_tolower(codes[i]);
    i++;
    if (word.length > 0 && !is_article(&word)) {
      words->words[words->n++] = word;
      kept += word.length;
    }
  }
}

smft_status smft__words_read(smft__words *words, smft_ctx *ctx, const char *text) {
  int64_t n = 0;
  memset(words, 0, sizeof *words);
  words->ctx = ctx;
  SMFT__TRY(read_codes(ctx, text, &words->codes, &n));
  words->words = take(ctx, n / 2 + 1, sizeof *words->words);
  if (!words->words) {
    smft__words_free(words);
    return SMFT_E_NOMEM;
  }
  split_words(words, n);
  return SMFT_OK;
}

void smft__words_free(smft__words *words) {
  give(words->ctx, words->codes);
  give(words->ctx, words->words);
  memset(words, 0, sizeof *words);
}

/* ---- comparison ---------------------------------------------------------- */

/* Any total order will do: the multisets are only merged. */
static int compare_words(const void *left, const void *right) {
  const smft__word *a = left, *b = right;
  if (a->length != b->length)
    return a->length < b->length ? -1 : 1;
  return memcmp(a->code, b->code, (size_t)a->length * sizeof *a->code);
}

static int same_text(const smft__words *a, const smft__words *b) {
  if (a->n != b->n)
    return 0;
  for (int64_t i = 0; i < a->n; i++)
    if (compare_words(&a->words[i], &b->words[i]) != 0)
      return 0;
  return 1;
}

/* Size of the intersection of two sorted multisets. */
static int64_t words_in_common(const smft__words *a, const smft__words *b) {
  int64_t i = 0, j = 0, common = 0;
  while (i < a->n && j < b->n) {
    int order = compare_words(&a->words[i], &b->words[j]);
    common += order == 0;
    i += order <= 0;
    j += order >= 0;
  }
  return common;
}

static double token_f1(const smft__words *a, const smft__words *b) {
  if (a->n == 0 || b->n == 0)
    return a->n == b->n ? 1.0 : 0.0;
  int64_t common = words_in_common(a, b);
  /* = 2pr / (p + r) with p = common / a->n, r = common / b->n */
  return 2.0 * (double)common / (double)(a->n + b->n);
}

static void sort_words(smft__words *words) {
  qsort(words->words, (size_t)words->n, sizeof *words->words, compare_words);
}

/* ordered: the answer's words as they stand; sorted: the same, sorted. */
static smft_status score_one(const smft__words *ordered, const smft__words *sorted,
                             const char *accepted, double *exact_match, double *f1) {
  smft__words gold;
  SMFT__TRY(smft__words_read(&gold, ordered->ctx, accepted));
  if (same_text(ordered, &gold))
    *exact_match = 1.0;
  sort_words(&gold);
  double score = token_f1(sorted, &gold);
  if (score > *f1)
    *f1 = score;
  smft__words_free(&gold);
  return SMFT_OK;
}

smft_status smft__score(smft_ctx *ctx, const char *answer, const char *const *accepted,
                        int64_t n_accepted, double *exact_match, double *f1) {
  smft__words ordered, sorted;
  double best_match = 0, best_f1 = 0;
  smft_status status = smft__words_read(&ordered, ctx, answer);
  if (status != SMFT_OK)
    return status;
  SMFT__TRY_GOTO(free_ordered, smft__words_read(&sorted, ctx, answer));
  sort_words(&sorted);
  for (int64_t i = 0; i < n_accepted; i++)
    SMFT__TRY_GOTO(done, score_one(&ordered, &sorted, accepted[i], &best_match, &best_f1));
  *exact_match = best_match;
  *f1 = best_f1;
done:
  smft__words_free(&sorted);
free_ordered:
  smft__words_free(&ordered);
  return status;
}

SMFT_API smft_status smft_score_answer(const char *answer, const char *const *accepted,
                                       int64_t n_accepted, double *exact_match, double *f1) {
  double match = 0, score = 0;
  SMFT__REQUIRE(answer != NULL, "smft_score_answer: answer is NULL");
  SMFT__REQUIRE(accepted != NULL, "smft_score_answer: accepted is NULL");
  SMFT__REQUIRE(n_accepted > 0, "smft_score_answer: no accepted answer (n_accepted %lld)",
                (long long)n_accepted);
  for (int64_t i = 0; i < n_accepted; i++)
    SMFT__REQUIRE(accepted[i] != NULL, "smft_score_answer: accepted[%lld] is NULL", (long long)i);
  SMFT__TRY(smft__score(NULL, answer, accepted, n_accepted, &match, &score));
  if (exact_match)
    *exact_match = match;
  if (f1)
    *f1 = score;
  return SMFT_OK;
}
