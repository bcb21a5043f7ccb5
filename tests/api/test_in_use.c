/* in use: what becomes of a call on a handle that another call has in hand, of a free meanwhile,
 * and of a stop that is asked for between two calls; through smft.h alone. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#include "test.h"
#include "tiny.h"

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_selector *selector;
  smft_optimizer *optimizer;
  smft_learner *learner;
  smft_session *session;
  smft_probe *probe;
} world;

static smft_learner *new_learner(world *w, smft_patch *patch, smft_fact_fn on_fact, void *user) {
  smft_learner *learner = NULL;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  options.loss_below = -1;
  options.max_steps = 2;
  options.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  options.on_fact = on_fact;
  options.on_fact_user = user;
  ck_ok(smft_learner_create(&learner, w->model, patch, w->selector, w->optimizer, &options));
  tiny_push(learner, "first", "one");
  tiny_push(learner, "second", "two");
  return learner;
}

static world open_world(int32_t n_threads) {
  world w = {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_optimizer_options updating = SMFT_OPTIMIZER_OPTIONS_INIT;
  const char *answers[] = {"a"};
  options.n_threads = n_threads;
  updating.kind = SMFT_OPTIMIZER_ADAMW;
  ck_ok(smft_ctx_create(&w.ctx, &options));
  w.model = tiny_model(w.ctx, "m", (tiny){.shared = 1}, 5);
  ck_ok(smft_patch_create(&w.patch, w.model, SMFT_PATCH_SLOTS));
  w.selector = tiny_selector(w.model, 0, 8);
  ck_ok(smft_optimizer_create(&w.optimizer, w.ctx, &updating));
  ck_ok(smft_session_create(&w.session, w.model, w.patch, NULL));
  ck_ok(smft_probe_create(&w.probe, w.ctx, NULL));
  ck_ok(smft_probe_add_question(w.probe, "q", "what", answers, 1));
  ck_ok(smft_probe_add_text(w.probe, "t", "some text of a kind"));
  return w;
}

static void close_world(world *w) {
  smft_probe_free(w->probe);
  smft_session_free(w->session);
  smft_learner_free(w->learner);
  smft_optimizer_free(w->optimizer);
  smft_selector_free(w->selector);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

static smft_status say(smft_session *session, int32_t max_tokens, smft_token_fn on_token,
                       void *user, char out[200]) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  options.max_tokens = max_tokens;
  options.temperature = 1;
  options.on_token = on_token;
  options.user = user;
  smft_status status = smft_session_generate(session, "abc", 3, &options, &text, NULL);
  if (status == SMFT_OK && out)
    snprintf(out, 200, "%s", text);
  else
    ck_assert(status == SMFT_OK || text == NULL);
  return status;
}

/* ---- from its own callback ----------------------------------------------- */

static int32_t call_session(void *user, int32_t id, const char *text, size_t length) {
  world *w = user;
  int32_t ids[2] = {1, 2};
  float logits[TINY_VOCAB];
  double mean;
  int64_t n;
  (void)id, (void)text, (void)length;
  ck_status(say(w->session, 2, NULL, NULL, NULL), SMFT_E_STATE);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "session is in use"));
  ck_status(smft_session_generate_ids(w->session, ids, 2, NULL, ids, 2, &n), SMFT_E_STATE);
  ck_status(smft_session_feed(w->session, ids, 2, SMFT_LOGITS_LAST, logits, TINY_VOCAB),
            SMFT_E_STATE);
  ck_status(smft_session_nll(w->session, ids, 2, NULL, &mean), SMFT_E_STATE);
  ck_status(smft_session_rewind(w->session, 0), SMFT_E_STATE);
  ck_status(smft_session_set_patch(w->session, NULL), SMFT_E_STATE);
  ck_status(smft_probe_baseline(w->probe, w->session, NULL, NULL), SMFT_E_STATE);
  ck_assert_int_gt(smft_session_length(w->session), 0);
  return 0;
}

START_TEST(a_session_is_not_called_by_its_own_callback) {
  world w = open_world(2);
  char alone[200], called[200];
  ck_ok(say(w.session, 12, NULL, NULL, alone));
  ck_ok(say(w.session, 12, call_session, &w, called));
  ck_assert_str_eq(alone, called);
  close_world(&w);
}
END_TEST

static int32_t free_session(void *user, int32_t id, const char *text, size_t length) {
  world *w = user;
  (void)id, (void)text, (void)length;
  smft_session_free(w->session);
  return 0;
}

/* With one token the call is over before it looks: its text would be the session's. */
START_TEST(a_session_is_freed_by_its_own_callback) {
  world w = open_world(2);
  ck_status(say(w.session, _i == 0 ? 12 : 1, free_session, &w, NULL), SMFT_E_CANCELLED);
  w.session = NULL;
  close_world(&w);
}
END_TEST

static int32_t call_learner(void *user, const char *stage, int64_t done, int64_t total) {
  world *w = user;
  smft_wording wording = SMFT_WORDING_INIT;
  smft_batch batch = SMFT_BATCH_INIT;
  int32_t ids[2] = {1, 2};
  int64_t length = 2;
  (void)stage, (void)done, (void)total;
  wording.prompt = "a", wording.answer = "b";
  batch.ids = ids, batch.lengths = &length, batch.n_sequences = 1;
  ck_status(smft_step(w->learner, NULL), SMFT_E_STATE);
  ck_status(smft_learner_run(w->learner, NULL, NULL, NULL), SMFT_E_STATE);
  ck_status(smft_learner_step_batch(w->learner, &batch, NULL), SMFT_E_STATE);
  ck_status(smft_learner_skip(w->learner), SMFT_E_STATE);
  ck_status(smft_learner_set_patch(w->learner, w->patch), SMFT_E_STATE);
  ck_status(smft_learner_push(w->learner, "x", &wording, 1), SMFT_E_STATE);
  ck_status(smft_learner_push_file(w->learner, "x.jsonl", NULL), SMFT_E_STATE);
  ck_assert_int_ge(smft_learner_pending(w->learner), 0);
  return 0;
}

static int32_t free_learner(void *user, const char *stage, int64_t done, int64_t total) {
  (void)stage, (void)done, (void)total;
  smft_learner_free(((world *)user)->learner);
  return 0;
}

START_TEST(a_learner_is_not_called_by_its_own_progress) {
  world w = open_world(2);
  smft_run_report report = SMFT_RUN_REPORT_INIT;
  w.learner = new_learner(&w, w.patch, NULL, NULL);
  ck_ok(smft_learner_run(w.learner, call_learner, &w, &report));
  ck_assert_int_eq(report.facts_gave_up, 2);
  close_world(&w);
}
END_TEST

START_TEST(a_learner_is_freed_by_its_own_progress) {
  world w = open_world(2);
  w.learner = new_learner(&w, w.patch, NULL, NULL);
  ck_status(smft_learner_run(w.learner, free_learner, &w, NULL), SMFT_E_CANCELLED);
  w.learner = NULL;
  close_world(&w);
}
END_TEST

/* The optimizer and the counts are the step's while on_fact is asked, the patch is not. */
static int32_t call_parts(void *user, const smft_report *report) {
  world *w = user;
  smft_background background = SMFT_BACKGROUND_INIT;
  const char *texts[] = {"some text"};
  char text[200];
  background.texts = texts, background.n_texts = 1;
  ck_assert_str_ne(report->fact_id, "");
  ck_status(smft_optimizer_reset(w->optimizer), SMFT_E_STATE);
  ck_status(smft_optimizer_set_lr(w->optimizer, 1, 0), SMFT_E_STATE);
  ck_status(smft_optimizer_set_group(w->optimizer, "layers", 1), SMFT_E_STATE);
  ck_status(smft_optimizer_save(w->optimizer, test_file("o")), SMFT_E_STATE);
  ck_status(smft_optimizer_load(w->optimizer, w->model, test_file("o")), SMFT_E_STATE);
  ck_status(smft_selector_count_background(w->selector, &background), SMFT_E_STATE);
  ck_status(smft_selector_load(w->selector, test_file("c")), SMFT_E_STATE);
  ck_ok(smft_selector_save(w->selector, test_file("c")));
  ck_ok(smft_selector_df(w->selector, 0, NULL, 0, NULL));
  ck_status(smft_step(w->learner, NULL), SMFT_E_STATE);
  ck_ok(say(w->session, 4, NULL, NULL, text));
  return 0;
}

START_TEST(a_step_has_its_parts) {
  world w = open_world(2);
  w.learner = new_learner(&w, w.patch, call_parts, &w);
  ck_ok(smft_learner_run(w.learner, NULL, NULL, NULL));
  ck_ok(smft_optimizer_reset(w.optimizer));
  close_world(&w);
}
END_TEST

static int32_t read_counts(void *user, const char *stage, int64_t done, int64_t total) {
  world *w = user;
  (void)stage, (void)done, (void)total;
  ck_status(smft_selector_df(w->selector, 0, NULL, 0, NULL), SMFT_E_STATE);
  ck_status(smft_selector_save(w->selector, test_file("c")), SMFT_E_STATE);
  ck_status(smft_step(w->learner, NULL), SMFT_E_STATE);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "selector is in use"));
  return 0;
}

START_TEST(a_selector_that_counts_is_not_read) {
  world w = open_world(2);
  smft_background background = SMFT_BACKGROUND_INIT;
  const char *texts[] = {"some text", "and more"};
  background.texts = texts, background.n_texts = 2;
  background.progress = read_counts, background.progress_user = &w;
  w.learner = new_learner(&w, w.patch, NULL, NULL);
  ck_ok(smft_selector_count_background(w.selector, &background));
  ck_ok(smft_step(w.learner, NULL));
  close_world(&w);
}
END_TEST

static int32_t call_probe(void *user, const char *stage, int64_t done, int64_t total) {
  world *w = user;
  smft_probe_item item = SMFT_PROBE_ITEM_INIT;
  (void)stage, (void)done, (void)total;
  ck_status(smft_probe_add_text(w->probe, "x", "y"), SMFT_E_STATE);
  ck_status(smft_probe_baseline(w->probe, w->session, NULL, NULL), SMFT_E_STATE);
  ck_status(smft_probe_save_report(w->probe, test_file("r")), SMFT_E_STATE);
  ck_status(smft_session_rewind(w->session, 0), SMFT_E_STATE);
  ck_ok(smft_probe_get_item(w->probe, 0, &item));
  return 0;
}

static int32_t free_probe(void *user, const char *stage, int64_t done, int64_t total) {
  (void)stage, (void)done, (void)total;
  smft_probe_free(((world *)user)->probe);
  return 0;
}

static int32_t free_its_session(void *user, const char *stage, int64_t done, int64_t total) {
  (void)stage, (void)total;
  if (done == 0)
    smft_session_free(((world *)user)->session);
  return 0;
}

START_TEST(a_probe_and_its_session_are_the_measurements) {
  world w = open_world(2);
  ck_ok(smft_probe_baseline(w.probe, w.session, call_probe, &w));
  ck_ok(smft_probe_measure(w.probe, w.session, call_probe, &w, NULL));
  close_world(&w);
}
END_TEST

START_TEST(a_probe_or_its_session_is_freed_meanwhile) {
  world w = open_world(2);
  ck_status(smft_probe_baseline(w.probe, w.session, _i ? free_its_session : free_probe, &w),
            SMFT_E_CANCELLED);
  if (_i)
    w.session = NULL;
  else
    w.probe = NULL;
  close_world(&w);
}
END_TEST

/* ---- from other threads -------------------------------------------------- */

enum { THREADS = 3, ROUNDS = 40 };

typedef struct caller {
  pthread_t thread;
  world *w;
  smft_learner *learner;
  const char *wanted;
  int done, refused, wrong;
} caller;

static void *generate_much(void *arg) {
  caller *c = arg;
  for (int i = 0; i < ROUNDS; i++) {
    char text[200];
    smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
    int32_t prompt[3] = {5, 6, 7}, ids[8];
    int64_t n = 0;
    options.max_tokens = 8;
    smft_status status = smft_session_generate_ids(c->w->session, prompt, 3, &options, ids, 8, &n);
    text[0] = 0;
    for (int64_t k = 0; k < n; k++)
      snprintf(text + strlen(text), sizeof text - strlen(text), "%d ", ids[k]);
    c->done += status == SMFT_OK;
    c->refused += status == SMFT_E_STATE;
    c->wrong += status == SMFT_OK ? strcmp(text, c->wanted) != 0 : status != SMFT_E_STATE;
  }
  return NULL;
}

static void *step_much(void *arg) {
  caller *c = arg;
  for (int i = 0; i < ROUNDS; i++) {
    smft_status status = smft_step(c->learner, NULL);
    c->done += status == SMFT_OK;
    c->refused += status == SMFT_E_STATE;
    c->wrong += status != SMFT_OK && status != SMFT_E_STATE;
    if (smft_learner_pending(c->learner) == 0)
      break;
  }
  return NULL;
}

static void race(world *w, smft_learner *const learners[THREADS], const char *wanted,
                 void *(*body)(void *)) {
  caller callers[THREADS] = {0};
  int done = 0;
  for (int i = 0; i < THREADS; i++) {
    callers[i].w = w, callers[i].wanted = wanted;
    callers[i].learner = learners ? learners[i] : NULL;
    ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, body, &callers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(callers[i].thread, NULL);
    ck_assert_int_eq(callers[i].wrong, 0);
    done += callers[i].done;
  }
  ck_assert_int_gt(done, 0);
}

START_TEST(one_session_in_threads) {
  world w = open_world(1);
  caller alone = {.w = &w, .wanted = ""};
  char text[200] = "";
  int32_t prompt[3] = {5, 6, 7}, ids[8];
  int64_t n = 0;
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  options.max_tokens = 8;
  (void)alone;
  ck_ok(smft_session_generate_ids(w.session, prompt, 3, &options, ids, 8, &n));
  for (int64_t k = 0; k < n; k++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%d ", ids[k]);
  race(&w, NULL, text, generate_much);
  close_world(&w);
}
END_TEST

/* One learner; or three that share an optimizer. */
START_TEST(learning_in_threads) {
  world w = open_world(1);
  smft_patch *patches[THREADS] = {w.patch, NULL, NULL};
  smft_learner *learners[THREADS] = {NULL, NULL, NULL};
  w.learner = new_learner(&w, w.patch, NULL, NULL);
  for (int i = 0; i < THREADS; i++) {
    learners[i] = w.learner;
    if (_i == 0 || i == 0)
      continue;
    ck_ok(smft_patch_create(&patches[i], w.model, SMFT_PATCH_SLOTS));
    learners[i] = new_learner(&w, patches[i], NULL, NULL);
  }
  race(&w, learners, NULL, step_much);
  for (int i = 1; i < THREADS; i++) {
    if (learners[i] != w.learner)
      smft_learner_free(learners[i]);
    smft_patch_free(patches[i]);
  }
  close_world(&w);
}
END_TEST

typedef struct handover {
  pthread_t thread;
  world *w;
  atomic_int running, freed;
} handover;

static void *free_from_here(void *arg) {
  handover *h = arg;
  while (!h->running)
    usleep(100);
  smft_session_free(h->w->session);
  h->freed = 1;
  return NULL;
}

static int32_t wait_for_it(void *user, int32_t id, const char *text, size_t length) {
  handover *h = user;
  (void)id, (void)text, (void)length;
  h->running = 1;
  while (!h->freed)
    usleep(100);
  return 0;
}

START_TEST(another_thread_frees_it) {
  world w = open_world(2);
  handover h = {.w = &w};
  ck_assert_int_eq(pthread_create(&h.thread, NULL, free_from_here, &h), 0);
  ck_status(say(w.session, 12, wait_for_it, &h, NULL), SMFT_E_CANCELLED);
  pthread_join(h.thread, NULL);
  w.session = NULL;
  close_world(&w);
}
END_TEST

#ifndef __SANITIZE_THREAD__ /* which has no fork beside threads */
static void *fork_from_here(void *arg) {
  handover *h = arg;
  while (!h->running)
    usleep(100);
  pid_t child = fork();
  if (child == 0) {
    int32_t ids[2] = {1, 2};
    double mean = 0;
    alarm(20); /* rather than for ever */
    smft_status status = smft_session_nll(h->w->session, ids, 2, NULL, &mean);
    smft_session_free(h->w->session);
    _exit(status == SMFT_OK ? 0 : 1);
  }
  int outcome = -1;
  waitpid(child, &outcome, 0);
  h->freed = WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0 ? 1 : 2;
  return NULL;
}

/* In the child no call runs: the thread that ran it is not there. */
START_TEST(a_child_does_not_find_it_in_use) {
  world w = open_world(2);
  handover h = {.w = &w};
  ck_assert_int_eq(pthread_create(&h.thread, NULL, fork_from_here, &h), 0);
  ck_ok(say(w.session, 12, wait_for_it, &h, NULL));
  pthread_join(h.thread, NULL);
  ck_assert_int_eq(h.freed, 1);
  close_world(&w);
}
END_TEST
#endif

/* ---- a stop between two calls -------------------------------------------- */

START_TEST(a_stop_is_not_lost) {
  world w = open_world(1);
  int32_t ids[2] = {1, 2};
  double mean = 0;
  w.learner = new_learner(&w, w.patch, NULL, NULL);
  smft_session_cancel(w.session);
  ck_ok(smft_session_rewind(w.session, 0)); /* is no work: the stop is for what follows */
  ck_status(say(w.session, 4, NULL, NULL, NULL), SMFT_E_CANCELLED);
  ck_ok(say(w.session, 4, NULL, NULL, NULL));
  smft_session_cancel(w.session);
  ck_status(smft_session_nll(w.session, ids, 2, NULL, &mean), SMFT_E_CANCELLED);
  ck_ok(smft_session_nll(w.session, ids, 2, NULL, &mean));
  smft_session_cancel(w.session);
  ck_status(smft_probe_baseline(w.probe, w.session, NULL, NULL), SMFT_E_CANCELLED);
  ck_ok(smft_probe_baseline(w.probe, w.session, NULL, NULL));
  smft_learner_cancel(w.learner);
  ck_status(smft_step(w.learner, NULL), SMFT_E_CANCELLED);
  ck_ok(smft_step(w.learner, NULL));
  smft_learner_cancel(w.learner);
  ck_status(smft_learner_run(w.learner, NULL, NULL, NULL), SMFT_E_CANCELLED);
  ck_ok(smft_learner_run(w.learner, NULL, NULL, NULL));
  ck_assert_int_eq(smft_learner_pending(w.learner), 0);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("in use");
  TCase *callbacks = tcase_create("callbacks"), *threads = tcase_create("threads");
  test_directory_make();
  tcase_add_test(callbacks, a_session_is_not_called_by_its_own_callback);
  tcase_add_loop_test(callbacks, a_session_is_freed_by_its_own_callback, 0, 2);
  tcase_add_test(callbacks, a_learner_is_not_called_by_its_own_progress);
  tcase_add_test(callbacks, a_learner_is_freed_by_its_own_progress);
  tcase_add_test(callbacks, a_step_has_its_parts);
  tcase_add_test(callbacks, a_selector_that_counts_is_not_read);
  tcase_add_test(callbacks, a_probe_and_its_session_are_the_measurements);
  tcase_add_loop_test(callbacks, a_probe_or_its_session_is_freed_meanwhile, 0, 2);
  tcase_add_test(callbacks, a_stop_is_not_lost);
  tcase_add_test(threads, one_session_in_threads);
  tcase_add_loop_test(threads, learning_in_threads, 0, 2);
  tcase_add_test(threads, another_thread_frees_it);
#ifndef __SANITIZE_THREAD__
  tcase_add_test(threads, a_child_does_not_find_it_in_use);
#endif
  tcase_set_timeout(threads, 60);
  suite_add_tcase(suite, callbacks);
  suite_add_tcase(suite, threads);
  return suite;
}
