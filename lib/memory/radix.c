/* radix: the stable sort that turns "which slots did each token read" into "which tokens read each
 * slot". Owns nothing; the caller brings the room for entries, the context that for the pieces'
 * counts (base/workspace.h).
 *
 * A pass sorts by one digit: each piece of the entries counts its digits, a piece's entries of a
 * digit go behind those of the pieces before it, and each piece puts its own there.  The result is
 * the same however many threads there are. */
#include "memory/radix.h"
#include "base/parallel.h"
#include "base/workspace.h"
#include <string.h>

enum { MOST_BITS = 11, MOST_BINS = 1 << MOST_BITS, PIECE = 16384, MOST_PIECES = 64 };

typedef struct pass {
  const uint64_t *from;
  uint64_t *to;
  int64_t n, piece; /* entries, and those of a piece */
  int shift, bits;  /* the digit */
  uint32_t *start;  /* (pieces, MOST_BINS) entries of a digit, then where the next of them goes */
} pass;

_Static_assert(MOST_PIECES *MOST_BINS * sizeof(uint32_t) <= SMFT__WORKSPACE_BYTES,
               "the pieces' counts fit a room");

static uint32_t digit(const pass *p, uint64_t entry) {
  return (uint32_t)(entry >> p->shift) & ((1u << p->bits) - 1);
}

static void count_piece(void *arg, int64_t block, int32_t lane) {
  const pass *p = arg;
  uint32_t *count = p->start + block * MOST_BINS;
  int64_t end = smft__least((block + 1) * p->piece, p->n);
  (void)lane;
  memset(count, 0, sizeof *count << p->bits);
  for (int64_t i = block * p->piece; i < end; i++)
    if (p->from[i] != SMFT__RADIX_NOTHING)
      count[digit(p, p->from[i])]++;
}

static void move_piece(void *arg, int64_t block, int32_t lane) {
  const pass *p = arg;
  uint32_t *next = p->start + block * MOST_BINS;
  int64_t end = smft__least((block + 1) * p->piece, p->n);
  (void)lane;
  for (int64_t i = block * p->piece; i < end; i++)
    if (p->from[i] != SMFT__RADIX_NOTHING)
      p->to[next[digit(p, p->from[i])]++] = p->from[i];
}

/* Turns the pieces' counts into where their entries go; returns how many there are in all. */
static uint32_t place(const pass *p, int64_t pieces) {
  uint32_t sum = 0;
  for (int64_t bin = 0; bin < (int64_t)1 << p->bits; bin++)
    for (int64_t piece = 0; piece < pieces; piece++) {
      uint32_t count = p->start[piece * MOST_BINS + bin];
      p->start[piece * MOST_BINS + bin] = sum;
      sum += count;
    }
  return sum;
}

static int64_t run(smft_ctx *ctx, pass *p) {
  int64_t pieces = smft__blocks(p->n, p->piece);
  smft__parallel_for(ctx, pieces, count_piece, p);
  int64_t n = place(p, pieces);
  smft__parallel_for(ctx, pieces, move_piece, p);
  return n;
}

/* As many bits as `largest` needs, in as few digits as hold them, all of one width: fewer places to
 * write to at a time. */
static void choose_digits(uint64_t largest, int *digits, int *bits) {
  int needed = 1;
  while (needed < 32 && largest >> needed > 0)
    needed++;
  *digits = (needed + MOST_BITS - 1) / MOST_BITS;
  *bits = (needed + *digits - 1) / *digits;
}

uint64_t *smft__radix_sort(smft_ctx *ctx, uint64_t *entries, uint64_t *other, int64_t *n,
                           uint64_t largest) {
  uint32_t one_piece[MOST_BINS];
  /* without it: one piece */
  void *room = *n > PIECE && smft__lanes(ctx) > 1 ? smft__workspace_take(ctx) : NULL;
  int64_t piece = !room                               ? *n
                  : *n > (int64_t)PIECE * MOST_PIECES ? smft__blocks(*n, MOST_PIECES)
                                                      : PIECE;
  int digits, bits;
  choose_digits(largest, &digits, &bits);
  for (int i = 0; i<digits && * n> 0; i++) {
    pass p = {entries, other, *n, piece, 32 + i * bits, bits, room ? room : one_piece};
    *n = run(ctx, &p);
    other = entries;
    entries = p.to;
  }
  smft__workspace_give(ctx, room);
  return entries;
}
