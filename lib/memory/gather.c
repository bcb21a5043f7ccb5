/* gather: reads of the pool by the hundred thousand, at the pace of main memory, and the way back.
 * Owns nothing.  Rows are taken four at a time while the four after them are fetched.  Backward
 * turns the list of reads round with a stable sort, so that each row is summed by one thread in
 * token order. */
#include "memory/gather.h"
#include "base/parallel.h"
#include "memory/radix.h"
#include "memory/kernels/row.h"

enum { GROUP = SMFT__ROW_GROUP, TOKENS = 16, ENTRIES = 2048, LOOKUPS = 16384, AHEAD = 2 };

typedef struct gather_work {
  const smft__pool *pool;
  const smft__reads *reads;
  const smft__row_kernels *kernels;
  float *sum;         /* forward */
  const float *d_sum; /* backward */
  float *d_weights;
} gather_work;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- tokens -> rows where most rows are zeros ---------------------------- */

/* The reads of a block of tokens, one by one: of a pool of zeros few have a row.  The same bits as
 * if the zeros were there. */
static void add_found(const gather_work *work, int64_t begin, int64_t end) {
  int64_t dim = work->pool->value_dim, n = work->reads->n_reads;
  for (int64_t read = begin; read < end; read++) {
    const float *row = smft__snapshot_find(work->pool->rows, work->reads->slots[read]);
    if (row)
      work->kernels->add(SMFT__F32, work->sum + read / n * dim, row, work->reads->weights[read],
                         dim);
  }
}

static void dot_found(const gather_work *work, int64_t begin, int64_t end) {
  int64_t dim = work->pool->value_dim, n = work->reads->n_reads;
  for (int64_t read = begin; read < end; read++) {
    const float *row = smft__snapshot_find(work->pool->rows, work->reads->slots[read]);
    const float *d_sum = work->d_sum + read / n * dim;
    work->d_weights[read] = row ? work->kernels->dot(SMFT__F32, row, d_sum, dim) : 0;
  }
}

/* ---- tokens -> rows: forward and the weights' gradient ------------------- */

typedef struct group { /* up to four reads of one token */
  const void *rows[GROUP];
  int32_t dtypes[GROUP];
  int64_t read; /* the first of them */
  int n, alike; /* alike: four rows of one type */
} group;

/* The group that begins at `read` of the reads before `end`; empty past it. */
static void find_group(const gather_work *work, int64_t read, int64_t end, group *found) {
  int64_t n_reads = work->reads->n_reads;
  int64_t left = n_reads - read % n_reads;
  found->read = read;
  found->n = read >= end ? 0 : (int)smaller(left, GROUP);
  found->alike = found->n == GROUP;
  for (int i = 0; i < found->n; i++) {
    found->rows[i] = smft__pool_row(work->pool, work->reads->slots[read + i], &found->dtypes[i]);
    found->alike &= found->dtypes[i] == found->dtypes[0];
  }
}

static const void *const *to_fetch(const group *now, const group *next) {
  return next->alike && next->dtypes[0] == now->dtypes[0] ? next->rows : NULL;
}

static void add_group(const gather_work *work, const group *now, const group *next) {
  int64_t dim = work->pool->value_dim, token = now->read / work->reads->n_reads;
  const float *weights = work->reads->weights + now->read;
  float *sum = work->sum + token * dim;
  if (now->alike) {
    work->kernels->add4(now->dtypes[0], sum, now->rows, weights, to_fetch(now, next), dim);
    return;
  }
  for (int i = 0; i < now->n; i++)
    work->kernels->add(now->dtypes[i], sum, now->rows[i], weights[i], dim);
}

static void dot_group(const gather_work *work, const group *now, const group *next) {
  int64_t dim = work->pool->value_dim, token = now->read / work->reads->n_reads;
  const float *d_sum = work->d_sum + token * dim;
  float *d_weights = work->d_weights + now->read;
  if (now->alike) {
    work->kernels->dot4(now->dtypes[0], now->rows, d_sum, to_fetch(now, next), dim, d_weights);
    return;
  }
  for (int i = 0; i < now->n; i++)
    d_weights[i] = work->kernels->dot(now->dtypes[i], now->rows[i], d_sum, dim);
}

static void each_group(const gather_work *work, int64_t block,
                       void (*use)(const gather_work *, const group *, const group *),
                       void (*use_found)(const gather_work *, int64_t, int64_t)) {
  int64_t begin = block * TOKENS * work->reads->n_reads;
  int64_t end = smaller((block + 1) * TOKENS, work->reads->n_tokens) * work->reads->n_reads;
  group groups[2];
  int now = 0;
  if (smft__pool_is_zeros(work->pool)) {
    use_found(work, begin, end);
    return;
  }
  find_group(work, begin, end, &groups[0]);
  while (groups[now].n > 0) {
    find_group(work, groups[now].read + groups[now].n, end, &groups[1 - now]);
    use(work, &groups[now], &groups[1 - now]);
    now = 1 - now;
  }
}

static void forward_block(void *arg, int64_t block, int32_t lane) {
  const gather_work *work = arg;
  int64_t begin = block * TOKENS, end = smaller(begin + TOKENS, work->reads->n_tokens);
  int64_t dim = work->pool->value_dim;
  (void)lane;
  memset(work->sum + begin * dim, 0, (size_t)((end - begin) * dim) * sizeof *work->sum);
  each_group(work, block, add_group, add_found);
}

void smft__gather_forward(smft_ctx *ctx, const smft__pool *pool, const smft__reads *reads,
                          float *sum) {
  gather_work work = {.pool = pool,
                      .reads = reads,
                      .kernels = smft__row_kernels_best(),
                      .sum = sum};
  smft__parallel_for(ctx, smft__blocks(reads->n_tokens, TOKENS), forward_block, &work);
}

static void weights_block(void *arg, int64_t block, int32_t lane) {
  (void)lane;
  each_group(arg, block, dot_group, dot_found);
}

void smft__gather_backward_weights(smft_ctx *ctx, const smft__pool *pool, const smft__reads *reads,
                                   const float *d_sum, float *d_weights) {
  gather_work work = {.pool = pool,
                      .reads = reads,
                      .kernels = smft__row_kernels_best(),
                      .d_sum = d_sum,
                      .d_weights = d_weights};
  smft__parallel_for(ctx, smft__blocks(reads->n_tokens, TOKENS), weights_block, &work);
}

/* ---- rows -> tokens: the values' gradient -------------------------------- */

typedef struct scatter_work {
  const smft__reads *reads;
  const smft__row_kernels *kernels;
  const float *d_sum;
  int64_t dim;
  float *to; /* row r at r * dim */
  const smft__rows *rows;
  uint64_t *entries; /* (n) target row in the upper half, read in the lower */
  int64_t n;
} scatter_work;

/* One row: the entries [begin, end), all of the same target. */
static void add_run(const scatter_work *work, int64_t begin, int64_t end) {
  float *to = work->to + (int64_t)(work->entries[begin] >> 32) * work->dim;
  const void *rows[GROUP];
  float weights[GROUP];
  int n = 0;
  for (int64_t i = begin; i < end; i++) {
    int64_t read = (int64_t)(work->entries[i] & UINT32_MAX);
    rows[n] = work->d_sum + read / work->reads->n_reads * work->dim;
    weights[n++] = work->reads->weights[read];
    if (n == GROUP) {
      work->kernels->add4(SMFT__F32, to, rows, weights, NULL, work->dim);
      n = 0;
    }
  }
  for (int i = 0; i < n; i++)
    work->kernels->add(SMFT__F32, to, rows[i], weights[i], work->dim);
}

static uint64_t target(const scatter_work *work, int64_t i) { return work->entries[i] >> 32; }

/* Fetches the row of an entry to come: in a large table each is a miss. */
static void fetch_target(const scatter_work *work, int64_t i) {
  if (i >= work->n)
    return;
  const float *row = work->to + (int64_t)target(work, i) * work->dim;
  for (int64_t j = 0; j < work->dim; j += 16)
    __builtin_prefetch(row + j, 1);
}

/* The runs that begin in this block; the last of them may end in a later one. */
static void scatter_block(void *arg, int64_t block, int32_t lane) {
  const scatter_work *work = arg;
  int64_t begin = block * ENTRIES, stop = smaller(begin + ENTRIES, work->n);
  (void)lane;
  while (begin > 0 && begin < stop && target(work, begin) == target(work, begin - 1))
    begin++;
  while (begin < stop) {
    int64_t end = begin + 1;
    while (end < work->n && target(work, end) == target(work, begin))
      end++;
    fetch_target(work, end + AHEAD);
    add_run(work, begin, end);
    begin = end;
  }
}

static void sort_and_scatter(smft_ctx *ctx, scatter_work *work, uint64_t *other, uint64_t largest) {
  work->entries = smft__radix_sort(ctx, work->entries, other, &work->n, largest);
  smft__parallel_for(ctx, smft__blocks(work->n, ENTRIES), scatter_block, work);
}

void smft__gather_backward_dense(smft_ctx *ctx, const smft__reads *reads, const float *d_sum,
                                 int64_t value_dim, float *d_values, uint64_t *entries) {
  int64_t n = reads->n_tokens * reads->n_reads;
  scatter_work work = {.reads = reads,
                       .kernels = smft__row_kernels_best(),
                       .d_sum = d_sum,
                       .dim = value_dim,
                       .to = d_values,
                       .entries = entries,
                       .n = n};
  uint64_t largest = 0;
  for (int64_t i = 0; i < n; i++) {
    uint64_t slot = (uint64_t)reads->slots[i];
    entries[i] = slot << 32 | (uint64_t)i;
    largest = slot > largest ? slot : largest;
  }
  sort_and_scatter(ctx, &work, entries + n, largest);
}

/* Looks the reads up: wanted ones to the front of the block's own piece of the entries, nothing in
 * the rest of it. */
static void look_up_block(void *arg, int64_t block, int32_t lane) {
  const scatter_work *work = arg;
  int64_t begin = block * LOOKUPS, end = smaller(begin + LOOKUPS, work->n), kept = begin;
  (void)lane;
  for (int64_t i = begin; i < end; i++) {
    int64_t position = smft__rows_find(work->rows, work->reads->slots[i]);
    if (position >= 0)
      work->entries[kept++] = (uint64_t)position << 32 | (uint64_t)i;
  }
  while (kept < end)
    work->entries[kept++] = SMFT__RADIX_NOTHING;
}

void smft__gather_backward_rows(smft_ctx *ctx, const smft__reads *reads, const float *d_sum,
                                smft__rows *rows, uint64_t *entries) {
  int64_t n = reads->n_tokens * reads->n_reads;
  scatter_work work = {.reads = reads,
                       .kernels = smft__row_kernels_best(),
                       .d_sum = d_sum,
                       .dim = rows->dim,
                       .to = rows->values,
                       .rows = rows,
                       .entries = entries,
                       .n = n};
  if (rows->n == 0)
    return;
  smft__parallel_for(ctx, smft__blocks(n, LOOKUPS), look_up_block, &work);
  sort_and_scatter(ctx, &work, entries + n, (uint64_t)rows->n);
}
