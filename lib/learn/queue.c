/* queue: see queue.h.  Owns the facts, their order and their serial numbers; what a fact is, is
 * facts.c's, what is done with the first one learner.c's. */
#include "learn/queue.h"
#include "learn/facts_json.h"

void smft__queue_free(smft__queue *queue) {
  smft__fact_free(queue->finished, queue->ctx);
  while (queue->first) {
    smft__fact *next = queue->first->next;
    smft__fact_free(queue->first, queue->ctx);
    queue->first = next;
  }
  smft__names_free(&queue->names, queue->ctx);
}

/* Reports, and the list of what a patch was taught, tell facts by their ids. */
static smft_status check_id(const smft__names *waiting, const smft__fact *fact, const char *where) {
  if (!fact->id[0])
    return smft__fail(SMFT_E_FACT, "fact \"\": its id is empty");
  if (smft__names_find(waiting, fact->id))
    return smft__fail(SMFT_E_FACT, "fact \"%s\": a fact with this id %s already", fact->id, where);
  return SMFT_OK;
}

/* Room for its name is there. */
static void append(smft__queue *queue, smft__fact *fact) {
  if (queue->last)
    queue->last->next = fact;
  else
    queue->first = fact;
  queue->last = fact;
  fact->serial = ++queue->serial;
  smft__names_put(&queue->names, fact);
  queue->n++;
}

static smft_status add(smft__queue *queue, smft__fact *fact, const char *where) {
  smft_status status = check_id(&queue->names, fact, where);
  if (status == SMFT_OK)
    status = smft__names_reserve(&queue->names, queue->ctx, 1);
  if (status == SMFT_OK)
    append(queue, fact);
  else
    smft__fact_free(fact, queue->ctx);
  return status;
}

smft_status smft__queue_add(smft__queue *queue, smft__fact *fact) {
  return add(queue, fact, "waits in the queue");
}

/* ---- a file -------------------------------------------------------------- */

typedef struct reading { /* a file */
  smft__queue facts;     /* read so far */
  const smft__names *waiting;
  const smft_model *model;
  uint32_t how;
} reading;

static smft_status take_line(void *user, const json_t *object, int64_t line) {
  reading *file = user;
  smft__fact *fact = NULL;
  (void)line;
  SMFT__TRY(smft__fact_from_json(&fact, file->model, object, file->how));
  smft_status status = check_id(file->waiting, fact, "waits in the queue");
  if (status == SMFT_OK)
    return add(&file->facts, fact, "stands in this file");
  smft__fact_free(fact, file->facts.ctx);
  return status;
}

/* All of them change over; the file's own table goes first, as a fact is in one. */
static void take_over(smft__queue *queue, smft__queue *from) {
  smft__names_free(&from->names, from->ctx);
  for (smft__fact *fact = from->first, *next; fact; fact = next) {
    next = fact->next;
    fact->next = NULL;
    append(queue, fact);
  }
  from->first = NULL;
}

smft_status smft__queue_add_file(smft__queue *queue, const smft_model *model, const char *path,
                                 uint32_t how, int64_t *n) {
  reading file = {{.ctx = queue->ctx}, &queue->names, model, how};
  smft_status status = smft__jsonl_read(queue->ctx, path, take_line, &file);
  if (status == SMFT_OK)
    status = smft__names_reserve(&queue->names, queue->ctx, file.facts.n);
  if (status == SMFT_OK) {
    *n = file.facts.n;
    take_over(queue, &file.facts);
  }
  smft__queue_free(&file.facts);
  return status;
}

void smft__queue_finish(smft__queue *queue) {
  smft__fact *fact = queue->first;
  smft__names_take(&queue->names, fact);
  queue->first = fact->next;
  queue->last = queue->first ? queue->last : NULL;
  queue->n--;
  smft__fact_free(queue->finished, queue->ctx);
  fact->next = NULL;
  queue->finished = fact;
}
