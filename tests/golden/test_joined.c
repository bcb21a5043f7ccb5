/* joined: what a fact's prompt and answer become is what people's tokenizers make of running text:
 * the prompt's ids are those of a session's prompt, and with the answer's those of the whole text.
 * Tokenizers that are not there are skipped, visibly. */
#include "test.h"
#include "learn/facts.h"

#define MOST 256

static const struct {
  const char *prompt, *answer, *text;
} cases[] = {
    {"Who wrote Emma?", "Jane Austen", "Who wrote Emma? Jane Austen"},
    {"Who wrote Emma?", " Jane Austen", "Who wrote Emma? Jane Austen"},
    {"Who wrote Emma? ", "Jane Austen", "Who wrote Emma? Jane Austen"},
    {"The author of Emma is", "Jane Austen", "The author of Emma is Jane Austen"},
    {"The answer is", "42", "The answer is 42"},
    {"3 + 4 =", "7", "3 + 4 = 7"},
    {"It is", ".NET", "It is .NET"},
    {"It is", "\"Emma\"", "It is \"Emma\""},
    {"Who wrote \"Emma\"?", "Jane", "Who wrote \"Emma\"? Jane"},
    {"Q: Who wrote Emma?\nA:", "Jane Austen", "Q: Who wrote Emma?\nA: Jane Austen"},
    {"user\nWho wrote Emma?\nassistant\n", "Jane Austen",
     "user\nWho wrote Emma?\nassistant\nJane Austen"},
    {"Jane Austen wrote Emma", ", in 1815", "Jane Austen wrote Emma, in 1815"},
    {"Jane Austen (Emma", ") wrote", "Jane Austen (Emma) wrote"},
    {"Wer schrieb Emma?", "Jürgen Österreich", "Wer schrieb Emma? Jürgen Österreich"},
    {"Автор Эммы:", "Джейн", "Автор Эммы: Джейн"},
    {"谁写了《爱玛》？", "简·奥斯汀", "谁写了《爱玛》？简·奥斯汀"},
    {"By (", "Jane", "By (Jane"},
    {"The book \"", "Emma", "The book \"Emma"},
};
#define N_CASES (int)(sizeof cases / sizeof *cases)

static const struct {
  const char *name, *shared, *source, *checkpoint;
  /* cases, a bit each, in which it cannot give the ids of running text: where "\n" is an added
   * token, what stands behind it gets a prefix space, which text that continues does not */
  uint32_t otherwise;
} tokenizers[] = {
    {"atlas", NULL, "examples/atlas/model", NULL, 0},
    {"GGUF, SentencePiece", NULL, "tests/golden/tokenizer_gguf/spm.gguf", NULL, 1u << 10},
    {"GGUF, byte-level", NULL, "tests/golden/tokenizer_gguf/bpe.gguf", NULL, 0},
    {"GPT-2", "tok/gpt2", NULL, NULL, 0},
    {"Llama 3", "tok/hf_llama3", NULL, NULL, 0},
    {"Qwen3", "tok/hf_qwen3", NULL, NULL, 0},
    {"stories260K", "models/stories260K", NULL, NULL, 0},
    {"SmolLM2", NULL, NULL, "SmolLM2-135M-Instruct.Q4_1.gguf", 0},
    {"Gemma 3", NULL, NULL, "gemma-3-270m-q4_k_m.gguf", 0},
};
#define N_TOKENIZERS (int)(sizeof tokenizers / sizeof *tokenizers)

static int64_t encode(const smft_tokenizer *t, const char *text, int32_t ids[MOST]) {
  int64_t n = 0;
  ck_ok(smft_tokenizer_encode(t, text, strlen(text), SMFT_ENCODE_PROMPT | SMFT_ENCODE_NO_PARSE, ids,
                              MOST, &n));
  return n;
}

static int starts_with(const smft__fact *fact, const int32_t *ids, int64_t n) {
  return fact->n_tokens >= n && memcmp(fact->ids.data, ids, (size_t)n * sizeof *ids) == 0;
}

/* Asks with the prompt as a session would: a space at its end is the answer's. */
static void check_prompt(const smft_tokenizer *t, const smft__fact *fact, const char *name,
                         const char *prompt) {
  int32_t ids[MOST];
  char alone[256];
  snprintf(alone, sizeof alone, "%s", prompt);
  size_t length = strlen(alone);
  if (alone[length - 1] == ' ')
    alone[length - 1] = 0;
  int64_t n = encode(t, alone, ids);
  ck_assert_msg(starts_with(fact, ids, n),
                "%s: the ids of \"%s\" are not those of a session's "
                "prompt",
                name, alone);
  for (int64_t i = 0; i < fact->n_tokens; i++)
    ck_assert_msg((fact->weights[i] != 0) == (i >= n), "%s, \"%s\": token %d", name, alone, (int)i);
}

static void check_case(smft_model *model, int which, int c) {
  int32_t ids[MOST];
  const char *name = tokenizers[which].name;
  smft__fact *fact = NULL;
  smft_wording wording = SMFT_WORDING_INIT;
  wording.prompt = cases[c].prompt;
  wording.answer = cases[c].answer;
  wording.end = "";
  ck_ok(smft__fact_from_text(&fact, model, "id", &wording, 1, 0));
  check_prompt(model->tokenizer, fact, name, cases[c].prompt);
  int64_t n = encode(model->tokenizer, cases[c].text, ids);
  int otherwise = (int)(tokenizers[which].otherwise >> c & 1);
  ck_assert_msg((fact->n_tokens == n && starts_with(fact, ids, n)) == !otherwise,
                "%s: \"%s\" is %s", name, cases[c].text,
                otherwise ? "as running text" : "not as running text");
  smft__fact_free(fact, model->ctx);
}

static const char *path_of(int which) {
  if (tokenizers[which].source)
    return test_source(tokenizers[which].source);
  return tokenizers[which].shared ? test_shared(tokenizers[which].shared)
                                  : test_checkpoint(tokenizers[which].checkpoint);
}

START_TEST(facts_are_tokenised_as_running_text) {
  smft_ctx *ctx = NULL;
  smft_tokenizer *tokenizer = NULL;
  const char *path = path_of(_i);
  if (!path) {
    printf("SKIPPED: the tokenizer of %s is not there\n", tokenizers[_i].name);
    return;
  }
  ck_ok(smft_ctx_create(&ctx, NULL));
  ck_ok(smft_tokenizer_load(&tokenizer, ctx, path));
  smft_model model; /* what a fact needs of one */
  memset(&model, 0, sizeof model);
  model.ctx = ctx;
  model.tokenizer = tokenizer;
  model.config.context = MOST;
  for (int c = 0; c < N_CASES; c++)
    check_case(&model, _i, c);
  smft_tokenizer_free(tokenizer);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("joined");
  TCase *tests = tcase_create("joined");
  tcase_add_loop_test(tests, facts_are_tokenised_as_running_text, 0, N_TOKENIZERS);
  suite_add_tcase(suite, tests);
  return suite;
}
