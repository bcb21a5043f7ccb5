/* radix: sorts 64-bit entries by their upper 32 bits, keeping the order of equals. */
#ifndef SMFT__RADIX_H
#define SMFT__RADIX_H
#include <stdint.h>
/* entries (n), other (n) working room; largest: the largest upper half that occurs.  Returns the array that holds the result. */
uint64_t *smft__radix_sort(uint64_t *entries, uint64_t *other, int64_t n, uint64_t largest);
#endif
