/* facts: one fact as token sequences with loss weights, made from text, token ids or a line of
 * JSON. */
#ifndef SMFT__FACTS_H
#define SMFT__FACTS_H
#include "model/model.h"

typedef struct smft__others { /* sequences one after another */
  smft__ids ids;
  int64_t *offsets; /* (n + 1) */
  int64_t n, capacity;
} smft__others;

typedef struct smft__fact {
  struct smft__fact *next; /* in a queue */
  struct smft__fact *same; /* in its table of ids (names.h) */
  int64_t serial;          /* from 1, in the order in which facts were queued; 0: nobody's */
  char *id;
  int64_t n_wordings, n_tokens;
  int64_t n_left_out; /* of the host's: their answer opens a text before which nothing stands */
  /* so many that were made by rule, and are not the first two, may stay above the threshold when
   * the fact is done */
  int64_t n_spared;
  smft__ids ids;  /* (n_tokens): the wordings, one after another */
  float *weights; /* (n_tokens): 1 where the token is learnt; a wording's first is 0 */
  int64_t weights_capacity;
  int64_t *offsets;    /* (n_wordings + 1) */
  smft__others others; /* its question, asked about others (contrast.h) */
  int64_t steps;       /* taken so far */
  double seconds;      /* that they took */
} smft__fact;
void smft__fact_free(smft__fact *fact, smft_ctx *ctx);
/* loss_all: every token is learnt, not only the answer's. */
smft_status smft__fact_from_text(smft__fact **out, const smft_model *model, const char *id,
                                 const smft_wording *wordings, int64_t n, int loss_all);
smft_status smft__fact_from_ids(smft__fact **out, const smft_model *model, const char *id,
                                const smft_ids_wording *wordings, int64_t n, int loss_all);
/* The same with all tokens of `from`, which is of this model. */
smft_status smft__fact_copy(smft__fact **out, const smft_model *model, const smft__fact *from,
                            const char *id, int loss_all);

/* Or wording by wording: begin, add each (n at most), end. */
typedef struct smft__fact_maker {
  const smft_model *model;
  smft_ctx *ctx;
  smft__fact *fact;
  int loss_all;
} smft__fact_maker;
smft_status smft__fact_begin(smft__fact_maker *make, const smft_model *model, const char *id,
                             int64_t n, int loss_all);
/* With how many ids, `most` at most, both begin. */
int64_t smft__ids_in_common(const int32_t *left, const int32_t *right, int64_t most);
/* The ids that came to others.ids since the last call are one more. */
smft_status smft__fact_end_other(smft__fact *fact);
/* One that failed may be dropped, and others added. */
smft_status smft__fact_add_text(smft__fact_maker *make, const smft_wording *wording);
smft_status smft__fact_add_ids(smft__fact_maker *make, const smft_ids_wording *wording);
void smft__fact_drop(smft__fact_maker *make);
/* Frees the fact where status is a failure, also one of smft__fact_begin. */
smft_status smft__fact_end(smft__fact_maker *make, smft_status status, smft__fact **out);
#endif
