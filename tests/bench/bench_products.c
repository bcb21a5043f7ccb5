/* bench_products: our matrix products alone, y = x W^T, from inside the library.  Owns the
 * workload; bench.h times it, peer_products.py does the same.
 * usage: bench_products THREADS FLAGS     FLAGS: of smft_ctx_options
 *   product M N K KIND   x (M, K), W (N, K); KIND: f32 or bf16, of W; operations a second
 *   check M N K KIND     {"numbers": 32 of y} */
#include "bench.h"
#include "nn/gemm.h"

enum { SAMPLES = 32 };

typedef struct products {
  smft_ctx *ctx;
  smft__gemm_args args;
  float *x, *w, *y;
  uint16_t *half; /* W in bf16 */
} products;

static void clear(void *arg) {
  products *p = arg;
  free(p->x);
  free(p->w);
  free(p->y);
  free(p->half);
  p->x = p->w = p->y = NULL;
  p->half = NULL;
}

/* Numbers that peers can make, too: (i * step mod size) - size / 2 thousandths. */
static float *numbers(int64_t n, int64_t step, int64_t size) {
  float *x = malloc((size_t)n * sizeof *x);
  bench_need(x);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)(i * step % size - size / 2) * 1e-3f;
  return x;
}

static void prepare(void *arg, char **words) {
  products *p = arg;
  int64_t m = bench_number(words, 0, 0), n = bench_number(words, 1, 0);
  int64_t k = bench_number(words, 2, 0);
  int is_half = words[3] && !strcmp(words[3], "bf16");
  if (m < 1 || n < 1 || k < 1 || !words[3])
    bench_fail("a product has three sizes and a kind");
  p->x = numbers(m * k, 7919, 2001);
  p->w = numbers(n * k, 104729, 1999);
  p->y = numbers(m * n, 1, 1);
  bench_need(p->half = malloc((size_t)(n * k) * sizeof *p->half));
  for (int64_t i = 0; i < n * k; i++)
    p->half[i] = smft__f32_to_bf16(p->w[i]);
  p->args = (smft__gemm_args){.m = m,
                              .n = n,
                              .k = k,
                              .a = p->x,
                              .lda = k,
                              .trans_b = 1,
                              .b = is_half ? (const void *)p->half : p->w,
                              .ldb = k,
                              .b_dtype = is_half ? SMFT__BF16 : SMFT__F32,
                              .c = p->y,
                              .ldc = n};
}

static int64_t product(void *arg) {
  products *p = arg;
  smft__gemm(p->ctx, &p->args);
  return 2 * p->args.m * p->args.n * p->args.k;
}

static void answer_check(void *arg, char **words) {
  products *p = arg;
  prepare(p, words);
  product(p);
  printf("{\"numbers\": [");
  for (int64_t i = 0; i < SAMPLES; i++)
    printf("%s%.9g", i ? ", " : "", (double)p->y[i * 7919 % (p->args.m * p->args.n)]);
  printf("]}\n");
}

static const bench_task tasks[] = {{"product", prepare, product, NULL},
                                   {"check", NULL, NULL, answer_check},
                                   {NULL, NULL, NULL, NULL}};

int main(int argc, char **argv) {
  static products p;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  if (argc != 3 || atoi(argv[1]) < 1) {
    fprintf(stderr, "usage: bench_products THREADS FLAGS, with questions on standard input\n");
    return 2;
  }
  options.n_threads = atoi(argv[1]);
  options.flags = (uint32_t)strtoul(argv[2], NULL, 10);
  if (smft_ctx_create(&p.ctx, &options) != SMFT_OK)
    bench_fail("context: %s", smft_error_message());
  bench_serve(tasks, clear, &p);
  smft_ctx_free(p.ctx);
  return 0;
}
