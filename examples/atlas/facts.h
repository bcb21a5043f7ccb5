/* facts: the atlas example's data: facts, the wordings of their relations, and lines of general
 * text. Owns reading the JSONL files of data/, wordings.json and text files, and filling wordings
 * with a fact.  Knows nothing of models. */
#ifndef ATLAS_FACTS_H
#define ATLAS_FACTS_H
#include <stddef.h>
#include <stdint.h>

struct json_t;

typedef struct atlas_fact {
  char *id, *relation, *subject, *answer;
  char **answers; /* (n_answers) accepted: the answer and its aliases, NULL-terminated */
  int64_t n_answers;
  int answer_seen; /* new facts: pretraining has seen the answer's string */
} atlas_fact;

typedef struct atlas_facts {
  atlas_fact *items; /* (n) */
  int64_t n;
} atlas_facts;

/* test: the question; held: other wordings never trained for a new fact */
enum { ATLAS_TRAIN, ATLAS_HELD, ATLAS_TEST };

typedef struct atlas_wording {
  char *prompt, *answer, *end; /* with {s} and {a} */
  int role;
} atlas_wording;

typedef struct atlas_relation {
  char *name;
  atlas_wording *wordings; /* (n) */
  int64_t n;
} atlas_relation;

typedef struct atlas_wordings {
  atlas_relation *items; /* (n) */
  int64_t n;
} atlas_wordings;

typedef struct atlas_text { /* a wording filled with a fact; free with atlas_text_free */
  char *prompt, *answer, *end;
} atlas_text;

/* 0 on success; otherwise a message is on stderr. */
/* one line's object (jansson); silent */
int atlas_fact_read(atlas_fact *fact, const struct json_t *object);
int atlas_facts_load(atlas_facts *facts, const char *path);
void atlas_facts_free(atlas_facts *facts);
int atlas_wordings_load(atlas_wordings *wordings, const char *path);
void atlas_wordings_free(atlas_wordings *wordings);
/* NULL: none */
const atlas_relation *atlas_relation_find(const atlas_wordings *wordings, const char *name);
/* the one with role test */
const atlas_wording *atlas_question(const atlas_relation *relation);
int atlas_fill(atlas_text *text, const atlas_wording *wording, const atlas_fact *fact);
void atlas_text_free(atlas_text *text);
/* Lines of a text file (without newline), empty ones left out; free with atlas_lines_free. */
char **atlas_lines(const char *path, int64_t *n);
void atlas_lines_free(char **lines, int64_t n);
/* Gives the JSON object of each line to `take`, which returns 0 or, where it is not what is wanted,
 * -1.  A message on stderr, which says the line and what it `wants`, and -1 on failure. */
int atlas_objects(const char *path, const char *wants,
                  int (*take)(void *user, const struct json_t *object), void *user);

/* A seeded generator: the same draw on every machine. */
uint64_t atlas_random(uint64_t *state);
int64_t atlas_below(uint64_t *state, int64_t n);
/* order (n) becomes a random permutation of 0..n-1 */
void atlas_shuffle(uint64_t *state, int64_t *order, int64_t n);
/* token F1 of always giving the relation's commonest answer, mean over the facts listed (NULL
 * order: all). */
double atlas_majority_f1(const atlas_facts *facts, const int64_t *order, int64_t n);
#endif
