/* callbacks: the library is called from within the host's own allocator, log and parallel_for,
 * while a call of the library has asked for them.  A handle that the outer call has in hand is
 * refused, others work, the outer call does what it does alone, and nothing waits for ever; through
 * smft.h alone.  Callbacks that are for one call (on_token, progress, on_fact): test_in_use.c. */
#include <stdatomic.h>
#include "test.h"
#include "tiny.h"

typedef enum source { ALLOC, REALLOC, FREE, LOG, PARALLEL, N_SOURCES } source;
static const char *const source_names[] = {"alloc", "realloc", "free", "log", "parallel_for"};

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_selector *selector;
  smft_optimizer *optimizer;
  smft_learner *learner;
  smft_session *session, *other;
  smft_probe *probe;
} world;

/* ---- a host whose callbacks call ----------------------------------------- */

typedef struct poking {
  void (*call)(world *w); /* NULL: nobody calls */
  source from;
  world *w;
  int times; /* that it was called */
} poking;

static poking poke;
static atomic_int inside; /* one call at a time, and none from within it */

static void come_by(source from) {
  int nobody = 0;
  if (!poke.call || poke.from != from || !atomic_compare_exchange_strong(&inside, &nobody, 1))
    return;
  poke.times++;
  poke.call(poke.w);
  atomic_store(&inside, 0);
}

static void *host_alloc(void *user, size_t size) {
  (void)user;
  come_by(ALLOC);
  return malloc(size);
}

static void *host_realloc(void *user, void *pointer, size_t size) {
  (void)user;
  come_by(REALLOC);
  return realloc(pointer, size);
}

static void host_free(void *user, void *pointer) {
  (void)user;
  free(pointer);
  come_by(FREE);
}

static void host_log(void *user, int32_t level, const char *message) {
  (void)user, (void)level, (void)message;
  come_by(LOG);
}

/* Before all blocks, and between each two. */
static void host_parallel_for(void *user, int64_t n, smft_block_fn block, void *arg) {
  (void)user;
  for (int64_t i = 0; i < n; i++) {
    come_by(PARALLEL);
    block(arg, i);
  }
}

/* ---- a world ------------------------------------------------------------- */

/* Nothing stands before a text: a wording that opens with its answer is left out, and the log says
 * so. */
static void drop_begin(const char *name) {
  static const char begin[] =
      "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, ";
  char *text = test_read(test_file(name), NULL), *at = strstr(text, begin);
  ck_assert_ptr_nonnull(at);
  memmove(at + 11, at + sizeof begin - 1, strlen(at + sizeof begin - 1) + 1);
  test_write(name, text, strlen(text));
  free(text);
}

static smft_model *open_model(smft_ctx *ctx) {
  smft_model *model = NULL;
  smft_model_free(tiny_model(ctx, "m", (tiny){.shared = 2}, 5));
  drop_begin("m/tokenizer.json");
  ck_ok(smft_model_init(&model, ctx, test_file("m"), 5));
  return model;
}

static void open_learner(world *w) {
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  rate.kind = SMFT_OPTIMIZER_ADAMW;
  options.loss_below = -1;
  options.max_steps = 3;
  options.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  w->selector = tiny_selector(w->model, 0, 8);
  ck_ok(smft_optimizer_create(&w->optimizer, w->ctx, &rate));
  ck_ok(smft_learner_create(&w->learner, w->model, w->patch, w->selector, w->optimizer, &options));
  tiny_push(w->learner, "first", "one");
  tiny_push(w->learner, "second", "two");
}

static void open_world(world *w, source from) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  const char *answers[] = {"a"};
  memset(w, 0, sizeof *w);
  options.n_threads = 3;
  options.alloc = host_alloc, options.realloc = host_realloc, options.free = host_free;
  options.log = host_log;
  options.parallel_for = from == PARALLEL ? host_parallel_for : NULL; /* else the library's own */
  ck_ok(smft_ctx_create(&w->ctx, &options));
  w->model = open_model(w->ctx);
  ck_ok(smft_patch_create(&w->patch, w->model, SMFT_PATCH_SLOTS));
  open_learner(w);
  ck_ok(smft_session_create(&w->session, w->model, w->patch, NULL));
  ck_ok(smft_session_create(&w->other, w->model, w->patch, NULL));
  ck_ok(smft_probe_create(&w->probe, w->ctx, NULL));
  ck_ok(smft_probe_add_question(w->probe, "q", "what", answers, 1));
  ck_ok(smft_probe_add_text(w->probe, "t", "some text of a kind"));
  ck_ok(smft_optimizer_save(w->optimizer, test_file("o")));
  ck_ok(smft_selector_save(w->selector, test_file("c")));
}

static void close_world(world *w) {
  poke.call = NULL;
  smft_probe_free(w->probe);
  smft_session_free(w->other);
  smft_session_free(w->session);
  smft_learner_free(w->learner);
  smft_optimizer_free(w->optimizer);
  smft_selector_free(w->selector);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

/* ---- calls, from outside and from within --------------------------------- */

static const int32_t some_ids[3] = {5, 6, 7};
static char said[200]; /* what a call gave */

static smft_status say(smft_session *session, char *out) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  const char *text = NULL;
  options.max_tokens = 6;
  smft_status status = smft_session_generate(session, "abc", 3, &options, &text, NULL);
  if (status == SMFT_OK && out)
    snprintf(out, sizeof said, "%s", text);
  return status;
}

static smft_status generate(world *w) { return say(w->session, said); }

static smft_status generate_ids(world *w) {
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  int32_t out[4];
  int64_t n = 0;
  options.max_tokens = 4;
  smft_status status = smft_session_generate_ids(w->session, some_ids, 3, &options, out, 4, &n);
  if (status == SMFT_OK)
    snprintf(said, sizeof said, "%d %d %d", (int)n, out[0], out[1]);
  return status;
}

static smft_status feed(world *w) {
  float logits[TINY_VOCAB];
  ck_ok(smft_session_rewind(w->session, 0));
  smft_status status =
      smft_session_feed(w->session, some_ids, 3, SMFT_LOGITS_LAST, logits, TINY_VOCAB);
  if (status == SMFT_OK)
    snprintf(said, sizeof said, "%.9g %.9g", (double)logits[0], (double)logits[97]);
  return status;
}

static smft_status nll(world *w) {
  double mean = 0;
  smft_status status = smft_session_nll(w->session, some_ids, 3, NULL, &mean);
  if (status == SMFT_OK)
    snprintf(said, sizeof said, "%.17g", mean);
  return status;
}

static smft_status rewind_it(world *w) { return smft_session_rewind(w->session, 0); }
static smft_status set_patch(world *w) { return smft_session_set_patch(w->session, w->patch); }

static smft_status step(world *w) {
  smft_report report = SMFT_REPORT_INIT;
  smft_status status = smft_step(w->learner, &report);
  if (status == SMFT_OK)
    snprintf(said, sizeof said, "%s %.17g", report.fact_id, report.loss);
  return status;
}

static smft_status run(world *w) {
  smft_run_report report = SMFT_RUN_REPORT_INIT;
  smft_status status = smft_learner_run(w->learner, NULL, NULL, &report);
  if (status == SMFT_OK)
    snprintf(said, sizeof said, "%d %d %d", (int)report.facts_gave_up, (int)report.steps,
             (int)report.rows_changed);
  return status;
}

static smft_status skip(world *w) { return smft_learner_skip(w->learner); }

static smft_status push_some(world *w) {
  smft_wording wordings[2] = {SMFT_WORDING_INIT, SMFT_WORDING_INIT};
  wordings[0].prompt = "what is", wordings[0].answer = "this";
  wordings[1].statement = "this is what opens", wordings[1].answer = "this"; /* to the log */
  return smft_learner_push(w->learner, "third", wordings, 2);
}

static smft_status learner_set_patch(world *w) {
  return smft_learner_set_patch(w->learner, w->patch);
}

static smft_status count(world *w) {
  smft_background background = SMFT_BACKGROUND_INIT;
  const char *texts[] = {"some text", "and more"};
  background.texts = texts, background.n_texts = 2;
  return smft_selector_count_background(w->selector, &background);
}

static smft_status load_counts(world *w) { return smft_selector_load(w->selector, test_file("c")); }
static smft_status save_counts(world *w) { return smft_selector_save(w->selector, test_file("d")); }
static smft_status read_counts(world *w) {
  return smft_selector_df(w->selector, 0, NULL, 0, &(int64_t){0});
}

static smft_status set_rate(world *w) { return smft_optimizer_set_lr(w->optimizer, 0.01, 0); }
static smft_status reset(world *w) { return smft_optimizer_reset(w->optimizer); }
static smft_status save_moments(world *w) {
  return smft_optimizer_save(w->optimizer, test_file("p"));
}
static smft_status load_moments(world *w) {
  return smft_optimizer_load(w->optimizer, w->model, test_file("o"));
}

static smft_status add_text(world *w) { return smft_probe_add_text(w->probe, "x", "some more"); }
static smft_status baseline(world *w) {
  return smft_probe_baseline(w->probe, w->session, NULL, NULL);
}
static smft_status measure(world *w) {
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  smft_status status = smft_probe_measure(w->probe, w->session, NULL, NULL, &report);
  if (status == SMFT_OK)
    snprintf(said, sizeof said, "%.17g %.17g", report.nll, report.f1);
  return status;
}
static smft_status save_report(world *w) {
  return smft_probe_save_report(w->probe, test_file("r"));
}

static smft_status set_row(world *w) {
  const float row[20] = {1, 2, 3};
  return smft_patch_set_row(w->patch, 0, 3, row, 20);
}
static smft_status clear_patch(world *w) { return smft_patch_clear(w->patch); }
static smft_status read_row(world *w) {
  float row[20];
  return smft_patch_row(w->patch, 0, 3, row, 20);
}

/* What is tried from within, by the handle that it is for. */
enum { SESSION = 1, LEARNER = 2, SELECTOR = 4, COUNTS = 8, OPTIMIZER = 16, PROBE = 32, PATCH = 64 };
typedef struct attempt {
  const char *name;
  int handle;
  smft_status (*call)(world *w);
} attempt;

static smft_status feed_on(world *w) {
  float logits[TINY_VOCAB];
  return smft_session_feed(w->session, some_ids, 1, SMFT_LOGITS_LAST, logits, TINY_VOCAB);
}

static const attempt attempts[] = {{"generate", SESSION, generate},
                                   {"generate_ids", SESSION, generate_ids},
                                   {"feed", SESSION, feed_on},
                                   {"nll", SESSION, nll},
                                   {"rewind", SESSION, rewind_it},
                                   {"set_patch", SESSION, set_patch},
                                   {"step", LEARNER, step},
                                   {"run", LEARNER, run},
                                   {"skip", LEARNER, skip},
                                   {"push", LEARNER, push_some},
                                   {"learner_set_patch", LEARNER, learner_set_patch},
                                   {"count", SELECTOR, count},
                                   {"selector_load", SELECTOR, load_counts},
                                   {"selector_save", COUNTS, save_counts},
                                   {"df", COUNTS, read_counts},
                                   {"set_lr", OPTIMIZER, set_rate},
                                   {"reset", OPTIMIZER, reset},
                                   {"optimizer_load", OPTIMIZER, load_moments},
                                   {"add_text", PROBE, add_text},
                                   {"baseline", PROBE, baseline},
                                   {"measure", PROBE, measure},
                                   {"save_report", PROBE, save_report},
                                   {"set_row", PATCH, set_row},
                                   {"clear", PATCH, clear_patch}};
enum { N_ATTEMPTS = sizeof attempts / sizeof *attempts };

/* Outer calls, and the handles that they have in hand from their first callback to their last. */
static const attempt outer[] = {{"generate", SESSION, generate},
                                {"generate_ids", SESSION, generate_ids},
                                {"feed", SESSION, feed},
                                {"nll", SESSION, nll},
                                {"step", LEARNER, step},
                                {"run", LEARNER, run},
                                {"skip", LEARNER, skip},
                                {"push", LEARNER, push_some},
                                {"count", SELECTOR | COUNTS, count},
                                {"selector_load", SELECTOR | COUNTS, load_counts},
                                {"selector_save", SELECTOR, save_counts},
                                {"optimizer_save", OPTIMIZER, save_moments},
                                {"optimizer_load", OPTIMIZER, load_moments},
                                {"add_text", PROBE, add_text},
                                {"baseline", PROBE | SESSION, baseline},
                                {"measure", PROBE | SESSION, measure},
                                {"save_report", PROBE, save_report},
                                {"set_row", PATCH, set_row},
                                {"clear", PATCH, clear_patch}};
enum { N_OUTER = sizeof outer / sizeof *outer };

/* ---- each from within each ----------------------------------------------- */

static const attempt *under_way; /* of `outer` */
static char alone[200];          /* what another session says */

static void try_all(world *w) {
  char kept[sizeof said], text[sizeof said] = "";
  memcpy(kept, said, sizeof said); /* of the outer call */
  for (int i = 0; i < N_ATTEMPTS; i++) {
    if ((attempts[i].handle & under_way->handle) == 0)
      continue;
    smft_status status = attempts[i].call(w);
    ck_assert_msg(status == SMFT_E_STATE, "%s from %s of %s: got %s", attempts[i].name,
                  source_names[poke.from], under_way->name, smft_status_name(status));
  }
  ck_ok(say(w->other, text));
  ck_ok(read_row(w));
  if ((under_way->handle & (LEARNER | PATCH)) == 0) /* which change what it says */
    ck_assert_str_eq(text, alone);
  memcpy(said, kept, sizeof said);
}

static void open_for(world *w, const attempt *one, source from) {
  open_world(w, from);
  if (one->call == measure || one->call == save_report)
    ck_ok(baseline(w));
  if (one->call == save_report)
    ck_ok(measure(w));
  ck_ok(say(w->other, alone));
  said[0] = 0;
}

static void compare(const attempt *one, source from, int *times) {
  world w;
  char quiet[sizeof said];
  open_for(&w, one, from);
  ck_ok(one->call(&w));
  memcpy(quiet, said, sizeof said);
  close_world(&w);
  open_for(&w, one, from);
  under_way = one;
  poke = (poking){.call = try_all, .from = from, .w = &w};
  smft_status status = one->call(&w);
  poke.call = NULL;
  ck_assert_msg(status == SMFT_OK, "%s with calls from %s: %s", one->name, source_names[from],
                smft_error_message());
  ck_assert_msg(strcmp(said, quiet) == 0, "%s with calls from %s: \"%s\", without: \"%s\"",
                one->name, source_names[from], said, quiet);
  *times += poke.times;
  close_world(&w);
}

START_TEST(they_are_refused_or_work) {
  source from = (source)_i;
  int times = 0;
  for (int i = 0; i < N_OUTER; i++)
    compare(&outer[i], from, &times);
  ck_assert_msg(times > 0, "%s was never called", source_names[from]);
  printf("%s: called in %d times\n", source_names[from], times);
}
END_TEST

/* ---- freed from within --------------------------------------------------- */

static void free_session(world *w) {
  smft_session_free(w->session);
  w->session = NULL;
  poke.call = NULL;
}

static void free_learner(world *w) {
  smft_learner_free(w->learner);
  w->learner = NULL;
  poke.call = NULL;
}

static void free_parts(world *w) {
  smft_optimizer_free(w->optimizer);
  smft_selector_free(w->selector);
  smft_patch_free(w->patch);
  w->optimizer = NULL, w->selector = NULL, w->patch = NULL;
  poke.call = NULL;
}

typedef struct freeing {
  source from;
  smft_status (*call)(world *w), expected;
  void (*within)(world *w);
} freeing;

static const freeing frees[] = {{ALLOC, generate, SMFT_E_CANCELLED, free_session},
                                {PARALLEL, generate, SMFT_E_CANCELLED, free_session},
                                {PARALLEL, nll, SMFT_E_CANCELLED, free_session},
                                {FREE, baseline, SMFT_E_CANCELLED, free_session},
                                {ALLOC, run, SMFT_E_CANCELLED, free_learner},
                                {PARALLEL, run, SMFT_E_CANCELLED, free_learner},
                                {LOG, push_some, SMFT_E_CANCELLED, free_learner},
                                {ALLOC, run, SMFT_OK, free_parts},
                                {PARALLEL, run, SMFT_OK, free_parts}};
enum { N_FREES = sizeof frees / sizeof *frees };

START_TEST(they_are_freed_at_the_end) {
  const freeing *f = &frees[_i];
  world w;
  open_world(&w, f->from);
  poke = (poking){.call = f->within, .from = f->from, .w = &w};
  ck_status(f->call(&w), f->expected);
  ck_assert_int_eq(poke.times, 1);
  close_world(&w);
}
END_TEST

/* A stop that is asked for from within ends that very call. */
static void stop_learner(world *w) { smft_learner_cancel(w->learner); }
static void stop_session(world *w) { smft_session_cancel(w->session); }

START_TEST(they_stop_it) {
  world w;
  open_world(&w, PARALLEL);
  poke = (poking){.call = stop_session, .from = PARALLEL, .w = &w};
  ck_status(generate(&w), SMFT_E_CANCELLED);
  poke.call = stop_learner;
  ck_status(run(&w), SMFT_E_CANCELLED);
  poke.call = NULL;
  ck_ok(generate(&w));
  ck_ok(run(&w));
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("callbacks");
  TCase *tests = tcase_create("callbacks");
  test_directory_make();
  tcase_add_loop_test(tests, they_are_refused_or_work, 0, N_SOURCES);
  tcase_add_loop_test(tests, they_are_freed_at_the_end, 0, N_FREES);
  tcase_add_test(tests, they_stop_it);
  tcase_set_timeout(tests, 100);
  suite_add_tcase(suite, tests);
  return suite;
}
