/* fuzz_tokenizer: any bytes as tokenizer.json, and behind a 0 a text for it: refused with a
 * message, or a tokenizer that keeps its promises (fuzz_text.h). */
#include "fuzz_text.h"

static void use(const smft_tokenizer *tokenizer, const char *text, size_t length) {
  static const char other[] = "<s>a 12  B\xC3\xA9 the end.\n\xF0\x9F\x98\x80 <|end|>e\xCC\x81";
  size_t back = 0;
  int32_t id = 0;
  (void)fuzz_there_and_back(tokenizer, other, sizeof other - 1, SMFT_ENCODE_SPECIAL, 0, &back);
  if (text) {
    (void)fuzz_there_and_back(tokenizer, text, length, SMFT_ENCODE_NO_PARSE, 0, &back);
    (void)fuzz_there_and_back(tokenizer, text, length, SMFT_ENCODE_PROMPT, 0, &back);
  }
  smft_status status = smft_tokenizer_token_id(tokenizer, "a", &id);
  CHECK(status, SMFT_E_NOT_FOUND);
  if (status == SMFT_OK && (id < 0 || id >= smft_tokenizer_vocab_size(tokenizer)))
    give_up("a token with an id that no token has");
}

static void run(const uint8_t *data, size_t size) {
  smft_tokenizer *tokenizer = NULL;
  size_t length = 0;
  const char *part = fuzz_part(&data, &size, &length);
  const char *path = fuzz_write("tokenizer.json", part ? part : "", length);
  smft_status status = smft_tokenizer_load(&tokenizer, fuzz_ctx(), path);
  CHECK(status, SMFT_E_FORMAT, SMFT_E_UNSUPPORTED, SMFT_E_ENCODING);
  if ((status == SMFT_OK) != (tokenizer != NULL))
    give_up("a tokenizer and an error, or neither");
  if (tokenizer)
    use(tokenizer, (const char *)data, size);
  smft_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_run(run, data, size);
  return 0;
}
