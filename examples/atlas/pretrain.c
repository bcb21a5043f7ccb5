/* pretrain: makes the atlas model: random weights, then AdamW through a full patch over facts in
 * many wordings and general text, then export and, where the model has a memory, background counts.
 * Everything through the public API.  Resumes from its last checkpoint: every step draws its batch
 * from a generator seeded with the step's number, so a run that was stopped goes on exactly where
 * it was. */
#include "facts.h"
#include "program.h"
#include "smft/smft.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef struct settings {
  const char *data, *work, *out;
  int64_t steps, stop_after, facts_per_step, texts_per_step, save_every, report_every, background;
  double lr, lr_end, pool_lr, pool_lr_end, warmup, weight_decay, clip, pool_clip, prompt_weight,
      prompt_share, text_weight, beta2;
  /* the trunk's learning rate falls to `trunk` of itself between these two steps */
  double trunk, trunk_from, trunk_to;
  int64_t threads, seed;
} settings;

typedef struct corpus { /* token sequences, one after another */
  int32_t *ids;         /* (n_ids) */
  float *weights;       /* (n_ids) weight of predicting each */
  int64_t *offsets;     /* (n + 1) */
  int64_t n, n_ids, capacity_ids, capacity;
} corpus;

typedef struct batch_buffer { /* one step's batch */
  int32_t *ids;
  float *weights;
  int64_t *lengths;
  int64_t n, n_ids, capacity_ids, capacity;
} batch_buffer;

static void *grown(void *pointer, int64_t *capacity, int64_t needed, size_t size) {
  if (needed <= *capacity)
    return pointer;
  *capacity = needed + needed / 2 + 64;
  pointer = realloc(pointer, (size_t)*capacity * size);
  if (!pointer) {
    fprintf(stderr, "atlas-pretrain: out of memory\n");
    exit(1);
  }
  return pointer;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- corpora ------------------------------------------------------------- */

static void corpus_room(corpus *c, int64_t more) {
  int64_t capacity = c->capacity_ids;
  c->ids = grown(c->ids, &capacity, c->n_ids + more, sizeof *c->ids);
  c->weights = grown(c->weights, &c->capacity_ids, c->n_ids + more, sizeof *c->weights);
  c->offsets = grown(c->offsets, &c->capacity, c->n + 2, sizeof *c->offsets);
}

/* Appends the tokens of a piece of text to the sequence that is being made. */
static void corpus_add(corpus *c, const smft_tokenizer *tokenizer, const char *text, uint32_t flags,
                       float weight) {
  /* never more tokens than bytes, plus the special ones */
  int64_t n = 0, room = (int64_t)strlen(text) + 8;
  corpus_room(c, room);
  check(smft_tokenizer_encode(tokenizer, text, strlen(text), flags, c->ids + c->n_ids, room, &n),
        "encode");
  for (int64_t i = 0; i < n; i++)
    c->weights[c->n_ids + i] = weight;
  c->n_ids += n;
}

static void corpus_end(corpus *c) {
  c->offsets[0] = 0;
  c->offsets[++c->n] = c->n_ids;
}

/* Sequences in the order fact by fact, wording by wording: sequence f * W + w needs the same W for
 * every relation. */
static int64_t facts_corpus(corpus *c, const smft_tokenizer *tokenizer, const atlas_facts *facts,
                            const atlas_wordings *wordings, double prompt_weight, int64_t *first) {
  for (int64_t f = 0; f < facts->n; f++) {
    const atlas_relation *relation = atlas_relation_find(wordings, facts->items[f].relation);
    first[f] = c->n;
    for (int64_t w = 0; relation && w < relation->n; w++) {
      atlas_text text;
      if (atlas_fill(&text, &relation->wordings[w], &facts->items[f]) != 0)
        return -1;
      corpus_add(c, tokenizer, text.prompt, SMFT_ENCODE_PROMPT | SMFT_ENCODE_NO_PARSE,
                 (float)prompt_weight);
      corpus_add(c, tokenizer, text.answer, SMFT_ENCODE_CONTINUE | SMFT_ENCODE_NO_PARSE, 1.0f);
      corpus_add(c, tokenizer, text.end, SMFT_ENCODE_CONTINUE | SMFT_ENCODE_NO_PARSE, 1.0f);
      corpus_end(c);
      atlas_text_free(&text);
    }
  }
  first[facts->n] = c->n;
  return 0;
}

static void text_corpus(corpus *c, const smft_tokenizer *tokenizer, const char *path,
                        double weight) {
  int64_t n = 0;
  char **lines = atlas_lines(path, &n);
  for (int64_t i = 0; lines && i < n; i++) {
    corpus_add(c, tokenizer, lines[i], SMFT_ENCODE_PROMPT | SMFT_ENCODE_NO_PARSE, (float)weight);
    corpus_add(c, tokenizer, "\n", SMFT_ENCODE_CONTINUE, (float)weight);
    corpus_end(c);
  }
  atlas_lines_free(lines, n);
}

/* ---- batches ------------------------------------------------------------- */

/* with_prompt 0: only tokens of weight 1 or more stay in the loss. */
static void batch_add(batch_buffer *batch, const corpus *c, int64_t sequence, int with_prompt) {
  int64_t begin = c->offsets[sequence], n = c->offsets[sequence + 1] - begin;
  int64_t capacity = batch->capacity_ids;
  batch->ids = grown(batch->ids, &capacity, batch->n_ids + n, sizeof *batch->ids);
  batch->weights =
      grown(batch->weights, &batch->capacity_ids, batch->n_ids + n, sizeof *batch->weights);
  batch->lengths = grown(batch->lengths, &batch->capacity, batch->n + 1, sizeof *batch->lengths);
  memcpy(batch->ids + batch->n_ids, c->ids + begin, (size_t)n * sizeof *batch->ids);
  memcpy(batch->weights + batch->n_ids, c->weights + begin, (size_t)n * sizeof *batch->weights);
  for (int64_t i = 0; !with_prompt && i < n; i++)
    if (batch->weights[batch->n_ids + i] < 1)
      batch->weights[batch->n_ids + i] = 0;
  batch->lengths[batch->n++] = n;
  batch->n_ids += n;
}

/* The i-th draw of an endless series that goes through all n items in a new random order again and
 * again. */
static int64_t draw(uint64_t seed, int64_t i, int64_t n, int64_t **order, int64_t *round) {
  if (!*order)
    *order = malloc((size_t)n * sizeof **order);
  if (*round != i / n && *order) {
    uint64_t state = seed + 0x51ed27ULL * (uint64_t)(*round = i / n);
    atlas_shuffle(&state, *order, n);
  }
  return *order ? (*order)[i % n] : 0;
}

typedef struct source {
  corpus facts, text;
  int64_t *first; /* (n_facts + 1) first sequence of each fact */
  int64_t n_facts;
  int64_t *fact_order, *text_order, fact_round, text_round;
} source;

static void batch_fill(batch_buffer *batch, source *from, const settings *s, int64_t step) {
  uint64_t state = (uint64_t)s->seed * 1000003ULL + (uint64_t)step;
  batch->n = batch->n_ids = 0;
  for (int64_t i = 0; i < s->facts_per_step; i++) {
    int64_t f = draw((uint64_t)s->seed, step * s->facts_per_step + i, from->n_facts,
                     &from->fact_order, &from->fact_round);
    int64_t sequence = from->first[f] + atlas_below(&state, from->first[f + 1] - from->first[f]);
    batch_add(batch, &from->facts, sequence,
              (double)(atlas_random(&state) >> 11) * 0x1p-53 < s->prompt_share);
  }
  for (int64_t i = 0; i < s->texts_per_step && from->text.n > 0; i++)
    batch_add(batch, &from->text,
              draw((uint64_t)s->seed + 1, step * s->texts_per_step + i, from->text.n,
                   &from->text_order, &from->text_round),
              1);
}

/* ---- checkpoints --------------------------------------------------------- */

static int64_t resume(const settings *s, const smft_model *model, smft_patch **patch,
                      smft_optimizer *optimizer) {
  const char *path;
  long long step = 0;
  path = path_in(s->work, "step");
  FILE *file = fopen(path, "r");
  if (!file || fscanf(file, "%lld", &step) != 1)
    step = 0;
  if (file)
    fclose(file);
  if (step > 0) {
    smft_patch_free(*patch);
    path = path_in(s->work, "patch.safetensors");
    check(smft_patch_load(patch, model, path), "checkpoint");
    path = path_in(s->work, "optimizer.safetensors");
    check(smft_optimizer_load(optimizer, model, path), "checkpoint");
    printf("resuming at step %lld\n", step);
  }
  return step;
}

static void save(const settings *s, smft_patch *patch, smft_optimizer *optimizer, int64_t step) {
  const char *path, *temporary;
  path = path_in(s->work, "step");
  remove(path); /* a step file says that patch and optimizer are whole */
  temporary = path_in(s->work, "patch.safetensors");
  check(smft_patch_save(patch, temporary, 0), "saving the checkpoint");
  temporary = path_in(s->work, "optimizer.safetensors");
  check(smft_optimizer_save(optimizer, temporary), "saving the checkpoint");
  FILE *file = fopen(path, "w");
  if (!file || fprintf(file, "%lld\n", (long long)step) < 0 || fclose(file) != 0) {
    perror(path);
    exit(1);
  }
}

/* ---- training ------------------------------------------------------------ */

/* Linear warm-up, then a half cosine from `begin` to `end`. */
static double schedule(double begin, double end, double warmup, int64_t step, int64_t steps) {
  double t = (double)step;
  if (t < warmup)
    return begin * (t + 1) / warmup;
  return end + (begin - end) * 0.5 *
                   (1 + cos(3.14159265358979 * (t - warmup) / fmax(1, (double)steps - warmup)));
}

/* The trunk (embedding, attention, FFNs, norms) learns the forms of the sentences first; then its
 * rate falls, so that the facts have to go into the memory: groups are set so that memory layers
 * keep the whole rate. */
static void set_rates(const settings *s, smft_optimizer *optimizer, int64_t step) {
  double done = ((double)step - s->trunk_from) / fmax(1, s->trunk_to - s->trunk_from);
  double trunk = 1 - (1 - s->trunk) * fmin(1, fmax(0, done));
  check(smft_optimizer_set_group(optimizer, "model", trunk), "learning rate");
  check(smft_optimizer_set_group(optimizer, ".memory.", 1), "learning rate");
  check(smft_optimizer_set_group(optimizer, ".memory_pools.", 1), "learning rate");
  check(smft_optimizer_set_lr(optimizer, schedule(s->lr, s->lr_end, s->warmup, step, s->steps),
                              schedule(s->pool_lr, s->pool_lr_end, s->warmup, step, s->steps)),
        "learning rate");
}

static void train(const settings *s, const smft_model *model, smft_patch *patch,
                  smft_optimizer *optimizer, source *from, int64_t first) {
  smft_learner *learner = NULL;
  batch_buffer batch = {0};
  double loss = 0, began = now();
  check(smft_learner_create(&learner, model, patch, NULL, optimizer, NULL), "learner");
  for (int64_t step = first; step < s->steps; step++) {
    smft_report report = SMFT_REPORT_INIT;
    smft_batch view = SMFT_BATCH_INIT;
    batch_fill(&batch, from, s, step);
    view.ids = batch.ids;
    view.lengths = batch.lengths;
    view.n_sequences = batch.n;
    view.token_weights = batch.weights;
    set_rates(s, optimizer, step);
    check(smft_learner_step_batch(learner, &view, &report), "step");
    loss = loss == 0 ? report.loss : 0.98 * loss + 0.02 * report.loss;
    if ((step + 1) % s->report_every == 0 || step + 1 == s->steps) {
      double per_step = (now() - began) / (double)(step + 1 - first);
      printf("step %lld/%lld  loss %.4f  gradient %.3f  %lld tokens  %.0f ms/step  %.1f min left\n",
             (long long)step + 1, (long long)s->steps, loss, report.gradient_norm,
             (long long)batch.n_ids, 1000 * per_step,
             per_step * (double)(s->steps - step - 1) / 60);
      fflush(stdout);
    }
    if (((step + 1) % s->save_every == 0 || step + 1 == s->stop_after) && step + 1 < s->steps)
      save(s, patch, optimizer, step + 1);
    if (step + 1 == s->stop_after)
      exit(0);
  }
  save(s, patch, optimizer, s->steps);
  smft_learner_free(learner);
  free(batch.ids);
  free(batch.weights);
  free(batch.lengths);
}

/* ---- background ---------------------------------------------------------- */

/* Counts over single sequences drawn as in pretraining, half of them facts: what is to be kept ([P]
 * section 3). */
static void count_background(const settings *s, smft_ctx *ctx, source *from) {
  smft_model *model = NULL;
  smft_selector *selector = NULL;
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_background background = SMFT_BACKGROUND_INIT;
  batch_buffer batch = {0};
  uint64_t state = (uint64_t)s->seed + 7;
  const char *path;
  options.flags = SMFT_SELECTOR_EMPTY;
  check(smft_model_load(&model, ctx, s->out, NULL), "the exported model");
  check(smft_selector_create(&selector, model, &options), "selector");
  for (int64_t i = 0; i < s->background; i++) {
    int64_t f = atlas_below(&state, from->n_facts);
    if (i % 4 == 3 && from->text.n > 0)
      batch_add(&batch, &from->text, atlas_below(&state, from->text.n), 1);
    else
      batch_add(&batch, &from->facts,
                from->first[f] + atlas_below(&state, from->first[f + 1] - from->first[f]), 1);
  }
  background.ids = batch.ids;
  background.lengths = batch.lengths;
  background.n_sequences = batch.n;
  background.tokens_per_sequence = 256;
  check(smft_selector_count_background(selector, &background), "background counts");
  path = path_in(s->out, "background.safetensors");
  check(smft_selector_save(selector, path), "saving the background counts");
  printf("background: %lld sequences, %lld tokens\n", (long long)batch.n, (long long)batch.n_ids);
  smft_selector_free(selector);
  smft_model_free(model);
  free(batch.ids);
  free(batch.weights);
  free(batch.lengths);
}

/* A model without memory has no rows to choose, so it needs no counts. */
static int has_memory(const smft_model *model) { return smft_model_memory(model, 0) != NULL; }

/* ---- command line -------------------------------------------------------- */

static const char usage[] =
    "usage: atlas-pretrain --data DIR --work DIR --out DIR [options]\n"
    "Makes the atlas model.  --work holds config.json and tokenizer.json to begin with, and the "
    "checkpoint (45 + 90 MB) later;\n"
    "a run that was stopped goes on from there.  --out becomes the Hugging Face directory.\n"
    "  --steps N          optimizer steps; 0: only the background counts of the model in --out\n"
    "  --stop-after N     save a checkpoint after this step and end\n"
    "  --facts N          fact sequences a step\n"
    "  --texts N          lines of general text a step\n"
    "  --lr A,B           learning rate from A to B (half cosine), and with --pool-lr A,B that of "
    "the pool's values\n"
    "  --warmup N         steps of linear warm-up\n"
    "  --trunk F,A,B      outside the memory the rate falls to F of itself from step A to step B\n"
    "  --weight-decay W   of the dense weights\n"
    "  --clip C --pool-clip C   gradient clipping by norm, 0: none\n"
    "  --prompt-weight W --text-weight W   weight of a prompt's and a text's tokens in the loss "
    "(an answer's: 1)\n"
    "  --prompt-share P   share of the fact sequences whose prompt is in the loss at all\n"
    "  --beta2 B          of AdamW\n"
    "  --background N     sequences for the background counts (none for a model without memory)\n"
    "  --save-every N --report-every N --threads N --seed N\n";

/* One option: which of the pointers is set says what its value is. */
typedef struct option_row {
  const char *name;
  const char **text;
  int64_t *whole;
  double *real, *second; /* "A,B" or "A", then B is A */
} option_row;

static void bad_usage(void) {
  fputs(usage, stderr);
  exit(2);
}

static void take(const option_row *row, const char *value) {
  char *rest = NULL;
  if (row->text)
    *row->text = value;
  else if (row->whole)
    *row->whole = strtoll(value, &rest, 10);
  else
    *row->real = strtod(value, &rest);
  if (row->second)
    *row->second = rest && *rest == ',' ? strtod(rest + 1, &rest) : *row->real;
  if (rest && (*rest || rest == value))
    bad_usage();
}

static void check_settings(const settings *s) {
  if (!s->data || !s->work || !s->out || s->steps < 0 || s->facts_per_step < 1 ||
      s->texts_per_step < 0 || s->save_every < 1 || s->report_every < 1)
    bad_usage();
}

static void parse(settings *s, int argc, char **argv) {
  const char *trunk = NULL;
  const option_row rows[] = {
      {"--data", &s->data, NULL, NULL, NULL},
      {"--work", &s->work, NULL, NULL, NULL},
      {"--out", &s->out, NULL, NULL, NULL},
      {"--trunk", &trunk, NULL, NULL, NULL},
      {"--steps", NULL, &s->steps, NULL, NULL},
      {"--stop-after", NULL, &s->stop_after, NULL, NULL},
      {"--facts", NULL, &s->facts_per_step, NULL, NULL},
      {"--texts", NULL, &s->texts_per_step, NULL, NULL},
      {"--background", NULL, &s->background, NULL, NULL},
      {"--save-every", NULL, &s->save_every, NULL, NULL},
      {"--report-every", NULL, &s->report_every, NULL, NULL},
      {"--threads", NULL, &s->threads, NULL, NULL},
      {"--seed", NULL, &s->seed, NULL, NULL},
      {"--lr", NULL, NULL, &s->lr, &s->lr_end},
      {"--pool-lr", NULL, NULL, &s->pool_lr, &s->pool_lr_end},
      {"--warmup", NULL, NULL, &s->warmup, NULL},
      {"--weight-decay", NULL, NULL, &s->weight_decay, NULL},
      {"--clip", NULL, NULL, &s->clip, NULL},
      {"--pool-clip", NULL, NULL, &s->pool_clip, NULL},
      {"--prompt-weight", NULL, NULL, &s->prompt_weight, NULL},
      {"--prompt-share", NULL, NULL, &s->prompt_share, NULL},
      {"--text-weight", NULL, NULL, &s->text_weight, NULL},
      {"--beta2", NULL, NULL, &s->beta2, NULL},
  };
  const size_t n_rows = sizeof rows / sizeof *rows;
  for (int i = 1; i < argc; i += 2) {
    size_t row = 0;
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      fputs(usage, stdout);
      exit(0);
    }
    while (row < n_rows && strcmp(argv[i], rows[row].name) != 0)
      row++;
    if (row == n_rows || i + 1 == argc)
      bad_usage();
    take(&rows[row], argv[i + 1]);
  }
  if (trunk && sscanf(trunk, "%lf,%lf,%lf", &s->trunk, &s->trunk_from, &s->trunk_to) != 3)
    bad_usage();
  check_settings(s);
}

int main(int argc, char **argv) {
  settings s = {.steps = 4000,
                .facts_per_step = 64,
                .texts_per_step = 4,
                .save_every = 1000,
                .report_every = 100,
                .background = 2000,
                .lr = 2e-3,
                .lr_end = 2e-5,
                .pool_lr = 1e-2,
                .pool_lr_end = 1e-3,
                .warmup = 100,
                .clip = 1,
                .pool_clip = 1,
                .weight_decay = 0.01,
                .prompt_weight = 0.3,
                .prompt_share = 0.2,
                .text_weight = 0.3,
                .beta2 = 0.99,
                .trunk = 0.15,
                .trunk_from = 400,
                .trunk_to = 700,
                .seed = 1};
  const char *path;
  atlas_facts facts;
  atlas_wordings wordings;
  source from = {.fact_round = -1, .text_round = -1};
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  smft_patch *patch = NULL;
  smft_optimizer *optimizer = NULL;
  smft_ctx_options ctx_options = SMFT_CTX_OPTIONS_INIT;
  smft_optimizer_options optimizer_options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_export_options export_options = SMFT_EXPORT_OPTIONS_INIT;
  parse(&s, argc, argv);
  ctx_options.n_threads = (int32_t)s.threads;
  optimizer_options.kind = SMFT_OPTIMIZER_ADAMW;
  optimizer_options.flags = SMFT_OPTIMIZER_LAZY_POOLS;
  optimizer_options.lr = s.lr;
  optimizer_options.pool_lr = s.pool_lr;
  optimizer_options.weight_decay = s.weight_decay;
  optimizer_options.clip_norm = s.clip;
  optimizer_options.pool_clip_norm = s.pool_clip;
  optimizer_options.beta2 = s.beta2;
  check(smft_ctx_create(&ctx, &ctx_options), "context");
  check(smft_model_init(&model, ctx, s.work, (uint64_t)s.seed), s.work);
  check(smft_patch_create(&patch, model, SMFT_PATCH_FULL), "patch");
  check(smft_optimizer_create(&optimizer, ctx, &optimizer_options), "optimizer");
  path = path_in(s.data, "known.jsonl");
  if (atlas_facts_load(&facts, path) != 0)
    return 1;
  path = path_in(s.data, "wordings.json");
  if (atlas_wordings_load(&wordings, path) != 0)
    return 1;
  from.n_facts = facts.n;
  from.first = calloc((size_t)facts.n + 1, sizeof *from.first);
  if (!from.first || facts_corpus(&from.facts, smft_model_tokenizer(model), &facts, &wordings,
                                  s.prompt_weight, from.first) != 0)
    return 1;
  path = path_in(s.data, "text.train.txt");
  text_corpus(&from.text, smft_model_tokenizer(model), path, s.text_weight);
  printf("%lld facts in %lld texts (%lld tokens), %lld lines of text (%lld tokens)\n",
         (long long)facts.n, (long long)from.facts.n, (long long)from.facts.n_ids,
         (long long)from.text.n, (long long)from.text.n_ids);
  if (s.steps > 0) {
    int64_t first = resume(&s, model, &patch, optimizer); /* may replace the patch */
    train(&s, model, patch, optimizer, &from, first);
    export_options.dtype = SMFT_DTYPE_BF16;
    check(smft_model_export(model, patch, s.out, &export_options), "export");
  }
  if (has_memory(model))
    count_background(&s, ctx, &from);
  smft_optimizer_free(optimizer);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
  atlas_facts_free(&facts);
  atlas_wordings_free(&wordings);
  free(from.first);
  free(from.fact_order);
  free(from.text_order);
  free(from.facts.ids);
  free(from.facts.weights);
  free(from.facts.offsets);
  free(from.text.ids);
  free(from.text.weights);
  free(from.text.offsets);
  printf("wrote %s\n", s.out);
  return 0;
}
