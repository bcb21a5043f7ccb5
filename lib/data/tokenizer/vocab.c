/* vocab: token strings in one block, a table by id and a hash table by spelling.
 * Does not own: merges (bpe.c), what added tokens match (added.c), where tokens
 * come from (json.c). */
#include "data/tokenizer/vocab.h"
#include "base/alloc.h"
#include "base/hash.h"
#include <string.h>

smft_status smft__vocab_start(smft__vocab *vocab, smft_ctx *ctx, int64_t n_tokens, int64_t n_ids) {
  memset(vocab, 0, sizeof *vocab);
  vocab->ctx = ctx;
  vocab->n_ids = n_ids;
  vocab->n_slots = 16;
  while (vocab->n_slots < 2 * n_tokens)
    vocab->n_slots *= 2;
  vocab->tokens = smft__alloc_array(ctx, n_ids, sizeof *vocab->tokens);
  vocab->slots = smft__alloc_array(ctx, vocab->n_slots, sizeof *vocab->slots);
  if (!vocab->tokens || !vocab->slots)
    return SMFT_E_NOMEM;
  for (int64_t id = 0; id < n_ids; id++)
    vocab->tokens[id] = (smft__token){-1, 0, 0};
  memset(vocab->slots, 0xFF, (size_t)vocab->n_slots * sizeof *vocab->slots);
  return SMFT_OK;
}

smft_status smft__vocab_reserve(smft__vocab *vocab, int64_t bytes) {
  return smft__grow(vocab->ctx, &vocab->text, &vocab->text_capacity, bytes + 1, 1);
}

void smft__vocab_free(smft__vocab *vocab) {
  if (!vocab->ctx)
    return;
  smft__free(vocab->ctx, vocab->text);
  smft__free(vocab->ctx, vocab->tokens);
  smft__free(vocab->ctx, vocab->slots);
  memset(vocab, 0, sizeof *vocab);
}

/* The slot that holds this spelling, or the empty one where it belongs.  At most half of the slots
 * are full. */
static int64_t find_slot(const smft__vocab *vocab, const char *text, int64_t length) {
  uint64_t mask = (uint64_t)vocab->n_slots - 1;
  uint64_t slot = smft__hash_bytes(text, (size_t)length) & mask;
  for (;; slot = (slot + 1) & mask) {
    int32_t id = vocab->slots[slot];
    if (id < 0)
      return (int64_t)slot;
    const smft__token *token = &vocab->tokens[id];
    if (token->length == length && memcmp(vocab->text + token->start, text, (size_t)length) == 0)
      return (int64_t)slot;
  }
}

/* A byte more than that is there, so that the text of an empty token is no NULL, either. */
static smft_status append_text(smft__vocab *vocab, const char *text, int64_t length) {
  int64_t needed;
  if (!smft__add_i64(vocab->text_length, length + 1, &needed))
    return smft__fail(SMFT_E_NOMEM, "out of memory: more than 2^63 bytes of tokens");
  SMFT__TRY(smft__grow(vocab->ctx, &vocab->text, &vocab->text_capacity, needed, 1));
  memcpy(vocab->text + vocab->text_length, text, (size_t)length);
  vocab->text_length += length;
  return SMFT_OK;
}

smft_status smft__vocab_add(smft__vocab *vocab, const char *text, int64_t length, int64_t id,
                            uint32_t flags) {
  const int shown = (int)(length < 60 ? length : 60); /* text need not end in NUL */
  if (id < 0 || id >= vocab->n_ids || length > INT32_MAX)
    return smft__fail(SMFT_E_FORMAT, "token \"%.*s\": id %lld, expected 0 to %lld", shown, text,
                      (long long)id, (long long)vocab->n_ids - 1);
  if (vocab->tokens[id].start >= 0)
    return smft__fail(SMFT_E_FORMAT, "token \"%.*s\": its id %lld is the id of another token too",
                      shown, text, (long long)id);
  int64_t slot = find_slot(vocab, text, length);
  if (vocab->slots[slot] >= 0)
    return smft__fail(SMFT_E_FORMAT, "token \"%.*s\" is there twice, as %d and %lld", shown, text,
                      (int)vocab->slots[slot], (long long)id);
  int64_t start = vocab->text_length;
  SMFT__TRY(append_text(vocab, text, length));
  vocab->tokens[id] = (smft__token){start, (int32_t)length, flags};
  vocab->slots[slot] = (int32_t)id;
  return SMFT_OK;
}

int32_t smft__vocab_find(const smft__vocab *vocab, const char *text, int64_t length) {
  return vocab->slots[find_slot(vocab, text, length)];
}

int32_t smft__vocab_find_model(const smft__vocab *vocab, const char *text, int64_t length) {
  int32_t id = smft__vocab_find(vocab, text, length);
  return id >= 0 && (vocab->tokens[id].flags & SMFT__TOKEN_MODEL) ? id : -1;
}

const char *smft__vocab_text(const smft__vocab *vocab, int64_t id, int64_t *length) {
  if (id < 0 || id >= vocab->n_ids || vocab->tokens[id].start < 0)
    return NULL;
  *length = vocab->tokens[id].length;
  return vocab->text + vocab->tokens[id].start;
}
