/* bytes: little-endian numbers, numbers as text without the locale, and a growing buffer.
 * Does not own: files (file.c), UTF-8 (utf8.c). */
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
