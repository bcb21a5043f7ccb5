/* selector: which slots a step may change.  Owns the background counts and the order of slots;
 * counting them over text is background.c's, their file stats_file.c's, counting a batch's
 * reads memory/counts.c's. */
#include "learn/selector.h"
#include "base/file.h"
#include "base/hash.h"
#include "learn/defaults.h"
#include <math.h>
#include <stddef.h>

/* So many background sequences is a learnt wording worth, where damping goes by squares:
 * docs/method.md. */
#define WORTH 10.0
#define READ_BY_OTHERS 1e-12 /* times its score: behind all others, in the same order */
#define NOUN "selector"      /* in messages */

void smft__selector_set(smft_selector *selector, smft__stats *stats) {
  smft__stats none = {0};
  smft__stats_free(&selector->stats, selector->ctx);
  selector->stats = *stats;
  selector->total = smft__stats_total(stats, selector->model);
  selector->mean_square = smft__stats_mean_square(stats, selector->model);
  *stats = none;
}

/* The counts that were shipped with the model.  A model made by smft_model_init shares only the
 * directory with them. */
static smft_status load_shipped(smft_selector *selector) {
  const smft_model *model = selector->model;
  if (!model->path || model->source.n_files == 0)
    return SMFT_OK;
  char *path = NULL;
  SMFT__TRY(smft__path_find(&path, selector->ctx, model->path, "background.safetensors"));
  smft_status status = path ? smft_selector_load(selector, path) : SMFT_OK;
  smft__free(selector->ctx, path);
  return status;
}

void smft__selector_warn(smft_selector *selector, const char *caller) {
  if (selector->stats.n_batches == 0 && selector->rule == SMFT_RULE_TFIDF &&
      atomic_exchange(&selector->warned, 1) == 0)
    smft__log(
        selector->ctx, 2,
        "%s: no background text is counted, so every slot's tf-idf score is 0 and no step will "
        "change anything: call smft_selector_count_background first, or choose another rule "
        "(SMFT_SELECTOR_EMPTY: no warning before a learner is made)",
        caller);
}

static smft_status check_options(const smft_selector_options *options) {
  SMFT__TRY(smft__reserved_check(options->reserved, "smft_selector_options"));
  SMFT__REQUIRE(options->rule >= 0 && options->rule <= SMFT_RULE_RANDOM,
                "smft_selector_options.rule: expected SMFT_RULE_* (1 to 5), got %d",
                (int)options->rule);
  SMFT__REQUIRE(options->t >= 0, "smft_selector_options.t: expected a number of slots, got %lld",
                (long long)options->t);
  SMFT__REQUIRE(!isnan(options->damping), "smft_selector_options.damping is NaN");
  SMFT__REQUIRE(options->max_df <= 1, /* false for NaN */
                "smft_selector_options.max_df: expected a share of at most 1, got %g",
                options->max_df);
  SMFT__REQUIRE(options->damping_by >= 0 && options->damping_by <= SMFT_DAMPING_DF,
                "smft_selector_options.damping_by: expected SMFT_DAMPING_* (1 or 2), got %d",
                (int)options->damping_by);
  SMFT__REQUIRE(options->rank_by >= 0 && options->rank_by <= SMFT_RANK_WEIGHTS,
                "smft_selector_options.rank_by: expected SMFT_RANK_* (1 or 2), got %d",
                (int)options->rank_by);
  SMFT__REQUIRE((options->flags & ~SMFT_SELECTOR_EMPTY) == 0,
                "smft_selector_options.flags: unknown bits in 0x%x", (unsigned)options->flags);
  return SMFT_OK;
}

static void take_options(smft_selector *selector, const smft_selector_options *options) {
  smft__learn_defaults usual = smft__defaults_of(selector->model);
  selector->rule = options->rule ? options->rule : SMFT_RULE_TFIDF;
  selector->t = options->t ? options->t : usual.t;
  selector->damping = options->damping == 0 ? usual.damping : options->damping;
  selector->max_df = options->max_df == 0 ? usual.max_df : options->max_df;
  selector->damping_by = options->damping_by ? options->damping_by : usual.damping_by;
  selector->rank_by = options->rank_by ? options->rank_by : usual.rank_by;
}

smft_status smft_selector_create(smft_selector **out, const smft_model *model,
                                 const smft_selector_options *options) {
  SMFT__REQUIRE(out, "smft_selector_create: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(model, "smft_selector_create: model is NULL");
  smft_selector_options own = SMFT_SELECTOR_OPTIONS_INIT;
  if (options)
    SMFT__TRY(smft__options_read(&own, options, sizeof own,
                                 offsetof(smft_selector_options, damping),
                                 "smft_selector_options"));
  SMFT__TRY(check_options(&own));
  if (model->config.n_memories == 0)
    return smft__fail(
        SMFT_E_UNSUPPORTED,
        "smft_selector_create: the model has no memory layers, so no slots to select");
  smft_selector *selector = smft__calloc_array(model->ctx, 1, sizeof *selector);
  if (!selector)
    return SMFT_E_NOMEM;
  selector->ctx = smft__ctx_retain(model->ctx);
  selector->model = smft__model_retain(model);
  atomic_init(&selector->references, 1);
  atomic_init(&selector->warned, 0);
  take_options(selector, &own);
  selector->total = smft__stats_total(&selector->stats, model);
  smft_status status = own.flags & SMFT_SELECTOR_EMPTY ? SMFT_OK : load_shipped(selector);
  if (status != SMFT_OK) {
    smft_selector_free(selector);
    return status;
  }
  if (!(own.flags & SMFT_SELECTOR_EMPTY))
    smft__selector_warn(selector, "smft_selector_create");
  *out = selector;
  return SMFT_OK;
}

smft_selector *smft__selector_retain(smft_selector *selector) {
  atomic_fetch_add(&selector->references, 1);
  return selector;
}

void smft_selector_free(smft_selector *selector) {
  if (!selector || atomic_fetch_sub(&selector->references, 1) != 1)
    return;
  smft_ctx *ctx = selector->ctx;
  smft__stats_free(&selector->stats, ctx);
  smft_model_free(selector->model);
  smft__free(ctx, selector);
  smft__ctx_release(ctx);
}

smft_status smft_selector_df(const smft_selector *selector, int32_t pool, uint32_t *df,
                             int64_t n_slots, int64_t *n_batches) {
  SMFT__REQUIRE(selector, "smft_selector_df: selector is NULL");
  SMFT__REQUIRE(pool >= 0 && pool < selector->model->config.n_pools,
                "smft_selector_df: pool %d, the model has %d", (int)pool,
                (int)selector->model->config.n_pools);
  int64_t expected = smft__n_slots(selector->model);
  if (df && n_slots < expected)
    return smft__fail(SMFT_E_BUFFER,
                      "smft_selector_df: the pool has %lld slots, the buffer holds %lld",
                      (long long)expected, (long long)n_slots);
  smft__claim *claim = (smft__claim *)(uintptr_t)&selector->claim; /* nothing else changes */
  SMFT__TRY(smft__claim_read(claim, NOUN, "smft_selector_df"));
  if (df && selector->stats.df)
    memcpy(df, selector->stats.df + pool * expected, (size_t)expected * sizeof *df);
  else if (df)
    memset(df, 0, (size_t)expected * sizeof *df);
  if (n_batches)
    *n_batches = selector->stats.n_batches;
  (void)smft__claim_end(claim);
  return SMFT_OK;
}

static smft_status save(const smft_selector *selector, const char *path) {
  if (selector->stats.df)
    return smft__stats_save(&selector->stats, selector->model, path);
  smft__stats zero = {0};
  SMFT__TRY(smft__stats_create(&zero, selector->ctx, selector->model));
  smft_status status = smft__stats_save(&zero, selector->model, path);
  smft__stats_free(&zero, selector->ctx);
  return status;
}

smft_status smft_selector_save(smft_selector *selector, const char *path) {
  SMFT__REQUIRE(selector && path, "smft_selector_save: a NULL argument");
  SMFT__TRY(smft__claim_read(&selector->claim, NOUN, "smft_selector_save"));
  smft_status status = save(selector, path);
  (void)smft__claim_end(&selector->claim);
  return status;
}

smft_status smft_selector_load(smft_selector *selector, const char *path) {
  SMFT__REQUIRE(selector && path, "smft_selector_load: a NULL argument");
  smft__stats stats = {0};
  SMFT__TRY(smft__claim_alone(&selector->claim, NOUN, "smft_selector_load"));
  smft_status status = smft__stats_load(&stats, selector->model, path);
  if (status == SMFT_OK)
    smft__selector_set(selector, &stats);
  (void)smft__claim_end(&selector->claim);
  return status;
}

/* ---- how far a row may move ---------------------------------------------- */

int smft__selector_damps(const smft_selector *selector) {
  return selector->damping >= 0 &&
         (selector->damping_by == SMFT_DAMPING_DF ? selector->stats.n_batches > 0
                                                  : selector->mean_square > 0);
}

static int64_t slot_at(const smft_selector *selector, int32_t pool, int64_t slot) {
  return pool * smft__n_slots(selector->model) + slot;
}

static double df_of(const smft_selector *selector, int32_t pool, int64_t slot) {
  return selector->stats.df ? (double)selector->stats.df[slot_at(selector, pool, slot)] : 0;
}

/* To change what a fact's tokens get out of the pool while changing what background gets as little
 * as possible in the squared sense, a row should move the less the more background reads it: the
 * gradient divided by (a ridge +) the sum of the squared weights with which background does.  In
 * units of an average read's squared weight: then the ridge does not depend on a model's top_k. */
static double use_by_squares(const smft_selector *selector, int32_t pool, int64_t slot,
                             double square, double n) {
  square = (double)selector->stats.square[slot_at(selector, pool, slot)] + WORTH * square;
  return square / selector->mean_square / ((double)selector->stats.n_batches + WORTH * n);
}

/* Or by the share of background sequences that read it at all.  A learnt wording's read of the mean
 * squared weight counts as one of them (the record of a fact has squares, not wordings), out of as
 * many as without: a long stream of facts does not wear the background's part away. */
static double use_by_df(const smft_selector *selector, int32_t pool, int64_t slot, double square) {
  double learnt = selector->mean_square > 0 ? square / selector->mean_square : 0;
  return (df_of(selector, pool, slot) + learnt) / (double)selector->stats.n_batches;
}

double smft__selector_damping(const smft_selector *selector, int32_t pool, int64_t slot,
                              double square, double n) {
  if (!smft__selector_damps(selector))
    return 1;
  double use = selector->damping_by == SMFT_DAMPING_DF
                   ? use_by_df(selector, pool, slot, square)
                   : use_by_squares(selector, pool, slot, square, n);
  return 1 / (1 + use / selector->damping);
}

/* ---- ranking ------------------------------------------------------------- */

int64_t smft__selection_absent(const smft__selection *selection, const smft__rows *rows,
                               int32_t pool) {
  int64_t n = 0;
  for (int64_t i = 0; i < selection->n; i++)
    n += selection->list[i].pool == pool &&
         (!rows || smft__rows_find(rows, selection->list[i].slot) < 0);
  return n;
}

/* In (0, 1]; depends on the draw, so that no slot is unlucky for ever. */
static double random_score(uint64_t draw, int32_t pool, int64_t slot) {
  uint64_t bits = smft__mix64(draw ^ smft__mix64((uint64_t)slot * 64 + (uint64_t)pool + 1));
  return ((double)(bits >> 11) + 1) / 9007199254740992.0;
}

/* The same reads give the same draw. */
static uint64_t draw_of(const smft_selector *selector, const smft__counts *counts) {
  uint64_t draw = 0;
  for (int32_t p = 0; selector->rule == SMFT_RULE_RANDOM && p < selector->model->config.n_pools;
       p++)
    for (int64_t i = 0; i < counts[p].n; i++)
      draw = smft__mix64(draw + (uint64_t)counts[p].slots[i] * 65536 +
                         (uint64_t)counts[p].reads[i] + (uint64_t)p);
  return draw;
}

static double score_of(const smft_selector *selector, int32_t pool, int64_t slot, double share,
                       uint64_t draw) {
  double df = df_of(selector, pool, slot);
  if (selector->rule == SMFT_RULE_TFIDF)
    return share * log(((double)selector->stats.n_batches + 1) / (df + 1));
  if (selector->rule == SMFT_RULE_KL)
    return share * log(share * selector->total / (df + 1));
  if (selector->rule == SMFT_RULE_RANDOM)
    return random_score(draw, pool, slot);
  return share;
}

/* a comes before b: higher score, then lower pool, then lower slot; never equal */
static int before(const smft_selected *a, const smft_selected *b) {
  if (a->score > b->score || a->score < b->score)
    return a->score > b->score;
  return a->pool != b->pool ? a->pool < b->pool : a->slot < b->slot;
}

/* list (n) is a heap with the worst on top: puts `item` in at `hole`, going down */
static void sift(smft_selected *list, int64_t n, int64_t hole, smft_selected item) {
  for (;;) {
    int64_t child = 2 * hole + 1;
    if (child >= n)
      break;
    if (child + 1 < n && before(&list[child], &list[child + 1]))
      child++;
    if (before(&list[child],
               &item)) /* the child is better than the item: the item stays above it */
      break;
    list[hole] = list[child];
    hole = child;
  }
  list[hole] = item;
}

static void rise(smft_selected *list, int64_t hole, smft_selected item) {
  while (hole > 0) {
    int64_t parent = (hole - 1) / 2;
    if (before(&item, &list[parent]))
      break;
    list[hole] = list[parent];
    hole = parent;
  }
  list[hole] = item;
}

/* Keeps the best t of what it is given, in place: most of a long list fails the one comparison with
 * the worst kept. */
static void offer(smft__selection *selection, int64_t t, smft_selected item) {
  if (selection->n < t) {
    rise(selection->list, selection->n, item);
    selection->n++;
  } else if (before(&item, &selection->list[0])) {
    sift(selection->list, selection->n, 0, item);
  }
}

static void sort_best_first(smft_selected *list, int64_t n) {
  for (int64_t end = n - 1; end > 0; end--) {
    smft_selected item = list[end];
    list[end] = list[0]; /* the worst of those left goes last */
    sift(list, end, 0, item);
  }
}

/* Read by more of the background than any row may be that changes. */
static int is_common(const smft_selector *selector, double looser, int32_t pool, int64_t slot) {
  return selector->max_df >= 0 && df_of(selector, pool, slot) >
                                      selector->max_df * looser * (double)selector->stats.n_batches;
}

/* A slot's part of all reads of the batch, all pools. */
static double share_of(const smft_selector *selector, const smft__counts *counts, int64_t i,
                       double all) {
  return (selector->rank_by == SMFT_RANK_WEIGHTS ? counts->weights[i] : (double)counts->reads[i]) /
         all;
}

smft_status smft__select(const smft_selector *selector, const smft__counts *counts,
                         const smft__restraint *restraint, smft__selection *selection) {
  const smft__counts *others = restraint ? restraint->others : NULL;
  double looser = restraint ? restraint->looser : 1;
  int64_t distinct = 0;
  double all = 0;
  for (int32_t p = 0; p < selector->model->config.n_pools; p++) {
    distinct += counts[p].n;
    all += selector->rank_by == SMFT_RANK_WEIGHTS ? counts[p].weight : (double)counts[p].total;
  }
  uint64_t draw = draw_of(selector, counts);
  int64_t t = selector->rule == SMFT_RULE_ALL || selector->t > distinct ? distinct : selector->t;
  selection->n = 0;
  SMFT__TRY(smft__grow(selection->ctx, &selection->list, &selection->capacity, t,
                       sizeof *selection->list));
  for (int32_t p = 0; p < selector->model->config.n_pools && t > 0; p++)
    for (int64_t i = 0; i < counts[p].n; i++) {
      double score =
          score_of(selector, p, counts[p].slots[i], share_of(selector, &counts[p], i, all), draw);
      if (others && smft__counts_find(&others[p], counts[p].slots[i]) >= 0)
        score *= READ_BY_OTHERS;
      smft_selected item = {counts[p].slots[i], score, p, 0};
      if (score > 0 && !is_common(selector, looser, p, counts[p].slots[i]))
        offer(selection, t, item);
    }
  sort_best_first(selection->list, selection->n);
  return SMFT_OK;
}
