/* dense: work on every weight of a model at once, cut into fixed blocks of one tensor each, on the context's threads.  Owns the layout; the
 * arithmetic is update.c's, the arrays are their holders'. */
#include "learn/dense.h"
#include "base/alloc.h"
#include "base/parallel.h"

#define BLOCK 16384 /* floats: four arrays of it stay in the second-level cache */

static smft_status allocate(smft__dense *dense, smft_ctx *ctx, int32_t n) {
  dense->begin = smft__alloc_array(ctx, n + 1, sizeof *dense->begin);
  dense->count = smft__alloc_array(ctx, n + 1, sizeof *dense->count);
  dense->block = smft__alloc_array(ctx, n + 1, sizeof *dense->block);
  dense->is_pool = smft__calloc_array(ctx, n + 1, sizeof *dense->is_pool);
  if (!dense->begin || !dense->count || !dense->block || !dense->is_pool)
    return SMFT_E_NOMEM;
  return SMFT_OK;
}

smft_status smft__dense_create(smft__dense *dense, const smft_model *model) {
  smft__dense empty = {0};
  *dense = empty;
  dense->n_tensors = model->n_tensors;
  smft_status status = allocate(dense, model->ctx, model->n_tensors);
  if (status != SMFT_OK) {
    smft__dense_free(dense, model->ctx);
    return status;
  }
  int64_t begin = 0, block = 0;
  for (int32_t i = 0; i < model->n_tensors; i++) {
    dense->begin[i] = begin;
    dense->block[i] = block;
    dense->count[i] = smft__tensor_count(&model->tensors[i]);
    begin += (dense->count[i] + 15) / 16 * 16;
    block += smft__blocks(dense->count[i], BLOCK);
  }
  dense->begin[model->n_tensors] = begin;
  dense->block[model->n_tensors] = block;
  dense->total = begin;
  for (int32_t p = 0; p < model->config.n_pools; p++)
    dense->is_pool[model->pools[p]] = 1;
  return SMFT_OK;
}

void smft__dense_free(smft__dense *dense, smft_ctx *ctx) {
  smft__dense empty = {0};
  smft__free(ctx, dense->begin);
  smft__free(ctx, dense->count);
  smft__free(ctx, dense->block);
  smft__free(ctx, dense->is_pool);
  *dense = empty;
}

int64_t smft__dense_blocks(const smft__dense *dense) { return dense->block[dense->n_tensors]; }

typedef struct piece { /* what one block is */
  int32_t tensor;
  int64_t offset, n; /* within the tensor */
} piece;

static piece piece_of(const smft__dense *dense, int64_t block) {
  int32_t low = 0, high = dense->n_tensors - 1;
  while (low < high) { /* the last tensor that begins at or before the block; empty tensors own none */
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

typedef struct clear_work {
  float *x;
  int64_t n;
} clear_work;

static void clear_block(void *arg, int64_t block, int32_t lane) {
  const clear_work *work = arg;
  (void)lane;
  int64_t begin = block * BLOCK, n = work->n - begin < BLOCK ? work->n - begin : BLOCK;
  memset(work->x + begin, 0, (size_t)n * sizeof *work->x);
}

void smft__dense_clear(smft_ctx *ctx, const smft__dense *dense, float *x) {
  clear_work work = {x, dense->total};
  smft__parallel_for(ctx, smft__blocks(dense->total, BLOCK), clear_block, &work);
}

typedef struct sum_work {
  const smft__dense *dense;
  const float *x;
  double *partial; /* (blocks) */
} sum_work;

static void sum_block(void *arg, int64_t block, int32_t lane) {
  const sum_work *work = arg;
  (void)lane;
  piece p = piece_of(work->dense, block);
  work->partial[block] = smft__sum_squares(work->x + work->dense->begin[p.tensor] + p.offset, p.n);
}

void smft__dense_sum_squares(smft_ctx *ctx, const smft__dense *dense, const float *x, double *partial, double sums[2]) {
  sum_work work = {dense, x, partial};
  smft__parallel_for(ctx, smft__dense_blocks(dense), sum_block, &work);
  sums[0] = sums[1] = 0;
  for (int32_t i = 0; i < dense->n_tensors; i++)
    for (int64_t block = dense->block[i]; block < dense->block[i + 1]; block++)
      sums[(int)dense->is_pool[i]] += partial[block];
}

typedef struct update_work {
  const smft__dense_step *step;
  int store;
  atomic_int bad;
} update_work;

static void update_piece(update_work *work, piece p) {
  const smft__dense_step *step = work->step;
  int64_t at = step->dense->begin[p.tensor] + p.offset;
  float *w = step->weights[p.tensor] + p.offset, *m = step->m ? step->m + at : NULL, *v = step->v ? step->v + at : NULL;
  const smft__update_rule *rule = &step->rules[p.tensor];
  if (!smft__update(rule, w, step->gradient + at, m, v, p.n, work->store ? w : NULL, m, v))
    atomic_store_explicit(&work->bad, 1, memory_order_relaxed);
}

/* The rows of a piece that have their bit; a block may begin and end in the middle of a row. */
static void update_rows(update_work *work, piece p, const uint64_t *read) {
  int64_t dim = work->step->row_floats, end = p.offset + p.n;
  for (int64_t row = p.offset / dim; row * dim < end; row++) {
    if (!(read[row >> 6] >> (row & 63) & 1))
      continue;
    int64_t first = row * dim > p.offset ? row * dim : p.offset, last = (row + 1) * dim < end ? (row + 1) * dim : end;
    piece part = {p.tensor, first, last - first};
    update_piece(work, part);
  }
}

static void update_block(void *arg, int64_t block, int32_t lane) {
  update_work *work = arg;
  piece p = piece_of(work->step->dense, block);
  const uint64_t *read = work->step->read ? work->step->read[p.tensor] : NULL;
  (void)lane;
  if (read)
    update_rows(work, p, read);
  else
    update_piece(work, p);
}

int smft__dense_update(smft_ctx *ctx, const smft__dense_step *step, int store) {
  update_work work = {step, store, 0};
  smft__parallel_for(ctx, smft__dense_blocks(step->dense), update_block, &work);
  return !atomic_load(&work.bad);
}
