/* fuzz_json: any bytes as JSON, as JSONL and as UTF-8: an error with a message that is UTF-8, or a
 * value that is written and read back. libFuzzer: see test_fuzz.sh; without it replay.c calls this.
 */
#include "base/bytes.h"
#include "data/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_up(const char *why) {
  if (write(2, why, strlen(why)) >= 0)
    abort();
}

static void check_message(smft_status status) {
  if (status != SMFT_OK &&
      !smft__utf8_valid(smft_error_message(), strlen(smft_error_message()), NULL))
    give_up("a message that is not UTF-8\n");
}

static void check_value(smft_ctx *ctx, const char *text, size_t size) {
  json_t *value = NULL, *back = NULL;
  smft_status status = smft__json_parse(&value, text, (int64_t)size, "fuzz");
  check_message(status);
  if (status != SMFT_OK)
    return;
  smft__buffer buffer = {ctx, NULL, 0, 0};
  if (smft__json_put(&buffer, value, 0) != SMFT_OK ||
      smft__json_parse(&back, buffer.data, buffer.length, "back") != SMFT_OK)
    give_up("what was read cannot be written and read back\n");
  json_decref(back);
  json_decref(value);
  smft__buffer_free(&buffer);
}

static smft_status see(void *user, const json_t *object, int64_t line) {
  int64_t *last = user, n = 0;
  const char *text = NULL;
  if (line <= *last)
    give_up("line numbers do not rise\n");
  *last = line;
  check_message(smft__json_i64(object, "a", 0, &n, "line"));
  check_message(smft__json_string(object, "a", "", &text, "line"));
  return SMFT_OK;
}

static void check_lines(smft_ctx *ctx, const uint8_t *data, size_t size) {
  char path[64];
  int64_t last = 0;
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size))
    give_up("no memory file\n");
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  check_message(smft__jsonl_read(ctx, path, see, &last));
  close(fd);
}

static void check_utf8(const char *text, size_t size) {
  size_t at = 0, bad_at = size;
  int valid = smft__utf8_valid(text, size, &bad_at);
  while (at < size) {
    char again[4];
    uint32_t code = 0;
    int32_t n = smft__utf8_next(text + at, size - at, &code);
    if (n == 0)
      break;
    if (smft__utf8_put(code, again) != n || memcmp(again, text + at, (size_t)n) != 0)
      give_up("a character is not written as it was read\n");
    at += (size_t)n;
  }
  if (valid != (at == size) || (!valid && bad_at != at))
    give_up("utf8_valid and utf8_next differ\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static smft_ctx *ctx;
  int64_t before = 0, after = 0;
  if (!ctx && smft_ctx_create(&ctx, NULL) != SMFT_OK)
    return 0;
  smft_ctx_memory(ctx, &before, NULL);
  size_t skip = size > 8 ? 8 : 0; /* replay.c's inputs have a length in front */
  check_value(ctx, (const char *)data + skip, size - skip);
  check_value(ctx, (const char *)data, size);
  check_lines(ctx, data + skip, size - skip);
  check_utf8((const char *)data, size);
  smft_ctx_memory(ctx, &after, NULL);
  if (before != after)
    give_up("memory was left behind\n");
  return 0;
}
