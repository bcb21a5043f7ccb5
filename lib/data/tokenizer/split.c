/* split: running the steps of a pre-tokenizer over pieces of text.
 * Does not own: reading them (split_read.c), what is found where (regex.c),
 * merges (bpe.c). */
#include "data/tokenizer/split.h"
#include "base/alloc.h"
#include "data/tokenizer/normalize.h"
#include <string.h>

/* ---- bytes as characters ------------------------------------------------- */

/* Printable Latin-1 stands for itself; the other 68 bytes are U+0100 and on, in order. */
static int is_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

uint32_t smft__byte_to_code(unsigned char byte) {
  if (is_itself(byte))
    return byte;
  if (byte < 0x21)
    return 0x100u + byte;
  return byte < 0xAD ? 0x121u + (byte - 0x7Fu) : 0x143u;
}

int32_t smft__code_to_byte(uint32_t code) {
  if (code < 0x100)
    return is_itself(code) ? (int32_t)code : -1;
  if (code < 0x121)
    return (int32_t)(code - 0x100);
  if (code < 0x143)
    return (int32_t)(code - 0x121 + 0x7F);
  return code == 0x143 ? 0xAD : -1;
}

/* ---- pieces -------------------------------------------------------------- */

static smft_status add_piece(smft__pieces *pieces, int64_t start, int64_t end, int at_start) {
  SMFT__TRY(smft__grow(pieces->text.ctx, &pieces->data, &pieces->capacity, pieces->n + 1,
                       sizeof *pieces->data));
  pieces->data[pieces->n++] = (smft__piece){start, end, at_start};
  return SMFT_OK;
}

void smft__pieces_free(smft__pieces *pieces) {
  if (!pieces->text.ctx)
    return;
  smft__free(pieces->text.ctx, pieces->data);
  smft__buffer_free(&pieces->text);
  pieces->data = NULL;
  pieces->n = pieces->capacity = 0;
}

static void swap_pieces(smft__pieces *a, smft__pieces *b) {
  smft__pieces c = *a;
  *a = *b;
  *b = c;
}

/* ---- cutting ------------------------------------------------------------- */

typedef struct cutter { /* one piece being cut */
  const smft__split_step *step;
  smft__pieces *out;
  int64_t base, first; /* where the piece starts in the text; the number of its first part */
  int at_start, previous_match;
} cutter;

/* The next part [start, end) of the piece.  Merging is only ever with the part before: "with next"
 * joins a part to the match before it. */
static smft_status put_part(cutter *cut, int64_t start, int64_t end, int is_match) {
  int32_t behavior = cut->step->behavior;
  int join, previous = cut->previous_match;
  is_match ^= cut->step->invert;
  cut->previous_match = is_match;
  if (behavior == SMFT__CUT_REMOVED && is_match)
    return SMFT_OK;
  join = (behavior == SMFT__CUT_WITH_PREVIOUS && is_match && !previous) ||
         (behavior == SMFT__CUT_WITH_NEXT && !is_match && previous) ||
         (behavior == SMFT__CUT_CONTIGUOUS && is_match == previous);
  if (join && cut->out->n > cut->first) {
    cut->out->data[cut->out->n - 1].end = cut->base + end;
    return SMFT_OK;
  }
  return add_piece(cut->out, cut->base + start, cut->base + end, cut->at_start && start == 0);
}

static void drop_empty(smft__pieces *pieces, int64_t first) {
  int64_t n = first;
  for (int64_t i = first; i < pieces->n; i++)
    if (pieces->data[i].end > pieces->data[i].start)
      pieces->data[n++] = pieces->data[i];
  pieces->n = n;
}

static smft_status cut_piece(const smft__split_step *step, smft__scan *scan, const char *text,
                             const smft__piece *piece, smft__pieces *out) {
  int64_t length = piece->end - piece->start, done = 0, start, end;
  cutter cut = {step, out, piece->start, out->n, piece->at_start, 0};
  smft__matches matches = {&step->pattern, scan, text + piece->start, length, 0, -1};
  for (;;) {
    SMFT__TRY(smft__matches_next(&matches, &start, &end));
    if (start < 0)
      break;
    if (start > done)
      SMFT__TRY(put_part(&cut, done, start, 0));
    SMFT__TRY(put_part(&cut, start, end, 1));
    done = end;
  }
  if (done < length)
    SMFT__TRY(put_part(&cut, done, length, 0));
  drop_empty(out, cut.first);
  return SMFT_OK;
}

/* The text stays, only its cuts change. */
static smft_status run_cut(const smft__split_step *step, smft__scan *scan, smft__pieces *pieces,
                           smft__pieces *spare) {
  for (int64_t i = 0; i < pieces->n; i++)
    SMFT__TRY(cut_piece(step, scan, pieces->text.data, &pieces->data[i], spare));
  smft__buffer text = pieces->text;
  pieces->text = spare->text;
  spare->text = text;
  swap_pieces(pieces, spare);
  return SMFT_OK;
}

/* ---- steps that change the text ------------------------------------------ */

static smft_status put_bytes(smft__buffer *out, const char *text, int64_t length) {
  char chunk[512];
  int32_t n = 0;
  for (int64_t i = 0; i < length; i++) {
    n += smft__utf8_put(smft__byte_to_code((unsigned char)text[i]), chunk + n);
    if (n > (int32_t)sizeof chunk - 4) {
      SMFT__TRY(smft__buffer_put(out, chunk, n));
      n = 0;
    }
  }
  return smft__buffer_put(out, chunk, n);
}

static smft_status put_prefixed(const smft__split_step *step, const char *text, int64_t length,
                                int at_start, int no_prefix, smft__buffer *out) {
  int64_t n = (int64_t)strlen(step->content);
  int has_it = length >= n && memcmp(text, step->content, (size_t)n) == 0;
  if (!has_it && (at_start ? !no_prefix : !step->first_only))
    SMFT__TRY(smft__buffer_put(out, step->content, n));
  return smft__buffer_put(out, text, length);
}

static smft_status run_change(const smft__split_step *step, smft__scan *scan, int no_prefix,
                              smft__pieces *pieces, smft__pieces *spare) {
  for (int64_t i = 0; i < pieces->n; i++) {
    const smft__piece *piece = &pieces->data[i];
    const char *text = pieces->text.data + piece->start;
    int64_t length = piece->end - piece->start, start = spare->text.length;
    if (step->kind == SMFT__SPLIT_BYTES)
      SMFT__TRY(put_bytes(&spare->text, text, length));
    else if (step->kind == SMFT__SPLIT_PREFIX)
      SMFT__TRY(put_prefixed(step, text, length, piece->at_start, no_prefix, &spare->text));
    else
      SMFT__TRY(
          smft__pattern_replace(&step->pattern, scan, text, length, step->content, &spare->text));
    SMFT__TRY(add_piece(spare, start, spare->text.length, piece->at_start));
  }
  swap_pieces(pieces, spare);
  return SMFT_OK;
}

smft_status smft__splitter_run(const smft__splitter *splitter, smft__scan *scan, const char *text,
                               int64_t length, int at_start, int no_prefix, smft__pieces *pieces,
                               smft__pieces *spare) {
  pieces->n = pieces->text.length = 0;
  SMFT__TRY(smft__buffer_put(&pieces->text, text, length));
  if (length > 0)
    SMFT__TRY(add_piece(pieces, 0, length, at_start));
  for (int64_t i = 0; i < splitter->n; i++) {
    const smft__split_step *step = &splitter->steps[i];
    spare->n = spare->text.length = 0;
    SMFT__TRY(step->kind == SMFT__SPLIT_CUT ? run_cut(step, scan, pieces, spare)
                                            : run_change(step, scan, no_prefix, pieces, spare));
  }
  return SMFT_OK;
}
