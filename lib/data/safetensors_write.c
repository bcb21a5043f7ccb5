/* safetensors_write: the header of a safetensors file in front of its tensors. Does not own: their
 * numbers (tensor_write.c), reading (safetensors.c). */
#include "base/alloc.h"
#include "base/bytes.h"
#include "data/json.h"
#include "data/safetensors.h"
#include <stdlib.h>

/* of the first tensor in the file: more than the format asks, good for mapping */
#define DATA_ALIGNMENT 64

/* ---- checks -------------------------------------------------------------- */

static smft_status check_all(smft__tensor_writer *out, const smft__save_tensor *tensors,
                             int64_t n) {
  SMFT__TRY(smft__tensor_writer_check(out, tensors, n));
  for (int64_t i = 0; i < n; i++) {
    SMFT__REQUIRE(strcmp(tensors[i].name, "__metadata__") != 0,
                  "a tensor to be saved has the reserved name __metadata__");
    SMFT__REQUIRE(!smft__is_block(smft__written_dtype(&tensors[i])),
                  "tensor %s: safetensors files have no %s", tensors[i].name,
                  smft__dtype_name(smft__written_dtype(&tensors[i])));
  }
  return SMFT_OK;
}

/* ---- header -------------------------------------------------------------- */

static smft_status put_metadata(smft__buffer *text, const char *const *keys,
                                const char *const *values, int64_t n) {
  SMFT__TRY(smft__buffer_printf(text, "\"__metadata__\":{"));
  for (int64_t i = 0; i < n; i++) {
    SMFT__TRY(smft__json_put_string(text, keys[i]));
    SMFT__TRY(smft__buffer_put(text, ":", 1));
    SMFT__TRY(smft__json_put_string(text, values[i]));
    if (i + 1 < n)
      SMFT__TRY(smft__buffer_put(text, ",", 1));
  }
  return smft__buffer_put(text, "}", 1);
}

static smft_status put_tensor(smft__buffer *text, const smft__save_tensor *one, int64_t *offset) {
  int32_t dtype = smft__written_dtype(one);
  int64_t begin = *offset;
  *offset += smft__row_bytes(dtype, smft__tensor_count(&one->tensor));
  SMFT__TRY(smft__json_put_string(text, one->name));
  SMFT__TRY(smft__buffer_printf(text, ":{\"dtype\":\"%s\",\"shape\":[", smft__dtype_name(dtype)));
  for (int32_t i = 0; i < one->tensor.n_dims; i++)
    SMFT__TRY(smft__buffer_printf(text, "%s%lld", i ? "," : "", (long long)one->tensor.shape[i]));
  return smft__buffer_printf(text, "],\"data_offsets\":[%lld,%lld]}", (long long)begin,
                             (long long)*offset);
}

/* The length (filled in at the end), the JSON, and spaces up to the alignment. */
static smft_status put_header(smft__buffer *text, const smft__save_tensor *tensors, int64_t n,
                              const char *const *keys, const char *const *values,
                              int64_t n_metadata) {
  int64_t offset = 0;
  SMFT__TRY(smft__buffer_put(text, "\0\0\0\0\0\0\0\0{", 9));
  if (n_metadata > 0)
    SMFT__TRY(put_metadata(text, keys, values, n_metadata));
  for (int64_t i = 0; i < n; i++) {
    if (i > 0 || n_metadata > 0)
      SMFT__TRY(smft__buffer_put(text, ",", 1));
    SMFT__TRY(put_tensor(text, &tensors[i], &offset));
  }
  SMFT__TRY(smft__buffer_put(text, "}", 1));
  while (text->length % DATA_ALIGNMENT != 0)
    SMFT__TRY(smft__buffer_put(text, " ", 1));
  smft__write_u64le(text->data, (uint64_t)text->length - 8);
  return SMFT_OK;
}

/* ---- whole --------------------------------------------------------------- */

smft_status smft__safetensors_put(smft__writer *file, smft_ctx *ctx,
                                  const smft__save_tensor *tensors, int64_t n,
                                  const char *const *metadata_keys,
                                  const char *const *metadata_values, int64_t n_metadata,
                                  smft_progress_fn progress, void *progress_user) {
  smft__tensor_writer out = {.ctx = ctx,
                             .progress = progress,
                             .progress_user = progress_user,
                             .file = file};
  smft__buffer header = {ctx, NULL, 0, 0};
  smft_status status;
  SMFT__TRY_GOTO(done, check_all(&out, tensors, n));
  SMFT__TRY_GOTO(done, put_header(&header, tensors, n, metadata_keys, metadata_values, n_metadata));
  SMFT__TRY_GOTO(done, smft__writer_write(file, header.data, header.length));
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY_GOTO(done, smft__tensor_writer_put(&out, &tensors[i], NULL));
done:
  smft__tensor_writer_close(&out);
  smft__buffer_free(&header);
  return status;
}

static smft_status open_target(smft__writer *file, smft_ctx *ctx, const smft__target *to) {
  if (to->path)
    return smft__writer_open(file, ctx, to->path);
  smft__writer_open_memory(file, ctx, to->memory, to->capacity);
  return SMFT_OK;
}

smft_status smft__safetensors_write_to(smft_ctx *ctx, smft__target *to,
                                       const smft__save_tensor *tensors, int64_t n,
                                       const char *const *metadata_keys,
                                       const char *const *metadata_values, int64_t n_metadata,
                                       smft_progress_fn progress, void *progress_user) {
  smft__writer file = {0};
  smft_status status = open_target(&file, ctx, to);
  if (status == SMFT_OK)
    status = smft__safetensors_put(&file, ctx, tensors, n, metadata_keys, metadata_values,
                                   n_metadata, progress, progress_user);
  to->size = file.written;
  if (status == SMFT_OK)
    status = smft__writer_commit(&file);
  smft__writer_abandon(&file);
  return status;
}

smft_status smft__safetensors_write(smft_ctx *ctx, const char *path,
                                    const smft__save_tensor *tensors, int64_t n,
                                    const char *const *metadata_keys,
                                    const char *const *metadata_values, int64_t n_metadata,
                                    smft_progress_fn progress, void *progress_user) {
  smft__target to = {.path = path};
  return smft__safetensors_write_to(ctx, &to, tensors, n, metadata_keys, metadata_values,
                                    n_metadata, progress, progress_user);
}
