/* kmeans: see kmeans.h.  Owns the rounds.  Distances are products: of |x - c|^2 only c.x - |c|^2 /
 * 2 differs between centres, and the largest is the nearest.  A round's assignments run in blocks
 * of samples, its means set by set in the order of samples: nothing depends on threads. */
#include "graft/kmeans.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "nn/gemm.h"
#include "nn/vector.h"

enum { SAMPLES = 128, COLUMNS = 64 };

typedef struct work {
  smft_ctx *ctx;
  const smft__kmeans *args;
  float *centres;
  float *offsets;   /* (sets, n_centres) -|c|^2 / 2 */
  int32_t *nearest; /* (sets, n) */
  float *distance;  /* (sets, n) squared, less rounding; below 0: taken for an empty centre */
  double *sums;     /* (sets, n_centres, d) */
  int64_t *counts;  /* (sets, n_centres) */
  float *scores;    /* (lanes, SAMPLES, n_centres) */
} work;

static const float *sample(const smft__kmeans *a, int64_t set, int64_t i) {
  return a->x + (i * a->sets + set) * a->d;
}

/* ---- start --------------------------------------------------------------- */

/* The first n_centres of `order` (n) become positions at random. */
static void shuffle(smft__rng *rng, int64_t *order, int64_t n, int64_t n_centres) {
  for (int64_t i = 0; i < n; i++)
    order[i] = i;
  for (int64_t i = 0; i < n_centres; i++) {
    int64_t j = i + smft__rng_below(rng, n - i), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
}

smft_status smft__kmeans_start(smft_ctx *ctx, const smft__kmeans *a, float *centres) {
  int64_t *order = smft__alloc_array(ctx, a->n, sizeof *order);
  if (!order)
    return SMFT_E_NOMEM;
  for (int64_t set = 0; set < a->sets; set++) {
    smft__rng rng;
    smft__rng_seed(&rng, smft__mix64(a->seed + (uint64_t)set));
    shuffle(&rng, order, a->n, a->n_centres);
    for (int64_t i = 0; i < a->n_centres; i++)
      memcpy(centres + (set * a->n_centres + i) * a->d, sample(a, set, order[i]),
             (size_t)a->d * sizeof *centres);
  }
  smft__free(ctx, order);
  return SMFT_OK;
}

/* ---- nearest ------------------------------------------------------------- */

static void set_offsets(work *w) {
  const smft__kmeans *a = w->args;
  for (int64_t i = 0; i < a->sets * a->n_centres; i++) {
    const float *centre = w->centres + i * a->d;
    w->offsets[i] = (float)(smft__vector()->dot_double(centre, centre, a->d) / -2);
  }
}

/* Position of the largest of x (n), the first of equal ones. */
static int64_t largest(const float *x, int64_t n) {
  int64_t best = 0, at = 0;
  float most = -INFINITY;
  for (int64_t i = 0; i < n; i += COLUMNS) {
    float here = smft__vector()->maximum(x + i, smft__least(COLUMNS, n - i));
    best = here > most ? i : best;
    most = here > most ? here : most;
  }
  for (at = best; at < smft__least(best + COLUMNS, n); at++)
    if (!(x[at] < most))
      return at;
  return best;
}

/* SAMPLES of one set. */
static void assign_block(void *arg, int64_t block, int32_t lane) {
  const work *w = arg;
  const smft__kmeans *a = w->args;
  int64_t set = block % a->sets, begin = block / a->sets * SAMPLES;
  int64_t n = smft__least(SAMPLES, a->n - begin);
  float *scores = w->scores + lane * SAMPLES * a->n_centres;
  for (int64_t i = 0; i < n; i++)
    memcpy(scores + i * a->n_centres, w->offsets + set * a->n_centres,
           (size_t)a->n_centres * sizeof *scores);
  smft__gemm_args args = {.m = n,
                          .n = a->n_centres,
                          .k = a->d,
                          .a = sample(a, set, begin),
                          .lda = a->sets * a->d,
                          .trans_b = 1,
                          .b = w->centres + set * a->n_centres * a->d,
                          .ldb = a->d,
                          .b_dtype = SMFT__F32,
                          .accumulate = 1,
                          .c = scores,
                          .ldc = a->n_centres};
  smft__gemm_serial(w->ctx, &args);
  for (int64_t i = 0; i < n; i++) {
    const float *x = sample(a, set, begin + i);
    int64_t nearest = largest(scores + i * a->n_centres, a->n_centres);
    float squared = smft__vector()->dot(x, x, a->d) - 2 * scores[i * a->n_centres + nearest];
    w->nearest[set * a->n + begin + i] = (int32_t)nearest;
    w->distance[set * a->n + begin + i] = squared > 0 ? squared : 0;
  }
}

/* ---- means --------------------------------------------------------------- */

/* The sample of a set that is farthest from its centre, once. */
static int64_t take_farthest(float *distance, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    best = distance[i] > distance[best] ? i : best;
  distance[best] = -1;
  return best;
}

static void put_mean(const work *w, int64_t set, int64_t centre) {
  const smft__kmeans *a = w->args;
  int64_t at = set * a->n_centres + centre;
  float *to = w->centres + at * a->d;
  if (w->counts[at] == 0) {
    int64_t farthest = take_farthest(w->distance + set * a->n, a->n);
    memcpy(to, sample(a, set, farthest), (size_t)a->d * sizeof *to);
    return;
  }
  for (int64_t j = 0; j < a->d; j++)
    to[j] = (float)(w->sums[at * a->d + j] / (double)w->counts[at]);
}

/* All of one set. */
static void means_block(void *arg, int64_t set, int32_t lane) {
  const work *w = arg;
  const smft__kmeans *a = w->args;
  int64_t *counts = w->counts + set * a->n_centres;
  double *sums = w->sums + set * a->n_centres * a->d;
  (void)lane;
  memset(counts, 0, (size_t)a->n_centres * sizeof *counts);
  memset(sums, 0, (size_t)(a->n_centres * a->d) * sizeof *sums);
  for (int64_t i = 0; i < a->n; i++) {
    int64_t centre = w->nearest[set * a->n + i];
    const float *x = sample(a, set, i);
    counts[centre]++;
    for (int64_t j = 0; j < a->d; j++)
      sums[centre * a->d + j] += (double)x[j];
  }
  for (int64_t centre = 0; centre < a->n_centres; centre++)
    put_mean(w, set, centre);
}

/* ---- rounds -------------------------------------------------------------- */

static smft_status reserve(work *w) {
  const smft__kmeans *a = w->args;
  int64_t centres = a->sets * a->n_centres, numbers = 0, samples = 0;
  if (!smft__mul_i64(centres, a->d, &numbers) || !smft__mul_i64(a->sets, a->n, &samples))
    return smft__fail(SMFT_E_NOMEM, "k-means of %lld samples: too many", (long long)a->n);
  w->offsets = smft__alloc_array(w->ctx, centres, sizeof *w->offsets);
  w->nearest = smft__alloc_array(w->ctx, samples, sizeof *w->nearest);
  w->distance = smft__alloc_array(w->ctx, samples, sizeof *w->distance);
  w->sums = smft__alloc_array(w->ctx, numbers, sizeof *w->sums);
  w->counts = smft__alloc_array(w->ctx, centres, sizeof *w->counts);
  w->scores =
      smft__alloc_array(w->ctx, smft__lanes(w->ctx) * SAMPLES * a->n_centres, sizeof *w->scores);
  return w->offsets && w->nearest && w->distance && w->sums && w->counts && w->scores
             ? SMFT_OK
             : SMFT_E_NOMEM;
}

static void release(work *w) {
  smft__free(w->ctx, w->offsets);
  smft__free(w->ctx, w->nearest);
  smft__free(w->ctx, w->distance);
  smft__free(w->ctx, w->sums);
  smft__free(w->ctx, w->counts);
  smft__free(w->ctx, w->scores);
}

smft_status smft__kmeans_run(smft_ctx *ctx, const smft__kmeans *a, float *centres,
                             smft__kmeans_fn each, void *user) {
  work w = {.ctx = ctx, .args = a, .centres = centres};
  smft_status status = reserve(&w);
  for (int32_t round = 0; status == SMFT_OK && round < a->rounds; round++) {
    set_offsets(&w);
    smft__parallel_for(ctx, smft__blocks(a->n, SAMPLES) * a->sets, assign_block, &w);
    smft__parallel_for(ctx, a->sets, means_block, &w);
    status = each ? each(user, round) : SMFT_OK;
  }
  release(&w);
  return status;
}

void smft__to_length_1(float *rows, int64_t n, int64_t d) {
  for (int64_t i = 0; i < n; i++) {
    float *row = rows + i * d;
    double length = sqrt(smft__vector()->dot_double(row, row, d));
    for (int64_t j = 0; j < d && length > 0; j++)
      row[j] = (float)((double)row[j] / length);
  }
}
