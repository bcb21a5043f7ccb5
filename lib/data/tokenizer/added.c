/* added: a trie of spellings and the search for them, leftmost and there longest, as in
 * Hugging Face's tokenizers. Does not own: strings by id (vocab.c), what is done with the
 * text between (encode.c). */
#include "data/tokenizer/added.h"
#include "base/alloc.h"
#include "data/tokenizer/unicode.h"
#include <string.h>

/* ---- the trie ------------------------------------------------------------ */

static void start_trie(smft__trie *trie, smft_ctx *ctx) {
  memset(trie, 0, sizeof *trie);
  memset(trie->first, 0xFF, sizeof trie->first);
  trie->ctx = ctx;
}

static int32_t find_child(const smft__trie *trie, int32_t parent, unsigned char byte) {
  if (parent < 0)
    return trie->first[byte];
  int32_t child = trie->nodes[parent].child;
  while (child >= 0 && trie->nodes[child].byte != byte)
    child = trie->nodes[child].sibling;
  return child;
}

static smft_status make_child(smft__trie *trie, int32_t parent, unsigned char byte,
                              int32_t *child) {
  *child = find_child(trie, parent, byte);
  if (*child >= 0)
    return SMFT_OK;
  if (trie->n >= INT32_MAX)
    return smft__fail(SMFT_E_UNSUPPORTED, "added tokens of more than 2^31 bytes are not supported");
  SMFT__TRY(smft__grow(trie->ctx, &trie->nodes, &trie->capacity, trie->n + 1, sizeof *trie->nodes));
  *child = (int32_t)trie->n++;
  trie->nodes[*child] =
      (smft__trie_node){-1, parent < 0 ? -1 : trie->nodes[parent].child, -1, byte};
  if (parent < 0)
    trie->first[byte] = *child;
  else
    trie->nodes[parent].child = *child;
  return SMFT_OK;
}

/* Two spellings that are the same once normalized: the first one counts. */
static smft_status add_spelling(smft__trie *trie, const char *text, int64_t length, int32_t token) {
  int32_t node = -1;
  for (int64_t i = 0; i < length; i++)
    SMFT__TRY(make_child(trie, node, (unsigned char)text[i], &node));
  if (node >= 0 && trie->nodes[node].token < 0)
    trie->nodes[node].token = token;
  return SMFT_OK;
}

void smft__added_start(smft__added *added, smft_ctx *ctx) {
  memset(added, 0, sizeof *added);
  added->ctx = ctx;
  start_trie(&added->plain, ctx);
  start_trie(&added->normalized, ctx);
}

smft_status smft__added_add(smft__added *added, const smft__added_token *token, const char *text,
                            int64_t length) {
  SMFT__TRY(smft__grow(added->ctx, &added->tokens, &added->capacity, added->n + 1,
                       sizeof *added->tokens));
  added->tokens[added->n] = *token;
  return add_spelling(token->normalized ? &added->normalized : &added->plain, text, length,
                      (int32_t)added->n++);
}

void smft__added_free(smft__added *added) {
  if (!added->ctx)
    return;
  smft__free(added->ctx, added->plain.nodes);
  smft__free(added->ctx, added->normalized.nodes);
  smft__free(added->ctx, added->tokens);
  memset(added, 0, sizeof *added);
}

int smft__walk_step(smft__walk *walk, unsigned char byte, int32_t *token) {
  walk->node = find_child(walk->trie, walk->node, byte);
  if (walk->node < 0)
    return 0;
  *token = walk->trie->nodes[walk->node].token;
  return 1;
}

/* ---- the search ---------------------------------------------------------- */

/* The longest spelling at text[at]; its token or -1. */
static int32_t match_at(const smft__search *search, int64_t at, int64_t *end) {
  int32_t found = -1, token = -1;
  smft__walk walk = smft__walk_start(search->trie);
  for (int64_t i = at; i < search->length; i++) {
    if (!smft__walk_step(&walk, (unsigned char)search->text[i], &token))
      break;
    if (token >= 0) {
      found = token;
      *end = i + 1;
    }
  }
  return found;
}

static int64_t step_back(const char *text, int64_t at) {
  do
    at--;
  while (at > 0 && ((unsigned char)text[at] & 0xC0u) == 0x80u);
  return at;
}

static uint32_t code_at(const smft__search *search, int64_t at, int32_t *step) {
  uint32_t code = 0;
  *step = smft__utf8_next(search->text + at, (size_t)(search->length - at), &code);
  return code;
}

/* No letter or digit on either side. */
static int is_single_word(const smft__search *search, int64_t start, int64_t end) {
  int32_t step;
  if (start > 0 && smft__is_word(code_at(search, step_back(search->text, start), &step)))
    return 0;
  return end >= search->length || !smft__is_word(code_at(search, end, &step));
}

static int64_t space_before(const smft__search *search, int64_t start) {
  int32_t step;
  while (start > search->done &&
         smft__is_space(code_at(search, step_back(search->text, start), &step)))
    start = step_back(search->text, start);
  return start;
}

/* Remembers the last run of space: a token that is itself space must not make this quadratic. */
static int64_t space_after(smft__search *search, int64_t end) {
  int32_t step = 0;
  int64_t at = end;
  if (end >= search->space_from && end < search->space_end)
    return search->space_end;
  while (at < search->length && smft__is_space(code_at(search, at, &step)) && step > 0)
    at += step;
  search->space_from = end;
  search->space_end = at;
  return at;
}

/* The last span that begins before `end` is the one that could reach into it. */
static int in_plain(const smft__search *search, int64_t start, int64_t end) {
  int64_t low = 0, high = search->plain ? search->plain->n : 0;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (search->plain->data[middle].start < end + search->shift)
      low = middle + 1;
    else
      high = middle;
  }
  return low > 0 && search->plain->data[low - 1].end > start + search->shift;
}

int smft__search_wants(const smft__search *search, const smft__added_token *token, int64_t start,
                       int64_t end) {
  return !(token->special && (search->no_special || in_plain(search, start, end))) &&
         (!token->single_word || is_single_word(search, start, end));
}

void smft__search_next(smft__search *search, smft__found *found) {
  *found = (smft__found){search->length, search->length, -1};
  while (search->at < search->length) {
    int64_t start = search->at, end = start;
    int32_t index = match_at(search, start, &end);
    search->at = index < 0 ? start + 1 : end;
    if (index < 0)
      continue;
    const smft__added_token *token = &search->added->tokens[index];
    if (!smft__search_wants(search, token, start, end))
      continue;
    if (token->lstrip)
      start = space_before(search, start);
    if (token->rstrip)
      end = space_after(search, end);
    *found = (smft__found){start, end, token->id};
    search->done = end;
    return;
  }
}
