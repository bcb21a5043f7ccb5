/* gemm_tiles: f32 products on AMX, which multiplies bf16 and adds up in f32, sixteen times as fast
 * as AVX-512 multiplies f32.
 *
 * Every f32 is the sum of three bf16: x = h + m + l, each what is left by those before it,
 * rounded; eight bits and a sign each make the 24 of a float, so that the sum is exact.  Of the
 * nine products of two such sums the six largest are taken:
 *   x y = h h' + h m' + m h' + h l' + m m' + l h'
 * The rest is below 2^-25 |x y|, half of what rounding x y to f32 may take.
 * bf16 weights are an h alone: three products.  The unit reads numbers below 2^-126 as zeros, so
 * what is left out is 2^-126 at most where x is small; an x above 3.39e38 rounds to infinity, and
 * it and an infinite x give NaN where f32 would give infinity.
 *
 * A tile is 16 rows of 64 bytes.  Of op(A) it is 16 rows by 32 of k.  Of op(B) it is 32 of k by 16
 * columns: row r has two of k of all columns, in pairs.  The order of k makes no difference as
 * long as A and B have the same: here k and k + 16 stand side by side, so that a pair is made of
 * two registers without moving anything sideways.  A strip of A (32 rows) or a panel of B (32
 * columns) over up to DEPTH of k is packed as
 *   [step of 32 k][h, m, l][first, second tile]      1 KiB each; zeros where A or B end.
 * Every element of C is summed in the same order wherever the block it is in begins. */
#include "nn/kernels/gemm_tiles.h"
#include "base/parallel.h"
#include "base/workspace.h"

#define UNIT SMFT__TILES_UNIT
#define DEPTH 768 /* most of k at a time: each time C is read and written */
/* most numbers of A packed at a time: with their three pieces about half of the second-level cache
 */
#define STRIPS (256 * 768)
#define PANEL_BYTES(depth) ((depth)*UNIT * 3 * 2)
_Static_assert(PANEL_BYTES(DEPTH) + STRIPS * 3 * 2 <= SMFT__WORKSPACE_BYTES,
               "a block's operands do not fit the workspace");

/* Of k at a time: equal pieces. */
static int64_t depth_of(int64_t k) {
  int64_t pieces = smft__blocks(k, DEPTH);
  return smft__blocks(smft__blocks(k, pieces), UNIT) * UNIT;
}

int64_t smft__gemm_tiles_rows(int64_t k) {
  int64_t rows = STRIPS / depth_of(k) / UNIT * UNIT;
  return rows < 512 ? rows : 512;
}

#if defined(__x86_64__)
#include "nn/kernels/simd.h"
#include <string.h>

#define TILE 16 /* rows of a tile, and columns of C in it */
#define TILE_BYTES 1024
#define INLINE static inline __attribute__((always_inline)) SMFT__AVX512
#define TILES __attribute__((target("amx-tile,amx-bf16,avx512f")))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* ---- packing ------------------------------------------------------------- */

/* op(A) or op(B) as 16-row or 16-column tiles see it: lines (rows of A, columns of B) over k */
typedef struct operand {
  const char *data;
  int64_t line_step, k_step; /* bytes; one of them is an element's */
  int dtype;
  int wants_pairs; /* 1: tiles of B */
} operand;

INLINE __mmask16 first_of(int64_t n) {
  return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

/* 16 numbers from `from` on, zeros where the mask has none (which is not read). */
INLINE __m512 load_numbers(const char *from, int dtype, __mmask16 mask) {
  if (dtype == SMFT__F32)
    return _mm512_maskz_loadu_ps(mask, from);
  __m256i halves = _mm256_maskz_loadu_epi16(mask, from);
  return dtype == SMFT__F16
             ? _mm512_cvtph_ps(halves)
             : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* 16 lines by 16 of k: a line in each register where k is contiguous (along), else one of k. */
INLINE void load_square(const operand *from, int dtype, int along, const char *at, int64_t lines,
                        int64_t depth, __m512 square[16]) {
  __mmask16 mask = first_of(along ? depth : lines);
  int64_t step = along ? from->line_step : from->k_step, n = along ? lines : depth;
  UNROLL for (int i = 0; i < 16; i++) square[i] =
      load_numbers(at + i * step, dtype, i < n ? mask : 0);
}

/* In place: four rounds of a perfect shuffle. */
INLINE void transpose(__m512 square[16]) {
  const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i high =
      _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
  UNROLL for (int round = 0; round < 4; round++) {
    __m512 other[16];
    UNROLL for (int i = 0; i < 8; i++) {
      other[2 * i] = _mm512_permutex2var_ps(square[i], low, square[i + 8]);
      other[2 * i + 1] = _mm512_permutex2var_ps(square[i], high, square[i + 8]);
    }
    UNROLL for (int i = 0; i < 16; i++) square[i] = other[i];
  }
}

/* x rounded to bf16 (halves away from zero), its lower half zeros.  A NaN of ones all over becomes
 * a number: what is left of it does not. */
INLINE __m512i rounded(__m512 x) {
  return _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000)),
                          _mm512_set1_epi32(-65536));
}

/* (first, second) in each pair: the upper halves of both. */
INLINE __m512i paired(__m512i first, __m512i second) {
  /* (a & b) | c */
  return _mm512_ternarylogic_epi32(second, _mm512_set1_epi32(-65536), _mm512_srli_epi32(first, 16),
                                   0xea);
}

/* A row of a tile, in one piece for bf16, else in three that are `step` bytes apart. */
INLINE void store_pieces(__m512 first, __m512 second, int pieces, char *to, int64_t step) {
  for (int piece = 1; piece < pieces; piece++, to += step) {
    __m512i one = rounded(first), other = rounded(second);
    _mm512_storeu_si512(to, paired(one, other));
    first = _mm512_sub_ps(first, _mm512_castsi512_ps(one));
    second = _mm512_sub_ps(second, _mm512_castsi512_ps(other));
  }
  _mm512_storeu_si512(to, paired(_mm512_castps_si512(first), _mm512_castps_si512(second)));
}

/* 16 lines by 32 of k. */
INLINE void pack_tile(const operand *from, int dtype, int along, const char *at, int64_t lines,
                      int64_t depth, int pieces, char *to) {
  __m512 first[16], second[16];
  load_square(from, dtype, along, at, lines, depth, first);
  load_square(from, dtype, along, at + 16 * from->k_step, lines, depth - 16, second);
  if (along == from->wants_pairs) {
    transpose(first);
    transpose(second);
  }
  UNROLL for (int r = 0; r < 16; r++)
      store_pieces(first[r], second[r], pieces, to + 64 * r, 2 * TILE_BYTES);
}

/* `lines` lines from `line` on, over [start, start + depth) of k, as a strip or panel of one or two
 * tiles a step. */
INLINE void pack_as(const operand *from, int dtype, int along, int64_t line, int64_t lines,
                    int64_t start, int64_t depth, char *to) {
  const int pieces = dtype == SMFT__BF16 ? 1 : 3;
  for (int64_t k = 0; k < depth; k += UNIT, to += pieces * 2 * TILE_BYTES)
    for (int tile = 0; tile * TILE < lines; tile++)
      pack_tile(from, dtype, along,
                from->data + (line + tile * TILE) * from->line_step + (start + k) * from->k_step,
                lines - tile * TILE, depth - k, pieces, to + tile * TILE_BYTES);
}

SMFT__AVX512 static void pack(const operand *from, int64_t line, int64_t lines, int64_t start,
                              int64_t depth, char *to) {
  int along = from->k_step < from->line_step || from->k_step == SMFT__WEIGHT_BYTES(from->dtype);
  if (from->dtype == SMFT__F32 && along)
    pack_as(from, SMFT__F32, 1, line, lines, start, depth, to);
  else if (from->dtype == SMFT__F32)
    pack_as(from, SMFT__F32, 0, line, lines, start, depth, to);
  else if (from->dtype == SMFT__BF16 && along)
    pack_as(from, SMFT__BF16, 1, line, lines, start, depth, to);
  else if (from->dtype == SMFT__BF16)
    pack_as(from, SMFT__BF16, 0, line, lines, start, depth, to);
  else if (along)
    pack_as(from, SMFT__F16, 1, line, lines, start, depth, to);
  else
    pack_as(from, SMFT__F16, 0, line, lines, start, depth, to);
}

/* ---- the kernel ---------------------------------------------------------- */

/* Tiles 0..3 are C (2 x 2), 4 and 5 a piece of A's two, 6 and 7 one of B's. */
#define LOAD_A(piece)                                                                              \
  do {                                                                                             \
    _tile_loadd(4, a + (piece)*2 * TILE_BYTES, 64);                                                \
    if (down == 2)                                                                                 \
      _tile_loadd(5, a + ((piece)*2 + 1) * TILE_BYTES, 64);                                        \
  } while (0)
#define LOAD_B(piece)                                                                              \
  do {                                                                                             \
    _tile_loadd(6, b + (piece)*2 * TILE_BYTES, 64);                                                \
    if (across == 2)                                                                               \
      _tile_loadd(7, b + ((piece)*2 + 1) * TILE_BYTES, 64);                                        \
  } while (0)
#define MULTIPLY                                                                                   \
  do {                                                                                             \
    _tile_dpbf16ps(0, 4, 6);                                                                       \
    if (across == 2)                                                                               \
      _tile_dpbf16ps(1, 4, 7);                                                                     \
    if (down == 2)                                                                                 \
      _tile_dpbf16ps(2, 5, 6);                                                                     \
    if (down == 2 && across == 2)                                                                  \
      _tile_dpbf16ps(3, 5, 7);                                                                     \
  } while (0)
#define EACH_C(operation)                                                                          \
  do {                                                                                             \
    operation(0, c, ldc * 4);                                                                      \
    if (across == 2)                                                                               \
      operation(1, c + TILE, ldc * 4);                                                             \
    if (down == 2)                                                                                 \
      operation(2, c + TILE * ldc, ldc * 4);                                                       \
    if (down == 2 && across == 2)                                                                  \
      operation(3, c + TILE * ldc + TILE, ldc * 4);                                                \
  } while (0)

/* c (16 down, 16 across) = or += a strip by a panel, `steps` of 32 k; whole tiles only. */
static inline __attribute__((always_inline)) TILES void multiply(int down, int across, int pieces,
                                                                 int64_t steps, const char *a,
                                                                 const char *b, float *c,
                                                                 int64_t ldc, int add) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if (add)
    EACH_C(_tile_loadd);
  for (; steps > 0; steps--, a += 3 * 2 * TILE_BYTES, b += pieces * 2 * TILE_BYTES) {
    LOAD_A(0);
    if (pieces == 3) {
      LOAD_B(2);
      MULTIPLY;
      LOAD_B(1);
      MULTIPLY;
      LOAD_A(1);
      MULTIPLY;
      LOAD_B(0);
      MULTIPLY;
      LOAD_A(2);
      MULTIPLY;
      LOAD_A(0);
      MULTIPLY;
    } else {
      LOAD_B(0);
      MULTIPLY;
      LOAD_A(1);
      MULTIPLY;
      LOAD_A(2);
      MULTIPLY;
    }
  }
  EACH_C(_tile_stored);
}

#define CASE(down, across, pieces) multiply(down, across, pieces, steps, a, b, c, ldc, add)
TILES static void multiply_any(int down, int across, int pieces, int64_t steps, const char *a,
                               const char *b, float *c, int64_t ldc, int add) {
  if (pieces == 3 && down == 2 && across == 2)
    CASE(2, 2, 3);
  else if (pieces == 3 && across == 2)
    CASE(1, 2, 3);
  else if (pieces == 3 && down == 2)
    CASE(2, 1, 3);
  else if (pieces == 3)
    CASE(1, 1, 3);
  else if (down == 2 && across == 2)
    CASE(2, 2, 1);
  else if (across == 2)
    CASE(1, 2, 1);
  else if (down == 2)
    CASE(2, 1, 1);
  else
    CASE(1, 1, 1);
}
#undef CASE

/* What is not whole tiles goes through the stack. */
static void multiply_edge(int64_t rows, int64_t columns, int pieces, int64_t steps, const char *a,
                          const char *b, float *c, int64_t ldc, int add) {
  float whole[UNIT * UNIT] __attribute__((aligned(64))) = {0};
  for (int64_t i = 0; add && i < rows; i++)
    memcpy(whole + i * UNIT, c + i * ldc, (size_t)columns * sizeof *c);
  multiply_any((int)smft__blocks(rows, TILE), (int)smft__blocks(columns, TILE), pieces, steps, a, b,
               whole, UNIT, add);
  for (int64_t i = 0; i < rows; i++)
    memcpy(c + i * ldc, whole + i * UNIT, (size_t)columns * sizeof *c);
}

/* rows, columns: of C that are there, at most UNIT. */
static void multiply_part(int64_t rows, int64_t columns, int pieces, int64_t steps, const char *a,
                          const char *b, float *c, int64_t ldc, int add) {
  if (rows % TILE == 0 && columns % TILE == 0)
    multiply_any((int)(rows / TILE), (int)(columns / TILE), pieces, steps, a, b, c, ldc, add);
  else
    multiply_edge(rows, columns, pieces, steps, a, b, c, ldc, add);
}

/* ---- a block ------------------------------------------------------------- */

typedef struct tile_config { /* as the processor wants it: every tile 16 rows of 64 bytes */
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_config;

/* Constant, since gcc 12 believes that the instruction reads only its first bytes and leaves the
 * stores of others out. */
static const tile_config all_tiles = {.palette = 1,
                                      .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                      .rows = {TILE, TILE, TILE, TILE, TILE, TILE, TILE, TILE}};

TILES static void tiles_begin(void) { _tile_loadconfig(&all_tiles); }

/* A thread that leaves its tiles clean has nothing of them saved when another one takes its
 * processor. */
TILES static void tiles_end(void) { _tile_release(); }

static operand rows_of(const smft__gemm_args *args) {
  int64_t line = args->lda * (int64_t)sizeof(float), k = sizeof(float);
  operand rows = {(const char *)args->a, args->trans_a ? k : line, args->trans_a ? line : k,
                  SMFT__F32, 0};
  return rows;
}

static operand columns_of(const smft__gemm_args *args) {
  int64_t size = SMFT__WEIGHT_BYTES(args->b_dtype), line = args->ldb * size;
  operand columns = {args->b, args->trans_b ? line : size, args->trans_b ? size : line,
                     args->b_dtype, 1};
  return columns;
}

void smft__gemm_tiles_block(const smft__gemm_args *args, int64_t row, int64_t row_end,
                            int64_t column, int64_t column_end, void *workspace) {
  operand rows = rows_of(args), columns = columns_of(args);
  int pieces = args->b_dtype == SMFT__BF16 ? 1 : 3;
  int64_t depth = depth_of(args->k);
  char *panel = workspace, *strips = panel + PANEL_BYTES(depth);
  tiles_begin();
  for (int64_t p = 0; p < args->k; p += depth) {
    int64_t deep = smft__least(depth, args->k - p), steps = smft__blocks(deep, UNIT);
    for (int64_t i = row; i < row_end; i += UNIT)
      pack(&rows, i, smft__least(UNIT, row_end - i), p, deep,
           strips + (i - row) / UNIT * PANEL_BYTES(depth));
    for (int64_t j = column; j < column_end; j += UNIT) {
      int64_t width = smft__least(UNIT, column_end - j);
      pack(&columns, j, width, p, deep, panel);
      for (int64_t i = row; i < row_end; i += UNIT)
        multiply_part(smft__least(UNIT, row_end - i), width, pieces, steps,
                      strips + (i - row) / UNIT * PANEL_BYTES(depth), panel,
                      args->c + i * args->ldc + j, args->ldc, args->accumulate || p > 0);
    }
  }
  tiles_end();
}

#else
void smft__gemm_tiles_block(const smft__gemm_args *args, int64_t row, int64_t row_end,
                            int64_t column, int64_t column_end, void *workspace) {
  (void)args, (void)row, (void)row_end, (void)column, (void)column_end, (void)workspace;
}
#endif
