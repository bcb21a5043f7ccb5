/* fuzz_header: libFuzzer's mutations for inputs that are a safetensors file, alone or behind a text
 * that begins with '{' and the 0 that ends it: most keep the header's length right, for else
 * nothing behind it is ever read.  Include it once in a target. */
#ifndef SMFT_FUZZ_HEADER_H
#define SMFT_FUZZ_HEADER_H
#include "base/bytes.h"
#include <string.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
/* libFuzzer's; replay.c has none, and calls none. */
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

/* Mutates the `length` bytes at data + at, with what follows moved; their new number. */
static inline size_t fuzz_mutate_part(uint8_t *data, size_t *size, size_t most, size_t at,
                                      size_t length) {
  static uint8_t part[1 << 16];
  size_t room = length + (most - *size);
  room = room < sizeof part ? room : sizeof part;
  if (length > room || room == 0)
    return length;
  memcpy(part, data + at, length);
  size_t now = LLVMFuzzerMutate(part, length, room);
  memmove(data + at + now, data + at + length, *size - at - length);
  memcpy(data + at, part, now);
  *size += now - length;
  return now;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
  size_t at = size && data[0] == '{' && zero ? (size_t)(zero - data) + 1 : 0;
  if (size < at + 8 || seed % 8 == 0)
    return LLVMFuzzerMutate(data, size, most);
  uint64_t said = smft__read_u64le(data + at);
  size_t header = said < size - at - 8 ? (size_t)said : size - at - 8;
  if (seed % 8 < 3 && at > 0)
    (void)fuzz_mutate_part(data, &size, most, 0, at - 1);
  else if (seed % 8 < 5 && at + 8 + header < size)
    (void)fuzz_mutate_part(data, &size, most, at + 8 + header, size - at - 8 - header);
  else
    smft__write_u64le(data + at, fuzz_mutate_part(data, &size, most, at + 8, header));
  return size;
}
#endif
