/* cpu: which instruction set the kernels use, chosen once per process.  It does not own any
 * kernel. */
#ifndef SMFT__CPU_H
#define SMFT__CPU_H
enum { SMFT__CPU_PORTABLE = 0, SMFT__CPU_AVX2 = 1, SMFT__CPU_AVX512 = 2, SMFT__CPU_TILES = 3 };
int smft__cpu_level(void); /* of vectors: at most SMFT__CPU_AVX512 */
/* Whether matrix products use AMX for a context that wants it.  The first that does asks Linux for
 * the permission for the whole process. */
int smft__cpu_has_tiles(int wanted);
int smft__cpu_has_vnni(void); /* AVX-512's products of bytes */
int smft__cpu_has_bf16(void); /* and those of bf16, while the level is SMFT__CPU_AVX512 */
/* For tests and benchmarks alone: at most this level from now on; 0 <= level.  With SMFT__CPU_TILES
 * every context wants AMX.  Returns the level in use. */
int smft__cpu_limit(int level);
#endif
