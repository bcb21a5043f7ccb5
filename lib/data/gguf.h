/* gguf: the header of a GGUF file, checked to the byte before anything is used: its keys and
 * tensors as they stand there.  Does not own: what they mean (gguf_config.h), what holds the file.
 */
#ifndef SMFT__GGUF_H
#define SMFT__GGUF_H
#include "base/ctx.h"

#define SMFT__GGUF_MAX_DIMS 4
#define SMFT__GGUF_NAME 65 /* bytes of a tensor's name, the end included */

enum { /* types of values, by the file's own numbers */
       SMFT__GGUF_U8 = 0,
       SMFT__GGUF_I8 = 1,
       SMFT__GGUF_U16 = 2,
       SMFT__GGUF_I16 = 3,
       SMFT__GGUF_U32 = 4,
       SMFT__GGUF_I32 = 5,
       SMFT__GGUF_F32 = 6,
       SMFT__GGUF_BOOL = 7,
       SMFT__GGUF_STRING = 8,
       SMFT__GGUF_ARRAY = 9,
       SMFT__GGUF_U64 = 10,
       SMFT__GGUF_I64 = 11,
       SMFT__GGUF_F64 = 12,
       SMFT__GGUF_N_TYPES
};

typedef struct smft__gguf_value { /* one key of the header; nothing is copied */
  const char *key;                /* UTF-8, not NUL-terminated, without a NUL inside */
  int64_t key_length;
  int32_t type, item_type;   /* SMFT__GGUF_*; item_type: of an array's items, else the same */
  int64_t n;                 /* items of an array; bytes of a string; else 1 */
  const unsigned char *data; /* first item, first byte or the number; inside the file */
  const unsigned char *end;
} smft__gguf_value;

typedef struct smft__gguf_type { /* of a tensor's elements */
  const char *name;              /* ggml's: "F32", "Q4_K"; ours have the same */
  int32_t block, bytes;          /* elements of a block, and its bytes */
} smft__gguf_type;

typedef struct smft__gguf_tensor {
  char name[SMFT__GGUF_NAME];
  const smft__gguf_type *type;
  int32_t n_dims;                    /* from 1 */
  int64_t dims[SMFT__GGUF_MAX_DIMS]; /* in the file's order: of a matrix (columns, rows) */
  const unsigned char *data;         /* inside the file, aligned there */
  int64_t bytes;
} smft__gguf_tensor;

typedef struct smft__gguf { /* the bytes of the file must outlive it */
  smft_ctx *ctx;
  const char *path; /* borrowed: for messages */
  const unsigned char *file;
  int64_t size;
  int32_t version;
  int64_t alignment;
  int64_t n_values;
  smft__gguf_value *values; /* (n_values) sorted by key */
  int64_t n_tensors;
  smft__gguf_tensor *tensors; /* (n_tensors) sorted by name */
} smft__gguf;

/* 1: the bytes begin as a GGUF file does */
int smft__gguf_is(const void *bytes, int64_t size);
/* The header alone: no byte of a tensor is read.  SMFT_E_FORMAT where it lies, SMFT_E_UNSUPPORTED
 * for other versions and byte orders, with the path. */
smft_status smft__gguf_read(smft__gguf *out, smft_ctx *ctx, const void *bytes, int64_t size,
                            const char *path);
void smft__gguf_free(smft__gguf *gguf); /* a zeroed struct is fine */

const smft__gguf_value *smft__gguf_find(const smft__gguf *gguf, const char *key); /* NULL: none */
/* or NULL */
const smft__gguf_tensor *smft__gguf_find_tensor(const smft__gguf *gguf, const char *name);
/* A missing key gives `fallback`; a wrong type is E_FORMAT.  i64 takes any integer type, double any
 * number. */
smft_status smft__gguf_i64(const smft__gguf *gguf, const char *key, int64_t fallback, int64_t *out);
smft_status smft__gguf_double(const smft__gguf *gguf, const char *key, double fallback,
                              double *out);
smft_status smft__gguf_bool(const smft__gguf *gguf, const char *key, int fallback, int *out);
/* *out NULL: there is none */
smft_status smft__gguf_string(const smft__gguf *gguf, const char *key, const char **out,
                              int64_t *length);

/* Item i of n of an array, or (i 0) the number itself; 0 where the items are no integers (a u64
 * over INT64_MAX is that, as int64) or no numbers. */
int64_t smft__gguf_item_i64(const smft__gguf_value *array, int64_t i);
double smft__gguf_item_double(const smft__gguf_value *array, int64_t i);
/* Steps through an array of strings: *at begins as array->data; 0 at its end, and at once where the
 * items are no strings. */
int smft__gguf_next_string(const smft__gguf_value *array, const unsigned char **at,
                           const char **text, int64_t *length);
#endif
