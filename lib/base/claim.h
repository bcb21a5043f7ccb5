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
/* For who has it alone and may be stopped: SMFT_E_CANCELLED where that was asked for before the
 * call began. */
smft_status smft__claim_check(smft__claim *claim, const char *function);

/* 1: the handle was freed meanwhile, and is the caller's to destroy. */
int smft__claim_end(smft__claim *claim);
/* The same of a call that may be stopped: a stop that came until now was meant for it. */
int smft__claim_end_work(smft__claim *claim);
/* What such a call returns whose handle was freed: nothing of that is the host's any more. */
smft_status smft__claim_freed(smft_status status, const char *what);
/* 1: destroy it; 0: it is in use, and who uses it will. */
int smft__claim_free(smft__claim *claim);
void smft__claim_stop(smft__claim *claim);
#endif
