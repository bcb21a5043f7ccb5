/* counts: see counts.h.  From the states that were kept, by the layer's own look-up and in the same
 * groups as smft_selector_count_background would: the same bits; or, where they were not kept, by
 * that function itself. */
#include "graft/counts.h"

#include "base/alloc.h"
#include "learn/marks.h"
#include "learn/selector.h"
#include "model/view.h"

typedef struct counter {
  const smft_model *model; /* the grafted one */
  const smft__settings *settings;
  const smft__texts *texts;
  const smft__states *states;
  smft__memory_view *views; /* (n_memories) */
  smft__memory_tape *tapes; /* (n_memories) */
  void *room;               /* that the tapes stand in */
  smft__marks marks;
  int64_t source, token; /* in hand; tokens done */
} counter;

/* ---- from kept states ---------------------------------------------------- */

static void place(counter *c, smft__arena *arena) {
  for (int32_t m = 0; m < c->model->config.n_memories; m++)
    smft__memory_tape_place(&c->tapes[m], arena, c->model->ctx, &c->views[m].config,
                            c->texts->largest, SMFT__TAPE_FORWARD);
}

static smft_status reserve(counter *c) {
  smft_ctx *ctx = c->model->ctx;
  int32_t n = c->model->config.n_memories;
  smft__stats none = {0};
  smft__arena arena = {0};
  c->views = smft__calloc_array(ctx, n, sizeof *c->views);
  c->tapes = smft__calloc_array(ctx, n, sizeof *c->tapes);
  if (!c->views || !c->tapes)
    return SMFT_E_NOMEM;
  for (int32_t m = 0; m < n; m++)
    c->views[m] = smft__memory_view_of(c->model, NULL, m);
  place(c, &arena);
  c->room = arena.used < 0 ? NULL : smft__alloc_array(ctx, arena.used, 1);
  if (!c->room)
    return SMFT_E_NOMEM;
  smft__arena real = {c->room, 0, arena.used};
  place(c, &real);
  return smft__marks_begin(&c->marks, c->model, &none);
}

static void release(counter *c) {
  smft__free(c->model->ctx, c->views);
  smft__free(c->model->ctx, c->tapes);
  smft__free(c->model->ctx, c->room);
  smft__marks_free(&c->marks);
}

/* Sequence by sequence over all layers, as marks want them. */
static void mark_group(counter *c, const smft__texts_group *group) {
  const smft__config *config = &c->model->config;
  const int64_t *offsets = c->texts->offsets + group->offset;
  int64_t per_batch = c->texts->sources[c->source].sequences_per_batch;
  int64_t width = (int64_t)config->memory.heads * config->memory.top_k;
  for (int64_t s = 0; s < group->n_sequences; s++)
    for (int32_t m = 0; m < config->n_memories; m++)
      smft__marks_add(&c->marks, m, c->tapes[m].slots + offsets[s] * width,
                      c->tapes[m].weights + offsets[s] * width,
                      (offsets[s + 1] - offsets[s]) * width,
                      (uint32_t)((group->first + s) / per_batch + 1));
}

static smft_status count_source(counter *c) {
  for (int64_t g = c->texts->begins[c->source]; g < c->texts->begins[c->source + 1]; g++) {
    const smft__texts_group *group = &c->texts->groups[g];
    for (int32_t m = 0; m < c->model->config.n_memories; m++)
      smft__memory_lookup(c->model->ctx, &c->views[m],
                          c->states->blocks[m].all + group->token * c->states->d, group->n_tokens,
                          &c->tapes[m]);
    mark_group(c, group);
    c->token += group->n_tokens;
    SMFT__TRY(smft__settings_tell(c->settings, "counts", c->token, c->states->n_tokens));
  }
  smft__marks_end(&c->marks, smft__texts_batches(c->texts, c->source),
                  smft__texts_tokens(c->texts, c->source));
  return SMFT_OK;
}

static smft_status count_kept(counter *c, smft_selector *selector) {
  smft_status status = reserve(c);
  for (c->source = 0; status == SMFT_OK && c->source < c->texts->n_sources; c->source++)
    status = count_source(c);
  if (status == SMFT_OK) {
    smft__background_name(&c->texts->sources[c->texts->n_sources - 1], c->marks.stats.corpus,
                          sizeof c->marks.stats.corpus);
    smft__selector_set(selector, &c->marks.stats);
  }
  release(c);
  return status;
}

/* ---- by another pass ----------------------------------------------------- */

/* A source's own units become tokens. */
static int32_t tell(void *user, const char *stage, int64_t done, int64_t total) {
  const counter *c = user;
  double share = total > 0 ? (double)done / (double)total : 1;
  int64_t of_source = smft__texts_tokens(c->texts, c->source);
  (void)stage;
  return smft__settings_tell(c->settings, "counts", c->token + (int64_t)(share * (double)of_source),
                             c->states->n_tokens) != SMFT_OK;
}

static smft_status count_again(counter *c, smft_selector *selector) {
  for (c->source = 0; c->source < c->texts->n_sources; c->source++) {
    smft_background background = c->texts->sources[c->source];
    background.progress = tell;
    background.progress_user = c;
    SMFT__TRY(smft_selector_count_background(selector, &background));
    c->token += smft__texts_tokens(c->texts, c->source);
    SMFT__TRY(smft__settings_tell(c->settings, "counts", c->token, c->states->n_tokens));
  }
  return SMFT_OK;
}

/* ---- either -------------------------------------------------------------- */

static double unread_share(const smft_selector *selector) {
  int64_t n = smft__all_slots(selector->model), unread = 0;
  for (int64_t i = 0; i < n; i++)
    unread += !selector->stats.df || selector->stats.df[i] == 0;
  return (double)unread / (double)n;
}

smft_status smft__graft_count(const smft_model *grafted, const smft__settings *settings,
                              const smft__texts *texts, const smft__states *states,
                              const char *path, double *unread) {
  counter c = {.model = grafted, .settings = settings, .texts = texts, .states = states};
  smft_selector_options empty = SMFT_SELECTOR_OPTIONS_INIT;
  smft_selector *selector = NULL;
  empty.flags = SMFT_SELECTOR_EMPTY;
  SMFT__TRY(smft_selector_create(&selector, grafted, &empty));
  smft_status status = states->blocks[0].all ? count_kept(&c, selector) : count_again(&c, selector);
  if (status == SMFT_OK)
    status = smft_selector_save(selector, path);
  *unread = unread_share(selector);
  smft_selector_free(selector);
  return status;
}
