/* sequences: token sequences with the weight of predicting each token: what a step of the host's
 * own is made of.  Knows nothing of which sequences, nor of models. */
#ifndef FORGETTING_SEQUENCES_H
#define FORGETTING_SEQUENCES_H
#include "facts.h"
#include "smft/smft.h"

typedef struct sequences {
  int32_t *ids;     /* (n_ids) one sequence after another */
  float *weights;   /* (n_ids) of predicting each; a sequence's first is ignored */
  int64_t *lengths; /* (n) */
  int64_t *begins;  /* (n) offsets into ids */
  int64_t n, n_ids, room, room_ids;
} sequences;

/* Prompt, answer and end, as the learner joins them; the prompt's tokens have a weight of their
 * own. */
void sequences_add(sequences *s, const smft_tokenizer *tokenizer, const atlas_text *text,
                   float prompt_weight);
/* A line of prose and its newline. */
void sequences_add_line(sequences *s, const smft_tokenizer *tokenizer, const char *line,
                        float weight);
void sequences_copy(sequences *to, const sequences *from, int64_t i);
/* No sequence is left; room is. */
void sequences_clear(sequences *s);
void sequences_free(sequences *s);
#endif
