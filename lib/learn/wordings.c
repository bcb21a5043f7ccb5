/* wordings: a fact's frames as token ids, raw and in the model's own chat template.  Owns
 * smft_wordings_*, and when a fact that came in one wording is learnt through its frames.  Does not
 * own: the frames' texts (frames.c), how a text becomes tokens that are learnt (facts.c), chat
 * templates (data/tokenizer/chat.c). */
#include "learn/wordings.h"
#include "base/alloc.h"
#include "learn/others.h"
#include <stddef.h>
#include <string.h>

#define KNOWN_FLAGS (SMFT_WORDINGS_NO_TEXT | SMFT_WORDINGS_NO_CHATS | SMFT_WORDINGS_NO_STATEMENTS)

/* ---- one frame ----------------------------------------------------------- */

typedef struct framing { /* frames being made into a fact */
  const smft_model *model;
  const smft_chat_options *chat; /* NULL: the model's own */
  const char *answer;
  const char *end; /* of raw questions and prompts; NULL: the frame's */
  int64_t most;    /* wordings; 0: all */
  int keep_first;  /* the first must fit, as it is the host's own */
  int chats;       /* there is a template */
  /* a question, which is asked about others, too, and its subject, or NULL; NULL: it is none */
  const char *asked, *subject;
} framing;

/* The answer's turn, and what ends it: where no template says what, the model's first stop. */
static smft_status add_chat(smft__fact_maker *make, const framing *f, const char *prompt) {
  smft__ids given = {make->ctx, NULL, 0, 0}, reply = {make->ctx, NULL, 0, 0};
  smft_ids_wording wording = SMFT_IDS_WORDING_INIT;
  int ends = 0;
  smft_status status =
      smft__tokenizer_ask(f->model->tokenizer, f->chat, prompt, f->answer, &given, &reply, &ends);
  if (status == SMFT_OK && !ends && f->model->config.n_stops > 0)
    status = smft__ids_put(&reply, f->model->config.stops[0]);
  wording.prompt = given.data;
  wording.n_prompt = given.n;
  wording.answer = reply.data;
  wording.n_answer = reply.n;
  if (status == SMFT_OK)
    status = smft__fact_add_ids(make, &wording);
  smft__ids_free(&given);
  smft__ids_free(&reply);
  return status;
}

static smft_status add_statement(smft__fact_maker *make, const framing *f,
                                 const smft__frame *frame) {
  smft_wording wording = SMFT_WORDING_INIT;
  smft__buffer text = {make->ctx, NULL, 0, 0};
  smft_status status = smft__buffer_printf(&text, "%s%s%s", frame->prompt, f->answer, frame->rest);
  wording.statement = text.data;
  wording.answer = f->answer;
  wording.end = f->end;
  if (status == SMFT_OK)
    status = smft__fact_add_text(make, &wording);
  smft__buffer_free(&text);
  return status;
}

static smft_status add_frame(smft__fact_maker *make, const framing *f, const smft__frame *frame) {
  smft_wording wording = SMFT_WORDING_INIT;
  if (frame->kind == SMFT_FRAME_CHAT)
    return add_chat(make, f, frame->prompt);
  if (frame->rest)
    return add_statement(make, f, frame);
  wording.prompt = frame->prompt;
  wording.answer = f->answer;
  wording.end = frame->end ? frame->end : f->end;
  return smft__fact_add_text(make, &wording);
}

/* ---- all of them --------------------------------------------------------- */

static void remove_frame(smft__frames *frames, int64_t i) {
  smft__frame gone = frames->list[i];
  memmove(&frames->list[i], &frames->list[i + 1],
          (size_t)(frames->n - i - 1) * sizeof *frames->list);
  frames->list[frames->n - 1] = gone;
  smft__frames_drop(frames);
}

/* One of so many may be beyond reach: few rows are eligible where its words are common.  To drive
 * those few until it is learnt, or to give the fact up for it, would cost more than it is worth. */
#define ONE_SPARED_OF 8

/* A frame that is longer than the context, or of which nothing can be learnt, is left out. */
static smft_status add_frames(smft__fact_maker *make, const framing *f, smft__frames *frames) {
  smft_status status = SMFT_OK;
  for (int64_t i = 0; i < frames->n;) {
    int64_t before = make->fact->n_wordings;
    if (f->most > 0 && before >= f->most) {
      smft__frames_drop(frames);
      continue;
    }
    status = add_frame(make, f, &frames->list[i]);
    if (status == SMFT_E_CONTEXT && !(f->keep_first && i == 0))
      smft__fact_drop(make);
    else if (status != SMFT_OK)
      return status;
    if (make->fact->n_wordings > before)
      i++;
    else
      remove_frame(frames, i);
  }
  return make->fact->n_wordings > 0 ? SMFT_OK : status;
}

/* ---- the question about others ------------------------------------------- */

/* The message as it stands before an answer opens. */
static smft_status put_question(const framing *f, const char *question, smft__ids *ids) {
  smft__ids reply = {ids->ctx, NULL, 0, 0};
  int ends = 0;
  smft_status status =
      f->chats ? smft__tokenizer_ask(f->model->tokenizer, f->chat, question, "", ids, &reply, &ends)
               : smft__tokenizer_encode(f->model->tokenizer, question, strlen(question),
                                        SMFT_ENCODE_PROMPT | SMFT_ENCODE_NO_PARSE, ids);
  smft__ids_free(&reply);
  return status;
}

/* One that is longer than the context, or that the tokenizer does not take, is left out. */
static smft_status add_other(smft__fact *fact, const framing *f, const char *question) {
  smft__ids *ids = &fact->others.ids;
  int64_t begin = ids->n;
  smft_status status = put_question(f, question, ids);
  if (status == SMFT_OK && ids->n > begin && ids->n - begin <= f->model->config.context)
    return smft__fact_end_other(fact);
  ids->n = begin;
  return status == SMFT_E_NOMEM ? status : SMFT_OK;
}

static smft_status add_by_token(smft__fact *fact, const framing *f) {
  smft__ids own = {f->model->ctx, NULL, 0, 0};
  smft_status status = put_question(f, f->asked, &own);
  if (status == SMFT_OK)
    status = smft__others_by_token(fact, own.data, own.n, f->model->config.context);
  smft__ids_free(&own);
  return status == SMFT_E_NOMEM ? status : SMFT_OK;
}

/* Namesakes by word, or by token where the subject is one word. */
static smft_status add_others(smft__fact *fact, const framing *f) {
  smft__frames questions = {f->model->ctx, NULL, 0, 0};
  smft_status status = smft__others_by_name(&questions, f->asked, f->subject);
  int64_t n_by_name = questions.n;
  if (status == SMFT_OK)
    status = smft__others_by_word(&questions, f->asked, f->subject);
  for (int64_t i = 0; i < questions.n && status == SMFT_OK; i++)
    status = add_other(fact, f, questions.list[i].prompt);
  if (status == SMFT_OK && questions.n == n_by_name)
    status = add_by_token(fact, f);
  smft__frames_free(&questions);
  return status;
}

/* ---- a fact -------------------------------------------------------------- */

static smft_status make_fact(smft__fact **out, const framing *f, smft__frames *frames,
                             const char *id, int loss_all) {
  smft__fact_maker make = {0};
  *out = NULL;
  smft_status status = smft__fact_begin(&make, f->model, id, frames->n, loss_all);
  if (status == SMFT_OK)
    status = add_frames(&make, f, frames);
  if (status == SMFT_OK)
    make.fact->n_spared = make.fact->n_wordings / ONE_SPARED_OF;
  if (status == SMFT_OK && f->asked)
    status = add_others(make.fact, f);
  if (status == SMFT_OK && make.fact->n_wordings == 0)
    status =
        smft__fail(SMFT_E_FACT, "fact \"%s\": nothing can be learnt of any of its wordings", id);
  return smft__fact_end(&make, status, out);
}

/* ---- what is given ------------------------------------------------------- */

static smft_status check_text(const char *text, const char *what) {
  size_t n = text ? strlen(text) : 0, bad = 0;
  SMFT__REQUIRE(text, "smft_wordings: %s is NULL", what);
  if (n > SMFT__FRAMES_BYTES)
    return smft__fail(SMFT_E_FACT, "smft_wordings: %s has %zu bytes, at most %d are taken", what, n,
                      SMFT__FRAMES_BYTES);
  if (!smft__utf8_valid(text, n, &bad))
    return smft__fail(SMFT_E_ENCODING, "smft_wordings: %s is not valid UTF-8 at byte %zu", what,
                      bad);
  return SMFT_OK;
}

/* A copy without white space at its ends. */
static smft_status trimmed(char **out, smft_ctx *ctx, const char *text, const char *what) {
  *out = NULL;
  SMFT__TRY(check_text(text, what));
  size_t skip = strspn(text, " \t\r\n"), n = strlen(text + skip);
  while (n > 0 && strchr(" \t\r\n", text[skip + n - 1]))
    n--;
  if (n == 0)
    return smft__fail(SMFT_E_FACT, "smft_wordings: %s is empty", what);
  char *copy = *out = smft__alloc_array(ctx, (int64_t)n + 1, 1);
  if (!copy)
    return SMFT_E_NOMEM;
  memcpy(copy, text + skip, n);
  copy[n] = '\0';
  return SMFT_OK;
}

static smft_status read_options(smft_wordings_options *own, const smft_wordings_options *options) {
  SMFT__TRY(smft__options_read(own, options, sizeof *own, sizeof *own, "smft_wordings_options"));
  SMFT__REQUIRE((own->flags & ~KNOWN_FLAGS) == 0,
                "smft_wordings_options.flags: unknown bits in 0x%x", (unsigned)own->flags);
  SMFT__REQUIRE(own->limit >= 0, "smft_wordings_options.limit: expected a number, got %lld",
                (long long)own->limit);
  return own->subject ? check_text(own->subject, "the subject") : SMFT_OK;
}

/* No chats where the model has no template that is known, unless options name a renderer. */
static void leave_out_chats(smft_wordings_options *own, const smft_model *model) {
  int named = own->chat && own->chat->renderer;
  if (!named && !smft__tokenizer_has_chat(model->tokenizer))
    own->flags |= SMFT_WORDINGS_NO_CHATS;
}

static int has_chats(const smft_wordings_options *own) {
  return !(own->flags & SMFT_WORDINGS_NO_CHATS);
}

static smft_status check_model(const smft_model *model) {
  SMFT__REQUIRE(model, "smft_wordings: model is NULL");
  if (!model->tokenizer)
    return smft__fail(SMFT_E_UNSUPPORTED, "smft_wordings: the model has no tokenizer");
  return SMFT_OK;
}

/* ---- the list ------------------------------------------------------------ */

static smft_status list_create(smft_wordings **out, const smft_model *model, const char *answer) {
  smft_wordings *list = smft__calloc_array(model->ctx, 1, sizeof *list);
  if (!list)
    return SMFT_E_NOMEM;
  list->ctx = smft__ctx_retain(model->ctx);
  list->model = smft__model_retain(model);
  list->frames.ctx = list->ctx;
  *out = list;
  return trimmed(&list->answer, list->ctx, answer, "the answer");
}

void smft_wordings_free(smft_wordings *list) {
  if (!list)
    return;
  smft_ctx *ctx = list->ctx;
  smft__frames_free(&list->frames);
  smft__fact_free(list->fact, ctx);
  smft__free(ctx, list->answer);
  smft_model_free(list->model);
  smft__free(ctx, list);
  smft__ctx_release(ctx);
}

/* With the frames that were found. */
static smft_status finish(smft_wordings *list, const smft_wordings_options *own, const char *asked,
                          smft_status status) {
  framing f = {list->model, own->chat,      list->answer, NULL,        own->limit,
               0,           has_chats(own), asked,        own->subject};
  SMFT__TRY(status);
  if (list->frames.n == 0)
    return smft__fail(SMFT_E_FACT, "smft_wordings: the flags (0x%x) and the model leave no frame",
                      (unsigned)own->flags);
  return make_fact(&list->fact, &f, &list->frames, "", 0);
}

/* Frames of a text of one kind: a question, a statement. */
typedef smft_status (*frame_fn)(smft__frames *frames, const char *text, const char *answer,
                                const char *subject, uint32_t flags);

static smft_status make_list(smft_wordings **out, const smft_model *model, const char *text,
                             const char *what, const char *answer,
                             const smft_wordings_options *options, frame_fn frame) {
  smft_wordings_options own = SMFT_WORDINGS_OPTIONS_INIT;
  smft_wordings *list = NULL;
  char *own_text = NULL;
  SMFT__TRY(check_model(model));
  SMFT__TRY(read_options(&own, options));
  leave_out_chats(&own, model);
  smft_status status = list_create(&list, model, answer);
  if (status == SMFT_OK)
    status = trimmed(&own_text, model->ctx, text, what);
  if (status == SMFT_OK)
    status = frame(&list->frames, own_text, list->answer, own.subject, own.flags);
  if (list)
    status = finish(list, &own, frame == smft__frames_of_question ? own_text : NULL, status);
  smft__free(model->ctx, own_text);
  if (status == SMFT_OK)
    *out = list;
  else
    smft_wordings_free(list);
  return status;
}

smft_status smft_wordings_from_qa(smft_wordings **out, const smft_model *model,
                                  const char *question, const char *answer,
                                  const smft_wordings_options *options) {
  SMFT__REQUIRE(out, "smft_wordings_from_qa: out is NULL");
  *out = NULL;
  return make_list(out, model, question, "the question", answer, options, smft__frames_of_question);
}

/* The last place of the answer, as smft_learner_push has it. */
static const char *last_place(const char *statement, const char *answer) {
  const char *found = NULL;
  for (const char *at = strstr(statement, answer); at; at = strstr(at + 1, answer))
    found = at;
  return found;
}

/* No frame of a statement names its subject. */
static smft_status frame_statement(smft__frames *frames, const char *statement, const char *answer,
                                   const char *subject, uint32_t flags) {
  const char *at = last_place(statement, answer);
  (void)subject;
  if (!at)
    return smft__fail(SMFT_E_FACT, "smft_wordings: the answer \"%.200s\" is not in the statement",
                      answer);
  return smft__frames_of_statement(frames, statement, (size_t)(at - statement), strlen(answer),
                                   flags);
}

smft_status smft_wordings_from_statement(smft_wordings **out, const smft_model *model,
                                         const char *statement, const char *answer,
                                         const smft_wordings_options *options) {
  SMFT__REQUIRE(out, "smft_wordings_from_statement: out is NULL");
  *out = NULL;
  return make_list(out, model, statement, "the statement", answer, options, frame_statement);
}

int64_t smft_wordings_count(const smft_wordings *list) { return list ? list->frames.n : 0; }

smft_status smft_wordings_get(const smft_wordings *list, int64_t index, smft_wording_info *info) {
  smft_wording_info own = SMFT_WORDING_INFO_INIT;
  SMFT__REQUIRE(list && info, "smft_wordings_get: a NULL argument");
  if (index < 0 || index >= list->frames.n)
    return smft__fail(SMFT_E_NOT_FOUND, "smft_wordings_get: there are %lld wordings, got %lld",
                      (long long)list->frames.n, (long long)index);
  const smft__frame *frame = &list->frames.list[index];
  const smft__fact *fact = list->fact;
  int64_t begin = fact->offsets[index], end = fact->offsets[index + 1], at = begin;
  while (at < end && !(fact->weights[at] > 0))
    at++;
  while (end > at && !(fact->weights[end - 1] > 0)) /* the rest of a statement */
    end--;
  own.kind = frame->kind;
  own.prompt = frame->prompt;
  own.answer = list->answer;
  own.end = frame->rest                      ? frame->rest
            : frame->end                     ? frame->end
            : frame->kind == SMFT_FRAME_CHAT ? ""
                                             : "\n";
  own.prompt_ids = fact->ids.data + begin;
  own.n_prompt_ids = at - begin;
  own.answer_ids = fact->ids.data + at;
  own.n_answer_ids = end - at;
  return smft__report_write(info, &own, sizeof own, sizeof own, "smft_wording_info");
}

/* ---- a fact that came in one wording ------------------------------------- */

/* Text that frames can be put around: one line, and the host did not say how it is to stand. */
static int is_plain(const smft_wording *w) {
  const char *text = w->prompt ? w->prompt : w->statement;
  if (w->flags || !text || !text[0] || (w->prompt && w->statement) || !w->answer || !w->answer[0])
    return 0;
  if (strchr(text, '\n') || strchr(w->answer, '\n'))
    return 0; /* a frame already */
  return strlen(text) <= SMFT__FRAMES_BYTES && strlen(w->answer) <= SMFT__FRAMES_BYTES &&
         smft__utf8_valid(text, strlen(text), NULL) &&
         smft__utf8_valid(w->answer, strlen(w->answer), NULL) &&
         text[strspn(text, " \t\r\n")] != '\0' && w->answer[strspn(w->answer, " \t\r\n")] != '\0';
}

static smft_status find_frames(smft__frames *frames, const smft_wording *w, const char *text,
                               const char *answer, const char *subject, uint32_t flags) {
  if (w->statement)
    return frame_statement(frames, text, answer, subject, flags);
  if (smft__is_question(text))
    return smft__frames_of_question(frames, text, answer, subject, flags);
  return smft__frames_of_prompt(frames, text, flags);
}

static smft_status from_frames(smft__fact **out, const smft_model *model, const char *id,
                               const smft_wording *w, const char *subject, int loss_all) {
  smft_wordings_options own = SMFT_WORDINGS_OPTIONS_INIT;
  smft__frames frames = {model->ctx, NULL, 0, 0};
  char *text = NULL, *answer = NULL;
  leave_out_chats(&own, model);
  smft_status status =
      trimmed(&text, model->ctx, w->prompt ? w->prompt : w->statement, "the wording");
  if (status == SMFT_OK)
    status = trimmed(&answer, model->ctx, w->answer, "the answer");
  if (status == SMFT_OK)
    status = find_frames(&frames, w, text, answer, subject, own.flags);
  int asks = !w->statement && text && smft__is_question(text);
  framing f = {model, NULL, answer, w->end, 0, 1, has_chats(&own), asks ? text : NULL, subject};
  if (status == SMFT_OK)
    status = make_fact(out, &f, &frames, id, loss_all);
  smft__frames_free(&frames);
  smft__free(model->ctx, text);
  smft__free(model->ctx, answer);
  return status;
}

smft_status smft__fact_from_wordings(smft__fact **out, const smft_model *model, const char *id,
                                     const smft_wording *wordings, int64_t n, const char *subject,
                                     uint32_t how) {
  smft_wording one = SMFT_WORDING_INIT;
  int loss_all = (how & SMFT__FACT_LOSS_ALL) != 0;
  if (n != 1 || !(how & SMFT__FACT_FRAMES) || !id || !wordings || !model->tokenizer)
    return smft__fact_from_text(out, model, id, wordings, n, loss_all);
  *out = NULL;
  SMFT__TRY(smft__options_read(&one, wordings, sizeof one, sizeof one, "smft_wording"));
  if (!is_plain(&one))
    return smft__fact_from_text(out, model, id, wordings, n, loss_all);
  return from_frames(out, model, id, &one, subject, loss_all);
}
