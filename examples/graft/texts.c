/* texts: see texts.h. */
#include "texts.h"
#include "facts.h"
#include "program.h"
#include <jansson.h>
#include <stdlib.h>

#define CHAT_TOKENS 4096

typedef struct adding {
  texts *list;
  const smft_tokenizer *tokenizer;
} adding;

static int add_chat(void *user, const json_t *object) {
  const adding *to = user;
  texts *list = to->list;
  const char *question = json_string_value(json_object_get(object, "question")),
             *answer = json_string_value(json_object_get(object, "answer"));
  if (!question || !answer)
    return -1;
  smft_message chat[] = {{"user", question}, {"assistant", answer}};
  int64_t n = 0;
  if (list->n_ids + CHAT_TOKENS > list->ids_capacity) {
    list->ids_capacity = 2 * list->ids_capacity + CHAT_TOKENS;
    list->ids = need(realloc(list->ids, (size_t)list->ids_capacity * sizeof *list->ids));
  }
  if (list->n == list->lengths_capacity) {
    list->lengths_capacity = 2 * list->lengths_capacity + 64;
    list->lengths =
        need(realloc(list->lengths, (size_t)list->lengths_capacity * sizeof *list->lengths));
  }
  check(smft_tokenizer_chat(to->tokenizer, chat, 2, NULL, list->ids + list->n_ids, CHAT_TOKENS, &n),
        "a chat");
  list->lengths[list->n++] = n;
  list->n_ids += n;
  return 0;
}

int texts_add_chats(texts *list, const smft_tokenizer *tokenizer, const char *path) {
  adding to = {list, tokenizer};
  return atlas_objects(path, "wants \"question\" and \"answer\"", add_chat, &to);
}

void texts_free(texts *list) {
  free(list->ids);
  free(list->lengths);
}
