/* facts: see facts.h.  Plain C and jansson; errors go to stderr, since this is an example program,
 * not the library. */
#include "facts.h"
#include "smft/smft.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *copy_string(const char *text) {
  char *copy = malloc(strlen(text) + 1);
  if (copy)
    strcpy(copy, text);
  return copy;
}

static char *copy_member(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? copy_string(text) : NULL;
}

static void fact_free(atlas_fact *fact) {
  for (int64_t i = 0; i < fact->n_answers; i++)
    free(fact->answers[i]);
  free(fact->answers);
  free(fact->id);
  free(fact->relation);
  free(fact->subject);
  free(fact->answer);
}

int atlas_fact_read(atlas_fact *fact, const struct json_t *object) {
  const json_t *aliases = json_object_get(object, "aliases");
  size_t n_aliases = json_array_size(aliases);
  memset(fact, 0, sizeof *fact);
  fact->id = copy_member(object, "id");
  fact->relation = copy_member(object, "relation");
  fact->subject = copy_member(object, "subject");
  fact->answer = copy_member(object, "answer");
  fact->answer_seen = json_is_true(json_object_get(object, "answer_seen"));
  fact->answers = calloc(n_aliases + 2, sizeof *fact->answers);
  if (!fact->id || !fact->relation || !fact->subject || !fact->answer || !fact->answers)
    return -1;
  fact->answers[fact->n_answers++] = copy_string(fact->answer);
  for (size_t i = 0; i < n_aliases; i++) {
    const char *alias = json_string_value(json_array_get(aliases, i));
    if (alias && strcmp(alias, fact->answer) != 0)
      fact->answers[fact->n_answers++] = copy_string(alias);
  }
  return 0;
}

static int add_fact(void *user, const json_t *object) {
  atlas_facts *facts = user;
  atlas_fact *items = realloc(facts->items, (size_t)(facts->n + 1) * sizeof *items);
  if (!items)
    return -1;
  facts->items = items;
  return atlas_fact_read(&items[facts->n++], object);
}

int atlas_facts_load(atlas_facts *facts, const char *path) {
  memset(facts, 0, sizeof *facts);
  if (atlas_objects(path, "not a fact (id, relation, subject, answer)", add_fact, facts) == 0)
    return 0;
  atlas_facts_free(facts);
  return -1;
}

void atlas_facts_free(atlas_facts *facts) {
  for (int64_t i = 0; i < facts->n; i++)
    fact_free(&facts->items[i]);
  free(facts->items);
  memset(facts, 0, sizeof *facts);
}

static int role_of(const char *name) {
  if (name && strcmp(name, "test") == 0)
    return ATLAS_TEST;
  return name && strcmp(name, "held") == 0 ? ATLAS_HELD : ATLAS_TRAIN;
}

static int relation_read(atlas_relation *relation, const char *name, const json_t *list) {
  relation->name = copy_string(name);
  relation->n = (int64_t)json_array_size(list);
  relation->wordings = calloc((size_t)relation->n + 1, sizeof *relation->wordings);
  if (!relation->name || !relation->wordings || relation->n == 0)
    return -1;
  for (int64_t i = 0; i < relation->n; i++) {
    const json_t *object = json_array_get(list, (size_t)i);
    atlas_wording *wording = &relation->wordings[i];
    wording->prompt = copy_member(object, "prompt");
    wording->answer = copy_member(object, "answer");
    wording->end = copy_member(object, "end");
    wording->role = role_of(json_string_value(json_object_get(object, "role")));
    if (!wording->prompt || !wording->answer || !wording->end)
      return -1;
  }
  return atlas_question(relation) ? 0 : -1;
}

int atlas_wordings_load(atlas_wordings *wordings, const char *path) {
  json_error_t error;
  json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error), *list;
  const char *name;
  memset(wordings, 0, sizeof *wordings);
  if (!root) {
    fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
    return -1;
  }
  wordings->items = calloc(json_object_size(root) + 1, sizeof *wordings->items);
  json_object_foreach(root, name, list) {
    if (relation_read(&wordings->items[wordings->n++], name, list) != 0) {
      fprintf(stderr, "%s: the wordings of %s are not complete\n", path, name);
      json_decref(root);
      return -1;
    }
  }
  json_decref(root);
  return 0;
}

void atlas_wordings_free(atlas_wordings *wordings) {
  for (int64_t r = 0; r < wordings->n; r++) {
    atlas_relation *relation = &wordings->items[r];
    for (int64_t i = 0; relation->wordings && i < relation->n; i++) {
      free(relation->wordings[i].prompt);
      free(relation->wordings[i].answer);
      free(relation->wordings[i].end);
    }
    free(relation->wordings);
    free(relation->name);
  }
  free(wordings->items);
  memset(wordings, 0, sizeof *wordings);
}

const atlas_relation *atlas_relation_find(const atlas_wordings *wordings, const char *name) {
  for (int64_t i = 0; i < wordings->n; i++)
    if (strcmp(wordings->items[i].name, name) == 0)
      return &wordings->items[i];
  return NULL;
}

const atlas_wording *atlas_question(const atlas_relation *relation) {
  for (int64_t i = 0; i < relation->n; i++)
    if (relation->wordings[i].role == ATLAS_TEST)
      return &relation->wordings[i];
  return NULL;
}

/* The template with {s} and {a} replaced. */
static char *fill(const char *pattern, const atlas_fact *fact) {
  size_t size = 1;
  for (const char *p = pattern; *p; p++)
    size += strncmp(p, "{s}", 3) == 0   ? strlen(fact->subject)
            : strncmp(p, "{a}", 3) == 0 ? strlen(fact->answer)
                                        : 1;
  char *text = malloc(size), *out = text;
  if (!text)
    return NULL;
  for (const char *p = pattern; *p;) {
    const char *put = strncmp(p, "{s}", 3) == 0   ? fact->subject
                      : strncmp(p, "{a}", 3) == 0 ? fact->answer
                                                  : NULL;
    if (put) {
      out = strcpy(out, put) + strlen(put);
      p += 3;
    } else {
      *out++ = *p++;
    }
  }
  *out = '\0';
  return text;
}

int atlas_fill(atlas_text *text, const atlas_wording *wording, const atlas_fact *fact) {
  text->prompt = fill(wording->prompt, fact);
  text->answer = fill(wording->answer, fact);
  text->end = fill(wording->end, fact);
  if (text->prompt && text->answer && text->end)
    return 0;
  atlas_text_free(text);
  return -1;
}

void atlas_text_free(atlas_text *text) {
  free(text->prompt);
  free(text->answer);
  free(text->end);
  memset(text, 0, sizeof *text);
}

static char *read_file(const char *path, size_t *size) {
  struct stat info;
  FILE *file = fopen(path, "rb");
  char *data = NULL;
  long length = 0;
  if (file && fstat(fileno(file), &info) == 0 && S_ISDIR(info.st_mode)) {
    fclose(file);
    fprintf(stderr, "%s: expected a file, found a directory\n", path);
    return NULL;
  }
  if (file && fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0 &&
      fseek(file, 0, SEEK_SET) == 0)
    data = malloc((size_t)length + 1);
  if (data && fread(data, 1, (size_t)length, file) != (size_t)length) {
    free(data);
    data = NULL;
  }
  if (file)
    fclose(file);
  if (!data) {
    perror(path);
    return NULL;
  }
  data[length] = '\0';
  *size = (size_t)length;
  return data;
}

char **atlas_lines(const char *path, int64_t *n) {
  size_t size = 0, count = 0;
  char *data = read_file(path, &size);
  *n = 0;
  if (!data)
    return NULL;
  for (size_t i = 0; i < size; i++)
    count += data[i] == '\n';
  char **lines = calloc(count + 2, sizeof *lines);
  for (char *line = data; lines && line < data + size;) {
    char *end = strchr(line, '\n');
    if (end)
      *end = '\0';
    if (*line)
      lines[(*n)++] = copy_string(line);
    line = end ? end + 1 : data + size;
  }
  free(data);
  return lines;
}

void atlas_lines_free(char **lines, int64_t n) {
  for (int64_t i = 0; lines && i < n; i++)
    free(lines[i]);
  free(lines);
}

static int is_blank(const char *line) { return line[strspn(line, " \t\r")] == '\0'; }

int atlas_objects(const char *path, const char *wants,
                  int (*take)(void *user, const struct json_t *object), void *user) {
  size_t size = 0;
  int status = 0;
  char *data = read_file(path, &size);
  long long number = 1;
  if (!data)
    return -1;
  char *begin = data + (size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0); /* a mark */
  for (char *line = begin, *next; line < data + size && status == 0; line = next, number++) {
    json_error_t error;
    json_t *object = NULL;
    char *end = memchr(line, '\n', (size_t)(data + size - line));
    next = end ? end + 1 : data + size;
    if (end)
      *end = '\0';
    if (is_blank(line))
      continue;
    object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    status = object ? take(user, object) : -1;
    if (status != 0)
      fprintf(stderr, "%s:%lld: %s\n", path, number, object ? wants : error.text);
    json_decref(object);
  }
  free(data);
  return status;
}

uint64_t atlas_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

int64_t atlas_below(uint64_t *state, int64_t n) {
  return (int64_t)((atlas_random(state) >> 11) % (uint64_t)n);
}

void atlas_shuffle(uint64_t *state, int64_t *order, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j = atlas_below(state, i + 1), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
}

static const atlas_fact *pick(const atlas_facts *facts, const int64_t *order, int64_t i) {
  return &facts->items[order ? order[i] : i];
}

/* How often the answer of fact `f` stands among the facts of its relation. */
static int64_t answer_count(const atlas_facts *facts, const int64_t *order, int64_t n,
                            const atlas_fact *f) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) {
    const atlas_fact *other = pick(facts, order, i);
    count += strcmp(other->relation, f->relation) == 0 && strcmp(other->answer, f->answer) == 0;
  }
  return count;
}

double atlas_majority_f1(const atlas_facts *facts, const int64_t *order, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    const atlas_fact *fact = pick(facts, order, i), *common = fact;
    int64_t most = 0;
    for (int64_t j = 0; j < n; j++) {
      const atlas_fact *other = pick(facts, order, j);
      int64_t count =
          strcmp(other->relation, fact->relation) == 0 ? answer_count(facts, order, n, other) : 0;
      if (count > most) {
        most = count;
        common = other;
      }
    }
    double exact = 0, f1 = 0;
    smft_score_answer(common->answer, (const char *const *)fact->answers, fact->n_answers, &exact,
                      &f1);
    sum += f1;
  }
  return n ? sum / (double)n : 0;
}
