/* gemm: the cut of a product into blocks of C, and the loops over k, panels of B and tiles of rows.
 * The arithmetic is gemm_body.h's; gemm_tiles.c's where the context asks for AMX or bf16;
 * integer.h's where it asks for whole numbers.  Why not a BLAS: results must not depend on threads,
 * a library may not touch a host's BLAS threads, and weights are read as bf16.
 *
 * Every element of C is summed over k in the same order wherever the cut falls.  The packed panel
 * (at most 48 KiB) is on the stack; packed rows of A, and AMX, need more, which the context keeps
 * (base/workspace.h). */
#include "nn/gemm.h"
#include "base/parallel.h"
#include "base/workspace.h"
#include "data/quant.h"
#include "nn/integer.h"
#include "nn/kernels/gemm_tiles.h"
#include "nn/vector.h"
#define FETCHED_PACK 16 /* rows of B ahead of those that are packed */

/* The lines of the cache that so many bytes lie on; what is behind an array is not read. */
static inline void fetch(uintptr_t at, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64)
    __builtin_prefetch((const void *)(at + (uintptr_t)i));
  __builtin_prefetch((const void *)(at + (uintptr_t)(bytes - 1)));
}
#define SMFT__BODY "nn/kernels/gemm_body.h"
#include "nn/kernels/levels.h"

#define MOST_TILE (8 * 48) /* numbers of C in a tile */
#define DEPTH 256          /* of k at a time */
/* where A is packed: a panel of B leaves the nearest cache room for a strip */
#define PACKED_DEPTH 192
#define MOST_PANEL (DEPTH * 48) /* numbers of B in a panel */
/* rows of A by DEPTH stay in the second-level cache while the panels of a block pass */
#define ROW_BLOCK 256
/* of a block of C that several panels of B stored (k, n) add to: with them, it stays there, too */
#define WIDE_NUMBERS (1 << 16)
/* of a block that packs its rows of A; below, that takes longer than it saves */
#define PACKED_COLUMNS_LEAST 128
/* of A for AMX where B is split, too; measured: as fast as AVX-512 at 48 to 56 */
#define TILES_ROWS_LEAST 64
#define TILES_ROWS_BF16 33      /* where B is bf16: 1.5 times as fast */
#define ROUNDED_ROWS_LEAST 32   /* where both are rounded */
#define TILES_COLUMNS_LEAST 128 /* of a block for AMX */
/* multiply-adds wanted in a block; below, waking a thread costs more than it gives */
#define BLOCK_WORK (1 << 19)
/* or bytes of B, where each is read for few rows: memory takes as long for them */
#define FEW_BYTES (1 << 18)
/* of a number in blocks: decoding them takes as long as it takes memory to give bf16 */
#define AS_BYTES 2
/* numbers of B at a time where blocks are decoded for several rows of A: UNPACKED along blocks,
 * or so many rows of B */
#define UNPACKED 128
#define UNPACKED_ROWS 32
#define FETCHED_ROWS 32 /* so far ahead; measured */
/* of A in whole numbers: decoding blocks once for more of them is as fast; measured */
#define INTEGER_ROWS_MOST 3
#define PANEL_ROWS_LEAST 4 /* where their panels are packed */

typedef struct kernels {
  int lanes, tile_rows, panel; /* panel: columns of one of B */
  void (*tile)(int rows, int vecs, int64_t k, const float *a, int64_t row_step, int64_t k_step,
               const float *b, int64_t b_step, float *c, int64_t ldc, int add);
  void (*pack)(const char *b, int64_t row_bytes, int dtype, int trans, int64_t n, int64_t k,
               float *panel);
  void (*pack_a)(const float *a, int64_t lda, int64_t rows, int64_t k, int64_t height,
                 float *strips);
  void (*few_rows)(int dtype, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                   const char *b, int64_t row_bytes, float *c, int64_t ldc, int add);
  void (*one_row)(int dtype, int64_t n, int64_t k, const float *a, const char *b, int64_t row_bytes,
                  float *c, int add);
} kernels;

_Static_assert(ROW_BLOCK *DEPTH * sizeof(float) <= SMFT__WORKSPACE_BYTES,
               "a block's rows of A fit a workspace");
static const kernels by_level[3] = {
    {4, 6, 8, any_tile_portable, pack_portable, pack_a_portable, few_rows_portable,
     one_row_portable},
#if defined(__x86_64__)
    {8, 6, 16, any_tile_avx2, pack_avx2, pack_a_avx2, few_rows_avx2, one_row_avx2},
    {16, 8, 48, any_tile_avx512, pack_avx512, pack_a_avx512, few_rows_avx512, one_row_avx512},
#endif
};

typedef struct gemm_plan {
  smft_ctx *ctx;
  const smft__gemm_args *args;
  const kernels *use;
  int64_t b_size;                  /* bytes of an element of B; 0: in blocks */
  int64_t row_block, column_block; /* of C, the last ones smaller */
  int64_t row_blocks, column_blocks;
  int64_t depth;    /* of k at a time */
  int64_t together; /* columns that are packed at a time: of one panel, or of some */
  int few, panels;  /* panels: of whole numbers */
  int tiles;        /* tiles: SMFT__TILES_EXACT or _ROUNDED; 0: the vectors' f32 */
  /* A's rows as whole numbers, end to end, for few of them and blocks of B; NULL: as they are */
  char *integer;
  /* A stored (k, m) where some panels pass over it: where it is, each p of a tile is on another
   * line, and another page */
  int pack_a;
} gemm_plan;

/* n cut in equal pieces of at most `most`, each a multiple of `unit` except the last. */
static int64_t even_piece(int64_t n, int64_t most, int64_t unit) {
  int64_t pieces = smft__blocks(n, most);
  return smft__blocks(smft__blocks(n, pieces), unit) * unit;
}

/* Columns of a block: so many units that a block is worth a thread's while, but no more.  share:
 * the part of that which a unit is. */
static int64_t columns_for(const smft__gemm_args *args, double share, int64_t unit) {
  int64_t units = share < 1 ? 1 + (int64_t)(1 / share) : 1;
  return even_piece(args->n, units < smft__blocks(args->n, unit) ? units * unit : args->n, unit);
}

/* Up to so many rows with B stored (n, k): dot products, no packing.  Each dot product ends in a
 * sum over lanes, which short ones feel; measured. */
static int64_t few_rows_for(int64_t k) {
  if (k < 128)
    return 4;
  return k < 384 ? 16 : 32;
}

/* Worth packing both operands for, and how. */
static int wants_tiles(const smft_ctx *ctx, const smft__gemm_args *args) {
  const uint32_t flags = ctx->options.flags;
  if (args->n < SMFT__TILES_UNIT || args->k < SMFT__TILES_UNIT)
    return 0;
  if ((flags & SMFT_CTX_FAST) && args->m >= ROUNDED_ROWS_LEAST)
    return SMFT__TILES_ROUNDED;
  int rows = args->b_dtype == SMFT__BF16 ? TILES_ROWS_BF16 : TILES_ROWS_LEAST;
  return !smft__is_block(args->b_dtype) && args->m >= rows &&
                 smft__cpu_has_tiles(flags & SMFT_CTX_AMX)
             ? SMFT__TILES_EXACT
             : 0;
}

/* Many rows in whole numbers, which the matrix unit would do faster in bf16. */
static int wants_panels(const smft_ctx *ctx, const smft__gemm_args *args) {
  if (!(ctx->options.flags & SMFT_CTX_INTEGER) || !smft__is_block(args->b_dtype))
    return 0;
  const smft__integer_ops *use = smft__integer();
  return args->trans_b && !args->trans_a && args->m >= PANEL_ROWS_LEAST && use && use->panel &&
         use->panel_rows(args->k) > 0 &&
         !((ctx->options.flags & SMFT_CTX_FAST) && smft__cpu_has_tiles(1));
}

/* Columns of a block that packs its rows of A anew: as few blocks as keep `lanes` threads busy to
 * the end, two a thread, or one where those are equal; `unit` columns are a panel. */
static int64_t columns_for_packing(const gemm_plan *plan, int32_t lanes, int64_t unit,
                                   int64_t least) {
  int64_t n = plan->args->n, row_blocks = smft__blocks(plan->args->m, plan->row_block);
  int64_t panels = smft__blocks(n, unit);
  int64_t once = smft__blocks(lanes, row_blocks);
  int64_t twice = smft__blocks(2 * (int64_t)lanes, row_blocks);
  int64_t wanted =
      smft__blocks(n, lanes == 1 || (panels % once == 0 && panels % twice != 0) ? once : twice);
  return even_piece(n, wanted > least ? wanted : least, unit);
}

static void cut_for_tiles(gemm_plan *plan, int32_t lanes) {
  plan->row_block =
      even_piece(plan->args->m, smft__gemm_tiles_rows(plan->args->k), SMFT__TILES_UNIT);
  plan->column_block = columns_for_packing(plan, lanes, SMFT__TILES_UNIT, TILES_COLUMNS_LEAST);
}

static void cut_for_panels(gemm_plan *plan, int32_t lanes) {
  plan->row_block = even_piece(plan->args->m, smft__integer()->panel_rows(plan->args->k), 1);
  plan->column_block =
      columns_for_packing(plan, lanes, SMFT__INTEGER_COLUMNS, SMFT__INTEGER_COLUMNS);
}

static void cut_for_few(gemm_plan *plan) {
  const smft__gemm_args *args = plan->args;
  double area = 16 * (double)args->k,
         of_bytes = area * (double)(plan->b_size ? plan->b_size : AS_BYTES) / FEW_BYTES;
  double share = (double)args->m * area / BLOCK_WORK;
  plan->row_block = args->m;
  plan->column_block = columns_for(args, of_bytes > share ? of_bytes : share, 16);
}

static void cut_for_vectors(gemm_plan *plan, int32_t lanes) {
  const smft__gemm_args *args = plan->args;
  int64_t unit = plan->together;
  plan->row_block = even_piece(args->m, ROW_BLOCK, 1);
  if (plan->pack_a) {
    plan->column_block = columns_for_packing(plan, lanes, unit, PACKED_COLUMNS_LEAST);
    return;
  }
  double share = (double)plan->row_block * (double)unit * (double)args->k / BLOCK_WORK;
  plan->column_block = columns_for(args, share, unit);
  if (!args->trans_b) { /* of a row of B a unit is a line of the cache or less */
    int64_t wide = columns_for_packing(plan, lanes, unit, unit);
    int64_t most = smft__blocks(WIDE_NUMBERS / plan->row_block, unit) * unit;
    wide = wide < most ? wide : most;
    plan->column_block = wide > plan->column_block ? wide : plan->column_block;
  }
}

/* Where a panel is narrower than a block of B, all that are in one are decoded for. */
static int64_t columns_together(const gemm_plan *plan) {
  int64_t panel = plan->use->panel, block = SMFT__QUANT_LEAST;
  return !plan->b_size && !plan->args->trans_b && block % panel == 0 ? block : panel;
}

static gemm_plan make_plan(smft_ctx *ctx, const smft__gemm_args *args, int32_t lanes) {
  gemm_plan plan = {.ctx = ctx,
                    .args = args,
                    .use = &by_level[smft__cpu_level()],
                    .b_size = smft__row_bytes(args->b_dtype, 1)};
  /* blocks are cut where the shortest of them end */
  int64_t unit = plan.b_size ? 1 : SMFT__QUANT_LEAST;
  plan.panels = wants_panels(ctx, args);
  plan.few = !plan.panels && args->trans_b && !args->trans_a && args->m <= few_rows_for(args->k);
  plan.tiles = plan.few || plan.panels ? 0 : wants_tiles(ctx, args);
  plan.pack_a = args->trans_a && args->n >= PACKED_COLUMNS_LEAST;
  plan.depth = even_piece(args->k, plan.pack_a ? PACKED_DEPTH : DEPTH, unit);
  plan.together = columns_together(&plan);
  if (plan.panels)
    cut_for_panels(&plan, lanes);
  else if (plan.tiles)
    cut_for_tiles(&plan, lanes);
  else if (plan.few)
    cut_for_few(&plan);
  else
    cut_for_vectors(&plan, lanes);
  plan.row_blocks = smft__blocks(args->m, plan.row_block);
  plan.column_blocks = smft__blocks(args->n, plan.column_block);
  return plan;
}

/* Where column j at depth p of op(B) is stored. */
static const char *b_at(const gemm_plan *plan, int64_t p, int64_t j) {
  const smft__gemm_args *args = plan->args;
  int64_t index = args->trans_b ? j * args->ldb + p : p * args->ldb + j;
  return (const char *)args->b + index * plan->b_size;
}

/* Numbers [begin, begin + n) of rows of B as it is stored become out (rows, n); begin and n are
 * multiples of SMFT__QUANT_LEAST.  What is taken of a row is a line or two, too little for the
 * processor to see which comes next. */
static void unpack_rows(const gemm_plan *plan, int64_t row, int64_t rows, int64_t begin, int64_t n,
                        float *out) {
  const smft__gemm_args *args = plan->args;
  int64_t row_bytes = smft__row_bytes(args->b_dtype, args->ldb);
  int64_t piece = smft__row_bytes(args->b_dtype, n);
  const smft__vector_ops *use = smft__vector();
  const char *from = (const char *)args->b + row * row_bytes;
  int64_t ahead = FETCHED_ROWS * row_bytes + smft__row_bytes(args->b_dtype, begin);
  for (int64_t i = 0; i < rows; i++, from += row_bytes, out += n) {
    fetch((uintptr_t)from + (uintptr_t)ahead, piece);
    use->blocks_to_f32(from, args->b_dtype, begin, n, out);
  }
}

/* Columns [column, column + columns) of op(B) over [start, start + depth) of k: one panel, or some
 * that were packed one behind the other. */
typedef struct gemm_panel {
  const float *b;
  int64_t b_step, column, columns, start, depth;
} gemm_panel;

/* Rows of a tile, so that `rows` are cut evenly. */
static int64_t tile_height(const gemm_plan *plan, int64_t rows) {
  return even_piece(rows, plan->use->tile_rows, 1);
}

/* A tile whose last vector is not full goes through the stack. */
static void edge_tile(const gemm_plan *plan, const gemm_panel *panel, int rows, int64_t row,
                      const float *a, int64_t row_step, int64_t k_step, int add) {
  float tile[MOST_TILE];
  int vecs = (int)smft__blocks(panel->columns, plan->use->lanes);
  int64_t width = (int64_t)vecs * plan->use->lanes;
  plan->use->tile(rows, vecs, panel->depth, a, row_step, k_step, panel->b, panel->b_step, tile,
                  width, 0);
  for (int64_t i = 0; i < rows; i++) {
    float *c = plan->args->c + (row + i) * plan->args->ldc + panel->column;
    for (int64_t j = 0; j < panel->columns; j++)
      c[j] = add ? c[j] + tile[i * width + j] : tile[i * width + j];
  }
}

/* Rows [begin, end) of C by one panel.  strips: those rows of A over the panel's depth, packed;
 * NULL: they are read where they are. */
static void panel_rows(const gemm_plan *plan, const gemm_panel *panel, const float *strips,
                       int64_t begin, int64_t end) {
  const smft__gemm_args *args = plan->args;
  int64_t height = tile_height(plan, end - begin);
  int64_t row_step = args->trans_a ? 1 : args->lda;
  int64_t k_step = strips ? height : args->trans_a ? args->lda : 1;
  int add = args->accumulate || panel->start > 0;
  for (int64_t i = begin; i < end; i += height) {
    int rows = (int)smft__least(height, end - i);
    const float *a = strips ? strips + (i - begin) * panel->depth
                            : args->a + i * row_step + panel->start * k_step;
    if (panel->columns % plan->use->lanes == 0)
      plan->use->tile(rows, (int)(panel->columns / plan->use->lanes), panel->depth, a, row_step,
                      k_step, panel->b, panel->b_step, args->c + i * args->ldc + panel->column,
                      args->ldc, add);
    else
      edge_tile(plan, panel, rows, i, a, row_step, k_step, add);
  }
}

/* The same by each of the panels that were packed together. */
static void panels_rows(const gemm_plan *plan, const gemm_panel *all, const float *strips,
                        int64_t begin, int64_t end, int64_t width) {
  for (int64_t c = 0; c < all->columns; c += width) {
    gemm_panel one = *all;
    one.b += c * all->depth;
    one.column += c;
    one.columns = smft__least(width, all->columns - c);
    panel_rows(plan, &one, strips, begin, end);
  }
}

/* Full f32 panels that only few rows would use are read where they are, when their address allows
 * it. */
static int read_directly(const gemm_plan *plan, int64_t rows, int64_t columns) {
  const smft__gemm_args *args = plan->args;
  return !args->trans_b && args->b_dtype == SMFT__F32 && columns % plan->use->lanes == 0 &&
         rows <= 2 * plan->use->tile_rows && (uintptr_t)args->b % sizeof(float) == 0;
}

/* Blocks become panels in pieces, by way of floats in the nearest cache. */
static void pack_blocks(const gemm_plan *plan, const gemm_panel *panel, float *packed) {
  const smft__gemm_args *args = plan->args;
  float rows[UNPACKED * MOST_PANEL / DEPTH];
  int64_t most = args->trans_b ? UNPACKED : UNPACKED_ROWS;
  int64_t begin = panel->column / SMFT__QUANT_LEAST * SMFT__QUANT_LEAST; /* of a row of columns */
  int64_t skip = panel->column - begin;
  int64_t width = smft__blocks(skip + panel->columns, SMFT__QUANT_LEAST) * SMFT__QUANT_LEAST;
  for (int64_t p = 0; p < panel->depth; p += most) {
    int64_t deep = smft__least(most, panel->depth - p), at = panel->start + p;
    if (args->trans_b)
      unpack_rows(plan, panel->column, panel->columns, at, deep, rows);
    else
      unpack_rows(plan, at, deep, begin, width, rows);
    for (int64_t c = 0; c < panel->columns; c += plan->use->panel) {
      const float *from = args->trans_b ? rows + c * deep : rows + skip + c;
      plan->use->pack((const char *)from, (args->trans_b ? deep : width) * (int64_t)sizeof *rows,
                      SMFT__F32, args->trans_b, smft__least(plan->use->panel, panel->columns - c),
                      deep, packed + c * panel->depth + p * plan->use->panel);
    }
  }
}

static void pack_panel(const gemm_plan *plan, const gemm_panel *panel, float *packed) {
  const smft__gemm_args *args = plan->args;
  if (plan->b_size)
    plan->use->pack(b_at(plan, panel->start, panel->column), args->ldb * plan->b_size,
                    args->b_dtype, args->trans_b, panel->columns, panel->depth, packed);
  else
    pack_blocks(plan, panel, packed);
}

/* strips: room for rows of A, packed, or NULL. */
static void tiled_block(const gemm_plan *plan, int64_t row, int64_t row_end, int64_t column,
                        int64_t column_end, float *strips) {
  const smft__gemm_args *args = plan->args;
  int64_t panel_columns = plan->use->panel, together = plan->together;
  if (together == panel_columns)
    together = panel_columns = even_piece(column_end - column, panel_columns, plan->use->lanes);
  float packed[MOST_PANEL] __attribute__((aligned(64)));
  for (int64_t p = 0; p < args->k; p += plan->depth) {
    int64_t deep = smft__least(plan->depth, args->k - p);
    if (strips)
      plan->use->pack_a(args->a + p * args->lda + row, args->lda, row_end - row, deep,
                        tile_height(plan, row_end - row), strips);
    for (int64_t j = column; j < column_end; j += together) {
      int64_t columns = smft__least(together, column_end - j);
      gemm_panel panel = {packed, plan->use->panel, j, columns, p, deep};
      if (read_directly(plan, row_end - row, panel.columns)) {
        panel.b = (const float *)(const void *)b_at(plan, p, j);
        panel.b_step = args->ldb;
      } else {
        pack_panel(plan, &panel, packed);
      }
      panels_rows(plan, &panel, strips, row, row_end, panel_columns);
    }
  }
}

/* Whole numbers meet the blocks as they are. */
static void few_block_of_integers(const gemm_plan *plan, int64_t column, int64_t column_end) {
  const smft__gemm_args *args = plan->args;
  int64_t row_bytes = smft__row_bytes(args->b_dtype, args->ldb);
  int64_t step = smft__integer_bytes(args->k);
  const char *b = (const char *)args->b + column * row_bytes;
  for (int64_t i = 0; i < args->m; i++) {
    smft__integer_row row = smft__integer_row_at(plan->integer + i * step, args->k);
    smft__integer()->dots(args->b_dtype, column_end - column, args->k, &row, b, row_bytes,
                          args->c + i * args->ldc + column, args->accumulate);
  }
}

/* Where B is in blocks: one row of A meets them as they are, several meet what was decoded once. */
static void few_block_of_blocks(const gemm_plan *plan, int64_t column, int64_t column_end) {
  const smft__gemm_args *args = plan->args;
  int64_t row_bytes = smft__row_bytes(args->b_dtype, args->ldb);
  const char *b = args->b;
  float rows[16 * DEPTH];
  if (args->m == 1) {
    plan->use->one_row(args->b_dtype, column_end - column, args->k, args->a, b + column * row_bytes,
                       row_bytes, args->c + column, args->accumulate);
    return;
  }
  for (int64_t j = column; j < column_end; j += 16)
    for (int64_t p = 0; p < args->k; p += plan->depth) {
      int64_t columns = smft__least(16, column_end - j),
              deep = smft__least(plan->depth, args->k - p);
      unpack_rows(plan, j, columns, p, deep, rows);
      plan->use->few_rows(SMFT__F32, args->m, columns, deep, args->a + p, args->lda,
                          (const char *)rows, deep * (int64_t)sizeof *rows, args->c + j, args->ldc,
                          args->accumulate || p > 0);
    }
}

/* Sixteen columns at a time, so that B comes from the nearest cache for all rows but the first few.
 */
static void few_block(const gemm_plan *plan, int64_t column, int64_t column_end) {
  const smft__gemm_args *args = plan->args;
  if (!plan->b_size) {
    if (plan->integer)
      few_block_of_integers(plan, column, column_end);
    else
      few_block_of_blocks(plan, column, column_end);
    return;
  }
  for (int64_t j = column; j < column_end; j += 16)
    plan->use->few_rows(args->b_dtype, args->m, smft__least(16, column_end - j), args->k, args->a,
                        args->lda, b_at(plan, 0, j), args->ldb * plan->b_size, args->c + j,
                        args->ldc, args->accumulate);
}

/* Without memory to pack into, the vectors read A where it is: the same bits where they would have
 * packed it, right up to rounding where AMX would. */
static void packing_block(const gemm_plan *plan, int64_t row, int64_t row_end, int64_t column,
                          int64_t column_end) {
  void *workspace = smft__workspace_take(plan->ctx);
  if (workspace && plan->panels)
    smft__integer()->panel(plan->args, row, row_end, column, column_end, workspace);
  else if (workspace && plan->tiles)
    smft__gemm_tiles_block(plan->args, plan->tiles, row, row_end, column, column_end, workspace);
  else
    tiled_block(plan, row, row_end, column, column_end, workspace);
  smft__workspace_give(plan->ctx, workspace);
}

static void look_at(const gemm_plan *plan, int64_t row, int64_t row_end, int64_t column,
                    int64_t column_end) {
  const smft__gemm_args *args = plan->args;
  if (!smft__vector()->all_finite(args->c + row * args->ldc + column, row_end - row,
                                  column_end - column, args->ldc))
    atomic_store(args->not_finite, 1);
}

static void run_block(const gemm_plan *plan, int64_t block) {
  int64_t row = block / plan->column_blocks * plan->row_block;
  int64_t column = block % plan->column_blocks * plan->column_block;
  int64_t row_end = smft__least(row + plan->row_block, plan->args->m);
  int64_t column_end = smft__least(column + plan->column_block, plan->args->n);
  if (plan->few)
    few_block(plan, column, column_end);
  else if (plan->panels || plan->tiles || plan->pack_a)
    packing_block(plan, row, row_end, column, column_end);
  else
    tiled_block(plan, row, row_end, column, column_end, NULL);
  if (plan->args->not_finite)
    look_at(plan, row, row_end, column, column_end);
}

/* True where nothing is left to multiply. */
static int trivial(const smft__gemm_args *args) {
  if (args->m > 0 && args->n > 0 && args->k > 0)
    return 0;
  if (args->k <= 0 && !args->accumulate)
    for (int64_t i = 0; i < args->m; i++)
      for (int64_t j = 0; j < args->n; j++)
        args->c[i * args->ldc + j] = 0;
  return 1;
}

static int64_t n_blocks(const gemm_plan *plan) { return plan->row_blocks * plan->column_blocks; }

/* arg: the plans, their blocks end to end. */
static void run_one_of(void *arg, int64_t block, int32_t lane) {
  const gemm_plan *plan = arg;
  (void)lane;
  for (; block >= n_blocks(plan); plan++)
    block -= n_blocks(plan);
  run_block(plan, block);
}

/* Whether the context wants whole numbers for this product, and its rows fit a workspace. */
static int wants_integers(const smft_ctx *ctx, const gemm_plan *plan) {
  return (ctx->options.flags & SMFT_CTX_INTEGER) && plan->few &&
         plan->args->m <= INTEGER_ROWS_MOST && !plan->b_size && smft__integer() != NULL &&
         smft__integer_bytes(plan->args->k) * plan->args->m <= SMFT__WORKSPACE_BYTES;
}

/* The plans of one A share its rows; without memory for them they do without. */
static void *make_integers(smft_ctx *ctx, gemm_plan *plans, gemm_plan *end) {
  char *memory = NULL;
  const smft__gemm_args *first = NULL;
  for (gemm_plan *plan = plans; plan < end; plan++) {
    const smft__gemm_args *args = plan->args;
    if (!wants_integers(ctx, plan) || (first && (first->a != args->a || first->lda != args->lda ||
                                                 first->k != args->k || first->m != args->m)))
      continue;
    if (!first && !(memory = smft__workspace_take(ctx)))
      return NULL;
    plan->integer = memory;
    for (int64_t i = 0; !first && i < args->m; i++) {
      smft__integer_row row =
          smft__integer_row_at(memory + i * smft__integer_bytes(args->k), args->k);
      smft__integer()->round(args->a + i * args->lda, args->k, &row);
    }
    first = args;
  }
  return memory;
}

void smft__gemm_several(smft_ctx *ctx, const smft__gemm_args *args, int32_t n) {
  gemm_plan plans[SMFT__GEMM_MOST], *plan = plans;
  int64_t blocks = 0;
  for (int32_t i = 0; i < n; i++)
    if (!trivial(&args[i])) {
      *plan = make_plan(ctx, &args[i], smft__lanes(ctx));
      blocks += n_blocks(plan++);
    }
  void *integers = make_integers(ctx, plans, plan);
  smft__parallel_for(ctx, blocks, run_one_of, plans);
  smft__workspace_give(ctx, integers);
}

void smft__gemm(smft_ctx *ctx, const smft__gemm_args *args) { smft__gemm_several(ctx, args, 1); }

void smft__gemm_serial(smft_ctx *ctx, const smft__gemm_args *args) {
  if (trivial(args))
    return;
  gemm_plan plan = make_plan(ctx, args, 1);
  for (int64_t block = 0; block < n_blocks(&plan); block++)
    run_block(&plan, block);
}

smft_status smft__gemm_reserve(smft_ctx *ctx) {
  return smft__workspaces_reserve(ctx, smft__lanes(ctx));
}
