/* steady: what has run once allocates nothing when it runs again (but the rows that a step on a
 * slots patch publishes), counted through the context's allocator: steps of a learner on one fact
 * with every kind of patch and optimizer, a host's batches, and tokens of a session. */
#include "test.h"
#include "failing.h"
#include "tiny.h"
#include "learn/learner.h"
#include "model/network.h"

#define WORDINGS 7
#define STEPS 40

/* ---- steps --------------------------------------------------------------- */

typedef struct recipe {
  int32_t patch, optimizer;
  double momentum;
  uint32_t optimizer_flags, learner_flags;
  int32_t wordings_per_step;
  tiny shape;
} recipe;

static const recipe recipes[] = {
    {SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_SGD, 0, 0, 0, 3, {0, 0, 0, 0}},
    {SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_SGD, 0.9, 0, 0, 3, {0, 0, 0, 1}},
    {SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_ADAMW, 0, 0, 0, 1, {0, 0, 1, 2}},
    {SMFT_PATCH_SLOTS,
     SMFT_OPTIMIZER_ADAMW,
     0,
     SMFT_OPTIMIZER_KEEP_STATE,
     SMFT_LEARNER_LOSS_ALL,
     -1,
     {0, 0, 0, 1}},
    {SMFT_PATCH_FULL, SMFT_OPTIMIZER_ADAMW, 0, 0, 0, 3, {0, 0, 0, 1}},
    {SMFT_PATCH_FULL, SMFT_OPTIMIZER_SGD, 0.9, 0, SMFT_LEARNER_LOSS_ALL, 1, {0, 0, 1, 2}},
    {SMFT_PATCH_LORA, SMFT_OPTIMIZER_ADAMW, 0, 0, 0, 3, {0, 0, 0, 1}},
    {SMFT_PATCH_LORA, SMFT_OPTIMIZER_SGD, 0, 0, SMFT_LEARNER_LOSS_ALL, -1, {0, 0, 1, 2}},
    /* last: changes so much that the upper memory layer reads ever more slots */
    {SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_ADAMW, 0, 0, SMFT_LEARNER_LOSS_ALL, -1, {64, 0, 0, 2}}};
#define N_RECIPES (int)(sizeof recipes / sizeof *recipes)

typedef struct world {
  failing state;
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft_learner *learner;
} world;

static void open_world(world *w, const recipe *r, int32_t n_threads) {
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  char name[32];
  memset(w, 0, sizeof *w);
  snprintf(name, sizeof name, "model%d%d%d", r->shape.n_keys, r->shape.beside, r->shape.shared);
  w->ctx = failing_ctx(&w->state, n_threads);
  w->model = tiny_model(w->ctx, name, r->shape, 7);
  smft_selector *selector =
      r->patch == SMFT_PATCH_SLOTS ? tiny_selector(w->model, SMFT_RULE_TFIDF, 60) : NULL;
  rate.kind = r->optimizer;
  rate.momentum = r->momentum;
  rate.flags = r->optimizer_flags;
  rate.lr = r->shape.n_keys                        ? 0.1
            : r->optimizer == SMFT_OPTIMIZER_ADAMW ? 1e-2
            : r->patch == SMFT_PATCH_SLOTS         ? 0.5
                                                   : 0.01;
  options.flags = r->learner_flags;
  options.wordings_per_step = r->wordings_per_step;
  options.loss_below = 1e-9; /* never, but there are checks */
  options.max_steps = 2 * STEPS;
  ck_ok(smft_optimizer_create(&optimizer, w->ctx, &rate));
  ck_ok(smft_patch_create(&w->patch, w->model, r->patch));
  ck_ok(smft_learner_create(&w->learner, w->model, w->patch, selector, optimizer, &options));
  smft_selector_free(selector);
  smft_optimizer_free(optimizer);
}

static void close_world(world *w) {
  smft_learner_free(w->learner);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
  ck_assert_int_eq(w->state.live, 0);
}

/* Wordings of 3 to 57 tokens, the long ones last, so that a first batch is seldom the largest. */
static void push_fact(smft_learner *learner, const char *id) {
  int32_t ids[WORDINGS][64];
  smft_ids_wording wordings[WORDINGS];
  for (int w = 0; w < WORDINGS; w++) {
    for (int i = 0; i < 64; i++)
      ids[w][i] = (w * 41 + i * 17 + i * w) % TINY_VOCAB;
    wordings[w] =
        (smft_ids_wording){sizeof wordings[w], 0, ids[w], 2 + 8 * w, ids[w] + 2 + 8 * w, w + 1};
  }
  ck_ok(smft_learner_push_ids(learner, id, wordings, WORDINGS));
}

/* On a slots patch a step publishes a version: its rows, the pages of the index that they are in,
 * an index for each pool, and the version. */
static long long published(const world *w, int64_t rows_selected) {
  return smft_patch_kind(w->patch) == SMFT_PATCH_SLOTS ? 2 * rows_selected + 2 + 1 : 0;
}

static long long changed_rows(const world *w) {
  long long sum = 0;
  int64_t n = 0;
  for (int32_t p = 0; smft_patch_slots(w->patch, p, NULL, 0, &n) == SMFT_OK; p++)
    sum += n;
  return sum;
}

/* From the second step on: whatever later steps draw, the first one made room for it, and for the
 * pass that decides whether the fact is learnt.  What a version replaced is freed with it. */
START_TEST(steps_allocate_nothing) {
  world w;
  open_world(&w, &recipes[_i / 2], 1 + _i % 2);
  if (w.learner->selector && _i % 2)
    w.learner->selector->rank_by = SMFT_RANK_WEIGHTS;
  push_fact(w.learner, "fact");
  ck_ok(smft_step(w.learner, NULL));
  long long live = w.state.live, rows = changed_rows(&w);
  for (int step = 2; step <= STEPS; step++) {
    smft_report report = SMFT_REPORT_INIT;
    long long before = w.state.calls;
    int passed = 0;
    ck_ok(smft_step(w.learner, &report));
    ck_assert_int_gt(report.rows_selected, 0);
    ck_ok(smft__check_all(w.learner, w.learner->queue.first, &report, &passed));
    ck_assert_int_eq(passed, 0);
    ck_assert_msg(w.state.calls - before <= published(&w, report.rows_selected),
                  "step %d: %lld allocations", step, (long long)w.state.calls - before);
    long long more = changed_rows(&w) - rows; /* each may be in a page of its own */
    ck_assert_msg(w.state.live - live <= 2 * more, "step %d: %lld blocks more, %lld rows", step,
                  (long long)w.state.live - live, more);
  }
  close_world(&w);
}
END_TEST

/* Nor does the next fact need more, where it is of the same size and reads the same slots. */
START_TEST(a_second_fact_finds_the_room) {
  world w;
  const recipe *r = &recipes[_i];
  open_world(&w, r, 1);
  push_fact(w.learner, "fact");
  push_fact(w.learner, "next");
  ck_ok(smft_step(w.learner, NULL));
  ck_ok(smft_learner_skip(w.learner));
  long long before = w.state.calls;
  smft_report report = SMFT_REPORT_INIT;
  ck_ok(smft_step(w.learner, &report));
  ck_assert_int_le(w.state.calls - before, published(&w, report.rows_selected));
  close_world(&w);
}
END_TEST

START_TEST(batches_allocate_nothing) {
  world w;
  int32_t ids[40];
  const int64_t lengths[2] = {18, 22};
  smft_batch batch = SMFT_BATCH_INIT;
  open_world(&w, &recipes[_i], 2);
  for (int i = 0; i < 40; i++)
    ids[i] = (i * 29 + 3) % TINY_VOCAB;
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 2;
  for (int step = 1; step <= 10; step++) {
    long long before = w.state.calls;
    smft_report report = SMFT_REPORT_INIT;
    ck_ok(smft_learner_step_batch(w.learner, &batch, &report));
    ck_assert_msg(step < 10 || w.state.calls - before <= published(&w, report.rows_selected),
                  "step %d: %lld allocations", step, (long long)w.state.calls - before);
  }
  close_world(&w);
}
END_TEST

/* ---- tokens -------------------------------------------------------------- */

static smft_patch *patch_for(world *w, int32_t kind) { /* -1: none; else half learnt */
  if (kind < 0)
    return NULL;
  push_fact(w->learner, "fact");
  ck_ok(smft_step(w->learner, NULL));
  return w->patch;
}

/* One after another, with their logits, on the base and on each kind of patch: but for the cache,
 * whose room doubles (unit.cache) and stays. */
START_TEST(decoding_allocates_nothing) {
  static const int of_kind[] = {0, 0, 4, 6}; /* recipes; the first without its patch */
  world w;
  smft_session *session;
  float logits[TINY_VOCAB];
  open_world(&w, &recipes[of_kind[_i]], 2);
  ck_ok(smft_session_create(&session, w.model, patch_for(&w, _i - 1), NULL));
  for (int32_t i = 1; i <= 30; i++) {
    long long before = w.state.calls;
    ck_ok(smft_session_feed(session, &i, 1, SMFT_LOGITS_LAST, logits, TINY_VOCAB));
    ck_assert_msg(w.state.calls == before || i == 1, "token %d: %lld allocations", (int)i,
                  (long long)w.state.calls - before);
  }
  smft_session_free(session);
  close_world(&w);
}
END_TEST

typedef struct listener {
  failing *state;
  long long before; /* allocations when the last token came */
  int n;
  int worst; /* the last token, from the second on, that cost one; 0: none did */
} listener;

static int hear(void *user, int32_t id, const char *piece, size_t length) {
  listener *l = user;
  (void)id, (void)piece, (void)length;
  if (++l->n > 1 && l->state->calls != l->before)
    l->worst = l->n;
  l->before = l->state->calls;
  return 0;
}

/* A vocabulary whose capital letters are tokens of 1, 3, 5 ... letters, and small ones tokens of
 * one. */
static void write_tokenizer(const char *directory) {
  char path[64], text[16384];
  int n = snprintf(text, sizeof text,
                   "{\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", "
                   "\"merges\": [], \"vocab\": {"
                   "\"<s>\": 0");
  for (int c = 'a'; c <= 'z'; c++)
    n += snprintf(text + n, sizeof text - (size_t)n, ", \"%c\": %d", c, c - 'a' + 1);
  for (int c = 'A'; c <= 'Z'; c++) {
    n += snprintf(text + n, sizeof text - (size_t)n, ", \"");
    memset(text + n, c, (size_t)(1 + 2 * (c - 'A')));
    n += 1 + 2 * (c - 'A');
    n += snprintf(text + n, sizeof text - (size_t)n, "\": %d", c - 'A' + 27);
  }
  n += snprintf(text + n, sizeof text - (size_t)n, "}}}");
  snprintf(path, sizeof path, "%s/tokenizer.json", directory);
  test_write(path, text, (size_t)n);
}

/* Text as it is generated, greedy and sampled, from tokens of every length, with a stop string that
 * does not come. */
START_TEST(generating_allocates_nothing) {
  failing state = {0};
  smft_ctx *ctx = failing_ctx(&state, 1);
  smft_model *model;
  smft_session *session;
  smft_generate_options options = SMFT_GENERATE_OPTIONS_INIT;
  listener l = {&state, 0, 0, 0};
  size_t length = 0;
  mkdir(test_file("words"), 0700);
  tiny_config("words", (tiny){0});
  write_tokenizer("words");
  ck_ok(smft_model_init(&model, ctx, test_file("words"), 7));
  options.max_tokens = 60;
  options.temperature = _i ? 1 : 0;
  options.stop = "never said";
  options.on_token = hear;
  options.user = &l;
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  ck_ok(smft_session_generate(session, "the", 3, &options, NULL, &length));
  ck_assert_int_eq(l.n, 60);
  ck_assert(_i == 0 || length > 300);
  ck_assert_msg(l.worst == 0, "token %d allocated", l.worst);
  smft_session_free(session);
  smft_model_free(model);
  smft_ctx_free(ctx);
  ck_assert_int_eq(state.live, 0);
}
END_TEST

/* ---- a tape -------------------------------------------------------------- */

/* A batch of more supervised tokens has logits for fewer of them at a time: room for it is room for
 * any smaller one, too. */
START_TEST(room_for_many_is_room_for_fewer) {
  const int64_t most_kept = ((int64_t)1 << 24) / TINY_VOCAB;
  int64_t used[2];
  for (int i = 0; i < 2; i++) {
    failing state = {0};
    smft_ctx *ctx = failing_ctx(&state, 1);
    smft_model *model = tiny_model(ctx, "model", (tiny){0}, 7);
    smft__tape *tape;
    ck_ok(smft__tape_create(&tape, model));
    ck_ok(smft__tape_reserve(tape, NULL, 4, 1, most_kept + i, SMFT__KEEP_ALL));
    ck_ok(smft_ctx_memory(ctx, &used[i], NULL));
    smft__tape_free(tape);
    smft_model_free(model);
    smft_ctx_free(ctx);
  }
  ck_assert_int_ge(used[1], used[0]);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("steady");
  TCase *cases = tcase_create("steady");
  test_directory_make();
  tcase_add_loop_test(cases, steps_allocate_nothing, 0, 2 * N_RECIPES);
  tcase_add_loop_test(cases, a_second_fact_finds_the_room, 0, N_RECIPES - 1);
  tcase_add_loop_test(cases, batches_allocate_nothing, 0, N_RECIPES);
  tcase_add_loop_test(cases, decoding_allocates_nothing, 0, 4);
  tcase_add_loop_test(cases, generating_allocates_nothing, 0, 2);
  tcase_add_test(cases, room_for_many_is_room_for_fewer);
  suite_add_tcase(suite, cases);
  return suite;
}
