/* file: mapping, bounded reads, atomic replacement, paths.  Knows nothing of formats. */
#ifndef SMFT__FILE_H
#define SMFT__FILE_H
#include "base/ctx.h"

typedef struct smft__file { /* a whole file, read-only */
  smft_ctx *ctx;
  const unsigned char *data;
  int64_t size;
  int32_t mapped; /* 1: unmap, 0: free */
} smft__file;
/* Directories, missing files and the rest are E_NOT_FOUND / E_IO with the path and the system's
 * reason in the message. */
smft_status smft__file_open(smft__file *file, smft_ctx *ctx, const char *path, int copy);
void smft__file_close(smft__file *file); /* a zeroed struct is fine */
/* How the bytes at `data` will be read; only a hint, and none where they are not in this file or it
 * is not mapped.  SMFT__READ_ROWS: here and there, so that nothing is read ahead and memory holds
 * what was asked for. */
enum { SMFT__READ_IN_ORDER, SMFT__READ_ROWS };
void smft__file_expect(const smft__file *file, const void *data, int64_t size, int how);
int smft__file_exists(const char *path);
int smft__is_directory(const char *path);
/* "directory/name", to be freed with smft__free; NULL on no memory. */
char *smft__path_join(smft_ctx *ctx, const char *directory, const char *name);
/* *path: "directory/name" where there is one, to be freed; NULL: there is none. */
smft_status smft__path_find(char **path, smft_ctx *ctx, const char *directory, const char *name);
smft_status smft__make_directory(const char *path); /* an existing one is fine */
/* What it names is on the disk, where the file system can say so. */
void smft__directory_sync(const char *path);

/* temporary file beside the target; commit = fsync + rename + fsync of the directory.  Or memory of
 * the host's, which takes nothing more once a piece did not fit: then all is only counted. */
typedef struct smft__writer {
  smft_ctx *ctx;
  char *path, *temporary;
  char *memory; /* (capacity) */
  int in_memory;
  int fd;
  int64_t written, capacity;
} smft__writer;
smft_status smft__writer_open(smft__writer *writer, smft_ctx *ctx, const char *path);
void smft__writer_open_memory(smft__writer *writer, smft_ctx *ctx, void *memory, int64_t capacity);
smft_status smft__writer_write(smft__writer *writer, const void *data, int64_t size);
/* on failure the old file is intact and the temporary gone */
smft_status smft__writer_commit(smft__writer *writer);
/* Its two halves, for files that go together: all bytes on the disk; then in place. */
smft_status smft__writer_finish(smft__writer *writer);
smft_status smft__writer_place(smft__writer *writer);
/* after commit: nothing to do; a zeroed struct is fine */
void smft__writer_abandon(smft__writer *writer);
#endif
