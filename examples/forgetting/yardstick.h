/* yardstick: what a model must not forget, measured before and after: known facts' F1 (those that
 * need the memory's pool apart from the others), multiple choice among answers of the same
 * relation, held-out text.  And the F1 of what was taught. */
#ifndef FORGETTING_YARDSTICK_H
#define FORGETTING_YARDSTICK_H
#include "lessons.h"
#include "smft/smft.h"

typedef struct yardstick {
  smft_probe *probe;
  int64_t n_known;
  smft_probe *others; /* all other known facts; NULL: not wanted */
  int64_t n_others;
  double f1_pool_zeroed; /* of the known facts; NaN: the model has no memory */
  /* (n_known) 1: not answered when the pool's values are zero; NULL: the model has no memory */
  char *needs_pool;
  /* (n_known + n_others) 1: one of the half of the known facts that "half" of background.h is made
   * of */
  char *in_half;
} yardstick;

typedef struct measures {
  smft_probe_report probe;
  int64_t n_known;       /* questions about known facts, */
  double f1, f1_before;  /* and their F1 */
  double f1_pool_zeroed; /* of the base model */
  /* percent of the F1 of known facts that need the pool, and of those that do not; NaN: none of
   * them */
  double memory_lost, other_lost;
  /* the same of the known facts in the half of background.h, and of the others */
  double half_lost, rest_lost;
} measures;

typedef struct f1_score {
  double f1, exact; /* means */
  int64_t n;
} f1_score;

/* n_known questions (and a choice of four endings for every second of them) drawn by the seed, the
 * first n_texts lines of text.heldout.txt. Measures the base model.  whole: can also ask all other
 * known facts. */
void yardstick_make(yardstick *y, const smft_model *model, const char *data, int64_t n_known,
                    int64_t n_texts, uint64_t seed, int whole);
/* whole: of all known facts, not of n_known; what needs the pool and choices stay of n_known. */
void yardstick_measure(const yardstick *y, smft_session *session, int whole, measures *m);
void yardstick_free(yardstick *y);

/* Means over the questions of the first n lessons: asked (never trained wordings) or trained. */
f1_score ask_lessons(smft_session *session, const lessons *l, int64_t n, int trained);
#endif
