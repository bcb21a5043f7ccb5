/* fuzz_tokenizer_gguf: any bytes as a GGUF file with a tokenizer: refused with a message, or a
 * tokenizer whose ids exist and become text. libFuzzer: see test_fuzz.sh; without it replay.c calls
 * this. */
#include "base/utf8.h"
#include "data/gguf.h"
#include "data/tokenizer.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_up(const char *why) {
  if (write(2, why, strlen(why)) >= 0)
    abort();
}

static void check_message(smft_status status) {
  if (status != SMFT_E_FORMAT && status != SMFT_E_UNSUPPORTED)
    give_up(smft_error_message());
  if (!smft__utf8_valid(smft_error_message(), strlen(smft_error_message()), NULL))
    give_up("a message that is not UTF-8\n");
}

static void use(const smft_tokenizer *tokenizer, uint32_t flags) {
  static const char text[] = "abc <s>ab\n</s> a<x>12 \xC3\xA9~A";
  int32_t ids[256];
  char back[65536];
  int64_t n = 0;
  size_t length;
  smft_status status = smft_tokenizer_encode(tokenizer, text, sizeof text - 1, flags, ids, 256, &n);
  if (status == SMFT_OK)
    status = smft_tokenizer_decode(tokenizer, ids, n, 0, back, sizeof back, &length);
  if (status != SMFT_OK)
    check_message(status);
}

static void load(smft_ctx *ctx, const smft__gguf *gguf) {
  smft_tokenizer *tokenizer = NULL;
  smft_status status = smft__tokenizer_load_gguf(&tokenizer, ctx, gguf);
  if (status != SMFT_OK)
    check_message(status);
  if (!tokenizer)
    return;
  use(tokenizer, SMFT_ENCODE_SPECIAL);
  use(tokenizer, SMFT_ENCODE_NO_PARSE);
  smft_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static smft_ctx *ctx;
  int64_t before = 0, after = 0;
  smft__gguf gguf = {0};
  if (!ctx && smft_ctx_create(&ctx, NULL) != SMFT_OK)
    return 0;
  smft_ctx_memory(ctx, &before, NULL);
  if (smft__gguf_read(&gguf, ctx, data, (int64_t)size, "fuzz.gguf") == SMFT_OK)
    load(ctx, &gguf);
  smft__gguf_free(&gguf);
  smft_ctx_memory(ctx, &after, NULL);
  if (before != after)
    give_up("memory was left behind\n");
  return 0;
}
