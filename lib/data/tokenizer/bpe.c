/* bpe: characters to symbols (with byte fallback and the unknown token), then merges,
 * lowest rank first, leftmost first. The order, and what becomes of characters that the vocabulary
 * lacks, are those of Hugging Face's tokenizers: a model must see the ids it was trained with.
 * Symbols are a linked list and pairs wait in a heap, so one huge piece costs n log n. Does not
 * own: how text is cut into pieces (split.c), the strings (vocab.c). */
#include "data/tokenizer/bpe.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/hash.h"
#include <string.h>

#define NO_PAIR UINT64_MAX
#define HOLE (-2) /* a symbol that is in no merge and no result */

/* ---- the table of merges ------------------------------------------------- */

smft_status smft__bpe_start(smft__bpe *bpe, smft_ctx *ctx, int64_t n_merges) {
  if (n_merges > SMFT__VOCAB_MOST * 4LL)
    return smft__fail(SMFT_E_FORMAT, "%lld merges, expected at most %lld", (long long)n_merges,
                      SMFT__VOCAB_MOST * 4LL);
  bpe->ctx = ctx;
  bpe->n_merges = 0;
  bpe->n_slots = 16;
  while (bpe->n_slots < 2 * n_merges)
    bpe->n_slots *= 2;
  bpe->merges = smft__alloc_array(ctx, bpe->n_slots, sizeof *bpe->merges);
  if (!bpe->merges)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < bpe->n_slots; i++)
    bpe->merges[i] = (smft__merge){NO_PAIR, 0, -1};
  return SMFT_OK;
}

void smft__bpe_free(smft__bpe *bpe) {
  if (bpe->ctx)
    smft__free(bpe->ctx, bpe->merges);
  bpe->merges = NULL;
}

static uint64_t make_pair(int32_t left, int32_t right) {
  return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot that holds this pair, or the empty one where it belongs. */
static smft__merge *find_merge(const smft__bpe *bpe, uint64_t pair) {
  uint64_t mask = (uint64_t)bpe->n_slots - 1;
  uint64_t slot = smft__mix64(pair) & mask;
  while (bpe->merges[slot].pair != pair && bpe->merges[slot].pair != NO_PAIR)
    slot = (slot + 1) & mask;
  return &bpe->merges[slot];
}

static smft_status find_part(const smft__bpe *bpe, const smft__vocab *vocab, const char *text,
                             int64_t length, int32_t *id) {
  *id = smft__vocab_find_model(vocab, text, length);
  if (*id < 0)
    return smft__fail(SMFT_E_FORMAT, "merge %lld: its part \"%.*s\" is not in the vocabulary",
                      (long long)bpe->n_merges, (int)(length < 60 ? length : 60), text);
  return SMFT_OK;
}

/* Id of left and right written together. */
static smft_status find_whole(const smft__bpe *bpe, const smft__vocab *vocab, const char *left,
                              int64_t left_length, const char *right, int64_t right_length,
                              int32_t *id) {
  char small[256];
  int64_t length = left_length + right_length; /* both are lengths of tokens: at most 2^31 each */
  char *whole = length <= (int64_t)sizeof small ? small : smft__alloc_array(bpe->ctx, length, 1);
  if (!whole)
    return SMFT_E_NOMEM;
  memcpy(whole, left, (size_t)left_length);
  memcpy(whole + left_length, right, (size_t)right_length);
  smft_status status = find_part(bpe, vocab, whole, length, id);
  if (whole != small)
    smft__free(bpe->ctx, whole);
  return status;
}

smft_status smft__bpe_add(smft__bpe *bpe, const smft__vocab *vocab, const char *left,
                          int64_t left_length, const char *right, int64_t right_length) {
  int32_t left_id, right_id, id;
  SMFT__TRY(find_part(bpe, vocab, left, left_length, &left_id));
  SMFT__TRY(find_part(bpe, vocab, right, right_length, &right_id));
  SMFT__TRY(find_whole(bpe, vocab, left, left_length, right, right_length, &id));
  smft__merge *merge = find_merge(bpe, make_pair(left_id, right_id));
  if (merge->pair == NO_PAIR || !bpe->first_counts)
    *merge = (smft__merge){make_pair(left_id, right_id), (int32_t)bpe->n_merges, id};
  bpe->n_merges++;
  return SMFT_OK;
}

void smft__bpe_finish(smft__bpe *bpe, const smft__vocab *vocab) {
  static const char digits[] = "0123456789ABCDEF";
  char text[8] = "<0x00>";
  for (uint32_t code = 0; code < SMFT__BPE_DIRECT; code++) {
    char letter[4];
    bpe->direct[code] = smft__vocab_find_model(vocab, letter, smft__utf8_put(code, letter));
  }
  for (int i = 0; i < 256; i++) {
    text[3] = digits[i >> 4];
    text[4] = digits[i & 15];
    bpe->bytes[i] = smft__vocab_find_model(vocab, text, 6);
  }
}

/* ---- characters to symbols ----------------------------------------------- */

static smft_status add_symbol(smft__bpe_work *work, int32_t id) {
  int32_t at = (int32_t)work->n_symbols;
  SMFT__TRY(smft__grow(work->ctx, &work->symbols, &work->symbols_capacity, work->n_symbols + 1,
                       sizeof *work->symbols));
  if (at > 0)
    work->symbols[at - 1].next = at;
  work->symbols[at] = (smft__symbol){id, at - 1, -1};
  work->n_symbols++;
  return SMFT_OK;
}

/* *done = 0: not all bytes of this character have a token. */
static smft_status add_bytes(const smft__bpe *bpe, smft__bpe_work *work, const char *text,
                             int32_t length, int *done) {
  *done = 0;
  for (int32_t i = 0; i < length; i++)
    if (bpe->bytes[(unsigned char)text[i]] < 0)
      return SMFT_OK;
  for (int32_t i = 0; i < length; i++)
    SMFT__TRY(add_symbol(work, bpe->bytes[(unsigned char)text[i]]));
  *done = 1;
  return SMFT_OK;
}

/* A character that is no token: bytes, or the unknown token (which waits in *pending, to be fused
 * with the next), or nothing: its neighbours meet, unless it leaves a hole. */
static smft_status add_unknown(const smft__bpe *bpe, smft__bpe_work *work, const char *text,
                               int32_t length, int *pending) {
  int done = 0;
  if (bpe->byte_fallback)
    SMFT__TRY(add_bytes(bpe, work, text, length, &done));
  if (done || !bpe->has_unk)
    return done || !bpe->holes ? SMFT_OK : add_symbol(work, HOLE);
  if (bpe->unk < 0)
    return smft__fail(
        SMFT_E_FORMAT,
        "the character \"%.*s\" is in no token, and the unknown token is not in the vocabulary",
        (int)length, text);
  if (*pending && !bpe->fuse_unk)
    SMFT__TRY(add_symbol(work, bpe->unk));
  *pending = 1;
  return SMFT_OK;
}

static smft_status make_symbols(const smft__bpe *bpe, const smft__vocab *vocab,
                                smft__bpe_work *work, const char *text, int64_t length) {
  int pending = 0;
  work->n_symbols = work->queue.n = 0;
  for (int64_t at = 0; at < length;) {
    uint32_t code = 0;
    int32_t step = smft__utf8_next(text + at, (size_t)(length - at), &code);
    if (step == 0)
      return smft__fail(SMFT_E_INTERNAL, "a piece of text is not UTF-8 at its byte %lld",
                        (long long)at);
    int32_t id = code < SMFT__BPE_DIRECT ? bpe->direct[code]
                                         : smft__vocab_find_model(vocab, text + at, step);
    if (id >= 0 && pending) {
      SMFT__TRY(add_symbol(work, bpe->unk));
      pending = 0;
    }
    if (id >= 0)
      SMFT__TRY(add_symbol(work, id));
    else
      SMFT__TRY(add_unknown(bpe, work, text + at, step, &pending));
    at += step;
  }
  return pending ? add_symbol(work, bpe->unk) : SMFT_OK;
}

/* ---- merging ------------------------------------------------------------- */

/* Puts the pair that starts at symbol `at` in the queue, if there is a merge for it. */
static smft_status push_pair(const smft__bpe *bpe, smft__bpe_work *work, int32_t at) {
  const smft__symbol *left = &work->symbols[at];
  const smft__merge *merge = find_merge(bpe, make_pair(left->id, work->symbols[left->next].id));
  return merge->pair == NO_PAIR
             ? SMFT_OK
             : smft__queue_push(&work->queue, (smft__candidate){merge->rank, at, merge->id});
}

/* Entries are not removed from the queue when one of their symbols changes; such an entry is known
 * by its result. */
static int is_expired(const smft__bpe *bpe, const smft__bpe_work *work,
                      const smft__candidate *candidate) {
  const smft__symbol *left = &work->symbols[candidate->at];
  if (left->id < 0 || left->next < 0)
    return 1;
  const smft__merge *merge = find_merge(bpe, make_pair(left->id, work->symbols[left->next].id));
  return merge->pair == NO_PAIR || merge->id != candidate->id;
}

static smft_status merge_pair(const smft__bpe *bpe, smft__bpe_work *work,
                              const smft__candidate *candidate) {
  smft__symbol *left = &work->symbols[candidate->at];
  smft__symbol *right = &work->symbols[left->next];
  left->id = candidate->id;
  left->next = right->next;
  right->id = -1;
  if (left->next >= 0)
    work->symbols[left->next].previous = candidate->at;
  if (left->previous >= 0)
    SMFT__TRY(push_pair(bpe, work, left->previous));
  return left->next >= 0 ? push_pair(bpe, work, candidate->at) : SMFT_OK;
}

static smft_status merge_all(const smft__bpe *bpe, smft__bpe_work *work) {
  for (int32_t at = 0; at + 1 < work->n_symbols; at++)
    SMFT__TRY(push_pair(bpe, work, at));
  while (work->queue.n > 0) {
    smft__candidate candidate = smft__queue_pop(&work->queue);
    if (!is_expired(bpe, work, &candidate))
      SMFT__TRY(merge_pair(bpe, work, &candidate));
  }
  return SMFT_OK;
}

smft_status smft__bpe_encode(const smft__bpe *bpe, const smft__vocab *vocab, smft__bpe_work *work,
                             const char *text, int64_t length, smft__ids *ids) {
  int32_t whole = bpe->ignore_merges ? smft__vocab_find_model(vocab, text, length) : -1;
  if (whole >= 0)
    return smft__ids_put(ids, whole);
  SMFT__TRY(make_symbols(bpe, vocab, work, text, length));
  SMFT__TRY(merge_all(bpe, work));
  for (int32_t at = work->n_symbols > 0 ? 0 : -1; at >= 0; at = work->symbols[at].next)
    if (work->symbols[at].id != HOLE)
      SMFT__TRY(smft__ids_put(ids, work->symbols[at].id));
  return SMFT_OK;
}

void smft__bpe_work_free(smft__bpe_work *work) {
  if (!work->ctx)
    return;
  smft__free(work->ctx, work->symbols);
  smft__free(work->ctx, work->queue.items);
}
