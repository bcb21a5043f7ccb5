/* safetensors: strict reader (one file or shards with an index) and atomic writer.  Every offset,
 * shape and product is checked against the file before use; a file that is something else (Git LFS
 * pointer, HTML page, pickle/zip, truncated) is named for what it is. */
#ifndef SMFT__SAFETENSORS_H
#define SMFT__SAFETENSORS_H
#include "base/file.h"
#include "data/tensor.h"

typedef struct smft__safetensors {
  smft_ctx *ctx;
  smft__file *files; /* (n_files) */
  int32_t n_files;
  int64_t n; /* tensors, sorted by name; a name in two shards is an error */
  char **names;
  smft__tensor *tensors;
  int32_t *file_of; /* (n) the file in which each tensor is */
  int64_t n_metadata;
  char **metadata_keys, **metadata_values;
} smft__safetensors;

smft_status smft__safetensors_open(smft__safetensors *file, smft_ctx *ctx, const char *path,
                                   int copy);
/* directory: model.safetensors, or model.safetensors.index.json and the shards it names (names with
 * '/' or ".." are refused). */
smft_status smft__safetensors_open_model(smft__safetensors *file, smft_ctx *ctx,
                                         const char *directory, int copy, smft_progress_fn progress,
                                         void *progress_user);
void smft__safetensors_close(smft__safetensors *file); /* a zeroed struct is fine */
int64_t smft__safetensors_find(const smft__safetensors *file, const char *name); /* index or -1 */
/* or NULL */
const char *smft__safetensors_metadata(const smft__safetensors *file, const char *key);

typedef struct smft__save_tensor {
  const char *name;
  smft__tensor tensor; /* data as it is in memory */
  /* to be written as; 0: as it is; F32 -> BF16/F16 and BF16/F16 -> F32 conversions in small pieces
   */
  int32_t dtype;
} smft__save_tensor;
/* Writes in the order given.  metadata: n_metadata pairs of strings. */
smft_status smft__safetensors_write(smft_ctx *ctx, const char *path,
                                    const smft__save_tensor *tensors, int64_t n,
                                    const char *const *metadata_keys,
                                    const char *const *metadata_values, int64_t n_metadata,
                                    smft_progress_fn progress, void *progress_user);
#endif
