/* answers: what stands before a time or a place in a sentence. */
#ifndef SMFT__ANSWERS_H
#define SMFT__ANSWERS_H
/* "in" (1815), "on" (23 December 1815); NULL: it does not look like a time. */
const char *smft__before_time(const char *answer);
/* "in" (London, the Alps), "" (on the Moon); NULL: it does not look like a place. */
const char *smft__before_place(const char *answer);
#endif
