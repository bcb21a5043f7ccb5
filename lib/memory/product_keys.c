/* product_keys: the k best of n*n sums without forming them.
 *
 * Each half gives its m + 1 best scores.  With both lists in order, a pair (i, j) of them is no
 * better than the (i+1)(j+1) - 1 pairs before it in both, so only pairs with (i+1)(j+1) <= k can be
 * above the k-th best sum: about k ln k of them.  With m = k this settles the k best *values*
 * exactly, in the rounded f32 sums that a scan of the whole grid would see.  Mostly the best sums
 * are made of far fewer scores: m is three quarters of k first, and k when that turns out to be too
 * short: when a pair left out, the first one in each row, is above the k-th best sum.  Pairs left
 * out that equal it matter when their slot id is lower; then the equal sums are searched for in
 * order of slot id.
 *
 * Owns the order (score, then lower slot id; NaN is minus infinity, -0 is 0) and the scratch.  The
 * vector loops are kernels/select.c's. */
#include "memory/product_keys.h"
#include "memory/kernels/select.h"
#include <math.h>
#include <string.h>

enum {
  RANK_MOST = 384, /* longest list that is ordered by counting; longer ones are sorted */
  SHORT_LEAST = 16 /* least k for which short lists are tried first */
};

typedef struct list { /* best first */
  float *scores;      /* never NaN */
  uint32_t *positions;
} list;

typedef struct cut { /* which pairs are looked at; the tables are (length) */
  int64_t length;    /* of the lists */
  int64_t n_corners;
  int32_t *lengths; /* pairs of each row */
  /* at least k pairs are no worse than the worst of the pairs (i, corners[i]), i < n_corners */
  int32_t *corners;
} cut;

struct smft__product_keys {
  const smft__select_kernels *kernels;
  int64_t n, k;
  cut cuts[2]; /* short, whole */
  int first;   /* the cut that is tried first */
  list half[2], best;
  float *maxima;     /* (about n or 2k) */
  float *candidates; /* of a selection */
  uint32_t *positions;
  uint32_t *ranks;
  int64_t *keys; /* the same as sortable numbers */
  int64_t *key_ranks;
  float *sums;     /* (n_pairs) */
  uint32_t *slots; /* (n_pairs) */
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- preparation --------------------------------------------------------- */

/* At least the number of pairs (i, j) with (i+1)(j+1) <= k, which is at most k times the k-th
 * harmonic number. */
static int64_t most_pairs(int64_t k) {
  int64_t bits = 0;
  while (k >> bits)
    bits++;
  return k * bits;
}

/* Lays the scratch out; with base NULL only measures.  Returns its bytes. */
static int64_t layout(smft__product_keys *work, char *base, int64_t n, int64_t k) {
  int64_t n_pairs = most_pairs(k), longest = (n > n_pairs ? n : n_pairs) + 64;
  int64_t used = (sizeof *work + 63) / 64 * 64;
  int64_t length = smaller(k + 1, n), ordered = (length > RANK_MOST ? length : RANK_MOST) + 32;
#define TAKE(field, count)                                                                         \
  do {                                                                                             \
    (field) = base ? (void *)(base + used) : NULL;                                                 \
    used += ((count) * (int64_t)sizeof *(field) + 63) / 64 * 64;                                   \
  } while (0)
  for (int i = 0; i < 2; i++) {
    TAKE(work->half[i].scores, ordered);
    TAKE(work->half[i].positions, ordered);
    TAKE(work->cuts[i].lengths, length);
    TAKE(work->cuts[i].corners, length);
  }
  TAKE(work->best.scores, ordered);
  TAKE(work->best.positions, ordered);
  TAKE(work->maxima, longest + 2 * k);
  TAKE(work->candidates, longest);
  TAKE(work->positions, longest);
  TAKE(work->ranks, longest);
  TAKE(work->keys, longest);
  TAKE(work->key_ranks, longest);
  TAKE(work->sums, n_pairs + 32);
  TAKE(work->slots, n_pairs + 32);
#undef TAKE
  return used;
}

int64_t smft__product_keys_scratch(int64_t n, int64_t k) {
  smft__product_keys work;
  return layout(&work, NULL, n, k);
}

/* How many pairs of the cut have (i+1)(j+1) <= product; they end at its corners. */
static int64_t find_corners(cut *pairs, int64_t product) {
  int64_t count = 0, i = 0;
  for (; i < pairs->length && i < product && pairs->lengths[i] > 0; i++) {
    int64_t row = smaller(product / (i + 1), pairs->lengths[i]);
    pairs->corners[i] = (int32_t)(row - 1);
    count += row;
  }
  pairs->n_corners = i;
  return count;
}

/* The pairs of the m best of each half.  (A list ends with one score that is in no pair, unless it
 * has all n.) */
static void make_cut(cut *pairs, int64_t n, int64_t k, int64_t m) {
  int64_t product = k / 4 + 1;
  pairs->length = smaller(m + 1, n);
  for (int64_t i = 0; i < pairs->length; i++)
    pairs->lengths[i] = i < m ? (int32_t)smaller(k / (i + 1), smaller(m, n)) : 0;
  while (find_corners(pairs, product) < k)
    product++;
}

smft__product_keys *smft__product_keys_prepare(int64_t n, int64_t k, void *scratch) {
  smft__product_keys *work = scratch;
  layout(work, scratch, n, k);
  work->kernels = smft__select_kernels_best();
  work->n = n;
  work->k = k;
  work->first = k < SHORT_LEAST;
  if (!work->first)
    make_cut(&work->cuts[0], n, k, k * 3 / 4 - 1);
  make_cut(&work->cuts[1], n, k, k);
  return work;
}

/* ---- order --------------------------------------------------------------- */

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

/* The k greatest of many keys to the front, greatest first: a heap of k that the rest is held
 * against. */
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

/* Orders the candidates by number alone; returns 0, with nothing of use done, when there are equal
 * ones among them. */
static int order_different(const smft__product_keys *work, int64_t count, list *to) {
  if (!work->kernels->rank(work->candidates, count, work->ranks))
    return 0;
  for (int64_t i = 0; i < count; i++) {
    to->scores[work->ranks[i]] = work->candidates[i];
    to->positions[work->ranks[i]] = work->positions[i];
  }
  return 1;
}

/* By number, then by name; the list gets names. */
static void order_keys(const smft__product_keys *work, int64_t count, int64_t k, list *to) {
  int64_t *keys = work->keys;
  for (int64_t i = 0; i < count; i++)
    keys[i] = key_of(clean(work->candidates[i]), work->positions[i]);
  if (count > RANK_MOST)
    sort_best(keys, count, k);
  else
    work->kernels->rank_keys(keys, count, work->key_ranks);
  for (int64_t i = 0; i < (count > RANK_MOST ? k : count); i++) { /* keys differ, so ranks do */
    int64_t rank = count > RANK_MOST ? i : work->key_ranks[i];
    to->scores[rank] = score_of(keys[i]);
    to->positions[rank] = position_of(keys[i]);
  }
}

/* The k best of those of x (n) that are not below bound, which are at least k; names: what stands
 * for position i (NULL: i itself). */
static void order_best(const smft__product_keys *work, const float *x, const uint32_t *names,
                       int64_t n, float bound, int64_t k, list *to) {
  int64_t count = work->kernels->collect(x, n, bound, work->candidates, work->positions);
  for (int64_t i = 0; names && i < count; i++)
    work->positions[i] = names[work->positions[i]];
  if (count > RANK_MOST || !order_different(work, count, to))
    order_keys(work, count, k, to);
  for (int64_t i = 0; i < k; i++)
    to->scores[i] = clean(to->scores[i]);
}

/* ---- search -------------------------------------------------------------- */

static void select_half(const smft__product_keys *work, const float *x, int64_t k, list *to) {
  int64_t n_groups = (2 * k + 15) / 16 * 16;
  if (work->n < 2 * n_groups)
    n_groups = (work->n + 15) / 16 * 16;
  order_best(work, x, NULL, work->n, work->kernels->bound(x, work->n, k, work->maxima, n_groups), k,
             to);
}

/* At least k pairs reach this. */
static float pair_bound(const smft__product_keys *work, const cut *pairs) {
  float bound = INFINITY;
  for (int64_t i = 0; i < pairs->n_corners; i++) {
    float sum = clean(work->half[0].scores[i] + work->half[1].scores[pairs->corners[i]]);
    bound = sum < bound ? sum : bound;
  }
  return bound;
}

/* The best sum of the pairs that are left out: one of the first that are in each row. */
static float best_outside(const smft__product_keys *work, const cut *pairs) {
  float best = -INFINITY;
  for (int64_t i = 0; i < pairs->length; i++) {
    float sum = pairs->lengths[i] < pairs->length
                    ? work->half[0].scores[i] + work->half[1].scores[pairs->lengths[i]]
                    : -INFINITY;
    best = sum > best ? sum : best;
  }
  return best;
}

/* Fills slots[begin..k) with the lowest slots of the whole grid whose sum is `worst`. */
static void settle_ties(const smft__product_keys *work, const float *s1, const float *s2, int64_t n,
                        int64_t begin, int64_t k, float worst, int64_t *slots) {
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

/* The k best of the pairs of a cut, into work->best; returns the best sum that it left out. */
static float search(smft__product_keys *work, const float *s1, const float *s2, const cut *pairs) {
  smft__pair_lists lists = {work->half[0].scores, work->half[1].scores, work->half[0].positions,
                            work->half[1].positions};
  int64_t n_pairs;
  select_half(work, s1, pairs->length, &work->half[0]);
  select_half(work, s2, pairs->length, &work->half[1]);
  n_pairs = work->kernels->pairs(&lists, pairs->lengths, pairs->length, (uint32_t)work->n,
                                 work->sums, work->slots);
  order_best(work, work->sums, work->slots, n_pairs, pair_bound(work, pairs), work->k, &work->best);
  return best_outside(work, pairs);
}

void smft__product_keys_top(smft__product_keys *work, const float *s1, const float *s2,
                            int64_t *slots, float *scores) {
  int64_t k = work->k, begin = k;
  int which = work->first;
  float outside = search(work, s1, s2, &work->cuts[which]), worst = work->best.scores[k - 1];
  if (which == 0 && outside > worst) {
    outside = search(work, s1, s2, &work->cuts[1]);
    worst = work->best.scores[k - 1];
  }
  for (int64_t i = 0; i < k; i++) {
    scores[i] = work->best.scores[i];
    slots[i] = work->best.positions[i];
  }
  if (outside < worst)
    return;
  while (begin > 0 && scores[begin - 1] == worst)
    begin--;
  settle_ties(work, s1, s2, work->n, begin, k, worst, slots);
}
