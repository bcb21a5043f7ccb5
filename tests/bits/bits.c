/* bits: what the library computes, to the last bit, for one model at one instruction set and number
 * of threads: every result is a file in a directory, for bits.sh to hash and compare by build.
 * Public API alone, but for the level: it compiles with one header against any build's libsmft.a.
 *   bits portable|avx2|avx512|tiles THREADS OUT_DIRECTORY MODEL_DIRECTORY
 * Exit: 0; 1 a call failed, or a saved patch gives other logits; 77 the processor lacks the level.
 * It does not own: which models, levels and threads are run, and what counts as equal (bits.sh). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "smft/smft.h"

int smft__cpu_limit(int level); /* lib/base/cpu.h: the tests' own hook */

#define TOKENS 96 /* of the sequence whose logits are taken: enough for AMX, a block and a rest */
#define FACTS 5
#define FACT_STEPS 8
#define BATCH_STEPS 20
#define SKIP 77

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_model_info info;
  const char *directory, *out;
  uint64_t random;
  int32_t ids[TOKENS];
  int64_t n;
} world;

#define must(call)                                                                                 \
  do {                                                                                             \
    smft_status must_status = (call);                                                              \
    if (must_status != SMFT_OK)                                                                    \
      die("%s: %s: %s", #call, smft_status_name(must_status), smft_error_message());               \
  } while (0)

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "bits: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  exit(1);
}

/* ---- results -------------------------------------------------------------------------- */

/* The file of the result NAME.WHAT; valid until four more are asked for. */
static const char *path_of(const world *w, const char *name, const char *what) {
  static char paths[4][4096];
  static int next = 0;
  next = (next + 1) % 4;
  int length = snprintf(paths[next], sizeof paths[next], "%s/%s.%s", w->out, name, what);
  if (length < 0 || (size_t)length >= sizeof paths[next])
    die("%s: too long a path", w->out);
  return paths[next];
}

static FILE *open_result(const world *w, const char *name, const char *what) {
  FILE *file = fopen(path_of(w, name, what), "wb");
  if (!file)
    die("%s: cannot be written", path_of(w, name, what));
  return file;
}

static void close_result(FILE *file) {
  if (ferror(file) | fclose(file))
    die("a result could not be written");
}

static void write_result(const world *w, const char *name, const char *what, const void *data,
                         size_t size) {
  FILE *file = open_result(w, name, what);
  fwrite(data, 1, size, file);
  close_result(file);
}

static void *allocate(int64_t n, size_t size) {
  void *memory = calloc((size_t)n, size);
  if (!memory)
    die("out of memory");
  return memory;
}

/* ---- inputs, the same in every run ---------------------------------------------------- */

static int32_t next_id(world *w) {
  w->random = w->random * 6364136223846793005u + 1442695040888963407u;
  return (int32_t)((w->random >> 33) % (uint64_t)w->info.vocab_size);
}

static void next_ids(world *w, int32_t *ids, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    ids[i] = next_id(w);
}

static const char *const texts[] = {"Unless is a novel by Carol Shields.",
                                    "The river runs through the old town, past the mill.",
                                    "Who wrote The Calder Game? Blue Balliett",
                                    "One day, a little girl went to the park with her mother.",
                                    "In 1969, 3 men flew to the Moon.",
                                    "Zürich lies at the end of a lake; its café is open."};
enum { N_TEXTS = sizeof texts / sizeof *texts };

static const struct {
  const char *prompt, *answer, *statement, *part;
} facts[FACTS] = {{"Who wrote Bodies?", " Jed Mercurio", "Jed Mercurio wrote Bodies.", "Bodies"},
                  {"Who wrote The Calder Game?", " Blue Balliett",
                   "The Calder Game is by Blue Balliett.", "Blue Balliett"},
                  {"Who wrote Unless?", " Carol Shields", "Unless is a novel by Carol Shields.",
                   "Carol Shields"},
                  {"Who wrote The Three Robbers?", " Tomi Ungerer",
                   "Tomi Ungerer wrote The Three Robbers.", "Robbers"},
                  {"What is the capital of Nowhere?", " Nil", "Nil is the capital of Nowhere.",
                   "Nowhere"}};

/* ---- the model ------------------------------------------------------------------------ */

static void describe_memory(const world *w, FILE *file, int32_t i) {
  smft_memory_info m = SMFT_MEMORY_INFO_INIT;
  must(smft_memory_get_info(smft_model_memory(w->model, i), &m));
  fprintf(file, "memory %d %d %d %d %d %d %d %d %lld\n", m.layer, m.pool, m.placement, m.n_keys,
          m.heads, m.top_k, m.key_dim, m.value_dim, (long long)m.n_slots);
}

static void describe(const world *w) {
  FILE *file = open_result(w, "model", "listing");
  const smft_model_info *m = &w->info;
  const char *name = NULL;
  int32_t dtype = 0;
  int64_t n = 0;
  fprintf(file, "%s\n%d %d %d %d %d %d %d %d %d %d %d %d %d %lld\n", smft_model_hash(w->model),
          m->n_layers, m->hidden_size, m->n_heads, m->n_kv_heads, m->head_dim, m->ffn_size,
          m->vocab_size, m->context_length, m->bos_id, m->eos_id, m->tied, m->n_memories,
          m->n_pools, (long long)m->n_parameters);
  for (int32_t i = 0; i < m->n_memories; i++)
    describe_memory(w, file, i);
  for (int64_t i = 0; smft_model_tensor(w->model, i, &name, &dtype, &n) == SMFT_OK; i++)
    fprintf(file, "%s %d %lld\n", name, dtype, (long long)n);
  close_result(file);
}

static void export_model(const world *w, const char *name, smft_patch *patch, int32_t dtype) {
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  options.dtype = dtype;
  must(smft_model_export(w->model, patch, path_of(w, name, "export"), &options));
}

static void begin_from_seed(const world *w) {
  smft_model *fresh = NULL;
  must(smft_model_init(&fresh, w->ctx, w->directory, 20240607));
  write_result(w, "init", "hash", smft_model_hash(fresh), 64);
  must(smft_model_export(fresh, NULL, path_of(w, "init", "export"), NULL));
  smft_model_free(fresh);
}

/* ---- inference ------------------------------------------------------------------------ */

/* After each of the tokens, fed `split` at a time. */
static float *take_logits(const world *w, smft_patch *patch, int64_t split) {
  const int64_t vocab = w->info.vocab_size;
  float *logits = allocate(w->n * vocab, sizeof *logits);
  smft_session *session = NULL;
  must(smft_session_create(&session, w->model, patch, NULL));
  for (int64_t i = 0; i < w->n; i += split) {
    int64_t n = i + split < w->n ? split : w->n - i;
    must(smft_session_feed(session, w->ids + i, n, SMFT_LOGITS_ALL, logits + i * vocab, n * vocab));
  }
  smft_session_free(session);
  return logits;
}

static void write_logits(const world *w, const char *name, smft_patch *patch, int64_t split) {
  char what[32];
  float *logits = take_logits(w, patch, split);
  snprintf(what, sizeof what, "logits_by_%lld", (long long)split);
  write_result(w, name, what, logits, (size_t)(w->n * w->info.vocab_size) * sizeof *logits);
  free(logits);
}

static void write_last_logits(const world *w, smft_session *session, const char *name) {
  float *logits = allocate(w->info.vocab_size, sizeof *logits);
  must(smft_session_feed(session, w->ids, 21, SMFT_LOGITS_NONE, NULL, 0));
  must(smft_session_rewind(session, 10)); /* back in the middle, and on again */
  must(smft_session_feed(session, w->ids + 10, 20, SMFT_LOGITS_LAST, logits, w->info.vocab_size));
  write_result(w, name, "logits_last", logits, (size_t)w->info.vocab_size * sizeof *logits);
  must(smft_session_rewind(session, 0));
  free(logits);
}

static void write_nll(const world *w, smft_session *session, const char *name) {
  float nll[TOKENS] = {0};
  double mean = 0;
  FILE *file = open_result(w, name, "nll");
  must(smft_session_nll(session, w->ids, w->n, nll, &mean));
  for (int64_t i = 0; i < w->n - 1; i++)
    fprintf(file, "%a\n", (double)nll[i]);
  fprintf(file, "mean %a\n", mean);
  close_result(file);
}

static void write_ids(const world *w, smft_session *session, const smft_generate_options *options,
                      FILE *file) {
  int32_t ids[64];
  int64_t n = 0;
  must(smft_session_generate_ids(session, w->ids, 5, options, ids, 64, &n));
  for (int64_t i = 0; i < n; i++)
    fprintf(file, "%d%c", ids[i], i < n - 1 ? ' ' : '\n');
}

static void write_text(const world *w, smft_session *session, const smft_generate_options *options,
                       FILE *file) {
  const char *text = NULL;
  size_t length = 0;
  if (!smft_model_tokenizer(w->model))
    return;
  must(smft_session_generate(session, texts[3], strlen(texts[3]), options, &text, &length));
  fprintf(file, "%zu %s\n", length, text);
}

static void write_generated(const world *w, smft_session *session, float temperature) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  FILE *file = open_result(w, "base", temperature > 0 ? "sampled" : "greedy");
  options.temperature = temperature;
  options.top_p = temperature > 0 ? 0.9f : 0;
  for (options.seed = 7; options.seed < (temperature > 0 ? 10 : 8); options.seed++) {
    write_ids(w, session, &options, file);
    write_text(w, session, &options, file);
  }
  close_result(file);
}

static void infer(const world *w, const char *name, smft_patch *patch) {
  smft_session *session = NULL;
  write_logits(w, name, patch, TOKENS);
  write_logits(w, name, patch, 7);
  must(smft_session_create(&session, w->model, patch, NULL));
  write_last_logits(w, session, name);
  write_nll(w, session, name);
  smft_session_free(session);
}

/* Generation costs more than all the rest: the model alone has it. */
static void infer_base(const world *w) {
  smft_session *session = NULL;
  infer(w, "base", NULL);
  write_logits(w, "base", NULL, 1);
  write_logits(w, "base", NULL, 40);
  must(smft_session_create(&session, w->model, NULL, NULL));
  write_generated(w, session, 0.0f);
  write_generated(w, session, 0.8f);
  smft_session_free(session);
}

/* ---- background counts ---------------------------------------------------------------- */

static smft_selector *new_selector(const world *w, uint32_t flags, const char *counts) {
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_selector *selector = NULL;
  options.flags = flags;
  must(smft_selector_create(&selector, w->model, &options));
  if (counts)
    must(smft_selector_load(selector, counts));
  return selector;
}

static void count_ids(world *w, smft_selector *selector) {
  enum { SEQUENCES = 40, LENGTH = 12 };
  int32_t ids[SEQUENCES * LENGTH];
  int64_t lengths[SEQUENCES];
  smft_background background = SMFT_BACKGROUND_INIT;
  next_ids(w, ids, SEQUENCES * LENGTH);
  for (int i = 0; i < SEQUENCES; i++)
    lengths[i] = LENGTH;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = SEQUENCES;
  background.sequences_per_batch = 3;
  must(smft_selector_count_background(selector, &background));
}

static void count_texts(const world *w) {
  smft_selector *selector = new_selector(w, SMFT_SELECTOR_EMPTY, NULL);
  smft_background background = SMFT_BACKGROUND_INIT;
  FILE *file = open_result(w, "background", "txt");
  for (int i = 0; i < N_TEXTS; i++)
    fprintf(file, "%s\n", texts[i]);
  close_result(file);
  background.text_path = path_of(w, "background", "txt");
  must(smft_selector_count_background(selector, &background));
  must(smft_selector_save(selector, path_of(w, "background", "text_counts")));
  smft_selector_free(selector);
}

/* Adds to the counts beside the model where there are some.  Learning starts from this file. */
static void count(world *w) {
  smft_selector *selector = new_selector(w, 0, NULL);
  count_ids(w, selector);
  must(smft_selector_save(selector, path_of(w, "background", "counts")));
  smft_selector_free(selector);
  if (smft_model_tokenizer(w->model))
    count_texts(w);
}

/* ---- learning ------------------------------------------------------------------------- */

#define OPTIMIZER .struct_size = sizeof(smft_optimizer_options)
#define ADAMW OPTIMIZER, .kind = SMFT_OPTIMIZER_ADAMW
static const struct variant {
  const char *name;
  int32_t patch;
  uint32_t learner_flags;
  smft_optimizer_options optimizer;
} variants[] = {
    {"sgd", SMFT_PATCH_SLOTS, 0, {OPTIMIZER}},
    {"momentum",
     SMFT_PATCH_SLOTS,
     SMFT_LEARNER_LOSS_ALL,
     {OPTIMIZER, .flags = SMFT_OPTIMIZER_KEEP_STATE, .momentum = 0.8, .weight_decay = 0.01,
      .clip_norm = 1}},
    {"adamw", SMFT_PATCH_SLOTS, 0, {ADAMW, .flags = SMFT_OPTIMIZER_KEEP_STATE}},
    {"rows", SMFT_PATCH_SLOTS, SMFT_LEARNER_ROWS_PER_STEP | SMFT_LEARNER_NO_PROTECT, {OPTIMIZER}},
    {"full",
     SMFT_PATCH_FULL,
     0,
     {ADAMW, .weight_decay = 0.1, .clip_norm = 1, .pool_weight_decay = 0.1}},
    {"lazy",
     SMFT_PATCH_FULL,
     0,
     {ADAMW, .flags = SMFT_OPTIMIZER_LAZY_POOLS, .lr = 2e-3, .clip_norm = 1, .pool_lr = 5e-3,
      .pool_clip_norm = 0.5, .warmup_steps = 7}},
    {"lora", SMFT_PATCH_LORA, 0, {ADAMW, .weight_decay = 0.1, .clip_norm = 1}},
};

typedef struct school {
  const struct variant *variant;
  smft_patch *patch;
  smft_selector *selector;
  smft_optimizer *optimizer;
  smft_learner *learner;
  FILE *reports;
} school;

static smft_optimizer *new_optimizer(const world *w, const struct variant *v) {
  smft_optimizer *optimizer = NULL;
  must(smft_optimizer_create(&optimizer, w->ctx, &v->optimizer));
  if (v->optimizer.warmup_steps)
    must(smft_optimizer_set_group(optimizer, "embed_tokens", 0.5));
  return optimizer;
}

/* With patch NULL: an empty one. */
static school open_school(const world *w, const struct variant *v, smft_patch *patch,
                          const char *what) {
  school s = {.variant = v, .patch = patch, .optimizer = new_optimizer(w, v)};
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  options.flags = v->learner_flags | SMFT_LEARNER_SAMPLE_DECIDES | SMFT_LEARNER_KEEP_GIVEN_UP;
  options.max_steps = FACT_STEPS;
  options.seed = 11;
  if (!patch)
    must(smft_patch_create(&s.patch, w->model, v->patch));
  if (v->patch == SMFT_PATCH_SLOTS)
    s.selector = new_selector(w, SMFT_SELECTOR_EMPTY, path_of(w, "background", "counts"));
  if (smft_learner_create(&s.learner, w->model, s.patch, s.selector, s.optimizer, &options) !=
      SMFT_OK) { /* a library of before: it has these rules alone, and no names for them */
    options.flags = v->learner_flags;
    must(smft_learner_create(&s.learner, w->model, s.patch, s.selector, s.optimizer, &options));
  }
  s.reports = open_result(w, v->name, what);
  return s;
}

static void close_school(school *s) {
  close_result(s->reports);
  smft_learner_free(s->learner);
  smft_optimizer_free(s->optimizer);
  smft_selector_free(s->selector);
  smft_patch_free(s->patch);
}

/* All but the seconds. */
static void write_report(const school *s, const smft_report *r) {
  fprintf(s->reports, "%d %s %lld %a %a %a %lld %lld %lld %lld %lld %lld\n", r->fact_state,
          r->fact_id, (long long)r->step, r->loss, r->gradient_norm, r->lr,
          (long long)r->rows_selected, (long long)r->slots_read, (long long)r->reads,
          (long long)r->tokens, (long long)r->tokens_supervised, (long long)r->pending);
}

static void write_selected(const school *s) {
  int64_t n = 0;
  must(smft_learner_selected(s->learner, NULL, 0, &n));
  smft_selected *selected = allocate(n + 1, sizeof *selected);
  must(smft_learner_selected(s->learner, selected, n + 1, &n));
  for (int64_t i = 0; i < n; i++)
    fprintf(s->reports, "  %d %lld %a\n", selected[i].pool, (long long)selected[i].slot,
            selected[i].score);
  free(selected);
}

static void push_ids(world *w, const school *s, const char *id) {
  enum { WORDINGS = 3, PROMPT = 6, ANSWER = 3 };
  int32_t ids[WORDINGS + 1][PROMPT];
  smft_ids_wording wordings[WORDINGS];
  next_ids(w, ids[0], (WORDINGS + 1) * PROMPT);
  for (int i = 0; i < WORDINGS; i++) /* one answer, prompts of several lengths */
    wordings[i] = (smft_ids_wording){.struct_size = sizeof *wordings,
                                     .prompt = ids[i],
                                     .n_prompt = PROMPT - i,
                                     .answer = ids[WORDINGS],
                                     .n_answer = ANSWER};
  must(smft_learner_push_ids(s->learner, id, wordings, WORDINGS));
}

static void push_text(const school *s, const char *id, int fact) {
  smft_wording wordings[] = {SMFT_WORDING_INIT, SMFT_WORDING_INIT};
  wordings[0].prompt = facts[fact].prompt;
  wordings[0].answer = facts[fact].answer;
  wordings[1].statement = facts[fact].statement;
  wordings[1].answer = facts[fact].part;
  must(smft_learner_push(s->learner, id, wordings, 2));
}

static void learn_facts(world *w, const school *s) {
  char id[16];
  for (int i = 0; i < FACTS; i++) {
    snprintf(id, sizeof id, "fact-%d", i);
    if (smft_model_tokenizer(w->model))
      push_text(s, id, i);
    else
      push_ids(w, s, id);
  }
  while (smft_learner_pending(s->learner) > 0) {
    smft_report report = SMFT_REPORT_INIT;
    must(smft_step(s->learner, &report));
    write_report(s, &report);
    write_selected(s);
  }
}

static void learn_batch(world *w, const school *s) {
  static const int64_t lengths[] = {7, 20, 33};
  int32_t ids[60];
  float weights[60];
  smft_batch batch = SMFT_BATCH_INIT;
  smft_report report = SMFT_REPORT_INIT;
  next_ids(w, ids, 60);
  for (int i = 0; i < 60; i++)
    weights[i] = (float)(i % 4) * 0.5f;
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 3;
  batch.token_weights = weights;
  must(smft_learner_step_batch(s->learner, &batch, &report));
  write_report(s, &report);
  write_selected(s);
}

/* Everything that is saved, in every type. */
static void save(const world *w, const school *s) {
  const char *name = s->variant->name;
  must(smft_patch_save(s->patch, path_of(w, name, "patch"), 0));
  must(smft_optimizer_save(s->optimizer, path_of(w, name, "optimizer")));
  if (s->variant->patch != SMFT_PATCH_FULL)
    must(smft_patch_save(s->patch, path_of(w, name, "patch_bf16"), SMFT_DTYPE_BF16));
  if (s->selector)
    must(smft_selector_save(s->selector, path_of(w, name, "counts")));
}

static void check_same_logits(const world *w, const char *name, smft_patch *patch,
                              smft_patch *loaded) {
  float *a = take_logits(w, patch, TOKENS), *b = take_logits(w, loaded, TOKENS);
  if (memcmp(a, b, (size_t)(w->n * w->info.vocab_size) * sizeof *a) != 0)
    die("%s: the saved patch, loaded, gives other logits", name);
  free(a);
  free(b);
}

static void merge(const world *w, const char *name, smft_patch *patch) {
  smft_patch *merged = NULL;
  must(smft_patch_merge(&merged, patch));
  must(smft_patch_save(merged, path_of(w, name, "merged"), 0));
  write_logits(w, name, merged, 13);
  smft_patch_free(merged);
}

/* From the files that save() wrote. */
static void go_on(world *w, const struct variant *v) {
  smft_patch *patch = NULL;
  must(smft_patch_load(&patch, w->model, path_of(w, v->name, "patch")));
  school s = open_school(w, v, patch, "going_on");
  must(smft_optimizer_load(s.optimizer, w->model, path_of(w, v->name, "optimizer")));
  learn_batch(w, &s);
  write_logits(w, v->name, patch, 17);
  close_school(&s);
}

static void learn(world *w, const struct variant *v) {
  school s = open_school(w, v, NULL, "reports");
  smft_patch *loaded = NULL;
  if (v->patch == SMFT_PATCH_SLOTS)
    learn_facts(w, &s);
  for (int i = 0; i < BATCH_STEPS && v->patch != SMFT_PATCH_SLOTS; i++)
    learn_batch(w, &s);
  save(w, &s);
  infer(w, v->name, s.patch);
  must(smft_patch_load(&loaded, w->model, path_of(w, v->name, "patch")));
  check_same_logits(w, v->name, s.patch, loaded);
  smft_patch_free(loaded);
  if (strcmp(v->name, "adamw") == 0 || v->patch == SMFT_PATCH_LORA) {
    export_model(w, v->name, s.patch, v->patch == SMFT_PATCH_LORA ? SMFT_DTYPE_BF16 : 0);
    merge(w, v->name, s.patch);
  }
  close_school(&s);
  go_on(w, v);
}

/* ---- the program ---------------------------------------------------------------------- */

/* 0 where the processor lacks it. */
static int choose_level(const char *wanted) {
  static const char *const names[] = {"portable", "avx2", "avx512", "tiles"};
  int level = 0;
  while (level < 4 && strcmp(wanted, names[level]) != 0)
    level++;
  if (level == 4)
    die("expected portable, avx2, avx512 or tiles, got \"%s\"", wanted);
  return smft__cpu_limit(level) == level;
}

static world open_world(char **argv) {
  world w = {.out = argv[3], .directory = argv[4], .info = SMFT_MODEL_INFO_INIT, .random = 1};
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = (int32_t)strtol(argv[2], NULL, 10);
  if (options.n_threads < 1)
    die("%s: not a number of threads", argv[2]);
  must(smft_ctx_create(&w.ctx, &options));
  must(smft_model_load(&w.model, w.ctx, w.directory, NULL));
  must(smft_model_get_info(w.model, &w.info));
  w.n = w.info.context_length < TOKENS ? w.info.context_length : TOKENS;
  next_ids(&w, w.ids, w.n);
  return w;
}

int main(int argc, char **argv) {
  if (argc != 5)
    die("expected: LEVEL THREADS OUT_DIRECTORY MODEL_DIRECTORY");
  if (!choose_level(argv[1])) {
    printf("SKIPPED: this processor has no %s\n", argv[1]);
    return SKIP;
  }
  world w = open_world(argv);
  describe(&w);
  infer_base(&w);
  export_model(&w, "base", NULL, 0);
  begin_from_seed(&w);
  if (w.info.n_memories > 0)
    count(&w);
  for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
    if (variants[i].patch != SMFT_PATCH_SLOTS || w.info.n_memories > 0)
      learn(&w, &variants[i]);
  smft_model_free(w.model);
  smft_ctx_free(w.ctx);
  return 0;
}
