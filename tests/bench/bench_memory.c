/* bench_memory: the memory layer alone, 2048 tokens, H 4, k 32, dk = d/2: forward, and a sparse finetuning step (forward, backward to the
 * chosen value rows, SGD), pools of 16K to 1M slots, beside PyTorch doing the same (peer_memory.py), in turn and in one run.
 * Then the gather by itself against a plain read of the same random rows.
 * usage: bench_memory [--no-peer] [--threads N] [d:n_keys]...   default: 512 and 1024 : 128 256 512 1024 */
#include "base/alloc.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "memory/counts.h"
#include "memory/gather.h"
#include "memory/layer.h"
#include "memory/lookup.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { TOKENS = 2048, RUNS = 5, ROWS = 10000 };

typedef struct bench {
  smft_ctx *ctx;
  smft__memory_weights weights;
  smft__memory_tape tape;
  float *x, *out, *values;
  size_t values_size;
  void *block;
  smft__rows rows;
} bench;

static int n_threads = 2;

/* One thread is timed by its processor time, so that a busy machine disturbs little. */
static double now(void) {
  struct timespec t;
  clock_gettime(n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static float *noise(int64_t n, float scale, uint64_t seed) {
  float *numbers = malloc((size_t)n * sizeof *numbers);
  smft__rng rng;
  smft__rng_seed(&rng, seed);
  for (int64_t i = 0; i < n; i++)
    numbers[i] = scale * (float)smft__rng_normal(&rng);
  return numbers;
}

/* Small pages, as a mapped file has. */
static void make_values(bench *b, int64_t n, uint64_t seed) {
  b->values_size = (size_t)n * sizeof(float);
  b->values = mmap(NULL, b->values_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(b->values, b->values_size, MADV_NOHUGEPAGE);
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    b->values[i] = (float)(int32_t)(seed >> 32) * 0x1p-34f;
  }
}

static void make(bench *b, int32_t d, int32_t n) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  smft__arena arena = {0};
  options.n_threads = n_threads;
  smft_ctx_create(&b->ctx, &options);
  b->weights.config = (smft__memory_config){n, 4, 32, d / 2, d, d, SMFT__NORM_NONE, SMFT__NORM_NONE, 1, 0, 1e-5f, 1.0f};
  smft__memory_weights *w = &b->weights;
  int64_t width = 4 * d / 2;
  w->query_w = smft__tensor_f32(noise(width * d, 0.05f, 1), width, d);
  w->gate_w = smft__tensor_f32(noise((int64_t)d * d, 0.05f, 2), d, d);
  w->out_w = smft__tensor_f32(noise((int64_t)d * d, 0.05f, 3), d, d);
  w->keys = smft__tensor_f32(noise(width * n, 0.1f, 4), 8 * n, d / 4);
  make_values(b, (int64_t)n * n * d, 5);
  w->pool.base = smft__tensor_f32(b->values, (int64_t)n * n, d);
  w->pool.n_slots = (int64_t)n * n;
  w->pool.value_dim = d;
  b->x = noise((int64_t)TOKENS * d, 1.0f, 6);
  b->out = malloc((size_t)(TOKENS * d) * sizeof(float));
  smft__memory_tape_place(&b->tape, &arena, b->ctx, &w->config, TOKENS, SMFT__TAPE_VALUES);
  arena.base = b->block = smft__alloc(b->ctx, (size_t)arena.used);
  arena.size = arena.used;
  arena.used = 0;
  smft__memory_tape_place(&b->tape, &arena, b->ctx, &w->config, TOKENS, SMFT__TAPE_VALUES);
  smft__rows_init(&b->rows, b->ctx, d);
}

static void destroy(bench *b) {
  free((void *)(uintptr_t)b->weights.query_w.data);
  free((void *)(uintptr_t)b->weights.gate_w.data);
  free((void *)(uintptr_t)b->weights.out_w.data);
  free((void *)(uintptr_t)b->weights.keys.data);
  munmap(b->values, b->values_size);
  free(b->x);
  free(b->out);
  smft__free(b->ctx, b->block);
  smft__rows_free(&b->rows);
  smft_ctx_free(b->ctx);
}

static void forward(bench *b) {
  smft__memory_forward(b->ctx, &b->weights, b->x, TOKENS, &b->tape, b->out);
}

/* Counts the reads, takes the ROWS lowest of the slots read (which ones makes no difference here), and trains them. */
static void step(bench *b) {
  smft__counts counts;
  smft__memory_grads grads = {.rows = &b->rows};
  int64_t dim = b->weights.config.value_dim;
  forward(b);
  smft__counts_init(&counts, b->ctx);
  smft__counts_add(&counts, b->tape.slots, (int64_t)TOKENS * 4 * 32);
  smft__counts_finish(&counts);
  smft__rows_clear(&b->rows);
  smft__rows_reserve(&b->rows, ROWS);
  for (int64_t i = 0; i < counts.n && i < ROWS; i++)
    memset(smft__rows_at(&b->rows, smft__rows_add(&b->rows, counts.slots[i])), 0, (size_t)dim * sizeof(float));
  smft__memory_backward(b->ctx, &b->weights, b->x, TOKENS, &b->tape, b->out, NULL, &grads);
  for (int64_t i = 0; i < b->rows.n; i++) {
    float *value = b->values + b->rows.slots[i] * dim, *gradient = smft__rows_at(&b->rows, i);
    for (int64_t j = 0; j < dim; j++)
      value[j] -= 1e-6f * gradient[j];
  }
  smft__counts_free(&counts);
}

/* The queries' room holds other things after forward: those serve as queries that are as random. */
static void look_up(bench *b) {
  const smft__memory_config *c = &b->weights.config;
  smft__lookup lookup = {TOKENS, c->heads, c->n_keys, c->top_k, c->key_dim / 2, 1.0f, b->tape.query_hat, b->weights.keys.data, SMFT__F32};
  smft__lookup_forward(b->ctx, &lookup, b->tape.slots, b->tape.weights, b->tape.scratch);
}

static void gather(bench *b) {
  smft__reads reads = {b->tape.slots, b->tape.weights, TOKENS, 128};
  smft__gather_forward(b->ctx, &b->weights.pool, &reads, b->tape.sum);
}

/* The limit: the same rows, each number looked at once and nothing else done; four rows at a time, the four after them fetched
 * meanwhile. */
typedef struct plain_read { const bench *b; float sums[64]; } plain_read;
typedef float floats __attribute__((vector_size(32), aligned(4)));

static void read_block(void *arg, int64_t block, int32_t lane) {
  plain_read *read = arg;
  int64_t dim = read->b->weights.config.value_dim, n = (int64_t)TOKENS * 128 / 64;
  const int64_t *slots = read->b->tape.slots + block * n;
  floats sum[8] = {0};
  (void)lane;
  for (int64_t i = 0; i < n; i += 4) {
    const float *row[4], *next[4];
    for (int64_t r = 0; r < 4; r++) {
      row[r] = read->b->values + slots[i + r] * dim;
      next[r] = read->b->values + slots[i + 4 < n ? i + 4 + r : i + r] * dim;
    }
    for (int64_t j = 0; j < dim; j += 16)
      for (int64_t r = 0; r < 4; r++) {
        __builtin_prefetch(next[r] + j);
        sum[r] += *(const floats *)(const void *)(row[r] + j);
        sum[4 + r] += *(const floats *)(const void *)(row[r] + j + 8);
      }
  }
  for (int r = 1; r < 8; r++)
    sum[0] += sum[r];
  read->sums[block] = sum[0][0] + sum[0][5];
}

static void plain(bench *b) {
  plain_read read = {.b = b};
  smft__parallel_for(b->ctx, 64, read_block, &read);
}

static double best(bench *b, void (*run)(bench *)) {
  double fastest = 1e30;
  run(b);
  for (int i = 0; i < RUNS; i++) {
    double begin = now();
    run(b);
    double took = now() - begin;
    fastest = took < fastest ? took : fastest;
  }
  return fastest;
}

static void peer(int32_t d, int32_t n, double *forward_ms, double *step_ms) {
  char command[1200];
  FILE *out;
  snprintf(command, sizeof command, "OMP_NUM_THREADS=%d /usr/bin/python3 '%s/tests/bench/peer_memory.py' %d %d %d", n_threads,
           SMFT_SOURCE_DIR, d, n, n_threads);
  *forward_ms = *step_ms = 0;
  if (!(out = popen(command, "r")))
    return;
  if (fscanf(out, "%lf %lf", forward_ms, step_ms) != 2)
    *forward_ms = *step_ms = 0;
  pclose(out);
}

static void run_case(int32_t d, int32_t n, int with_peer) {
  bench b = {0};
  double their_forward = 0, their_step = 0;
  int64_t peak;
  make(&b, d, n);
  double forward_ms = best(&b, forward), step_ms = best(&b, step), lookup_ms = best(&b, look_up), gather_ms = best(&b, gather);
  double plain_ms = best(&b, plain), gigabytes = (double)TOKENS * 128 * d * 4 * 1e-6;
  smft_ctx_memory(b.ctx, NULL, &peak);
  destroy(&b);
  if (with_peer)
    peer(d, n, &their_forward, &their_step);
  printf("d %4d  slots %7d  forward %6.1f ms (lookup %5.1f, gather %5.1f = %5.1f GB/s, plain read %5.1f GB/s)  step %6.1f ms"
         "  memory %5.1f MB",
         d, n * n, forward_ms, lookup_ms, gather_ms, gigabytes / gather_ms, gigabytes / plain_ms, step_ms, (double)peak * 1e-6);
  if (their_forward > 0)
    printf("  PyTorch %6.1f / %6.1f ms: %5.2f x forward, %5.2f x step", their_forward, their_step, their_forward / forward_ms,
           their_step / step_ms);
  printf("\n");
  fflush(stdout);
}

int main(int argc, char **argv) {
  int with_peer = 1, given = 0, d, n;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--no-peer"))
      with_peer = 0;
    else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
      n_threads = atoi(argv[++i]);
    else if (sscanf(argv[i], "%d:%d", &d, &n) == 2 && ++given)
      run_case(d, n, with_peer);
  }
  for (d = 512; !given && d <= 1024; d *= 2)
    for (n = 128; n <= 1024; n *= 2)
      run_case(d, n, with_peer);
  return 0;
}
