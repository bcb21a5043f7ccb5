/* gemm_tiles: products of f32 matrices on the processor's matrix unit (AMX), for gemm.c.  Owns the
 * split of numbers, the layout of tiles and the kernel over them; not the cut into blocks, and not
 * the decision to come here. */
#ifndef SMFT__GEMM_TILES_H
#define SMFT__GEMM_TILES_H
#include "nn/gemm.h"
/* rows and columns of C that the kernel holds at a time, and the depth of a step */
#define SMFT__TILES_UNIT 32
/* C's rows [row, row_end), at most smft__gemm_tiles_rows(k), and columns [column, column_end).
 * workspace: SMFT__WORKSPACE_BYTES (base/workspace.h). Only where the processor has tiles
 * (nn/kernels/cpu.h). */
void smft__gemm_tiles_block(const smft__gemm_args *args, int64_t row, int64_t row_end,
                            int64_t column, int64_t column_end, void *workspace);
int64_t smft__gemm_tiles_rows(int64_t k);
#endif
