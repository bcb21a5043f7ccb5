/* unicode: classes of characters and normal forms. */
#ifndef SMFT__TOKENIZER_UNICODE_H
#define SMFT__TOKENIZER_UNICODE_H
#include "base/bytes.h"

int smft__is_space(uint32_t code);  /* White_Space */
int smft__is_number(uint32_t code); /* N* */
/* \w of Unicode's regular expressions: alphabetic, marks, decimal digits, connectors, joiners */
int smft__is_word(uint32_t code);
int smft__is_punctuation(uint32_t code); /* P*, and all ASCII signs that are no letters or digits */

#define SMFT__NFC 1
#define SMFT__NFD 2
#define SMFT__NFKC 3
#define SMFT__NFKD 4
/* Appends the normal form of text (valid UTF-8).  O(n log n) whatever the text. */
smft_status smft__unicode_normalize(smft__buffer *out, const char *text, int64_t length,
                                    int32_t form);
/* Appends the lower case, letter by letter. */
smft_status smft__unicode_lower(smft__buffer *out, const char *text, int64_t length);
#endif
