/* background: what a method may know of what is to be kept: sentences about known facts and lines
 * of prose, drawn and weighted as in pretraining.  Sparse finetuning counts what they read, replay
 * trains on them: the same information.  Owns which known facts are among them. */
#ifndef FORGETTING_BACKGROUND_H
#define FORGETTING_BACKGROUND_H
#include "sequences.h"

/* "all": of every known fact, as the counts beside the model are; "half": of one half of the known
 * facts, so that the other half, never counted, can be asked for; both have a quarter of prose.
 * "prose": every line of it, and no fact. */
int background_is_kind(const char *name);
void background_make(sequences *out, const smft_tokenizer *tokenizer, const char *data,
                     const char *kind);
/* in_half (n): 1 for the known facts that "half" is made of. */
void background_half(char *in_half, int64_t n);
#endif
