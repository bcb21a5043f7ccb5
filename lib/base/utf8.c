/* utf8: see utf8.h.  Does not own: Unicode properties (the tokenizer uses utf8proc). */
#include "base/utf8.h"

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

int32_t smft__utf8_broken(const char *text, size_t length, int *open) {
  const unsigned char *p = (const unsigned char *)text;
  uint32_t bits = 0;
  int32_t wanted = first_byte(p[0], &bits), n = 1;
  while (n < wanted && (size_t)n < length) {
    unsigned char low = 0x80, high = 0xBF;
    if (n == 1) {
      low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
      high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    }
    if (p[n] < low || p[n] > high)
      break;
    n++;
  }
  if (open)
    *open = (size_t)n == length && n < wanted;
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
