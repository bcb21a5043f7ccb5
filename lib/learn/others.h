/* others: the questions about others that stand beside a fact's own: names in place of its subject,
 * and namesakes, which share a word with it, or a token. */
#ifndef SMFT__OTHERS_H
#define SMFT__OTHERS_H
#include "learn/facts.h"
#include "learn/frames.h"

/* Appends the question with each of some other names in place of its subject (NULL: found by rule),
 * as a user's message.  None where it has no subject; no name that shares a word with the question.
 */
smft_status smft__others_by_name(smft__frames *out, const char *question, const char *subject);
/* Where the subject has several words: for each of them, it with all others replaced by names'. */
smft_status smft__others_by_word(smft__frames *out, const char *question, const char *subject);
/* Where the subject has several tokens, the same with them.  The fact has others by name already;
 * own (n): its question.  What would be longer than `most` tokens is left out. */
smft_status smft__others_by_token(smft__fact *fact, const int32_t *own, int64_t n, int64_t most);
#endif
