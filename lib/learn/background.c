/* background: counts in how many batches of ordinary text each slot is read, and how much.  Owns
 * batches and marks; the counts themselves are the selector's (stats.h). */
#include "base/bytes.h"
#include "base/file.h"
#include "learn/selector.h"
#include "model/network.h"
#include <stddef.h>

/* sequences wait until they have so many tokens, then go through the network together */
#define GROUP_TOKENS 1024

typedef struct counter {
  smft_selector *selector;
  const smft_model *model;
  smft_background options; /* with its defaults */
  smft_ctx *ctx;
  smft__tape *tape;
  smft__stats stats; /* the counts before, plus what was counted; but for: */
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
  int64_t pool = c->model->config.memories[memory].pool * smft__n_slots(c->model);
  const int64_t *slots = smft__tape_slots(c->tape, memory, &n);
  const float *weights = smft__tape_weights(c->tape, memory, &n);
  uint32_t batch = (uint32_t)c->batch[sequence];
  for (int64_t i = c->offsets[sequence] * width; i < c->offsets[sequence + 1] * width; i++) {
    int64_t at = pool + slots[i];
    c->square[at] += (double)weights[i] * (double)weights[i];
    if (c->last[at] != batch) {
      c->last[at] = batch;
      c->stats.df[at]++;
    }
  }
  c->stats.n_reads += (c->offsets[sequence + 1] - c->offsets[sequence]) * width;
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

/* ids: the tokens of the text. */
static smft_status encode(const counter *c, const char *text, size_t length, smft__ids *ids) {
  ids->n = 0;
  return smft__tokenizer_encode(c->model->tokenizer, text, length,
                                SMFT_ENCODE_SPECIAL | SMFT_ENCODE_NO_PARSE, ids);
}

static smft_status count_texts(counter *c, smft__ids *ids) {
  c->total = c->options.n_texts;
  for (int64_t i = 0; i < c->options.n_texts && !is_full(c); i++) {
    const char *text = c->options.texts[i];
    SMFT__REQUIRE(text, "smft_background.texts[%lld] is NULL", (long long)i);
    smft_status status = encode(c, text, strlen(text), ids);
    if (status != SMFT_OK)
      return smft__fail_within(status, "smft_background.texts[%lld]", (long long)i);
    SMFT__TRY(*text ? add_sequence(c, ids->data, ids->n) : SMFT_OK);
    c->done = i + 1;
  }
  return flush(c);
}

static smft_status count_line(counter *c, const char *line, size_t length, smft__ids *ids,
                              int64_t number) {
  if (length > 0 && line[length - 1] == '\r')
    length--;
  if (length == 0)
    return SMFT_OK;
  smft_status status = encode(c, line, length, ids);
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

static smft_status count_file(counter *c, smft__ids *ids) {
  smft__file file = {0};
  SMFT__TRY(smft__file_open(&file, c->ctx, c->options.text_path, 0));
  smft_status status = count_lines(c, &file, ids);
  smft__file_close(&file);
  return status;
}

static smft_status count(counter *c) {
  if (c->options.ids || c->options.lengths)
    return count_ids(c);
  if (!c->model->tokenizer)
    return smft__fail(
        SMFT_E_UNSUPPORTED,
        "smft_selector_count_background: the model has no tokenizer to read %s with; give ids",
        c->options.text_path ? c->options.text_path : "texts");
  smft__ids ids = {c->ctx, NULL, 0, 0};
  smft_status status = c->options.texts ? count_texts(c, &ids) : count_file(c, &ids);
  smft__ids_free(&ids);
  return status;
}

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

static smft_status read_options(counter *c, const smft_background *background) {
  smft_background *o = &c->options;
  smft_background own = SMFT_BACKGROUND_INIT;
  *o = own;
  SMFT__TRY(smft__options_read(o, background, sizeof *o, offsetof(smft_background, texts),
                               "smft_background"));
  SMFT__TRY(check_source(o));
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
  const smft__stats *before = &c->selector->stats;
  int64_t n = smft__all_slots(c->model);
  SMFT__TRY(smft__tape_create(&c->tape, c->model));
  SMFT__TRY(smft__stats_create(&c->stats, c->ctx, c->model));
  c->square = smft__calloc_array(c->ctx, n, sizeof *c->square);
  c->last = smft__calloc_array(c->ctx, n, sizeof *c->last);
  if (!c->square || !c->last)
    return SMFT_E_NOMEM;
  if (before->df) {
    memcpy(c->stats.df, before->df, (size_t)n * sizeof *c->stats.df);
    memcpy(c->stats.square, before->square, (size_t)n * sizeof *c->stats.square);
  }
  c->stats.n_batches = before->n_batches;
  c->stats.n_reads = before->n_reads;
  c->stats.n_tokens = before->n_tokens;
  return SMFT_OK;
}

static void add_up(counter *c) {
  for (int64_t i = 0; i < smft__all_slots(c->model); i++)
    c->stats.square[i] = (float)((double)c->stats.square[i] + c->square[i]);
  c->stats.n_batches += c->n_batches;
}

static void release(counter *c) {
  smft__tape_free(c->tape);
  smft__stats_free(&c->stats, c->ctx);
  smft__free(c->ctx, c->square);
  smft__free(c->ctx, c->last);
  smft__ids_free(&c->ids);
  smft__free(c->ctx, c->offsets);
  smft__free(c->ctx, c->batch);
}

/* What the file's metadata says of where the counts come from; a name that is too long or no UTF-8
 * is just "text". */
static void remember_source(counter *c) {
  const char *path = c->options.text_path, *name = path ? strrchr(path, '/') : NULL;
  name = name ? name + 1 : path ? path : c->options.texts ? "texts" : "token ids";
  size_t length = strlen(name), most = sizeof c->stats.corpus - 1;
  strcpy(c->stats.corpus, smft__utf8_valid(name, length, NULL) && length <= most ? name : "text");
  c->stats.n_tokens += c->n_tokens;
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
    status = count(&c);
  if (status == SMFT_OK) {
    add_up(&c);
    remember_source(&c);
    smft__selector_set(selector, &c.stats);
  }
  release(&c);
  return status;
}
