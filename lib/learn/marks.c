/* marks: see marks.h.  df counts a slot once a batch: `last` remembers which batch counted it. */
#include "learn/marks.h"

#include <string.h>

#include "base/alloc.h"

static void copy_before(smft__marks *marks, const smft__stats *before) {
  size_t n = (size_t)smft__all_slots(marks->model);
  if (before->df) {
    memcpy(marks->stats.df, before->df, n * sizeof *before->df);
    memcpy(marks->stats.square, before->square, n * sizeof *before->square);
  }
  marks->stats.n_batches = before->n_batches;
  marks->stats.n_reads = before->n_reads;
  marks->stats.n_tokens = before->n_tokens;
  memcpy(marks->stats.counted_on, before->counted_on, sizeof before->counted_on);
}

smft_status smft__marks_begin(smft__marks *marks, const smft_model *model,
                              const smft__stats *before) {
  smft__marks made = {.model = model};
  int64_t n = smft__all_slots(model);
  smft_status status = smft__stats_create(&made.stats, model->ctx, model);
  if (status == SMFT_OK) {
    made.square = smft__calloc_array(model->ctx, n, sizeof *made.square);
    made.last = smft__calloc_array(model->ctx, n, sizeof *made.last);
    status = made.square && made.last ? SMFT_OK : SMFT_E_NOMEM;
  }
  *marks = made;
  if (status == SMFT_OK)
    copy_before(marks, before);
  else
    smft__marks_free(marks);
  return status;
}

void smft__marks_free(smft__marks *marks) {
  smft__marks none = {0};
  if (!marks->model)
    return;
  smft__stats_free(&marks->stats, marks->model->ctx);
  smft__free(marks->model->ctx, marks->square);
  smft__free(marks->model->ctx, marks->last);
  *marks = none;
}

void smft__marks_add(smft__marks *marks, int32_t memory, const int64_t *slots, const float *weights,
                     int64_t n, uint32_t batch) {
  int64_t pool = marks->model->config.memories[memory].pool * smft__n_slots(marks->model);
  for (int64_t i = 0; i < n; i++) {
    int64_t at = pool + slots[i];
    marks->square[at] += (double)weights[i] * (double)weights[i];
    if (marks->last[at] != batch) {
      marks->last[at] = batch;
      marks->stats.df[at] += marks->stats.df[at] < UINT32_MAX; /* a file may be full of them */
    }
  }
  marks->stats.n_reads += n;
}

void smft__marks_end(smft__marks *marks, int64_t n_batches, int64_t n_tokens) {
  int64_t n = smft__all_slots(marks->model);
  for (int64_t i = 0; i < n; i++)
    marks->stats.square[i] = (float)((double)marks->stats.square[i] + marks->square[i]);
  marks->stats.n_batches += n_batches;
  marks->stats.n_tokens += n_tokens;
  memset(marks->square, 0, (size_t)n * sizeof *marks->square);
  memset(marks->last, 0, (size_t)n * sizeof *marks->last);
}
