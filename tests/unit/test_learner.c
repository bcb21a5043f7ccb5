/* learner: how facts become tokens, what the queue does, when a fact is done, drawing, running,
 * cancelling, batches, and every complaint. */
#include "test.h"
#include "tiny.h"
#include "learn/learner.h"
#include <pthread.h>

static smft_ctx *ctx;
static smft_model *model;
static smft_patch *patch;
static smft_learner *learner;

static void open_with(int32_t kind, const smft_learner_options *options) {
  smft_optimizer_options optimizer_options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "model", (tiny){0, 0, 0, 1}, 3);
  smft_selector *selector = kind == SMFT_PATCH_SLOTS ? tiny_selector(model, 0, 64) : NULL;
  optimizer_options.lr = kind == SMFT_PATCH_SLOTS ? 20 : 0.1;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &optimizer_options));
  ck_ok(smft_patch_create(&patch, model, kind));
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, options));
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
}

static void open_default(void) { open_with(SMFT_PATCH_SLOTS, NULL); }

static void close_all(void) {
  smft_learner_free(learner);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* ---- facts as tokens ----------------------------------------------------- */

typedef struct expected {
  smft_wording wording;
  const char *text;   /* tokens after <s>, a character each */
  const char *learnt; /* '1' under each that is learnt */
} expected;

#define PROMPT(prompt, answer, end)                                                                \
  { sizeof(smft_wording), 0, prompt, answer, end, NULL }
#define STATEMENT(statement, answer, end)                                                          \
  { sizeof(smft_wording), 0, NULL, answer, end, statement }
static const expected expectations[] = {
    {PROMPT("Who?", " Me", NULL), "Who? Me\n", "00001111"},
    {PROMPT("Who? ", "Me", NULL), "Who? Me\n", "00001111"},    /* the space is the answer's */
    {PROMPT("Who? ", " Me", NULL), "Who?  Me\n", "000001111"}, /* it has its own */
    {PROMPT("Who?", "Me", ""), "Who? Me", "0000111"},          /* and is put, as text has it */
    {PROMPT("Who?", "Me", ".!"), "Who? Me.!", "000011111"},
    {{sizeof(smft_wording), SMFT_WORDING_EXACT, "Who?", "Me", "", NULL}, "Who?Me", "000011"},
    {PROMPT("", "Me", NULL), "Me\n", "111"},
    {PROMPT(" ", "Me", ""), " Me", "111"},
    {STATEMENT("Emma is by Jane, by Jane.", "Jane", NULL), "Emma is by Jane, by Jane.",
     "0000000000000000000111110"},
    {STATEMENT("Jane wrote it", "Jane", NULL), "Jane wrote it", "1111000000000"},
    {STATEMENT("It was Jane", "Jane", "\n"), "It was Jane\n", "000000111111"},
    {STATEMENT("It was Jane", " Jane", ""), "It was Jane", "00000011111"},
    {STATEMENT("aaa", "aa", NULL), "aaa", "011"},
};
#define N_EXPECTED (int)(sizeof expectations / sizeof *expectations)

START_TEST(wordings_become_tokens) {
  const expected *e = &expectations[_i / 2];
  int all = _i % 2;
  smft__fact *fact;
  open_default();
  ck_ok(smft__fact_from_text(&fact, model, "id", &e->wording, 1, all));
  ck_assert_int_eq(fact->n_tokens, 1 + (int64_t)strlen(e->text));
  ck_assert(fact->ids.data[0] == 0 && fact->weights[0] == 0 && fact->n_wordings == 1 &&
            fact->offsets[1] == fact->n_tokens);
  for (int64_t i = 1; i < fact->n_tokens; i++) {
    ck_assert_int_eq(fact->ids.data[i], tiny_id(e->text[i - 1]));
    ck_assert_msg((fact->weights[i] != 0) == (all || (e->learnt[i - 1] == '1')),
                  "\"%s\", character %d", e->text, (int)i - 1);
  }
  smft__fact_free(fact, ctx);
  close_all();
}
END_TEST

START_TEST(special_tokens_in_text_are_text) {
  smft__fact *fact;
  smft_wording wording = PROMPT("a<s>", " b<s>", NULL);
  open_default();
  ck_ok(smft__fact_from_text(&fact, model, "id", &wording, 1, 0));
  ck_assert_int_eq(fact->n_tokens, 1 + 4 + 5 + 1);
  smft__fact_free(fact, ctx);
  close_all();
}
END_TEST

START_TEST(facts_that_cannot_be_learnt) {
  static char much[100];
  memset(much, 'x', sizeof much - 1);
  const struct {
    smft_wording wording;
    smft_status status;
  } bad[] = {{PROMPT("Who?", "", NULL), SMFT_E_FACT},
             {PROMPT("Who?", NULL, NULL), SMFT_E_FACT},
             {STATEMENT("It was me", "you", NULL), SMFT_E_FACT},
             {PROMPT(NULL, "x", NULL), SMFT_E_INVALID},
             {{sizeof(smft_wording), 0, "a", "b", NULL, "ab"}, SMFT_E_INVALID},
             {PROMPT(much, "x", NULL), SMFT_E_CONTEXT},
             {PROMPT("Who?", "b\xff", NULL), SMFT_E_ENCODING},
             {PROMPT("\xc3", "b", NULL), SMFT_E_ENCODING}};
  open_default();
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    smft_wording two[2] = {PROMPT("good", "one", NULL), bad[i].wording};
    ck_status(smft_learner_push(learner, "the-id", two, 2), bad[i].status);
    ck_assert_msg(strstr(smft_error_message(), "the-id") != NULL, "no id in: %s",
                  smft_error_message());
  }
  ck_status(smft_learner_push(learner, "the-id", NULL, 0), SMFT_E_FACT);
  ck_status(smft_learner_push(learner, NULL, &bad[0].wording, 1), SMFT_E_INVALID);
  ck_status(smft_learner_push(learner, "\xff", &bad[0].wording, 1), SMFT_E_ENCODING);
  ck_status(smft_learner_push(NULL, "x", &bad[0].wording, 1), SMFT_E_INVALID);
  int32_t ids[] = {0, 97, 98, -1, 5};
  smft_ids_wording one = {sizeof one, 0, ids, 2, ids + 4, 0};
  ck_status(smft_learner_push_ids(learner, "x", &one, 1), SMFT_E_FACT);
  one.n_answer = 1;
  one.n_prompt = 3;
  ck_status(smft_learner_push_ids(learner, "x", &one, 1), SMFT_E_TOKEN);
  one.prompt = ids + 3;
  ck_status(smft_learner_push_ids(learner, "x", &one, 1), SMFT_E_TOKEN);
  one.n_prompt = 0; /* its only token has nothing before it */
  ck_status(smft_learner_push_ids(learner, "x", &one, 1), SMFT_E_FACT);
  one.n_prompt = -1;
  ck_status(smft_learner_push_ids(learner, "x", &one, 1), SMFT_E_INVALID);
  one.struct_size = 8;
  ck_status(smft_learner_push_ids(learner, "x", &one, 1), SMFT_E_STRUCT_SIZE);
  ck_assert_int_eq(smft_learner_pending(learner), 0);
  close_all();
}
END_TEST

/* A later version's longer elements are read at their own distance. */
START_TEST(longer_structs_are_read) {
  struct longer {
    smft_wording wording;
    int64_t unknown;
  } wordings[2] = {{PROMPT("a", "b", NULL), 0}, {PROMPT("c", "de", NULL), 0}};
  smft__fact *fact;
  open_default();
  wordings[0].wording.struct_size = wordings[1].wording.struct_size = sizeof wordings[0];
  ck_ok(smft__fact_from_text(&fact, model, "id", &wordings[0].wording, 2, 0));
  ck_assert(fact->n_wordings == 2 && fact->offsets[1] == 5 && fact->n_tokens == 11);
  smft__fact_free(fact, ctx);
  close_all();
}
END_TEST

/* ---- JSONL --------------------------------------------------------------- */

static smft_status push_text(const char *text, int64_t *n) {
  return smft_learner_push_file(learner, test_write("facts.jsonl", text, strlen(text)), n);
}

START_TEST(facts_from_a_file) {
  int64_t n = -1;
  open_default();
  ck_ok(push_text(
      "{\"id\": \"a\", \"wordings\": [{\"prompt\": \"Who?\", \"answer\": \" Me\"}, "
      "{\"statement\": \"It was me\", \"answer\": "
      "\"me\"}], \"_other\": 5, \"question\": \"Who was it?\", "
      "\"answers\": [\"me\", \"I\"]}\n\n{\"id\": \"b\", \"wordings\": [{\"prompt\": \"p\", "
      "\"answer\": \"q\", \"end\": \"\"}]}",
      &n));
  ck_assert_int_eq(n, 2);
  ck_assert_int_eq(smft_learner_pending(learner), 2);
  ck_assert_int_eq(learner->queue.first->n_wordings, 2);
  ck_assert_str_eq(learner->queue.first->next->id, "b");
  ck_assert(learner->queue.first->serial == 1 && learner->queue.last->serial == 2);
  ck_assert_int_eq(learner->queue.last->n_tokens, 4);
  ck_ok(push_text("", &n));
  ck_assert_int_eq(n, 0);
  close_all();
}
END_TEST

START_TEST(a_bad_line_queues_nothing_and_is_named) {
  static const struct {
    const char *line;
    smft_status status;
  } bad[] = {{"{\"id\": \"x\", \"wordings\": []}", SMFT_E_FACT},
             {"{\"id\": \"x\", \"wordings\": [{\"statement\": \"ab\", \"answer\": \"c\"}]}",
              SMFT_E_FACT},
             {"{\"id\": \"x\", \"wordings\": [7]}", SMFT_E_FORMAT},
             {"{\"id\": 7, \"wordings\": []}", SMFT_E_FORMAT},
             {"{\"wordings\": []}", SMFT_E_FORMAT},
             {"{\"id\": \"x\"}", SMFT_E_FORMAT},
             {"{\"id\": \"x\", \"wordings\": [{\"prompt\": 5, \"answer\": \"c\"}]}", SMFT_E_FORMAT},
             {"[1]", SMFT_E_FORMAT},
             {"{\"id\": \"\", \"question\": \"p\", \"answer\": \"c\"}", SMFT_E_FACT},
             {"{\"id\": \"a\", \"question\": \"p\", \"answer\": \"c\"}", SMFT_E_FACT},
             {"{\"id\": \"x\", \"question\": \"p\", \"answer\": \"c\", \"answers\": \"c\"}",
              SMFT_E_FORMAT},
             {"{\"id\": \"x\", \"question\": \"p\", \"prompt\": \"p\", \"answer\": \"c\"}",
              SMFT_E_FORMAT},
             {"{\"id\": \"x\", ", SMFT_E_FORMAT}};
  open_default();
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[512];
    int64_t n = -1;
    snprintf(text, sizeof text,
             "{\"id\": \"a\", \"wordings\": [{\"prompt\": \"p\", \"answer\": \"q\"}]}\n%s\n",
             bad[i].line);
    ck_status(push_text(text, &n), bad[i].status);
    ck_assert_msg(strstr(smft_error_message(), "facts.jsonl:2") != NULL, "no line in: %s",
                  smft_error_message());
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(smft_learner_pending(learner), 0);
  }
  ck_status(smft_learner_push_file(learner, test_file("none.jsonl"), NULL), SMFT_E_NOT_FOUND);
  close_all();
}
END_TEST

/* A key that is not known may be one that was meant: it is named, with its line and fact. */
START_TEST(misspelt_keys_are_named) {
  static const struct {
    const char *line, *key;
  } bad[] = {
      {"{\"id\": \"x\", \"question\": \"p\", \"asnwer\": \"c\"}", "asnwer"},
      {"{\"id\": \"x\", \"question\": \"p\", \"answer\": \"c\", \"alias\": []}", "alias"},
      {"{\"id\": \"x\", \"wordings\": [{\"prompt\": \"p\", \"answer\": \"c\", \"ends\": \"\"}]}",
       "ends"},
      {"{\"id\": \"x\", \"wordings\": [{\"prompt\": \"p\", \"answer\": \"c\"}], \"answer\": \"d\"}",
       "answer"},
      {"{\"id\": \"x\", \"wordings\": [{\"prompt\": \"p\", \"answer\": \"c\", \"subject\": "
       "\"d\"}]}",
       "subject"}};
  open_default();
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[512], key[64];
    int64_t n = -1;
    snprintf(text, sizeof text, "\xEF\xBB\xBF\n%s\n", bad[i].line);
    snprintf(key, sizeof key, "\"%s\" is not known", bad[i].key);
    ck_status(push_text(text, &n), SMFT_E_FORMAT);
    const char *parts[] = {"facts.jsonl:2: ", "fact \"x\"", key};
    for (int p = 0; p < 3; p++)
      ck_assert_msg(strstr(smft_error_message(), parts[p]) != NULL, "%s", smft_error_message());
  }
  ck_ok(push_text("{\"id\": \"x\", \"_asnwer\": 1, \"wordings\": [{\"prompt\": \"p\", "
                  "\"answer\": \"c\", \"_note\": {}}]}",
                  NULL));
  ck_assert_int_eq(smft_learner_pending(learner), 1);
  close_all();
}
END_TEST

/* ---- ids ----------------------------------------------------------------- */

#define LINE(id) "{\"id\": \"" id "\", \"question\": \"p\", \"answer\": \"c\"}\n"

static void refused(smft_status status, const char *what) {
  ck_assert_int_eq(status, SMFT_E_FACT);
  ck_assert_msg(strstr(smft_error_message(), what) != NULL, "%s", smft_error_message());
}

/* One fact of each id waits at a time; one that left may come again. */
START_TEST(ids_wait_once) {
  const smft_wording wording = PROMPT("who?", "me", NULL);
  const int32_t ids[] = {0, 5, 6};
  const smft_ids_wording raw = {sizeof raw, 0, ids, 2, ids + 2, 1};
  smft_wordings *list = NULL;
  int64_t n = -1;
  open_default();
  ck_ok(smft_wordings_from_qa(&list, model, "Who?", "Me", NULL));
  ck_ok(smft_learner_push(learner, "a", &wording, 1));
  refused(smft_learner_push(learner, "a", &wording, 1), "fact \"a\"");
  refused(smft_learner_push_ids(learner, "a", &raw, 1), "fact \"a\"");
  refused(smft_learner_push_wordings(learner, "a", list), "fact \"a\"");
  refused(push_text(LINE("b") LINE("a"), &n), "facts.jsonl:2: fact \"a\"");
  refused(push_text(LINE("b") LINE("c") LINE("b"), &n), "facts.jsonl:3: fact \"b\"");
  refused(smft_learner_push(learner, "", &wording, 1), "empty");
  refused(smft_learner_push_ids(learner, "", &raw, 1), "empty");
  refused(smft_learner_push_wordings(learner, "", list), "empty");
  ck_assert_int_eq(smft_learner_pending(learner), 1);
  ck_ok(smft_learner_skip(learner));
  ck_ok(push_text(LINE("b") LINE("a"), &n));
  ck_ok(smft_learner_push(learner, "c", &wording, 1));
  ck_assert_int_eq(smft_learner_pending(learner), 3);
  ck_assert_str_eq(learner->queue.first->next->next->id, "c");
  smft_wordings_free(list);
  close_all();
}
END_TEST

/* As many as make the table of ids grow a few times, in and out. */
START_TEST(many_ids_wait) {
  const smft_wording wording = PROMPT("who?", "me", NULL);
  char id[32];
  open_default();
  for (int i = 0; i < 300; i++) {
    snprintf(id, sizeof id, "fact %d", i);
    ck_ok(smft_learner_push(learner, id, &wording, 1));
    if (i % 3 == 2)
      ck_ok(smft_learner_skip(learner));
  }
  for (int i = 0; i < 300; i++) {
    snprintf(id, sizeof id, "fact %d", i);
    ck_status(smft_learner_push(learner, id, &wording, 1), i < 100 ? SMFT_OK : SMFT_E_FACT);
  }
  ck_assert_int_eq(smft_learner_pending(learner), 300);
  close_all();
}
END_TEST

/* ---- steps --------------------------------------------------------------- */

START_TEST(a_fact_is_learnt_and_the_next_one_comes) {
  smft_report report = SMFT_REPORT_INIT;
  double first = 0;
  int32_t kind = _i ? SMFT_PATCH_FULL : SMFT_PATCH_SLOTS;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  /* values alone cannot do much in a network of random weights (ln 98 = 4.58 is where it starts) */
  double below = _i ? 0.5 : 4.25;
  options.loss_below = below;
  options.max_steps = 300;
  open_with(kind, &options);
  if (learner->selector)
    /* nor anything at all where background has read nearly every slot */
    learner->selector->damping = -1;
  tiny_push(learner, "first", " one");
  tiny_push(learner, "second", " two");
  for (int64_t steps = 1;; steps++) {
    ck_ok(smft_step(learner, &report));
    ck_assert_str_eq(report.fact_id, "first");
    first = steps == 1 ? report.loss : first;
    if (report.fact_state != SMFT_FACT_LEARNING)
      break;
    ck_assert(report.rows_selected > 0 && report.gradient_norm > 0 && report.worst_loss >= below &&
              report.wordings_learnt < 3);
    ck_assert_int_eq(report.step, steps);
    ck_assert_int_eq(report.pending, 2);
    ck_assert_int_eq(report.tokens_supervised, 3 * 5);
  }
  ck_assert_int_eq(report.fact_state, SMFT_FACT_DONE);
  ck_assert(report.loss < below && report.worst_loss < below && report.wordings_learnt == 3 &&
            report.wordings == 3 && report.check_tokens == 0 && first > 4.5 &&
            report.rows_selected == 0 && report.gradient_norm == 0);
  ck_assert_int_eq(report.pending, 1);
  ck_ok(smft_step(learner, &report));
  ck_assert_str_eq(report.fact_id, "second");
  ck_assert_int_eq(report.step, 1);
  close_all();
}
END_TEST

START_TEST(a_fact_is_given_up) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_report report = SMFT_REPORT_INIT;
  options.max_steps = 2;
  options.loss_below = -1;
  open_with(SMFT_PATCH_SLOTS, &options);
  tiny_push(learner, "only", "x");
  ck_ok(smft_step(learner, &report));
  ck_assert_int_eq(report.fact_state, SMFT_FACT_LEARNING);
  ck_ok(smft_step(learner, &report));
  ck_assert(report.fact_state == SMFT_FACT_GAVE_UP && report.rows_selected > 0 &&
            report.pending == 0 && report.step == 2);
  ck_assert_str_eq(report.fact_id, "only");
  ck_status(smft_step(learner, &report), SMFT_E_STATE);
  ck_status(smft_learner_skip(learner), SMFT_E_STATE);
  tiny_push(learner, "a", "x");
  tiny_push(learner, "b", "y");
  ck_ok(smft_learner_skip(learner));
  ck_ok(smft_step(learner, &report));
  ck_assert_str_eq(report.fact_id, "b");
  close_all();
}
END_TEST

START_TEST(one_writer_at_a_time) {
  const smft__version *version;
  open_default();
  tiny_push(learner, "a", "x");
  ck_ok(smft__patch_begin_write(patch));
  ck_status(smft_step(learner, NULL), SMFT_E_STATE);
  smft__patch_end_write(patch, NULL);
  ck_ok(smft__patch_begin_read(patch, &version)); /* a reader is in nobody's way */
  uint64_t number = smft_patch_version(patch);
  ck_ok(smft_step(learner, NULL));
  ck_assert_uint_gt(smft_patch_version(patch), number);
  ck_assert_uint_eq(atomic_load(&version->number), number);
  smft__patch_end_read(patch, version);
  ck_ok(smft__patch_begin_write(patch)); /* and the claim is free again */
  smft__patch_end_write(patch, NULL);
  close_all();
}
END_TEST

/* ---- one learner, several patches ---------------------------------------- */

typedef struct lesson { /* a fact that is taught to one of two patches */
  int patch;
  const char *id, *answer;
} lesson;
static const lesson lessons[] = {{0, "first", "one"},
                                 {1, "second", "two"},
                                 {0, "third", "three"},
                                 {1, "first", "six"}};
#define N_LESSONS (int)(sizeof lessons / sizeof *lessons)

static smft_learner *learner_of(smft_patch *taught, uint32_t flags) {
  smft_selector *selector = tiny_selector(model, 0, 64);
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  smft_learner *made;
  options.lr = 10;
  options.momentum = 0.5;
  learning.wordings_per_step = 2;
  learning.loss_below = 4.3; /* see a_fact_is_learnt_and_the_next_one_comes */
  learning.max_steps = 300;
  selector->damping = 10;
  learning.flags = flags;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
  ck_ok(smft_learner_create(&made, model, taught, selector, optimizer, &learning));
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  return made;
}

static void teach(smft_learner *teacher, const lesson *l) {
  smft_run_report report = SMFT_RUN_REPORT_INIT;
  tiny_push(teacher, l->id, l->answer);
  ck_ok(smft_learner_run(teacher, NULL, NULL, &report));
  ck_assert_msg(report.facts_done == 1, "%s: %d steps", l->id, (int)report.steps);
}

static void same_rows(smft_patch *a, smft_patch *b) {
  int64_t slots[2][256], n[2];
  float rows[2][20];
  ck_ok(smft_patch_slots(a, 0, slots[0], 256, &n[0]));
  ck_ok(smft_patch_slots(b, 0, slots[1], 256, &n[1]));
  ck_assert_int_gt(n[0], 0);
  ck_assert_int_eq(n[0], n[1]);
  ck_assert_mem_eq(slots[0], slots[1], (size_t)n[0] * sizeof slots[0][0]);
  for (int64_t i = 0; i < n[0]; i++) {
    ck_ok(smft_patch_row(a, 0, slots[0][i], rows[0], 20));
    ck_ok(smft_patch_row(b, 0, slots[0][i], rows[1], 20));
    ck_assert_mem_eq(rows[0], rows[1], sizeof rows[0]);
  }
}

/* Each fact is taught as the patch's own learner would teach it: its rows, its protection. */
START_TEST(one_learner_serves_every_patch) {
  const uint32_t flags = (uint32_t[]){0, SMFT_LEARNER_ROWS_PER_STEP, SMFT_LEARNER_NO_PROTECT}[_i];
  smft_patch *alone[2], *shared[2];
  smft_learner *own[2];
  open_default();
  for (int p = 0; p < 2; p++) {
    ck_ok(smft_patch_create(&alone[p], model, SMFT_PATCH_SLOTS));
    ck_ok(smft_patch_create(&shared[p], model, SMFT_PATCH_SLOTS));
    own[p] = learner_of(alone[p], flags);
  }
  smft_learner *one = learner_of(patch, flags);
  for (int i = 0; i < N_LESSONS; i++) {
    teach(own[lessons[i].patch], &lessons[i]);
    ck_ok(smft_learner_set_patch(one, shared[lessons[i].patch]));
    teach(one, &lessons[i]);
  }
  for (int p = 0; p < 2; p++) {
    same_rows(alone[p], shared[p]);
    smft_learner_free(own[p]);
    smft_patch_free(alone[p]);
    smft_patch_free(shared[p]);
  }
  smft_learner_free(one);
  close_all();
}
END_TEST

/* A first step that was cancelled has chosen the fact's rows, of the patch that it was for. */
START_TEST(another_patch_after_a_cancelled_step) {
  smft_patch *wanted, *second;
  float row[20] = {3, -4, 5};
  open_default();
  ck_ok(smft_patch_create(&wanted, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_patch_create(&second, model, SMFT_PATCH_SLOTS));
  for (int64_t slot = 0; slot < 256; slot++) { /* the first reads other slots above */
    ck_ok(smft_patch_set_row(patch, 0, slot, row, 20));
    row[slot % 20] += 1;
  }
  smft_learner *own = learner_of(wanted, 0), *one = learner_of(patch, 0);
  tiny_push(own, "fact", "yes");
  tiny_push(one, "fact", "yes");
  ck_ok(smft__patch_begin_write(patch));
  ck_status(smft_step(one, NULL), SMFT_E_STATE);
  smft__patch_end_write(patch, NULL);
  ck_ok(smft_learner_set_patch(one, second));
  ck_assert_int_eq(smft_learner_pending(one), 1);
  ck_ok(smft_learner_run(own, NULL, NULL, NULL));
  ck_ok(smft_learner_run(one, NULL, NULL, NULL));
  same_rows(wanted, second);
  smft_learner_free(own);
  smft_learner_free(one);
  smft_patch_free(wanted);
  smft_patch_free(second);
  close_all();
}
END_TEST

START_TEST(patches_that_a_learner_does_not_take) {
  smft_patch *full, *other, *more;
  smft_model *same;
  open_default();
  ck_ok(smft_model_init(&same, ctx, test_file("model"), 3));
  ck_ok(smft_patch_create(&full, model, SMFT_PATCH_FULL));
  ck_ok(smft_patch_create(&other, same, SMFT_PATCH_SLOTS));
  ck_ok(smft_patch_create(&more, model, SMFT_PATCH_SLOTS));
  ck_status(smft_learner_set_patch(NULL, more), SMFT_E_INVALID);
  ck_status(smft_learner_set_patch(learner, NULL), SMFT_E_INVALID);
  ck_status(smft_learner_set_patch(learner, full), SMFT_E_UNSUPPORTED);
  ck_status(smft_learner_set_patch(learner, other), SMFT_E_MISMATCH);
  tiny_push(learner, "a", "x");
  tiny_push(learner, "b", "y");
  ck_ok(smft_learner_set_patch(learner, more)); /* nothing was done for them yet */
  ck_ok(smft_learner_set_patch(learner, patch));
  ck_ok(smft_step(learner, NULL));
  ck_status(smft_learner_set_patch(learner, more), SMFT_E_STATE);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "\"a\""));
  ck_assert_ptr_eq(learner->patch, patch);
  ck_ok(smft_learner_skip(learner));
  ck_ok(smft_learner_set_patch(learner, more));
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_learner *dense;
  ck_ok(smft_learner_create(&dense, model, full, NULL, NULL, &options));
  ck_status(smft_learner_set_patch(dense, more), SMFT_E_UNSUPPORTED);
  ck_status(smft_learner_set_patch(dense, full), SMFT_E_UNSUPPORTED);
  smft_learner_free(dense);
  smft_patch_free(more); /* the learner has it */
  ck_ok(smft_step(learner, NULL));
  smft_patch_free(full);
  smft_patch_free(other);
  smft_model_free(same);
  close_all();
}
END_TEST

/* ---- drawing ------------------------------------------------------------- */

/* The wordings of a step, by the length of their sequences: wording i has i + 3 tokens. */
static void drawn(uint64_t seed, int32_t per_step, int steps, int32_t *times, int64_t order[8][8]) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_ids_wording wordings[8];
  int32_t ids[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  options.seed = seed;
  options.wordings_per_step = per_step;
  options.loss_below = -1;
  open_with(SMFT_PATCH_SLOTS, &options);
  for (int i = 0; i < 8; i++)
    wordings[i] = (smft_ids_wording){sizeof wordings[0], 0, ids, 2 + i, ids, 1};
  ck_ok(smft_learner_push_ids(learner, "fact", wordings, 8));
  for (int s = 0; s < steps; s++) {
    int seen[8] = {0};
    smft_report report = SMFT_REPORT_INIT;
    ck_ok(smft_step(learner, &report));
    ck_assert_int_eq(report.tokens_supervised, per_step);
    for (int i = 0; i < per_step; i++) {
      order[s][i] = learner->batch.offsets[i + 1] - learner->batch.offsets[i] - 3;
      ck_assert_int_eq(seen[order[s][i]]++, 0); /* without repetition */
      times[order[s][i]]++;
    }
  }
  close_all();
}

START_TEST(wordings_are_drawn_with_the_seed) {
  int64_t first[8][8], again[8][8], other[8][8];
  int32_t times[8] = {0}, unused[8] = {0};
  memset(first, 0, sizeof first);
  memset(again, 0, sizeof again);
  memset(other, 0, sizeof other);
  drawn(5, 3, 8, times, first);
  drawn(5, 3, 8, unused, again);
  drawn(6, 3, 8, unused, other);
  ck_assert(memcmp(first, again, sizeof first) == 0);
  ck_assert(memcmp(first, other, sizeof first) != 0);
  ck_assert(memcmp(first[0], first[1], sizeof first[0]) != 0 ||
            memcmp(first[1], first[2], sizeof first[0]) != 0);
  int never = 0;
  for (int i = 0; i < 8; i++)
    never += times[i] == 0;
  ck_assert_int_le(never, 1);
}
END_TEST

/* ---- run ----------------------------------------------------------------- */

typedef struct watcher {
  int64_t calls, stop_at, last_done;
  char last[64];
} watcher;

static int32_t watch(void *user, const char *stage, int64_t done, int64_t total) {
  watcher *w = user;
  snprintf(w->last, sizeof w->last, "%s", stage);
  ck_assert(done >= w->last_done && done <= total);
  w->last_done = done;
  return ++w->calls == w->stop_at;
}

START_TEST(run_learns_all) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_run_report report = SMFT_RUN_REPORT_INIT;
  watcher w = {0, 5, 0, ""};
  int64_t n;
  options.max_steps = 4;
  open_with(SMFT_PATCH_SLOTS, &options);
  for (int i = 0; i < 3; i++)
    tiny_push(learner, (const char *[]){"a", "b", "c"}[i], " x");
  ck_status(smft_learner_run(learner, watch, &w, &report), SMFT_E_CANCELLED);
  ck_assert(w.calls == 5 && w.last_done == 1 && smft_learner_pending(learner) == 2);
  ck_assert_str_eq(w.last, "b");
  ck_assert(report.steps == 5 && report.facts_gave_up == 1);
  w.stop_at = w.last_done = 0;
  ck_ok(smft_learner_run(learner, watch, &w, &report));
  ck_assert_int_eq(smft_learner_pending(learner), 0);
  ck_assert(report.facts_done + report.facts_gave_up == 2 && report.steps == 7 &&
            report.seconds > 0);
  ck_ok(smft_patch_slots(patch, 0, NULL, 0, &n));
  ck_assert_int_eq(report.rows_changed, n);
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL)); /* nothing to do */
  close_all();
}
END_TEST

static void *cancel_soon(void *unused) {
  (void)unused;
  usleep(20000);
  smft_learner_cancel(learner);
  return NULL;
}

START_TEST(another_thread_cancels_a_run) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  pthread_t thread;
  options.max_steps = 1000000;
  options.loss_below = -1;
  open_with(SMFT_PATCH_SLOTS, &options);
  tiny_push(learner, "a", " x");
  smft_learner_cancel(learner); /* nothing runs: meant for the next */
  ck_status(smft_step(learner, NULL), SMFT_E_CANCELLED);
  ck_ok(smft_step(learner, NULL));
  ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
  ck_status(smft_learner_run(learner, NULL, NULL, NULL), SMFT_E_CANCELLED);
  pthread_join(thread, NULL);
  ck_assert_int_eq(smft_learner_pending(learner), 1);
  ck_ok(smft_step(learner, NULL));
  smft_learner_cancel(NULL);
  close_all();
}
END_TEST

/* ---- batches ------------------------------------------------------------- */

START_TEST(a_batch_is_a_fact_without_a_queue) {
  int32_t ids[] = {1, 2, 3, 4, 5, 9, 8, 7};
  int64_t lengths[] = {5, 3};
  float weights[] = {9, 0, 0, 1, 1, 0, 0, 1}; /* a sequence's first is ignored */
  smft_ids_wording wordings[2] = {{sizeof wordings[0], 0, ids, 3, ids + 3, 2},
                                  {sizeof wordings[0], 0, ids + 5, 2, ids + 7, 1}};
  smft_report fact = SMFT_REPORT_INIT, batch_report = SMFT_REPORT_INIT;
  smft_selected selected[2][64];
  int64_t n[2];
  smft_batch batch = SMFT_BATCH_INIT;
  open_default();
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 2;
  batch.token_weights = weights;
  tiny_push(learner, "waits", "x");
  ck_ok(smft_learner_step_batch(learner, &batch, &batch_report));
  ck_ok(smft_learner_selected(learner, selected[0], 64, &n[0]));
  ck_assert_str_eq(batch_report.fact_id, "");
  ck_assert_int_eq(batch_report.pending, 1);
  ck_ok(smft_patch_clear(patch));
  ck_ok(smft_learner_skip(learner));
  ck_ok(smft_learner_push_ids(learner, "f", wordings, 2));
  ck_ok(smft_step(learner, &fact));
  ck_ok(smft_learner_selected(learner, selected[1], 64, &n[1]));
  ck_assert(fact.loss == batch_report.loss && fact.gradient_norm == batch_report.gradient_norm &&
            n[0] == n[1] && n[0] > 0);
  ck_assert(memcmp(selected[0], selected[1], (size_t)n[0] * sizeof selected[0][0]) == 0);
  ck_assert(batch_report.tokens == 8 && batch_report.tokens_supervised == 3 &&
            batch_report.reads == 8 * 2 * 4 * 2);
  ck_status(smft_learner_selected(learner, selected[0], n[0] - 1, &n[1]), SMFT_E_BUFFER);
  ck_assert_int_eq(n[1], n[0]);
  close_all();
}
END_TEST

START_TEST(bad_batches) {
  static int32_t ids[100] = {1, 2, 3, 4};
  int64_t lengths[] = {4};
  float weights[100] = {1, 1, 1, 1};
  smft_batch batch = SMFT_BATCH_INIT;
  open_default();
  ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_INVALID);
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 1;
  batch.token_weights = weights;
  ids[2] = 98;
  ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_TOKEN);
  ids[2] = 3;
  weights[1] = NAN;
  ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_INVALID);
  weights[1] = weights[2] = weights[3] = 0; /* only the first is left */
  ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_INVALID);
  lengths[0] = 65;
  ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_CONTEXT);
  lengths[0] = 0;
  ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_INVALID);
  batch.struct_size = 4;
  ck_status(smft_learner_step_batch(learner, &batch, NULL), SMFT_E_STRUCT_SIZE);
  int64_t n;
  ck_ok(smft_patch_slots(patch, 0, NULL, 0, &n));
  ck_assert_int_eq(n, 0);
  close_all();
}
END_TEST

/* ---- making one ---------------------------------------------------------- */

START_TEST(parts_must_fit) {
  smft_learner *bad = (smft_learner *)(uintptr_t)1;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_patch *whole;
  open_default();
  smft_model *other = tiny_model(ctx, "other", (tiny){0, 0, 0, 1}, 4);
  smft_selector *selector = tiny_selector(model, 0, 0), *others = tiny_selector(other, 0, 0);
  ck_ok(smft_patch_create(&whole, model, SMFT_PATCH_FULL));
  ck_status(smft_learner_create(NULL, model, patch, NULL, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_learner_create(&bad, NULL, patch, NULL, NULL, NULL), SMFT_E_INVALID);
  ck_assert_ptr_null(bad);
  ck_status(smft_learner_create(&bad, model, NULL, NULL, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_learner_create(&bad, other, patch, NULL, NULL, NULL), SMFT_E_MISMATCH);
  ck_status(smft_learner_create(&bad, model, patch, others, NULL, NULL), SMFT_E_MISMATCH);
  ck_status(smft_learner_create(&bad, model, whole, selector, NULL, NULL), SMFT_E_INVALID);
  options.flags = 1u << 20;
  ck_status(smft_learner_create(&bad, model, patch, selector, NULL, &options), SMFT_E_INVALID);
  options.flags = 0;
  options.max_steps = -1;
  ck_status(smft_learner_create(&bad, model, patch, selector, NULL, &options), SMFT_E_INVALID);
  options.max_steps = 0;
  options.loss_below = NAN;
  ck_status(smft_learner_create(&bad, model, patch, selector, NULL, &options), SMFT_E_INVALID);
  options.loss_below = 0;
  options.max_seconds = -1;
  ck_status(smft_learner_create(&bad, model, patch, selector, NULL, &options), SMFT_E_INVALID);
  options.max_seconds = NAN;
  ck_status(smft_learner_create(&bad, model, patch, selector, NULL, &options), SMFT_E_INVALID);
  options.struct_size = 5;
  ck_status(smft_learner_create(&bad, model, patch, selector, NULL, &options), SMFT_E_STRUCT_SIZE);
  ck_ok(smft_learner_create(&bad, model, patch, NULL, NULL, NULL)); /* defaults for both */
  smft_learner_free(bad);
  smft_patch_free(whole);
  smft_selector_free(selector);
  smft_selector_free(others);
  smft_model_free(other);
  close_all();
}
END_TEST

START_TEST(null_handles_and_frees_in_any_order) {
  smft_report report = SMFT_REPORT_INIT;
  int64_t n;
  ck_status(smft_step(NULL, &report), SMFT_E_INVALID);
  ck_status(smft_learner_run(NULL, NULL, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_learner_skip(NULL), SMFT_E_INVALID);
  ck_status(smft_learner_selected(NULL, NULL, 0, &n), SMFT_E_INVALID);
  ck_status(smft_learner_step_batch(NULL, NULL, NULL), SMFT_E_INVALID);
  ck_status(smft_learner_push_ids(NULL, "x", NULL, 0), SMFT_E_INVALID);
  ck_status(smft_learner_push_file(NULL, "x", NULL), SMFT_E_INVALID);
  ck_assert_int_eq(smft_learner_pending(NULL), 0);
  smft_learner_free(NULL);
  open_default();
  ck_status(smft_learner_push_file(learner, NULL, &n), SMFT_E_INVALID);
  ck_status(smft_learner_selected(learner, NULL, 5, &n), SMFT_E_INVALID);
  tiny_push(learner, "a", "x");
  report.struct_size = 12;
  ck_status(smft_step(learner, &report), SMFT_E_STRUCT_SIZE); /* before anything is done */
  ck_ok(smft_patch_slots(patch, 0, NULL, 0, &n));
  ck_assert_int_eq(n, 0);
  smft_patch_free(patch); /* parents first */
  smft_model_free(model);
  smft_ctx_free(ctx);
  ck_ok(smft_step(learner, NULL));
  smft_learner_free(learner);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("learner");
  TCase *cases = tcase_create("learner");
  tcase_set_timeout(cases, 30);
  tcase_add_loop_test(cases, wordings_become_tokens, 0, 2 * N_EXPECTED);
  tcase_add_test(cases, special_tokens_in_text_are_text);
  tcase_add_test(cases, facts_that_cannot_be_learnt);
  tcase_add_test(cases, longer_structs_are_read);
  tcase_add_test(cases, facts_from_a_file);
  tcase_add_test(cases, a_bad_line_queues_nothing_and_is_named);
  tcase_add_test(cases, misspelt_keys_are_named);
  tcase_add_test(cases, ids_wait_once);
  tcase_add_test(cases, many_ids_wait);
  tcase_add_loop_test(cases, a_fact_is_learnt_and_the_next_one_comes, 0, 2);
  tcase_add_test(cases, a_fact_is_given_up);
  tcase_add_test(cases, one_writer_at_a_time);
  tcase_add_loop_test(cases, one_learner_serves_every_patch, 0, 3);
  tcase_add_test(cases, another_patch_after_a_cancelled_step);
  tcase_add_test(cases, patches_that_a_learner_does_not_take);
  tcase_add_test(cases, wordings_are_drawn_with_the_seed);
  tcase_add_test(cases, run_learns_all);
  tcase_add_test(cases, another_thread_cancels_a_run);
  tcase_add_test(cases, a_batch_is_a_fact_without_a_queue);
  tcase_add_test(cases, bad_batches);
  tcase_add_test(cases, parts_must_fit);
  tcase_add_test(cases, null_handles_and_frees_in_any_order);
  suite_add_tcase(suite, cases);
  return suite;
}
