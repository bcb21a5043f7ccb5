/* questions: see questions.h. */
#include "questions.h"
#include "facts.h"
#include "own.h"
#include "program.h"
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char *copy_text(const json_t *value) {
  const char *text = json_string_value(value);
  return text && *text ? need(strdup(text)) : NULL;
}

/* Copies the strings of a list behind those that are there; -1: something in it is none. */
static int copy_list(const json_t *list, char **out, int64_t *n, int64_t most) {
  for (size_t i = 0; i < json_array_size(list); i++) {
    char *text = *n < most ? copy_text(json_array_get(list, i)) : NULL;
    if (!text)
      return -1;
    out[(*n)++] = text;
  }
  return !list || json_is_array(list) ? 0 : -1;
}

static int read_question(question *q, const json_t *object) {
  q->id = copy_text(json_object_get(object, "id"));
  q->text = own_question(object, NULL);
  q->answer = own_answer(object) ? need(strdup(own_answer(object))) : NULL;
  if (!q->id || !q->text || !q->answer)
    return -1;
  q->accepted[q->n_accepted++] = need(strdup(q->answer));
  return copy_list(json_object_get(object, "aliases"), q->accepted, &q->n_accepted, MOST_ANSWERS) ==
                     0 &&
                 copy_list(json_object_get(object, "ask"), q->asked, &q->n_asked, MOST_ASKED) == 0
             ? 0
             : -1;
}

static int add_question(void *user, const json_t *object) {
  questions *list = user;
  list->items = need(realloc(list->items, (size_t)(list->n + 1) * sizeof *list->items));
  memset(&list->items[list->n], 0, sizeof *list->items);
  return read_question(&list->items[list->n++], object);
}

int questions_load(questions *out, const char *path) {
  memset(out, 0, sizeof *out);
  if (atlas_objects(path, "wants \"id\", \"question\" and \"answer\"", add_question, out) != 0)
    return -1;
  if (out->n == 0)
    fprintf(stderr, "%s: no facts in it\n", path);
  return out->n > 0 ? 0 : -1;
}

void questions_free(questions *list) {
  for (int64_t i = 0; i < list->n; i++) {
    question *q = &list->items[i];
    free(q->id);
    free(q->text);
    free(q->answer);
    for (int64_t a = 0; a < q->n_accepted; a++)
      free(q->accepted[a]);
    for (int64_t a = 0; a < q->n_asked; a++)
      free(q->asked[a]);
  }
  free(list->items);
}

static int is_word(char c) { return isalnum((unsigned char)c) || (unsigned char)c >= 0x80; }

static int occurs(const char *text, const char *answer) {
  size_t length = strlen(answer);
  for (const char *at = text; *at; at++)
    if (strncasecmp(at, answer, length) == 0 && (at == text || !is_word(at[-1])) &&
        !is_word(at[length]))
      return 1;
  return 0;
}

int is_right(const question *q, const char *text) {
  int right = 0;
  for (int64_t i = 0; i < q->n_accepted && !right; i++)
    right = occurs(text, q->accepted[i]);
  return right;
}
