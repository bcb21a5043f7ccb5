/* teach: the fact in hand, a step further: what all its steps share, the draw, the update, and
 * whether it is learnt or used up. */
#ifndef SMFT__TEACH_H
#define SMFT__TEACH_H
#include "learn/facts.h"

/* At most one update.  The report gets what it did, the fact's state and the reason; `changed`:
 * whether there was an update, which is not undone by what comes after it.  On failure there was
 * none. */
smft_status smft__teach(smft_learner *learner, smft__fact *fact, smft_report *report, int *changed);
#endif
