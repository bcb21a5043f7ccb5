/* bench_open: how long a model takes to open, how much of that its tokenizer's tables, and how much
 * memory is resident then and after an answer of 64 tokens.  usage: bench_open MODEL  (a GGUF file;
 * its pages are in memory after the first opening: medians of the others) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "smft/smft.h"

#define RUNS 11

static double now_ms(void) { return 1e3 * bench_now(2); }

static void check(smft_status status) {
  if (status == SMFT_OK)
    return;
  printf("%s\n", smft_error_message());
  exit(1);
}

static double answer_ms(const smft_model *model) {
  static const char prompt[] = "The capital of France is";
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  smft_session *session = NULL;
  const char *text = NULL;
  options.max_tokens = 64;
  check(smft_session_create(&session, model, NULL, NULL));
  double begin = now_ms();
  check(smft_session_generate(session, prompt, sizeof prompt - 1, &options, &text, NULL));
  double took = now_ms() - begin;
  smft_session_free(session);
  return took;
}

int main(int argc, char **argv) {
  double whole[RUNS], tables[RUNS];
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  if (argc != 2) {
    printf("usage: bench_open MODEL.gguf\n");
    return 2;
  }
  check(smft_ctx_create(&ctx, NULL));
  for (int i = -1; i < RUNS; i++) { /* in turns; the first one warms up */
    smft_tokenizer *tokenizer = NULL;
    smft_model_free(model);
    model = NULL;
    double begin = now_ms();
    check(smft_model_load(&model, ctx, argv[1], NULL));
    double middle = now_ms();
    check(smft_tokenizer_load(&tokenizer, ctx, argv[1]));
    if (i >= 0) {
      whole[i] = middle - begin;
      tables[i] = now_ms() - middle;
    }
    smft_tokenizer_free(tokenizer);
  }
  double open = bench_median(whole, RUNS), tokenizer = bench_median(tables, RUNS);
  printf("open %.1f ms, of that its tokenizer %.1f ms (alone), the rest %.1f ms\n", open, tokenizer,
         open - tokenizer);
  printf("resident %.0f MB opened", bench_memory_mb("VmHWM:"));
  double answer = answer_ms(model);
  printf(", %.0f MB after 64 tokens, which took %.0f ms\n", bench_memory_mb("VmHWM:"), answer);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
