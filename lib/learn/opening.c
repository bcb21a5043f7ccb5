/* opening: see opening.h.  Owns what is shared and for how long; the pass over it is
 * model/network.c's.  A row changes only if it was chosen for the fact, and none is chosen that the
 * opening reads, so what it leaves in the blocks stays the same from step to step, and the gradient
 * through it is exactly zero. */
#include "learn/opening.h"
#include "base/alloc.h"
#include "base/parallel.h"

/* so many tokens of a pass over all wordings, or it is not worth while */
#define LEAST_SPARED 16
/* wordings that are tried as the one which the others begin like */
#define MOST_TRIED 32

void smft__opening_free(smft__opening *opening) {
  smft__lead_free(&opening->lead);
  smft__free(opening->ctx, opening->past);
}

/* ---- what is shared ------------------------------------------------------ */

/* Tokens of a wording before the first that is learnt, but for one, since nothing predicts the
 * first token of what follows an opening. */
static int64_t most_of(const smft__fact *fact, int64_t w) {
  int64_t n = 0, begin = fact->offsets[w], end = fact->offsets[w + 1];
  while (begin + n < end && fact->weights[begin + n] == 0)
    n++;
  return n > 0 ? n - 1 : 0;
}

/* With how many tokens both begin. */
static int64_t in_common(const smft__fact *fact, int64_t a, int64_t b) {
  int64_t n = 0, most = smft__least(most_of(fact, a), most_of(fact, b));
  const int32_t *left = fact->ids.data + fact->offsets[a];
  const int32_t *right = fact->ids.data + fact->offsets[b];
  while (n < most && left[n] == right[n])
    n++;
  return n;
}

/* How many wordings begin with the first n tokens of one. */
static int64_t followers(const smft__fact *fact, int64_t wording, int64_t n) {
  int64_t count = 0;
  for (int64_t w = 0; w < fact->n_wordings; w++)
    count += in_common(fact, wording, w) >= n;
  return count;
}

/* The best that one wording's beginning does; each length at which another one leaves is tried. */
static void try_wording(smft__opening *opening, const smft__fact *fact, int64_t wording,
                        int64_t *best) {
  for (int64_t w = wording + 1; w < fact->n_wordings && w <= wording + MOST_TRIED; w++) {
    int64_t n = in_common(fact, wording, w);
    int64_t spared = n > 0 ? n * (followers(fact, wording, n) - 1) : 0;
    if (spared <= *best)
      continue;
    *best = spared;
    opening->wording = wording;
    opening->n_tokens = n;
  }
}

smft_status smft__opening_find(smft__opening *opening, const smft__fact *fact) {
  int64_t best = LEAST_SPARED - 1;
  if (opening->serial == fact->serial)
    return SMFT_OK;
  opening->serial = opening->n_tokens = 0;
  opening->made_of = 0;
  SMFT__TRY(smft__grow(opening->ctx, &opening->past, &opening->past_capacity, fact->n_wordings,
                       sizeof *opening->past));
  for (int64_t w = 0; w < fact->n_wordings && w < MOST_TRIED; w++)
    try_wording(opening, fact, w, &best);
  SMFT__TRY(smft__lead_reserve(&opening->lead, opening->n_tokens));
  for (int64_t w = 0; w < fact->n_wordings; w++)
    opening->past[w] =
        opening->n_tokens > 0 && in_common(fact, opening->wording, w) >= opening->n_tokens
            ? opening->n_tokens
            : 0;
  opening->serial = fact->serial;
  return SMFT_OK;
}

/* ---- its pass ------------------------------------------------------------ */

static int is_chosen(const smft__choice *choice, int32_t pool, const int64_t *slots, int64_t n) {
  for (int64_t i = 0; i < choice->rows.n; i++)
    for (int64_t j = 0; choice->rows.list[i].pool == pool && j < n; j++)
      if (slots[j] == choice->rows.list[i].slot)
        return 1;
  return 0;
}

static int reads_chosen(const smft__choice *choice, const smft__tape *tape) {
  const smft__config *c = &tape->model->config;
  for (int32_t m = 0; m < c->n_memories; m++) {
    int64_t n = 0;
    const int64_t *slots = smft__tape_slots(tape, m, &n);
    if (is_chosen(choice, c->memories[m].pool, slots, n))
      return 1;
  }
  return 0;
}

static smft_status run(smft__opening *opening, smft__kept_layers *kept, smft__tape *tape,
                       const smft__version *version, const smft__fact *fact,
                       const atomic_int *cancel) {
  int64_t begin = fact->offsets[opening->wording], offsets[2] = {0, opening->n_tokens};
  smft__sequences one = {fact->ids.data + begin, offsets, 1, opening->n_tokens, NULL};
  smft__kept_batch from = {&kept->layers, &begin, NULL, NULL};
  return smft__network_share(tape, version, &one, &from, &opening->lead, cancel);
}

smft_status smft__opening_make(smft__opening *opening, const smft__choice *choice,
                               smft__kept_layers *kept, smft__tape *tape, smft_patch *patch,
                               const smft__fact *fact, const atomic_int *cancel) {
  const smft__version *version;
  if (opening->n_tokens == 0)
    return SMFT_OK;
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  smft_status status = SMFT_OK;
  if (!smft__opening_holds(opening, version)) {
    opening->made_of = 0;
    status = run(opening, kept, tape, version, fact, cancel);
    if (status == SMFT_OK && reads_chosen(choice, tape))
      opening->n_tokens = 0;
    else if (status == SMFT_OK)
      opening->made_of = atomic_load(&version->number);
  }
  smft__patch_end_read(patch, version);
  return status;
}

smft_status smft__opening_check(smft__opening *opening, smft__batch_room *room,
                                smft__kept_layers *kept, smft__tape *tape, smft_patch *patch,
                                const smft__fact *fact, const int64_t *order, int64_t n, int *all,
                                const atomic_int *cancel) {
  const smft__version *version;
  smft__sequences some;
  double loss = 0;
  smft_status status = SMFT_OK;
  *all = opening->serial != fact->serial || kept->serial != fact->serial || opening->n_tokens == 0;
  if (*all)
    return smft__forward_all_wordings(kept, tape, patch, fact, &loss, cancel);
  SMFT__TRY(smft__batch_take(room, fact, order, n, opening->past, &some));
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  smft__kept_batch from = {&kept->layers, room->begins, &opening->lead, room->past};
  *all = !smft__opening_holds(opening, version);
  if (!*all)
    status =
        smft__network_forward_kept(tape, version, &some, &from, SMFT__KEEP_NOTHING, &loss, cancel);
  smft__patch_end_read(patch, version);
  return *all ? smft__forward_all_wordings(kept, tape, patch, fact, &loss, cancel) : status;
}

int smft__opening_holds(const smft__opening *opening, const smft__version *version) {
  return opening->n_tokens > 0 && opening->made_of > 0 &&
         opening->made_of == atomic_load(&version->number);
}
