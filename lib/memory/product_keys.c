/* product_keys: the k best of n*n sums without forming them.
 *
 * Each half gives its k + 1 best scores.  With both lists in order, a pair (i, j) of them is no better than the (i+1)(j+1) - 1 pairs before
 * it in both, so only pairs with (i+1)(j+1) <= k can be above the k-th best sum: about k ln k of them.  This settles the k best *values*
 * exactly, in the rounded f32 sums that a scan of the whole grid would see.  Pairs left out can only equal the k-th best sum.  They matter
 * when their slot id is lower; whether there are any shows in one comparison per row of pairs, and then the equal sums are searched for in
 * order of slot id.
 *
 * Owns the order (score, then lower slot id; NaN is minus infinity, -0 is 0) and the scratch.  The vector loops are select_kernels.c's. */
#include "memory/product_keys.h"
#include "memory/select_kernels.h"
#include <math.h>
#include <string.h>

enum { RANK_MOST = 384 }; /* longest list that is ordered by counting; longer ones are sorted */

typedef struct half_list { /* best first */
  float *scores;       /* (length) never NaN */
  uint32_t *positions; /* (length) */
  int64_t length;
} half_list;

typedef struct workspace {
  const smft__select_kernels *kernels;
  half_list half[2];
  float *maxima;       /* (about n or 2k) */
  uint32_t *positions; /* candidates of a selection */
  int64_t *keys;       /* the same as sortable numbers */
  int64_t *ranks;
  int64_t *best;       /* the result of a selection */
  float *sums;         /* (n_pairs) */
  uint32_t *slots;     /* (n_pairs) */
} workspace;

static int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* At least the number of pairs (i, j) with (i+1)(j+1) <= k, which is at most k times the k-th harmonic number. */
static int64_t most_pairs(int64_t k) {
  int64_t bits = 0;
  while (k >> bits)
    bits++;
  return k * bits;
}

/* Lays the scratch out; with base NULL only measures.  Returns its bytes. */
static int64_t layout(workspace *work, char *base, int64_t n, int64_t k) {
  int64_t n_pairs = most_pairs(k), longest = (n > n_pairs ? n : n_pairs) + 64, used = 0, list = smaller(k + 1, n) + 16;
#define TAKE(field, count)                                              \
  do {                                                                  \
    (field) = base ? (void *)(base + used) : NULL;                      \
    used += ((count) * (int64_t)sizeof *(field) + 63) / 64 * 64;        \
  } while (0)
  TAKE(work->half[0].scores, list);
  TAKE(work->half[1].scores, list);
  TAKE(work->half[0].positions, list);
  TAKE(work->half[1].positions, list);
  TAKE(work->maxima, longest + 2 * k);
  TAKE(work->positions, longest);
  TAKE(work->keys, longest);
  TAKE(work->ranks, longest);
  TAKE(work->best, k + 16);
  TAKE(work->sums, n_pairs + 16);
  TAKE(work->slots, n_pairs + 16);
#undef TAKE
  return used;
}

int64_t smft__product_keys_scratch(int64_t n, int64_t k) {
  workspace work;
  return layout(&work, NULL, n, k);
}

static inline float clean(float score) {
  return (score >= -INFINITY ? score : -INFINITY) + 0.0f; /* -0 + 0 is 0 */
}

/* A signed number that orders as (score, then lower position). */
static inline int64_t key_of(float score, uint32_t position) {
  int32_t bits;
  memcpy(&bits, &score, sizeof bits);
  bits ^= (bits >> 31) & INT32_MAX;
  return (int64_t)((uint64_t)(uint32_t)bits << 32 | (UINT32_MAX - position));
}

static inline float score_of(int64_t key) {
  int32_t bits = (int32_t)(key >> 32);
  float score;
  bits ^= (bits >> 31) & INT32_MAX;
  memcpy(&score, &bits, sizeof score);
  return score;
}

static inline uint32_t position_of(int64_t key) {
  return UINT32_MAX - (uint32_t)((uint64_t)key & UINT32_MAX);
}

/* A bound that at least k of x (n) reach, and not many more: the k-th of about 2k group maxima, narrowed by halving. */
static float find_bound(const workspace *work, const float *x, int64_t n, int64_t k) {
  int64_t n_groups = (2 * k + 15) / 16 * 16;
  float low, high;
  if (n < 2 * n_groups)
    n_groups = (n + 15) / 16 * 16;
  work->kernels->fold(x, n, work->maxima, n_groups, &low, &high);
  if (!(low > -INFINITY && high < INFINITY))
    return low;
  for (int step = 0; step < 24; step++) {
    float middle = low + (high - low) * 0.5f;
    int64_t count = work->kernels->count(work->maxima, n_groups, middle);
    if (!(middle > low && middle < high))
      break;
    if (count < k) {
      high = middle;
      continue;
    }
    low = middle;
    if (count <= k + k / 8)
      break;
  }
  return low;
}

/* Moves the root of a heap whose least key is on top down to its place. */
static void sift(int64_t *keys, int64_t root, int64_t n) {
  int64_t key = keys[root];
  for (int64_t child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && keys[child + 1] < keys[child])
      child++;
    if (keys[child] >= key)
      break;
    keys[root] = keys[child];
    keys[child] = key;
  }
}

/* The k greatest of many keys to the front, greatest first: a heap of k that the rest is held against. */
static void sort_best(int64_t *keys, int64_t n, int64_t k) {
  for (int64_t root = k / 2; root-- > 0;)
    sift(keys, root, k);
  for (int64_t i = k; i < n; i++)
    if (keys[i] > keys[0]) {
      keys[0] = keys[i];
      sift(keys, 0, k);
    }
  for (int64_t end = k; end-- > 1;) {
    int64_t key = keys[0];
    keys[0] = keys[end];
    keys[end] = key;
    sift(keys, 0, end);
  }
}

/* The k best of x (n), greatest first, as keys in work->best; names: what stands for position i (NULL: i itself). */
static void select_best(const workspace *work, const float *x, const uint32_t *names, int64_t n, int64_t k) {
  float bound = find_bound(work, x, n, k);
  int64_t count = work->kernels->collect(x, n, bound, work->positions);
  for (int64_t i = 0; i < count; i++) {
    uint32_t position = work->positions[i];
    work->keys[i] = key_of(clean(x[position]), names ? names[position] : position);
  }
  if (count > RANK_MOST) {
    sort_best(work->keys, count, k);
    memcpy(work->best, work->keys, (size_t)k * sizeof *work->best);
    return;
  }
  work->kernels->rank(work->keys, count, work->ranks);
  for (int64_t i = 0; i < count; i++) /* keys differ, so ranks do */
    if (work->ranks[i] < k)
      work->best[work->ranks[i]] = work->keys[i];
}

static void select_half(const workspace *work, const float *x, int64_t n, half_list *list) {
  select_best(work, x, NULL, n, list->length);
  for (int64_t i = 0; i < list->length; i++) {
    list->scores[i] = score_of(work->best[i]);
    list->positions[i] = position_of(work->best[i]);
  }
}

/* Sums and slots of the pairs that can be among the k best; returns their number. */
static int64_t form_pairs(const workspace *work, int64_t n, int64_t k) {
  const half_list *first = &work->half[0], *second = &work->half[1];
  int64_t count = 0, length = k;
  for (int64_t i = 0; i < k; i++) {
    uint32_t base = first->positions[i] * (uint32_t)n;
    while ((i + 1) * length > k)
      length--;
    for (int64_t j = 0; j < length; j++, count++) {
      work->sums[count] = first->scores[i] + second->scores[j];
      work->slots[count] = base + second->positions[j];
    }
  }
  return count;
}

/* Whether a pair that was left out equals the k-th best sum: the first one left out in each row of pairs is its best. */
static int tie_outside(const workspace *work, int64_t k, float worst) {
  const half_list *first = &work->half[0], *second = &work->half[1];
  int64_t j = k;
  int tie = 0;
  for (int64_t i = 0; i < first->length; i++) {
    while ((i + 1) * j > k)
      j--;
    if (j < second->length)
      tie |= clean(first->scores[i] + second->scores[j]) == worst;
  }
  return tie;
}

/* Fills slots[begin..k) with the lowest slots of the whole grid whose sum is `worst`. */
static void settle_ties(const workspace *work, const float *s1, const float *s2, int64_t n, int64_t begin, int64_t k, float worst,
                        int64_t *slots) {
  for (int64_t i = 0; i < n; i++) {
    float score = clean(s1[i]);
    if (clean(score + work->half[1].scores[0]) < worst)
      continue;
    for (int64_t j = 0; j < n; j++)
      if (clean(score + clean(s2[j])) == worst) {
        slots[begin++] = i * n + j;
        if (begin == k)
          return;
      }
  }
}

void smft__product_keys_top(const float *s1, const float *s2, int64_t n, int64_t k, void *scratch, int64_t *slots, float *scores) {
  workspace work = {0};
  int64_t n_pairs, begin = k;
  layout(&work, scratch, n, k);
  work.kernels = smft__select_kernels_best();
  work.half[0].length = work.half[1].length = smaller(k + 1, n);
  select_half(&work, s1, n, &work.half[0]);
  select_half(&work, s2, n, &work.half[1]);
  n_pairs = form_pairs(&work, n, k);
  select_best(&work, work.sums, work.slots, n_pairs, k);
  for (int64_t i = 0; i < k; i++) {
    scores[i] = score_of(work.best[i]);
    slots[i] = position_of(work.best[i]);
  }
  if (!tie_outside(&work, k, scores[k - 1]))
    return;
  while (begin > 0 && scores[begin - 1] == scores[k - 1])
    begin--;
  settle_ties(&work, s1, s2, n, begin, k, scores[k - 1], slots);
}
