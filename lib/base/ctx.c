/* ctx: the root handle: its options, its reference count, the counters of its allocator, its log.
 * Does not own: the blocks themselves (alloc.c), the threads (parallel.c). */
#include "base/ctx.h"
#include "base/alloc.h"
#include "base/cpu.h"
#include "base/loan.h"
#include "base/parallel.h"
#include "base/workspace.h"
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS_MOST 1024

static void *default_alloc(void *user, size_t size) {
  (void)user;
  return malloc(size);
}

static void *default_realloc(void *user, void *pointer, size_t size) {
  (void)user;
  return realloc(pointer, size);
}

static void default_free(void *user, void *pointer) {
  (void)user;
  free(pointer);
}

/* Processors that this process may use: the affinity mask knows about taskset and cpusets. */
static int32_t usable_processors(void) {
  cpu_set_t set;
  long n =
      sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
  if (n < 1)
    return 1;
  return n > THREADS_MOST ? THREADS_MOST : (int32_t)n;
}

static smft_status resolve_options(smft_ctx_options *own, const smft_ctx_options *given) {
  SMFT__TRY(smft__options_read(own, given, sizeof *own, sizeof *own, "smft_ctx_options"));
  SMFT__TRY(smft__reserved_check(own->reserved, "smft_ctx_options"));
  SMFT__REQUIRE(own->n_threads >= 0 && own->n_threads <= THREADS_MOST,
                "smft_ctx_create: n_threads is %d; expected 0 to %d", own->n_threads, THREADS_MOST);
  SMFT__REQUIRE(!(own->flags & ~(SMFT_CTX_AMX | SMFT_CTX_INTEGER | SMFT_CTX_FAST)),
                "smft_ctx_create: flags 0x%x has unknown bits", own->flags);
  if ((own->flags & SMFT_CTX_FAST) && !smft__cpu_has_tiles(1) && !smft__cpu_has_bf16())
    return smft__fail(
        SMFT_E_UNSUPPORTED,
        "smft_ctx_create: SMFT_CTX_FAST needs a processor that multiplies bf16 (AMX, or "
        "AVX-512 BF16); this one does not");
  int set = (own->alloc != NULL) + (own->realloc != NULL) + (own->free != NULL);
  SMFT__REQUIRE(set == 0 || set == 3,
                "smft_ctx_create: alloc, realloc and free go together; %d of 3 are set", set);
  if (set == 0) {
    own->alloc = default_alloc;
    own->realloc = default_realloc;
    own->free = default_free;
  }
  if (own->n_threads == 0)
    own->n_threads = usable_processors();
  return SMFT_OK;
}

/* The context's own block is allocated, counted and freed through a stand-in of it on the stack. */
SMFT_API smft_status smft_ctx_create(smft_ctx **out, const smft_ctx_options *options) {
  SMFT__REQUIRE(out, "smft_ctx_create: out is NULL");
  *out = NULL;
  smft_ctx first = {0};
  SMFT__TRY(resolve_options(&first.options, options));
  smft_ctx *ctx = smft__alloc(&first, sizeof *ctx);
  if (!ctx)
    return SMFT_E_NOMEM;
  ctx->options = first.options;
  ctx->threads = NULL;
  for (int i = 0; i < SMFT__WORKSPACES; i++)
    atomic_init(&ctx->workspaces[i], NULL);
  for (int i = 0; i < SMFT__LOANS; i++)
    atomic_init(&ctx->loans[i], 0);
  atomic_init(&ctx->references, 1);
  atomic_init(&ctx->memory_now, atomic_load(&first.memory_now));
  atomic_init(&ctx->memory_peak, atomic_load(&first.memory_peak));
  smft_status status = smft__pool_threads_create(ctx);
  if (status != SMFT_OK) {
    smft__free(&first, ctx);
    return status;
  }
  *out = ctx;
  return SMFT_OK;
}

smft_ctx *smft__ctx_retain(smft_ctx *ctx) {
  atomic_fetch_add_explicit(&ctx->references, 1, memory_order_relaxed);
  return ctx;
}

void smft__ctx_release(smft_ctx *ctx) {
  if (!ctx || atomic_fetch_sub_explicit(&ctx->references, 1, memory_order_acq_rel) != 1)
    return;
  smft__pool_threads_free(ctx);
  smft__workspaces_free(ctx);
  smft__loans_free(ctx);
  smft_ctx last = {0};
  last.options = ctx->options;
  smft__free(&last, ctx);
}

SMFT_API void smft_ctx_free(smft_ctx *ctx) { smft__ctx_release(ctx); }

SMFT_API smft_status smft_ctx_memory(smft_ctx *ctx, int64_t *now, int64_t *peak) {
  SMFT__REQUIRE(ctx, "smft_ctx_memory: ctx is NULL");
  if (now)
    *now = atomic_load_explicit(&ctx->memory_now, memory_order_relaxed);
  if (peak)
    *peak = atomic_load_explicit(&ctx->memory_peak, memory_order_relaxed);
  return SMFT_OK;
}

SMFT_API smft_status smft_ctx_memory_reset_peak(smft_ctx *ctx) {
  SMFT__REQUIRE(ctx, "smft_ctx_memory_reset_peak: ctx is NULL");
  atomic_store_explicit(&ctx->memory_peak,
                        atomic_load_explicit(&ctx->memory_now, memory_order_relaxed),
                        memory_order_relaxed);
  return SMFT_OK;
}

SMFT_API int32_t smft_ctx_n_threads(const smft_ctx *ctx) {
  return ctx ? ctx->options.n_threads : 0;
}

void smft__log(smft_ctx *ctx, int32_t level, const char *format, ...) {
  char message[1024];
  va_list arguments;
  if (!ctx || !ctx->options.log)
    return;
  va_start(arguments, format);
  int length = vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  if (length >= 0)
    ctx->options.log(ctx->options.log_user, level, message);
}
