/* source: looking up and closing what a reader filled, and what a file is that no reader takes.
 * Does not own: formats (safetensors.c, gguf.c). */
#include "data/source.h"
#include "base/alloc.h"
#include "data/gguf.h"

/* ---- what a wrong file is ------------------------------------------------ */

static int starts_with(const unsigned char *data, int64_t have, const char *magic, size_t size) {
  return have >= (int64_t)size && memcmp(data, magic, size) == 0;
}

static int looks_like_html(const unsigned char *data, int64_t have) {
  static const char *const starts[] = {"<!doctype", "<html", "<head", "<?xml"};
  int64_t at = 0;
  while (at < have && at < 256 && strchr(" \t\r\n\xEF\xBB\xBF", data[at]) && data[at])
    at++;
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
    size_t length = strlen(starts[i]), same = 0;
    while (same < length && at + (int64_t)same < have &&
           (data[at + (int64_t)same] | (starts[i][same] >= 'a' ? 0x20 : 0)) == starts[i][same])
      same++;
    if (same == length)
      return 1;
  }
  return 0;
}

const char *smft__source_wrong_kind(const unsigned char *data, int64_t have) {
  static const struct {
    const char *magic;
    size_t size;
    const char *name;
  } kinds[] = {
      {"version https://git-lfs", 23, "a Git LFS pointer, not the file itself (run: git lfs pull)"},
      {"PK\x03\x04", 4,
       "a zip archive: probably a PyTorch file (.pt, .bin), which must be converted to "
       "safetensors"},
      {"\x80\x02", 2,
       "a Python pickle: probably an old PyTorch file, which must be converted to safetensors"},
      {"\x80\x03", 2, "a Python pickle, which must be converted to safetensors"},
      {"\x80\x04", 2, "a Python pickle, which must be converted to safetensors"},
      {"\x80\x05", 2, "a Python pickle, which must be converted to safetensors"},
      {"GGUF", 4, "a GGUF file"},
      {"\x89HDF", 4, "an HDF5 file, which must be converted to safetensors"},
      {"\x93NUMPY", 6, "a NumPy array"},
      {"\x1f\x8b", 2, "a gzip archive, which must be unpacked"},
      {"{", 1, "JSON text"},
  };
  if (looks_like_html(data, have))
    return "an HTML page (a download that failed?)";
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (starts_with(data, have, kinds[i].magic, kinds[i].size))
      return kinds[i].name;
  return NULL;
}

/* ---- opening ------------------------------------------------------------- */

smft_status smft__source_progress(smft_progress_fn progress, void *user, int64_t done,
                                  int64_t total) {
  if (progress && progress(user, "weights", done, total) != 0)
    return smft__fail(SMFT_E_CANCELLED, "loading was cancelled after %lld of %lld files",
                      (long long)done, (long long)total);
  return SMFT_OK;
}

/* ---- closing, looking up ------------------------------------------------- */

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
  smft__free(ctx, source->config);
  if (source->gguf)
    smft__gguf_free(source->gguf);
  smft__free(ctx, source->gguf);
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
