/* loan: large workspaces that a call borrows while it runs, so that what waits for its next call (a
 * session, a learner) holds none: activations, logits, scratch.  The context keeps those that were
 * given back, at most SMFT__LOANS of them, as many calls as ever ran at the same time need; they
 * go when a model or a learner is freed, and with the context.  (workspace.h: small ones of one
 * size, for a kernel's threads.) */
#ifndef SMFT__LOAN_H
#define SMFT__LOAN_H
#include "base/ctx.h"
/* At least so many bytes, 64-byte aligned, not cleared; NULL: out of memory.  One that was given
 * back and is large enough, though not more than four times too large, else a new one. */
void *smft__loan_take(smft_ctx *ctx, int64_t bytes);
void smft__loan_give(smft_ctx *ctx, void *block); /* NULL is fine; so is smft__free instead */
void smft__loans_free(smft_ctx *ctx);             /* those that nobody has */
#endif
