/* threads: what smft.h promises about them, through smft.h alone: many sessions on one model and
 * one patch at once, who go on with the version that they have while others change it, cancelling
 * from another thread, and handles freed in whatever thread ends last. */
#include <pthread.h>
#include <stdatomic.h>
#include "test.h"
#include "tiny.h"

#define N_THREADS 4
#define N 24
#define DIM 20

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_learner *learner;
} world;

static void change_patch(smft_patch *patch, float size) {
  float row[DIM];
  for (int64_t slot = 0; slot < 256; slot++) {
    for (int i = 0; i < DIM; i++)
      row[i] = size * (float)((slot * 31 + i * 17) % 13 - 6);
    ck_ok(smft_patch_set_row(patch, 0, slot, row, DIM));
  }
}

static world open_world(int32_t n_threads, int32_t max_steps) {
  world w = {NULL, NULL, NULL, NULL};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  options.n_threads = n_threads;
  learning.loss_below = -1;
  learning.max_steps = max_steps;
  learning.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  ck_ok(smft_ctx_create(&w.ctx, &options));
  w.model = tiny_model(w.ctx, "m", (tiny){.shared = 1}, 5);
  ck_ok(smft_patch_create(&w.patch, w.model, SMFT_PATCH_SLOTS));
  smft_selector *selector = tiny_selector(w.model, 0, 8);
  ck_ok(smft_learner_create(&w.learner, w.model, w.patch, selector, NULL, &learning));
  smft_selector_free(selector);
  tiny_push(w.learner, "first", "one");
  return w;
}

static void close_world(world *w) {
  smft_learner_free(w->learner);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

/* ---- many readers -------------------------------------------------------- */

typedef struct answer { /* what one session says */
  char text[200];
  float nll[N - 1];
  double mean;
} answer;

static smft_status ask(smft_session *session, int which, answer *a) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  int32_t ids[N];
  char prompt[32];
  for (int i = 0; i < N; i++)
    ids[i] = (i * 7 + which * 13) % TINY_VOCAB;
  options.temperature = 1;
  options.seed = (uint64_t)which;
  options.max_tokens = 24;
  snprintf(prompt, sizeof prompt, "prompt %d", which);
  memset(a, 0, sizeof *a);
  smft_status status = smft_session_nll(session, ids, N, a->nll, &a->mean);
  if (status == SMFT_OK)
    status = smft_session_generate(session, prompt, strlen(prompt), &options, &text, NULL);
  if (status == SMFT_OK)
    snprintf(a->text, sizeof a->text, "%s", text);
  return status;
}

typedef struct reader {
  pthread_t thread;
  world *w;
  int which, rounds;
  answer wanted;
  int wrong;
  char message[256];
} reader;

static void *read_much(void *arg) { /* no ck_ here: libcheck's longjmp belongs to the main thread */
  reader *r = arg;
  for (int i = 0; i < r->rounds && !r->wrong; i++) {
    answer a;
    smft_session *session = NULL;
    int64_t now, peak;
    smft_status status = smft_session_create(&session, r->w->model, r->w->patch, NULL);
    if (status == SMFT_OK)
      status = ask(session, r->which, &a);
    if (status == SMFT_OK)
      status = smft_ctx_memory(r->w->ctx, &now, &peak);
    r->wrong = status != SMFT_OK || memcmp(&a, &r->wanted, sizeof a) != 0 || now <= 0 || peak < now;
    if (status != SMFT_OK)
      snprintf(r->message, sizeof r->message, "%s", smft_error_message());
    smft_session_free(session);
  }
  return NULL;
}

START_TEST(many_sessions_on_one_patch) {
  world w = open_world(_i, 3);
  static reader readers[N_THREADS];
  smft_session *session = NULL;
  change_patch(w.patch, 0.3f);
  ck_ok(smft_session_create(&session, w.model, w.patch, NULL));
  for (int i = 0; i < N_THREADS; i++) {
    readers[i] = (reader){.w = &w, .which = i, .rounds = 10};
    ck_ok(ask(session, i, &readers[i].wanted));
  }
  ck_assert(memcmp(&readers[0].wanted, &readers[1].wanted, sizeof readers[0].wanted) != 0);
  for (int i = 0; i < N_THREADS; i++)
    ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_much, &readers[i]), 0);
  for (int i = 0; i < N_THREADS; i++) {
    pthread_join(readers[i].thread, NULL);
    ck_assert_msg(!readers[i].wrong, "thread %d: another answer, or: %s", i, readers[i].message);
  }
  smft_session_free(session);
  close_world(&w);
}
END_TEST

/* ---- a writer while somebody reads --------------------------------------- */

typedef struct meddler {
  world *w;
  smft_patch *copy;
  int64_t length;
  int calls;
  smft_status step, set, reset, clear, batch, second_read, copied, saved;
} meddler;

static void *meddle(void *arg) {
  meddler *m = arg;
  float row[DIM] = {0};
  int32_t ids[] = {5, 6, 7};
  int64_t length = 3;
  smft_batch batch = SMFT_BATCH_INIT;
  batch.ids = ids;
  batch.lengths = &length;
  batch.n_sequences = 1;
  m->step = smft_step(m->w->learner, NULL);
  m->set = smft_patch_set_row(m->w->patch, 0, 0, row, DIM);
  m->reset = smft_patch_reset_row(m->w->patch, 0, 0);
  m->clear = smft_patch_clear(m->w->patch);
  m->batch = smft_learner_step_batch(m->w->learner, &batch, NULL);
  m->second_read = smft_patch_row(m->w->patch, 0, 0, row, DIM);
  m->copied = smft_patch_copy(&m->copy, m->w->patch);
  m->saved = smft_patch_save(m->w->patch, test_file("meddled"), 0);
  return NULL;
}

static int32_t on_token(void *user, int32_t id, const char *text, size_t length) {
  meddler *m = user;
  pthread_t thread;
  (void)id, (void)text, (void)length;
  if (m->calls++ == 1 && pthread_create(&thread, NULL, meddle, m) == 0)
    pthread_join(thread, NULL);
  return 0;
}

START_TEST(a_session_reads_while_all_changes) {
  world w = open_world(2, 3);
  meddler m = {.w = &w};
  smft_session *session = NULL;
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  char before[200];
  options.max_tokens = 20;
  change_patch(w.patch, 0.3f);
  ck_ok(smft_session_create(&session, w.model, w.patch, NULL));
  ck_ok(smft_session_generate(session, "abc", 3, &options, &text, NULL));
  snprintf(before, sizeof before, "%s", text);
  options.on_token = on_token;
  options.user = &m;
  ck_ok(smft_session_generate(session, "abc", 3, &options, &text, NULL));
  ck_assert_str_eq(text, before);
  ck_assert_int_gt(m.calls, 2);
  ck_assert_int_eq(m.step, SMFT_OK);
  ck_assert_int_eq(m.set, SMFT_OK);
  ck_assert_int_eq(m.reset, SMFT_OK);
  ck_assert_int_eq(m.clear, SMFT_OK);
  ck_assert_int_eq(m.batch, SMFT_OK);
  ck_assert_int_eq(m.second_read, SMFT_OK);
  ck_assert_int_eq(m.copied, SMFT_OK);
  ck_assert_int_eq(m.saved, SMFT_OK);
  uint64_t number = smft_patch_version(w.patch);
  ck_assert_uint_lt(smft_session_version(session), number);
  ck_ok(smft_session_generate(session, "abc", 3, &options, &text, NULL)); /* the next call's */
  ck_assert_uint_eq(smft_session_version(session), number);
  ck_assert_str_ne(text, before);
  smft_patch_free(m.copy);
  smft_session_free(session);
  close_world(&w);
}
END_TEST

typedef struct writer {
  pthread_t thread;
  world *w;
  int steps;
} writer;

static void *write_much(void *arg) {
  writer *own = arg;
  while (own->steps < 20 && smft_step(own->w->learner, NULL) == SMFT_OK)
    own->steps++;
  return NULL;
}

/* Two race; nobody is refused, and the outcome is that of 20 steps alone. */
START_TEST(steps_and_sessions_race) {
  world w = open_world(2, 20), alone = open_world(1, 20);
  writer own = {.w = &w};
  smft_session *session = NULL;
  answer a;
  float left[DIM], right[DIM];
  int64_t n, m;
  ck_ok(smft_session_create(&session, w.model, w.patch, NULL));
  ck_assert_int_eq(pthread_create(&own.thread, NULL, write_much, &own), 0);
  for (int i = 0; i < 30; i++) {
    ck_ok(ask(session, i, &a));
  }
  pthread_join(own.thread, NULL);
  ck_assert_int_eq(own.steps, 20);
  for (int i = 0; i < 20; i++)
    ck_ok(smft_step(alone.learner, NULL));
  ck_ok(smft_patch_slots(w.patch, 0, NULL, 0, &n));
  ck_ok(smft_patch_slots(alone.patch, 0, NULL, 0, &m));
  ck_assert_int_eq(n, m);
  for (int64_t slot = 0; slot < 256; slot++) {
    ck_ok(smft_patch_row(w.patch, 0, slot, left, DIM));
    ck_ok(smft_patch_row(alone.patch, 0, slot, right, DIM));
    ck_assert_mem_eq(left, right, sizeof left);
  }
  ck_ok(ask(session, 1, &a));
  smft_session_free(session);
  close_world(&w);
  close_world(&alone);
}
END_TEST

/* ---- cancelling ---------------------------------------------------------- */

typedef struct canceller {
  pthread_t thread;
  smft_session *session;
  smft_learner *learner;
  atomic_int running, ended;
} canceller;

static void *cancel(void *arg) { /* again and again */
  canceller *c = arg;
  while (!c->ended) {
    if (c->running > 3) {
      smft_session_cancel(c->session);
      smft_learner_cancel(c->learner);
    }
    usleep(100);
  }
  return NULL;
}

static int32_t count_token(void *user, int32_t id, const char *text, size_t length) {
  canceller *c = user;
  (void)id, (void)text, (void)length;
  c->running++;
  usleep(500);
  return 0;
}
static int32_t count_progress(void *user, const char *stage, int64_t done, int64_t total) {
  (void)stage, (void)done, (void)total;
  ((canceller *)user)->running++;
  usleep(500);
  return 0;
}

START_TEST(another_thread_cancels_generation) {
  world w = open_world(2, 3);
  canceller c = {.session = NULL};
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  answer before, after;
  smft_status status = SMFT_OK;
  ck_ok(smft_session_create(&c.session, w.model, w.patch, NULL));
  ck_ok(ask(c.session, 3, &before));
  options.max_tokens = 60;
  options.temperature = 1;
  options.on_token = count_token;
  options.user = &c;
  ck_assert_int_eq(pthread_create(&c.thread, NULL, cancel, &c), 0);
  for (int i = 0; i < 50 && status == SMFT_OK; i++)
    status = smft_session_generate(c.session, "a", 1, &options, NULL, NULL);
  c.ended = 1;
  pthread_join(c.thread, NULL);
  ck_assert_int_eq(status, SMFT_E_CANCELLED);
  ck_assert_int_eq(smft_session_length(c.session), 0);
  (void)ask(c.session, 3, &after);  /* a stop that came behind the end is for the next call, */
  ck_ok(ask(c.session, 3, &after)); /* and for no other */
  ck_assert_mem_eq(&before, &after, sizeof before);
  smft_session_free(c.session);
  close_world(&w);
}
END_TEST

START_TEST(another_thread_cancels_learning) {
  world w = open_world(2, 2), alone = open_world(1, 2);
  canceller c = {.learner = w.learner};
  smft_run_report report = SMFT_RUN_REPORT_INIT;
  char id[24];
  float left[DIM], right[DIM];
  for (int i = 0; i < 40; i++) {
    snprintf(id, sizeof id, "fact %d", i);
    tiny_push(w.learner, id, "two");
    tiny_push(alone.learner, id, "two");
  }
  ck_assert_int_eq(pthread_create(&c.thread, NULL, cancel, &c), 0);
  smft_status status = smft_learner_run(w.learner, count_progress, &c, &report);
  c.ended = 1;
  pthread_join(c.thread, NULL);
  ck_assert_int_eq(status, SMFT_E_CANCELLED);
  ck_assert_int_eq(report.facts_done + report.facts_gave_up + smft_learner_pending(w.learner), 41);
  ck_assert_int_gt(smft_learner_pending(w.learner), 0);
  (void)smft_learner_run(w.learner, NULL, NULL, NULL);  /* a stop may have come behind the end */
  ck_ok(smft_learner_run(w.learner, NULL, NULL, NULL)); /* goes on as if nothing had been */
  ck_ok(smft_learner_run(alone.learner, NULL, NULL, NULL));
  for (int64_t slot = 0; slot < 256; slot++) {
    ck_ok(smft_patch_row(w.patch, 0, slot, left, DIM));
    ck_ok(smft_patch_row(alone.patch, 0, slot, right, DIM));
    ck_assert_mem_eq(left, right, sizeof left);
  }
  close_world(&w);
  close_world(&alone);
}
END_TEST

/* ---- ownership ----------------------------------------------------------- */

typedef struct owner {
  pthread_t thread;
  smft_session *session;
  smft_status status;
} owner;

static void *use_and_free(void *arg) {
  owner *o = arg;
  answer a;
  o->status = ask(o->session, 1, &a);
  smft_session_free(o->session);
  return NULL;
}

/* Everything else is freed while the sessions still work; the last of them frees the model and the
 * context, in its own thread. */
START_TEST(the_last_thread_frees) {
  world w = open_world(2, 3);
  owner owners[N_THREADS];
  for (int i = 0; i < N_THREADS; i++)
    ck_ok(smft_session_create(&owners[i].session, w.model, w.patch, NULL));
  for (int i = 0; i < N_THREADS; i++)
    ck_assert_int_eq(pthread_create(&owners[i].thread, NULL, use_and_free, &owners[i]), 0);
  close_world(&w);
  for (int i = 0; i < N_THREADS; i++) {
    pthread_join(owners[i].thread, NULL);
    ck_assert_int_eq(owners[i].status, SMFT_OK);
  }
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("threads");
  TCase *tests = tcase_create("threads");
  test_directory_make();
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, many_sessions_on_one_patch, 1, 4);
  tcase_add_test(tests, a_session_reads_while_all_changes);
  tcase_add_test(tests, steps_and_sessions_race);
  tcase_add_test(tests, another_thread_cancels_generation);
  tcase_add_test(tests, another_thread_cancels_learning);
  tcase_add_test(tests, the_last_thread_frees);
  suite_add_tcase(suite, tests);
  return suite;
}
