/* queue: the facts that wait for a learner, in order, and the one that left last. */
#ifndef SMFT__QUEUE_H
#define SMFT__QUEUE_H
#include "learn/names.h"

typedef struct smft__queue { /* zero but for ctx: empty */
  smft_ctx *ctx;
  smft__fact *first, *last; /* the first is in hand */
  _Atomic int64_t n;        /* read by any thread at any time */
  int64_t serial;           /* of the fact that came last; 0: none came yet */
  smft__names names;        /* of all that wait */
  smft__fact *finished;     /* the fact that left last, for its id */
} smft__queue;
void smft__queue_free(smft__queue *queue);
/* The fact comes last and gets the next serial number; it is freed on failure: SMFT_E_FACT where
 * its id is empty or waits already. */
smft_status smft__queue_add(smft__queue *queue, smft__fact *fact);
/* Those of a JSONL file, n of them: all or, on failure, none.  how: SMFT__FACT_* */
smft_status smft__queue_add_file(smft__queue *queue, const smft_model *model, const char *path,
                                 uint32_t how, int64_t *n);
/* The fact in hand leaves and becomes `finished`. */
void smft__queue_finish(smft__queue *queue);
#endif
