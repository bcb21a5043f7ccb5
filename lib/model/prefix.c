/* prefix: see prefix.h.  Owns the room and the copying; which blocks make it and go on from it is
 * network.c's, whose tokens it holds is known to who asked for it. */
#include "model/prefix.h"
#include "base/alloc.h"
#include <string.h>

void smft__prefix_init(smft__prefix *prefix, const smft_model *model) {
  memset(prefix, 0, sizeof *prefix);
  prefix->ctx = model->ctx;
  prefix->hidden = model->config.hidden;
  prefix->reads = (int64_t)model->config.memory.heads * model->config.memory.top_k;
}

void smft__prefix_free(smft__prefix *prefix) {
  smft__free(prefix->ctx, prefix->block);
  prefix->block = NULL;
  prefix->capacity = prefix->n_tokens = 0;
}

/* tokens < 2^31, columns <= 2^24 */
static void place(smft__prefix *prefix, smft__arena *arena, int64_t n_tokens) {
  prefix->middle = smft__arena_take(arena, n_tokens * prefix->hidden, sizeof *prefix->middle);
  prefix->slots = smft__arena_take(arena, n_tokens * prefix->reads, sizeof *prefix->slots);
  prefix->weights = smft__arena_take(arena, n_tokens * prefix->reads, sizeof *prefix->weights);
}

smft_status smft__prefix_reserve(smft__prefix *prefix, int64_t n_tokens) {
  smft__arena arena = {0};
  prefix->n_tokens = 0;
  place(prefix, &arena, n_tokens);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "the kept prefix of %lld tokens overflows",
                      (long long)n_tokens);
  if (arena.used > prefix->capacity) {
    int64_t needed = arena.used;
    smft__prefix_free(prefix);
    prefix->block = smft__alloc_array(prefix->ctx, needed, 1);
    if (!prefix->block)
      return SMFT_E_NOMEM;
    prefix->capacity = needed;
  }
  arena = (smft__arena){prefix->block, 0, prefix->capacity};
  place(prefix, &arena, n_tokens);
  return SMFT_OK;
}

void smft__prefix_store(smft__prefix *prefix, const float *middle, const smft__memory_tape *memory,
                        int64_t n_tokens) {
  int64_t reads = n_tokens * prefix->reads;
  memcpy(prefix->middle, middle, (size_t)(n_tokens * prefix->hidden) * sizeof *middle);
  memcpy(prefix->slots, memory->slots, (size_t)reads * sizeof *memory->slots);
  memcpy(prefix->weights, memory->weights, (size_t)reads * sizeof *memory->weights);
  prefix->n_tokens = n_tokens;
}

void smft__prefix_fetch(const smft__prefix *prefix, int64_t begin, int64_t n_tokens, float *middle,
                        smft__memory_tape *memory, int64_t to) {
  int64_t from = begin * prefix->reads, at = to * prefix->reads, reads = n_tokens * prefix->reads;
  memcpy(middle + to * prefix->hidden, prefix->middle + begin * prefix->hidden,
         (size_t)(n_tokens * prefix->hidden) * sizeof *middle);
  memcpy(memory->slots + at, prefix->slots + from, (size_t)reads * sizeof *memory->slots);
  memcpy(memory->weights + at, prefix->weights + from, (size_t)reads * sizeof *memory->weights);
}
