/* questions: the lines of a file of facts, and whether an answer is right. */
#ifndef GRAFT_QUESTIONS_H
#define GRAFT_QUESTIONS_H
#include <stdint.h>

#define MOST_ANSWERS 8
#define MOST_ASKED 8

typedef struct question {
  char *id, *text, *answer;     /* what is taught: one question and its answer */
  char *accepted[MOST_ANSWERS]; /* `answer`, and what counts as right beside it */
  char *asked[MOST_ASKED];      /* the same in other words, which nobody trains */
  int64_t n_accepted, n_asked;
} question;

typedef struct questions {
  question *items; /* (n) */
  int64_t n;
} questions;

/* One JSON object a line: {"id", "question", "answer", "aliases": [], "ask": []}; the last two may
 * be left out.  A message on stderr and -1 for what is none. */
int questions_load(questions *out, const char *path);
void questions_free(questions *list);
/* An accepted answer occurs in the text, whatever its case, with no letter or digit beside it. */
int is_right(const question *q, const char *text);
#endif
