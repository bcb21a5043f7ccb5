/* utf8: UTF-8, one character at a time. */
#ifndef SMFT__UTF8_H
#define SMFT__UTF8_H
#include <stddef.h>
#include <stdint.h>
/* Length of the UTF-8 character at text (1-4) and its code point, or 0 if it is not valid
 * (overlong, surrogate, cut, > U+10FFFF). */
int32_t smft__utf8_next(const char *text, size_t length, uint32_t *code);
int smft__utf8_valid(const char *text, size_t length, size_t *bad_at);
int32_t smft__utf8_put(uint32_t code, char out[4]);
#endif
