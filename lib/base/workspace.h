/* workspace: pieces of memory that a kernel needs while it runs: the context keeps them, one for
 * each thread that ever ran such a kernel at the same time as others, and hands them out.  A piece
 * is 64-byte aligned, not cleared, and one size for all. */
#ifndef SMFT__WORKSPACE_H
#define SMFT__WORKSPACE_H
#include "base/ctx.h"
#define SMFT__WORKSPACE_BYTES (1344 * 1024)
/* Makes pieces until the context has `n` (at most SMFT__WORKSPACES are kept); taking as many at a
 * time then allocates nothing. */
smft_status smft__workspaces_reserve(smft_ctx *ctx, int32_t n);
void *smft__workspace_take(smft_ctx *ctx);                 /* NULL: out of memory */
void smft__workspace_give(smft_ctx *ctx, void *workspace); /* NULL is fine */
void smft__workspaces_free(smft_ctx *ctx);                 /* for ctx.c */
#endif
