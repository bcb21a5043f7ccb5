/* kept: see kept.h.  Owns the room and the copying; which blocks make it and go on from it is
 * network.c's, whose tokens it holds is known to who asked for it. */
#include "model/kept.h"
#include "base/alloc.h"
#include <string.h>

void smft__kept_init(smft__kept *kept, const smft_model *model) {
  memset(kept, 0, sizeof *kept);
  kept->ctx = model->ctx;
  kept->hidden = model->config.hidden;
  kept->reads = (int64_t)model->config.memory.heads * model->config.memory.top_k;
}

void smft__kept_free(smft__kept *kept) {
  smft__free(kept->ctx, kept->block);
  kept->block = NULL;
  kept->capacity = kept->n_tokens = 0;
}

/* tokens < 2^31, columns <= 2^24 */
static void place(smft__kept *kept, smft__arena *arena, int64_t n_tokens) {
  kept->middle = smft__arena_take(arena, n_tokens * kept->hidden, sizeof *kept->middle);
  kept->slots = smft__arena_take(arena, n_tokens * kept->reads, sizeof *kept->slots);
  kept->weights = smft__arena_take(arena, n_tokens * kept->reads, sizeof *kept->weights);
}

smft_status smft__kept_reserve(smft__kept *kept, int64_t n_tokens) {
  smft__arena arena = {0};
  kept->n_tokens = 0;
  place(kept, &arena, n_tokens);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "the kept lower layers of %lld tokens overflow",
                      (long long)n_tokens);
  if (arena.used > kept->capacity) {
    int64_t needed = arena.used;
    smft__kept_free(kept);
    kept->block = smft__alloc_array(kept->ctx, needed, 1);
    if (!kept->block)
      return SMFT_E_NOMEM;
    kept->capacity = needed;
  }
  arena = (smft__arena){kept->block, 0, kept->capacity};
  place(kept, &arena, n_tokens);
  return SMFT_OK;
}

void smft__kept_store(smft__kept *kept, const float *middle, const smft__memory_tape *memory,
                      int64_t n_tokens) {
  int64_t reads = n_tokens * kept->reads;
  memcpy(kept->middle, middle, (size_t)(n_tokens * kept->hidden) * sizeof *middle);
  memcpy(kept->slots, memory->slots, (size_t)reads * sizeof *memory->slots);
  memcpy(kept->weights, memory->weights, (size_t)reads * sizeof *memory->weights);
  kept->n_tokens = n_tokens;
}

void smft__kept_fetch(const smft__kept *kept, int64_t begin, int64_t n_tokens, float *middle,
                      smft__memory_tape *memory, int64_t to) {
  int64_t from = begin * kept->reads, at = to * kept->reads, reads = n_tokens * kept->reads;
  memcpy(middle + to * kept->hidden, kept->middle + begin * kept->hidden,
         (size_t)(n_tokens * kept->hidden) * sizeof *middle);
  memcpy(memory->slots + at, kept->slots + from, (size_t)reads * sizeof *memory->slots);
  memcpy(memory->weights + at, kept->weights + from, (size_t)reads * sizeof *memory->weights);
}
