/* source: looking up and closing what a reader filled.  Does not own: formats (safetensors.c). */
#include "data/source.h"
#include "base/alloc.h"

smft_status smft__source_unused(smft__source *source) {
  smft__free(source->ctx, source->used);
  source->used = smft__calloc_array(source->ctx, source->n, 1);
  return source->used ? SMFT_OK : SMFT_E_NOMEM;
}

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
  smft__free(ctx, source->used);
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

int64_t smft__source_number(const smft__source *source, const char *key) {
  const char *text = smft__source_metadata(source, key);
  int64_t value = 0;
  int digits = 0;
  for (; text && *text >= '0' && *text <= '9' && digits < 18; text++, digits++)
    value = value * 10 + (*text - '0');
  return text && digits > 0 && *text == 0 ? value : -1;
}
