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
}

void smft__queue_add(smft__queue *queue, smft__fact *fact) {
  if (queue->last)
    queue->last->next = fact;
  else
    queue->first = fact;
  for (; fact; fact = fact->next, queue->n++) {
    fact->serial = ++queue->serial;
    queue->last = fact;
  }
}

typedef struct reading { /* a file */
  smft__queue facts;     /* read so far */
  const smft_model *model;
  uint32_t how;
} reading;

static smft_status take_line(void *user, const json_t *object, int64_t line) {
  reading *file = user;
  smft__fact *fact = NULL;
  (void)line;
  SMFT__TRY(smft__fact_from_json(&fact, file->model, object, file->how));
  smft__queue_add(&file->facts, fact);
  return SMFT_OK;
}

smft_status smft__queue_add_file(smft__queue *queue, const smft_model *model, const char *path,
                                 uint32_t how, int64_t *n) {
  reading file = {{.ctx = queue->ctx}, model, how};
  smft_status status = smft__jsonl_read(queue->ctx, path, take_line, &file);
  if (status != SMFT_OK) {
    smft__queue_free(&file.facts);
    return status;
  }
  smft__queue_add(queue, file.facts.first);
  *n = file.facts.n;
  return SMFT_OK;
}

void smft__queue_finish(smft__queue *queue) {
  smft__fact *fact = queue->first;
  queue->first = fact->next;
  queue->last = queue->first ? queue->last : NULL;
  queue->n--;
  smft__fact_free(queue->finished, queue->ctx);
  fact->next = NULL;
  queue->finished = fact;
}
