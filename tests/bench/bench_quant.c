/* bench_quant: products with weights in blocks (lib/data/quant.h) beside the same product with f32
 * weights, at SmolLM2-135M's shapes, on one thread and two.  Each number is the median of RUNS, all
 * types in turns; one thread is timed by its processor time, so that a busy machine disturbs
 * little, two by the clock.  usage: bench_quant
 * [forward|input|TOKENS|TYPE|avx2|portable|integer]...  (y = x W^T, dx = dy W; without arguments
 * everything)
 *
 * integer: in whole numbers (SMFT_CTX_INTEGER).  A row says microseconds of f32, then of each type
 * how many times as fast as f32 it is. */
#include "bench.h"
#include "data/quant.h"
#include "nn/gemm.h"
#include "base/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS 15
static uint32_t flags; /* of contexts */
enum { F32, BF16, N_KINDS = 10 };
static const int32_t types[N_KINDS] = {SMFT__F32,  SMFT__BF16, SMFT__Q4_0, SMFT__Q4_1, SMFT__Q5_0,
                                       SMFT__Q5_1, SMFT__Q8_0, SMFT__Q4_K, SMFT__Q5_K, SMFT__Q6_K};

typedef struct problem {
  int64_t tokens, out, in;
  int input; /* dx = dy W */
  float *x, *y;
  void *w[N_KINDS]; /* NULL: not asked for, or `in` is no multiple of its block */
} problem;

static void multiply(smft_ctx *ctx, const problem *p, int kind, long repeats) {
  smft__gemm_args args = {.m = p->tokens,
                          .n = p->input ? p->in : p->out,
                          .k = p->input ? p->out : p->in,
                          .a = p->input ? p->y : p->x,
                          .lda = p->input ? p->out : p->in,
                          .trans_b = !p->input,
                          .b = p->w[kind],
                          .ldb = p->in,
                          .b_dtype = types[kind],
                          .c = p->input ? p->x : p->y,
                          .ldc = p->input ? p->in : p->out};
  for (long i = 0; i < repeats; i++)
    smft__gemm(ctx, &args);
}

/* Median seconds of each kind: one run of each, RUNS times over. */
static void measure(smft_ctx *ctx, const problem *p, int threads, double median[N_KINDS]) {
  static double seconds[N_KINDS][RUNS];
  double flops = 2.0 * (double)p->tokens * (double)p->out * (double)p->in;
  long repeats = 1 + (long)(4e7 / flops);
  for (int run = -1; run < RUNS; run++) /* the first warms up */
    for (int kind = 0; kind < N_KINDS; kind++)
      if (p->w[kind]) {
        multiply(ctx, p, kind, 1);
        double start = bench_now(threads);
        multiply(ctx, p, kind, repeats);
        seconds[kind][run < 0 ? 0 : run] = (bench_now(threads) - start) / (double)repeats;
      }
  for (int kind = 0; kind < N_KINDS; kind++)
    median[kind] = p->w[kind] ? bench_median(seconds[kind], RUNS) : 0;
}

static float *numbers(int64_t n) {
  float *x = malloc((size_t)n * sizeof *x);
  if (!x)
    exit(1);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)(rand() % 2001 - 1000) * 1e-5f;
  return x;
}

/* Random bytes whose f16 numbers are small and finite, whatever they are: the upper two bits of
 * each exponent are off. */
static void *weights(int32_t dtype, int64_t n) {
  int64_t size = smft__row_bytes(dtype, n);
  unsigned char *bytes = malloc((size_t)size);
  if (!bytes)
    exit(1);
  for (int64_t i = 0; i < size; i++)
    bytes[i] = (unsigned char)(rand() >> 7) & 0x9f;
  for (int64_t i = 0; i < n && !smft__is_block(dtype); i++)
    if (dtype == SMFT__F32)
      ((float *)(void *)bytes)[i] = 1e-3f;
    else
      ((uint16_t *)(void *)bytes)[i] = smft__f32_to_bf16(1e-3f);
  return bytes;
}

static void shape(const problem *like, const char *asked[N_KINDS]) {
  problem p = *like;
  p.x = numbers(p.tokens * p.in);
  p.y = numbers(p.tokens * p.out);
  for (int kind = 0; kind < N_KINDS; kind++)
    if (asked[kind] && p.in % smft__dtype_traits(types[kind])->block == 0)
      p.w[kind] = weights(types[kind], p.out * p.in);
  for (int threads = 1; threads <= 2; threads++) {
    smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
    smft_ctx *ctx = NULL;
    double median[N_KINDS];
    options.n_threads = threads;
    options.flags = flags;
    if (smft_ctx_create(&ctx, &options) != SMFT_OK)
      exit(1);
    measure(ctx, &p, threads, median);
    printf("%-7s T %4ld out %5ld in %4ld, %d thr: f32 %9.1f us", p.input ? "input" : "forward",
           (long)p.tokens, (long)p.out, (long)p.in, threads, median[F32] * 1e6);
    for (int kind = 1; kind < N_KINDS; kind++)
      if (p.w[kind])
        printf("  %s %5.2f", asked[kind], median[F32] / median[kind]);
    printf("\n");
    fflush(stdout);
    smft_ctx_free(ctx);
  }
  free(p.x), free(p.y);
  for (int kind = 0; kind < N_KINDS; kind++)
    free(p.w[kind]);
}

/* Whether the command line names it, or nothing of its sort. */
static int wanted(int argc, char **argv, const char *name, int (*of_sort)(const char *)) {
  int any = 0;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], name))
      return 1;
    any |= of_sort(argv[i]);
  }
  return !any;
}
static int is_way(const char *word) { return !strcmp(word, "forward") || !strcmp(word, "input"); }
static int is_number(const char *word) { return word[0] >= '0' && word[0] <= '9'; }
static int is_type(const char *word) { return word[0] == 'Q' || word[0] == 'B'; }

static void run(int argc, char **argv, const char *asked[N_KINDS]) {
  static const int64_t sizes[][2] = {{1536, 576}, {576, 1536}, {1024, 1024}, {49152, 576}};
  static const int64_t tokens[] = {1, 4, 16, 64, 256};
  char name[16];
  for (int input = 0; input <= 1; input++)
    for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++) {
      snprintf(name, sizeof name, "%ld", (long)tokens[t]);
      for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        problem p = {.tokens = tokens[t], .out = sizes[s][0], .in = sizes[s][1], .input = input};
        if (wanted(argc, argv, input ? "input" : "forward", is_way) &&
            wanted(argc, argv, name, is_number))
          shape(&p, asked);
      }
    }
}

int main(int argc, char **argv) {
  const char *asked[N_KINDS];
  for (int kind = 0; kind < N_KINDS; kind++) {
    const char *name = smft__dtype_name(types[kind]);
    asked[kind] = kind == F32 || wanted(argc, argv, name, is_type) ? name : NULL;
  }
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "avx2") || !strcmp(argv[i], "portable"))
      smft__cpu_limit(argv[i][0] == 'a' ? SMFT__CPU_AVX2 : SMFT__CPU_PORTABLE);
    else if (!strcmp(argv[i], "integer"))
      flags = SMFT_CTX_INTEGER;
  run(argc, argv, asked);
  return 0;
}
