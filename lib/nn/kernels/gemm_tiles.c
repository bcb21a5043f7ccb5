/* gemm_tiles: products on AMX, which multiplies bf16 and adds up in f32, sixteen times as fast as
 * AVX-512 multiplies f32; or on AVX-512 BF16.
 *
 * SMFT__TILES_ROUNDED takes one bf16 of each number.  SMFT__TILES_EXACT: every f32 is the sum of
 * three bf16: x = h + m + l, each what is left by those before it, rounded; eight bits and a sign
 * each make the 24 of a float, so that the sum is exact.  Of the nine products of two such sums the
 * six largest are taken:
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
 *   [step of 32 k][h, m, l or one][first, second tile]      1 KiB each; zeros where A or B end.
 * Every element of C is summed in the same order wherever the block it is in begins. */
#include "nn/kernels/gemm_tiles.h"
#include "base/parallel.h"
#include "base/workspace.h"
#include "nn/vector.h"

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
#define ROWS 8       /* of C without tiles: 16 accumulators, and as much to come as one takes */
#define UNPACKED 256 /* of k at a time where B is in blocks */
#define INLINE static inline __attribute__((always_inline)) SMFT__AVX512
#define TILES __attribute__((target("amx-tile,amx-bf16,avx512f")))
#define BF16 __attribute__((target("avx512f,avx512bf16")))
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

/* x rounded to the nearest bf16, halves to the even one; every NaN stays one. */
INLINE __m512 rounded_once(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  return _mm512_mask_mov_ps(_mm512_castsi512_ps(up), _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), x);
}

/* (first, second) in each pair: the upper halves of both. */
INLINE __m512i paired(__m512i first, __m512i second) {
  /* (a & b) | c */
  return _mm512_ternarylogic_epi32(second, _mm512_set1_epi32(-65536), _mm512_srli_epi32(first, 16),
                                   0xea);
}

/* A row of a tile, in one piece, which rounds what is not bf16, or in three that are `step` bytes
 * apart. */
INLINE void store_pieces(__m512 first, __m512 second, int dtype, int pieces, char *to,
                         int64_t step) {
  if (pieces == 1 && dtype != SMFT__BF16) {
    first = rounded_once(first);
    second = rounded_once(second);
  }
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
      store_pieces(first[r], second[r], dtype, pieces, to + 64 * r, 2 * TILE_BYTES);
}

/* `lines` lines from `line` on, over [start, start + depth) of k, as a strip or panel of one or two
 * tiles a step. */
INLINE void pack_as(const operand *from, int dtype, int pieces, int along, int64_t line,
                    int64_t lines, int64_t start, int64_t depth, char *to) {
  for (int64_t k = 0; k < depth; k += UNIT, to += pieces * 2 * TILE_BYTES)
    for (int tile = 0; tile * TILE < lines; tile++)
      pack_tile(from, dtype, along,
                from->data + (line + tile * TILE) * from->line_step + (start + k) * from->k_step,
                lines - tile * TILE, depth - k, pieces, to + tile * TILE_BYTES);
}

#define PACK(dtype, pieces)                                                                        \
  do {                                                                                             \
    if (along)                                                                                     \
      pack_as(from, dtype, pieces, 1, line, lines, start, depth, to);                              \
    else                                                                                           \
      pack_as(from, dtype, pieces, 0, line, lines, start, depth, to);                              \
  } while (0)
SMFT__AVX512 static void pack(const operand *from, int pieces, int64_t line, int64_t lines,
                              int64_t start, int64_t depth, char *to) {
  int along = from->k_step < from->line_step || from->k_step == SMFT__WEIGHT_BYTES(from->dtype);
  if (from->dtype == SMFT__F32 && pieces == 3)
    PACK(SMFT__F32, 3);
  else if (from->dtype == SMFT__F32)
    PACK(SMFT__F32, 1);
  else if (from->dtype == SMFT__BF16)
    PACK(SMFT__BF16, 1);
  else if (pieces == 3)
    PACK(SMFT__F16, 3);
  else
    PACK(SMFT__F16, 1);
}
#undef PACK

/* The same of columns of B in blocks, in one piece, by way of floats. */
static void pack_blocks(const smft__gemm_args *args, int64_t column, int64_t columns, int64_t start,
                        int64_t depth, char *to) {
  float floats[UNIT * UNPACKED];
  const int64_t row_bytes = smft__row_bytes(args->b_dtype, args->ldb), size = sizeof *floats;
  const char *b = args->b;
  for (int64_t p = 0; p < depth; p += UNPACKED, to += UNPACKED / UNIT * 2 * TILE_BYTES) {
    int64_t deep = smft__least(UNPACKED, depth - p), rows = args->trans_b ? columns : deep;
    int64_t row = args->trans_b ? column : start + p, begin = args->trans_b ? start + p : column;
    int64_t wide = args->trans_b ? deep : UNIT;
    for (int64_t i = 0; i < rows; i++)
      smft__vector()->blocks_to_f32(b + (row + i) * row_bytes, args->b_dtype, begin, wide,
                                    floats + i * wide);
    operand from = {(const char *)floats, args->trans_b ? wide * size : size,
                    args->trans_b ? size : wide * size, SMFT__F32, 1};
    pack(&from, 1, 0, columns, 0, deep, to);
  }
}

/* ---- the kernel ---------------------------------------------------------- */

/* Products of a piece of A and one of B for each product of two numbers. */
enum { ONE = 1, THREE = 3, SIX = 6 }; /* rounded; B is bf16; both split */

static inline int pieces_of_a(int products) { return products == ONE ? 1 : 3; }
static inline int pieces_of_b(int products) { return products == SIX ? 3 : 1; }

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
static inline __attribute__((always_inline)) TILES void multiply(int down, int across, int products,
                                                                 int64_t steps, const char *a,
                                                                 const char *b, float *c,
                                                                 int64_t ldc, int add) {
  const int64_t a_step = pieces_of_a(products) * 2 * TILE_BYTES;
  const int64_t b_step = pieces_of_b(products) * 2 * TILE_BYTES;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if (add)
    EACH_C(_tile_loadd);
  for (; steps > 0; steps--, a += a_step, b += b_step) {
    LOAD_A(0);
    if (products == SIX) {
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
    }
    if (products == THREE) {
      LOAD_A(1);
      MULTIPLY;
      LOAD_A(2);
      MULTIPLY;
    }
  }
  EACH_C(_tile_stored);
}

#define CASE(products)                                                                             \
  do {                                                                                             \
    if (down == 2 && across == 2)                                                                  \
      multiply(2, 2, products, steps, a, b, c, ldc, add);                                          \
    else if (across == 2)                                                                          \
      multiply(1, 2, products, steps, a, b, c, ldc, add);                                          \
    else if (down == 2)                                                                            \
      multiply(2, 1, products, steps, a, b, c, ldc, add);                                          \
    else                                                                                           \
      multiply(1, 1, products, steps, a, b, c, ldc, add);                                          \
  } while (0)
TILES static void multiply_tiles(int down, int across, int products, int64_t steps, const char *a,
                                 const char *b, float *c, int64_t ldc, int add) {
  if (products == SIX)
    CASE(SIX);
  else if (products == THREE)
    CASE(THREE);
  else
    CASE(ONE);
}
#undef CASE

/* What the unit does with a tile of A and one or two of B, eight rows of C at a time. */
static inline __attribute__((always_inline)) BF16 void multiply_rows(int across, int64_t steps,
                                                                     const char *a, const char *b,
                                                                     float *c, int64_t ldc,
                                                                     int add) {
  __m512 sum[ROWS][2];
  UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < across; j++) sum[i][j] =
      add ? _mm512_loadu_ps(c + i * ldc + j * TILE) : _mm512_setzero_ps();
  for (; steps > 0; steps--, a += 2 * TILE_BYTES, b += 2 * TILE_BYTES)
    for (int pair = 0; pair < 64; pair += 4) {
      __m512bh of_b[2];
      UNROLL for (int j = 0; j < across; j++) of_b[j] =
          (__m512bh)_mm512_load_si512(b + j * TILE_BYTES + 16 * pair);
      UNROLL for (int i = 0; i < ROWS; i++) {
        int32_t two;
        memcpy(&two, a + 64 * i + pair, sizeof two);
        const __m512bh of_a = (__m512bh)_mm512_set1_epi32(two);
        UNROLL for (int j = 0; j < across; j++) sum[i][j] =
            _mm512_dpbf16_ps(sum[i][j], of_a, of_b[j]);
      }
    }
  UNROLL for (int i = 0; i < ROWS; i++) UNROLL for (int j = 0; j < across; j++)
      _mm512_storeu_ps(c + i * ldc + j * TILE, sum[i][j]);
}

/* multiply_tiles of one product without tiles */
BF16 static void multiply_vectors(int down, int across, int64_t steps, const char *a, const char *b,
                                  float *c, int64_t ldc, int add) {
  for (int i = 0; i < down * TILE; i += ROWS) {
    const char *rows = a + i / TILE * TILE_BYTES + i % TILE * 64;
    if (across == 2)
      multiply_rows(2, steps, rows, b, c + i * ldc, ldc, add);
    else
      multiply_rows(1, steps, rows, b, c + i * ldc, ldc, add);
  }
}

static void multiply_any(int down, int across, int products, int64_t steps, const char *a,
                         const char *b, float *c, int64_t ldc, int add) {
  if (smft__cpu_has_tiles(1))
    multiply_tiles(down, across, products, steps, a, b, c, ldc, add);
  else
    multiply_vectors(down, across, steps, a, b, c, ldc, add);
}

/* What is not whole tiles goes through the stack. */
static void multiply_edge(int64_t rows, int64_t columns, int products, int64_t steps, const char *a,
                          const char *b, float *c, int64_t ldc, int add) {
  float whole[UNIT * UNIT] __attribute__((aligned(64))) = {0};
  for (int64_t i = 0; add && i < rows; i++)
    memcpy(whole + i * UNIT, c + i * ldc, (size_t)columns * sizeof *c);
  multiply_any((int)smft__blocks(rows, TILE), (int)smft__blocks(columns, TILE), products, steps, a,
               b, whole, UNIT, add);
  for (int64_t i = 0; i < rows; i++)
    memcpy(c + i * ldc, whole + i * UNIT, (size_t)columns * sizeof *c);
}

/* rows, columns: of C that are there, at most UNIT. */
static void multiply_part(int64_t rows, int64_t columns, int products, int64_t steps, const char *a,
                          const char *b, float *c, int64_t ldc, int add) {
  if (rows % TILE == 0 && columns % TILE == 0)
    multiply_any((int)(rows / TILE), (int)(columns / TILE), products, steps, a, b, c, ldc, add);
  else
    multiply_edge(rows, columns, products, steps, a, b, c, ldc, add);
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

TILES static void configure(void) { _tile_loadconfig(&all_tiles); }
TILES static void release(void) { _tile_release(); }

static void tiles_begin(void) {
  if (smft__cpu_has_tiles(1))
    configure();
}

/* A thread that leaves its tiles clean has nothing of them saved when another one takes its
 * processor. */
static void tiles_end(void) {
  if (smft__cpu_has_tiles(1))
    release();
}

static operand rows_of(const smft__gemm_args *args) {
  int64_t line = args->lda * (int64_t)sizeof(float), k = sizeof(float);
  operand rows = {(const char *)args->a, args->trans_a ? k : line, args->trans_a ? line : k,
                  SMFT__F32, 0};
  return rows;
}

/* Where B is not in blocks. */
static operand columns_of(const smft__gemm_args *args) {
  int64_t size = SMFT__WEIGHT_BYTES(args->b_dtype), line = args->ldb * size;
  operand columns = {args->b, args->trans_b ? line : size, args->trans_b ? size : line,
                     args->b_dtype, 1};
  return columns;
}

static void pack_columns(const smft__gemm_args *args, int products, int64_t column, int64_t columns,
                         int64_t start, int64_t depth, char *panel) {
  if (smft__is_block(args->b_dtype)) {
    pack_blocks(args, column, columns, start, depth, panel);
    return;
  }
  operand from = columns_of(args);
  pack(&from, pieces_of_b(products), column, columns, start, depth, panel);
}

void smft__gemm_tiles_block(const smft__gemm_args *args, int how, int64_t row, int64_t row_end,
                            int64_t column, int64_t column_end, void *workspace) {
  operand rows = rows_of(args);
  int products = how == SMFT__TILES_ROUNDED ? ONE : args->b_dtype == SMFT__BF16 ? THREE : SIX;
  int64_t depth = depth_of(args->k);
  char *panel = workspace, *strips = panel + PANEL_BYTES(depth);
  tiles_begin();
  for (int64_t p = 0; p < args->k; p += depth) {
    int64_t deep = smft__least(depth, args->k - p), steps = smft__blocks(deep, UNIT);
    for (int64_t i = row; i < row_end; i += UNIT)
      pack(&rows, pieces_of_a(products), i, smft__least(UNIT, row_end - i), p, deep,
           strips + (i - row) / UNIT * PANEL_BYTES(depth));
    for (int64_t j = column; j < column_end; j += UNIT) {
      int64_t width = smft__least(UNIT, column_end - j);
      pack_columns(args, products, j, width, p, deep, panel);
      for (int64_t i = row; i < row_end; i += UNIT)
        multiply_part(smft__least(UNIT, row_end - i), width, products, steps,
                      strips + (i - row) / UNIT * PANEL_BYTES(depth), panel,
                      args->c + i * args->ldc + j, args->ldc, args->accumulate || p > 0);
    }
  }
  tiles_end();
}

#else
void smft__gemm_tiles_block(const smft__gemm_args *args, int how, int64_t row, int64_t row_end,
                            int64_t column, int64_t column_end, void *workspace) {
  (void)args, (void)how, (void)row, (void)row_end, (void)column, (void)column_end, (void)workspace;
}
#endif
