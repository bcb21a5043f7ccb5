/* source: looking up and closing what a reader filled.  Does not own: formats (safetensors.c). */
#include "data/source.h"
#include "base/alloc.h"

void smft__source_close(smft__source *source) {
  smft_ctx *ctx = source->ctx;
  if (!ctx)
    return;
  for (int64_t i = 0; i < source->n; i++)
    smft__free(ctx, source->names[i]);
  for (int64_t i = 0; i < source->n_metadata; i++) {
    smft__free(ctx, source->metadata_keys[i]);
    smft__free(ctx, source->metadata_values[i]);
  }
  for (int32_t i = 0; i < source->n_files; i++)
    smft__file_close(&source->files[i]);
  smft__free(ctx, source->names);
  smft__free(ctx, source->tensors);
  smft__free(ctx, source->file_of);
  smft__free(ctx, source->metadata_keys);
  smft__free(ctx, source->metadata_values);
  smft__free(ctx, source->files);
  memset(source, 0, sizeof *source);
}

int64_t smft__source_find(const smft__source *source, const char *name) {
  int64_t low = 0, high = source->n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    int order = strcmp(name, source->names[middle]);
    if (order == 0)
      return middle;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return -1;
}

const char *smft__source_metadata(const smft__source *source, const char *key) {
  for (int64_t i = 0; i < source->n_metadata; i++)
    if (strcmp(source->metadata_keys[i], key) == 0)
      return source->metadata_values[i];
  return NULL;
}
