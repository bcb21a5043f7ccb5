/* graft: smft_graft on a tiny model: what it writes, that a selector counts the same of it, that
 * neither threads nor memory change a byte, what it refuses, and that nothing is left of a failure.
 */
#include "test.h"
#include "tiny.h"
#include "data/safetensors.h"
#include "learn/selector.h"

static const char *const prose[] = {"the cat sat on the mat and looked at the dog",
                                    "and another line of text follows here",
                                    "",
                                    "five crazy fish swim in a tank of water",
                                    "what is written here is of no importance",
                                    "Zoe plays the harp; Quentin prefers jazz, by far"};
static const int32_t chat_ids[] = {0,  5,  9, 31, 44, 7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17,
                                   18, 19, 0, 90, 91, 92, 93, 94, 95, 96, 3,  4,  5,  6,  7,  8};
static const int64_t chat_lengths[] = {18, 14};
enum { N_TOKENS = 45 + 38 + 40 + 41 + 49 + 32 };

typedef struct world {
  smft_ctx *ctx;
  smft_model *base;
  smft_background text, chats;
  const smft_background *sources[2];
  smft_graft_options options;
} world;

static void open_world(world *w, const char *name, int32_t n_threads) {
  smft_ctx_options ctx_options = SMFT_CTX_OPTIONS_INIT;
  smft_background none = SMFT_BACKGROUND_INIT;
  smft_graft_options options = SMFT_GRAFT_OPTIONS_INIT;
  ctx_options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&w->ctx, &ctx_options));
  w->base = tiny_plain(w->ctx, name, 10, 3);
  w->text = w->chats = none;
  w->text.texts = prose;
  w->text.n_texts = sizeof prose / sizeof *prose;
  w->chats.ids = chat_ids;
  w->chats.lengths = chat_lengths;
  w->chats.n_sequences = 2;
  w->sources[0] = &w->text;
  w->sources[1] = &w->chats;
  options.sources = w->sources;
  options.n_sources = 2;
  options.n_keys = 12;
  options.heads = 3;
  options.top_k = 2;
  options.rank = 20;
  options.key_dim = 8;
  options.seed = 7;
  w->options = options;
}

static void close_world(world *w) {
  smft_model_free(w->base);
  smft_ctx_free(w->ctx);
}

static int same_files(const char *a, const char *b) {
  size_t n = 0, m = 0;
  char *one = test_read(test_file(a), &n), *other = test_read(test_file(b), &m);
  int same = n == m && memcmp(one, other, n) == 0;
  free(one);
  free(other);
  return same;
}

static int says(const char *file, const char *what) {
  char *text = test_read(test_file(file), NULL);
  int found = strstr(text, what) != NULL;
  free(text);
  return found;
}

static void ck_says(const char *file, const char *what) {
  ck_assert_msg(says(file, what), "%s: no %s", file, what);
}

/* ---- what is written ----------------------------------------------------- */

START_TEST(a_directory_is_made) {
  world w;
  smft_graft_report report = SMFT_GRAFT_REPORT_INIT;
  char hash[100];
  open_world(&w, "base", 2);
  ck_ok(smft_graft(w.base, test_file("graft"), &w.options, &report));
  ck_assert_int_eq(test_count_files(test_file("graft")), 3);
  ck_assert_int_eq(test_count_files(test_file(".")), 2);
  snprintf(hash, sizeof hash, "\"hash\": \"%s\"", smft_model_hash(w.base));
  ck_says("graft/config.json", "\"path\": \"../base\"");
  ck_says("graft/config.json", hash);
  static const char *const keys[] = {"\"placement\": \"beside\"",
                                     "\"n_keys\": 12",
                                     "\"heads\": 3",
                                     "\"top_k\": 2",
                                     "\"key_dim\": 8",
                                     "\"value_dim\": 32",
                                     "\"query_norm\": \"none\"",
                                     "\"gate\": false",
                                     "\"bias\": true",
                                     "\"out\": \"identity\"",
                                     "\"values\": \"zero\"",
                                     "\"t\": 32",
                                     "\"max_df\": 0.001,",
                                     "\"damping\": 0.0003",
                                     "\"damping_by\": \"squares\"",
                                     "\"rank_by\": \"weights\"",
                                     "\"loss_below\": 0.1",
                                     "\"wordings_per_step\": 4",
                                     "\"frames\": true",
                                     "\"step_length\": "};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    ck_says("graft/config.json", keys[i]);
  ck_assert(!says("graft/config.json", "max_steps"));
  ck_assert(!says("graft/config.json", "momentum") && !says("graft/config.json", "by_loss"));
  ck_assert_int_eq(report.n_layers, 2);
  ck_assert_int_eq(report.n_tokens, N_TOKENS);
  ck_assert_int_eq(report.n_samples, N_TOKENS);
  ck_assert_int_eq(report.n_sequences, 7);
  ck_assert(report.state_length > 0 && report.seconds > 0);
  ck_assert(fabs(report.step_length / report.state_length - 30 / 2.43) < 1e-9);
  close_world(&w);
}
END_TEST

/* The grafted model's logits are the base's, bit for bit. */
START_TEST(nothing_is_changed) {
  static const int32_t ids[] = {0, 5, 9, 31, 44, 7, 8, 9, 10, 11};
  static float logits[2][10 * TINY_VOCAB];
  world w;
  smft_model *models[2];
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  open_world(&w, "base", 1);
  ck_ok(smft_graft(w.base, test_file("graft"), &w.options, NULL));
  models[0] = w.base;
  ck_ok(smft_model_load(&models[1], w.ctx, test_file("graft"), NULL));
  for (int i = 0; i < 2; i++) {
    smft_session *session = NULL;
    ck_ok(smft_session_create(&session, models[i], NULL, NULL));
    ck_ok(smft_session_feed(session, ids, 10, SMFT_LOGITS_ALL, logits[i], 10 * TINY_VOCAB));
    smft_session_free(session);
  }
  ck_assert(memcmp(logits[0], logits[1], sizeof logits[0]) == 0);
  ck_ok(smft_model_get_info(models[1], &info));
  ck_assert_int_eq(info.n_memories, 2);
  ck_assert_int_eq(info.n_pools, 2);
  smft_model_free(models[1]);
  close_world(&w);
}
END_TEST

static void check_parts(const smft__source *file, int layer, const smft_graft_options *o) {
  static const char *const parts[] = {"query.weight", "query.bias", "keys", "alpha"};
  const int64_t counts[] = {(int64_t)o->heads * o->key_dim * 32, (int64_t)o->heads * o->key_dim,
                            (int64_t)o->heads * o->key_dim * o->n_keys, 1};
  float values[3 * 8 * 32];
  for (int i = 0; i < 4; i++) {
    char name[100];
    snprintf(name, sizeof name, "model.layers.%d.memory.%s", layer, parts[i]);
    int64_t at = smft__source_find(file, name);
    ck_assert_msg(at >= 0, "no %s", name);
    ck_assert_int_eq(smft__tensor_count(&file->tensors[at]), counts[i]);
    smft__tensor_to_f32(&file->tensors[at], 0, counts[i], values);
    ck_assert(i != 3 || (values[0] > 0.99f && values[0] < 1.01f));
    for (int64_t j = 0; i == 2 && j < counts[2] / 4; j++) /* sub-keys of 4 numbers */
      ck_assert(fabsf(values[4 * j] * values[4 * j] + values[4 * j + 1] * values[4 * j + 1] +
                      values[4 * j + 2] * values[4 * j + 2] +
                      values[4 * j + 3] * values[4 * j + 3] - 1) < 1e-5f);
  }
}

/* What belongs to steps of a length is said with them alone. */
static void check_steps(world *w) {
  static const struct {
    double length, momentum;
    uint32_t flags;
    int said[3]; /* of the names */
  } cases[] = {{7, 0, 0, {1, 0, 0}},
               {0, 0.25, 0, {1, 1, 0}},
               {7, 0.25, SMFT_GRAFT_LENGTH_BY_LOSS, {1, 1, 1}},
               {-1, 0.25, SMFT_GRAFT_LENGTH_BY_LOSS, {0, 0, 0}}};
  static const char *const names[] = {"\"step_length\": ", "\"momentum\": 0.25",
                                      "\"length_by_loss\": true"};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    w->options.step_length = cases[i].length;
    w->options.momentum = cases[i].momentum;
    w->options.flags = SMFT_GRAFT_NO_FRAMES | cases[i].flags;
    ck_ok(smft_graft(w->base, test_file("steps"), &w->options, NULL));
    for (int j = 0; j < 3; j++)
      ck_assert_msg(says("steps/config.json", names[j]) == cases[i].said[j], "%d: %s", (int)i,
                    names[j]);
  }
}

START_TEST(options_are_heard) {
  static const int32_t layers[] = {0, 3, 5};
  world w;
  smft__source file = {0};
  open_world(&w, "base", 2);
  w.options.layers = layers;
  w.options.n_layers = 3;
  w.options.flags = SMFT_GRAFT_SHARED_POOL | SMFT_GRAFT_NO_FRAMES;
  w.options.temperature = 0.5;
  w.options.max_df = w.options.step_length = w.options.damping = -1;
  w.options.t = 99;
  w.options.damping_by = w.options.rank_by = 1;
  w.options.max_steps = 17;
  w.options.wordings_per_step = 3;
  w.options.loss_below = 0.25;
  for (int kind = 0; kind <= SMFT_GRAFT_RANDOM; kind++) {
    w.options.keys = kind;
    ck_ok(smft_graft(w.base,
                     test_file(kind == 2 ? "random"
                               : kind    ? "kmeans"
                                         : "usual"),
                     &w.options, NULL));
  }
  ck_assert(same_files("usual/memory.safetensors", "kmeans/memory.safetensors"));
  ck_assert(!same_files("usual/memory.safetensors", "random/memory.safetensors"));
  for (int i = 0; i < 2; i++) {
    ck_ok(smft__safetensors_open(
        &file, w.ctx, test_file(i ? "random/memory.safetensors" : "usual/memory.safetensors"), 1));
    ck_assert_int_eq(file.n, 12);
    for (int j = 0; j < 3; j++)
      check_parts(&file, layers[j], &w.options);
    smft__source_close(&file);
  }
  static const char *const keys[] = {"\"temperature\": 0.5",
                                     "\"max_df\": -1",
                                     "\"damping\": -1",
                                     "\"t\": 99",
                                     "\"damping_by\": \"squares\"",
                                     "\"rank_by\": \"counts\"",
                                     "\"max_steps\": 17",
                                     "\"wordings_per_step\": 3",
                                     "\"loss_below\": 0.25",
                                     "\"frames\": false"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    ck_says("usual/config.json", keys[i]);
  ck_assert(!says("usual/config.json", "step_length"));
  check_steps(&w);
  close_world(&w);
}
END_TEST

/* ---- counts, threads, seeds ---------------------------------------------- */

/* Its own counts are those that a selector makes of the grafted model, source by source. */
START_TEST(counts_are_a_selectors) {
  world w;
  smft_model *grafted;
  smft_selector *shipped, *counted;
  smft_selector_options empty = SMFT_SELECTOR_OPTIONS_INIT;
  smft_graft_report report = SMFT_GRAFT_REPORT_INIT;
  int64_t unread = 0;
  open_world(&w, "base", 2);
  empty.flags = SMFT_SELECTOR_EMPTY;
  w.text.tokens_per_sequence = 10;
  w.text.sequences_per_batch = 2;
  w.chats.max_batches = 1;
  w.options.flags = _i ? SMFT_GRAFT_SHARED_POOL : 0;
  w.options.n_keys = 30;
  ck_ok(smft_graft(w.base, test_file("graft"), &w.options, &report));
  ck_ok(smft_model_load(&grafted, w.ctx, test_file("graft"), NULL));
  ck_ok(smft_selector_create(&shipped, grafted, NULL));
  ck_ok(smft_selector_create(&counted, grafted, &empty));
  ck_ok(smft_selector_count_background(counted, &w.text));
  w.chats.tokens_per_sequence = 64; /* the context, which is less than 96 */
  ck_ok(smft_selector_count_background(counted, &w.chats));
  int64_t n = smft__all_slots(grafted);
  ck_assert_int_eq(n, (_i ? 1 : 2) * 900);
  for (int64_t i = 0; i < n; i++)
    unread += shipped->stats.df[i] == 0;
  ck_assert(unread > 0 && fabs(report.unread - (double)unread / (double)n) < 1e-12);
  ck_assert(memcmp(shipped->stats.df, counted->stats.df, (size_t)n * sizeof(uint32_t)) == 0);
  ck_assert(memcmp(shipped->stats.square, counted->stats.square, (size_t)n * sizeof(float)) == 0);
  ck_assert_int_eq(shipped->stats.n_batches, counted->stats.n_batches);
  ck_assert_int_eq(shipped->stats.n_batches, 13);
  ck_assert_int_eq(shipped->stats.n_reads, counted->stats.n_reads);
  ck_assert_int_eq(shipped->stats.n_tokens, counted->stats.n_tokens);
  ck_ok(smft_selector_save(counted, test_file("again.safetensors")));
  ck_assert(same_files("again.safetensors", "graft/background.safetensors"));
  smft_selector_free(shipped);
  smft_selector_free(counted);
  smft_model_free(grafted);
  close_world(&w);
}
END_TEST

static void graft_with(const char *name, int32_t n_threads, int64_t keep_bytes, uint64_t seed) {
  world w;
  open_world(&w, "base", n_threads);
  w.options.keep_bytes = keep_bytes;
  w.options.seed = seed;
  w.options.samples = 100;
  ck_ok(smft_graft(w.base, test_file(name), &w.options, NULL));
  close_world(&w);
}

START_TEST(neither_threads_nor_memory_change_a_byte) {
  static const char *const files[] = {"memory.safetensors", "background.safetensors",
                                      "config.json"};
  static const char *const others[] = {"three", "again", "seed"};
  graft_with("one", 1, 0, 5);
  graft_with("three", 3, 0, 5);
  graft_with("again", 2, -1, 5);
  graft_with("seed", 1, 0, 6);
  for (int i = 0; i < 9; i++) {
    char a[64], b[64];
    snprintf(a, sizeof a, "one/%s", files[i % 3]);
    snprintf(b, sizeof b, "%s/%s", others[i / 3], files[i % 3]);
    ck_assert_msg(same_files(a, b) == (i < 6 || i == 8), "%s and %s", a, b);
  }
}
END_TEST

/* ---- where it goes ------------------------------------------------------- */

static smft_status graft_to(world *w, const char *name) {
  return smft_graft(w->base, test_file(name), &w->options, NULL);
}

START_TEST(only_a_graft_is_replaced) {
  world w;
  open_world(&w, "base", 1);
  ck_status(graft_to(&w, "base"), SMFT_E_STATE);
  mkdir(test_file("full"), 0700);
  test_write("full/something", "x", 1);
  ck_status(graft_to(&w, "full"), SMFT_E_STATE);
  test_write("file", "x", 1);
  ck_status(graft_to(&w, "file"), SMFT_E_STATE);
  ck_status(graft_to(&w, "nowhere/deep"), SMFT_E_NOT_FOUND);
  ck_status(smft_graft(w.base, "", &w.options, NULL), SMFT_E_INVALID);
  mkdir(test_file("empty"), 0700);
  ck_ok(graft_to(&w, "empty/")); /* is filled */
  test_write("empty/patch", "mine", 4);
  w.options.seed = 8;
  ck_ok(graft_to(&w, "empty")); /* is replaced, and what else is there stays */
  ck_assert_int_eq(test_count_files(test_file("empty")), 4);
  ck_ok(graft_to(&w, "new"));
  ck_assert(same_files("new/memory.safetensors", "empty/memory.safetensors"));
  ck_assert(same_files("new/background.safetensors", "empty/background.safetensors"));
  ck_assert_int_eq(test_count_files(test_file("full")), 1);
  ck_assert_int_eq(test_count_files(test_file(".")), 5); /* base, full, file, empty, new */
  close_world(&w);
}
END_TEST

/* Beside and below the base is named relative to the graft, elsewhere absolute. */
START_TEST(a_base_is_named) {
  world w;
  char path[1200];
  open_world(&w, "base", 1);
  mkdir(test_file("sub"), 0700);
  ck_ok(graft_to(&w, "sub/graft"));
  char *real = realpath(test_file("base"), NULL);
  snprintf(path, sizeof path, "\"path\": \"%s\"", real);
  ck_says("sub/graft/config.json", path);
  free(real);
  ck_ok(graft_to(&w, "graft"));
  ck_assert_int_eq(mkdir(test_file("moved"), 0700), 0);
  snprintf(path, sizeof path, "mv '%s' '%s' '%s'", test_file("base"), test_file("graft"),
           test_file("moved"));
  ck_assert_int_eq(system(path), 0);
  smft_model *model;
  ck_ok(smft_model_load(&model, w.ctx, test_file("moved/graft"), NULL));
  smft_model_free(model);
  close_world(&w);
}
END_TEST

/* ---- what is refused ----------------------------------------------------- */

/* 0: a call after which nothing is in the directory but the base. */
static void ck_refused(world *w, smft_status wanted, const char *what) {
  smft_status got = graft_to(w, "refused");
  ck_assert_msg(got == wanted && strstr(smft_error_message(), what), "got %s: %s, wanted %s: %s",
                smft_status_name(got), smft_error_message(), smft_status_name(wanted), what);
  ck_assert_int_eq(test_count_files(test_file(".")), 1);
}

#define REFUSED(field, value, status, what)                                                        \
  do {                                                                                             \
    smft_graft_options before = w.options;                                                         \
    w.options.field = value;                                                                       \
    ck_refused(&w, status, what);                                                                  \
    w.options = before;                                                                            \
  } while (0)

START_TEST(options_have_ranges) {
  static const int32_t twice[] = {2, 2}, far[] = {10}, down[] = {-1};
  world w;
  open_world(&w, "base", 1);
  REFUSED(flags, 8, SMFT_E_INVALID, "flags");
  REFUSED(n_keys, -1, SMFT_E_INVALID, "n_keys");
  REFUSED(n_keys, N_TOKENS + 1, SMFT_E_INVALID, "too few for 246 sub-keys");
  REFUSED(samples, 11, SMFT_E_INVALID, "too few for 12 sub-keys");
  REFUSED(samples, -1, SMFT_E_INVALID, "samples");
  REFUSED(heads, -2, SMFT_E_INVALID, "heads");
  REFUSED(top_k, 13, SMFT_E_INVALID, "top_k");
  REFUSED(key_dim, 7, SMFT_E_INVALID, "odd");
  REFUSED(key_dim, 22, SMFT_E_INVALID, "key_dim");
  REFUSED(rank, 33, SMFT_E_INVALID, "rank");
  REFUSED(keys, 3, SMFT_E_INVALID, "keys");
  REFUSED(rounds, -1, SMFT_E_INVALID, "rounds");
  REFUSED(temperature, -1, SMFT_E_INVALID, "temperature");
  REFUSED(temperature, NAN, SMFT_E_INVALID, "temperature");
  REFUSED(tokens_per_sequence, 65, SMFT_E_CONTEXT, "65");
  REFUSED(tokens_per_sequence, -1, SMFT_E_INVALID, "tokens_per_sequence");
  REFUSED(n_layers, 1, SMFT_E_INVALID, "layers");
  REFUSED(layers, twice, SMFT_E_INVALID, "n_layers");
  REFUSED(n_sources, 0, SMFT_E_INVALID, "sources");
  REFUSED(sources, NULL, SMFT_E_INVALID, "sources");
  REFUSED(t, -1, SMFT_E_INVALID, ".t:");
  REFUSED(max_df, 1.5, SMFT_E_INVALID, "max_df");
  REFUSED(max_df, NAN, SMFT_E_INVALID, "max_df");
  REFUSED(damping, INFINITY, SMFT_E_INVALID, "damping");
  REFUSED(damping_by, 3, SMFT_E_INVALID, "damping_by");
  REFUSED(rank_by, -1, SMFT_E_INVALID, "rank_by");
  REFUSED(step_length, INFINITY, SMFT_E_INVALID, "step_length");
  REFUSED(momentum, 1, SMFT_E_INVALID, "momentum");
  REFUSED(momentum, -1, SMFT_E_INVALID, "momentum");
  REFUSED(momentum, NAN, SMFT_E_INVALID, "momentum");
  REFUSED(loss_below, NAN, SMFT_E_INVALID, "loss_below");
  REFUSED(max_steps, -1, SMFT_E_INVALID, "max_steps");
  REFUSED(wordings_per_step, -2, SMFT_E_INVALID, "wordings_per_step");
  w.options.layers = twice;
  REFUSED(n_layers, 2, SMFT_E_INVALID, "ascend");
  w.options.layers = far;
  REFUSED(n_layers, 1, SMFT_E_INVALID, "blocks 0 to 9");
  w.options.layers = down;
  REFUSED(n_layers, 1, SMFT_E_INVALID, "blocks 0 to 9");
  close_world(&w);
}
END_TEST

START_TEST(sources_are_checked) {
  static const char *const bad[] = {"good", "b\xff"
                                            "ad"};
  static const int32_t wrong[] = {0, TINY_VOCAB};
  static const int64_t two = 2;
  world w;
  smft_background none = SMFT_BACKGROUND_INIT;
  open_world(&w, "base", 1);
  w.sources[1] = NULL;
  ck_refused(&w, SMFT_E_INVALID, "sources[1]");
  w.sources[1] = &none;
  ck_refused(&w, SMFT_E_INVALID, "source 1: smft_background: neither");
  none.texts = bad;
  none.n_texts = 2;
  ck_refused(&w, SMFT_E_ENCODING, "source 1: smft_background.texts[1]");
  none.texts = NULL;
  none.text_path = "nowhere.txt";
  ck_refused(&w, SMFT_E_NOT_FOUND, "nowhere.txt");
  none.text_path = NULL;
  none.ids = wrong;
  none.lengths = &two;
  none.n_sequences = 1;
  ck_refused(&w, SMFT_E_TOKEN, "smft_graft: sequence 0");
  none.ids = chat_ids;
  w.sources[0] = &none; /* two tokens twice */
  ck_refused(&w, SMFT_E_INVALID, "4 tokens: too few for a rank of 20");
  close_world(&w);
}
END_TEST

/* One token again and again, alone: all states are the same. */
START_TEST(states_must_differ) {
  static int32_t ids[40];
  static int64_t lengths[40];
  world w;
  smft_background same = SMFT_BACKGROUND_INIT;
  open_world(&w, "base", 1);
  for (int i = 0; i < 40; i++)
    lengths[i] = 1;
  same.ids = ids;
  same.lengths = lengths;
  same.n_sequences = 40;
  w.sources[0] = w.sources[1] = &same;
  ck_refused(&w, SMFT_E_INVALID, "all states are the same");
  close_world(&w);
}
END_TEST

START_TEST(models_are_refused) {
  world w;
  smft_model *grafted, *made;
  open_world(&w, "base", 1);
  ck_ok(graft_to(&w, "graft"));
  ck_ok(smft_model_load(&grafted, w.ctx, test_file("graft"), NULL));
  ck_status(smft_graft(grafted, test_file("twice"), &w.options, NULL), SMFT_E_UNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "has a memory"));
  ck_ok(smft_model_init(&made, w.ctx, test_file("base"), 3));
  ck_status(smft_graft(made, test_file("twice"), &w.options, NULL), SMFT_E_UNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "in no file"));
  smft_model_free(made);
  smft_model_free(grafted);
  close_world(&w);
}
END_TEST

/* ---- progress ------------------------------------------------------------ */

typedef struct seen {
  char stage[16], until[16]; /* until: the stage that cancels, at its second call */
  int64_t done, total, calls, stages;
} seen;

static int32_t see(void *user, const char *stage, int64_t done, int64_t total) {
  seen *s = user;
  if (strcmp(s->stage, stage) != 0) {
    ck_assert(s->done == s->total); /* the one before is done */
    snprintf(s->stage, sizeof s->stage, "%s", stage);
    s->done = s->calls = 0;
    s->total = total;
    s->stages++;
  }
  ck_assert(done >= s->done && done <= total && total == s->total);
  s->done = done;
  s->calls++;
  return strcmp(stage, s->until) == 0;
}

START_TEST(each_stage_can_cancel) {
  static const char *const stages[] = {"texts", "states", "keys", "counts", "none"};
  for (int i = 0; i < 10; i++) {
    world w;
    seen s = {"", "", 0, 0, 0, 0};
    open_world(&w, "base", 1);
    snprintf(s.until, sizeof s.until, "%s", stages[i % 5]);
    w.options.progress = see;
    w.options.progress_user = &s;
    w.options.keep_bytes = i < 5 ? 0 : -1;
    if (i % 5 < 4) {
      ck_refused(&w, SMFT_E_CANCELLED, "smft_");
    } else {
      ck_ok(graft_to(&w, i < 5 ? "first" : "second"));
      ck_assert_int_eq(s.stages, 4);
      ck_assert_int_eq(s.done, s.total);
      char command[1200];
      snprintf(command, sizeof command, "rm -r '%s'", test_file(i < 5 ? "first" : "second"));
      ck_assert_int_eq(system(command), 0);
    }
    close_world(&w);
  }
}
END_TEST

static void clear(void) { /* each test finds its directory empty */
  char command[600];
  snprintf(command, sizeof command, "rm -rf '%s'/*", test_directory_path);
  ck_assert_int_eq(system(command), 0);
}

Suite *make_suite(void) {
  Suite *suite = suite_create("graft");
  TCase *tests = tcase_create("graft");
  test_directory_make();
  tcase_add_checked_fixture(tests, clear, NULL);
  tcase_add_test(tests, a_directory_is_made);
  tcase_add_test(tests, nothing_is_changed);
  tcase_add_test(tests, options_are_heard);
  tcase_add_loop_test(tests, counts_are_a_selectors, 0, 2);
  tcase_add_test(tests, neither_threads_nor_memory_change_a_byte);
  tcase_add_test(tests, only_a_graft_is_replaced);
  tcase_add_test(tests, a_base_is_named);
  tcase_add_test(tests, options_have_ranges);
  tcase_add_test(tests, sources_are_checked);
  tcase_add_test(tests, states_must_differ);
  tcase_add_test(tests, models_are_refused);
  tcase_add_test(tests, each_stage_can_cancel);
  suite_add_tcase(suite, tests);
  return suite;
}
