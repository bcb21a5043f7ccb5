/* bytes: little-endian numbers, UTF-8, numbers as text without the locale, and a growing buffer.
 * Does not own: files (file.c), Unicode properties (the tokenizer uses utf8proc). */
#include "base/bytes.h"
#include "base/alloc.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint64_t smft__read_u64le(const void *bytes) {
  const unsigned char *p = bytes;
  uint64_t value = 0;
  for (int i = 7; i >= 0; i--)
    value = value << 8 | p[i];
  return value;
}

void smft__write_u64le(void *bytes, uint64_t value) {
  unsigned char *p = bytes;
  for (int i = 0; i < 8; i++)
    p[i] = (unsigned char)(value >> (8 * i));
}

/* ---- UTF-8 --------------------------------------------------------------- */

/* Length that a first byte announces and its payload bits; 0 for a byte that starts nothing. */
static int32_t first_byte(unsigned char byte, uint32_t *bits) {
  if (byte < 0x80) {
    *bits = byte;
    return 1;
  }
  if (byte >= 0xC2 && byte <= 0xDF) {
    *bits = byte & 0x1Fu;
    return 2;
  }
  if (byte >= 0xE0 && byte <= 0xEF) {
    *bits = byte & 0x0Fu;
    return 3;
  }
  if (byte >= 0xF0 && byte <= 0xF4) {
    *bits = byte & 0x07u;
    return 4;
  }
  return 0;
}

int32_t smft__utf8_next(const char *text, size_t length, uint32_t *code) {
  static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
  const unsigned char *p = (const unsigned char *)text;
  uint32_t value = 0;
  int32_t n = length ? first_byte(p[0], &value) : 0;
  if (n == 0 || (size_t)n > length)
    return 0;
  for (int32_t i = 1; i < n; i++) {
    if ((p[i] & 0xC0u) != 0x80u)
      return 0;
    value = value << 6 | (p[i] & 0x3Fu);
  }
  if (value < least[n] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
    return 0;
  if (code)
    *code = value;
  return n;
}

int smft__utf8_valid(const char *text, size_t length, size_t *bad_at) {
  for (size_t at = 0; at < length;) {
    int32_t n = smft__utf8_next(text + at, length - at, NULL);
    if (n == 0) {
      if (bad_at)
        *bad_at = at;
      return 0;
    }
    at += (size_t)n;
  }
  return 1;
}

int32_t smft__utf8_put(uint32_t code, char out[4]) {
  int32_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  static const uint32_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
    return 0;
  for (int32_t i = n - 1; i > 0; i--, code >>= 6)
    out[i] = (char)(0x80u | (code & 0x3Fu));
  out[0] = (char)(lead[n] | code);
  return n;
}

/* ---- numbers ------------------------------------------------------------- */

/* The locale's decimal separator, of one byte or several, becomes a point. */
static void make_point(char *text) {
  char *to = text;
  for (const char *from = text; *from;) {
    size_t plain = strspn(from, "0123456789+-eE");
    memmove(to, from, plain);
    to += plain;
    from += plain;
    if (*from) {
      *to++ = '.';
      from += strcspn(from, "0123456789+-eE");
    }
  }
  *to = '\0';
}

/* The fewest digits that read back as the same number.  Written and read back in whatever locale it
 * is, the comparison holds. */
const char *smft__format_double(double value, char buffer[40]) {
  if (isnan(value) || isinf(value)) {
    strcpy(buffer, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    return buffer;
  }
  for (int digits = 6; digits <= 17; digits += digits == 6 ? 9 : 1) {
    double back = 0;
    snprintf(buffer, 40, "%.*g", digits, value);
    if (digits == 17 ||
        (sscanf(buffer, "%lg", &back) == 1 && memcmp(&back, &value, sizeof value) == 0))
      break;
  }
  make_point(buffer);
  return buffer;
}

/* ---- buffer -------------------------------------------------------------- */

smft_status smft__buffer_put(smft__buffer *buffer, const void *data, int64_t size) {
  int64_t needed;
  if (!smft__add_i64(buffer->length, size, &needed) || !smft__add_i64(needed, 1, &needed))
    return smft__fail(SMFT_E_NOMEM, "out of memory: a buffer of more than 2^63 bytes");
  SMFT__TRY(smft__grow(buffer->ctx, &buffer->data, &buffer->capacity, needed, 1));
  if (size > 0)
    memcpy(buffer->data + buffer->length, data, (size_t)size);
  buffer->length += size;
  buffer->data[buffer->length] = '\0';
  return SMFT_OK;
}

smft_status smft__buffer_printf(smft__buffer *buffer, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  smft_status status = length < 0
                           ? smft__fail(SMFT_E_NOMEM, "out of memory: text could not be formatted")
                           : smft__grow(buffer->ctx, &buffer->data, &buffer->capacity,
                                        buffer->length + length + 1, 1);
  if (status == SMFT_OK) {
    vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
    buffer->length += length;
  }
  va_end(again);
  return status;
}

void smft__buffer_free(smft__buffer *buffer) {
  if (buffer->ctx)
    smft__free(buffer->ctx, buffer->data);
  buffer->data = NULL;
  buffer->length = buffer->capacity = 0;
}
