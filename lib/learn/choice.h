/* choice: the rows that may change for the fact in hand. */
#ifndef SMFT__CHOICE_H
#define SMFT__CHOICE_H
#include "learn/forward.h"
#include "learn/selector.h"

typedef struct smft__choice {
  smft__selection rows;      /* best first */
  int64_t serial;            /* of the fact that they were chosen for; 0: nobody */
  smft__restraint restraint; /* of the fact in hand */
} smft__choice;
/* The best rows of what a pass read: its counts (n_pools), finished; the tape that it left, for the
 * weights of its reads. */
smft_status smft__choose_of(const smft_selector *selector, smft__counts *counts,
                            const smft__restraint *restraint, const smft__tape *tape,
                            smft__selection *selection);
/* A fact's rows, from a pass over all its wordings, under its restraint.  On failure nobody's. */
smft_status smft__choose(smft__choice *choice, const smft_selector *selector, smft__counts *counts,
                         const smft__tape *tape, int64_t serial);
/* Those of them that a batch read, in the same order. */
smft_status smft__choice_read(const smft__choice *choice, const smft__counts *counts,
                              smft__selection *selection);
#endif
