/* classroom: see classroom.h. */
#include "classroom.h"
#include "program.h"
#include <stdlib.h>
#include <string.h>

void atlas_push(smft_learner *learner, const char *id, const atlas_text *texts, int64_t n) {
  smft_wording *wordings = need(calloc((size_t)n + 1, sizeof *wordings));
  for (int64_t i = 0; i < n; i++)
    wordings[i] =
        (smft_wording){sizeof *wordings, 0, texts[i].prompt, texts[i].answer, texts[i].end, NULL};
  check(smft_learner_push(learner, id, wordings, n), "pushing a fact");
  free(wordings);
}

const char *atlas_ask(smft_session *session, const char *prompt) {
  const char *text = NULL;
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  options.max_tokens = 24;
  options.stop = "\n";
  check(smft_session_generate(session, prompt, strlen(prompt), &options, &text, NULL), "asking");
  return text;
}

void atlas_probe_facts(smft_probe *probe, const atlas_facts *facts, const atlas_wordings *wordings,
                       const int64_t *order, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const atlas_fact *fact = &facts->items[order ? order[i] : i];
    const atlas_relation *relation = atlas_relation_find(wordings, fact->relation);
    atlas_text text;
    need(relation && atlas_fill(&text, atlas_question(relation), fact) == 0 ? probe : NULL);
    check(smft_probe_add_question(probe, fact->id, text.prompt, (const char *const *)fact->answers,
                                  fact->n_answers),
          "probe");
    atlas_text_free(&text);
  }
}

void atlas_probe_texts(smft_probe *probe, const char *path, int64_t n) {
  int64_t n_lines = 0;
  char **lines = atlas_lines(path, &n_lines);
  for (int64_t i = 0; lines && i < n_lines && i < n; i++)
    check(smft_probe_add_text(probe, "text", lines[i]), "probe");
  atlas_lines_free(lines, n_lines);
}

smft_patch *atlas_zeroed_pools(const smft_model *model) {
  smft_patch *zero = NULL;
  int64_t n_slots = 0, dim = 0;
  check(smft_patch_create(&zero, model, SMFT_PATCH_SLOTS), "patch");
  for (int32_t pool = 0; smft_model_pool(model, pool, &n_slots, &dim) == SMFT_OK; pool++) {
    float *row = need(calloc((size_t)dim, sizeof *row));
    for (int64_t slot = 0; slot < n_slots; slot++)
      check(smft_patch_set_row(zero, pool, slot, row, dim), "zeroing the pool");
    free(row);
  }
  return zero;
}
