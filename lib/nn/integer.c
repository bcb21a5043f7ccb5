/* integer: see integer.h.  Owns where the parts of a row lie, and which kernels the processor
 * has. */
#include "nn/integer.h"
#include "base/cpu.h"
#include "nn/kernels/integer_avx2.h"
#include "nn/kernels/integer_vnni.h"

#define LINE 64 /* bytes; also what a row's numbers are filled up to */

static int64_t up(int64_t n) { return (n + LINE - 1) / LINE * LINE; }
static int64_t scales(int64_t k) { return up(k / 16 * (int64_t)sizeof(float)); }

int64_t smft__integer_bytes(int64_t k) { return 2 * up(k) + 4 * scales(k); }

smft__integer_row smft__integer_row_at(char *memory, int64_t k) {
  char *next = memory + 2 * up(k);
  smft__integer_row row = {.x = memory, .lower = memory + up(k)};
  row.scale = (float *)(void *)next;
  row.sum = (float *)(void *)(next + scales(k));
  row.scale_16 = (float *)(void *)(next + 2 * scales(k));
  row.sum_16 = (float *)(void *)(next + 3 * scales(k));
  return row;
}

const smft__integer_ops *smft__integer(void) {
#if defined(__x86_64__)
  static const smft__integer_ops vnni = {smft__integer_vnni_round, smft__integer_vnni_dots,
                                         smft__integer_panel_rows, smft__integer_panel_block};
  static const smft__integer_ops avx2 = {smft__integer_avx2_round, smft__integer_avx2_dots, NULL,
                                         NULL};
  if (smft__cpu_level() == SMFT__CPU_AVX512 && smft__cpu_has_vnni())
    return &vnni;
  if (smft__cpu_level() >= SMFT__CPU_AVX2)
    return &avx2;
#endif
  return NULL;
}
