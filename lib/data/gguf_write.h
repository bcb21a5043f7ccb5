/* gguf_write: a GGUF file of version 3: keys put one after another, then tensors.  Does not own:
 * what the keys say (model/export_gguf.c, tokenizer/gguf_write.c), the tensors' numbers
 * (tensor_write.h). */
#ifndef SMFT__GGUF_WRITE_H
#define SMFT__GGUF_WRITE_H
#include "base/bytes.h"
#include "data/gguf.h"
#include "data/tensor_write.h"

typedef struct smft__gguf_keys { /* keys and values as the file has them */
  smft__buffer bytes;
  int64_t n;
} smft__gguf_keys;
/* Of numbers (integers, floats, bools), of a type SMFT__GGUF_*. */
smft_status smft__gguf_put_i64(smft__gguf_keys *keys, const char *key, int32_t type, int64_t value);
smft_status smft__gguf_put_f32(smft__gguf_keys *keys, const char *key, double value);
smft_status smft__gguf_put_string(smft__gguf_keys *keys, const char *key, const char *text,
                                  int64_t length);
/* An array's key and length; its n items follow, each put by one of the next two. */
smft_status smft__gguf_put_array(smft__gguf_keys *keys, const char *key, int32_t type, int64_t n);
smft_status smft__gguf_put_item(smft__gguf_keys *keys, const char *text, int64_t length);
smft_status smft__gguf_put_items(smft__gguf_keys *keys, const void *numbers, int64_t bytes);
/* A key of another file, as it is there. */
smft_status smft__gguf_put_value(smft__gguf_keys *keys, const smft__gguf_value *value);
void smft__gguf_keys_free(smft__gguf_keys *keys);

/* Writes in the order given.  Names are GGUF's, shapes rows first; orders (n): of rows, as
 * smft__tensor_writer_put has it.  The file is replaced whole or not at all. */
smft_status smft__gguf_write(smft_ctx *ctx, const char *path, const smft__gguf_keys *keys,
                             const smft__save_tensor *tensors, const int64_t *const *orders,
                             int64_t n, smft_progress_fn progress, void *progress_user);
#endif
