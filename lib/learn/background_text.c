/* background_text: see background_text.h.  Owns the reading of file, texts and ids, the cut into
 * sequences, and groups. */
#include "learn/background_text.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/file.h"

/* sequences wait until they have so many tokens, then go through the network together */
#define GROUP_TOKENS 1024

typedef struct reader {
  const smft_background *options;
  const smft_model *model;
  const char *caller;
  smft__group_fn each;
  void *user;
  smft__ids ids;    /* tokens that wait */
  int64_t *offsets; /* (n_waiting + 1) */
  int64_t n_waiting, offsets_capacity;
  int64_t n_sequences, most; /* in all; after `most` it ends */
  int64_t done, total;       /* of the input */
} reader;

/* ---- groups -------------------------------------------------------------- */

static smft_status flush(reader *r) {
  if (r->n_waiting == 0)
    return SMFT_OK;
  smft__group group = {{r->ids.data, r->offsets, r->n_waiting, r->ids.n, NULL},
                       r->n_sequences - r->n_waiting,
                       r->done,
                       r->total};
  r->n_waiting = 0;
  r->ids.n = 0;
  return r->each(r->user, &group);
}

static int is_full(const reader *r) { return r->n_sequences == r->most; }

/* The waiting tokens after the last sequence become one more. */
static smft_status end_sequence(reader *r) {
  int64_t begin = r->n_waiting ? r->offsets[r->n_waiting] : 0;
  if (r->ids.n == begin)
    return SMFT_OK;
  if (r->n_sequences / r->options->sequences_per_batch == UINT32_MAX)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: more than %u batches", r->caller,
                      (unsigned)UINT32_MAX);
  SMFT__TRY(smft__grow(r->model->ctx, &r->offsets, &r->offsets_capacity, r->n_waiting + 2,
                       sizeof *r->offsets));
  r->offsets[r->n_waiting] = begin;
  r->offsets[++r->n_waiting] = r->ids.n;
  r->n_sequences++;
  return r->ids.n >= GROUP_TOKENS ? flush(r) : SMFT_OK;
}

/* ids (n): one sequence of the input, cut into pieces. */
static smft_status add_sequence(reader *r, const int32_t *ids, int64_t n) {
  int64_t in_piece = 0;
  r->done++;
  for (int64_t i = 0; i < n && !is_full(r); i++) {
    if (r->options->pad_id >= 0 && ids[i] == r->options->pad_id)
      continue;
    if (ids[i] < 0 || ids[i] >= r->model->config.vocab)
      return smft__fail(SMFT_E_TOKEN,
                        "%s: sequence %lld: token id %d is outside the vocabulary of %d", r->caller,
                        (long long)r->done - 1, (int)ids[i], (int)r->model->config.vocab);
    SMFT__TRY(smft__ids_put(&r->ids, ids[i]));
    if (++in_piece == r->options->tokens_per_sequence) {
      SMFT__TRY(end_sequence(r));
      in_piece = 0;
    }
  }
  return end_sequence(r);
}

/* ---- ids, texts, a file -------------------------------------------------- */

static smft_status read_ids(reader *r) {
  const int32_t *ids = r->options->ids;
  r->total = r->options->n_sequences;
  for (int64_t s = 0; s < r->options->n_sequences && !is_full(r); s++) {
    int64_t n = r->options->lengths[s];
    SMFT__REQUIRE(n >= 0, "smft_background.lengths[%lld] is negative", (long long)s);
    SMFT__TRY(add_sequence(r, ids, n));
    ids += n;
  }
  return flush(r);
}

/* ids: the tokens of the text. */
static smft_status encode(const reader *r, const char *text, size_t length, smft__ids *ids) {
  ids->n = 0;
  return smft__tokenizer_encode(r->model->tokenizer, text, length,
                                SMFT_ENCODE_SPECIAL | SMFT_ENCODE_NO_PARSE, ids);
}

static smft_status read_texts(reader *r, smft__ids *ids) {
  r->total = r->options->n_texts;
  for (int64_t i = 0; i < r->options->n_texts && !is_full(r); i++) {
    const char *text = r->options->texts[i];
    SMFT__REQUIRE(text, "smft_background.texts[%lld] is NULL", (long long)i);
    smft_status status = encode(r, text, strlen(text), ids);
    if (status != SMFT_OK)
      return smft__fail_within(status, "smft_background.texts[%lld]", (long long)i);
    SMFT__TRY(*text ? add_sequence(r, ids->data, ids->n) : SMFT_OK);
    r->done = i + 1;
  }
  return flush(r);
}

static smft_status read_line(reader *r, const char *line, size_t length, smft__ids *ids,
                             int64_t number) {
  if (length > 0 && line[length - 1] == '\r')
    length--;
  if (length == 0)
    return SMFT_OK;
  smft_status status = encode(r, line, length, ids);
  if (status != SMFT_OK)
    return smft__fail_within(status, "%s:%lld", r->options->text_path, (long long)number);
  return add_sequence(r, ids->data, ids->n);
}

static smft_status read_lines(reader *r, const smft__file *file, smft__ids *ids) {
  const char *text = (const char *)file->data, *end = text + file->size;
  for (const char *at = text; at < end; at++)
    r->total += *at == '\n';
  int64_t number = 0;
  while (text < end && !is_full(r)) {
    const char *line_end = memchr(text, '\n', (size_t)(end - text));
    line_end = line_end ? line_end : end;
    number++;
    SMFT__TRY(read_line(r, text, (size_t)(line_end - text), ids, number));
    r->done = number;
    text = line_end + 1;
  }
  return flush(r);
}

static smft_status read_file(reader *r, smft__ids *ids) {
  smft__file file = {0};
  SMFT__TRY(smft__file_open(&file, r->model->ctx, r->options->text_path, 0));
  smft_status status = read_lines(r, &file, ids);
  smft__file_close(&file);
  return status;
}

static smft_status read_all(reader *r) {
  if (r->options->ids || r->options->lengths)
    return read_ids(r);
  if (!r->model->tokenizer)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "%s: the model has no tokenizer to read %s with; give ids", r->caller,
                      r->options->text_path ? r->options->text_path : "texts");
  smft__ids ids = {r->model->ctx, NULL, 0, 0};
  smft_status status = r->options->texts ? read_texts(r, &ids) : read_file(r, &ids);
  smft__ids_free(&ids);
  return status;
}

smft_status smft__background_read(const smft_background *options, const smft_model *model,
                                  const char *caller, smft__group_fn each, void *user,
                                  int64_t *n_sequences) {
  reader r = {.options = options,
              .model = model,
              .caller = caller,
              .each = each,
              .user = user,
              .ids = {model->ctx, NULL, 0, 0}};
  if (options->max_batches == 0 ||
      !smft__mul_i64(options->max_batches, options->sequences_per_batch, &r.most))
    r.most = INT64_MAX;
  smft_status status = read_all(&r);
  *n_sequences = r.n_sequences;
  smft__ids_free(&r.ids);
  smft__free(model->ctx, r.offsets);
  return status;
}

/* ---- options ------------------------------------------------------------- */

static smft_status check_source(const smft_background *o) {
  int by_ids = o->ids || o->lengths, n = (o->text_path != NULL) + by_ids + (o->texts != NULL);
  SMFT__REQUIRE(n <= 1, "smft_background: two of text_path, ids and texts; give one");
  SMFT__REQUIRE(n == 1, "smft_background: neither a text_path nor ids nor texts; give one");
  SMFT__REQUIRE(!by_ids || (o->n_sequences >= 0 && (o->n_sequences == 0 || (o->ids && o->lengths))),
                "smft_background: ids without their lengths, or a negative number of sequences");
  SMFT__REQUIRE(o->n_texts >= 0, "smft_background.n_texts is negative (%lld)",
                (long long)o->n_texts);
  return SMFT_OK;
}

smft_status smft__background_options(smft_background *o, const smft_background *given,
                                     const smft_model *model, int64_t tokens) {
  smft_background own = SMFT_BACKGROUND_INIT;
  *o = own;
  SMFT__TRY(
      smft__options_read(o, given, sizeof *o, offsetof(smft_background, texts), "smft_background"));
  SMFT__TRY(check_source(o));
  SMFT__REQUIRE(o->sequences_per_batch >= 0 && o->tokens_per_sequence >= 0 && o->max_batches >= 0,
                "smft_background: a negative number");
  int64_t context = model->config.context;
  if (o->tokens_per_sequence > context)
    return smft__fail(
        SMFT_E_CONTEXT,
        "smft_background.tokens_per_sequence is %lld, the model's context holds %lld tokens",
        (long long)o->tokens_per_sequence, (long long)context);
  o->sequences_per_batch = o->sequences_per_batch ? o->sequences_per_batch : 1;
  o->tokens_per_sequence = o->tokens_per_sequence ? o->tokens_per_sequence
                           : context < tokens     ? context
                                                  : tokens;
  return SMFT_OK;
}

void smft__background_name(const smft_background *options, char *to, size_t size) {
  const char *path = options->text_path, *name = path ? strrchr(path, '/') : NULL;
  name = name ? name + 1 : path ? path : options->texts ? "texts" : "token ids";
  size_t length = strlen(name);
  snprintf(to, size, "%s", smft__utf8_valid(name, length, NULL) && length < size ? name : "text");
}
