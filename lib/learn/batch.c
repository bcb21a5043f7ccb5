/* batch: see batch.h.  Owns the draw of wordings and every complaint about a host's batch; what is
 * done with a batch is the step's affair. */
#include "learn/batch.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "base/rng.h"
#include <math.h>

void smft__batch_free(smft__batch_room *room) {
  smft__free(room->ctx, room->ids);
  smft__free(room->ctx, room->weights);
  smft__free(room->ctx, room->offsets);
  smft__free(room->ctx, room->begins);
  smft__free(room->ctx, room->past);
  smft__free(room->ctx, room->past_at);
  smft__free(room->ctx, room->order);
}

static smft_status reserve(smft__batch_room *room, int64_t n_tokens, int64_t n_sequences) {
  smft_ctx *ctx = room->ctx;
  SMFT__TRY(smft__grow(ctx, &room->ids, &room->ids_capacity, n_tokens, sizeof *room->ids));
  SMFT__TRY(
      smft__grow(ctx, &room->weights, &room->weights_capacity, n_tokens, sizeof *room->weights));
  SMFT__TRY(
      smft__grow(ctx, &room->begins, &room->begins_capacity, n_sequences, sizeof *room->begins));
  SMFT__TRY(smft__grow(ctx, &room->past, &room->past_capacity, n_sequences, sizeof *room->past));
  SMFT__TRY(
      smft__grow(ctx, &room->past_at, &room->past_at_capacity, n_sequences, sizeof *room->past_at));
  return smft__grow(ctx, &room->offsets, &room->offsets_capacity, n_sequences + 1,
                    sizeof *room->offsets);
}

/* ---- of a fact ----------------------------------------------------------- */

int64_t smft__batch_n_drawn(const smft__fact *fact, int64_t per_step) {
  return per_step < 0 || per_step > fact->n_wordings ? fact->n_wordings : per_step;
}

void smft__batch_largest(const smft__fact *fact, int64_t n, int64_t *tokens, int64_t *supervised) {
  int64_t longest = 0, most = 0, all = 0;
  for (int64_t w = 0; w < fact->n_wordings; w++) {
    int64_t length = fact->offsets[w + 1] - fact->offsets[w], learnt = 0;
    for (int64_t i = fact->offsets[w]; i < fact->offsets[w + 1]; i++)
      learnt += fact->weights[i] != 0;
    longest = length > longest ? length : longest;
    most = learnt > most ? learnt : most;
    all += learnt;
  }
  *tokens = n * longest < fact->n_tokens ? n * longest : fact->n_tokens;
  *supervised = n * most < all ? n * most : all;
}

static void swap(int64_t *order, int64_t i, int64_t j) {
  int64_t one = order[i];
  order[i] = order[j];
  order[j] = one;
}

/* Which wordings: the first `n` of `end` that are shuffled.  It depends on the seed, the fact and
 * its step only, so that a step which failed draws the same again. */
static smft_status shuffle(smft__batch_room *room, const smft__fact *fact, int64_t n, int64_t end,
                           uint64_t seed) {
  smft__rng rng;
  SMFT__TRY(smft__grow(room->ctx, &room->order, &room->order_capacity, fact->n_wordings,
                       sizeof *room->order));
  for (int64_t i = 0; i < fact->n_wordings; i++)
    room->order[i] = i;
  uint64_t name = smft__hash_bytes(fact->id, strlen(fact->id));
  smft__rng_seed(&rng, smft__mix64(seed + name) + (uint64_t)fact->steps);
  for (int64_t i = 0; i < end && n < fact->n_wordings; i++)
    swap(room->order, i, i + smft__rng_below(&rng, fact->n_wordings - i));
  return SMFT_OK;
}

/* Those that are not learnt come first, shuffled as they are. */
static void take_first(int64_t *order, int64_t n, const double *losses, double below) {
  int64_t front = 0;
  for (int64_t i = 0; i < n; i++)
    if (!(losses[order[i]] < below))
      swap(order, front++, i);
}

smft_status smft__batch_take(smft__batch_room *room, const smft__fact *fact, const int64_t *order,
                             int64_t n, const smft__pasts *past, const int64_t *ends,
                             smft__sequences *batch) {
  SMFT__TRY(reserve(room, fact->n_tokens, n));
  int64_t at = room->offsets[0] = 0;
  for (int64_t s = 0; s < n; s++) {
    int64_t w = order ? order[s] : s;
    room->past[s] = past ? past->n[w] : 0;
    room->past_at[s] = past ? past->at[w] : 0;
    int64_t begin = fact->offsets[w] + room->past[s];
    int64_t length = (ends ? fact->offsets[w] + ends[w] : fact->offsets[w + 1]) - begin;
    memcpy(room->ids + at, fact->ids.data + begin, (size_t)length * sizeof *room->ids);
    memcpy(room->weights + at, fact->weights + begin, (size_t)length * sizeof *room->weights);
    room->offsets[s + 1] = at += length;
    room->begins[s] = begin;
  }
  *batch = (smft__sequences){room->ids, room->offsets, n, at, room->weights};
  return SMFT_OK;
}

smft_status smft__batch_draw(smft__batch_room *room, const smft__fact *fact, int64_t n,
                             uint64_t seed, const double *losses, double below,
                             const smft__pasts *past, smft__sequences *batch) {
  SMFT__TRY(shuffle(room, fact, n, losses ? fact->n_wordings : n, seed));
  if (losses && n < fact->n_wordings)
    take_first(room->order, fact->n_wordings, losses, below);
  return smft__batch_take(room, fact, room->order, n, past, NULL, batch);
}

smft__pasts smft__batch_pasts(const smft__batch_room *room) {
  return (smft__pasts){room->past, room->past_at};
}

/* ---- of a host ----------------------------------------------------------- */

static smft_status check_sequence(const smft_model *model, const smft_batch *batch, int64_t s,
                                  int64_t begin) {
  int64_t n = batch->lengths[s];
  SMFT__REQUIRE(n > 0, "smft_batch.lengths[%lld] is %lld", (long long)s, (long long)n);
  if (n > model->config.context)
    return smft__fail(SMFT_E_CONTEXT,
                      "smft_batch: sequence %lld has %lld tokens, the model's context holds %d",
                      (long long)s, (long long)n, (int)model->config.context);
  for (int64_t i = begin; i < begin + n; i++) {
    if (batch->ids[i] < 0 || batch->ids[i] >= model->config.vocab)
      return smft__fail(
          SMFT_E_TOKEN,
          "smft_batch: sequence %lld, token %lld: id %d is outside the vocabulary of %d",
          (long long)s, (long long)(i - begin), (int)batch->ids[i], (int)model->config.vocab);
    SMFT__REQUIRE(!batch->token_weights || isfinite(batch->token_weights[i]),
                  "smft_batch.token_weights[%lld] is not finite", (long long)i);
  }
  return SMFT_OK;
}

/* Offsets and weights as the network wants them; a sequence's first token has weight 0. */
smft_status smft__batch_read(smft__batch_room *room, const smft_model *model,
                             const smft_batch *given, smft__sequences *batch) {
  SMFT__REQUIRE(given->ids && given->lengths && given->n_sequences > 0,
                "smft_batch: ids or lengths are NULL, or there is no sequence");
  SMFT__TRY(reserve(room, 0, given->n_sequences));
  double sum = 0;
  int64_t at = room->offsets[0] = 0;
  for (int64_t s = 0; s < given->n_sequences; s++) {
    SMFT__TRY(check_sequence(model, given, s, at));
    SMFT__TRY(reserve(room, at + given->lengths[s], given->n_sequences));
    for (int64_t i = 0; i < given->lengths[s]; i++) {
      float weight = given->token_weights ? given->token_weights[at + i] : 1;
      room->weights[at + i] = i > 0 ? weight : 0;
      sum += i > 0 ? (double)weight : 0;
    }
    room->offsets[s + 1] = at += given->lengths[s];
  }
  SMFT__REQUIRE(sum > 0,
                "smft_batch: the weights of the predicted tokens do not add up to more than 0");
  *batch = (smft__sequences){given->ids, room->offsets, given->n_sequences, at, room->weights};
  return SMFT_OK;
}
