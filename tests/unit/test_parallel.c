/* parallel: every block exactly once, one block at a time per lane, nested and concurrent calls,
 * hosts' threads, fork, signals, sleep. */
#include "base/parallel.h"
#include "test.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#define MOST_BLOCKS 1000
#define ROUNDS 200 /* on a machine under load a thread may be late: then once more */
#define MOST_LANES 16

typedef struct work {
  smft_ctx *ctx;
  atomic_int runs[MOST_BLOCKS];
  atomic_int in_lane[MOST_LANES];
  atomic_int lanes_seen, wrong;
  int nested, pause_us;
} work;

static void count_block(void *arg, int64_t block, int32_t lane) {
  work *all = arg;
  if (lane < 0 || lane >= smft__lanes(all->ctx) || atomic_fetch_add(&all->in_lane[lane], 1) != 0)
    all->wrong++;
  atomic_fetch_or(&all->lanes_seen, 1 << lane);
  all->runs[block]++;
  if (all->pause_us)
    usleep((useconds_t)all->pause_us);
  atomic_fetch_sub(&all->in_lane[lane], 1);
}

static void check_all_ran(work *all, int64_t n, int times) {
  ck_assert_int_eq(all->wrong, 0);
  for (int64_t i = 0; i < MOST_BLOCKS; i++)
    ck_assert_int_eq(all->runs[i], i < n ? times : 0);
}

static smft_ctx *make_ctx(int32_t n_threads) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&ctx, &options));
  ck_assert_int_eq(smft__lanes(ctx), n_threads);
  return ctx;
}

START_TEST(every_block_runs_once) {
  smft_ctx *ctx = make_ctx(_i);
  for (int64_t n = 0; n <= MOST_BLOCKS; n = n * 3 + 1) {
    work all = {.ctx = ctx};
    for (int again = 0; again < 50; again++)
      smft__parallel_for(ctx, n, count_block, &all);
    check_all_ran(&all, n, 50);
  }
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(slow_blocks_use_several_threads) {
  smft_ctx *ctx = make_ctx(3);
  work all = {.ctx = ctx, .pause_us = 1000};
  int rounds = 0;
  while (all.lanes_seen != 7 && rounds < ROUNDS) {
    smft__parallel_for(ctx, 30, count_block, &all);
    check_all_ran(&all, 30, ++rounds);
  }
  ck_assert_int_eq(all.lanes_seen, 7);
  smft_ctx_free(ctx);
}
END_TEST

static void nested_block(void *arg, int64_t block, int32_t lane) {
  work *all = arg;
  if (all->nested == 0) {
    count_block(arg, block, lane);
    return;
  }
  work inner = {.ctx = all->ctx};
  smft__parallel_for(all->ctx, 20, count_block, &inner);
  for (int i = 0; i < 20; i++)
    if (inner.runs[i] != 1)
      all->wrong++;
  if (inner.lanes_seen != 1 << lane) /* the same lane: its scratch memory is nobody else's */
    all->wrong++;
  count_block(arg, block, lane);
}

START_TEST(nested_calls_run_inline) {
  smft_ctx *ctx = make_ctx(3);
  work all = {.ctx = ctx, .nested = 1};
  for (int again = 0; again < 100; again++)
    smft__parallel_for(ctx, 10, nested_block, &all);
  check_all_ran(&all, 10, 100);
  smft_ctx_free(ctx);
}
END_TEST

static void *caller(void *arg) {
  work *all = malloc(sizeof *all);
  for (int again = 0; again < 300; again++) {
    memset(all, 0, sizeof *all);
    all->ctx = arg;
    smft__parallel_for(arg, 17, count_block, all);
    check_all_ran(all, 17, 1);
  }
  free(all);
  return NULL;
}

START_TEST(several_callers_at_once) {
  smft_ctx *ctx = make_ctx(2);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, caller, ctx), 0);
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- the host's threads -------------------------------------------------- */

static int host_calls, host_limit;
static int64_t host_n;
static void host_parallel_for(void *user, int64_t n, smft_block_fn block, void *arg) {
  ck_assert_ptr_eq(user, &host_calls);
  host_calls++;
  host_n = n;
  for (int64_t i = n - 1; i >= host_limit; i--)
    block(arg, i);
}

START_TEST(host_threads_get_one_call_per_lane) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_ctx *ctx;
  options.n_threads = 3;
  options.parallel_for = host_parallel_for;
  options.parallel_user = &host_calls;
  ck_ok(smft_ctx_create(&ctx, &options));
  work all = {.ctx = ctx};
  smft__parallel_for(ctx, 100, count_block, &all);
  check_all_ran(&all, 100, 1);
  ck_assert_int_eq(host_calls, 1);
  ck_assert_int_eq(host_n, 3);
  host_limit = 99; /* a host that runs nothing: the work is done all the same */
  smft__parallel_for(ctx, 100, count_block, &all);
  check_all_ran(&all, 100, 2);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- fork ---------------------------------------------------------------- */

static int child_works(smft_ctx *ctx) {
  work *all = calloc(1, sizeof *all);
  all->ctx = ctx;
  all->pause_us = 1000;
  signal(SIGALRM, SIG_DFL); /* libcheck's handler would end the whole process group */
  alarm(20);                /* a hang is a failure, not a wait */
  int rounds = 0;
  for (; all->lanes_seen != 7 && rounds < ROUNDS; rounds++)
    smft__parallel_for(ctx, 10, count_block, all);
  int right = !all->wrong && all->lanes_seen == 7;
  for (int i = 0; i < 10; i++)
    right = right && all->runs[i] == rounds;
  smft_ctx_free(ctx);
  free(all);
  return right;
}

static void check_child(pid_t child) {
  int status;
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: status %d", status);
}

START_TEST(child_of_fork_gets_new_threads) {
  smft_ctx *ctx = make_ctx(3);
  work all = {.ctx = ctx};
  smft__parallel_for(ctx, 100, count_block, &all);
  for (int i = 0; i < 5; i++) {
    pid_t child = fork();
    if (child == 0)
      _exit(child_works(ctx) ? 0 : 1);
    check_child(child);
  }
  smft__parallel_for(ctx, 100, count_block, &all);
  check_all_ran(&all, 100, 2);
  smft_ctx_free(ctx);
}
END_TEST

static atomic_int keep_busy;
static void *busy_caller(void *arg) {
  work *all = calloc(1, sizeof *all);
  all->ctx = arg;
  all->pause_us = 100;
  while (keep_busy)
    smft__parallel_for(arg, 8, count_block, all);
  free(all);
  return NULL;
}

/* The parent's threads hold locks and the job at the moment of the fork. */
START_TEST(fork_during_a_job) {
  smft_ctx *ctx = make_ctx(3);
  pthread_t thread;
  keep_busy = 1;
  ck_assert_int_eq(pthread_create(&thread, NULL, busy_caller, ctx), 0);
  for (int i = 0; i < 20; i++) {
    usleep(500);
    pid_t child = fork();
    if (child == 0)
      _exit(child_works(ctx) ? 0 : 1);
    check_child(child);
  }
  keep_busy = 0;
  pthread_join(thread, NULL);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- good manners -------------------------------------------------------- */

static pthread_t main_thread;
static atomic_int signals_here, signals_elsewhere;
static void on_signal(int number) {
  (void)number;
  if (pthread_equal(pthread_self(), main_thread))
    signals_here++;
  else
    signals_elsewhere++;
}

START_TEST(signals_go_to_the_hosts_threads) {
  smft_ctx *ctx = make_ctx(3);
  work all = {.ctx = ctx, .pause_us = 1000};
  struct sigaction action = {.sa_handler = on_signal};
  sigset_t mask, before, after;
  main_thread = pthread_self();
  sigaction(SIGUSR1, &action, NULL);
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  smft__parallel_for(ctx, 30, count_block, &all);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  for (int i = 1; i < 32; i++)
    ck_assert_int_eq(sigismember(&before, i), sigismember(&after, i));
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &mask, NULL); /* now only the workers could take it */
  kill(getpid(), SIGUSR1);
  usleep(20000);
  ck_assert_int_eq(signals_elsewhere, 0);
  pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
  ck_assert_int_eq(signals_here, 1);
  smft_ctx_free(ctx);
}
END_TEST

START_TEST(idle_threads_sleep) {
  smft_ctx *ctx = make_ctx(4);
  work all = {.ctx = ctx};
  struct timespec before, after;
  smft__parallel_for(ctx, 100, count_block, &all);
  usleep(10000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  usleep(300000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  double used =
      (double)(after.tv_sec - before.tv_sec) + 1e-9 * (double)(after.tv_nsec - before.tv_nsec);
  ck_assert_double_lt(used, 0.05);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("parallel");
  TCase *tests = tcase_create("parallel");
  tcase_set_timeout(tests, 60);
  tcase_add_loop_test(tests, every_block_runs_once, 1, 5);
  tcase_add_test(tests, slow_blocks_use_several_threads);
  tcase_add_test(tests, nested_calls_run_inline);
  tcase_add_test(tests, several_callers_at_once);
  tcase_add_test(tests, host_threads_get_one_call_per_lane);
  if (TEST_SANITIZED) {
    printf("SKIPPED IN PART: fork and signals under a sanitizer\n");
  } else {
    tcase_add_test(tests, child_of_fork_gets_new_threads);
    tcase_add_test(tests, fork_during_a_job);
    tcase_add_test(tests, signals_go_to_the_hosts_threads);
  }
  tcase_add_test(tests, idle_threads_sleep);
  suite_add_tcase(suite, tests);
  return suite;
}
