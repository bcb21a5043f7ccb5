/* claim: who uses a handle.  One call has it alone, or several read it; another that cannot is told
 * SMFT_E_STATE at once, nobody waits.  A free while calls run is left to the last of them, a stop
 * that is asked for between two calls ends the next. */
#ifndef SMFT__CLAIM_H
#define SMFT__CLAIM_H
#include "base/status.h"
#include <stdatomic.h>

typedef struct smft__claim { /* zero: idle */
  /* who uses it (claim.c), and in which process: what a parent's threads left behind in a child of
   * fork() is void */
  _Atomic int64_t state;
  atomic_int stop; /* passes look at it: end soon with SMFT_E_CANCELLED */
} smft__claim;

/* `what` is the handle in words, `function` the call: for the message. */
smft_status smft__claim_alone(smft__claim *claim, const char *what, const char *function);
smft_status smft__claim_read(smft__claim *claim, const char *what, const char *function);
/* Alone, for a call that may be stopped: SMFT_E_CANCELLED, and nothing claimed, where that was
 * asked for already. */
smft_status smft__claim_work(smft__claim *claim, const char *what, const char *function);

/* 1: the handle was freed meanwhile, and is the caller's to destroy. */
int smft__claim_end(smft__claim *claim);
/* After smft__claim_work: a stop that came until now was meant for this call. */
int smft__claim_end_work(smft__claim *claim);
/* 1: destroy it; 0: it is in use, and who uses it will. */
int smft__claim_free(smft__claim *claim);
void smft__claim_stop(smft__claim *claim);
#endif
