/* stats_file: read statistics as background.safetensors: df.{pool} U32 (n_slots), square.{pool} F32
 * (n_slots); metadata format, batches, reads, tokens, corpus, model_hash. */
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "data/safetensors.h"
#include "learn/stats.h"

#define FORMAT "smft.background.2"
#define OLD_FORMAT "smft.background.1" /* without squares */

typedef char tensor_name[32];

static void describe(const smft__stats *stats, const smft_model *model, tensor_name *names,
                     smft__save_tensor *tensors) {
  int64_t n_slots = smft__n_slots(model);
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    smft__tensor df = {stats->df + p * n_slots, {n_slots}, 1, SMFT__U32};
    smft__tensor square = {stats->square + p * n_slots, {n_slots}, 1, SMFT__F32};
    snprintf(names[2 * p], sizeof *names, "df.%d", (int)p);
    snprintf(names[2 * p + 1], sizeof *names, "square.%d", (int)p);
    tensors[2 * p].name = names[2 * p];
    tensors[2 * p].tensor = df;
    tensors[2 * p + 1].name = names[2 * p + 1];
    tensors[2 * p + 1].tensor = square;
  }
}

smft_status smft__stats_save(const smft__stats *stats, const smft_model *model, const char *path) {
  smft_ctx *ctx = model->ctx;
  int32_t n = 2 * model->config.n_pools;
  char batches[32], tokens[32], reads[32];
  snprintf(batches, sizeof batches, "%lld", (long long)stats->n_batches);
  snprintf(reads, sizeof reads, "%lld", (long long)stats->n_reads);
  snprintf(tokens, sizeof tokens, "%lld", (long long)stats->n_tokens);
  const char *keys[] = {"format", "batches", "reads", "tokens", "corpus", "model_hash"};
  const char *values[] = {FORMAT, batches, reads, tokens, stats->corpus, model->hash};
  smft__save_tensor *tensors = smft__calloc_array(ctx, n, sizeof *tensors);
  tensor_name *names = smft__calloc_array(ctx, n, sizeof *names);
  smft_status status = tensors && names ? SMFT_OK : SMFT_E_NOMEM;
  if (status == SMFT_OK) {
    describe(stats, model, names, tensors);
    status = smft__safetensors_write(ctx, path, tensors, n, keys, values, 6, NULL, NULL);
  }
  smft__free(ctx, names);
  smft__free(ctx, tensors);
  return status;
}

static smft_status read_number(const smft__source *file, const char *path, const char *key,
                               int64_t *value) {
  *value = smft__source_number(file, key);
  return *value >= 0 ? SMFT_OK
                     : smft__fail(SMFT_E_FORMAT, "%s: its number of %s is missing or not a number",
                                  path, key);
}

static smft_status check_file(const smft_model *model, const smft__source *file, const char *path,
                              int *is_old) {
  const char *format = smft__source_metadata(file, "format");
  const char *hash = smft__source_metadata(file, "model_hash");
  *is_old = format && strcmp(format, OLD_FORMAT) == 0;
  if (!format || (!*is_old && strcmp(format, FORMAT) != 0))
    return smft__fail(SMFT_E_FORMAT,
                      "%s: not background counts: its format is \"%s\", expected \"%s\"", path,
                      format ? format : "", FORMAT);
  if (!hash || strcmp(hash, model->hash) != 0)
    return smft__fail(SMFT_E_MISMATCH, "%s: counts of another model: made for %s, this model is %s",
                      path, hash ? hash : "(unnamed)", model->hash);
  return SMFT_OK;
}

/* out (n_slots) of 4 bytes each. */
static smft_status read_tensor(const smft__source *file, const char *path, const char *kind,
                               int32_t pool, int32_t dtype, int64_t n_slots, void *out) {
  tensor_name name;
  snprintf(name, sizeof name, "%s.%d", kind, (int)pool);
  int64_t at = smft__source_find(file, name);
  const smft__tensor *tensor = at >= 0 ? &file->tensors[at] : NULL;
  if (!tensor || tensor->dtype != dtype || tensor->n_dims != 1 || tensor->shape[0] != n_slots)
    return smft__fail(SMFT_E_MISMATCH, "%s: expected a tensor \"%s\" of %lld numbers of type %s",
                      path, name, (long long)n_slots, dtype == SMFT__U32 ? "U32" : "F32");
  memcpy(out, tensor->data, (size_t)n_slots * 4);
  return SMFT_OK;
}

/* A file without squares: as if every read had taken an even share of its head. */
static void guess_squares(const smft_model *model, smft__stats *stats, int64_t first, int64_t n) {
  float even = 1 / (float)model->config.memory.top_k;
  for (int64_t i = first; i < first + n; i++) {
    stats->square[i] = (float)stats->df[i] * even * even;
    stats->n_reads += stats->df[i];
  }
}

static smft_status check_counts(const smft__stats *stats, const char *path, int32_t pool,
                                int64_t first, int64_t n) {
  for (int64_t i = first; i < first + n; i++) {
    if ((int64_t)stats->df[i] > stats->n_batches)
      return smft__fail(SMFT_E_FORMAT, "%s: slot %lld of pool %d was read in %u batches of %lld",
                        path, (long long)(i - first), (int)pool, (unsigned)stats->df[i],
                        (long long)stats->n_batches);
    if (!isfinite(stats->square[i]) || stats->square[i] < 0)
      return smft__fail(
          SMFT_E_FORMAT,
          "%s: slot %lld of pool %d: the sum of its squared weights is not a number from 0 on",
          path, (long long)(i - first), (int)pool);
  }
  return SMFT_OK;
}

static smft_status read_stats(const smft_model *model, const smft__source *file, const char *path,
                              int is_old, smft__stats *stats) {
  int64_t n = smft__n_slots(model);
  SMFT__TRY(read_number(file, path, "batches", &stats->n_batches));
  if (!is_old)
    SMFT__TRY(read_number(file, path, "reads", &stats->n_reads));
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    SMFT__TRY(read_tensor(file, path, "df", p, SMFT__U32, n, stats->df + p * n));
    if (is_old)
      guess_squares(model, stats, p * n, n);
    else
      SMFT__TRY(read_tensor(file, path, "square", p, SMFT__F32, n, stats->square + p * n));
    SMFT__TRY(check_counts(stats, path, p, p * n, n));
  }
  return SMFT_OK;
}

static void read_source(const smft__source *file, smft__stats *stats) {
  int64_t n_tokens = smft__source_number(file, "tokens");
  const char *corpus = smft__source_metadata(file, "corpus");
  stats->n_tokens = n_tokens > 0 ? n_tokens : 0;
  snprintf(stats->corpus, sizeof stats->corpus, "%s",
           corpus && strlen(corpus) < sizeof stats->corpus ? corpus : "");
}

smft_status smft__stats_load(smft__stats *stats, const smft_model *model, const char *path) {
  smft__source file = {0};
  smft__stats made = {0};
  int is_old = 0;
  SMFT__TRY(smft__safetensors_open(&file, model->ctx, path, 0));
  smft_status status = check_file(model, &file, path, &is_old);
  if (status == SMFT_OK)
    status = smft__stats_create(&made, model->ctx, model);
  if (status == SMFT_OK)
    status = read_stats(model, &file, path, is_old, &made);
  if (status == SMFT_OK) {
    read_source(&file, &made);
    *stats = made;
  } else {
    smft__stats_free(&made, model->ctx);
  }
  smft__source_close(&file);
  return status;
}
