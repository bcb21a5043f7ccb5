/* fuzz_gguf: any bytes as a GGUF file: refused with a message, or every key and tensor readable to
 * its last byte. libFuzzer: see test_fuzz.sh; without it replay.c calls this. */
#include "base/utf8.h"
#include "data/gguf.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sum;

static void give_up(const char *why) {
  if (write(2, why, strlen(why)) >= 0)
    abort();
}

/* Every byte is read, and the sanitizer watches. */
static void touch(const unsigned char *data, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i++)
    sum = sum + data[i];
}

static void touch_value(const smft__gguf *gguf, const smft__gguf_value *value) {
  const unsigned char *at = value->data;
  const char *text = NULL;
  int64_t length = 0, n = 0;
  double number = 0;
  char key[256] = {0};
  touch(value->data, value->end - value->data);
  while (smft__gguf_next_string(value, &at, &text, &length)) {
    touch((const unsigned char *)text, length);
    n++;
  }
  if (n !=
      (value->type == SMFT__GGUF_ARRAY && value->item_type == SMFT__GGUF_STRING ? value->n : 0))
    give_up("an array of strings is not as long as it says\n");
  for (int64_t i = 0; value->item_type != SMFT__GGUF_STRING && i < value->n; i++)
    sum = sum + (unsigned)smft__gguf_item_i64(value, i) + (smft__gguf_item_double(value, i) > 0);
  if (value->key_length >= (int64_t)sizeof key)
    return;
  memcpy(key, value->key, (size_t)value->key_length);
  if (smft__gguf_find(gguf, key) != value)
    give_up("a key is not found where it is\n");
  (void)smft__gguf_i64(gguf, key, 0, &n);
  (void)smft__gguf_double(gguf, key, 0, &number);
  (void)smft__gguf_string(gguf, key, &text, &length);
}

static void check(const smft__gguf *gguf) {
  for (int64_t i = 0; i < gguf->n_values; i++)
    touch_value(gguf, &gguf->values[i]);
  for (int64_t i = 0; i < gguf->n_tensors; i++) {
    touch(gguf->tensors[i].data, gguf->tensors[i].bytes);
    if (smft__gguf_find_tensor(gguf, gguf->tensors[i].name) != &gguf->tensors[i])
      give_up("a tensor is not found where it is\n");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static smft_ctx *ctx;
  int64_t before = 0, after = 0;
  if (!ctx && smft_ctx_create(&ctx, NULL) != SMFT_OK)
    return 0;
  smft__gguf gguf;
  smft_ctx_memory(ctx, &before, NULL);
  smft_status status = smft__gguf_read(&gguf, ctx, data, (int64_t)size, "a path");
  if (status == SMFT_OK)
    check(&gguf);
  else if (status != SMFT_E_FORMAT && status != SMFT_E_UNSUPPORTED)
    give_up(smft_error_message());
  else if (!strstr(smft_error_message(), "a path") ||
           !smft__utf8_valid(smft_error_message(), strlen(smft_error_message()), NULL))
    give_up("a message without the path, or not UTF-8\n");
  smft__gguf_free(&gguf);
  smft_ctx_memory(ctx, &after, NULL);
  if (before != after)
    give_up("memory was left behind\n");
  return 0;
}
