/* vector: operations on one row of floats, in the widest instructions the processor has; what norm,
 * ffn, loss, attention and rope are made of.  Sums run in a fixed order that depends on n alone
 * (and on the instruction set).  exp is within 2 units in the last place. */
#ifndef SMFT__VECTOR_H
#define SMFT__VECTOR_H
#include "data/tensor.h"

typedef struct smft__vector_ops {
  /* NaN may be passed over; n 0: -infinity */
  float (*maximum)(const float *x, int64_t n);
  /* no NaN, none infinite: rows of n, `step` apart */
  int (*all_finite)(const float *x, int64_t rows, int64_t n, int64_t step);
  /* y = exp(scale * x - shift); their sum */
  double (*exp_sum)(const float *x, float scale, float shift, int64_t n, float *y);
  /* in f32, several partial sums */
  float (*dot)(const float *a, const float *b, int64_t n);
  /* every product and sum in double */
  double (*dot_double)(const float *a, const float *b, int64_t n);
  /* y = factor * x; y may be x */
  void (*scale)(float *y, const float *x, float factor, int64_t n);
  /* y += factor * x */
  void (*add_scaled)(float *y, const float *x, float factor, int64_t n);
  /* y = factor * x * w; y may be x */
  void (*scale_weighted)(float *y, const float *x, const float *w, float factor, int64_t n);
  /* dx += a*dy*w - b*x */
  void (*norm_back)(float *dx, const float *x, const float *dy, const float *w, float a, float b,
                    int64_t n);
  void (*swiglu)(float *act, const float *gate, const float *up, int64_t n);
  void (*swiglu_back)(float *d_gate, float *d_up, const float *gate, const float *up,
                      const float *d_act, int64_t n);
  void (*geglu)(float *act, const float *gate, const float *up, int64_t n);
  void (*geglu_back)(float *d_gate, float *d_up, const float *gate, const float *up,
                     const float *d_act, int64_t n);
  /* d = scale * p * (d - mean) */
  void (*softmax_back)(float *d, const float *p, float mean, float scale, int64_t n);
  /* (low, high) turned by the angle */
  void (*rotate)(float *low, float *high, const float *cosine, const float *sine, int64_t n);
  /* any type of weights, any address; n: whole blocks */
  void (*to_f32)(const void *source, int32_t dtype, int64_t n, float *y);
  /* numbers [begin, begin + n) of a row of blocks, both multiples of SMFT__QUANT_LEAST */
  void (*blocks_to_f32)(const void *row, int32_t dtype, int64_t begin, int64_t n, float *y);
} smft__vector_ops;
const smft__vector_ops *smft__vector(void);

/* begin of element `index` of an array of dtype F32, F16 or BF16 */
static inline const void *smft__element(const void *data, int32_t dtype, int64_t index) {
  return (const char *)data + index * SMFT__WEIGHT_BYTES(dtype);
}
/* Elements of a tensor of F32, F16 or BF16 as f32: where they are if they are aligned floats, else
 * converted into `scratch` (n). */
static inline const float *smft__as_f32(const smft__tensor *tensor, int64_t begin, int64_t n,
                                        float *scratch) {
  const void *from = smft__element(tensor->data, tensor->dtype, begin);
  if (tensor->dtype == SMFT__F32 && (uintptr_t)from % sizeof(float) == 0)
    return from;
  smft__vector()->to_f32(from, tensor->dtype, n, scratch);
  return scratch;
}
#endif
