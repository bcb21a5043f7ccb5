/* clock: the monotonic clock in seconds, and the calendar's day.  Owns nothing. */
#include "base/clock.h"
#include <time.h>

double smft__now(void) {
  struct timespec time = {0, 0};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int32_t smft__today(void) {
  struct timespec time = {0, 0};
  struct tm day = {0};
  clock_gettime(CLOCK_REALTIME, &time);
  gmtime_r(&time.tv_sec, &day);
  return (day.tm_year + 1900) * 10000 + (day.tm_mon + 1) * 100 + day.tm_mday;
}
