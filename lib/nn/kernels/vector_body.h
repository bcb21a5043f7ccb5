/* vector_body: the row operations of vector.h for one instruction set (nn/kernels/levels.h includes
 * it). No include guard. Rows are handled in whole vectors; the rest of a row goes through a padded
 * vector on the stack, so that every element is computed by the same instructions wherever it
 * stands. */
#include "nn/kernels/quant_body.h"

SMFT__INLINE VEC SMFT__FN(load_rest)(const float *x, int64_t n) {
  float padded[LANES] = {0};
  memcpy(padded, x, (size_t)n * sizeof *x);
  return LOAD(padded);
}

SMFT__INLINE void SMFT__FN(store_rest)(float *y, VEC v, int64_t n) {
  float padded[LANES];
  STORE(padded, v);
  memcpy(y, padded, (size_t)n * sizeof *y);
}

/* Runs `body` for every vector at i: GET(x) loads, PUT(y, v) stores; the last round may be partial.
 */
#define SMFT__EACH(n, body)                                                                        \
  do {                                                                                             \
    int64_t i = 0;                                                                                 \
    for (; i + LANES <= (n); i += LANES) {                                                         \
      body(SMFT__GET_FULL, SMFT__PUT_FULL)                                                         \
    }                                                                                              \
    if (i < (n)) {                                                                                 \
      int64_t rest = (n)-i;                                                                        \
      body(SMFT__GET_REST, SMFT__PUT_REST)                                                         \
    }                                                                                              \
  } while (0)
#define SMFT__GET_FULL(x) LOAD((x) + i)
#define SMFT__PUT_FULL(y, v) STORE((y) + i, v)
#define SMFT__GET_REST(x) SMFT__FN(load_rest)((x) + i, rest)
#define SMFT__PUT_REST(y, v) SMFT__FN(store_rest)((y) + i, v, rest)

/* exp: x = k ln 2 + r, |r| <= ln 2 / 2; a polynomial of r; times 2^k in two steps, so that results
 * may be subnormal or infinite. NaN comes out as NaN. */
SMFT__INLINE VEC SMFT__FN(exp)(VEC x) {
  /* 1.5 * 2^23: adding it rounds to an integer, whose bits stand in the low ones */
  const VEC magic = SPLAT(12582912.0f);
  x = VMIN(SPLAT(90.0f), VMAX(SPLAT(-105.0f), x));
  VEC shifted = FMA(x, SPLAT(1.44269504088896341f), magic), k = shifted - magic;
  VEC r = FMA(k, SPLAT(-0.693145751953125f), x);
  r = FMA(k, SPLAT(-1.42860682030941723212e-6f), r);
  VEC y = FMA(r, SPLAT(1.9875691500e-4f), SPLAT(1.3981999507e-3f));
  y = FMA(y, r, SPLAT(8.3334519073e-3f));
  y = FMA(y, r, SPLAT(4.1665795894e-2f));
  y = FMA(y, r, SPLAT(1.6666665459e-1f));
  y = FMA(y, r, SPLAT(5.0000001201e-1f));
  y = FMA(y, r * r, r) + SPLAT(1.0f);
  IVEC power = BITS(shifted) - BITS(magic), half = power >> 1;
  return y * FLOATS((half + 127) << 23) * FLOATS((power - half + 127) << 23);
}

SMFT__TARGET static float SMFT__FN(maximum)(const float *x, int64_t n) {
  VEC best = SPLAT(-__builtin_inff());
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    best = VMAX(LOAD(x + i), best);
  float lane[LANES];
  STORE(lane, best);
  float most = lane[0];
  for (int j = 1; j < LANES; j++)
    most = lane[j] > most ? lane[j] : most;
  for (; i < n; i++)
    most = x[i] > most ? x[i] : most;
  return most;
}

/* x - x is 0, or NaN where x is not finite; NaN stays in a sum. */
SMFT__TARGET static int SMFT__FN(all_finite)(const float *x, int64_t rows, int64_t n,
                                             int64_t step) {
  VEC sum = SPLAT(0.0f);
  float lane[LANES], all = 0;
  for (int64_t row = 0; row < rows; row++, x += step) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
      VEC a = LOAD(x + i);
      sum += a - a;
    }
    for (; i < n; i++)
      all += x[i] - x[i];
  }
  STORE(lane, sum);
  for (int j = 0; j < LANES; j++)
    all += lane[j];
  return all >= 0;
}

/* 64 vectors at a time in f32, those sums in double. */
SMFT__TARGET static double SMFT__FN(exp_sum)(const float *x, float scale, float shift, int64_t n,
                                             float *y) {
  const VEC factor = SPLAT(scale), offset = SPLAT(-shift);
  double total = 0;
  int64_t i = 0;
  while (i + LANES <= n) {
    int64_t end = n - i > 64 * LANES ? i + 64 * LANES : n;
    VEC sum = SPLAT(0.0f);
    for (; i + LANES <= end; i += LANES) {
      VEC e = SMFT__FN(exp)(FMA(LOAD(x + i), factor, offset));
      STORE(y + i, e);
      sum += e;
    }
    total += (double)SMFT__FN(sum_lanes)(sum);
  }
  if (i < n) {
    SMFT__FN(store_rest)
    (y + i, SMFT__FN(exp)(FMA(SMFT__FN(load_rest)(x + i, n - i), factor, offset)), n - i);
    for (; i < n; i++)
      total += (double)y[i];
  }
  return total;
}

SMFT__TARGET static float SMFT__FN(dot)(const float *a, const float *b, int64_t n) {
  VEC s0 = SPLAT(0.0f), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES) {
    s0 = FMA(LOAD(a + i), LOAD(b + i), s0);
    s1 = FMA(LOAD(a + i + LANES), LOAD(b + i + LANES), s1);
    s2 = FMA(LOAD(a + i + 2 * LANES), LOAD(b + i + 2 * LANES), s2);
    s3 = FMA(LOAD(a + i + 3 * LANES), LOAD(b + i + 3 * LANES), s3);
  }
  for (; i + LANES <= n; i += LANES)
    s0 = FMA(LOAD(a + i), LOAD(b + i), s0);
  if (i < n)
    s1 = FMA(SMFT__FN(load_rest)(a + i, n - i), SMFT__FN(load_rest)(b + i, n - i), s1);
  return SMFT__FN(sum_lanes)((s0 + s1) + (s2 + s3));
}

typedef double SMFT__FN(doubles) __attribute__((vector_size(LANES * 4)));
typedef float SMFT__FN(half_floats) __attribute__((vector_size(LANES * 2), aligned(1), may_alias));
#define SMFT__WIDE(p)                                                                              \
  __builtin_convertvector(*(const SMFT__FN(half_floats) *)(const void *)(p), SMFT__FN(doubles))

SMFT__TARGET static double SMFT__FN(dot_double)(const float *a, const float *b, int64_t n) {
  const int64_t half = LANES / 2;
  SMFT__FN(doubles) s[4] = {{0}, {0}, {0}, {0}};
  double total = 0;
  int64_t i = 0;
  for (; i + 4 * half <= n; i += 4 * half)
    SMFT__UNROLL for (int j = 0; j < 4; j++) s[j] +=
        SMFT__WIDE(a + i + j * half) * SMFT__WIDE(b + i + j * half);
  s[0] = (s[0] + s[1]) + (s[2] + s[3]);
  for (int j = 0; j < LANES / 2; j++)
    total += s[0][j];
  for (; i < n; i++)
    total += (double)a[i] * (double)b[i];
  return total;
}
#undef SMFT__WIDE

SMFT__TARGET static void SMFT__FN(scale)(float *y, const float *x, float factor, int64_t n) {
  const VEC f = SPLAT(factor);
#define SMFT__ONE(GET, PUT) PUT(y, GET(x) * f);
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

SMFT__TARGET static void SMFT__FN(add_scaled)(float *y, const float *x, float factor, int64_t n) {
  const VEC f = SPLAT(factor);
#define SMFT__ONE(GET, PUT) PUT(y, FMA(GET(x), f, GET(y)));
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

SMFT__TARGET static void SMFT__FN(scale_weighted)(float *y, const float *x, const float *w,
                                                  float factor, int64_t n) {
  const VEC f = SPLAT(factor);
#define SMFT__ONE(GET, PUT) PUT(y, GET(x) * f * GET(w));
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

SMFT__TARGET static void SMFT__FN(norm_back)(float *dx, const float *x, const float *dy,
                                             const float *w, float a, float b, int64_t n) {
  const VEC va = SPLAT(a), vb = SPLAT(-b);
#define SMFT__ONE(GET, PUT) PUT(dx, FMA(GET(x), vb, FMA(GET(dy) * GET(w), va, GET(dx))));
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

SMFT__INLINE VEC SMFT__FN(sigmoid)(VEC x) {
  const VEC one = SPLAT(1.0f);
  return one / (one + SMFT__FN(exp)(-x));
}

SMFT__TARGET static void SMFT__FN(swiglu)(float *act, const float *gate, const float *up,
                                          int64_t n) {
#define SMFT__ONE(GET, PUT)                                                                        \
  VEC g = GET(gate);                                                                               \
  PUT(act, g *SMFT__FN(sigmoid)(g) * GET(up));
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

/* silu'(g) = s (1 + g (1 - s)), s = sigmoid(g) */
SMFT__TARGET static void SMFT__FN(swiglu_back)(float *d_gate, float *d_up, const float *gate,
                                               const float *up, const float *d_act, int64_t n) {
  const VEC one = SPLAT(1.0f);
#define SMFT__ONE(GET, PUT)                                                                        \
  VEC g = GET(gate), u = GET(up), d = GET(d_act), s = SMFT__FN(sigmoid)(g);                        \
  PUT(d_gate, d *u *s *FMA(g, one - s, one));                                                      \
  PUT(d_up, d *g *s);
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

/* gelu(g) = g / 2 (1 + tanh(u)) = g s, s = sigmoid(2 u), u = sqrt(2 / pi) (g + 0.044715 g^3) */
SMFT__INLINE VEC SMFT__FN(gelu_argument)(VEC g) { /* 2 u */
  return g * FMA(g * g, SPLAT(0.0713548162726f), SPLAT(1.59576912161f));
}

SMFT__TARGET static void SMFT__FN(geglu)(float *act, const float *gate, const float *up,
                                         int64_t n) {
#define SMFT__ONE(GET, PUT)                                                                        \
  VEC g = GET(gate);                                                                               \
  PUT(act, g *SMFT__FN(sigmoid)(SMFT__FN(gelu_argument)(g)) * GET(up));
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

/* gelu'(g) = s + g s (1 - s) 2 u'.  With e = exp(-2 u), s = 1 / (1 + e) and 1 - s = e s, which
 * cancels nothing.  Behind |g| = 10 the slope is 1 or 0 in float, and e would overflow. */
SMFT__TARGET static void SMFT__FN(geglu_back)(float *d_gate, float *d_up, const float *gate,
                                              const float *up, const float *d_act, int64_t n) {
  const VEC one = SPLAT(1.0f);
#define SMFT__ONE(GET, PUT)                                                                        \
  VEC g = GET(gate), u = GET(up), d = GET(d_act);                                                  \
  VEC c = VMIN(SPLAT(10.0f), VMAX(SPLAT(-10.0f), g));                                              \
  VEC e = SMFT__FN(exp)(-SMFT__FN(gelu_argument)(c)), s = one / (one + e);                         \
  VEC slope = FMA(c * c, SPLAT(0.214064448818f), SPLAT(1.59576912161f));                           \
  PUT(d_gate, d *u *FMA(c *slope, e *s *s, s));                                                    \
  PUT(d_up, d *g *s);
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

SMFT__TARGET static void SMFT__FN(softmax_back)(float *d, const float *p, float mean, float scale,
                                                int64_t n) {
  const VEC m = SPLAT(mean), f = SPLAT(scale);
#define SMFT__ONE(GET, PUT) PUT(d, (GET(d) - m) * GET(p) * f);
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

SMFT__TARGET static void SMFT__FN(rotate)(float *low, float *high, const float *cosine,
                                          const float *sine, int64_t n) {
#define SMFT__ONE(GET, PUT)                                                                        \
  VEC a = GET(low), b = GET(high), c = GET(cosine), s = GET(sine);                                 \
  PUT(low, FMA(a, c, -(b * s)));                                                                   \
  PUT(high, FMA(b, c, a *s));
  SMFT__EACH(n, SMFT__ONE);
#undef SMFT__ONE
}

/* The last elements come from a padded copy: nothing is read behind the array. */
#define SMFT__CONVERT(LOAD_AS, size)                                                               \
  do {                                                                                             \
    int64_t i = 0;                                                                                 \
    for (; i + LANES <= n; i += LANES)                                                             \
      STORE(y + i, LOAD_AS(from + i * (size)));                                                    \
    if (i < n) {                                                                                   \
      char padded[LANES * 4] = {0};                                                                \
      memcpy(padded, from + i * (size), (size_t)((n - i) * (size)));                               \
      SMFT__FN(store_rest)(y + i, LOAD_AS(padded), n - i);                                         \
    }                                                                                              \
  } while (0)
/* Blocks of 32: begin and n are whole ones. */
SMFT__INLINE void SMFT__FN(unpack_short)(int dtype, const char *row, int64_t begin, int64_t n,
                                         float *y) {
  const int bytes = SMFT__FN(quant_bytes)(dtype);
  for (row += begin / 32 * bytes; n > 0; row += bytes, y += 32, n -= 32) {
    SMFT__FN(quant_scales) scales;
    SMFT__FN(quant_open)(dtype, row, &scales);
    SMFT__UNROLL for (int l = 0; l < 32; l += LANES)
        STORE(y + l, SMFT__FN(quant_of_32)(dtype, row, l, &scales));
  }
}

/* Blocks of 256, any 32 of them. */
SMFT__INLINE void SMFT__FN(unpack_long)(int dtype, const char *row, int64_t begin, int64_t n,
                                        float *y) {
  const int block = 256, run = SMFT__FN(quant_run)(dtype);
  int64_t first = begin % block;
  for (row += begin / block * SMFT__FN(quant_bytes)(dtype); n > 0;
       row += SMFT__FN(quant_bytes)(dtype)) {
    int64_t end = first + n < block ? first + n : block;
    SMFT__FN(quant_scales) scales;
    SMFT__FN(quant_open)(dtype, row, &scales);
    for (int64_t i = first / run * run; i < end; i += run)
      SMFT__UNROLL for (int j = 0; j < run; j += 32) if (i + j >= first && i + j < end)
          SMFT__UNROLL for (int l = 0; l < 32; l += LANES)
              STORE(y + (i + j - first) + l,
                    SMFT__FN(quant_of_256)(dtype, row, i / run, j + l, &scales));
    y += end - first, n -= end - first, first = 0;
  }
}

SMFT__INLINE void SMFT__FN(unpack)(int dtype, const char *row, int64_t begin, int64_t n, float *y) {
  if (SMFT__FN(quant_is_k)(dtype))
    SMFT__FN(unpack_long)(dtype, row, begin, n, y);
  else
    SMFT__FN(unpack_short)(dtype, row, begin, n, y);
}

SMFT__TARGET static void SMFT__FN(blocks_to_f32)(const void *row, int32_t dtype, int64_t begin,
                                                 int64_t n, float *y) {
  switch (dtype) {
#define SMFT__UNPACK_CASE(type)                                                                    \
  case type:                                                                                       \
    SMFT__FN(unpack)(type, row, begin, n, y);                                                      \
    break;
    SMFT__QUANT_TYPES(SMFT__UNPACK_CASE)
#undef SMFT__UNPACK_CASE
  default:
    break;
  }
}

SMFT__TARGET static void SMFT__FN(to_f32)(const void *source, int32_t dtype, int64_t n, float *y) {
  const char *from = source;
  if (dtype == SMFT__F32)
    SMFT__CONVERT(LOAD, 4);
  else if (dtype == SMFT__BF16)
    SMFT__CONVERT(LOAD_BF16, 2);
  else if (dtype == SMFT__F16)
    SMFT__CONVERT(LOAD_F16, 2);
  else
    SMFT__FN(blocks_to_f32)(source, dtype, 0, n, y);
}
#undef SMFT__CONVERT
#undef SMFT__EACH
#undef SMFT__GET_FULL
#undef SMFT__PUT_FULL
#undef SMFT__GET_REST
#undef SMFT__PUT_REST
