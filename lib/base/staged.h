/* staged: files of one directory that are replaced together: each is written beside its place, and
 * when all are on the disk they take their places, under folder.h's marker. */
#ifndef SMFT__STAGED_H
#define SMFT__STAGED_H
#include "base/file.h"

enum { SMFT__STAGED_MOST = 8 };

typedef struct smft__staged {
  smft_ctx *ctx;
  const char *path; /* of the directory; the caller's */
  int made;         /* it was not there before */
  int n;
  smft__writer files[SMFT__STAGED_MOST]; /* (n), in the order in which they take their places */
} smft__staged;
/* Makes the directory where there is none. */
smft_status smft__staged_open(smft__staged *out, smft_ctx *ctx, const char *path);
/* *file: to be written to; it stays the caller's to write until the commit. */
smft_status smft__staged_add(smft__staged *to, const char *name, smft__writer **file);
/* One that is in memory. */
smft_status smft__staged_put(smft__staged *to, const char *name, const void *data, int64_t size);
/* On failure the old files are there, or some of each under the marker. */
smft_status smft__staged_commit(smft__staged *to);
/* Removes what did not take its place, and the directory if it was made for nothing; a zeroed
 * struct is fine. */
void smft__staged_close(smft__staged *to);
#endif
