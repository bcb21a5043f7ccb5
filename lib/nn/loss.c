/* loss: cross-entropy over the vocabulary, its gradient in place, and the divergence of two rows of
 * logits. */
#include "nn/loss.h"
#include "base/parallel.h"
#include "nn/vector.h"
#include <math.h>

#define BLOCK_ELEMENTS 16384
#define CHUNK 1024

typedef struct loss_work {
  const float *logits, *other, *scale;
  const int32_t *targets;
  float *gradient, *nll;
  double *kl;
  int64_t m, vocab, rows;
} loss_work;

static void each_rows(smft_ctx *ctx, loss_work *work, smft__block_body body) {
  work->rows = work->vocab < BLOCK_ELEMENTS ? BLOCK_ELEMENTS / work->vocab : 1;
  smft__parallel_for(ctx, smft__blocks(work->m, work->rows), body, work);
}

static int64_t block_end(const loss_work *work, int64_t block) {
  int64_t end = (block + 1) * work->rows;
  return end < work->m ? end : work->m;
}

/* log of the sum of exp(x), without keeping the exponentials */
static double log_sum(const float *x, int64_t n) {
  float most = smft__vector()->maximum(x, n), scratch[CHUNK];
  double sum = 0;
  for (int64_t i = 0; i < n; i += CHUNK)
    sum += smft__vector()->exp_sum(x + i, 1.0f, most, n - i < CHUNK ? n - i : CHUNK, scratch);
  return (double)most + log(sum);
}

static void nll_block(void *arg, int64_t block, int32_t lane) {
  const loss_work *work = arg;
  (void)lane;
  for (int64_t i = block * work->rows; i < block_end(work, block); i++) {
    const float *row = work->logits + i * work->vocab;
    work->nll[i] = (float)(log_sum(row, work->vocab) - (double)row[work->targets[i]]);
  }
}

void smft__nll_rows(smft_ctx *ctx, const float *logits, const int32_t *targets, int64_t m,
                    int64_t vocab, float *nll) {
  loss_work work = {.logits = logits, .targets = targets, .nll = nll, .m = m, .vocab = vocab};
  each_rows(ctx, &work, nll_block);
}

static void gradient_block(void *arg, int64_t block, int32_t lane) {
  const loss_work *work = arg;
  const smft__vector_ops *vector = smft__vector();
  int64_t vocab = work->vocab;
  (void)lane;
  for (int64_t i = block * work->rows; i < block_end(work, block); i++) {
    float *row = work->gradient + i * vocab, most = vector->maximum(row, vocab);
    float wanted = row[work->targets[i]];
    double sum = vector->exp_sum(row, 1.0f, most, vocab, row);
    vector->scale(row, row, (float)((double)work->scale[i] / sum), vocab);
    row[work->targets[i]] -= work->scale[i];
    work->nll[i] = (float)((double)most + log(sum) - (double)wanted);
  }
}

void smft__nll_rows_backward(smft_ctx *ctx, float *logits, const int32_t *targets,
                             const float *scale, int64_t m, int64_t vocab, float *nll) {
  loss_work work = {
      .gradient = logits, .scale = scale, .targets = targets, .nll = nll, .m = m, .vocab = vocab};
  each_rows(ctx, &work, gradient_block);
}

/* Where p is 0 the term is 0, whatever q is. */
static double divergence(const float *p, const float *q, int64_t n) {
  double p_sum = log_sum(p, n), q_sum = log_sum(q, n), total = 0;
  for (int64_t i = 0; i < n; i++) {
    double log_p = (double)p[i] - p_sum, probability = exp(log_p);
    if (probability != 0)
      total += probability * (log_p - ((double)q[i] - q_sum));
  }
  return total;
}

static void kl_block(void *arg, int64_t block, int32_t lane) {
  const loss_work *work = arg;
  (void)lane;
  for (int64_t i = block * work->rows; i < block_end(work, block); i++)
    work->kl[i] =
        divergence(work->logits + i * work->vocab, work->other + i * work->vocab, work->vocab);
}

void smft__kl_rows(smft_ctx *ctx, const float *p_logits, const float *q_logits, int64_t m,
                   int64_t vocab, double *kl) {
  loss_work work = {.logits = p_logits, .other = q_logits, .kl = kl, .m = m, .vocab = vocab};
  each_rows(ctx, &work, kl_block);
}
