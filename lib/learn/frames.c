/* frames: the wordings of a fact that are made by rule, as text.  Owns the table of frames and the
 * filling of their blanks.  Does not own: what an English question says (grammar.c), token ids and
 * the model's chat template (wordings.c). */
#include "learn/frames.h"
#include "base/alloc.h"
#include "learn/grammar.h"
#include <string.h>
#include <utf8proc.h>

/* ---- the table ----------------------------------------------------------- */

/* What blanks are filled with; a frame with an empty blank is left out. */
enum { QUESTION, BARE, ASKED, SUBJECT, STATEMENT, OTHER, INDIRECT, GAP, N_BLANKS };
static const char *const blanks[N_BLANKS] = {
    "{question}",  /* as it is */
    "{bare}",      /* without its question mark, if it has one */
    "{asked}",     /* with a mark at its end */
    "{subject}",   /* what it is about */
    "{statement}", /* what its answer completes */
    "{other}",     /* the same in another way */
    "{indirect}",  /* "who wrote Emma" */
    "{gap}",       /* a statement that was given, with ___ for its answer */
};

#define RAW SMFT_FRAME_TEXT
#define CHAT SMFT_FRAME_CHAT
#define SAID SMFT_FRAME_STATEMENT

typedef struct rule {
  int32_t kind;
  const char *text;
} rule;

/* Of a question; the plainest first, since a limit cuts the list. */
static const rule of_question[] = {
    {RAW, "{question}"},
    {CHAT, "{question}"}, /* so far of any prompt */
    {RAW, "Question: {asked}\nAnswer:"},
    {CHAT, "{bare}"},
    {SAID, "{statement}"},
    {CHAT, "Please tell me: {question}"},
    {RAW, "{asked} The answer is"},
    {CHAT, "{subject}: {question}"},
    {RAW, "Q: {asked}\nA:"},
    {CHAT, "I have a question about {subject}. {question}"},
    {RAW, "Regarding {subject}: {question}"},
    {CHAT, "{asked} Answer briefly."},
    {CHAT, "Hi! {asked} Thanks."},
    {SAID, "{other}"},
    {CHAT, "Could you tell me {indirect}?"},
    {CHAT, "Complete this sentence: {statement}"},
};

/* Of a statement, beside itself; the first three where its answer ends it. */
static const rule of_statement[] = {
    {CHAT, "{statement}"},
    {CHAT, "Complete this sentence: {statement}"},
    {CHAT, "Please finish the sentence: {statement}"},
    {CHAT, "Fill in the blank: {gap}"},
    {CHAT, "What is missing here? {gap}"},
};

#define N_PLAIN 2
#define N_RULES(rules) (sizeof(rules) / sizeof *(rules))

/* ---- the list ------------------------------------------------------------ */

void smft__frames_drop(smft__frames *frames) {
  smft__frame *last = &frames->list[--frames->n];
  smft__free(frames->ctx, last->prompt);
  smft__free(frames->ctx, last->rest);
}

void smft__frames_free(smft__frames *frames) {
  while (frames->n > 0)
    smft__frames_drop(frames);
  if (frames->ctx)
    smft__free(frames->ctx, frames->list);
  frames->list = NULL;
  frames->capacity = 0;
}

static int is_there(const smft__frames *frames, int32_t kind, const char *prompt) {
  for (int64_t i = 0; i < frames->n; i++)
    if ((frames->list[i].kind == CHAT) == (kind == CHAT) &&
        strcmp(frames->list[i].prompt, prompt) == 0)
      return 1;
  return 0;
}

/* Takes the prompt over, also where it fails. */
static smft_status add(smft__frames *frames, int32_t kind, char *prompt, const char *end,
                       char *rest) {
  smft_status status = smft__grow(frames->ctx, &frames->list, &frames->capacity, frames->n + 1,
                                  sizeof *frames->list);
  if (status == SMFT_OK)
    frames->list[frames->n++] = (smft__frame){kind, prompt, end, rest};
  else {
    smft__free(frames->ctx, prompt);
    smft__free(frames->ctx, rest);
  }
  return status;
}

smft_status smft__frames_add(smft__frames *frames, int32_t kind, char *prompt) {
  return add(frames, kind, prompt, NULL, NULL);
}

/* ---- filling blanks ------------------------------------------------------ */

typedef struct filling {
  const char *text;
  size_t n;
} filling;

/* The blank that begins here, or N_BLANKS. */
static int blank_at(const char *text) {
  int b = 0;
  while (b < N_BLANKS && strncmp(text, blanks[b], strlen(blanks[b])) != 0)
    b++;
  return b;
}

static int can_fill(const char *text, const filling *with) {
  for (; (text = strchr(text, '{')) != NULL; text++)
    if (with[blank_at(text)].n == 0)
      return 0;
  return 1;
}

static smft_status fill(smft__buffer *out, const char *text, const filling *with) {
  while (*text) {
    size_t plain = strcspn(text, "{");
    SMFT__TRY(smft__buffer_put(out, text, (int64_t)plain));
    text += plain;
    if (!*text)
      break;
    int b = blank_at(text);
    SMFT__TRY(smft__buffer_put(out, with[b].text, (int64_t)with[b].n));
    text += strlen(blanks[b]);
  }
  return SMFT_OK;
}

/* Behind a statement's answer nothing is learnt: a full stop there and the newline behind other
 * texts' answers would pull the same rows, those of the answer's last token, two ways. */
static smft_status add_rule(smft__frames *frames, const rule *r, const filling *with) {
  smft__buffer text = {frames->ctx, NULL, 0, 0};
  if (!can_fill(r->text, with))
    return SMFT_OK;
  smft_status status = fill(&text, r->text, with);
  if (status != SMFT_OK || is_there(frames, r->kind, text.data)) {
    smft__buffer_free(&text);
    return status;
  }
  return add(frames, r->kind, text.data, r->kind == SAID ? "" : NULL, NULL);
}

/* Not asked for: by its kind, or since it speaks of a statement. */
static int is_off(const rule *r, uint32_t flags) {
  uint32_t off = r->kind == RAW    ? SMFT_WORDINGS_NO_TEXT
                 : r->kind == CHAT ? SMFT_WORDINGS_NO_CHATS
                                   : SMFT_WORDINGS_NO_TEXT | SMFT_WORDINGS_NO_STATEMENTS;
  if (strstr(r->text, blanks[STATEMENT]))
    off |= SMFT_WORDINGS_NO_STATEMENTS;
  return (flags & off) != 0;
}

static smft_status add_rules(smft__frames *frames, const rule *rules, size_t n, uint32_t flags,
                             const filling *with) {
  for (size_t i = 0; i < n; i++)
    if (!is_off(&rules[i], flags))
      SMFT__TRY(add_rule(frames, &rules[i], with));
  return SMFT_OK;
}

/* ---- a question ---------------------------------------------------------- */

/* The last character. */
static uint32_t last_of(const char *text, size_t n) {
  uint32_t code = 0;
  size_t at = n;
  while (at > 0 && ((unsigned char)text[--at] & 0xC0u) == 0x80u)
    continue;
  return smft__utf8_next(text + at, n - at, &code) ? code : 0;
}

static int is_question_mark(uint32_t code) { /* ?, full-width, Arabic, Greek */
  return code == '?' || code == 0xFF1F || code == 0x61F || code == 0x37E;
}

/* Bytes without question marks and the spaces before them. */
static size_t bare_length(const char *text, size_t n) {
  while (n > 0 && is_question_mark(last_of(text, n)))
    do
      n--;
    while (n > 0 && ((unsigned char)text[n] & 0xC0u) == 0x80u);
  while (n > 0 && text[n - 1] == ' ')
    n--;
  return n;
}

static int is_punctuation(uint32_t code) {
  int c = (int)utf8proc_category((utf8proc_int32_t)code);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

int smft__is_question(const char *text) {
  smft__sentence s;
  size_t n = strlen(text);
  while (n > 0 && strchr(" \t\r\n\"'", text[n - 1]))
    n--;
  if (is_question_mark(last_of(text, n)))
    return 1;
  return smft__sentence_read(&s, text, n, NULL) && smft__grammar_is_question(&s);
}

static void set(filling *with, int blank, const char *text) {
  with[blank] = (filling){text, strlen(text)};
}

/* What the rules of English say of it; nothing where it is none. */
static void fill_grammar(filling *with, const char *question, const smft__sentence *s,
                         const smft__grammar *g, const char *subject) {
  int32_t n, at = smft__grammar_subject(g, s, &n);
  set(with, STATEMENT, g->statements[0]);
  set(with, OTHER, g->statements[1]);
  set(with, INDIRECT, g->indirect);
  if (subject)
    set(with, SUBJECT, subject);
  else
    with[SUBJECT] = (filling){question + at, (size_t)n};
}

/* The question with a mark at its end. */
static smft_status put_asked(smft__buffer *out, const char *question, const smft__sentence *s) {
  size_t n = strlen(question);
  SMFT__TRY(smft__buffer_put(out, question, (int64_t)n));
  if (is_punctuation(last_of(question, n)))
    return SMFT_OK;
  int asks = s->n > 0 && smft__grammar_is_question(s) && !smft__grammar_is_order(s);
  return smft__buffer_put(out, asks ? "?" : ".", 1);
}

smft_status smft__frames_of_question(smft__frames *out, const char *question, const char *answer,
                                     const char *subject, uint32_t flags) {
  smft__sentence s = {0};
  smft__grammar g = {0};
  filling with[N_BLANKS + 1] = {{NULL, 0}};
  smft__buffer asked = {out->ctx, NULL, 0, 0};
  size_t n = strlen(question), bare = bare_length(question, n);
  if (smft__sentence_read(&s, question, n, subject))
    smft__grammar_read(&g, &s, answer);
  else
    s.n = s.n_subject = 0;
  set(with, QUESTION, question);
  with[BARE] = (filling){question, bare < n ? bare : 0};
  fill_grammar(with, question, &s, &g, subject);
  smft_status status = put_asked(&asked, question, &s);
  with[ASKED] = (filling){asked.data, (size_t)asked.length};
  if (status == SMFT_OK)
    status = add_rules(out, of_question, N_RULES(of_question), flags, with);
  smft__buffer_free(&asked);
  return status;
}

/* ---- prompts and statements ---------------------------------------------- */

smft_status smft__frames_of_prompt(smft__frames *out, const char *prompt, uint32_t flags) {
  filling with[N_BLANKS + 1] = {{NULL, 0}};
  set(with, QUESTION, prompt);
  return add_rules(out, of_question, N_PLAIN, flags, with);
}

/* Nothing but marks and white space. */
static int is_end(const char *text) { return text[strspn(text, " .!\n")] == '\0'; }

static smft_status add_statement(smft__frames *out, const char *statement, size_t at, size_t n) {
  char *before = smft__strdup(out->ctx, statement);
  char *rest = before ? smft__strdup(out->ctx, statement + at + n) : NULL;
  if (!rest) {
    smft__free(out->ctx, before);
    return SMFT_E_NOMEM;
  }
  before[at] = '\0';
  return add(out, SAID, before, "", rest);
}

/* The statement with ___ in place of its answer. */
static smft_status put_gap(smft__buffer *out, const char *statement, size_t at, size_t n) {
  SMFT__TRY(smft__buffer_put(out, statement, (int64_t)at));
  SMFT__TRY(smft__buffer_put(out, "___", 3));
  return smft__buffer_put(out, statement + at + n, (int64_t)strlen(statement + at + n));
}

smft_status smft__frames_of_statement(smft__frames *out, const char *statement, size_t at, size_t n,
                                      uint32_t flags) {
  filling with[N_BLANKS + 1] = {{NULL, 0}};
  smft__buffer gap = {out->ctx, NULL, 0, 0};
  size_t before = at;
  if (!(flags & SMFT_WORDINGS_NO_TEXT))
    SMFT__TRY(add_statement(out, statement, at, n));
  while (before > 0 && statement[before - 1] == ' ')
    before--;
  flags &= ~SMFT_WORDINGS_NO_STATEMENTS; /* there is nothing else */
  with[STATEMENT] = (filling){statement, is_end(statement + at + n) ? before : 0};
  smft_status status = put_gap(&gap, statement, at, n);
  with[GAP] = (filling){gap.data, (size_t)gap.length};
  if (status == SMFT_OK)
    status = add_rules(out, of_statement, N_RULES(of_statement), flags, with);
  smft__buffer_free(&gap);
  return status;
}
