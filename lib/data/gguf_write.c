/* gguf_write: see gguf_write.h. */
#include "data/gguf_write.h"

#include <string.h>

#define VERSION 3
#define ALIGNMENT 32 /* of each tensor; what a file without general.alignment means */

/* ---- numbers ------------------------------------------------------------- */

/* The lowest `bytes` of a number, least first. */
static smft_status put_number(smft__buffer *out, uint64_t value, int bytes) {
  unsigned char raw[8];
  smft__write_u64le(raw, value);
  return smft__buffer_put(out, raw, bytes);
}

static smft_status put_text(smft__buffer *out, const char *text, int64_t length) {
  SMFT__TRY(put_number(out, (uint64_t)length, 8));
  return smft__buffer_put(out, text, length);
}

static smft_status pad(smft__buffer *out) {
  static const char zeros[ALIGNMENT];
  return smft__buffer_put(out, zeros, (ALIGNMENT - out->length % ALIGNMENT) % ALIGNMENT);
}

static int bytes_of(int32_t type) {
  if (type == SMFT__GGUF_U32 || type == SMFT__GGUF_I32 || type == SMFT__GGUF_F32)
    return 4;
  return type == SMFT__GGUF_BOOL || type == SMFT__GGUF_U8 || type == SMFT__GGUF_I8 ? 1 : 8;
}

/* ---- keys ---------------------------------------------------------------- */

static smft_status begin_key(smft__gguf_keys *keys, const char *key, int64_t length, int32_t type) {
  keys->n++;
  SMFT__TRY(put_text(&keys->bytes, key, length));
  return put_number(&keys->bytes, (uint64_t)type, 4);
}

smft_status smft__gguf_put_i64(smft__gguf_keys *keys, const char *key, int32_t type,
                               int64_t value) {
  SMFT__TRY(begin_key(keys, key, (int64_t)strlen(key), type));
  return put_number(&keys->bytes, (uint64_t)value, bytes_of(type));
}

smft_status smft__gguf_put_f32(smft__gguf_keys *keys, const char *key, double value) {
  float number = (float)value;
  uint32_t bits;
  memcpy(&bits, &number, sizeof bits);
  SMFT__TRY(begin_key(keys, key, (int64_t)strlen(key), SMFT__GGUF_F32));
  return put_number(&keys->bytes, bits, 4);
}

smft_status smft__gguf_put_string(smft__gguf_keys *keys, const char *key, const char *text,
                                  int64_t length) {
  SMFT__TRY(begin_key(keys, key, (int64_t)strlen(key), SMFT__GGUF_STRING));
  return put_text(&keys->bytes, text, length);
}

smft_status smft__gguf_put_array(smft__gguf_keys *keys, const char *key, int32_t type, int64_t n) {
  SMFT__TRY(begin_key(keys, key, (int64_t)strlen(key), SMFT__GGUF_ARRAY));
  SMFT__TRY(put_number(&keys->bytes, (uint64_t)type, 4));
  return put_number(&keys->bytes, (uint64_t)n, 8);
}

smft_status smft__gguf_put_item(smft__gguf_keys *keys, const char *text, int64_t length) {
  return put_text(&keys->bytes, text, length);
}

smft_status smft__gguf_put_items(smft__gguf_keys *keys, const void *numbers, int64_t bytes) {
  return smft__buffer_put(&keys->bytes, numbers, bytes);
}

smft_status smft__gguf_put_value(smft__gguf_keys *keys, const smft__gguf_value *value) {
  smft__buffer *out = &keys->bytes;
  SMFT__TRY(begin_key(keys, value->key, value->key_length, value->type));
  if (value->type == SMFT__GGUF_ARRAY)
    SMFT__TRY(put_number(out, (uint64_t)value->item_type, 4));
  if (value->type == SMFT__GGUF_ARRAY || value->type == SMFT__GGUF_STRING)
    SMFT__TRY(put_number(out, (uint64_t)value->n, 8));
  return smft__buffer_put(out, value->data, value->end - value->data);
}

void smft__gguf_keys_free(smft__gguf_keys *keys) {
  smft__buffer_free(&keys->bytes);
  keys->n = 0;
}

/* ---- header -------------------------------------------------------------- */

/* ggml's number of an element type; -1: it has none, or none that is written. */
static int32_t ggml_type(int32_t dtype) {
  static const int8_t types[SMFT__N_DTYPES] = {
      [SMFT__F32] = 1,   [SMFT__F16] = 2,   [SMFT__BF16] = 31, [SMFT__Q4_0] = 3,
      [SMFT__Q4_1] = 4,  [SMFT__Q5_0] = 7,  [SMFT__Q5_1] = 8,  [SMFT__Q8_0] = 9,
      [SMFT__Q4_K] = 13, [SMFT__Q5_K] = 14, [SMFT__Q6_K] = 15}; /* one more each: 0 is none */
  return dtype > 0 && dtype < SMFT__N_DTYPES ? types[dtype] - 1 : -1;
}

static smft_status check_tensor(const smft__save_tensor *one) {
  const smft__tensor *tensor = &one->tensor;
  SMFT__REQUIRE(ggml_type(smft__written_dtype(one)) >= 0, "tensor %s: GGUF files have no %s here",
                one->name, smft__dtype_name(smft__written_dtype(one)));
  SMFT__REQUIRE(tensor->n_dims >= 1 && tensor->n_dims <= SMFT__GGUF_MAX_DIMS,
                "tensor %s: %d dimensions; GGUF has 1 to %d", one->name, tensor->n_dims,
                SMFT__GGUF_MAX_DIMS);
  SMFT__REQUIRE(strlen(one->name) < SMFT__GGUF_NAME, "tensor %s: its name is too long for GGUF",
                one->name);
  return SMFT_OK;
}

static int64_t padded(int64_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static int64_t tensor_bytes(const smft__save_tensor *one) {
  return smft__row_bytes(smft__written_dtype(one), smft__tensor_count(&one->tensor));
}

static smft_status put_tensor(smft__buffer *out, const smft__save_tensor *one, int64_t *offset) {
  const smft__tensor *tensor = &one->tensor;
  SMFT__TRY(put_text(out, one->name, (int64_t)strlen(one->name)));
  SMFT__TRY(put_number(out, (uint64_t)tensor->n_dims, 4));
  for (int32_t i = tensor->n_dims - 1; i >= 0; i--) /* columns first */
    SMFT__TRY(put_number(out, (uint64_t)tensor->shape[i], 8));
  SMFT__TRY(put_number(out, (uint64_t)ggml_type(smft__written_dtype(one)), 4));
  SMFT__TRY(put_number(out, (uint64_t)*offset, 8));
  *offset += padded(tensor_bytes(one));
  return SMFT_OK;
}

static smft_status put_header(smft__buffer *out, const smft__gguf_keys *keys,
                              const smft__save_tensor *tensors, int64_t n) {
  int64_t offset = 0;
  SMFT__TRY(smft__buffer_put(out, "GGUF", 4));
  SMFT__TRY(put_number(out, VERSION, 4));
  SMFT__TRY(put_number(out, (uint64_t)n, 8));
  SMFT__TRY(put_number(out, (uint64_t)keys->n, 8));
  SMFT__TRY(smft__buffer_put(out, keys->bytes.data, keys->bytes.length));
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY(put_tensor(out, &tensors[i], &offset));
  return pad(out);
}

/* ---- whole --------------------------------------------------------------- */

static smft_status check_all(smft__tensor_writer *out, const smft__save_tensor *tensors,
                             int64_t n) {
  SMFT__TRY(smft__tensor_writer_check(out, tensors, n));
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY(check_tensor(&tensors[i]));
  return SMFT_OK;
}

static smft_status put_data(smft__tensor_writer *out, const smft__save_tensor *one,
                            const int64_t *order) {
  static const char zeros[ALIGNMENT];
  int64_t size = tensor_bytes(one);
  SMFT__TRY(smft__tensor_writer_put(out, one, order));
  return smft__writer_write(out->file, zeros, padded(size) - size);
}

smft_status smft__gguf_write(smft_ctx *ctx, const char *path, const smft__gguf_keys *keys,
                             const smft__save_tensor *tensors, const int64_t *const *orders,
                             int64_t n, smft_progress_fn progress, void *progress_user) {
  smft__writer file = {0};
  smft__tensor_writer out = {.ctx = ctx,
                             .progress = progress,
                             .progress_user = progress_user,
                             .file = &file};
  smft__buffer header = {ctx, NULL, 0, 0};
  smft_status status;
  SMFT__TRY_GOTO(done, check_all(&out, tensors, n));
  SMFT__TRY_GOTO(done, put_header(&header, keys, tensors, n));
  SMFT__TRY_GOTO(done, smft__writer_open(&file, ctx, path));
  SMFT__TRY_GOTO(done, smft__writer_write(&file, header.data, header.length));
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY_GOTO(done, put_data(&out, &tensors[i], orders[i]));
  status = smft__writer_commit(&file);
done:
  smft__writer_abandon(&file);
  smft__tensor_writer_close(&out);
  smft__buffer_free(&header);
  return status;
}
