/* demo: a downloaded chat model with a grafted memory (make.c) is taught facts, each from one
 * question and its answer, and asked for them in a chat, in the taught words and in others; what it
 * knew is asked before and after.  Everything through the public API with the model's own defaults.
 * The last line is RESULT ... for scripts. */
#include "program.h"
#include "questions.h"
#include "smft/smft.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_TOKENS 20
#define PROMPT_TOKENS 1024
#define ASKED_AGAIN 5 /* of the patch that went through a file */

typedef struct settings {
  const char *model, *facts, *known, *save;
  int64_t n;
  int32_t threads, integer, quiet, all;
} settings;

typedef struct world { /* the handles of the job */
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_session *session;
  smft_learner *learner;
} world;

typedef struct results { /* [0] before, [1] after learning */
  int64_t taught[2], other[2], n_taught, n_other;
  int64_t known, kept, same; /* right before; of those right after; with the very same text */
  int64_t learnt, rows, bytes, different;
  double seconds;
} results;

/* ---- asking -------------------------------------------------------------- */

/* The answer in a chat of its own, at most ANSWER_TOKENS; free it. */
static char *ask(const smft_model *model, smft_session *session, const char *text) {
  const smft_tokenizer *tokenizer = smft_model_tokenizer(model);
  smft_message message = {"user", text};
  smft_chat_options chat = SMFT_CHAT_OPTIONS_INIT;
  smft_generate_options generate = SMFT_GENERATE_OPTIONS_INIT;
  int32_t prompt[PROMPT_TOKENS], ids[ANSWER_TOKENS];
  int64_t n = 0, n_ids = 0;
  size_t length = 0;
  chat.flags = SMFT_CHAT_OPEN_ANSWER;
  generate.max_tokens = ANSWER_TOKENS;
  check(smft_tokenizer_chat(tokenizer, &message, 1, &chat, prompt, PROMPT_TOKENS, &n), text);
  check(smft_session_generate_ids(session, prompt, n, &generate, ids, ANSWER_TOKENS, &n_ids),
        "an answer");
  check(smft_tokenizer_decode(tokenizer, ids, n_ids, SMFT_DECODE_SKIP_SPECIAL, NULL, 0, &length),
        "decode");
  char *answer = need(calloc(length + 1, 1));
  check(smft_tokenizer_decode(tokenizer, ids, n_ids, SMFT_DECODE_SKIP_SPECIAL, answer, length + 1,
                              &length),
        "decode");
  for (char *at = answer; *at; at++)
    if (*at == '\n')
      *at = ' ';
  return answer;
}

static int ask_right(const world *w, const question *q, const char *text, int shown) {
  char *answer = ask(w->model, w->session, text);
  int right = is_right(q, answer);
  if (shown)
    printf("  %-58s %s %s\n", text, right ? "*" : " ", answer);
  free(answer);
  return right;
}

static void ask_facts(const settings *s, const world *w, const questions *facts, results *r,
                      int which) {
  r->n_taught = r->n_other = 0;
  for (int64_t i = 0; i < facts->n; i++) {
    const question *q = &facts->items[i];
    int shown = !s->quiet && (i < 4 || s->all);
    r->taught[which] += ask_right(w, q, q->text, shown);
    r->n_taught++;
    for (int64_t a = 0; a < q->n_asked; a++, r->n_other++)
      r->other[which] += ask_right(w, q, q->asked[a], which == 1 && shown);
  }
}

/* ---- what was known ------------------------------------------------------ */

/* (n) the base's answers. */
static char **ask_known(const world *w, const questions *known) {
  char **answers = need(calloc((size_t)known->n + 1, sizeof *answers));
  for (int64_t i = 0; i < known->n; i++)
    answers[i] = ask(w->model, w->session, known->items[i].text);
  return answers;
}

static void compare_known(const settings *s, const world *w, const questions *known, char **before,
                          results *r) {
  for (int64_t i = 0; i < known->n; i++) {
    char *after = ask(w->model, w->session, known->items[i].text);
    if (is_right(&known->items[i], before[i])) {
      int kept = is_right(&known->items[i], after);
      r->known++;
      r->kept += kept;
      r->same += strcmp(before[i], after) == 0;
      if (!kept && !s->quiet)
        printf("  lost: %s\n    before: %s\n    after:  %s\n", known->items[i].text, before[i],
               after);
    }
    free(after);
    free(before[i]);
  }
  free(before);
}

/* ---- teaching ------------------------------------------------------------ */

/* The next fact in the queue, which is q. */
static void teach(const settings *s, world *w, const question *q, int64_t number, int64_t n,
                  results *r) {
  smft_report report = SMFT_REPORT_INIT;
  double seconds = 0;
  do {
    check(smft_step(w->learner, &report), "step");
    seconds += report.seconds;
  } while (report.fact_state == SMFT_FACT_LEARNING);
  r->seconds += seconds;
  r->learnt += report.fact_state == SMFT_FACT_DONE;
  if (!s->quiet)
    printf("  %2lld/%lld  %-56.56s %-16.16s %3lld steps  %2lld/%lld wordings  %5.2f s%s\n",
           (long long)number, (long long)n, q->text, q->answer, (long long)report.step,
           (long long)report.wordings_learnt, (long long)report.wordings, seconds,
           report.rolled_back ? "  given up, taken back" : "");
  fflush(stdout);
}

/* ---- the patch as a file ------------------------------------------------- */

static int64_t count_rows(const world *w) {
  int64_t total = 0, rows = 0;
  for (int32_t pool = 0; smft_model_pool(w->model, pool, NULL, NULL) == SMFT_OK; pool++) {
    check(smft_patch_slots(w->patch, pool, NULL, 0, &rows), "patch");
    total += rows;
  }
  return total;
}

/* Through a file into a second session: how many answers differ from the first session's. */
static int64_t check_reload(const world *w, const char *path, const questions *facts) {
  smft_patch *patch = NULL;
  smft_session *second = NULL;
  int64_t different = 0;
  check(smft_patch_load(&patch, w->model, path), "loading the patch");
  check(smft_session_create(&second, w->model, patch, NULL), "second session");
  for (int64_t i = 0; i < facts->n && i < ASKED_AGAIN; i++) {
    char *here = ask(w->model, w->session, facts->items[i].text);
    char *there = ask(w->model, second, facts->items[i].text);
    different += strcmp(here, there) != 0;
    free(here);
    free(there);
  }
  smft_session_free(second);
  smft_patch_free(patch);
  return different;
}

static void save_and_reload(const settings *s, const world *w, const questions *facts, results *r) {
  char temporary[] = "/tmp/graft-patch-XXXXXX";
  int file = s->save ? -1 : mkstemp(temporary);
  const char *path = s->save ? s->save : temporary;
  if (file >= 0)
    close(file);
  check(smft_patch_save(w->patch, path, 0), "saving the patch");
  r->bytes = file_size(path);
  r->rows = count_rows(w);
  r->different = check_reload(w, path, facts);
  if (!s->save)
    remove(temporary);
}

/* ---- command line -------------------------------------------------------- */

static const char usage[] =
    "usage: graft-demo [options] MODEL   (a directory that graft-make has written)\n"
    "Teaches a real chat model facts, each from one question and its answer, and asks for them.\n"
    "  --facts FILE    {\"id\", \"question\", \"answer\", \"aliases\": [], \"ask\": []} a line; "
    "the "
    "last two\n"
    "                  may be left out: other right answers, and other ways to ask\n"
    "  --known FILE    the same: what is asked before and after; counts where it is right before\n"
    "  --n N           so many of the facts (all)\n"
    "  --save FILE     keep the patch here (default: a temporary file)\n"
    "  --threads N     0: all processors (0)\n"
    "  --integer       products with quantised weights in whole numbers: faster with AVX-512 VNNI\n"
    "  --all           show every answer, not only those about the first four facts\n"
    "  --quiet         the RESULT line only\n";

static void fail_usage(void) {
  fputs(usage, stderr);
  exit(2);
}

static void parse(settings *s, int argc, char **argv) {
  static const struct option options[] = {{"facts", 1, 0, 'f'},   {"known", 1, 0, 'k'},
                                          {"n", 1, 0, 'n'},       {"save", 1, 0, 's'},
                                          {"threads", 1, 0, 't'}, {"quiet", 0, 0, 'q'},
                                          {"all", 0, 0, 'a'},     {"integer", 0, 0, 'i'},
                                          {"help", 0, 0, 'h'},    {0, 0, 0, 0}};
  for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
    if (option == 'f')
      s->facts = optarg;
    else if (option == 'k')
      s->known = optarg;
    else if (option == 'n')
      s->n = atoll(optarg);
    else if (option == 's')
      s->save = optarg;
    else if (option == 't')
      s->threads = atoi(optarg);
    else if (option == 'q')
      s->quiet = 1;
    else if (option == 'a')
      s->all = 1;
    else if (option == 'i')
      s->integer = 1;
    else if (option == 'h')
      exit(fputs(usage, stdout) < 0);
    else
      fail_usage();
  }
  if (argc - optind != 1 || !s->facts || !s->known || s->n < 1)
    fail_usage();
  s->model = argv[optind];
}

/* ---- main ---------------------------------------------------------------- */

static void world_open(world *w, const settings *s) {
  smft_ctx_options ctx = SMFT_CTX_OPTIONS_INIT;
  ctx.n_threads = s->threads;
  ctx.flags = s->integer ? SMFT_CTX_INTEGER : 0;
  check(smft_ctx_create(&w->ctx, &ctx), "context");
  check(smft_model_load(&w->model, w->ctx, s->model, NULL), "the model");
  check(smft_patch_create(&w->patch, w->model, SMFT_PATCH_SLOTS), "patch");
  check(smft_session_create(&w->session, w->model, w->patch, NULL), "session");
  check(smft_learner_create(&w->learner, w->model, w->patch, NULL, NULL, NULL), "learner");
}

static void world_close(world *w) {
  smft_learner_free(w->learner);
  smft_session_free(w->session);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

static void say(const settings *s, const char *text) {
  if (!s->quiet)
    printf("%s\n", text);
  fflush(stdout);
}

static void run(const settings *s, world *w, const questions *facts, const questions *known,
                results *r) {
  say(s, "1. Asking what it knows, and what it will be taught");
  char **before = ask_known(w, known);
  ask_facts(s, w, facts, r, 0);
  say(s, "\n2. Teaching, one fact after another, from one question and its answer each");
  for (int64_t i = 0; i < facts->n; i++)
    teach(s, w, &facts->items[i], i + 1, facts->n, r);
  say(s, "\n3. Asking again; * marks a right answer");
  ask_facts(s, w, facts, r, 1);
  compare_known(s, w, known, before, r);
  save_and_reload(s, w, facts, r);
}

static void print_row(const char *name, int64_t before, int64_t after, int64_t n) {
  printf("  %-46s %4lld/%-6lld %4lld/%lld\n", name, (long long)before, (long long)n,
         (long long)after, (long long)n);
}

static void print_table(const settings *s, const results *r, int64_t n) {
  printf("\n  %-46s %-11s %s\n", "", "before", "after");
  print_row("taught: the question", r->taught[0], r->taught[1], r->n_taught);
  print_row("taught: in other words, which nobody trained", r->other[0], r->other[1], r->n_other);
  print_row("known before", r->known, r->kept, r->known);
  print_row("  of those, the very same text", r->known, r->same, r->known);
  printf("\n  %.1f s a fact; %lld rows, %lld bytes%s%s; in a second session: %s\n\n",
         r->seconds / (double)n, (long long)r->rows, (long long)r->bytes, s->save ? ", " : "",
         s->save ? s->save : "", r->different == 0 ? "the same answers" : "DIFFERENT answers");
}

int main(int argc, char **argv) {
  settings s = {.n = INT64_MAX};
  questions facts = {0}, known = {0};
  world w = {0};
  results r = {0};
  parse(&s, argc, argv);
  if (questions_load(&known, s.known) != 0)
    return 1;
  world_open(&w, &s);
  check(smft_learner_push_file(w.learner, s.facts, NULL), "the facts"); /* or what is wrong */
  if (questions_load(&facts, s.facts) != 0)
    return 1;
  int64_t all = facts.n;
  facts.n = s.n < all ? s.n : all;
  run(&s, &w, &facts, &known, &r);
  if (!s.quiet)
    print_table(&s, &r, facts.n);
  printf("RESULT taught=%lld/%lld other=%lld/%lld known_kept=%lld/%lld same_text=%lld "
         "patch_bytes=%lld seconds=%.1f\n",
         (long long)r.taught[1], (long long)r.n_taught, (long long)r.other[1], (long long)r.n_other,
         (long long)r.kept, (long long)r.known, (long long)r.same, (long long)r.bytes, r.seconds);
  world_close(&w);
  facts.n = all;
  questions_free(&facts);
  questions_free(&known);
  return r.different == 0 ? 0 : 1;
}
