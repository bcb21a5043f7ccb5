/* session: feed, rewind, a patch that changes underneath, nll, several threads at once; generation:
 * greedy, sampled, stopped, cancelled. */
#include "failing.h"
#include "tiny.h"

#include <pthread.h>
#include <time.h>

#include "model/sampler.h"
#include "model/session.h"

#define V TINY_VOCAB

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_session *session;
} world;

static const int32_t ids[] = {0, 5, 9, 40, 41, 7, 66, 3, 12, 90, 97, 1, 1, 50, 33, 21};
#define N ((int64_t)(sizeof ids / sizeof *ids))

static world open_world(tiny shape, int32_t n_threads) {
  world w = {0};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&w.ctx, &options));
  w.model = tiny_model(w.ctx, "m", shape, 3);
  ck_ok(smft_patch_create(&w.patch, w.model, SMFT_PATCH_SLOTS));
  ck_ok(smft_session_create(&w.session, w.model, w.patch, NULL));
  return w;
}

static void close_world(world *w) {
  smft_ctx_free(w->ctx);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_session_free(w->session);
}

static void feed_all(smft_session *session, float *logits) {
  ck_ok(smft_session_rewind(session, 0));
  ck_ok(smft_session_feed(session, ids, N, SMFT_LOGITS_ALL, logits, N * V));
}

static void change_patch(smft_patch *patch, float value) {
  float row[20];
  for (int i = 0; i < 20; i++)
    row[i] = value * (float)(i % 5 - 2);
  for (int64_t slot = 0; slot < 256; slot++)
    ck_ok(smft_patch_set_row(patch, 0, slot, row, 20));
}

/* ---- versions ------------------------------------------------------------ */

static smft_session *open_pinned(const smft_model *model, smft_patch *patch) {
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  smft_session *session = NULL;
  options.flags = SMFT_SESSION_PIN;
  ck_ok(smft_session_create(&session, model, patch, &options));
  return session;
}

/* Its first token's version, whatever is published, until no token is left; the other session takes
 * the newest each time. */
START_TEST(a_pinned_session_keeps_its_version) {
  world w = open_world((tiny){.shared = 1}, 2);
  smft_session *pinned = open_pinned(w.model, w.patch);
  float first[N * V], now[N * V], piece[V];
  change_patch(w.patch, 0.2f);
  uint64_t number = smft_patch_version(w.patch);
  for (int64_t i = 0; i < N; i++)
    ck_ok(smft_session_feed(w.session, ids + i, 1, SMFT_LOGITS_LAST, first + i * V, V));
  ck_assert_uint_eq(smft_session_version(w.session), number);
  for (int64_t i = 0; i < N; i++) {
    ck_ok(smft_session_feed(pinned, ids + i, 1, SMFT_LOGITS_LAST, piece, V));
    ck_assert_mem_eq(piece, first + i * V, sizeof piece);
    ck_assert_uint_eq(smft_session_version(pinned), number);
    change_patch(w.patch, 0.3f + 0.01f * (float)i);
  }
  ck_ok(smft_session_feed(w.session, NULL, 0, SMFT_LOGITS_LAST, piece, V));
  ck_assert_mem_ne(piece, first + (N - 1) * V, sizeof piece);
  feed_all(pinned, now); /* rewinds to 0: the newest again */
  for (int64_t i = 0; i < V; i++)
    ck_assert_float_eq_tol(now[(N - 1) * V + i], piece[i], 1e-5f);
  ck_assert_uint_eq(smft_session_version(pinned), smft_patch_version(w.patch));
  change_patch(w.patch, 0.5f);
  ck_ok(smft_session_nll(pinned, ids, N, NULL, NULL)); /* begins afresh, too */
  ck_assert_uint_eq(smft_session_version(pinned), smft_patch_version(w.patch));
  ck_ok(smft_session_set_patch(pinned, NULL));
  feed_all(pinned, now);
  ck_assert_uint_eq(smft_session_version(pinned), 0);
  smft_session_free(pinned);
  close_world(&w);
}
END_TEST

START_TEST(a_pin_wants_a_slots_patch) {
  world w = open_world((tiny){0}, 1);
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  smft_session *session = NULL, *pinned = open_pinned(w.model, w.patch);
  smft_patch *full;
  ck_ok(smft_patch_create(&full, w.model, SMFT_PATCH_FULL));
  options.flags = SMFT_SESSION_PIN;
  ck_assert_int_eq(smft_session_create(&session, w.model, full, &options), SMFT_E_UNSUPPORTED);
  ck_assert_ptr_null(session);
  ck_assert_int_eq(smft_session_set_patch(pinned, full), SMFT_E_UNSUPPORTED);
  ck_ok(smft_session_feed(pinned, ids, 3, SMFT_LOGITS_NONE, NULL, 0));
  smft_session_free(pinned);
  smft_patch_free(full);
  close_world(&w);
}
END_TEST

/* ---- feeding ------------------------------------------------------------- */

START_TEST(pieces_and_rewind) {
  world w = open_world((tiny){.shared = 1, .beside = 1}, 2);
  float all[N * V], piece[N * V];
  feed_all(w.session, all);
  for (int64_t cut = 0; cut < N; cut += 3) {
    ck_ok(smft_session_rewind(w.session, cut));
    ck_assert_int_eq(smft_session_length(w.session), cut);
    ck_ok(smft_session_feed(w.session, ids + cut, N - cut, SMFT_LOGITS_ALL, piece, N * V));
    ck_assert_double_lt(test_distance(piece, all + cut * V, (N - cut) * V), 1e-5);
  }
  ck_ok(smft_session_rewind(w.session, 0));
  ck_ok(smft_session_feed(w.session, ids, N - 1, SMFT_LOGITS_NONE, NULL, 0));
  ck_ok(smft_session_feed(w.session, ids + N - 1, 1, SMFT_LOGITS_LAST, piece, V));
  ck_assert_double_lt(test_distance(piece, all + (N - 1) * V, V), 1e-5);
  /* once more, nothing new */
  ck_ok(smft_session_feed(w.session, NULL, 0, SMFT_LOGITS_LAST, piece, V));
  ck_assert_double_lt(test_distance(piece, all + (N - 1) * V, V), 1e-5);
  ck_assert_int_eq(smft_session_length(w.session), N);
  close_world(&w);
}
END_TEST

/* A session longer than one chunk of 256 tokens; also with a window, shorter and longer than the
 * chunk, and of tokens one by one. */
START_TEST(more_than_a_chunk) {
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  smft_session *session = NULL;
  static const char *const windows[] = {"null", "37", "300"};
  char text[512];
  static float all[700 * 31], piece[700 * 31], nll[700];
  int32_t many[700];
  double mean = 0, sum = 0;
  ck_ok(smft_ctx_create(&ctx, NULL));
  mkdir(test_file("long"), 0700);
  int length = snprintf(text, sizeof text,
                        "{\"model_type\": \"mistral\", \"hidden_size\": 16, "
                        "\"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
                        "\"intermediate_size\": 24, \"vocab_size\": 31, "
                        "\"max_position_embeddings\": 700, \"sliding_window\": %s}",
                        windows[_i]);
  test_write("long/config.json", text, (size_t)length);
  ck_ok(smft_model_init(&model, ctx, test_file("long"), 1));
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  for (int i = 0; i < 700; i++)
    many[i] = (i * 7 + i / 13) % 31;
  ck_ok(smft_session_feed(session, many, 700, SMFT_LOGITS_ALL, all, 700 * 31));
  ck_ok(smft_session_rewind(session, 100));
  ck_ok(smft_session_feed(session, many + 100, 600, SMFT_LOGITS_ALL, piece, 600 * 31));
  ck_assert_double_lt(test_distance(piece, all + 100 * 31, 600 * 31), 1e-5);
  ck_ok(smft_session_rewind(session, 600));
  for (int i = 600; i < 700; i++)
    ck_ok(smft_session_feed(session, many + i, 1, SMFT_LOGITS_ALL, piece + (i - 600) * 31, 31));
  ck_assert_double_lt(test_distance(piece, all + 600 * 31, 100 * 31), 1e-5);
  ck_ok(smft_session_nll(session, many, 700, nll, &mean));
  for (int i = 0; i < 699; i++) {
    double total = 0;
    for (int j = 0; j < 31; j++)
      total += exp((double)all[i * 31 + j]);
    ck_assert_double_eq_tol((double)nll[i], log(total) - (double)all[i * 31 + many[i + 1]], 1e-5);
    sum += (double)nll[i];
  }
  ck_assert_double_eq_tol(mean, sum / 699, 1e-6);
  smft_session_free(session);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(a_patch_that_changes_underneath) {
  world w = open_world((tiny){.shared = 1}, 2);
  float base[N * V], changed[N * V], last[V];
  feed_all(w.session, base);
  change_patch(w.patch, 0.5f);
  feed_all(w.session, changed);
  ck_assert_double_gt(test_distance(changed, base, N * V), 1e-3);
  ck_ok(smft_patch_clear(w.patch));
  ck_ok(smft_session_rewind(w.session, 0));
  ck_ok(smft_session_feed(w.session, ids, N - 1, SMFT_LOGITS_NONE, NULL, 0));
  change_patch(w.patch, 0.5f); /* between two calls: the tokens are fed again by themselves */
  ck_ok(smft_session_feed(w.session, ids + N - 1, 1, SMFT_LOGITS_LAST, last, V));
  ck_assert_double_lt(test_distance(last, changed + (N - 1) * V, V), 1e-5);
  ck_ok(smft_patch_clear(w.patch));
  ck_ok(smft_session_feed(w.session, NULL, 0, SMFT_LOGITS_LAST, last, V));
  ck_assert_double_lt(test_distance(last, base + (N - 1) * V, V), 1e-5);
  close_world(&w);
}
END_TEST

START_TEST(another_patch) {
  world w = open_world((tiny){0}, 2);
  float base[N * V], with[N * V], got[V];
  smft_patch *other = NULL;
  ck_ok(smft_patch_copy(&other, w.patch));
  change_patch(other, 0.5f);
  feed_all(w.session, base);
  ck_ok(smft_session_set_patch(w.session, other));
  ck_ok(smft_session_feed(w.session, NULL, 0, SMFT_LOGITS_LAST, got, V));
  feed_all(w.session, with);
  ck_assert_double_lt(test_distance(got, with + (N - 1) * V, V), 1e-5);
  ck_assert_double_gt(test_distance(with, base, N * V), 1e-3);
  smft_patch_free(other); /* the session holds it */
  feed_all(w.session, with);
  ck_ok(smft_session_set_patch(w.session, NULL));
  feed_all(w.session, with);
  ck_assert_mem_eq(with, base, sizeof base); /* not a bit is left of it */
  close_world(&w);
}
END_TEST

START_TEST(refusals) {
  world w = open_world((tiny){0}, 2);
  float logits[N * V], before[V], after[V];
  int32_t bad[] = {3, 4, V}, many[65] = {0};
  double mean = 0;
  smft_session *session = (smft_session *)1;
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  ck_ok(smft_session_feed(w.session, ids, 5, SMFT_LOGITS_LAST, before, V));
  ck_status(smft_session_feed(NULL, ids, 5, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_INVALID);
  ck_status(smft_session_feed(w.session, NULL, 5, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_INVALID);
  ck_status(smft_session_feed(w.session, ids, -1, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_INVALID);
  ck_status(smft_session_feed(w.session, ids, 5, 3, logits, N * V), SMFT_E_INVALID);
  ck_status(smft_session_feed(w.session, ids, 5, SMFT_LOGITS_ALL, NULL, N * V), SMFT_E_INVALID);
  ck_status(smft_session_feed(w.session, ids, 5, SMFT_LOGITS_ALL, logits, 5 * V - 1),
            SMFT_E_BUFFER);
  ck_status(smft_session_feed(w.session, ids, 5, SMFT_LOGITS_LAST, logits, V - 1), SMFT_E_BUFFER);
  ck_status(smft_session_feed(w.session, bad, 3, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_TOKEN);
  bad[2] = -1;
  ck_status(smft_session_feed(w.session, bad, 3, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_TOKEN);
  ck_status(smft_session_feed(w.session, many, 60, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_CONTEXT);
  ck_status(smft_session_rewind(w.session, 6), SMFT_E_INVALID);
  ck_status(smft_session_rewind(w.session, -1), SMFT_E_INVALID);
  ck_status(smft_session_rewind(NULL, 0), SMFT_E_INVALID);
  ck_assert_int_eq(smft_session_length(w.session), 5); /* as before all of that */
  ck_ok(smft_session_feed(w.session, NULL, 0, SMFT_LOGITS_LAST, after, V));
  ck_assert_double_lt(test_distance(after, before, V), 1e-5);
  ck_status(smft_session_nll(w.session, ids, 1, NULL, &mean), SMFT_E_INVALID);
  ck_status(smft_session_nll(w.session, many, 65, NULL, &mean), SMFT_E_CONTEXT);
  ck_status(smft_session_nll(NULL, ids, 5, NULL, &mean), SMFT_E_INVALID);
  ck_ok(smft_session_nll(w.session, ids, 5, NULL, NULL));
  /* nll left it empty */
  ck_status(smft_session_feed(w.session, NULL, 0, SMFT_LOGITS_LAST, after, V), SMFT_E_INVALID);
  options.context_length = 65;
  ck_status(smft_session_create(&session, w.model, NULL, &options), SMFT_E_CONTEXT);
  ck_assert_ptr_null(session);
  options.context_length = -1;
  ck_status(smft_session_create(&session, w.model, NULL, &options), SMFT_E_INVALID);
  ck_status(smft_session_create(&session, NULL, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_session_create(NULL, w.model, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_session_set_patch(NULL, NULL), SMFT_E_INVALID);
  options.context_length = 4;
  ck_ok(smft_session_create(&session, w.model, NULL, &options));
  ck_ok(smft_session_feed(session, ids, 4, SMFT_LOGITS_ALL, logits, 4 * V));
  ck_status(smft_session_feed(session, ids, 1, SMFT_LOGITS_NONE, NULL, 0), SMFT_E_CONTEXT);
  smft_session_free(session);
  smft_session_free(NULL);
  smft_session_cancel(NULL);
  ck_assert_int_eq(smft_session_length(NULL), 0);
  close_world(&w);
}
END_TEST

START_TEST(non_finite) {
  world w = open_world((tiny){0}, 1);
  float logits[N * V];
  double mean = 0;
  smft_patch *full = NULL;
  ck_ok(smft_patch_create(&full, w.model, SMFT_PATCH_FULL));
  ck_ok(smft_session_feed(w.session, ids, 3, SMFT_LOGITS_NONE, NULL, 0));
  full->full[w.model->config.stack.at[SMFT__FINAL_NORM].tensor][0] = NAN;
  ck_ok(smft_session_set_patch(w.session, full));
  ck_status(smft_session_feed(w.session, ids, N, SMFT_LOGITS_ALL, logits, N * V), SMFT_E_NONFINITE);
  ck_assert_int_eq(smft_session_length(w.session), 3);
  ck_status(smft_session_nll(w.session, ids, N, NULL, &mean), SMFT_E_NONFINITE);
  ck_status(smft_session_generate(w.session, "a", 1, NULL, NULL, NULL), SMFT_E_NONFINITE);
  smft_patch_free(full);
  close_world(&w);
}
END_TEST

/* Logits are looked through in blocks on several threads: a NaN in the last row of a long piece,
 * alone, must be seen too. */
START_TEST(one_nan_far_behind) {
  enum { VOCAB = 600, LENGTH = 250 }; /* one piece of 150,000 logits */
  static const char config[] =
      "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 1, "
      "\"num_attention_heads\": 4, "
      "\"intermediate_size\": 48, \"vocab_size\": 600, \"rms_norm_eps\": 1e-5, "
      "\"max_position_embeddings\": 256, \"tie_word_embeddings\": false}";
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *full;
  smft_session *session;
  int32_t long_ids[LENGTH];
  float *logits = malloc(sizeof *logits * LENGTH * VOCAB);
  options.n_threads = 2;
  mkdir(test_file("long"), 0700);
  test_write("long/config.json", config, sizeof config - 1);
  ck_ok(smft_ctx_create(&ctx, &options));
  ck_ok(smft_model_init(&model, ctx, test_file("long"), 1));
  ck_ok(smft_patch_create(&full, model, SMFT_PATCH_FULL));
  ck_ok(smft_session_create(&session, model, full, NULL));
  for (int i = 0; i < LENGTH; i++)
    long_ids[i] = i % 500;
  long_ids[LENGTH - 1] = 599;
  ck_ok(smft_session_feed(session, long_ids, LENGTH, SMFT_LOGITS_ALL, logits, LENGTH * VOCAB));
  ck_ok(smft_session_rewind(session, 0));
  full->full[model->config.stack.at[SMFT__EMBED].tensor][599 * 32] =
      NAN; /* only the last token reads it */
  ck_status(smft_session_feed(session, long_ids, LENGTH, SMFT_LOGITS_ALL, logits, LENGTH * VOCAB),
            SMFT_E_NONFINITE);
  ck_ok(smft_session_feed(session, long_ids, LENGTH - 1, SMFT_LOGITS_ALL, logits, LENGTH * VOCAB));
  smft_session_free(session);
  smft_patch_free(full);
  smft_model_free(model);
  smft_ctx_free(ctx);
  free(logits);
}
END_TEST

START_TEST(threads_do_not_matter) {
  float logits[3][N * V];
  for (int i = 0; i < 3; i++) {
    world w = open_world((tiny){.shared = 1}, i + 1);
    feed_all(w.session, logits[i]);
    close_world(&w);
  }
  ck_assert_mem_eq(logits[1], logits[0], sizeof logits[0]);
  ck_assert_mem_eq(logits[2], logits[0], sizeof logits[0]);
}
END_TEST

/* ---- several sessions at once -------------------------------------------- */

typedef struct runner {
  world *w;
  float wanted[N * V];
  int different;
} runner;

static void *run(void *arg) {
  runner *r = arg;
  smft_session *session = NULL;
  float logits[N * V];
  if (smft_session_create(&session, r->w->model, r->w->patch, NULL) != SMFT_OK)
    return NULL;
  for (int k = 0; k < 40; k++) {
    if (smft_session_rewind(session, 0) != SMFT_OK ||
        smft_session_feed(session, ids, N, SMFT_LOGITS_ALL, logits, N * V) != SMFT_OK)
      r->different = 1;
    if (memcmp(logits, r->wanted, sizeof logits) != 0)
      r->different = 1;
  }
  smft_session_free(session);
  return arg;
}

START_TEST(sessions_side_by_side) {
  world w = open_world((tiny){.shared = 2}, 2);
  runner runners[4];
  pthread_t threads[4];
  change_patch(w.patch, 0.3f);
  for (int i = 0; i < 4; i++) {
    runners[i] = (runner){.w = &w};
    feed_all(w.session, runners[i].wanted);
    ck_assert_int_eq(pthread_create(&threads[i], NULL, run, &runners[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    void *result = NULL;
    pthread_join(threads[i], &result);
    ck_assert_ptr_nonnull(result);
    ck_assert_int_eq(runners[i].different, 0);
  }
  close_world(&w);
}
END_TEST

/* ---- room ---------------------------------------------------------------- */

static int64_t memory_now(smft_ctx *ctx) {
  int64_t now = 0;
  ck_ok(smft_ctx_memory(ctx, &now, NULL));
  return now;
}

/* Between calls a session has its tokens and their keys and values, no room to compute: a hundred
 * more cost that, and the struct and the text, each. */
START_TEST(a_session_that_waits_has_no_room) {
  world w = open_world((tiny){0}, 1);
  smft_session *more[100];
  double mean;
  ck_ok(smft_session_nll(w.session, ids, N, NULL, &mean)); /* now the context has the room */
  int64_t before = memory_now(w.ctx), layers = w.model->config.n_layers;
  int64_t cache = 64 * 2 * layers * smft__kv_width(&w.model->config) * 4;
  for (int i = 0; i < 100; i++) {
    ck_ok(smft_session_create(&more[i], w.model, i % 2 ? w.patch : NULL, NULL));
    ck_ok(smft_session_feed(more[i], ids, N, SMFT_LOGITS_NONE, NULL, 0));
  }
  ck_assert_int_le((memory_now(w.ctx) - before) / 100, cache + 64 * 4 + 2500);
  ck_assert_int_gt((memory_now(w.ctx) - before) / 100, cache);
  ck_assert_int_gt(w.session->block_size, 10 * 2500); /* what it would be otherwise */
  for (int i = 0; i < 100; i++) {
    ck_ok(smft_session_nll(more[i], ids, N, NULL, &mean));
    smft_session_free(more[i]);
  }
  ck_assert_int_le(memory_now(w.ctx), before);
  close_world(&w);
}
END_TEST

/* ---- generation ---------------------------------------------------------- */

static int32_t argmax(const float *logits) {
  int32_t best = 0;
  for (int32_t i = 1; i < V; i++)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

START_TEST(greedy_ids) {
  world w = open_world((tiny){0}, 2);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  int32_t out[64], history[64] = {0};
  int64_t n = 0;
  float logits[V];
  options.max_tokens = 12;
  ck_ok(smft_session_generate_ids(w.session, ids, 5, &options, out, 64, &n));
  ck_assert_int_eq(n, 12);
  ck_assert_int_eq(smft_session_length(w.session), 17);
  memcpy(history, ids, 5 * sizeof *ids);
  for (int i = 0; i < 12; i++) {
    ck_ok(smft_session_rewind(w.session, 0));
    ck_ok(smft_session_feed(w.session, history, 5 + i, SMFT_LOGITS_LAST, logits, V));
    ck_assert_int_eq(out[i], argmax(logits));
    history[5 + i] = out[i];
  }
  /* room for four */
  ck_ok(smft_session_generate_ids(w.session, ids, 5, &options, out + 20, 4, &n));
  ck_assert_int_eq(n, 4);
  options.max_tokens = 8;
  options.flags = SMFT_GENERATE_CONTINUE;
  ck_ok(smft_session_generate_ids(w.session, NULL, 0, &options, out + 24, 30, &n));
  ck_assert_int_eq(n, 8);
  ck_assert_mem_eq(out, out + 20, 12 * sizeof *out);
  close_world(&w);
}
END_TEST

/* The context ends generation: one token more than fits, since its predecessor's logits are there.
 */
START_TEST(full_context) {
  world w = open_world((tiny){0}, 2);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  smft_session_options small = SMFT_SESSION_OPTIONS_INIT;
  smft_session *session = NULL;
  int32_t out[64];
  int64_t n = 0;
  small.context_length = 10;
  ck_ok(smft_session_create(&session, w.model, NULL, &small));
  options.max_tokens = 50;
  ck_ok(smft_session_generate_ids(session, ids, 7, &options, out, 64, &n));
  ck_assert_int_eq(n, 4);
  ck_assert_int_eq(smft_session_length(session), 10);
  ck_ok(smft_session_generate_ids(session, ids, 10, &options, out, 64, &n));
  ck_assert_int_eq(n, 1);
  ck_status(smft_session_generate_ids(session, ids, 11, &options, out, 64, &n), SMFT_E_CONTEXT);
  ck_assert_int_eq(n, 0);
  smft_session_free(session);
  close_world(&w);
}
END_TEST

static void sampled(world *w, smft_generate_options options, int32_t *out) {
  int64_t n = 0;
  options.max_tokens = 30;
  ck_ok(smft_session_generate_ids(w->session, ids, 5, &options, out, 30, &n));
  ck_assert_int_eq(n, 30);
}

START_TEST(sampling_has_a_seed) {
  world w = open_world((tiny){0}, 2);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  int32_t a[30], b[30], greedy[30];
  sampled(&w, options, greedy);
  options.temperature = 1;
  options.seed = 5;
  sampled(&w, options, a);
  sampled(&w, options, b);
  ck_assert_mem_eq(a, b, sizeof a);
  options.seed = 6;
  sampled(&w, options, b);
  ck_assert_mem_ne(a, b, sizeof a);
  options.top_k = 1; /* leaves the best */
  sampled(&w, options, b);
  ck_assert_mem_eq(greedy, b, sizeof b);
  options.top_k = 0;
  options.top_p = 1e-6f;
  sampled(&w, options, b);
  ck_assert_mem_eq(greedy, b, sizeof b);
  close_world(&w);
}
END_TEST

/* Frequencies of the sampler against the probabilities that temperature, top-k and top-p leave. */
START_TEST(sampler_distribution) {
  static const struct {
    float temperature, top_p;
    int32_t top_k;
    double wanted[5];
  } cases[] = {
      {1, 0, 0, {0.1, 0.2, 0.4, 0.25, 0.05}},
      {1, 0, 2, {0, 0, 0.4 / 0.65, 0.25 / 0.65, 0}},
      {1, 0.6f, 0, {0, 0, 0.4 / 0.65, 0.25 / 0.65, 0}},
      {1, 0.7f, 0, {0, 0.2 / 0.85, 0.4 / 0.85, 0.25 / 0.85, 0}},
      {1, 0.5f, 3, {0, 0, 0.4 / 0.65, 0.25 / 0.65, 0}}, /* top_p of what top_k left */
      {0.5f, 0, 0, {0.01 / 0.275, 0.04 / 0.275, 0.16 / 0.275, 0.0625 / 0.275, 0.0025 / 0.275}},
      {0, 0, 0, {0, 0, 1, 0, 0}},
  };
  float logits[5] = {logf(0.1f), logf(0.2f), logf(0.4f), logf(0.25f), logf(0.05f)};
  int32_t order[5], counts[5] = {0};
  smft__sampler sampler = {cases[_i].temperature, cases[_i].top_p, cases[_i].top_k, {{0}}};
  smft__rng_seed(&sampler.rng, 1);
  for (int k = 0; k < 20000; k++)
    counts[smft__sampler_next(&sampler, logits, 5, order)]++;
  for (int i = 0; i < 5; i++)
    ck_assert_double_eq_tol(counts[i] / 20000.0, cases[_i].wanted[i], 0.012);
}
END_TEST

START_TEST(generate_refusals) {
  world w = open_world((tiny){0}, 2);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  int32_t out[8];
  int64_t n = 5;
  const char *text = "x";
  ck_status(smft_session_generate(NULL, "a", 1, NULL, &text, NULL), SMFT_E_INVALID);
  ck_assert_ptr_null(text);
  ck_status(smft_session_generate(w.session, NULL, 1, NULL, &text, NULL), SMFT_E_INVALID);
  ck_status(smft_session_generate(w.session, "\xff", 1, NULL, &text, NULL), SMFT_E_ENCODING);
  /* nothing to start from */
  ck_status(smft_session_generate_ids(w.session, NULL, 0, NULL, out, 8, &n), SMFT_E_INVALID);
  ck_status(smft_session_generate_ids(w.session, ids, 5, NULL, NULL, 8, &n), SMFT_E_INVALID);
  ck_status(smft_session_generate_ids(w.session, ids, 5, NULL, out, 0, &n), SMFT_E_INVALID);
  ck_status(smft_session_generate_ids(NULL, ids, 5, NULL, out, 8, &n), SMFT_E_INVALID);
  options.stop = "x";
  ck_status(smft_session_generate_ids(w.session, ids, 5, &options, out, 8, &n), SMFT_E_INVALID);
  options.stop = NULL;
  options.temperature = NAN;
  ck_status(smft_session_generate(w.session, "a", 1, &options, &text, NULL), SMFT_E_INVALID);
  options.temperature = -1;
  ck_status(smft_session_generate(w.session, "a", 1, &options, &text, NULL), SMFT_E_INVALID);
  options.temperature = 1;
  options.top_p = 1.5f;
  ck_status(smft_session_generate(w.session, "a", 1, &options, &text, NULL), SMFT_E_INVALID);
  options.top_p = 0;
  options.top_k = -1;
  ck_status(smft_session_generate(w.session, "a", 1, &options, &text, NULL), SMFT_E_INVALID);
  options.top_k = 0;
  options.flags = 64;
  ck_status(smft_session_generate(w.session, "a", 1, &options, &text, NULL), SMFT_E_INVALID);
  options.flags = 0;
  options.max_tokens = -1;
  ck_status(smft_session_generate(w.session, "a", 1, &options, &text, NULL), SMFT_E_INVALID);
  ck_assert_ptr_null(text);
  close_world(&w);
}
END_TEST

START_TEST(without_a_tokenizer) {
  world w = open_world((tiny){0}, 1);
  smft_model *bare = NULL;
  smft_session *session = NULL;
  ck_assert_int_eq(unlink(test_file("m/tokenizer.json")), 0);
  ck_ok(smft_model_init(&bare, w.ctx, test_file("m"), 1));
  ck_ok(smft_session_create(&session, bare, NULL, NULL));
  ck_assert_ptr_null(smft_model_tokenizer(bare));
  ck_status(smft_session_generate(session, "a", 1, NULL, NULL, NULL), SMFT_E_UNSUPPORTED);
  smft_session_free(session);
  smft_model_free(bare);
  close_world(&w);
}
END_TEST

typedef struct listener {
  smft_session *session;
  char text[256];
  size_t length;
  int calls, stop_after, cancel_after;
  int32_t last;
} listener;

static int32_t listen(void *user, int32_t id, const char *text, size_t length) {
  listener *l = user;
  memcpy(l->text + l->length, text, length);
  l->length += length;
  l->last = id;
  l->calls++;
  if (l->calls == l->cancel_after)
    smft_session_cancel(l->session);
  return l->calls == l->stop_after;
}

START_TEST(callback_and_cancel) {
  world w = open_world((tiny){0}, 2);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  listener l = {.session = w.session, .stop_after = 5};
  const char *text = NULL;
  size_t length = 0;
  options.on_token = listen;
  options.user = &l;
  options.max_tokens = 20;
  ck_ok(smft_session_generate(w.session, "abc", 3, &options, &text, &length));
  ck_assert_int_eq(l.calls, 5);
  ck_assert_uint_eq(l.length, length);
  ck_assert_mem_eq(l.text, text, length);
  ck_assert_int_eq(smft_session_length(w.session), 4 + 5);
  l = (listener){.session = w.session, .cancel_after = 3};
  text = "x";
  options.flags = SMFT_GENERATE_CONTINUE;
  ck_status(smft_session_generate(w.session, "abc", 3, &options, &text, &length), SMFT_E_CANCELLED);
  ck_assert_ptr_null(text);
  ck_assert_int_eq(l.calls, 3);
  ck_assert_int_eq(smft_session_length(w.session), 4 + 5); /* as before */
  options.flags = 0;
  options.on_token = NULL;
  /* a cancellation does not outlive its call */
  ck_ok(smft_session_generate(w.session, "abc", 3, &options, &text, &length));
  close_world(&w);
}
END_TEST

START_TEST(stop_strings_and_what_is_held_back) {
  world w = open_world((tiny){0}, 2);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  listener l = {0};
  const char *text = NULL;
  size_t length = 0;
  options.max_tokens = 20; /* what it says by itself, then cut at every string that is in it */
  options.temperature = 1;
  options.seed = 3;
  ck_ok(smft_session_generate(w.session, "Q", 1, &options, &text, &length));
  char whole[64];
  snprintf(whole, sizeof whole, "%s", text);
  size_t n = length;
  options.on_token = listen;
  options.user = &l;
  for (size_t at = 0; at < n; at++)
    for (size_t size = 1; size <= 4 && at + size <= n; size++) {
      char stop[8] = {0};
      memcpy(stop, whole + at, size);
      l = (listener){0};
      options.stop = stop;
      ck_ok(smft_session_generate(w.session, "Q", 1, &options, &text, &length));
      size_t wanted = (size_t)(strstr(whole, stop) - whole);
      ck_assert_uint_eq(length, wanted);
      ck_assert_mem_eq(text, whole, wanted);
      ck_assert_int_eq(text[wanted], 0);
      ck_assert_uint_eq(l.length, wanted); /* the callback never saw a byte of it */
      ck_assert_mem_eq(l.text, whole, wanted);
    }
  options.stop = "never said";
  l = (listener){0};
  ck_ok(smft_session_generate(w.session, "Q", 1, &options, &text, &length));
  ck_assert_str_eq(text, whole);
  ck_assert_uint_eq(l.length, n);
  close_world(&w);
}
END_TEST

/* ---- why it ended -------------------------------------------------------- */

/* Generates with ids[0..4] before, and says why it ended. */
static int32_t finish_of(smft_session *session, const smft_generate_options *options,
                         int64_t capacity, int64_t *n) {
  int32_t out[64];
  ck_ok(smft_session_generate_ids(session, ids, 5, options, out, capacity, n));
  return smft_session_finish(session);
}

START_TEST(each_end_has_its_reason) {
  world w = open_world((tiny){0}, 1);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  listener l = {.stop_after = 4};
  const char *text = NULL;
  int64_t n;
  ck_assert_int_eq(smft_session_finish(w.session), SMFT_FINISH_NONE);
  options.max_tokens = 6;
  ck_assert_int_eq(finish_of(w.session, &options, 64, &n), SMFT_FINISH_LENGTH);
  ck_assert_int_eq(n, 6);
  options.max_tokens = 50;
  ck_assert_int_eq(finish_of(w.session, &options, 7, &n), SMFT_FINISH_LENGTH);
  options.max_tokens = 64;
  ck_assert_int_eq(finish_of(w.session, &options, 64, &n), SMFT_FINISH_CONTEXT);
  ck_assert_int_eq(n, 60);
  options.on_token = listen;
  options.user = &l;
  ck_assert_int_eq(finish_of(w.session, &options, 64, &n), SMFT_FINISH_CALLBACK);
  ck_assert_int_eq(n, 4);
  options.on_token = NULL;
  options.stop = "";
  options.max_tokens = 5;
  ck_ok(smft_session_generate(w.session, "Q", 1, &options, &text, NULL));
  ck_assert_int_eq(smft_session_finish(w.session), SMFT_FINISH_LENGTH);
  char stop[2] = {text[4], 0}; /* with the fifth token at the latest: the lower number */
  options.stop = stop;
  ck_ok(smft_session_generate(w.session, "Q", 1, &options, &text, NULL));
  ck_assert_int_eq(smft_session_finish(w.session), SMFT_FINISH_STOP);
  ck_status(smft_session_generate(w.session, "\xff", 1, &options, &text, NULL), SMFT_E_ENCODING);
  ck_assert_int_eq(smft_session_finish(w.session), SMFT_FINISH_NONE);
  close_world(&w);
}
END_TEST

/* The same weights, and the first token that they generate is now an end of text. */
START_TEST(an_end_of_text_is_the_end) {
  world w = open_world((tiny){0}, 1);
  smft_model *ending = NULL;
  smft_session *session = NULL;
  char keys[80];
  int32_t first;
  int64_t n;
  ck_ok(smft_session_generate_ids(w.session, ids, 5, NULL, &first, 1, &n));
  snprintf(keys, sizeof keys, "\"model_type\": \"llama\", \"eos_token_id\": %d", (int)first);
  tiny_family("m", keys);
  ck_ok(smft_model_init(&ending, w.ctx, test_file("m"), 3));
  ck_ok(smft_session_create(&session, ending, NULL, NULL));
  ck_assert_int_eq(finish_of(session, NULL, 64, &n), SMFT_FINISH_END);
  ck_assert_int_eq(n, 0);
  smft_session_free(session);
  smft_model_free(ending);
  close_world(&w);
}
END_TEST

static int32_t dawdle(void *user, int32_t id, const char *text, size_t length) {
  const struct timespec nap = {0, 20 * 1000 * 1000};
  nanosleep(&nap, NULL);
  return listen(user, id, text, length);
}

/* What there is by then is what would have come, also in the callback, and generation can go on. */
START_TEST(time_is_over) {
  world w = open_world((tiny){0}, 1);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  listener l = {0};
  const char *text = NULL;
  char whole[128], both[128];
  size_t length = 0;
  options.max_tokens = 20;
  options.stop = "never said";
  ck_ok(smft_session_generate(w.session, "Q", 1, &options, &text, NULL));
  snprintf(whole, sizeof whole, "%s", text);
  options.max_seconds = 0.05;
  options.on_token = dawdle;
  options.user = &l;
  ck_ok(smft_session_generate(w.session, "Q", 1, &options, &text, &length));
  ck_assert_int_eq(smft_session_finish(w.session), SMFT_FINISH_TIME);
  ck_assert(l.calls >= 1 && l.calls < 20 && length < strlen(whole));
  ck_assert_uint_eq(l.length, length);
  ck_assert_mem_eq(l.text, text, length);
  snprintf(both, sizeof both, "%s", text);
  options.on_token = NULL;
  options.max_seconds = 1e6;
  options.max_tokens = 20 - l.calls;
  options.flags = SMFT_GENERATE_CONTINUE;
  ck_ok(smft_session_generate(w.session, "", 0, &options, &text, NULL));
  ck_assert_int_eq(smft_session_finish(w.session), SMFT_FINISH_LENGTH);
  strcat(both, text);
  ck_assert_str_eq(both, whole);
  close_world(&w);
}
END_TEST

/* No time at all: no token, but the prompt is in the session. */
START_TEST(time_is_over_before_the_first_token) {
  world w = open_world((tiny){0}, 1);
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  int64_t n;
  int32_t out[8], wanted[8];
  ck_ok(smft_session_generate_ids(w.session, ids, 5, &options, wanted, 8, &n));
  options.max_seconds = 1e-9;
  ck_assert_int_eq(finish_of(w.session, &options, 8, &n), SMFT_FINISH_TIME);
  ck_assert_int_eq(n, 0);
  ck_assert_int_eq(smft_session_length(w.session), 5);
  options.max_seconds = 0;
  options.flags = SMFT_GENERATE_CONTINUE;
  ck_ok(smft_session_generate_ids(w.session, NULL, 0, &options, out, 8, &n));
  ck_assert_mem_eq(out, wanted, sizeof out);
  const double bad[] = {-1, NAN, INFINITY};
  for (int i = 0; i < 3; i++) {
    options.max_seconds = bad[i];
    ck_status(smft_session_generate_ids(w.session, ids, 5, &options, out, 8, &n), SMFT_E_INVALID);
  }
  close_world(&w);
}
END_TEST

/* ---- memory -------------------------------------------------------------- */

START_TEST(failing_allocations) {
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 1);
  smft_model *model = tiny_model(ctx, "m", (tiny){0}, 1);
  smft_session *session = NULL;
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  double mean = 0;
  options.temperature = 1;
  long long failures = 0, live = state.live;
  for (long long k = 1; !session; k++) {
    state.calls = 0;
    state.fail_at = k;
    if (smft_session_create(&session, model, NULL, NULL) != SMFT_OK)
      ck_assert_int_eq(state.live, live);
    failures++;
  }
  state.fail_at = 0;
  ck_ok(smft_session_feed(session, ids, 3, SMFT_LOGITS_NONE, NULL, 0));
  for (int what = 0; what < 2; what++)
    for (long long k = 1;; k++) {
      state.calls = 0;
      state.fail_at = k;
      smft_status status = what ? smft_session_generate(session, "abc", 3, &options, &text, NULL)
                                : smft_session_nll(session, ids, N, NULL, &mean);
      state.fail_at = 0;
      if (status == SMFT_OK)
        break;
      ck_assert_int_eq(status, SMFT_E_NOMEM);
      failures++;
    }
  ck_assert_int_gt(failures, 5);
  smft_session_free(session);
  smft_model_free(model);
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("unit session");
  TCase *tests = tcase_create("session");
  test_directory_make();
  tcase_add_test(tests, pieces_and_rewind);
  tcase_add_loop_test(tests, more_than_a_chunk, 0, 3);
  tcase_add_test(tests, a_patch_that_changes_underneath);
  tcase_add_test(tests, another_patch);
  tcase_add_test(tests, refusals);
  tcase_add_test(tests, non_finite);
  tcase_add_test(tests, one_nan_far_behind);
  tcase_add_test(tests, threads_do_not_matter);
  tcase_add_test(tests, sessions_side_by_side);
  tcase_add_test(tests, a_session_that_waits_has_no_room);
  tcase_add_test(tests, greedy_ids);
  tcase_add_test(tests, full_context);
  tcase_add_test(tests, sampling_has_a_seed);
  tcase_add_loop_test(tests, sampler_distribution, 0, 7);
  tcase_add_test(tests, generate_refusals);
  tcase_add_test(tests, without_a_tokenizer);
  tcase_add_test(tests, callback_and_cancel);
  tcase_add_test(tests, stop_strings_and_what_is_held_back);
  tcase_add_test(tests, each_end_has_its_reason);
  tcase_add_test(tests, an_end_of_text_is_the_end);
  tcase_add_test(tests, time_is_over);
  tcase_add_test(tests, time_is_over_before_the_first_token);
  tcase_add_test(tests, failing_allocations);
  tcase_add_test(tests, a_pinned_session_keeps_its_version);
  tcase_add_test(tests, a_pin_wants_a_slots_patch);
  suite_add_tcase(suite, tests);
  return suite;
}
