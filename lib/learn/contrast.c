/* contrast: see contrast.h.  Owns the passes over the questions about others; which these are is
 * others.c's, what follows from their reads selector.c's. */
#include "learn/contrast.h"
#include "base/alloc.h"
#include "base/parallel.h"
#include "learn/forward.h"
#include <string.h>

/* of a pass: usual questions are all in one or two */
#define MOST_SEQUENCES 32
#define MOST_TOKENS 4096

smft_status smft__contrast_create(smft__contrast *contrast, const smft_model *model) {
  contrast->ctx = model->ctx;
  contrast->read = smft__calloc_array(model->ctx, model->config.n_pools, sizeof *contrast->read);
  if (!contrast->read)
    return SMFT_E_NOMEM;
  contrast->n_pools = model->config.n_pools;
  for (int32_t p = 0; p < contrast->n_pools; p++)
    smft__counts_init(&contrast->read[p], model->ctx);
  return SMFT_OK;
}

void smft__contrast_free(smft__contrast *contrast) {
  for (int32_t p = 0; p < contrast->n_pools; p++)
    smft__counts_free(&contrast->read[p]);
  smft__free(contrast->ctx, contrast->read);
  smft__free(contrast->ctx, contrast->ids);
}

/* Sequences [s, end) in one pass: one at least. */
static int64_t end_of_pass(const smft__others *others, int64_t s) {
  int64_t end = s + 1;
  while (end < others->n && end - s < MOST_SEQUENCES &&
         others->offsets[end + 1] - others->offsets[s] <= MOST_TOKENS)
    end++;
  return end;
}

/* With how many tokens all of [s, end) begin; of each, one at least is its own. */
static int64_t n_shared(const smft__others *others, int64_t s, int64_t end) {
  const int32_t *ids = others->ids.data;
  int64_t n = others->offsets[s + 1] - others->offsets[s] - 1;
  for (int64_t i = s + 1; i < end; i++) {
    int64_t most = smft__least(n, others->offsets[i + 1] - others->offsets[i] - 1);
    n = smft__ids_in_common(ids + others->offsets[s], ids + others->offsets[i], most);
  }
  return n;
}

static smft_status pass_over(smft__contrast *contrast, smft__tape *tape, const smft__others *others,
                             int64_t s, int64_t end, const atomic_int *cancel) {
  int64_t offsets[MOST_SEQUENCES + 1] = {0}, shared = n_shared(others, s, end);
  SMFT__TRY(smft__grow(contrast->ctx, &contrast->ids, &contrast->capacity,
                       others->offsets[end] - others->offsets[s], sizeof *contrast->ids));
  for (int64_t i = s; i < end; i++) {
    int64_t from = others->offsets[i] + (i > s ? shared : 0), n = others->offsets[i + 1] - from;
    memcpy(contrast->ids + offsets[i - s], others->ids.data + from,
           (size_t)n * sizeof *contrast->ids);
    offsets[i - s + 1] = offsets[i - s] + n;
  }
  smft__sequences some = {contrast->ids, offsets, end - s, offsets[end - s], NULL};
  SMFT__TRY(smft__network_reads(tape, &some, shared, cancel));
  return smft__add_reads(contrast->read, tape->model, tape);
}

smft_status smft__contrast_read(smft__contrast *contrast, smft__tape *tape, const smft__fact *fact,
                                const atomic_int *cancel) {
  const smft__others *others = &fact->others;
  if (contrast->serial == fact->serial || others->n == 0)
    return SMFT_OK;
  contrast->serial = 0;
  for (int32_t p = 0; p < contrast->n_pools; p++)
    smft__counts_clear(&contrast->read[p]);
  for (int64_t s = 0, end; s < others->n; s = end) {
    end = end_of_pass(others, s);
    SMFT__TRY(pass_over(contrast, tape, others, s, end, cancel));
  }
  for (int32_t p = 0; p < contrast->n_pools; p++)
    SMFT__TRY(smft__counts_finish(&contrast->read[p]));
  contrast->serial = fact->serial;
  return SMFT_OK;
}

const smft__counts *smft__contrast_of(const smft__contrast *contrast, int64_t serial) {
  return serial && contrast->serial == serial ? contrast->read : NULL;
}
