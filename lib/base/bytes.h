/* bytes: little-endian reads, locale-free numbers, a growing byte buffer. */
#ifndef SMFT__BYTES_H
#define SMFT__BYTES_H
#include "base/ctx.h"
#include "base/utf8.h"
uint64_t smft__read_u64le(const void *bytes);
void smft__write_u64le(void *bytes, uint64_t value);
/* "%.*g" without the locale; buffer of at least 40 bytes. */
const char *smft__format_double(double value, char buffer[40]);

typedef struct smft__buffer {
  smft_ctx *ctx;
  char *data; /* NUL-terminated when length > 0 or after any put */
  int64_t length, capacity;
} smft__buffer;
smft_status smft__buffer_put(smft__buffer *buffer, const void *data, int64_t size);
smft_status smft__buffer_printf(smft__buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void smft__buffer_free(smft__buffer *buffer);
#endif
