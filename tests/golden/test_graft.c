/* graft: a graft of network_llama3 against transformers' states and numpy's sums
 * (make_graft.py): whitening, k-means, and what the texts read, counted here once more from the
 * whole grid of slots. */
#include "test.h"
#include "files.h"
#include "data/safetensors.h"
#include "graft/kmeans.h"
#include "learn/selector.h"

enum { BLOCKS = 2, D = 16, SEQUENCES = 25, TOKENS = 8, ALL = SEQUENCES * TOKENS };
enum { HEADS = 3, KEYS = 7, TOP = 2, HALF = D / 2, SLOTS = KEYS * KEYS };

static smft_ctx *ctx;
static smft__source wanted, made; /* the fixture; memory.safetensors */

static void read_floats(const smft__source *file, const char *format, int block, int64_t n,
                        float *to) {
  char name[100];
  snprintf(name, sizeof name, format, block);
  int64_t at = smft__source_find(file, name);
  ck_assert_msg(at >= 0, "%s is not there", name);
  ck_assert_int_eq(smft__tensor_count(&file->tensors[at]), n);
  smft__tensor_to_f32(&file->tensors[at], 0, n, to);
}

/* Grafted with as many directions a head as there are. */
static smft_model *make_graft(int shared) {
  int32_t ids[ALL];
  int64_t lengths[SEQUENCES];
  int32_t layers[] = {0, 1};
  smft_model *base, *grafted;
  smft_background source = SMFT_BACKGROUND_INIT;
  const smft_background *sources[] = {&source};
  smft_graft_options options = SMFT_GRAFT_OPTIONS_INIT;
  ck_ok(smft__safetensors_open(&wanted, ctx, test_source("tests/golden/graft.safetensors"), 1));
  memcpy(ids, wanted.tensors[smft__source_find(&wanted, "ids")].data, sizeof ids);
  for (int i = 0; i < SEQUENCES; i++)
    lengths[i] = TOKENS;
  source.ids = ids;
  source.lengths = lengths;
  source.n_sequences = SEQUENCES;
  options.flags = shared ? SMFT_GRAFT_SHARED_POOL : 0;
  options.sources = sources;
  options.n_sources = 1;
  options.layers = layers;
  options.n_layers = BLOCKS;
  options.heads = HEADS;
  options.n_keys = KEYS;
  options.top_k = TOP;
  options.key_dim = options.rank = D;
  ck_ok(smft_model_load(&base, ctx, test_source("tests/golden/network_llama3"), NULL));
  ck_ok(smft_graft(base, test_file("graft"), &options, NULL));
  ck_ok(smft_model_load(&grafted, ctx, test_file("graft"), NULL));
  ck_ok(smft__safetensors_open(&made, ctx, test_file("graft/memory.safetensors"), 1));
  smft_model_free(base);
  return grafted;
}

static void done(smft_model *grafted) {
  smft__source_close(&wanted);
  smft__source_close(&made);
  smft_model_free(grafted);
  smft_ctx_free(ctx);
}

#define NAME "model.layers.%d.memory."

START_TEST(queries_whiten) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_model *grafted = make_graft(0);
  for (int b = 0; b < BLOCKS; b++) {
    float query[HEADS * D * D], bias[HEADS * D], mean[D], inverse[D * D], got[D * D] = {0};
    float taken_off[HEADS * D] = {0};
    read_floats(&made, NAME "query.weight", b, HEADS * D * D, query);
    read_floats(&made, NAME "query.bias", b, HEADS * D, bias);
    read_floats(&wanted, "mean.%d", b, D, mean);
    read_floats(&wanted, "inverse.%d", b, D * D, inverse);
    for (int i = 0; i < HEADS * D; i++)
      for (int j = 0; j < D; j++)
        taken_off[i] -= query[i * D + j] * mean[j];
    ck_assert(test_distance(bias, taken_off, HEADS * D) <= 2e-5);
    for (int h = 0; h < HEADS; h++) {
      memset(got, 0, sizeof got);
      for (int i = h * D; i < (h + 1) * D; i++)
        for (int jk = 0; jk < D * D; jk++)
          got[jk] += query[i * D + jk / D] * query[i * D + jk % D];
      ck_assert_msg(test_distance(got, inverse, D * D) <= 2e-5, "block %d, head %d: %g", b, h,
                    test_distance(got, inverse, D * D));
    }
  }
  done(grafted);
}
END_TEST

/* The step's length goes by the lowest block's states. */
START_TEST(config_says_the_step) {
  float length;
  char wanted_text[64];
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_model *grafted = make_graft(0);
  read_floats(&wanted, "length.%d", 0, 1, &length);
  char *text = test_read(test_file("graft/config.json"), NULL);
  const char *at = strstr(text, "\"step_length\": ");
  ck_assert_ptr_nonnull(at);
  snprintf(wanted_text, sizeof wanted_text, "%.3g", 30 / 2.43 * (double)length);
  ck_assert_msg(fabs(strtod(at + 15, NULL) / (30 / 2.43 * (double)length) - 1) < 1e-4, "%.40s: %s",
                at, wanted_text);
  free(text);
  done(grafted);
}
END_TEST

START_TEST(centres_are_those_of_numpy) {
  enum { N = 400, SETS = 2, SIZE = 3, CENTRES = 9 };
  float samples[N * SETS * SIZE], got[SETS * CENTRES * SIZE], centres[SETS * CENTRES * SIZE];
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_ok(smft__safetensors_open(&wanted, ctx, test_source("tests/golden/graft.safetensors"), 1));
  read_floats(&wanted, "samples", 0, N * SETS * SIZE, samples);
  read_floats(&wanted, "start", 0, SETS * CENTRES * SIZE, got);
  read_floats(&wanted, "centres", 0, SETS * CENTRES * SIZE, centres);
  smft__kmeans args = {samples, SETS, N, SIZE, CENTRES, 4, 0};
  ck_ok(smft__kmeans_run(ctx, &args, got, NULL, NULL));
  ck_assert(test_distance(got, centres, SETS * CENTRES * SIZE) <= 1e-6);
  smft__source_close(&wanted);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- counts -------------------------------------------------------------- */

typedef struct layer {
  float states[ALL * D], query[HEADS * D * D], bias[HEADS * D], keys[HEADS * 2 * KEYS * HALF];
} layer;

/* Of the whole grid the best TOP of a head, in doubles; their weights. */
static void read_slots(const layer *l, int token, int head, int slots[TOP], double weights[TOP]) {
  double scores[SLOTS], query[D], sum = 0, half[2][KEYS] = {{0}};
  for (int i = 0; i < D; i++) {
    query[i] = (double)l->bias[head * D + i];
    for (int j = 0; j < D; j++)
      query[i] += (double)l->query[(head * D + i) * D + j] * (double)l->states[token * D + j];
  }
  for (int i = 0; i < 2 * KEYS; i++)
    for (int j = 0; j < HALF; j++)
      half[i / KEYS][i % KEYS] +=
          query[i / KEYS * HALF + j] * (double)l->keys[(head * 2 * KEYS + i) * HALF + j];
  for (int i = 0; i < SLOTS; i++)
    scores[i] = half[0][i / KEYS] + half[1][i % KEYS];
  for (int k = 0; k < TOP; k++) {
    slots[k] = 0;
    for (int i = 1; i < SLOTS; i++)
      slots[k] = scores[i] > scores[slots[k]] ? i : slots[k];
    weights[k] = exp(scores[slots[k]]);
    sum += weights[k];
    scores[slots[k]] = -INFINITY;
  }
  for (int k = 0; k < TOP; k++)
    weights[k] /= sum;
}

static void read_layer(layer *l, int block) {
  float all[BLOCKS * ALL * D];
  read_floats(&wanted, "states", 0, BLOCKS * ALL * D, all);
  memcpy(l->states, all + block * ALL * D, sizeof l->states);
  read_floats(&made, NAME "query.weight", block, HEADS * D * D, l->query);
  read_floats(&made, NAME "query.bias", block, HEADS * D, l->bias);
  read_floats(&made, NAME "keys", block, HEADS * 2 * KEYS * HALF, l->keys);
}

/* shared: both blocks read pool 0 */
static void check_counts(int shared) {
  static layer layers[BLOCKS];
  static uint32_t df[BLOCKS][SLOTS];
  static double square[BLOCKS][SLOTS];
  smft_selector *selector;
  memset(df, 0, sizeof df);
  memset(square, 0, sizeof square);
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft_model *grafted = make_graft(shared);
  for (int b = 0; b < BLOCKS; b++)
    read_layer(&layers[b], b);
  for (int s = 0; s < SEQUENCES; s++) {
    char read[BLOCKS][SLOTS] = {{0}};
    for (int i = 0; i < BLOCKS * TOKENS * HEADS; i++) {
      int b = i / TOKENS / HEADS, slots[TOP], pool = shared ? 0 : b;
      double weights[TOP];
      read_slots(&layers[b], s * TOKENS + i / HEADS % TOKENS, i % HEADS, slots, weights);
      for (int k = 0; k < TOP; k++) {
        square[pool][slots[k]] += weights[k] * weights[k];
        read[pool][slots[k]] = 1;
      }
    }
    for (int i = 0; i < BLOCKS * SLOTS; i++)
      df[i / SLOTS][i % SLOTS] += read[i / SLOTS][i % SLOTS] ? 1u : 0u;
  }
  ck_ok(smft_selector_create(&selector, grafted, NULL));
  ck_assert_int_eq(selector->stats.n_batches, SEQUENCES);
  ck_assert_int_eq(selector->stats.n_tokens, ALL);
  ck_assert_int_eq(selector->stats.n_reads, ALL * BLOCKS * HEADS * TOP);
  for (int i = 0; i < (shared ? 1 : BLOCKS) * SLOTS; i++) {
    ck_assert_uint_eq(selector->stats.df[i], df[i / SLOTS][i % SLOTS]);
    ck_assert(fabs((double)selector->stats.square[i] - square[i / SLOTS][i % SLOTS]) <= 1e-4);
  }
  smft_selector_free(selector);
  done(grafted);
}

START_TEST(counts_are_those_of_the_grid) {
  check_counts(0);
  check_counts(1);
}
END_TEST

/* ---- every family -------------------------------------------------------- */

static void last_logits(const smft_model *model, float logits[128]) {
  static const int32_t ids[] = {1, 5, 9, 31, 4, 7, 8, 2};
  smft_session *session = NULL;
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  ck_ok(smft_session_feed(session, ids, 8, SMFT_LOGITS_LAST, logits, 128));
  smft_session_free(session);
}

/* A graft of it is it, to the last bit, and its counts are those of a pass over the graft. */
static void graft_family(const char *fixture) {
  static const int32_t ids[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  static const int64_t lengths[] = {20, 12};
  float before[128] = {0}, after[128] = {0};
  smft_model *base, *grafted;
  smft_selector *shipped, *counted;
  smft_background source = SMFT_BACKGROUND_INIT;
  const smft_background *sources[] = {&source};
  smft_graft_options options = SMFT_GRAFT_OPTIONS_INIT;
  smft_selector_options empty = SMFT_SELECTOR_OPTIONS_INIT;
  empty.flags = SMFT_SELECTOR_EMPTY;
  source.ids = ids;
  source.lengths = lengths;
  source.n_sequences = 2;
  source.tokens_per_sequence = 8;
  options.sources = sources;
  options.n_sources = 1;
  options.n_keys = 8;
  options.rank = 8;
  ck_ok(smft_model_load(&base, ctx, test_source(fixture), NULL));
  smft_status status = smft_graft(base, test_file("family"), &options, NULL);
  ck_assert_msg(status == SMFT_OK, "%s: %s", fixture, smft_error_message());
  ck_ok(smft_model_load(&grafted, ctx, test_file("family"), NULL));
  last_logits(base, before);
  last_logits(grafted, after);
  ck_assert_msg(memcmp(before, after, sizeof before) == 0, "%s: other logits", fixture);
  ck_ok(smft_selector_create(&shipped, grafted, NULL));
  ck_ok(smft_selector_create(&counted, grafted, &empty));
  ck_ok(smft_selector_count_background(counted, &source));
  ck_assert_int_eq(shipped->stats.n_batches, 5);
  ck_assert_msg(memcmp(shipped->stats.square, counted->stats.square,
                       (size_t)smft__all_slots(grafted) * sizeof(float)) == 0,
                "%s: other counts", fixture);
  smft_selector_free(shipped);
  smft_selector_free(counted);
  smft_model_free(grafted);
  smft_model_free(base);
}

START_TEST(every_family_takes_one) {
  static const char *const fixtures[] = {"network_llama3",   "network_linear",
                                         "network_yarn",     "network_mistral",
                                         "network_qwen2",    "network_qwen2_window",
                                         "network_qwen3",    "network_smollm3",
                                         "network_gemma3",   "gguf_gemma3.gguf",
                                         "gguf_llama3.gguf", "gguf_qwen2.gguf",
                                         "gguf_smollm3.gguf"};
  ck_ok(smft_ctx_create(&ctx, NULL));
  for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
    char path[200];
    snprintf(path, sizeof path, "tests/golden/%s", fixtures[i]);
    graft_family(path);
  }
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("graft");
  TCase *tests = tcase_create("graft");
  test_directory_make();
  tcase_add_test(tests, queries_whiten);
  tcase_add_test(tests, config_says_the_step);
  tcase_add_test(tests, centres_are_those_of_numpy);
  tcase_add_test(tests, counts_are_those_of_the_grid);
  tcase_add_test(tests, every_family_takes_one);
  suite_add_tcase(suite, tests);
  return suite;
}
