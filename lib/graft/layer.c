/* layer: see layer.h.  q = R W (h - mean): whitening W (whiten.c) and each head's own rotation R
 * (rotate.c) are one matrix, the mean a bias; queries are not normed.  The sub-keys of a half are
 * centres of its queries (kmeans.c), of length 1. */
#include "graft/layer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "graft/kmeans.h"
#include "graft/rotate.h"
#include "nn/linear.h"

enum { BATCH = 1024 }; /* samples at a time */
/* streams of random numbers: of a block's rotations, and of its centres */
enum { ROTATIONS = 1, CENTRES = 2 };

static uint64_t stream(const smft__settings *s, int32_t block, uint64_t which) {
  return smft__mix64(smft__mix64(s->o.seed + which) + (uint64_t)block);
}

/* ---- queries ------------------------------------------------------------- */

/* query (H*dk, d) = rotations times directions (rank, d); the bias takes the mean (d) off. */
static void multiply(smft__graft_layer *layer, const smft__settings *s, int64_t d,
                     const double *rotations, const double *directions, const double *mean,
                     double *row) {
  int64_t rank = s->o.rank;
  for (int64_t i = 0; i < smft__settings_width(s); i++) {
    double bias = 0;
    memset(row, 0, (size_t)d * sizeof *row);
    for (int64_t r = 0; r < rank; r++)
      for (int64_t j = 0; j < d; j++)
        row[j] += rotations[i * rank + r] * directions[r * d + j];
    for (int64_t j = 0; j < d; j++) {
      layer->query[i * d + j] = (float)row[j];
      bias -= (double)layer->query[i * d + j] * mean[j];
    }
    layer->query_bias[i] = (float)bias;
  }
}

static void rotate(const smft__settings *s, int32_t block, double *rotations) {
  smft__rng rng;
  smft__rng_seed(&rng, stream(s, block, ROTATIONS));
  for (int32_t h = 0; h < s->o.heads; h++)
    smft__rotation(&rng, rotations + (int64_t)h * s->o.key_dim * s->o.rank, s->o.key_dim,
                   s->o.rank);
}

static smft_status make_queries(smft__graft_layer *layer, const smft__moments *moments,
                                const smft__settings *s, int32_t block) {
  int64_t d = moments->d, rank = s->o.rank, width = smft__settings_width(s);
  smft_ctx *ctx = layer->ctx;
  double *covariance = smft__alloc_array(ctx, d * d, sizeof *covariance);
  double *directions = smft__alloc_array(ctx, rank * d, sizeof *directions);
  double *rotations = smft__alloc_array(ctx, width * rank, sizeof *rotations);
  double *room = smft__alloc_array(ctx, 2 * d, sizeof *room);
  smft_status status = covariance && directions && rotations && room ? SMFT_OK : SMFT_E_NOMEM;
  if (status == SMFT_OK) {
    smft__moments_covariance(moments, covariance);
    smft__moments_mean(moments, room);
    status = smft__whiten(ctx, covariance, d, rank, directions);
  }
  if (status == SMFT_OK) {
    rotate(s, block, rotations);
    multiply(layer, s, d, rotations, directions, room, room + d);
  }
  smft__free(ctx, covariance);
  smft__free(ctx, directions);
  smft__free(ctx, rotations);
  smft__free(ctx, room);
  return status;
}

/* ---- sub-keys ------------------------------------------------------------ */

/* queries (n_samples, H*dk) of the samples; states (BATCH, d): room. */
static void query_samples(const smft__graft_layer *layer, const smft__states *states, int32_t block,
                          int64_t width, float *room, float *queries) {
  smft__tensor weight = smft__tensor_f32(layer->query, width, states->d);
  smft__tensor bias = smft__tensor_f32(layer->query_bias, width, 0);
  for (int64_t i = 0; i < states->n_samples; i += BATCH) {
    int64_t n = states->n_samples - i < BATCH ? states->n_samples - i : BATCH;
    for (int64_t j = 0; j < n; j++)
      memcpy(room + j * states->d, smft__states_sample(states, block, i + j),
             (size_t)states->d * sizeof *room);
    smft__linear_forward(layer->ctx, &weight, &bias, room, n, queries + i * width);
  }
}

typedef struct rounds { /* for progress */
  const smft__settings *settings;
  int32_t block;
} rounds;

static smft_status after_round(void *user, int32_t round) {
  const rounds *r = user;
  int64_t all = r->settings->o.rounds;
  return smft__settings_tell(r->settings, "keys", r->block * all + round + 1,
                             r->settings->o.n_layers * all);
}

static smft_status find_centres(const smft__graft_layer *layer, const smft__states *states,
                                int32_t block, const smft__settings *s) {
  int64_t width = smft__settings_width(s), halves = 2 * (int64_t)s->o.heads;
  smft_ctx *ctx = layer->ctx;
  float *room = smft__alloc_array(ctx, BATCH * states->d, sizeof *room);
  float *queries = smft__alloc_array(ctx, states->n_samples * width, sizeof *queries);
  smft__kmeans args = {queries,     halves,      states->n_samples,        s->o.key_dim / 2,
                       s->o.n_keys, s->o.rounds, stream(s, block, CENTRES)};
  rounds progress = {s, block};
  smft_status status = room && queries ? SMFT_OK : SMFT_E_NOMEM;
  if (status == SMFT_OK) {
    query_samples(layer, states, block, width, room, queries);
    status = smft__kmeans_start(ctx, &args, layer->keys);
  }
  if (status == SMFT_OK)
    status = smft__kmeans_run(ctx, &args, layer->keys, after_round, &progress);
  smft__free(ctx, room);
  smft__free(ctx, queries);
  return status;
}

static smft_status make_keys(const smft__graft_layer *layer, const smft__states *states,
                             int32_t block, const smft__settings *s) {
  int64_t half = s->o.key_dim / 2, n = 2 * (int64_t)s->o.heads * s->o.n_keys;
  if (s->o.keys == SMFT_GRAFT_RANDOM) {
    smft__rng rng;
    smft__rng_seed(&rng, stream(s, block, CENTRES));
    smft__random_units(&rng, layer->keys, n, half);
    return SMFT_OK;
  }
  SMFT__TRY(find_centres(layer, states, block, s));
  smft__to_length_1(layer->keys, n, half);
  return SMFT_OK;
}

smft_status smft__graft_layer_make(smft__graft_layer *layer, const smft__states *states,
                                   int32_t block, const smft__settings *s) {
  int64_t width = smft__settings_width(s);
  smft__graft_layer made = {.ctx = states->ctx};
  made.query = smft__alloc_array(made.ctx, width * states->d, sizeof *made.query);
  made.query_bias = smft__alloc_array(made.ctx, width, sizeof *made.query_bias);
  made.keys = smft__alloc_array(made.ctx, width * s->o.n_keys, sizeof *made.keys);
  *layer = made;
  smft_status status = made.query && made.query_bias && made.keys ? SMFT_OK : SMFT_E_NOMEM;
  if (status == SMFT_OK)
    status = make_queries(layer, &states->blocks[block].moments, s, block);
  if (status == SMFT_OK)
    status = make_keys(layer, states, block, s);
  if (status != SMFT_OK)
    smft__graft_layer_free(layer);
  return status;
}

void smft__graft_layer_free(smft__graft_layer *layer) {
  smft__graft_layer none = {0};
  if (layer->ctx) {
    smft__free(layer->ctx, layer->query);
    smft__free(layer->ctx, layer->query_bias);
    smft__free(layer->ctx, layer->keys);
  }
  *layer = none;
}
