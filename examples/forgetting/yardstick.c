/* yardstick: see yardstick.h. */
#include "yardstick.h"
#include "background.h"
#include "classroom.h"
#include "program.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ENDINGS 4

/* ---- items --------------------------------------------------------------- */

/* ENDINGS - 1 different wrong answers of the same relation; returns how many were found. */
static int64_t distractors(const atlas_facts *known, const atlas_fact *fact, uint64_t *state,
                           const char **out) {
  int64_t n = 0;
  for (int64_t tries = 0; tries < 4000 && n < ENDINGS - 1; tries++) {
    const atlas_fact *other = &known->items[atlas_below(state, known->n)];
    int usable = strcmp(other->relation, fact->relation) == 0;
    for (int64_t i = 0; i < fact->n_answers && usable; i++)
      usable = strcmp(other->answer, fact->answers[i]) != 0;
    for (int64_t i = 0; i < n && usable; i++)
      usable = strcmp(other->answer, out[i]) != 0;
    if (usable)
      out[n++] = other->answer;
  }
  return n;
}

static void add_choice(smft_probe *probe, const atlas_facts *known, const atlas_fact *fact,
                       const char *prompt, uint64_t *state) {
  const char *wrong[ENDINGS - 1], *endings[ENDINGS];
  char *made[ENDINGS];
  if (distractors(known, fact, state, wrong) < ENDINGS - 1)
    return;
  int64_t correct = atlas_below(state, ENDINGS);
  for (int64_t i = 0, w = 0; i < ENDINGS; i++) {
    const char *answer = i == correct ? fact->answer : wrong[w++];
    endings[i] = made[i] = need(malloc(strlen(answer) + 2));
    made[i][0] = ' ';
    strcpy(made[i] + 1, answer);
  }
  check(smft_probe_add_choice(probe, fact->id, prompt, endings, ENDINGS, correct), "probe");
  for (int64_t i = 0; i < ENDINGS; i++)
    free(made[i]);
}

static void note_half(yardstick *y, const int64_t *order, int64_t n) {
  char *in_half = need(calloc((size_t)n + 1, 1));
  y->in_half = need(calloc((size_t)n + 1, 1));
  background_half(in_half, n);
  for (int64_t i = 0; i < n; i++)
    y->in_half[i] = in_half[order[i]];
  free(in_half);
}

/* The questions, and a choice for every second of the same facts. */
static void add_known(yardstick *y, const atlas_facts *known, const atlas_wordings *wordings,
                      int64_t n, uint64_t seed) {
  int64_t *order = need(malloc(((size_t)known->n + 1) * sizeof *order));
  uint64_t state = seed + 99;
  atlas_shuffle(&state, order, known->n);
  y->n_known = n < known->n ? n : known->n;
  atlas_probe_facts(y->probe, known, wordings, order, y->n_known);
  for (int64_t i = 0; i < y->n_known; i += 2) {
    const atlas_fact *fact = &known->items[order[i]];
    atlas_text text;
    need(atlas_fill(&text, atlas_question(atlas_relation_find(wordings, fact->relation)), fact) == 0
             ? order
             : NULL);
    add_choice(y->probe, known, fact, text.prompt, &state);
    atlas_text_free(&text);
  }
  if (y->others) {
    y->n_others = known->n - y->n_known;
    atlas_probe_facts(y->others, known, wordings, order + y->n_known, y->n_others);
  }
  note_half(y, order, known->n);
  free(order);
}

/* ---- which known facts need the pool ------------------------------------- */

static void find_pool_facts(yardstick *y, const smft_model *model, smft_session *session) {
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  y->f1_pool_zeroed = NAN;
  if (!smft_model_memory(model, 0))
    return;
  smft_patch *zero = atlas_zeroed_pools(model);
  y->needs_pool = need(calloc((size_t)y->n_known + 1, 1));
  check(smft_session_set_patch(session, zero), "session");
  check(smft_probe_measure(y->probe, session, NULL, NULL, &report),
        "measuring with the pool zeroed");
  y->f1_pool_zeroed = report.f1;
  for (int64_t i = 0; i < y->n_known; i++) {
    smft_probe_item item = SMFT_PROBE_ITEM_INIT;
    check(smft_probe_get_item(y->probe, i, &item), "probe");
    y->needs_pool[i] = item.after < 0.5;
  }
  smft_patch_free(zero);
}

/* ---- the yardstick ------------------------------------------------------- */

void yardstick_make(yardstick *y, const smft_model *model, const char *data, int64_t n_known,
                    int64_t n_texts, uint64_t seed, int whole) {
  smft_ctx *ctx = NULL;
  smft_ctx_options one = SMFT_CTX_OPTIONS_INIT;
  smft_probe_options options = SMFT_PROBE_OPTIONS_INIT;
  smft_session *session = NULL;
  atlas_facts known;
  atlas_wordings wordings;
  memset(y, 0, sizeof *y);
  need(atlas_facts_load(&known, path_in(data, "known.jsonl")) == 0 &&
               atlas_wordings_load(&wordings, path_in(data, "wordings.json")) == 0
           ? y
           : NULL);
  options.max_tokens = 24;
  one.n_threads = 1; /* a context of its own: what it holds is no part of what learning costs */
  check(smft_ctx_create(&ctx, &one), "context");
  check(smft_probe_create(&y->probe, ctx, &options), "probe");
  if (whole)
    check(smft_probe_create(&y->others, ctx, &options), "probe");
  smft_ctx_free(ctx);
  add_known(y, &known, &wordings, n_known, seed);
  atlas_probe_texts(y->probe, path_in(data, "text.heldout.txt"), n_texts);
  atlas_facts_free(&known);
  atlas_wordings_free(&wordings);
  check(smft_session_create(&session, model, NULL, NULL), "session");
  check(smft_probe_baseline(y->probe, session, NULL, NULL), "baseline");
  if (whole)
    check(smft_probe_baseline(y->others, session, NULL, NULL), "baseline");
  find_pool_facts(y, model, session);
  smft_session_free(session);
}

typedef struct sums { /* of F1 over some known facts */
  double before, after;
  int64_t n;
} sums;

static double lost(sums s) { return s.before > 0 ? 100 * (s.before - s.after) / s.before : NAN; }

/* Adds the first n questions of a probe with of[i] == part; NULL: all. */
static void add_part(const smft_probe *probe, int64_t n, const char *of, int part, sums *s) {
  for (int64_t i = 0; i < n; i++) {
    smft_probe_item item = SMFT_PROBE_ITEM_INIT;
    check(smft_probe_get_item(probe, i, &item), "probe");
    if (of && of[i] != part)
      continue;
    s->before += item.before;
    s->after += item.after;
    s->n++;
  }
}

static sums half_sums(const yardstick *y, int whole, int part) {
  sums s = {0, 0, 0};
  add_part(y->probe, y->n_known, y->in_half, part, &s);
  if (whole)
    add_part(y->others, y->n_others, y->in_half + y->n_known, part, &s);
  return s;
}

static double pool_lost(const yardstick *y, int part) {
  sums s = {0, 0, 0};
  if (y->needs_pool)
    add_part(y->probe, y->n_known, y->needs_pool, part, &s);
  return lost(s);
}

void yardstick_measure(const yardstick *y, smft_session *session, int whole, measures *m) {
  smft_probe_report report = SMFT_PROBE_REPORT_INIT, others = SMFT_PROBE_REPORT_INIT;
  check(smft_probe_measure(y->probe, session, NULL, NULL, &report), "measuring");
  if (whole)
    check(smft_probe_measure(y->others, session, NULL, NULL, &others), "measuring");
  sums half = half_sums(y, whole, 1), rest = half_sums(y, whole, 0);
  m->probe = report;
  m->n_known = half.n + rest.n;
  m->f1 = (half.after + rest.after) / (double)m->n_known;
  m->f1_before = (half.before + rest.before) / (double)m->n_known;
  m->f1_pool_zeroed = y->f1_pool_zeroed;
  m->memory_lost = pool_lost(y, 1);
  m->other_lost = pool_lost(y, 0);
  m->half_lost = lost(half);
  m->rest_lost = lost(rest);
}

void yardstick_free(yardstick *y) {
  smft_probe_free(y->probe);
  smft_probe_free(y->others);
  free(y->needs_pool);
  free(y->in_half);
}

/* ---- what was taught ----------------------------------------------------- */

static void ask(smft_session *session, const question *q, f1_score *sum) {
  double exact = 0, f1 = 0;
  check(smft_score_answer(atlas_ask(session, q->prompt), (const char *const *)q->answers,
                          q->n_answers, &exact, &f1),
        "scoring");
  sum->f1 += f1;
  sum->exact += exact;
  sum->n++;
}

f1_score ask_lessons(smft_session *session, const lessons *l, int64_t n, int trained) {
  f1_score sum = {0, 0, 0};
  for (int64_t i = 0; i < n; i++) {
    const lesson *item = &l->items[i];
    for (int64_t q = 0; q < (trained ? item->n_trained : item->n_asked); q++)
      ask(session, trained ? &item->trained[q] : &item->asked[q], &sum);
  }
  if (sum.n > 0) {
    sum.f1 /= (double)sum.n;
    sum.exact /= (double)sum.n;
  }
  return sum;
}
