/* alloc: aligned, counted memory through the context's allocator, checked arithmetic, and the
 * arena. Does not own: the counters' meaning for hosts (ctx.c). */
#include "base/alloc.h"
#include <string.h>

#define ALIGNMENT 64

/* Stands right before the caller's block: there is room for it wherever the alignment puts that. */
typedef struct header {
  char *base;    /* what the host's allocator returned, of whatever alignment */
  int64_t total; /* bytes asked of it */
} header;
#define OVERHEAD ((int)sizeof(header) + ALIGNMENT - 1)

static char *align_up(char *base) {
  uintptr_t behind = ((uintptr_t)base + OVERHEAD) & (uintptr_t)(ALIGNMENT - 1);
  return base + OVERHEAD - behind;
}

static header read_header(const void *block) {
  header head;
  memcpy(&head, (const char *)block - sizeof head, sizeof head);
  return head;
}

static void count(smft_ctx *ctx, int64_t change) {
  int64_t now = atomic_fetch_add_explicit(&ctx->memory_now, change, memory_order_relaxed) + change;
  int64_t peak = atomic_load_explicit(&ctx->memory_peak, memory_order_relaxed);
  while (now > peak &&
         !atomic_compare_exchange_weak_explicit(&ctx->memory_peak, &peak, now, memory_order_relaxed,
                                                memory_order_relaxed)) {
  }
}

static char *place(char *base, int64_t total) {
  header head = {base, total};
  char *block = align_up(base);
  memcpy(block - sizeof head, &head, sizeof head);
  return block;
}

/* size plus overhead, or 0 if that is not addressable. */
static size_t total_size(size_t size) {
  return size > (size_t)PTRDIFF_MAX - OVERHEAD ? 0 : size + OVERHEAD;
}

static void *no_memory(size_t size) {
  smft__fail(SMFT_E_NOMEM, "out of memory: %llu bytes could not be allocated",
             (unsigned long long)size);
  return NULL;
}

void *smft__alloc(smft_ctx *ctx, size_t size) {
  size_t total = total_size(size);
  char *base = total ? ctx->options.alloc(ctx->options.alloc_user, total) : NULL;
  if (!base)
    return no_memory(size);
  count(ctx, (int64_t)total);
  return place(base, (int64_t)total);
}

/* n * size as bytes; false on overflow. */
static int array_size(int64_t n, size_t size, size_t *bytes) {
  int64_t product;
  if (size > (size_t)INT64_MAX || !smft__mul_i64(n, (int64_t)size, &product)) {
    smft__fail(SMFT_E_NOMEM,
               "out of memory: %lld elements of %llu bytes are more than can be addressed",
               (long long)n, (unsigned long long)size);
    return 0;
  }
  *bytes = (size_t)product;
  return 1;
}

void *smft__alloc_array(smft_ctx *ctx, int64_t n, size_t size) {
  size_t bytes;
  return array_size(n, size, &bytes) ? smft__alloc(ctx, bytes) : NULL;
}

void *smft__calloc_array(smft_ctx *ctx, int64_t n, size_t size) {
  size_t bytes;
  void *block = array_size(n, size, &bytes) ? smft__alloc(ctx, bytes) : NULL;
  if (block)
    memset(block, 0, bytes);
  return block;
}

/* The host's realloc may move the block to another distance from a 64-byte line; then the contents
 * are moved once more. */
void *smft__realloc_array(smft_ctx *ctx, void *pointer, int64_t n, size_t size) {
  size_t bytes;
  if (!array_size(n, size, &bytes))
    return NULL;
  if (!pointer)
    return smft__alloc(ctx, bytes);
  header old = read_header(pointer);
  ptrdiff_t old_offset = (char *)pointer - old.base;
  size_t total = total_size(bytes), old_bytes = (size_t)old.total - OVERHEAD;
  char *base = total ? ctx->options.realloc(ctx->options.alloc_user, old.base, total) : NULL;
  if (!base)
    return no_memory(bytes);
  char *block = align_up(base);
  if (block - base != old_offset)
    memmove(block, base + old_offset, old_bytes < bytes ? old_bytes : bytes);
  count(ctx, (int64_t)total - old.total);
  return place(base, (int64_t)total);
}

int64_t smft__alloc_size(const void *pointer) { return read_header(pointer).total - OVERHEAD; }

void smft__free(smft_ctx *ctx, void *pointer) {
  if (!pointer)
    return;
  header head = read_header(pointer);
  count(ctx, -head.total);
  ctx->options.free(ctx->options.alloc_user, head.base);
}

char *smft__strdup(smft_ctx *ctx, const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = smft__alloc(ctx, size);
  return copy ? memcpy(copy, text, size) : NULL;
}

smft_status smft__grow(smft_ctx *ctx, void *array, int64_t *capacity, int64_t needed, size_t size) {
  void *old, *fresh;
  if (needed <= *capacity)
    return SMFT_OK;
  int64_t wanted = *capacity > INT64_MAX / 2 ? needed : *capacity + *capacity / 2;
  if (wanted < 8)
    wanted = 8;
  if (wanted < needed)
    wanted = needed;
  memcpy(&old, array, sizeof old);
  fresh = smft__realloc_array(ctx, old, wanted, size);
  if (!fresh)
    return SMFT_E_NOMEM;
  memcpy(array, &fresh, sizeof fresh);
  *capacity = wanted;
  return SMFT_OK;
}

int smft__mul_i64(int64_t a, int64_t b, int64_t *product) {
  return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product);
}

int smft__add_i64(int64_t a, int64_t b, int64_t *sum) {
  return a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, sum);
}

void *smft__arena_take(smft__arena *arena, int64_t n, size_t size) {
  int64_t bytes, end;
  if (arena->used < 0)
    return NULL;
  if (size > (size_t)INT64_MAX || !smft__mul_i64(n, (int64_t)size, &bytes) ||
      !smft__add_i64(bytes, ALIGNMENT - 1, &bytes) ||
      !smft__add_i64(arena->used, bytes & ~(int64_t)(ALIGNMENT - 1), &end) ||
      (arena->base && end > arena->size)) {
    arena->used = -1;
    return NULL;
  }
  void *piece = arena->base ? arena->base + arena->used : NULL;
  arena->used = end;
  return piece;
}
