/* fork: a host that forks while the context has threads.  The child generates, learns, saves and
 * measures as the parent does, without hanging, also when another thread of the parent was in the
 * middle of a call; and the parent goes on. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include "test.h"
#include "tiny.h"

static smft_ctx *ctx;
static smft_model *model;
static smft_patch *patch;
static smft_session *session;
static smft_learner *learner;
static smft_probe *probe;

static void open_all(int32_t n_threads) {
  const char *answers[] = {"x"};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  options.n_threads = n_threads;
  learning.max_steps = 5;
  learning.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  ck_ok(smft_ctx_create(&ctx, &options));
  model = tiny_model(ctx, "m", (tiny){0}, 5);
  smft_selector *selector = tiny_selector(model, 0, 8);
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_learner_create(&learner, model, patch, selector, NULL, &learning));
  smft_selector_free(selector);
  ck_ok(smft_probe_create(&probe, ctx, NULL));
  ck_ok(smft_probe_add_question(probe, "q", "Who?", answers, 1));
  ck_ok(smft_probe_add_text(probe, "t", "some text"));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  tiny_push(learner, "first", "one");
  tiny_push(learner, "second", "two");
  ck_ok(smft_step(learner, NULL)); /* the threads run */
}

static void close_all(void) {
  smft_probe_free(probe);
  smft_learner_free(learner);
  smft_session_free(session);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* Learns, generates, measures, saves; 0 or the number of what went wrong.  No ck_ here: it may be
 * the child. */
static int work(const char *path, char text[200], double *nll) {
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  const char *got = NULL;
  if (smft_learner_run(learner, NULL, NULL, NULL) != SMFT_OK)
    return 1;
  if (smft_session_generate(session, "abc", 3, NULL, &got, NULL) != SMFT_OK)
    return 2;
  snprintf(text, 200, "%s", got);
  if (smft_probe_measure(probe, session, NULL, NULL, &report) != SMFT_OK)
    return 3;
  *nll = report.nll;
  return smft_patch_save(patch, path, 0) == SMFT_OK ? 0 : 4;
}

typedef struct result {
  char text[200];
  double nll;
} result;

/* The child's result comes over a pipe; a child that hangs is ended by its alarm. */
static pid_t start_child(int pipes[2], const char *path) {
  ck_assert_int_eq(pipe(pipes), 0);
  pid_t child = fork();
  if (child != 0)
    return child;
  result r = {{0}, 0};
  alarm(30);
  int wrong = work(path, r.text, &r.nll);
  if (write(pipes[1], &r, sizeof r) != (ssize_t)sizeof r)
    wrong = 5;
  close_all(); /* the parent's threads are not here to be waited for */
  _exit(wrong);
}

static void finish_child(pid_t child, int pipes[2], result *r) {
  int status = -1;
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child %s %d",
                WIFSIGNALED(status) ? "was ended by signal" : "failed at",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  ck_assert_int_eq(read(pipes[0], r, sizeof *r), (ssize_t)sizeof *r);
  close(pipes[0]);
  close(pipes[1]);
}

static void same_as_parent(const result *child, const char *path) {
  result own = {{0}, 0};
  size_t n, m;
  ck_assert_int_eq(work(test_file("parent.patch"), own.text, &own.nll), 0);
  ck_assert_str_eq(own.text, child->text);
  ck_assert(own.nll == child->nll);
  char *left = test_read(path, &n), *right = test_read(test_file("parent.patch"), &m);
  ck_assert(n == m && memcmp(left, right, n) == 0);
  free(left);
  free(right);
}

START_TEST(a_child_does_as_its_parent) {
  int pipes[2];
  result r;
  char path[600];
  open_all(_i);
  snprintf(path, sizeof path, "%s", test_file("child.patch"));
  finish_child(start_child(pipes, path), pipes, &r);
  same_as_parent(&r, path);
  close_all();
}
END_TEST

/* A session of the parent's, on the base model, that never rests. */
static atomic_int keep_busy;
static void *busy(void *arg) {
  smft_session *own = arg;
  intptr_t wrong = 0;
  while (keep_busy)
    wrong |= smft_session_generate(own, "x", 1, NULL, NULL, NULL) != SMFT_OK;
  return (void *)wrong;
}

START_TEST(forks_while_another_thread_works) {
  smft_session *own = NULL;
  pthread_t thread;
  void *wrong = NULL;
  char path[600];
  open_all(3);
  snprintf(path, sizeof path, "%s", test_file("child.patch"));
  ck_ok(smft_session_create(&own, model, NULL, NULL));
  keep_busy = 1;
  ck_assert_int_eq(pthread_create(&thread, NULL, busy, own), 0);
  result r;
  for (int i = 0; i < 10; i++) {
    int pipes[2];
    usleep(700);
    finish_child(start_child(pipes, path), pipes, &r);
  }
  keep_busy = 0;
  pthread_join(thread, &wrong);
  ck_assert_ptr_null(wrong);
  same_as_parent(&r, path);
  smft_session_free(own);
  close_all();
}
END_TEST

Suite *make_suite(void) {
  if (TEST_SANITIZED) {
    printf("SKIPPED: fork() with threads, under a sanitizer\n");
    exit(TEST_SKIP);
  }
  Suite *suite = suite_create("fork");
  TCase *tests = tcase_create("fork");
  test_directory_make();
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, a_child_does_as_its_parent, 1, 4);
  tcase_add_test(tests, forks_while_another_thread_works);
  suite_add_tcase(suite, tests);
  return suite;
}
