/* stats_sparse: see stats_sparse.h. */
#include "learn/stats_sparse.h"
#include "base/alloc.h"

int64_t smft__mask_bytes(int64_t n_slots) { return n_slots / 8 + (n_slots % 8 != 0); }

static int has_bit(const uint8_t *mask, int64_t slot) { return mask[slot / 8] >> slot % 8 & 1; }

int64_t smft__mask_count(const uint8_t *mask, int64_t n_slots) {
  int64_t found = 0;
  for (int64_t i = 0; i < n_slots; i++)
    found += has_bit(mask, i);
  return found;
}

/* ---- from the counts ----------------------------------------------------- */

static int is_read(const smft__stats *stats, int64_t i) {
  return stats->df[i] > 0 || stats->square[i] > 0;
}

int64_t smft__n_read(const smft__stats *stats, int64_t first, int64_t n) {
  int64_t found = 0;
  for (int64_t i = first; i < first + n; i++)
    found += is_read(stats, i);
  return found;
}

static int32_t narrowest(const smft__stats *stats, int64_t first, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = first; i < first + n; i++)
    most = stats->df[i] > most ? stats->df[i] : most;
  return most <= UINT8_MAX ? SMFT__U8 : most <= UINT16_MAX ? SMFT__U16 : SMFT__U32;
}

static void put(smft__sparse *sparse, uint32_t df, float square) {
  int64_t i = sparse->n++;
  if (sparse->dtype == SMFT__U8)
    ((uint8_t *)sparse->df)[i] = (uint8_t)df;
  else if (sparse->dtype == SMFT__U16)
    ((uint16_t *)sparse->df)[i] = (uint16_t)df;
  else
    ((uint32_t *)sparse->df)[i] = df;
  sparse->square[i] = square;
}

smft_status smft__sparse_make(smft__sparse *sparse, smft_ctx *ctx, const smft__stats *stats,
                              int64_t first, int64_t n) {
  int64_t count = smft__n_read(stats, first, n);
  int64_t room = count > 0 ? count : 1;
  sparse->dtype = narrowest(stats, first, n);
  sparse->mask = smft__calloc_array(ctx, smft__mask_bytes(n), 1);
  sparse->df = smft__calloc_array(ctx, room, sizeof(uint32_t));
  sparse->square = smft__calloc_array(ctx, room, sizeof *sparse->square);
  if (!sparse->mask || !sparse->df || !sparse->square)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < n; i++)
    if (is_read(stats, first + i)) {
      sparse->mask[i / 8] = (uint8_t)(sparse->mask[i / 8] | 1 << i % 8);
      put(sparse, stats->df[first + i], stats->square[first + i]);
    }
  return SMFT_OK;
}

void smft__sparse_free(smft__sparse *sparse, smft_ctx *ctx) {
  smft__free(ctx, sparse->mask);
  smft__free(ctx, sparse->df);
  smft__free(ctx, sparse->square);
}

/* ---- and back ------------------------------------------------------------ */

static uint32_t df_at(const smft__tensor *counts, int64_t i) {
  const char *data = counts->data;
  uint16_t half;
  uint32_t whole;
  if (counts->dtype == SMFT__U8)
    return ((const uint8_t *)counts->data)[i];
  if (counts->dtype == SMFT__U16) {
    memcpy(&half, data + i * (int64_t)sizeof half, sizeof half);
    return half;
  }
  memcpy(&whole, data + i * (int64_t)sizeof whole, sizeof whole);
  return whole;
}

void smft__sparse_spread(const uint8_t *mask, const smft__tensor *counts,
                         const smft__tensor *squares, int64_t n_slots, uint32_t *df,
                         float *square) {
  int64_t at = 0;
  for (int64_t i = 0; i < n_slots; i++)
    if (has_bit(mask, i)) {
      df[i] = df_at(counts, at);
      memcpy(&square[i], (const char *)squares->data + at * (int64_t)sizeof *square,
             sizeof *square);
      at++;
    }
}
