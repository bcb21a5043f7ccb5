/* status: the thread-local error message and the macro that passes errors up.  Owns smft_status_*
 * and smft_error_message. */
#ifndef SMFT__STATUS_H
#define SMFT__STATUS_H
#include "smft/smft.h"

/* Stores the message (printf-style; locale-free as long as no %f/%g is used on its own: use
 * smft__format_double) and returns `code`. Says what, where, expected, got. */
smft_status smft__fail(smft_status code, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));
/* Puts "prefix: " in front of the message that is there already (for context on the way up);
 * returns `code`. */
smft_status smft__fail_within(smft_status code, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

#define SMFT__TRY(expression)                                                                      \
  do {                                                                                             \
    smft_status smft__try_status = (expression);                                                   \
    if (smft__try_status != SMFT_OK)                                                               \
      return smft__try_status;                                                                     \
  } while (0)
/* The same with a clean-up label; needs a variable `smft_status status`. */
#define SMFT__TRY_GOTO(label, expression)                                                          \
  do {                                                                                             \
    status = (expression);                                                                         \
    if (status != SMFT_OK)                                                                         \
      goto label;                                                                                  \
  } while (0)

#define SMFT__REQUIRE(condition, ...)                                                              \
  do {                                                                                             \
    if (!(condition))                                                                              \
      return smft__fail(SMFT_E_INVALID, __VA_ARGS__);                                              \
  } while (0)

/* Options and reports, any version: copies what the caller's struct has into *own (filled with the
 * defaults = zeros by the caller before), checks that a newer caller's unknown tail is zero.
 * `known` = sizeof of the library's struct, `smallest` = sizeof of its first version.  given NULL:
 * the defaults stay. */
smft_status smft__options_read(void *own, const void *given, size_t known, size_t smallest,
                               const char *name);
/* An options struct's field `reserved`, which a later version may give a meaning. */
smft_status smft__reserved_check(int64_t reserved, const char *name);
/* Writes a report back: only as many bytes as the caller's struct has; the caller's struct_size
 * stays. */
smft_status smft__report_write(void *given, const void *own, size_t known, size_t smallest,
                               const char *name);
/* Checks a report's struct_size before the work starts, so that a step is not done and then found
 * to have nowhere to report to. */
smft_status smft__report_check(const void *given, size_t smallest, const char *name);
#endif
