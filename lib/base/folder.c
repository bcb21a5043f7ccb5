/* folder: see folder.h.  Does not own: files (file.c). */
#include "base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

static smft_status fail_errno(int error, const char *what, const char *path) {
  char text[256];
  smft_status code = error == ENOENT || error == ENOTDIR ? SMFT_E_NOT_FOUND : SMFT_E_IO;
  return smft__fail(code, "%s: %s: %s", path, what, strerror_r(error, text, sizeof text));
}

/* ---- where it is --------------------------------------------------------- */

/* path (of PATH_MAX) is cut before its last part, which is returned; slashes at its end are taken
 * off. */
static const char *split(char *path) {
  size_t length = strlen(path);
  while (length > 1 && path[length - 1] == '/')
    path[--length] = '\0';
  char *slash = strrchr(path, '/');
  if (!slash)
    return NULL;
  *slash = '\0';
  return slash + 1;
}

smft_status smft__path_resolve(char **out, smft_ctx *ctx, const char *path) {
  char real[PATH_MAX], copy[PATH_MAX];
  *out = NULL;
  SMFT__REQUIRE(*path, "an empty path");
  if (realpath(path, real)) {
    *out = smft__strdup(ctx, real);
    return *out ? SMFT_OK : SMFT_E_NOMEM;
  }
  if (errno != ENOENT || strlen(path) >= sizeof copy)
    return fail_errno(errno == ENOENT ? ENAMETOOLONG : errno, "cannot be found", path);
  strcpy(copy, path);
  const char *last = split(copy), *parent = !last ? "." : *copy ? copy : "/";
  if (!realpath(parent, real))
    return fail_errno(errno, "its directory cannot be found", path);
  *out = smft__path_join(ctx, real, last ? last : copy);
  return *out ? SMFT_OK : SMFT_E_NOMEM;
}

/* ---- directories --------------------------------------------------------- */

smft_status smft__folder_make_beside(char **out, smft_ctx *ctx, const char *path) {
  static atomic_uint counter;
  size_t size = strlen(path) + 48;
  char *made = smft__alloc(ctx, size);
  *out = NULL;
  if (!made)
    return SMFT_E_NOMEM;
  for (int attempt = 0; attempt < 1000; attempt++) {
    snprintf(made, size, "%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&counter, 1));
    if (mkdir(made, 0777) == 0) {
      *out = made;
      return SMFT_OK;
    }
    if (errno != EEXIST)
      break;
  }
  smft_status status = fail_errno(errno, "cannot make the directory", made);
  smft__free(ctx, made);
  return status;
}

int smft__folder_is_empty(const char *path) {
  DIR *folder = opendir(path);
  int n = 0;
  if (!folder)
    return 0;
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
    n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(folder);
  return n == 0;
}

smft_status smft__move(const char *from, const char *to) {
  return rename(from, to) == 0 ? SMFT_OK : fail_errno(errno, "cannot be put in place", to);
}

/* No memory is asked for: these two must not fail for want of it. */
static int join(char *file, const char *path, const char *name) {
  return snprintf(file, PATH_MAX, "%s/%s", path, name) < PATH_MAX;
}

/* ---- a marker ------------------------------------------------------------ */

#define MARKER "smft-incomplete"

static const char explanation[] =
    "libsmft was putting the files of this directory in place.  Where this one stays, it did not "
    "come to\nthe end, and the others may not belong together: write the directory again.\n";

static smft_status write_marker(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0)
    return fail_errno(errno, "cannot create", path);
  int failed = write(fd, explanation, sizeof explanation - 1) < 0 ||
               (fsync(fd) != 0 && errno != EINVAL && errno != ENOSYS);
  int error = errno;
  close(fd);
  return failed ? fail_errno(error, "cannot write", path) : SMFT_OK;
}

/* *fresh: no earlier one is there. */
static smft_status set_marker(const char *path, int *fresh) {
  char marker[PATH_MAX];
  if (!join(marker, path, MARKER))
    return fail_errno(ENAMETOOLONG, "cannot write into it", path);
  *fresh = access(marker, F_OK) != 0;
  smft_status status = write_marker(marker);
  if (status == SMFT_OK)
    smft__directory_sync(path);
  else if (*fresh)
    unlink(marker);
  return status;
}

static int unmark(const char *path) {
  char marker[PATH_MAX];
  return join(marker, path, MARKER) ? unlink(marker) : -1;
}

static smft_status take_marker(const char *path) {
  if (unmark(path) != 0)
    return fail_errno(errno, "its \"" MARKER "\" cannot be removed, so it looks unfinished", path);
  smft__directory_sync(path);
  return SMFT_OK;
}

smft_status smft__folder_place(const char *path, int n, smft__place_fn place, void *user) {
  int fresh = 0;
  SMFT__TRY(set_marker(path, &fresh));
  for (int i = 0; i < n; i++) {
    smft_status status = place(user, i);
    if (status != SMFT_OK && i == 0 && fresh) /* nothing took its place */
      (void)unmark(path);
    SMFT__TRY(status);
  }
  return take_marker(path);
}

smft_status smft__folder_check(const char *path) {
  char marker[PATH_MAX];
  if (!join(marker, path, MARKER) || access(marker, F_OK) != 0)
    return SMFT_OK;
  return smft__fail(SMFT_E_MISMATCH,
                    "%s: it was not written to the end (\"" MARKER
                    "\" stands in it), so its files may not belong together: write it again",
                    path);
}

typedef struct moving {
  const char *from, *to;
  const char *const *names;
} moving;

static smft_status move_one(void *user, int i) {
  const moving *all = user;
  char file[PATH_MAX], place[PATH_MAX];
  return join(file, all->from, all->names[i]) && join(place, all->to, all->names[i])
             ? smft__move(file, place)
             : fail_errno(ENAMETOOLONG, "cannot be put in place", all->to);
}

smft_status smft__folder_move(const char *from, const char *to, const char *const *names, int n) {
  moving all = {from, to, names};
  return smft__folder_place(to, n, move_one, &all);
}

void smft__folder_remove(const char *path, const char *const *names, int n) {
  char file[PATH_MAX];
  for (int i = 0; i < n; i++)
    if (join(file, path, names[i]))
      unlink(file);
  rmdir(path);
}
