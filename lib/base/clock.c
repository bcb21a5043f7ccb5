/* clock: the monotonic clock in seconds.  Owns nothing. */
#include "base/clock.h"
#include <time.h>

double smft__now(void) {
  struct timespec time = {0, 0};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}
