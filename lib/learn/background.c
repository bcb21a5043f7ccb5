/* background: counts in how many batches of ordinary text each slot is read, and the file that keeps the counts.  Owns batches, marks and
 * background.safetensors; the counts themselves are the selector's. */
#include "base/bytes.h"
#include "base/file.h"
#include "data/safetensors.h"
#include "learn/selector.h"
#include "model/network.h"
#include <stdio.h>

#define GROUP_TOKENS 1024 /* sequences wait until they have so many tokens, then go through the network together */
#define FORMAT "smft.background.1"

typedef struct counter {
  smft_selector *selector;
  const smft_model *model;
  smft_background options; /* with its defaults */
  smft_ctx *ctx;
  smft__tape *tape;
  uint32_t **df;       /* the counts before, plus what was counted */
  uint32_t **last;     /* (n_pools) of (n_slots): the last batch that read the slot, from 1 */
  int64_t n_batches;   /* begun in this call */
  int64_t in_batch;    /* sequences in the batch begun last */
  smft__ids ids;       /* tokens that wait */
  int64_t *offsets;    /* (n_waiting + 1) */
  int64_t *batch;      /* (n_waiting): number of each sequence's batch, from 1, ascending */
  int64_t n_waiting, offsets_capacity, batch_capacity;
  int64_t n_tokens;    /* counted in this call */
  int64_t done, total; /* sequences of the input, for progress */
} counter;

/* df counts a slot once a batch: `last` remembers which batch counted it.  Sequence by sequence over all layers, so that layers which share
 * a pool do not count twice. */
static void mark_reads(counter *c, int64_t sequence, int32_t memory) {
  const smft__config *config = &c->model->config;
  int64_t n = 0, width = (int64_t)config->memory.heads * config->memory.top_k;
  int32_t pool = c->model->memories[memory].pool;
  const int64_t *slots = smft__tape_slots(c->tape, memory, &n);
  uint32_t batch = (uint32_t)c->batch[sequence];
  for (int64_t i = c->offsets[sequence] * width; i < c->offsets[sequence + 1] * width; i++)
    if (c->last[pool][slots[i]] != batch) {
      c->last[pool][slots[i]] = batch;
      c->df[pool][slots[i]]++;
    }
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
  if (c->options.progress && c->options.progress(c->options.progress_user, "background", c->done, c->total) != 0)
    return smft__fail(SMFT_E_CANCELLED, "smft_selector_count_background: cancelled by the progress callback");
  return SMFT_OK;
}

static int is_full(const counter *c) {
  return c->options.max_batches > 0 && c->n_batches == c->options.max_batches && c->in_batch == c->options.sequences_per_batch;
}

/* The waiting tokens after the last sequence become one more of the current batch, or of a new one. */
static smft_status end_sequence(counter *c) {
  int64_t begin = c->n_waiting ? c->offsets[c->n_waiting] : 0;
  if (c->ids.n == begin)
    return SMFT_OK;
  if (c->n_batches == 0 || c->in_batch == c->options.sequences_per_batch) {
    if (c->n_batches == UINT32_MAX)
      return smft__fail(SMFT_E_UNSUPPORTED, "smft_selector_count_background: more than %u batches", (unsigned)UINT32_MAX);
    c->n_batches++;
    c->in_batch = 0;
  }
  SMFT__TRY(smft__grow(c->ctx, &c->offsets, &c->offsets_capacity, c->n_waiting + 2, sizeof *c->offsets));
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
      return smft__fail(SMFT_E_TOKEN, "smft_selector_count_background: sequence %lld: token id %d is outside the vocabulary of %d",
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

static smft_status count_line(counter *c, const char *line, size_t length, smft__ids *ids, int64_t number) {
  if (length > 0 && line[length - 1] == '\r')
    length--;
  if (length == 0)
    return SMFT_OK;
  ids->n = 0;
  smft_status status = smft__tokenizer_encode(c->model->tokenizer, line, length, SMFT_ENCODE_SPECIAL | SMFT_ENCODE_NO_PARSE, ids);
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
    return smft__fail(SMFT_E_UNSUPPORTED, "smft_selector_count_background: the model has no tokenizer to read %s with; give ids",
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
  SMFT__REQUIRE(!o->text_path || (!o->ids && !o->lengths), "smft_background: a text_path and ids; give one");
  SMFT__REQUIRE(o->text_path || (o->n_sequences >= 0 && (o->n_sequences == 0 || (o->ids && o->lengths))),
                "smft_background: neither a text_path nor ids with their lengths");
  SMFT__REQUIRE(o->sequences_per_batch >= 0 && o->tokens_per_sequence >= 0 && o->max_batches >= 0, "smft_background: a negative number");
  int64_t context = c->model->config.context;
  if (o->tokens_per_sequence > context)
    return smft__fail(SMFT_E_CONTEXT, "smft_background.tokens_per_sequence is %lld, the model's context holds %lld tokens",
                      (long long)o->tokens_per_sequence, (long long)context);
  o->sequences_per_batch = o->sequences_per_batch ? o->sequences_per_batch : 1;
  o->tokens_per_sequence = o->tokens_per_sequence ? o->tokens_per_sequence : context < 64 ? context : 64;
  return SMFT_OK;
}

static smft_status prepare(counter *c) {
  SMFT__TRY(smft__tape_create(&c->tape, c->model));
  c->df = smft__df_create(c->ctx, c->model);
  c->last = smft__df_create(c->ctx, c->model);
  if (!c->df || !c->last)
    return SMFT_E_NOMEM;
  for (int32_t p = 0; c->selector->df && p < c->model->config.n_pools; p++)
    memcpy(c->df[p], c->selector->df[p], (size_t)smft__n_slots(c->model) * sizeof **c->df);
  return SMFT_OK;
}

static void release(counter *c) {
  smft__tape_free(c->tape);
  smft__df_free(c->ctx, c->model, c->df);
  smft__df_free(c->ctx, c->model, c->last);
  smft__ids_free(&c->ids);
  smft__free(c->ctx, c->offsets);
  smft__free(c->ctx, c->batch);
}

/* What the file's metadata says of where the counts come from; a name that is too long or no UTF-8 is just "text". */
static void remember_source(smft_selector *selector, const counter *c) {
  const char *path = c->options.text_path, *name = path ? strrchr(path, '/') : NULL;
  name = name ? name + 1 : path ? path : "token ids";
  size_t length = strlen(name), most = sizeof selector->corpus - 1;
  strcpy(selector->corpus, smft__utf8_valid(name, length, NULL) && length <= most ? name : "text");
  selector->n_tokens += c->n_tokens;
}

smft_status smft_selector_count_background(smft_selector *selector, const smft_background *background) {
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
    smft__selector_set(selector, c.df, selector->n_batches + c.n_batches);
    remember_source(selector, &c);
    c.df = NULL;
  }
  release(&c);
  return status;
}

/* ---- file: df.{pool} u32 (n_slots), metadata format, batches, tokens, corpus, model_hash ---- */

smft_status smft_selector_save(smft_selector *selector, const char *path) {
  SMFT__REQUIRE(selector && path, "smft_selector_save: a NULL argument");
  smft_ctx *ctx = selector->ctx;
  int32_t n_pools = selector->model->config.n_pools;
  char batches[32], tokens[32];
  snprintf(batches, sizeof batches, "%lld", (long long)selector->n_batches);
  snprintf(tokens, sizeof tokens, "%lld", (long long)selector->n_tokens);
  const char *keys[] = {"format", "batches", "tokens", "corpus", "model_hash"};
  const char *values[] = {FORMAT, batches, tokens, selector->corpus, selector->model->hash};
  uint32_t **df = selector->df ? selector->df : smft__df_create(ctx, selector->model);
  smft__save_tensor *tensors = smft__calloc_array(ctx, n_pools, sizeof *tensors);
  char(*names)[32] = smft__calloc_array(ctx, n_pools, sizeof *names);
  smft_status status = df && tensors && names ? SMFT_OK : SMFT_E_NOMEM;
  for (int32_t p = 0; p < n_pools && status == SMFT_OK; p++) {
    snprintf(names[p], sizeof names[p], "df.%d", (int)p);
    smft__tensor tensor = {df[p], {smft__n_slots(selector->model)}, 1, SMFT__U32};
    tensors[p].name = names[p];
    tensors[p].tensor = tensor;
  }
  if (status == SMFT_OK)
    status = smft__safetensors_write(ctx, path, tensors, n_pools, keys, values, 5, NULL, NULL);
  smft__free(ctx, names);
  smft__free(ctx, tensors);
  if (df != selector->df)
    smft__df_free(ctx, selector->model, df);
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

static smft_status check_file(const smft_selector *selector, const smft__safetensors *file, const char *path, int64_t *n_batches) {
  const char *format = smft__safetensors_metadata(file, "format"), *hash = smft__safetensors_metadata(file, "model_hash");
  if (!format || strcmp(format, FORMAT) != 0)
    return smft__fail(SMFT_E_FORMAT, "%s: not background counts: its format is \"%s\", expected \"%s\"", path, format ? format : "",
                      FORMAT);
  if (!hash || strcmp(hash, selector->model->hash) != 0)
    return smft__fail(SMFT_E_MISMATCH, "%s: counts of another model: made for %s, this model is %s", path, hash ? hash : "(unnamed)",
                      selector->model->hash);
  *n_batches = whole_number(smft__safetensors_metadata(file, "batches"));
  if (*n_batches < 0)
    return smft__fail(SMFT_E_FORMAT, "%s: its number of batches is missing or not a number", path);
  return SMFT_OK;
}

static smft_status read_counts(const smft_selector *selector, const smft__safetensors *file, const char *path, int64_t n_batches,
                               uint32_t **df) {
  int64_t n_slots = smft__n_slots(selector->model);
  for (int32_t p = 0; p < selector->model->config.n_pools; p++) {
    char name[32];
    snprintf(name, sizeof name, "df.%d", (int)p);
    int64_t at = smft__safetensors_find(file, name);
    const smft__tensor *tensor = at >= 0 ? &file->tensors[at] : NULL;
    if (!tensor || tensor->dtype != SMFT__U32 || tensor->n_dims != 1 || tensor->shape[0] != n_slots)
      return smft__fail(SMFT_E_MISMATCH, "%s: expected a tensor \"%s\" of %lld numbers of type U32", path, name, (long long)n_slots);
    memcpy(df[p], tensor->data, (size_t)n_slots * sizeof **df);
    for (int64_t i = 0; i < n_slots; i++)
      if ((int64_t)df[p][i] > n_batches)
        return smft__fail(SMFT_E_FORMAT, "%s: slot %lld of pool %d was read in %u batches of %lld", path, (long long)i, (int)p,
                          (unsigned)df[p][i], (long long)n_batches);
  }
  return SMFT_OK;
}

smft_status smft_selector_load(smft_selector *selector, const char *path) {
  SMFT__REQUIRE(selector && path, "smft_selector_load: a NULL argument");
  smft__safetensors file = {0};
  int64_t n_batches = 0;
  SMFT__TRY(smft__safetensors_open(&file, selector->ctx, path, 0));
  uint32_t **df = NULL;
  smft_status status = check_file(selector, &file, path, &n_batches);
  if (status == SMFT_OK && !(df = smft__df_create(selector->ctx, selector->model)))
    status = SMFT_E_NOMEM;
  if (status == SMFT_OK)
    status = read_counts(selector, &file, path, n_batches, df);
  if (status == SMFT_OK) {
    int64_t n_tokens = whole_number(smft__safetensors_metadata(&file, "tokens"));
    const char *corpus = smft__safetensors_metadata(&file, "corpus");
    smft__selector_set(selector, df, n_batches);
    selector->n_tokens = n_tokens > 0 ? n_tokens : 0;
    snprintf(selector->corpus, sizeof selector->corpus, "%s", corpus && strlen(corpus) < sizeof selector->corpus ? corpus : "");
  } else
    smft__df_free(selector->ctx, selector->model, df);
  smft__safetensors_close(&file);
  return status;
}
