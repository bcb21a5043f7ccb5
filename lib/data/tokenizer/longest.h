/* longest: where added tokens stand in a text if the longest of all is looked for first. */
#ifndef SMFT__TOKENIZER_LONGEST_H
#define SMFT__TOKENIZER_LONGEST_H
#include "data/tokenizer/added.h"

typedef struct smft__founds {
  smft_ctx *ctx;
  smft__found *data; /* (n) from left to right */
  int64_t n, capacity;
} smft__founds;

/* All of a search that did not begin yet; lstrip and rstrip are not for such tokens.  On failure,
 * too, what was found is freed by smft__founds_free. */
smft_status smft__longest_find(const smft__search *search, smft__founds *out);
void smft__founds_free(smft__founds *founds);
#endif
