/* unicode: what tokenizers need of Unicode, from utf8proc's tables.
 * Does not own: UTF-8 itself (base/utf8.c), when text is normalized (normalize.c). */
#include "data/tokenizer/unicode.h"
#include "base/alloc.h"
#include <string.h>
#include <utf8proc.h>

#define LONGEST_DECOMPOSITION 18 /* U+FDFA */
#define SHORT_RUN 16

typedef struct code_range {
  uint32_t first, last;
} code_range;

/* Hugging Face's tokenizers, the measure of all ids, normalize by the tables of Unicode 9 and know
 * the punctuation of Unicode 8: what came later has no decomposition there, does not compose, and
 * has combining class 0; it is not punctuation.  Models were trained that way. */
static const code_range newer[] = {
    {0x7FD, 0x7FD},     {0x897, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xCF3, 0xCF3},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},
    {0xECE, 0xECE},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0x32FF, 0x32FF},   {0xA7F1, 0xA7F4},   {0xA82C, 0xA82C},   {0xAB69, 0xAB69},
    {0x105C0, 0x105F3}, {0x10781, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA},
    {0x10D24, 0x10D27}, {0x10D69, 0x10D6D}, {0x10EAB, 0x10EAC}, {0x10EFC, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x11241, 0x11241},
    {0x1133B, 0x1133B}, {0x11380, 0x113E2}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0},
    {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
    {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x1611E, 0x1612F},
    {0x16D60, 0x16D6A}, {0x16FF0, 0x16FF1}, {0x1CCD6, 0x1CCF9}, {0x1E030, 0x1E06D},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9},
};
static const code_range newer_punctuation[] = {
    {0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},
    {0xC84, 0xC84},     {0x1B4E, 0x1B4F},   {0x1B7D, 0x1B7F},   {0x2E43, 0x2E4F},
    {0x2E52, 0x2E5D},   {0x10D6E, 0x10D6E}, {0x10EAD, 0x10EAD}, {0x10F55, 0x10F59},
    {0x10F86, 0x10F89}, {0x113D4, 0x113D5}, {0x113D7, 0x113D8}, {0x1144B, 0x1144F},
    {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C}, {0x116B9, 0x116B9},
    {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
    {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11BE1, 0x11BE1},
    {0x11C41, 0x11C45}, {0x11C70, 0x11C71}, {0x11EF7, 0x11EF8}, {0x11F43, 0x11F4F},
    {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16D6D, 0x16D6F}, {0x16E97, 0x16E9A},
    {0x16FE2, 0x16FE2}, {0x1E5FF, 0x1E5FF}, {0x1E95E, 0x1E95F},
};
#define IS_IN(code, ranges) is_in(code, ranges, sizeof(ranges) / sizeof *(ranges))

static int is_in(uint32_t code, const code_range *ranges, size_t n) {
  size_t low = 0, high = n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (code > ranges[middle].last)
      low = middle + 1;
    else
      high = middle;
  }
  return low < n && code >= ranges[low].first;
}

static utf8proc_category_t category(uint32_t code) {
  return utf8proc_category((utf8proc_int32_t)code);
}

int smft__is_space(uint32_t code) {
  if (code < 0x80)
    return code == ' ' || (code >= 9 && code <= 13);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

int smft__is_number(uint32_t code) {
  utf8proc_category_t c = category(code);
  return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

/* The circled and squared letters are the only alphabetic ones outside of the categories. */
int smft__is_word(uint32_t code) {
  utf8proc_category_t c = category(code);
  return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
         code == 0x200C || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9) ||
         (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
         (code >= 0x1F170 && code <= 0x1F189);
}

int smft__is_punctuation(uint32_t code) {
  if (code < 0x80)
    return (code > 0x20 && code < 0x30) || (code > 0x39 && code < 0x41) ||
           (code > 0x5A && code < 0x61) || (code > 0x7A && code < 0x7F);
  if (code == 0x166D || code == 0x111C9) /* they were, in Unicode 8 */
    return 1;
  utf8proc_category_t c = category(code);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO && !IS_IN(code, newer_punctuation);
}

/* ---- normal forms -------------------------------------------------------- */

typedef struct code_list {
  smft_ctx *ctx;
  int32_t *data;
  int64_t n, capacity;
} code_list;

static int combining_class(int32_t code) { return utf8proc_get_property(code)->combining_class; }

static smft_status decompose(code_list *codes, const char *text, int64_t length,
                             utf8proc_option_t options) {
  for (int64_t at = 0; at < length;) {
    uint32_t code = 0;
    int boundary = 0;
    int32_t step = smft__utf8_next(text + at, (size_t)(length - at), &code);
    if (step == 0)
      return smft__fail(SMFT_E_INTERNAL, "text to be normalized is not UTF-8 at its byte %lld",
                        (long long)at);
    SMFT__TRY(smft__grow(codes->ctx, &codes->data, &codes->capacity,
                         codes->n + LONGEST_DECOMPOSITION, sizeof *codes->data));
    int32_t *to = codes->data + codes->n;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)code, to, LONGEST_DECOMPOSITION,
                                                 options, &boundary);
    if (n < 0 || n > LONGEST_DECOMPOSITION)
      return smft__fail(SMFT_E_INTERNAL, "U+%04X cannot be decomposed", (unsigned)code);
    codes->n += n;
    at += step;
  }
  return SMFT_OK;
}

static void sort_short(int32_t *codes, int64_t n) {
  for (int64_t i = 1; i < n; i++) {
    int32_t code = codes[i];
    int64_t at = i;
    for (; at > 0 && combining_class(codes[at - 1]) > combining_class(code); at--)
      codes[at] = codes[at - 1];
    codes[at] = code;
  }
}

/* Counting sort by class; stable.  spare (n). */
static void sort_long(int32_t *codes, int64_t n, int32_t *spare) {
  int64_t starts[257] = {0};
  for (int64_t i = 0; i < n; i++)
    starts[combining_class(codes[i]) + 1]++;
  for (int i = 0; i < 256; i++)
    starts[i + 1] += starts[i];
  memcpy(spare, codes, (size_t)n * sizeof *codes);
  for (int64_t i = 0; i < n; i++)
    codes[starts[combining_class(spare[i])]++] = spare[i];
}

/* Canonical order: each run of marks by combining class.  utf8proc's own sorting is quadratic in
 * the length of a run. */
static smft_status order_marks(code_list *codes) {
  int64_t end;
  for (int64_t at = 0; at < codes->n; at = end) {
    end = at + 1;
    if (combining_class(codes->data[at]) == 0)
      continue;
    while (end < codes->n && combining_class(codes->data[end]) != 0)
      end++;
    if (end - at <= SHORT_RUN) {
      sort_short(codes->data + at, end - at);
      continue;
    }
    int32_t *spare = smft__alloc_array(codes->ctx, end - at, sizeof *spare);
    if (!spare)
      return SMFT_E_NOMEM;
    sort_long(codes->data + at, end - at, spare);
    smft__free(codes->ctx, spare);
  }
  return SMFT_OK;
}

static smft_status put_codes(smft__buffer *out, const int32_t *codes, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    char letter[4];
    SMFT__TRY(smft__buffer_put(out, letter, smft__utf8_put((uint32_t)codes[i], letter)));
  }
  return SMFT_OK;
}

static int is_ascii(const char *text, int64_t length) {
  for (int64_t i = 0; i < length; i++)
    if ((unsigned char)text[i] >= 0x80)
      return 0;
  return 1;
}

/* Text without newer characters. */
static smft_status normalize_part(code_list *codes, smft__buffer *out, const char *text,
                                  int64_t length, int32_t form) {
  const int composed = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
  const int decomposed = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
  const int options[5] = {0, composed, decomposed, composed | UTF8PROC_COMPAT,
                          decomposed | UTF8PROC_COMPAT};
  codes->n = 0;
  SMFT__TRY(decompose(codes, text, length, (utf8proc_option_t)options[form]));
  SMFT__TRY(order_marks(codes));
  utf8proc_ssize_t n =
      utf8proc_normalize_utf32(codes->data, codes->n, (utf8proc_option_t)options[form]);
  return n < 0 ? smft__fail(SMFT_E_INTERNAL, "text could not be normalized")
               : put_codes(out, codes->data, n);
}

/* Where the next newer character is, or the end; *step is its length. */
static int64_t find_newer(const char *text, int64_t length, int64_t at, int32_t *step) {
  for (*step = 0; at<length; at += *step> 0 ? *step : 1) {
    uint32_t code = 0;
    *step = smft__utf8_next(text + at, (size_t)(length - at), &code);
    if (code >= newer[0].first && IS_IN(code, newer))
      return at;
  }
  *step = 0;
  return length;
}

smft_status smft__unicode_normalize(smft__buffer *out, const char *text, int64_t length,
                                    int32_t form) {
  code_list codes = {out->ctx, NULL, 0, 0};
  smft_status status = SMFT_OK;
  int32_t step = 0;
  if (is_ascii(text, length))
    return smft__buffer_put(out, text, length);
  for (int64_t at = 0, end; at < length && status == SMFT_OK; at = end + step) {
    end = find_newer(text, length, at, &step);
    if (end > at)
      status = normalize_part(&codes, out, text + at, end - at, form);
    if (status == SMFT_OK)
      status = smft__buffer_put(out, text + end, step);
  }
  smft__free(codes.ctx, codes.data);
  return status;
}

smft_status smft__unicode_lower(smft__buffer *out, const char *text, int64_t length) {
  for (int64_t at = 0; at < length;) {
    uint32_t code = 0;
    int32_t step = smft__utf8_next(text + at, (size_t)(length - at), &code);
    /* the one letter that becomes two */
    int32_t lower = code == 0x130 ? 'i' : utf8proc_tolower((utf8proc_int32_t)code);
    SMFT__TRY(put_codes(out, &lower, 1));
    if (code == 0x130)
      SMFT__TRY(smft__buffer_put(out, "\xCC\x87", 2));
    at += step > 0 ? step : 1;
  }
  return SMFT_OK;
}
