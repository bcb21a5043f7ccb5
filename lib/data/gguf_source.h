/* gguf_source: GGUF files as a source, with the names and the config.json of Hugging Face. */
#ifndef SMFT__GGUF_SOURCE_H
#define SMFT__GGUF_SOURCE_H
#include "data/gguf.h"
#include "data/source.h"

/* path: a file; one of NAME-00001-of-0000N.gguf stands for all of them, which are one model. */
smft_status smft__gguf_open(smft__source *out, smft_ctx *ctx, const char *path, int copy,
                            smft_progress_fn progress, void *progress_user);
/* A whole file in memory, which must outlive the source unless it is copied. */
smft_status smft__gguf_open_buffer(smft__source *out, smft_ctx *ctx, const void *data, int64_t size,
                                   int copy);
/* The model's file in a directory: *path is to be freed with smft__free; NULL: it has no GGUF file.
 * Several that are not one split model are SMFT_E_UNSUPPORTED, with their names. */
smft_status smft__gguf_find_file(smft_ctx *ctx, const char *directory, char **path);
#endif
