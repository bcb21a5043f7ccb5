/* subject: the model that a benchmark program works on, opened from a directory through smft.h, and
 * token ids for it. */
#ifndef SMFT_BENCH_SUBJECT_H
#define SMFT_BENCH_SUBJECT_H
#include "bench.h"
#include <smft/smft.h>

enum { SEQUENCE = 256, LONGEST = 2048 };

typedef struct subject {
  smft_ctx *ctx;
  smft_model *model;
  smft_model_info info;
  double open_ms;  /* what smft_model_load took */
  double ready_ms; /* with the context before it */
  /* the first SEQUENCE of them are what most tasks run on; peers make the same ones */
  int32_t ids[LONGEST];
} subject;

static inline void check(smft_status status, const char *what) {
  if (status != SMFT_OK)
    bench_fail("%s: %s: %s", what, smft_status_name(status), smft_error_message());
}

static inline void random_ids(int32_t vocab, uint64_t seed, int32_t *ids, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    ids[i] = (int32_t)((seed >> 33) % (uint64_t)vocab);
  }
}

/* argv: MODEL THREADS [FLAGS]     MODEL: a directory or a GGUF file; FLAGS: SMFT_CTX_* as a number
 */
static inline void subject_open(subject *s, int argc, char **argv) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  double start = bench_clock(CLOCK_MONOTONIC);
  if (argc < 3 || argc > 4 || atoi(argv[2]) < 1) {
    fprintf(stderr, "usage: %s MODEL THREADS [FLAGS], with questions on standard input\n", argv[0]);
    exit(2);
  }
  options.n_threads = atoi(argv[2]);
  options.flags = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
  s->info = (smft_model_info)SMFT_MODEL_INFO_INIT;
  check(smft_ctx_create(&s->ctx, &options), "context");
  double begin = bench_clock(CLOCK_MONOTONIC);
  check(smft_model_load(&s->model, s->ctx, argv[1], NULL), "model");
  s->open_ms = 1e3 * (bench_clock(CLOCK_MONOTONIC) - begin);
  s->ready_ms = 1e3 * (bench_clock(CLOCK_MONOTONIC) - start);
  check(smft_model_get_info(s->model, &s->info), "info");
  random_ids(s->info.vocab_size, 1, s->ids, LONGEST);
}

static inline void subject_close(subject *s) {
  smft_model_free(s->model);
  smft_ctx_free(s->ctx);
}
#endif
