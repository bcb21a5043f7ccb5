/* alloc: memory through the context's allocator, 64-byte aligned, counted, with checked products;
 * and a bump arena. */
#ifndef SMFT__ALLOC_H
#define SMFT__ALLOC_H
#include "base/ctx.h"

/* NULL and a set error message (SMFT_E_NOMEM) on failure or overflow.  size 0 gives a valid
 * pointer. */
void *smft__alloc(smft_ctx *ctx, size_t size);
void *smft__alloc_array(smft_ctx *ctx, int64_t n, size_t size); /* not cleared */
void *smft__calloc_array(smft_ctx *ctx, int64_t n, size_t size);
/* on failure the old block stays */
void *smft__realloc_array(smft_ctx *ctx, void *pointer, int64_t n, size_t size);
int64_t smft__alloc_size(const void *pointer); /* bytes that were asked for */
void smft__free(smft_ctx *ctx, void *pointer); /* NULL is fine */
char *smft__strdup(smft_ctx *ctx, const char *text);
/* Makes room for `needed` elements in *array (pointer to pointer), growing by half; *capacity in
 * elements. */
smft_status smft__grow(smft_ctx *ctx, void *array, int64_t *capacity, int64_t needed, size_t size);

/* Checked arithmetic: false on overflow or a negative operand. */
int smft__mul_i64(int64_t a, int64_t b, int64_t *product);
int smft__add_i64(int64_t a, int64_t b, int64_t *sum);

/* One block, carved in 64-byte aligned pieces.  Usual pattern: a function `layout(arena, struct,
 * sizes)` run once with base NULL to measure (arena->used) and once more to place. */
typedef struct smft__arena {
  char *base;   /* NULL: measuring */
  int64_t used; /* bytes; negative: overflowed */
  int64_t size;
} smft__arena;
/* Pointer to n * size bytes, or NULL while measuring. */
void *smft__arena_take(smft__arena *arena, int64_t n, size_t size);
/* (rows, columns), rows < 2^31, columns <= 2^24: the product does not overflow */
static inline float *smft__arena_floats(smft__arena *arena, int64_t rows, int64_t columns) {
  return smft__arena_take(arena, rows * columns, sizeof(float));
}
#endif
