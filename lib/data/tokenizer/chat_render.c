/* chat_render: a conversation as text, with the places of what users wrote in it.  Does not own:
 * the renderers' strings (chat_table.c), what is more than text around messages (chat_words.c). */
#include "base/alloc.h"
#include "data/tokenizer/chat.h"
#include "data/tokenizer/unicode.h"
#include <string.h>

/* ---- pieces -------------------------------------------------------------- */

static smft_status add_span(smft__chat_text *out, int64_t start) {
  smft__span span = {start, out->text.length};
  SMFT__TRY(
      smft__grow(out->text.ctx, &out->contents, &out->capacity, out->n + 1, sizeof *out->contents));
  out->contents[out->n++] = span;
  return SMFT_OK;
}

smft_status smft__chat_put_content(smft__chat_text *out, const char *text, int64_t length) {
  int64_t start = out->text.length;
  SMFT__TRY(smft__buffer_put(&out->text, text, length));
  return length > 0 ? add_span(out, start) : SMFT_OK;
}

static smft_status put_date(smft__chat_text *out, int32_t date, int whole_month) {
  static const char *const months[] = {"January",   "February", "March",    "April",
                                       "May",       "June",     "July",     "August",
                                       "September", "October",  "November", "December"};
  const char *month = months[date / 100 % 100 - 1];
  return smft__buffer_printf(&out->text, "%02d %.*s %04d", (int)(date % 100), whole_month ? 9 : 3,
                             month, (int)(date / 10000));
}

static smft_status put_sign(const smft__conversation *talk, smft__chat_text *out, char sign,
                            const char *role) {
  if (sign == *SMFT__CHAT_BOS)
    return smft__buffer_put(&out->text, talk->bos, (int64_t)strlen(talk->bos));
  if (sign == *SMFT__CHAT_EOS)
    return smft__buffer_put(&out->text, talk->eos, (int64_t)strlen(talk->eos));
  if (sign == *SMFT__CHAT_ROLE)
    return smft__chat_put_content(out, role, (int64_t)strlen(role));
  return put_date(out, talk->date, sign == *SMFT__CHAT_DATE);
}

smft_status smft__chat_put(const smft__conversation *talk, smft__chat_text *out, const char *text,
                           const char *role) {
  static const char signs[] =
      SMFT__CHAT_BOS SMFT__CHAT_EOS SMFT__CHAT_ROLE SMFT__CHAT_DAY SMFT__CHAT_DATE;
  while (text && *text) {
    size_t plain = strcspn(text, signs);
    SMFT__TRY(smft__buffer_put(&out->text, text, (int64_t)plain));
    text += plain;
    if (*text)
      SMFT__TRY(put_sign(talk, out, *text++, role));
  }
  return SMFT_OK;
}

/* ---- white space, as Python's str.strip() has it -------------------------- */

static int is_blank(uint32_t code) {
  return smft__is_space(code) || (code >= 0x1c && code <= 0x1f);
}

static int64_t blank_at(const char *text, int64_t length) { /* its bytes, or 0 */
  uint32_t code = 0;
  int32_t step = smft__utf8_next(text, (size_t)length, &code);
  return step > 0 && is_blank(code) ? step : 0;
}

int64_t smft__chat_trimmed_end(const char *text, int64_t start, int64_t end) {
  while (end > start) {
    int64_t at = end - 1;
    while (at > start && ((unsigned char)text[at] & 0xc0) == 0x80)
      at--;
    if (!blank_at(text + at, end - at))
      break;
    end = at;
  }
  return end;
}

static smft_status put_trimmed(smft__chat_text *out, const char *text, int left, int right) {
  int64_t start = 0, end = (int64_t)strlen(text), step = 0;
  while (left && start < end && (step = blank_at(text + start, end - start)) > 0)
    start += step;
  return smft__chat_put_content(out, text + start,
                                (right ? smft__chat_trimmed_end(text, start, end) : end) - start);
}

/* Takes white space off the end of what was put since `start`. */
static void trim_tail(smft__chat_text *out, int64_t start) {
  out->text.length = smft__chat_trimmed_end(out->text.data, start, out->text.length);
  while (out->n > 0 && out->contents[out->n - 1].start >= out->text.length)
    out->n--;
  if (out->n > 0 && out->contents[out->n - 1].end > out->text.length)
    out->contents[out->n - 1].end = out->text.length;
}

/* ---- roles --------------------------------------------------------------- */

static int is_role(const smft_message *message, const char *role) {
  return strcmp(message->role, role) == 0;
}

static int starts_with_system(const smft__conversation *talk) {
  return is_role(&talk->messages[0], "system");
}

/* What a first system message is merged into begins at this message. */
static int64_t first_turn(const smft__conversation *talk) {
  uint32_t merged = SMFT__CHAT_SYSTEM_IN_FIRST | SMFT__CHAT_SYSTEM_IN_LAST;
  return (talk->style->traits & merged) && starts_with_system(talk);
}

static const smft__chat_turn *turn_of(const smft__chat_style *style, const smft_message *message) {
  return is_role(message, "user")        ? &style->user
         : is_role(message, "assistant") ? &style->answer
         : is_role(message, "system")    ? &style->system
                                         : &style->other;
}

static uint32_t trims(const smft__chat_style *style, const smft_message *message) {
  return style->traits & (is_role(message, "user")        ? SMFT__CHAT_TRIM_USER
                          : is_role(message, "assistant") ? SMFT__CHAT_TRIM_ANSWER
                                                          : SMFT__CHAT_TRIM_SYSTEM);
}

/* ---- refusals ------------------------------------------------------------ */

static smft_status refuse(int64_t index, const char *why) {
  return smft__fail(SMFT_E_INVALID, "chat: message %lld: %s", (long long)index, why);
}

static smft_status check_role(const smft__conversation *talk, int64_t index) {
  const smft__chat_style *style = talk->style;
  const smft_message *message = &talk->messages[index];
  const smft__chat_turn *turn = turn_of(style, message);
  int tool = is_role(message, "tool") || is_role(message, "ipython");
  if (!turn->before && style->bad_role)
    return refuse(index, style->bad_role);
  if ((turn == &style->other && !turn->before) || (tool && (style->traits & SMFT__CHAT_NO_TOOLS)))
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "chat: message %lld: the renderer \"%s\" has no role \"%.60s\", only "
                      "system, user and assistant",
                      (long long)index, style->name, message->role);
  return SMFT_OK;
}

static smft_status check_order(const smft__conversation *talk) {
  const smft__chat_style *style = talk->style;
  int64_t first = first_turn(talk);
  if (style->bad_system && starts_with_system(talk))
    return refuse(0, style->bad_system);
  for (int64_t i = first; i < talk->n; i++) {
    int users_turn = (i - first) % 2 == 0;
    if (style->bad_order && is_role(&talk->messages[i], "user") != users_turn)
      return refuse(i, style->bad_order);
    SMFT__TRY(check_role(talk, i));
  }
  return SMFT_OK;
}

/* ---- turns --------------------------------------------------------------- */

/* The first system message goes in front of this message's content. */
static int takes_system(const smft__conversation *talk, int64_t index) {
  if (first_turn(talk) == 0 || !is_role(&talk->messages[index], "user"))
    return 0;
  return (talk->style->traits & SMFT__CHAT_SYSTEM_IN_FIRST) ? index == 1 : index == talk->n - 1;
}

static smft_status put_merged(const smft__conversation *talk, smft__chat_text *out,
                              const char *content) {
  const smft__chat_style *style = talk->style;
  const char *system = talk->messages[0].content;
  int together = (style->traits & SMFT__CHAT_TRIM_MERGED) != 0,
      trim = !together && (style->traits & SMFT__CHAT_TRIM_USER) != 0;
  int64_t start = out->text.length;
  SMFT__TRY(smft__chat_put(talk, out, style->first_system.before, ""));
  SMFT__TRY(smft__chat_put_content(out, system, (int64_t)strlen(system)));
  SMFT__TRY(smft__chat_put(talk, out, style->first_system.after, ""));
  SMFT__TRY(put_trimmed(out, content, trim, trim));
  if (together)
    trim_tail(out, start);
  return SMFT_OK;
}

static smft_status put_content(const smft__conversation *talk, smft__chat_text *out,
                               int64_t index) {
  const smft_message *message = &talk->messages[index];
  int answer = is_role(message, "assistant"), trim = trims(talk->style, message) != 0;
  if (takes_system(talk, index))
    return put_merged(talk, out, message->content);
  if (answer && (talk->style->traits & SMFT__CHAT_THINKS))
    return smft__chat_thinks_answer(talk, out, index);
  if (answer && (talk->style->traits & SMFT__CHAT_REASONS))
    return smft__chat_reasons_answer(talk, out, message->content);
  return put_trimmed(out, message->content, trim, trim);
}

static int left_out(const smft__chat_style *style, const smft__chat_turn *turn,
                    const smft_message *message) {
  return !turn->before || ((style->traits & SMFT__CHAT_NO_EMPTY_SYSTEM) &&
                           is_role(message, "system") && !*message->content);
}

static smft_status put_turn(const smft__conversation *talk, smft__chat_text *out, int64_t index) {
  const smft__chat_style *style = talk->style;
  const smft_message *message = &talk->messages[index];
  const smft__chat_turn *turn = turn_of(style, message);
  if (index == 0 && starts_with_system(talk) && style->first_system.before)
    turn = &style->first_system;
  if (left_out(style, turn, message))
    return SMFT_OK;
  int last = style->last_after && turn == &style->answer && index == talk->n - 1;
  SMFT__TRY(smft__chat_put(talk, out, turn->before, message->role));
  SMFT__TRY(put_content(talk, out, index));
  return smft__chat_put(talk, out, last ? style->last_after : turn->after, message->role);
}

/* ---- the whole ----------------------------------------------------------- */

/* *begin: the first message that is a turn of its own. */
static smft_status put_start(const smft__conversation *talk, smft__chat_text *out, int64_t *begin) {
  const smft__chat_style *style = talk->style;
  *begin = first_turn(talk);
  SMFT__TRY(smft__chat_put(talk, out, style->start, ""));
  if (style->traits & SMFT__CHAT_REASONS) {
    *begin = starts_with_system(talk);
    return smft__chat_reasons_header(talk, out);
  }
  return starts_with_system(talk) ? SMFT_OK : smft__chat_put(talk, out, style->no_system, "");
}

static smft_status put_end(const smft__conversation *talk, smft__chat_text *out) {
  const smft__chat_style *style = talk->style;
  int open = (talk->flags & SMFT_CHAT_OPEN_ANSWER) || (style->traits & SMFT__CHAT_ALWAYS_OPEN);
  int silent = (style->traits & SMFT__CHAT_REASONS) ? smft__chat_reasons_off(talk)
                                                    : (talk->flags & SMFT_CHAT_NO_THINKING) != 0;
  SMFT__TRY(smft__chat_put(talk, out, open ? style->opening : style->closing, ""));
  return open && silent ? smft__chat_put(talk, out, style->no_thinking, "") : SMFT_OK;
}

smft_status smft__chat_render(const smft__conversation *talk, smft__chat_text *out) {
  int64_t begin = 0;
  SMFT__TRY(check_order(talk));
  SMFT__TRY(put_start(talk, out, &begin));
  for (int64_t i = begin; i < talk->n; i++)
    SMFT__TRY(put_turn(talk, out, i));
  return put_end(talk, out);
}

void smft__chat_text_free(smft__chat_text *text) {
  if (text->text.ctx)
    smft__free(text->text.ctx, text->contents);
  smft__buffer_free(&text->text);
  text->contents = NULL;
  text->n = text->capacity = 0;
}
