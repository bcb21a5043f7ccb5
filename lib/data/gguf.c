/* gguf: see gguf.h.  Every length and count is held against the bytes that are there before it is
 * used; what a file of another kind, version or byte order is gets said. */
#include "data/gguf.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/utf8.h"

#define MOST_VALUES 65536 /* models have about forty; each costs more here than in the file */
#define MOST_TENSORS 1048576
#define MOST_KEY 65535
#define MOST_ALIGNMENT 65536
#define SHOWN 80 /* bytes of a key in a message */

/* ---- types --------------------------------------------------------------- */

typedef struct value_type {
  const char *name;
  int32_t bytes; /* 0: not of one size */
} value_type;

static const value_type value_types[SMFT__GGUF_N_TYPES] = {{"u8", 1},    {"i8", 1},   {"u16", 2},
                                                           {"i16", 2},   {"u32", 4},  {"i32", 4},
                                                           {"f32", 4},   {"bool", 1}, {"string", 0},
                                                           {"array", 0}, {"u64", 8},  {"i64", 8},
                                                           {"f64", 8}};

/* By ggml's numbers; those without a name were withdrawn. */
static const smft__gguf_type tensor_types[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},
    [3] = {"Q4_1", 32, 20},      [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},
    [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 40},      [10] = {"Q2_K", 256, 84},
    [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74},  [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},
    [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},  [22] = {"IQ2_S", 256, 82},
    [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", 256, 56},   [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},    [40] = {"NVFP4", 64, 36},
    [41] = {"Q1_0", 128, 18},
};
#define N_TENSOR_TYPES (sizeof tensor_types / sizeof *tensor_types)

/* ---- reading on ---------------------------------------------------------- */

typedef struct cursor {
  smft__gguf *gguf;
  const unsigned char *at, *end;
} cursor;

static smft_status fail_cut(const cursor *in, const char *what) {
  return smft__fail(SMFT_E_FORMAT,
                    "%s: truncated, or its header lies: %s at byte %lld reaches behind the end "
                    "(the file has %lld bytes)",
                    in->gguf->path, what, (long long)(in->at - in->gguf->file),
                    (long long)in->gguf->size);
}

/* n bytes, or NULL where they are not there. */
static const unsigned char *take(cursor *in, uint64_t n) {
  const unsigned char *at = in->at;
  if (n > (uint64_t)(in->end - in->at))
    return NULL;
  in->at += n;
  return at;
}

static uint32_t read_u32(const unsigned char *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static smft_status take_u32(cursor *in, const char *what, uint32_t *out) {
  const unsigned char *at = take(in, 4);
  if (!at)
    return fail_cut(in, what);
  *out = read_u32(at);
  return SMFT_OK;
}

static smft_status take_u64(cursor *in, const char *what, uint64_t *out) {
  const unsigned char *at = take(in, 8);
  if (!at)
    return fail_cut(in, what);
  *out = smft__read_u64le(at);
  return SMFT_OK;
}

static smft_status take_string(cursor *in, const char *what, const unsigned char **text,
                               int64_t *length) {
  uint64_t n = 0;
  SMFT__TRY(take_u64(in, what, &n));
  *text = take(in, n);
  if (!*text)
    return fail_cut(in, what);
  *length = (int64_t)n;
  return SMFT_OK;
}

/* Names are text for messages, tables and C strings. */
static smft_status take_name(cursor *in, const char *what, int64_t most, const char **name,
                             int64_t *length) {
  const unsigned char *text = NULL;
  int64_t at = in->at - in->gguf->file;
  SMFT__TRY(take_string(in, what, &text, length));
  *name = (const char *)text;
  if (*length < 1 || *length > most || memchr(text, 0, (size_t)*length) ||
      !smft__utf8_valid(*name, (size_t)*length, NULL))
    return smft__fail(SMFT_E_FORMAT,
                      "%s: %s at byte %lld has %lld bytes; expected 1 to %lld of UTF-8",
                      in->gguf->path, what, (long long)at, (long long)*length, (long long)most);
  return SMFT_OK;
}

/* ---- keys and values ----------------------------------------------------- */

static int shown(const smft__gguf_value *value) {
  return (int)(value->key_length < SHOWN ? value->key_length : SHOWN);
}

static smft_status fail_value(const smft__gguf *gguf, smft_status code,
                              const smft__gguf_value *value, const char *why) {
  return smft__fail(code, "%s: key \"%.*s\": %s", gguf->path, shown(value), value->key, why);
}

static smft_status take_type(cursor *in, const smft__gguf_value *value, int32_t *type) {
  uint32_t number = 0;
  SMFT__TRY(take_u32(in, "the type of a value", &number));
  if (number >= SMFT__GGUF_N_TYPES)
    return smft__fail(SMFT_E_FORMAT, "%s: key \"%.*s\": its type %u is not known", in->gguf->path,
                      shown(value), value->key, (unsigned)number);
  *type = (int32_t)number;
  return SMFT_OK;
}

static smft_status take_items(cursor *in, const smft__gguf_value *value) {
  const unsigned char *text = NULL;
  int64_t length = 0;
  uint64_t bytes = (uint64_t)value_types[value->item_type].bytes, n = (uint64_t)value->n;
  if (value->item_type !=
      SMFT__GGUF_STRING) /* n fits 8-fold: the caller held it against the file */
    return take(in, n * bytes) ? SMFT_OK : fail_cut(in, "an array");
  for (uint64_t i = 0; i < n; i++)
    SMFT__TRY(take_string(in, "a string of an array", &text, &length));
  return SMFT_OK;
}

static smft_status take_array(cursor *in, smft__gguf_value *value) {
  uint64_t n = 0;
  SMFT__TRY(take_type(in, value, &value->item_type));
  if (value->item_type == SMFT__GGUF_ARRAY)
    return fail_value(in->gguf, SMFT_E_UNSUPPORTED, value, "an array of arrays is not supported");
  SMFT__TRY(take_u64(in, "the length of an array", &n));
  if (n > (uint64_t)(in->end - in->at)) /* an item has a byte at least */
    return fail_cut(in, "an array");
  value->n = (int64_t)n;
  value->data = in->at;
  SMFT__TRY(take_items(in, value));
  value->end = in->at;
  return SMFT_OK;
}

static smft_status take_value(cursor *in, smft__gguf_value *value) {
  SMFT__TRY(take_name(in, "a key", MOST_KEY, &value->key, &value->key_length));
  SMFT__TRY(take_type(in, value, &value->type));
  value->item_type = value->type;
  value->n = 1;
  if (value->type == SMFT__GGUF_ARRAY)
    return take_array(in, value);
  if (value->type == SMFT__GGUF_STRING) {
    SMFT__TRY(take_string(in, "a string", &value->data, &value->n));
  } else {
    value->data = take(in, (uint64_t)value_types[value->type].bytes);
    if (!value->data)
      return fail_cut(in, "a value");
    if (value->type == SMFT__GGUF_BOOL && *value->data > 1)
      return fail_value(in->gguf, SMFT_E_FORMAT, value, "a bool that is neither 0 nor 1");
  }
  value->end = in->at;
  return SMFT_OK;
}

/* As strcmp would. */
static int compare_text(const char *a, int64_t a_length, const char *b, int64_t b_length) {
  int order = memcmp(a, b, (size_t)(a_length < b_length ? a_length : b_length));
  return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_values(const void *a, const void *b) {
  const smft__gguf_value *x = a, *y = b;
  return compare_text(x->key, x->key_length, y->key, y->key_length);
}

static smft_status take_values(cursor *in, uint64_t n) {
  smft__gguf *gguf = in->gguf;
  if (n > MOST_VALUES)
    return smft__fail(SMFT_E_FORMAT, "%s: its header promises %llu keys; at most %d are read",
                      gguf->path, (unsigned long long)n, MOST_VALUES);
  gguf->values = smft__calloc_array(gguf->ctx, (int64_t)n, sizeof *gguf->values);
  if (!gguf->values)
    return SMFT_E_NOMEM;
  for (; gguf->n_values < (int64_t)n; gguf->n_values++)
    SMFT__TRY(take_value(in, &gguf->values[gguf->n_values]));
  qsort(gguf->values, (size_t)n, sizeof *gguf->values, compare_values);
  for (int64_t i = 1; i < gguf->n_values; i++)
    if (compare_values(&gguf->values[i - 1], &gguf->values[i]) == 0)
      return fail_value(gguf, SMFT_E_FORMAT, &gguf->values[i], "it is there twice");
  return SMFT_OK;
}

/* ---- tensors ------------------------------------------------------------- */

static smft_status take_dims(cursor *in, smft__gguf_tensor *tensor, int64_t *elements) {
  uint32_t n = 0;
  SMFT__TRY(take_u32(in, "the dimensions of a tensor", &n));
  if (n < 1 || n > SMFT__GGUF_MAX_DIMS)
    return smft__fail(SMFT_E_FORMAT, "%s: tensor %s: %u dimensions; expected 1 to %d",
                      in->gguf->path, tensor->name, (unsigned)n, SMFT__GGUF_MAX_DIMS);
  tensor->n_dims = (int32_t)n;
  *elements = 1;
  for (uint32_t i = 0; i < n; i++) {
    uint64_t dim = 0;
    SMFT__TRY(take_u64(in, "a dimension of a tensor", &dim));
    if (dim < 1 || dim > INT64_MAX)
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s: dimension %u is %llu", in->gguf->path,
                        tensor->name, (unsigned)i, (unsigned long long)dim);
    tensor->dims[i] = (int64_t)dim;
    if (!smft__mul_i64(*elements, tensor->dims[i], elements))
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s: the product of its dimensions overflows",
                        in->gguf->path, tensor->name);
  }
  return SMFT_OK;
}

static smft_status take_tensor_type(cursor *in, smft__gguf_tensor *tensor, int64_t elements) {
  uint32_t number = 0;
  SMFT__TRY(take_u32(in, "the type of a tensor", &number));
  if (number >= N_TENSOR_TYPES || !tensor_types[number].name)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: tensor %s: its type %u is not known", in->gguf->path,
                      tensor->name, (unsigned)number);
  tensor->type = &tensor_types[number];
  if (tensor->dims[0] % tensor->type->block != 0)
    return smft__fail(SMFT_E_FORMAT,
                      "%s: tensor %s: rows of %lld elements are no whole blocks of %s (%d)",
                      in->gguf->path, tensor->name, (long long)tensor->dims[0], tensor->type->name,
                      tensor->type->block);
  if (!smft__mul_i64(elements / tensor->type->block, tensor->type->bytes, &tensor->bytes))
    return smft__fail(SMFT_E_FORMAT, "%s: tensor %s: its size overflows", in->gguf->path,
                      tensor->name);
  return SMFT_OK;
}

/* *offset: from the data part, whose place is known after the last tensor. */
static smft_status take_tensor(cursor *in, smft__gguf_tensor *tensor, uint64_t *offset) {
  const char *name = NULL;
  int64_t length = 0, elements = 0;
  SMFT__TRY(take_name(in, "the name of a tensor", SMFT__GGUF_NAME - 1, &name, &length));
  memcpy(tensor->name, name, (size_t)length);
  SMFT__TRY(take_dims(in, tensor, &elements));
  SMFT__TRY(take_tensor_type(in, tensor, elements));
  return take_u64(in, "the offset of a tensor", offset);
}

static smft_status place(const smft__gguf *gguf, int64_t data, smft__gguf_tensor *tensor,
                         uint64_t offset) {
  int64_t begin = 0, end = 0;
  if (offset % (uint64_t)gguf->alignment != 0)
    return smft__fail(SMFT_E_FORMAT,
                      "%s: tensor %s: its offset %llu is no multiple of the alignment %lld",
                      gguf->path, tensor->name, (unsigned long long)offset,
                      (long long)gguf->alignment);
  if (offset > INT64_MAX || !smft__add_i64(data, (int64_t)offset, &begin) ||
      !smft__add_i64(begin, tensor->bytes, &end) || end > gguf->size)
    return smft__fail(SMFT_E_FORMAT,
                      "%s: truncated, or its header lies: tensor %s has %lld bytes at %llu of the "
                      "data, which has %lld",
                      gguf->path, tensor->name, (long long)tensor->bytes,
                      (unsigned long long)offset,
                      (long long)(gguf->size > data ? gguf->size - data : 0));
  tensor->data = gguf->file + begin;
  return SMFT_OK;
}

static int compare_places(const void *a, const void *b) {
  const smft__gguf_tensor *x = a, *y = b;
  return (x->data > y->data) - (x->data < y->data);
}

static int compare_tensors(const void *a, const void *b) {
  return strcmp(((const smft__gguf_tensor *)a)->name, ((const smft__gguf_tensor *)b)->name);
}

/* In order of place none may reach into the next; in order of name none may be there twice. */
static smft_status check_tensors(smft__gguf *gguf) {
  smft__gguf_tensor *all = gguf->tensors;
  qsort(all, (size_t)gguf->n_tensors, sizeof *all, compare_places);
  for (int64_t i = 1; i < gguf->n_tensors; i++)
    if (all[i].data - all[i - 1].data < all[i - 1].bytes)
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s overlaps tensor %s", gguf->path, all[i].name,
                        all[i - 1].name);
  qsort(all, (size_t)gguf->n_tensors, sizeof *all, compare_tensors);
  for (int64_t i = 1; i < gguf->n_tensors; i++)
    if (strcmp(all[i - 1].name, all[i].name) == 0)
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s is there twice", gguf->path, all[i].name);
  return SMFT_OK;
}

static smft_status place_tensors(cursor *in, const uint64_t *offsets) {
  smft__gguf *gguf = in->gguf;
  int64_t header = in->at - gguf->file, rest = header % gguf->alignment;
  int64_t data = rest ? header - rest + gguf->alignment : header;
  for (int64_t i = 0; i < gguf->n_tensors; i++)
    SMFT__TRY(place(gguf, data, &gguf->tensors[i], offsets[i]));
  return gguf->n_tensors > 0 ? check_tensors(gguf) : SMFT_OK;
}

static smft_status take_tensors(cursor *in, uint64_t n) {
  smft__gguf *gguf = in->gguf;
  if (n > MOST_TENSORS || n > (uint64_t)(in->end - in->at) / 32) /* bytes of the shortest */
    return smft__fail(SMFT_E_FORMAT,
                      "%s: truncated, or its header lies: it promises %llu tensors, %lld bytes are "
                      "left",
                      gguf->path, (unsigned long long)n, (long long)(in->end - in->at));
  gguf->tensors = smft__calloc_array(gguf->ctx, (int64_t)n, sizeof *gguf->tensors);
  uint64_t *offsets = smft__alloc_array(gguf->ctx, (int64_t)n, sizeof *offsets);
  smft_status status = gguf->tensors && offsets ? SMFT_OK : SMFT_E_NOMEM;
  for (; status == SMFT_OK && gguf->n_tensors < (int64_t)n; gguf->n_tensors++)
    status = take_tensor(in, &gguf->tensors[gguf->n_tensors], &offsets[gguf->n_tensors]);
  if (status == SMFT_OK)
    status = place_tensors(in, offsets);
  smft__free(gguf->ctx, offsets);
  return status;
}

/* ---- the whole header ---------------------------------------------------- */

int smft__gguf_is(const void *bytes, int64_t size) {
  return size >= 4 && memcmp(bytes, "GGUF", 4) == 0;
}

static smft_status take_version(cursor *in) {
  uint32_t version = 0;
  if (!take(in, 4) || !smft__gguf_is(in->gguf->file, in->gguf->size))
    return smft__fail(SMFT_E_FORMAT, "%s: not a GGUF file", in->gguf->path);
  SMFT__TRY(take_u32(in, "the version", &version));
  if ((version & 0xFFFFu) == 0 && version != 0)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: a big-endian GGUF file is not supported",
                      in->gguf->path);
  if (version != 2 && version != 3)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: GGUF version %u is not supported; expected 2 or 3",
                      in->gguf->path, (unsigned)version);
  in->gguf->version = (int32_t)version;
  return SMFT_OK;
}

static smft_status read_alignment(smft__gguf *gguf) {
  SMFT__TRY(smft__gguf_i64(gguf, "general.alignment", 32, &gguf->alignment));
  int64_t a = gguf->alignment;
  if (a < 1 || a > MOST_ALIGNMENT || (a & (a - 1)) != 0)
    return smft__fail(SMFT_E_FORMAT,
                      "%s: key \"general.alignment\": expected a power of two up to %d, got %lld",
                      gguf->path, MOST_ALIGNMENT, (long long)a);
  return SMFT_OK;
}

static smft_status read_header(cursor *in) {
  uint64_t n_tensors = 0, n_values = 0;
  SMFT__TRY(take_version(in));
  SMFT__TRY(take_u64(in, "the number of tensors", &n_tensors));
  SMFT__TRY(take_u64(in, "the number of keys", &n_values));
  SMFT__TRY(take_values(in, n_values));
  SMFT__TRY(read_alignment(in->gguf));
  return take_tensors(in, n_tensors);
}

smft_status smft__gguf_read(smft__gguf *out, smft_ctx *ctx, const void *bytes, int64_t size,
                            const char *path) {
  memset(out, 0, sizeof *out);
  out->ctx = ctx;
  out->path = path;
  out->file = bytes;
  out->size = size;
  cursor in = {out, out->file, out->file + size};
  smft_status status = read_header(&in);
  if (status != SMFT_OK)
    smft__gguf_free(out);
  return status;
}

void smft__gguf_free(smft__gguf *gguf) {
  if (gguf->ctx) {
    smft__free(gguf->ctx, gguf->values);
    smft__free(gguf->ctx, gguf->tensors);
  }
  memset(gguf, 0, sizeof *gguf);
}

/* ---- looking up ---------------------------------------------------------- */

const smft__gguf_value *smft__gguf_find(const smft__gguf *gguf, const char *key) {
  smft__gguf_value wanted = {.key = key, .key_length = (int64_t)strlen(key)};
  return gguf->n_values
             ? bsearch(&wanted, gguf->values, (size_t)gguf->n_values, sizeof wanted, compare_values)
             : NULL;
}

static int compare_to_tensor(const void *name, const void *tensor) {
  return strcmp(name, ((const smft__gguf_tensor *)tensor)->name);
}

const smft__gguf_tensor *smft__gguf_find_tensor(const smft__gguf *gguf, const char *name) {
  return gguf->n_tensors ? bsearch(name, gguf->tensors, (size_t)gguf->n_tensors,
                                   sizeof *gguf->tensors, compare_to_tensor)
                         : NULL;
}

static uint64_t raw(const smft__gguf_value *value, int64_t i) {
  int32_t bytes = value_types[value->item_type].bytes;
  uint64_t number = 0;
  for (int32_t b = bytes - 1; b >= 0; b--)
    number = number << 8 | value->data[i * bytes + b];
  return number;
}

int64_t smft__gguf_item_i64(const smft__gguf_value *array, int64_t i) {
  switch (array->item_type) {
  case SMFT__GGUF_I8:
    return (int8_t)raw(array, i);
  case SMFT__GGUF_I16:
    return (int16_t)raw(array, i);
  case SMFT__GGUF_I32:
    return (int32_t)raw(array, i);
  case SMFT__GGUF_U8:
  case SMFT__GGUF_U16:
  case SMFT__GGUF_U32:
  case SMFT__GGUF_BOOL:
  case SMFT__GGUF_I64:
  case SMFT__GGUF_U64:
    return (int64_t)raw(array, i);
  default:
    return 0;
  }
}

static double item_float(const smft__gguf_value *array, int64_t i) {
  uint64_t bits = raw(array, i);
  uint32_t low = (uint32_t)bits;
  double number;
  float single;
  memcpy(&number, &bits, sizeof number);
  memcpy(&single, &low, sizeof single);
  return array->item_type == SMFT__GGUF_F64 ? number : (double)single;
}

double smft__gguf_item_double(const smft__gguf_value *array, int64_t i) {
  if (array->item_type == SMFT__GGUF_F32 || array->item_type == SMFT__GGUF_F64)
    return item_float(array, i);
  return array->item_type == SMFT__GGUF_U64 ? (double)raw(array, i)
                                            : (double)smft__gguf_item_i64(array, i);
}

int smft__gguf_next_string(const smft__gguf_value *array, const unsigned char **at,
                           const char **text, int64_t *length) {
  if (array->type != SMFT__GGUF_ARRAY || array->item_type != SMFT__GGUF_STRING || *at >= array->end)
    return 0;
  *length = (int64_t)smft__read_u64le(*at); /* checked when the header was read */
  *text = (const char *)*at + 8;
  *at += 8 + *length;
  return 1;
}

/* ---- single values ------------------------------------------------------- */

static smft_status fail_type(const smft__gguf *gguf, const smft__gguf_value *value,
                             const char *expected) {
  return smft__fail(SMFT_E_FORMAT, "%s: key \"%.*s\": expected %s, got %s", gguf->path,
                    shown(value), value->key, expected, value_types[value->type].name);
}

smft_status smft__gguf_i64(const smft__gguf *gguf, const char *key, int64_t fallback,
                           int64_t *out) {
  const smft__gguf_value *value = smft__gguf_find(gguf, key);
  *out = fallback;
  if (!value)
    return SMFT_OK;
  if (value->type > SMFT__GGUF_I32 && value->type != SMFT__GGUF_U64 &&
      value->type != SMFT__GGUF_I64)
    return fail_type(gguf, value, "a whole number");
  *out = smft__gguf_item_i64(value, 0);
  return value->type == SMFT__GGUF_U64 && *out < 0
             ? fail_value(gguf, SMFT_E_FORMAT, value, "is more than 2^63")
             : SMFT_OK;
}

smft_status smft__gguf_double(const smft__gguf *gguf, const char *key, double fallback,
                              double *out) {
  const smft__gguf_value *value = smft__gguf_find(gguf, key);
  *out = fallback;
  if (!value)
    return SMFT_OK;
  if (value->type == SMFT__GGUF_BOOL || value->type == SMFT__GGUF_STRING ||
      value->type == SMFT__GGUF_ARRAY)
    return fail_type(gguf, value, "a number");
  *out = smft__gguf_item_double(value, 0);
  return SMFT_OK;
}

smft_status smft__gguf_bool(const smft__gguf *gguf, const char *key, int fallback, int *out) {
  const smft__gguf_value *value = smft__gguf_find(gguf, key);
  *out = fallback;
  if (!value)
    return SMFT_OK;
  if (value->type != SMFT__GGUF_BOOL)
    return fail_type(gguf, value, "a bool");
  *out = *value->data != 0;
  return SMFT_OK;
}

smft_status smft__gguf_string(const smft__gguf *gguf, const char *key, const char **out,
                              int64_t *length) {
  const smft__gguf_value *value = smft__gguf_find(gguf, key);
  *out = NULL;
  *length = 0;
  if (!value)
    return SMFT_OK;
  if (value->type != SMFT__GGUF_STRING)
    return fail_type(gguf, value, "a string");
  *out = (const char *)value->data;
  *length = value->n;
  return SMFT_OK;
}
