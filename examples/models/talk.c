/* talk: a chat in the terminal with a model that was downloaded.  Every turn is the whole
 * conversation as ids, by the model's own chat template; the session keeps the keys and values of
 * what is the same as before, so only what is new is run.  A model without a chat template
 * continues each line instead. */
#include <getopt.h>
#include <signal.h>
#include <smft/smft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_MESSAGES 4096

typedef struct talk {
  smft_ctx *ctx;
  smft_model *model;
  smft_session *session;
  const smft_tokenizer *tokenizer;
  smft_chat_options chat;
  smft_generate_options generate;
  const char *system;
  smft_message messages[MOST_MESSAGES]; /* contents are owned, but for the system's */
  int64_t n_messages, n_system;
  int32_t *held, *ids; /* (context) what the session holds; the conversation's */
  int64_t n_held, context;
  char *answer; /* as far as it is there */
  size_t length, capacity;
  int tty;
} talk;

static const char usage[] =
    "usage: talk [options] MODEL   (a Hugging Face directory or a GGUF file)\n"
    "  --system TEXT       what the model is told first (default: what its template says)\n"
    "  --template NAME     one of libsmft's renderers, in place of the model's own template\n"
    "  --no-thinking       answers at once, where the template has a word for it\n"
    "  --temperature T     0: always the best token (default 0.6)\n"
    "  --top-p P, --top-k K, --seed N\n"
    "  --max-tokens N      of an answer (default 512)\n"
    "  --context N         tokens of the conversation at most (default: the model's)\n"
    "  --threads N         (default: one for each processor)\n"
    "Ctrl-C stops an answer.  /new starts another conversation.  Ctrl-D, or Ctrl-C twice, ends.\n";

/* ---- stopping ------------------------------------------------------------ */

static smft_session *running; /* what Ctrl-C stops; cancelling is safe in a signal handler */
static volatile sig_atomic_t interrupts;

static void on_interrupt(int number) {
  (void)number;
  interrupts++;
  smft_session_cancel(running);
}

static void catch_interrupts(smft_session *session) {
  struct sigaction action;
  running = session;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_interrupt; /* without SA_RESTART: reading a line is interrupted, too */
  sigaction(SIGINT, &action, NULL);
}

static void fail(const char *what) {
  fprintf(stderr, "talk: %s\n", what);
  exit(1);
}

static void must(smft_status status) {
  if (status != SMFT_OK)
    fail(smft_error_message());
}

static void note(const char *text) { fprintf(stderr, "(%s)\n", text); }

static void *room(void *old, size_t size) {
  void *new = realloc(old, size);
  if (!new)
    fail("out of memory");
  return new;
}

/* ---- history ------------------------------------------------------------- */

static void say(talk *t, const char *role, const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = memcpy(room(NULL, size), text, size);
  t->messages[t->n_messages++] = (smft_message){role, copy};
}

/* Takes out n messages behind the system's. */
static void forget(talk *t, int64_t n) {
  smft_message *first = t->messages + t->n_system;
  for (int64_t i = 0; i < n; i++)
    free((char *)(size_t)first[i].content); /* `say` allocated it */
  t->n_messages -= n;
  memmove(first, first + n, (size_t)(t->n_messages - t->n_system) * sizeof *first);
}

static void start_over(talk *t) {
  forget(t, t->n_messages - t->n_system);
  if (t->system && t->n_system == 0) {
    t->messages[0] = (smft_message){"system", t->system};
    t->n_messages = t->n_system = 1;
  }
}

/* A question that got no answer is none. */
static void take_back(talk *t) {
  t->n_messages--;
  free((char *)(size_t)t->messages[t->n_messages].content);
}

/* ---- ids ----------------------------------------------------------------- */

/* -1: the conversation is longer than the context. */
static int64_t conversation(talk *t) {
  int64_t n = 0;
  smft_status status = smft_tokenizer_chat(t->tokenizer, t->messages, t->n_messages, &t->chat,
                                           t->ids, t->context, &n);
  if (status == SMFT_E_BUFFER)
    return -1;
  must(status);
  return n;
}

/* The conversation with room for an answer behind it; the oldest question and answer go first. */
static int64_t fitting_conversation(talk *t) {
  int64_t answer =
      t->generate.max_tokens < t->context / 4 ? t->generate.max_tokens : t->context / 4;
  int64_t n, dropped = 0;
  while ((n = conversation(t)) < 0 || n > t->context - answer) {
    if (t->n_messages - t->n_system < 3)
      break;
    forget(t, 2);
    dropped++;
  }
  if (dropped > 0)
    note("the context is full: the oldest turns are left out");
  return n < 0 || n >= t->context ? -1 : n;
}

/* Runs what the session does not hold yet. */
static smft_status feed(talk *t, int64_t n) {
  int64_t same = 0;
  while (same < n - 1 && same < t->n_held && t->held[same] == t->ids[same])
    same++;
  must(smft_session_rewind(t->session, same));
  t->n_held = same;
  smft_status status =
      smft_session_feed(t->session, t->ids + same, n - same, SMFT_LOGITS_NONE, NULL, 0);
  if (status == SMFT_OK) {
    memcpy(t->held, t->ids, (size_t)n * sizeof *t->held);
    t->n_held = n;
  }
  return status;
}

/* ---- answers ------------------------------------------------------------- */

static int32_t on_token(void *user, int32_t id, const char *text, size_t length) {
  talk *t = user;
  if (t->n_held < t->context)
    t->held[t->n_held++] = id;
  fwrite(text, 1, length, stdout);
  fflush(stdout);
  if (t->length + length + 1 > t->capacity)
    t->answer = room(t->answer, t->capacity = 2 * (t->length + length + 1));
  memcpy(t->answer + t->length, text, length);
  t->answer[t->length += length] = '\0';
  return 0;
}

/* Whatever stopped it: what the session holds is what we think it holds. */
static int ended_well(talk *t, smft_status status) {
  int64_t length = smft_session_length(t->session);
  t->n_held = length < t->n_held ? length : t->n_held;
  putchar('\n');
  if (status == SMFT_E_CANCELLED)
    note("stopped");
  else
    must(status);
  if (status == SMFT_OK && length == t->context)
    note("the context is full");
  return status == SMFT_OK;
}

static void answer(talk *t, const char *line) {
  if (t->n_messages + 2 > MOST_MESSAGES)
    forget(t, 2);
  say(t, "user", line);
  t->length = 0;
  int64_t n = fitting_conversation(t);
  if (n < 0) {
    note("this does not fit into the context");
    take_back(t);
    return;
  }
  smft_status status = feed(t, n);
  if (status == SMFT_OK) {
    t->generate.flags = SMFT_GENERATE_CONTINUE;
    status = smft_session_generate(t->session, NULL, 0, &t->generate, NULL, NULL);
  }
  ended_well(t, status);
  if (t->length > 0)
    say(t, "assistant", t->answer);
  else
    take_back(t);
}

static void go_on(talk *t, const char *line) { /* a model that does not chat */
  t->n_held = 0;
  fputs(line, stdout);
  ended_well(t, smft_session_generate(t->session, line, strlen(line), &t->generate, NULL, NULL));
}

/* ---- the terminal --------------------------------------------------------- */

/* 0: the end.  The line has no newline. */
static int read_line(talk *t, char **line, size_t *size) {
  for (int times = 0;;) {
    int before = interrupts;
    if (t->tty)
      fputs("> ", stdout);
    fflush(stdout);
    ssize_t length = getline(line, size, stdin);
    if (length >= 0) {
      (*line)[strcspn(*line, "\r\n")] = '\0';
      return 1;
    }
    clearerr(stdin);
    if (interrupts == before || ++times == 2)
      return 0;
    fputs("\n", stdout);
    note("Ctrl-C again, or Ctrl-D, ends");
  }
}

static void run(talk *t, int chats) {
  char *line = NULL;
  size_t size = 0;
  while (read_line(t, &line, &size)) {
    if (strcmp(line, "/new") == 0)
      start_over(t);
    else if (*line && chats)
      answer(t, line);
    else if (*line)
      go_on(t, line);
  }
  if (t->tty)
    putchar('\n');
  free(line);
}

/* ---- options and life ------------------------------------------------------ */

static double number(const char *text) {
  char *end = NULL;
  double value = strtod(text, &end);
  if (end == text || *end)
    fail("an option's value is not a number; --help says what there is");
  return value;
}

static void set(talk *t, int option, const char *value, smft_ctx_options *ctx,
                smft_session_options *session) {
  switch (option) {
  case 's':
    t->system = value;
    break;
  case 'n':
    t->chat.renderer = value;
    break;
  case 'q':
    t->chat.flags |= SMFT_CHAT_NO_THINKING;
    break;
  case 't':
    t->generate.temperature = (float)number(value);
    break;
  case 'p':
    t->generate.top_p = (float)number(value);
    break;
  case 'k':
    t->generate.top_k = (int32_t)number(value);
    break;
  case 'e':
    t->generate.seed = (uint64_t)number(value);
    break;
  case 'm':
    t->generate.max_tokens = (int32_t)number(value);
    break;
  case 'c':
    session->context_length = (int32_t)number(value);
    break;
  case 'j':
    ctx->n_threads = (int32_t)number(value);
    break;
  case 'h':
    fputs(usage, stdout);
    exit(0);
  default:
    fputs(usage, stderr);
    exit(2);
  }
}

static const char *read_options(talk *t, int argc, char **argv, smft_ctx_options *ctx,
                                smft_session_options *session) {
  static const struct option options[] = {
      {"system", 1, NULL, 's'},      {"template", 1, NULL, 'n'},   {"no-thinking", 0, NULL, 'q'},
      {"temperature", 1, NULL, 't'}, {"top-p", 1, NULL, 'p'},      {"top-k", 1, NULL, 'k'},
      {"seed", 1, NULL, 'e'},        {"max-tokens", 1, NULL, 'm'}, {"context", 1, NULL, 'c'},
      {"threads", 1, NULL, 'j'},     {"help", 0, NULL, 'h'},       {NULL, 0, NULL, 0}};
  int option;
  while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
    set(t, option, optarg, ctx, session);
  if (argc - optind != 1)
    set(t, '?', NULL, ctx, session);
  return argv[optind];
}

/* 1: the model chats, 0: it goes on. */
static int choose_way(talk *t, const char *path) {
  smft_chat_info info = SMFT_CHAT_INFO_INIT;
  t->tokenizer = smft_model_tokenizer(t->model);
  if (!t->tokenizer)
    fail("the model has no tokenizer");
  must(smft_tokenizer_chat_info(t->tokenizer, &info));
  int chats = t->chat.renderer || info.template_text;
  if (t->tty)
    fprintf(stderr, "%s, %s%s\n%s", path,
            chats ? "chat template " : "no chat template: continues what you write",
            !chats             ? ""
            : t->chat.renderer ? t->chat.renderer
            : info.renderer    ? info.renderer
                               : info.hash,
            strstr(usage, "Ctrl-C stops"));
  return chats;
}

static void open_session(talk *t, const smft_session_options *options) {
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  must(smft_session_create(&t->session, t->model, NULL, options));
  must(smft_model_get_info(t->model, &info));
  t->context = options->context_length ? options->context_length : info.context_length;
  t->held = room(NULL, (size_t)t->context * sizeof *t->held);
  t->ids = room(NULL, (size_t)t->context * sizeof *t->ids);
  t->answer = room(NULL, t->capacity = 1024);
}

int main(int argc, char **argv) {
  static talk t;
  smft_ctx_options ctx = SMFT_CTX_OPTIONS_INIT;
  smft_session_options session = SMFT_SESSION_OPTIONS_INIT;
  smft_generate_options generate = {.struct_size = sizeof generate,
                                    .max_tokens = 512,
                                    .temperature = 0.6f,
                                    .top_p = 0.9f,
                                    .seed = (uint64_t)time(NULL),
                                    .on_token = on_token,
                                    .user = &t};
  smft_chat_options chat = SMFT_CHAT_OPTIONS_INIT;
  t.generate = generate;
  t.chat = chat;
  t.chat.flags = SMFT_CHAT_OPEN_ANSWER;
  t.tty = isatty(0);
  const char *path = read_options(&t, argc, argv, &ctx, &session);
  must(smft_ctx_create(&t.ctx, &ctx));
  must(smft_model_load(&t.model, t.ctx, path, NULL));
  int chats = choose_way(&t, path);
  open_session(&t, &session);
  catch_interrupts(t.session);
  start_over(&t);
  run(&t, chats);
  forget(&t, t.n_messages - t.n_system);
  free(t.held);
  free(t.ids);
  free(t.answer);
  smft_session_free(t.session);
  smft_model_free(t.model);
  smft_ctx_free(t.ctx);
  return 0;
}
