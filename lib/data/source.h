/* source: a table of named tensors over mapped files, whatever their format.  The reader of each
 * format fills the same struct (safetensors.h), so that nothing behind it asks which it was. */
#ifndef SMFT__SOURCE_H
#define SMFT__SOURCE_H
#include "base/file.h"
#include "data/tensor.h"

typedef struct smft__source {
  smft_ctx *ctx;
  smft__file *files; /* (n_files) */
  int32_t n_files;
  int64_t n; /* tensors, sorted by name; a name in two shards is an error */
  char **names;
  smft__tensor *tensors;
  int32_t *file_of;    /* (n) the file in which each tensor is */
  unsigned char *used; /* (n) bound by the model; NULL until a model binds */
  int64_t n_metadata;
  char **metadata_keys, **metadata_values;
  /* Where the format has its own: the text of config.json, translated, and the header of the
   * (first) file, for its tokenizer.  NULL: config.json and tokenizer.json stand beside the file.
   */
  char *config;
  struct smft__gguf *gguf;
} smft__source;
/* Nothing is used yet.  For whoever binds tensors, not for readers. */
smft_status smft__source_unused(smft__source *source);
/* For readers: `done` of `total` files are open. */
smft_status smft__source_progress(smft_progress_fn progress, void *user, int64_t done,
                                  int64_t total);
/* What a file is that is none of ours; NULL: nothing that has a name. */
const char *smft__source_wrong_kind(const unsigned char *data, int64_t size);
void smft__source_close(smft__source *source); /* a zeroed struct is fine */
int64_t smft__source_find(const smft__source *source, const char *name); /* index or -1 */
/* or NULL */
const char *smft__source_metadata(const smft__source *source, const char *key);
/* The same as a whole number of up to 18 digits; -1: it is missing, or none. */
int64_t smft__source_number(const smft__source *source, const char *key);
#endif
