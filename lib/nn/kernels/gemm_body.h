/* gemm_body: the register tile, the packing of A and of a panel of B, and the dot kernel for few
 * rows, for one instruction set (nn/kernels/levels.h includes it).  It does not own the cut into
 * blocks (gemm.c).  No include guard.
 *
 * A panel is PANEL = PANEL_VECS * LANES columns of B over up to a panel's depth of k, converted to
 * f32: panel[p * PANEL + j].  A tile is up to TILE_ROWS rows of C by one panel, held in registers
 * while p runs.  A is read where it is, one broadcast per row and p, or, stored (k, m), from strips
 * that hold a tile's rows together. */
#include "nn/kernels/quant_body.h"
#undef TILE_ROWS
#undef PANEL_VECS
#undef PANEL
#undef DOT_ROWS
#undef MOST_FOR_EIGHT
#if SMFT__LEVEL == 2
/* 24 accumulators + 3 of B + 1 broadcast of 32 registers.  Three vectors for each broadcast: 14
 * rows by two vectors fit, too, but are no faster than 8 by two (the loads), and rows that are 4
 * KiB apart share eight places of the nearest cache. */
#define TILE_ROWS 8
#define PANEL_VECS 3
#define DOT_ROWS 4       /* rows by 4 columns of dot products fit the registers */
#define MOST_FOR_EIGHT 2 /* so many rows by 8 columns do too */
#else
#define TILE_ROWS 6 /* 12 + 2 + 1 broadcast of 16 registers */
#define PANEL_VECS 2
#define DOT_ROWS 3
#define MOST_FOR_EIGHT 1
#endif
#define PANEL (PANEL_VECS * LANES)

/* c (rows, vecs * LANES) = or += sum over p < k of a[i * row_step + p * k_step] * b[p * b_step + j]
 */
SMFT__INLINE void SMFT__FN(tile)(int rows, int vecs, int64_t k, const float *a, int64_t row_step,
                                 int64_t k_step, const float *b, int64_t b_step, float *c,
                                 int64_t ldc, int add) {
  VEC sum[TILE_ROWS][PANEL_VECS], of_b[PANEL_VECS];
  SMFT__UNROLL for (int i = 0; i < rows; i++) SMFT__UNROLL for (int j = 0; j < vecs; j++)
      sum[i][j] = SPLAT(0.0f);
  for (int64_t p = 0; p < k; p++, a += k_step, b += b_step) {
    SMFT__UNROLL for (int j = 0; j < vecs; j++) of_b[j] = LOAD(b + j * LANES);
    SMFT__UNROLL for (int i = 0; i < rows; i++) {
      VEC scalar = SPLAT(a[i * row_step]);
      SMFT__UNROLL for (int j = 0; j < vecs; j++) sum[i][j] = FMA(scalar, of_b[j], sum[i][j]);
    }
  }
  SMFT__UNROLL for (int i = 0; i < rows; i++) {
    SMFT__UNROLL for (int j = 0; j < vecs; j++) {
      float *to = c + i * ldc + j * LANES;
      STORE(to, add ? (VEC)(sum[i][j] + LOAD(to)) : sum[i][j]);
    }
  }
}

#define SMFT__TILE_CASE(count)                                                                     \
  case count:                                                                                      \
    if (vecs == PANEL_VECS && row_step == 1)                                                       \
      SMFT__FN(tile)(count, PANEL_VECS, k, a, 1, k_step, b, b_step, c, ldc, add);                  \
    else if (vecs == PANEL_VECS)                                                                   \
      SMFT__FN(tile)(count, PANEL_VECS, k, a, row_step, 1, b, b_step, c, ldc, add);                \
    else if (vecs == 2)                                                                            \
      SMFT__FN(tile)(count, 2, k, a, row_step, k_step, b, b_step, c, ldc, add);                    \
    else                                                                                           \
      SMFT__FN(tile)(count, 1, k, a, row_step, k_step, b, b_step, c, ldc, add);                    \
    break;

/* One of row_step, k_step is 1. */
SMFT__TARGET static void SMFT__FN(any_tile)(int rows, int vecs, int64_t k, const float *a,
                                            int64_t row_step, int64_t k_step, const float *b,
                                            int64_t b_step, float *c, int64_t ldc, int add) {
  switch (rows) {
    SMFT__TILE_CASE(1)
    SMFT__TILE_CASE(2)
    SMFT__TILE_CASE(3)
    SMFT__TILE_CASE(4)
    SMFT__TILE_CASE(5)
    SMFT__TILE_CASE(6)
#if TILE_ROWS > 6
    SMFT__TILE_CASE(7)
    SMFT__TILE_CASE(8)
#endif
  default:
    break;
  }
}
#undef SMFT__TILE_CASE

/* Strips of `height` rows, the last one with fewer, from A stored (k, rows): row i at p is strips[i
 * / height * height * k + p * height + i % height].  Eight p at a time, so that whole lines of A
 * are read and written. */
SMFT__TARGET static void SMFT__FN(pack_a)(const float *a, int64_t lda, int64_t rows, int64_t k,
                                          int64_t height, float *strips) {
  for (int64_t p = 0; p < k; p += 8) {
    int64_t end = k - p < 8 ? k : p + 8;
    for (int64_t i = 0; i < rows; i += height) {
      float *strip = strips + i * k;
      if (height == TILE_ROWS && rows - i >= height)
        for (int64_t q = p; q < end; q++)
          memcpy(strip + q * TILE_ROWS, a + q * lda + i, TILE_ROWS * sizeof *a);
      else
        for (int64_t q = p; q < end; q++)
          memcpy(strip + q * height, a + q * lda + i,
                 (size_t)(rows - i < height ? rows - i : height) * sizeof *a);
    }
  }
}

/* LANES elements as f32. */
SMFT__INLINE VEC SMFT__FN(load_as)(const char *source, int dtype) {
  if (dtype == SMFT__F32)
    return LOAD(source);
  return dtype == SMFT__BF16 ? LOAD_BF16(source) : LOAD_F16(source);
}

/* The first n < LANES elements, then zeros; reads nothing behind them. */
SMFT__INLINE VEC SMFT__FN(load_some)(const char *source, int dtype, int64_t n) {
  char padded[LANES * 4] = {0};
  memcpy(padded, source, (size_t)n * (size_t)SMFT__WEIGHT_BYTES(dtype));
  return SMFT__FN(load_as)(padded, dtype);
}

/* In place: element j of row i becomes element i of row j; log2(LANES) rounds of a perfect shuffle.
 */
SMFT__INLINE void SMFT__FN(transpose)(VEC rows[LANES]) {
  VEC other[LANES];
  SMFT__UNROLL for (int round = LANES; round > 1; round /= 2) {
    SMFT__UNROLL for (int i = 0; i < LANES / 2; i++) {
      other[2 * i] = ZIP_LOW(rows[i], rows[i + LANES / 2]);
      other[2 * i + 1] = ZIP_HIGH(rows[i], rows[i + LANES / 2]);
    }
    SMFT__UNROLL for (int i = 0; i < LANES; i++) rows[i] = other[i];
  }
}

/* panel (k, PANEL) from B stored (n, k): columns of the panel are rows of B.  k_bytes: from one
 * element to the next. */
SMFT__INLINE void SMFT__FN(pack_rows)(const char *b, int64_t row_bytes, int dtype, int64_t n,
                                      int64_t k, float *panel) {
  const int64_t size = SMFT__WEIGHT_BYTES(dtype);
  for (int64_t j = 0; j < PANEL; j += LANES) {
    for (int64_t p = 0; p < k; p += LANES) {
      int64_t depth = k - p < LANES ? k - p : LANES;
      VEC block[LANES];
      SMFT__UNROLL for (int i = 0; i < LANES; i++) {
        const char *from = b + (j + i) * row_bytes + p * size;
        if (j + i >= n)
          block[i] = SPLAT(0.0f);
        else
          block[i] = depth == LANES ? SMFT__FN(load_as)(from, dtype)
                                    : SMFT__FN(load_some)(from, dtype, depth);
      }
      SMFT__FN(transpose)(block);
      float *to = panel + p * PANEL + j;
      for (int64_t i = 0; i < depth; i++)
        STORE(to + i * PANEL, block[i]);
    }
  }
}

/* panel (k, PANEL) from B stored (k, n).  What is taken of a row is a few lines, too little for the
 * processor to see which come next. */
SMFT__INLINE void SMFT__FN(pack_columns)(const char *b, int64_t row_bytes, int dtype, int64_t n,
                                         int64_t k, float *panel) {
  const int64_t size = SMFT__WEIGHT_BYTES(dtype);
  for (int64_t p = 0; p < k; p++, b += row_bytes, panel += PANEL) {
    fetch((uintptr_t)b + (uintptr_t)(FETCHED_PACK * row_bytes), n * size);
    for (int64_t j = 0; j < PANEL; j += LANES) {
      int64_t left = n - j;
      VEC row = SPLAT(0.0f);
      if (left >= LANES)
        row = SMFT__FN(load_as)(b + j * size, dtype);
      else if (left > 0)
        row = SMFT__FN(load_some)(b + j * size, dtype, left);
      STORE(panel + j, row);
    }
  }
}

SMFT__TARGET static void SMFT__FN(pack)(const char *b, int64_t row_bytes, int dtype, int trans,
                                        int64_t n, int64_t k, float *panel) {
  if (trans && dtype == SMFT__F32)
    SMFT__FN(pack_rows)(b, row_bytes, SMFT__F32, n, k, panel);
  else if (trans && dtype == SMFT__BF16)
    SMFT__FN(pack_rows)(b, row_bytes, SMFT__BF16, n, k, panel);
  else if (trans)
    SMFT__FN(pack_rows)(b, row_bytes, SMFT__F16, n, k, panel);
  else if (dtype == SMFT__F32)
    SMFT__FN(pack_columns)(b, row_bytes, SMFT__F32, n, k, panel);
  else if (dtype == SMFT__BF16)
    SMFT__FN(pack_columns)(b, row_bytes, SMFT__BF16, n, k, panel);
  else
    SMFT__FN(pack_columns)(b, row_bytes, SMFT__F16, n, k, panel);
}

/* The halves added, until one lane is left. */
SMFT__INLINE float SMFT__FN(lanes_sum)(VEC v) {
#if SMFT__LEVEL == 2
  v += SHUFFLE(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  v += SHUFFLE(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  v += SHUFFLE(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
#elif SMFT__LEVEL == 1
  v += SHUFFLE(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
  v += SHUFFLE(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
#else
  v += SHUFFLE(v, v, 2, 3, 0, 1);
#endif
  return v[0] + v[1];
}

/* Asks for a cache line of each of the rows of B that come after these, at p: read once, they come
 * from memory, and the processor's own guess does not look that far.  Behind the last row nothing
 * is read. */
SMFT__INLINE void SMFT__FN(fetch_next)(int columns, int dtype, int64_t p, const char *b,
                                       int64_t row_bytes) {
  const int64_t size = SMFT__WEIGHT_BYTES(dtype), line = 64 / size;
  if (p % line != 0)
    return;
  SMFT__UNROLL for (int j = 0; j < columns; j++) __builtin_prefetch(
      (const void *)((uintptr_t)b + (uintptr_t)((columns + j) * row_bytes + p * size)));
}

/* c[i * ldc + j] = or += a row i . b row j, both contiguous over k; columns is 8, 4 or 1. */
SMFT__INLINE void SMFT__FN(dots)(int rows, int columns, int dtype, int64_t k, const float *a,
                                 int64_t lda, const char *b, int64_t row_bytes, float *c,
                                 int64_t ldc, int add) {
  const int64_t size = SMFT__WEIGHT_BYTES(dtype);
  VEC sum[DOT_ROWS][8];
  SMFT__UNROLL for (int i = 0; i < rows; i++) SMFT__UNROLL for (int j = 0; j < columns; j++)
      sum[i][j] = SPLAT(0.0f);
  int64_t p = 0;
  for (; p + LANES <= k; p += LANES) {
    VEC x[DOT_ROWS];
    SMFT__UNROLL for (int i = 0; i < rows; i++) x[i] = LOAD(a + i * lda + p);
    if (rows == 1)
      SMFT__FN(fetch_next)(columns, dtype, p, b, row_bytes);
    SMFT__UNROLL for (int j = 0; j < columns; j++) {
      VEC w = SMFT__FN(load_as)(b + j * row_bytes + p * size, dtype);
      SMFT__UNROLL for (int i = 0; i < rows; i++) sum[i][j] = FMA(x[i], w, sum[i][j]);
    }
  }
  if (p < k) {
    SMFT__UNROLL for (int j = 0; j < columns; j++) {
      VEC w = SMFT__FN(load_some)(b + j * row_bytes + p * size, dtype, k - p);
      SMFT__UNROLL for (int i = 0; i < rows; i++) sum[i][j] =
          FMA(SMFT__FN(load_some)((const char *)(a + i * lda + p), SMFT__F32, k - p), w, sum[i][j]);
    }
  }
  SMFT__UNROLL for (int i = 0; i < rows; i++) {
    SMFT__UNROLL for (int j = 0; j < columns; j++) {
      float *to = c + i * ldc + j;
      float dot = SMFT__FN(lanes_sum)(sum[i][j]);
      *to = add ? *to + dot : dot;
    }
  }
}

/* The same for n columns (rows of B), rows 1 to DOT_ROWS. */
SMFT__INLINE void SMFT__FN(dots_strip)(int rows, int dtype, int64_t n, int64_t k, const float *a,
                                       int64_t lda, const char *b, int64_t row_bytes, float *c,
                                       int64_t ldc, int add) {
  int64_t j = 0;
  for (; rows <= MOST_FOR_EIGHT && j + 8 <= n; j += 8)
    SMFT__FN(dots)(rows, 8, dtype, k, a, lda, b + j * row_bytes, row_bytes, c + j, ldc, add);
  for (; j + 4 <= n; j += 4)
    SMFT__FN(dots)(rows, 4, dtype, k, a, lda, b + j * row_bytes, row_bytes, c + j, ldc, add);
  for (; j < n; j++)
    SMFT__FN(dots)(rows, 1, dtype, k, a, lda, b + j * row_bytes, row_bytes, c + j, ldc, add);
}

SMFT__INLINE void SMFT__FN(dots_rows)(int dtype, int64_t m, int64_t n, int64_t k, const float *a,
                                      int64_t lda, const char *b, int64_t row_bytes, float *c,
                                      int64_t ldc, int add) {
  for (; m >= DOT_ROWS; m -= DOT_ROWS, a += DOT_ROWS * lda, c += DOT_ROWS * ldc)
    SMFT__FN(dots_strip)(DOT_ROWS, dtype, n, k, a, lda, b, row_bytes, c, ldc, add);
  if (m == 3 && DOT_ROWS > 3)
    SMFT__FN(dots_strip)(3, dtype, n, k, a, lda, b, row_bytes, c, ldc, add);
  else if (m == 2)
    SMFT__FN(dots_strip)(2, dtype, n, k, a, lda, b, row_bytes, c, ldc, add);
  else if (m == 1)
    SMFT__FN(dots_strip)(1, dtype, n, k, a, lda, b, row_bytes, c, ldc, add);
}

/* C (m, n) from A (m, k) and B stored (n, k), for few rows: B is read once from memory and never
 * packed. */
SMFT__TARGET static void SMFT__FN(few_rows)(int dtype, int64_t m, int64_t n, int64_t k,
                                            const float *a, int64_t lda, const char *b,
                                            int64_t row_bytes, float *c, int64_t ldc, int add) {
  if (dtype == SMFT__F32)
    SMFT__FN(dots_rows)(SMFT__F32, m, n, k, a, lda, b, row_bytes, c, ldc, add);
  else if (dtype == SMFT__BF16)
    SMFT__FN(dots_rows)(SMFT__BF16, m, n, k, a, lda, b, row_bytes, c, ldc, add);
  else
    SMFT__FN(dots_rows)(SMFT__F16, m, n, k, a, lda, b, row_bytes, c, ldc, add);
}

/* ---- blocks -------------------------------------------------------------- */

/* c[j] = or += a . b row j, over k numbers in blocks; columns is 4 or 1.  Rows that come after
 * these are asked for ahead, as in fetch_next. */
SMFT__INLINE void SMFT__FN(block_dots)(int columns, int dtype, int64_t k, const float *a,
                                       const char *b, int64_t row_bytes, float *c, int add) {
  const int block = SMFT__FN(quant_block)(dtype), run = SMFT__FN(quant_run)(dtype);
  const int stride = SMFT__FN(quant_stride)(dtype);
  VEC sum[4];
  SMFT__UNROLL for (int j = 0; j < columns; j++) sum[j] = SPLAT(0.0f);
  for (int64_t p = 0; p < k; p += block, a += block, b += SMFT__FN(quant_bytes)(dtype)) {
    SMFT__FN(quant_scales) scales[4];
    SMFT__UNROLL for (int j = 0; j < columns; j++)
        SMFT__FN(quant_open)(dtype, b + j * row_bytes, &scales[j]);
    for (int r = 0; r < block / run; r++)
      SMFT__UNROLL for (int i = 0; i < stride; i += LANES) {
        SMFT__UNROLL for (int at = i; at < run; at += stride) {
          VEC x = LOAD(a + r * run + at);
          SMFT__UNROLL for (int j = 0; j < columns; j++) sum[j] =
              FMA(x, SMFT__FN(quant_numbers)(dtype, b + j * row_bytes, r, at, &scales[j]), sum[j]);
        }
      }
  }
  SMFT__UNROLL for (int j = 0; j < columns; j++) {
    float dot = SMFT__FN(lanes_sum)(sum[j]);
    c[j] = add ? c[j] + dot : dot;
  }
}

SMFT__INLINE void SMFT__FN(block_strip)(int dtype, int64_t n, int64_t k, const float *a,
                                        const char *b, int64_t row_bytes, float *c, int add) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4)
    SMFT__FN(block_dots)(4, dtype, k, a, b + j * row_bytes, row_bytes, c + j, add);
  for (; j < n; j++)
    SMFT__FN(block_dots)(1, dtype, k, a, b + j * row_bytes, row_bytes, c + j, add);
}

/* c (n) from one row a (k) and B stored (n, k) in blocks, which are read where they are. */
SMFT__TARGET static void SMFT__FN(one_row)(int dtype, int64_t n, int64_t k, const float *a,
                                           const char *b, int64_t row_bytes, float *c, int add) {
  switch (dtype) {
#define SMFT__ONE_ROW_CASE(type)                                                                   \
  case type:                                                                                       \
    SMFT__FN(block_strip)(type, n, k, a, b, row_bytes, c, add);                                    \
    break;
    SMFT__QUANT_TYPES(SMFT__ONE_ROW_CASE)
#undef SMFT__ONE_ROW_CASE
  default:
    break;
  }
}
