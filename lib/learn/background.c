/* background: a selector's counts over background text: each group of sequences goes through the
 * base model, and what it read is marked.  Owns the order of that; reading the text is
 * background_text.c's, marking marks.c's, the counts are the selector's (stats.h). */
#include "learn/background_text.h"
#include "learn/marks.h"
#include "learn/selector.h"

#define CALLER "smft_selector_count_background"
#define USUAL_TOKENS 64 /* of a sequence */

typedef struct counter {
  const smft_model *model;
  smft_background options; /* with its defaults */
  smft__tape *tape;
  smft__marks marks;
  int64_t n_tokens; /* counted in this call */
} counter;

/* Sequence s of a group, over all layers. */
static void mark_sequence(counter *c, const smft__group *group, int64_t s) {
  int64_t n = 0, width = (int64_t)c->model->config.memory.heads * c->model->config.memory.top_k;
  int64_t begin = group->batch.offsets[s] * width, end = group->batch.offsets[s + 1] * width;
  int64_t batch = (group->first + s) / c->options.sequences_per_batch + 1;
  for (int32_t m = 0; m < c->model->config.n_memories; m++) {
    const int64_t *slots = smft__tape_slots(c->tape, m, &n);
    const float *weights = smft__tape_weights(c->tape, m, &n);
    smft__marks_add(&c->marks, m, slots + begin, weights + begin, end - begin, (uint32_t)batch);
  }
}

static smft_status count_group(void *user, const smft__group *group) {
  counter *c = user;
  SMFT__TRY(smft__network_forward(c->tape, NULL, &group->batch, 0, NULL, NULL));
  for (int64_t s = 0; s < group->batch.n_sequences; s++)
    mark_sequence(c, group, s);
  c->n_tokens += group->batch.n_tokens;
  if (c->options.progress &&
      c->options.progress(c->options.progress_user, "background", group->done, group->total) != 0)
    return smft__fail(SMFT_E_CANCELLED, CALLER ": cancelled by the progress callback");
  return SMFT_OK;
}

static smft_status count(counter *c) {
  int64_t n = 0, per_batch = c->options.sequences_per_batch;
  SMFT__TRY(smft__background_read(&c->options, c->model, CALLER, count_group, c, &n));
  smft__marks_end(&c->marks, n / per_batch + (n % per_batch != 0), c->n_tokens);
  smft__background_name(&c->options, c->marks.stats.corpus, sizeof c->marks.stats.corpus);
  return SMFT_OK;
}

static smft_status count_into(smft_selector *selector, const smft_background *background) {
  counter c = {.model = selector->model};
  SMFT__TRY(smft__background_options(&c.options, background, c.model, USUAL_TOKENS));
  SMFT__TRY(smft__marks_begin(&c.marks, c.model, &selector->stats));
  smft_status status = smft__tape_create(&c.tape, c.model);
  if (status == SMFT_OK)
    status = count(&c);
  if (status == SMFT_OK)
    smft__selector_set(selector, &c.marks.stats);
  smft__tape_free(c.tape);
  smft__marks_free(&c.marks);
  return status;
}

smft_status smft_selector_count_background(smft_selector *selector,
                                           const smft_background *background) {
  SMFT__REQUIRE(selector && background, CALLER ": a NULL argument");
  SMFT__TRY(smft__claim_alone(&selector->claim, "selector", CALLER));
  smft_status status = count_into(selector, background);
  (void)smft__claim_end(&selector->claim);
  return status;
}
