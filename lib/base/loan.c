/* loan: see loan.h.  A shelf of words, each the address of a block and, in the six bits that its
 * alignment leaves free, the octave of its size: one atomic exchange takes or puts both.  There is
 * no lock that a child of fork() could find held, and a block is read only by who took it.
 *
 * Kinds of work differ in size by more than FACTOR (a learner's tape, a session's activations), so
 * neither ends up with the other's blocks; and a block that its kind has outgrown is freed when a
 * larger one is made, so that there are never more than were in use at a time. */
#include "base/loan.h"
#include "base/alloc.h"

#define FACTOR 4
#define OCTAVES 2 /* of FACTOR */
#define OCTAVE ((uintptr_t)63)

static int octave_of(int64_t bytes) { return 63 - __builtin_clzll((unsigned long long)bytes | 1); }

static void put(smft_ctx *ctx, uintptr_t word) {
  for (int i = 0; i < SMFT__LOANS; i++) {
    uintptr_t none = 0;
    if (atomic_load_explicit(&ctx->loans[i], memory_order_relaxed) == 0 &&
        atomic_compare_exchange_strong(&ctx->loans[i], &none, word))
      return;
  }
  /* full: the newest is the likeliest to be asked for again */
  uintptr_t other = atomic_exchange(&ctx->loans[0], word);
  smft__free(ctx, (void *)(other & ~OCTAVE));
}

/* One of that octave with `least` to `most` bytes; NULL: there is none, or others have it. */
static void *take_from(smft_ctx *ctx, int octave, int64_t least, int64_t most) {
  for (int i = 0; i < SMFT__LOANS; i++) {
    uintptr_t word = atomic_load_explicit(&ctx->loans[i], memory_order_relaxed);
    if (!word || (int)(word & OCTAVE) != octave ||
        !atomic_compare_exchange_strong(&ctx->loans[i], &word, 0))
      continue;
    void *block = (void *)(word & ~OCTAVE);
    int64_t size = smft__alloc_size(block);
    if (size >= least && size <= most)
      return block;
    put(ctx, word);
  }
  return NULL;
}

void *smft__loan_take(smft_ctx *ctx, int64_t bytes) {
  int octave = octave_of(bytes);
  int64_t most = bytes > INT64_MAX / FACTOR ? INT64_MAX : bytes * FACTOR;
  void *block = NULL;
  for (int i = 0; i <= OCTAVES && !block; i++)
    block = take_from(ctx, octave + i, bytes, most);
  if (block)
    return block;
  for (int i = 0; i <= OCTAVES && !block; i++) /* outgrown */
    block = take_from(ctx, octave - i, bytes / FACTOR, bytes);
  smft__free(ctx, block);
  return smft__alloc_array(ctx, bytes, 1);
}

void smft__loan_give(smft_ctx *ctx, void *block) {
  if (block)
    put(ctx, (uintptr_t)block | (uintptr_t)octave_of(smft__alloc_size(block)));
}

void smft__loans_free(smft_ctx *ctx) {
  for (int i = 0; i < SMFT__LOANS; i++)
    smft__free(ctx, (void *)(atomic_exchange(&ctx->loans[i], 0) & ~OCTAVE));
}
