/* failing: a host allocator for tests: counts calls and bytes, fails the k-th allocation, hands out
 * badly aligned blocks, sees overruns. */
#ifndef SMFT_TEST_FAILING_H
#define SMFT_TEST_FAILING_H
#include "test.h"
#include <stdatomic.h>

typedef struct failing {
  atomic_llong calls;   /* allocations asked for */
  atomic_llong fail_at; /* the call (from 1) that fails, and 0: none */
  atomic_llong live;    /* blocks not freed */
  size_t largest;       /* request, in bytes; one thread only */
} failing;

/* A block is preceded by 24 bytes (size, guard, and 8 that make it unaligned), and followed by 8
 * bytes of guard. */
#define FAILING_GUARD 0x5AFE5AFE5AFE5AFEull
static inline void failing_seal(char *raw, size_t size) {
  unsigned long long words[2] = {size, FAILING_GUARD}, guard = FAILING_GUARD;
  memcpy(raw, words, sizeof words);
  memcpy(raw + 24 + size, &guard, sizeof guard);
}
static inline size_t failing_check(const char *raw) {
  unsigned long long words[2], guard;
  memcpy(words, raw, sizeof words);
  if (words[1] != FAILING_GUARD) /* not ck_assert: it is too often right (test.h, test_mark) */
    ck_abort_msg("written before the block's start, or not a block");
  memcpy(&guard, raw + 24 + words[0], sizeof guard);
  if (guard != FAILING_GUARD)
    ck_abort_msg("written past the block's end");
  return (size_t)words[0];
}
static inline int failing_now(failing *state, size_t size) {
  if (size > state->largest)
    state->largest = size;
  return ++state->calls == state->fail_at;
}
static inline void *failing_alloc(void *user, size_t size) {
  failing *state = user;
  char *raw = failing_now(state, size) || size > ((size_t)1 << 40) ? NULL : malloc(size + 32);
  if (!raw)
    return NULL;
  state->live++;
  failing_seal(raw, size);
  return raw + 24;
}
static inline void failing_free(void *user, void *pointer) {
  failing *state = user;
  if (!pointer)
    return;
  char *raw = (char *)pointer - 24;
  size_t size = failing_check(raw);
  memset(raw, 0xDD, size + 32);
  state->live--;
  free(raw);
}
static inline void *failing_realloc(void *user, void *pointer, size_t size) {
  if (!pointer)
    return failing_alloc(user, size);
  size_t old = failing_check((char *)pointer - 24);
  void *fresh = failing_alloc(user, size); /* always moves */
  if (!fresh)
    return NULL;
  memcpy(fresh, pointer, old < size ? old : size);
  failing_free(user, pointer);
  return fresh;
}
/* A context with this allocator and so many threads. */
static inline smft_ctx *failing_ctx(failing *state, int32_t n_threads) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx = NULL;
  options.n_threads = n_threads;
  options.alloc = failing_alloc;
  options.realloc = failing_realloc;
  options.free = failing_free;
  options.alloc_user = state;
  ck_ok(smft_ctx_create(&ctx, &options));
  return ctx;
}
#endif
