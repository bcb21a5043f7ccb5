/* chat_words: the parts of chat templates that read what messages say: Qwen3's thoughts, SmolLM3's
 * reasoning mode. */
#include "data/tokenizer/chat.h"
#include <string.h>

static smft_status put_span(smft__chat_text *out, const char *begin, const char *end) {
  return smft__chat_put_content(out, begin, end > begin ? end - begin : 0);
}

static smft_status put_text(smft__chat_text *out, const char *text) {
  return smft__buffer_put(&out->text, text, (int64_t)strlen(text));
}

static const char *skip_newlines(const char *begin, const char *end) {
  while (begin < end && *begin == '\n')
    begin++;
  return begin;
}

static const char *drop_newlines(const char *begin, const char *end) {
  while (end > begin && end[-1] == '\n')
    end--;
  return end;
}

/* ---- Qwen3: <think> thoughts </think> answer ------------------------------ */

#define OPEN "<think>"
#define CLOSE "</think>"

static const char *find_last(const char *begin, const char *end, const char *what) {
  size_t length = strlen(what);
  for (const char *at = end - length; at >= begin; at--)
    if (memcmp(at, what, length) == 0)
      return at;
  return NULL;
}

/* A user's message that is no tool's answer: thoughts from before it are not shown again. */
static int is_query(const smft_message *message) {
  static const char begin[] = "<tool_response>", end[] = "</tool_response>";
  size_t length = strlen(message->content);
  int tool = length >= sizeof end - 1 && strncmp(message->content, begin, sizeof begin - 1) == 0 &&
             strcmp(message->content + length - (sizeof end - 1), end) == 0;
  return strcmp(message->role, "user") == 0 && !tool;
}

static int64_t last_query(const smft__conversation *talk) {
  for (int64_t i = talk->n - 1; i >= 0; i--)
    if (is_query(&talk->messages[i]))
      return i;
  return talk->n - 1;
}

/* What stands before the first </think> and behind the last <think> there. */
static smft__span thoughts_of(const char *content, const char *close) {
  const char *begin = content, *end = drop_newlines(content, close);
  const char *open = end - content >= (int64_t)strlen(OPEN) ? find_last(content, end, OPEN) : NULL;
  if (open)
    begin = open + strlen(OPEN);
  begin = skip_newlines(begin, end);
  return (smft__span){begin - content, drop_newlines(begin, end) - content};
}

smft_status smft__chat_thinks_answer(const smft__conversation *talk, smft__chat_text *out,
                                     int64_t index) {
  const char *content = talk->messages[index].content, *end = content + strlen(content);
  const char *close = strstr(content, CLOSE), *answer = content;
  smft__span thoughts = {0, 0};
  if (close) {
    thoughts = thoughts_of(content, close);
    answer = skip_newlines(find_last(content, end, CLOSE) + strlen(CLOSE), end);
  }
  int shown = index == talk->n - 1 || thoughts.end > thoughts.start;
  if (!shown || index <= last_query(talk))
    return put_span(out, answer, end);
  SMFT__TRY(put_text(out, "<think>\n"));
  SMFT__TRY(put_span(out, content + thoughts.start, content + thoughts.end));
  SMFT__TRY(put_text(out, "\n</think>\n\n"));
  return put_span(out, skip_newlines(answer, end), end);
}

/* ---- SmolLM3: "/think" and "/no_think" in the system message --------------- */

#define OVERRIDE "/system_override"
#define WITHOUT_THINKING "You are a helpful AI assistant named SmolLM, trained by Hugging Face."
#define WITH_THINKING                                                                              \
  "You are a helpful AI assistant named SmolLM, trained by Hugging Face. Your role as an "         \
  "assistant involves thoroughly exploring questions through a systematic thinking process "       \
  "before providing the final precise and accurate solutions. This requires engaging in a "        \
  "comprehensive cycle of analysis, summarizing, exploration, reassessment, reflection, "          \
  "backtracking, and iteration to develop well-considered thinking process. Please "               \
  "structure your response into two main sections: Thought and Solution using the specified "      \
  "format: <think> Thought section </think> Solution section. In the Thought section, "            \
  "detail your reasoning process in steps. Each step should include detailed considerations "      \
  "such as analysing questions, summarizing relevant findings, brainstorming new ideas, "          \
  "verifying the accuracy of the current steps, refining any errors, and revisiting "              \
  "previous steps. In the Solution section, based on various attempts, explorations, and "         \
  "reflections from the Thought section, systematically present the final solution that you "      \
  "deem correct. The Solution section should be logical, accurate, and concise and detail "        \
  "necessary steps needed to reach the conclusion."

static const char *system_words(const smft__conversation *talk) {
  return strcmp(talk->messages[0].role, "system") == 0 ? talk->messages[0].content : "";
}

int smft__chat_reasons_off(const smft__conversation *talk) {
  const char *words = system_words(talk);
  if (strstr(words, "/no_think"))
    return 1;
  return (talk->flags & SMFT_CHAT_NO_THINKING) != 0 && !strstr(words, "/think");
}

/* Takes every `what` out of text; what closes up around one may make another, which stays, as in
 * Python's replace(). */
static void erase(smft__buffer *text, const char *what) {
  int64_t size = (int64_t)strlen(what), kept = 0;
  for (int64_t at = 0; at < text->length;) {
    if (text->length - at >= size && memcmp(text->data + at, what, (size_t)size) == 0)
      at += size;
    else
      text->data[kept++] = text->data[at++];
  }
  text->length = kept;
}

/* The system message without its words for us. */
static smft_status read_instructions(const smft__conversation *talk, int overridden,
                                     smft__buffer *out) {
  const char *words = system_words(talk);
  SMFT__TRY(smft__buffer_put(out, words, (int64_t)strlen(words)));
  erase(out, "/no_think");
  erase(out, "/think");
  out->length = smft__chat_trimmed_end(out->data, 0, out->length);
  if (overridden)
    erase(out, OVERRIDE);
  out->length = smft__chat_trimmed_end(out->data, 0, out->length);
  return SMFT_OK;
}

static smft_status put_header(const smft__conversation *talk, smft__chat_text *out, int overridden,
                              const smft__buffer *instructions) {
  int off = smft__chat_reasons_off(talk);
  SMFT__TRY(put_text(out, "<|im_start|>system\n"));
  if (overridden) {
    SMFT__TRY(smft__chat_put_content(out, instructions->data, instructions->length));
    return put_text(out, "<|im_end|>\n");
  }
  SMFT__TRY(smft__chat_put(talk, out, talk->style->first_system.before, ""));
  SMFT__TRY(put_text(out, off ? "Reasoning Mode: /no_think\n\n" : "Reasoning Mode: /think\n\n"));
  SMFT__TRY(put_text(out, "## Custom Instructions\n\n"));
  if (instructions->length > 0)
    SMFT__TRY(smft__chat_put_content(out, instructions->data, instructions->length));
  else
    SMFT__TRY(put_text(out, off ? WITHOUT_THINKING : WITH_THINKING));
  SMFT__TRY(put_text(out, "\n\n"));
  return smft__chat_put(talk, out, talk->style->first_system.after, "");
}

smft_status smft__chat_reasons_header(const smft__conversation *talk, smft__chat_text *out) {
  smft__buffer instructions = {out->text.ctx, NULL, 0, 0};
  int overridden = (talk->style->traits & SMFT__CHAT_OVERRIDES) != 0 &&
                   strstr(system_words(talk), OVERRIDE) != NULL;
  smft_status status = read_instructions(talk, overridden, &instructions);
  if (status == SMFT_OK)
    status = put_header(talk, out, overridden, &instructions);
  smft__buffer_free(&instructions);
  return status;
}

smft_status smft__chat_reasons_answer(const smft__conversation *talk, smft__chat_text *out,
                                      const char *content) {
  const char *end = content + strlen(content);
  if (smft__chat_reasons_off(talk))
    SMFT__TRY(put_text(out, talk->style->no_thinking));
  return put_span(out, skip_newlines(content, end), end);
}
