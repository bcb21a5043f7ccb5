/* loan: which block a call gets, how many are kept, what becomes of outgrown ones, when they go;
 * threads that borrow at the same time, a child of fork. */
#include "base/loan.h"
#include "base/alloc.h"
#include "failing.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define KB ((int64_t)1024)

typedef struct world {
  failing state;
  smft_ctx *ctx;
  long long before, before_live; /* allocations and blocks when it was opened */
} world;

static void open_world(world *w) {
  memset(w, 0, sizeof *w);
  w->ctx = failing_ctx(&w->state, 1);
  w->before = w->state.calls;
  w->before_live = w->state.live;
}
static void close_world(world *w) {
  smft_ctx_free(w->ctx);
  ck_assert_int_eq(w->state.live, 0);
}
static int made(const world *w) { return (int)(w->state.calls - w->before); }
static int kept(const world *w) {
  int n = 0;
  for (int i = 0; i < SMFT__LOANS; i++)
    n += atomic_load(&w->ctx->loans[i]) != 0;
  return n;
}
static void *take(world *w, int64_t bytes) {
  void *block = smft__loan_take(w->ctx, bytes);
  ck_assert_ptr_nonnull(block);
  ck_assert_int_eq((uintptr_t)block % 64, 0);
  ck_assert_int_ge(smft__alloc_size(block), bytes);
  memset(block, 0x5A, (size_t)bytes);
  return block;
}
static void take_and_give(world *w, int64_t bytes) { smft__loan_give(w->ctx, take(w, bytes)); }

/* ---- which block --------------------------------------------------------- */

START_TEST(one_that_was_given_back_is_found_again) {
  world w;
  open_world(&w);
  void *block = take(&w, 100 * KB);
  smft__loan_give(w.ctx, block);
  for (int i = 0; i < 100; i++) {
    ck_assert_ptr_eq(take(&w, 100 * KB - i * 500), block); /* 51 KB at last */
    smft__loan_give(w.ctx, block);
  }
  ck_assert_int_eq(made(&w), 1);
  smft__loan_give(w.ctx, NULL);
  ck_assert_int_eq(kept(&w), 1);
  close_world(&w);
}
END_TEST

/* Four times too large is another kind's: exactly so at the boundary. */
START_TEST(neither_kind_takes_the_others) {
  world w;
  open_world(&w);
  void *large = take(&w, 400 * KB);
  smft__loan_give(w.ctx, large);
  ck_assert_ptr_eq(take(&w, 100 * KB), large);
  smft__loan_give(w.ctx, large);
  void *small = take(&w, 100 * KB - 1);
  ck_assert_ptr_ne(small, large);
  ck_assert_int_eq(made(&w), 2);
  smft__loan_give(w.ctx, small);
  ck_assert_int_eq(kept(&w), 2);
  ck_assert_ptr_eq(take(&w, 400 * KB), large); /* and the small one is not freed for it */
  ck_assert_int_eq(kept(&w), 1);
  smft__loan_give(w.ctx, large);
  close_world(&w);
}
END_TEST

/* The nearest octave first. */
START_TEST(the_smaller_one_is_taken) {
  world w;
  open_world(&w);
  void *blocks[3] = {take(&w, 300 * KB), take(&w, 120 * KB), take(&w, 200 * KB)};
  for (int i = 0; i < 3; i++)
    smft__loan_give(w.ctx, blocks[i]);
  ck_assert_ptr_eq(take(&w, 110 * KB), blocks[1]);
  ck_assert_ptr_eq(take(&w, 110 * KB), blocks[2]);
  ck_assert_ptr_eq(take(&w, 110 * KB), blocks[0]);
  ck_assert_int_eq(made(&w), 3);
  for (int i = 0; i < 3; i++)
    smft__loan_give(w.ctx, blocks[i]);
  close_world(&w);
}
END_TEST

/* Ever larger ones, never two at a time: one is kept, whatever their octaves. */
START_TEST(an_outgrown_one_goes) {
  world w;
  open_world(&w);
  for (int64_t size = 10 * KB; size < 1000 * KB; size += size / 20) {
    take_and_give(&w, size);
    ck_assert_int_eq(kept(&w), 1);
  }
  close_world(&w);
}
END_TEST

START_TEST(a_failure_leaves_the_shelf_in_order) {
  world w;
  open_world(&w);
  take_and_give(&w, 100 * KB);
  w.state.fail_at = w.state.calls + 1;
  ck_assert_ptr_null(smft__loan_take(w.ctx, 150 * KB)); /* its outgrown one is gone, no more */
  ck_assert_int_eq(kept(&w), 0);
  ck_assert_ptr_null(smft__loan_take(w.ctx, (int64_t)1 << 62));
  take_and_give(&w, 100 * KB);
  ck_assert_int_eq(kept(&w), 1);
  close_world(&w);
}
END_TEST

/* ---- how many ------------------------------------------------------------ */

START_TEST(no_more_are_kept_than_there_is_room_for) {
  world w;
  void *blocks[SMFT__LOANS + 9];
  open_world(&w);
  for (int i = 0; i < SMFT__LOANS + 9; i++)
    blocks[i] = take(&w, 64 * KB);
  for (int i = 0; i < SMFT__LOANS + 9; i++)
    smft__loan_give(w.ctx, blocks[i]);
  ck_assert_int_eq(kept(&w), SMFT__LOANS);
  ck_assert_int_eq(w.state.live, w.before_live + SMFT__LOANS);
  take_and_give(&w, 1024 * KB); /* the newest is kept, also of another kind */
  int before = made(&w);
  take_and_give(&w, 1024 * KB);
  ck_assert_int_eq(made(&w), before);
  ck_assert_int_eq(kept(&w), SMFT__LOANS);
  smft__loans_free(w.ctx);
  ck_assert_int_eq(kept(&w), 0);
  close_world(&w);
}
END_TEST

/* ---- at the same time ---------------------------------------------------- */

#define THREADS 8
#define TURNS 20000

typedef struct user {
  smft_ctx *ctx;
  int number, wrong;
} user;

/* Everybody writes a number of its own all over its block, and finds it there. */
static void *borrow(void *arg) {
  user *u = arg;
  for (int turn = 0; turn < TURNS; turn++) {
    int64_t size = 256 + (turn * 37 + u->number * 101) % 2000;
    unsigned char *block = smft__loan_take(u->ctx, size);
    if (!block || smft__alloc_size(block) < size) {
      u->wrong++;
      continue;
    }
    memset(block, u->number, (size_t)size);
    for (int64_t i = 0; i < size; i += 61)
      u->wrong += block[i] != u->number;
    smft__loan_give(u->ctx, block);
  }
  return NULL;
}

START_TEST(nobody_gets_what_another_has) {
  world w;
  pthread_t threads[THREADS];
  user users[THREADS];
  open_world(&w);
  for (int i = 0; i < THREADS; i++) {
    users[i] = (user){w.ctx, i + 1, 0};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, borrow, &users[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    ck_assert_int_eq(users[i].wrong, 0);
  }
  ck_assert_int_le(kept(&w), SMFT__LOANS);
  close_world(&w);
}
END_TEST

/* A child has the blocks that nobody had, and can make and free others. */
START_TEST(child_of_fork_borrows) {
  world w;
  open_world(&w);
  void *kept_one = take(&w, 100 * KB), *lent = take(&w, 100 * KB);
  smft__loan_give(w.ctx, kept_one);
  pid_t child = fork();
  if (child == 0) {
    signal(SIGALRM, SIG_DFL); /* libcheck's handler would end the whole process group */
    alarm(20);
    void *mine = smft__loan_take(w.ctx, 100 * KB), *other = smft__loan_take(w.ctx, 100 * KB);
    int right = mine == kept_one && other && other != lent;
    smft__loan_give(w.ctx, mine);
    smft__loan_give(w.ctx, other);
    right = right && kept(&w) == 2;
    smft_ctx_free(w.ctx);
    _exit(right && w.state.live == 1 ? 0 : 1); /* what the parent's thread had is lost here */
  }
  int status;
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: status %d", status);
  smft__loan_give(w.ctx, lent);
  ck_assert_int_eq(kept(&w), 2);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("loan");
  TCase *cases = tcase_create("loan");
  tcase_add_test(cases, one_that_was_given_back_is_found_again);
  tcase_add_test(cases, neither_kind_takes_the_others);
  tcase_add_test(cases, the_smaller_one_is_taken);
  tcase_add_test(cases, an_outgrown_one_goes);
  tcase_add_test(cases, a_failure_leaves_the_shelf_in_order);
  tcase_add_test(cases, no_more_are_kept_than_there_is_room_for);
  tcase_add_test(cases, nobody_gets_what_another_has);
  tcase_add_test(cases, child_of_fork_borrows);
  suite_add_tcase(suite, cases);
  return suite;
}
