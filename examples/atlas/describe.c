/* describe: measures what the model card says: known facts with and without the memory, new facts
 * before learning, the answers one could guess, and, where there is a memory, how its pool is used.
 * Prints markdown table rows.  Everything through the public API. */
#include "classroom.h"
#include "facts.h"
#include "program.h"
#include "smft/smft.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEQUENCES 2000 /* for the use of the pool */
#define FACTS 200      /* for the overlap of facts */
#define TOP 256

/* ---- questions ----------------------------------------------------------- */

/* Mean F1 of a probe's one measurement; exact matches from the texts that it generated. */
static double f1_of_items(const smft_probe *probe, const atlas_facts *facts, double *exact) {
  smft_probe_item item = SMFT_PROBE_ITEM_INIT;
  double sum = 0, match = 0, f1 = 0;
  *exact = 0;
  for (int64_t i = 0; i < facts->n; i++) {
    check(smft_probe_get_item(probe, i, &item), "item");
    check(smft_score_answer(item.text, (const char *const *)facts->items[i].answers,
                            facts->items[i].n_answers, &match, &f1),
          "scoring");
    sum += item.before;
    *exact += match / (double)facts->n;
  }
  return sum / (double)facts->n;
}

static double f1_of(smft_ctx *ctx, smft_session *session, const atlas_facts *facts,
                    const atlas_wordings *wordings, double *exact) {
  smft_probe *probe = NULL;
  check(smft_probe_create(&probe, ctx, NULL), "probe");
  atlas_probe_facts(probe, facts, wordings, NULL, facts->n);
  check(smft_probe_baseline(probe, session, NULL, NULL), "baseline");
  double f1 = f1_of_items(probe, facts, exact);
  smft_probe_free(probe);
  return f1;
}

static double text_nll(smft_ctx *ctx, smft_session *session, const char *path) {
  smft_probe *probe = NULL;
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  check(smft_probe_create(&probe, ctx, NULL), "probe");
  atlas_probe_texts(probe, path, INT64_MAX);
  check(smft_probe_baseline(probe, session, NULL, NULL), "baseline");
  check(smft_probe_measure(probe, session, NULL, NULL, &report), "measuring");
  smft_probe_free(probe);
  return report.nll;
}

/* Known facts with every value of the pools set to 0: what the rest of the model carries.  A model
 * without memory has no such row. */
static void pool_zeroed(smft_ctx *ctx, smft_session *session, const smft_model *model,
                        const atlas_facts *known, const atlas_wordings *wordings) {
  smft_patch *zero = atlas_zeroed_pools(model);
  double exact = 0, f1;
  check(smft_session_set_patch(session, zero), "session");
  f1 = f1_of(ctx, session, known, wordings, &exact);
  printf("| known facts with the pool's values zeroed | F1 %.4f, exact %.4f |\n", f1, exact);
  check(smft_session_set_patch(session, NULL), "session");
  smft_patch_free(zero);
}

static void questions(smft_ctx *ctx, const smft_model *model, const char *data,
                      const atlas_facts *known, const atlas_facts *fresh,
                      const atlas_wordings *wordings) {
  smft_session *session = NULL;
  double exact = 0, f1;
  check(smft_session_create(&session, model, NULL, NULL), "session");
  f1 = f1_of(ctx, session, known, wordings, &exact);
  printf("| known facts (%lld), the test question | F1 %.4f, exact %.4f |\n", (long long)known->n,
         f1, exact);
  printf("| known facts, always the relation's commonest answer | F1 %.4f |\n",
         atlas_majority_f1(known, NULL, known->n));
  f1 = f1_of(ctx, session, fresh, wordings, &exact);
  printf("| new facts (%lld) before learning | F1 %.4f, exact %.4f |\n", (long long)fresh->n, f1,
         exact);
  printf("| new facts, always the relation's commonest answer | F1 %.4f |\n",
         atlas_majority_f1(fresh, NULL, fresh->n));
  printf("| held-out text, nats per token | %.3f |\n",
         text_nll(ctx, session, path_in(data, "text.heldout.txt")));
  if (smft_model_memory(model, 0))
    pool_zeroed(ctx, session, model, known, wordings);
  smft_session_free(session);
}

/* ---- the pool ------------------------------------------------------------ */

/* A learner that only looks: its steps are too small to change anything that counts, on a patch
 * that nobody else sees. */
static smft_learner *looker(const smft_model *model, smft_patch *patch, smft_ctx *ctx, int32_t rule,
                            int64_t t) {
  smft_selector *selector = NULL;
  smft_optimizer *optimizer = NULL;
  smft_learner *learner = NULL;
  smft_selector_options selector_options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_optimizer_options optimizer_options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learner_options = SMFT_LEARNER_OPTIONS_INIT;
  selector_options.rule = rule;
  selector_options.t = t;
  optimizer_options.lr = 1e-30;
  learner_options.wordings_per_step = -1;
  learner_options.max_steps = 1;
  learner_options.loss_below = -1;
  check(smft_selector_create(&selector, model, &selector_options), "selector");
  check(smft_optimizer_create(&optimizer, ctx, &optimizer_options), "optimizer");
  check(smft_learner_create(&learner, model, patch, selector, optimizer, &learner_options),
        "learner");
  smft_selector_free(selector);
  smft_optimizer_free(optimizer);
  return learner;
}

static int64_t push(smft_learner *learner, const atlas_fact *fact, const atlas_wordings *wordings,
                    int only) {
  const atlas_relation *relation = atlas_relation_find(wordings, fact->relation);
  atlas_text texts[32];
  int64_t n = 0;
  for (int64_t w = 0; w < relation->n && n < 32; w++) {
    if (only >= 0 ? w != only % relation->n : relation->wordings[w].role != ATLAS_TRAIN)
      continue;
    need(atlas_fill(&texts[n++], &relation->wordings[w], fact) == 0 ? learner : NULL);
  }
  atlas_push(learner, fact->id, texts, n);
  for (int64_t i = 0; i < n; i++)
    atlas_text_free(&texts[i]);
  return n;
}

static int descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

static void reads(const smft_model *model, smft_ctx *ctx, const atlas_facts *known,
                  const atlas_wordings *wordings) {
  int64_t n_slots = 0, n = 0;
  double sum = 0, top = 0;
  uint64_t state = 5;
  smft_patch *patch = NULL;
  check(smft_model_pool(model, 0, &n_slots, NULL), "pool");
  check(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS), "patch");
  smft_learner *learner = looker(model, patch, ctx, SMFT_RULE_ALL, 0);
  double *count = need(calloc((size_t)n_slots, sizeof *count));
  smft_selected *selected = need(malloc((size_t)n_slots * sizeof *selected));
  for (int64_t i = 0; i < SEQUENCES; i++) {
    smft_report report = SMFT_REPORT_INIT;
    push(learner, &known->items[atlas_below(&state, known->n)], wordings,
         (int)atlas_below(&state, 64));
    check(smft_step(learner, &report), "step");
    check(smft_learner_selected(learner, selected, n_slots, &n), "selected");
    for (int64_t j = 0; j < n; j++)
      count[selected[j].slot] += selected[j].score * (double)report.reads;
  }
  qsort(count, (size_t)n_slots, sizeof *count, descending);
  for (int64_t i = 0; i < n_slots; i++) {
    sum += count[i];
    top += i < n_slots / 100 ? count[i] : 0;
  }
  printf("| share of reads on the top 1%% of slots (%d known-fact sequences) | %.1f%% |\n",
         SEQUENCES, 100 * top / sum);
  free(count);
  free(selected);
  smft_learner_free(learner);
  smft_patch_free(patch);
}

static void background(const smft_model *model) {
  smft_selector *selector = NULL;
  int64_t n_slots = 0, batches = 0, ever = 0, often = 0;
  check(smft_model_pool(model, 0, &n_slots, NULL), "pool");
  check(smft_selector_create(&selector, model, NULL), "selector");
  uint32_t *df = need(malloc((size_t)n_slots * sizeof *df));
  check(smft_selector_df(selector, 0, df, n_slots, &batches), "df");
  for (int64_t i = 0; i < n_slots; i++) {
    ever += df[i] > 0;
    often += (double)df[i] > 0.1 * (double)batches;
  }
  printf("| slots ever read by the background (%lld sequences) | %.1f%% |\n", (long long)batches,
         100 * (double)ever / (double)n_slots);
  printf("| slots read by more than a tenth of its sequences | %.1f%% |\n",
         100 * (double)often / (double)n_slots);
  free(df);
  smft_selector_free(selector);
}

static int by_slot(const void *a, const void *b) {
  const smft_selected *x = a, *y = b;
  return (x->slot > y->slot) - (x->slot < y->slot);
}

static int64_t common(const smft_selected *a, int64_t n_a, const smft_selected *b, int64_t n_b) {
  int64_t i = 0, j = 0, n = 0;
  while (i < n_a && j < n_b) {
    n += a[i].slot == b[j].slot;
    int64_t slot_a = a[i].slot, slot_b = b[j].slot;
    i += slot_a <= slot_b;
    j += slot_b <= slot_a;
  }
  return n;
}

static void overlap(const smft_model *model, smft_ctx *ctx, const atlas_facts *fresh,
                    const atlas_wordings *wordings) {
  smft_selected *sets = need(malloc((size_t)FACTS * TOP * sizeof *sets));
  int64_t sizes[FACTS], order[FACTS], *all = need(malloc((size_t)fresh->n * sizeof *all));
  uint64_t state = 3;
  double shares[2] = {0}, pairs[2] = {0};
  smft_patch *patch = NULL;
  check(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS), "patch");
  smft_learner *learner = looker(model, patch, ctx, SMFT_RULE_TFIDF, TOP);
  atlas_shuffle(&state, all, fresh->n);
  for (int64_t i = 0; i < FACTS; i++) {
    order[i] = all[i];
    push(learner, &fresh->items[order[i]], wordings, -1);
    check(smft_step(learner, NULL), "step");
    check(smft_learner_selected(learner, sets + i * TOP, TOP, &sizes[i]), "selected");
    qsort(sets + i * TOP, (size_t)sizes[i], sizeof *sets, by_slot);
  }
  for (int64_t i = 0; i < FACTS; i++)
    for (int64_t j = 0; j < i; j++) {
      int same = strcmp(fresh->items[order[i]].relation, fresh->items[order[j]].relation) == 0;
      shares[same] += (double)common(sets + i * TOP, sizes[i], sets + j * TOP, sizes[j]) / TOP;
      pairs[same]++;
    }
  printf("| two facts' top %d slots by TF-IDF, in common: other relation / same relation | %.1f%% "
         "/ %.1f%% |\n",
         TOP, 100 * shares[0] / pairs[0], 100 * shares[1] / pairs[1]);
  free(sets);
  free(all);
  smft_learner_free(learner);
  smft_patch_free(patch);
}

int main(int argc, char **argv) {
  atlas_facts known, fresh;
  atlas_wordings wordings;
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  if (argc != 3 || argv[1][0] == '-') {
    fputs("usage: atlas-describe MODEL_DIR DATA_DIR\nMeasures what the model card says; about half "
          "a minute.\n",
          argc == 2 ? stdout : stderr);
    return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
  }
  check(smft_ctx_create(&ctx, NULL), "context");
  check(smft_model_load(&model, ctx, argv[1], NULL), argv[1]);
  if (atlas_facts_load(&known, path_in(argv[2], "known.jsonl")) != 0 ||
      atlas_facts_load(&fresh, path_in(argv[2], "new.jsonl")) != 0 ||
      atlas_wordings_load(&wordings, path_in(argv[2], "wordings.json")) != 0)
    return 1;
  printf("| what | measured |\n|---|---|\n");
  questions(ctx, model, argv[2], &known, &fresh, &wordings);
  if (smft_model_memory(model, 0)) {
    background(model);
    reads(model, ctx, &known, &wordings);
    overlap(model, ctx, &fresh, &wordings);
  }
  smft_model_free(model);
  smft_ctx_free(ctx);
  atlas_facts_free(&known);
  atlas_facts_free(&fresh);
  atlas_wordings_free(&wordings);
  return 0;
}
