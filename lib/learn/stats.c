/* stats: see stats.h.  Owns the arrays; counting is background.c's, the file
 * stats_file.c's, what the counts mean selector.c's. */
#include "learn/stats.h"
#include "base/alloc.h"

int64_t smft__n_slots(const smft_model *model) {
  return (int64_t)model->config.memory.n_keys * model->config.memory.n_keys;
}

int64_t smft__all_slots(const smft_model *model) {
  return smft__n_slots(model) * model->config.n_pools;
}

smft_status smft__stats_create(smft__stats *stats, smft_ctx *ctx, const smft_model *model) {
  int64_t n = smft__all_slots(model);
  smft__stats made = {0};
  made.df = smft__calloc_array(ctx, n, sizeof *made.df);
  made.square = smft__calloc_array(ctx, n, sizeof *made.square);
  *stats = made;
  if (stats->df && stats->square)
    return SMFT_OK;
  smft__stats_free(stats, ctx);
  return SMFT_E_NOMEM;
}

void smft__stats_free(smft__stats *stats, smft_ctx *ctx) {
  smft__stats none = {0};
  smft__free(ctx, stats->df);
  smft__free(ctx, stats->square);
  *stats = none;
}

double smft__stats_total(const smft__stats *stats, const smft_model *model) {
  int64_t n = smft__all_slots(model);
  double total = (double)n;
  for (int64_t i = 0; stats->df && i < n; i++)
    total += (double)stats->df[i];
  return total;
}

double smft__stats_mean_square(const smft__stats *stats, const smft_model *model) {
  double sum = 0;
  for (int64_t i = 0; stats->square && i < smft__all_slots(model); i++)
    sum += (double)stats->square[i];
  return stats->n_reads > 0 ? sum / (double)stats->n_reads : 0;
}
