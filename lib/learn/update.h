/* update: the arithmetic of one SGD or AdamW step on an array, and sums of squares.  Elementwise,
 * without fused multiply-add, so that a number's result depends neither on its position nor on the
 * processor: a row updated alone equals the row updated in its table. */
#ifndef SMFT__UPDATE_H
#define SMFT__UPDATE_H
#include <stdint.h>

typedef struct smft__update_rule { /* one step's constants */
  int32_t adamw;
  float lr;       /* SGD: the rate; AdamW: rate / (1 - beta1^step) */
  float decay;    /* SGD: added to the gradient, times w; AdamW: 1 - rate * weight_decay */
  float momentum; /* SGD */
  float beta1, one_minus_beta1, beta2, one_minus_beta2;
  float root_bias2; /* sqrt(1 - beta2^step) */
  float eps;
  float scale; /* gradient clipping */
} smft__update_rule;

/* w, g (n); m, v (n) or NULL where the rule has none (plain SGD: neither; momentum: m).  The new
 * values go to w_out, m_out, v_out, which may be w, m, v; w_out NULL: nothing is stored.  Returns 1
 * if every new value is finite, else 0. */
int smft__update(const smft__update_rule *rule, const float *w, const float *g, const float *m,
                 const float *v, int64_t n, float *w_out, float *m_out, float *v_out);
/* 1 where a weight without gradient and moments stays exactly as it is (no decay), so that it need
 * not be visited. */
int smft__update_leaves_idle(const smft__update_rule *rule);

typedef struct smft__bounds { /* no |weight|, |first moment|, |second moment| is larger */
  double w, m, v;
} smft__bounds;
/* The bounds after an update of gradients that are at most `gradient` before they are scaled,
 * infinite from SMFT__BOUNDS_SAFE on.  Where all three are finite every new value is, and nothing
 * needs to be looked at first. */
smft__bounds smft__update_bounds(const smft__update_rule *rule, const smft__bounds *before,
                                 double gradient);
#define SMFT__BOUNDS_SAFE 1e38

/* Sum of squares in double, in a fixed order: eight sums, x[i] into number (at + i) % 8, then those
 * together. */
void smft__add_squares(double sum[8], const float *x, int64_t n, int64_t at);
double smft__sum_lanes(const double sum[8]);
double smft__sum_squares(const float *x, int64_t n);
/* The largest magnitude; infinite where a number is not finite. */
double smft__largest(const float *x, int64_t n);
#endif
