/* embedding: reads rows by token id, and sums gradients into them in token order. */
#include "nn/embedding.h"
#include "base/parallel.h"
#include "nn/vector.h"

#define READ_ELEMENTS 16384
#define MOST_WRITERS 16

typedef struct embedding_work {
  const smft__tensor *table;
  const int32_t *ids;
  const float *dy;
  float *y, *d_table, scale;
  int64_t n_tokens, d, rows, writers;
} embedding_work;

static void read_rows(void *arg, int64_t block, int32_t lane) {
  const embedding_work *work = arg;
  const smft__tensor *table = work->table;
  int64_t d = work->d, begin = block * work->rows;
  (void)lane;
  for (int64_t t = begin; t < begin + work->rows && t < work->n_tokens; t++) {
    smft__vector()->to_f32((const char *)table->data +
                               work->ids[t] * smft__row_bytes(table->dtype, d),
                           table->dtype, d, work->y + t * d);
    if (work->scale != 1.0f)
      smft__vector()->scale(work->y + t * d, work->y + t * d, work->scale, d);
  }
}

void smft__embedding_forward(smft_ctx *ctx, const smft__tensor *table, const int32_t *ids,
                             int64_t n_tokens, float scale, float *y) {
  embedding_work work = {.table = table,
                         .ids = ids,
                         .y = y,
                         .scale = scale,
                         .n_tokens = n_tokens,
                         .d = table->shape[1]};
  work.rows = work.d < READ_ELEMENTS ? READ_ELEMENTS / work.d : 1;
  smft__parallel_for(ctx, smft__blocks(n_tokens, work.rows), read_rows, &work);
}

/* Writer b owns the rows with id % writers == b, so no row has two. */
static void write_rows(void *arg, int64_t block, int32_t lane) {
  const embedding_work *work = arg;
  (void)lane;
  for (int64_t t = 0; t < work->n_tokens; t++)
    if (work->ids[t] % work->writers == block)
      smft__vector()->add_scaled(work->d_table + work->ids[t] * work->d, work->dy + t * work->d,
                                 work->scale, work->d);
}

void smft__embedding_backward(smft_ctx *ctx, const int32_t *ids, const float *dy, int64_t n_tokens,
                              int64_t d, float scale, float *d_table) {
  embedding_work work = {
      .ids = ids, .dy = dy, .d_table = d_table, .scale = scale, .n_tokens = n_tokens, .d = d};
  work.writers = n_tokens * d < READ_ELEMENTS ? 1 : MOST_WRITERS;
  smft__parallel_for(ctx, work.writers, write_rows, &work);
}
