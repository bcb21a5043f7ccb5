/* spm: characters are merged, always the two neighbours that make the token with the best score,
 * the leftmost of equals, until no two make a token; what is left and is no token becomes its
 * bytes. There are no pieces: merges cross words.  The order is that of llama.cpp, whose files
 * these are. Does not own: how space is written (normalize.c), the strings (vocab.c). */
#include "data/tokenizer/spm.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include <math.h>
#include <string.h>

/* ---- making -------------------------------------------------------------- */

static void find_bytes(smft__spm *spm, const smft__vocab *vocab) {
  static const char digits[] = "0123456789ABCDEF";
  char text[8] = "<0x00>";
  for (int i = 0; i < 256; i++) {
    char byte = (char)i;
    text[3] = digits[i >> 4];
    text[4] = digits[i & 15];
    spm->bytes[i] = smft__vocab_find(vocab, text, 6);
    if (spm->bytes[i] < 0)
      spm->bytes[i] = smft__vocab_find(vocab, &byte, 1);
  }
}

smft_status smft__spm_start(smft__spm *spm, smft_ctx *ctx, const smft__vocab *vocab) {
  spm->ctx = ctx;
  spm->unk = -1;
  spm->ranks = smft__calloc_array(ctx, vocab->n_ids, sizeof *spm->ranks);
  if (!spm->ranks)
    return SMFT_E_NOMEM;
  for (int64_t id = 0; id < vocab->n_ids; id++)
    if (vocab->tokens[id].length > spm->longest)
      spm->longest = vocab->tokens[id].length;
  find_bytes(spm, vocab);
  return SMFT_OK;
}

/* A float's bits, seen as a whole number, grow with it; those of negative ones shrink. */
smft_status smft__spm_set_score(smft__spm *spm, int64_t id, float score) {
  int32_t bits;
  float plain = score + 0.0f; /* -0 is 0 */
  if (isnan(score))
    return smft__fail(SMFT_E_FORMAT, "the score of token %lld is no number", (long long)id);
  memcpy(&bits, &plain, sizeof bits);
  spm->ranks[id] = ~(bits < 0 ? bits ^ INT32_MAX : bits);
  return SMFT_OK;
}

void smft__spm_free(smft__spm *spm) {
  if (spm->ctx)
    smft__free(spm->ctx, spm->ranks);
  spm->ranks = NULL;
}

void smft__spm_work_free(smft__spm_work *work) {
  if (!work->ctx)
    return;
  smft__free(work->ctx, work->symbols);
  smft__free(work->ctx, work->queue.items);
}

/* ---- merging ------------------------------------------------------------- */

typedef struct merging {
  const smft__spm *spm;
  const smft__vocab *vocab;
  smft__spm_work *work;
  const char *text;
} merging;

static smft_status make_symbols(merging *run, int64_t length) {
  smft__spm_work *work = run->work;
  work->n = work->queue.n = 0;
  for (int64_t at = 0; at < length;) {
    int32_t step = smft__utf8_next(run->text + at, (size_t)(length - at), NULL);
    int32_t i = (int32_t)work->n;
    if (step == 0)
      return smft__fail(SMFT_E_INTERNAL, "a piece of text is not UTF-8 at its byte %lld",
                        (long long)at);
    SMFT__TRY(
        smft__grow(work->ctx, &work->symbols, &work->capacity, work->n + 1, sizeof *work->symbols));
    work->symbols[work->n++] =
        (smft__spm_symbol){(int32_t)at, step, -1, i - 1, at + step < length ? i + 1 : -1};
    at += step;
  }
  return SMFT_OK;
}

/* Puts symbol `at` and its next in the queue, if they make a token. */
static smft_status push_pair(merging *run, int32_t at) {
  const smft__spm_symbol *left = &run->work->symbols[at];
  const smft__spm_symbol *right = &run->work->symbols[left->next];
  int64_t length = (int64_t)left->length + right->length;
  if (length > run->spm->longest)
    return SMFT_OK;
  int32_t id = smft__vocab_find(run->vocab, run->text + left->start, length);
  return id < 0
             ? SMFT_OK
             : smft__queue_push(&run->work->queue, (smft__candidate){run->spm->ranks[id], at, id});
}

/* Entries stay in the queue when one of their symbols changes; the length tells. */
static int is_expired(const merging *run, const smft__candidate *candidate) {
  const smft__spm_symbol *left = &run->work->symbols[candidate->at];
  if (left->length == 0 || left->next < 0)
    return 1;
  return (int64_t)left->length + run->work->symbols[left->next].length !=
         run->vocab->tokens[candidate->id].length;
}

static smft_status merge_pair(merging *run, const smft__candidate *candidate) {
  smft__spm_symbol *symbols = run->work->symbols, *left = &symbols[candidate->at];
  smft__spm_symbol *right = &symbols[left->next];
  left->id = candidate->id;
  left->length += right->length;
  left->next = right->next;
  right->length = 0;
  if (left->next >= 0)
    symbols[left->next].previous = candidate->at;
  if (left->previous >= 0)
    SMFT__TRY(push_pair(run, left->previous));
  return left->next >= 0 ? push_pair(run, candidate->at) : SMFT_OK;
}

static smft_status merge_all(merging *run) {
  smft__queue *queue = &run->work->queue;
  for (int32_t at = 0; at + 1 < run->work->n; at++)
    SMFT__TRY(push_pair(run, at));
  while (queue->n > 0) {
    smft__candidate candidate = smft__queue_pop(queue);
    if (!is_expired(run, &candidate))
      SMFT__TRY(merge_pair(run, &candidate));
  }
  return SMFT_OK;
}

/* ---- ids ----------------------------------------------------------------- */

static smft_status put_bytes(const merging *run, const smft__spm_symbol *symbol, smft__ids *ids) {
  for (int32_t i = 0; i < symbol->length; i++) {
    unsigned char byte = (unsigned char)run->text[symbol->start + i];
    int32_t id = run->spm->bytes[byte] >= 0 ? run->spm->bytes[byte] : run->spm->unk;
    if (id < 0)
      return smft__fail(SMFT_E_FORMAT,
                        "the character \"%.*s\" is in no token, and the vocabulary has neither its "
                        "byte %02X nor an unknown token",
                        (int)symbol->length, run->text + symbol->start, (unsigned)byte);
    SMFT__TRY(smft__ids_put(ids, id));
  }
  return SMFT_OK;
}

static smft_status put_symbol(const merging *run, const smft__spm_symbol *symbol, smft__ids *ids) {
  int32_t id = symbol->id >= 0
                   ? symbol->id
                   : smft__vocab_find(run->vocab, run->text + symbol->start, symbol->length);
  return id >= 0 ? smft__ids_put(ids, id) : put_bytes(run, symbol, ids);
}

smft_status smft__spm_encode(const smft__spm *spm, const smft__vocab *vocab, smft__spm_work *work,
                             const char *text, int64_t length, smft__ids *ids) {
  merging run = {spm, vocab, work, text};
  SMFT__TRY(make_symbols(&run, length));
  SMFT__TRY(merge_all(&run));
  for (int32_t at = work->n > 0 ? 0 : -1; at >= 0; at = work->symbols[at].next)
    SMFT__TRY(put_symbol(&run, &work->symbols[at], ids));
  return SMFT_OK;
}
