/* generate: a session's next tokens, one by one, and the text they make.  Owns when generation ends
 * and what text may be given out already: whole characters only, and nothing that could still turn
 * out to be the stop string. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "model/sampler.h"
#include "model/session.h"
#include "model/stops.h"

#define TOKEN_BYTES 16 /* of text for each token to come; on average a token has fewer */
/* of a token, and of what came before it and is not a whole character yet */
#define RAW_BYTES 256

typedef struct generation {
  smft_session *session;
  const smft_tokenizer *tokenizer; /* NULL: ids only */
  smft_generate_options options;   /* max_tokens and stop resolved */
  size_t stop_length;
  smft__sampler sampler;
  int32_t *order; /* (V) the sampler's scratch */
  smft__decode_work decoding;
  smft__buffer raw; /* bytes that do not make a whole character yet */
  int64_t given;    /* bytes of the session's text that the callback has */
  int64_t n, most;  /* tokens so far, at most */
  int32_t *ids_out; /* (most) or NULL */
  int32_t at_start; /* 1: no text stands before the first token */
  double deadline;  /* on base/clock.h's clock; 0: none */
  int32_t ended;    /* SMFT_FINISH_*; 0: not yet */
} generation;

/* Of two reasons the lower number stays. */
static void finish(generation *g, int32_t reason) {
  if (!g->ended || reason < g->ended)
    g->ended = reason;
}

static void look_at_clock(generation *g) {
  if (g->deadline > 0 && smft__now() >= g->deadline)
    finish(g, SMFT_FINISH_TIME);
}

/* ---- text ---------------------------------------------------------------- */

/* Moves whole characters from raw to the text; bytes that belong to none become U+FFFD, as in
 * smft_tokenizer_decode.  A character that is cut at the end may still be completed. */
static smft_status take_characters(generation *g) {
  smft__buffer *raw = &g->raw, *text = &g->session->text;
  int64_t at = 0;
  while (at < raw->length) {
    const char *bytes = raw->data + at;
    size_t left = (size_t)(raw->length - at);
    int32_t size = smft__utf8_next(bytes, left, NULL);
    int open = 0, broken = size ? 0 : smft__utf8_broken(bytes, left, &open);
    if (open)
      break;
    SMFT__TRY(size ? smft__buffer_put(text, bytes, size)
                   : smft__buffer_put(text, "\xef\xbf\xbd", 3));
    at += size + broken;
  }
  if (at > 0)
    memmove(raw->data, raw->data + at, (size_t)(raw->length - at));
  raw->length -= at;
  return SMFT_OK;
}

/* Ends the text before the stop string, if it is there from `begin` on. */
static void find_stop(generation *g, int64_t begin) {
  smft__buffer *text = &g->session->text;
  int64_t n = (int64_t)g->stop_length;
  for (int64_t at = begin < 0 ? 0 : begin; n > 0 && at + n <= text->length; at++)
    if (memcmp(text->data + at, g->options.stop, g->stop_length) == 0) {
      text->length = at;
      text->data[at] = 0;
      finish(g, SMFT_FINISH_STOP);
      return;
    }
}

/* Bytes at the end of the text that are a beginning of the stop string. */
static int64_t held_back(const generation *g) {
  const smft__buffer *text = &g->session->text;
  for (int64_t n = (int64_t)g->stop_length - 1; n > 0; n--)
    if (n <= text->length - g->given &&
        memcmp(text->data + text->length - n, g->options.stop, (size_t)n) == 0)
      return n;
  return 0;
}

static smft_status add_text(generation *g, int32_t id) {
  smft__buffer *text = &g->session->text;
  int64_t before = text->length;
  smft_status status =
      smft__tokenizer_decode_bytes(g->tokenizer, &g->decoding, id, SMFT_DECODE_SKIP_SPECIAL,
                                   &g->at_start, &g->raw);
  if (status != SMFT_E_TOKEN) /* an embedding row that pads the vocabulary has no text */
    SMFT__TRY(status);
  SMFT__TRY(take_characters(g));
  find_stop(g, before - (int64_t)g->stop_length + 1);
  return SMFT_OK;
}

/* Tells the host what is certain by now. */
static void give(generation *g, int32_t id) {
  const smft__buffer *text = &g->session->text;
  int64_t end = text->length - (g->ended ? 0 : held_back(g));
  while (!g->ended && end > g->given && end < text->length &&
         ((unsigned char)text->data[end] & 0xc0) == 0x80)
    end--; /* the stop string began inside a character */
  const char *piece = text->data ? text->data + g->given : "";
  int64_t size = end - g->given;
  g->given = end;
  if (g->options.on_token && g->options.on_token(g->options.user, id, piece, (size_t)size) != 0)
    finish(g, SMFT_FINISH_CALLBACK);
}

/* ---- tokens -------------------------------------------------------------- */

static smft_status accept(generation *g, int32_t id) {
  smft_session *s = g->session;
  if (s->length < s->context)
    SMFT__TRY(smft__session_append(s, &id, 1));
  else
    finish(g, SMFT_FINISH_CONTEXT); /* this token is the last */
  if (g->ids_out)
    g->ids_out[g->n] = id;
  g->n++;
  if (g->n == g->most)
    finish(g, SMFT_FINISH_LENGTH);
  if (g->tokenizer)
    SMFT__TRY(add_text(g, id));
  look_at_clock(g);
  give(g, id);
  return SMFT_OK;
}

static smft_status next(generation *g) {
  smft_session *s = g->session;
  SMFT__TRY(smft__session_run(s, 1, s->logits));
  int32_t id = smft__sampler_next(&g->sampler, s->logits, s->model->config.vocab, g->order);
  if (!smft__stops_at(&s->model->config, id))
    return accept(g, id);
  finish(g, SMFT_FINISH_END);
  if (s->text.length > g->given) /* what was held back for the stop string */
    give(g, id);
  return SMFT_OK;
}

static smft_status generate(generation *g, const int32_t *ids, int64_t n_ids) {
  smft_session *s = g->session;
  SMFT__TRY(smft__session_append(s, ids, n_ids));
  SMFT__REQUIRE(s->length > 0,
                "generate: neither a prompt nor a begin-of-text token to start from");
  for (int ran = 1; ran && !g->ended;) {
    SMFT__TRY(smft__session_run_chunk(s, &ran));
    look_at_clock(g);
  }
  while (!g->ended)
    SMFT__TRY(next(g));
  return SMFT_OK;
}

/* ---- one call ------------------------------------------------------------ */

static smft_status check_options(const smft_generate_options *o) {
  SMFT__REQUIRE(o->max_tokens >= 0, "smft_generate_options: max_tokens is negative (%d)",
                o->max_tokens);
  SMFT__REQUIRE(isfinite(o->temperature) && o->temperature >= 0,
                "smft_generate_options: temperature must be finite and not negative");
  SMFT__REQUIRE(o->top_p >= 0 && o->top_p <= 1, "smft_generate_options: top_p must be from 0 to 1");
  SMFT__REQUIRE(o->top_k >= 0, "smft_generate_options: top_k is negative (%d)", o->top_k);
  SMFT__REQUIRE(isfinite(o->max_seconds) && o->max_seconds >= 0,
                "smft_generate_options: max_seconds must be finite and not negative");
  SMFT__REQUIRE(!(o->flags & ~SMFT_GENERATE_CONTINUE), "smft_generate_options: unknown flags 0x%x",
                o->flags);
  if (o->stop && !smft__utf8_valid(o->stop, strlen(o->stop), NULL))
    return smft__fail(SMFT_E_ENCODING, "smft_generate_options: stop is not valid UTF-8");
  return SMFT_OK;
}

static smft_status prepare(generation *g, smft_session *session,
                           const smft_generate_options *options) {
  smft_generate_options defaults = SMFT_GENERATE_OPTIONS_INIT;
  g->session = session;
  g->session->finish = SMFT_FINISH_NONE;
  g->options = defaults;
  g->raw.ctx = session->model->ctx;
  smft__decode_work_init(&g->decoding, session->model->ctx);
  SMFT__TRY(smft__options_read(&g->options, options, sizeof g->options,
                               offsetof(smft_generate_options, max_seconds),
                               "smft_generate_options"));
  SMFT__TRY(check_options(&g->options));
  g->deadline = g->options.max_seconds > 0 ? smft__now() + g->options.max_seconds : 0;
  g->most = g->options.max_tokens ? g->options.max_tokens : 64;
  g->stop_length = g->options.stop ? strlen(g->options.stop) : 0;
  g->sampler.temperature = g->options.temperature;
  g->sampler.top_p = g->options.top_p;
  g->sampler.top_k = g->options.top_k;
  smft__rng_seed(&g->sampler.rng, g->options.seed);
  if (!(g->options.temperature > 0))
    return SMFT_OK;
  g->order = smft__alloc_array(session->model->ctx, session->model->config.vocab, sizeof *g->order);
  return g->order ? SMFT_OK : SMFT_E_NOMEM;
}

static void release(generation *g) {
  smft__free(g->session->model->ctx, g->order);
  smft__decode_work_free(&g->decoding);
  smft__buffer_free(&g->raw);
}

/* Room for the text, so that it is never NULL and that a token seldom needs more; the last call's
 * text goes. */
static smft_status clear_text(generation *g) {
  smft_session *s = g->session;
  s->text.length = 0;
  SMFT__TRY(smft__buffer_put(&s->text, "", 0));
  if (!g->tokenizer)
    return SMFT_OK;
  int64_t tokens = g->most < s->context ? g->most : s->context;
  SMFT__TRY(
      smft__grow(s->model->ctx, &s->text.data, &s->text.capacity, tokens * TOKEN_BYTES + 1, 1));
  SMFT__TRY(smft__grow(s->model->ctx, &g->raw.data, &g->raw.capacity, RAW_BYTES, 1));
  return smft__decode_work_reserve(&g->decoding, RAW_BYTES);
}

/* After a failure the session holds what it held (with CONTINUE) or nothing. */
static smft_status run(generation *g, const int32_t *ids, int64_t n_ids) {
  smft_session *s = g->session;
  if (!(g->options.flags & SMFT_GENERATE_CONTINUE))
    smft__session_cut(s, 0);
  SMFT__TRY(smft__session_begin(s));
  smft_status status = clear_text(g);
  if (status == SMFT_OK) {
    int64_t before = s->length;
    status = generate(g, ids, n_ids);
    if (status != SMFT_OK)
      smft__session_cut(s, before);
  }
  smft__session_end(s);
  s->finish = status == SMFT_OK ? g->ended : SMFT_FINISH_NONE;
  return status;
}

static smft_status encode(generation *g, const char *prompt, size_t length, smft__ids *ids) {
  const smft_session *s = g->session;
  int goes_on = (g->options.flags & SMFT_GENERATE_CONTINUE) && s->length > 0;
  g->at_start = !goes_on && length == 0;
  SMFT__TRY(smft__tokenizer_encode(g->tokenizer, prompt ? prompt : "", length,
                                   goes_on ? SMFT_ENCODE_CONTINUE : SMFT_ENCODE_PROMPT, ids));
  if (ids->n == 0 && !goes_on &&
      s->model->config.bos >= 0) /* a tokenizer without a post-processor */
    return smft__ids_put(ids, s->model->config.bos);
  return SMFT_OK;
}

smft_status smft__session_generate(smft_session *session, const char *prompt, size_t prompt_length,
                                   const smft_generate_options *options, const char **text,
                                   size_t *length) {
  generation g = {0};
  smft__ids ids = {0};
  smft_status status = SMFT_OK;
  SMFT__REQUIRE(prompt || prompt_length == 0, "smft_session_generate: prompt is NULL");
  if (!session->model->tokenizer)
    return smft__fail(
        SMFT_E_UNSUPPORTED,
        "smft_session_generate: the model has no tokenizer.json; use smft_session_generate_ids");
  ids.ctx = session->model->ctx;
  SMFT__TRY_GOTO(done, prepare(&g, session, options));
  g.tokenizer = session->model->tokenizer;
  SMFT__TRY_GOTO(done, encode(&g, prompt, prompt_length, &ids));
  SMFT__TRY_GOTO(done, run(&g, ids.data, ids.n));
  if (text)
    *text = session->text.data;
  if (length)
    *length = (size_t)session->text.length;
done:
  smft__ids_free(&ids);
  release(&g);
  return status;
}

smft_status smft_session_generate(smft_session *session, const char *prompt, size_t prompt_length,
                                  const smft_generate_options *options, const char **text,
                                  size_t *length) {
  if (text)
    *text = NULL;
  SMFT__REQUIRE(session, "smft_session_generate: session is NULL");
  SMFT__TRY(smft__session_claim(session, "smft_session_generate"));
  smft_status status =
      smft__session_generate(session, prompt, prompt_length, options, text, length);
  status = smft__session_release(session, status);
  if (text && status != SMFT_OK)
    *text = NULL;
  return status;
}

static smft_status generate_ids(smft_session *session, const int32_t *ids, int64_t n_ids,
                                const smft_generate_options *options, int32_t *ids_out,
                                int64_t capacity, int64_t *n_out) {
  generation g = {0};
  smft_status status = SMFT_OK;
  SMFT__REQUIRE(n_ids >= 0 && (ids || n_ids == 0),
                "smft_session_generate_ids: ids is NULL or n_ids negative");
  SMFT__REQUIRE(ids_out && n_out && capacity > 0,
                "smft_session_generate_ids: ids_out or n_out is NULL, or capacity not positive");
  *n_out = 0;
  SMFT__TRY_GOTO(done, prepare(&g, session, options));
  if (g.options.stop) {
    status = smft__fail(SMFT_E_INVALID,
                        "smft_session_generate_ids: stop must be NULL (there is no text)");
    goto done;
  }
  g.ids_out = ids_out;
  g.most = g.most < capacity ? g.most : capacity;
  SMFT__TRY_GOTO(done, run(&g, ids, n_ids));
  *n_out = g.n;
done:
  release(&g);
  return status;
}

smft_status smft_session_generate_ids(smft_session *session, const int32_t *ids, int64_t n_ids,
                                      const smft_generate_options *options, int32_t *ids_out,
                                      int64_t capacity, int64_t *n_out) {
  SMFT__REQUIRE(session, "smft_session_generate_ids: session is NULL");
  SMFT__TRY(smft__session_claim(session, "smft_session_generate_ids"));
  return smft__session_release(session, generate_ids(session, ids, n_ids, options, ids_out,
                                                     capacity, n_out));
}
