/* export_counts: background.safetensors, which lies beside a model, goes with it when it is
 * exported: the same counts, for the hash that the exported model has, and marked with that of the
 * model over which they were counted.  Does not own: what the counts mean (learn/stats_file.c). */
#include <string.h>

#include "base/alloc.h"
#include "data/safetensors.h"
#include "model/export.h"

#define NAME "background.safetensors"
#define COUNTED_ON "counted_on"

typedef struct counts {       /* what is written of a file */
  smft__save_tensor *tensors; /* (n) */
  const char **keys, **values;
  int64_t n, n_metadata;
} counts;

static smft_status make_counts(counts *out, const smft__source *file, const char *hash) {
  smft_ctx *ctx = file->ctx;
  out->tensors = smft__calloc_array(ctx, file->n + 1, sizeof *out->tensors);
  out->keys = smft__calloc_array(ctx, file->n_metadata + 1, sizeof *out->keys);
  out->values = smft__calloc_array(ctx, file->n_metadata + 1, sizeof *out->values);
  if (!out->tensors || !out->keys || !out->values)
    return SMFT_E_NOMEM;
  for (out->n = 0; out->n < file->n; out->n++)
    out->tensors[out->n] = (smft__save_tensor){file->names[out->n], file->tensors[out->n], 0};
  for (; out->n_metadata < file->n_metadata; out->n_metadata++) {
    int64_t i = out->n_metadata;
    out->keys[i] = file->metadata_keys[i];
    out->values[i] = strcmp(out->keys[i], "model_hash") == 0 ? hash : file->metadata_values[i];
  }
  return SMFT_OK;
}

/* Not where they are of this model still, nor where an earlier export marked them. */
static void mark(counts *out, const smft__source *file, const char *before, const char *hash) {
  if (strcmp(before, hash) == 0 || smft__source_metadata(file, COUNTED_ON))
    return;
  out->keys[out->n_metadata] = COUNTED_ON;
  out->values[out->n_metadata++] = before;
}

static smft_status write_counts(const smft__source *file, smft__staged *to, const char *before,
                                const char *hash) {
  counts out = {0};
  smft__writer *writer = NULL;
  smft_status status = make_counts(&out, file, hash);
  if (status == SMFT_OK) {
    mark(&out, file, before, hash);
    status = smft__staged_add(to, NAME, &writer);
  }
  if (status == SMFT_OK)
    status = smft__safetensors_put(writer, to->ctx, out.tensors, out.n, out.keys, out.values,
                                   out.n_metadata, NULL, NULL);
  smft__free(to->ctx, out.values);
  smft__free(to->ctx, out.keys);
  smft__free(to->ctx, out.tensors);
  return status;
}

/* Counts of another model, such as an earlier one in the same directory, stay where they are. */
static smft_status carry(const smft_model *model, const smft__source *file, smft__staged *to,
                         const char *config, const char *weights) {
  const char *before = smft__source_metadata(file, "model_hash");
  char hash[65];
  if (!before || strcmp(before, model->hash) != 0)
    return SMFT_OK;
  SMFT__TRY(smft__model_hash_of(hash, to->ctx, config, weights));
  return write_counts(file, to, before, hash);
}

smft_status smft__export_counts(const smft_model *model, smft__staged *to, const char *config,
                                const char *weights) {
  smft__source file = {0};
  char *path = NULL;
  SMFT__TRY(smft__path_find(&path, to->ctx, model->path, NAME));
  if (!path)
    return SMFT_OK;
  smft_status status = smft__safetensors_open(&file, to->ctx, path, 0);
  if (status == SMFT_OK)
    status = carry(model, &file, to, config, weights);
  smft__source_close(&file);
  smft__free(to->ctx, path);
  return status;
}
