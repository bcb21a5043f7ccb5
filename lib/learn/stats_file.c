/* stats_file: read statistics as background.safetensors: df.{pool} U32 (n_slots), square.{pool} F32
 * (n_slots); metadata format, batches, reads, tokens, corpus, model_hash, and counted_on after an
 * export.  Where most slots are
 * read by nothing, only the others are written: read.{pool} U8 has a bit for every slot, the lowest
 * of the first byte for slot 0, and df, in the narrowest type that holds it, and square have a
 * number for every bit that is set. */
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "data/safetensors.h"
#include "learn/stats_sparse.h"

#define FORMAT "smft.background.2"
#define OLD_FORMAT "smft.background.1"    /* without squares */
#define SPARSE_FORMAT "smft.background.3" /* of slots that were read */
/* is written where at most so many of all slots were read */
#define SPARSE_SHARE 0.5
#define MOST_TENSORS 3 /* of a pool */

typedef char tensor_name[32];

/* What is being written. */
typedef struct tensor_list {
  smft__save_tensor *tensors;
  tensor_name *names;
  int32_t n;
} tensor_list;

static void add(tensor_list *list, const char *kind, int32_t pool, int32_t dtype, const void *data,
                int64_t n) {
  smft__tensor tensor = {data, {n}, 1, dtype};
  snprintf(list->names[list->n], sizeof *list->names, "%s.%d", kind, (int)pool);
  list->tensors[list->n].name = list->names[list->n];
  list->tensors[list->n++].tensor = tensor;
}

static void add_all(tensor_list *list, const smft__stats *stats, const smft_model *model) {
  int64_t n = smft__n_slots(model);
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    add(list, "df", p, SMFT__U32, stats->df + p * n, n);
    add(list, "square", p, SMFT__F32, stats->square + p * n, n);
  }
}

/* pools (n_pools): filled, and freed by the caller whatever comes of it. */
static smft_status add_sparse(tensor_list *list, const smft__stats *stats, const smft_model *model,
                              smft__sparse *pools) {
  int64_t n = smft__n_slots(model);
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    SMFT__TRY(smft__sparse_make(&pools[p], model->ctx, stats, p * n, n));
    add(list, "read", p, SMFT__U8, pools[p].mask, smft__mask_bytes(n));
    add(list, "df", p, pools[p].dtype, pools[p].df, pools[p].n);
    add(list, "square", p, SMFT__F32, pools[p].square, pools[p].n);
  }
  return SMFT_OK;
}

/* ---- writing ------------------------------------------------------------- */

static smft_status write_tensors(const tensor_list *list, const smft__stats *stats,
                                 const smft_model *model, const char *format, const char *path) {
  char batches[32], tokens[32], reads[32];
  snprintf(batches, sizeof batches, "%lld", (long long)stats->n_batches);
  snprintf(reads, sizeof reads, "%lld", (long long)stats->n_reads);
  snprintf(tokens, sizeof tokens, "%lld", (long long)stats->n_tokens);
  const char *keys[] = {"format", "batches",    "reads",     "tokens",
                        "corpus", "model_hash", "counted_on"};
  const char *values[] = {format,      batches,          reads, tokens, stats->corpus,
                          model->hash, stats->counted_on};
  int n_metadata = stats->counted_on[0] ? 7 : 6;
  return smft__safetensors_write(model->ctx, path, list->tensors, list->n, keys, values, n_metadata,
                                 NULL, NULL);
}

static smft_status save(tensor_list *list, smft__sparse *pools, const smft__stats *stats,
                        const smft_model *model, const char *path) {
  int64_t all = smft__all_slots(model);
  int few = (double)smft__n_read(stats, 0, all) <= SPARSE_SHARE * (double)all;
  if (few)
    SMFT__TRY(add_sparse(list, stats, model, pools));
  else
    add_all(list, stats, model);
  return write_tensors(list, stats, model, few ? SPARSE_FORMAT : FORMAT, path);
}

smft_status smft__stats_save(const smft__stats *stats, const smft_model *model, const char *path) {
  smft_ctx *ctx = model->ctx;
  int32_t n_pools = model->config.n_pools;
  tensor_list list = {smft__calloc_array(ctx, MOST_TENSORS * n_pools, sizeof *list.tensors),
                      smft__calloc_array(ctx, MOST_TENSORS * n_pools, sizeof *list.names), 0};
  smft__sparse *pools = smft__calloc_array(ctx, n_pools, sizeof *pools);
  smft_status status =
      list.tensors && list.names && pools ? save(&list, pools, stats, model, path) : SMFT_E_NOMEM;
  for (int32_t p = 0; pools && p < n_pools; p++)
    smft__sparse_free(&pools[p], ctx);
  smft__free(ctx, pools);
  smft__free(ctx, list.names);
  smft__free(ctx, list.tensors);
  return status;
}

/* ---- reading ------------------------------------------------------------- */

static smft_status read_number(const smft__source *file, const char *path, const char *key,
                               int64_t *value) {
  *value = smft__source_number(file, key);
  return *value >= 0 ? SMFT_OK
                     : smft__fail(SMFT_E_FORMAT, "%s: its number of %s is missing or not a number",
                                  path, key);
}

static smft_status check_file(const smft_model *model, const smft__source *file, const char *path,
                              const char **format) {
  const char *hash = smft__source_metadata(file, "model_hash");
  *format = smft__source_metadata(file, "format");
  if (!*format || (strcmp(*format, OLD_FORMAT) != 0 && strcmp(*format, FORMAT) != 0 &&
                   strcmp(*format, SPARSE_FORMAT) != 0))
    return smft__fail(SMFT_E_FORMAT,
                      "%s: not background counts: its format is \"%s\", expected \"%s\"", path,
                      *format ? *format : "", FORMAT);
  if (!hash || strcmp(hash, model->hash) != 0)
    return smft__fail(SMFT_E_MISMATCH, "%s: counts of another model: made for %s, this model is %s",
                      path, hash ? hash : "(unnamed)", model->hash);
  return SMFT_OK;
}

/* A list of n numbers; dtype 0: any of df's. */
static smft_status find_tensor(const smft__source *file, const char *path, const char *kind,
                               int32_t pool, int32_t dtype, int64_t n, const smft__tensor **out) {
  tensor_name name;
  snprintf(name, sizeof name, "%s.%d", kind, (int)pool);
  int64_t at = smft__source_find(file, name);
  const smft__tensor *tensor = *out = at >= 0 ? &file->tensors[at] : NULL;
  int32_t is = tensor ? tensor->dtype : 0;
  int fits = dtype ? is == dtype : is == SMFT__U8 || is == SMFT__U16 || is == SMFT__U32;
  if (!fits || tensor->n_dims != 1 || tensor->shape[0] != n)
    return smft__fail(SMFT_E_MISMATCH, "%s: expected a tensor \"%s\" of %lld numbers of type %s",
                      path, name, (long long)n, dtype ? smft__dtype_name(dtype) : "U8, U16 or U32");
  return SMFT_OK;
}

/* out (n_slots) of 4 bytes each. */
static smft_status read_tensor(const smft__source *file, const char *path, const char *kind,
                               int32_t pool, int32_t dtype, int64_t n_slots, void *out) {
  const smft__tensor *tensor;
  SMFT__TRY(find_tensor(file, path, kind, pool, dtype, n_slots, &tensor));
  memcpy(out, tensor->data, (size_t)n_slots * 4);
  return SMFT_OK;
}

static smft_status read_sparse(const smft__source *file, const char *path, int32_t pool, int64_t n,
                               uint32_t *df, float *square) {
  const smft__tensor *mask, *counts, *squares;
  SMFT__TRY(find_tensor(file, path, "read", pool, SMFT__U8, smft__mask_bytes(n), &mask));
  int64_t found = smft__mask_count(mask->data, n);
  SMFT__TRY(find_tensor(file, path, "df", pool, 0, found, &counts));
  SMFT__TRY(find_tensor(file, path, "square", pool, SMFT__F32, found, &squares));
  smft__sparse_spread(mask->data, counts, squares, n, df, square);
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
                              const char *format, smft__stats *stats) {
  int64_t n = smft__n_slots(model);
  int is_old = strcmp(format, OLD_FORMAT) == 0;
  SMFT__TRY(read_number(file, path, "batches", &stats->n_batches));
  if (!is_old)
    SMFT__TRY(read_number(file, path, "reads", &stats->n_reads));
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    if (strcmp(format, SPARSE_FORMAT) == 0)
      SMFT__TRY(read_sparse(file, path, p, n, stats->df + p * n, stats->square + p * n));
    else
      SMFT__TRY(read_tensor(file, path, "df", p, SMFT__U32, n, stats->df + p * n));
    if (is_old)
      guess_squares(model, stats, p * n, n);
    else if (strcmp(format, FORMAT) == 0)
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
  const char *on = smft__source_metadata(file, "counted_on");
  snprintf(stats->counted_on, sizeof stats->counted_on, "%s",
           on && strlen(on) < sizeof stats->counted_on ? on : "");
}

smft_status smft__stats_load(smft__stats *stats, const smft_model *model, const char *path) {
  smft__source file = {0};
  smft__stats made = {0};
  const char *format = "";
  SMFT__TRY(smft__safetensors_open(&file, model->ctx, path, 0));
  smft_status status = check_file(model, &file, path, &format);
  if (status == SMFT_OK)
    status = smft__stats_create(&made, model->ctx, model);
  if (status == SMFT_OK)
    status = read_stats(model, &file, path, format, &made);
  if (status == SMFT_OK) {
    read_source(&file, &made);
    *stats = made;
  } else {
    smft__stats_free(&made, model->ctx);
  }
  smft__source_close(&file);
  return status;
}
