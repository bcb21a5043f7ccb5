/* clock: how long things take. */
#ifndef SMFT__CLOCK_H
#define SMFT__CLOCK_H
double smft__now(void); /* seconds, from some point in the past; never goes back */
#endif
