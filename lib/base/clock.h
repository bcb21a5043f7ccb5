/* clock: how long things take, and which day it is. */
#ifndef SMFT__CLOCK_H
#define SMFT__CLOCK_H
#include <stdint.h>
double smft__now(void);    /* seconds, from some point in the past; never goes back */
int32_t smft__today(void); /* YYYYMMDD, UTC: the environment's time zone is the host's */
#endif
