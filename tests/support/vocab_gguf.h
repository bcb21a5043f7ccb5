/* vocab_gguf: small tokenizers as GGUF files, right ones and wrong ones. */
#ifndef SMFT_VOCAB_GGUF_H
#define SMFT_VOCAB_GGUF_H
#include "make_gguf.h"

typedef struct vocab_text { /* of a file's arrays: one text each, NULL ends */
  const char *model, *pre;
  const char *const *tokens, *const *merges;
  const int32_t *types; /* -1 ends; NULL: none of these */
  const float *scores;  /* (n_scores) */
  int n_scores;
  const char *key; /* one more key; NULL: none */
  uint32_t key_type, value;
} vocab_text;

static const char *const vocab_bpe_tokens[] = {"<s>",
                                               "</s>",
                                               "<x>",
                                               "a",
                                               "b",
                                               "c",
                                               "ab",
                                               "abc",
                                               "\xC4\xA0",
                                               "\xC4\xA0"
                                               "a",
                                               NULL};
static const char *const vocab_bpe_merges[] = {"a b", "ab c", "\xC4\xA0 a", NULL};
static const int32_t vocab_bpe_types[] = {3, 3, 4, 1, 1, 1, 1, 1, 1, 1, -1};
static const char *const vocab_spm_tokens[] = {"<unk>",
                                               "<s>",
                                               "</s>",
                                               "<0x41>",
                                               "\n",
                                               "a",
                                               "b",
                                               "ab",
                                               "\xE2\x96\x81",
                                               "\xE2\x96\x81"
                                               "a",
                                               NULL};
static const int32_t vocab_spm_types[] = {2, 3, 3, 6, 4, 1, 1, 1, 1, 1, -1};
static const float vocab_spm_scores[] = {0, 0, 0, 0, 0, -3, -4, -1, -2, -1.5f};

static inline vocab_text vocab_bpe(void) {
  return (vocab_text){
      "gpt2", "gpt-2", vocab_bpe_tokens, vocab_bpe_merges, vocab_bpe_types, NULL, 0, NULL, 0, 0};
}
static inline vocab_text vocab_spm(void) {
  return (vocab_text){
      "llama", NULL, vocab_spm_tokens, NULL, vocab_spm_types, vocab_spm_scores, 10, NULL, 0, 0};
}

static inline void put_texts(gguf_bytes *to, const char *key, const char *const *texts) {
  uint64_t n = 0;
  while (texts[n])
    n++;
  put_key(to, key, 9);
  put_u32(to, 8);
  put_u64(to, n);
  for (; *texts; texts++)
    put_text(to, *texts);
}

static inline void put_types(gguf_bytes *to, const int32_t *types) {
  uint64_t n = 0;
  while (types[n] >= 0)
    n++;
  put_key(to, "tokenizer.ggml.token_type", 9);
  put_u32(to, 5);
  put_u64(to, n);
  for (uint64_t i = 0; i < n; i++)
    put_u32(to, (uint32_t)types[i]);
}

static inline void put_scores(gguf_bytes *to, const float *scores, int n) {
  put_key(to, "tokenizer.ggml.scores", 9);
  put_u32(to, 6);
  put_u64(to, (uint64_t)n);
  put_bytes(to, scores, (size_t)n * sizeof *scores);
}

static inline uint64_t vocab_keys(const vocab_text *v) {
  return (uint64_t)(!!v->model + !!v->pre + !!v->tokens + !!v->merges + !!v->types + !!v->scores +
                    !!v->key);
}

static inline void put_vocab(gguf_bytes *to, const vocab_text *v) {
  if (v->model)
    put_key_text(to, "tokenizer.ggml.model", v->model);
  if (v->pre)
    put_key_text(to, "tokenizer.ggml.pre", v->pre);
  if (v->tokens)
    put_texts(to, "tokenizer.ggml.tokens", v->tokens);
  if (v->merges)
    put_texts(to, "tokenizer.ggml.merges", v->merges);
  if (v->types)
    put_types(to, v->types);
  if (v->scores)
    put_scores(to, v->scores, v->n_scores);
  if (v->key) {
    put_key(to, v->key, v->key_type);
    put_number(to, v->value, v->key_type == 7 ? 1 : 4);
  }
}

static inline void make_vocab(gguf_bytes *to, const vocab_text *v) {
  put_header(to, 3, 0, 1 + vocab_keys(v));
  put_key_text(to, "general.architecture", "llama");
  put_vocab(to, v);
  put_padding(to, 32);
}
#endif
