/* bench_model: a whole model through the public API alone, one timing a command: forward, full AdamW step, decode, sparse step.
 * Owns the workloads, the clock and how disturbed a timing was; peer_model.py does the same work in PyTorch, run.sh asks both in turn and
 * makes medians and ratios.
 *
 * usage: bench_model MODEL THREADS TASK...   times each task once; "-" instead of tasks reads them from standard input, one a line
 *   MODEL   A  6 layers, d 288,  6 heads, ffn  768, vocabulary 32,000
 *           B 12 layers, d 576,  9 heads, ffn 1536, vocabulary  8,192
 *           M B with a memory layer (n_keys 256, H 4, k 32) instead of block 6's FFN
 *   TASK    forward      256 tokens through an empty session, logits of all
 *           train        AdamW step of every weight on a sequence of 256 (M: its pool's values too, each of them)
 *           train_lazy   the same, pool rows that were not read left alone (M)
 *           decode       one token after another, greedy, positions 16 to 79; decode_bf16 with weights exported as bf16
 *           limit_decode weights streamed from memory with no arithmetic: the tokens/s that no decode in f32 can pass
 *           step         M: a fact's first smft_step: 256 tokens, loss on all; step_answer: loss on the last 16
 *           step_again   M: further steps of a fact, loss on all; again_answer: loss on the last 16
 * prints, per task: ours MODEL THREADS TASK TOKENS/S OTHERS, where OTHERS is how many cores other processes had meanwhile
 * One thread is timed by its processor time, so that a busy machine disturbs little; two threads by the clock. */
#include <ftw.h>
#include <pthread.h>
#include <smft/smft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SEQUENCE = 256, PROMPT = 16, DECODED = 64, ANSWER = 16, BACKGROUND = 32, BACKGROUND_TOKENS = 64 };
#define STREAM_FLOATS ((int64_t)96 << 20) /* 384 MiB: beyond every cache */
#define WARM_SECONDS 0.25 /* the kernel needs up to 0.1 s of steady work to give a woken thread a processor of its own */
#define TIMED_SECONDS 0.5

typedef struct shape { const char *name; int layers, hidden, heads, ffn, vocab, memory_layer; } shape;
static const shape shapes[] = {{"A", 6, 288, 6, 768, 32000, -1}, {"B", 12, 576, 9, 1536, 8192, -1}, {"M", 12, 576, 9, 1536, 8192, 6}};

typedef struct bench {
  const shape *shape;
  int threads;
  smft_ctx *ctx;
  smft_model *model, *bf16;
  smft_session *session;  /* of whichever model the task wants */
  smft_patch *patch;
  smft_selector *selector;
  smft_optimizer *optimizer;
  smft_learner *learner;
  int32_t ids[SEQUENCE];
  float *logits; /* (SEQUENCE, vocab) */
  float *stream; /* (STREAM_FLOATS) */
  int64_t fact;
  int again;     /* 1: the fact in hand stays */
  int n_answer;
} bench;

static char directory[64];

/* ---- small things ---- */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
  (void)info, (void)type, (void)walk;
  return remove(path);
}

static void remove_directory(void) {
  if (directory[0])
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void check(smft_status status, const char *what) {
  if (status == SMFT_OK)
    return;
  fprintf(stderr, "bench_model: %s: %s: %s\n", what, smft_status_name(status), smft_error_message());
  exit(1);
}

static void need(const void *pointer) {
  if (!pointer) {
    fprintf(stderr, "bench_model: out of memory\n");
    exit(1);
  }
}

static void random_ids(const bench *b, uint64_t seed, int32_t *ids, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    ids[i] = (int32_t)((seed >> 33) % (uint64_t)b->shape->vocab);
  }
}

/* ---- the models ---- */

static void write_config(const shape *s) {
  char path[96];
  FILE *file;
  snprintf(path, sizeof path, "%s/config.json", directory);
  need(file = fopen(path, "w"));
  fprintf(file,
          "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": %d, \"num_hidden_layers\": %d,\n"
          " \"num_attention_heads\": %d, \"intermediate_size\": %d, \"vocab_size\": %d, \"max_position_embeddings\": %d,\n"
          " \"rms_norm_eps\": 1e-5, \"tie_word_embeddings\": true",
          s->hidden, s->layers, s->heads, s->ffn, s->vocab, SEQUENCE);
  if (s->memory_layer >= 0)
    fprintf(file,
            ",\n \"memory\": {\"layers\": [%d], \"pools\": [0], \"placement\": \"replace\", \"n_keys\": 256, \"heads\": 4,"
            " \"top_k\": 32}",
            s->memory_layer);
  fprintf(file, "}\n");
  fclose(file);
}

static void open_model(bench *b) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  const char *parent = getenv("TMPDIR");
  options.n_threads = b->threads;
  snprintf(directory, sizeof directory, "%.40s/bench_model.XXXXXX", parent ? parent : "/tmp");
  need(mkdtemp(directory));
  atexit(remove_directory);
  write_config(b->shape);
  check(smft_ctx_create(&b->ctx, &options), "context");
  check(smft_model_init(&b->model, b->ctx, directory, 1), "model");
  random_ids(b, 1, b->ids, SEQUENCE);
}

static void open_bf16(bench *b) {
  char path[96];
  smft_export_options options = SMFT_EXPORT_OPTIONS_INIT;
  options.dtype = SMFT_DTYPE_BF16;
  snprintf(path, sizeof path, "%s/bf16", directory);
  check(smft_model_export(b->model, NULL, path, &options), "export");
  check(smft_model_load(&b->bf16, b->ctx, path, NULL), "load");
}

/* ---- inference ---- */

static void prepare_session(bench *b, const smft_model *model) {
  check(smft_session_create(&b->session, model, NULL, NULL), "session");
  need(b->logits = malloc((size_t)SEQUENCE * (size_t)b->shape->vocab * sizeof(float)));
}

static void prepare_f32(bench *b) { prepare_session(b, b->model); }

static void prepare_bf16(bench *b) {
  open_bf16(b);
  prepare_session(b, b->bf16);
}

static int64_t forward(bench *b) {
  check(smft_session_rewind(b->session, 0), "rewind");
  check(smft_session_feed(b->session, b->ids, SEQUENCE, SMFT_LOGITS_ALL, b->logits, (int64_t)SEQUENCE * b->shape->vocab), "feed");
  return SEQUENCE;
}

static int32_t largest(const float *logits, int32_t n) {
  int32_t best = 0;
  for (int32_t i = 1; i < n; i++)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

/* The prompt is fed once; the tokens after it are then decoded over and over. */
static int64_t decode(bench *b) {
  int32_t id = b->ids[PROMPT];
  if (smft_session_length(b->session) < PROMPT)
    check(smft_session_feed(b->session, b->ids, PROMPT, SMFT_LOGITS_NONE, NULL, 0), "feed");
  check(smft_session_rewind(b->session, PROMPT), "rewind");
  for (int i = 0; i < DECODED; i++) {
    check(smft_session_feed(b->session, &id, 1, SMFT_LOGITS_LAST, b->logits, b->shape->vocab), "feed");
    id = largest(b->logits, b->shape->vocab);
  }
  return DECODED;
}

/* ---- how fast memory can be read ---- */

typedef float floats __attribute__((vector_size(32)));
typedef struct part { const float *begin; int64_t n; float sum; } part;

static void *read_part(void *arg) {
  part *p = arg;
  floats sum[8] = {0};
  for (int64_t i = 0; i + 64 <= p->n; i += 64)
    for (int j = 0; j < 8; j++)
      sum[j] += *(const floats *)(const void *)(p->begin + i + 8 * j);
  for (int j = 1; j < 8; j++)
    sum[0] += sum[j];
  p->sum = sum[0][0];
  return NULL;
}

static void prepare_stream(bench *b) {
  need(b->stream = aligned_alloc(64, (size_t)STREAM_FLOATS * sizeof(float)));
  for (int64_t i = 0; i < STREAM_FLOATS; i++)
    b->stream[i] = 1;
}

/* The buffer counts as so many tokens, each having read every parameter once; in thousandths of a token, for whole numbers. */
static int64_t stream(bench *b) {
  smft_model_info info = {.struct_size = sizeof info};
  pthread_t threads[64];
  part parts[64];
  int64_t each = STREAM_FLOATS / b->threads;
  check(smft_model_get_info(b->model, &info), "info");
  for (int t = 0; t < b->threads; t++) {
    parts[t] = (part){b->stream + t * each, each, 0};
    if (t > 0 && pthread_create(&threads[t], NULL, read_part, &parts[t]) != 0)
      exit(1);
  }
  read_part(&parts[0]);
  for (int t = 1; t < b->threads; t++)
    pthread_join(threads[t], NULL);
  return 1000 * STREAM_FLOATS / info.n_parameters;
}

/* ---- training ---- */

static void prepare_training(bench *b, uint32_t flags) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  options.flags = flags;
  options.lr = 1e-5;
  options.weight_decay = 0.01;
  check(smft_patch_create(&b->patch, b->model, SMFT_PATCH_FULL), "patch");
  check(smft_optimizer_create(&b->optimizer, b->ctx, &options), "optimizer");
  check(smft_learner_create(&b->learner, b->model, b->patch, NULL, b->optimizer, NULL), "learner");
}

static void prepare_train(bench *b) { prepare_training(b, 0); }
static void prepare_train_lazy(bench *b) { prepare_training(b, SMFT_OPTIMIZER_LAZY_POOLS); }

static int64_t train(bench *b) {
  const int64_t length = SEQUENCE;
  smft_batch batch = SMFT_BATCH_INIT;
  batch.ids = b->ids;
  batch.lengths = &length;
  batch.n_sequences = 1;
  check(smft_learner_step_batch(b->learner, &batch, NULL), "step_batch");
  return SEQUENCE;
}

/* ---- facts ---- */

static void count_background(bench *b) {
  static int32_t ids[BACKGROUND * BACKGROUND_TOKENS];
  int64_t lengths[BACKGROUND];
  smft_background background = SMFT_BACKGROUND_INIT;
  random_ids(b, 2, ids, BACKGROUND * BACKGROUND_TOKENS);
  for (int i = 0; i < BACKGROUND; i++)
    lengths[i] = BACKGROUND_TOKENS;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = BACKGROUND;
  check(smft_selector_count_background(b->selector, &background), "background");
}

/* The model has random weights and never learns enough to be done: max_steps decides. */
static void prepare_facts(bench *b, int again, int n_answer) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  options.flags = n_answer < SEQUENCE - 1 ? 0 : SMFT_LEARNER_LOSS_ALL;
  options.max_steps = 1 << 30;
  options.loss_below = -1;
  b->again = again;
  b->n_answer = n_answer;
  check(smft_patch_create(&b->patch, b->model, SMFT_PATCH_SLOTS), "patch");
  check(smft_selector_create(&b->selector, b->model, NULL), "selector");
  count_background(b);
  check(smft_learner_create(&b->learner, b->model, b->patch, b->selector, NULL, &options), "learner");
}

static void prepare_step(bench *b) { prepare_facts(b, 0, SEQUENCE - 1); }
static void prepare_step_answer(bench *b) { prepare_facts(b, 0, ANSWER); }
static void prepare_again(bench *b) { prepare_facts(b, 1, SEQUENCE - 1); }
static void prepare_again_answer(bench *b) { prepare_facts(b, 1, ANSWER); }

static void push_fact(bench *b) {
  int32_t ids[SEQUENCE];
  char id[32];
  int n_prompt = SEQUENCE - b->n_answer;
  smft_ids_wording wording = {sizeof wording, 0, ids, n_prompt, ids + n_prompt, b->n_answer};
  random_ids(b, 100 + (uint64_t)b->fact, ids, SEQUENCE);
  snprintf(id, sizeof id, "fact %lld", (long long)b->fact++);
  check(smft_learner_push_ids(b->learner, id, &wording, 1), "push");
}

static int64_t step(bench *b) {
  smft_report report = SMFT_REPORT_INIT;
  if (smft_learner_pending(b->learner) == 0)
    push_fact(b);
  check(smft_step(b->learner, &report), "step");
  if (report.rows_selected == 0 || report.tokens != SEQUENCE) {
    fprintf(stderr, "bench_model: the step trained %lld rows on %lld tokens\n", (long long)report.rows_selected, (long long)report.tokens);
    exit(1);
  }
  if (!b->again)
    check(smft_learner_skip(b->learner), "skip");
  return SEQUENCE;
}

/* ---- the clock ---- */

static double clock_of(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds that all processors have worked for anybody since the machine started. */
static double machine_busy(void) {
  long long user = 0, nice_ = 0, system_ = 0, idle = 0, wait = 0, irq = 0, soft = 0;
  FILE *file = fopen("/proc/stat", "r");
  if (!file)
    return 0;
  if (fscanf(file, "cpu %lld %lld %lld %lld %lld %lld %lld", &user, &nice_, &system_, &idle, &wait, &irq, &soft) != 7)
    user = nice_ = system_ = irq = soft = 0;
  fclose(file);
  return (double)(user + nice_ + system_ + irq + soft) / (double)sysconf(_SC_CLK_TCK);
}

static int64_t work_for(bench *b, int64_t (*work)(bench *), double seconds) {
  int64_t units = 0;
  double begin = clock_of(CLOCK_MONOTONIC);
  do
    units += work(b);
  while (clock_of(CLOCK_MONOTONIC) - begin < seconds);
  return units;
}

/* units a second, and the cores that others had */
static double rate(bench *b, int64_t (*work)(bench *), double *others) {
  clockid_t id = b->threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  work_for(b, work, WARM_SECONDS);
  double busy = machine_busy(), own = clock_of(CLOCK_PROCESS_CPUTIME_ID), wall = clock_of(CLOCK_MONOTONIC), begin = clock_of(id);
  int64_t units = work_for(b, work, TIMED_SECONDS);
  double took = clock_of(id) - begin;
  own = clock_of(CLOCK_PROCESS_CPUTIME_ID) - own;
  wall = clock_of(CLOCK_MONOTONIC) - wall;
  *others = (machine_busy() - busy - own) / wall;
  *others = *others > 0 ? *others : 0;
  return (double)units / took;
}

/* ---- tasks ---- */

typedef struct task {
  const char *name;
  void (*prepare)(bench *);
  int64_t (*work)(bench *);
  double unit; /* tokens per unit of work() */
  int needs_memory;
} task;

static const task tasks[] = {{"forward", prepare_f32, forward, 1, 0},
                             {"decode", prepare_f32, decode, 1, 0},
                             {"decode_bf16", prepare_bf16, decode, 1, 0},
                             {"limit_decode", prepare_stream, stream, 1e-3, 0},
                             {"train", prepare_train, train, 1, 0},
                             {"train_lazy", prepare_train_lazy, train, 1, 1},
                             {"step", prepare_step, step, 1, 1},
                             {"step_answer", prepare_step_answer, step, 1, 1},
                             {"step_again", prepare_again, step, 1, 1},
                             {"again_answer", prepare_again_answer, step, 1, 1}};

/* Everything but context and model, so that the next task finds the memory free. */
static void close_task(bench *b) {
  smft_learner_free(b->learner);
  smft_optimizer_free(b->optimizer);
  smft_selector_free(b->selector);
  smft_patch_free(b->patch);
  smft_session_free(b->session);
  smft_model_free(b->bf16);
  free(b->logits);
  free(b->stream);
  *b = (bench){.shape = b->shape, .threads = b->threads, .ctx = b->ctx, .model = b->model};
  random_ids(b, 1, b->ids, SEQUENCE);
}

static void run_task(bench *b, const char *name) {
  static const task *current;
  double others = 0;
  const task *wanted = NULL;
  for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
    if (!strcmp(tasks[i].name, name) && (!tasks[i].needs_memory || b->shape->memory_layer >= 0))
      wanted = &tasks[i];
  if (!wanted) {
    fprintf(stderr, "bench_model: model %s has no task \"%s\"\n", b->shape->name, name);
    exit(2);
  }
  if (wanted != current) {
    close_task(b);
    wanted->prepare(b);
    current = wanted;
  }
  double tokens = wanted->unit * rate(b, wanted->work, &others);
  printf("ours %s %d %s %.1f %.2f\n", b->shape->name, b->threads, name, tokens, others);
  fflush(stdout);
}

static void run_from_input(bench *b) {
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    run_task(b, line);
  }
}

int main(int argc, char **argv) {
  bench b = {0};
  b.threads = argc > 2 ? atoi(argv[2]) : 0;
  for (size_t i = 0; argc > 3 && i < sizeof shapes / sizeof *shapes; i++)
    if (!strcmp(shapes[i].name, argv[1]))
      b.shape = &shapes[i];
  if (!b.shape || b.threads < 1 || b.threads > 64) {
    fprintf(stderr, "usage: bench_model A|B|M THREADS TASK...|-   (the tasks: see the head of bench_model.c)\n");
    return 2;
  }
  open_model(&b);
  for (int i = 3; i < argc; i++)
    if (!strcmp(argv[i], "-"))
      run_from_input(&b);
    else
      run_task(&b, argv[i]);
  close_task(&b);
  smft_model_free(b.model);
  smft_ctx_free(b.ctx);
  return 0;
}
