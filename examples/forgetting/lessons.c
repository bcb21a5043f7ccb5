/* lessons: see lessons.h. */
#include "lessons.h"
#include "program.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPLIT_SEED 2025 /* which new facts are "select" and which "report" */
#define MOST_FACTS 16   /* of a document */
/* The library's defaults were chosen on the demo's draws (atlas/demo.c) of 20 of the new facts with
 * these seeds: the report set has none of them. */
#define DEFAULTS_FIRST_SEED 101
#define DEFAULTS_LAST_SEED 108
#define DEFAULTS_DRAW 20

/* ---- one fact's questions and wordings ----------------------------------- */

static void put_question(question **list, int64_t *n, const char *prompt, const atlas_fact *fact) {
  *list = need(realloc(*list, (size_t)(*n + 1) * sizeof **list));
  question *q = &(*list)[(*n)++];
  q->prompt = need(strdup(prompt));
  q->answers = fact->answers;
  q->n_answers = fact->n_answers;
}

static atlas_text *new_training(lesson *l) {
  l->train = need(realloc(l->train, (size_t)(l->n_train + 1) * sizeof *l->train));
  return &l->train[l->n_train++];
}

static const atlas_relation *relation_of(const atlas_wordings *wordings, const atlas_fact *fact) {
  const atlas_relation *relation = atlas_relation_find(wordings, fact->relation);
  if (!relation)
    fprintf(stderr, "%s: there are no wordings for the relation \"%s\"\n", fact->id,
            fact->relation);
  return relation;
}

/* Test and held wordings, which are never trained. */
static int ask_fact(lesson *l, const atlas_fact *fact, const atlas_wordings *wordings) {
  const atlas_relation *relation = relation_of(wordings, fact);
  for (int64_t i = 0; relation && i < relation->n; i++) {
    atlas_text text;
    if (relation->wordings[i].role == ATLAS_TRAIN)
      continue;
    need(atlas_fill(&text, &relation->wordings[i], fact) == 0 ? l : NULL);
    put_question(&l->asked, &l->n_asked, text.prompt, fact);
    atlas_text_free(&text);
  }
  return relation ? 0 : -1;
}

static int train_fact(lesson *l, const atlas_fact *fact, const atlas_wordings *wordings) {
  const atlas_relation *relation = relation_of(wordings, fact);
  for (int64_t i = 0; relation && i < relation->n; i++)
    if (relation->wordings[i].role == ATLAS_TRAIN)
      need(atlas_fill(new_training(l), &relation->wordings[i], fact) == 0 ? l : NULL);
  if (l->n_train > 0)
    put_question(&l->trained, &l->n_trained, l->train[0].prompt, fact);
  return relation ? 0 : -1;
}

/* ---- facts --------------------------------------------------------------- */

/* used (n): 1 for the facts that the library's defaults were chosen on. */
static void mark_used(char *used, int64_t n) {
  int64_t *order = need(malloc(((size_t)n + 1) * sizeof *order));
  for (uint64_t seed = DEFAULTS_FIRST_SEED; seed <= DEFAULTS_LAST_SEED; seed++) {
    uint64_t state = seed * 7919 + 17;
    atlas_shuffle(&state, order, n);
    for (int64_t i = 0; i < DEFAULTS_DRAW && i < n; i++)
      used[order[i]] = 1;
  }
  free(order);
}

/* members (n) of a set; returns their number.  "select" is one half, "report" what no choice has
 * used of the other. */
static int64_t find_set(int64_t *members, int64_t n, const char *set) {
  uint64_t state = SPLIT_SEED;
  int64_t half = n / 2, count = 0;
  int is_report = strcmp(set, "report") == 0;
  int64_t *split = need(malloc(((size_t)n + 1) * sizeof *split));
  char *used = need(calloc((size_t)n + 1, 1));
  atlas_shuffle(&state, split, n);
  mark_used(used, n);
  for (int64_t i = is_report ? half : 0; i < (is_report ? n : half); i++)
    if (!is_report || !used[split[i]])
      members[count++] = split[i];
  free(split);
  free(used);
  return count;
}

/* order (n) of the facts of a set, drawn by the seed; returns their number. */
static int64_t draw_set(int64_t *order, int64_t n, const char *set, uint64_t seed) {
  uint64_t state = seed * 7919 + 17;
  int64_t *members = need(malloc(((size_t)n + 1) * sizeof *members));
  int64_t count = find_set(members, n, set);
  atlas_shuffle(&state, order, count);
  for (int64_t i = 0; i < count; i++)
    order[i] = members[order[i]];
  free(members);
  return count;
}

static int enough(const char *what, const char *set, int64_t n, int64_t there) {
  if (n > there)
    fprintf(stderr, "the %s set has %lld %s, not %lld\n", set, (long long)there, what,
            (long long)n);
  return n <= there;
}

int lessons_facts(lessons *out, const char *data, const char *set, int64_t n, uint64_t seed) {
  atlas_wordings wordings;
  memset(out, 0, sizeof *out);
  if (atlas_facts_load(&out->facts, path_in(data, "new.jsonl")) != 0 ||
      atlas_wordings_load(&wordings, path_in(data, "wordings.json")) != 0)
    return -1;
  int64_t *order = need(malloc(((size_t)out->facts.n + 1) * sizeof *order));
  int status = enough("facts", set, n, draw_set(order, out->facts.n, set, seed)) ? 0 : -1;
  out->items = need(calloc((size_t)n + 1, sizeof *out->items));
  for (int64_t i = 0; i < n && status == 0; i++) {
    const atlas_fact *fact = &out->facts.items[order[i]];
    lesson *l = &out->items[out->n++];
    l->id = fact->id;
    status = ask_fact(l, fact, &wordings) == 0 && train_fact(l, fact, &wordings) == 0 ? 0 : -1;
  }
  free(order);
  atlas_wordings_free(&wordings);
  return status;
}

/* ---- documents ----------------------------------------------------------- */

static char *copy_part(const char *text, size_t begin, size_t end) {
  char *copy = need(malloc(end - begin + 1));
  memcpy(copy, text + begin, end - begin);
  copy[end - begin] = 0;
  return copy;
}

/* A rewrite is trained once for each answer in it: all that stands before the answer is given, the
 * answer and the sign behind it are learnt. */
static int train_rewrite(lesson *l, const json_t *rewrite) {
  const char *text = json_string_value(json_object_get(rewrite, "text"));
  const json_t *spans = json_object_get(rewrite, "spans");
  for (size_t i = 0; text && i < json_array_size(spans); i++) {
    const json_t *span = json_array_get(spans, i);
    size_t begin = (size_t)json_integer_value(json_array_get(span, 0));
    size_t end = (size_t)json_integer_value(json_array_get(span, 1));
    if (begin < 1 || end <= begin || end > strlen(text) || text[begin - 1] != ' ')
      return -1;
    atlas_text *made = new_training(l);
    made->prompt = copy_part(text, 0, begin - 1);
    made->answer = copy_part(text, begin - 1, end);
    made->end = text[end] ? copy_part(text, end, end + 1) : need(strdup("\n"));
  }
  return text ? 0 : -1;
}

/* The document's facts go behind those that are there; a rewrite's spans stand in their order. */
static int read_document(lessons *out, lesson *l, const json_t *object,
                         const atlas_wordings *wordings) {
  const json_t *facts = json_object_get(object, "facts"),
               *rewrites = json_object_get(object, "rewrites");
  const char *subject = json_string_value(json_object_get(object, "subject"));
  int64_t n = (int64_t)json_array_size(facts);
  atlas_fact *first = &out->facts.items[out->facts.n];
  if (!subject || n == 0 || n > MOST_FACTS || json_array_size(rewrites) == 0)
    return -1;
  for (int64_t i = 0; i < n; i++) {
    json_t *copy = json_copy(json_array_get(facts, (size_t)i));
    int status = json_object_set_new(copy, "subject", json_string(subject)) == 0
                     ? atlas_fact_read(&first[i], copy)
                     : -1;
    json_decref(copy);
    if (status != 0)
      return -1;
    out->facts.n++;
    if (ask_fact(l, &first[i], wordings) != 0)
      return -1;
  }
  l->id = first[0].id;
  for (size_t i = 0; i < json_array_size(rewrites); i++)
    if (train_rewrite(l, json_array_get(rewrites, i)) != 0)
      return -1;
  for (int64_t i = 0; i < n && i < l->n_train; i++) /* the first rewrite's blanks */
    put_question(&l->trained, &l->n_trained, l->train[i].prompt, &first[i]);
  return 0;
}

static int is_in_set(const json_t *object, const char *set) {
  const char *own = json_string_value(json_object_get(object, "set"));
  return own && strcmp(own, set) == 0;
}

/* An array of the documents of a set; NULL: a message is on stderr. */
static json_t *load_set(const char *path, const char *set) {
  int64_t n = 0;
  char **lines = atlas_lines(path, &n);
  json_t *found = lines ? need(json_array()) : NULL;
  for (int64_t i = 0; found && i < n; i++) {
    json_t *object = json_loads(lines[i], JSON_REJECT_DUPLICATES, NULL);
    if (!object) {
      fprintf(stderr, "%s: line %lld is not JSON\n", path, (long long)i + 1);
      json_decref(found);
      found = NULL;
    } else if (is_in_set(object, set)) {
      json_array_append(found, object);
    }
    json_decref(object);
  }
  atlas_lines_free(lines, n);
  return found;
}

static int read_documents(lessons *out, const json_t *documents, const atlas_wordings *wordings,
                          int64_t n, uint64_t seed) {
  int64_t count = (int64_t)json_array_size(documents);
  int64_t *order = need(malloc(((size_t)count + 1) * sizeof *order));
  uint64_t state = seed * 7919 + 17;
  int status = 0;
  atlas_shuffle(&state, order, count);
  out->items = need(calloc((size_t)n + 1, sizeof *out->items));
  out->facts.items = need(calloc((size_t)n * MOST_FACTS + 1, sizeof *out->facts.items));
  for (int64_t i = 0; i < n && status == 0; i++) {
    const json_t *object = json_array_get(documents, (size_t)order[i]);
    const char *id = json_string_value(json_object_get(object, "id"));
    status = read_document(out, &out->items[out->n++], object, wordings);
    if (status != 0)
      fprintf(stderr, "%s: not a document\n", id ? id : "a line without an \"id\"");
  }
  free(order);
  return status;
}

int lessons_documents(lessons *out, const char *data, const char *path, const char *set, int64_t n,
                      uint64_t seed) {
  atlas_wordings wordings;
  memset(out, 0, sizeof *out);
  json_t *documents = load_set(path, set);
  if (!documents || atlas_wordings_load(&wordings, path_in(data, "wordings.json")) != 0)
    return -1;
  int status = enough("documents", set, n, (int64_t)json_array_size(documents))
                   ? read_documents(out, documents, &wordings, n, seed)
                   : -1;
  json_decref(documents);
  atlas_wordings_free(&wordings);
  return status;
}

static void questions_free(question *list, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    free(list[i].prompt);
  free(list);
}

void lessons_free(lessons *l) {
  for (int64_t i = 0; i < l->n; i++) {
    for (int64_t w = 0; w < l->items[i].n_train; w++)
      atlas_text_free(&l->items[i].train[w]);
    free(l->items[i].train);
    questions_free(l->items[i].asked, l->items[i].n_asked);
    questions_free(l->items[i].trained, l->items[i].n_trained);
  }
  free(l->items);
  atlas_facts_free(&l->facts);
}
