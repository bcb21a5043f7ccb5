/* ctx: the root handle; reference-counted; owns the allocator's counters, the log callback and the
 * thread pool. */
#ifndef SMFT__CTX_H
#define SMFT__CTX_H
#include "base/status.h"
#include <stdatomic.h>

typedef struct smft__pool_threads smft__pool_threads; /* parallel.c */

#define SMFT__WORKSPACES 64 /* pieces of room that a context keeps */
#define SMFT__LOANS 64      /* and larger ones */

struct smft_ctx {
  atomic_int references;
  smft_ctx_options options; /* resolved: n_threads >= 1, allocator set */
  _Atomic int64_t memory_now, memory_peak;
  smft__pool_threads *threads;                  /* made at first need */
  _Atomic(void *) workspaces[SMFT__WORKSPACES]; /* workspace.c; NULL: none, or in use */
  _Atomic uintptr_t loans[SMFT__LOANS];         /* loan.c; 0: none, or in use */
};

smft_ctx *smft__ctx_retain(smft_ctx *ctx);
void smft__ctx_release(smft_ctx *ctx); /* NULL is fine */
void smft__log(smft_ctx *ctx, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif
