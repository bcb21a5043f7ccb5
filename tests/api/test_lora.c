/* lora: LoRA patches through smft.h alone: options, what an empty one is, learning, saving in
 * PEFT's layout, merging and exporting; and adapter files that are not what they should be. */
#include "test.h"
#include "tiny.h"

static smft_ctx *ctx;
static smft_model *model;

static void setup(void) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, "model", (tiny){0}, 3);
}

static void teardown(void) {
  smft_model_free(model);
  smft_ctx_free(ctx);
}

static smft_patch *make(int32_t rank, double alpha, uint32_t targets, uint32_t flags,
                        uint64_t seed) {
  smft_lora_options options = {sizeof options, rank, alpha, targets, flags, seed};
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create_lora(&patch, model, &options));
  return patch;
}

#define N_IDS 12
#define N_LOGITS (N_IDS * TINY_VOCAB)

static void logits_of(const smft_model *of, smft_patch *patch, float logits[N_LOGITS]) {
  smft_session *session = NULL;
  int32_t ids[N_IDS];
  for (int i = 0; i < N_IDS; i++)
    ids[i] = (i * 17 + 5) % TINY_VOCAB;
  ck_ok(smft_session_create(&session, of, patch, NULL));
  ck_ok(smft_session_feed(session, ids, N_IDS, SMFT_LOGITS_ALL, logits, N_LOGITS));
  smft_session_free(session);
}

static int same_logits(smft_patch *a, smft_patch *b) {
  static float x[N_LOGITS], y[N_LOGITS];
  logits_of(model, a, x);
  logits_of(model, b, y);
  return memcmp(x, y, sizeof x) == 0;
}

/* Teaches a fact, so that B is not zero; returns the last loss. */
static double teach(smft_patch *patch, int steps) {
  smft_learner *learner = NULL;
  smft_report report = SMFT_REPORT_INIT;
  smft_optimizer *optimizer = NULL;
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  options.lr = 0.01;
  learning.loss_below = -1;
  learning.max_steps = steps;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
  ck_ok(smft_learner_create(&learner, model, patch, NULL, optimizer, &learning));
  tiny_push(learner, "emma", "austen");
  while (smft_learner_pending(learner) > 0) {
    ck_ok(smft_step(learner, &report));
    ck_assert(report.rows_selected > 0 && report.gradient_norm > 0 && report.slots_read > 0 &&
              report.reads > 0);
    ck_assert(report.lr >= 0.01 && report.lr <= 0.01);
  }
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  return report.loss;
}

/* ---- options ------------------------------------------------------------- */

START_TEST(options_and_defaults) {
  smft_lora_options got = SMFT_LORA_OPTIONS_INIT;
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_LORA));
  ck_assert_int_eq(smft_patch_kind(patch), SMFT_PATCH_LORA);
  ck_ok(smft_patch_get_lora(patch, &got));
  ck_assert(got.rank == 16 && got.alpha >= 32 && got.alpha <= 32 && got.targets == SMFT_LORA_ALL &&
            got.flags == 0 && got.seed == 0);
  ck_assert_uint_eq(got.struct_size, sizeof got);
  smft_patch_free(patch);
  patch = make(3, 0, SMFT_LORA_Q | SMFT_LORA_UP, SMFT_LORA_RANK_STABILIZED, 77);
  ck_ok(smft_patch_get_lora(patch, &got));
  ck_assert(got.rank == 3 && got.alpha >= 6 && got.alpha <= 6 &&
            got.targets == (SMFT_LORA_Q | SMFT_LORA_UP) && got.flags == SMFT_LORA_RANK_STABILIZED &&
            got.seed == 77);
  smft_patch_free(patch);
}
END_TEST

START_TEST(wrong_options) {
  static const smft_lora_options wrong[] = {
      {sizeof wrong[0], -1, 0, 0, 0, 0},        {sizeof wrong[0], 65537, 0, 0, 0, 0},
      {sizeof wrong[0], INT32_MAX, 0, 0, 0, 0}, {sizeof wrong[0], 4, -1, 0, 0, 0},
      {sizeof wrong[0], 4, NAN, 0, 0, 0},       {sizeof wrong[0], 4, INFINITY, 0, 0, 0},
      {sizeof wrong[0], 4, 1e300, 0, 0, 0},     {sizeof wrong[0], 4, 1e-300, 0, 0, 0},
      {sizeof wrong[0], 4, 8, 128, 0, 0},       {sizeof wrong[0], 4, 8, 0, 2, 0}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    smft_patch *patch = (smft_patch *)1;
    ck_status(smft_patch_create_lora(&patch, model, &wrong[i]), SMFT_E_INVALID);
    ck_assert_ptr_null(patch);
    ck_assert_msg(strstr(smft_error_message(), "smft_lora_options") != NULL, "%s",
                  smft_error_message());
  }
}
END_TEST

/* One block, whose FFN is a memory layer: there is nothing to adapt but attention. */
START_TEST(matrices_that_are_not_there) {
  static const char text[] =
      "{\"model_type\": \"llama\", \"hidden_size\": 32, \"num_hidden_layers\": 1, "
      "\"num_attention_heads\": 4, "
      "\"intermediate_size\": 48, \"vocab_size\": 98, \"max_position_embeddings\": 64, \"memory\": "
      "{\"layers\": [0], \"pools\": [0], "
      "\"placement\": \"replace\", \"n_keys\": 8, \"heads\": 2, \"top_k\": 4, \"key_dim\": 16, "
      "\"value_dim\": 20, "
      "\"query_norm\": \"none\", \"key_norm\": \"none\", \"gate\": true, \"bias\": false}}";
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  smft_model *replaced = NULL;
  smft_patch *patch = (smft_patch *)1;
  mkdir(test_file("replaced"), 0700);
  test_write("replaced/config.json", text, sizeof text - 1);
  ck_ok(smft_model_init(&replaced, ctx, test_file("replaced"), 1));
  options.targets = SMFT_LORA_GATE | SMFT_LORA_UP | SMFT_LORA_DOWN;
  ck_status(smft_patch_create_lora(&patch, replaced, &options), SMFT_E_UNSUPPORTED);
  ck_assert_ptr_null(patch);
  ck_ok(smft_patch_create_lora(&patch, replaced, NULL));
  ck_ok(smft_patch_get_lora(patch, &options));
  ck_assert_uint_eq(options.targets, SMFT_LORA_Q | SMFT_LORA_K | SMFT_LORA_V | SMFT_LORA_O);
  smft_patch_free(patch);
  smft_model_free(replaced);
}
END_TEST

START_TEST(what_a_lora_patch_is_not) {
  smft_patch *lora = make(2, 0, 0, 0, 0), *full = NULL;
  smft_selector *selector = tiny_selector(model, 0, 8);
  smft_learner *learner = NULL;
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  float row[20] = {0}, base[20];
  int64_t n = 0;
  ck_status(smft_patch_set_row(lora, 0, 0, row, 20), SMFT_E_UNSUPPORTED);
  ck_status(smft_patch_reset_row(lora, 0, 0), SMFT_E_UNSUPPORTED);
  ck_status(smft_patch_slots(lora, 0, NULL, 0, &n), SMFT_E_UNSUPPORTED);
  ck_ok(smft_patch_row(lora, 0, 3, row, 20)); /* the base's */
  ck_ok(smft_patch_create(&full, model, SMFT_PATCH_FULL));
  ck_ok(smft_patch_row(full, 0, 3, base, 20));
  ck_assert_mem_eq(row, base, sizeof row);
  ck_status(smft_patch_get_lora(full, &options), SMFT_E_UNSUPPORTED);
  ck_status(smft_learner_create(&learner, model, lora, selector, NULL, NULL), SMFT_E_INVALID);
  ck_assert_ptr_null(learner);
  smft_selector_free(selector);
  smft_patch_free(full);
  smft_patch_free(lora);
}
END_TEST

/* ---- what it does -------------------------------------------------------- */

START_TEST(an_empty_one_changes_nothing) {
  for (int i = 0; i < 3; i++) {
    smft_patch *patch = make(1 + 7 * i, 0, i == 1 ? SMFT_LORA_V : 0,
                             i == 2 ? SMFT_LORA_RANK_STABILIZED : 0, (uint64_t)i);
    ck_assert(same_logits(patch, NULL)); /* not by a bit */
    smft_patch_free(patch);
  }
}
END_TEST

START_TEST(learning_and_clearing) {
  smft_patch *patch = make(4, 0, 0, 0, 5), *copy = NULL, *twin = make(4, 0, 0, 0, 5);
  smft_patch *other = make(4, 0, 0, 0, 6);
  double first = teach(patch, 1), last = teach(patch, 30);
  /* with its small embedding the model can do no more */
  ck_assert_msg(last < first - 0.3, "loss %g, then %g", first, last);
  ck_assert(!same_logits(patch, NULL));
  ck_ok(smft_patch_copy(&copy, patch));
  ck_assert(same_logits(patch, copy));
  ck_ok(smft_patch_clear(patch));
  ck_assert(same_logits(patch, NULL) && !same_logits(copy, NULL));
  teach(patch, 3); /* it begins where its seed begins */
  teach(twin, 3);
  teach(other, 3);
  ck_assert(same_logits(patch, twin) && !same_logits(patch, other));
  smft_patch_free(other);
  smft_patch_free(twin);
  smft_patch_free(copy);
  smft_patch_free(patch);
}
END_TEST

/* What is learnt without optimizer: AdamW at 1e-4. */
START_TEST(default_optimizer) {
  smft_patch *patch = make(4, 0, 0, 0, 5);
  smft_learner *learner = NULL;
  smft_report report = SMFT_REPORT_INIT;
  ck_ok(smft_learner_create(&learner, model, patch, NULL, NULL, NULL));
  tiny_push(learner, "emma", "austen");
  ck_ok(smft_step(learner, &report));
  ck_assert(report.lr >= 1e-4 && report.lr <= 1e-4 && report.rows_selected > 0);
  smft_learner_free(learner);
  smft_patch_free(patch);
}
END_TEST

START_TEST(sessions_take_any_rank) {
  smft_patch *small = make(1, 0, 0, 0, 1), *large = make(40, 0, 0, 0, 2);
  smft_session *session = NULL;
  static float got[N_LOGITS], wanted[N_LOGITS];
  int32_t ids[N_IDS];
  for (int i = 0; i < N_IDS; i++)
    ids[i] = (i * 17 + 5) % TINY_VOCAB;
  teach(small, 2);
  teach(large, 2);
  smft_patch *order[] = {small, NULL, large, small, large};
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  for (int i = 0; i < 5; i++) {
    ck_ok(smft_session_set_patch(session, order[i]));
    ck_ok(smft_session_rewind(session, 0));
    ck_ok(smft_session_feed(session, ids, N_IDS, SMFT_LOGITS_ALL, got, N_LOGITS));
    logits_of(model, order[i], wanted);
    ck_assert_mem_eq(got, wanted, sizeof got);
  }
  /* tokens one by one, and again when the patch has changed */
  ck_ok(smft_session_set_patch(session, large));
  ck_ok(smft_session_rewind(session, 0));
  teach(large, 1);
  for (int i = 0; i < N_IDS; i++)
    ck_ok(
        smft_session_feed(session, &ids[i], 1, SMFT_LOGITS_LAST, got + i * TINY_VOCAB, TINY_VOCAB));
  logits_of(model, large, wanted);
  ck_assert_double_lt(test_distance(got, wanted, N_LOGITS), 1e-5);
  smft_session_free(session);
  smft_patch_free(large);
  smft_patch_free(small);
}
END_TEST

START_TEST(probes_take_it) {
  smft_patch *patch = make(4, 0, 0, 0, 5);
  smft_session *session = NULL;
  smft_probe *probe = NULL;
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  ck_ok(smft_session_create(&session, model, patch, NULL));
  ck_ok(smft_probe_create(&probe, ctx, NULL));
  ck_ok(smft_probe_add_text(probe, "t", "the emma is austen"));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_ok(smft_probe_measure(probe, session, NULL, NULL, &report));
  ck_assert(report.kl <= 0 && report.kl >= 0);
  teach(patch, 10);
  ck_ok(smft_probe_measure(probe, session, NULL, NULL, &report));
  ck_assert(report.kl > 0);
  smft_probe_free(probe);
  smft_session_free(session);
  smft_patch_free(patch);
}
END_TEST

/* ---- merging ------------------------------------------------------------- */

START_TEST(merged_and_exported) {
  smft_patch *patch = make(3, 0, _i ? SMFT_LORA_K | SMFT_LORA_DOWN : 0, 0, 5), *merged = NULL;
  smft_model *exported = NULL;
  static float of_lora[N_LOGITS], of_merged[N_LOGITS], of_exported[N_LOGITS];
  teach(patch, 5);
  ck_ok(smft_patch_merge(&merged, patch));
  ck_assert_int_eq(smft_patch_kind(merged), SMFT_PATCH_FULL);
  ck_ok(smft_model_export(model, patch, test_file("exported"), NULL));
  ck_ok(smft_model_load(&exported, ctx, test_file("exported"), NULL));
  logits_of(model, patch, of_lora);
  logits_of(model, merged, of_merged);
  logits_of(exported, NULL, of_exported);
  double distance = test_distance(of_merged, of_lora, N_LOGITS);
  ck_assert_msg(distance < 1e-5, "%g", distance);
  ck_assert_mem_eq(of_merged, of_exported, sizeof of_merged);
  ck_assert(!same_logits(merged, NULL));
  teach(merged, 2); /* it can be trained on */
  smft_model_free(exported);
  smft_patch_free(merged);
  smft_patch_free(patch);
}
END_TEST

START_TEST(other_kinds_merge_too) {
  for (int32_t kind = SMFT_PATCH_SLOTS; kind <= SMFT_PATCH_FULL; kind++) {
    smft_patch *patch = NULL, *merged = NULL;
    float row[20] = {1, 2, 3};
    ck_ok(smft_patch_create(&patch, model, kind));
    if (kind == SMFT_PATCH_FULL)
      teach(patch, 2);
    for (int64_t slot = 0; kind == SMFT_PATCH_SLOTS && slot < 256; slot += 3)
      ck_ok(smft_patch_set_row(patch, 0, slot, row, 20));
    ck_ok(smft_patch_merge(&merged, patch));
    ck_assert_int_eq(smft_patch_kind(merged), SMFT_PATCH_FULL);
    ck_assert(same_logits(patch, merged) && !same_logits(patch, NULL));
    smft_patch_free(merged);
    smft_patch_free(patch);
  }
}
END_TEST

/* ---- files --------------------------------------------------------------- */

START_TEST(save_and_load) {
  smft_patch *patch = make(3, 4.5, _i ? SMFT_LORA_Q | SMFT_LORA_GATE : 0,
                           _i ? SMFT_LORA_RANK_STABILIZED : 0, 1234567890123456789u);
  smft_patch *back = NULL;
  smft_lora_options was = SMFT_LORA_OPTIONS_INIT, is = SMFT_LORA_OPTIONS_INIT;
  static float exact[N_LOGITS], rounded[N_LOGITS];
  teach(patch, 3);
  ck_ok(smft_patch_save(patch, test_file("saved"), 0));
  ck_assert_int_eq(test_count_files(test_file("saved")), 2);
  ck_ok(smft_patch_load(&back, model, test_file("saved")));
  ck_assert(same_logits(patch, back));
  ck_ok(smft_patch_get_lora(patch, &was));
  ck_ok(smft_patch_get_lora(back, &is));
  ck_assert_mem_eq(&was, &is, sizeof was);
  ck_ok(smft_patch_clear(patch)); /* the seed is kept, too */
  ck_ok(smft_patch_clear(back));
  teach(patch, 2);
  teach(back, 2);
  ck_assert(same_logits(patch, back));
  smft_patch_free(back);
  ck_ok(smft_patch_save(patch, test_file("saved"), SMFT_DTYPE_BF16)); /* in place of the first */
  ck_ok(smft_patch_load(&back, model, test_file("saved")));
  logits_of(model, patch, exact);
  logits_of(model, back, rounded);
  double distance = test_distance(rounded, exact, N_LOGITS);
  ck_assert_msg(distance > 0 && distance < 0.05, "%g", distance);
  ck_assert_int_eq(test_count_files(test_file("saved")), 2);
  smft_patch_free(back);
  smft_patch_free(patch);
}
END_TEST

/* One safetensors file, which has the config, too: it is as large as the directory's, and that. */
START_TEST(in_memory) {
  smft_patch *patch = make(3, 4.5, _i ? SMFT_LORA_Q | SMFT_LORA_GATE : 0,
                           _i ? SMFT_LORA_RANK_STABILIZED : 0, 1234567890123456789u);
  smft_patch *back = NULL;
  smft_lora_options was = SMFT_LORA_OPTIONS_INIT, is = SMFT_LORA_OPTIONS_INIT;
  static char buffer[1 << 18];
  int64_t size = 0;
  teach(patch, 3);
  ck_ok(smft_patch_save_buffer(patch, 0, buffer, sizeof buffer, &size));
  ck_ok(smft_patch_load_buffer(&back, model, buffer, size));
  ck_assert(same_logits(patch, back));
  ck_ok(smft_patch_get_lora(patch, &was));
  ck_ok(smft_patch_get_lora(back, &is));
  ck_assert_mem_eq(&was, &is, sizeof was);
  smft_patch_free(back);
  test_write("whole", buffer, (size_t)size); /* no patch's file, but it says whose it is */
  ck_status(smft_patch_load(&back, model, test_file("whole")), SMFT_E_FORMAT);
  ck_ok(smft_patch_save(patch, test_file("saved"), 0));
  size_t length = 0;
  char *weights = test_read(test_file("saved/adapter_model.safetensors"), &length);
  ck_status(smft_patch_load_buffer(&back, model, weights, (int64_t)length), SMFT_E_FORMAT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "adapter_config.json"));
  free(weights);
  smft_patch_free(patch);
}
END_TEST

START_TEST(places_that_cannot_be_written_or_read) {
  smft_patch *patch = make(2, 0, 0, 0, 0), *back = (smft_patch *)1;
  smft_model *other = tiny_model(ctx, "other", (tiny){0}, 4);
  smft_model *wider = tiny_model(ctx, "wider", (tiny){.shared = 1}, 4);
  test_write("a file", "x", 1);
  ck_status(smft_patch_save(patch, test_file("a file"), 0), SMFT_E_IO);
  ck_status(smft_patch_save(patch, test_file("no/such/directory"), 0), SMFT_E_NOT_FOUND);
  ck_status(smft_patch_load(&back, model, test_file("nowhere")), SMFT_E_NOT_FOUND);
  ck_assert_ptr_null(back);
  mkdir(test_file("empty"), 0700);
  ck_status(smft_patch_load(&back, model, test_file("empty")), SMFT_E_NOT_FOUND);
  ck_assert_msg(strstr(smft_error_message(), "adapter_config.json") != NULL, "%s",
                smft_error_message());
  ck_ok(smft_patch_save(patch, test_file("two"), 0));
  ck_status(smft_patch_load(&back, other, test_file("two")), SMFT_E_MISMATCH);
  ck_status(smft_patch_load(&back, wider, test_file("two")), SMFT_E_MISMATCH);
  ck_assert_int_eq(unlink(test_file("two/adapter_model.safetensors")), 0);
  ck_status(smft_patch_load(&back, model, test_file("two")), SMFT_E_NOT_FOUND);
  ck_assert_msg(strstr(smft_error_message(), "adapter_model.safetensors") != NULL, "%s",
                smft_error_message());
  smft_model_free(wider);
  smft_model_free(other);
  smft_patch_free(patch);
}
END_TEST

/* The state between the two replacements: a new config and old weights. */
START_TEST(halves_of_two_patches) {
  smft_patch *old = make(2, 4, 0, 0, 0);
  smft_patch *fresh[] = {make(2, 4, 0, 0, 9), make(3, 4, 0, 0, 0), make(2, 5, 0, 0, 0),
                         make(2, 4, 0, 1, 0)};
  char *config, path[64];
  size_t n;
  for (int i = 0; i < 4; i++) {
    smft_patch *back = NULL;
    teach(old, 1);
    ck_ok(smft_patch_save(old, test_file("halves"), 0));
    snprintf(path, sizeof path, "fresh%d", i);
    ck_ok(smft_patch_save(fresh[i], test_file(path), 0));
    snprintf(path, sizeof path, "fresh%d/adapter_config.json", i);
    config = test_read(test_file(path), &n);
    test_write("halves/adapter_config.json", config, n);
    free(config);
    ck_status(smft_patch_load(&back, model, test_file("halves")),
              i == 0 ? SMFT_OK : SMFT_E_MISMATCH);
    ck_assert(i > 0 || same_logits(back, old)); /* the same in all that matters: the old one */
    smft_patch_free(back);
    smft_patch_free(fresh[i]);
  }
  smft_patch_free(old);
}
END_TEST

/* ---- hostile files ------------------------------------------------------- */

#define LORA "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4"
static const struct config_case {
  const char *text;
  smft_status status;
  const char *named; /* in the message */
} configs[] = {
    {LORA "}", SMFT_OK, NULL},
    {LORA
     ".0, \"task_type\": \"CAUSAL_LM\", \"peft_version\": \"0.18.0\", \"qalora_group_size\": 16}",
     SMFT_OK, NULL},
    {LORA ", \"use_dora\": false, \"modules_to_save\": null, \"rank_pattern\": {}, "
          "\"alpha_pattern\": {}}",
     SMFT_OK, NULL},
    {LORA ", \"modules_to_save\": [], \"some_new_key\": null, \"target_modules\": \"all-linear\"}",
     SMFT_OK, NULL},
    {LORA ", \"init_lora_weights\": \"gaussian\", \"bias\": \"none\"}", SMFT_OK, NULL},
    {LORA ", \"use_dora\": true}", SMFT_E_UNSUPPORTED, "use_dora"},
    {LORA ", \"bias\": \"all\"}", SMFT_E_UNSUPPORTED, "bias"},
    {LORA ", \"bias\": 3}", SMFT_E_FORMAT, "bias"},
    {LORA ", \"modules_to_save\": [\"lm_head\"]}", SMFT_E_UNSUPPORTED, "modules_to_save"},
    {LORA ", \"rank_pattern\": {\"q_proj\": 4}}", SMFT_E_UNSUPPORTED, "rank_pattern"},
    {LORA ", \"alpha_pattern\": {\"q_proj\": 4}}", SMFT_E_UNSUPPORTED, "alpha_pattern"},
    {LORA ", \"fan_in_fan_out\": true}", SMFT_E_UNSUPPORTED, "fan_in_fan_out"},
    {LORA ", \"layer_replication\": [[0, 1]]}", SMFT_E_UNSUPPORTED, "layer_replication"},
    {LORA ", \"init_lora_weights\": \"pissa\"}", SMFT_E_UNSUPPORTED, "init_lora_weights"},
    {LORA ", \"init_lora_weights\": 5}", SMFT_E_UNSUPPORTED, "init_lora_weights"},
    {LORA ", \"trainable_token_indices\": [1]}", SMFT_E_UNSUPPORTED, "trainable_token_indices"},
    {LORA ", \"some_new_key\": 1}", SMFT_E_UNSUPPORTED, "some_new_key"},
    {LORA ", \"use_rslora\": \"yes\"}", SMFT_E_FORMAT, "use_rslora"},
    {LORA ", \"use_rslora\": true}", SMFT_E_MISMATCH, "use_rslora"}, /* the weights say otherwise */
    {"{\"peft_type\": \"LORA\", \"r\": 2}", SMFT_E_MISMATCH,
     "lora_alpha"}, /* PEFT's default of 8 */
    {"{\"peft_type\": \"IA3\"}", SMFT_E_UNSUPPORTED, "IA3"},
    {"{\"peft_type\": 5}", SMFT_E_FORMAT, "peft_type"},
    {"{\"r\": 2, \"lora_alpha\": 4}", SMFT_E_FORMAT, "peft_type"},
    {"{}", SMFT_E_FORMAT, "peft_type"},
    {"[]", SMFT_E_FORMAT, NULL},
    {"", SMFT_E_FORMAT, NULL},
    {"{\"peft_type\": \"LORA\", ", SMFT_E_FORMAT, NULL},
    {LORA ", \"r\": 3}", SMFT_E_FORMAT, NULL}, /* twice */
    {"{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 4}", SMFT_E_MISMATCH, "shape"},
    {"{\"peft_type\": \"LORA\", \"r\": 0, \"lora_alpha\": 4}", SMFT_E_FORMAT, "\"r\""},
    {"{\"peft_type\": \"LORA\", \"r\": -2, \"lora_alpha\": 4}", SMFT_E_FORMAT, "\"r\""},
    {"{\"peft_type\": \"LORA\", \"r\": 4294967298, \"lora_alpha\": 4}", SMFT_E_FORMAT, "\"r\""},
    {"{\"peft_type\": \"LORA\", \"r\": 100000, \"lora_alpha\": 4}", SMFT_E_FORMAT, "rank"},
    {"{\"peft_type\": \"LORA\", \"r\": 2.5, \"lora_alpha\": 4}", SMFT_E_FORMAT, "\"r\""},
    {"{\"peft_type\": \"LORA\", \"r\": \"2\", \"lora_alpha\": 4}", SMFT_E_FORMAT, "\"r\""},
    {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": \"4\"}", SMFT_E_FORMAT, "lora_alpha"},
    {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 0}", SMFT_E_FORMAT, "lora_alpha"},
    {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": -4}", SMFT_E_FORMAT, "lora_alpha"},
    {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 1e400}", SMFT_E_FORMAT, NULL},
    {"{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 1e200}", SMFT_E_FORMAT, "alpha"},
};
#define N_CONFIGS (int)(sizeof configs / sizeof *configs)

/* Loads the directory "hostile" and sees the status; the message names the directory and what is
 * wrong. */
static void refused(smft_status status, const char *named) {
  smft_patch *back = (smft_patch *)1;
  ck_status(smft_patch_load(&back, model, test_file("hostile")), status);
  if (status != SMFT_OK) {
    ck_assert_ptr_null(back);
    ck_assert_msg(strstr(smft_error_message(), "hostile") != NULL, "%s", smft_error_message());
    ck_assert_msg(!named || strstr(smft_error_message(), named) != NULL, "\"%s\" is not named: %s",
                  named, smft_error_message());
  }
  smft_patch_free(back);
}

static void save_hostile(void) {
  smft_patch *patch = make(2, 4, SMFT_LORA_Q | SMFT_LORA_DOWN, 0, 3);
  ck_ok(smft_patch_save(patch, test_file("hostile"), 0));
  smft_patch_free(patch);
}

START_TEST(hostile_configs) {
  save_hostile();
  test_write("hostile/adapter_config.json", configs[_i].text, strlen(configs[_i].text));
  refused(configs[_i].status, configs[_i].named);
}
END_TEST

static const struct weights_case {
  const char *from, *to; /* in the header, of one length; every occurrence */
  smft_status status;
  const char *named;
} weights[] = {
    {"q_proj.lora_A", "q_proj.lora_C", SMFT_E_FORMAT, "q_proj.lora_A"},
    {"q_proj.lora_B", "q_proj.lora_D", SMFT_E_FORMAT, "q_proj.lora_B"},
    {"q_proj", "x_proj", SMFT_E_UNSUPPORTED, "x_proj"},
    {"self_attn.q_proj", "self_attn.bigger", SMFT_E_UNSUPPORTED, "bigger"},
    {"layers.0.mlp", "layers.9.mlp", SMFT_E_UNSUPPORTED, "layers.9"},
    {"layers.0.mlp", "layers.1.mlp", SMFT_E_UNSUPPORTED,
     "layers.1.mlp"}, /* that block's FFN is a memory layer */
    {"base_model.model.", "base.model.model.", SMFT_E_UNSUPPORTED, "base.model"},
    {"\"F32\"", "\"I32\"", SMFT_E_FORMAT, "I32"},
    {"[2,32]", "[32,2]", SMFT_E_MISMATCH, "(2, 32)"},
    {"[2,32]", "[1,64]", SMFT_E_MISMATCH, "(2, 32)"},
    {"[2,32]", "[64]  ", SMFT_E_MISMATCH, "1 dimensions"},
    {"\"model_hash\":\"", "\"model_hush\":\"", SMFT_OK, NULL}, /* no hash: as PEFT writes it */
};
#define N_WEIGHTS (int)(sizeof weights / sizeof *weights)

static void replace_all(char *bytes, size_t n, const char *from, const char *to) {
  size_t length = strlen(from);
  int found = 0;
  ck_assert_uint_eq(length, strlen(to));
  for (size_t i = 0; i + length <= n; i++)
    if (memcmp(bytes + i, from, length) == 0) {
      memcpy(bytes + i, to, length);
      found = 1;
    }
  ck_assert_msg(found, "%s is not there", from);
}

START_TEST(hostile_weights) {
  size_t n;
  save_hostile();
  char *bytes = test_read(test_file("hostile/adapter_model.safetensors"), &n);
  replace_all(bytes, n, weights[_i].from, weights[_i].to);
  test_write("hostile/adapter_model.safetensors", bytes, n);
  free(bytes);
  refused(weights[_i].status, weights[_i].named);
}
END_TEST

START_TEST(numbers_that_are_not_finite) {
  const float values[] = {NAN, INFINITY, -INFINITY};
  size_t n;
  save_hostile();
  char *bytes = test_read(test_file("hostile/adapter_model.safetensors"), &n);
  memcpy(bytes + n - sizeof values[0], &values[_i], sizeof values[0]);
  test_write("hostile/adapter_model.safetensors", bytes, n);
  free(bytes);
  refused(SMFT_E_NONFINITE, "lora_");
}
END_TEST

START_TEST(cut_short) {
  size_t n;
  save_hostile();
  char *bytes = test_read(test_file("hostile/adapter_model.safetensors"), &n);
  for (size_t length = 0; length < n; length += length < 16 ? 1 : 97) {
    test_write("hostile/adapter_model.safetensors", bytes, length);
    refused(SMFT_E_FORMAT, "adapter_model.safetensors");
  }
  free(bytes);
  test_write("hostile/adapter_model.safetensors", "version https://git-lfs", 23);
  refused(SMFT_E_FORMAT, "adapter_model.safetensors");
}
END_TEST

/* Factors so large that their product overflows: loading is fine, merging says so. */
START_TEST(a_product_that_overflows) {
  smft_patch *back = NULL, *merged = (smft_patch *)1;
  const float large = 3e38f;
  size_t n;
  save_hostile();
  char *bytes = test_read(test_file("hostile/adapter_model.safetensors"), &n);
  uint64_t header;
  memcpy(&header, bytes, 8);
  for (size_t at = 8 + (size_t)header; at < n; at += sizeof large)
    memcpy(bytes + at, &large, sizeof large);
  test_write("hostile/adapter_model.safetensors", bytes, n);
  free(bytes);
  ck_ok(smft_patch_load(&back, model, test_file("hostile")));
  ck_status(smft_patch_merge(&merged, back), SMFT_E_NONFINITE);
  ck_assert_ptr_null(merged);
  smft_patch_free(back);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("lora");
  TCase *tests = tcase_create("lora");
  test_directory_make();
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, options_and_defaults);
  tcase_add_test(tests, wrong_options);
  tcase_add_test(tests, matrices_that_are_not_there);
  tcase_add_test(tests, what_a_lora_patch_is_not);
  tcase_add_test(tests, an_empty_one_changes_nothing);
  tcase_add_test(tests, learning_and_clearing);
  tcase_add_test(tests, default_optimizer);
  tcase_add_test(tests, sessions_take_any_rank);
  tcase_add_test(tests, probes_take_it);
  tcase_add_loop_test(tests, merged_and_exported, 0, 2);
  tcase_add_test(tests, other_kinds_merge_too);
  tcase_add_loop_test(tests, save_and_load, 0, 2);
  tcase_add_loop_test(tests, in_memory, 0, 2);
  tcase_add_test(tests, places_that_cannot_be_written_or_read);
  tcase_add_test(tests, halves_of_two_patches);
  tcase_add_loop_test(tests, hostile_configs, 0, N_CONFIGS);
  tcase_add_loop_test(tests, hostile_weights, 0, N_WEIGHTS);
  tcase_add_loop_test(tests, numbers_that_are_not_finite, 0, 3);
  tcase_add_test(tests, cut_short);
  tcase_add_test(tests, a_product_that_overflows);
  suite_add_tcase(suite, tests);
  return suite;
}
