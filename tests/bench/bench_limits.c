/* bench_limits: what the machine can do, each limit by several methods, of which the fastest
 * counts, and on as much data as the row has that is held against it.
 * usage: bench_limits THREADS TABLE_MB     TABLE_MB: of the table that random rows are read from
 *   methods              {"stream": methods, "rows": methods, "units": [names]}
 *   stream METHOD BYTES  so many bytes read over and over, each thread its part; bytes a second
 *   rows METHOD BYTES    rows of so many bytes read at random places of the table; bytes a second
 *   unit METHOD          multiply-adds in registers alone (units.h); operations a second */
#include "bench.h"
#include "reading.h"
#include "units.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* PIECE_ROWS, LEAST_STREAMED, UNIT_LOOPS: what a thread does in one piece of work, long beside its
 * making */
enum { MOST_THREADS = 64, PIECE_ROWS = 16384, LEAST_STREAMED = 256 << 20, UNIT_LOOPS = 32 };

typedef struct limits {
  int threads, method;
  float *stream; /* (stream_floats); kept, like the table, while the size asked for is the same */
  int64_t stream_floats;
  float *table; /* (table_floats) small pages, as a mapped file has */
  int64_t table_floats, row;
  uint64_t seed;
  atomic_int claimed; /* loops of a unit that a thread has begun */
} limits;

typedef struct part {
  limits *of;
  int index;
  uint64_t seed;
  float sum;
} part;

static void clear(void *arg) { (void)arg; }

static void on_threads(limits *l, void *(*run)(void *)) {
  pthread_t threads[MOST_THREADS];
  part parts[MOST_THREADS];
  for (int t = 0; t < l->threads; t++) {
    parts[t] = (part){l, t, l->seed += 7919, 0};
    if (t > 0 && pthread_create(&threads[t], NULL, run, &parts[t]) != 0)
      bench_fail("no thread");
  }
  run(&parts[0]);
  for (int t = 1; t < l->threads; t++)
    pthread_join(threads[t], NULL);
}

static float *mapped(int64_t floats, int advice) {
  size_t size = (size_t)floats * sizeof(float);
  float *x = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (x == MAP_FAILED)
    bench_fail("no memory for %lld floats", (long long)floats);
  madvise(x, size, advice);
  for (int64_t i = 0; i < floats; i++)
    x[i] = 1;
  return x;
}

static void use_method(limits *l, char **words, int methods) {
  int64_t method = bench_number(words, 0, 0);
  if (method < 0 || method >= methods)
    bench_fail("this machine has %d such methods", methods);
  l->method = (int)method;
}

static int n_units(void) {
  int n = 0;
  while (units[n].name)
    n++;
  return n;
}

/* ---- streaming ----------------------------------------------------------- */

static void drop_stream(limits *l) {
  if (l->stream)
    munmap(l->stream, (size_t)l->stream_floats * sizeof(float));
  l->stream = NULL;
}

/* Large pages, the fastest there are. */
static void prepare_stream(void *arg, char **words) {
  limits *l = arg;
  int64_t floats = bench_number(words, 1, 0) / (int64_t)sizeof(float);
  use_method(l, words, reading_methods());
  if (floats < l->threads * READING_PAGE)
    bench_fail("a stream has 4096 bytes a thread at least");
  if (l->stream && l->stream_floats == floats)
    return;
  drop_stream(l);
  l->stream = mapped(floats, MADV_HUGEPAGE);
  l->stream_floats = floats;
}

static int64_t repeats(const limits *l) {
  return LEAST_STREAMED / (l->stream_floats * (int64_t)sizeof(float)) + 1;
}

static void *read_part(void *arg) {
  part *p = arg;
  const limits *l = p->of;
  int64_t n = l->stream_floats / l->threads / 16 * 16;
  for (int64_t i = 0; i < repeats(l); i++)
    p->sum += reading_stream[l->method](l->stream + n * p->index, n);
  return NULL;
}

static int64_t stream(void *arg) {
  limits *l = arg;
  on_threads(l, read_part);
  return repeats(l) * (l->stream_floats / l->threads / 16 * 16) * l->threads *
         (int64_t)sizeof(float);
}

/* ---- random rows --------------------------------------------------------- */

static void prepare_rows(void *arg, char **words) {
  limits *l = arg;
  l->row = bench_number(words, 1, 4096) / (int64_t)sizeof(float);
  use_method(l, words, reading_methods());
  if (l->row < 16 || l->row % 16 != 0 || l->row > l->table_floats)
    bench_fail("rows are multiples of 64 bytes");
  if (!l->table)
    l->table = mapped(l->table_floats, MADV_NOHUGEPAGE);
}

static void *read_rows(void *arg) {
  enum { AT_ONCE = 512 };
  part *p = arg;
  const limits *l = p->of;
  int64_t rows[AT_ONCE];
  for (int done = 0; done < PIECE_ROWS; done += AT_ONCE) {
    for (int i = 0; i < AT_ONCE; i++) {
      p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
      rows[i] = (int64_t)((p->seed >> 32) % (uint64_t)(l->table_floats / l->row));
    }
    p->sum += reading_rows[l->method](l->table, rows, AT_ONCE, l->row);
  }
  return NULL;
}

static int64_t rows(void *arg) {
  limits *l = arg;
  on_threads(l, read_rows);
  return l->threads * (int64_t)PIECE_ROWS * l->row * (int64_t)sizeof(float);
}

/* ---- arithmetic ---------------------------------------------------------- */

static void prepare_unit(void *arg, char **words) {
  limits *l = arg;
  use_method(l, words, n_units());
  if (!units[l->method].is_here())
    bench_fail("this processor has no such unit: %s", units[l->method].name);
}

/* Loops are claimed, as the library's threads claim their work: one whose processor is taken away
 * holds nobody up. */
static void *run_unit(void *arg) {
  part *p = arg;
  while (atomic_fetch_add(&p->of->claimed, 1) < UNIT_LOOPS * p->of->threads)
    p->sum = units[p->of->method].loop((float)(p->index + 1));
  return NULL;
}

static int64_t unit_rate(void *arg) {
  limits *l = arg;
  atomic_store(&l->claimed, 0);
  on_threads(l, run_unit);
  return (int64_t)(units[l->method].operations * UNIT_LOOPS * l->threads);
}

static void answer_methods(void *arg, char **words) {
  (void)arg, (void)words;
  printf("{\"stream\": %d, \"rows\": %d, \"units\": [", reading_methods(), reading_methods());
  for (int i = 0; i < n_units(); i++)
    printf("%s\"%s\"", i ? ", " : "", units[i].is_here() ? units[i].name : "");
  printf("]}\n");
}

static const bench_task tasks[] = {{"methods", NULL, NULL, answer_methods},
                                   {"stream", prepare_stream, stream, NULL},
                                   {"rows", prepare_rows, rows, NULL},
                                   {"unit", prepare_unit, unit_rate, NULL},
                                   {NULL, NULL, NULL, NULL}};

int main(int argc, char **argv) {
  static limits l;
  l.threads = argc > 2 ? atoi(argv[1]) : 0;
  l.table_floats = argc > 2 ? atoll(argv[2]) * 1000000 / (int64_t)sizeof(float) : 0;
  if (l.threads < 1 || l.threads > MOST_THREADS || l.table_floats < 1) {
    fprintf(stderr, "usage: bench_limits THREADS TABLE_MB, with questions on standard input\n");
    return 2;
  }
  bench_serve(tasks, clear, &l);
  drop_stream(&l);
  if (l.table)
    munmap(l.table, (size_t)l.table_floats * sizeof(float));
  return 0;
}
