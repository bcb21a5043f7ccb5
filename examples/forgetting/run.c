/* run: one run of the comparison: one method with one setting learns a stream of facts or
 * documents, and is measured before, along and after it. Writes one CSV row a checkpoint.
 * Everything through the public API. */
#include "lessons.h"
#include "method.h"
#include "program.h"
#include "yardstick.h"
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct plan {
  settings how;
  const char *task, *set, *model, *data, *documents, *out, *save_counts;
  int64_t n, known, texts, checkpoints;
  int32_t threads, header, whole;
} plan;

/* ---- rows ---------------------------------------------------------------- */

static const char columns[] =
    "task,method,set,seed,lr,max_steps,loss_below,weight_decay,rank,alpha,t,rule,optimizer,rows,"
    "items_total,items_done,"
    "learning,learning_exact,learning_trained,known_f1,known_f1_before,forgetting_percent,memory_"
    "forgetting_percent,other_forgetting_percent,"
    "choices,choices_before,nll,nll_before,kl,known_f1_pool_zeroed,steps,seconds,rows_changed,"
    "bytes_changed,peak_mb,"
    "replay,knows,pool_lr,known,half_forgetting_percent,rest_forgetting_percent";

static void number(FILE *out, const char *format, double x) {
  fputc(',', out);
  if (!isnan(x))
    fprintf(out, format, x);
}

/* A setting that does not apply to the method is left empty; 0 is "default". */
static void write_settings(FILE *out, const plan *p) {
  const settings *s = &p->how;
  int sparse = strcmp(s->method, "sparse") == 0, lora = strcmp(s->method, "lora") == 0;
  fprintf(out, "%s,%s,%s,%llu", p->task, settings_name(s), p->set, (unsigned long long)s->seed);
  number(out, "%g", s->lr);
  number(out, "%.0f", (double)s->max_steps);
  number(out, "%g", s->loss_below);
  number(out, "%g", s->weight_decay);
  number(out, "%.0f", lora ? (double)s->rank : NAN);
  number(out, "%g", lora ? s->alpha : NAN);
  number(out, "%.0f", sparse ? (double)s->t : NAN);
  fprintf(out, ",%s,%s,%s,%lld", sparse ? s->rule : "", s->optimizer, sparse ? s->rows : "",
          (long long)p->n);
}

typedef struct checkpoint {
  int64_t done;
  f1_score asked, trained;
  measures kept;
  double peak_mb;
  int64_t bytes; /* -1: not measured here */
} checkpoint;

/* What the method knew of what is to be kept, and what it lost of it and of the rest. */
static void write_known(FILE *out, const plan *p, const checkpoint *c) {
  number(out, "%.0f", strcmp(p->how.method, "sparse") == 0 ? NAN : (double)p->how.replay);
  fprintf(out, ",%s", settings_knows(&p->how));
  number(out, "%g", p->how.pool_lr > 0 ? p->how.pool_lr : NAN);
  number(out, "%.0f", (double)c->kept.n_known);
  number(out, "%.3f", c->kept.half_lost);
  number(out, "%.3f", c->kept.rest_lost);
}

static void write_row(FILE *out, const plan *p, const method *m, const smft_model *model,
                      const checkpoint *c) {
  const smft_probe_report *r = &c->kept.probe;
  write_settings(out, p);
  fprintf(out, ",%lld", (long long)c->done);
  number(out, "%.5f", c->asked.n ? c->asked.f1 : NAN);
  number(out, "%.5f", c->asked.n ? c->asked.exact : NAN);
  number(out, "%.5f", c->trained.n ? c->trained.f1 : NAN);
  number(out, "%.5f", c->kept.f1);
  number(out, "%.5f", c->kept.f1_before);
  number(out, "%.3f", 100 * (c->kept.f1_before - c->kept.f1) / c->kept.f1_before);
  number(out, "%.3f", c->kept.memory_lost);
  number(out, "%.3f", c->kept.other_lost);
  number(out, "%.5f", r->accuracy);
  number(out, "%.5f", r->accuracy_before);
  number(out, "%.5f", r->nll);
  number(out, "%.5f", r->nll_before);
  number(out, "%.6f", r->kl);
  number(out, "%.5f", c->kept.f1_pool_zeroed);
  fprintf(out, ",%lld,%.3f,%lld", (long long)m->steps, m->seconds,
          (long long)method_rows(m, model));
  number(out, "%.0f", c->bytes >= 0 ? (double)c->bytes : NAN);
  number(out, "%.1f", c->peak_mb);
  write_known(out, p, c);
  fputc('\n', out);
  fflush(out);
}

/* ---- the stream ---------------------------------------------------------- */

typedef struct stream {
  const plan *plan;
  smft_ctx *ctx;
  smft_model *model;
  smft_session *session;
  lessons lessons;
  yardstick yard;
  method method;
  FILE *out;
  int64_t peak;
} stream;

static void measure(stream *s, int64_t done) {
  checkpoint c = {.done = done, .bytes = -1};
  char scratch[64];
  snprintf(scratch, sizeof scratch, "/tmp/forgetting.%ld", (long)getpid());
  c.asked = ask_lessons(s->session, &s->lessons, done, 0);
  c.trained = ask_lessons(s->session, &s->lessons, done, 1);
  yardstick_measure(&s->yard, s->session, s->plan->whole && done == s->plan->n, &c.kept);
  c.peak_mb = (double)s->peak / 1e6;
  if (done == s->plan->n)
    c.bytes = method_bytes(&s->method, scratch);
  write_row(s->out, s->plan, &s->method, s->model, &c);
  fprintf(stderr, "%s %lld/%lld: learning %.3f, forgetting %.2f%%, %lld steps, %.1f s\n",
          settings_name(&s->plan->how), (long long)done, (long long)s->plan->n, c.asked.f1,
          100 * (c.kept.f1_before - c.kept.f1) / c.kept.f1_before, (long long)s->method.steps,
          s->method.seconds);
}

static void teach_one(stream *s, int64_t i) {
  int64_t now = 0, peak = 0;
  check(smft_ctx_memory_reset_peak(s->ctx), "memory");
  method_teach(&s->method, &s->lessons.items[i]);
  check(smft_ctx_memory(s->ctx, &now, &peak), "memory");
  s->peak = peak > s->peak ? peak : s->peak;
}

static void run(stream *s) {
  int64_t n = s->plan->n, next = 1, points = s->plan->checkpoints;
  measure(s, 0);
  for (int64_t i = 0; i < n; i++) {
    teach_one(s, i);
    if ((i + 1) * points < next * n)
      continue;
    measure(s, i + 1);
    next++;
  }
}

static void open_stream(stream *s, const plan *p) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  memset(s, 0, sizeof *s);
  s->plan = p;
  options.n_threads = p->threads;
  int documents = strcmp(p->task, "documents") == 0;
  if ((documents ? lessons_documents(&s->lessons, p->data, p->documents, p->set, p->n, p->how.seed)
                 : lessons_facts(&s->lessons, p->data, p->set, p->n, p->how.seed)) != 0)
    exit(1);
  check(smft_ctx_create(&s->ctx, &options), "context");
  check(smft_model_load(&s->model, s->ctx, p->model, NULL), "model");
  yardstick_make(&s->yard, s->model, p->data, p->known, p->texts, p->how.seed, p->whole);
  method_make(&s->method, s->ctx, s->model, &p->how);
  check(smft_session_create(&s->session, s->model, s->method.patch, NULL), "session");
}

static void close_stream(stream *s) {
  smft_session_free(s->session);
  method_free(&s->method);
  yardstick_free(&s->yard);
  lessons_free(&s->lessons);
  smft_model_free(s->model);
  smft_ctx_free(s->ctx);
}

/* ---- command line -------------------------------------------------------- */

static const char usage[] =
    "usage: forgetting-run --method full|lora|values|sparse [options]\n"
    "Teaches a model a stream of facts or documents with one method and one setting, and writes "
    "what it learnt and forgot as CSV rows.\n"
    "  --task facts|documents  what is taught (facts)\n"
    "  --n N                   how many (100)\n"
    "  --set select|report     which half of them: settings are chosen on one and reported on the "
    "other (select)\n"
    "  --seed N                order, wordings, initialisation (1)\n"
    "  --model DIR --data DIR  the model and its facts (atlas)\n"
    "  --documents FILE        (examples/forgetting/data/documents.jsonl)\n"
    "  --known N --texts N     known facts and lines of text that are measured (500, 200)\n"
    "  --whole                 at the end all known facts, not only N of them\n"
    "  --checkpoints N         measure so many times along the stream (10)\n"
    "  --out FILE              rows go there, whole or not at all (standard output)\n"
    "  --header                print the columns' names and stop\n"
    "Settings; 0 or left out: the library's default:\n"
    "  --lr X --pool-lr X --max-steps N --loss-below X --wordings N --optimizer sgd|adamw "
    "--weight-decay X --pool-weight-decay X --clip X --warmup N --momentum X\n"
    "  --loss-all              loss on every token, not only on answers\n"
    "  --sample-decides        done when a step's own wordings are below, whatever the others are\n"
    "  --keep-given-up         what was learnt of a fact that is given up stays\n"
    "  full, lora, values (of the pool, all else frozen):\n"
    "  --replay N              so many sequences of the background in each step (0)\n"
    "  --background KIND       which: all, half or prose (all): sentences of the known facts or of "
    "one half of them, and prose; only prose\n"
    "  --lazy-pools            rows that a step does not read keep still\n"
    "  lora:   --rank N --alpha X --rank-stabilized\n"
    "  sparse: --rule tfidf|kl|tf|all|random --t N --rows fact|step --damping X --no-protect\n"
    "  --background KIND|FILE  count these sequences, a text file, or take counts.safetensors, or "
    "none (the model's own counts)\n"
    "  --save-counts FILE      write those counts and stop\n"
    "  --threads N             (1)\n";

static void parse(plan *p, int argc, char **argv) {
  enum {
    METHOD = 1,
    TASK,
    N,
    SET,
    SEED,
    MODEL,
    DATA,
    DOCUMENTS,
    KNOWN,
    TEXTS,
    POINTS,
    OUT,
    HEADER,
    LR,
    POOL_LR,
    STEPS,
    BELOW,
    WORDINGS,
    OPTIMIZER,
    DECAY,
    POOL_DECAY,
    CLIP,
    WARMUP,
    MOMENTUM,
    ALL,
    RANK,
    ALPHA,
    RS,
    RULE,
    T,
    ROWS,
    BACKGROUND,
    DAMPING,
    UNPROTECTED,
    THREADS,
    SAMPLE,
    KEEP,
    LAZY,
    REPLAY,
    SAVE_COUNTS,
    WHOLE
  };
  static const struct option options[] = {{"method", 1, 0, METHOD},
                                          {"task", 1, 0, TASK},
                                          {"n", 1, 0, N},
                                          {"set", 1, 0, SET},
                                          {"seed", 1, 0, SEED},
                                          {"model", 1, 0, MODEL},
                                          {"data", 1, 0, DATA},
                                          {"documents", 1, 0, DOCUMENTS},
                                          {"known", 1, 0, KNOWN},
                                          {"texts", 1, 0, TEXTS},
                                          {"checkpoints", 1, 0, POINTS},
                                          {"out", 1, 0, OUT},
                                          {"header", 0, 0, HEADER},
                                          {"lr", 1, 0, LR},
                                          {"pool-lr", 1, 0, POOL_LR},
                                          {"max-steps", 1, 0, STEPS},
                                          {"loss-below", 1, 0, BELOW},
                                          {"wordings", 1, 0, WORDINGS},
                                          {"optimizer", 1, 0, OPTIMIZER},
                                          {"weight-decay", 1, 0, DECAY},
                                          {"pool-weight-decay", 1, 0, POOL_DECAY},
                                          {"clip", 1, 0, CLIP},
                                          {"warmup", 1, 0, WARMUP},
                                          {"momentum", 1, 0, MOMENTUM},
                                          {"loss-all", 0, 0, ALL},
                                          {"rank", 1, 0, RANK},
                                          {"alpha", 1, 0, ALPHA},
                                          {"rank-stabilized", 0, 0, RS},
                                          {"rule", 1, 0, RULE},
                                          {"t", 1, 0, T},
                                          {"rows", 1, 0, ROWS},
                                          {"background", 1, 0, BACKGROUND},
                                          {"damping", 1, 0, DAMPING},
                                          {"no-protect", 0, 0, UNPROTECTED},
                                          {"sample-decides", 0, 0, SAMPLE},
                                          {"keep-given-up", 0, 0, KEEP},
                                          {"lazy-pools", 0, 0, LAZY},
                                          {"replay", 1, 0, REPLAY},
                                          {"save-counts", 1, 0, SAVE_COUNTS},
                                          {"whole", 0, 0, WHOLE},
                                          {"threads", 1, 0, THREADS},
                                          {"help", 0, 0, 'h'},
                                          {0, 0, 0, 0}};
  settings *s = &p->how;
  for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
    switch (option) {
    case METHOD:
      s->method = optarg;
      break;
    case TASK:
      p->task = optarg;
      break;
    case N:
      p->n = atoll(optarg);
      break;
    case SET:
      p->set = optarg;
      break;
    case SEED:
      s->seed = strtoull(optarg, NULL, 10);
      break;
    case MODEL:
      p->model = optarg;
      break;
    case DATA:
      p->data = optarg;
      break;
    case DOCUMENTS:
      p->documents = optarg;
      break;
    case KNOWN:
      p->known = atoll(optarg);
      break;
    case TEXTS:
      p->texts = atoll(optarg);
      break;
    case POINTS:
      p->checkpoints = atoll(optarg);
      break;
    case OUT:
      p->out = optarg;
      break;
    case HEADER:
      p->header = 1;
      break;
    case LR:
      s->lr = atof(optarg);
      break;
    case POOL_LR:
      s->pool_lr = atof(optarg);
      break;
    case STEPS:
      s->max_steps = atoi(optarg);
      break;
    case BELOW:
      s->loss_below = atof(optarg);
      break;
    case WORDINGS:
      s->wordings = atoi(optarg);
      break;
    case OPTIMIZER:
      s->optimizer = optarg;
      break;
    case DECAY:
      s->weight_decay = atof(optarg);
      break;
    case POOL_DECAY:
      s->pool_weight_decay = atof(optarg);
      break;
    case CLIP:
      s->clip = atof(optarg);
      break;
    case WARMUP:
      s->warmup = atoll(optarg);
      break;
    case MOMENTUM:
      s->momentum = atof(optarg);
      break;
    case ALL:
      s->loss_all = 1;
      break;
    case RANK:
      s->rank = atoi(optarg);
      break;
    case ALPHA:
      s->alpha = atof(optarg);
      break;
    case RS:
      s->rank_stabilized = 1;
      break;
    case RULE:
      s->rule = optarg;
      break;
    case T:
      s->t = atoll(optarg);
      break;
    case ROWS:
      s->rows = optarg;
      break;
    case BACKGROUND:
      s->background = optarg;
      break;
    case DAMPING:
      s->damping = atof(optarg);
      break;
    case UNPROTECTED:
      s->no_protect = 1;
      break;
    case SAMPLE:
      s->sample_decides = 1;
      break;
    case KEEP:
      s->keep_given_up = 1;
      break;
    case LAZY:
      s->lazy_pools = 1;
      break;
    case REPLAY:
      s->replay = atoi(optarg);
      break;
    case WHOLE:
      p->whole = 1;
      break;
    case SAVE_COUNTS:
      p->save_counts = optarg;
      break;
    case THREADS:
      p->threads = atoi(optarg);
      break;
    case 'h':
      fputs(usage, stdout);
      exit(0);
    default:
      fputs(usage, stderr);
      exit(2);
    }
  }
  if (optind < argc || p->n < 1 || p->known < 1 || p->checkpoints < 1) {
    fputs(usage, stderr);
    exit(2);
  }
}

static int check_plan(const plan *p) {
  if (strcmp(p->task, "facts") != 0 && strcmp(p->task, "documents") != 0)
    fprintf(stderr, "--task: facts or documents, not \"%s\"\n", p->task);
  else if (p->save_counts && strcmp(p->how.method, "sparse") != 0)
    fputs("--save-counts: only with --method sparse\n", stderr);
  else if (strcmp(p->set, "select") != 0 && strcmp(p->set, "report") != 0)
    fprintf(stderr, "--set: select or report, not \"%s\"\n", p->set);
  else
    return settings_check(&p->how);
  return -1;
}

static void save_counts(const plan *p) {
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  method m;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = p->threads;
  check(smft_ctx_create(&ctx, &options), "context");
  check(smft_model_load(&model, ctx, p->model, NULL), "model");
  method_make(&m, ctx, model, &p->how);
  method_save_counts(&m, p->save_counts);
  method_free(&m);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* Rows go to FILE.part, which becomes FILE when the run is over. */
static void write_to(stream *s, const char *path) {
  char part[4096];
  snprintf(part, sizeof part, "%s.part", path);
  s->out = fopen(part, "w");
  if (!s->out) {
    perror(part);
    exit(1);
  }
  run(s);
  if (fclose(s->out) != 0 || rename(part, path) != 0) {
    perror(path);
    exit(1);
  }
}

int main(int argc, char **argv) {
  plan p = {
      .how = {.method = "sparse", .rule = "tfidf", .optimizer = "", .rows = "fact", .seed = 1},
      .task = "facts",
      .set = "select",
      .model = ATLAS_DIR "/model",
      .data = ATLAS_DIR "/data",
      .documents = FORGETTING_DIR "/data/documents.jsonl",
      .n = 100,
      .known = 500,
      .texts = 200,
      .checkpoints = 10,
      .threads = 1};
  stream s;
  parse(&p, argc, argv);
  if (p.header)
    return puts(columns) < 0;
  if (!*p.how.optimizer)
    p.how.optimizer = strcmp(p.how.method, "sparse") == 0 ? "sgd" : "adamw";
  p.how.data = p.data;
  if (check_plan(&p) != 0)
    return 2;
  if (p.save_counts) {
    save_counts(&p);
    return 0;
  }
  open_stream(&s, &p);
  if (p.out) {
    write_to(&s, p.out);
  } else {
    s.out = stdout;
    run(&s);
  }
  close_stream(&s);
  return 0;
}
