/* tokenizer: internal side of smft_tokenizer: reference count, encoding into lists, streaming
 * decode. */
#ifndef SMFT__TOKENIZER_H
#define SMFT__TOKENIZER_H
#include "data/ids.h"
#include "data/tokenizer/added.h"  /* smft__spans */
#include "data/tokenizer/decode.h" /* smft__decode_work */
smft_tokenizer *smft__tokenizer_retain(const smft_tokenizer *tokenizer);
smft_ctx *smft__tokenizer_ctx(const smft_tokenizer *tokenizer);
/* The tokenizer of a GGUF file, which may go after that; *out NULL, without an error: it has none.
 */
struct smft__gguf;
smft_status smft__tokenizer_load_gguf(smft_tokenizer **out, smft_ctx *ctx,
                                      const struct smft__gguf *gguf);
/* Tokens that end an answer, as the tokenizer's own file has it (borrowed); n 0: it says nothing,
 * as a tokenizer.json. */
void smft__tokenizer_stops(const smft_tokenizer *tokenizer, const int32_t **ids, int64_t *n);
/* Appends to ids.  flags: SMFT_ENCODE_*. */
smft_status smft__tokenizer_encode(const smft_tokenizer *tokenizer, const char *text, size_t length,
                                   uint32_t flags, smft__ids *ids);
/* Appends what the tokenizer puts after a whole text (end-of-text); most put nothing. */
smft_status smft__tokenizer_put_end(const smft_tokenizer *tokenizer, smft__ids *ids);
/* Whether running text has a space between the two: not where either is empty or brings white
 * space, behind an opening bracket or quote, before closing punctuation, nor between characters of
 * scripts that are written without spaces (tokenizer/join.c). */
int smft__text_needs_space(const char *before, size_t n_before, const char *after, size_t n_after);
/* Text of a chat template: special tokens count, but not where they begin or end in `plain`, which
 * is what users wrote. */
smft_status smft__tokenizer_encode_spans(const smft_tokenizer *tokenizer, const char *text,
                                         size_t length, const smft__spans *plain, smft__ids *ids);
/* A message of a user and the answer to it: given gets what smft_tokenizer_chat gives with the
 * answer opened, and not thinking; reply the ids that the answer and the end of its turn then are,
 * as far as they are learnt: without the newline behind the turn.  *ends: the template says what
 * ends it. */
smft_status smft__tokenizer_ask(const smft_tokenizer *tokenizer, const smft_chat_options *options,
                                const char *message, const char *answer, smft__ids *given,
                                smft__ids *reply, int *ends);
/* It has a template, and there is a renderer for that. */
int smft__tokenizer_has_chat(const smft_tokenizer *tokenizer);
/* Streaming decode: text of the ids so far is what smft_tokenizer_decode gives; this appends the
 * raw bytes that one more token adds (may end in the middle of a UTF-8 character; the caller holds
 * those back).  *first: 1 at the text's start, 0 from the first token on that flags do not leave
 * out.  work: the caller's (tokenizer/decode.h), the same from token to token. */
struct smft__buffer;
struct smft__decode_work;
smft_status smft__tokenizer_decode_bytes(const smft_tokenizer *tokenizer,
                                         struct smft__decode_work *work, int32_t id, uint32_t flags,
                                         int *first, struct smft__buffer *out);
/* Puts tokenizer.ggml.* for a tokenizer that was read from this tokenizer.json: n tokens (rows of
 * the embedding; more than it has are unused ones), and the model's begin-of-text (-1: none) and
 * ends.  SMFT_E_UNSUPPORTED, naming the part, where llama.cpp would read other ids. */
struct smft__gguf_keys;
smft_status smft__tokenizer_put_gguf(struct smft__gguf_keys *keys, const smft_tokenizer *tokenizer,
                                     const char *path, int64_t n, int32_t bos, const int32_t *eos,
                                     int32_t n_eos);
#endif
