/* bench_serve: the library as a service: many users' sessions answer while one learner teaches the
 * patch that they share, and what each handle takes in memory.  Through smft.h alone, on its own.
 * usage: bench_serve [OPTION]... MODEL_DIRECTORY ATLAS_DATA
 *   --users N (200), --threads N (8)   sessions, and the threads that they answer in
 *   --seconds S (60), --facts N (40)   goes on until both are over
 *   --slice S (1)      in turns of A, B, B, A: A, the learner teaches the patch that the sessions
 *                      read; B, it teaches the same facts to one that nobody reads
 *   --check N (2000)   so many of the answers, evenly drawn, are compared with what a copy of the
 *                      version that they were given answers afterwards; 0: all
 *   --memory [--patches N (1000)]   instead: what handles take, and N users' patches, resident
 * Readers are pinned to one processor and the learner to another; the context has one thread.
 * Exit: 0, 1 an answer was wrong or a call failed (a ratio is never judged), 2 used wrongly. */
#include "../../examples/atlas/facts.h"
#include "subject.h"
#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { MOST_THREADS = 64, MOST_SLICES = 4096, MOST_WORDINGS = 64, FACTS_OF_A_USER = 20 };
#define MOST_ANSWERS 400000

typedef struct settings {
  const char *model, *data;
  int64_t users, threads, facts, check, patches;
  double seconds, slice;
  int memory;
} settings;

typedef struct answer { /* one that a session gave */
  uint64_t version;     /* of the patch, which the session says it read */
  uint64_t hash;        /* of the text */
  int64_t question;
} answer;

typedef struct service service;
typedef struct reader { /* a thread with its sessions */
  service *s;
  pthread_t thread;
  smft_session **sessions; /* (n_sessions) */
  int64_t n_sessions;
  uint64_t seed;
  answer *answers;
  int64_t n_answers, asked;
  int64_t tokens[MOST_SLICES]; /* generated, or of a prompt, in each slice */
  uint64_t newest;             /* version of the patch when the answer's first token came */
  int64_t errors, stale;
  char message[256];
} reader;

typedef struct pupil { /* a patch and who teaches it */
  smft_patch *patch;
  smft_learner *learner;
  int64_t pushed, done, gave_up, steps;
} pupil;

struct service {
  settings o;
  smft_ctx *ctx;
  smft_model *model;
  atlas_facts facts;
  atlas_wordings wordings;
  char **questions; /* (facts.n) */
  pupil shared, apart;
  reader *readers; /* (threads) */
  pthread_t teacher;
  atomic_int slice, stop;
  uint64_t *versions;  /* (n_copies) ascending */
  smft_patch **copies; /* (n_copies) of the shared patch */
  int64_t n_copies, room;
  double took[MOST_SLICES], busy[MOST_SLICES]; /* wall and the readers' processor seconds */
};

/* ---- facts --------------------------------------------------------------- */

static void open_facts(service *s) {
  char path[600];
  snprintf(path, sizeof path, "%s/new.jsonl", s->o.data);
  if (atlas_facts_load(&s->facts, path) != 0 || s->facts.n == 0)
    bench_fail("no facts in %s", path);
  snprintf(path, sizeof path, "%s/wordings.json", s->o.data);
  if (atlas_wordings_load(&s->wordings, path) != 0)
    bench_fail("no wordings in %s", path);
  bench_need(s->questions = calloc((size_t)s->facts.n, sizeof *s->questions));
  for (int64_t i = 0; i < s->facts.n; i++) {
    const atlas_relation *relation = atlas_relation_find(&s->wordings, s->facts.items[i].relation);
    atlas_text text;
    if (!relation || atlas_fill(&text, atlas_question(relation), &s->facts.items[i]) != 0)
      bench_fail("fact %s has no question", s->facts.items[i].id);
    s->questions[i] = strdup(text.prompt);
    atlas_text_free(&text);
  }
}

/* Queues a fact with the wordings that are for training. */
static void push(service *s, smft_learner *learner, int64_t index) {
  const atlas_fact *fact = &s->facts.items[index % s->facts.n];
  const atlas_relation *relation = atlas_relation_find(&s->wordings, fact->relation);
  atlas_text texts[MOST_WORDINGS];
  smft_wording wordings[MOST_WORDINGS];
  int64_t n = 0;
  for (int64_t i = 0; i < relation->n && n < MOST_WORDINGS; i++)
    if (relation->wordings[i].role == ATLAS_TRAIN &&
        atlas_fill(&texts[n], &relation->wordings[i], fact) == 0) {
      wordings[n] = (smft_wording)SMFT_WORDING_INIT;
      wordings[n].prompt = texts[n].prompt;
      wordings[n].answer = texts[n].answer;
      wordings[n].end = texts[n].end;
      n++;
    }
  check(smft_learner_push(learner, fact->id, wordings, n), "push");
  for (int64_t i = 0; i < n; i++)
    atlas_text_free(&texts[i]);
}

static void open_pupil(service *s, pupil *p) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  options.flags = SMFT_LEARNER_KEEP_GIVEN_UP; /* a version that is taken back at once has no copy */
  check(smft_patch_create(&p->patch, s->model, SMFT_PATCH_SLOTS), "patch");
  check(smft_learner_create(&p->learner, s->model, p->patch, NULL, NULL, &options), "learner");
}

/* A step for the fact in hand, or the next one. */
static void teach(service *s, pupil *p) {
  smft_report report = SMFT_REPORT_INIT;
  if (smft_learner_pending(p->learner) == 0)
    push(s, p->learner, p->pushed++);
  check(smft_step(p->learner, &report), "step");
  p->steps++;
  p->done += report.fact_state == SMFT_FACT_DONE;
  p->gave_up += report.fact_state == SMFT_FACT_GAVE_UP;
}

/* ---- processors ---------------------------------------------------------- */

/* Pins the calling thread to the which-th processor that the process may use. */
static void pin(int which) {
  cpu_set_t all, one;
  CPU_ZERO(&one);
  if (sched_getaffinity(0, sizeof all, &all) != 0)
    return;
  for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all) && which-- == 0) {
      CPU_SET(cpu, &one);
      pthread_setaffinity_np(pthread_self(), sizeof one, &one);
      return;
    }
}

/* ---- readers ------------------------------------------------------------- */

static int32_t on_token(void *user, int32_t id, const char *text, size_t length) {
  reader *r = user;
  (void)id, (void)text, (void)length;
  if (r->newest == 0)
    r->newest = smft_patch_version(r->s->shared.patch);
  r->tokens[atomic_load_explicit(&r->s->slice, memory_order_relaxed)]++;
  return 0;
}

static smft_generate_options how(reader *r) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  options.max_tokens = 24;
  options.stop = "\n";
  options.on_token = r ? on_token : NULL;
  options.user = r;
  return options;
}

/* One answer; the version must be the newest at the call's beginning. */
static void ask(reader *r, smft_session *session, int64_t question) {
  smft_generate_options options = how(r);
  const char *prompt = r->s->questions[question], *text = NULL;
  uint64_t before = smft_patch_version(r->s->shared.patch);
  size_t length = 0;
  r->newest = 0;
  r->asked++;
  if (smft_session_generate(session, prompt, strlen(prompt), &options, &text, &length) != SMFT_OK) {
    snprintf(r->message, sizeof r->message, "%s", smft_error_message());
    r->errors++;
    return;
  }
  uint64_t version = smft_session_version(session);
  r->stale += version < before || (r->newest && version > r->newest);
  if (r->n_answers < MOST_ANSWERS)
    r->answers[r->n_answers++] = (answer){version, bench_hash(0, text, length), question};
}

static void *read_all(void *arg) {
  reader *r = arg;
  pin(0);
  for (int64_t i = 0; !atomic_load(&r->s->stop); i++) {
    r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
    ask(r, r->sessions[i % r->n_sessions], (int64_t)((r->seed >> 33) % (uint64_t)r->s->facts.n));
  }
  return NULL;
}

static void open_readers(service *s) {
  bench_need(s->readers = calloc((size_t)s->o.threads, sizeof *s->readers));
  for (int64_t i = 0; i < s->o.threads; i++) {
    reader *r = &s->readers[i];
    r->s = s;
    r->seed = (uint64_t)i + 1;
    r->n_sessions = s->o.users / s->o.threads + (i < s->o.users % s->o.threads);
    bench_need(r->sessions = calloc((size_t)r->n_sessions + 1, sizeof *r->sessions));
    bench_need(r->answers = malloc(MOST_ANSWERS * sizeof *r->answers));
    for (int64_t k = 0; k < r->n_sessions; k++)
      check(smft_session_create(&r->sessions[k], s->model, s->shared.patch, NULL), "session");
  }
}

static void close_readers(service *s) {
  for (int64_t i = 0; i < s->o.threads; i++) {
    for (int64_t k = 0; k < s->readers[i].n_sessions; k++)
      smft_session_free(s->readers[i].sessions[k]);
    free(s->readers[i].sessions);
    free(s->readers[i].answers);
  }
  free(s->readers);
}

/* ---- the teacher --------------------------------------------------------- */

/* A copy of the version that was just published, unless it is there. */
static void keep_version(service *s) {
  uint64_t version = smft_patch_version(s->shared.patch);
  if (s->n_copies && s->versions[s->n_copies - 1] == version)
    return;
  if (s->n_copies == s->room) {
    s->room = s->room ? 2 * s->room : 1024;
    bench_need(s->versions = realloc(s->versions, (size_t)s->room * sizeof *s->versions));
    bench_need(s->copies = realloc(s->copies, (size_t)s->room * sizeof *s->copies));
  }
  check(smft_patch_copy(&s->copies[s->n_copies], s->shared.patch), "copy");
  s->versions[s->n_copies++] = version;
}

/* The same work in both kinds of slices: a step, and a copy. */
static void *teach_all(void *arg) {
  service *s = arg;
  pin(1);
  while (!atomic_load(&s->stop)) {
    int slice = atomic_load(&s->slice) & 3;
    if (slice == 0 || slice == 3) {
      teach(s, &s->shared);
      keep_version(s);
    } else {
      smft_patch *copy;
      teach(s, &s->apart);
      check(smft_patch_copy(&copy, s->apart.patch), "copy");
      smft_patch_free(copy);
    }
  }
  return NULL;
}

/* ---- slices -------------------------------------------------------------- */

static double readers_busy(service *s) {
  double sum = 0;
  for (int64_t i = 0; i < s->o.threads; i++) {
    clockid_t id;
    if (pthread_getcpuclockid(s->readers[i].thread, &id) == 0)
      sum += bench_clock(id);
  }
  return sum;
}

static void wait_slice(service *s, int slice) {
  double begin = bench_clock(CLOCK_MONOTONIC), busy = readers_busy(s), now;
  atomic_store(&s->slice, slice);
  while ((now = bench_clock(CLOCK_MONOTONIC)) - begin < s->o.slice) {
    double left = s->o.slice - (now - begin);
    struct timespec nap = {(time_t)left, (long)(1e9 * (left - floor(left)))};
    nanosleep(&nap, NULL);
  }
  s->took[slice] = now - begin;
  s->busy[slice] = readers_busy(s) - busy;
}

/* Whole turns of four slices until the time and the facts are over; how many slices. */
static int run_slices(service *s) {
  int n = 0;
  double begin = bench_clock(CLOCK_MONOTONIC);
  while (n + 4 < MOST_SLICES && (bench_clock(CLOCK_MONOTONIC) - begin < s->o.seconds ||
                                 s->shared.done + s->shared.gave_up < s->o.facts))
    for (int k = 0; k < 4; k++, n++)
      wait_slice(s, n);
  return n;
}

static void warm_up(service *s) {
  atomic_store(&s->slice, MOST_SLICES - 2); /* B */
  struct timespec nap = {1, 0};
  nanosleep(&nap, NULL);
}

static double tokens_in(const service *s, int slice) {
  int64_t n = 0;
  for (int64_t i = 0; i < s->o.threads; i++)
    n += s->readers[i].tokens[slice];
  return (double)n;
}

/* Median of the neighbours' ratios A / B and its 95 % interval from order statistics; by: seconds
 * of each slice. */
static void say_ratio(const service *s, int n, const double *by, const char *what) {
  double ratios[MOST_SLICES / 2], a = 0, b = 0;
  int pairs = n / 2, reach = (int)floor(0.98 * sqrt(pairs));
  for (int i = 0; i < pairs; i++) { /* A B, B A */
    int first = 2 * i + (i & 1), second = 2 * i + !(i & 1);
    double left = tokens_in(s, first) / by[first], right = tokens_in(s, second) / by[second];
    ratios[i] = left / right;
    a += left / pairs;
    b += right / pairs;
  }
  double median = bench_median(ratios, pairs);
  int low = pairs / 2 - reach, high = (pairs - 1) / 2 + reach;
  printf("tokens a second of %s: %.0f with the patch that is read, %.0f with another: ratio %.4f "
         "(%.4f to %.4f, %d pairs)\n",
         what, a, b, median, ratios[low < 0 ? 0 : low], ratios[high < pairs ? high : pairs - 1],
         pairs);
}

/* ---- were the answers right? --------------------------------------------- */

/* The version's, or the next one's: a fact's last step publishes its rows and then, with the same
 * rows, the list of facts. */
static smft_patch *copy_of(const service *s, uint64_t version) {
  int64_t low = 0, high = s->n_copies;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (s->versions[middle] < version)
      low = middle + 1;
    else
      high = middle;
  }
  return low < s->n_copies ? s->copies[low] : NULL;
}

static int is_right(service *s, smft_session *session, const answer *a) {
  smft_generate_options options = how(NULL);
  smft_patch *copy = copy_of(s, a->version);
  const char *text;
  size_t length;
  if (!copy)
    return 0;
  check(smft_session_set_patch(session, copy), "set_patch");
  check(smft_session_generate(session, s->questions[a->question], strlen(s->questions[a->question]),
                              &options, &text, &length),
        "asking again");
  return bench_hash(0, text, length) == a->hash;
}

/* Wrong ones among every n-th. */
static int64_t check_answers(service *s, int64_t total, int64_t *n_checked) {
  int64_t step = s->o.check > 0 && total > s->o.check ? total / s->o.check : 1, wrong = 0, i = 0;
  smft_session *session;
  check(smft_session_create(&session, s->model, NULL, NULL), "session");
  *n_checked = 0;
  for (int64_t t = 0; t < s->o.threads; t++)
    for (int64_t k = 0; k < s->readers[t].n_answers; k++, i++)
      if (i % step == 0) {
        wrong += !is_right(s, session, &s->readers[t].answers[k]);
        ++*n_checked;
      }
  smft_session_free(session);
  return wrong;
}

static int report(service *s, int n_slices) {
  int64_t asked = 0, kept = 0, errors = 0, stale = 0, checked;
  for (int64_t i = 0; i < s->o.threads; i++) {
    asked += s->readers[i].asked;
    kept += s->readers[i].n_answers;
    errors += s->readers[i].errors;
    stale += s->readers[i].stale;
    if (s->readers[i].errors)
      printf("thread %d: %s\n", (int)i, s->readers[i].message);
  }
  say_ratio(s, n_slices, s->took, "the clock");
  say_ratio(s, n_slices, s->busy, "the readers' processor time");
  int64_t wrong = check_answers(s, kept, &checked);
  printf("%lld answers of %lld sessions in %lld threads, %lld errors, %lld not of the newest "
         "version at their beginning; checked %lld against their version: %lld wrong\n",
         (long long)asked, (long long)s->o.users, (long long)s->o.threads, (long long)errors,
         (long long)stale, (long long)checked, (long long)wrong);
  printf("taught to the patch that is read: %lld facts learnt, %lld given up, %lld steps, %lld "
         "versions; to the other: %lld, %lld, %lld\n",
         (long long)s->shared.done, (long long)s->shared.gave_up, (long long)s->shared.steps,
         (long long)s->n_copies, (long long)s->apart.done, (long long)s->apart.gave_up,
         (long long)s->apart.steps);
  return errors == 0 && stale == 0 && wrong == 0 ? 0 : 1;
}

static int serve(service *s) {
  open_pupil(s, &s->shared);
  open_pupil(s, &s->apart);
  keep_version(s);
  open_readers(s);
  atomic_store(&s->slice, MOST_SLICES - 2);
  for (int64_t i = 0; i < s->o.threads; i++)
    pthread_create(&s->readers[i].thread, NULL, read_all, &s->readers[i]);
  pthread_create(&s->teacher, NULL, teach_all, s);
  warm_up(s);
  int n = run_slices(s);
  atomic_store(&s->stop, 1);
  pthread_join(s->teacher, NULL);
  for (int64_t i = 0; i < s->o.threads; i++)
    pthread_join(s->readers[i].thread, NULL);
  int status = report(s, n);
  close_readers(s);
  for (int64_t i = 0; i < s->n_copies; i++)
    smft_patch_free(s->copies[i]);
  free(s->copies);
  free(s->versions);
  smft_learner_free(s->shared.learner);
  smft_learner_free(s->apart.learner);
  smft_patch_free(s->shared.patch);
  smft_patch_free(s->apart.patch);
  return status;
}
/* ---- memory -------------------------------------------------------------- */

static int64_t memory_now(const service *s) {
  int64_t now;
  check(smft_ctx_memory(s->ctx, &now, NULL), "memory");
  return now;
}

/* What the context keeps for the next call; it is gone now, since a learner was freed. */
static int64_t drop_lent(const service *s) {
  int64_t before = memory_now(s);
  smft_patch *patch;
  smft_learner *learner;
  check(smft_patch_create(&patch, s->model, SMFT_PATCH_SLOTS), "patch");
  check(smft_learner_create(&learner, s->model, patch, NULL, NULL, NULL), "learner");
  smft_learner_free(learner);
  smft_patch_free(patch);
  return before - memory_now(s);
}

static void say(const char *what, int64_t idle, int64_t lent) {
  printf("%-58s %9.1f KB", what, (double)idle / 1e3);
  if (lent)
    printf(", and while a call runs %.1f KB of the context's", (double)lent / 1e3);
  printf("\n");
}

static void ask_once(const service *s, smft_session *session, int64_t question) {
  smft_generate_options options = how(NULL);
  check(smft_session_generate(session, s->questions[question], strlen(s->questions[question]),
                              &options, NULL, NULL),
        "asking");
}

static void teach_user(service *s, pupil *p, int64_t first) {
  p->pushed = first;
  for (p->done = p->gave_up = 0; p->done < FACTS_OF_A_USER || smft_learner_pending(p->learner) > 0;)
    teach(s, p);
}

static int64_t rows_of(const service *s, smft_patch *patch) {
  int64_t rows = 0, n, slots, dim;
  for (int32_t pool = 0; smft_model_pool(s->model, pool, &slots, &dim) == SMFT_OK; pool++) {
    check(smft_patch_slots(patch, pool, NULL, 0, &n), "slots");
    rows += n;
  }
  return rows;
}

static void measure_session(service *s, smft_patch *patch) {
  smft_session *session;
  drop_lent(s);
  int64_t before = memory_now(s);
  check(smft_session_create(&session, s->model, patch, NULL), "session");
  say("a session that was made", memory_now(s) - before, 0);
  for (int64_t i = 0; i < 20; i++)
    ask_once(s, session, i);
  int64_t lent = drop_lent(s);
  say("a session that answered 20 questions", memory_now(s) - before, lent);
  smft_session_free(session);
}

/* The learner goes first: it shares the list of facts with the patch that it taught. */
static void measure_learner(service *s) {
  pupil p = {0};
  drop_lent(s);
  int64_t before = memory_now(s);
  open_pupil(s, &p);
  say("a learner that was made, with its patch and selector", memory_now(s) - before, 0);
  teach_user(s, &p, 0);
  int64_t lent = drop_lent(s), rows = rows_of(s, p.patch), facts = smft_patch_fact_count(p.patch);
  measure_session(s, p.patch);
  int64_t both = memory_now(s);
  smft_learner_free(p.learner);
  int64_t patch = memory_now(s);
  say("a learner that taught 20 facts", both - patch, lent);
  smft_patch_free(p.patch);
  say("their patch", patch - memory_now(s), 0);
  printf("  which has %lld rows, %lld facts\n", (long long)rows, (long long)facts);
}

/* Users that share nothing: a few patches are taught, saved, and loaded again and again. */
static void measure_patches(service *s) {
  enum { TAUGHT = 8 };
  char path[TAUGHT][64], folder[] = "/tmp/bench_serve.XXXXXX";
  int64_t rows = 0, n = s->o.patches;
  pupil p = {0};
  if (!mkdtemp(folder))
    bench_fail("no temporary folder");
  open_pupil(s, &p);
  for (int i = 0; i < TAUGHT; i++) {
    teach_user(s, &p, i * FACTS_OF_A_USER);
    snprintf(path[i], sizeof path[i], "%s/%d", folder, i);
    check(smft_patch_save(p.patch, path[i], 0), "save");
    rows += rows_of(s, p.patch);
    smft_patch_free(p.patch);
    check(smft_patch_create(&p.patch, s->model, SMFT_PATCH_SLOTS), "patch");
    check(smft_learner_set_patch(p.learner, p.patch), "set_patch");
  }
  smft_learner_free(p.learner);
  smft_patch **patches = calloc((size_t)n, sizeof *patches);
  smft_session *session;
  bench_need(patches);
  check(smft_session_create(&session, s->model, NULL, NULL), "session");
  ask_once(s, session, 0);
  double resident = bench_memory_mb("VmRSS:"), begin = bench_clock(CLOCK_MONOTONIC);
  int64_t before = memory_now(s);
  for (int64_t i = 0; i < n; i++)
    check(smft_patch_load(&patches[i], s->model, path[i % TAUGHT]), "load");
  double took = bench_clock(CLOCK_MONOTONIC) - begin;
  for (int64_t i = 0; i < n; i++) {
    check(smft_session_set_patch(session, patches[i]), "set_patch");
    ask_once(s, session, i % s->facts.n);
  }
  printf("%lld users' patches of 20 facts (%lld rows each on average): %.1f MB by the context, "
         "resident %.1f MB where it was %.1f MB; opened in %.2f s; each answered\n",
         (long long)n, (long long)(rows / TAUGHT), (double)(memory_now(s) - before) / 1e6,
         bench_memory_mb("VmRSS:"), resident, took);
  smft_session_free(session);
  for (int64_t i = 0; i < n; i++)
    smft_patch_free(patches[i]);
  for (int i = 0; i < TAUGHT; i++)
    remove(path[i]);
  rmdir(folder);
  smft_patch_free(p.patch);
  free(patches);
}

/* ---- the program --------------------------------------------------------- */

static int usage(const char *program) {
  fprintf(stderr,
          "usage: %s [--users N] [--threads N] [--seconds S] [--facts N] [--slice S] [--check N] "
          "[--memory [--patches N]] MODEL_DIRECTORY ATLAS_DATA\n",
          program);
  return 2;
}

static int read_settings(settings *o, int argc, char **argv) {
  static const struct option options[] = {{"users", 1, NULL, 'u'},   {"threads", 1, NULL, 't'},
                                          {"seconds", 1, NULL, 's'}, {"facts", 1, NULL, 'f'},
                                          {"slice", 1, NULL, 'l'},   {"check", 1, NULL, 'c'},
                                          {"patches", 1, NULL, 'p'}, {"memory", 0, NULL, 'm'},
                                          {NULL, 0, NULL, 0}};
  *o = (settings){NULL, NULL, 200, 8, 40, 2000, 1000, 60, 1, 0};
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
    switch (c) {
    case 'u':
      o->users = atoll(optarg);
      break;
    case 't':
      o->threads = atoll(optarg);
      break;
    case 's':
      o->seconds = atof(optarg);
      break;
    case 'f':
      o->facts = atoll(optarg);
      break;
    case 'l':
      o->slice = atof(optarg);
      break;
    case 'c':
      o->check = atoll(optarg);
      break;
    case 'p':
      o->patches = atoll(optarg);
      break;
    case 'm':
      o->memory = 1;
      break;
    default:
      return 0;
    }
  o->model = argv[optind];
  o->data = o->model ? argv[optind + 1] : NULL;
  return o->data && o->threads > 0 && o->threads <= MOST_THREADS && o->users >= o->threads &&
         o->slice > 0 && o->facts >= 0 && o->check >= 0 && o->patches > 0;
}

int main(int argc, char **argv) {
  static service s;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  int status = 0;
  options.n_threads = 1;
  if (!read_settings(&s.o, argc, argv))
    return usage(argv[0]);
  check(smft_ctx_create(&s.ctx, &options), "context");
  check(smft_model_load(&s.model, s.ctx, s.o.model, NULL), "model");
  open_facts(&s);
  if (s.o.memory) {
    measure_learner(&s);
    measure_patches(&s);
  } else {
    status = serve(&s);
  }
  for (int64_t i = 0; i < s.facts.n; i++)
    free(s.questions[i]);
  free(s.questions);
  atlas_facts_free(&s.facts);
  atlas_wordings_free(&s.wordings);
  smft_model_free(s.model);
  smft_ctx_free(s.ctx);
  return status;
}
