/* facts: turns what a host says about a fact into token sequences and loss weights.  Owns the cut
 * into prompt, answer and end, which wordings cannot be learnt, and every complaint about a fact;
 * does not own the queue (queue.c) nor the tokenizer, which says where a space stands (join.c). */
#include "learn/facts.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include <string.h>

typedef smft__fact_maker maker;

typedef struct piece { /* of a wording's text */
  const char *text;
  size_t length;
  uint32_t flags;
  int learnt;
} piece;

void smft__fact_free(smft__fact *fact, smft_ctx *ctx) {
  if (!fact)
    return;
  smft__free(ctx, fact->id);
  smft__free(ctx, fact->weights);
  smft__free(ctx, fact->offsets);
  smft__ids_free(&fact->ids);
  smft__ids_free(&fact->others.ids);
  smft__free(ctx, fact->others.offsets);
  smft__free(ctx, fact);
}

smft_status smft__fact_begin(maker *make, const smft_model *model, const char *id, int64_t n,
                             int loss_all) {
  size_t bad = 0;
  SMFT__REQUIRE(id, "fact: its id is NULL");
  if (!smft__utf8_valid(id, strlen(id), &bad))
    return smft__fail(SMFT_E_ENCODING, "fact: its id is not valid UTF-8 at byte %zu", bad);
  if (n <= 0)
    return smft__fail(SMFT_E_FACT, "fact \"%s\": it has no wording", id);
  make->model = model;
  make->ctx = model->ctx;
  make->loss_all = loss_all;
  smft__fact *fact = make->fact = smft__calloc_array(make->ctx, 1, sizeof *fact);
  if (!fact)
    return SMFT_E_NOMEM;
  fact->ids.ctx = fact->others.ids.ctx = make->ctx;
  fact->id = smft__strdup(make->ctx, id);
  fact->offsets = smft__calloc_array(make->ctx, n + 1, sizeof *fact->offsets);
  return fact->id && fact->offsets ? SMFT_OK : SMFT_E_NOMEM;
}

/* Weights of the ids that came since the last call. */
static smft_status put_weights(maker *make, int learnt) {
  smft__fact *fact = make->fact;
  SMFT__TRY(smft__grow(make->ctx, &fact->weights, &fact->weights_capacity, fact->ids.n,
                       sizeof *fact->weights));
  for (; fact->n_tokens < fact->ids.n; fact->n_tokens++)
    fact->weights[fact->n_tokens] = learnt || make->loss_all ? 1.0f : 0.0f;
  return SMFT_OK;
}

/* Of the wording that is being made, as the host counts them. */
static long long number_of(const maker *make) {
  return (long long)(make->fact->n_wordings + make->fact->n_left_out);
}

static int64_t begin_of(const smft__fact *fact) { return fact->offsets[fact->n_wordings]; }

static smft_status check_length(const maker *make) {
  int64_t n = make->fact->n_tokens - begin_of(make->fact);
  if (n > make->model->config.context)
    return smft__fail(SMFT_E_CONTEXT,
                      "fact \"%s\", wording %lld: it has %lld tokens, the model's context holds %d",
                      make->fact->id, number_of(make), (long long)n,
                      (int)make->model->config.context);
  return SMFT_OK;
}

static smft_status end_wording(maker *make) {
  smft__fact *fact = make->fact;
  int64_t begin = begin_of(fact), n = fact->n_tokens - begin;
  double learnt = 0;
  SMFT__TRY(check_length(make));
  if (n > 0)
    fact->weights[begin] = 0; /* nothing stands before it */
  for (int64_t i = begin; i < fact->n_tokens; i++)
    learnt += (double)fact->weights[i];
  if (learnt == 0)
    return smft__fail(SMFT_E_FACT,
                      "fact \"%s\", wording %lld: no token of it can be learnt (%lld tokens; the "
                      "first one is only given)",
                      fact->id, number_of(make), (long long)n);
  fact->n_wordings++;
  fact->offsets[fact->n_wordings] = fact->n_tokens;
  return SMFT_OK;
}

int64_t smft__ids_in_common(const int32_t *left, const int32_t *right, int64_t most) {
  int64_t n = 0;
  while (n < most && left[n] == right[n])
    n++;
  return n;
}

smft_status smft__fact_end_other(smft__fact *fact) {
  smft__others *others = &fact->others;
  SMFT__TRY(smft__grow(others->ids.ctx, &others->offsets, &others->capacity, others->n + 2,
                       sizeof *others->offsets));
  if (others->n == 0)
    others->offsets[0] = 0;
  others->offsets[++others->n] = others->ids.n;
  return SMFT_OK;
}

smft_status smft__fact_end(maker *make, smft_status status, smft__fact **out) {
  if (status != SMFT_OK)
    smft__fact_free(make->fact, make->ctx);
  else
    *out = make->fact;
  return status;
}

/* ---- text ---------------------------------------------------------------- */

static smft_status put_piece(maker *make, const piece *p) {
  uint32_t flags = p->flags | SMFT_ENCODE_NO_PARSE;
  smft_status status =
      smft__tokenizer_encode(make->model->tokenizer, p->text, p->length, flags, &make->fact->ids);
  if (status != SMFT_OK)
    return smft__fail_within(status, "fact \"%s\", wording %lld", make->fact->id, number_of(make));
  return put_weights(make, p->learnt);
}

/* Last occurrence, or NULL. */
static const char *find_last(const char *text, const char *part) {
  const char *found = NULL;
  for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
    found = at;
  return found;
}

/* The answer's tokens begin with its space, as they do in running text: a space before it is the
 * answer's, not the prompt's.  join: where there is none, one is put if running text has it. */
static smft_status put_prompt_and_answer(maker *make, const char *prompt, size_t n_prompt,
                                         const char *answer, size_t n_answer, int join) {
  int move = n_prompt > 0 && prompt[n_prompt - 1] == ' ' && answer[0] != ' ';
  piece before = {prompt, n_prompt - (move ? 1 : 0), SMFT_ENCODE_PROMPT, 0};
  piece span = {answer, n_answer, n_prompt > 0 ? SMFT_ENCODE_CONTINUE : 0, 1};
  SMFT__TRY(put_piece(make, &before));
  if (!move && !(join && smft__text_needs_space(prompt, n_prompt, answer, n_answer)))
    return put_piece(make, &span);
  smft__buffer joined = {make->ctx, NULL, 0, 0};
  smft_status status = smft__buffer_put(&joined, " ", 1);
  if (status == SMFT_OK)
    status = smft__buffer_put(&joined, answer, (int64_t)n_answer);
  span.text = joined.data;
  span.length++;
  if (status == SMFT_OK)
    status = put_piece(make, &span);
  smft__buffer_free(&joined);
  return status;
}

static smft_status put_statement(maker *make, const smft_wording *w) {
  const char *at = find_last(w->statement, w->answer);
  if (!at)
    return smft__fail(SMFT_E_FACT,
                      "fact \"%s\", wording %lld: the answer \"%s\" is not in the statement \"%s\"",
                      make->fact->id, number_of(make), w->answer, w->statement);
  size_t length = strlen(w->answer);
  piece after = {at + length, strlen(at + length), SMFT_ENCODE_CONTINUE, 0};
  SMFT__TRY(
      put_prompt_and_answer(make, w->statement, (size_t)(at - w->statement), w->answer, length, 0));
  return after.length ? put_piece(make, &after) : SMFT_OK;
}

/* What the tokenizer puts after a text ends the answer as `text` does, and is learnt with it; after
 * the rest of a statement it is not. */
static smft_status put_end(maker *make, const char *text) {
  smft__fact *fact = make->fact;
  piece end = {text, strlen(text), SMFT_ENCODE_CONTINUE, 1};
  if (end.length)
    SMFT__TRY(put_piece(make, &end));
  int learnt = fact->n_tokens > 0 && fact->weights[fact->n_tokens - 1] > 0;
  SMFT__TRY(smft__tokenizer_put_end(make->model->tokenizer, &fact->ids));
  return put_weights(make, learnt);
}

/* The tokenizer puts nothing before a text, and the answer stands first: nobody predicts its first
 * token. */
static int opens_with_answer(const maker *make) {
  const smft__fact *fact = make->fact;
  int64_t begin = begin_of(fact);
  return !make->loss_all && fact->n_tokens > begin && fact->weights[begin] > 0;
}

void smft__fact_drop(maker *make) {
  make->fact->ids.n = make->fact->n_tokens = begin_of(make->fact);
}

static void leave_out(maker *make) {
  smft__fact *fact = make->fact;
  smft__log(make->ctx, 2,
            "fact \"%s\": wording %lld is left out: its answer opens the text, and this tokenizer "
            "puts nothing before it",
            fact->id, number_of(make));
  smft__fact_drop(make);
  fact->n_left_out++;
}

smft_status smft__fact_add_text(maker *make, const smft_wording *w) {
  long long number = number_of(make);
  SMFT__REQUIRE((w->flags & ~SMFT_WORDING_EXACT) == 0,
                "fact \"%s\", wording %lld: smft_wording.flags: unknown bits in 0x%x",
                make->fact->id, number, (unsigned)w->flags);
  SMFT__REQUIRE(!w->prompt || !w->statement,
                "fact \"%s\", wording %lld: it has a prompt and a statement; give one",
                make->fact->id, number);
  SMFT__REQUIRE(w->prompt || w->statement,
                "fact \"%s\", wording %lld: it has neither a prompt nor a statement",
                make->fact->id, number);
  if (!w->answer || !w->answer[0])
    return smft__fail(SMFT_E_FACT, "fact \"%s\", wording %lld: its answer is empty", make->fact->id,
                      number);
  if (w->statement)
    SMFT__TRY(put_statement(make, w));
  else
    SMFT__TRY(put_prompt_and_answer(make, w->prompt, strlen(w->prompt), w->answer,
                                    strlen(w->answer), !(w->flags & SMFT_WORDING_EXACT)));
  SMFT__TRY(put_end(make, w->end ? w->end : w->statement ? "" : "\n"));
  SMFT__TRY(check_length(make));
  if (opens_with_answer(make))
    return leave_out(make), SMFT_OK;
  return end_wording(make);
}

static smft_status check_some_left(const maker *make) {
  if (make->fact->n_wordings == 0)
    return smft__fail(
        SMFT_E_FACT,
        "fact \"%s\": in each of its %lld wordings the answer opens the text, and this tokenizer "
        "puts nothing before a text, so the answer's first token cannot be learnt; give a prompt, "
        "or a statement in which the answer comes later",
        make->fact->id, (long long)make->fact->n_left_out);
  return SMFT_OK;
}

/* Element i of an array whose elements are as large as the caller's header says. */
static void element_of(void *own, size_t known, const void *array, int64_t i) {
  uint32_t stride;
  memcpy(&stride, array, sizeof stride);
  memcpy(own, (const char *)array + (size_t)i * stride, stride < known ? stride : known);
}

smft_status smft__fact_from_text(smft__fact **out, const smft_model *model, const char *id,
                                 const smft_wording *wordings, int64_t n, int loss_all) {
  maker make = {0};
  *out = NULL;
  smft_wording first = SMFT_WORDING_INIT;
  if (!model->tokenizer)
    return smft__fail(SMFT_E_UNSUPPORTED, "fact \"%s\": the model has no tokenizer; push token ids",
                      id ? id : "");
  SMFT__REQUIRE(wordings || n == 0, "fact \"%s\": wordings is NULL", id ? id : "");
  smft_status status = smft__fact_begin(&make, model, id, n, loss_all);
  if (status == SMFT_OK)
    status = smft__options_read(&first, wordings, sizeof first, sizeof first, "smft_wording");
  for (int64_t i = 0; i < n && status == SMFT_OK; i++) {
    smft_wording wording = SMFT_WORDING_INIT;
    element_of(&wording, sizeof wording, wordings, i);
    status = smft__fact_add_text(&make, &wording);
  }
  if (status == SMFT_OK)
    status = check_some_left(&make);
  return smft__fact_end(&make, status, out);
}

/* ---- token ids ----------------------------------------------------------- */

static smft_status put_ids(maker *make, const int32_t *ids, int64_t n, int learnt) {
  SMFT__REQUIRE(n >= 0 && (ids || n == 0),
                "fact \"%s\", wording %lld: ids are NULL or their number is negative (%lld)",
                make->fact->id, number_of(make), (long long)n);
  for (int64_t i = 0; i < n; i++) {
    if (ids[i] < 0 || ids[i] >= make->model->config.vocab)
      return smft__fail(SMFT_E_TOKEN,
                        "fact \"%s\", wording %lld: token id %d is outside the vocabulary of %d",
                        make->fact->id, number_of(make), (int)ids[i],
                        (int)make->model->config.vocab);
    SMFT__TRY(smft__ids_put(&make->fact->ids, ids[i]));
  }
  return put_weights(make, learnt);
}

smft_status smft__fact_add_ids(maker *make, const smft_ids_wording *w) {
  SMFT__TRY(smft__reserved_check(w->reserved, "smft_ids_wording"));
  if (w->n_answer == 0)
    return smft__fail(SMFT_E_FACT, "fact \"%s\", wording %lld: its answer is empty", make->fact->id,
                      number_of(make));
  SMFT__TRY(put_ids(make, w->prompt, w->n_prompt, 0));
  SMFT__TRY(put_ids(make, w->answer, w->n_answer, 1));
  return end_wording(make);
}

smft_status smft__fact_from_ids(smft__fact **out, const smft_model *model, const char *id,
                                const smft_ids_wording *wordings, int64_t n, int loss_all) {
  maker make = {0};
  *out = NULL;
  smft_ids_wording first = {sizeof first, 0, NULL, 0, NULL, 0};
  SMFT__REQUIRE(wordings || n == 0, "fact \"%s\": wordings is NULL", id ? id : "");
  smft_status status = smft__fact_begin(&make, model, id, n, loss_all);
  if (status == SMFT_OK)
    status = smft__options_read(&first, wordings, sizeof first, sizeof first, "smft_ids_wording");
  for (int64_t i = 0; i < n && status == SMFT_OK; i++) {
    smft_ids_wording wording = {sizeof wording, 0, NULL, 0, NULL, 0};
    element_of(&wording, sizeof wording, wordings, i);
    status = smft__fact_add_ids(&make, &wording);
  }
  return smft__fact_end(&make, status, out);
}

/* ---- a copy -------------------------------------------------------------- */

/* Weights of the first n wordings: what is learnt of them, or all but their first tokens. */
static void set_weights(const maker *make, const smft__fact *from) {
  smft__fact *fact = make->fact;
  for (int64_t i = 0; i < fact->n_tokens; i++)
    fact->weights[i] = make->loss_all ? 1.0f : from->weights[i];
  for (int64_t w = 0; w < fact->n_wordings; w++)
    fact->weights[fact->offsets[w]] = 0; /* nothing stands before it */
}

static smft_status copy_others(smft__fact *fact, const smft__others *from) {
  for (int64_t s = 0; s < from->n; s++) {
    SMFT__TRY(smft__ids_put_all(&fact->others.ids, from->ids.data + from->offsets[s],
                                from->offsets[s + 1] - from->offsets[s]));
    SMFT__TRY(smft__fact_end_other(fact));
  }
  return SMFT_OK;
}

smft_status smft__fact_copy(smft__fact **out, const smft_model *model, const smft__fact *from,
                            const char *id, int loss_all) {
  maker make = {0};
  *out = NULL;
  smft_status status = smft__fact_begin(&make, model, id, from->n_wordings, loss_all);
  if (status == SMFT_OK)
    status = smft__ids_put_all(&make.fact->ids, from->ids.data, from->n_tokens);
  if (status == SMFT_OK)
    status = put_weights(&make, 0);
  if (status == SMFT_OK)
    status = copy_others(make.fact, &from->others);
  if (status == SMFT_OK) {
    memcpy(make.fact->offsets, from->offsets,
           (size_t)(from->n_wordings + 1) * sizeof *from->offsets);
    make.fact->n_wordings = from->n_wordings;
    make.fact->n_left_out = from->n_left_out, make.fact->n_spared = from->n_spared;
    set_weights(&make, from);
  }
  return smft__fact_end(&make, status, out);
}
