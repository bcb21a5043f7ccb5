/* half_norm_body: one row of a norm for one instruction set (nn/kernels/levels.h includes it).  No
 * include guard. */

SMFT__INLINE VEC SMFT__FN(load_padded)(const float *x, int64_t n, float padding) {
  float padded[LANES];
  for (int i = 0; i < LANES; i++)
    padded[i] = i < n ? x[i] : padding;
  return LOAD(padded);
}

SMFT__INLINE void SMFT__FN(store_first)(float *y, VEC v, int64_t n) {
  float padded[LANES];
  STORE(padded, v);
  memcpy(y, padded, (size_t)n * sizeof *y);
}

/* The vector at i of an array of n, zeros (or `padding`) past its end. */
#define AT(x) (full ? LOAD((x) + i) : SMFT__FN(load_padded)((x) + i, n - i, 0.0f))
#define AT_PADDED(x, padding)                                                                      \
  (full ? LOAD((x) + i) : SMFT__FN(load_padded)((x) + i, n - i, padding))
#define PUT(x, v)                                                                                  \
  do {                                                                                             \
    if (full)                                                                                      \
      STORE((x) + i, v);                                                                           \
    else                                                                                           \
      SMFT__FN(store_first)((x) + i, v, n - i);                                                    \
  } while (0)
#define EACH(body)                                                                                 \
  for (int64_t i = 0; i < n; i += LANES) {                                                         \
    int full = i + LANES <= n;                                                                     \
    body                                                                                           \
  }

SMFT__TARGET static row_shape SMFT__FN(measure)(const smft__half_norm *norm, const float *x) {
  int64_t n = norm->size;
  row_shape shape = {0, 0};
  VEC sum = SPLAT(0.0f), square = SPLAT(0.0f);
  if (norm->kind == SMFT__NORM_LAYERNORM) {
    EACH(sum = sum + AT(x);)
    shape.mean = SMFT__FN(sum_lanes)(sum) / (float)n;
  }
  EACH(VEC away = AT_PADDED(x, shape.mean) - SPLAT(shape.mean); square = FMA(away, away, square);)
  shape.factor = 1.0f / sqrtf(SMFT__FN(sum_lanes)(square) * share(norm) + norm->eps);
  return shape;
}

SMFT__TARGET static void SMFT__FN(forward)(const smft__half_norm *norm, const float *x, float *y) {
  row_shape shape = SMFT__FN(measure)(norm, x);
  int64_t n = norm->size;
  EACH(VEC value = (AT(x) - SPLAT(shape.mean)) * SPLAT(shape.factor);
       if (norm->weight) value = value * AT(norm->weight);
       if (norm->bias) value = value + AT(norm->bias); PUT(y, value);)
}

/* hat = (x - mean) * factor, g = dy * weight: dx = factor * (g - mean of g [layernorm only] - hat *
 * share * sum of g * hat). */
SMFT__TARGET static void SMFT__FN(backward)(const smft__half_norm *norm, const float *x,
                                            const float *dy, float *dx, int accumulate,
                                            float *d_weight, float *d_bias) {
  row_shape shape = SMFT__FN(measure)(norm, x);
  VEC mean = SPLAT(shape.mean), factor = SPLAT(shape.factor), sum_g = SPLAT(0.0f),
      sum_gh = SPLAT(0.0f);
  int64_t n = norm->size;
  EACH(VEC hat = (AT_PADDED(x, shape.mean) - mean) * factor; VEC d = AT(dy); VEC g = d;
       if (norm->weight) g = g * AT(norm->weight); sum_g = sum_g + g; sum_gh = FMA(g, hat, sum_gh);
       if (d_weight) PUT(d_weight, FMA(d, hat, AT(d_weight)));
       if (d_bias) PUT(d_bias, AT(d_bias) + d);)
  VEC back = SPLAT(SMFT__FN(sum_lanes)(sum_gh) * share(norm));
  VEC centre =
      SPLAT(norm->kind == SMFT__NORM_LAYERNORM ? SMFT__FN(sum_lanes)(sum_g) / (float)n : 0.0f);
  EACH(VEC hat = (AT_PADDED(x, shape.mean) - mean) * factor; VEC d = AT(dy); VEC g = d;
       if (norm->weight) g = g * AT(norm->weight); VEC value = factor * (g - centre - hat * back);
       if (accumulate) value = value + AT(dx); PUT(dx, value);)
}
#undef AT
#undef AT_PADDED
#undef PUT
#undef EACH
