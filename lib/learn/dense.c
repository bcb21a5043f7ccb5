/* dense: work on every trained number at once, cut into fixed blocks of one part each, on the
 * context's threads.  Owns the layout; the arithmetic is update.c's, the arrays are their holders'.
 */
#include "learn/dense.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/parallel.h"

#define BLOCK 16384 /* floats: four arrays of it stay in the second-level cache */

/* ---- the layout ---------------------------------------------------------- */

static smft_status allocate(smft__dense *dense, smft_ctx *ctx, int32_t n) {
  dense->parts = smft__alloc_array(ctx, n, sizeof *dense->parts);
  dense->begin = smft__alloc_array(ctx, n + 1, sizeof *dense->begin);
  dense->count = smft__alloc_array(ctx, n + 1, sizeof *dense->count);
  dense->block = smft__alloc_array(ctx, n + 1, sizeof *dense->block);
  return dense->parts && dense->begin && dense->count && dense->block ? SMFT_OK : SMFT_E_NOMEM;
}

static void hash_parts(smft__dense *dense) {
  smft__sha256 hash;
  smft__sha256_start(&hash);
  for (int32_t i = 0; i < dense->n_parts; i++) {
    const smft__part *part = &dense->parts[i];
    smft__sha256_add(&hash, part->name, strlen(part->name) + 1);
    smft__sha256_add(&hash, part->shape.shape,
                     (size_t)part->shape.n_dims * sizeof *part->shape.shape);
  }
  smft__sha256_hex(&hash, dense->hash);
}

static void lay_out(smft__dense *dense, const smft_patch *patch) {
  int64_t begin = 0, block = 0;
  for (int32_t i = 0; i < dense->n_parts; i++) {
    smft__part *part = &dense->parts[i];
    smft__patch_part(patch, i, part);
    dense->begin[i] = begin;
    dense->block[i] = block;
    dense->count[i] = smft__tensor_count(&part->shape);
    begin += (dense->count[i] + 15) / 16 * 16;
    block += smft__blocks(dense->count[i], BLOCK);
    if (part->pool >= 0) {
      dense->n_pools++;
      dense->row_floats = part->shape.shape[1]; /* all pools have the same shape */
      dense->words = (part->shape.shape[0] + 63) / 64;
    }
    part->values = NULL; /* the layout may outlive the patch */
    part->shape.data = NULL;
  }
  dense->begin[dense->n_parts] = dense->total = begin;
  dense->block[dense->n_parts] = block;
}

smft_status smft__dense_create(smft__dense *dense, const smft_patch *patch) {
  smft__dense empty = {0};
  *dense = empty;
  dense->n_parts = smft__patch_n_parts(patch);
  smft_status status = allocate(dense, patch->model->ctx, dense->n_parts);
  if (status != SMFT_OK) {
    smft__dense_free(dense, patch->model->ctx);
    return status;
  }
  lay_out(dense, patch);
  hash_parts(dense);
  return SMFT_OK;
}

void smft__dense_free(smft__dense *dense, smft_ctx *ctx) {
  smft__dense empty = {0};
  smft__free(ctx, dense->parts);
  smft__free(ctx, dense->begin);
  smft__free(ctx, dense->count);
  smft__free(ctx, dense->block);
  *dense = empty;
}

int64_t smft__dense_blocks(const smft__dense *dense) { return dense->block[dense->n_parts]; }

/* ---- pieces: blocks, and runs of rows in them ---------------------------- */

uint64_t *smft__dense_rows(smft_ctx *ctx, const smft__dense *dense) {
  return smft__calloc_array(ctx, dense->n_pools * dense->words, sizeof(uint64_t));
}

const uint64_t *smft__dense_rows_of(const smft__dense *dense, const uint64_t *rows, int32_t part) {
  return rows && dense->parts[part].pool >= 0 ? rows + dense->parts[part].pool * dense->words
                                              : NULL;
}

typedef struct piece { /* a block, or a part of one */
  int32_t part;
  int64_t offset, n; /* within the part */
} piece;

static piece piece_of(const smft__dense *dense, int64_t block) {
  int32_t low = 0, high = dense->n_parts - 1;
  while (low < high) { /* the last part that begins at or before the block; empty parts own none */
    int32_t middle = low + (high - low + 1) / 2;
    if (dense->block[middle] <= block)
      low = middle;
    else
      high = middle - 1;
  }
  piece found = {low, (block - dense->block[low]) * BLOCK, BLOCK};
  if (found.n > dense->count[low] - found.offset)
    found.n = dense->count[low] - found.offset;
  return found;
}

static int has_bit(const uint64_t *rows, int64_t row) { return rows[row >> 6] >> (row & 63) & 1; }

/* The first row from `row` on, before `end`, that has (wanted 1) or has not (0) its bit; `end` if
 * there is none. */
static int64_t next_row(const uint64_t *rows, int64_t row, int64_t end, int wanted) {
  while (row < end && has_bit(rows, row) != wanted) {
    uint64_t rest = (wanted ? rows[row >> 6] : ~rows[row >> 6]) >> (row & 63);
    row = rest ? row + __builtin_ctzll(rest) : (row | 63) + 1;
  }
  return row < end ? row : end;
}

/* The part of `whole` from `from` on that is the next run of rows with bits; n 0: no more.  Rows
 * may begin and end in the middle, where the block does.  rows NULL: all of it. */
static piece next_run(const smft__dense *dense, const piece *whole, const uint64_t *rows,
                      int64_t from) {
  int64_t dim = dense->row_floats, stop = whole->offset + whole->n;
  piece run = {whole->part, from, stop - from};
  if (!rows || run.n == 0)
    return run;
  int64_t last = smft__blocks(stop, dim), first = next_row(rows, from / dim, last, 1);
  int64_t end = next_row(rows, first, last, 0);
  int64_t begin_at = first * dim > from ? first * dim : from;
  int64_t end_at = end * dim < stop ? end * dim : stop;
  run.offset = begin_at < stop ? begin_at : stop;
  run.n = end_at > run.offset ? end_at - run.offset : 0;
  return run;
}

#define EACH_RUN(run, dense, whole, rows)                                                          \
  for (piece run = next_run(dense, whole, rows, (whole)->offset); run.n > 0;                       \
       run = next_run(dense, whole, rows, run.offset + run.n))

/* ---- clear, sum, largest ------------------------------------------------- */

typedef struct work {
  const smft__dense *dense;
  float *x;
  float *const *parts;
  const uint64_t *rows;
  double *partial; /* (blocks) */
} work;

static void clear_block(void *arg, int64_t block, int32_t lane) {
  const work *w = arg;
  (void)lane;
  piece whole = piece_of(w->dense, block);
  EACH_RUN(run, w->dense, &whole, smft__dense_rows_of(w->dense, w->rows, whole.part))
  memset(w->x + w->dense->begin[run.part] + run.offset, 0, (size_t)run.n * sizeof *w->x);
}

void smft__dense_clear(smft_ctx *ctx, const smft__dense *dense, float *x, const uint64_t *rows) {
  work w = {dense, x, NULL, rows, NULL};
  smft__parallel_for(ctx, smft__dense_blocks(dense), clear_block, &w);
}

static void sum_block(void *arg, int64_t block, int32_t lane) {
  const work *w = arg;
  double sum[8] = {0};
  (void)lane;
  piece whole = piece_of(w->dense, block);
  EACH_RUN(run, w->dense, &whole, smft__dense_rows_of(w->dense, w->rows, whole.part))
  smft__add_squares(sum, w->x + w->dense->begin[run.part] + run.offset, run.n,
                    run.offset - whole.offset);
  w->partial[block] = smft__sum_lanes(sum);
}

void smft__dense_sum_squares(smft_ctx *ctx, const smft__dense *dense, const float *x,
                             const uint64_t *rows, double *partial, double sums[2]) {
  work w = {dense, (float *)(uintptr_t)x, NULL, rows, partial};
  smft__parallel_for(ctx, smft__dense_blocks(dense), sum_block, &w);
  sums[0] = sums[1] = 0;
  for (int32_t i = 0; i < dense->n_parts; i++)
    for (int64_t block = dense->block[i]; block < dense->block[i + 1]; block++)
      sums[dense->parts[i].pool >= 0] += partial[block];
}

static void largest_block(void *arg, int64_t block, int32_t lane) {
  const work *w = arg;
  (void)lane;
  piece p = piece_of(w->dense, block);
  w->partial[block] = smft__largest(w->parts[p.part] + p.offset, p.n);
}

double smft__dense_largest(smft_ctx *ctx, const smft__dense *dense, float *const *parts,
                           double *partial) {
  double largest = 0;
  work w = {dense, NULL, parts, NULL, partial};
  smft__parallel_for(ctx, smft__dense_blocks(dense), largest_block, &w);
  for (int64_t block = 0; block < smft__dense_blocks(dense); block++)
    largest = partial[block] > largest ? partial[block] : largest;
  return largest;
}

/* ---- update -------------------------------------------------------------- */

typedef struct update_work {
  const smft__dense_step *step;
  int store;
  atomic_int bad;
} update_work;

static void update_run(update_work *w, const piece *p) {
  const smft__dense_step *step = w->step;
  int64_t at = step->dense->begin[p->part] + p->offset;
  float *weights = step->weights[p->part] + p->offset, *m = step->m ? step->m + at : NULL;
  float *v = step->v ? step->v + at : NULL;
  if (!smft__update(&step->rules[p->part], weights, step->gradient + at, m, v, p->n,
                    w->store ? weights : NULL, m, v))
    atomic_store_explicit(&w->bad, 1, memory_order_relaxed);
}

static void update_block(void *arg, int64_t block, int32_t lane) {
  update_work *w = arg;
  (void)lane;
  piece whole = piece_of(w->step->dense, block);
  EACH_RUN(run, w->step->dense, &whole, w->step->rows[whole.part])
  update_run(w, &run);
}

int smft__dense_update(smft_ctx *ctx, const smft__dense_step *step, int store) {
  update_work w = {step, store, 0};
  smft__parallel_for(ctx, smft__dense_blocks(step->dense), update_block, &w);
  return !atomic_load(&w.bad);
}
