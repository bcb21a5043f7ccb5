/* status: names and meanings of the status codes, the thread-local error message, and the version
 * rule of options and report structs. Does not own: what the messages say (each caller does),
 * logging (ctx.c). */
#include "base/status.h"
#include "base/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_SIZE 1024
/* no struct of ours comes near; what is larger is an uninitialised field */
#define STRUCT_SIZE_MOST 4096

static _Thread_local char error_message[MESSAGE_SIZE];

#define STATUS_NAME(name, number, meaning)                                                         \
  case number:                                                                                     \
    return #name;
#define STATUS_MEANING(name, number, meaning)                                                      \
  case number:                                                                                     \
    return meaning;

SMFT_API const char *smft_status_name(smft_status status) {
  switch (status) {
    SMFT_STATUS_LIST(STATUS_NAME)
  default:
    return "E_UNKNOWN";
  }
}

SMFT_API const char *smft_status_meaning(smft_status status) {
  switch (status) {
    SMFT_STATUS_LIST(STATUS_MEANING)
  default:
    return "not a status of this version of the library";
  }
}

SMFT_API const char *smft_error_message(void) { return error_message; }

/* Makes text valid UTF-8 in place: a character that was cut by the buffer's end goes, any other bad
 * byte becomes '?' (paths are bytes). */
static void make_utf8(char *text, size_t length, int was_cut) {
  size_t at = 0;
  while (at < length) {
    int32_t step = smft__utf8_next(text + at, length - at, NULL);
    if (step == 0 && was_cut && length - at < 4 && ((unsigned char)text[at] & 0xC0u) == 0xC0u) {
      text[at] = '\0';
      return;
    }
    if (step == 0)
      text[at] = '?';
    at += step ? (size_t)step : 1;
  }
}

/* Formats into a buffer of its own first: an argument may be the present message. */
static void format_message(const char *format, va_list arguments, char fresh[MESSAGE_SIZE]) {
  int length = vsnprintf(fresh, MESSAGE_SIZE, format, arguments);
  if (length < 0) { /* vsnprintf itself ran out of memory or met a bad character */
    fresh[0] = '\0';
    return;
  }
  make_utf8(fresh, strlen(fresh), length >= MESSAGE_SIZE);
}

smft_status smft__fail(smft_status code, const char *format, ...) {
  char fresh[MESSAGE_SIZE];
  va_list arguments;
  va_start(arguments, format);
  format_message(format, arguments, fresh);
  va_end(arguments);
  memcpy(error_message, fresh, sizeof error_message);
  return code;
}

smft_status smft__fail_within(smft_status code, const char *format, ...) {
  char fresh[MESSAGE_SIZE];
  va_list arguments;
  va_start(arguments, format);
  format_message(format, arguments, fresh);
  va_end(arguments);
  size_t used = strlen(fresh), rest = strlen(error_message);
  int was_cut = 0;
  if (used + 2 < MESSAGE_SIZE) {
    memcpy(fresh + used, ": ", 3);
    used += 2;
    was_cut = used + rest >= MESSAGE_SIZE;
    if (was_cut)
      rest = MESSAGE_SIZE - 1 - used;
    memcpy(fresh + used, error_message, rest);
    fresh[used + rest] = '\0';
  }
  make_utf8(fresh, strlen(fresh), was_cut);
  memcpy(error_message, fresh, sizeof error_message);
  return code;
}

/* The caller's struct_size, which is every struct's first field. */
static smft_status read_size(const void *given, size_t smallest, const char *name, size_t *size) {
  uint32_t stated;
  memcpy(&stated, given, sizeof stated);
  if (stated < smallest || stated > STRUCT_SIZE_MOST)
    return smft__fail(
        SMFT_E_STRUCT_SIZE,
        "%s: struct_size is %lu; expected at least %lu (use the struct's _INIT macro)", name,
        (unsigned long)stated, (unsigned long)smallest);
  *size = stated;
  return SMFT_OK;
}

smft_status smft__options_read(void *own, const void *given, size_t known, size_t smallest,
                               const char *name) {
  uint32_t own_size = (uint32_t)known;
  if (given) {
    size_t size = 0;
    SMFT__TRY(read_size(given, smallest, name, &size));
    for (size_t i = known; i < size; i++)
      if (((const unsigned char *)given)[i] != 0)
        return smft__fail(SMFT_E_UNSUPPORTED,
                          "%s: byte %lu is set, but this version (" SMFT_VERSION_STRING
                          ") knows only %lu bytes",
                          name, (unsigned long)i, (unsigned long)known);
    memcpy(own, given, size < known ? size : known);
  }
  memcpy(own, &own_size, sizeof own_size);
  return SMFT_OK;
}

smft_status smft__reserved_check(int64_t reserved, const char *name) {
  SMFT__REQUIRE(reserved == 0, "%s.reserved must be 0, got %lld", name, (long long)reserved);
  return SMFT_OK;
}

smft_status smft__report_check(const void *given, size_t smallest, const char *name) {
  size_t size = 0;
  return given ? read_size(given, smallest, name, &size) : SMFT_OK;
}

smft_status smft__report_write(void *given, const void *own, size_t known, size_t smallest,
                               const char *name) {
  size_t size = 0;
  if (!given)
    return SMFT_OK;
  SMFT__TRY(read_size(given, smallest, name, &size));
  if (size > known)
    size = known;
  memcpy((char *)given + sizeof(uint32_t), (const char *)own + sizeof(uint32_t),
         size - sizeof(uint32_t));
  return SMFT_OK;
}
