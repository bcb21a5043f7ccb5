/* fuzz_safetensors: any bytes as a safetensors file: refused with a message, or every tensor
 * readable to its last byte. libFuzzer: see test_fuzz.sh; without it replay.c calls this. */
#include "base/bytes.h"
#include "data/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void give_up(const char *why) {
  if (write(2, why, strlen(why)) >= 0)
    abort();
}

/* Every byte is read, and the sanitizer watches. */
static void touch(const smft__source *file) {
  volatile unsigned sum = 0;
  for (int64_t i = 0; i < file->n; i++) {
    const smft__tensor *tensor = &file->tensors[i];
    int64_t bytes = smft__tensor_bytes(tensor);
    for (int64_t at = 0; at < bytes; at++)
      sum = sum + ((const unsigned char *)tensor->data)[at];
    if (smft__source_find(file, file->names[i]) != i)
      give_up("a name is not found where it is\n");
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static smft_ctx *ctx;
  int64_t before = 0, after = 0;
  char path[64];
  if (!ctx && smft_ctx_create(&ctx, NULL) != SMFT_OK)
    return 0;
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size))
    give_up("no memory file\n");
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  smft__source file;
  smft_ctx_memory(ctx, &before, NULL);
  smft_status status = smft__safetensors_open(&file, ctx, path, size % 2 == 0);
  if (status == SMFT_OK)
    touch(&file);
  else if (status != SMFT_E_FORMAT && status != SMFT_E_UNSUPPORTED)
    give_up(smft_error_message());
  else if (!strstr(smft_error_message(), path) ||
           !smft__utf8_valid(smft_error_message(), strlen(smft_error_message()), NULL))
    give_up("a message without the path, or not UTF-8\n");
  smft__source_close(&file);
  smft_ctx_memory(ctx, &after, NULL);
  if (before != after)
    give_up("memory was left behind\n");
  close(fd);
  return 0;
}
