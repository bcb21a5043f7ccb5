/* own: what is asked of a user's own facts, and what counts as right.  The library's reader has
 * taken the file before (smft_learner_push_file), so that each line is a fact. */
#ifndef ATLAS_OWN_H
#define ATLAS_OWN_H
#include <stdint.h>

struct json_t;

typedef struct own_fact {
  char *id, *question;
  char **answers; /* (n_answers) accepted, the first of them taught */
  int64_t n_answers;
  int trained; /* the question is one of the wordings that are taught */
} own_fact;

typedef struct own_facts {
  own_fact *items; /* (n) */
  int64_t n;
} own_facts;

/* The "question" of a fact; without one, its first wording up to the answer; NULL: none.  To be
 * freed. *trained (may be NULL): whether it is taught as it is asked. */
char *own_question(const struct json_t *fact, int *trained);
/* The answer that is taught, of the first wording; borrowed. */
const char *own_answer(const struct json_t *fact);
/* 0 on success; otherwise a message is on stderr. */
int own_facts_load(own_facts *out, const char *path);
void own_facts_free(own_facts *facts);
#endif
