/* safetensors_write: tensors to a safetensors file, converted in small pieces, the old file
 * replaced whole or not at all. Does not own: reading (safetensors.c). */
#include "base/alloc.h"
#include "base/bytes.h"
#include "data/json.h"
#include "data/safetensors.h"
#include <stdlib.h>

/* of the first tensor in the file: more than the format asks, good for mapping */
#define DATA_ALIGNMENT 64
#define PIECE_ELEMENTS 65536  /* converted at a time */
#define PIECE_BYTES (8 << 20) /* written at a time where nothing is converted */

typedef struct writing {
  smft_ctx *ctx;
  smft__writer file;
  smft_progress_fn progress;
  void *progress_user;
  int64_t done, total; /* bytes of data */
  float *piece;        /* (PIECE_ELEMENTS), made when first needed; behind it as many uint16_t */
} writing;

static int32_t written_dtype(const smft__save_tensor *one) {
  return one->dtype ? one->dtype : one->tensor.dtype;
}

/* ---- checks -------------------------------------------------------------- */

static smft_status check_tensor(const smft__save_tensor *one, int64_t *bytes) {
  const smft__tensor *tensor = &one->tensor;
  int32_t dtype = written_dtype(one);
  SMFT__REQUIRE(one->name && strcmp(one->name, "__metadata__") != 0,
                "a tensor to be saved has no name, or the reserved name __metadata__");
  SMFT__REQUIRE(smft__dtype_traits(tensor->dtype)->bytes && smft__dtype_traits(dtype)->bytes,
                "tensor %s: element type %d cannot be saved as %d", one->name, tensor->dtype,
                dtype);
  SMFT__REQUIRE(dtype == tensor->dtype ||
                    (smft__is_weight(dtype) && smft__is_weight(tensor->dtype)),
                "tensor %s: %s cannot be converted to %s", one->name,
                smft__dtype_name(tensor->dtype), smft__dtype_name(dtype));
  SMFT__REQUIRE(tensor->n_dims >= 0 && tensor->n_dims <= SMFT__MAX_DIMS, "tensor %s: %d dimensions",
                one->name, tensor->n_dims);
  SMFT__REQUIRE(!smft__is_block(dtype), "tensor %s: safetensors files have no %s", one->name,
                smft__dtype_name(dtype));
  *bytes = smft__row_bytes(dtype, 1);
  for (int32_t i = 0; i < tensor->n_dims; i++)
    SMFT__REQUIRE(smft__mul_i64(*bytes, tensor->shape[i], bytes),
                  "tensor %s: its shape is negative or overflows", one->name);
  SMFT__REQUIRE(tensor->data || *bytes == 0, "tensor %s: it has no data", one->name);
  return SMFT_OK;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static smft_status check_names(smft_ctx *ctx, const smft__save_tensor *tensors, int64_t n) {
  smft_status status = SMFT_OK;
  const char **names = smft__alloc_array(ctx, n, sizeof *names);
  if (!names)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < n; i++)
    names[i] = tensors[i].name;
  qsort(names, (size_t)n, sizeof *names, compare_names);
  for (int64_t i = 1; i < n && status == SMFT_OK; i++)
    if (strcmp(names[i - 1], names[i]) == 0)
      status = smft__fail(SMFT_E_INVALID, "tensor %s is to be saved twice", names[i]);
  smft__free(ctx, names);
  return status;
}

static smft_status check_all(writing *out, const smft__save_tensor *tensors, int64_t n) {
  SMFT__REQUIRE(n >= 0 && (tensors || n == 0), "there are no tensors to be saved");
  for (int64_t i = 0; i < n; i++) {
    int64_t bytes = 0;
    SMFT__TRY(check_tensor(&tensors[i], &bytes));
    SMFT__REQUIRE(smft__add_i64(out->total, bytes, &out->total),
                  "the tensors to be saved are too large together");
  }
  return check_names(out->ctx, tensors, n);
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
  int32_t dtype = written_dtype(one);
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

/* ---- data ---------------------------------------------------------------- */

static smft_status put_bytes(writing *out, const void *data, int64_t size) {
  SMFT__TRY(smft__writer_write(&out->file, data, size));
  out->done += size;
  if (out->progress && out->progress(out->progress_user, "saving", out->done, out->total) != 0)
    return smft__fail(SMFT_E_CANCELLED,
                      "%s: saving was cancelled after %lld of %lld bytes; nothing was replaced",
                      out->file.path, (long long)out->done, (long long)out->total);
  return SMFT_OK;
}

static smft_status write_as_it_is(writing *out, const smft__tensor *tensor) {
  int64_t size = smft__tensor_bytes(tensor);
  for (int64_t at = 0; at < size; at += PIECE_BYTES)
    SMFT__TRY(put_bytes(out, (const char *)tensor->data + at,
                        size - at < PIECE_BYTES ? size - at : PIECE_BYTES));
  return SMFT_OK;
}

static smft_status write_converted(writing *out, const smft__tensor *tensor, int32_t dtype) {
  int64_t count = smft__tensor_count(tensor);
  if (!out->piece)
    out->piece = smft__alloc_array(out->ctx, PIECE_ELEMENTS, sizeof(float) + sizeof(uint16_t));
  if (!out->piece)
    return SMFT_E_NOMEM;
  uint16_t *halves = (uint16_t *)(void *)(out->piece + PIECE_ELEMENTS);
  for (int64_t at = 0; at < count; at += PIECE_ELEMENTS) {
    int64_t n = count - at < PIECE_ELEMENTS ? count - at : PIECE_ELEMENTS;
    smft__tensor_to_f32(tensor, at, n, out->piece);
    for (int64_t i = 0; i < n && dtype != SMFT__F32; i++)
      halves[i] =
          dtype == SMFT__BF16 ? smft__f32_to_bf16(out->piece[i]) : smft__f32_to_f16(out->piece[i]);
    const void *piece = dtype == SMFT__F32 ? (const void *)out->piece : (const void *)halves;
    SMFT__TRY(put_bytes(out, piece, smft__row_bytes(dtype, n)));
  }
  return SMFT_OK;
}

static smft_status write_tensor(writing *out, const smft__save_tensor *one) {
  int32_t dtype = written_dtype(one);
  return dtype == one->tensor.dtype ? write_as_it_is(out, &one->tensor)
                                    : write_converted(out, &one->tensor, dtype);
}

smft_status smft__safetensors_write(smft_ctx *ctx, const char *path,
                                    const smft__save_tensor *tensors, int64_t n,
                                    const char *const *metadata_keys,
                                    const char *const *metadata_values, int64_t n_metadata,
                                    smft_progress_fn progress, void *progress_user) {
  writing out = {.ctx = ctx, .progress = progress, .progress_user = progress_user};
  smft__buffer header = {ctx, NULL, 0, 0};
  smft_status status;
  SMFT__TRY_GOTO(done, check_all(&out, tensors, n));
  SMFT__TRY_GOTO(done, put_header(&header, tensors, n, metadata_keys, metadata_values, n_metadata));
  SMFT__TRY_GOTO(done, smft__writer_open(&out.file, ctx, path));
  SMFT__TRY_GOTO(done, smft__writer_write(&out.file, header.data, header.length));
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY_GOTO(done, write_tensor(&out, &tensors[i]));
  status = smft__writer_commit(&out.file);
done:
  smft__writer_abandon(&out.file);
  smft__buffer_free(&header);
  smft__free(ctx, out.piece);
  return status;
}
