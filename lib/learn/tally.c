/* tally: see tally.h.  Owns the arrays; counting is background.c's, what the counts mean is
 * selector.c's. */
#include "learn/tally.h"
#include "base/alloc.h"

int64_t smft__n_slots(const smft_model *model) {
  return (int64_t)model->config.memory.n_keys * model->config.memory.n_keys;
}

int64_t smft__all_slots(const smft_model *model) {
  return smft__n_slots(model) * model->config.n_pools;
}

smft_status smft__tally_create(smft__tally *tally, smft_ctx *ctx, const smft_model *model) {
  int64_t n = smft__all_slots(model);
  smft__tally made = {smft__calloc_array(ctx, n, sizeof *made.df),
                      smft__calloc_array(ctx, n, sizeof *made.square), 0, 0};
  *tally = made;
  if (tally->df && tally->square)
    return SMFT_OK;
  smft__tally_free(tally, ctx);
  return SMFT_E_NOMEM;
}

void smft__tally_free(smft__tally *tally, smft_ctx *ctx) {
  smft__tally none = {0};
  smft__free(ctx, tally->df);
  smft__free(ctx, tally->square);
  *tally = none;
}

double smft__tally_total(const smft__tally *tally, const smft_model *model) {
  int64_t n = smft__all_slots(model);
  double total = (double)n;
  for (int64_t i = 0; tally->df && i < n; i++)
    total += (double)tally->df[i];
  return total;
}

double smft__tally_mean_square(const smft__tally *tally, const smft_model *model) {
  double sum = 0;
  for (int64_t i = 0; tally->square && i < smft__all_slots(model); i++)
    sum += (double)tally->square[i];
  return tally->n_reads > 0 ? sum / (double)tally->n_reads : 0;
}
