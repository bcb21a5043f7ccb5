/* grammar: an English question of one sentence turned into statements that its answer completes, by
 * auxiliaries and word order.  Where it is not sure, it gives none. */
#ifndef SMFT__GRAMMAR_H
#define SMFT__GRAMMAR_H
#include "learn/sentence.h"

#define SMFT__GRAMMAR_BYTES 512

/* "" where there is none */
typedef struct smft__grammar {
  /* each goes on with the answer: "The author of Emma is", "Emma's author is" */
  char statements[2][SMFT__GRAMMAR_BYTES];
  char indirect[SMFT__GRAMMAR_BYTES]; /* "who the author of Emma is" */
  /* bytes of the text: what it is about where no name says so, or where more than the name belongs
   * to it ("Un singe en hiver"); n_topic 0: none */
  int32_t topic, n_topic;
} smft__grammar;
void smft__grammar_read(smft__grammar *out, const smft__sentence *s, const char *answer);
/* Where in the text is what it is about, n bytes of it: the topic, else the longest name. n 0:
 * none.
 */
int32_t smft__grammar_subject(const smft__grammar *g, const smft__sentence *s, int32_t *n);
/* It begins as an English question or order does. */
int smft__grammar_is_question(const smft__sentence *s);
/* It is an order: "Name the author of Emma". */
int smft__grammar_is_order(const smft__sentence *s);
#endif
