/* program: see program.h.  Messages go to stderr, under the program's own name. */
#include "program.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void check(smft_status status, const char *what) {
  if (status == SMFT_OK)
    return;
  fprintf(stderr, "%s: %s: %s (%s)\n", program_invocation_short_name, what, smft_error_message(),
          smft_status_name(status));
  exit(1);
}

void *need(void *pointer) {
  if (!pointer) {
    fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
    exit(1);
  }
  return pointer;
}

const char *path_in(const char *directory, const char *name) {
  static char paths[4][4096];
  static int next;
  next = (next + 1) % 4;
  snprintf(paths[next], sizeof paths[next], "%s/%s", directory, name);
  return paths[next];
}

int64_t file_size(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 ? (int64_t)info.st_size : -1;
}

int32_t show_progress(void *user, const char *stage, int64_t done, int64_t total) {
  (void)user;
  if (isatty(2)) {
    fprintf(stderr, "\r   %s %lld/%lld ", stage, (long long)done, (long long)total);
    if (done == total)
      fprintf(stderr, "\r%*s\r", 40, "");
  }
  return 0;
}
