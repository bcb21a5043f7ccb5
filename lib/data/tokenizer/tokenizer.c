/* tokenizer: the public functions of smft_tokenizer: loading, counting references, encoding and
 * decoding into the caller's buffers. Does not own: how text becomes ids (encode.c) and
 * ids become text (decode.c), what files say (json.c). */
#include "data/tokenizer.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "data/gguf.h"
#include "data/tokenizer/parts.h"
#include <string.h>

/* ---- loading ------------------------------------------------------------- */

static smft_status read_gpt2_directory(smft_tokenizer *tokenizer, const char *directory) {
  char *encoder = NULL, *merges = NULL;
  smft_status status = smft__path_find(&encoder, tokenizer->ctx, directory, "encoder.json");
  if (status == SMFT_OK)
    status = smft__path_find(&merges, tokenizer->ctx, directory, "vocab.bpe");
  if (status == SMFT_OK && !(encoder && merges))
    status = smft__fail(SMFT_E_NOT_FOUND,
                        "%s: neither tokenizer.json nor encoder.json and vocab.bpe are there",
                        directory);
  if (status == SMFT_OK)
    status = smft__tokenizer_read_gpt2(tokenizer, encoder, merges);
  smft__free(tokenizer->ctx, encoder);
  smft__free(tokenizer->ctx, merges);
  return status;
}

static smft_status read_directory(smft_tokenizer *tokenizer, const char *directory) {
  char *path = NULL;
  SMFT__TRY(smft__path_find(&path, tokenizer->ctx, directory, "tokenizer.json"));
  smft_status status =
      path ? smft__tokenizer_read_json(tokenizer, path) : read_gpt2_directory(tokenizer, directory);
  smft__free(tokenizer->ctx, path);
  return status;
}

smft_tokenizer *smft__tokenizer_new(smft_ctx *ctx) {
  smft_tokenizer *tokenizer = smft__calloc_array(ctx, 1, sizeof *tokenizer);
  if (!tokenizer)
    return NULL;
  atomic_init(&tokenizer->references, 1);
  tokenizer->ctx = smft__ctx_retain(ctx);
  tokenizer->before.ctx = tokenizer->after.ctx = tokenizer->stops.ctx = ctx;
  return tokenizer;
}

static smft_status load_json(smft_tokenizer **out, smft_ctx *ctx, const char *path) {
  smft_tokenizer *tokenizer = smft__tokenizer_new(ctx);
  if (!tokenizer)
    return SMFT_E_NOMEM;
  smft_status status = smft__is_directory(path) ? read_directory(tokenizer, path)
                                                : smft__tokenizer_read_json(tokenizer, path);
  if (status == SMFT_OK)
    status = smft__is_directory(path) ? smft__chat_read(&tokenizer->chat, ctx, path)
                                      : smft__chat_read_beside(&tokenizer->chat, ctx, path);
  if (status != SMFT_OK)
    smft_tokenizer_free(tokenizer);
  else
    *out = tokenizer;
  return status;
}

static smft_status load_gguf(smft_tokenizer **out, smft_ctx *ctx, const smft__file *file,
                             const char *path) {
  smft__gguf gguf = {0};
  SMFT__TRY(smft__gguf_read(&gguf, ctx, file->data, file->size, path));
  smft_status status = smft__tokenizer_load_gguf(out, ctx, &gguf);
  if (status == SMFT_OK && !*out)
    status = smft__fail(SMFT_E_NOT_FOUND, "%s: there is no tokenizer in this file", path);
  smft__gguf_free(&gguf);
  return status;
}

SMFT_API smft_status smft_tokenizer_load(smft_tokenizer **out, smft_ctx *ctx, const char *path) {
  SMFT__REQUIRE(out, "smft_tokenizer_load: out is NULL");
  *out = NULL;
  SMFT__REQUIRE(ctx && path, "smft_tokenizer_load: ctx or path is NULL");
  if (smft__is_directory(path)) {
    SMFT__TRY(smft__folder_check(path));
    return load_json(out, ctx, path);
  }
  smft__file file = {0};
  SMFT__TRY(smft__file_open(&file, ctx, path, 0));
  smft_status status = smft__gguf_is(file.data, file.size) ? load_gguf(out, ctx, &file, path)
                                                           : load_json(out, ctx, path);
  smft__file_close(&file);
  return status;
}

void smft__tokenizer_stops(const smft_tokenizer *tokenizer, const int32_t **ids, int64_t *n) {
  *ids = tokenizer->stops.data;
  *n = tokenizer->stops.n;
}

/* ---- references ---------------------------------------------------------- */

smft_tokenizer *smft__tokenizer_retain(const smft_tokenizer *tokenizer) {
  smft_tokenizer *shared = (smft_tokenizer *)tokenizer; /* only the count changes */
  if (shared)
    atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
  return shared;
}

SMFT_API void smft_tokenizer_free(smft_tokenizer *tokenizer) {
  if (!tokenizer || atomic_fetch_sub_explicit(&tokenizer->references, 1, memory_order_acq_rel) > 1)
    return;
  smft_ctx *ctx = tokenizer->ctx;
  smft__vocab_free(&tokenizer->vocab);
  smft__added_free(&tokenizer->added);
  smft__normalizer_free(&tokenizer->normalizer);
  smft__splitter_free(&tokenizer->splitter);
  smft__bpe_free(&tokenizer->bpe);
  smft__decoder_free(&tokenizer->decoder);
  smft__ids_free(&tokenizer->before);
  smft__ids_free(&tokenizer->after);
  smft__chat_free(&tokenizer->chat, ctx);
  smft__ids_free(&tokenizer->stops);
  smft__spm_free(&tokenizer->spm);
  smft__free(ctx, tokenizer);
  smft__ctx_release(ctx);
}

smft_ctx *smft__tokenizer_ctx(const smft_tokenizer *tokenizer) { return tokenizer->ctx; }

/* ---- encoding ------------------------------------------------------------ */

SMFT_API smft_status smft_tokenizer_encode(const smft_tokenizer *tokenizer, const char *text,
                                           size_t length, uint32_t flags, int32_t *ids,
                                           int64_t capacity, int64_t *n_ids) {
  SMFT__REQUIRE(tokenizer && n_ids, "smft_tokenizer_encode: tokenizer or n_ids is NULL");
  SMFT__REQUIRE(capacity >= 0 && (ids || capacity == 0),
                "smft_tokenizer_encode: ids is NULL or capacity negative");
  smft__ids list = {tokenizer->ctx, NULL, 0, 0};
  *n_ids = 0;
  smft_status status = smft__tokenizer_encode(tokenizer, text, length, flags, &list);
  if (status == SMFT_OK)
    status = smft__ids_copy(&list, ids, capacity, n_ids, "smft_tokenizer_encode");
  smft__ids_free(&list);
  return status;
}

/* ---- decoding ------------------------------------------------------------ */

static smft_status add_token(const smft_tokenizer *tokenizer, int32_t id, uint32_t flags,
                             smft__strings *strings) {
  int64_t length = 0;
  const char *text = smft__vocab_text(&tokenizer->vocab, id, &length);
  if (!text)
    return smft__fail(SMFT_E_TOKEN,
                      "decode: no token has the id %d; the vocabulary ends before %lld", (int)id,
                      (long long)tokenizer->vocab.n_ids);
  if ((flags & SMFT_DECODE_SKIP_SPECIAL) &&
      (tokenizer->vocab.tokens[id].flags & SMFT__TOKEN_SPECIAL))
    return SMFT_OK;
  return smft__strings_add(strings, text, length);
}

static smft_status decode_all(const smft_tokenizer *tokenizer, const int32_t *ids, int64_t n_ids,
                              uint32_t flags, smft__decode_work *work) {
  for (int64_t i = 0; i < n_ids; i++)
    SMFT__TRY(add_token(tokenizer, ids[i], flags, &work->strings));
  return smft__decoder_run(&tokenizer->decoder, work, 0, 1);
}

static smft_status copy_text(const smft__buffer *from, char *text, size_t capacity,
                             size_t *length) {
  *length = (size_t)from->length;
  if (capacity == 0)
    return SMFT_OK;
  if (capacity <= *length)
    return smft__fail(SMFT_E_BUFFER, "smft_tokenizer_decode: %zu bytes and a NUL, room for %zu",
                      *length, capacity);
  if (*length > 0)
    memcpy(text, from->data, *length);
  text[*length] = '\0';
  return SMFT_OK;
}

SMFT_API smft_status smft_tokenizer_decode(const smft_tokenizer *tokenizer, const int32_t *ids,
                                           int64_t n_ids, uint32_t flags, char *text,
                                           size_t capacity, size_t *length) {
  SMFT__REQUIRE(tokenizer && length, "smft_tokenizer_decode: tokenizer or length is NULL");
  *length = 0;
  SMFT__REQUIRE(n_ids >= 0 && (ids || n_ids == 0),
                "smft_tokenizer_decode: ids is NULL or n_ids negative");
  SMFT__REQUIRE(text || capacity == 0, "smft_tokenizer_decode: text is NULL and capacity is %zu",
                capacity);
  SMFT__REQUIRE((flags & ~SMFT_DECODE_SKIP_SPECIAL) == 0,
                "smft_tokenizer_decode: flags %u has unknown bits", (unsigned)flags);
  smft__decode_work work;
  smft__decode_work_init(&work, tokenizer->ctx);
  smft_status status = decode_all(tokenizer, ids, n_ids, flags, &work);
  if (status == SMFT_OK)
    status = copy_text(&work.strings.text, text, capacity, length);
  smft__decode_work_free(&work);
  return status;
}

smft_status smft__tokenizer_decode_bytes(const smft_tokenizer *tokenizer, smft__decode_work *work,
                                         int32_t id, uint32_t flags, int *first,
                                         smft__buffer *out) {
  smft__decode_work_clear(work);
  SMFT__TRY(add_token(tokenizer, id, flags, &work->strings));
  if (work->strings.n > 0) {
    SMFT__TRY(smft__decoder_run(&tokenizer->decoder, work, 1, *first));
    *first = 0;
  }
  return smft__buffer_put(out, work->strings.text.data, work->strings.text.length);
}

/* ---- the vocabulary ------------------------------------------------------ */

SMFT_API int32_t smft_tokenizer_vocab_size(const smft_tokenizer *tokenizer) {
  return tokenizer ? (int32_t)tokenizer->vocab.n_ids : 0;
}

SMFT_API smft_status smft_tokenizer_token_id(const smft_tokenizer *tokenizer, const char *token,
                                             int32_t *id) {
  SMFT__REQUIRE(tokenizer && token && id, "smft_tokenizer_token_id: an argument is NULL");
  int32_t found = smft__vocab_find(&tokenizer->vocab, token, (int64_t)strlen(token));
  if (found < 0)
    return smft__fail(SMFT_E_NOT_FOUND, "smft_tokenizer_token_id: no token is spelled \"%.60s\"",
                      token);
  *id = found;
  return SMFT_OK;
}
