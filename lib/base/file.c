/* file: reading whole files (mapped or copied), replacing files whole, paths.
 * Does not own: formats (data/), what is written when (each caller does). */
#include "base/file.h"
#include "base/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRANSFER_MOST (1 << 30) /* bytes in one read or write call: Linux does at most 2 GiB */

/* ---- errors -------------------------------------------------------------- */

static smft_status fail_errno(int error, const char *what, const char *path) {
  char text[256];
  smft_status code = error == ENOENT || error == ENOTDIR ? SMFT_E_NOT_FOUND : SMFT_E_IO;
  return smft__fail(code, "%s: %s: %s", path, what, strerror_r(error, text, sizeof text));
}

/* ---- reading ------------------------------------------------------------- */

/* Opened without blocking, so that a FIFO under a file's name does not hang the host. */
static smft_status open_regular(const char *path, int *fd, int64_t *size) {
  struct stat facts;
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0)
    return fail_errno(errno, "cannot open", path);
  if (fstat(*fd, &facts) != 0) {
    int error = errno;
    close(*fd);
    return fail_errno(error, "cannot look at", path);
  }
  if (!S_ISREG(facts.st_mode)) {
    close(*fd);
    return smft__fail(SMFT_E_IO, "%s: expected a file, found a %s", path,
                      S_ISDIR(facts.st_mode) ? "directory" : "device, pipe or socket");
  }
  *size = (int64_t)facts.st_size;
  return SMFT_OK;
}

static smft_status read_exactly(int fd, unsigned char *data, int64_t size, const char *path) {
  for (int64_t at = 0; at < size;) {
    int64_t left = size - at;
    ssize_t got = read(fd, data + at, (size_t)(left < TRANSFER_MOST ? left : TRANSFER_MOST));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno(errno, "cannot read", path);
    if (got == 0)
      return smft__fail(SMFT_E_IO,
                        "%s: became shorter while it was read: expected %lld bytes, got %lld", path,
                        (long long)size, (long long)at);
    at += got;
  }
  return SMFT_OK;
}

static smft_status copy_in(smft__file *file, int fd, int64_t size, const char *path) {
  unsigned char *data = smft__alloc_array(file->ctx, size, 1);
  if (!data)
    return smft__fail_within(SMFT_E_NOMEM, "%s", path);
  smft_status status = read_exactly(fd, data, size, path);
  if (status != SMFT_OK) {
    smft__free(file->ctx, data);
    return status;
  }
  file->data = data;
  return SMFT_OK;
}

static smft_status map_in(smft__file *file, int fd, int64_t size, const char *path) {
  void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED)
    return errno == ENOMEM ? smft__fail(SMFT_E_NOMEM, "%s: no address space to map %lld bytes",
                                        path, (long long)size)
                           : fail_errno(errno, "cannot map", path);
  file->data = data;
  file->mapped = 1;
  return SMFT_OK;
}

smft_status smft__file_open(smft__file *file, smft_ctx *ctx, const char *path, int copy) {
  int fd = -1;
  int64_t size = 0;
  memset(file, 0, sizeof *file);
  SMFT__TRY(open_regular(path, &fd, &size));
  file->ctx = ctx;
  file->size = size;
  smft_status status =
      copy || size == 0 ? copy_in(file, fd, size, path) : map_in(file, fd, size, path);
  close(fd);
  if (status != SMFT_OK)
    memset(file, 0, sizeof *file);
  return status;
}

void smft__file_close(smft__file *file) {
  unsigned char *data = (unsigned char *)(uintptr_t)file->data;
  if (file->mapped)
    munmap(data, (size_t)file->size);
  else if (file->ctx)
    smft__free(file->ctx, data);
  memset(file, 0, sizeof *file);
}

/* Whole pages inside [data, data + size): the others hold something else too. */
void smft__file_expect(const smft__file *file, const void *data, int64_t size, int how) {
  int64_t page = (int64_t)sysconf(_SC_PAGESIZE);
  int64_t begin = (int64_t)((uintptr_t)data - (uintptr_t)file->data), end = begin + size;
  if (!file->mapped || page <= 0 || begin < 0 || end > file->size)
    return;
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (begin < end)
    posix_madvise((unsigned char *)(uintptr_t)file->data + begin, (size_t)(end - begin),
                  how == SMFT__READ_ROWS ? POSIX_MADV_RANDOM : POSIX_MADV_NORMAL);
}

/* ---- paths --------------------------------------------------------------- */

int smft__file_exists(const char *path) {
  struct stat facts;
  return stat(path, &facts) == 0;
}

int smft__is_directory(const char *path) {
  struct stat facts;
  return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

char *smft__path_join(smft_ctx *ctx, const char *directory, const char *name) {
  size_t length = strlen(directory), name_size = strlen(name) + 1;
  char *path = smft__alloc(ctx, length + 1 + name_size);
  if (!path)
    return NULL;
  memcpy(path, directory, length);
  if (length > 0 && directory[length - 1] != '/')
    path[length++] = '/';
  memcpy(path + length, name, name_size);
  return path;
}

smft_status smft__path_find(char **path, smft_ctx *ctx, const char *directory, const char *name) {
  char *joined = smft__path_join(ctx, directory, name);
  *path = NULL;
  if (!joined)
    return SMFT_E_NOMEM;
  if (smft__file_exists(joined))
    *path = joined;
  else
    smft__free(ctx, joined);
  return SMFT_OK;
}

smft_status smft__make_directory(const char *path) {
  struct stat facts;
  if (mkdir(path, 0777) == 0)
    return SMFT_OK;
  int error = errno;
  if (error == EEXIST && stat(path, &facts) == 0)
    return S_ISDIR(facts.st_mode)
               ? SMFT_OK
               : smft__fail(SMFT_E_IO, "%s: expected a directory, found a file", path);
  return fail_errno(error, "cannot make the directory", path);
}

/* ---- writing ------------------------------------------------------------- */

/* Where the file really is (a symbolic link stays one), and with which permissions the old one
 * stands there (0: no old one). */
static smft_status resolve_target(const char *path, char resolved[PATH_MAX], mode_t *mode) {
  struct stat facts;
  *mode = 0;
  if (strlen(path) >= PATH_MAX)
    return fail_errno(ENAMETOOLONG, "cannot write", path);
  if (!realpath(path, resolved)) {
    if (errno != ENOENT)
      return fail_errno(errno, "cannot write", path);
    strcpy(resolved, path);
    return SMFT_OK;
  }
  if (stat(resolved, &facts) != 0)
    return fail_errno(errno, "cannot look at", path);
  if (!S_ISREG(facts.st_mode))
    return smft__fail(SMFT_E_IO, "%s: cannot be replaced by a file: it is a %s", path,
                      S_ISDIR(facts.st_mode) ? "directory" : "device, pipe or socket");
  *mode = facts.st_mode & 07777;
  return SMFT_OK;
}

/* A name that nobody else uses, beside the target (rename works within one file system only);
 * permissions as the umask says. */
static smft_status open_temporary(smft__writer *writer) {
  static atomic_uint counter;
  size_t size = strlen(writer->path) + 48;
  writer->temporary = smft__alloc(writer->ctx, size);
  if (!writer->temporary)
    return SMFT_E_NOMEM;
  for (int attempt = 0; attempt < 1000; attempt++) {
    snprintf(writer->temporary, size, "%s.tmp-%ld-%u", writer->path, (long)getpid(),
             atomic_fetch_add(&counter, 1));
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (writer->fd >= 0)
      return SMFT_OK;
    if (errno != EEXIST && errno != EINTR)
      break;
  }
  smft_status status = fail_errno(errno, "cannot create", writer->temporary);
  smft__free(writer->ctx, writer->temporary);
  writer->temporary = NULL; /* not ours to remove */
  return status;
}

smft_status smft__writer_open(smft__writer *writer, smft_ctx *ctx, const char *path) {
  char resolved[PATH_MAX];
  mode_t mode = 0;
  memset(writer, 0, sizeof *writer);
  writer->fd = -1;
  writer->ctx = ctx;
  smft_status status = resolve_target(path, resolved, &mode);
  if (status == SMFT_OK) {
    writer->path = smft__strdup(ctx, resolved);
    status = writer->path ? open_temporary(writer) : SMFT_E_NOMEM;
  }
  if (status == SMFT_OK && mode != 0 && fchmod(writer->fd, mode) != 0)
    status = fail_errno(errno, "cannot keep the old file's permissions of", path);
  if (status != SMFT_OK)
    smft__writer_abandon(writer);
  return status;
}

void smft__writer_open_memory(smft__writer *writer, smft_ctx *ctx, void *memory, int64_t capacity) {
  *writer =
      (smft__writer){.ctx = ctx, .memory = memory, .in_memory = 1, .fd = -1, .capacity = capacity};
}

static smft_status write_to_memory(smft__writer *writer, const void *data, int64_t size) {
  if (writer->written <= writer->capacity && size <= writer->capacity - writer->written && size > 0)
    memcpy(writer->memory + writer->written, data, (size_t)size);
  writer->written += size;
  return SMFT_OK;
}

smft_status smft__writer_write(smft__writer *writer, const void *data, int64_t size) {
  const char *from = data;
  if (writer->in_memory)
    return write_to_memory(writer, data, size);
  for (int64_t at = 0; at < size;) {
    int64_t left = size - at;
    ssize_t done =
        write(writer->fd, from + at, (size_t)(left < TRANSFER_MOST ? left : TRANSFER_MOST));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return fail_errno(errno, "cannot write", writer->path);
    at += done;
    writer->written += done;
  }
  return SMFT_OK;
}

/* Best effort: some file systems do not know this, and by now the new file is in place. */
void smft__directory_sync(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    (void)fsync(fd);
    close(fd);
  }
}

static void sync_directory_of(char *path) {
  char *slash = strrchr(path, '/');
  const char *directory = !slash ? "." : slash == path ? "/" : path;
  if (slash && slash != path)
    *slash = '\0';
  smft__directory_sync(directory);
}

smft_status smft__writer_finish(smft__writer *writer) {
  smft_status status = SMFT_OK;
  if (writer->in_memory)
    return SMFT_OK;
  if (fsync(writer->fd) != 0 && errno != EINVAL && errno != ENOSYS)
    status = fail_errno(errno, "cannot write to the disk", writer->path);
  int closed = close(writer->fd);
  writer->fd = -1;
  if (status == SMFT_OK && closed != 0 && errno != EINTR)
    status = fail_errno(errno, "cannot write to the disk", writer->path);
  return status;
}

smft_status smft__writer_place(smft__writer *writer) {
  if (writer->in_memory)
    return SMFT_OK;
  if (rename(writer->temporary, writer->path) != 0)
    return fail_errno(errno, "cannot replace", writer->path);
  smft__free(writer->ctx, writer->temporary);
  writer->temporary = NULL;
  sync_directory_of(writer->path);
  return SMFT_OK;
}

smft_status smft__writer_commit(smft__writer *writer) {
  smft_status status = smft__writer_finish(writer);
  if (status == SMFT_OK)
    status = smft__writer_place(writer);
  smft__writer_abandon(writer);
  return status;
}

/* temporary is set only while the file is there; a zeroed struct has ctx NULL (and fd 0, which is
 * not ours). */
void smft__writer_abandon(smft__writer *writer) {
  if (!writer->ctx)
    return;
  if (writer->fd >= 0)
    close(writer->fd);
  if (writer->temporary)
    unlink(writer->temporary);
  smft__free(writer->ctx, writer->temporary);
  smft__free(writer->ctx, writer->path);
  memset(writer, 0, sizeof *writer);
  writer->fd = -1;
}
