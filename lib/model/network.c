/* network: a pass over a batch of whole sequences, forward to the loss and back.  Owns what a batch
 * may be, and where a forward pass begins and ends; activations are tape.c's, the way through the
 * blocks stack.c's, logits and loss head.c's. */
#include "model/network.h"

#include <math.h>
#include <string.h>

/* ---- what a batch may be ------------------------------------------------- */

static smft_status check_length(const smft_model *model, int64_t s, int64_t length) {
  if (length > model->config.context)
    return smft__fail(SMFT_E_CONTEXT, "sequence %lld has %lld tokens, the context is %d",
                      (long long)s, (long long)length, model->config.context);
  return SMFT_OK;
}

static smft_status check_sequence(const smft_model *model, const smft__sequences *batch,
                                  int64_t s) {
  int64_t begin = batch->offsets[s], length = batch->offsets[s + 1] - begin;
  if (begin < 0 || length < 1 || begin + length > batch->n_tokens)
    return smft__fail(SMFT_E_INVALID, "sequence %lld: from token %lld, %lld tokens, of %lld",
                      (long long)s, (long long)begin, (long long)length,
                      (long long)batch->n_tokens);
  SMFT__TRY(check_length(model, s, length));
  for (int64_t i = begin; i < begin + length; i++)
    if (batch->ids[i] < 0 || batch->ids[i] >= model->config.vocab)
      return smft__fail(SMFT_E_TOKEN, "sequence %lld: token %lld is id %d, the vocabulary has %d",
                        (long long)s, (long long)(i - begin), batch->ids[i], model->config.vocab);
  return SMFT_OK;
}

static smft_status check_batch(const smft_model *model, const smft__version *version,
                               const smft__sequences *batch) {
  SMFT__REQUIRE(batch->n_sequences > 0 && batch->n_tokens > 0 &&
                    batch->n_tokens < SMFT__MOST_TOKENS,
                "a batch of %lld sequences, %lld tokens", (long long)batch->n_sequences,
                (long long)batch->n_tokens);
  SMFT__REQUIRE(!version || version->model == model, "the patch is of another model");
  SMFT__REQUIRE(batch->offsets[0] == 0 && batch->offsets[batch->n_sequences] == batch->n_tokens,
                "offsets do not span the tokens");
  for (int64_t s = 0; s < batch->n_sequences; s++)
    SMFT__TRY(check_sequence(model, batch, s));
  return SMFT_OK;
}

static float weight_of(const smft__sequences *batch, int64_t i) {
  return batch->weights ? batch->weights[i] : 1;
}

static smft_status count_supervised(const smft__sequences *batch, int64_t *m, double *sum) {
  *m = 0;
  *sum = 0;
  for (int64_t s = 0; s < batch->n_sequences; s++)
    for (int64_t i = batch->offsets[s] + 1; i < batch->offsets[s + 1]; i++) {
      float weight = weight_of(batch, i);
      *m += weight < 0 || weight > 0 || isnan(weight);
      *sum += (double)weight;
    }
  SMFT__REQUIRE(*m > 0, "no token of the batch is supervised");
  SMFT__REQUIRE(isfinite(*sum) && *sum > 0,
                "the token weights of the batch do not add up to a positive number");
  return SMFT_OK;
}

static void fill(smft__tape *tape, const smft__sequences *batch) {
  memcpy(tape->ids, batch->ids, (size_t)batch->n_tokens * sizeof *tape->ids);
  for (int64_t s = 0; s < batch->n_sequences; s++) {
    memset(&tape->segments[s], 0, sizeof tape->segments[s]);
    tape->segments[s].n_q = batch->offsets[s + 1] - batch->offsets[s];
    for (int64_t i = batch->offsets[s]; i < batch->offsets[s + 1]; i++)
      tape->positions[i] = (int32_t)(i - batch->offsets[s]);
  }
}

static smft_status begin(smft__tape *tape, const smft__version *version,
                         const smft__sequences *batch, int keep, int64_t m) {
  int64_t longest = 0;
  for (int64_t s = 0; s < batch->n_sequences; s++)
    if (batch->offsets[s + 1] - batch->offsets[s] > longest)
      longest = batch->offsets[s + 1] - batch->offsets[s];
  SMFT__TRY(smft__tape_begin(tape, version, batch->n_tokens, batch->n_sequences, longest, m, keep));
  fill(tape, batch);
  return SMFT_OK;
}

static void fill_head(smft__head_tape *head, const smft__sequences *batch, double sum) {
  int64_t m = 0;
  for (int64_t s = 0; s < batch->n_sequences; s++)
    for (int64_t i = batch->offsets[s] + 1; i < batch->offsets[s + 1]; i++) {
      float weight = weight_of(batch, i);
      if (!(weight < 0 || weight > 0))
        continue;
      head->rows[m] = i - 1;
      head->targets[m] = batch->ids[i];
      head->scale[m++] = (float)((double)weight / sum);
    }
}

/* ---- a pass -------------------------------------------------------------- */

static smft__pass pass_of(const smft__tape *tape, const smft__version *version,
                          const atomic_int *cancel) {
  smft__pass pass = {.model = tape->model,
                     .version = version,
                     .shape = {tape->model->ctx, &tape->model->config, tape->positions,
                               tape->segments, tape->keep ? tape->grads : NULL, tape->n_sequences,
                               tape->n_tokens, tape->scratch, tape->adapted, 0},
                     .tapes = tape->blocks,
                     .x = tape->x,
                     .cancel = cancel};
  return pass;
}

/* Counting reads needs no block above the highest memory layer, and of that one's only the slots.
 */
static int32_t blocks_needed(const smft_model *model, int with_head) {
  const smft__config *c = &model->config;
  return with_head ? c->n_layers : c->n_memories ? c->memories[c->n_memories - 1].layer + 1 : 0;
}

/* ---- forward ------------------------------------------------------------- */

static smft_status finish_loss(const smft__tape *tape, double *loss) {
  double sum = 0;
  for (int64_t i = 0; i < tape->head.m; i++)
    sum += (double)tape->head.scale[i] * (double)tape->head.nll[i];
  if (!isfinite(sum))
    return smft__fail(
        SMFT_E_NONFINITE,
        "the loss is not finite: a weight of the model or the patch is NaN, infinite or too large");
  if (loss)
    *loss = sum;
  return SMFT_OK;
}

void smft__network_losses(const smft__tape *tape, double *losses) {
  const smft__head_tape *head = &tape->head;
  int64_t i = 0, end = 0;
  for (int64_t s = 0; s < tape->n_sequences; s++) {
    double sum = 0, scale = 0;
    end += tape->segments[s].n_q;
    for (; i < head->m && head->rows[i] < end; i++) {
      sum += (double)head->scale[i] * (double)head->nll[i];
      scale += (double)head->scale[i];
    }
    losses[s] = scale > 0 ? sum / scale : 0;
  }
}

static int64_t past_of(const smft__kept_batch *kept, int64_t s) {
  return kept->lead ? kept->past.n[s] : 0;
}

static smft_status check_past(const smft_model *model, const smft__sequences *batch,
                              const smft__kept_batch *kept, int64_t s) {
  int64_t past = past_of(kept, s), length = batch->offsets[s + 1] - batch->offsets[s];
  int64_t at = past == 0 ? 0 : kept->past.at[s];
  SMFT__REQUIRE(past == 0 || (past > 0 && at >= 0 && at + past <= kept->lead->n_tokens),
                "sequence %lld: tokens %lld to %lld before it, of %lld that are there",
                (long long)s, (long long)at, (long long)(at + past),
                (long long)kept->lead->n_tokens);
  return check_length(model, s, past + length);
}

/* Where each sequence's tokens are among those that are kept. */
static smft_status check_kept(const smft_model *model, const smft__version *version,
                              const smft__sequences *batch, const smft__kept_batch *kept,
                              int keep) {
  SMFT__REQUIRE(keep != SMFT__KEEP_ALL, "kept layers have not all that any backward pass needs");
  SMFT__REQUIRE(model->config.n_memories > 0 && (!version || version->kind == SMFT_PATCH_SLOTS),
                "kept layers are for slots patches only");
  for (int64_t s = 0; s < batch->n_sequences; s++) {
    int64_t begin = kept->begins[s], end = begin + batch->offsets[s + 1] - batch->offsets[s];
    SMFT__REQUIRE(begin >= 0 && end <= kept->layers->n_tokens,
                  "sequence %lld: tokens %lld to %lld of %lld that are kept", (long long)s,
                  (long long)begin, (long long)end, (long long)kept->layers->n_tokens);
    SMFT__TRY(check_past(model, batch, kept, s));
  }
  return SMFT_OK;
}

static void fetch(smft__tape *tape, const smft__sequences *batch, const smft__kept_batch *kept) {
  const smft__block_tape *lowest = &tape->blocks[tape->model->config.memories[0].layer];
  for (int64_t s = 0; s < batch->n_sequences; s++)
    smft__kept_fetch(kept->layers, kept->begins[s], batch->offsets[s + 1] - batch->offsets[s],
                     lowest->middle, lowest->memory, batch->offsets[s]);
}

/* Sequence s stands behind a past, whose first row is at `at`. */
static void move_behind(smft__tape *tape, const smft__sequences *batch, int64_t s, int64_t past,
                        int64_t at) {
  tape->segments[s].n_past = past;
  tape->segments[s].past_at = at;
  for (int64_t i = batch->offsets[s]; i < batch->offsets[s + 1]; i++)
    tape->positions[i] += (int32_t)past;
}

/* Tokens with a past stand behind it. */
static void put_behind(smft__tape *tape, const smft__sequences *batch,
                       const smft__kept_batch *kept) {
  if (!kept->lead)
    return;
  smft__lead_point(kept->lead, tape->blocks);
  for (int64_t s = 0; s < batch->n_sequences; s++) {
    int64_t past = kept->past.n[s];
    move_behind(tape, batch, s, past, past ? kept->past.at[s] : 0);
  }
}

smft_status smft__network_forward_kept(smft__tape *tape, const smft__version *version,
                                       const smft__sequences *batch, const smft__kept_batch *kept,
                                       int keep, double *loss, const atomic_int *cancel) {
  const smft_model *model = tape->model;
  int with_head = keep || loss;
  int64_t m = 0;
  double sum = 0;
  SMFT__TRY(check_batch(model, version, batch));
  if (kept)
    SMFT__TRY(check_kept(model, version, batch, kept, keep));
  if (with_head)
    SMFT__TRY(count_supervised(batch, &m, &sum));
  SMFT__TRY(begin(tape, version, batch, keep, m));
  smft__pass pass = pass_of(tape, version, cancel);
  if (kept) {
    fetch(tape, batch, kept);
    put_behind(tape, batch, kept);
  } else
    smft__stack_embed(&pass, tape->ids);
  SMFT__TRY(smft__stack_run(&pass, kept ? model->config.memories[0].layer : 0,
                            blocks_needed(model, with_head), kept ? SMFT__RESUME : SMFT__WHOLE,
                            with_head ? SMFT__WHOLE : SMFT__LOOKUP));
  if (with_head) {
    fill_head(&tape->head, batch, sum);
    smft__head_forward(model, version, &tape->head, tape->x, keep);
    SMFT__TRY(finish_loss(tape, loss));
  }
  tape->ready = 1;
  return SMFT_OK;
}

smft_status smft__network_forward(smft__tape *tape, const smft__version *version,
                                  const smft__sequences *batch, int keep, double *loss,
                                  const atomic_int *cancel) {
  return smft__network_forward_kept(tape, version, batch, NULL, keep, loss, cancel);
}

/* The first sequence's keys and values are what the others stand behind, in every block. */
static void put_behind_first(smft__tape *tape, const smft__sequences *batch, int32_t n_blocks,
                             int64_t n_shared) {
  for (int32_t layer = 0; layer < n_blocks; layer++) {
    tape->blocks[layer].past_k = tape->blocks[layer].k;
    tape->blocks[layer].past_v = tape->blocks[layer].v;
  }
  for (int64_t s = 1; s < batch->n_sequences; s++)
    move_behind(tape, batch, s, n_shared, 0);
}

smft_status smft__network_reads(smft__tape *tape, const smft__sequences *batch, int64_t n_shared,
                                const atomic_int *cancel) {
  const smft_model *model = tape->model;
  int32_t n_blocks = blocks_needed(model, 0);
  SMFT__TRY(check_batch(model, NULL, batch));
  SMFT__REQUIRE(n_shared >= 0 && n_shared <= batch->offsets[1],
                "%lld shared tokens, the first sequence has %lld", (long long)n_shared,
                (long long)batch->offsets[1]);
  for (int64_t s = 1; s < batch->n_sequences; s++)
    SMFT__TRY(check_length(model, s, n_shared + batch->offsets[s + 1] - batch->offsets[s]));
  SMFT__TRY(begin(tape, NULL, batch, SMFT__KEEP_NOTHING, 0));
  smft__pass pass = pass_of(tape, NULL, cancel);
  put_behind_first(tape, batch, n_blocks, n_shared);
  smft__stack_embed(&pass, tape->ids);
  SMFT__TRY(smft__stack_run(&pass, 0, n_blocks, SMFT__WHOLE, SMFT__LOOKUP));
  tape->ready = 1;
  return SMFT_OK;
}

smft_status smft__network_keep(smft__tape *tape, const smft__sequences *batch, smft__kept *layers,
                               const atomic_int *cancel) {
  const smft_model *model = tape->model;
  SMFT__REQUIRE(model->config.n_memories > 0, "keeping layers needs a memory layer");
  SMFT__TRY(check_batch(model, NULL, batch));
  SMFT__TRY(smft__kept_reserve(layers, batch->n_tokens));
  SMFT__TRY(begin(tape, NULL, batch, SMFT__KEEP_NOTHING, 0));
  int32_t lowest = model->config.memories[0].layer;
  smft__pass pass = pass_of(tape, NULL, cancel);
  smft__stack_embed(&pass, tape->ids);
  SMFT__TRY(smft__stack_run(&pass, 0, lowest + 1, SMFT__WHOLE, SMFT__LOOKUP));
  smft__kept_store(layers, tape->blocks[lowest].middle, tape->blocks[lowest].memory,
                   batch->n_tokens);
  return SMFT_OK;
}

smft_status smft__network_states(smft__tape *tape, const smft__sequences *batch,
                                 const int32_t *layers, int32_t n, smft__state_fn each,
                                 void *user) {
  SMFT__TRY(check_batch(tape->model, NULL, batch));
  SMFT__TRY(begin(tape, NULL, batch, SMFT__KEEP_NOTHING, 0));
  smft__pass pass = pass_of(tape, NULL, NULL);
  smft__stack_embed(&pass, tape->ids);
  for (int32_t i = 0; i < n; i++) {
    SMFT__TRY(smft__stack_run(&pass, i ? layers[i - 1] : 0, layers[i] + 1,
                              i ? SMFT__RESUME : SMFT__WHOLE, SMFT__LOOKUP));
    SMFT__TRY(each(user, i, tape->blocks[layers[i]].hidden));
  }
  return SMFT_OK;
}

smft_status smft__network_share(smft__tape *tape, const smft__version *version,
                                const smft__sequences *some, const smft__kept_batch *kept,
                                smft__lead *lead, const atomic_int *cancel) {
  const smft_model *model = tape->model;
  SMFT__TRY(check_batch(model, version, some));
  SMFT__REQUIRE(kept->lead == lead, "what goes on from a lead goes into it");
  SMFT__TRY(check_kept(model, version, some, kept, SMFT__KEEP_VALUES));
  for (int64_t s = 0; s < some->n_sequences; s++)
    SMFT__REQUIRE(kept->past.at[s] >= 0 && kept->past.at[s] + kept->past.n[s] +
                                                   some->offsets[s + 1] - some->offsets[s] <=
                                               lead->n_tokens,
                  "sequence %lld: the lead has room for %lld tokens", (long long)s,
                  (long long)lead->n_tokens);
  SMFT__TRY(begin(tape, version, some, SMFT__KEEP_VALUES, 0)); /* whose blocks have own k */
  smft__pass pass = pass_of(tape, version, cancel);
  fetch(tape, some, kept);
  put_behind(tape, some, kept);
  SMFT__TRY(smft__stack_run(&pass, model->config.memories[0].layer, model->config.n_layers,
                            SMFT__RESUME, SMFT__WHOLE));
  for (int64_t s = 0; s < some->n_sequences; s++)
    smft__lead_store(lead, tape->blocks, some->offsets[s], some->offsets[s + 1] - some->offsets[s],
                     kept->past.at[s] + kept->past.n[s]);
  tape->ready = tape->spent = 1;
  return SMFT_OK;
}

/* ---- backward ------------------------------------------------------------ */

smft_status smft__network_backward(smft__tape *tape, const smft__version *version,
                                   const smft__grads *grads, const atomic_int *cancel) {
  if (!tape->ready || !tape->keep)
    return smft__fail(SMFT_E_STATE, "backward needs a forward pass that kept its activations");
  if (tape->keep == SMFT__KEEP_VALUES && (grads->tensors || grads->adapters || tape->spent))
    return smft__fail(
        SMFT_E_STATE,
        "backward to tensors, or a second one, needs a forward pass that kept all activations");
  if (smft__patch_rank(version) != tape->rank)
    return smft__fail(
        SMFT_E_STATE,
        "backward needs the patch of the forward pass: its adapters have another rank");
  tape->spent = 1;
  smft__pass pass = pass_of(tape, version, cancel);
  smft__head_backward(tape->model, version, &tape->head, grads, tape->n_tokens, tape->dx);
  return smft__stack_backward(&pass, &tape->back, grads, tape->ids, tape->dx);
}
