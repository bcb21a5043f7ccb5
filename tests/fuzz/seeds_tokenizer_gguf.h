/* seeds_tokenizer_gguf: what replay.c begins with and puts in: GGUF files with small tokenizers. */
#include "../support/vocab_gguf.h"

#define N_SEEDS 3

static input make_seed(size_t which) {
  static gguf_bytes made;
  vocab_text vocab = which == 1 ? vocab_spm() : vocab_bpe();
  input one = {.size = 0};
  if (which == 2) {
    vocab.pre = "default";
    vocab.key = "tokenizer.ggml.eos_token_id";
    vocab.key_type = 4;
    vocab.value = 2;
  }
  make_vocab(&made, &vocab);
  one.size = made.size;
  memcpy(one.bytes, made.bytes, made.size);
  return one;
}

static const char *const texts[] = {"gpt2",    "llama",      "smollm",  "tekken", "a b",
                                    " ",       "ab",         "\xFF",    "\2",     "\4",
                                    "\6",      "\x08",       "\x09",    "<0x61>", "</s>",
                                    "<|end|>", "\x7F\x80\0", "\xC4\xA0"};
#define N_PIECES (sizeof texts / sizeof *texts)

static const char *piece(size_t which, size_t *size) {
  *size = strlen(texts[which]);
  return texts[which];
}
static void settle(input *one, size_t which) {
  input seed = make_seed(which);
  if (one->size >= 8)
    memcpy(one->bytes, seed.bytes, 8);
}
