/* bytes: little-endian reads, UTF-8, locale-free numbers, a growing byte buffer. */
#ifndef SMFT__BYTES_H
#define SMFT__BYTES_H
#include "base/ctx.h"
uint64_t smft__read_u64le(const void *bytes);
void smft__write_u64le(void *bytes, uint64_t value);
/* Length of the UTF-8 character at text (1-4) and its code point, or 0 if it is not valid
 * (overlong, surrogate, cut, > U+10FFFF). */
int32_t smft__utf8_next(const char *text, size_t length, uint32_t *code);
int smft__utf8_valid(const char *text, size_t length, size_t *bad_at);
int32_t smft__utf8_put(uint32_t code, char out[4]);
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
