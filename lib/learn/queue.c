/* queue: the facts that wait for a learner.  Owns their order and how they get in (text, token ids,
 * JSONL) and out; what a fact is, is facts.c's, what is done with the first one learner.c's. */
#include "learn/learner.h"

void smft__free_queue(smft_learner *learner, smft__fact *fact) {
  while (fact) {
    smft__fact *next = fact->next;
    smft__fact_free(fact, learner->ctx);
    fact = next;
  }
}

static void enqueue(smft_learner *learner, smft__fact *first, smft__fact *last, int64_t n) {
  if (learner->last)
    learner->last->next = first;
  else
    learner->first = first;
  learner->last = last;
  learner->n_facts += n;
}

void smft__dequeue(smft_learner *learner) { /* the one in hand becomes `finished` */
  smft__fact *fact = learner->first;
  smft__forget_rows(learner);
  smft__forget_prefix(learner); /* another fact may come to stand at this one's address */
  learner->first = fact->next;
  if (!learner->first)
    learner->last = NULL;
  learner->n_facts--;
  smft__fact_free(learner->finished, learner->ctx);
  fact->next = NULL;
  learner->finished = fact;
}

static int loss_all(const smft_learner *learner) {
  return (learner->options.flags & SMFT_LEARNER_LOSS_ALL) != 0;
}

smft_status smft_learner_push(smft_learner *learner, const char *id, const smft_wording *wordings,
                              int64_t n_wordings) {
  smft__fact *fact = NULL;
  SMFT__REQUIRE(learner, "smft_learner_push: learner is NULL");
  SMFT__TRY(
      smft__fact_from_text(&fact, learner->model, id, wordings, n_wordings, loss_all(learner)));
  enqueue(learner, fact, fact, 1);
  return SMFT_OK;
}

smft_status smft_learner_push_ids(smft_learner *learner, const char *id,
                                  const smft_ids_wording *wordings, int64_t n_wordings) {
  smft__fact *fact = NULL;
  SMFT__REQUIRE(learner, "smft_learner_push_ids: learner is NULL");
  SMFT__TRY(
      smft__fact_from_ids(&fact, learner->model, id, wordings, n_wordings, loss_all(learner)));
  enqueue(learner, fact, fact, 1);
  return SMFT_OK;
}

typedef struct file_facts { /* facts read so far */
  smft_learner *learner;
  smft__fact *first, *last;
  int64_t n;
} file_facts;

static smft_status take_line(void *user, const json_t *object, int64_t line) {
  file_facts *facts = user;
  smft__fact *fact = NULL;
  (void)line;
  SMFT__TRY(smft__fact_from_json(&fact, facts->learner->model, object, loss_all(facts->learner)));
  if (facts->last)
    facts->last->next = fact;
  else
    facts->first = fact;
  facts->last = fact;
  facts->n++;
  return SMFT_OK;
}

smft_status smft_learner_push_file(smft_learner *learner, const char *path, int64_t *n) {
  if (n)
    *n = 0;
  SMFT__REQUIRE(learner && path, "smft_learner_push_file: a NULL argument");
  file_facts facts = {learner, NULL, NULL, 0};
  smft_status status = smft__jsonl_read(learner->ctx, path, take_line, &facts);
  if (status != SMFT_OK) {
    smft__free_queue(learner, facts.first);
    return status;
  }
  if (facts.n > 0)
    enqueue(learner, facts.first, facts.last, facts.n);
  if (n)
    *n = facts.n;
  return SMFT_OK;
}

int64_t smft_learner_pending(const smft_learner *learner) { return learner ? learner->n_facts : 0; }

smft_status smft_learner_skip(smft_learner *learner) {
  SMFT__REQUIRE(learner, "smft_learner_skip: learner is NULL");
  if (!learner->first)
    return smft__fail(SMFT_E_STATE, "smft_learner_skip: the queue is empty");
  smft__dequeue(learner);
  return SMFT_OK;
}
