/* embedding: rows of a table by token id. */
#ifndef SMFT__EMBEDDING_H
#define SMFT__EMBEDDING_H
#include "data/tensor.h"
/* y (T, d) = scale * table[ids]; ids were checked */
void smft__embedding_forward(smft_ctx *ctx, const smft__tensor *table, const int32_t *ids,
                             int64_t n_tokens, float scale, float *y);
/* d_table (V, d) += scale * dy; in token order, whatever the threads */
void smft__embedding_backward(smft_ctx *ctx, const int32_t *ids, const float *dy, int64_t n_tokens,
                              int64_t d, float scale, float *d_table);
#endif
