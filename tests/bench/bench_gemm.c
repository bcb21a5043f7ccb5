/* bench_gemm: our gemm against OpenBLAS's cblas_sgemm, medians of 15 runs, 1 and 2 threads, f32 and
 * bf16 weights. One thread is timed by its processor time, so that a busy machine disturbs little;
 * two threads by the clock. Build with: pkg-config --cflags --libs openblas.  It is a program of
 * its own: the library never links OpenBLAS. usage: bench_gemm
 * [forward|input|weight|TOKENS|avx2|portable]...  (y = x W^T, dx = dy W, dw = dy^T x; without
 * arguments everything) */
#ifndef SMFT_HAVE_OPENBLAS
#include <stdio.h>
int main(void) {
  printf("OpenBLAS was not found when this was built: nothing to compare with\n");
  return 0;
}
#else
#include "bench.h"
#include "nn/gemm.h"
#include "base/cpu.h"
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS 15

typedef struct problem {
  const char *kind;
  int64_t tokens, out, in;
  float *x, *w, *y, *dw;
  uint16_t *half;
} problem;

static void ours(smft_ctx *ctx, const problem *p, int bf16) {
  const void *w = bf16 ? (const void *)p->half : p->w;
  int32_t dtype = bf16 ? SMFT__BF16 : SMFT__F32;
  smft__gemm_args args = {.m = p->tokens,
                          .n = p->out,
                          .k = p->in,
                          .a = p->x,
                          .lda = p->in,
                          .trans_b = 1,
                          .b = w,
                          .ldb = p->in,
                          .b_dtype = dtype,
                          .c = p->y,
                          .ldc = p->out};
  if (!strcmp(p->kind, "input"))
    args = (smft__gemm_args){.m = p->tokens,
                             .n = p->in,
                             .k = p->out,
                             .a = p->y,
                             .lda = p->out,
                             .b = w,
                             .ldb = p->in,
                             .b_dtype = dtype,
                             .c = p->x,
                             .ldc = p->in};
  if (!strcmp(p->kind, "weight"))
    args = (smft__gemm_args){.m = p->out,
                             .n = p->in,
                             .k = p->tokens,
                             .a = p->y,
                             .lda = p->out,
                             .trans_a = 1,
                             .b = p->x,
                             .ldb = p->in,
                             .b_dtype = SMFT__F32,
                             .c = p->dw,
                             .ldc = p->in};
  smft__gemm(ctx, &args);
}

static void theirs(const problem *p) {
  int t = (int)p->tokens, out = (int)p->out, in = (int)p->in;
  if (!strcmp(p->kind, "forward"))
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, t, out, in, 1, p->x, in, p->w, in, 0, p->y,
                out);
  else if (!strcmp(p->kind, "input"))
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, t, in, out, 1, p->y, out, p->w, in, 0,
                p->x, in);
  else
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, t, 1, p->y, out, p->x, in, 0,
                p->dw, in);
}

static void run_one(smft_ctx *ctx, const problem *p, int which, long repeats) {
  for (long i = 0; i < repeats; i++)
    if (which == 2)
      theirs(p);
    else
      ours(ctx, p, which);
}

/* Before two threads are timed: OpenBLAS's threads look for work for some 20 ms after a call and
 * hold a processor while they do, and the kernel takes up to 100 ms of steady work to give a woken
 * thread a processor of its own. */
static void settle(smft_ctx *ctx, const problem *p, int which) {
  struct timespec pause = {0, 60000000};
  double start;
  nanosleep(&pause, NULL);
  for (start = bench_now(2); bench_now(2) - start < 0.2;)
    run_one(ctx, p, which, 1);
}

/* GFLOP/s of ours in f32, ours in bf16, OpenBLAS; one thread in turns of five runs, two threads one
 * after another */
static void measure(smft_ctx *ctx, const problem *p, int threads, double rate[3]) {
  double flops = 2.0 * (double)p->tokens * (double)p->out * (double)p->in, seconds[3][RUNS];
  long repeats = 1 + (long)(1e8 / flops);
  int turn = threads == 1 ? RUNS / 3 : RUNS;
  for (int run = 0; run < RUNS; run += turn)
    for (int which = 0; which < 3; which++) {
      if (threads > 1)
        settle(ctx, p, which);
      run_one(ctx, p, which, 1 + repeats / 4);
      for (int i = run; i < run + turn; i++) {
        double start = bench_now(threads);
        run_one(ctx, p, which, repeats);
        seconds[which][i] = (bench_now(threads) - start) / (double)repeats;
      }
    }
  for (int which = 0; which < 3; which++)
    rate[which] = flops / bench_median(seconds[which], RUNS) * 1e-9;
}

static float *numbers(int64_t n) {
  float *x = malloc((size_t)n * sizeof *x);
  if (!x)
    exit(1);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)(rand() % 2001 - 1000) * 1e-5f;
  return x;
}

static void shape(const char *kind, int64_t tokens, int64_t out, int64_t in) {
  problem p = {kind,
               tokens,
               out,
               in,
               numbers(tokens * in),
               numbers(out * in),
               numbers(tokens * out),
               numbers(out * in),
               NULL};
  p.half = malloc((size_t)(out * in) * 2);
  if (!p.half)
    exit(1);
  for (int64_t i = 0; i < out * in; i++)
    p.half[i] = smft__f32_to_bf16(p.w[i]);
  printf("%-8s T %5ld out %5ld in %5ld", kind, (long)tokens, (long)out, (long)in);
  for (int threads = 1; threads <= 2; threads++) {
    smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
    options.n_threads = threads;
    smft_ctx *ctx = NULL;
    double rate[3];
    if (smft_ctx_create(&ctx, &options) != SMFT_OK)
      exit(1);
    openblas_set_num_threads(threads);
    measure(ctx, &p, threads, rate);
    printf("  | %d thr: ours %6.1f bf16 %6.1f blas %6.1f ratio %.2f", threads, rate[0], rate[1],
           rate[2], rate[0] / rate[2]);
    smft_ctx_free(ctx);
  }
  printf("\n");
  fflush(stdout);
  free(p.x), free(p.w), free(p.y), free(p.dw), free(p.half);
}

/* Named on the command line, or nothing of its sort is. */
static int wanted(int argc, char **argv, const char *name, int number) {
  int any = 0;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], name))
      return 1;
    if (!strcmp(argv[i], "avx2") || !strcmp(argv[i], "portable"))
      continue;
    any |= (argv[i][0] >= '0' && argv[i][0] <= '9') == number;
  }
  return !any;
}

int main(int argc, char **argv) {
  static const char *kinds[] = {"forward", "input", "weight"};
  static const int64_t tokens[] = {1, 4, 16, 32, 64, 256, 1024};
  static const int64_t sizes[][2] = {{1536, 576}, {576, 1536}, {4096, 192},  {192, 4096},
                                     {576, 576},  {192, 192},  {1024, 1024}, {512, 512}};
  char name[16];
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], "avx2") || !strcmp(argv[i], "portable"))
      smft__cpu_limit(argv[i][0] == 'a' ? SMFT__CPU_AVX2 : SMFT__CPU_PORTABLE);
  for (int k = 0; k < 3; k++)
    for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++) {
      snprintf(name, sizeof name, "%ld", (long)tokens[t]);
      for (size_t s = 0; wanted(argc, argv, kinds[k], 0) && wanted(argc, argv, name, 1) &&
                         s < sizeof sizes / sizeof *sizes;
           s++)
        shape(kinds[k], tokens[t], sizes[s][0], sizes[s][1]);
    }
  return 0;
}
#endif
