/* sentence: a short text as words, which of them are names, and what the text is about. */
#ifndef SMFT__SENTENCE_H
#define SMFT__SENTENCE_H
#include <stddef.h>
#include <stdint.h>

#define SMFT__SENTENCE_WORDS 80  /* at most; longer texts have no grammar */
#define SMFT__SENTENCE_BYTES 400 /* at most, without white space at the ends */

typedef struct smft__text_word {
  int32_t begin, end; /* bytes of the text, punctuation included */
  int32_t bare;       /* end without "'s" and what closes a phrase: , ; : . ! ? */
  uint8_t is_name;    /* capitalised, quoted or of the subject; so are the small words between */
  uint8_t is_number;
  uint8_t is_quoted;
  uint8_t is_owner; /* it ends in 's */
} smft__text_word;

typedef struct smft__sentence {
  const char *text;   /* of the caller */
  int32_t begin, end; /* bytes that are words: without white space and the marks at the end */
  int32_t n;
  smft__text_word words[SMFT__SENTENCE_WORDS];
  int32_t subject, n_subject; /* bytes: the longest name, as it stands there; n 0: none */
  int is_single;              /* it is one sentence */
  int has_mark;               /* a question mark stands at the end */
} smft__sentence;

/* 0 where the text is none: too long, of several lines, not UTF-8, or without a word.
 * subject: NULL, or a text whose words count as a name where they occur. */
int smft__sentence_read(smft__sentence *out, const char *text, size_t length, const char *subject);
/* Whether word i is, letter by letter, in a list of words with a space around each; of the first
 * word the first letter may be a capital. */
int smft__sentence_has(const smft__sentence *s, int32_t i, const char *list);
#endif
