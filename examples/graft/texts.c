/* texts: see texts.h. */
#include "texts.h"
#include "facts.h"
#include "program.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define CHAT_TOKENS 4096

static int add_chat(texts *list, const smft_tokenizer *tokenizer, const json_t *object) {
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
  check(smft_tokenizer_chat(tokenizer, chat, 2, NULL, list->ids + list->n_ids, CHAT_TOKENS, &n),
        "a chat");
  list->lengths[list->n++] = n;
  list->n_ids += n;
  return 0;
}

int texts_add_chats(texts *list, const smft_tokenizer *tokenizer, const char *path) {
  int64_t n = 0;
  int status = 0;
  char **lines = atlas_lines(path, &n);
  for (int64_t i = 0; lines && i < n && status == 0; i++) {
    json_error_t error;
    json_t *object = json_loads(lines[i], JSON_REJECT_DUPLICATES, &error);
    status = object ? add_chat(list, tokenizer, object) : -1;
    if (status != 0)
      fprintf(stderr, "%s: line %lld: %s\n", path, (long long)i + 1,
              object ? "wants \"question\" and \"answer\"" : error.text);
    json_decref(object);
  }
  atlas_lines_free(lines, n);
  return lines ? status : -1;
}

void texts_free(texts *list) {
  free(list->ids);
  free(list->lengths);
}
