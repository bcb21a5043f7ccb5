/* claim: see claim.h. */
#include "base/claim.h"
#include <unistd.h>

/* The state: 0, or above these bits the process, and in them the calls that read, or ALONE; FREED
 * with either where a free came meanwhile. */
#define ALONE ((int64_t)1 << 29)
#define FREED ((int64_t)1 << 30)
#define PROCESS 31

static int64_t this_process(void) { return (int64_t)getpid() << PROCESS; }

/* Who uses it, in this process. */
static int64_t users_of(int64_t state, int64_t process) {
  return state >> PROCESS == process >> PROCESS ? state - process : 0;
}

/* Adds `mine` to the users where none of `others` is there. */
static smft_status take(smft__claim *claim, int64_t mine, int64_t others, const char *what,
                        const char *function) {
  int64_t process = this_process(), state = atomic_load(&claim->state), users;
  do {
    users = users_of(state, process);
    if ((users & others) != 0)
      return smft__fail(SMFT_E_STATE, "%s: the %s is in use by another call", function, what);
  } while (!atomic_compare_exchange_weak(&claim->state, &state, process + users + mine));
  return SMFT_OK;
}

smft_status smft__claim_alone(smft__claim *claim, const char *what, const char *function) {
  return take(claim, ALONE, ~(int64_t)0, what, function);
}

smft_status smft__claim_read(smft__claim *claim, const char *what, const char *function) {
  return take(claim, 1, ALONE | FREED, what, function);
}

smft_status smft__claim_check(smft__claim *claim, const char *function) {
  return atomic_load(&claim->stop)
             ? smft__fail(SMFT_E_CANCELLED, "%s: cancelled before it began", function)
             : SMFT_OK;
}

int smft__claim_end(smft__claim *claim) {
  int64_t process = this_process(), state = atomic_load(&claim->state), left;
  do {
    left = users_of(state, process);
    left -= left & ALONE ? ALONE : 1;
  } while (!atomic_compare_exchange_weak(&claim->state, &state, left ? process + left : 0));
  return left == FREED;
}

int smft__claim_end_work(smft__claim *claim) {
  if ((atomic_load(&claim->state) & FREED) == 0)
    atomic_store(&claim->stop, 0);
  return smft__claim_end(claim);
}

smft_status smft__claim_freed(smft_status status, const char *what) {
  return status != SMFT_OK ? status
                           : smft__fail(SMFT_E_CANCELLED, "the %s was freed during the call", what);
}

int smft__claim_free(smft__claim *claim) {
  int64_t process = this_process(), state = atomic_load(&claim->state), users;
  do {
    users = users_of(state, process);
    if (users == 0)
      return 1;
  } while (!atomic_compare_exchange_weak(&claim->state, &state, state | FREED));
  atomic_store(&claim->stop, 1);
  return 0;
}

void smft__claim_stop(smft__claim *claim) { atomic_store(&claim->stop, 1); }
