/* sampler: one token from one row of logits.  Candidates are taken best first from a heap, so that
 * top-k and top-p cost what they use and not a sort of the vocabulary. */
#include "model/sampler.h"

#include <math.h>

static int32_t greedy(const float *logits, int32_t vocab) {
  int32_t best = 0;
  for (int32_t i = 1; i < vocab; i++)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

/* ---- a heap of ids, best logit on top ------------------------------------ */

static int better(const float *logits, int32_t a, int32_t b) {
  return logits[a] > logits[b] || (!(logits[a] < logits[b]) && a < b);
}

static void sift(const float *logits, int32_t *heap, int32_t n, int32_t at) {
  for (;;) {
    int32_t best = at, left = 2 * at + 1, right = 2 * at + 2; /* vocab < 2^30: no overflow */
    if (left < n && better(logits, heap[left], heap[best]))
      best = left;
    if (right < n && better(logits, heap[right], heap[best]))
      best = right;
    if (best == at)
      return;
    int32_t id = heap[at];
    heap[at] = heap[best];
    heap[best] = id;
    at = best;
  }
}

static void make_heap(const float *logits, int32_t *heap, int32_t n) {
  for (int32_t i = 0; i < n; i++)
    heap[i] = i;
  for (int32_t i = n / 2; i-- > 0;)
    sift(logits, heap, n, i);
}

/* Moves the best of heap[0, n) to heap[n - 1]. */
static int32_t pop(const float *logits, int32_t *heap, int32_t n) {
  int32_t id = heap[0];
  heap[0] = heap[n - 1];
  heap[n - 1] = id;
  sift(logits, heap, n - 1, 0);
  return id;
}

/* ---- sampling ------------------------------------------------------------ */

typedef struct candidates { /* of one call */
  const smft__sampler *sampler;
  const float *logits;
  int32_t *heap; /* the i-th best, once popped, stands at heap[vocab - 1 - i] */
  int32_t vocab, popped;
  float best;
} candidates;

static double weight_of(const candidates *c, int32_t id) {
  return exp(((double)c->logits[id] - (double)c->best) / (double)c->sampler->temperature);
}

static int32_t ranked(candidates *c, int32_t i) {
  for (; c->popped <= i; c->popped++)
    pop(c->logits, c->heap, c->vocab - c->popped);
  return c->heap[c->vocab - 1 - i];
}

static double total_weight(candidates *c, int32_t k) {
  double total = 0;
  for (int32_t i = 0; i < k; i++)
    total += weight_of(c, k < c->vocab ? ranked(c, i) : i);
  return total;
}

/* Neither top-k nor top-p: no order is needed. */
static int32_t sample_plain(candidates *c, double u) {
  double target = u * total_weight(c, c->vocab), sum = 0;
  for (int32_t id = 0; id < c->vocab; id++) {
    sum += weight_of(c, id);
    if (sum > target)
      return id;
  }
  return greedy(c->logits, c->vocab);
}

/* Of the k best, the smallest set whose share is at least top_p; then the candidate at which the
 * running sum passes a random target. */
static int32_t sample_ranked(candidates *c, int32_t k, double share, double u) {
  double total = total_weight(c, k), kept = 0, sum = 0;
  int32_t n = 0;
  do
    kept += weight_of(c, ranked(c, n++));
  while (n < k && kept < share * total);
  for (int32_t i = 0; i < n; i++) {
    sum += weight_of(c, ranked(c, i));
    if (sum > u * kept)
      return ranked(c, i);
  }
  return ranked(c, n - 1);
}

int32_t smft__sampler_next(smft__sampler *sampler, const float *logits, int32_t vocab,
                           int32_t *order) {
  int32_t first = greedy(logits, vocab);
  if (!(sampler->temperature > 0))
    return first;
  int32_t k = sampler->top_k > 0 && sampler->top_k < vocab ? sampler->top_k : vocab;
  double share = sampler->top_p > 0 && sampler->top_p < 1 ? (double)sampler->top_p : 1;
  double u = smft__rng_uniform(&sampler->rng);
  candidates c = {sampler, logits, order, vocab, 0, logits[first]};
  if (k == vocab && share >= 1)
    return sample_plain(&c, u);
  make_heap(logits, order, vocab);
  return sample_ranked(&c, k, share, u);
}
