/* json: a tokenizer.json of Hugging Face: the model, the vocabulary, the merges and the
 * added tokens. "truncation" and "padding" are not read: they are settings of batches that whoever
 * calls for one makes anew. Does not own: normalizer, pre_tokenizer, decoder (each reads its own),
 * post_processor (post.c), GPT-2's files (gpt2.c). */
#include "base/alloc.h"
#include "data/tokenizer/parts.h"
#include <string.h>

/* ---- vocabulary ---------------------------------------------------------- */

static smft_status check_id(const char *token, const json_t *value) {
  if (!json_is_integer(value))
    return smft__fail(SMFT_E_FORMAT, "token \"%.60s\": expected a number as its id", token);
  if (json_integer_value(value) < 0 || json_integer_value(value) >= SMFT__VOCAB_MOST)
    return smft__fail(SMFT_E_FORMAT, "token \"%.60s\": id %lld, expected 0 to %d", token,
                      (long long)json_integer_value(value), SMFT__VOCAB_MOST - 1);
  return SMFT_OK;
}

/* The tables are made once, so the largest id of the vocabulary and of the added tokens is looked
 * for first. */
static smft_status find_largest(json_t *vocab, const json_t *added, int64_t *largest) {
  const char *key;
  json_t *value;
  *largest = -1;
  json_object_foreach(vocab, key, value) {
    SMFT__TRY(check_id(key, value));
    if (json_integer_value(value) > *largest)
      *largest = json_integer_value(value);
  }
  for (size_t i = 0; i < json_array_size(added); i++) {
    const json_t *id = json_object_get(json_array_get(added, i), "id");
    SMFT__TRY(check_id("of added_tokens", id));
    if (json_integer_value(id) > *largest)
      *largest = json_integer_value(id);
  }
  return SMFT_OK;
}

smft_status smft__tokenizer_read_vocab(smft_tokenizer *tokenizer, const json_t *json,
                                       const json_t *added) {
  json_t *vocab = (json_t *)json; /* jansson's iterators take no const; nothing is changed */
  const char *key;
  json_t *value;
  int64_t largest, n;
  if (!json_is_object(vocab) || json_object_size(vocab) == 0)
    return smft__fail(SMFT_E_FORMAT, "vocab: expected an object of tokens and their ids");
  SMFT__TRY(find_largest(vocab, added, &largest));
  n = (int64_t)(json_object_size(vocab) + json_array_size(added));
  SMFT__TRY(smft__vocab_start(&tokenizer->vocab, tokenizer->ctx, n, largest + 1));
  json_object_foreach(vocab, key, value)
      SMFT__TRY(smft__vocab_add(&tokenizer->vocab, key, (int64_t)strlen(key),
                                json_integer_value(value), SMFT__TOKEN_MODEL));
  return SMFT_OK;
}

/* ---- merges: "a b" or ["a", "b"] ----------------------------------------- */

static smft_status add_merge(smft_tokenizer *tokenizer, const json_t *merge) {
  const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
  const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
  if (space && !strchr(space + 1, ' '))
    return smft__bpe_add(&tokenizer->bpe, &tokenizer->vocab, text, space - text, space + 1,
                         (int64_t)strlen(space + 1));
  if (json_array_size(merge) == 2 && json_is_string(left) && json_is_string(right))
    return smft__bpe_add(&tokenizer->bpe, &tokenizer->vocab, json_string_value(left),
                         (int64_t)json_string_length(left), json_string_value(right),
                         (int64_t)json_string_length(right));
  return smft__fail(SMFT_E_FORMAT, "merge %lld: expected \"left right\" or [\"left\", \"right\"]",
                    (long long)tokenizer->bpe.n_merges);
}

static smft_status read_merges(smft_tokenizer *tokenizer, const json_t *merges) {
  if (!json_is_array(merges))
    return smft__fail(SMFT_E_FORMAT, "model: expected an array \"merges\"");
  SMFT__TRY(smft__bpe_start(&tokenizer->bpe, tokenizer->ctx, (int64_t)json_array_size(merges)));
  for (size_t i = 0; i < json_array_size(merges); i++)
    SMFT__TRY(add_merge(tokenizer, json_array_get(merges, i)));
  smft__bpe_finish(&tokenizer->bpe, &tokenizer->vocab);
  return SMFT_OK;
}

/* ---- model --------------------------------------------------------------- */

static smft_status refuse_text(const json_t *model, const char *key) {
  const char *text = NULL;
  SMFT__TRY(smft__json_string(model, key, "", &text, "model"));
  return *text ? smft__fail(SMFT_E_UNSUPPORTED, "model: %s \"%.60s\" is not supported", key, text)
               : SMFT_OK;
}

/* What would change the ids and is not done here. */
static smft_status refuse_unsupported(const json_t *model) {
  const char *type = NULL;
  double dropout = 0;
  SMFT__TRY(smft__json_string(model, "type", "BPE", &type, "model"));
  if (strcmp(type, "BPE") != 0)
    return smft__fail(SMFT_E_UNSUPPORTED, "model \"%.60s\" is not supported, only \"BPE\" is",
                      type);
  SMFT__TRY(smft__json_double(model, "dropout", 0, &dropout, "model"));
  if (dropout > 0 || dropout < 0)
    return smft__fail(SMFT_E_UNSUPPORTED, "model: dropout is not supported");
  SMFT__TRY(refuse_text(model, "continuing_subword_prefix"));
  return refuse_text(model, "end_of_word_suffix");
}

static smft_status read_flags(smft_tokenizer *tokenizer, const json_t *model) {
  smft__bpe *bpe = &tokenizer->bpe;
  const char *unk = NULL;
  SMFT__TRY(smft__json_bool(model, "fuse_unk", 0, &bpe->fuse_unk, "model"));
  SMFT__TRY(smft__json_bool(model, "byte_fallback", 0, &bpe->byte_fallback, "model"));
  SMFT__TRY(smft__json_bool(model, "ignore_merges", 0, &bpe->ignore_merges, "model"));
  SMFT__TRY(smft__json_string(model, "unk_token", NULL, &unk, "model"));
  bpe->has_unk = unk != NULL;
  bpe->unk = unk ? smft__vocab_find_model(&tokenizer->vocab, unk, (int64_t)strlen(unk)) : -1;
  return SMFT_OK;
}

static smft_status read_model(smft_tokenizer *tokenizer, const json_t *root, const json_t *added) {
  const json_t *model = json_object_get(root, "model");
  if (!json_is_object(model))
    return smft__fail(SMFT_E_FORMAT, "expected an object \"model\"");
  SMFT__TRY(refuse_unsupported(model));
  SMFT__TRY(smft__tokenizer_read_vocab(tokenizer, json_object_get(model, "vocab"), added));
  SMFT__TRY(read_merges(tokenizer, json_object_get(model, "merges")));
  return read_flags(tokenizer, model);
}

/* ---- added tokens -------------------------------------------------------- */

/* Its spelling is normalized if the text will be when it is looked for. */
static smft_status add_spelling(smft_tokenizer *tokenizer, const char *content,
                                const smft__added_token *token) {
  smft__buffer text = {tokenizer->ctx, NULL, 0, 0};
  smft__scan scan = {tokenizer->ctx, NULL, NULL, 0};
  int64_t length = (int64_t)strlen(content);
  if (!token->normalized)
    return smft__added_add(&tokenizer->added, token, content, length);
  smft_status status =
      smft__normalizer_run(&tokenizer->normalizer, &scan, content, length, 0, &text);
  if (status == SMFT_OK)
    status = smft__added_add(&tokenizer->added, token, text.data, text.length);
  smft__scan_free(&scan);
  smft__buffer_free(&text);
  return status;
}

smft_status smft__tokenizer_add_token(smft_tokenizer *tokenizer, const char *content,
                                      const smft__added_token *token) {
  smft__vocab *vocab = &tokenizer->vocab;
  int64_t length = (int64_t)strlen(content);
  int32_t there = smft__vocab_find(vocab, content, length);
  if (there >= 0 && there != token->id)
    return smft__fail(SMFT_E_FORMAT, "added token \"%.60s\": id %d, but it is %d already", content,
                      (int)token->id, (int)there);
  if (there < 0)
    SMFT__TRY(smft__vocab_add(vocab, content, length, token->id, 0));
  if (token->special)
    vocab->tokens[token->id].flags |= SMFT__TOKEN_SPECIAL;
  return add_spelling(tokenizer, content, token);
}

static smft_status read_added_token(smft_tokenizer *tokenizer, const json_t *json) {
  const char *content = NULL, *what = "added_tokens";
  smft__added_token token = {0, 0, 0, 0, 0, 0};
  int64_t id;
  SMFT__TRY(smft__json_string(json, "content", NULL, &content, what));
  if (!content)
    return smft__fail(SMFT_E_FORMAT, "%s: an entry without \"content\"", what);
  SMFT__TRY(smft__json_i64_required(json, "id", &id, what));
  SMFT__TRY(smft__json_bool(json, "single_word", 0, &token.single_word, what));
  SMFT__TRY(smft__json_bool(json, "lstrip", 0, &token.lstrip, what));
  SMFT__TRY(smft__json_bool(json, "rstrip", 0, &token.rstrip, what));
  SMFT__TRY(smft__json_bool(json, "special", 0, &token.special, what));
  SMFT__TRY(smft__json_bool(json, "normalized", !token.special, &token.normalized, what));
  token.id = (int32_t)id; /* its range was checked with the vocabulary's */
  return *content ? smft__tokenizer_add_token(tokenizer, content, &token) : SMFT_OK;
}

smft_status smft__tokenizer_read_added(smft_tokenizer *tokenizer, const json_t *added) {
  smft__added_start(&tokenizer->added, tokenizer->ctx);
  for (size_t i = 0; i < json_array_size(added); i++)
    SMFT__TRY(read_added_token(tokenizer, json_array_get(added, i)));
  return SMFT_OK;
}

/* ---- the whole file ------------------------------------------------------ */

static smft_status check_root(const json_t *root, const json_t *added) {
  if (!json_is_object(root))
    return smft__fail(SMFT_E_FORMAT, "expected an object");
  if (added && !json_is_null(added) && !json_is_array(added))
    return smft__fail(SMFT_E_FORMAT, "added_tokens: expected an array");
  for (size_t i = 0; i < json_array_size(added); i++)
    if (!json_is_object(json_array_get(added, i)))
      return smft__fail(SMFT_E_FORMAT, "added_tokens: expected objects");
  return SMFT_OK;
}

static smft_status read_root(smft_tokenizer *tokenizer, const json_t *root) {
  const json_t *added = json_object_get(root, "added_tokens");
  SMFT__TRY(check_root(root, added));
  SMFT__TRY(smft__normalizer_read(&tokenizer->normalizer, tokenizer->ctx,
                                  json_object_get(root, "normalizer")));
  SMFT__TRY(smft__splitter_read(&tokenizer->splitter, tokenizer->ctx,
                                json_object_get(root, "pre_tokenizer")));
  SMFT__TRY(
      smft__decoder_read(&tokenizer->decoder, tokenizer->ctx, json_object_get(root, "decoder")));
  SMFT__TRY(read_model(tokenizer, root, added));
  SMFT__TRY(smft__tokenizer_read_added(tokenizer, added));
  return smft__tokenizer_read_post_processor(tokenizer, json_object_get(root, "post_processor"));
}

smft_status smft__tokenizer_read_json(smft_tokenizer *tokenizer, const char *path) {
  json_t *root = NULL;
  SMFT__TRY(smft__json_open(&root, tokenizer->ctx, path));
  smft_status status = read_root(tokenizer, root);
  json_decref(root);
  return status == SMFT_OK ? status : smft__fail_within(status, "%s", path);
}
