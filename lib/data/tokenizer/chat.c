/* chat: a conversation as token ids, and what a tokenizer knows of its chat template. Does not own:
 * how a conversation becomes text (chat_render.c), where templates are found (chat_read.c). */
#include "data/tokenizer/chat.h"
#include "base/clock.h"
#include "data/tokenizer/parts.h"
#include <string.h>

#define MOST_MESSAGES ((int64_t)1 << 24)

/* ---- which renderer ------------------------------------------------------- */

static smft_status with_names(smft_ctx *ctx, smft_status code, const char *what, const char *name) {
  smft__buffer names = {ctx, NULL, 0, 0};
  smft_status status = smft__chat_style_names(&names);
  if (status == SMFT_OK)
    status = smft__fail(code, "chat: %s%s; smft_chat_options.renderer may name one of: %s", what,
                        name, names.data);
  smft__buffer_free(&names);
  return status;
}

static smft_status choose_style(const smft_tokenizer *tokenizer, const char *name,
                                const smft__chat_style **style) {
  const smft__chat *chat = &tokenizer->chat;
  *style = name ? smft__chat_style_named(name) : chat->style;
  if (*style)
    return SMFT_OK;
  if (name)
    return with_names(tokenizer->ctx, SMFT_E_NOT_FOUND, "no renderer is called ", name);
  if (!chat->template_text)
    return with_names(tokenizer->ctx, SMFT_E_NOT_FOUND, "the tokenizer has no chat template", "");
  return with_names(tokenizer->ctx, SMFT_E_UNSUPPORTED,
                    "there is no renderer for the template with the hash ", chat->hash);
}

/* ---- options --------------------------------------------------------------- */

static smft_status check_date(int32_t date) {
  int32_t month = date / 100 % 100, day = date % 100;
  SMFT__REQUIRE(date > 0 && date <= 99991231 && month >= 1 && month <= 12 && day >= 1 && day <= 31,
                "smft_chat_options: date must be YYYYMMDD or 0, got %d", (int)date);
  return SMFT_OK;
}

static smft_status check_messages(const smft_message *messages, int64_t n) {
  SMFT__REQUIRE(messages, "smft_tokenizer_chat: messages is NULL");
  SMFT__REQUIRE(n > 0 && n <= MOST_MESSAGES,
                "smft_tokenizer_chat: there must be 1 to %lld messages, got %lld",
                (long long)MOST_MESSAGES, (long long)n);
  for (int64_t i = 0; i < n; i++)
    SMFT__REQUIRE(messages[i].role && messages[i].content,
                  "smft_tokenizer_chat: role or content of message %lld is NULL", (long long)i);
  return SMFT_OK;
}

static smft_status begin(smft__conversation *talk, const smft_tokenizer *tokenizer,
                         const smft_message *messages, int64_t n,
                         const smft_chat_options *options) {
  smft_chat_options own = SMFT_CHAT_OPTIONS_INIT;
  const uint32_t known = SMFT_CHAT_OPEN_ANSWER | SMFT_CHAT_PARSE | SMFT_CHAT_NO_THINKING;
  SMFT__TRY(smft__options_read(&own, options, sizeof own, sizeof own, "smft_chat_options"));
  SMFT__TRY(smft__reserved_check(own.reserved, "smft_chat_options"));
  SMFT__REQUIRE(!(own.flags & ~known), "smft_chat_options: unknown flags 0x%x", own.flags);
  SMFT__TRY(check_messages(messages, n));
  talk->date = own.date ? own.date : smft__today();
  SMFT__TRY(check_date(talk->date));
  talk->bos = tokenizer->chat.bos ? tokenizer->chat.bos : "";
  talk->eos = tokenizer->chat.eos ? tokenizer->chat.eos : "";
  talk->messages = messages;
  talk->n = n;
  talk->flags = own.flags;
  return choose_style(tokenizer, own.renderer, &talk->style);
}

/* ---- ids -------------------------------------------------------------------- */

static smft_status encode(const smft_tokenizer *tokenizer, const smft__conversation *talk,
                          smft__ids *ids) {
  smft__chat_text out = {{tokenizer->ctx, NULL, 0, 0}, NULL, 0, 0};
  smft_status status = smft__chat_render(talk, &out);
  smft__spans plain = {out.contents, (talk->flags & SMFT_CHAT_PARSE) ? 0 : out.n};
  if (status == SMFT_OK)
    status = smft__tokenizer_encode_spans(tokenizer, out.text.data, (size_t)out.text.length, &plain,
                                          ids);
  smft__chat_text_free(&out);
  return status;
}

SMFT_API smft_status smft_tokenizer_chat(const smft_tokenizer *tokenizer,
                                         const smft_message *messages, int64_t n_messages,
                                         const smft_chat_options *options, int32_t *ids,
                                         int64_t capacity, int64_t *n_ids) {
  smft__conversation talk = {0};
  SMFT__REQUIRE(tokenizer && n_ids, "smft_tokenizer_chat: tokenizer or n_ids is NULL");
  *n_ids = 0;
  SMFT__REQUIRE(capacity >= 0 && (ids || capacity == 0),
                "smft_tokenizer_chat: ids is NULL or capacity negative");
  SMFT__TRY(begin(&talk, tokenizer, messages, n_messages, options));
  smft__ids list = {tokenizer->ctx, NULL, 0, 0};
  smft_status status = encode(tokenizer, &talk, &list);
  if (status == SMFT_OK)
    status = smft__ids_copy(&list, ids, capacity, n_ids, "smft_tokenizer_chat");
  smft__ids_free(&list);
  return status;
}

/* ---- an answer ---------------------------------------------------------------- */

int smft__tokenizer_has_chat(const smft_tokenizer *tokenizer) {
  return tokenizer->chat.style != NULL;
}

/* Text of the template, special tokens and all, without white space at its ends. */
static smft_status put_end(const smft_tokenizer *tokenizer, const smft__buffer *text, int64_t begin,
                           smft__ids *reply) {
  int64_t end = smft__chat_trimmed_end(text->data, begin, text->length);
  return smft__tokenizer_encode(tokenizer, text->data + begin, (size_t)(end - begin),
                                SMFT_ENCODE_CONTINUE, reply);
}

/* What a template has around an answer, white space that belongs to its tokens included: Llama 2's
 * answers are not opened, and begin and end with a space. */
static smft_status put_reply(const smft_tokenizer *tokenizer, const smft__conversation *talk,
                             const char *answer, smft__ids *reply, int *ends) {
  const smft__chat_style *style = talk->style;
  smft__chat_text out = {{tokenizer->ctx, NULL, 0, 0}, NULL, 0, 0};
  smft_status status = style->opening ? smft__buffer_put(&out.text, "", 0)
                                      : smft__chat_put(talk, &out, style->answer.before, "");
  if (status == SMFT_OK)
    status = smft__buffer_put(&out.text, answer, (int64_t)strlen(answer));
  int64_t at = out.text.length;
  if (status == SMFT_OK)
    status = smft__chat_put(talk, &out, style->last_after ? style->last_after : style->answer.after,
                            "assistant");
  while (status == SMFT_OK && at < out.text.length && out.text.data[at] == ' ')
    at++;
  if (status == SMFT_OK)
    status = smft__tokenizer_encode(tokenizer, out.text.data, (size_t)at,
                                    SMFT_ENCODE_CONTINUE | SMFT_ENCODE_NO_PARSE, reply);
  int64_t before = reply->n;
  if (status == SMFT_OK)
    status = put_end(tokenizer, &out.text, at, reply);
  *ends = reply->n > before;
  smft__chat_text_free(&out);
  return status;
}

smft_status smft__tokenizer_ask(const smft_tokenizer *tokenizer, const smft_chat_options *options,
                                const char *message, const char *answer, smft__ids *given,
                                smft__ids *reply, int *ends) {
  smft__conversation talk = {0};
  const smft_message asked = {"user", message};
  SMFT__TRY(begin(&talk, tokenizer, &asked, 1, options));
  talk.flags |= SMFT_CHAT_OPEN_ANSWER | SMFT_CHAT_NO_THINKING;
  SMFT__TRY(encode(tokenizer, &talk, given));
  return put_reply(tokenizer, &talk, answer, reply, ends);
}

SMFT_API smft_status smft_tokenizer_chat_info(const smft_tokenizer *tokenizer,
                                              smft_chat_info *info) {
  smft_chat_info own = SMFT_CHAT_INFO_INIT;
  SMFT__REQUIRE(tokenizer && info, "smft_tokenizer_chat_info: tokenizer or info is NULL");
  const smft__chat *chat = &tokenizer->chat;
  own.thinks = chat->style && chat->style->no_thinking;
  own.renderer = chat->style ? chat->style->name : NULL;
  own.hash = chat->hash;
  own.template_text = chat->template_text;
  own.bos = chat->bos;
  own.eos = chat->eos;
  return smft__report_write(info, &own, sizeof own, sizeof own, "smft_chat_info");
}
