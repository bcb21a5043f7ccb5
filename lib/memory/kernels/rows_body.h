/* rows_body: weighted sums and scalar products of table rows for one instruction set
 * (nn/kernels/levels.h includes it).  No include guard. The element type and the number of rows
 * become constants by inlining. */

SMFT__INLINE const char *SMFT__FN(element)(int32_t dtype, const void *row, int64_t i) {
  return (const char *)row + i * SMFT__WEIGHT_BYTES(dtype);
}

SMFT__INLINE VEC SMFT__FN(load_row)(int32_t dtype, const void *row, int64_t i) {
  const char *from = SMFT__FN(element)(dtype, row, i);
  return dtype == SMFT__F32 ? LOAD(from) : dtype == SMFT__BF16 ? LOAD_BF16(from) : LOAD_F16(from);
}

/* The last n < LANES numbers of a row, zeros behind them. */
SMFT__INLINE VEC SMFT__FN(load_row_rest)(int32_t dtype, const void *row, int64_t i, int64_t n) {
  float padded[LANES] = {0};
  memcpy(padded, SMFT__FN(element)(dtype, row, i), (size_t)n * (size_t)SMFT__WEIGHT_BYTES(dtype));
  return SMFT__FN(load_row)(dtype, padded, 0);
}

/* A cache line of each row that comes next: 16 floats or 32 halves. */
SMFT__INLINE void SMFT__FN(fetch)(int32_t dtype, const void *const *next, int n_rows, int64_t i) {
  if (next && i % (dtype == SMFT__F32 ? 16 : 32) == 0)
    for (int r = 0; r < n_rows; r++)
      __builtin_prefetch(SMFT__FN(element)(dtype, next[r], i), 0, 3);
}

SMFT__INLINE void SMFT__FN(add_rows)(int32_t dtype, float *y, const void *const *rows,
                                     const float *weights, const void *const *next, int n_rows,
                                     int64_t n) {
  VEC w[SMFT__ROW_GROUP];
  int64_t i = 0;
  for (int r = 0; r < n_rows; r++)
    w[r] = SPLAT(weights[r]);
  for (; i + LANES <= n; i += LANES) {
    VEC sum = LOAD(y + i);
    SMFT__FN(fetch)(dtype, next, n_rows, i);
    SMFT__UNROLL
    for (int r = 0; r < n_rows; r++)
      sum = FMA(w[r], SMFT__FN(load_row)(dtype, rows[r], i), sum);
    STORE(y + i, sum);
  }
  if (i < n) {
    VEC sum = SMFT__FN(load_row_rest)(SMFT__F32, y, i, n - i);
    float rest[LANES];
    for (int r = 0; r < n_rows; r++)
      sum = FMA(w[r], SMFT__FN(load_row_rest)(dtype, rows[r], i, n - i), sum);
    STORE(rest, sum);
    memcpy(y + i, rest, (size_t)(n - i) * sizeof *y);
  }
}

SMFT__INLINE void SMFT__FN(dot_rows)(int32_t dtype, const void *const *rows, const float *y,
                                     const void *const *next, int n_rows, int64_t n, float *dots) {
  VEC sum[SMFT__ROW_GROUP];
  int64_t i = 0;
  for (int r = 0; r < n_rows; r++)
    sum[r] = SPLAT(0.0f);
  for (; i + LANES <= n; i += LANES) {
    VEC other = LOAD(y + i);
    SMFT__FN(fetch)(dtype, next, n_rows, i);
    SMFT__UNROLL
    for (int r = 0; r < n_rows; r++)
      sum[r] = FMA(SMFT__FN(load_row)(dtype, rows[r], i), other, sum[r]);
  }
  if (i < n) {
    VEC other = SMFT__FN(load_row_rest)(SMFT__F32, y, i, n - i);
    for (int r = 0; r < n_rows; r++)
      sum[r] = FMA(SMFT__FN(load_row_rest)(dtype, rows[r], i, n - i), other, sum[r]);
  }
  for (int r = 0; r < n_rows; r++)
    dots[r] = SMFT__FN(sum_lanes)(sum[r]);
}

/* One loop per element type. */
#define SMFT__BY_TYPE(call)                                                                        \
  do {                                                                                             \
    if (dtype == SMFT__F32)                                                                        \
      call(SMFT__F32);                                                                             \
    else if (dtype == SMFT__BF16)                                                                  \
      call(SMFT__BF16);                                                                            \
    else                                                                                           \
      call(SMFT__F16);                                                                             \
  } while (0)

SMFT__TARGET static void SMFT__FN(add4)(int32_t dtype, float *y, const void *const *rows,
                                        const float *weights, const void *const *next, int64_t n) {
#define SMFT__ADD4(type) SMFT__FN(add_rows)(type, y, rows, weights, next, SMFT__ROW_GROUP, n)
  SMFT__BY_TYPE(SMFT__ADD4);
#undef SMFT__ADD4
}

SMFT__TARGET static void SMFT__FN(add)(int32_t dtype, float *y, const void *row, float weight,
                                       int64_t n) {
#define SMFT__ADD1(type) SMFT__FN(add_rows)(type, y, &row, &weight, NULL, 1, n)
  SMFT__BY_TYPE(SMFT__ADD1);
#undef SMFT__ADD1
}

SMFT__TARGET static void SMFT__FN(dot4)(int32_t dtype, const void *const *rows, const float *y,
                                        const void *const *next, int64_t n, float *dots) {
#define SMFT__DOT4(type) SMFT__FN(dot_rows)(type, rows, y, next, SMFT__ROW_GROUP, n, dots)
  SMFT__BY_TYPE(SMFT__DOT4);
#undef SMFT__DOT4
}

SMFT__TARGET static float SMFT__FN(dot)(int32_t dtype, const void *row, const float *y, int64_t n) {
  float dot;
#define SMFT__DOT1(type) SMFT__FN(dot_rows)(type, &row, y, NULL, 1, n, &dot)
  SMFT__BY_TYPE(SMFT__DOT1);
#undef SMFT__DOT1
  return dot;
}
#undef SMFT__BY_TYPE

static const smft__row_kernels SMFT__FN(kernels) = {SMFT__FN(add4), SMFT__FN(add), SMFT__FN(dot4),
                                                    SMFT__FN(dot)};
