/* counts: slots read and how often, and with what weight, as a sorted list.
 * Owns the list and a buffer of reads that are not in it yet.  The buffer is sorted and merged when
 * it is full; it is never longer than a fixed size or twice the list, so memory follows the
 * distinct slots, not the reads and not the pool. */
#include "memory/counts.h"
#include "memory/radix.h"
#include <string.h>

enum { PENDING_LEAST = 1024, PENDING_MOST = 65536 };

void smft__counts_init(smft__counts *counts, smft_ctx *ctx) {
  memset(counts, 0, sizeof *counts);
  counts->ctx = ctx;
}

void smft__counts_free(smft__counts *counts) {
  smft__free(counts->ctx, counts->slots);
  smft__free(counts->ctx, counts->reads);
  smft__free(counts->ctx, counts->weights);
  smft__free(counts->ctx, counts->pending);
  smft__counts_init(counts, counts->ctx);
}

void smft__counts_clear(smft__counts *counts) { counts->n = counts->n_pending = counts->total = 0; }

static smft_status grow_list(smft__counts *counts, int64_t needed) {
  int64_t capacity = counts->capacity + counts->capacity / 2;
  void *pointer;
  if (needed <= counts->capacity)
    return SMFT_OK;
  if (capacity < needed)
    capacity = needed;
  if (!(pointer = smft__realloc_array(counts->ctx, counts->slots, capacity, sizeof *counts->slots)))
    return SMFT_E_NOMEM;
  counts->slots = pointer;
  if (!(pointer = smft__realloc_array(counts->ctx, counts->reads, capacity, sizeof *counts->reads)))
    return SMFT_E_NOMEM;
  counts->reads = pointer;
  counts->capacity = capacity;
  return SMFT_OK;
}

/* A pending entry: the slot in the upper half, how often it was read, less one, in the lower. */
static int64_t slot_of(uint64_t entry) { return (int64_t)(entry >> 32); }
static int64_t reads_of(uint64_t entry) { return (int64_t)(entry & UINT32_MAX) + 1; }

/* Makes one entry of all that have the same slot, of n > 0 sorted ones; returns how many there are.
 * Written so that it needs no branch: which entries are alike cannot be foreseen. */
static int64_t squeeze(uint64_t *entries, int64_t n) {
  int64_t kept = 0;
  uint64_t now = entries[0];
  for (int64_t i = 1; i < n; i++) {
    uint64_t next = entries[i], together = now + (uint64_t)reads_of(next);
    int another = slot_of(next) != slot_of(now);
    entries[kept] = now;
    kept += another;
    now = another ? next : together;
  }
  entries[kept] = now;
  return kept + 1;
}

/* How many of the distinct sorted entries' slots are not in the list yet. */
static int64_t count_new(const smft__counts *counts, const uint64_t *entries, int64_t n) {
  int64_t fresh = 0, at = 0;
  for (int64_t i = 0; i < n; i++) {
    while (at < counts->n && counts->slots[at] < slot_of(entries[i]))
      at++;
    fresh += at == counts->n || counts->slots[at] != slot_of(entries[i]);
  }
  return fresh;
}

/* From the back, so that the list is merged in its own place. */
static void merge_back(smft__counts *counts, const uint64_t *entries, int64_t n, int64_t n_new) {
  int64_t old = counts->n - 1, add = n - 1, to = counts->n + n_new - 1;
  for (; add >= 0; to--) {
    int64_t slot = slot_of(entries[add]), reads = reads_of(entries[add]);
    if (old >= 0 && counts->slots[old] > slot) {
      counts->slots[to] = counts->slots[old];
      counts->reads[to] = counts->reads[old--];
      continue;
    }
    if (old >= 0 && counts->slots[old] == slot)
      reads += counts->reads[old--];
    counts->slots[to] = slot;
    counts->reads[to] = reads;
    add--;
  }
  counts->n += n_new;
}

static void sort_pending(smft__counts *counts) {
  uint64_t largest = 0, *sorted;
  for (int64_t i = 0; i < counts->n_pending; i++)
    largest = counts->pending[i] >> 32 > largest ? counts->pending[i] >> 32 : largest;
  sorted = smft__radix_sort(counts->ctx, counts->pending, counts->pending + counts->pending_room,
                            &counts->n_pending, largest);
  if (sorted != counts->pending)
    memcpy(counts->pending, sorted, (size_t)counts->n_pending * sizeof *sorted);
}

/* On failure nothing is lost: the reads stay pending. */
static smft_status merge_pending(smft__counts *counts) {
  int64_t n_new;
  if (counts->n_pending == 0)
    return SMFT_OK;
  sort_pending(counts);
  counts->n_pending = squeeze(counts->pending, counts->n_pending);
  n_new = count_new(counts, counts->pending, counts->n_pending);
  SMFT__TRY(grow_list(counts, counts->n + n_new));
  merge_back(counts, counts->pending, counts->n_pending, n_new);
  counts->n_pending = 0;
  return SMFT_OK;
}

/* Room for `wanted` pending reads, or for as many as the list allows. */
static smft_status grow_pending(smft__counts *counts, int64_t wanted) {
  int64_t most = 2 * counts->n > PENDING_MOST ? 2 * counts->n : PENDING_MOST, room = PENDING_LEAST;
  uint64_t *pending;
  while (room < wanted && room < most)
    room *= 2;
  if (room <= counts->pending_room)
    return SMFT_OK;
  SMFT__TRY(merge_pending(counts)); /* so that there is nothing to copy */
  pending = smft__alloc_array(counts->ctx, 2 * room, sizeof *pending);
  if (!pending)
    return SMFT_E_NOMEM;
  smft__free(counts->ctx, counts->pending);
  counts->pending = pending;
  counts->pending_room = room;
  return SMFT_OK;
}

smft_status smft__counts_reserve(smft__counts *counts, int64_t reads, int64_t distinct) {
  SMFT__TRY(grow_pending(counts, reads));
  return grow_list(counts, distinct);
}

smft_status smft__counts_add(smft__counts *counts, const int64_t *slots, int64_t n) {
  if (n > 0)
    SMFT__TRY(grow_pending(counts, n));
  for (int64_t i = 0; i < n; i++) {
    if (counts->n_pending == counts->pending_room)
      SMFT__TRY(merge_pending(counts));
    counts->pending[counts->n_pending++] = (uint64_t)slots[i] << 32;
    counts->total++;
  }
  return SMFT_OK;
}

smft_status smft__counts_finish(smft__counts *counts) { return merge_pending(counts); }

int64_t smft__counts_find(const smft__counts *counts, int64_t slot) {
  int64_t low = 0, high = counts->n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (counts->slots[middle] < slot)
      low = middle + 1;
    else
      high = middle;
  }
  return low < counts->n && counts->slots[low] == slot ? low : -1;
}

/* ---- weights: only some selectors ask for them ---------------------------- */

smft_status smft__counts_weigh(smft__counts *counts) {
  SMFT__TRY(smft__grow(counts->ctx, &counts->weights, &counts->weights_capacity, counts->capacity,
                       sizeof *counts->weights));
  counts->weight = 0;
  for (int64_t i = 0; i < counts->n; i++)
    counts->weights[i] = 0;
  return SMFT_OK;
}

void smft__counts_add_weights(smft__counts *counts, const int64_t *slots, const float *weights,
                              int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    int64_t at = smft__counts_find(counts, slots[i]);
    if (at < 0) /* not one of the reads that were counted */
      continue;
    counts->weights[at] += (double)weights[i];
    counts->weight += (double)weights[i];
  }
}
