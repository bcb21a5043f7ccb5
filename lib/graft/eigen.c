/* eigen: see eigen.h.  Householder's reflections make the matrix tridiagonal; implicit QL finds all
 * eigenvalues of that, and its rotations are noted; both are undone on the wanted vectors alone.
 * Why so: nothing has to converge but QL, which always does, whatever the gaps between eigenvalues;
 * vectors are as accurate as double allows; and of n^3 only the reflections are left.  Work is cut
 * in blocks of rows or of vectors that do not depend on threads. */
#include "graft/eigen.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"

enum { ROWS = 32, LANES = 8, MOST_SWEEPS = 80 };

typedef struct rotation {
  double c, s;
} rotation;

typedef struct sweep { /* of QL: rotations of rows (top, top + 1), (top - 1, top) ... */
  int64_t begin, count, top;
} sweep;

typedef struct solver {
  smft_ctx *ctx;
  int64_t n, m;
  double *a;                           /* (n, n); reflection k stands in row k, from k + 1 on */
  double *diagonal, *off;              /* (n) of the tridiagonal matrix */
  double *tau;                         /* (n) reflection k is 1 - tau v v^T */
  double *v, *w, *next, *next_product; /* (n) */
  int64_t step;                        /* v and w are those of reflection step - 1 */
  rotation *rotations;
  int64_t n_rotations, rotations_capacity;
  sweep *sweeps;
  int64_t n_sweeps, sweeps_capacity;
  int64_t *order; /* (n) positions by descending eigenvalue */
  double *room;   /* (lanes, n, LANES) */
  double *vectors;
} solver;

/* ---- tridiagonal --------------------------------------------------------- */

static double dot(const double *a, const double *b, int64_t n) {
  double sum[LANES] = {0}, rest = 0;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++)
      sum[l] += a[i + l] * b[i + l];
  for (; i < n; i++)
    rest += a[i] * b[i];
  for (int l = 0; l < LANES; l++)
    rest += sum[l];
  return rest;
}

/* row -= vi * w + wi * v */
static void take_off(double *row, const double *v, const double *w, double vi, double wi,
                     int64_t n) {
  for (int64_t i = 0; i < n; i++)
    row[i] -= vi * w[i] + wi * v[i];
}

/* take_off, and the dot product with `next` of what comes of it, in one pass over memory */
static double take_off_dot(double *row, const double *v, const double *w, double vi, double wi,
                           const double *next, int64_t n) {
  double sum[LANES] = {0}, rest = 0;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) {
      row[i + l] -= vi * w[i + l] + wi * v[i + l];
      sum[l] += row[i + l] * next[i + l];
    }
  for (; i < n; i++) {
    row[i] -= vi * w[i] + wi * v[i];
    rest += row[i] * next[i];
  }
  for (int l = 0; l < LANES; l++)
    rest += sum[l];
  return rest;
}

/* The reflection that turns x (n) to (off, 0, ...); x becomes its vector, tau is returned. */
static double reflect(double *x, int64_t n, double *off) {
  double length = sqrt(dot(x, x, n)), rest = sqrt(dot(x + 1, x + 1, n - 1));
  *off = x[0];
  if (rest <= DBL_MIN) {
    memset(x, 0, (size_t)n * sizeof *x);
    return 0;
  }
  *off = x[0] > 0 ? -length : length;
  x[0] -= *off;
  return 2 / dot(x, x, n);
}

/* Rows of what is left: without the last reflection's part, times the next one's vector. */
static void rows_block(void *arg, int64_t block, int32_t lane) {
  const solver *s = arg;
  int64_t k = s->step, first = k + 1 + block * ROWS;
  (void)lane;
  for (int64_t i = first; i < smft__least(first + ROWS, s->n); i++) {
    double *row = s->a + i * s->n + k + 1;
    int64_t n = s->n - k - 1;
    s->next_product[i] =
        k > 0 ? take_off_dot(row, s->v + k + 1, s->w + k + 1, s->v[i], s->w[i], s->next + k + 1, n)
              : dot(row, s->next + k + 1, n);
  }
}

/* w of reflection k, from its vector (next) and the product with it. */
static void finish_step(solver *s, int64_t k) {
  int64_t n = s->n - k - 1;
  double tau = s->tau[k], *v = s->next + k + 1, *w = s->w + k + 1;
  double half = tau / 2 * (tau * dot(s->next_product + k + 1, v, n));
  for (int64_t i = 0; i < n; i++)
    w[i] = tau * s->next_product[k + 1 + i] - half * v[i];
  memcpy(s->v + k + 1, v, (size_t)n * sizeof *v);
}

static void make_tridiagonal(solver *s) {
  for (int64_t k = 0; k < s->n; k++) {
    double *row = s->a + k * s->n;
    int64_t left = s->n - k - 1;
    s->step = k;
    if (k > 0)
      take_off(row + k, s->v + k, s->w + k, s->v[k], s->w[k], left + 1);
    s->diagonal[k] = row[k];
    s->off[k] = left > 0 ? row[k + 1] : 0;
    s->tau[k] = left > 0 ? reflect(row + k + 1, left, &s->off[k]) : 0;
    if (left > 0) {
      memcpy(s->next + k + 1, row + k + 1, (size_t)left * sizeof *row);
      smft__parallel_for(s->ctx, smft__blocks(left, ROWS), rows_block, s);
      finish_step(s, k);
    }
  }
}

/* ---- QL ------------------------------------------------------------------ */

static smft_status note(solver *s, double c, double sine) {
  SMFT__TRY(smft__grow(s->ctx, &s->rotations, &s->rotations_capacity, s->n_rotations + 1,
                       sizeof *s->rotations));
  s->rotations[s->n_rotations].c = c;
  s->rotations[s->n_rotations++].s = sine;
  return SMFT_OK;
}

/* One sweep with an implicit shift, from row m up to row l: off[l] shrinks. */
static smft_status run_sweep(solver *s, int64_t l, int64_t m) {
  double *d = s->diagonal, *e = s->off, slope = (d[l + 1] - d[l]) / (2 * e[l]);
  double g = d[m] - d[l] + e[l] / (slope + copysign(hypot(slope, 1), slope));
  double sine = 1, cosine = 1, p = 0;
  SMFT__TRY(
      smft__grow(s->ctx, &s->sweeps, &s->sweeps_capacity, s->n_sweeps + 1, sizeof *s->sweeps));
  sweep *one = &s->sweeps[s->n_sweeps++];
  one->begin = s->n_rotations;
  one->top = m - 1;
  for (int64_t i = m - 1; i >= l; i--) {
    double f = sine * e[i], b = cosine * e[i], r = hypot(f, g);
    e[i + 1] = r;
    if (r <= 0) { /* it came apart here */
      d[i + 1] -= p;
      e[m] = 0;
      one->count = s->n_rotations - one->begin;
      return SMFT_OK;
    }
    sine = f / r;
    cosine = g / r;
    SMFT__TRY(note(s, cosine, sine));
    g = d[i + 1] - p;
    r = (d[i] - g) * sine + 2 * cosine * b;
    p = sine * r;
    d[i + 1] = g + p;
    g = cosine * r - b;
  }
  d[l] -= p;
  e[l] = g;
  e[m] = 0;
  one->count = s->n_rotations - one->begin;
  return SMFT_OK;
}

static double norm_of(const solver *s) {
  double norm = 0;
  for (int64_t i = 0; i < s->n; i++)
    norm = fmax(norm, fabs(s->diagonal[i]) + fabs(s->off[i]));
  return norm;
}

static smft_status find_values(solver *s) {
  double small = DBL_EPSILON * norm_of(s);
  s->off[s->n - 1] = 0;
  for (int64_t l = 0; l < s->n; l++)
    for (int turn = 0;; turn++) {
      int64_t m = l;
      while (m + 1 < s->n && fabs(s->off[m]) > small)
        m++;
      if (m == l)
        break;
      if (turn == MOST_SWEEPS)
        return smft__fail(SMFT_E_NONFINITE, "an eigenvalue does not converge: the states have "
                                            "numbers that are too large");
      SMFT__TRY(run_sweep(s, l, m));
    }
  return SMFT_OK;
}

/* The m largest first. */
static void sort_values(solver *s) {
  for (int64_t i = 0; i < s->n; i++)
    s->order[i] = i;
  for (int64_t i = 0; i < s->m; i++) {
    int64_t best = i;
    for (int64_t j = i + 1; j < s->n; j++)
      if (s->diagonal[s->order[j]] > s->diagonal[s->order[best]])
        best = j;
    int64_t kept = s->order[i];
    s->order[i] = s->order[best];
    s->order[best] = kept;
  }
}

/* ---- vectors ------------------------------------------------------------- */

/* z (n, LANES) = the rotations, last first, of z */
static void rotate_back(const solver *s, double *z) {
  for (int64_t i = s->n_sweeps - 1; i >= 0; i--) {
    const sweep *one = &s->sweeps[i];
    for (int64_t t = one->count - 1; t >= 0; t--) {
      double c = s->rotations[one->begin + t].c, sine = s->rotations[one->begin + t].s;
      double *x = z + (one->top - t) * LANES, *y = x + LANES;
      for (int l = 0; l < LANES; l++) {
        double old = x[l];
        x[l] = c * old + sine * y[l];
        y[l] = c * y[l] - sine * old;
      }
    }
  }
}

/* z (n, LANES) = the reflections, last first, of z */
static void reflect_back(const solver *s, double *z) {
  for (int64_t k = s->n - 2; k >= 0; k--) {
    const double *v = s->a + k * s->n;
    double sum[LANES] = {0};
    for (int64_t i = k + 1; i < s->n; i++)
      for (int l = 0; l < LANES; l++)
        sum[l] += v[i] * z[i * LANES + l];
    for (int l = 0; l < LANES; l++)
      sum[l] *= s->tau[k];
    for (int64_t i = k + 1; i < s->n; i++)
      for (int l = 0; l < LANES; l++)
        z[i * LANES + l] -= v[i] * sum[l];
  }
}

/* Column `from` of z to `to` (n), its largest number positive. */
static void put_vector(const double *z, int from, int64_t n, double *to) {
  int64_t largest = 0;
  for (int64_t i = 0; i < n; i++) {
    to[i] = z[i * LANES + from];
    largest = fabs(to[i]) > fabs(to[largest]) ? i : largest;
  }
  double sign = to[largest] < 0 ? -1 : 1;
  for (int64_t i = 0; i < n; i++)
    to[i] *= sign;
}

static void vectors_block(void *arg, int64_t block, int32_t lane) {
  const solver *s = arg;
  double *z = s->room + lane * s->n * LANES;
  memset(z, 0, (size_t)(s->n * LANES) * sizeof *z);
  for (int64_t l = 0; l < LANES && block * LANES + l < s->m; l++)
    z[s->order[block * LANES + l] * LANES + l] = 1;
  rotate_back(s, z);
  reflect_back(s, z);
  for (int l = 0; l < LANES && block * LANES + l < s->m; l++)
    put_vector(z, l, s->n, s->vectors + (block * LANES + l) * s->n);
}

/* ---- all of it ----------------------------------------------------------- */

static smft_status reserve(solver *s) {
  double **const arrays[] = {&s->diagonal, &s->off,  &s->tau,         &s->v,
                             &s->w,        &s->next, &s->next_product};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
    *arrays[i] = smft__calloc_array(s->ctx, s->n, sizeof **arrays[i]);
    if (!*arrays[i])
      return SMFT_E_NOMEM;
  }
  s->order = smft__alloc_array(s->ctx, s->n, sizeof *s->order);
  s->room = smft__alloc_array(s->ctx, smft__lanes(s->ctx) * s->n * LANES, sizeof *s->room);
  return s->order && s->room ? SMFT_OK : SMFT_E_NOMEM;
}

static void release(solver *s) {
  void *const arrays[] = {s->diagonal,     s->off,       s->tau,    s->v,     s->w,   s->next,
                          s->next_product, s->rotations, s->sweeps, s->order, s->room};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
    smft__free(s->ctx, arrays[i]);
}

smft_status smft__eigen_top(smft_ctx *ctx, double *a, int64_t n, int64_t m, double *values,
                            double *vectors) {
  solver s = {.ctx = ctx, .n = n, .m = m, .a = a, .vectors = vectors};
  smft_status status = reserve(&s);
  if (status == SMFT_OK) {
    make_tridiagonal(&s);
    status = find_values(&s);
  }
  if (status == SMFT_OK) {
    sort_values(&s);
    for (int64_t i = 0; i < m; i++)
      values[i] = s.diagonal[s.order[i]];
    smft__parallel_for(ctx, smft__blocks(m, LANES), vectors_block, &s);
  }
  release(&s);
  return status;
}
