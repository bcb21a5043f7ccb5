/* choice: the rows that may change for the fact in hand. */
#ifndef SMFT__CHOICE_H
#define SMFT__CHOICE_H
#include "learn/selector.h"

typedef struct smft__choice {
  smft__selection rows; /* best first */
  int64_t serial;       /* of the fact that they were chosen for; 0: nobody */
} smft__choice;
/* A fact's rows, from the reads of all its wordings: counts (n_pools).  On failure nobody's. */
smft_status smft__choose(smft__choice *choice, const smft_selector *selector,
                         const smft__counts *counts, int64_t serial);
/* Those of them that a batch read, in the same order. */
smft_status smft__choice_read(const smft__choice *choice, const smft__counts *counts,
                              smft__selection *selection);
#endif
