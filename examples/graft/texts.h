/* texts: what a graft is to keep, as token ids: prose line by line, chats in the model's own
 * template. */
#ifndef GRAFT_TEXTS_H
#define GRAFT_TEXTS_H
#include "smft/smft.h"

typedef struct texts {
  int32_t *ids;     /* of all sequences, one after another */
  int64_t *lengths; /* (n) */
  int64_t n, n_ids, ids_capacity, lengths_capacity;
} texts;

/* Adds {"question", "answer"} of each line as a chat.  A message on stderr and -1 on failure. */
int texts_add_chats(texts *list, const smft_tokenizer *tokenizer, const char *path);
void texts_free(texts *list);
#endif
