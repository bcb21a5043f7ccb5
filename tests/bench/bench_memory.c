/* bench_memory: the memory layer alone, TOKENS tokens, H 4, k 32, dk = d/2, n_keys^2 slots of d
 * numbers: forward, and a sparse finetuning step (forward, backward to 10,000 chosen value rows,
 * SGD).  Owns the workloads; bench.h times them, peer_memory.py does the same work.
 * usage: bench_memory D N_KEYS THREADS TOKENS [DIRECTORY]   DIRECTORY: the values are a mapped file
 * there (zeros) instead of memory
 *   forward, step   a piece of work is all the tokens
 *   lookup          queries to slots alone: scores, top-k, softmax
 *   gather          value rows to sums alone, bytes a second
 *   plain METHOD    the same rows in the same order, each number looked at once and nothing else
 *                   done (reading.h); plain_methods: {"rows": how many there are}
 *   check DIR       writes the inputs into DIR; {"numbers": 32 of the output, "rows": chosen,
 *                   "gradient": 32 of the chosen rows' gradient}
 *   memory          {"step_mb": most memory of two steps beside the table, the layer's weights,
 *                   the input and the output; "process_mb": of the whole process beside the table,
 *                   "library_mb": what the library's allocator had at most} */
#include "bench.h"
#include "reading.h"
#include "base/alloc.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "memory/counts.h"
#include "memory/gather.h"
#include "memory/layer.h"
#include "memory/lookup.h"
#include <fcntl.h>
#include <sys/mman.h>

enum {
  MOST_TOKENS = 1 << 16,
  HEADS = 4,
  TOP_K = 32,
  READS = HEADS * TOP_K,
  ROWS = 10000,
  BLOCKS = 64,
  SAMPLES = 32
};

typedef struct layer {
  smft_ctx *ctx;
  smft__memory_view weights;
  smft__memory_tape tape;
  int64_t tokens;
  int method;              /* of plain */
  float *x, *out, *values; /* (tokens, d), (tokens, d), (n_keys^2, d) */
  size_t values_size;
  void *block;      /* the tape's memory; made at first need */
  smft__rows rows;  /* gradient of the chosen rows */
  double before_mb; /* what the process had without the layer's working memory */
  float sums[BLOCKS];
} layer;

/* ---- making it ----------------------------------------------------------- */

static float *noise(int64_t n, float scale, uint64_t seed) {
  float *numbers = malloc((size_t)n * sizeof *numbers);
  smft__rng rng;
  bench_need(numbers);
  smft__rng_seed(&rng, seed);
  for (int64_t i = 0; i < n; i++)
    numbers[i] = scale * (float)smft__rng_normal(&rng);
  return numbers;
}

/* A file of holes, private: a step's changes stay in memory.  It has no name any more when this
 * returns. */
static int hole(const char *directory, size_t size) {
  char path[1024];
  snprintf(path, sizeof path, "%s/values.XXXXXX", directory);
  int file = mkstemp(path);
  if (file < 0 || unlink(path) != 0 || ftruncate(file, (off_t)size) != 0)
    bench_fail("%s: no file of %zu bytes", directory, size);
  return file;
}

/* Small pages, as a mapped file has. */
static void make_values(layer *b, int64_t n, const char *directory) {
  uint64_t seed = 5;
  int file = directory ? hole(directory, (size_t)n * sizeof(float)) : -1;
  b->values_size = (size_t)n * sizeof(float);
  b->values = mmap(NULL, b->values_size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | (directory ? 0 : MAP_ANONYMOUS), file, 0);
  if (b->values == MAP_FAILED)
    bench_fail("no memory for the table");
  madvise(b->values, b->values_size, directory ? MADV_RANDOM : MADV_NOHUGEPAGE);
  for (int64_t i = 0; !directory && i < n; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    b->values[i] = (float)(int32_t)(seed >> 32) * 0x1p-34f;
  }
  if (file >= 0)
    close(file);
}

static void make(layer *b, int32_t d, int32_t n, int32_t threads, const char *directory) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft__memory_view *w = &b->weights;
  int64_t width = HEADS * d / 2;
  options.n_threads = threads;
  if (smft_ctx_create(&b->ctx, &options) != SMFT_OK)
    bench_fail("no context");
  w->config = (smft__memory_config){.n_keys = n,
                                    .heads = HEADS,
                                    .top_k = TOP_K,
                                    .key_dim = d / 2,
                                    .value_dim = d,
                                    .hidden = d,
                                    .gate = 1,
                                    .norm_eps = 1e-5f,
                                    .temperature = 1.0f};
  w->at[SMFT__M_QUERY] = smft__tensor_f32(noise(width * d, 0.05f, 1), width, d);
  w->at[SMFT__M_GATE] = smft__tensor_f32(noise((int64_t)d * d, 0.05f, 2), d, d);
  w->at[SMFT__M_OUT] = smft__tensor_f32(noise((int64_t)d * d, 0.05f, 3), d, d);
  w->at[SMFT__M_KEYS] = smft__tensor_f32(noise(width * n, 0.1f, 4), 2 * HEADS * n, d / 4);
  make_values(b, (int64_t)n * n * d, directory);
  w->pool.base = smft__tensor_f32(b->values, (int64_t)n * n, d);
  w->pool.n_slots = (int64_t)n * n;
  w->pool.value_dim = d;
  b->x = noise(b->tokens * d, 1.0f, 6);
  b->out = noise(b->tokens * d, 0, 6);
  smft__rows_init(&b->rows, b->ctx, d);
  b->before_mb = bench_memory_mb("VmRSS:");
}

static void make_tape(layer *b) {
  smft__arena arena = {0};
  if (b->block)
    return;
  smft__memory_tape_place(&b->tape, &arena, b->ctx, &b->weights.config, b->tokens,
                          SMFT__TAPE_VALUES);
  bench_need(arena.base = b->block = smft__alloc(b->ctx, (size_t)arena.used));
  arena.size = arena.used;
  arena.used = 0;
  smft__memory_tape_place(&b->tape, &arena, b->ctx, &b->weights.config, b->tokens,
                          SMFT__TAPE_VALUES);
}

static void destroy(layer *b) {
  free((void *)(uintptr_t)b->weights.at[SMFT__M_QUERY].data);
  free((void *)(uintptr_t)b->weights.at[SMFT__M_GATE].data);
  free((void *)(uintptr_t)b->weights.at[SMFT__M_OUT].data);
  free((void *)(uintptr_t)b->weights.at[SMFT__M_KEYS].data);
  munmap(b->values, b->values_size);
  free(b->x);
  free(b->out);
  smft__free(b->ctx, b->block);
  smft__rows_free(&b->rows);
  smft_ctx_free(b->ctx);
}

/* ---- timed work ---------------------------------------------------------- */

static void prepare(void *arg, char **words) {
  (void)words;
  make_tape(arg);
}

static int64_t forward(void *arg) {
  layer *b = arg;
  smft__memory_forward(b->ctx, &b->weights, b->x, b->tokens, &b->tape, b->out);
  return 1;
}

static void choose_rows(layer *b) {
  smft__counts counts;
  smft__counts_init(&counts, b->ctx);
  if (smft__counts_add(&counts, b->tape.slots, b->tokens * READS) != SMFT_OK ||
      smft__counts_finish(&counts) != SMFT_OK)
    bench_fail("out of memory");
  int64_t n = counts.n < ROWS ? counts.n : ROWS;
  smft__rows_clear(&b->rows);
  if (smft__rows_reserve(&b->rows, n) != SMFT_OK)
    bench_fail("out of memory");
  for (int64_t i = 0; i < n; i++)
    smft__rows_add(&b->rows, counts.slots[i]);
  smft__rows_zero(&b->rows);
  smft__counts_free(&counts);
}

static void update_block(void *arg, int64_t block, int32_t lane) {
  layer *b = arg;
  int64_t dim = b->rows.dim;
  (void)lane;
  for (int64_t i = block * b->rows.n / BLOCKS; i < (block + 1) * b->rows.n / BLOCKS; i++) {
    float *value = b->values + b->rows.slots[i] * dim;
    const float *gradient = smft__rows_at(&b->rows, i);
    for (int64_t j = 0; j < dim; j++)
      value[j] -= 1e-6f * gradient[j];
  }
}

/* Counts the reads, takes the ROWS lowest of the slots read (which ones makes no difference here),
 * and trains them.  The loss is half the output's square, so that its gradient is the output. */
static int64_t step(void *arg) {
  layer *b = arg;
  smft__memory_grads grads = {.rows = &b->rows};
  forward(b);
  choose_rows(b);
  smft__memory_backward(b->ctx, &b->weights, b->x, b->tokens, &b->tape, b->out, NULL, &grads);
  smft__parallel_for(b->ctx, BLOCKS, update_block, b);
  return 1;
}

static void prepare_reads(void *arg, char **words) {
  (void)words;
  make_tape(arg);
  forward(arg);
}

/* The queries' room holds other things after forward: those serve as queries that are as random. */
static int64_t look_up(void *arg) {
  layer *b = arg;
  const smft__memory_config *c = &b->weights.config;
  smft__lookup lookup = {b->tokens,         c->heads,
                         c->n_keys,         c->top_k,
                         c->key_dim / 2,    1.0f,
                         b->tape.query_hat, b->weights.at[SMFT__M_KEYS].data,
                         SMFT__F32};
  smft__lookup_forward(b->ctx, &lookup, b->tape.slots, b->tape.weights, b->tape.scratch);
  return 1;
}

static int64_t gather(void *arg) {
  layer *b = arg;
  smft__reads reads = {b->tape.slots, b->tape.weights, b->tokens, READS};
  smft__gather_forward(b->ctx, &b->weights.pool, &reads, b->tape.sum);
  return b->tokens * READS * b->rows.dim * (int64_t)sizeof(float);
}

static void prepare_plain(void *arg, char **words) {
  layer *b = arg;
  int64_t method = bench_number(words, 0, 0);
  if (method < 0 || method >= reading_methods())
    bench_fail("this machine has %d ways to read rows", reading_methods());
  b->method = (int)method;
  prepare_reads(b, words);
}

static void read_block(void *arg, int64_t block, int32_t lane) {
  layer *b = arg;
  int64_t n = b->tokens * READS / BLOCKS;
  (void)lane;
  b->sums[block] = reading_rows[b->method](b->values, b->tape.slots + block * n, n, b->rows.dim);
}

static int64_t plain(void *arg) {
  layer *b = arg;
  smft__parallel_for(b->ctx, BLOCKS, read_block, b);
  return b->tokens * READS * b->rows.dim * (int64_t)sizeof(float);
}

static void answer_plain_methods(void *arg, char **words) {
  (void)arg, (void)words;
  printf("{\"rows\": %d}\n", reading_methods());
}

/* ---- what comes out ------------------------------------------------------ */

static void write_floats(const char *directory, const char *name, const void *numbers, int64_t n) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(numbers, sizeof(float), (size_t)n, file) != (size_t)n || fclose(file) != 0)
    bench_fail("%s cannot be written", path);
}

static void print_samples(const char *name, const float *numbers, int64_t n) {
  printf("\"%s\": [", name);
  for (int64_t i = 0; i < SAMPLES; i++)
    printf("%s%.9g", i ? ", " : "", (double)numbers[i * 7919 % n]);
  printf("]");
}

static void answer_check(void *arg, char **words) {
  layer *b = arg;
  const smft__memory_config *c = &b->weights.config;
  int64_t d = c->hidden, width = (int64_t)c->heads * c->key_dim;
  if (!words[0])
    bench_fail("check needs a directory");
  write_floats(words[0], "query", b->weights.at[SMFT__M_QUERY].data, width * d);
  write_floats(words[0], "gate", b->weights.at[SMFT__M_GATE].data, d * d);
  write_floats(words[0], "out", b->weights.at[SMFT__M_OUT].data, d * d);
  write_floats(words[0], "keys", b->weights.at[SMFT__M_KEYS].data, width * c->n_keys);
  write_floats(words[0], "values", b->values, b->weights.pool.n_slots * d);
  write_floats(words[0], "x", b->x, b->tokens * d);
  make_tape(b);
  forward(b);
  printf("{");
  print_samples("numbers", b->out, b->tokens * d);
  step(b);
  printf(", \"rows\": %lld, ", (long long)b->rows.n);
  print_samples("gradient", b->rows.values, b->rows.n * d);
  printf("}\n");
}

static void answer_memory(void *arg, char **words) {
  layer *b = arg;
  int64_t peak = 0;
  (void)words;
  make_tape(b);
  step(b);
  step(b);
  smft_ctx_memory(b->ctx, NULL, &peak);
  double most = bench_memory_mb("VmHWM:");
  printf("{\"step_mb\": %.1f, \"process_mb\": %.1f, \"library_mb\": %.1f}\n", most - b->before_mb,
         most - (double)b->values_size * 1e-6, (double)peak * 1e-6);
}

static void clear(void *arg) { (void)arg; }

static const bench_task tasks[] = {{"forward", prepare, forward, NULL},
                                   {"step", prepare, step, NULL},
                                   {"lookup", prepare_reads, look_up, NULL},
                                   {"gather", prepare_reads, gather, NULL},
                                   {"plain", prepare_plain, plain, NULL},
                                   {"plain_methods", NULL, NULL, answer_plain_methods},
                                   {"check", NULL, NULL, answer_check},
                                   {"memory", NULL, NULL, answer_memory},
                                   {NULL, NULL, NULL, NULL}};

int main(int argc, char **argv) {
  static layer b;
  int32_t d = argc > 4 ? atoi(argv[1]) : 0, n = argc > 4 ? atoi(argv[2]) : 0;
  int32_t threads = argc > 4 ? atoi(argv[3]) : 0;
  b.tokens = argc > 4 ? atoll(argv[4]) : 0;
  if (d < 16 || d % 16 != 0 || n < TOP_K || threads < 1 || b.tokens < 4 || b.tokens % 4 != 0 ||
      b.tokens > MOST_TOKENS) {
    fprintf(stderr, "usage: bench_memory D N_KEYS THREADS TOKENS [DIRECTORY], with questions on "
                    "standard input\n");
    return 2;
  }
  make(&b, d, n, threads, argc > 5 ? argv[5] : NULL);
  bench_serve(tasks, clear, &b);
  destroy(&b);
  return 0;
}
