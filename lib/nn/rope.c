/* rope: rotary positions.  Angles are position * frequency in double.  Within a block
 * of tokens the next position's sine and cosine come from turning the last one's by one step (an
 * error of 1e-16 each, afresh in every block): sincos is taken only where a run of positions
 * begins. */
#include "nn/rope.h"
#include "base/parallel.h"
#include "nn/vector.h"
#include <math.h>

#define BLOCK_TOKENS 32
#define CHUNK 64 /* frequencies at a time */

typedef struct rope_work {
  float *x;
  const int32_t *positions;
  int64_t n_tokens, half, n_heads, head_dim;
  const double *frequency;
  double magnitude;
  int32_t pairs;
  int inverse;
} rope_work;

typedef struct rope_turn { /* of CHUNK frequencies: one step's, and the current position's */
  double frequency[CHUNK], step_cosine[CHUNK], step_sine[CHUNK], cosine[CHUNK], sine[CHUNK];
  int64_t n, position;
} rope_turn;

static void start_turn(rope_turn *turn, const rope_work *work, int64_t first, int64_t n) {
  turn->n = n;
  turn->position = -2; /* nowhere */
  for (int64_t i = 0; i < n; i++) {
    turn->frequency[i] = work->frequency[first + i];
    turn->step_cosine[i] = cos(turn->frequency[i]);
    turn->step_sine[i] = sin(turn->frequency[i]);
  }
}

static void turn_to(rope_turn *turn, int64_t position) {
  for (int64_t i = 0; i < turn->n; i++) {
    turn->cosine[i] = position ? cos(turn->frequency[i] * (double)position) : 1.0;
    turn->sine[i] = position ? sin(turn->frequency[i] * (double)position) : 0.0;
  }
  turn->position = position;
}

static void turn_on(rope_turn *turn) {
  for (int64_t i = 0; i < turn->n; i++) {
    double c = turn->cosine[i], s = turn->sine[i];
    turn->cosine[i] = c * turn->step_cosine[i] - s * turn->step_sine[i];
    turn->sine[i] = s * turn->step_cosine[i] + c * turn->step_sine[i];
  }
  turn->position++;
}

/* x: n pairs of neighbours. */
static void rotate_neighbours(float *x, const float *cosine, const float *sine, int64_t n) {
  float low[CHUNK], high[CHUNK];
  for (int64_t i = 0; i < n; i++) {
    low[i] = x[2 * i];
    high[i] = x[2 * i + 1];
  }
  smft__vector()->rotate(low, high, cosine, sine, n);
  for (int64_t i = 0; i < n; i++) {
    x[2 * i] = low[i];
    x[2 * i + 1] = high[i];
  }
}

/* All heads of one token, frequencies [first, first + turn->n). */
static void rotate_token(const rope_work *work, const rope_turn *turn, int64_t token,
                         int64_t first) {
  float cosine[CHUNK], sine[CHUNK];
  for (int64_t i = 0; i < turn->n; i++) {
    float s = (float)(work->magnitude * turn->sine[i]);
    cosine[i] = (float)(work->magnitude * turn->cosine[i]);
    sine[i] = work->inverse ? -s : s;
  }
  for (int64_t h = 0; h < work->n_heads; h++) {
    float *head = work->x + (token * work->n_heads + h) * work->head_dim;
    if (work->pairs == SMFT__PAIRS_NEIGHBOURS)
      rotate_neighbours(head + 2 * first, cosine, sine, turn->n);
    else
      smft__vector()->rotate(head + first, head + first + work->half, cosine, sine, turn->n);
  }
}

static void rotate_block(void *arg, int64_t block, int32_t lane) {
  const rope_work *work = arg;
  int64_t begin = block * BLOCK_TOKENS;
  int64_t end = begin + BLOCK_TOKENS < work->n_tokens ? begin + BLOCK_TOKENS : work->n_tokens;
  rope_turn turn;
  (void)lane;
  for (int64_t first = 0; first < work->half; first += CHUNK) {
    start_turn(&turn, work, first, work->half - first < CHUNK ? work->half - first : CHUNK);
    for (int64_t t = begin; t < end; t++) {
      if (work->positions[t] == turn.position + 1)
        turn_on(&turn);
      else
        turn_to(&turn, work->positions[t]);
      rotate_token(work, &turn, t, first);
    }
  }
}

void smft__rope_frequencies(double *frequency, int32_t dims, double theta) {
  for (int32_t i = 0; i < dims / 2; i++)
    frequency[i] = pow(theta, -(double)i / (double)(dims / 2));
}

void smft__rope(smft_ctx *ctx, float *x, const int32_t *positions, int64_t n_tokens,
                int32_t n_heads, int32_t head_dim, const smft__rope_table *table, int inverse) {
  rope_work work = {.x = x,
                    .positions = positions,
                    .n_tokens = n_tokens,
                    .half = table->dims / 2,
                    .n_heads = n_heads,
                    .head_dim = head_dim,
                    .frequency = table->frequency,
                    .magnitude = (double)table->magnitude,
                    .pairs = table->pairs,
                    .inverse = inverse};
  smft__parallel_for(ctx, smft__blocks(n_tokens, BLOCK_TOKENS), rotate_block, &work);
}
