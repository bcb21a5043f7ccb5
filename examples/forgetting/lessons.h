/* lessons: what the comparison teaches and asks: new facts, or short documents of several facts.
 * Owns the draw (which set, which order) and the texts; knows nothing of models. */
#ifndef FORGETTING_LESSONS_H
#define FORGETTING_LESSONS_H
#include "facts.h"

typedef struct question {
  char *prompt;
  char **answers; /* (n_answers) accepted; borrowed from the facts */
  int64_t n_answers;
} question;

typedef struct lesson { /* one fact, or one document */
  const char *id;
  atlas_text *train; /* (n_train) what is trained: prompt, answer, end */
  int64_t n_train;
  question *asked; /* (n_asked) in wordings that are never trained */
  int64_t n_asked;
  question *trained; /* (n_trained) in wordings that are: one a fact */
  int64_t n_trained;
} lesson;

typedef struct lessons {
  lesson *items; /* (n) in the order of teaching */
  int64_t n;
  atlas_facts facts; /* what the lessons point into */
} lessons;

/* Facts and documents are cut in two sets once and for all: settings are chosen on "select" and
 * reported on "report", which has no fact that the library's defaults were chosen on.  The seed
 * decides which n of the set, in which order.  0 on success; otherwise a message is on stderr. */
int lessons_facts(lessons *out, const char *data, const char *set, int64_t n, uint64_t seed);
int lessons_documents(lessons *out, const char *data, const char *path, const char *set, int64_t n,
                      uint64_t seed);
void lessons_free(lessons *l);
#endif
