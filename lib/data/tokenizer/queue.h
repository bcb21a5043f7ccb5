/* queue: pairs of neighbours that wait to be merged, a binary heap: lowest rank first, then
 * leftmost.  Shared by both ways of merging (bpe.c, spm.c). */
#ifndef SMFT__TOKENIZER_QUEUE_H
#define SMFT__TOKENIZER_QUEUE_H
#include "base/alloc.h"

typedef struct smft__candidate { /* one entry of the queue */
  int32_t rank, at, id;          /* at: the left symbol; id: of the two together */
} smft__candidate;

typedef struct smft__queue {
  smft_ctx *ctx;
  smft__candidate *items; /* (n) */
  int64_t n, capacity;
} smft__queue;

static inline int smft__comes_before(const smft__candidate *a, const smft__candidate *b) {
  return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static inline smft_status smft__queue_push(smft__queue *queue, smft__candidate candidate) {
  SMFT__TRY(
      smft__grow(queue->ctx, &queue->items, &queue->capacity, queue->n + 1, sizeof *queue->items));
  int64_t at = queue->n++;
  while (at > 0 && smft__comes_before(&candidate, &queue->items[(at - 1) / 2])) {
    queue->items[at] = queue->items[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  queue->items[at] = candidate;
  return SMFT_OK;
}

/* of a queue that is not empty */
static inline smft__candidate smft__queue_pop(smft__queue *queue) {
  smft__candidate *items = queue->items, top = items[0], last = items[--queue->n];
  int64_t at = 0, child;
  while ((child = 2 * at + 1) < queue->n) {
    if (child + 1 < queue->n && smft__comes_before(&items[child + 1], &items[child]))
      child++;
    if (!smft__comes_before(&items[child], &last))
      break;
    items[at] = items[child];
    at = child;
  }
  items[at] = last;
  return top;
}
#endif
