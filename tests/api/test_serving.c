/* serving: sessions in several threads answer while a learner teaches the patch that they share,
 * through smft.h alone: no call fails, each answer is that of the version which was the newest when
 * its call began, and a pinned session keeps its version until it is rewound to 0.  (At length and
 * with throughput: bench/bench_serve.c.) */
#include <pthread.h>
#include <stdatomic.h>
#include "test.h"
#include "tiny.h"

#define READERS 4
#define SESSIONS 3 /* of a reader; the last one is pinned */
#define FACTS 40
#define STEPS 5
#define MOST_ANSWERS 20000
#define TEXT 48

typedef struct answer {
  uint64_t version;
  int which;       /* prompt and seed */
  int turns;       /* 2: of a pinned session, which went on after the first */
  char text[TEXT]; /* of the last turn */
} answer;

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_learner *learner;
  atomic_int ended;
  uint64_t versions[FACTS * (STEPS + 2) + 2]; /* (n_copies) ascending */
  smft_patch *copies[FACTS * (STEPS + 2) + 2];
  int n_copies;
  smft_status status; /* of the learner's first call that failed */
} world;

typedef struct reader {
  pthread_t thread;
  world *w;
  smft_session *sessions[SESSIONS];
  answer *answers; /* (MOST_ANSWERS) */
  int number, n, failed, stale, moved, passed_by;
  char message[256];
} reader;

/* ---- learning ------------------------------------------------------------ */

static void keep_version(world *w) {
  uint64_t version = smft_patch_version(w->patch);
  if (w->n_copies && w->versions[w->n_copies - 1] == version)
    return;
  if (smft_patch_copy(&w->copies[w->n_copies], w->patch) == SMFT_OK)
    w->versions[w->n_copies++] = version;
}

static void *teach(void *arg) { /* no ck_ here: libcheck's longjmp belongs to the main thread */
  world *w = arg;
  while (w->status == SMFT_OK && smft_learner_pending(w->learner) > 0) {
    w->status = smft_step(w->learner, NULL);
    keep_version(w);
  }
  atomic_store(&w->ended, 1);
  return NULL;
}

static void open_world(world *w) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  char id[24], says[16];
  memset(w, 0, sizeof *w);
  options.n_threads = 1;
  learning.loss_below = -1;
  learning.max_steps = STEPS;
  learning.flags = SMFT_LEARNER_KEEP_GIVEN_UP; /* no rows but a step's own */
  rate.lr = 20;
  ck_ok(smft_ctx_create(&w->ctx, &options));
  w->model = tiny_model(w->ctx, "m", (tiny){.shared = 1}, 5);
  ck_ok(smft_patch_create(&w->patch, w->model, SMFT_PATCH_SLOTS));
  smft_selector *selector = tiny_selector(w->model, 0, 32);
  ck_ok(smft_optimizer_create(&optimizer, w->ctx, &rate));
  ck_ok(smft_learner_create(&w->learner, w->model, w->patch, selector, optimizer, &learning));
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  for (int i = 0; i < FACTS; i++) {
    snprintf(id, sizeof id, "fact %d", i);
    snprintf(says, sizeof says, "%d", 17 * i % 101);
    tiny_push(w->learner, id, says);
  }
  keep_version(w);
}

static void close_world(world *w) {
  for (int i = 0; i < w->n_copies; i++)
    smft_patch_free(w->copies[i]);
  smft_learner_free(w->learner);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

/* ---- answering ----------------------------------------------------------- */

static smft_status generate(smft_session *session, int which, uint32_t flags, const char **text) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  char prompt[24];
  int length = snprintf(prompt, sizeof prompt, "prompt %d", which % 7);
  options.temperature = 1; /* so that a small change of the weights is soon another text */
  options.seed = (uint64_t)which;
  options.max_tokens = 12;
  options.flags = flags;
  return smft_session_generate(session, prompt, (size_t)length, &options, text, NULL);
}

/* One turn: afresh, or after what the session holds. */
static int turn(reader *r, smft_session *session, answer *a, uint32_t flags) {
  const char *text = NULL;
  uint64_t before = smft_patch_version(r->w->patch);
  if (generate(session, a->which, flags, &text) != SMFT_OK) {
    snprintf(r->message, sizeof r->message, "%s", smft_error_message());
    r->failed++;
    return 0;
  }
  snprintf(a->text, sizeof a->text, "%s", text);
  a->turns++;
  a->version = smft_session_version(session);
  if (!flags)
    r->stale += a->version < before || a->version > smft_patch_version(r->w->patch);
  return 1;
}

/* Two turns of a pinned session, between which the patch gets another version, if it can. */
static int pinned_turns(reader *r, smft_session *session, answer *a) {
  if (!turn(r, session, a, 0))
    return 0;
  uint64_t first = a->version;
  while (!atomic_load(&r->w->ended) && smft_patch_version(r->w->patch) == first)
    usleep(100);
  r->passed_by += smft_patch_version(r->w->patch) > first;
  if (!turn(r, session, a, SMFT_GENERATE_CONTINUE))
    return 0;
  r->moved += a->version != first;
  return 1;
}

static void *answer_all(void *arg) {
  reader *r = arg;
  for (int i = 0; !atomic_load(&r->w->ended) && r->n < MOST_ANSWERS && !r->failed; i++) {
    int pinned = i % SESSIONS == SESSIONS - 1;
    smft_session *session = r->sessions[i % SESSIONS];
    answer *a = &r->answers[r->n];
    *a = (answer){.which = r->number + READERS * i};
    r->n += pinned ? pinned_turns(r, session, a) : turn(r, session, a, 0);
  }
  return NULL;
}

static void open_reader(reader *r, world *w, int number) {
  *r = (reader){.w = w, .number = number};
  r->answers = calloc(MOST_ANSWERS, sizeof *r->answers);
  ck_assert_ptr_nonnull(r->answers);
  for (int i = 0; i < SESSIONS; i++) {
    smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
    options.flags = i == SESSIONS - 1 ? SMFT_SESSION_PIN : 0;
    ck_ok(smft_session_create(&r->sessions[i], w->model, w->patch, &options));
  }
}

static void close_reader(reader *r) {
  for (int i = 0; i < SESSIONS; i++)
    smft_session_free(r->sessions[i]);
  free(r->answers);
}

/* ---- what they should have said ------------------------------------------ */

/* A fact's last step publishes its rows, and then the list of facts with it: that a reader may see
 * the version between is as well, since rows are all it reads. */
static smft_patch *copy_of(const world *w, uint64_t version) {
  for (int i = 0; i < w->n_copies; i++)
    if (w->versions[i] >= version)
      return w->copies[i];
  ck_abort_msg("nobody published version %llu", (unsigned long long)version);
}

static const char *say_again(smft_session *session, const answer *a) {
  const char *text = NULL;
  ck_ok(generate(session, a->which, 0, &text));
  if (a->turns == 2)
    ck_ok(generate(session, a->which, SMFT_GENERATE_CONTINUE, &text));
  return text;
}

/* Every answer; in how many another version would have said something else. */
static int check_answers(const world *w, const reader *r) {
  smft_session *session;
  int telling = 0;
  ck_ok(smft_session_create(&session, w->model, NULL, NULL));
  for (int i = 0; i < r->n; i++) {
    const answer *a = &r->answers[i];
    ck_ok(smft_session_set_patch(session, copy_of(w, a->version)));
    ck_assert_msg(strcmp(say_again(session, a), a->text) == 0,
                  "answer %d of thread %d, %d turns, of version %llu: another text", i, r->number,
                  a->turns, (unsigned long long)a->version);
    ck_ok(smft_session_set_patch(session, w->patch));
    telling += strcmp(say_again(session, a), a->text) != 0;
  }
  smft_session_free(session);
  return telling;
}

START_TEST(answers_are_those_of_their_version) {
  static world w;
  static reader readers[READERS];
  pthread_t teacher;
  int telling = 0, passed_by = 0;
  open_world(&w);
  for (int i = 0; i < READERS; i++)
    open_reader(&readers[i], &w, i);
  for (int i = 0; i < READERS; i++)
    ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, answer_all, &readers[i]), 0);
  ck_assert_int_eq(pthread_create(&teacher, NULL, teach, &w), 0);
  pthread_join(teacher, NULL);
  for (int i = 0; i < READERS; i++)
    pthread_join(readers[i].thread, NULL);
  ck_ok(w.status);
  ck_assert_int_eq(w.n_copies, 1 + FACTS * STEPS);
  for (int i = 0; i < READERS; i++) {
    ck_assert_msg(!readers[i].failed, "thread %d: %s", i, readers[i].message);
    ck_assert_int_eq(readers[i].stale, 0);
    ck_assert_int_eq(readers[i].moved, 0);
    ck_assert_int_gt(readers[i].n, SESSIONS);
    passed_by += readers[i].passed_by;
    telling += check_answers(&w, &readers[i]);
    close_reader(&readers[i]);
  }
  ck_assert_int_gt(passed_by, 0); /* the patch went on while a session was pinned */
  ck_assert_int_gt(telling, 0);   /* and a mix-up would have been seen */
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("serving");
  TCase *tests = tcase_create("serving");
  test_directory_make();
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, answers_are_those_of_their_version);
  suite_add_tcase(suite, tests);
  return suite;
}
