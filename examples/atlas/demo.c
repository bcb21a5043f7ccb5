/* demo: the main job.  Teaches the atlas model 20 real facts that it does not know, one after
 * another, and shows what it learnt and what it forgot.  Everything through the public API.  The
 * last line is RESULT ... for scripts. */
#include "classroom.h"
#include "facts.h"
#include "own.h"
#include "program.h"
#include "smft/smft.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef ATLAS_DIR
#define ATLAS_DIR "examples/atlas"
#endif

typedef struct settings {
  const char *model, *data, *facts, *save;
  int64_t n, known;
  uint64_t seed;
  int32_t threads, quiet, rows_per_step, sample_decides, keep_given_up;
  double lr, loss_below;
  int64_t t;
  int32_t max_steps, wordings, rule, optimizer;
} settings;

typedef struct lesson { /* one fact to be taught */
  const char *id;
  char *question; /* asked; never trained for it, but for the user's own */
  const char *const *answers;
  int64_t n_answers;
  atlas_text *train; /* (n_train); 0: it waits in the queue already */
  int64_t n_train;
  atlas_text *held; /* (n_held) more wordings that are never trained */
  int64_t n_held;
  /* pretraining knows the answer's string; of the user's own: the question is taught as it is asked
   */
  int seen;
} lesson;

typedef struct lessons {
  lesson *items; /* (n) */
  int64_t n;
} lessons;

typedef struct score {
  int64_t right, n;
  double f1;
} score;

/* ---- what to teach ------------------------------------------------------- */

static void lesson_from_fact(lesson *out, const atlas_fact *fact, const atlas_wordings *wordings) {
  const atlas_relation *relation = atlas_relation_find(wordings, fact->relation);
  if (!relation) {
    fprintf(stderr, "atlas-demo: no wordings for the relation %s\n", fact->relation);
    exit(1);
  }
  out->id = fact->id;
  out->answers = (const char *const *)fact->answers;
  out->n_answers = fact->n_answers;
  out->seen = fact->answer_seen;
  out->train = need(calloc((size_t)relation->n, sizeof *out->train));
  out->held = need(calloc((size_t)relation->n, sizeof *out->held));
  for (int64_t i = 0; i < relation->n; i++) {
    atlas_text text;
    need(atlas_fill(&text, &relation->wordings[i], fact) == 0 ? out : NULL);
    if (relation->wordings[i].role == ATLAS_TRAIN)
      out->train[out->n_train++] = text;
    else if (relation->wordings[i].role == ATLAS_HELD)
      out->held[out->n_held++] = text;
    else {
      out->question = need(strdup(text.prompt));
      atlas_text_free(&text);
    }
  }
}

static void lessons_draw(lessons *out, const atlas_facts *facts, const atlas_wordings *wordings,
                         int64_t n, uint64_t seed) {
  int64_t *order = need(malloc(((size_t)facts->n + 1) * sizeof *order));
  uint64_t state = seed * 7919 + 17;
  atlas_shuffle(&state, order, facts->n);
  out->n = n < facts->n ? n : facts->n;
  out->items = need(calloc((size_t)out->n + 1, sizeof *out->items));
  for (int64_t i = 0; i < out->n; i++)
    lesson_from_fact(&out->items[i], &facts->items[order[i]], wordings);
  free(order);
}

static void lessons_free(lessons *l) {
  for (int64_t i = 0; i < l->n; i++) {
    for (int64_t w = 0; w < l->items[i].n_train; w++)
      atlas_text_free(&l->items[i].train[w]);
    for (int64_t w = 0; w < l->items[i].n_held; w++)
      atlas_text_free(&l->items[i].held[w]);
    free(l->items[i].train);
    free(l->items[i].held);
    free(l->items[i].question);
  }
  free(l->items);
}

/* ---- asking -------------------------------------------------------------- */

/* Adds one answer to a score, and to a second one where there is one. */
static void mark(smft_session *session, const char *prompt, const lesson *l, score *total,
                 score *part) {
  double exact = 0, f1 = 0;
  check(smft_score_answer(atlas_ask(session, prompt), l->answers, l->n_answers, &exact, &f1),
        "scoring");
  for (score *each = total; each; each = each == total ? part : NULL) {
    each->n++;
    each->right += exact == 1;
    each->f1 += f1;
  }
}

static score ask_all(smft_session *session, const lessons *l, score *seen, score *unseen) {
  score all = {0, 0, 0};
  for (int64_t i = 0; i < l->n; i++)
    mark(session, l->items[i].question, &l->items[i], &all, l->items[i].seen ? seen : unseen);
  return all;
}

static score ask_held(smft_session *session, const lessons *l) {
  score all = {0, 0, 0};
  for (int64_t i = 0; i < l->n; i++)
    for (int64_t w = 0; w < l->items[i].n_held; w++)
      mark(session, l->items[i].held[w].prompt, &l->items[i], &all, NULL);
  return all;
}

/* ---- the steps of the job ------------------------------------------------ */

static void probe_fill(smft_probe *probe, const settings *s, const atlas_facts *known,
                       const atlas_wordings *wordings, double *majority) {
  int64_t *order = need(malloc(((size_t)known->n + 1) * sizeof *order));
  int64_t n = s->known < known->n ? s->known : known->n;
  uint64_t state = s->seed + 99;
  atlas_shuffle(&state, order, known->n);
  atlas_probe_facts(probe, known, wordings, order, n);
  atlas_probe_texts(probe, path_in(s->data, "text.heldout.txt"), 200);
  *majority = atlas_majority_f1(known, order, n);
  free(order);
}

/* Teaches one fact and prints its line; returns the seconds. */
static double teach(smft_learner *learner, const lesson *l, int64_t number, int64_t n, int quiet) {
  smft_report report = SMFT_REPORT_INIT;
  double seconds = 0, first = -1;
  int64_t rows = 0;
  if (l->n_train > 0)
    atlas_push(learner, l->id, l->train, l->n_train);
  do {
    check(smft_step(learner, &report), "step");
    if (first < 0)
      first = report.loss;
    if (report.rows_selected > rows)
      rows = report.rows_selected;
    seconds += report.seconds;
  } while (report.fact_state == SMFT_FACT_LEARNING);
  if (!quiet)
    printf("  %2lld/%lld  %-44.44s %-22.22s %3lld steps  loss %.2f -> %.3f  %lld/%lld wordings  "
           "%5.2f s\n",
           (long long)number, (long long)n, l->question, l->answers[0], (long long)report.step,
           first, report.loss, (long long)report.wordings_learnt, (long long)report.wordings,
           seconds);
  fflush(stdout);
  return seconds;
}

static float *base_logits(const smft_model *model, const char *text, int64_t vocab) {
  smft_session *session = NULL;
  int32_t ids[256];
  int64_t n = 0;
  float *logits = need(malloc((size_t)vocab * sizeof *logits));
  check(smft_session_create(&session, model, NULL, NULL), "session");
  check(smft_tokenizer_encode(smft_model_tokenizer(model), text, strlen(text), SMFT_ENCODE_PROMPT,
                              ids, 256, &n),
        "encode");
  check(smft_session_feed(session, ids, n, SMFT_LOGITS_LAST, logits, vocab), "feed");
  smft_session_free(session);
  return logits;
}

/* The patch goes through a file into a second session; returns how many answers differ from the
 * first session's. */
static int64_t check_reload(const smft_model *model, smft_session *first, const char *path,
                            const lessons *l) {
  smft_patch *patch = NULL;
  smft_session *second = NULL;
  int64_t different = 0;
  check(smft_patch_load(&patch, model, path), "loading the patch");
  check(smft_session_create(&second, model, patch, NULL), "second session");
  for (int64_t i = 0; i < l->n; i++) {
    char *text = need(strdup(atlas_ask(first, l->items[i].question)));
    different += strcmp(text, atlas_ask(second, l->items[i].question)) != 0;
    free(text);
  }
  smft_session_free(second);
  smft_patch_free(patch);
  return different;
}

/* ---- the user's own facts ------------------------------------------------ */

/* The library reads them, all into the learner's queue, and says what is wrong with them. */
static void push_own(smft_learner *learner, const char *path) {
  int64_t n = 0;
  check(smft_learner_push_file(learner, path, &n), "your facts");
  if (n == 0) {
    fprintf(stderr, "atlas-demo: your facts: %s: there is none in it\n", path);
    exit(1);
  }
}

/* In the order of the queue: nothing is pushed for them again. */
static void own_lessons(lessons *out, const own_facts *facts) {
  out->items = need(calloc((size_t)facts->n, sizeof *out->items));
  for (out->n = 0; out->n < facts->n; out->n++) {
    const own_fact *fact = &facts->items[out->n];
    lesson *l = &out->items[out->n];
    l->id = fact->id;
    l->question = need(strdup(fact->question));
    l->answers = (const char *const *)fact->answers;
    l->n_answers = fact->n_answers;
    l->seen = fact->trained;
  }
}

/* ---- command line -------------------------------------------------------- */

static const char usage[] =
    "usage: atlas-demo [options]\n"
    "Teaches the shipped model facts that it does not know and shows what it learnt and what it "
    "forgot.\n"
    "  --facts FILE       your own facts, one JSON object a line (docs/formats.md, \"Facts\"):\n"
    "                     {\"id\": \"x\", \"question\": \"Who wrote Emma?\", \"answer\": \"Jane "
    "Austen\"} or\n"
    "                     {\"id\": \"x\", \"wordings\": [{\"prompt\": \"Who wrote Emma?\", "
    "\"answer\": \"Jane Austen\"}, ...],\n"
    "                      \"question\": \"asked before and after\", \"answers\": [\"accepted\", "
    "...]}   (the last two may be left out)\n"
    "  --n N              how many of the new facts to teach (20)\n"
    "  --seed N           which of them (1)\n"
    "  --known N          known facts to measure before and after (500)\n"
    "  --save FILE        keep the patch here (default: a temporary file)\n"
    "  --model DIR        the model (" ATLAS_DIR "/model)\n"
    "  --data DIR         its facts (" ATLAS_DIR "/data)\n"
    "  --lr X --t N --max-steps N --loss-below X --wordings N --rule tfidf|kl|tf|all --optimizer "
    "sgd|adamw\n"
    "  --rows-per-step    choose the rows anew in every step\n"
    "  --sample-decides   a fact is done when a step's own wordings are, whatever the others are\n"
    "  --keep-given-up    what was learnt of a fact that is given up stays\n"
    "                     (all of these: instead of the library's defaults)\n"
    "  --threads N        0: all processors (0)\n"
    "  --quiet            the RESULT line only\n";

static int32_t rule_of(const char *name) {
  const char *names[] = {"tfidf", "kl", "tf", "all"};
  for (int32_t i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0)
      return SMFT_RULE_TFIDF + i;
  fputs(usage, stderr);
  exit(2);
}

static void parse(settings *s, int argc, char **argv) {
  enum {
    FACTS = 1,
    N,
    SEED,
    KNOWN,
    SAVE,
    MODEL,
    DATA,
    LR,
    T,
    STEPS,
    BELOW,
    WORDINGS,
    RULE,
    OPTIMIZER,
    ROWS,
    THREADS,
    QUIET,
    SAMPLE,
    KEEP,
    HELP
  };
  static const struct option options[] = {{"facts", 1, 0, FACTS},
                                          {"n", 1, 0, N},
                                          {"seed", 1, 0, SEED},
                                          {"known", 1, 0, KNOWN},
                                          {"save", 1, 0, SAVE},
                                          {"model", 1, 0, MODEL},
                                          {"data", 1, 0, DATA},
                                          {"lr", 1, 0, LR},
                                          {"t", 1, 0, T},
                                          {"max-steps", 1, 0, STEPS},
                                          {"loss-below", 1, 0, BELOW},
                                          {"wordings", 1, 0, WORDINGS},
                                          {"rule", 1, 0, RULE},
                                          {"optimizer", 1, 0, OPTIMIZER},
                                          {"rows-per-step", 0, 0, ROWS},
                                          {"sample-decides", 0, 0, SAMPLE},
                                          {"keep-given-up", 0, 0, KEEP},
                                          {"threads", 1, 0, THREADS},
                                          {"quiet", 0, 0, QUIET},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
  for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
    switch (option) {
    case FACTS:
      s->facts = optarg;
      break;
    case N:
      s->n = atoll(optarg);
      break;
    case SEED:
      s->seed = strtoull(optarg, NULL, 10);
      break;
    case KNOWN:
      s->known = atoll(optarg);
      break;
    case SAVE:
      s->save = optarg;
      break;
    case MODEL:
      s->model = optarg;
      break;
    case DATA:
      s->data = optarg;
      break;
    case LR:
      s->lr = atof(optarg);
      break;
    case T:
      s->t = atoll(optarg);
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
    case RULE:
      s->rule = rule_of(optarg);
      break;
    case OPTIMIZER:
      s->optimizer = strcmp(optarg, "adamw") == 0 ? SMFT_OPTIMIZER_ADAMW : SMFT_OPTIMIZER_SGD;
      break;
    case ROWS:
      s->rows_per_step = 1;
      break;
    case SAMPLE:
      s->sample_decides = 1;
      break;
    case KEEP:
      s->keep_given_up = 1;
      break;
    case THREADS:
      s->threads = atoi(optarg);
      break;
    case QUIET:
      s->quiet = 1;
      break;
    case HELP:
    case 'h':
      fputs(usage, stdout);
      exit(0);
    default:
      fputs(usage, stderr);
      exit(2);
    }
  }
  if (optind < argc || s->n < 1 || s->known < 1) {
    fputs(usage, stderr);
    exit(2);
  }
}

/* ---- main ---------------------------------------------------------------- */

typedef struct world { /* the handles of the job */
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_session *session;
  smft_selector *selector;
  smft_optimizer *optimizer;
  smft_learner *learner;
  smft_probe *probe;
} world;

static void world_open(world *w, const settings *s) {
  smft_ctx_options ctx = SMFT_CTX_OPTIONS_INIT;
  smft_selector_options selector = SMFT_SELECTOR_OPTIONS_INIT;
  smft_optimizer_options optimizer = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learner = SMFT_LEARNER_OPTIONS_INIT;
  ctx.n_threads = s->threads;
  selector.rule = s->rule;
  selector.t = s->t;
  optimizer.kind = s->optimizer;
  optimizer.lr = s->lr;
  learner.max_steps = s->max_steps;
  learner.loss_below = s->loss_below;
  learner.wordings_per_step = s->wordings;
  learner.seed = s->seed;
  learner.flags = (s->rows_per_step ? SMFT_LEARNER_ROWS_PER_STEP : 0) |
                  (s->sample_decides ? SMFT_LEARNER_SAMPLE_DECIDES : 0) |
                  (s->keep_given_up ? SMFT_LEARNER_KEEP_GIVEN_UP : 0);
  check(smft_ctx_create(&w->ctx, &ctx), "context");
  check(smft_model_load(&w->model, w->ctx, s->model, NULL), "the model");
  check(smft_patch_create(&w->patch, w->model, SMFT_PATCH_SLOTS), "patch");
  check(smft_session_create(&w->session, w->model, w->patch, NULL), "session");
  check(smft_selector_create(&w->selector, w->model, &selector), "selector");
  check(smft_optimizer_create(&w->optimizer, w->ctx, &optimizer), "optimizer");
  check(smft_learner_create(&w->learner, w->model, w->patch, w->selector, w->optimizer, &learner),
        "learner");
  check(smft_probe_create(&w->probe, w->ctx, NULL), "probe");
}

static void world_close(world *w) {
  smft_probe_free(w->probe);
  smft_learner_free(w->learner);
  smft_optimizer_free(w->optimizer);
  smft_selector_free(w->selector);
  smft_session_free(w->session);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

typedef struct data { /* what is taught and asked */
  atlas_facts known, fresh;
  own_facts own;
  atlas_wordings wordings;
  lessons list;
} data;

typedef struct results {
  score asked[2], seen[2], unseen[2], held[2]; /* before and after learning */
  smft_probe_report probe;
  double seconds, majority_known;
  int64_t rows, bytes, different;
  int same; /* the base gives the same logits, bit for bit */
} results;

static void print_row(const char *name, const score both[2]) {
  if (both[1].n > 0)
    printf("  %-46s %3lld/%-4lld F1 %.2f   %3lld/%-4lld F1 %.2f\n", name, (long long)both[0].right,
           (long long)both[0].n, both[0].f1 / (double)both[0].n, (long long)both[1].right,
           (long long)both[1].n, both[1].f1 / (double)both[1].n);
}

static void print_table(const settings *s, const results *r, const atlas_facts *fresh) {
  const smft_probe_report *p = &r->probe;
  printf("\n  %-46s %-18s %s\n", "", "before", "after");
  if (s->facts) {
    print_row("your facts, asked as they were taught", r->seen);
    print_row("your facts, the question never trained", r->unseen);
  } else {
    print_row("new facts, the question never trained", r->asked);
    print_row("  whose answer pretraining had seen", r->seen);
    print_row("  whose answer was new to the model too", r->unseen);
    print_row("new facts, other wordings never trained", r->held);
    printf("  %-46s F1 %.2f\n", "  (always the relation's commonest answer)",
           atlas_majority_f1(fresh, NULL, fresh->n));
  }
  printf("  %-46s F1 %.4f          F1 %.4f   (%+.2f%%, %lld lost, %lld gained)\n", "known facts",
         p->f1_before, p->f1, p->f1_change, (long long)p->lost, (long long)p->gained);
  printf("  %-46s F1 %.2f\n", "  (always the relation's commonest answer)", r->majority_known);
  printf("  %-46s %.4f             %.4f      (%+.2f%%, KL %.5f)\n", "held-out text, nats per token",
         p->nll_before, p->nll, p->nll_change, p->kl);
  printf("\n  patch: %lld rows, %lld bytes%s%s; in a second session: %s; the base model: %s\n\n",
         (long long)r->rows, (long long)r->bytes, s->save ? ", " : "", s->save ? s->save : "",
         r->different == 0 ? "the same answers" : "DIFFERENT answers",
         r->same ? "unchanged, bit for bit" : "CHANGED");
}

/* Asks everything; which: 0 before, 1 after learning.  Shows the first three answers. */
static void ask_everything(const settings *s, const world *w, const lessons *list, results *r,
                           int which) {
  r->asked[which] = ask_all(w->session, list, &r->seen[which], &r->unseen[which]);
  r->held[which] = ask_held(w->session, list);
  for (int64_t i = 0; !s->quiet && i < list->n && i < 3; i++)
    printf("  %s%s   (right: %s)\n", list->items[i].question,
           atlas_ask(w->session, list->items[i].question), list->items[i].answers[0]);
}

static void save_and_reload(const settings *s, const world *w, const lessons *list, results *r) {
  char temporary[] = "/tmp/atlas-patch-XXXXXX";
  int64_t rows = 0;
  int file = s->save ? -1 : mkstemp(temporary);
  const char *path = s->save ? s->save : temporary;
  if (file >= 0)
    close(file);
  check(smft_patch_save(w->patch, path, 0), "saving the patch");
  r->bytes = file_size(path);
  r->different = check_reload(w->model, w->session, path, list);
  for (int32_t pool = 0; smft_model_pool(w->model, pool, NULL, NULL) == SMFT_OK;
       pool++, r->rows += rows)
    check(smft_patch_slots(w->patch, pool, NULL, 0, &rows), "patch");
  if (!s->save)
    remove(temporary);
}

static void say(const settings *s, const char *text) {
  if (!s->quiet)
    printf("%s\n", text);
  fflush(stdout);
}

/* The main job. */
static void run(const settings *s, world *w, const atlas_facts *known,
                const atlas_wordings *wordings, const lessons *list, results *r) {
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  smft_progress_fn progress = s->quiet ? NULL : show_progress;
  check(smft_model_get_info(w->model, &info), "model");
  if (!s->quiet)
    printf("atlas: %.1f million parameters, %d blocks, %d of them with memory\n\n",
           (double)info.n_parameters / 1e6, info.n_layers, info.n_memories);
  say(s, "1. Measuring known facts and held-out text");
  probe_fill(w->probe, s, known, wordings, &r->majority_known);
  check(smft_probe_baseline(w->probe, w->session, progress, NULL), "baseline");
  float *before = base_logits(w->model, list->items[0].question, info.vocab_size);
  say(s, "\n2. Asking new facts, before it is taught them");
  ask_everything(s, w, list, r, 0);
  say(s, "\n3. Teaching them, one after another");
  for (int64_t i = 0; i < list->n; i++)
    r->seconds += teach(w->learner, &list->items[i], i + 1, list->n, s->quiet);
  say(s, s->facts ? "\n4. Asking again"
                  : "\n4. Asking again, in wording that was never trained for them");
  ask_everything(s, w, list, r, 1);
  check(smft_probe_measure(w->probe, w->session, progress, NULL, &r->probe), "measuring");
  save_and_reload(s, w, list, r);
  float *after = base_logits(w->model, list->items[0].question, info.vocab_size);
  r->same = memcmp(before, after, (size_t)info.vocab_size * sizeof *before) == 0;
  free(before);
  free(after);
}

static void load_data(const settings *s, const world *w, data *d) {
  if (atlas_facts_load(&d->known, path_in(s->data, "known.jsonl")) != 0 ||
      atlas_wordings_load(&d->wordings, path_in(s->data, "wordings.json")) != 0)
    exit(1);
  if (s->facts)
    push_own(w->learner, s->facts);
  if (s->facts ? own_facts_load(&d->own, s->facts) != 0
               : atlas_facts_load(&d->fresh, path_in(s->data, "new.jsonl")) != 0)
    exit(1);
  if (s->facts)
    own_lessons(&d->list, &d->own);
  else
    lessons_draw(&d->list, &d->fresh, &d->wordings, s->n, s->seed);
}

static void free_data(data *d) {
  lessons_free(&d->list);
  own_facts_free(&d->own);
  atlas_facts_free(&d->known);
  atlas_facts_free(&d->fresh);
  atlas_wordings_free(&d->wordings);
}

int main(int argc, char **argv) {
  settings s = {
      .model = ATLAS_DIR "/model", .data = ATLAS_DIR "/data", .n = 20, .known = 500, .seed = 1};
  data d = {.known = {0}};
  world w = {0};
  results r = {.probe = SMFT_PROBE_REPORT_INIT};
  parse(&s, argc, argv);
  world_open(&w, &s);
  load_data(&s, &w, &d);
  run(&s, &w, &d.known, &d.wordings, &d.list, &r);
  if (!s.quiet)
    print_table(&s, &r, &d.fresh);
  printf("RESULT learned=%lld/%lld known_f1_before=%.4f known_f1_after=%.4f patch_bytes=%lld "
         "seconds=%.1f\n",
         (long long)r.asked[1].right, (long long)r.asked[1].n, r.probe.f1_before, r.probe.f1,
         (long long)r.bytes, r.seconds);
  world_close(&w);
  free_data(&d);
  return r.same && r.different == 0 ? 0 : 1;
}
