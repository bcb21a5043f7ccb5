/* background_text: what an smft_background gives, as sequences of token ids, in groups of about as
 * many tokens as a pass is quick with. */
#ifndef SMFT__BACKGROUND_TEXT_H
#define SMFT__BACKGROUND_TEXT_H
#include "model/network.h"

typedef struct smft__group { /* sequences that wait together for a pass; borrowed */
  smft__sequences batch;
  int64_t first;       /* number of its first sequence */
  int64_t done, total; /* of the input, in its own units, for progress */
} smft__group;
typedef smft_status (*smft__group_fn)(void *user, const smft__group *group);

/* own: what was given, checked, with its defaults; tokens: a sequence's, where nothing is said (the
 * context where that is less). */
smft_status smft__background_options(smft_background *own, const smft_background *given,
                                     const smft_model *model, int64_t tokens);
/* Every group in order, up to max_batches; *n_sequences (whatever comes): how many there were.
 * caller: for messages.  progress of the options is not called. */
smft_status smft__background_read(const smft_background *options, const smft_model *model,
                                  const char *caller, smft__group_fn each, void *user,
                                  int64_t *n_sequences);
/* What the file of counts says of where they come from, for an array of `size`: a text file's name,
 * "texts" or "token ids"; just "text" for a name that is too long or no UTF-8. */
void smft__background_name(const smft_background *options, char *name, size_t size);
#endif
