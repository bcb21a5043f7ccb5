/* killed: a process that learns, and saves after each fact, is killed at 200 random moments; what
 * it saved is there, and is whole: byte for byte what a process that nobody kills saves after so
 * many facts.  What it had said to be saved is among it. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "test.h"
#include "tiny.h"

enum { N_KILLS = 200, N_FACTS = 16 };
enum { PATCH, OPTIMIZER, EXPORT, N_KINDS }; /* in the order in which they are saved */

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
} world;

static world open_world(void) {
  world w = {NULL, NULL};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = 1; /* none is left behind by fork() */
  ck_ok(smft_ctx_create(&w.ctx, &options));
  w.model = tiny_model(w.ctx, "m", (tiny){.shared = 2}, 5);
  return w;
}

static void close_world(world *w) {
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

/* ---- who learns ---------------------------------------------------------- */

/* Of the fact that was learnt last: in one place each time, or `apart`, in one for each. */
static const char *place_of(const char *place, int apart, int fact, const char *name) {
  static char path[8][600];
  static int next = 0;
  next = (next + 1) % 8;
  if (apart)
    snprintf(path[next], sizeof path[next], "%s-%d%s", test_file(place), fact, name);
  else
    snprintf(path[next], sizeof path[next], "%s%s", test_file(place), name);
  return path[next];
}

typedef struct pupil {
  const world *w;
  const char *place;
  int apart, tell; /* a descriptor that gets the kind of what was saved; -1: none */
  smft_patch *patch;
  smft_optimizer *optimizer;
  smft_learner *learner;
} pupil;

static void said(pupil *p, int kind) {
  char letter = (char)('0' + kind);
  if (p->tell >= 0)
    ck_assert_int_eq(write(p->tell, &letter, 1), 1);
}

static void save(pupil *p, int fact) {
  const char *directory = place_of(p->place, p->apart, fact, "");
  mkdir(directory, 0700);
  ck_ok(smft_patch_save(p->patch, place_of(p->place, p->apart, fact, "/patch"), 0));
  said(p, PATCH);
  ck_ok(smft_optimizer_save(p->optimizer, place_of(p->place, p->apart, fact, "/optimizer")));
  said(p, OPTIMIZER);
  ck_ok(
      smft_model_export(p->w->model, p->patch, place_of(p->place, p->apart, fact, "/model"), NULL));
  said(p, EXPORT);
}

static void learn(const world *w, const char *place, int apart, int tell) {
  pupil p = {.w = w, .place = place, .apart = apart, .tell = tell};
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector *selector = tiny_selector(w->model, 0, 8);
  rate.kind = SMFT_OPTIMIZER_ADAMW;
  rate.flags = SMFT_OPTIMIZER_KEEP_STATE;
  options.loss_below = -1;
  options.max_steps = 2;
  options.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  ck_ok(smft_patch_create(&p.patch, w->model, SMFT_PATCH_SLOTS));
  ck_ok(smft_optimizer_create(&p.optimizer, w->ctx, &rate));
  ck_ok(smft_learner_create(&p.learner, w->model, p.patch, selector, p.optimizer, &options));
  for (int fact = 1; fact <= N_FACTS; fact++) {
    char id[24];
    snprintf(id, sizeof id, "fact %d", fact);
    tiny_push(p.learner, id, id + 5);
    ck_ok(smft_learner_run(p.learner, NULL, NULL, NULL));
    save(&p, fact);
  }
  smft_learner_free(p.learner);
  smft_optimizer_free(p.optimizer);
  smft_patch_free(p.patch);
  smft_selector_free(selector);
}

/* ---- what is there ------------------------------------------------------- */

static const char *const names[] = {"/patch", "/optimizer", "/model/model.safetensors"};

/* So many facts are in it; 0: it is not there, -1: it is what nobody saved. */
static int facts_in(const char *place, int kind) {
  size_t size, other;
  const char *path = place_of(place, 0, 0, names[kind]);
  if (access(path, F_OK) != 0)
    return 0;
  char *now = test_read(path, &size);
  int found = -1;
  for (int fact = 1; fact <= N_FACTS && found < 0; fact++) {
    char *reference = test_read(place_of("reference", 1, fact, names[kind]), &other);
    if (size == other && memcmp(now, reference, size) == 0)
      found = fact;
    free(reference);
  }
  free(now);
  return found;
}

static void check_patch(const world *w, const char *path, int facts) {
  smft_patch *patch = NULL;
  ck_ok(smft_patch_load(&patch, w->model, path));
  ck_assert_int_eq(smft_patch_fact_count(patch), facts);
  for (int i = 0; i < facts; i++) {
    char wanted[24], id[24];
    size_t length;
    snprintf(wanted, sizeof wanted, "fact %d", i + 1);
    ck_ok(smft_patch_fact_id(patch, i, id, sizeof id, &length));
    ck_assert_str_eq(id, wanted);
  }
  smft_patch_free(patch);
}

static void check_optimizer(const world *w, const char *path) {
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer = NULL;
  rate.kind = SMFT_OPTIMIZER_ADAMW;
  rate.flags = SMFT_OPTIMIZER_KEEP_STATE;
  ck_ok(smft_optimizer_create(&optimizer, w->ctx, &rate));
  ck_ok(smft_optimizer_load(optimizer, w->model, path));
  smft_optimizer_free(optimizer);
}

/* 1: it is refused, for its files may not belong together. */
static int check_export(const world *w, const char *path) {
  smft_model *model = NULL;
  smft_status status = smft_model_load(&model, w->ctx, path, NULL);
  int refused =
      status == SMFT_E_MISMATCH && strstr(smft_error_message(), "smft-incomplete") != NULL;
  ck_assert_msg(status == SMFT_OK || refused, "%s", smft_error_message());
  smft_model_free(model);
  return refused;
}

typedef struct tally {
  int facts, in_a_save, refused, finished;
} tally;

static void check_kind(const world *w, int kind, int told, int kill_number, tally *all) {
  int facts = facts_in("killed", kind);
  const char *place = place_of("killed", 0, 0, kind == EXPORT ? "/model" : names[kind]);
  ck_assert_msg(facts == told || facts == told + 1,
                "kill %d: %s has %d facts, %d were said to be saved", kill_number, names[kind],
                facts, told);
  if (kind == PATCH)
    all->facts += facts;
  if (facts > 0 && kind == PATCH)
    check_patch(w, place, facts);
  else if (facts > 0 && kind == OPTIMIZER)
    check_optimizer(w, place);
  else if (facts > 0)
    all->refused += check_export(w, place);
}

/* ---- who kills ----------------------------------------------------------- */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* What was said in the pipe, by kind; after SIGKILL nobody writes any more. */
static void count_said(int pipe_end, int told[N_KINDS]) {
  char letter;
  memset(told, 0, N_KINDS * sizeof *told);
  while (read(pipe_end, &letter, 1) == 1)
    told[letter - '0']++;
}

/* Returns how long it lived. */
static double run_and_kill(const world *w, double after, int told[N_KINDS]) {
  int ends[2], outcome = 0;
  ck_assert_int_eq(pipe(ends), 0);
  double begin = seconds();
  pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    close(ends[0]);
    learn(w, "killed", 0, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  if (after > 0) {
    usleep((useconds_t)(1e6 * after));
    kill(child, SIGKILL);
  }
  ck_assert_int_eq(waitpid(child, &outcome, 0), child);
  double lived = seconds() - begin;
  ck_assert(WIFSIGNALED(outcome) ? WTERMSIG(outcome) == SIGKILL : WEXITSTATUS(outcome) == 0);
  count_said(ends[0], told);
  close(ends[0]);
  return lived;
}

/* How long it takes where nobody kills it: the shortest of three. */
static double alone(const world *w) {
  double shortest = 1e9;
  int told[N_KINDS];
  for (int i = 0; i < 3; i++) {
    double lived = run_and_kill(w, 0, told);
    ck_assert(told[PATCH] == N_FACTS && facts_in("killed", PATCH) == N_FACTS);
    shortest = lived < shortest ? lived : shortest;
  }
  return shortest;
}

/* Removed with all that is in it; the number of temporary files. */
static int clear(const char *path) {
  DIR *handle = opendir(path);
  int n = 0;
  for (struct dirent *one = handle ? readdir(handle) : NULL; one; one = readdir(handle)) {
    char file[1024];
    snprintf(file, sizeof file, "%s/%s", path, one->d_name);
    n += strstr(one->d_name, ".tmp-") != NULL;
    if (one->d_type == DT_DIR && one->d_name[0] != '.')
      n += clear(file);
    else if (one->d_type != DT_DIR)
      unlink(file);
  }
  if (handle)
    closedir(handle);
  rmdir(path);
  return n;
}

static double uniform(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 11) / 9007199254740992.0;
}

START_TEST(what_was_saved_is_whole) {
  world w = open_world();
  tally all = {0, 0, 0, 0};
  int told[N_KINDS];
  uint64_t state = 19;
  learn(&w, "reference", 1, -1);
  double whole = alone(&w);
  for (int i = 0; i < N_KILLS; i++) {
    clear(test_file("killed"));
    double moment = whole * uniform(&state);
    run_and_kill(&w, moment > 1e-6 ? moment : 1e-6, told);
    all.finished += told[EXPORT] == N_FACTS;
    for (int kind = 0; kind < N_KINDS; kind++)
      check_kind(&w, kind, told[kind], i, &all);
    all.in_a_save += clear(test_file("killed")) > 0;
  }
  printf("%d kills within %.0f ms: %.1f facts saved on average, %d in the middle of a write, %d "
         "exports refused, %d too late\n",
         N_KILLS, 1e3 * whole, (double)all.facts / N_KILLS, all.in_a_save, all.refused,
         all.finished);
  ck_assert_int_gt(all.in_a_save, 0); /* else it was no test */
  close_world(&w);
}
END_TEST

/* It goes on from what a killed one left. */
START_TEST(what_is_left_behind_is_in_nobodys_way) {
  world w = open_world();
  int told[N_KINDS];
  uint64_t state = 7;
  learn(&w, "reference", 1, -1);
  double whole = alone(&w);
  for (int i = 0; i < 10; i++)
    run_and_kill(&w, whole * (0.1 + 0.9 * uniform(&state)), told);
  run_and_kill(&w, 0, told);
  for (int kind = 0; kind < N_KINDS; kind++)
    ck_assert_int_eq(facts_in("killed", kind), N_FACTS);
  check_patch(&w, place_of("killed", 0, 0, "/patch"), N_FACTS);
  ck_assert_int_eq(check_export(&w, place_of("killed", 0, 0, "/model")), 0);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("killed");
  TCase *tests = tcase_create("killed");
  test_directory_in_memory();
  test_directory_make();
  tcase_add_test(tests, what_was_saved_is_whole);
  tcase_add_test(tests, what_is_left_behind_is_in_nobodys_way);
  suite_add_tcase(suite, tests);
  return suite;
}
