/* chat: chat templates: which of our renderers stands for a model's template, and conversations to
 * text. */
#ifndef SMFT__TOKENIZER_CHAT_H
#define SMFT__TOKENIZER_CHAT_H
#include "base/bytes.h"
#include "data/tokenizer/added.h" /* smft__span */

/* What a renderer's strings may have between their letters: */
#define SMFT__CHAT_BOS "\1"  /* begin-of-text, as the tokenizer spells it */
#define SMFT__CHAT_EOS "\2"  /* end-of-text */
#define SMFT__CHAT_ROLE "\3" /* the message's role */
#define SMFT__CHAT_DAY "\4"  /* 08 Nov 2026 */
#define SMFT__CHAT_DATE "\5" /* 08 November 2026 */

/* text around a message; before NULL: there is no such turn, and the message is left out */
typedef struct smft__chat_turn {
  const char *before, *after;
} smft__chat_turn;

/* traits: contents of that role lose white space at both ends */
#define SMFT__CHAT_TRIM_USER 1u
#define SMFT__CHAT_TRIM_ANSWER 2u
#define SMFT__CHAT_TRIM_SYSTEM 4u
/* the first system message goes into the first user's turn; or into that of the last message */
#define SMFT__CHAT_SYSTEM_IN_FIRST 8u
#define SMFT__CHAT_SYSTEM_IN_LAST 16u
/* ... and loses white space at its end together with the content behind it */
#define SMFT__CHAT_TRIM_MERGED 32u
#define SMFT__CHAT_ALWAYS_OPEN 64u      /* an answer is opened, asked for or not */
#define SMFT__CHAT_NO_EMPTY_SYSTEM 128u /* empty system messages are left out */
#define SMFT__CHAT_THINKS 256u          /* Qwen3: an answer's thoughts are shown or left out */
#define SMFT__CHAT_REASONS 512u         /* SmolLM3: a header with a reasoning mode, and its words */
#define SMFT__CHAT_OVERRIDES 1024u      /* ... which a system message may replace whole */
#define SMFT__CHAT_NO_TOOLS 2048u       /* roles "tool" and "ipython" are no turns like others */

typedef struct smft__chat_style { /* a renderer: one row of chat_table.c */
  const char *name;
  uint32_t traits;
  const char *start; /* what every conversation begins with */
  /* a system message at the very beginning; before NULL: like those behind it */
  smft__chat_turn first_system;
  const char *no_system; /* what stands there where there is none */
  smft__chat_turn system, user, answer, other;
  const char *last_after;  /* after an answer that is the last message; NULL: as after any */
  const char *opening;     /* of an answer */
  const char *no_thinking; /* behind it where thinking is off */
  const char *closing;     /* where no answer is opened */
  /* refusals, in the template's words: user and assistant do not alternate (NULL: they need not),
   * a role that has no turn, a system message at the beginning (NULL: fine) */
  const char *bad_order, *bad_role, *bad_system;
} smft__chat_style;

/* NULL: none. */
const smft__chat_style *smft__chat_style_named(const char *name);
const smft__chat_style *smft__chat_style_of(const char *hash);
/* Appends the names of all. */
smft_status smft__chat_style_names(smft__buffer *out);

/* A tokenizer's own: all NULL where it has none. */
typedef struct smft__chat {
  char *template_text;
  size_t length;
  char hash[65]; /* SHA-256 of the text without its last newline, which Jinja drops; "": none */
  const smft__chat_style *style; /* NULL: none of ours */
  char *bos, *eos;               /* spellings, or NULL */
} smft__chat;

/* Copies; bos and eos may be NULL.  An earlier template is replaced. */
smft_status smft__chat_set(smft__chat *chat, smft_ctx *ctx, const char *text, int64_t length);
smft_status smft__chat_set_tokens(smft__chat *chat, smft_ctx *ctx, const char *bos,
                                  const char *eos);
/* From tokenizer_config.json and chat_template.jinja of a directory, where they are there. */
smft_status smft__chat_read(smft__chat *chat, smft_ctx *ctx, const char *directory);
smft_status smft__chat_read_beside(smft__chat *chat, smft_ctx *ctx, const char *file);
void smft__chat_free(smft__chat *chat, smft_ctx *ctx);

typedef struct smft__chat_text {
  smft__buffer text;
  smft__span *contents; /* what users wrote, in order */
  int64_t n, capacity;
} smft__chat_text;

typedef struct smft__conversation {
  const smft__chat_style *style;
  const char *bos, *eos; /* never NULL */
  const smft_message *messages;
  int64_t n;
  uint32_t flags; /* SMFT_CHAT_* */
  int32_t date;   /* YYYYMMDD, valid */
} smft__conversation;

/* Appends to out.  SMFT_E_INVALID where the template refuses the conversation, in its words. */
smft_status smft__chat_render(const smft__conversation *talk, smft__chat_text *out);
void smft__chat_text_free(smft__chat_text *text);
/* For chat_words.c: text with the signs above; what a user wrote. */
smft_status smft__chat_put(const smft__conversation *talk, smft__chat_text *out, const char *text,
                           const char *role);
smft_status smft__chat_put_content(smft__chat_text *out, const char *text, int64_t length);
/* The end of text[start..end) without white space, as Python's str.rstrip() has it. */
int64_t smft__chat_trimmed_end(const char *text, int64_t start, int64_t end);
/* The parts of templates that are more than text around messages (chat_words.c). */
smft_status smft__chat_reasons_header(const smft__conversation *talk, smft__chat_text *out);
int smft__chat_reasons_off(const smft__conversation *talk); /* its mode is /no_think */
smft_status smft__chat_reasons_answer(const smft__conversation *talk, smft__chat_text *out,
                                      const char *content);
smft_status smft__chat_thinks_answer(const smft__conversation *talk, smft__chat_text *out,
                                     int64_t index);
#endif
