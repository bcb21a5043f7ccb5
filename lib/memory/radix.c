/* radix: the stable sort that turns "which slots did each token read" into "which tokens read each slot".
 * Owns nothing; the caller brings the room. */
#include "memory/radix.h"
#include <string.h>

enum { DIGIT = 11, BINS = 1 << DIGIT };

static void one_pass(const uint64_t *from, uint64_t *to, int64_t n, int shift) {
  int64_t start[BINS], sum = 0;
  memset(start, 0, sizeof start);
  for (int64_t i = 0; i < n; i++)
    start[(from[i] >> shift) & (BINS - 1)]++;
  for (int bin = 0; bin < BINS; bin++) {
    int64_t count = start[bin];
    start[bin] = sum;
    sum += count;
  }
  for (int64_t i = 0; i < n; i++)
    to[start[(from[i] >> shift) & (BINS - 1)]++] = from[i];
}

uint64_t *smft__radix_sort(uint64_t *entries, uint64_t *other, int64_t n, uint64_t largest) {
  for (int shift = 32; shift < 64 && (largest >> (shift - 32)) > 0; shift += DIGIT) {
    uint64_t *sorted = other;
    one_pass(entries, other, n, shift);
    other = entries;
    entries = sorted;
  }
  return entries;
}
