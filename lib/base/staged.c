/* staged: see staged.h.  Owns the order in which the files of a directory are replaced; one file
 * alone is file.c's, the marker folder.c's. */
#include "base/staged.h"

#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/folder.h"

smft_status smft__staged_open(smft__staged *out, smft_ctx *ctx, const char *path) {
  memset(out, 0, sizeof *out);
  out->ctx = ctx;
  out->path = path;
  out->made = !smft__file_exists(path);
  return smft__make_directory(path);
}

smft_status smft__staged_add(smft__staged *to, const char *name, smft__writer **file) {
  SMFT__REQUIRE(to->n < SMFT__STAGED_MOST, "%s: more than %d files at once", to->path,
                SMFT__STAGED_MOST);
  char *path = smft__path_join(to->ctx, to->path, name);
  smft_status status = path ? smft__writer_open(&to->files[to->n], to->ctx, path) : SMFT_E_NOMEM;
  smft__free(to->ctx, path);
  SMFT__TRY(status);
  *file = &to->files[to->n++];
  return SMFT_OK;
}

smft_status smft__staged_put(smft__staged *to, const char *name, const void *data, int64_t size) {
  smft__writer *file = NULL;
  SMFT__TRY(smft__staged_add(to, name, &file));
  return smft__writer_write(file, data, size);
}

static smft_status place_one(void *user, int i) {
  smft__staged *to = user;
  return smft__writer_place(&to->files[i]);
}

smft_status smft__staged_commit(smft__staged *to) {
  for (int i = 0; i < to->n; i++)
    SMFT__TRY(smft__writer_finish(&to->files[i]));
  return smft__folder_place(to->path, to->n, place_one, to);
}

void smft__staged_close(smft__staged *to) {
  for (int i = 0; i < to->n; i++)
    smft__writer_abandon(&to->files[i]);
  if (to->made)
    rmdir(to->path); /* where something is in it it stays */
  memset(to, 0, sizeof *to);
}
