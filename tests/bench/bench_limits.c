/* bench_limits: what the machine can do: streaming reads, reads of random rows, sgemm of an
 * OpenBLAS that is loaded at run time.
 * usage: bench_limits THREADS TABLE_MB [libopenblas.so]     TABLE_MB: of the table that rows are
 * read from, and the most that is streamed
 *   stream         384 MiB, or four times the last cache if that is more, read and summed, eight
 *                  pages side by side and the next eight fetched meanwhile: nearly twice as fast
 *                  as one after the other; bytes a second
 *   rows BYTES     rows of so many bytes read at random places of the table, the next four fetched
 *                  meanwhile; bytes a second
 *   sgemm M N K    (M, K) x (K, N); FLOP a second
 *   fma            multiply-adds of the widest vectors, in registers alone; FLOP a second
 *   amx            products of f32 in three pieces of bf16 each (nn/kernels/gemm_tiles.c), the
 * tiles always at hand; FLOP a second blas           {"config": what OpenBLAS says of itself,
 * "parallel": 0 one thread, 1 its own threads, 2 OpenMP} */
#include "bench.h"
#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* rows that a thread reads in one piece of work: long beside the making of a thread */
enum { MOST_THREADS = 64, PIECE_ROWS = 16384 };

typedef float floats __attribute__((vector_size(32), aligned(4)));
typedef void sgemm_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                      const float *a, int lda, const float *b, int ldb, float beta, float *c,
                      int ldc);

typedef struct limits {
  int threads;
  const char *library;
  void *blas;
  sgemm_fn *sgemm;
  float *stream; /* (stream_floats); kept, like the table, from one task to the next */
  int64_t stream_floats;
  float *table;              /* (table_floats) small pages, as a mapped file has */
  int64_t table_floats, row; /* floats */
  int64_t m, n, k;
  float *a, *b, *c; /* (m, k), (k, n), (m, n) */
  uint64_t seed;
} limits;

typedef struct part {
  limits *of;
  int index;
  uint64_t seed;
  float sum;
} part;

static void clear(void *arg) {
  limits *l = arg;
  free(l->a);
  free(l->b);
  free(l->c);
  l->a = l->b = l->c = NULL;
}

static float *numbers(int64_t n) {
  float *x = aligned_alloc(64, ((size_t)n * sizeof *x + 63) / 64 * 64);
  bench_need(x);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)(i % 1024) * 0x1p-12f;
  return x;
}

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

/* ---- streaming ----------------------------------------------------------- */

/* Virtual machines show caches of hundreds of megabytes that they share with others. */
static void prepare_stream(void *arg, char **words) {
  limits *l = arg;
  int64_t bytes = 4 * (int64_t)sysconf(_SC_LEVEL3_CACHE_SIZE), least = (int64_t)384 << 20;
  int64_t most = l->table_floats * (int64_t)sizeof(float);
  (void)words;
  if (l->stream)
    return;
  bytes = bytes < least ? least : bytes;
  l->stream_floats = (bytes > most ? most : bytes) / 4096 * 1024;
  l->stream = numbers(l->stream_floats);
}

static void *read_part(void *arg) {
  enum { PAGES = 8, PAGE = 1024 }; /* floats */
  part *p = arg;
  int64_t n = p->of->stream_floats / p->of->threads;
  const float *begin = p->of->stream + n * p->index;
  floats sum[PAGES] = {0};
  for (int64_t i = 0; i + 2 * PAGES * PAGE <= n; i += PAGES * PAGE)
    for (int64_t j = i; j < i + PAGE; j += 16)
      for (int64_t page = 0; page < PAGES; page++) {
        const float *line = begin + page * PAGE + j;
        __builtin_prefetch(line + PAGES * PAGE);
        sum[page] +=
            *(const floats *)(const void *)line + *(const floats *)(const void *)(line + 8);
      }
  for (int page = 1; page < PAGES; page++)
    sum[0] += sum[page];
  p->sum = sum[0][0];
  return NULL;
}

static int64_t stream(void *arg) {
  on_threads(arg, read_part);
  return ((limits *)arg)->stream_floats * (int64_t)sizeof(float);
}

/* ---- random rows --------------------------------------------------------- */

static void prepare_rows(void *arg, char **words) {
  limits *l = arg;
  l->row = bench_number(words, 0, 4096) / (int64_t)sizeof(float);
  if (l->row < 16 || l->row % 16 != 0 || l->row > l->table_floats)
    bench_fail("rows are multiples of 64 bytes");
  if (l->table)
    return;
  l->table = mmap(NULL, (size_t)l->table_floats * sizeof(float), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (l->table == MAP_FAILED)
    bench_fail("no memory for the table");
  madvise(l->table, (size_t)l->table_floats * sizeof(float), MADV_NOHUGEPAGE);
  for (int64_t i = 0; i < l->table_floats; i++)
    l->table[i] = 1;
}

static const float *random_row(part *p) {
  p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
  return p->of->table +
         (int64_t)((p->seed >> 32) % (uint64_t)(p->of->table_floats / p->of->row)) * p->of->row;
}

static void *read_rows(void *arg) {
  part *p = arg;
  const float *row[4], *next[4];
  floats sum[8] = {0};
  for (int r = 0; r < 4; r++)
    next[r] = random_row(p);
  for (int i = 0; i < PIECE_ROWS; i += 4) {
    for (int r = 0; r < 4; r++) {
      row[r] = next[r];
      next[r] = random_row(p);
    }
    for (int64_t j = 0; j < p->of->row; j += 16)
      for (int r = 0; r < 4; r++) {
        __builtin_prefetch(next[r] + j);
        sum[r] += *(const floats *)(const void *)(row[r] + j);
        sum[4 + r] += *(const floats *)(const void *)(row[r] + j + 8);
      }
  }
  for (int r = 1; r < 8; r++)
    sum[0] += sum[r];
  p->sum = sum[0][0] + sum[0][5];
  return NULL;
}

static int64_t rows(void *arg) {
  limits *l = arg;
  on_threads(l, read_rows);
  return l->threads * (int64_t)PIECE_ROWS * l->row * (int64_t)sizeof(float);
}

/* ---- sgemm --------------------------------------------------------------- */

static void *symbol(limits *l, const char *name) {
  if (!l->library)
    bench_fail("no OpenBLAS was named");
  if (!l->blas && !(l->blas = dlopen(l->library, RTLD_NOW | RTLD_LOCAL)))
    bench_fail("%s", dlerror());
  void *found = dlsym(l->blas, name);
  if (!found)
    bench_fail("%s has no %s: it is not OpenBLAS", l->library, name);
  return found;
}

static void prepare_sgemm(void *arg, char **words) {
  limits *l = arg;
  void (*set_threads)(int);
  void *found = symbol(l, "openblas_set_num_threads");
  memcpy(&set_threads, &found, sizeof found);
  set_threads(l->threads);
  found = symbol(l, "cblas_sgemm");
  memcpy(&l->sgemm, &found, sizeof found);
  l->m = bench_number(words, 0, 256);
  l->n = bench_number(words, 1, 1536);
  l->k = bench_number(words, 2, 576);
  l->a = numbers(l->m * l->k);
  l->b = numbers(l->k * l->n);
  l->c = numbers(l->m * l->n);
}

static int64_t sgemm(void *arg) {
  const limits *l = arg;
  enum { ROW_MAJOR = 101, AS_IT_IS = 111, REPEATS = 8 };
  int m = (int)l->m, n = (int)l->n, k = (int)l->k;
  for (int i = 0; i < REPEATS; i++)
    l->sgemm(ROW_MAJOR, AS_IT_IS, AS_IT_IS, m, n, k, 1, l->a, k, l->b, n, 0, l->c, n);
  return REPEATS * 2 * l->m * l->n * l->k;
}

/* ---- the arithmetic units' own speed ------------------------------------- */

/* CHAINS sums at a time hide how long one multiply-add takes */
enum { AMX_STEPS = 1 << 15, FMA_STEPS = 1 << 21, CHAINS = 12 };

static int64_t fma_lanes(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") ? 16 : __builtin_cpu_supports("fma") ? 8 : 0;
#else
  return 0;
#endif
}

#if defined(__x86_64__)
/* Sums that stay finite.  The empty statement keeps the compiler from doing two steps in one. */
#define FMA_LOOP(name, set, type, splat, fma)                                                      \
  __attribute__((target(set))) static float name(float seed) {                                     \
    type sum[CHAINS], x = splat(0.999f), y = splat(0.001f);                                        \
    float out[16];                                                                                 \
    for (int j = 0; j < CHAINS; j++)                                                               \
      sum[j] = splat(seed + (float)j);                                                             \
    for (int i = 0; i < FMA_STEPS; i++) {                                                          \
      _Pragma("GCC unroll 12") for (int j = 0; j < CHAINS; j++) sum[j] = fma(sum[j], x, y);        \
      __asm__ volatile("");                                                                        \
    }                                                                                              \
    for (int j = 1; j < CHAINS; j++)                                                               \
      sum[0] += sum[j];                                                                            \
    memcpy(out, &sum[0], sizeof sum[0]);                                                           \
    return out[0];                                                                                 \
  }
FMA_LOOP(fma_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)
FMA_LOOP(fma_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps)

static void *multiply_vectors(void *arg) {
  part *p = arg;
  p->sum = fma_lanes() == 16 ? fma_avx512((float)p->index) : fma_avx2((float)p->index);
  return NULL;
}

/* On numbers that use all their bits: on zeros the unit needs less power, and a server that has
 * none to spare does not slow it down.  On others it does, and slows AMX alone, to a third and
 * less. */
__attribute__((target("amx-tile,amx-bf16"))) static void *multiply_tiles(void *arg) {
  static const struct {
    uint8_t palette, none[15];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } config = {1, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
  /* bf16 between 1 and 2, all seven bits of the fraction in use, either sign */
  uint16_t pieces[4][16][32];
  uint32_t seed = (uint32_t)((part *)arg)->seed;
  for (int i = 0; i < 4 * 16 * 32; i++) {
    seed = seed * 1664525u + 1013904223u;
    (&pieces[0][0][0])[i] = (uint16_t)(0x3f80 | (seed >> 24 & 0x7f) | (seed >> 16 & 0x8000));
  }
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, pieces[0], 64);
  _tile_loadd(5, pieces[1], 64);
  _tile_loadd(6, pieces[2], 64);
  _tile_loadd(7, pieces[3], 64);
  for (int i = 0; i < AMX_STEPS * 6; i++) { /* six products of pieces */
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return NULL;
}
#else
static void *multiply_tiles(void *arg) { return arg; }
static void *multiply_vectors(void *arg) { return arg; }
#endif

static void prepare_fma(void *arg, char **words) {
  (void)arg, (void)words;
  if (fma_lanes() == 0)
    bench_fail("this machine has neither AVX-512 nor FMA");
}

static int64_t fma_rate(void *arg) {
  limits *l = arg;
  on_threads(l, multiply_vectors);
  return fma_lanes() * l->threads * FMA_STEPS * CHAINS * 2;
}

static void prepare_amx(void *arg, char **words) {
  (void)arg, (void)words;
#if defined(__x86_64__)
  if (syscall(SYS_arch_prctl, 0x1023, 18) == 0) /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return;
#endif
  bench_fail("this machine has no AMX");
}

static int64_t amx(void *arg) {
  limits *l = arg;
  on_threads(l, multiply_tiles);
  return (int64_t)l->threads * AMX_STEPS * 2 * 32 * 32 * 32;
}

static void answer_blas(void *arg, char **words) {
  limits *l = arg;
  char *(*config)(void);
  int (*parallel)(void);
  void *found = symbol(l, "openblas_get_config");
  (void)words;
  memcpy(&config, &found, sizeof found);
  found = symbol(l, "openblas_get_parallel");
  memcpy(&parallel, &found, sizeof found);
  printf("{\"config\": \"%s\", \"parallel\": %d}\n", config(), parallel());
}

static const bench_task tasks[] = {{"stream", prepare_stream, stream, NULL},
                                   {"rows", prepare_rows, rows, NULL},
                                   {"sgemm", prepare_sgemm, sgemm, NULL},
                                   {"fma", prepare_fma, fma_rate, NULL},
                                   {"amx", prepare_amx, amx, NULL},
                                   {"blas", NULL, NULL, answer_blas},
                                   {NULL, NULL, NULL, NULL}};

int main(int argc, char **argv) {
  static limits l;
  l.threads = argc > 2 ? atoi(argv[1]) : 0;
  l.table_floats = argc > 2 ? atoll(argv[2]) * 1000000 / (int64_t)sizeof(float) : 0;
  l.library = argc > 3 ? argv[3] : NULL;
  if (l.threads < 1 || l.threads > MOST_THREADS || l.table_floats < 1) {
    fprintf(stderr, "usage: bench_limits THREADS TABLE_MB [libopenblas.so], with questions on "
                    "standard input\n");
    return 2;
  }
  bench_serve(tasks, clear, &l);
  free(l.stream);
  if (l.table)
    munmap(l.table, (size_t)l.table_floats * sizeof(float));
  return 0;
}
