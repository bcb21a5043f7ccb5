/* bench: what every benchmark program shares: one question a line on standard input, one JSON
 * object a line as the answer; the clock; how disturbed a timing was; memory.  bench.py asks.
 * Every time is by the clock on the wall.
 *   NAME [WORD]...  one of the program's tasks; asked again at once it goes on with what it
 *                   prepared
 *   peak            most memory that the process has had so far, and what it has now, in MB
 * An answer is {"rate": units a second, "unit": seconds of one piece of work, "others": cores that
 * other processes had meanwhile}, or what the task says, or {"error": text}, after which the
 * program ends.  SMFT_BENCH_SECONDS: how long a timing takes at least (0.5), after half as long of
 * warming up. */
#ifndef SMFT_BENCH_H
#define SMFT_BENCH_H
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BENCH_WORDS = 6 };

typedef struct bench_task {
  const char *name;
  /* when the line is another than the one before; may be NULL */
  void (*prepare)(void *subject, char **words);
  int64_t (*work)(void *subject);              /* does a piece of work, returns its units; timed */
  void (*answer)(void *subject, char **words); /* instead of work: prints its own answer */
} bench_task;

/* ---- answers ------------------------------------------------------------- */

/* Prints {"error": ...} and ends the program.  The message must not hold quotes; those in it become
 * apostrophes. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void bench_fail(const char *format,
                                                                              ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  for (char *c = text; *c; c++)
    if (*c == '"' || *c == '\\' || (unsigned char)*c < 32)
      *c = '\'';
  printf("{\"error\": \"%s\"}\n", text);
  fflush(stdout);
  exit(1);
}

static inline void bench_need(const void *pointer) {
  if (!pointer)
    bench_fail("out of memory");
}

/* A word of the question as a number; `missing` where there is none. */
static inline int64_t bench_number(char **words, int i, int64_t missing) {
  return words[i] ? strtoll(words[i], NULL, 10) : missing;
}

/* FNV-1a, to compare results bit by bit. */
static inline uint64_t bench_hash(uint64_t hash, const void *data, size_t size) {
  const unsigned char *bytes = data;
  hash = hash ? hash : 14695981039346656037u;
  for (size_t i = 0; i < size; i++)
    hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash;
}

/* ---- clocks and memory --------------------------------------------------- */

static inline double bench_clock(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* For timings that compare: one thread by its processor time, which a busy machine disturbs little;
 * several by the clock on the wall. */
static inline double bench_now(int threads) {
  return bench_clock(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC);
}

static inline int bench_ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* values (n) are sorted. */
static inline double bench_median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, bench_ascending);
  return values[n / 2];
}

static inline double bench_seconds(void) {
  const char *text = getenv("SMFT_BENCH_SECONDS");
  double seconds = text ? strtod(text, NULL) : 0;
  return seconds > 0 ? seconds : 0.5;
}

/* Seconds that all processors have worked for anybody since the machine started. */
static inline double bench_machine_busy(void) {
  long long user = 0, low = 0, kernel = 0, idle = 0, wait = 0, irq = 0, soft = 0;
  FILE *file = fopen("/proc/stat", "r");
  if (!file)
    return 0;
  if (fscanf(file, "cpu %lld %lld %lld %lld %lld %lld %lld", &user, &low, &kernel, &idle, &wait,
             &irq, &soft) != 7)
    user = low = kernel = irq = soft = 0;
  fclose(file);
  return (double)(user + low + kernel + irq + soft) / (double)sysconf(_SC_CLK_TCK);
}

/* A line of /proc/self/status, such as "VmHWM:", in MB; 0: it has none. */
static inline double bench_memory_mb(const char *name) {
  char line[256];
  long long kilobytes = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (!strncmp(line, name, strlen(name)))
      kilobytes = strtoll(line + strlen(name), NULL, 10);
  if (file)
    fclose(file);
  return (double)kilobytes * 1024e-6;
}

static inline void bench_answer_peak(void) {
  printf("{\"peak_mb\": %.1f, \"now_mb\": %.1f, \"file_mb\": %.1f}\n", bench_memory_mb("VmHWM:"),
         bench_memory_mb("VmRSS:"), bench_memory_mb("RssFile:"));
}

/* ---- timing -------------------------------------------------------------- */

static inline int64_t bench_work_for(int64_t (*work)(void *), void *subject, double seconds,
                                     int64_t *pieces) {
  int64_t units = 0;
  double begin = bench_clock(CLOCK_MONOTONIC);
  *pieces = 0;
  do {
    units += work(subject);
    ++*pieces;
  } while (bench_clock(CLOCK_MONOTONIC) - begin < seconds);
  return units;
}

/* Warming up first: the kernel needs up to 0.1 s of steady work to give a woken thread a processor
 * of its own.  A piece of work that is long in itself is not done twice for that. */
static inline void bench_answer_rate(int64_t (*work)(void *), void *subject, int fresh) {
  static double piece;
  double seconds = bench_seconds();
  int64_t pieces;
  if (fresh || piece < seconds)
    bench_work_for(work, subject, seconds / 2, &pieces);
  double busy = bench_machine_busy(), own = bench_clock(CLOCK_PROCESS_CPUTIME_ID);
  double begin = bench_clock(CLOCK_MONOTONIC);
  int64_t units = bench_work_for(work, subject, seconds, &pieces);
  double took = bench_clock(CLOCK_MONOTONIC) - begin;
  double others =
      (bench_machine_busy() - busy - (bench_clock(CLOCK_PROCESS_CPUTIME_ID) - own)) / took;
  piece = took / (double)pieces;
  printf("{\"rate\": %.9g, \"unit\": %.9g, \"others\": %.2f}\n", (double)units / took, piece,
         others > 0 ? others : 0);
}

/* ---- questions ----------------------------------------------------------- */

static inline void bench_ask(const bench_task *tasks, void (*clear)(void *), void *subject,
                             char *line) {
  static char before[512];
  char *words[BENCH_WORDS + 1] = {0}, *rest = NULL;
  int fresh = strcmp(line, before) != 0, n = 0;
  snprintf(before, sizeof before, "%s", line);
  const char *name = strtok_r(line, " ", &rest);
  while (n < BENCH_WORDS && (words[n] = strtok_r(NULL, " ", &rest)))
    n++;
  if (name && !strcmp(name, "peak")) {
    bench_answer_peak();
    return;
  }
  while (tasks->name && (!name || strcmp(tasks->name, name) != 0))
    tasks++;
  if (!tasks->name)
    bench_fail("there is no task %s", name ? name : "without a name");
  if (fresh || tasks->answer)
    clear(subject);
  if (fresh && tasks->prepare)
    tasks->prepare(subject, words);
  if (tasks->answer)
    tasks->answer(subject, words);
  else
    bench_answer_rate(tasks->work, subject, fresh);
}

/* Answers until standard input ends.  tasks end with one without a name; clear frees what the task
 * before prepared. */
static inline void bench_serve(const bench_task *tasks, void (*clear)(void *), void *subject) {
  char line[512];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    bench_ask(tasks, clear, subject, line);
    fflush(stdout);
  }
  clear(subject);
}
#endif
