/* states: see states.h.  One pass: nothing that is grafted changes a state, as long as its values
 * are zero, so all blocks' states come together. */
#include "graft/states.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

typedef struct collector {
  smft__states *states;
  const int32_t *layers;
  int64_t token;       /* the group's first */
  int64_t sample, end; /* picked tokens of the group */
} collector;

/* m of n, each as likely as another, in order. */
static void pick(smft__rng *rng, int64_t n, int64_t m, int64_t *picked) {
  int64_t chosen = 0;
  for (int64_t i = 0; i < n && chosen < m; i++)
    if (smft__rng_below(rng, n - i) < m - chosen)
      picked[chosen++] = i;
}

/* ---- room ---------------------------------------------------------------- */

static int is_kept(const smft__states *s, int64_t keep_bytes) {
  int64_t numbers = 0, bytes = 0;
  return smft__mul_i64(s->n_tokens, s->d * s->n_blocks, &numbers) &&
         smft__mul_i64(numbers, (int64_t)sizeof(float), &bytes) && bytes <= keep_bytes;
}

static smft_status reserve(smft__states *s, const smft__settings *settings) {
  int kept = is_kept(s, settings->o.keep_bytes);
  smft__rng rng;
  s->blocks = smft__calloc_array(s->ctx, s->n_blocks, sizeof *s->blocks);
  s->picked = smft__alloc_array(s->ctx, s->n_samples, sizeof *s->picked);
  if (!s->blocks || !s->picked)
    return SMFT_E_NOMEM;
  smft__rng_seed(&rng, settings->o.seed);
  pick(&rng, s->n_tokens, s->n_samples, s->picked);
  for (int32_t b = 0; b < s->n_blocks; b++) {
    smft__states_block *block = &s->blocks[b];
    float **room = kept ? &block->all : &block->samples;
    SMFT__TRY(smft__moments_create(&block->moments, s->ctx, s->d));
    *room = smft__alloc_array(s->ctx, (kept ? s->n_tokens : s->n_samples) * s->d, sizeof **room);
    if (!*room)
      return SMFT_E_NOMEM;
  }
  return SMFT_OK;
}

void smft__states_free(smft__states *s) {
  smft__states none = {0};
  for (int32_t b = 0; s->blocks && b < s->n_blocks; b++) {
    if (s->blocks[b].moments.ctx)
      smft__moments_free(&s->blocks[b].moments);
    smft__free(s->ctx, s->blocks[b].all);
    smft__free(s->ctx, s->blocks[b].samples);
  }
  if (s->ctx) {
    smft__free(s->ctx, s->blocks);
    smft__free(s->ctx, s->picked);
  }
  *s = none;
}

/* ---- the pass ------------------------------------------------------------ */

static smft_status take_states(void *user, int32_t which, const float *h) {
  const collector *c = user;
  const smft__states *s = c->states;
  smft__states_block *block = &s->blocks[which];
  int64_t n = c->end - c->token;
  if (block->all)
    memcpy(block->all + c->token * s->d, h, (size_t)(n * s->d) * sizeof *h);
  for (int64_t i = c->sample; !block->all && i < s->n_samples && s->picked[i] < c->end; i++)
    memcpy(block->samples + i * s->d, h + (s->picked[i] - c->token) * s->d,
           (size_t)s->d * sizeof *h);
  smft_status status = smft__moments_add(&block->moments, h, n);
  return status == SMFT_OK ? status : smft__fail_within(status, "block %d", (int)c->layers[which]);
}

static smft_status collect(smft__states *s, smft__tape *tape, const smft__settings *settings,
                           const smft__texts *texts) {
  collector c = {.states = s, .layers = settings->layers};
  for (int64_t g = 0; g < texts->n_groups; g++) {
    smft__sequences batch = smft__texts_sequences(texts, g);
    c.end = c.token + batch.n_tokens;
    SMFT__TRY(smft__network_states(tape, &batch, settings->layers, s->n_blocks, take_states, &c));
    c.token = c.end;
    while (c.sample < s->n_samples && s->picked[c.sample] < c.end)
      c.sample++;
    SMFT__TRY(smft__settings_tell(settings, "states", c.token, s->n_tokens));
  }
  return SMFT_OK;
}

static smft_status check_tokens(const smft__states *s, const smft__settings *settings) {
  int64_t rank = settings->o.rank, keys = settings->o.n_keys;
  SMFT__REQUIRE(s->n_tokens > rank,
                "smft_graft: the sources have %lld tokens: too few for a rank of %lld",
                (long long)s->n_tokens, (long long)rank);
  SMFT__REQUIRE(settings->o.keys != SMFT_GRAFT_KMEANS || s->n_samples >= keys,
                "smft_graft: %lld samples of %lld tokens are too few for %lld sub-keys",
                (long long)s->n_samples, (long long)s->n_tokens, (long long)keys);
  return SMFT_OK;
}

smft_status smft__states_collect(smft__states *s, const smft_model *model,
                                 const smft__settings *settings, const smft__texts *texts) {
  smft__states made = {.ctx = model->ctx,
                       .n_blocks = settings->o.n_layers,
                       .d = model->config.hidden,
                       .n_tokens = texts->ids.n};
  smft__tape *tape = NULL;
  if (settings->o.keys == SMFT_GRAFT_KMEANS)
    made.n_samples = settings->o.samples < made.n_tokens ? settings->o.samples : made.n_tokens;
  *s = made;
  SMFT__TRY(check_tokens(s, settings));
  smft_status status = reserve(s, settings);
  if (status == SMFT_OK)
    status = smft__tape_create(&tape, model);
  if (status == SMFT_OK)
    status = collect(s, tape, settings, texts);
  smft__tape_free(tape);
  if (status != SMFT_OK)
    smft__states_free(s);
  return status;
}
