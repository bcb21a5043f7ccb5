/* rows: a growing set of table rows with a hash index from slot to position.
 * Owns its arrays.  Knows nothing of pools, gradients or patches: those only share this shape. */
#include "memory/rows.h"
#include "base/hash.h"
#include "base/parallel.h"
#include <string.h>

enum { ZEROED = 256 }; /* rows of a block */

static int64_t home(const smft__rows *rows, int64_t slot) {
  return (int64_t)(smft__mix64((uint64_t)slot) & (uint64_t)(rows->index_size - 1));
}

/* Where the slot stands in the index, or the empty place where it would stand. */
static int64_t place_of(const smft__rows *rows, int64_t slot) {
  int64_t place = home(rows, slot);
  while (rows->index[place] && rows->slots[rows->index[place] - 1] != slot)
    place = (place + 1) & (rows->index_size - 1);
  return place;
}

void smft__rows_init(smft__rows *rows, smft_ctx *ctx, int64_t dim) {
  memset(rows, 0, sizeof *rows);
  rows->ctx = ctx;
  rows->dim = dim;
}

void smft__rows_free(smft__rows *rows) {
  smft__free(rows->ctx, rows->slots);
  smft__free(rows->ctx, rows->values);
  smft__free(rows->ctx, rows->index);
  smft__rows_init(rows, rows->ctx, rows->dim);
}

static void fill_index(smft__rows *rows) {
  memset(rows->index, 0, (size_t)rows->index_size * sizeof *rows->index);
  for (int64_t i = 0; i < rows->n; i++)
    rows->index[place_of(rows, rows->slots[i])] = (int32_t)(i + 1);
}

/* The index is at most half full, so that a look-up of an absent slot ends soon. */
static smft_status grow_index(smft__rows *rows, int64_t n) {
  int64_t size = 16;
  int32_t *index;
  while (size < 2 * n)
    size *= 2;
  if (size <= rows->index_size)
    return SMFT_OK;
  index = smft__alloc_array(rows->ctx, size, sizeof *index);
  if (!index)
    return SMFT_E_NOMEM;
  smft__free(rows->ctx, rows->index);
  rows->index = index;
  rows->index_size = size;
  fill_index(rows);
  return SMFT_OK;
}

/* Growth by half keeps a long stream of small reserves linear; the exact size is the second try
 * when memory is short. */
static smft_status grow_arrays(smft__rows *rows, int64_t n) {
  int64_t capacity = rows->n > 0 && rows->capacity + rows->capacity / 2 > n
                         ? rows->capacity + rows->capacity / 2
                         : n;
  int64_t floats;
  void *slots, *values;
  if (!smft__mul_i64(capacity, rows->dim, &floats))
    return smft__fail(SMFT_E_NOMEM,
                      "rows: %lld rows of %lld floats are more than memory can be asked for",
                      (long long)n, (long long)rows->dim);
  slots = smft__realloc_array(rows->ctx, rows->slots, capacity, sizeof *rows->slots);
  if (!slots)
    return SMFT_E_NOMEM;
  rows->slots = slots; /* larger than capacity says if the next step fails: harmless */
  values = smft__realloc_array(rows->ctx, rows->values, floats, sizeof *rows->values);
  if (!values)
    return SMFT_E_NOMEM;
  rows->values = values;
  rows->capacity = capacity;
  return SMFT_OK;
}

smft_status smft__rows_reserve(smft__rows *rows, int64_t n) {
  if (n >= INT32_MAX / 2)
    return smft__fail(SMFT_E_NOMEM, "rows: %lld rows asked for, at most %d are possible",
                      (long long)n, INT32_MAX / 2);
  if (n > rows->capacity)
    SMFT__TRY(grow_arrays(rows, n));
  return n > 0 ? grow_index(rows, n) : SMFT_OK;
}

int64_t smft__rows_find(const smft__rows *rows, int64_t slot) {
  if (rows->n == 0)
    return -1;
  return (int64_t)rows->index[place_of(rows, slot)] - 1;
}

int64_t smft__rows_add(smft__rows *rows, int64_t slot) {
  int64_t position = rows->n++;
  rows->slots[position] = slot;
  rows->index[place_of(rows, slot)] = (int32_t)(position + 1);
  return position;
}

/* Empties a place and moves later ones of the same chain up, so that no chain has a hole. */
static void close_gap(smft__rows *rows, int64_t hole) {
  int64_t mask = rows->index_size - 1;
  for (int64_t place = (hole + 1) & mask; rows->index[place]; place = (place + 1) & mask) {
    int64_t wanted = home(rows, rows->slots[rows->index[place] - 1]);
    if (((place - wanted) & mask) >= ((place - hole) & mask)) {
      rows->index[hole] = rows->index[place];
      hole = place;
    }
  }
  rows->index[hole] = 0;
}

void smft__rows_remove(smft__rows *rows, int64_t slot) {
  int64_t position = smft__rows_find(rows, slot), last = rows->n - 1;
  if (position < 0)
    return;
  close_gap(rows, place_of(rows, slot));
  if (position != last) {
    rows->index[place_of(rows, rows->slots[last])] = (int32_t)(position + 1);
    rows->slots[position] = rows->slots[last];
    memcpy(smft__rows_at(rows, position), smft__rows_at(rows, last),
           (size_t)rows->dim * sizeof(float));
  }
  rows->n = last;
}

void smft__rows_clear(smft__rows *rows) {
  rows->n = 0;
  if (rows->index)
    memset(rows->index, 0, (size_t)rows->index_size * sizeof *rows->index);
}

static void zero_block(void *arg, int64_t block, int32_t lane) {
  const smft__rows *rows = arg;
  int64_t begin = block * ZEROED, end = smft__least(begin + ZEROED, rows->n);
  (void)lane;
  memset(smft__rows_at(rows, begin), 0, (size_t)((end - begin) * rows->dim) * sizeof(float));
}

void smft__rows_zero(smft__rows *rows) {
  smft__parallel_for(rows->ctx, smft__blocks(rows->n, ZEROED), zero_block, rows);
}
