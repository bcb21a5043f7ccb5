/* hash: SHA-256 (fingerprints) and a 64-bit mix for hash tables. */
#ifndef SMFT__HASH_H
#define SMFT__HASH_H
#include <stddef.h>
#include <stdint.h>
typedef struct smft__sha256 {
  uint32_t state[8];
  uint64_t bytes;
  unsigned char block[64];
} smft__sha256;
void smft__sha256_start(smft__sha256 *hash);
void smft__sha256_add(smft__sha256 *hash, const void *data, size_t size);
void smft__sha256_hex(smft__sha256 *hash, char hex[65]); /* finishes */
/* n blocks of 64 bytes, in plain C; and by the processor's own instructions, where it has them (the
 * same bits, six times as fast). */
void smft__sha256_blocks_plain(uint32_t state[8], const unsigned char *blocks, size_t n);
int smft__sha256_has_x86(void);
void smft__sha256_blocks_x86(uint32_t state[8], const unsigned char *blocks, size_t n);
extern const uint32_t smft__sha256_constants[64];
static inline uint64_t smft__mix64(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}
uint64_t smft__hash_bytes(const void *data, size_t size);
#endif
