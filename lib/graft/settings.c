/* settings: see settings.h.  Owns the table of defaults, as they were measured (docs/graft.md). */
#include "graft/settings.h"

#include <math.h>
#include <stddef.h>

/* ---- the table ----------------------------------------------------------- */

static const smft_graft_options usual = {
    .tokens_per_sequence = 96,
    .n_keys = 1024,
    .heads = 4,
    .top_k = 4,
    .key_dim = 64,
    .rank = 256,
    .keys = SMFT_GRAFT_KMEANS,
    .rounds = 10,
    .samples = 40000,
    .temperature = 1,
    .keep_bytes = (int64_t)1 << 30,
    /* learning; "frames" is on */
    .t = 32,
    .max_df = 0.001,
    .damping = 0.0003,
    .damping_by = SMFT_DAMPING_SQUARES,
    .rank_by = SMFT_RANK_WEIGHTS,
    .loss_below = 0.1,
    .wordings_per_step = 4,
};
#define USUAL_DAMPING_BY_DF 0.001
/* a step moves all chosen rows together by so many lengths of the state */
#define USUAL_STEP (30 / 2.43)
/* the blocks: at these tenths of the depth */
static const int32_t usual_tenths[] = {1, 2};

/* ---- options ------------------------------------------------------------- */

static int64_t usual_or(int64_t given, int64_t value) { return given ? given : value; }
static int32_t narrow_or(int32_t given, int32_t value) { return given ? given : value; }
static double real_or(double given, double value) { /* NaN stays, to be refused */
  return given < 0 || given > 0 || isnan(given) ? given : value;
}

/* The nearest block, rounded up at a half. */
static void choose_layers(smft__settings *s, int32_t depth) {
  s->o.n_layers = 0;
  for (size_t i = 0; i < sizeof usual_tenths / sizeof *usual_tenths; i++) {
    int32_t layer = (usual_tenths[i] * depth + 5) / 10;
    layer = layer < depth ? layer : depth - 1;
    if (s->o.n_layers == 0 || layer > s->layers[s->o.n_layers - 1])
      s->layers[s->o.n_layers++] = layer;
  }
}

static smft_status copy_layers(smft__settings *s, int32_t depth) {
  SMFT__REQUIRE(s->o.n_layers >= 1 && s->o.n_layers <= SMFT__GRAFT_MOST_LAYERS,
                "smft_graft_options.n_layers: from 1 to %d, got %d", SMFT__GRAFT_MOST_LAYERS,
                (int)s->o.n_layers);
  for (int32_t i = 0; i < s->o.n_layers; i++) {
    s->layers[i] = s->o.layers[i];
    SMFT__REQUIRE(s->layers[i] >= 0 && s->layers[i] < depth,
                  "smft_graft_options.layers[%d] is %d, the model has blocks 0 to %d", (int)i,
                  (int)s->layers[i], (int)depth - 1);
    SMFT__REQUIRE(i == 0 || s->layers[i] > s->layers[i - 1],
                  "smft_graft_options.layers[%d]: %d after %d; they ascend", (int)i,
                  (int)s->layers[i], (int)s->layers[i - 1]);
  }
  return SMFT_OK;
}

static void fill_sizes(smft_graft_options *o, int32_t hidden, int32_t context) {
  o->tokens_per_sequence =
      usual_or(o->tokens_per_sequence,
               context < usual.tokens_per_sequence ? context : usual.tokens_per_sequence);
  o->n_keys = narrow_or(o->n_keys, usual.n_keys);
  o->heads = narrow_or(o->heads, usual.heads);
  o->top_k = narrow_or(o->top_k, usual.top_k < o->n_keys ? usual.top_k : o->n_keys);
  o->rank = narrow_or(o->rank, usual.rank < hidden ? usual.rank : hidden);
  o->key_dim = narrow_or(o->key_dim, usual.key_dim < o->rank ? usual.key_dim : o->rank / 2 * 2);
  o->keys = narrow_or(o->keys, usual.keys);
  o->rounds = narrow_or(o->rounds, usual.rounds);
  o->samples = usual_or(o->samples, usual.samples);
  o->keep_bytes = usual_or(o->keep_bytes, usual.keep_bytes);
  o->temperature = real_or(o->temperature, usual.temperature);
}

static void fill_learning(smft_graft_options *o) {
  o->t = usual_or(o->t, usual.t);
  o->max_df = real_or(o->max_df, usual.max_df);
  o->damping_by = narrow_or(o->damping_by, usual.damping_by);
  o->damping =
      real_or(o->damping, o->damping_by == SMFT_DAMPING_DF ? USUAL_DAMPING_BY_DF : usual.damping);
  o->rank_by = narrow_or(o->rank_by, usual.rank_by);
  o->loss_below = real_or(o->loss_below, usual.loss_below);
  o->wordings_per_step = usual_or(o->wordings_per_step, usual.wordings_per_step);
}

#define RANGE(field, least, most)                                                                  \
  SMFT__REQUIRE(o->field >= (least) && o->field <= (most),                                         \
                "smft_graft_options." #field ": from %lld to %lld, got %lld", (long long)(least),  \
                (long long)(most), (long long)o->field)

static smft_status check_sizes(const smft_graft_options *o, int32_t hidden) {
  RANGE(n_keys, 1, 65536);
  RANGE(heads, 1, 1024);
  RANGE(top_k, 1, o->n_keys);
  RANGE(rank, 2, hidden);
  RANGE(key_dim, 2, o->rank);
  SMFT__REQUIRE(o->key_dim % 2 == 0,
                "smft_graft_options.key_dim is %d: odd, and there are two "
                "halves",
                (int)o->key_dim);
  RANGE(keys, SMFT_GRAFT_KMEANS, SMFT_GRAFT_RANDOM);
  RANGE(rounds, 1, 100000);
  RANGE(samples, 1, (int64_t)1 << 31);
  SMFT__REQUIRE(o->temperature > 0 && o->temperature <= 1e6,
                "smft_graft_options.temperature: above 0, at most a million");
  return SMFT_OK;
}

static smft_status check_learning(const smft_graft_options *o) {
  RANGE(t, 1, (int64_t)1 << 40);
  RANGE(damping_by, SMFT_DAMPING_SQUARES, SMFT_DAMPING_DF);
  RANGE(rank_by, SMFT_RANK_COUNTS, SMFT_RANK_WEIGHTS);
  RANGE(max_steps, 0, INT32_MAX);
  RANGE(wordings_per_step, -1, INT32_MAX);
  SMFT__REQUIRE(o->max_df <= 1 && isfinite(o->damping) && fabs(o->damping) <= 1e30,
                "smft_graft_options: max_df is a share, damping a finite number");
  SMFT__REQUIRE(o->momentum >= 0 && o->momentum < 1,
                "smft_graft_options.momentum must be in [0, 1)");
  SMFT__REQUIRE(isfinite(o->step_length) && o->step_length <= 1e30 && isfinite(o->loss_below) &&
                    fabs(o->loss_below) <= 1e30,
                "smft_graft_options: step_length or loss_below is no finite number");
  return SMFT_OK;
}

static smft_status check_sources(const smft_graft_options *o, int32_t context) {
  SMFT__REQUIRE(o->sources && o->n_sources > 0,
                "smft_graft: no sources: give texts of what is to be kept, prose and chats");
  for (int64_t i = 0; i < o->n_sources; i++)
    SMFT__REQUIRE(o->sources[i], "smft_graft_options.sources[%lld] is NULL", (long long)i);
  SMFT__REQUIRE(o->tokens_per_sequence >= 0,
                "smft_graft_options.tokens_per_sequence is negative (%lld)",
                (long long)o->tokens_per_sequence);
  return o->tokens_per_sequence <= context
             ? SMFT_OK
             : smft__fail(SMFT_E_CONTEXT,
                          "smft_graft_options.tokens_per_sequence is %lld, the model's context "
                          "holds %d tokens",
                          (long long)o->tokens_per_sequence, (int)context);
}

#define KNOWN_FLAGS (SMFT_GRAFT_SHARED_POOL | SMFT_GRAFT_NO_FRAMES | SMFT_GRAFT_LENGTH_BY_LOSS)

smft_status smft__settings_read(smft__settings *s, const smft_model *model,
                                const smft_graft_options *given) {
  const smft__config *c = &model->config;
  smft_graft_options own = SMFT_GRAFT_OPTIONS_INIT;
  s->o = own;
  SMFT__TRY(smft__options_read(&s->o, given, sizeof s->o, sizeof s->o, "smft_graft_options"));
  SMFT__REQUIRE((s->o.flags & ~KNOWN_FLAGS) == 0, "smft_graft_options.flags: unknown bits in 0x%x",
                (unsigned)s->o.flags);
  SMFT__TRY(check_sources(&s->o, c->context));
  if (s->o.layers || s->o.n_layers)
    SMFT__REQUIRE(s->o.layers, "smft_graft_options.n_layers without layers");
  if (s->o.layers)
    SMFT__TRY(copy_layers(s, c->n_layers));
  else
    choose_layers(s, c->n_layers);
  fill_sizes(&s->o, c->hidden, c->context);
  fill_learning(&s->o);
  SMFT__TRY(check_sizes(&s->o, c->hidden));
  return check_learning(&s->o);
}

double smft__settings_step(const smft__settings *s, double state_length) {
  return real_or(s->o.step_length, USUAL_STEP * state_length);
}

smft_status smft__settings_tell(const smft__settings *s, const char *stage, int64_t done,
                                int64_t total) {
  if (!s->o.progress || s->o.progress(s->o.progress_user, stage, done, total) == 0)
    return SMFT_OK;
  return smft__fail(SMFT_E_CANCELLED, "smft_graft: cancelled by the progress callback");
}
