/* bench_learn: training a whole model through smft.h alone.  Owns the workloads; bench.h times
 * them, peer_model.py does the same work.
 * usage: bench_learn MODEL THREADS [FLAGS]
 *   train S L        AdamW step of every weight (pools too, each row of them) on S sequences of L
 *                    tokens (1, 256)
 *   train_lazy S L   the same, pool rows that were not read left alone
 *   lora S L M       AdamW step of adapters of rank 8; M: SMFT_LORA_* (127: all matrices of
 *                    attention and FFN)
 *   step ANSWER N    a fact's first smft_step: N tokens (256), loss on the last ANSWER of them
 *                    (255)
 *   again ANSWER N   further smft_steps of one fact
 *   fact S L ANSWER  smft_steps of a model that was grafted, by its own defaults: a fact of S
 *                    wordings of L tokens (6, 30), loss on the last ANSWER of each (4), all of
 *                    them in every step; 25 steps a fact, then the next
 *   first_loss S L ANSWER       of the first fact, before its first step: {"numbers": [loss]}
 *   losses N S L     before and in N AdamW steps of every weight at a rate of 1e-3 (3): {"numbers":
 *                    [N + 1]}
 *   losses_lora N S L M DIR    the same of adapters at 1e-2, saved in DIR as they were before
 *   hash_train, hash_lora, hash_step   of the weights after three steps, all bits
 *   resident         {"cached_mb": pages of the model's file that an smft_step brought into
 *                    memory, "file_mb": growth of the process's RssFile, "rows": slots it read,
 *                    "row_mb": of a slot's pages} */
#include "subject.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { MOST_SEQUENCES = 16, BACKGROUND = 32, BACKGROUND_TOKENS = 64, RANK = 8, CHECKED_STEPS = 3 };
enum { STEPS_OF_A_FACT = 25 };

typedef struct learning {
  subject s;
  const char *directory;
  smft_patch *patch;
  smft_selector *selector;
  smft_optimizer *optimizer;
  smft_learner *learner;
  int64_t fact, length;
  int again; /* 1: the fact in hand stays */
  int64_t n_answer;
  int64_t n_sequences, sequence; /* of dense steps; tokens of each */
  uint32_t targets;              /* of adapters */
} learning;

static void clear(void *arg) {
  learning *b = arg;
  smft_learner_free(b->learner);
  smft_optimizer_free(b->optimizer);
  smft_selector_free(b->selector);
  smft_patch_free(b->patch);
  b->learner = NULL;
  b->optimizer = NULL;
  b->selector = NULL;
  b->patch = NULL;
  b->fact = 0;
}

/* ---- dense steps --------------------------------------------------------- */

/* words: sequences, their length, the adapters' targets; as far as they are there. */
static void read_batch(learning *b, char **words) {
  b->n_sequences = bench_number(words, 0, 1);
  b->sequence = bench_number(words, 1, SEQUENCE);
  b->targets = (uint32_t)bench_number(words, 2, SMFT_LORA_ALL);
  if (b->n_sequences < 1 || b->n_sequences > MOST_SEQUENCES || b->sequence < 2 ||
      b->n_sequences * b->sequence > LONGEST)
    bench_fail("1 to %d sequences, %d tokens in all at most", MOST_SEQUENCES, LONGEST);
}

static void make_dense(learning *b, int32_t kind, uint32_t flags, double lr) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_lora_options lora = SMFT_LORA_OPTIONS_INIT;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  options.flags = flags;
  options.lr = lr;
  options.weight_decay = 0.01;
  lora.rank = RANK;
  lora.alpha = 2 * RANK;
  lora.seed = 1;
  lora.targets = b->targets;
  if (kind == SMFT_PATCH_LORA)
    check(smft_patch_create_lora(&b->patch, b->s.model, &lora), "patch");
  else
    check(smft_patch_create(&b->patch, b->s.model, kind), "patch");
  check(smft_optimizer_create(&b->optimizer, b->s.ctx, &options), "optimizer");
  check(smft_learner_create(&b->learner, b->s.model, b->patch, NULL, b->optimizer, NULL),
        "learner");
}

static void prepare_train(void *arg, char **words) {
  read_batch(arg, words);
  make_dense(arg, SMFT_PATCH_FULL, 0, 1e-5);
}

static void prepare_train_lazy(void *arg, char **words) {
  read_batch(arg, words);
  make_dense(arg, SMFT_PATCH_FULL, SMFT_OPTIMIZER_LAZY_POOLS, 1e-5);
}

static void prepare_lora(void *arg, char **words) {
  read_batch(arg, words);
  make_dense(arg, SMFT_PATCH_LORA, 0, 1e-5);
}

static double dense_step(learning *b) {
  int64_t lengths[MOST_SEQUENCES];
  smft_batch batch = SMFT_BATCH_INIT;
  smft_report report = SMFT_REPORT_INIT;
  batch.ids = b->s.ids;
  for (int64_t i = 0; i < b->n_sequences; i++)
    lengths[i] = b->sequence;
  batch.lengths = lengths;
  batch.n_sequences = b->n_sequences;
  check(smft_learner_step_batch(b->learner, &batch, &report), "step_batch");
  return report.loss;
}

static int64_t train(void *arg) {
  learning *b = arg;
  dense_step(b);
  return b->n_sequences * b->sequence;
}

/* ---- facts --------------------------------------------------------------- */

static void count_background(learning *b) {
  static int32_t ids[BACKGROUND * BACKGROUND_TOKENS];
  int64_t lengths[BACKGROUND];
  smft_background background = SMFT_BACKGROUND_INIT;
  random_ids(b->s.info.vocab_size, 2, ids, BACKGROUND * BACKGROUND_TOKENS);
  for (int i = 0; i < BACKGROUND; i++)
    lengths[i] = BACKGROUND_TOKENS;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = BACKGROUND;
  check(smft_selector_count_background(b->selector, &background), "background");
}

/* The model has random weights and never learns enough to be done: max_steps decides.  rule 0: the
 * default, with background counts. */
static void make_facts(learning *b, int again, int32_t rule, double lr, char **words) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector_options selector = SMFT_SELECTOR_OPTIONS_INIT;
  smft_optimizer_options optimizer = SMFT_OPTIMIZER_OPTIONS_INIT;
  b->again = again;
  b->length = bench_number(words, 1, SEQUENCE);
  b->n_answer = bench_number(words, 0, b->length - 1);
  if (b->length < 2 || b->length > LONGEST || b->n_answer < 1 || b->n_answer >= b->length)
    bench_fail("a fact has 2 to %d tokens, and its answer one less at most", LONGEST);
  options.flags = b->n_answer < b->length - 1 ? 0 : SMFT_LEARNER_LOSS_ALL;
  options.max_steps = 1 << 30;
  options.loss_below = -1;
  selector.rule = rule;
  optimizer.lr = lr;
  check(smft_patch_create(&b->patch, b->s.model, SMFT_PATCH_SLOTS), "patch");
  check(smft_selector_create(&b->selector, b->s.model, &selector), "selector");
  if (!rule)
    count_background(b);
  if (lr > 0)
    check(smft_optimizer_create(&b->optimizer, b->s.ctx, &optimizer), "optimizer");
  check(smft_learner_create(&b->learner, b->s.model, b->patch, b->selector, b->optimizer, &options),
        "learner");
}

static void prepare_step(void *arg, char **words) { make_facts(arg, 0, 0, 0, words); }
static void prepare_again(void *arg, char **words) { make_facts(arg, 1, 0, 0, words); }

static void push_fact(learning *b) {
  int32_t ids[LONGEST];
  char id[32];
  int64_t n_prompt = b->length - b->n_answer;
  smft_ids_wording wording = {sizeof wording, 0, ids, n_prompt, ids + n_prompt, b->n_answer};
  random_ids(b->s.info.vocab_size, 100 + (uint64_t)b->fact, ids, b->length);
  snprintf(id, sizeof id, "fact %lld", (long long)b->fact++);
  check(smft_learner_push_ids(b->learner, id, &wording, 1), "push");
}

/* One that trains rows, on `least` to `most` tokens. */
static smft_report step_on(learning *b, int64_t least, int64_t most) {
  smft_report report = SMFT_REPORT_INIT;
  check(smft_step(b->learner, &report), "step");
  if (report.rows_selected == 0 || report.tokens < least || report.tokens > most)
    bench_fail("the step trained %lld rows on %lld tokens", (long long)report.rows_selected,
               (long long)report.tokens);
  return report;
}

static smft_report fact_step(learning *b) {
  if (smft_learner_pending(b->learner) == 0)
    push_fact(b);
  smft_report report = step_on(b, b->length, b->length);
  if (!b->again)
    check(smft_learner_skip(b->learner), "skip");
  return report;
}

static int64_t step(void *arg) {
  learning *b = arg;
  fact_step(b);
  return b->length;
}

/* ---- facts of a grafted model -------------------------------------------- */

/* words: wordings, their tokens, those of the answer.  No model learns random tokens for good:
 * max_steps decides, and the fact is given up. */
static void prepare_fact(void *arg, char **words) {
  learning *b = arg;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  b->n_sequences = bench_number(words, 0, 6);
  b->sequence = bench_number(words, 1, 30);
  b->n_answer = bench_number(words, 2, 4);
  if (b->n_sequences < 1 || b->n_sequences > MOST_SEQUENCES || b->n_answer < 1 ||
      b->n_answer >= b->sequence || b->n_sequences * b->sequence > LONGEST)
    bench_fail("1 to %d wordings, %d tokens in all at most", MOST_SEQUENCES, LONGEST);
  options.max_steps = STEPS_OF_A_FACT;
  options.wordings_per_step = -1;
  options.loss_below = -1;
  check(smft_patch_create(&b->patch, b->s.model, SMFT_PATCH_SLOTS), "patch");
  check(smft_learner_create(&b->learner, b->s.model, b->patch, NULL, NULL, &options), "learner");
}

static void push_wordings(learning *b) {
  static int32_t ids[LONGEST];
  smft_ids_wording wordings[MOST_SEQUENCES];
  char id[32];
  int64_t n_prompt = b->sequence - b->n_answer;
  random_ids(b->s.info.vocab_size, 100 + (uint64_t)b->fact, ids, b->n_sequences * b->sequence);
  for (int64_t i = 0; i < b->n_sequences; i++) {
    const int32_t *its = ids + i * b->sequence;
    wordings[i] =
        (smft_ids_wording){sizeof *wordings, 0, its, n_prompt, ids + n_prompt, b->n_answer};
  }
  snprintf(id, sizeof id, "fact %lld", (long long)b->fact++);
  check(smft_learner_push_ids(b->learner, id, wordings, b->n_sequences), "push");
}

/* A fact's first step runs all of its wordings' tokens, since its rows are chosen in it; those that
 * follow begin in each wording where one of these rows is read, before its answer at the latest. */
static double wordings_step(learning *b) {
  int64_t all = b->n_sequences * b->sequence, least = b->n_sequences * (b->n_answer + 1);
  int is_first = smft_learner_pending(b->learner) == 0;
  if (is_first)
    push_wordings(b);
  return step_on(b, is_first ? all : least, all).loss;
}

static int64_t fact(void *arg) {
  learning *b = arg;
  wordings_step(b);
  return b->n_sequences * b->sequence;
}

static void answer_first_loss(void *arg, char **words) {
  prepare_fact(arg, words);
  printf("{\"numbers\": [%.9g]}\n", wordings_step(arg));
}

/* ---- what comes out ------------------------------------------------------ */

static void print_losses(learning *b, int64_t steps) {
  printf("{\"numbers\": [");
  for (int64_t i = 0; i <= steps; i++)
    printf("%s%.9g", i ? ", " : "", dense_step(b));
  printf("]}\n");
}

static void answer_losses(void *arg, char **words) {
  int64_t steps = bench_number(words, 0, CHECKED_STEPS);
  read_batch(arg, words[0] ? words + 1 : words);
  make_dense(arg, SMFT_PATCH_FULL, 0, 1e-3);
  print_losses(arg, steps);
}

static void answer_losses_lora(void *arg, char **words) {
  learning *b = arg;
  if (!words[4])
    bench_fail("losses_lora needs four numbers and a directory");
  read_batch(b, words + 1);
  make_dense(b, SMFT_PATCH_LORA, 0, 1e-2);
  check(smft_patch_save(b->patch, words[4], 0), "save");
  print_losses(b, bench_number(words, 0, CHECKED_STEPS));
}

static void print_hash(learning *b) {
  uint64_t hash = 0;
  int64_t n;
  for (int64_t i = 0; smft_model_tensor(b->s.model, i, NULL, NULL, &n) == SMFT_OK; i++) {
    float *values = malloc((size_t)n * sizeof *values);
    bench_need(values);
    check(smft_model_tensor_values(b->s.model, b->patch, i, values, n), "values");
    hash = bench_hash(hash, values, (size_t)n * sizeof *values);
    free(values);
  }
  printf("{\"hash\": \"%016llx\"}\n", (unsigned long long)hash);
}

static void hash_dense(learning *b, int32_t kind) {
  make_dense(b, kind, 0, 1e-3);
  for (int i = 0; i < CHECKED_STEPS; i++)
    dense_step(b);
  print_hash(b);
}

static void answer_hash_train(void *arg, char **words) {
  read_batch(arg, words);
  hash_dense(arg, SMFT_PATCH_FULL);
}

static void answer_hash_lora(void *arg, char **words) {
  read_batch(arg, words);
  hash_dense(arg, SMFT_PATCH_LORA);
}

static void answer_hash_step(void *arg, char **words) {
  learning *b = arg;
  make_facts(b, 0, 0, 0, words);
  for (int i = 0; i < CHECKED_STEPS; i++)
    fact_step(b);
  print_hash(b);
}

/* Pages of the model's file that are in memory, whoever brought them there. */
static double cached_mb(const char *directory) {
  char path[1024];
  struct stat facts;
  int64_t page = sysconf(_SC_PAGESIZE), n = 0;
  snprintf(path, sizeof path, "%s/model.safetensors", directory);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || fstat(file, &facts) != 0)
    bench_fail("%s cannot be opened", path);
  int64_t pages = (facts.st_size + page - 1) / page;
  void *mapped = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_SHARED, file, 0);
  unsigned char *in_memory = malloc((size_t)pages);
  bench_need(in_memory);
  if (mapped == MAP_FAILED || mincore(mapped, (size_t)facts.st_size, in_memory) != 0)
    bench_fail("%s: which pages are in memory is not known", path);
  for (int64_t i = 0; i < pages; i++)
    n += in_memory[i] & 1;
  free(in_memory);
  munmap(mapped, (size_t)facts.st_size);
  close(file);
  return (double)n * (double)page * 1e-6;
}

/* A forward pass on other tokens touches the dense weights first; what comes on top is the rows
 * that the step reads.  A row's place in the file is not that of a page, so that it lies in one
 * page more than it fills.  RssFile grows by more than comes into memory: the kernel maps the
 * neighbours of a page that are there already along with it. */
static void answer_resident(void *arg, char **words) {
  learning *b = arg;
  int64_t value_dim, page = sysconf(_SC_PAGESIZE);
  smft_session *session;
  double nll;
  make_facts(b, 1, SMFT_RULE_TF, 1e-6, words);
  check(smft_session_create(&session, b->s.model, NULL, NULL), "session");
  check(smft_session_nll(session, b->s.ids, SEQUENCE, NULL, &nll), "nll");
  smft_session_free(session);
  check(smft_model_pool(b->s.model, 0, NULL, &value_dim), "pool");
  double cached = cached_mb(b->directory), before = bench_memory_mb("RssFile:");
  smft_report report = fact_step(b);
  double after = bench_memory_mb("RssFile:");
  double row =
      (double)((value_dim * (int64_t)sizeof(float) + page - 1) / page + 1) * (double)page * 1e-6;
  printf("{\"cached_mb\": %.3f, \"file_mb\": %.3f, \"rows\": %lld, \"row_mb\": %.6f}\n",
         cached_mb(b->directory) - cached, after - before, (long long)report.slots_read, row);
}

static const bench_task tasks[] = {{"train", prepare_train, train, NULL},
                                   {"train_lazy", prepare_train_lazy, train, NULL},
                                   {"lora", prepare_lora, train, NULL},
                                   {"step", prepare_step, step, NULL},
                                   {"again", prepare_again, step, NULL},
                                   {"fact", prepare_fact, fact, NULL},
                                   {"first_loss", NULL, NULL, answer_first_loss},
                                   {"losses", NULL, NULL, answer_losses},
                                   {"losses_lora", NULL, NULL, answer_losses_lora},
                                   {"hash_train", NULL, NULL, answer_hash_train},
                                   {"hash_lora", NULL, NULL, answer_hash_lora},
                                   {"hash_step", NULL, NULL, answer_hash_step},
                                   {"resident", NULL, NULL, answer_resident},
                                   {NULL, NULL, NULL, NULL}};

int main(int argc, char **argv) {
  static learning b;
  subject_open(&b.s, argc, argv);
  b.directory = argv[1];
  bench_serve(tasks, clear, &b);
  subject_close(&b.s);
  return 0;
}
