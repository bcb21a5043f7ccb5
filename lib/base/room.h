/* room: pieces of memory that a kernel needs while it runs: the context keeps them, one for each
 * thread that ever ran such a kernel at the same time as others, and hands them out.  A piece is
 * 64-byte aligned, not cleared, and one size for all. */
#ifndef SMFT__ROOM_H
#define SMFT__ROOM_H
#include "base/ctx.h"
#define SMFT__ROOM_BYTES (1344 * 1024)
/* Makes pieces until the context has `n` (at most SMFT__ROOMS are kept); taking as many at a time
 * then allocates nothing. */
smft_status smft__rooms_reserve(smft_ctx *ctx, int32_t n);
void *smft__room_take(smft_ctx *ctx);            /* NULL: out of memory */
void smft__room_give(smft_ctx *ctx, void *room); /* NULL is fine */
void smft__rooms_free(smft_ctx *ctx);            /* for ctx.c */
#endif
