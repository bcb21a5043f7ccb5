/* fuzz: what the targets share: how one gives up, what a refusal must be, a context for the whole
 * run, bytes as files in memory, and parts of an input. */
#ifndef SMFT_FUZZ_H
#define SMFT_FUZZ_H
#include "base/utf8.h"
#include "smft/smft.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void give_up(const char *why) {
  if (write(2, why, strlen(why)) >= 0 && write(2, "\n", 1) >= 0)
    abort();
}

/* right: what may be, 0 ends. */
static inline void check_failed(smft_status status, const smft_status *right) {
  const char *message = smft_error_message();
  if (!smft__utf8_valid(message, strlen(message), NULL))
    give_up("a message that is not UTF-8");
  if (!*message)
    give_up("an error without a message");
  while (*right && *right != status)
    right++;
  if (!*right)
    give_up(message);
}
/* A call that failed did so with one of these. */
#define CHECK(status, ...)                                                                         \
  do {                                                                                             \
    if ((status) != SMFT_OK)                                                                       \
      check_failed(status, (const smft_status[]){__VA_ARGS__, 0});                                 \
  } while (0)
/* What cannot fail. */
#define MUST(call)                                                                                 \
  do {                                                                                             \
    if ((call) != SMFT_OK)                                                                         \
      give_up(smft_error_message());                                                               \
  } while (0)

static inline smft_ctx *fuzz_ctx(void) {
  static smft_ctx *ctx;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = 1;
  if (!ctx)
    MUST(smft_ctx_create(&ctx, &options));
  return ctx;
}

/* ---- files --------------------------------------------------------------- */

static char fuzz_folder[64];

static inline void fuzz_remove(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", fuzz_folder);
  if (system(command) != 0)
    give_up("a directory is left behind");
}

/* "directory/name", of one directory, in memory where there is /dev/shm; until the next 7. */
static inline const char *fuzz_path(const char *name) {
  static char paths[8][128];
  static int next;
  if (!*fuzz_folder) {
    snprintf(fuzz_folder, sizeof fuzz_folder, "%s/smft-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(fuzz_folder) || atexit(fuzz_remove) != 0)
      give_up("no directory");
  }
  next = (next + 1) % 8;
  snprintf(paths[next], sizeof *paths, "%s%s%s", fuzz_folder, *name ? "/" : "", name);
  return paths[next];
}

/* Writes a file of that directory; without data (NULL) it is removed. */
static inline const char *fuzz_write(const char *name, const void *data, size_t size) {
  const char *path = fuzz_path(name);
  if (!data) {
    (void)unlink(path);
    return path;
  }
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size) || close(fd) != 0)
    give_up("a file cannot be written");
  return path;
}

/* ---- inputs -------------------------------------------------------------- */

/* The bytes up to the next 0 or the end; *data moves behind it, and is NULL where nothing is left:
 * then so is what is returned. */
static inline const char *fuzz_part(const uint8_t **data, size_t *size, size_t *length) {
  const uint8_t *part = *data, *zero = part ? memchr(part, 0, *size) : NULL;
  *length = zero ? (size_t)(zero - part) : *size;
  *size -= *length + (zero != NULL);
  *data = zero ? zero + 1 : NULL;
  return (const char *)part;
}

/* `run` leaves nothing of the context's memory behind but what the context keeps for its kernels,
 * which is there after the first time. */
static inline void fuzz_run(void (*run)(const uint8_t *data, size_t size), const uint8_t *data,
                            size_t size) {
  int64_t now = 0, before = -1;
  MUST(smft_ctx_memory(fuzz_ctx(), &now, NULL));
  for (int i = 0; i < 3 && now != before; i++) {
    before = now;
    run(data, size);
    MUST(smft_ctx_memory(fuzz_ctx(), &now, NULL));
  }
  if (now != before)
    give_up("memory is left behind, each time");
}
#endif
