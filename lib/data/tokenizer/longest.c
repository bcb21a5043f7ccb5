/* longest: llama.cpp looks for its added tokens one after another, the longest first, each from
 * left to right in what those before it left.  Here a text is walked over once: where spellings
 * overlap, every place of such a run waits in a queue with the longest spelling that begins there;
 * the longest of them is taken, and a place whose spelling was cut by that waits again with a
 * shorter one. Does not own: the trie (added.c). */
#include "data/tokenizer/longest.h"
#include "base/alloc.h"
#include "data/tokenizer/queue.h"
#include <stdlib.h>
#include <string.h>

typedef struct finder {
  const smft__search *search;
  smft__queue queue; /* of a run: rank -length, at from the run's begin, id */
  unsigned char *taken;
  int64_t taken_capacity;
  smft__founds *out;
} finder;

void smft__founds_free(smft__founds *founds) {
  if (founds->ctx)
    smft__free(founds->ctx, founds->data);
  founds->data = NULL;
  founds->n = founds->capacity = 0;
}

/* Bytes of the longest spelling at text[at] that has at most `most`; 0: none. */
static int64_t match_at(const finder *find, int64_t at, int64_t most, int32_t *id) {
  int64_t length = 0;
  const smft__search *search = find->search;
  smft__walk walk = smft__walk_start(search->trie);
  for (int64_t i = at; i - at < most && i < search->length; i++) {
    int32_t token = -1;
    if (!smft__walk_step(&walk, (unsigned char)search->text[i], &token))
      break;
    if (token < 0 || !smft__search_wants(search, &search->added->tokens[token], at, i + 1))
      continue;
    length = i + 1 - at;
    *id = search->added->tokens[token].id;
  }
  return length;
}

static smft_status push(finder *find, int64_t at, int64_t length, int32_t id) {
  return smft__queue_push(&find->queue, (smft__candidate){-(int32_t)length, (int32_t)at, id});
}

/* Puts the places of the run that begins at `begin` with a spelling into the queue; *end: where no
 * spelling reaches on from. */
static smft_status collect(finder *find, int64_t begin, int64_t *end) {
  find->queue.n = 0;
  for (int64_t at = begin; at < *end; at++) {
    int32_t id = -1;
    int64_t length = match_at(find, at, INT32_MAX, &id);
    if (length == 0)
      continue;
    SMFT__TRY(push(find, at - begin, length, id));
    if (at + length > *end)
      *end = at + length;
  }
  return SMFT_OK;
}

static smft_status take(finder *find, int64_t begin, const smft__candidate *candidate) {
  int64_t length = -(int64_t)candidate->rank, free = 0;
  unsigned char *taken = find->taken + candidate->at;
  while (free < length && !taken[free])
    free++;
  if (free < length) {
    int32_t id = -1;
    int64_t shorter = free > 0 ? match_at(find, begin + candidate->at, free, &id) : 0;
    return shorter > 0 ? push(find, candidate->at, shorter, id) : SMFT_OK;
  }
  smft__founds *out = find->out;
  SMFT__TRY(smft__grow(out->ctx, &out->data, &out->capacity, out->n + 1, sizeof *out->data));
  int64_t start = begin + candidate->at;
  out->data[out->n++] = (smft__found){start, start + length, candidate->id};
  memset(taken, 1, (size_t)length);
  return SMFT_OK;
}

static int compare_founds(const void *a, const void *b) {
  const smft__found *x = a, *y = b;
  return (x->start > y->start) - (x->start < y->start);
}

static smft_status find_run(finder *find, int64_t begin, int64_t end) {
  int64_t first = find->out->n;
  SMFT__TRY(smft__grow(find->out->ctx, &find->taken, &find->taken_capacity, end - begin, 1));
  memset(find->taken, 0, (size_t)(end - begin));
  while (find->queue.n > 0) {
    smft__candidate candidate = smft__queue_pop(&find->queue);
    SMFT__TRY(take(find, begin, &candidate));
  }
  qsort(find->out->data + first, (size_t)(find->out->n - first), sizeof *find->out->data,
        compare_founds);
  return SMFT_OK;
}

static smft_status find_all(finder *find) {
  for (int64_t at = 0; at < find->search->length;) {
    int32_t id = -1;
    int64_t end = at + match_at(find, at, INT32_MAX, &id);
    if (end == at) {
      at++;
      continue;
    }
    SMFT__TRY(collect(find, at, &end));
    SMFT__TRY(find_run(find, at, end));
    at = end;
  }
  return SMFT_OK;
}

smft_status smft__longest_find(const smft__search *search, smft__founds *out) {
  finder find = {search, {.ctx = out->ctx}, NULL, 0, out};
  out->n = 0;
  smft_status status = find_all(&find);
  smft__free(out->ctx, find.queue.items);
  smft__free(out->ctx, find.taken);
  return status;
}
