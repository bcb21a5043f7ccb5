/* radix: sorts 64-bit entries by their upper 32 bits, keeping the order of equals, on the context's
 * threads. */
#ifndef SMFT__RADIX_H
#define SMFT__RADIX_H
#include "base/ctx.h"
#define SMFT__RADIX_NOTHING UINT64_MAX /* an entry that is not there */
/* entries (*n), other (*n) working room; *n < 2^32; largest: the largest upper half that occurs,
 * but for entries that are SMFT__RADIX_NOTHING: those are left out.  Returns the array that holds
 * the result, *n becomes its length. */
uint64_t *smft__radix_sort(smft_ctx *ctx, uint64_t *entries, uint64_t *other, int64_t *n,
                           uint64_t largest);
#endif
