/* background: see background.h. */
#include "background.h"
#include "program.h"
#include <stdlib.h>
#include <string.h>

#define HALF_SEED 1017 /* which known facts are in the half */
#define DRAW_SEED 7
#define PER_FACT                                                                                   \
  12.5 /* sentences of each fact, on average, as the counts beside the model have                  \
        */
#define PROMPT_WEIGHT 0.3f /* as in pretraining (atlas/pretrain.c) */
#define PROSE_WEIGHT 0.3f

int background_is_kind(const char *name) {
  return strcmp(name, "all") == 0 || strcmp(name, "half") == 0 || strcmp(name, "prose") == 0;
}

void background_half(char *in_half, int64_t n) {
  uint64_t state = HALF_SEED;
  int64_t *order = need(malloc(((size_t)n + 1) * sizeof *order));
  atlas_shuffle(&state, order, n);
  for (int64_t i = 0; i < n; i++)
    in_half[order[i]] = i < n / 2;
  free(order);
}

/* A random wording of a random one of the facts. */
static void add_sentence(sequences *out, const smft_tokenizer *tokenizer, const atlas_facts *known,
                         const atlas_wordings *wordings, const char *in_half, uint64_t *state) {
  int64_t f = atlas_below(state, known->n);
  while (in_half && !in_half[f])
    f = atlas_below(state, known->n);
  const atlas_relation *relation = atlas_relation_find(wordings, known->items[f].relation);
  need(relation ? out : NULL);
  atlas_text text;
  const atlas_wording *wording = &relation->wordings[atlas_below(state, relation->n)];
  need(atlas_fill(&text, wording, &known->items[f]) == 0 ? out : NULL);
  sequences_add(out, tokenizer, &text, PROMPT_WEIGHT);
  atlas_text_free(&text);
}

/* Three sentences, one line of prose, and so on. */
static void make_mixed(sequences *out, const smft_tokenizer *tokenizer, const char *data,
                       char *const *prose, int64_t n_prose, int half) {
  atlas_facts known;
  atlas_wordings wordings;
  uint64_t state = DRAW_SEED;
  need(atlas_facts_load(&known, path_in(data, "known.jsonl")) == 0 &&
               atlas_wordings_load(&wordings, path_in(data, "wordings.json")) == 0
           ? out
           : NULL);
  char *in_half = need(calloc((size_t)known.n + 1, 1));
  background_half(in_half, known.n);
  int64_t n = (int64_t)((double)(half ? known.n / 2 : known.n) * PER_FACT * 4 / 3);
  for (int64_t i = 0; i < n; i++)
    if (i % 4 == 3 && n_prose > 0)
      sequences_add_line(out, tokenizer, prose[atlas_below(&state, n_prose)], PROSE_WEIGHT);
    else
      add_sentence(out, tokenizer, &known, &wordings, half ? in_half : NULL, &state);
  free(in_half);
  atlas_facts_free(&known);
  atlas_wordings_free(&wordings);
}

void background_make(sequences *out, const smft_tokenizer *tokenizer, const char *data,
                     const char *kind) {
  int64_t n = 0;
  char **prose = need(atlas_lines(path_in(data, "text.train.txt"), &n));
  memset(out, 0, sizeof *out);
  if (strcmp(kind, "prose") == 0)
    for (int64_t i = 0; i < n; i++)
      sequences_add_line(out, tokenizer, prose[i], PROSE_WEIGHT);
  else
    make_mixed(out, tokenizer, data, prose, n, strcmp(kind, "half") == 0);
  atlas_lines_free(prose, n);
}
