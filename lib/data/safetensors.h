/* safetensors: strict reader (one file or shards with an index) and atomic writer.  Every offset,
 * shape and product is checked against the file before use; a file that is something else (Git LFS
 * pointer, HTML page, pickle/zip, truncated) is named for what it is. */
#ifndef SMFT__SAFETENSORS_H
#define SMFT__SAFETENSORS_H
#include "data/source.h"
#include "data/tensor_write.h"

smft_status smft__safetensors_open(smft__source *file, smft_ctx *ctx, const char *path, int copy);
/* The same of a file's bytes, which are the caller's and must outlive the source.  what: their name
 * in messages. */
smft_status smft__safetensors_open_buffer(smft__source *file, smft_ctx *ctx, const void *data,
                                          int64_t size, const char *what);
/* directory: model.safetensors, or model.safetensors.index.json and the shards it names (names with
 * '/' or ".." are refused). */
smft_status smft__safetensors_open_model(smft__source *file, smft_ctx *ctx, const char *directory,
                                         int copy, smft_progress_fn progress, void *progress_user);

/* Where a file's bytes go: to a path, or (NULL) into memory, whose capacity may be too small for
 * the size that is stored. */
typedef struct smft__target {
  const char *path;
  void *memory;
  int64_t capacity, size;
} smft__target;
smft_status smft__safetensors_write_to(smft_ctx *ctx, smft__target *to,
                                       const smft__save_tensor *tensors, int64_t n,
                                       const char *const *metadata_keys,
                                       const char *const *metadata_values, int64_t n_metadata,
                                       smft_progress_fn progress, void *progress_user);
/* Writes in the order given.  metadata: n_metadata pairs of strings. */
smft_status smft__safetensors_write(smft_ctx *ctx, const char *path,
                                    const smft__save_tensor *tensors, int64_t n,
                                    const char *const *metadata_keys,
                                    const char *const *metadata_values, int64_t n_metadata,
                                    smft_progress_fn progress, void *progress_user);
/* The same into a file that is open, and is put in place by the caller. */
smft_status smft__safetensors_put(smft__writer *file, smft_ctx *ctx,
                                  const smft__save_tensor *tensors, int64_t n,
                                  const char *const *metadata_keys,
                                  const char *const *metadata_values, int64_t n_metadata,
                                  smft_progress_fn progress, void *progress_user);
#endif
