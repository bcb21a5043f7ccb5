/* gemm_tiles: products of matrices in bf16, for gemm.c: every f32 split into three (AMX), or
 * rounded to one (AMX or AVX-512 BF16).  Owns the split of numbers, the layout of tiles and the
 * kernels over them; not the cut into blocks, and not the decision to come here. */
#ifndef SMFT__GEMM_TILES_H
#define SMFT__GEMM_TILES_H
#include "nn/gemm.h"
/* rows and columns of C that the kernel holds at a time, and the depth of a step */
#define SMFT__TILES_UNIT 32
/* EXACT: as exact as f32; only where the processor has tiles (base/cpu.h).  ROUNDED: both sides
 * rounded to bf16; where it has tiles or bf16. */
enum { SMFT__TILES_EXACT = 1, SMFT__TILES_ROUNDED = 2 };
/* C's rows [row, row_end), at most smft__gemm_tiles_rows(k), and columns [column, column_end).
 * B in blocks: ROUNDED only.
 * workspace: SMFT__WORKSPACE_BYTES (base/workspace.h). */
void smft__gemm_tiles_block(const smft__gemm_args *args, int how, int64_t row, int64_t row_end,
                            int64_t column, int64_t column_end, void *workspace);
int64_t smft__gemm_tiles_rows(int64_t k);
#endif
