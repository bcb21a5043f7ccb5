/* utf8: UTF-8, one character at a time. */
#ifndef SMFT__UTF8_H
#define SMFT__UTF8_H
#include <stddef.h>
#include <stdint.h>
/* Length of the UTF-8 character at text (1-4) and its code point, or 0 if it is not valid
 * (overlong, surrogate, cut, > U+10FFFF). */
int32_t smft__utf8_next(const char *text, size_t length, uint32_t *code);
/* Where that is 0, of one byte or more: how many bytes are the beginning of a character that goes
 * wrong after them, for all of which one U+FFFD stands, as in Unicode's "substitution of maximal
 * subparts".  *open (or NULL): whether bytes that follow could still complete it. */
int32_t smft__utf8_broken(const char *text, size_t length, int *open);
int smft__utf8_valid(const char *text, size_t length, size_t *bad_at);
int32_t smft__utf8_put(uint32_t code, char out[4]);
#endif
