/* replay: see replay.h. */
#include "replay.h"
#include "program.h"
#include <stdlib.h>

#define LOSS_BELOW 0.2 /* the learner's defaults */
#define MAX_STEPS 200
#define WORDINGS 4

void replay_make(replay *r, const smft_model *model, smft_patch *patch, smft_learner *learner) {
  r->tokenizer = smft_model_tokenizer(model);
  r->learner = learner;
  r->loss_below = r->loss_below > 0 ? r->loss_below : LOSS_BELOW;
  r->max_steps = r->max_steps > 0 ? r->max_steps : MAX_STEPS;
  r->wordings = r->wordings != 0 ? r->wordings : WORDINGS;
  check(smft_session_create(&r->session, model, patch, NULL), "session");
}

/* ---- done ---------------------------------------------------------------- */

/* The wording's mean loss over what is learnt of it. */
static double loss_of(replay *r, int64_t wording) {
  const sequences *l = &r->lesson;
  int64_t n = l->lengths[wording], at = l->begins[wording];
  float *nll = need(malloc((size_t)n * sizeof *nll));
  double sum = 0, weight = 0;
  check(smft_session_nll(r->session, l->ids + at, n, nll, NULL), "the loss of a wording");
  for (int64_t i = 1; i < n; i++) {
    sum += (double)l->weights[at + i] * (double)nll[i - 1];
    weight += (double)l->weights[at + i];
  }
  free(nll);
  return sum / weight;
}

/* *above: the wording that was above last, asked first: most of the time it is enough to ask it. */
static int is_learnt(replay *r, int64_t *above) {
  if (loss_of(r, *above) >= r->loss_below)
    return 0;
  for (int64_t w = 0; w < r->lesson.n; w++)
    if (w != *above && loss_of(r, w) >= r->loss_below) {
      *above = w;
      return 0;
    }
  return 1;
}

/* ---- steps --------------------------------------------------------------- */

/* order (n) of the wordings: the first `wordings` are this step's. */
static void fill_batch(replay *r, int64_t *order) {
  int64_t n = r->lesson.n, drawn = r->wordings < 0 || r->wordings > n ? n : r->wordings;
  sequences_clear(&r->batch);
  for (int64_t i = 0; i < drawn; i++) {
    int64_t j = i + atlas_below(&r->state, n - i), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
    sequences_copy(&r->batch, &r->lesson, order[i]);
  }
  for (int64_t i = 0; i < r->sequences; i++)
    sequences_copy(&r->batch, &r->texts, atlas_below(&r->state, r->texts.n));
}

static void step(replay *r, int64_t *order) {
  smft_batch batch = SMFT_BATCH_INIT;
  fill_batch(r, order);
  batch.ids = r->batch.ids;
  batch.lengths = r->batch.lengths;
  batch.n_sequences = r->batch.n;
  batch.token_weights = r->batch.weights;
  check(smft_learner_step_batch(r->learner, &batch, NULL), "a step with replay");
}

int64_t replay_teach(replay *r, const lesson *l) {
  int64_t steps = 0, above = 0;
  int64_t *order = need(malloc(((size_t)l->n_train + 1) * sizeof *order));
  sequences_clear(&r->lesson);
  for (int64_t w = 0; w < l->n_train; w++) {
    order[w] = w;
    sequences_add(&r->lesson, r->tokenizer, &l->train[w], 0);
  }
  while (steps < r->max_steps && !is_learnt(r, &above)) {
    step(r, order);
    steps++;
  }
  free(order);
  return steps;
}

void replay_free(replay *r) {
  smft_session_free(r->session);
  sequences_free(&r->texts);
  sequences_free(&r->lesson);
  sequences_free(&r->batch);
}
