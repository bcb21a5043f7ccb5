/* background: counts in how many batches of ordinary text each slot is read, and how much, and the
 * file that keeps the counts.  Owns batches, marks and background.safetensors; the counts
 * themselves are the selector's (tally.h). */
#include "base/bytes.h"
#include "base/file.h"
#include "data/safetensors.h"
#include "learn/selector.h"
#include "model/network.h"
#include <math.h>
#include <stdio.h>

/* sequences wait until they have so many tokens, then go through the network together */
#define GROUP_TOKENS 1024
#define FORMAT "smft.background.2"
#define OLD_FORMAT "smft.background.1" /* without squares */

typedef struct counter {
  smft_selector *selector;
  const smft_model *model;
  smft_background options; /* with its defaults */
  smft_ctx *ctx;
  smft__tape *tape;
  smft__tally tally; /* the counts before, plus what was counted; but for: */
  /* (n_pools, n_slots): counted in this call; a float would lose the small reads of an often read
   * slot */
  double *square;
  uint32_t *last;    /* (n_pools, n_slots): the last batch that read the slot, from 1 */
  int64_t n_batches; /* begun in this call */
  int64_t in_batch;  /* sequences in the batch begun last */
  smft__ids ids;     /* tokens that wait */
  int64_t *offsets;  /* (n_waiting + 1) */
  int64_t *batch;    /* (n_waiting): number of each sequence's batch, from 1, ascending */
  int64_t n_waiting, offsets_capacity, batch_capacity;
  int64_t n_tokens;    /* counted in this call */
  int64_t done, total; /* sequences of the input, for progress */
} counter;

/* df counts a slot once a batch: `last` remembers which batch counted it.  Sequence by sequence
 * over all layers, so that layers which share a pool do not count twice. */
static void mark_reads(counter *c, int64_t sequence, int32_t memory) {
  const smft__config *config = &c->model->config;
  int64_t n = 0, width = (int64_t)config->memory.heads * config->memory.top_k;
  int64_t pool = c->model->memories[memory].pool * smft__n_slots(c->model);
  const int64_t *slots = smft__tape_slots(c->tape, memory, &n);
  const float *weights = smft__tape_weights(c->tape, memory, &n);
  uint32_t batch = (uint32_t)c->batch[sequence];
  for (int64_t i = c->offsets[sequence] * width; i < c->offsets[sequence + 1] * width; i++) {
    int64_t at = pool + slots[i];
    c->square[at] += (double)weights[i] * (double)weights[i];
    if (c->last[at] != batch) {
      c->last[at] = batch;
      c->tally.df[at]++;
    }
  }
  c->tally.n_reads += (c->offsets[sequence + 1] - c->offsets[sequence]) * width;
}

static smft_status flush(counter *c) {
  if (c->n_waiting == 0)
    return SMFT_OK;
  smft__sequences batch = {c->ids.data, c->offsets, c->n_waiting, c->ids.n, NULL};
  SMFT__TRY(smft__network_forward(c->tape, NULL, &batch, 0, NULL, NULL));
  for (int64_t s = 0; s < c->n_waiting; s++)
    for (int32_t m = 0; m < c->model->config.n_memories; m++)
      mark_reads(c, s, m);
  c->n_waiting = 0;
  c->n_tokens += c->ids.n;
  c->ids.n = 0;
  if (c->options.progress &&
      c->options.progress(c->options.progress_user, "background", c->done, c->total) != 0)
    return smft__fail(SMFT_E_CANCELLED,
                      "smft_selector_count_background: cancelled by the progress callback");
  return SMFT_OK;
}

static int is_full(const counter *c) {
  return c->options.max_batches > 0 && c->n_batches == c->options.max_batches &&
         c->in_batch == c->options.sequences_per_batch;
}

/* The waiting tokens after the last sequence become one more of the current batch, or of a new one.
 */
static smft_status end_sequence(counter *c) {
  int64_t begin = c->n_waiting ? c->offsets[c->n_waiting] : 0;
  if (c->ids.n == begin)
    return SMFT_OK;
  if (c->n_batches == 0 || c->in_batch == c->options.sequences_per_batch) {
    if (c->n_batches == UINT32_MAX)
      return smft__fail(SMFT_E_UNSUPPORTED, "smft_selector_count_background: more than %u batches",
                        (unsigned)UINT32_MAX);
    c->n_batches++;
    c->in_batch = 0;
  }
  SMFT__TRY(
      smft__grow(c->ctx, &c->offsets, &c->offsets_capacity, c->n_waiting + 2, sizeof *c->offsets));
  SMFT__TRY(smft__grow(c->ctx, &c->batch, &c->batch_capacity, c->n_waiting + 1, sizeof *c->batch));
  c->in_batch++;
  c->batch[c->n_waiting] = c->n_batches;
  c->offsets[c->n_waiting] = begin;
  c->offsets[c->n_waiting + 1] = c->ids.n;
  c->n_waiting++;
  return c->ids.n >= GROUP_TOKENS ? flush(c) : SMFT_OK;
}

/* ids (n): one sequence of the input, cut into pieces. */
static smft_status add_sequence(counter *c, const int32_t *ids, int64_t n) {
  int64_t in_piece = 0;
  c->done++;
  for (int64_t i = 0; i < n && !is_full(c); i++) {
    if (c->options.pad_id >= 0 && ids[i] == c->options.pad_id)
      continue;
    if (ids[i] < 0 || ids[i] >= c->model->config.vocab)
      return smft__fail(SMFT_E_TOKEN,
                        "smft_selector_count_background: sequence %lld: token id %d is outside the "
                        "vocabulary of %d",
                        (long long)c->done - 1, (int)ids[i], (int)c->model->config.vocab);
    SMFT__TRY(smft__ids_put(&c->ids, ids[i]));
    if (++in_piece == c->options.tokens_per_sequence) {
      SMFT__TRY(end_sequence(c));
      in_piece = 0;
    }
  }
  return end_sequence(c);
}

static smft_status count_ids(counter *c) {
  const int32_t *ids = c->options.ids;
  c->total = c->options.n_sequences;
  for (int64_t s = 0; s < c->options.n_sequences && !is_full(c); s++) {
    int64_t n = c->options.lengths[s];
    SMFT__REQUIRE(n >= 0, "smft_background.lengths[%lld] is negative", (long long)s);
    SMFT__TRY(add_sequence(c, ids, n));
    ids += n;
  }
  return flush(c);
}

static smft_status count_line(counter *c, const char *line, size_t length, smft__ids *ids,
                              int64_t number) {
  if (length > 0 && line[length - 1] == '\r')
    length--;
  if (length == 0)
    return SMFT_OK;
  ids->n = 0;
  smft_status status = smft__tokenizer_encode(c->model->tokenizer, line, length,
                                              SMFT_ENCODE_SPECIAL | SMFT_ENCODE_NO_PARSE, ids);
  if (status != SMFT_OK)
    return smft__fail_within(status, "%s:%lld", c->options.text_path, (long long)number);
  return add_sequence(c, ids->data, ids->n);
}

static smft_status count_lines(counter *c, const smft__file *file, smft__ids *ids) {
  const char *text = (const char *)file->data, *end = text + file->size;
  for (const char *at = text; at < end; at++)
    c->total += *at == '\n';
  int64_t number = 0;
  while (text < end && !is_full(c)) {
    const char *line_end = memchr(text, '\n', (size_t)(end - text));
    line_end = line_end ? line_end : end;
    number++;
    SMFT__TRY(count_line(c, text, (size_t)(line_end - text), ids, number));
    c->done = number;
    text = line_end + 1;
  }
  return flush(c);
}

static smft_status count_text(counter *c) {
  if (!c->model->tokenizer)
    return smft__fail(
        SMFT_E_UNSUPPORTED,
        "smft_selector_count_background: the model has no tokenizer to read %s with; give ids",
        c->options.text_path);
  smft__file file = {0};
  smft__ids ids = {c->ctx, NULL, 0, 0};
  SMFT__TRY(smft__file_open(&file, c->ctx, c->options.text_path, 0));
  smft_status status = count_lines(c, &file, &ids);
  smft__ids_free(&ids);
  smft__file_close(&file);
  return status;
}

static smft_status read_options(counter *c, const smft_background *background) {
  smft_background *o = &c->options;
  smft_background own = SMFT_BACKGROUND_INIT;
  *o = own;
  SMFT__TRY(smft__options_read(o, background, sizeof *o, sizeof *o, "smft_background"));
  SMFT__REQUIRE(!o->text_path || (!o->ids && !o->lengths),
                "smft_background: a text_path and ids; give one");
  SMFT__REQUIRE(o->text_path ||
                    (o->n_sequences >= 0 && (o->n_sequences == 0 || (o->ids && o->lengths))),
                "smft_background: neither a text_path nor ids with their lengths");
  SMFT__REQUIRE(o->sequences_per_batch >= 0 && o->tokens_per_sequence >= 0 && o->max_batches >= 0,
                "smft_background: a negative number");
  int64_t context = c->model->config.context;
  if (o->tokens_per_sequence > context)
    return smft__fail(
        SMFT_E_CONTEXT,
        "smft_background.tokens_per_sequence is %lld, the model's context holds %lld tokens",
        (long long)o->tokens_per_sequence, (long long)context);
  o->sequences_per_batch = o->sequences_per_batch ? o->sequences_per_batch : 1;
  o->tokens_per_sequence = o->tokens_per_sequence ? o->tokens_per_sequence
                           : context < 64         ? context
                                                  : 64;
  return SMFT_OK;
}

static smft_status prepare(counter *c) {
  const smft__tally *before = &c->selector->tally;
  int64_t n = smft__all_slots(c->model);
  SMFT__TRY(smft__tape_create(&c->tape, c->model));
  SMFT__TRY(smft__tally_create(&c->tally, c->ctx, c->model));
  c->square = smft__calloc_array(c->ctx, n, sizeof *c->square);
  c->last = smft__calloc_array(c->ctx, n, sizeof *c->last);
  if (!c->square || !c->last)
    return SMFT_E_NOMEM;
  if (before->df) {
    memcpy(c->tally.df, before->df, (size_t)n * sizeof *c->tally.df);
    memcpy(c->tally.square, before->square, (size_t)n * sizeof *c->tally.square);
  }
  c->tally.n_batches = before->n_batches;
  c->tally.n_reads = before->n_reads;
  return SMFT_OK;
}

static void add_up(counter *c) {
  for (int64_t i = 0; i < smft__all_slots(c->model); i++)
    c->tally.square[i] = (float)((double)c->tally.square[i] + c->square[i]);
  c->tally.n_batches += c->n_batches;
}

static void release(counter *c) {
  smft__tape_free(c->tape);
  smft__tally_free(&c->tally, c->ctx);
  smft__free(c->ctx, c->square);
  smft__free(c->ctx, c->last);
  smft__ids_free(&c->ids);
  smft__free(c->ctx, c->offsets);
  smft__free(c->ctx, c->batch);
}

/* What the file's metadata says of where the counts come from; a name that is too long or no UTF-8
 * is just "text". */
static void remember_source(smft_selector *selector, const counter *c) {
  const char *path = c->options.text_path, *name = path ? strrchr(path, '/') : NULL;
  name = name ? name + 1 : path ? path : "token ids";
  size_t length = strlen(name), most = sizeof selector->corpus - 1;
  strcpy(selector->corpus, smft__utf8_valid(name, length, NULL) && length <= most ? name : "text");
  selector->n_tokens += c->n_tokens;
}

smft_status smft_selector_count_background(smft_selector *selector,
                                           const smft_background *background) {
  SMFT__REQUIRE(selector && background, "smft_selector_count_background: a NULL argument");
  counter c = {0};
  c.selector = selector;
  c.model = selector->model;
  c.ctx = c.ids.ctx = selector->ctx;
  SMFT__TRY(read_options(&c, background));
  smft_status status = prepare(&c);
  if (status == SMFT_OK)
    status = c.options.text_path ? count_text(&c) : count_ids(&c);
  if (status == SMFT_OK) {
    add_up(&c);
    smft__selector_set(selector, &c.tally);
    remember_source(selector, &c);
  }
  release(&c);
  return status;
}

/* ---- file: df.{pool} u32 (n_slots), square.{pool} f32 (n_slots), metadata format, batches, reads,
 * tokens, corpus, model_hash ---- */

typedef char tensor_name[32];

static void describe(const smft_selector *selector, const smft__tally *tally, tensor_name *names,
                     smft__save_tensor *tensors) {
  int64_t n_slots = smft__n_slots(selector->model);
  for (int32_t p = 0; p < selector->model->config.n_pools; p++) {
    smft__tensor df = {tally->df + p * n_slots, {n_slots}, 1, SMFT__U32};
    smft__tensor square = {tally->square + p * n_slots, {n_slots}, 1, SMFT__F32};
    snprintf(names[2 * p], sizeof *names, "df.%d", (int)p);
    snprintf(names[2 * p + 1], sizeof *names, "square.%d", (int)p);
    tensors[2 * p].name = names[2 * p];
    tensors[2 * p].tensor = df;
    tensors[2 * p + 1].name = names[2 * p + 1];
    tensors[2 * p + 1].tensor = square;
  }
}

static smft_status write_tally(const smft_selector *selector, const smft__tally *tally,
                               const char *path) {
  smft_ctx *ctx = selector->ctx;
  int32_t n = 2 * selector->model->config.n_pools;
  char batches[32], tokens[32], reads[32];
  snprintf(batches, sizeof batches, "%lld", (long long)tally->n_batches);
  snprintf(reads, sizeof reads, "%lld", (long long)tally->n_reads);
  snprintf(tokens, sizeof tokens, "%lld", (long long)selector->n_tokens);
  const char *keys[] = {"format", "batches", "reads", "tokens", "corpus", "model_hash"};
  const char *values[] = {FORMAT, batches, reads, tokens, selector->corpus, selector->model->hash};
  smft__save_tensor *tensors = smft__calloc_array(ctx, n, sizeof *tensors);
  tensor_name *names = smft__calloc_array(ctx, n, sizeof *names);
  smft_status status = tensors && names ? SMFT_OK : SMFT_E_NOMEM;
  if (status == SMFT_OK) {
    describe(selector, tally, names, tensors);
    status = smft__safetensors_write(ctx, path, tensors, n, keys, values, 6, NULL, NULL);
  }
  smft__free(ctx, names);
  smft__free(ctx, tensors);
  return status;
}

smft_status smft_selector_save(smft_selector *selector, const char *path) {
  SMFT__REQUIRE(selector && path, "smft_selector_save: a NULL argument");
  if (selector->tally.df)
    return write_tally(selector, &selector->tally, path);
  smft__tally zero = {0};
  SMFT__TRY(smft__tally_create(&zero, selector->ctx, selector->model));
  smft_status status = write_tally(selector, &zero, path);
  smft__tally_free(&zero, selector->ctx);
  return status;
}

/* A whole number of up to 18 digits, or -1. */
static int64_t whole_number(const char *text) {
  int64_t value = 0;
  int digits = 0;
  for (; text && *text >= '0' && *text <= '9' && digits < 18; text++, digits++)
    value = value * 10 + (*text - '0');
  return text && digits > 0 && *text == 0 ? value : -1;
}

static smft_status read_number(const smft__safetensors *file, const char *path, const char *key,
                               int64_t *value) {
  *value = whole_number(smft__safetensors_metadata(file, key));
  return *value >= 0 ? SMFT_OK
                     : smft__fail(SMFT_E_FORMAT, "%s: its number of %s is missing or not a number",
                                  path, key);
}

static smft_status check_file(const smft_selector *selector, const smft__safetensors *file,
                              const char *path, int *is_old) {
  const char *format = smft__safetensors_metadata(file, "format");
  const char *hash = smft__safetensors_metadata(file, "model_hash");
  *is_old = format && strcmp(format, OLD_FORMAT) == 0;
  if (!format || (!*is_old && strcmp(format, FORMAT) != 0))
    return smft__fail(SMFT_E_FORMAT,
                      "%s: not background counts: its format is \"%s\", expected \"%s\"", path,
                      format ? format : "", FORMAT);
  if (!hash || strcmp(hash, selector->model->hash) != 0)
    return smft__fail(SMFT_E_MISMATCH, "%s: counts of another model: made for %s, this model is %s",
                      path, hash ? hash : "(unnamed)", selector->model->hash);
  return SMFT_OK;
}

/* out (n_slots) of 4 bytes each. */
static smft_status read_tensor(const smft__safetensors *file, const char *path, const char *kind,
                               int32_t pool, int32_t dtype, int64_t n_slots, void *out) {
  tensor_name name;
  snprintf(name, sizeof name, "%s.%d", kind, (int)pool);
  int64_t at = smft__safetensors_find(file, name);
  const smft__tensor *tensor = at >= 0 ? &file->tensors[at] : NULL;
  if (!tensor || tensor->dtype != dtype || tensor->n_dims != 1 || tensor->shape[0] != n_slots)
    return smft__fail(SMFT_E_MISMATCH, "%s: expected a tensor \"%s\" of %lld numbers of type %s",
                      path, name, (long long)n_slots, dtype == SMFT__U32 ? "U32" : "F32");
  memcpy(out, tensor->data, (size_t)n_slots * 4);
  return SMFT_OK;
}

/* A file without squares: as if every read had taken an even share of its head. */
static void guess_squares(const smft_model *model, smft__tally *tally, int64_t first, int64_t n) {
  float even = 1 / (float)model->config.memory.top_k;
  for (int64_t i = first; i < first + n; i++) {
    tally->square[i] = (float)tally->df[i] * even * even;
    tally->n_reads += tally->df[i];
  }
}

static smft_status check_counts(const smft__tally *tally, const char *path, int32_t pool,
                                int64_t first, int64_t n) {
  for (int64_t i = first; i < first + n; i++) {
    if ((int64_t)tally->df[i] > tally->n_batches)
      return smft__fail(SMFT_E_FORMAT, "%s: slot %lld of pool %d was read in %u batches of %lld",
                        path, (long long)(i - first), (int)pool, (unsigned)tally->df[i],
                        (long long)tally->n_batches);
    if (!isfinite(tally->square[i]) || tally->square[i] < 0)
      return smft__fail(
          SMFT_E_FORMAT,
          "%s: slot %lld of pool %d: the sum of its squared weights is not a number from 0 on",
          path, (long long)(i - first), (int)pool);
  }
  return SMFT_OK;
}

static smft_status read_tally(const smft_selector *selector, const smft__safetensors *file,
                              const char *path, int is_old, smft__tally *tally) {
  int64_t n = smft__n_slots(selector->model);
  SMFT__TRY(read_number(file, path, "batches", &tally->n_batches));
  if (!is_old)
    SMFT__TRY(read_number(file, path, "reads", &tally->n_reads));
  for (int32_t p = 0; p < selector->model->config.n_pools; p++) {
    SMFT__TRY(read_tensor(file, path, "df", p, SMFT__U32, n, tally->df + p * n));
    if (is_old)
      guess_squares(selector->model, tally, p * n, n);
    else
      SMFT__TRY(read_tensor(file, path, "square", p, SMFT__F32, n, tally->square + p * n));
    SMFT__TRY(check_counts(tally, path, p, p * n, n));
  }
  return SMFT_OK;
}

static void remember_file(smft_selector *selector, const smft__safetensors *file) {
  int64_t n_tokens = whole_number(smft__safetensors_metadata(file, "tokens"));
  const char *corpus = smft__safetensors_metadata(file, "corpus");
  selector->n_tokens = n_tokens > 0 ? n_tokens : 0;
  snprintf(selector->corpus, sizeof selector->corpus, "%s",
           corpus && strlen(corpus) < sizeof selector->corpus ? corpus : "");
}

smft_status smft_selector_load(smft_selector *selector, const char *path) {
  SMFT__REQUIRE(selector && path, "smft_selector_load: a NULL argument");
  smft__safetensors file = {0};
  smft__tally tally = {0};
  int is_old = 0;
  SMFT__TRY(smft__safetensors_open(&file, selector->ctx, path, 0));
  smft_status status = check_file(selector, &file, path, &is_old);
  if (status == SMFT_OK)
    status = smft__tally_create(&tally, selector->ctx, selector->model);
  if (status == SMFT_OK)
    status = read_tally(selector, &file, path, is_old, &tally);
  if (status == SMFT_OK) {
    smft__selector_set(selector, &tally);
    remember_file(selector, &file);
  }
  smft__tally_free(&tally, selector->ctx);
  smft__safetensors_close(&file);
  return status;
}
