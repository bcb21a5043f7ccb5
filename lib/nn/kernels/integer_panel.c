/* integer_panel: products of many rows of whole numbers with blocks (nn/integer.h).
 *
 * A block of C rounds its rows of A, then takes B in panels of 32 columns over all of k: q as
 * bytes, four of k of a column in a lane, and the scales of each group of 32 numbers (Q6_K: of 16),
 * a column in a lane.  A tile is six rows of C by a panel: sums of whole numbers over a group,
 * first of the upper bytes of X, then of the lower ones, become floats times both scales.  Every
 * element of C is summed in the same order wherever the block it is in begins. */
#include "nn/kernels/integer_vnni.h"
#if defined(__x86_64__)
#include "base/parallel.h"
#include "base/workspace.h"
#include "nn/kernels/integer_blocks.h"

#define COLUMNS SMFT__INTEGER_COLUMNS
#define STRIPE 16 /* columns in a register */
#define ROWS 6    /* of a tile: 12 sums of whole numbers, and 12 of floats */

/* ---- a panel ------------------------------------------------------------- */

typedef struct panel {
  char *q;      /* [k / 4][COLUMNS] four numbers each */
  float *d, *m; /* [k / group][COLUMNS] */
} panel;

INLINE int group_of(int dtype) { return dtype == SMFT__Q6_K ? 16 : 32; }

/* most bytes, for groups of 16 */
static int64_t panel_bytes(int64_t k) {
  return COLUMNS * (k + 2 * (k / 16) * (int64_t)sizeof(float));
}

static panel panel_at(char *memory, int dtype, int64_t k) {
  int64_t groups = k / (dtype == SMFT__Q6_K ? 16 : 32);
  float *scales = (float *)(void *)(memory + COLUMNS * k);
  return (panel){memory, scales, scales + COLUMNS * groups};
}

/* A chunk of sixteen columns before its lanes change places. */
typedef struct stripe {
  char q[STRIPE][CHUNK];
  float d[STRIPE][16], m[STRIPE][16];
} stripe;

/* q moved down where numbers_of leaves it in the upper half of its byte. */
INLINE __m512i plain_numbers(int dtype, const char *b, int i, int both) {
  __m512i q = numbers_of(dtype, b, i, both);
  if (!shares_bytes(dtype))
    return q;
  return _mm512_mask_srli_epi32(q, dtype == SMFT__Q4_K ? 0xff00 : 0xf0f0, q, 4);
}

INLINE void open_column(int dtype, const char *b, int blocks, stripe *s, int column) {
  chunk_scales scales = open_chunk(dtype, b, blocks);
  if (dtype == SMFT__Q4_K)
    scales.d = _mm512_mask_mul_ps(scales.d, 0xaaaa, scales.d, _mm512_set1_ps(16.0f));
  _mm512_storeu_ps(s->d[column], scales.d);
  _mm512_storeu_ps(s->m[column], scales.m);
  SMFT__UNROLL for (int i = 0; i < 4; i++) if (2 * i < blocks)
      _mm512_storeu_si512(s->q[column] + 64 * i, plain_numbers(dtype, b, i, 2 * i + 1 < blocks));
}

/* Column j of the panel from [j][.], `step` bytes apart: lane j of each row `to`. */
INLINE __m512i lanes_of(const void *from, int step) {
  const __m512i column = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_i32gather_epi32(_mm512_mullo_epi32(column, _mm512_set1_epi32(step)), from, 1);
}

/* Numbers [p, p + 32 blocks) of sixteen columns, the first `columns` of which are there. */
INLINE void pack_stripe(int dtype, const char *b, int64_t row_bytes, int64_t columns, int64_t p,
                        int blocks, int first, const panel *to) {
  const int group = group_of(dtype), groups = 32 * blocks / group;
  stripe s;
  if (columns < STRIPE)
    memset(&s, 0, sizeof s);
  for (int j = 0; j < (columns < STRIPE ? (int)columns : STRIPE); j++)
    open_column(dtype, b + j * row_bytes, blocks, &s, j);
  for (int i = 0; i < 8 * blocks; i++)
    _mm512_store_si512(to->q + 4 * ((p / 4 + i) * COLUMNS + first),
                       lanes_of(s.q[0] + 4 * i, CHUNK));
  for (int i = 0; i < groups; i++) {
    int64_t at = (p / group + i) * COLUMNS + first;
    _mm512_store_si512(to->d + at, lanes_of(&s.d[0][i], sizeof s.d[0]));
    _mm512_store_si512(to->m + at, lanes_of(&s.m[0][i], sizeof s.m[0]));
  }
}

INLINE void pack_as(int dtype, const char *b, int64_t row_bytes, int64_t columns, int64_t k,
                    const panel *to) {
  const int64_t step = quant_bytes_avx512(dtype) * (quant_is_k_avx512(dtype) ? 1 : 8);
  for (int64_t p = 0; p < k; p += CHUNK, b += step) {
    int blocks = k - p < CHUNK ? (int)((k - p) / 32) : 8;
    for (int first = 0; first < COLUMNS; first += STRIPE)
      pack_stripe(dtype, b + first * row_bytes, row_bytes, columns - first, p, blocks, first, to);
  }
}

VNNI static void pack(int32_t dtype, const char *b, int64_t row_bytes, int64_t columns, int64_t k,
                      const panel *to) {
  switch (dtype) {
#define CASE(type)                                                                                 \
  case type:                                                                                       \
    pack_as(type, b, row_bytes, columns, k, to);                                                   \
    break;
    SMFT__QUANT_TYPES(CASE)
#undef CASE
  default:
    break;
  }
}

/* ---- a tile -------------------------------------------------------------- */

/* Rows of A, `step` bytes from one to the next in every part of smft__integer_row. */
typedef struct rounded_rows {
  smft__integer_row first;
  int64_t step;
} rounded_rows;

INLINE __m512i splat_4(const char *from) {
  int32_t four;
  memcpy(&four, from, sizeof four);
  return _mm512_set1_epi32(four);
}
INLINE __m512 splat(const float *from, int64_t bytes) {
  return _mm512_set1_ps(*(const float *)(const void *)((const char *)from + bytes));
}

/* sum += the products of `group` numbers; q: of the panel, x: of the rows */
INLINE void add_bytes(int rows, int group, const char *q, const char *x, int64_t step,
                      __m512i sum[ROWS][2]) {
  SMFT__UNROLL for (int four = 0; four < group / 4; four++) {
    const __m512i low = _mm512_load_si512(q + 4 * four * COLUMNS);
    const __m512i high = _mm512_load_si512(q + 4 * (four * COLUMNS + STRIPE));
    SMFT__UNROLL for (int i = 0; i < rows; i++) {
      const __m512i bytes = splat_4(x + i * step + 4 * four);
      sum[i][0] = _mm512_dpbusd_epi32(sum[i][0], low, bytes);
      sum[i][1] = _mm512_dpbusd_epi32(sum[i][1], high, bytes);
    }
  }
}

/* c (rows, COLUMNS) */
INLINE void tile(int rows, int group, int64_t k, const rounded_rows *a, const panel *b,
                 __m512 c[ROWS][2]) {
  const float *scale = group == 16 ? a->first.scale_16 : a->first.scale;
  const float *total = group == 16 ? a->first.sum_16 : a->first.sum;
  SMFT__UNROLL for (int i = 0; i < rows; i++) c[i][0] = c[i][1] = _mm512_setzero_ps();
  for (int64_t p = 0; p < k; p += group, scale++, total++) {
    const float *d = b->d + p / group * COLUMNS, *m = b->m + p / group * COLUMNS;
    __m512i sum[ROWS][2];
    SMFT__UNROLL for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = _mm512_setzero_si512();
    add_bytes(rows, group, b->q + p * COLUMNS, a->first.x + p, a->step, sum);
    SMFT__UNROLL for (int i = 0; i < rows; i++) {
      sum[i][0] = _mm512_slli_epi32(sum[i][0], 7);
      sum[i][1] = _mm512_slli_epi32(sum[i][1], 7);
    }
    add_bytes(rows, group, b->q + p * COLUMNS, a->first.lower + p, a->step, sum);
    SMFT__UNROLL for (int j = 0; j < 2; j++) {
      const __m512 of_d = _mm512_load_ps(d + STRIPE * j), of_m = _mm512_load_ps(m + STRIPE * j);
      SMFT__UNROLL for (int i = 0; i < rows; i++) {
        c[i][j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i][j]),
                                  _mm512_mul_ps(of_d, splat(scale, i * a->step)), c[i][j]);
        c[i][j] = _mm512_fmadd_ps(of_m, splat(total, i * a->step), c[i][j]);
      }
    }
  }
}

/* The same into C, whose last columns may not be there. */
INLINE void tile_rows(int rows, int group, const smft__gemm_args *args, const rounded_rows *a,
                      const panel *b, int64_t columns, float *c) {
  __m512 sum[ROWS][2];
  tile(rows, group, args->k, a, b, sum);
  SMFT__UNROLL for (int i = 0; i < rows; i++) SMFT__UNROLL for (int j = 0; j < 2; j++) {
    int64_t left = columns - STRIPE * j;
    __mmask16 there = (__mmask16)(left >= 16 ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
    float *to = c + i * args->ldc + STRIPE * j;
    if (args->accumulate)
      sum[i][j] = _mm512_add_ps(sum[i][j], _mm512_maskz_loadu_ps(there, to));
    _mm512_mask_storeu_ps(to, there, sum[i][j]);
  }
}

#define CASE(rows)                                                                                 \
  case rows:                                                                                       \
    if (group == 16)                                                                               \
      tile_rows(rows, 16, args, a, b, columns, c);                                                 \
    else                                                                                           \
      tile_rows(rows, 32, args, a, b, columns, c);                                                 \
    break;
VNNI static void any_tile(int rows, int group, const smft__gemm_args *args, const rounded_rows *a,
                          const panel *b, int64_t columns, float *c) {
  switch (rows) {
    CASE(1)
    CASE(2)
    CASE(3)
    CASE(4)
    CASE(5)
    CASE(6)
  default:
    break;
  }
}
#undef CASE

/* ---- a block ------------------------------------------------------------- */

int64_t smft__integer_panel_rows(int64_t k) {
  int64_t rows = (SMFT__WORKSPACE_BYTES - panel_bytes(k)) / smft__integer_bytes(k) / ROWS * ROWS;
  return rows < 0 ? 0 : rows;
}

/* Columns [column, column + columns) of a block's rows, in tiles of nearly the same height. */
static void panel_rows(const smft__gemm_args *args, char *rows, int64_t row, int64_t row_end,
                       const panel *b, int64_t column, int64_t columns) {
  const int64_t step = smft__integer_bytes(args->k), n = row_end - row;
  const int64_t height = smft__blocks(n, smft__blocks(n, ROWS));
  for (int64_t i = 0; i < n; i += height) {
    smft__integer_row first = smft__integer_row_at(rows + i * step, args->k);
    rounded_rows a = {first, step};
    any_tile((int)smft__least(height, n - i), args->b_dtype == SMFT__Q6_K ? 16 : 32, args, &a, b,
             columns, args->c + (row + i) * args->ldc + column);
  }
}

void smft__integer_panel_block(const smft__gemm_args *args, int64_t row, int64_t row_end,
                               int64_t column, int64_t column_end, void *workspace) {
  const int64_t step = smft__integer_bytes(args->k),
                row_bytes = smft__row_bytes(args->b_dtype, args->ldb);
  char *rows = (char *)workspace + panel_bytes(args->k);
  const panel b = panel_at(workspace, args->b_dtype, args->k);
  for (int64_t i = row; i < row_end; i++) {
    smft__integer_row out = smft__integer_row_at(rows + (i - row) * step, args->k);
    smft__integer_vnni_round(args->a + i * args->lda, args->k, &out);
  }
  for (int64_t j = column; j < column_end; j += COLUMNS) {
    int64_t columns = smft__least(COLUMNS, column_end - j);
    pack(args->b_dtype, (const char *)args->b + j * row_bytes, row_bytes, columns, args->k, &b);
    panel_rows(args, rows, row, row_end, &b, j, columns);
  }
}
#endif
