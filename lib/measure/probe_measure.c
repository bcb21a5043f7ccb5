/* probe_measure: one pass over a probe's items with a session.  Owns smft_probe_baseline and
 * smft_probe_measure.
 *
 * Questions  greedy generation, scored by score.h.
 * Texts      NLL of every token after the first, and KL(base || patched) of the same distributions;
 *            the base runs beside in a session of its own that lives as long as the call.  Logits
 *            are held for a chunk of positions, never for a whole text.  A text longer than the
 *            session's context is cut into windows, each predicted from its own beginning: a window
 *            starts with begin-of-text where the tokenizer adds one, else with the last token of
 *            the window before, so that every token is still predicted exactly once.
 * Choices    mean log-likelihood per token of each ending after the prompt; the highest wins, the
 *            first of equals.  A space at the prompt's end belongs to the endings (unless one of
 *            them begins with its own), and one is put where running text has it, as for facts.
 * Text in items is ordinary text: special tokens written in it are not parsed.
 * A failed or cancelled pass leaves the values of before: all results go into a list of their own,
 * which takes their place at the end. */
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "data/tokenizer.h"
#include "measure/probe.h"
#include "measure/score.h"
#include "model/session.h"
#include "nn/loss.h"
#include <math.h>
#include <string.h>

#define CHUNK_POSITIONS 64
/* at most so many logits at once where the vocabulary is large */
#define CHUNK_FLOATS (4 << 20)

typedef struct pass {
  smft_probe *probe;
  smft_session *session;
  smft_session *base; /* KL only; made for the first text */
  const smft_model *model;
  const smft_tokenizer *tokenizer;
  int with_kl;                  /* 0: nothing is patched, KL is 0 */
  int64_t context, vocab, rows; /* rows: positions in a chunk */
  float *logits;                /* (rows, vocab) */
  float *base_logits;           /* (rows, vocab) */
  float *nll;                   /* (rows) */
  double *kl;                   /* (rows) */
  smft__ids ids, ending;        /* tokens of the item in hand */
  smft__buffer scratch;         /* text of the ending in hand */
  smft__probe_value *values;    /* (n) */
} pass;

/* ---- workspace ----------------------------------------------------------- */

static void pass_close(pass *run) {
  smft_ctx *ctx = run->probe->ctx;
  smft_session_free(run->base);
  smft__free(ctx, run->logits);
  smft__free(ctx, run->base_logits);
  smft__free(ctx, run->nll);
  smft__free(ctx, run->kl);
  smft__ids_free(&run->ids);
  smft__ids_free(&run->ending);
  smft__buffer_free(&run->scratch);
  smft__probe_values_free(ctx, run->values, run->probe->n);
}

static smft_status pass_allocate(pass *run) {
  smft_ctx *ctx = run->probe->ctx;
  int64_t floats = 0;
  if (!smft__mul_i64(run->rows, run->vocab, &floats))
    return smft__fail(SMFT_E_NOMEM,
                      "probe: logits of %lld positions of a vocabulary of %lld are too many",
                      (long long)run->rows, (long long)run->vocab);
  run->values = smft__calloc_array(ctx, run->probe->n, sizeof *run->values);
  run->logits = smft__alloc_array(ctx, floats, sizeof *run->logits);
  run->nll = smft__alloc_array(ctx, run->rows, sizeof *run->nll);
  return run->values && run->logits && run->nll ? SMFT_OK : SMFT_E_NOMEM;
}

static smft_status pass_open(pass *run, smft_probe *probe, smft_session *session) {
  smft_model_info info = {.struct_size = sizeof info};
  memset(run, 0, sizeof *run);
  run->probe = probe;
  run->session = session;
  run->ids.ctx = run->ending.ctx = run->scratch.ctx = probe->ctx;
  run->model = session->model;
  run->with_kl = session->patch != NULL;
  run->context = session->context;
  run->tokenizer = smft_model_tokenizer(run->model);
  if (!run->tokenizer)
    return smft__fail(
        SMFT_E_UNSUPPORTED,
        "a probe needs a model with a tokenizer: tokenizer.json is not in the model's directory");
  SMFT__TRY(smft_model_get_info(run->model, &info));
  run->vocab = info.vocab_size;
  run->rows = CHUNK_FLOATS / (run->vocab ? run->vocab : 1);
  run->rows = run->rows < 1 ? 1 : run->rows > CHUNK_POSITIONS ? CHUNK_POSITIONS : run->rows;
  return pass_allocate(run);
}

/* The unpatched model, with a cache as long as the session's. */
static smft_status open_base(pass *run) {
  smft_session_options options = SMFT_SESSION_OPTIONS_INIT;
  if (run->base)
    return SMFT_OK;
  options.context_length = (int32_t)run->context;
  run->base_logits =
      smft__alloc_array(run->probe->ctx, run->rows * run->vocab, sizeof *run->base_logits);
  run->kl = smft__alloc_array(run->probe->ctx, run->rows, sizeof *run->kl);
  if (!run->base_logits || !run->kl) /* what was made is freed by pass_close */
    return SMFT_E_NOMEM;
  return smft_session_create(&run->base, run->model, NULL, &options);
}

static smft_status encode(pass *run, const char *text, size_t length, uint32_t flags,
                          smft__ids *ids) {
  ids->n = 0;
  return smft__tokenizer_encode(run->tokenizer, text, length, flags | SMFT_ENCODE_NO_PARSE, ids);
}

/* ---- questions ----------------------------------------------------------- */

static smft_status measure_question(pass *run, const smft__probe_entry *entry,
                                    smft__probe_value *value) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  options.max_tokens = run->probe->options.max_tokens;
  options.stop = run->probe->options.stop;
  SMFT__TRY(smft__session_generate(run->session, entry->prompt, strlen(entry->prompt), &options,
                                   &text, NULL));
  value->text = smft__strdup(run->probe->ctx, text);
  if (!value->text)
    return SMFT_E_NOMEM;
  return smft__score(run->probe->ctx, value->text, (const char *const *)entry->options,
                     entry->n_options, &value->exact, &value->score);
}

/* ---- texts --------------------------------------------------------------- */

/* Feeds ids (n <= rows) to the session and, for KL, to the base, and adds up what they say of the n
 * tokens that follow each. */
static smft_status measure_chunk(pass *run, const int32_t *ids, int64_t n,
                                 smft__probe_value *value) {
  smft_ctx *ctx = run->probe->ctx;
  const int64_t floats = run->rows * run->vocab;
  SMFT__TRY(smft__session_feed(run->session, ids, n, SMFT_LOGITS_ALL, run->logits, floats));
  smft__nll_rows(ctx, run->logits, ids + 1, n, run->vocab, run->nll);
  for (int64_t i = 0; i < n; i++)
    value->nll_sum += (double)run->nll[i];
  value->tokens += n;
  if (!run->with_kl)
    return SMFT_OK;
  SMFT__TRY(smft__session_feed(run->base, ids, n, SMFT_LOGITS_ALL, run->base_logits, floats));
  smft__kl_rows(ctx, run->base_logits, run->logits, n, run->vocab, run->kl);
  for (int64_t i = 0; i < n; i++)
    value->kl_sum += run->kl[i];
  return SMFT_OK;
}

/* One window: ids (n + 1), of which all but the first are predicted. */
static smft_status measure_window(pass *run, const int32_t *ids, int64_t n,
                                  smft__probe_value *value) {
  SMFT__TRY(smft__session_rewind(run->session, 0));
  if (run->with_kl)
    SMFT__TRY(smft__session_rewind(run->base, 0));
  for (int64_t at = 0; at < n; at += run->rows)
    SMFT__TRY(measure_chunk(run, ids + at, n - at < run->rows ? n - at : run->rows, value));
  return SMFT_OK;
}

static smft_status measure_text(pass *run, const smft__probe_entry *entry,
                                smft__probe_value *value) {
  smft_model_info info = {.struct_size = sizeof info};
  SMFT__TRY(smft_model_get_info(run->model, &info));
  SMFT__TRY(encode(run, entry->prompt, strlen(entry->prompt), SMFT_ENCODE_PROMPT, &run->ids));
  int32_t *ids = run->ids.data;
  const int64_t n = run->ids.n;
  if (n < 2)
    return smft__fail(SMFT_E_INVALID,
                      "the text has %lld tokens; two or more are needed to predict one",
                      (long long)n);
  if (run->with_kl)
    SMFT__TRY(open_base(run));
  const int starts_with_bos = info.bos_id >= 0 && ids[0] == info.bos_id;
  /* predicts ids[begin + 1 .. begin + context] */
  for (int64_t begin = 0; begin + 1 < n; begin += run->context) {
    int64_t left = n - 1 - begin;
    if (starts_with_bos)
      ids[begin] = info.bos_id; /* the window before is done with it */
    SMFT__TRY(measure_window(run, ids + begin, left < run->context ? left : run->context, value));
  }
  value->score = value->nll_sum / (double)value->tokens;
  return SMFT_OK;
}

/* ---- choices ------------------------------------------------------------- */

static int space_moves(const smft__probe_entry *entry) {
  size_t length = strlen(entry->prompt);
  int moves = length > 0 && entry->prompt[length - 1] == ' ';
  for (int64_t i = 0; i < entry->n_options; i++)
    moves = moves && entry->options[i][0] != ' ';
  return moves;
}

/* Whether a space comes before an ending that brings none: with_space: the prompt's own. */
static int takes_space(const pass *run, const char *prompt, const char *ending, int with_space) {
  return with_space || (!(run->probe->options.flags & SMFT_PROBE_EXACT) &&
                        smft__text_needs_space(prompt, strlen(prompt), ending, strlen(ending)));
}

static smft_status encode_ending(pass *run, const char *prompt, const char *ending,
                                 int with_space) {
  run->scratch.length = 0;
  if (takes_space(run, prompt, ending, with_space))
    SMFT__TRY(smft__buffer_put(&run->scratch, " ", 1));
  SMFT__TRY(smft__buffer_put(&run->scratch, ending, (int64_t)strlen(ending)));
  SMFT__TRY(encode(run, run->scratch.data, (size_t)run->scratch.length, SMFT_ENCODE_CONTINUE,
                   &run->ending));
  if (run->ending.n == 0)
    return smft__fail(SMFT_E_FORMAT, "the ending \"%s\" has no tokens", ending);
  return SMFT_OK;
}

/* Mean NLL of the ending in hand; the session holds all of the prompt but its last token, which is
 * fed with the ending. */
static smft_status score_ending(pass *run, double *mean) {
  const int64_t n_prompt = run->ids.n - 1, n = run->ending.n;
  smft__probe_value sums = {0};
  run->ids.n = n_prompt + 1;
  SMFT__TRY(smft__ids_put_all(&run->ids, run->ending.data, n));
  smft_status status = SMFT_OK;
  for (int64_t at = 0; at < n && status == SMFT_OK; at += run->rows)
    status = measure_chunk(run, run->ids.data + n_prompt + at,
                           n - at < run->rows ? n - at : run->rows, &sums);
  run->ids.n = n_prompt + 1;
  SMFT__TRY(status);
  *mean = sums.nll_sum / (double)n;
  return smft__session_rewind(run->session, n_prompt);
}

static smft_status measure_choice(pass *run, const smft__probe_entry *entry,
                                  smft__probe_value *value) {
  const int with_space = space_moves(entry), with_kl = run->with_kl;
  double best = INFINITY, mean = 0;
  int64_t chosen = -1;
  smft_status status = SMFT_OK;
  SMFT__TRY(encode(run, entry->prompt, strlen(entry->prompt) - (size_t)with_space,
                   SMFT_ENCODE_PROMPT, &run->ids));
  if (run->ids.n == 0)
    return smft__fail(SMFT_E_INVALID,
                      "the prompt has no tokens, and the tokenizer adds none before it");
  SMFT__TRY(smft__session_rewind(run->session, 0));
  if (run->ids.n > 1)
    SMFT__TRY(
        smft__session_feed(run->session, run->ids.data, run->ids.n - 1, SMFT_LOGITS_NONE, NULL, 0));
  run->with_kl = 0; /* KL is of texts */
  for (int64_t i = 0; i < entry->n_options && status == SMFT_OK; i++) {
    status = encode_ending(run, entry->prompt, entry->options[i], with_space);
    if (status == SMFT_OK)
      status = score_ending(run, &mean);
    if (status == SMFT_OK && !isfinite(mean))
      status =
          smft__fail(SMFT_E_NONFINITE, "the likelihood of ending %lld is not finite", (long long)i);
    if (mean < best) {
      best = mean;
      chosen = i;
    }
  }
  run->with_kl = with_kl;
  value->score = chosen == entry->correct ? 1.0 : 0.0;
  return status;
}

/* ---- the pass ------------------------------------------------------------ */

static smft_status measure_entry(pass *run, const smft__probe_entry *entry,
                                 smft__probe_value *value) {
  smft_status status = SMFT_OK;
  switch (entry->kind) {
  case SMFT_PROBE_QUESTION:
    status = measure_question(run, entry, value);
    break;
  case SMFT_PROBE_TEXT:
    status = measure_text(run, entry, value);
    break;
  default:
    status = measure_choice(run, entry, value);
    break;
  }
  if (status == SMFT_OK && !(isfinite(value->score) && isfinite(value->kl_sum)))
    status = smft__fail(SMFT_E_NONFINITE, "the measured value is not finite");
  return status == SMFT_OK ? SMFT_OK : smft__fail_within(status, "probe item \"%s\"", entry->id);
}

static const char *stage_name(const smft_probe *probe, int64_t i) {
  switch (i < probe->n ? probe->entries[i].kind : 0) {
  case SMFT_PROBE_QUESTION:
    return "questions";
  case SMFT_PROBE_TEXT:
    return "texts";
  case SMFT_PROBE_CHOICE:
    return "choices";
  default:
    return "done";
  }
}

static smft_status measure_all(pass *run, smft_progress_fn progress, void *user) {
  smft_probe *probe = run->probe;
  for (int64_t i = 0; i <= probe->n; i++) {
    if (progress && progress(user, stage_name(probe, i), i, probe->n))
      return smft__fail(SMFT_E_CANCELLED, "measuring was cancelled after %lld of %lld items",
                        (long long)i, (long long)probe->n);
    if (i < probe->n)
      SMFT__TRY(measure_entry(run, &probe->entries[i], &run->values[i]));
  }
  return SMFT_OK;
}

/* Runs the pass; on success *values (n) is the caller's.  The session is left empty either way. */
static smft_status measure_values(smft_probe *probe, smft_session *session,
                                  smft_progress_fn progress, void *user,
                                  smft__probe_value **values) {
  pass run;
  smft__session_hold(session); /* all items are asked of one version of the patch */
  smft_status status = pass_open(&run, probe, session);
  if (status == SMFT_OK)
    status = measure_all(&run, progress, user);
  if (status == SMFT_OK)
    status = smft__session_rewind(session, 0);
  else
    (void)smft__session_rewind(session, 0); /* what failed has the message already */
  smft__session_let_go(session);
  if (status == SMFT_OK) {
    *values = run.values;
    run.values = NULL;
  }
  pass_close(&run);
  return status;
}

/* ---- the report ---------------------------------------------------------- */

typedef struct sums {
  int64_t n[4]; /* by kind */
  double exact, f1, nll, kl, right;
  int64_t tokens;
} sums;

static sums add_up(const smft_probe *probe, const smft__probe_value *values) {
  sums all = {{0}, 0, 0, 0, 0, 0, 0};
  for (int64_t i = 0; i < probe->n; i++) {
    int32_t kind = probe->entries[i].kind;
    all.n[kind]++;
    all.exact += values[i].exact;
    all.f1 += kind == SMFT_PROBE_QUESTION ? values[i].score : 0;
    all.right += kind == SMFT_PROBE_CHOICE ? values[i].score : 0;
    all.nll += values[i].nll_sum;
    all.kl += values[i].kl_sum;
    all.tokens += values[i].tokens;
  }
  return all;
}

static double mean_of(double sum, int64_t n) { return n > 0 ? sum / (double)n : 0.0; }

/* In percent of `before`; 0 where that is 0, since nothing can be said in percent of nothing. */
static double change_of(double before, double after) {
  return before != 0 ? 100.0 * (after - before) / before : 0.0;
}

static void fill_report(smft_probe *probe, double seconds) {
  smft_probe_report own = SMFT_PROBE_REPORT_INIT;
  sums before = add_up(probe, probe->before), after = add_up(probe, probe->after);
  own.n_questions = after.n[SMFT_PROBE_QUESTION];
  own.n_texts = after.n[SMFT_PROBE_TEXT];
  own.n_choices = after.n[SMFT_PROBE_CHOICE];
  own.exact_match = mean_of(after.exact, own.n_questions);
  own.exact_match_before = mean_of(before.exact, own.n_questions);
  own.f1 = mean_of(after.f1, own.n_questions);
  own.f1_before = mean_of(before.f1, own.n_questions);
  own.nll = mean_of(after.nll, after.tokens);
  own.nll_before = mean_of(before.nll, before.tokens);
  own.accuracy = mean_of(after.right, own.n_choices);
  own.accuracy_before = mean_of(before.right, own.n_choices);
  own.exact_match_change = change_of(own.exact_match_before, own.exact_match);
  own.f1_change = change_of(own.f1_before, own.f1);
  own.nll_change = change_of(own.nll_before, own.nll);
  own.accuracy_change = change_of(own.accuracy_before, own.accuracy);
  own.kl = mean_of(after.kl, after.tokens);
  for (int64_t i = 0; i < probe->n; i++) {
    own.lost += smft__probe_is_lost(probe, i);
    own.gained += smft__probe_is_gained(probe, i);
  }
  own.seconds = seconds;
  probe->report = own;
}

/* ---- public -------------------------------------------------------------- */

static smft_status check_call(const smft_probe *probe, const smft_session *session,
                              const char *function) {
  SMFT__REQUIRE(session != NULL, "%s: session is NULL", function);
  if (probe->n == 0)
    return smft__fail(SMFT_E_STATE, "%s: the probe has no items", function);
  return SMFT_OK;
}

/* Both are the call's alone, to its end. */
static smft_status claim_both(smft_probe *probe, smft_session *session, const char *function) {
  SMFT__TRY(smft__probe_claim(probe, function));
  smft_status status = check_call(probe, session, function);
  if (status == SMFT_OK)
    status = smft__session_claim(session, function);
  return status == SMFT_OK ? SMFT_OK : smft__probe_release(probe, status);
}

static smft_status release_both(smft_probe *probe, smft_session *session, smft_status status) {
  return smft__probe_release(probe, smft__session_release(session, status));
}

/* The baseline is the last measurement as well, until there is another. */
static smft__probe_value *copy_values(smft_ctx *ctx, const smft__probe_value *values, int64_t n) {
  smft__probe_value *copy = smft__calloc_array(ctx, n, sizeof *copy);
  for (int64_t i = 0; copy && i < n; i++) {
    copy[i] = values[i];
    if (values[i].text && !(copy[i].text = smft__strdup(ctx, values[i].text))) {
      smft__probe_values_free(ctx, copy, i);
      return NULL;
    }
  }
  return copy;
}

static smft_status baseline(smft_probe *probe, smft_session *session, smft_progress_fn progress,
                            void *user) {
  smft__probe_value *values = NULL;
  double start = smft__now();
  SMFT__TRY(measure_values(probe, session, progress, user, &values));
  smft__probe_value *copy = copy_values(probe->ctx, values, probe->n);
  if (!copy) {
    smft__probe_values_free(probe->ctx, values, probe->n);
    return SMFT_E_NOMEM;
  }
  smft__probe_values_free(probe->ctx, probe->before, probe->n_before);
  smft__probe_values_free(probe->ctx, probe->after, probe->n_before);
  probe->before = values;
  probe->after = copy;
  probe->n_before = probe->n;
  fill_report(probe, smft__now() - start);
  return SMFT_OK;
}

SMFT_API smft_status smft_probe_baseline(smft_probe *probe, smft_session *session,
                                         smft_progress_fn progress, void *user) {
  SMFT__TRY(claim_both(probe, session, "smft_probe_baseline"));
  return release_both(probe, session, baseline(probe, session, progress, user));
}

static smft_status measure(smft_probe *probe, smft_session *session, smft_progress_fn progress,
                           void *user, smft_probe_report *report) {
  smft__probe_value *values = NULL;
  double start = smft__now();
  if (!probe->before || probe->n_before != probe->n)
    return smft__fail(
        SMFT_E_STATE,
        "smft_probe_measure: %lld of %lld items have no baseline; call smft_probe_baseline first",
        (long long)(probe->n - probe->n_before), (long long)probe->n);
  if (report) /* a wrong struct_size is said before the work, not after it */
    SMFT__TRY(smft__report_write(report, &probe->report, sizeof *report, sizeof *report,
                                 "smft_probe_report"));
  SMFT__TRY(measure_values(probe, session, progress, user, &values));
  smft__probe_values_free(probe->ctx, probe->after, probe->n_before);
  probe->after = values;
  fill_report(probe, smft__now() - start);
  return report ? smft__report_write(report, &probe->report, sizeof *report, sizeof *report,
                                     "smft_probe_report")
                : SMFT_OK;
}

SMFT_API smft_status smft_probe_measure(smft_probe *probe, smft_session *session,
                                        smft_progress_fn progress, void *user,
                                        smft_probe_report *report) {
  SMFT__TRY(claim_both(probe, session, "smft_probe_measure"));
  return release_both(probe, session, measure(probe, session, progress, user, report));
}
