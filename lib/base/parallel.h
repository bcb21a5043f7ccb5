/* parallel: work cut into fixed blocks that run on the context's threads.  The cut never depends on
 * the number of threads, so neither does any result.  Idle threads sleep.  After fork() the child
 * starts new threads. */
#ifndef SMFT__PARALLEL_H
#define SMFT__PARALLEL_H
#include "base/ctx.h"

/* block: which piece of work; lane: which of smft__lanes() workers runs it (for scratch memory: one
 * lane runs one block at a time). */
typedef void (*smft__block_body)(void *arg, int64_t block, int32_t lane);
int32_t smft__lanes(const smft_ctx *ctx);
/* Runs all blocks, returns when all are done.  When the threads are busy with another caller's
 * work, or n is 1, the caller does all of it itself as lane 0.  Never fails, never allocates after
 * the first call (if threads cannot be made, the caller works alone). */
void smft__parallel_for(smft_ctx *ctx, int64_t n_blocks, smft__block_body body, void *arg);
/* For ctx.c: the (sleeping, not yet started) pool of a context, and its end. */
smft_status smft__pool_threads_create(smft_ctx *ctx);
void smft__pool_threads_free(smft_ctx *ctx);
static inline int64_t smft__blocks(int64_t n, int64_t block) { return (n + block - 1) / block; }
static inline int64_t smft__least(int64_t a, int64_t b) { return a < b ? a : b; }
#endif
