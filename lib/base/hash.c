/* hash: SHA-256 (FIPS 180-4) and a fast hash of bytes for tables.  Does not own: what is
 * fingerprinted, the processor's own instructions for it (hash_x86.c). */
#include "base/hash.h"
#include <string.h>

const uint32_t smft__sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t rotate(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

static inline uint32_t read_u32be(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static void expand(uint32_t w[64], const unsigned char *block) {
  for (int i = 0; i < 16; i++)
    w[i] = read_u32be(block + 4 * i);
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3);
    uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
}

static void compress(uint32_t state[8], const unsigned char *block) {
  uint32_t w[64], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  uint32_t f = state[5], g = state[6], h = state[7];
  expand(w, block);
  for (int i = 0; i < 64; i++) {
    uint32_t big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    uint32_t t1 = h + big1 + ((e & f) ^ (~e & g)) + smft__sha256_constants[i] + w[i];
    uint32_t big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    uint32_t t2 = big0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1;
    d = c, c = b, b = a, a = t1 + t2;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void smft__sha256_blocks_plain(uint32_t state[8], const unsigned char *blocks, size_t n) {
  for (; n > 0; n--, blocks += 64)
    compress(state, blocks);
}

static void compress_all(uint32_t state[8], const unsigned char *blocks, size_t n) {
  if (smft__sha256_has_x86())
    smft__sha256_blocks_x86(state, blocks, n);
  else
    smft__sha256_blocks_plain(state, blocks, n);
}

void smft__sha256_start(smft__sha256 *hash) {
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memset(hash, 0, sizeof *hash);
  memcpy(hash->state, start, sizeof start);
}

void smft__sha256_add(smft__sha256 *hash, const void *data, size_t size) {
  const unsigned char *at = data;
  size_t held = (size_t)(hash->bytes % 64);
  if (size == 0)
    return;
  hash->bytes += size;
  if (held) {
    size_t take = size < 64 - held ? size : 64 - held;
    memcpy(hash->block + held, at, take);
    at += take;
    size -= take;
    if (held + take < 64)
      return;
    compress_all(hash->state, hash->block, 1);
  }
  compress_all(hash->state, at, size / 64);
  memcpy(hash->block, at + size / 64 * 64, size % 64);
}

void smft__sha256_hex(smft__sha256 *hash, char hex[65]) {
  unsigned char tail[72] = {0x80};
  uint64_t bits = hash->bytes * 8;
  size_t padding = (size_t)(119 - hash->bytes % 64) % 64 + 1; /* so that length % 64 becomes 56 */
  for (int i = 0; i < 8; i++)
    tail[padding + (size_t)i] = (unsigned char)(bits >> (56 - 8 * i));
  smft__sha256_add(hash, tail, padding + 8);
  for (int i = 0; i < 64; i++)
    hex[i] = "0123456789abcdef"[hash->state[i / 8] >> (28 - 4 * (i % 8)) & 15u];
  hex[64] = '\0';
}

uint64_t smft__hash_bytes(const void *data, size_t size) {
  const unsigned char *at = data;
  uint64_t hash = 0x9e3779b97f4a7c15ULL ^ (uint64_t)size, word;
  for (; size >= 8; at += 8, size -= 8) {
    memcpy(&word, at, 8);
    hash = smft__mix64(hash ^ word) + 0x9e3779b97f4a7c15ULL;
  }
  word = 0;
  for (size_t i = 0; i < size; i++)
    word |= (uint64_t)at[i] << (8 * i);
  return smft__mix64(hash ^ word);
}
