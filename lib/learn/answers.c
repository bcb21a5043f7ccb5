/* answers: what stands before a time or a place in a sentence, by what it looks like. */
#include "learn/answers.h"
#include "base/utf8.h"
#include <string.h>
#include <utf8proc.h>

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int has_month(const char *text) {
  static const char *const months[] = {"January",   "February", "March",    "April",
                                       "May",       "June",     "July",     "August",
                                       "September", "October",  "November", "December"};
  for (size_t i = 0; i < sizeof months / sizeof *months; i++)
    if (strstr(text, months[i]))
      return 1;
  return 0;
}

/* Runs of one or two digits (days) and of three or four (years); others: -1. */
static int count_numbers(const char *text, int *days, int *years) {
  *days = *years = 0;
  while (*text) {
    int n = 0;
    while (is_digit(*text))
      n++, text++;
    *days += n == 1 || n == 2;
    *years += n == 3 || n == 4;
    if (n > 4)
      return -1;
    text += *text && n == 0;
  }
  return 0;
}

const char *smft__before_time(const char *answer) {
  int days = 0, years = 0;
  if (count_numbers(answer, &days, &years) != 0 || years > 1 || days > 1)
    return NULL;
  if (has_month(answer))
    return days ? "on" : "in";
  size_t n = strspn(answer, "0123456789");
  int alone = answer[n] == '\0' || strcmp(answer + n, " BC") == 0 ||
              strcmp(answer + n, " AD") == 0 || strcmp(answer + n, " BCE") == 0 ||
              strcmp(answer + n, " CE") == 0;
  if (n >= 3 && alone && !days)
    return "in";
  if (strncmp(answer, "the ", 4) == 0 && (strstr(answer, "century") || strstr(answer, "0s")))
    return "in";
  return NULL;
}

const char *smft__before_place(const char *answer) {
  static const char *const own[] = {"in ", "on ", "at ", "near ", "outside ", "under "};
  uint32_t code = 0;
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (strncmp(answer, own[i], strlen(own[i])) == 0)
      return "";
  smft__utf8_next(answer, strlen(answer), &code);
  int capital = utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_LU;
  return capital || strncmp(answer, "the ", 4) == 0 ? "in" : NULL;
}
