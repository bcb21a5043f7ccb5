/* post: the "post_processor" of a tokenizer.json, as far as single texts go: the ids put
 * before and after a text. Does not own: when they are put there (encode.c).  Pairs of
 * texts and type ids are not used by language models. */
#include "base/alloc.h"
#include "data/tokenizer/parts.h"
#include <string.h>

static smft_status put_id(smft_tokenizer *tokenizer, smft__ids *ids, const json_t *value,
                          const char *what) {
  int64_t id = json_is_integer(value) ? json_integer_value(value) : -1;
  if (id < 0 || id >= tokenizer->vocab.n_ids)
    return smft__fail(SMFT_E_FORMAT, "%s: expected ids from 0 to %lld", what,
                      (long long)tokenizer->vocab.n_ids - 1);
  return smft__ids_put(ids, (int32_t)id);
}

/* {"SpecialToken": {"id": name}}: the ids are in the template's table of special tokens. */
static smft_status put_special(smft_tokenizer *tokenizer, smft__ids *ids, const json_t *table,
                               const json_t *token) {
  const char *name = NULL, *what = "post_processor TemplateProcessing";
  SMFT__TRY(smft__json_string(token, "id", "", &name, what));
  const json_t *list = json_object_get(json_object_get(table, name), "ids");
  if (!json_is_array(list))
    return smft__fail(SMFT_E_FORMAT, "%s: special token \"%.60s\" has no ids", what, name);
  for (size_t i = 0; i < json_array_size(list); i++)
    SMFT__TRY(put_id(tokenizer, ids, json_array_get(list, i), what));
  return SMFT_OK;
}

static smft_status read_template(smft_tokenizer *tokenizer, const json_t *json, smft__ids *before,
                                 smft__ids *after) {
  const json_t *single = json_object_get(json, "single"),
               *table = json_object_get(json, "special_tokens");
  int n_texts = 0;
  for (size_t i = 0; i < json_array_size(single); i++) {
    const json_t *item = json_array_get(single, i), *token = json_object_get(item, "SpecialToken");
    if (json_is_object(token)) {
      SMFT__TRY(put_special(tokenizer, n_texts ? after : before, table, token));
      continue;
    }
    const char *name = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
    if (!name || strcmp(name, "A") != 0 || n_texts++ > 0)
      return smft__fail(
          SMFT_E_UNSUPPORTED,
          "post_processor TemplateProcessing: item %zu of \"single\" is not supported", i);
  }
  return n_texts == 1
             ? SMFT_OK
             : smft__fail(SMFT_E_FORMAT,
                          "post_processor TemplateProcessing: \"single\" without its text A");
}

/* "cls" and "sep" are ["<s>", 0]. */
static smft_status read_bert(smft_tokenizer *tokenizer, const json_t *json, smft__ids *before,
                             smft__ids *after) {
  const char *what = "post_processor BertProcessing or RobertaProcessing: cls and sep";
  SMFT__TRY(put_id(tokenizer, before, json_array_get(json_object_get(json, "cls"), 1), what));
  return put_id(tokenizer, after, json_array_get(json_object_get(json, "sep"), 1), what);
}

/* One more layer around what is there: its ids come before `before` and after `after`. */
static smft_status wrap(smft_tokenizer *tokenizer, smft__ids *before, const smft__ids *after) {
  SMFT__TRY(smft__ids_put_all(before, tokenizer->before.data, tokenizer->before.n));
  smft__ids inner = tokenizer->before;
  tokenizer->before = *before;
  *before = inner;
  return smft__ids_put_all(&tokenizer->after, after->data, after->n);
}

static smft_status read_wrapper(smft_tokenizer *tokenizer, const json_t *json, int is_template) {
  smft__ids before = {tokenizer->ctx, NULL, 0, 0}, after = before;
  smft_status status = is_template ? read_template(tokenizer, json, &before, &after)
                                   : read_bert(tokenizer, json, &before, &after);
  if (status == SMFT_OK)
    status = wrap(tokenizer, &before, &after);
  smft__ids_free(&before);
  smft__ids_free(&after);
  return status;
}

static smft_status read_sequence(smft_tokenizer *tokenizer, const json_t *json) {
  const json_t *list = json_object_get(json, "processors");
  if (!json_is_array(list))
    return smft__fail(SMFT_E_FORMAT, "post_processor Sequence: expected an array \"processors\"");
  for (size_t i = 0; i < json_array_size(list); i++)
    SMFT__TRY(smft__tokenizer_read_post_processor(tokenizer, json_array_get(list, i)));
  return SMFT_OK;
}

smft_status smft__tokenizer_read_post_processor(smft_tokenizer *tokenizer, const json_t *json) {
  const char *type = NULL;
  if (!json || json_is_null(json))
    return SMFT_OK;
  if (!json_is_object(json))
    return smft__fail(SMFT_E_FORMAT, "post_processor: expected an object or null");
  SMFT__TRY(smft__json_string(json, "type", "", &type, "post_processor"));
  if (strcmp(type, "ByteLevel") == 0) /* it changes offsets only */
    return SMFT_OK;
  if (strcmp(type, "TemplateProcessing") == 0)
    return read_wrapper(tokenizer, json, 1);
  if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
    return read_wrapper(tokenizer, json, 0);
  if (strcmp(type, "Sequence") == 0)
    return read_sequence(tokenizer, json);
  return smft__fail(SMFT_E_UNSUPPORTED, "post_processor \"%.60s\" is not supported", type);
}
