/* verbs: English verbs that are known, in all their forms. */
#ifndef SMFT__VERBS_H
#define SMFT__VERBS_H
#include <stddef.h>

#define SMFT__BASE 1       /* write */
#define SMFT__PAST 2       /* wrote */
#define SMFT__THIRD 4      /* writes */
#define SMFT__PARTICIPLE 8 /* written */

typedef struct smft__verb {
  char base[24], past[24], participle[24], third[24];
  int has_passive; /* "Who wrote Emma": Emma was written by */
  int is_in_place; /* "Where did she live": she lived in */
} smft__verb;
/* The verb that has this word (n bytes) among these of its forms; which of them, or 0: none. */
int smft__verb_find(smft__verb *out, const char *word, size_t n, int forms);
#endif
