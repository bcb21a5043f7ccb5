/* own: see own.h. */
#include "own.h"
#include "facts.h"
#include "program.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

/* The fact itself where it has one wording. */
static const json_t *first_wording(const json_t *fact) {
  const json_t *list = json_object_get(fact, "wordings");
  return list ? json_array_get(list, 0) : fact;
}

/* What stands before the answer, as a session asks it: without a space at its end. */
static char *opening_of(const char *statement, const char *answer) {
  char *text = need(strdup(statement)), *end = text, *at = text;
  while ((at = strstr(at, answer))) /* the last time that it is there */
    end = at++;
  while (end > text && end[-1] == ' ')
    end--;
  *end = '\0';
  return text;
}

static int is_prompt(const json_t *wording, const char *text) {
  const char *prompt = text_of(wording, "prompt"), *question = text_of(wording, "question");
  return (prompt && strcmp(prompt, text) == 0) || (question && strcmp(question, text) == 0);
}

static int is_taught(const json_t *fact, const char *question) {
  const json_t *list = json_object_get(fact, "wordings");
  for (size_t i = 0; i < json_array_size(list); i++)
    if (is_prompt(json_array_get(list, i), question))
      return 1;
  return !list && !text_of(fact, "statement");
}

const char *own_answer(const json_t *fact) { return text_of(first_wording(fact), "answer"); }

char *own_question(const json_t *fact, int *trained) {
  const json_t *first = first_wording(fact);
  const char *question = text_of(fact, "question"), *prompt = text_of(first, "prompt");
  if (!prompt)
    prompt = text_of(first, "question");
  if (trained)
    *trained = question ? is_taught(fact, question) : 1;
  if (question || prompt)
    return need(strdup(question ? question : prompt));
  const char *statement = text_of(first, "statement"), *answer = own_answer(fact);
  return statement && answer ? opening_of(statement, answer) : NULL;
}

static void accept_all(own_fact *to, const json_t *list) {
  for (size_t i = 0; i < json_array_size(list); i++)
    to->answers[to->n_answers++] = need(strdup(json_string_value(json_array_get(list, i))));
}

static int add_fact(void *user, const json_t *object) {
  own_facts *all = user;
  const json_t *answers = json_object_get(object, "answers"),
               *aliases = json_object_get(object, "aliases");
  own_fact fact = {.id = need(strdup(text_of(object, "id")))};
  fact.question = own_question(object, &fact.trained);
  fact.answers =
      need(calloc(json_array_size(answers) + json_array_size(aliases) + 1, sizeof *fact.answers));
  if (json_array_size(answers) == 0)
    fact.answers[fact.n_answers++] = need(strdup(own_answer(object)));
  accept_all(&fact, answers);
  accept_all(&fact, aliases);
  all->items = need(realloc(all->items, (size_t)(all->n + 1) * sizeof *all->items));
  all->items[all->n++] = fact;
  return 0;
}

int own_facts_load(own_facts *out, const char *path) {
  memset(out, 0, sizeof *out);
  return atlas_objects(path, "not a fact", add_fact, out);
}

void own_facts_free(own_facts *facts) {
  for (int64_t i = 0; i < facts->n; i++) {
    own_fact *fact = &facts->items[i];
    for (int64_t a = 0; a < fact->n_answers; a++)
      free(fact->answers[a]);
    free(fact->answers);
    free(fact->question);
    free(fact->id);
  }
  free(facts->items);
}
