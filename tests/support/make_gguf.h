/* make_gguf: GGUF files made byte by byte, right ones and wrong ones: what is put is written as it
 * is. */
#ifndef SMFT_MAKE_GGUF_H
#define SMFT_MAKE_GGUF_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct gguf_bytes {
  uint8_t bytes[16384];
  size_t size;
} gguf_bytes;

static inline void put_bytes(gguf_bytes *to, const void *bytes, size_t size) {
  if (to->size + size > sizeof to->bytes)
    abort();
  if (size > 0)
    memcpy(to->bytes + to->size, bytes, size);
  to->size += size;
}
static inline void put_number(gguf_bytes *to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++, value >>= 8) {
    uint8_t byte = (uint8_t)value;
    put_bytes(to, &byte, 1);
  }
}
static inline void put_u32(gguf_bytes *to, uint32_t value) { put_number(to, value, 4); }
static inline void put_u64(gguf_bytes *to, uint64_t value) { put_number(to, value, 8); }
static inline void put_text(gguf_bytes *to, const char *text) {
  put_u64(to, strlen(text));
  put_bytes(to, text, strlen(text));
}
static inline void put_header(gguf_bytes *to, uint32_t version, uint64_t tensors, uint64_t keys) {
  to->size = 0;
  put_bytes(to, "GGUF", 4);
  put_u32(to, version);
  put_u64(to, tensors);
  put_u64(to, keys);
}
static inline void put_key(gguf_bytes *to, const char *key, uint32_t type) {
  put_text(to, key);
  put_u32(to, type);
}
static inline void put_key_u32(gguf_bytes *to, const char *key, uint32_t value) {
  put_key(to, key, 4);
  put_u32(to, value);
}
static inline void put_key_f32(gguf_bytes *to, const char *key, float value) {
  put_key(to, key, 6);
  put_bytes(to, &value, 4);
}
static inline void put_key_text(gguf_bytes *to, const char *key, const char *value) {
  put_key(to, key, 8);
  put_text(to, value);
}
/* dims in the file's order; 0 columns: none */
static inline void put_tensor(gguf_bytes *to, const char *name, uint64_t columns, uint64_t rows,
                              uint32_t type, uint64_t offset) {
  put_text(to, name);
  put_u32(to, rows ? 2 : 1);
  put_u64(to, columns);
  if (rows)
    put_u64(to, rows);
  put_u32(to, type);
  put_u64(to, offset);
}
static inline void put_padding(gguf_bytes *to, size_t alignment) {
  while (to->size % alignment)
    put_number(to, 0, 1);
}
/* so many bytes 0, 1, 2, ... */
static inline void put_data(gguf_bytes *to, size_t size) {
  for (size_t i = 0; i < size; i++)
    put_number(to, i, 1);
}
#endif
