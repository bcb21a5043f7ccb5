/* tensor_write: see tensor_write.h. */
#include "data/tensor_write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "data/quant.h"

#define PIECE_ELEMENTS 65536  /* converted at a time; whole blocks of every type */
#define PIECE_BYTES (8 << 20) /* written at a time where nothing is converted */

/* ---- checks -------------------------------------------------------------- */

static int can_become(int32_t dtype) {
  return dtype == SMFT__F32 || dtype == SMFT__F16 || dtype == SMFT__BF16 || dtype == SMFT__Q8_0;
}

static smft_status check_types(const smft__save_tensor *one) {
  const smft__tensor *tensor = &one->tensor;
  int32_t dtype = smft__written_dtype(one);
  SMFT__REQUIRE(smft__dtype_traits(tensor->dtype)->bytes && smft__dtype_traits(dtype)->bytes,
                "tensor %s: element type %d cannot be saved as %d", one->name, tensor->dtype,
                dtype);
  SMFT__REQUIRE(dtype == tensor->dtype ||
                    (can_become(dtype) && smft__dtype_traits(tensor->dtype)->to_f32),
                "tensor %s: %s cannot be converted to %s", one->name,
                smft__dtype_name(tensor->dtype), smft__dtype_name(dtype));
  return SMFT_OK;
}

/* Rows of whole blocks; shapes that do not overflow. */
static smft_status check_shape(const smft__save_tensor *one, int64_t *bytes) {
  const smft__tensor *tensor = &one->tensor;
  const smft__dtype *type = smft__dtype_traits(smft__written_dtype(one));
  int32_t n = tensor->n_dims;
  SMFT__REQUIRE(n >= 0 && n <= SMFT__MAX_DIMS, "tensor %s: %d dimensions", one->name, n);
  int64_t row = n > 0 ? tensor->shape[n - 1] : 1;
  SMFT__REQUIRE(row % type->block == 0,
                "tensor %s: rows of %lld numbers; %s needs a multiple of %d", one->name,
                (long long)row, type->name, type->block);
  *bytes = smft__mul_i64(row / type->block, type->bytes, bytes) ? *bytes : -1;
  for (int32_t i = 0; i + 1 < n && *bytes >= 0; i++)
    if (!smft__mul_i64(*bytes, tensor->shape[i], bytes))
      *bytes = -1;
  SMFT__REQUIRE(*bytes >= 0, "tensor %s: its shape is negative or overflows", one->name);
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

smft_status smft__tensor_writer_check(smft__tensor_writer *out, const smft__save_tensor *tensors,
                                      int64_t n) {
  SMFT__REQUIRE(n >= 0 && (tensors || n == 0), "there are no tensors to be saved");
  for (int64_t i = 0; i < n; i++) {
    int64_t bytes = 0;
    SMFT__REQUIRE(tensors[i].name, "a tensor to be saved has no name");
    SMFT__TRY(check_types(&tensors[i]));
    SMFT__TRY(check_shape(&tensors[i], &bytes));
    SMFT__REQUIRE(smft__add_i64(out->total, bytes, &out->total),
                  "the tensors to be saved are too large together");
  }
  return check_names(out->ctx, tensors, n);
}

/* ---- data ---------------------------------------------------------------- */

static smft_status put_bytes(smft__tensor_writer *out, const void *data, int64_t size) {
  SMFT__TRY(smft__writer_write(out->file, data, size));
  out->done += size;
  if (out->progress && out->progress(out->progress_user, "saving", out->done, out->total) != 0)
    return smft__fail(SMFT_E_CANCELLED,
                      "%s: saving was cancelled after %lld of %lld bytes; nothing was replaced",
                      out->file->path, (long long)out->done, (long long)out->total);
  return SMFT_OK;
}

static smft_status write_as_it_is(smft__tensor_writer *out, const smft__tensor *tensor) {
  int64_t size = smft__tensor_bytes(tensor);
  for (int64_t at = 0; at < size; at += PIECE_BYTES)
    SMFT__TRY(put_bytes(out, (const char *)tensor->data + at,
                        size - at < PIECE_BYTES ? size - at : PIECE_BYTES));
  return SMFT_OK;
}

/* values (n) = what is written in the places from at on, as f32. */
static void read_piece(const smft__tensor *tensor, const int64_t *order, int64_t at, int64_t n,
                       float *values) {
  int64_t columns = tensor->n_dims == 2 ? tensor->shape[1] : 1;
  for (int64_t done = 0; order && done < n;) {
    int64_t row = (at + done) / columns, column = (at + done) % columns;
    int64_t run = columns - column < n - done ? columns - column : n - done;
    smft__tensor_to_f32(tensor, order[row] * columns + column, run, values + done);
    done += run;
  }
  if (!order)
    smft__tensor_to_f32(tensor, at, n, values);
}

/* Infinity or NaN: all bits of the exponent are set. */
static int is_finite(uint16_t half, int32_t dtype) {
  uint16_t exponent = dtype == SMFT__BF16 ? 0x7F80 : 0x7C00;
  return (half & exponent) != exponent;
}

/* 0: one of the numbers has no place in the type: rounding to it would make it infinite. */
static int convert(const float *values, int64_t n, int32_t dtype, uint16_t *raw) {
  int fits = 1;
  if (dtype == SMFT__Q8_0)
    return smft__q8_0_from_f32(values, n, raw);
  for (int64_t i = 0; i < n && dtype != SMFT__F32; i++) {
    raw[i] = dtype == SMFT__BF16 ? smft__f32_to_bf16(values[i]) : smft__f32_to_f16(values[i]);
    fits &= is_finite(raw[i], dtype);
  }
  return fits;
}

/* Of a block: the largest. */
static int64_t first_unfit(const float *values, int64_t n, int32_t dtype, uint16_t *raw) {
  int64_t step = smft__dtype_traits(dtype)->block, at = 0;
  while (at + step < n && convert(values + at, step, dtype, raw))
    at += step;
  int64_t worst = at;
  for (int64_t i = at; i < at + step; i++)
    if (!(fabsf(values[i]) <= fabsf(values[worst]))) /* or NaN */
      worst = i;
  return worst;
}

static smft_status fail_unfit(const smft__tensor_writer *out, const smft__save_tensor *one,
                              int64_t at, int64_t n) {
  int32_t dtype = smft__written_dtype(one);
  int64_t i = first_unfit(out->piece, n, dtype, out->raw);
  char text[40];
  return smft__fail(SMFT_E_NONFINITE, "tensor %s: number %lld, %s, has no place in %s", one->name,
                    (long long)(at + i), smft__format_double((double)out->piece[i], text),
                    smft__dtype_name(dtype));
}

static smft_status write_converted(smft__tensor_writer *out, const smft__save_tensor *one,
                                   const int64_t *order) {
  int64_t count = smft__tensor_count(&one->tensor);
  int32_t dtype = smft__written_dtype(one);
  if (!out->piece)
    out->piece = smft__alloc_array(out->ctx, PIECE_ELEMENTS, sizeof(float) + sizeof(uint16_t));
  if (!out->piece)
    return SMFT_E_NOMEM;
  out->raw = (uint16_t *)(void *)(out->piece + PIECE_ELEMENTS);
  for (int64_t at = 0; at < count; at += PIECE_ELEMENTS) {
    int64_t n = count - at < PIECE_ELEMENTS ? count - at : PIECE_ELEMENTS;
    read_piece(&one->tensor, order, at, n, out->piece);
    if (!convert(out->piece, n, dtype, out->raw))
      return fail_unfit(out, one, at, n);
    const void *piece = dtype == SMFT__F32 ? (const void *)out->piece : (const void *)out->raw;
    SMFT__TRY(put_bytes(out, piece, smft__row_bytes(dtype, n)));
  }
  return SMFT_OK;
}

smft_status smft__tensor_writer_put(smft__tensor_writer *out, const smft__save_tensor *one,
                                    const int64_t *order) {
  int as_it_is = smft__written_dtype(one) == one->tensor.dtype && !order;
  return as_it_is ? write_as_it_is(out, &one->tensor) : write_converted(out, one, order);
}

void smft__tensor_writer_close(smft__tensor_writer *out) {
  smft__free(out->ctx, out->piece);
  out->piece = NULL;
}
