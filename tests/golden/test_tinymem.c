/* tinymem: all that the reference.json of two memory models says, which an independent
 * implementation computed in float64: logits, the slots that a token reads, background counts, and
 * three SGD and three AdamW steps. */
#include "test.h"
#include "model/network.h"
#include <jansson.h>

static const char *const models[] = {"models/tinymem_replace", "models/tinymem_shared"};
static const char *const kinds[] = {"sgd", "adamw"};

typedef struct world {
  json_t *reference;
  smft_ctx *ctx;
  smft_model *model;
  smft_model_info info;
} world;

static world open_world(const char *name) {
  world w = {0};
  char path[1024];
  json_error_t error;
  snprintf(path, sizeof path, "%s/reference.json", name);
  w.reference = json_load_file(test_shared(path), 0, &error);
  ck_assert_msg(w.reference != NULL, "%s: %s", path, error.text);
  ck_ok(smft_ctx_create(&w.ctx, NULL));
  ck_ok(smft_model_load(&w.model, w.ctx, test_shared(name), NULL));
  w.info = (smft_model_info)SMFT_MODEL_INFO_INIT;
  ck_ok(smft_model_get_info(w.model, &w.info));
  return w;
}

static void close_world(world *w) {
  json_decref(w->reference);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

static int64_t ids_of(const json_t *list, int32_t *ids) {
  int64_t n = (int64_t)json_array_size(list);
  for (int64_t i = 0; i < n; i++)
    ids[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
  return n;
}

static int64_t floats_of(const json_t *list, float *values) {
  int64_t n = (int64_t)json_array_size(list);
  for (int64_t i = 0; i < n; i++)
    values[i] = (float)json_number_value(json_array_get(list, (size_t)i));
  return n;
}

static int64_t size_of(const json_t *list) { return (int64_t)json_array_size(list); }

static const json_t *at(const json_t *list, int64_t i) { return json_array_get(list, (size_t)i); }

/* |a - b| within 1e-4 of the scale */
static void near(double got, double wanted, double scale, const char *what) {
  ck_assert_msg(fabs(got - wanted) <= 1e-4 * scale, "%s: got %.9g, wanted %.9g", what, got, wanted);
}

START_TEST(logits_of_every_position) {
  world w = open_world(models[_i]);
  int32_t ids[256];
  int64_t n = ids_of(json_object_get(w.reference, "ids"), ids);
  float *got = malloc((size_t)(n * w.info.vocab_size) * sizeof *got);
  float *wanted = malloc((size_t)w.info.vocab_size * sizeof *wanted);
  smft_session *session;
  ck_ok(smft_session_create(&session, w.model, NULL, NULL));
  ck_ok(smft_session_feed(session, ids, n, SMFT_LOGITS_ALL, got, n * w.info.vocab_size));
  for (int64_t i = 0; i < n; i++) {
    floats_of(at(json_object_get(w.reference, "logits"), i), wanted);
    ck_assert(test_distance(got + i * w.info.vocab_size, wanted, w.info.vocab_size) <= 1e-4);
  }
  free(got);
  free(wanted);
  smft_session_free(session);
  close_world(&w);
}
END_TEST

/* "reads_of_token_7": for each block with a memory, its pool and the slots of every head, best
 * first. */
START_TEST(slots_that_a_token_reads) {
  world w = open_world(models[_i]);
  int32_t ids[256];
  int64_t offsets[2] = {0, ids_of(json_object_get(w.reference, "ids"), ids)}, n_reads;
  smft__sequences batch = {ids, offsets, 1, offsets[1], NULL};
  smft__tape *tape;
  ck_ok(smft__tape_create(&tape, w.model));
  ck_ok(smft__network_forward(tape, NULL, &batch, 0, NULL, NULL));
  for (int32_t m = 0; m < w.info.n_memories; m++) {
    smft_memory_info memory = SMFT_MEMORY_INFO_INIT;
    char key[16];
    ck_ok(smft_memory_get_info(smft_model_memory(w.model, m), &memory));
    snprintf(key, sizeof key, "%d", memory.layer);
    const json_t *wanted = json_object_get(json_object_get(w.reference, "reads_of_token_7"), key);
    ck_assert_int_eq(json_integer_value(json_object_get(wanted, "pool")), memory.pool);
    const int64_t *slots = smft__tape_slots(tape, m, &n_reads);
    ck_assert_int_eq(n_reads, offsets[1] * memory.heads * memory.top_k);
    for (int64_t h = 0; h < memory.heads; h++)
      for (int64_t k = 0; k < memory.top_k; k++)
        ck_assert_int_eq(slots[(7 * memory.heads + h) * memory.top_k + k],
                         json_integer_value(at(at(json_object_get(wanted, "slots"), h), k)));
  }
  smft__tape_free(tape);
  close_world(&w);
}
END_TEST

/* The reference's batches of sequences, run through smft_selector_count_background. */
static smft_selector *count(const world *w, int64_t t) {
  const json_t *batches = json_object_get(w->reference, "background");
  int32_t ids[8192];
  int64_t lengths[256], n_ids = 0, n = 0;
  for (size_t b = 0; b < json_array_size(batches); b++)
    for (size_t s = 0; s < json_array_size(json_array_get(batches, b)); s++) {
      lengths[n] = ids_of(json_array_get(json_array_get(batches, b), s), ids + n_ids);
      n_ids += lengths[n++];
    }
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  options.damping = -1; /* the plain step of [P] */
  options.t = t;
  smft_background background = SMFT_BACKGROUND_INIT;
  background.ids = ids;
  background.lengths = lengths;
  background.n_sequences = n;
  background.sequences_per_batch = n / (int64_t)json_array_size(batches);
  smft_selector *selector;
  ck_ok(smft_selector_create(&selector, w->model, &options));
  ck_ok(smft_selector_count_background(selector, &background));
  return selector;
}

START_TEST(background_counts_are_exact) {
  world w = open_world(models[_i]);
  smft_selector *selector = count(&w, 12);
  for (int32_t p = 0; p < w.info.n_pools; p++) {
    char key[16];
    int64_t n_slots, n_batches;
    ck_ok(smft_model_pool(w.model, p, &n_slots, NULL));
    uint32_t *df = malloc((size_t)n_slots * sizeof *df);
    ck_ok(smft_selector_df(selector, p, df, n_slots, &n_batches));
    snprintf(key, sizeof key, "%d", p);
    const json_t *wanted = json_object_get(json_object_get(w.reference, "df"), key);
    ck_assert_int_eq(size_of(wanted), n_slots);
    ck_assert_int_eq(n_batches, size_of(json_object_get(w.reference, "background")));
    for (int64_t i = 0; i < n_slots; i++)
      ck_assert_int_eq(df[i], json_integer_value(at(wanted, i)));
    free(df);
  }
  smft_selector_free(selector);
  close_world(&w);
}
END_TEST

/* ---- three steps --------------------------------------------------------- */

static void push_batch(smft_learner *learner, const json_t *batch, const char *id) {
  static int32_t prompts[16][64], answers[16][64];
  smft_ids_wording wordings[16];
  int64_t n = (int64_t)json_array_size(batch);
  for (int64_t i = 0; i < n; i++) {
    smft_ids_wording wording = {sizeof wording, 0, prompts[i], 0, answers[i], 0};
    wording.n_prompt = ids_of(json_object_get(at(batch, i), "prompt"), prompts[i]);
    wording.n_answer = ids_of(json_object_get(at(batch, i), "answer"), answers[i]);
    wordings[i] = wording;
  }
  ck_ok(smft_learner_push_ids(learner, id, wordings, n));
}

static smft_learner *make_learner(const world *w, smft_patch *patch, smft_selector *selector,
                                  const char *kind, double lr) {
  smft_optimizer_options optimizer_options = SMFT_OPTIMIZER_OPTIONS_INIT;
  optimizer_options.kind = strcmp(kind, "sgd") == 0 ? SMFT_OPTIMIZER_SGD : SMFT_OPTIMIZER_ADAMW;
  /* the reference's three batches are one run */
  optimizer_options.flags = SMFT_OPTIMIZER_KEEP_STATE;
  optimizer_options.lr = lr;
  smft_optimizer *optimizer;
  ck_ok(smft_optimizer_create(&optimizer, w->ctx, &optimizer_options));
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  options.max_steps = 1;
  options.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  options.wordings_per_step = -1;
  options.loss_below = -1;
  smft_learner *learner;
  ck_ok(smft_learner_create(&learner, w->model, patch, selector, optimizer, &options));
  smft_optimizer_free(optimizer);
  return learner;
}

static void check_step(smft_learner *learner, const json_t *wanted, const json_t *batch,
                       const world *w, double lr) {
  smft_report report = SMFT_REPORT_INIT;
  smft_selected selected[64];
  int64_t n, tokens = 0, answers = 0;
  ck_ok(smft_step(learner, &report));
  near(report.loss, json_number_value(json_object_get(wanted, "loss")), 1, "loss");
  double norm = json_number_value(json_object_get(wanted, "selected_gradient_norm"));
  near(report.gradient_norm, norm, norm, "gradient norm");
  ck_ok(smft_learner_selected(learner, selected, 64, &n));
  const json_t *list = json_object_get(wanted, "selected");
  ck_assert_int_eq(n, size_of(list));
  ck_assert_int_eq(report.rows_selected, n);
  for (int64_t i = 0; i < n; i++) {
    ck_assert_int_eq(selected[i].pool, json_integer_value(at(at(list, i), 0)));
    ck_assert_int_eq(selected[i].slot, json_integer_value(at(at(list, i), 1)));
    double score = json_number_value(at(at(list, i), 2));
    near(selected[i].score, score, score, "score");
  }
  for (size_t i = 0; i < json_array_size(batch); i++) {
    answers += (int64_t)json_array_size(json_object_get(json_array_get(batch, i), "answer"));
    tokens += (int64_t)json_array_size(json_object_get(json_array_get(batch, i), "prompt"));
  }
  smft_memory_info memory = SMFT_MEMORY_INFO_INIT;
  ck_ok(smft_memory_get_info(smft_model_memory(w->model, 0), &memory));
  ck_assert_int_eq(report.tokens, tokens + answers);
  ck_assert_int_eq(report.tokens_supervised, answers);
  ck_assert_int_eq(report.reads,
                   (tokens + answers) * memory.heads * memory.top_k * w->info.n_memories);
  ck_assert(report.slots_read >= n && report.slots_read <= memory.n_slots * w->info.n_pools);
  ck_assert(report.lr == lr && report.seconds >= 0 && report.step == 1);
  ck_assert_int_eq(report.fact_state, SMFT_FACT_GAVE_UP); /* max_steps decided */
}

static void check_rows(const world *w, smft_patch *patch, const json_t *rows) {
  int64_t changed = 0;
  for (size_t i = 0; i < json_array_size(rows); i++) {
    float got[256], wanted[256];
    const json_t *row = json_array_get(rows, i);
    int64_t n = floats_of(at(row, 2), wanted);
    ck_ok(smft_patch_row(patch, (int32_t)json_integer_value(at(row, 0)),
                         json_integer_value(at(row, 1)), got, n));
    ck_assert_msg(test_distance(got, wanted, n) <= 1e-4, "row %zu: %g", i,
                  test_distance(got, wanted, n));
  }
  for (int32_t p = 0; p < w->info.n_pools; p++) {
    int64_t n;
    ck_ok(smft_patch_slots(patch, p, NULL, 0, &n));
    changed += n;
  }
  ck_assert_int_eq(changed, size_of(rows)); /* and no others */
}

static void check_last_logits(const world *w, smft_patch *patch, const json_t *wanted_list) {
  int32_t ids[256];
  float got[512], wanted[512];
  int64_t n = ids_of(json_object_get(w->reference, "ids"), ids);
  smft_session *session;
  ck_ok(smft_session_create(&session, w->model, patch, NULL));
  ck_ok(smft_session_feed(session, ids, n, SMFT_LOGITS_LAST, got, 512));
  ck_assert_int_eq(floats_of(wanted_list, wanted), w->info.vocab_size);
  ck_assert(test_distance(got, wanted, w->info.vocab_size) <= 1e-4);
  smft_session_free(session);
}

START_TEST(three_steps) {
  world w = open_world(models[_i / 2]);
  const json_t *wanted = json_object_get(w.reference, kinds[_i % 2]),
               *batches = json_object_get(w.reference, "batches");
  double lr = json_number_value(json_object_get(wanted, "lr"));
  smft_selector *selector = count(&w, json_integer_value(json_object_get(wanted, "t")));
  smft_patch *patch;
  ck_ok(smft_patch_create(&patch, w.model, SMFT_PATCH_SLOTS));
  smft_learner *learner = make_learner(&w, patch, selector, kinds[_i % 2], lr);
  smft_selector_free(selector);
  for (size_t i = 0; i < json_array_size(batches); i++)
    push_batch(learner, json_array_get(batches, i),
               (const char *[]){"first", "second", "third"}[i]);
  for (size_t i = 0; i < json_array_size(batches); i++)
    check_step(learner, json_array_get(json_object_get(wanted, "steps"), i),
               json_array_get(batches, i), &w, lr);
  ck_assert_int_eq(smft_learner_pending(learner), 0);
  smft_learner_free(learner);
  check_rows(&w, patch, json_object_get(wanted, "rows"));
  check_last_logits(&w, patch, json_object_get(wanted, "last_logits_after"));
  smft_patch_free(patch);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  test_need_shared("models/tinymem_replace/reference.json");
  Suite *suite = suite_create("tinymem");
  TCase *cases = tcase_create("tinymem");
  tcase_add_loop_test(cases, logits_of_every_position, 0, 2);
  tcase_add_loop_test(cases, slots_that_a_token_reads, 0, 2);
  tcase_add_loop_test(cases, background_counts_are_exact, 0, 2);
  tcase_add_loop_test(cases, three_steps, 0, 4);
  suite_add_tcase(suite, cases);
  return suite;
}
