/* rates: the learning rates of a host that sets none (docs/method.md says where they come from). */
#ifndef SMFT__RATES_H
#define SMFT__RATES_H
#include "model/patch.h"

/* Mean squared norm of a pool's value rows, over evenly spaced rows of all pools; 0 without pools.
 */
double smft__mean_row_square(const smft_model *model);
/* The default of a patch kind and optimizer kind.  row_square: smft__mean_row_square, once a
 * learner.  For SGD on slots it is the largest rate, higher where rows are damped; smft__capped_lr
 * gives a step's. */
double smft__default_lr(const smft_patch *patch, int32_t optimizer_kind, double row_square,
                        int damped);
/* SGD on slots: the Polyak step that would halve the loss again and again, loss / |gradient|^2, a
 * part of it, never over `cap`. */
double smft__capped_lr(double loss, double gradient_norm, double cap);
/* SGD on slots: the rate at which a step along a gradient of this norm has a length; 0 where the
 * gradient is 0, or so small that its direction is lost. */
double smft__length_lr(double length, double gradient_norm);
/* How many times as long such a step is where the loss (nats a token) says: far away it may be
 * long, near the end a long one would only step over it. */
double smft__length_by_loss(double loss);
#endif
