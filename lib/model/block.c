/* block: x += attention(norm(x)); x += ffn(norm(x)), or memory, or both; in some families what
 * attention and FFN give is normed, too, what a memory gives never is.  Owns the order of a
 * block's parts, forward and backward side by side, and the layout of its activations; owns no
 * memory and no weights. */
#include "model/block.h"

#include "base/alloc.h"
#include "nn/ffn.h"

/* ---- activations --------------------------------------------------------- */

/* (n_tokens, columns), or NULL where it is not kept */
static float *floats_if(int kept, smft__arena *arena, int64_t n_tokens, int64_t columns) {
  return kept ? smft__arena_floats(arena, n_tokens, columns) : NULL;
}

/* What some families norm on the way: backward wants it as it was before. */
static void place_raw(smft__block_tape *tape, smft__arena *arena, const smft__config *c,
                      int64_t n_tokens, int backward) {
  int heads = backward && c->blocks[0].qk_norm != SMFT__QK_NORM_NONE;
  int after = backward && (c->blocks[0].norms & SMFT__NORMS_AFTER);
  tape->raw_q = floats_if(heads, arena, n_tokens, smft__q_width(c));
  tape->raw_k = floats_if(heads, arena, n_tokens, smft__kv_width(c));
  tape->inv_rms_q = floats_if(heads, arena, n_tokens, c->n_heads);
  tape->inv_rms_k = floats_if(heads, arena, n_tokens, c->n_kv_heads);
  tape->raw_o = floats_if(after, arena, n_tokens, c->hidden);
  tape->raw_down = floats_if(after, arena, n_tokens, c->hidden);
  tape->inv_rms_o = floats_if(after, arena, n_tokens, 1);
  tape->inv_rms_down = floats_if(after, arena, n_tokens, 1);
}

void smft__block_tape_place(smft__block_tape *tape, smft__arena *arena, const smft__config *c,
                            int64_t n_tokens, int backward) {
  tape->past_k = tape->past_v = NULL;
  tape->inv_rms1 = backward ? smft__arena_floats(arena, n_tokens, 1) : NULL;
  tape->inv_rms2 = backward ? smft__arena_floats(arena, n_tokens, 1) : NULL;
  tape->log_sum = backward ? smft__arena_floats(arena, n_tokens, c->n_heads) : NULL;
  tape->normed = smft__arena_floats(arena, n_tokens, c->hidden);
  tape->hidden = backward ? smft__arena_floats(arena, n_tokens, c->hidden) : tape->normed;
  tape->middle = smft__arena_floats(arena, n_tokens, c->hidden);
  tape->q = smft__arena_floats(arena, n_tokens, smft__q_width(c));
  tape->attention = smft__arena_floats(arena, n_tokens, smft__q_width(c));
  tape->gate = smft__arena_floats(arena, n_tokens, c->ffn);
  tape->up = smft__arena_floats(arena, n_tokens, c->ffn);
  tape->act = backward ? smft__arena_floats(arena, n_tokens, c->ffn) : tape->gate;
  place_raw(tape, arena, c, n_tokens, backward);
  tape->memory_out =
      c->placement == SMFT_PLACEMENT_BESIDE ? smft__arena_floats(arena, n_tokens, c->hidden) : NULL;
}

void smft__block_scratch_place(smft__block_scratch *scratch, smft__arena *arena,
                               const smft__config *c, int64_t n_tokens) {
  scratch->d_hidden = smft__arena_floats(arena, n_tokens, c->hidden);
  scratch->d_branch = smft__arena_floats(arena, n_tokens, c->hidden);
  scratch->d_gate = smft__arena_floats(arena, n_tokens, c->ffn);
  scratch->d_up = smft__arena_floats(arena, n_tokens, c->ffn);
  scratch->d_attention = smft__arena_floats(arena, n_tokens, smft__q_width(c));
  scratch->dq = smft__arena_floats(arena, n_tokens, smft__q_width(c));
  scratch->dk = smft__arena_floats(arena, n_tokens, smft__kv_width(c));
  scratch->dv = smft__arena_floats(arena, n_tokens, smft__kv_width(c));
}

/* ---- the block ----------------------------------------------------------- */

/* From the normed middle to out. */
static void finish(const smft__batch_shape *shape, const smft__block_view *w,
                   const smft__block_tape *t, float *out) {
  smft__block_branch_forward(shape, w, t, out);
  smft__add_scaled(shape->ctx, out, t->middle, 1, shape->n_tokens * shape->config->hidden);
}

void smft__block_lookup(const smft__batch_shape *shape, const smft__block_view *w,
                        const smft__block_tape *t) {
  smft__block_attention_forward(shape, w, t);
  smft__block_branch_norm(shape, w, t);
  if (smft__block_remembers(shape, w))
    smft__memory_lookup(shape->ctx, &w->memory, t->hidden, shape->n_tokens, t->memory);
}

void smft__block_resume(const smft__batch_shape *shape, const smft__block_view *w,
                        const smft__block_tape *t, float *out) {
  smft__block_branch_norm(shape, w, t);
  finish(shape, w, t, out);
}

void smft__block_forward(const smft__batch_shape *shape, const smft__block_view *w,
                         const smft__block_tape *t, float *out) {
  smft__block_lookup(shape, w, t);
  finish(shape, w, t, out);
}

void smft__block_backward(const smft__batch_shape *shape, const smft__block_view *w,
                          const smft__block_tape *t, const smft__block_scratch *s,
                          const smft__block_grads *g, int32_t depth, float *dx) {
  smft__block_branch_backward(shape, w, t, s, g, depth, dx);
  if (depth > SMFT__BACK_BRANCH)
    smft__block_attention_backward(shape, w, t, s, g, depth, dx);
}
