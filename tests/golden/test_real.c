/* real: checkpoints that people have, as GGUF: greedy tokens and likelihood against what
 * transformers computes from the same dequantised weights (make_real.py).  They are not in the
 * repository: examples/models/get.sh fetches them; without them these tests are skipped, visibly.
 * Under a sanitizer a fifth of it runs, and the likelihood of one piece is compared to nothing. */
#include "test.h"
#include <jansson.h>

#define PIECES 10
#define PIECE 1000
#define TEXT 60002 /* bytes */

static const struct {
  const char *file, *reference;
} models[] = {{"SmolLM2-135M-Instruct.Q4_1.gguf", "real_smollm2.json"},
              {"gemma-3-270m-q4_k_m.gguf", "real_gemma3.json"}};
enum { N_MODELS = sizeof models / sizeof *models };

static const char *const prompts[] = {
    "The capital of France is",
    "Once upon a time there was a",
    "Water boils at",
    "The largest planet in the solar system is",
    "def fibonacci(n):\n",
    "Q: What is the chemical symbol for gold?\nA:",
    "In 1969, the first humans",
    "Shakespeare wrote",
    "The recipe needs two eggs,",
    "Photosynthesis is the process by which",
    "3 + 4 = 7\n5 + 6 =",
    "The opposite of hot is",
    "She opened the door and",
    "A triangle has three",
    "The speed of light is about",
    "List of fruits:\n- apple\n-",
    "My favourite season is",
    "Albert Einstein was born in",
    "To be, or not to be,",
    "The Great Wall of China",
};
enum {
  N_PROMPTS = sizeof prompts / sizeof *prompts,
  N_CONTINUED = TEST_SANITIZED ? N_PROMPTS / 5 : N_PROMPTS,
  N_PIECES = TEST_SANITIZED ? 1 : PIECES,
  NEW = 64
};

typedef struct world {
  json_t *reference;
  smft_ctx *ctx;
  smft_model *model;
  smft_session *session;
} world;

static world open_world(int i) {
  world w = {0};
  json_error_t error;
  char path[1024];
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  options.context_length = PIECE + NEW;
  snprintf(path, sizeof path, SMFT_SOURCE_DIR "/tests/golden/%s", models[i].reference);
  w.reference = json_load_file(path, 0, &error);
  ck_assert_ptr_nonnull(w.reference);
  ck_ok(smft_ctx_create(&w.ctx, NULL));
  ck_ok(smft_model_load(&w.model, w.ctx, test_checkpoint(models[i].file), NULL));
  ck_ok(smft_session_create(&w.session, w.model, NULL, &options));
  return w;
}

static void close_world(world *w) {
  smft_session_free(w->session);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
  json_decref(w->reference);
}

static int64_t ids_of(const json_t *list, int32_t *ids) {
  int64_t n = (int64_t)json_array_size(list);
  for (int64_t i = 0; i < n; i++)
    ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
  return n;
}

static const json_t *row(const world *w, const char *what, int i) {
  return json_array_get(json_object_get(w->reference, what), (size_t)i);
}

static int is_close(const world *w, int prompt, int64_t step) {
  const json_t *steps = row(w, "close", prompt);
  for (size_t i = 0; i < json_array_size(steps); i++)
    if (json_integer_value(json_array_get(steps, i)) == step)
      return 1;
  return 0;
}

START_TEST(prompts_ids) {
  world w = open_world(_i);
  const smft_tokenizer *tokenizer = smft_model_tokenizer(w.model);
  for (int i = 0; i < N_PROMPTS; i++) {
    int32_t wanted[64], got[64];
    int64_t n = ids_of(row(&w, "prompts", i), wanted), n_got = 0;
    ck_ok(smft_tokenizer_encode(tokenizer, prompts[i], strlen(prompts[i]), SMFT_ENCODE_SPECIAL, got,
                                64, &n_got));
    ck_assert_int_eq(n_got, n);
    ck_assert_mem_eq(got, wanted, (size_t)n * sizeof *got);
  }
  close_world(&w);
}
END_TEST

static int32_t best_of(const float *logits, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    best = logits[i] > logits[best] ? i : best;
  return (int32_t)best;
}

/* Until a step at which the two best logits were within 1e-4: there either may be taken. */
static void go_on(world *w, int prompt, float *logits, int64_t vocab) {
  int32_t ids[64], wanted[NEW];
  int64_t n = ids_of(row(w, "prompts", prompt), ids);
  ids_of(row(w, "greedy", prompt), wanted);
  ck_ok(smft_session_rewind(w->session, 0));
  for (int step = 0; step < NEW && !is_close(w, prompt, step); step++, n = 1) {
    ck_ok(smft_session_feed(w->session, ids, n, SMFT_LOGITS_LAST, logits, vocab));
    *ids = best_of(logits, vocab);
    ck_assert_msg(*ids == wanted[step], "prompt %d, step %d: %d, wanted %d", prompt, step, *ids,
                  wanted[step]);
  }
}

START_TEST(greedy) {
  world w = open_world(_i);
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  ck_ok(smft_model_get_info(w.model, &info));
  float *logits = malloc((size_t)info.vocab_size * sizeof *logits);
  for (int i = 0; i < N_CONTINUED; i++)
    go_on(&w, i, logits, info.vocab_size);
  free(logits);
  close_world(&w);
}
END_TEST

/* The text's first bytes, its lines ended by a newline alone. */
static char *read_text(void) {
  FILE *file = fopen(test_shared("text/botchan.txt"), "rb");
  char *text = calloc(1, TEXT + 1);
  int c = 0, n = 0;
  ck_assert_ptr_nonnull(file);
  while (n < TEXT && (c = fgetc(file)) != EOF)
    if (c != '\r')
      text[n++] = (char)c;
  ck_assert_int_eq(n, TEXT);
  fclose(file);
  return text;
}

/* Ten pieces of the text's ids, begin-of-text before each where the tokenizer puts it. */
START_TEST(likelihood) {
  world w = open_world(_i);
  const smft_tokenizer *tokenizer = smft_model_tokenizer(w.model);
  char *text = read_text();
  int32_t *ids = malloc(TEXT * sizeof *ids), piece[PIECE];
  int64_t n = 0, n_before = 0, at = 0, count = 0;
  double total = 0;
  ck_ok(smft_tokenizer_encode(tokenizer, text, TEXT, 0, ids, TEXT, &n));
  ck_ok(smft_tokenizer_encode(tokenizer, "", 0, SMFT_ENCODE_SPECIAL, piece, PIECE, &n_before));
  for (int i = 0; i < N_PIECES; i++, at += PIECE - n_before) {
    double mean = 0;
    ck_assert_int_le(at + PIECE - n_before, n);
    memcpy(piece + n_before, ids + at, (size_t)(PIECE - n_before) * sizeof *ids);
    ck_ok(smft_session_nll(w.session, piece, PIECE, NULL, &mean));
    total += mean * (PIECE - 1);
    count += PIECE - 1;
  }
  ck_assert(isfinite(total) && total > 0);
  if (N_PIECES == PIECES) {
    ck_assert_int_eq(count, json_integer_value(json_object_get(w.reference, "predictions")));
    ck_assert_double_eq_tol(total / (double)count,
                            json_number_value(json_object_get(w.reference, "nll")), 1e-4);
  }
  free(ids);
  free(text);
  close_world(&w);
}
END_TEST

/* A loop test for each checkpoint that is there; a line for each that is not. */
Suite *make_suite(void) {
  Suite *suite = suite_create("real");
  int there = 0;
  for (int i = 0; i < N_MODELS; i++) {
    if (!test_checkpoint(models[i].file)) {
      printf("SKIPPED IN PART: %s is not there (examples/models/get.sh)\n", models[i].file);
      continue;
    }
    TCase *tcase = tcase_create(models[i].file);
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, prompts_ids, i, i + 1);
    tcase_add_loop_test(tcase, greedy, i, i + 1);
    if (test_shared("text/botchan.txt"))
      tcase_add_loop_test(tcase, likelihood, i, i + 1);
    suite_add_tcase(suite, tcase);
    there++;
  }
  if (there && TEST_SANITIZED)
    printf("SKIPPED IN PART: a sanitizer: %d of %d prompts, %d of %d pieces\n", N_CONTINUED,
           N_PROMPTS, N_PIECES, PIECES);
  if (!there)
    exit(77);
  return suite;
}
