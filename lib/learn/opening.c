/* opening: see opening.h.  Owns what need not run again and for how long; the pass over it is
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
/* tokens of a lead in which what is shared stands again for each wording that has more; those for
 * which there is no place leave out what is shared alone */
#define MOST_KEPT 1024

void smft__opening_free(smft__opening *opening) {
  smft__lead_free(&opening->lead);
  smft__free(opening->ctx, opening->past);
  smft__free(opening->ctx, opening->at);
  smft__free(opening->ctx, opening->ends);
  smft__free(opening->ctx, opening->own);
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
  const int32_t *ids = fact->ids.data;
  return smft__ids_in_common(ids + fact->offsets[a], ids + fact->offsets[b],
                             smft__least(most_of(fact, a), most_of(fact, b)));
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

static smft_status reserve_arrays(smft__opening *opening, int64_t n_wordings) {
  smft_ctx *ctx = opening->ctx;
  SMFT__TRY(
      smft__grow(ctx, &opening->past, &opening->past_capacity, n_wordings, sizeof *opening->past));
  SMFT__TRY(smft__grow(ctx, &opening->at, &opening->at_capacity, n_wordings, sizeof *opening->at));
  SMFT__TRY(
      smft__grow(ctx, &opening->ends, &opening->ends_capacity, n_wordings, sizeof *opening->ends));
  return smft__grow(ctx, &opening->own, &opening->own_capacity, n_wordings, sizeof *opening->own);
}

/* What is shared, by the wordings that begin with it. */
static void find_shared(smft__opening *opening, const smft__fact *fact) {
  int64_t best = LEAST_SPARED - 1;
  opening->n_tokens = 0;
  for (int64_t w = 0; w < fact->n_wordings && w < MOST_TRIED; w++)
    try_wording(opening, fact, w, &best);
  for (int64_t w = 0; w < fact->n_wordings; w++)
    opening->past[w] =
        opening->n_tokens > 0 && in_common(fact, opening->wording, w) >= opening->n_tokens
            ? opening->n_tokens
            : 0;
}

/* Gives the wordings that may leave out more than what is shared a place of their own behind it, as
 * long as there is one among the first so many; returns how many tokens the lead has then. */
static int64_t place(smft__opening *opening, const smft__fact *fact, int64_t most) {
  int64_t n = opening->n_tokens;
  opening->n_own = 0;
  for (int64_t w = 0; w < fact->n_wordings; w++) {
    opening->at[w] = 0;
    if (opening->ends[w] <= opening->past[w] || opening->ends[w] > most - n)
      continue;
    opening->at[w] = n;
    opening->own[opening->n_own++] = w;
    n += opening->ends[w];
  }
  return n;
}

smft_status smft__opening_find(smft__opening *opening, const smft__fact *fact) {
  if (opening->serial == fact->serial)
    return SMFT_OK;
  opening->serial = 0;
  opening->made_of = 0;
  SMFT__TRY(reserve_arrays(opening, fact->n_wordings));
  find_shared(opening, fact);
  for (int64_t w = 0; w < fact->n_wordings; w++)
    opening->ends[w] = most_of(fact, w);
  opening->most = place(opening, fact, INT64_MAX);
  int64_t cap = opening->n_tokens > MOST_KEPT ? opening->n_tokens : MOST_KEPT;
  SMFT__TRY(smft__lead_reserve(&opening->lead, smft__least(opening->most, cap)));
  opening->serial = fact->serial;
  return SMFT_OK;
}

/* ---- up to where nothing changes ----------------------------------------- */

static int is_chosen(const smft__choice *choice, int32_t pool, const int64_t *slots, int64_t n) {
  for (int64_t i = 0; i < choice->rows.n; i++)
    for (int64_t j = 0; choice->rows.list[i].pool == pool && j < n; j++)
      if (slots[j] == choice->rows.list[i].slot)
        return 1;
  return 0;
}

/* Whether one of the tokens [begin, end) of the tape's pass reads a row that may change. */
static int reads_chosen(const smft__choice *choice, const smft__tape *tape, int64_t begin,
                        int64_t end) {
  const smft__config *c = &tape->model->config;
  for (int32_t m = 0; m < c->n_memories; m++) {
    int64_t n = 0;
    const int64_t *slots = smft__tape_slots(tape, m, &n);
    int64_t each = n / tape->n_tokens;
    if (is_chosen(choice, c->memories[m].pool, slots + begin * each, (end - begin) * each))
      return 1;
  }
  return 0;
}

/* From a pass over all wordings: how many tokens of each come before the first that does; what is
 * shared ends there, too. */
static void cut(smft__opening *opening, const smft__choice *choice, const smft__tape *tape,
                const smft__fact *fact) {
  for (int64_t w = 0; w < fact->n_wordings; w++) {
    int64_t begin = fact->offsets[w], n = 0, most = most_of(fact, w);
    while (n < most && !reads_chosen(choice, tape, begin + n, begin + n + 1))
      n++;
    opening->ends[w] = n;
  }
  find_shared(opening, fact);
  for (int64_t w = 0; w < fact->n_wordings; w++)
    if (opening->past[w] > 0)
      opening->n_tokens = smft__least(opening->n_tokens, opening->ends[w]);
  for (int64_t w = 0; w < fact->n_wordings; w++)
    opening->past[w] = smft__least(opening->n_tokens, opening->past[w]);
}

/* ---- its passes ---------------------------------------------------------- */

/* held: whether none of its tokens reads a row that may change. */
static smft_status run(smft__opening *opening, const smft__opening_work *work,
                       const smft__version *version, const smft__sequences *some,
                       const int64_t *begins, smft__pasts past, int *held) {
  smft__kept_batch from = {&work->kept->layers, begins, &opening->lead, past};
  SMFT__TRY(smft__network_share(work->tape, version, some, &from, &opening->lead, work->cancel));
  *held = *held && !reads_chosen(work->choice, work->tape, 0, work->tape->n_tokens);
  return SMFT_OK;
}

static smft_status run_shared(smft__opening *opening, const smft__opening_work *work,
                              const smft__version *version, const smft__fact *fact, int *held) {
  int64_t begin = fact->offsets[opening->wording], offsets[2] = {0, opening->n_tokens}, none = 0;
  smft__sequences one = {fact->ids.data + begin, offsets, 1, opening->n_tokens, NULL};
  if (opening->n_tokens == 0)
    return SMFT_OK;
  return run(opening, work, version, &one, &begin, (smft__pasts){&none, &none}, held);
}

/* What follows in each wording, behind what is shared. */
static smft_status run_own(smft__opening *opening, const smft__opening_work *work,
                           const smft__version *version, const smft__fact *fact, int *held) {
  smft__pasts pasts = {opening->past, opening->at};
  for (int64_t i = 0; i < opening->n_own; i++)
    smft__lead_repeat(&opening->lead, opening->past[opening->own[i]], opening->at[opening->own[i]]);
  for (int64_t i = 0, n; i < opening->n_own; i += n) {
    smft__sequences some;
    n = smft__least(work->n, opening->n_own - i);
    SMFT__TRY(
        smft__batch_take(work->room, fact, opening->own + i, n, &pasts, opening->ends, &some));
    SMFT__TRY(run(opening, work, version, &some, work->room->begins, smft__batch_pasts(work->room),
                  held));
  }
  for (int64_t i = 0; i < opening->n_own; i++)
    opening->past[opening->own[i]] = opening->ends[opening->own[i]];
  return SMFT_OK;
}

/* No more than there is room for since it was found, when the ends were as far as they can be. */
static smft_status make(smft__opening *opening, const smft__opening_work *work,
                        const smft__version *version, const smft__fact *fact) {
  int held = 1;
  opening->most = place(opening, fact, MOST_KEPT);
  SMFT__TRY(smft__lead_reserve(&opening->lead, opening->most));
  SMFT__TRY(run_shared(opening, work, version, fact, &held));
  SMFT__TRY(run_own(opening, work, version, fact, &held));
  if (held && opening->most > 0) /* else another wrote to the patch since the cut */
    opening->made_of = atomic_load(&version->number);
  return SMFT_OK;
}

smft_status smft__opening_make(smft__opening *opening, const smft__opening_work *work,
                               const smft__fact *fact) {
  const smft__version *version;
  SMFT__TRY(smft__patch_begin_read(work->patch, &version));
  int is_made = opening->most == 0 || smft__opening_holds(opening, version);
  smft__patch_end_read(work->patch, version);
  if (is_made)
    return SMFT_OK;
  opening->made_of = 0;
  SMFT__TRY(
      smft__forward_all_wordings(work->kept, work->tape, work->patch, fact, NULL, work->cancel));
  cut(opening, work->choice, work->tape, fact);
  SMFT__TRY(smft__patch_begin_read(work->patch, &version));
  smft_status status = make(opening, work, version, fact);
  smft__patch_end_read(work->patch, version);
  return status;
}

smft_status smft__opening_check(smft__opening *opening, const smft__opening_work *work,
                                const smft__fact *fact, const int64_t *order, int64_t n, int *all) {
  const smft__version *version;
  smft__pasts pasts = smft__opening_pasts(opening);
  smft__sequences some;
  double loss = 0;
  smft_status status = SMFT_OK;
  *all = opening->serial != fact->serial || work->kept->serial != fact->serial ||
         opening->made_of == 0;
  if (!*all) {
    SMFT__TRY(smft__batch_take(work->room, fact, order, n, &pasts, NULL, &some));
    SMFT__TRY(smft__patch_begin_read(work->patch, &version));
    smft__kept_batch from = {&work->kept->layers, work->room->begins, &opening->lead,
                             smft__batch_pasts(work->room)};
    *all = !smft__opening_holds(opening, version);
    if (!*all)
      status = smft__network_forward_kept(work->tape, version, &some, &from, SMFT__KEEP_NOTHING,
                                          &loss, work->cancel);
    smft__patch_end_read(work->patch, version);
  }
  return *all ? smft__forward_all_wordings(work->kept, work->tape, work->patch, fact, &loss,
                                           work->cancel)
              : status;
}

int smft__opening_holds(const smft__opening *opening, const smft__version *version) {
  return opening->made_of > 0 && opening->made_of == atomic_load(&version->number);
}

smft__pasts smft__opening_pasts(const smft__opening *opening) {
  return (smft__pasts){opening->past, opening->at};
}
