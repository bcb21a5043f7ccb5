/* learn_defaults: "memory": {"learn": {...}} of a config.json: what it may say, who takes it, and
 * that a model which says nothing is taught as before. */
#include "test.h"
#include "tiny.h"
#include "learn/learner.h"

static smft_ctx *ctx;

static void setup(void) { ck_ok(smft_ctx_create(&ctx, NULL)); }
static void teardown(void) { smft_ctx_free(ctx); }

/* A tiny model with two pools, whose memory says `learn`; NULL: nothing. */
static smft_status make(smft_model **out, const char *learn) {
  static const char before[] = "\"memory\": {";
  char text[4096];
  mkdir(test_file("m"), 0700);
  tiny_config("m", (tiny){0, 0, 0, 2});
  tiny_tokenizer("m");
  char *whole = test_read(test_file("m/config.json"), NULL), *at = strstr(whole, before);
  ck_assert_ptr_nonnull(at);
  int n = snprintf(text, sizeof text, "%.*s%s%s%s%s", (int)(at - whole) + (int)sizeof before - 1,
                   whole, learn ? "\"learn\": " : "", learn ? learn : "", learn ? ", " : "",
                   at + sizeof before - 1);
  test_write("m/config.json", text, (size_t)n);
  free(whole);
  *out = NULL;
  return smft_model_init(out, ctx, test_file("m"), 3);
}

static const char all[] =
    "{\"t\": 64, \"max_df\": 0.005, \"damping\": 0.001, \"damping_by\": \"df\", \"rank_by\": "
    "\"weights\", \"step_length\": 30, \"momentum\": 0.25, \"length_by_loss\": true, "
    "\"loss_below\": 0.1, \"max_steps\": 40, "
    "\"wordings_per_step\": -1, \"frames\": true}";

static smft_learn_defaults defaults_of(const smft_model *model) {
  smft_learn_defaults d = SMFT_LEARN_DEFAULTS_INIT;
  ck_ok(smft_model_learn_defaults(model, &d));
  return d;
}

static void check(const smft_learn_defaults *d, smft_learn_defaults wanted) {
  ck_assert_int_eq(d->t, wanted.t);
  ck_assert_double_eq(d->max_df, wanted.max_df);
  ck_assert_double_eq(d->damping, wanted.damping);
  ck_assert_double_eq(d->step_length, wanted.step_length);
  ck_assert_double_eq(d->loss_below, wanted.loss_below);
  ck_assert_double_eq(d->momentum, wanted.momentum);
  ck_assert(d->length_by_loss == wanted.length_by_loss && d->reserved == 0);
  ck_assert(d->damping_by == wanted.damping_by && d->rank_by == wanted.rank_by);
  ck_assert(d->max_steps == wanted.max_steps && d->frames == wanted.frames);
  ck_assert_int_eq(d->wordings_per_step, wanted.wordings_per_step);
}

static const smft_learn_defaults own = {
    0, SMFT_DAMPING_SQUARES, SMFT_RANK_COUNTS, 200, 4, 0, 350, 0.0003, -1, 0, 0.2, 0, 0, 0};
static const smft_learn_defaults said = {
    0, SMFT_DAMPING_DF, SMFT_RANK_WEIGHTS, 40, -1, 1, 64, 0.001, 0.005, 30, 0.1, 0.25, 1, 0};

START_TEST(what_a_model_says_is_read) {
  static const struct {
    const char *learn;
    const smft_learn_defaults *wanted;
  } cases[] = {{NULL, &own}, {"null", &own}, {"{}", &own}, {all, &said}};
  char hash[65] = "";
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    smft_model *model;
    ck_ok(make(&model, cases[i].learn));
    smft_learn_defaults got = defaults_of(model);
    check(&got, *cases[i].wanted);
    if (!*hash)
      strcpy(hash, smft_model_hash(model));
    ck_assert_str_eq(smft_model_hash(model), hash); /* patches of one fit the other */
    smft_model_free(model);
  }
}
END_TEST

START_TEST(what_is_wrong_is_refused_by_name) {
  static const struct {
    const char *learn, *name;
    smft_status status;
  } cases[] = {{"{\"lr\": 1}", "\"lr\" is not known", SMFT_E_UNSUPPORTED},
               {"[]", "must be an object", SMFT_E_FORMAT},
               {"{\"t\": -1}", "\"t\"", SMFT_E_FORMAT},
               {"{\"t\": 1e3}", "\"t\"", SMFT_E_FORMAT},
               {"{\"t\": 9000000000000}", "\"t\"", SMFT_E_FORMAT},
               {"{\"max_df\": 1.5}", "\"max_df\"", SMFT_E_FORMAT},
               {"{\"max_df\": \"none\"}", "\"max_df\"", SMFT_E_FORMAT},
               {"{\"damping\": 1e31}", "\"damping\"", SMFT_E_FORMAT},
               {"{\"step_length\": -1}", "\"step_length\"", SMFT_E_FORMAT},
               {"{\"step_length\": 1, \"momentum\": 1}", "below 1", SMFT_E_FORMAT},
               {"{\"step_length\": 1, \"momentum\": -1}", "\"momentum\"", SMFT_E_FORMAT},
               {"{\"momentum\": 0.5}", "\"step_length\"", SMFT_E_FORMAT},
               {"{\"length_by_loss\": true}", "\"step_length\"", SMFT_E_FORMAT},
               {"{\"step_length\": 1, \"length_by_loss\": 1}", "by_loss", SMFT_E_FORMAT},
               {"{\"loss_below\": true}", "\"loss_below\"", SMFT_E_FORMAT},
               {"{\"max_steps\": -1}", "\"max_steps\"", SMFT_E_FORMAT},
               {"{\"max_steps\": 2147483648}", "\"max_steps\"", SMFT_E_FORMAT},
               {"{\"wordings_per_step\": -2}", "\"wordings_per_step\"", SMFT_E_FORMAT},
               {"{\"damping_by\": \"reads\"}", "\"damping_by\"", SMFT_E_UNSUPPORTED},
               {"{\"rank_by\": 1}", "\"rank_by\"", SMFT_E_FORMAT},
               {"{\"rank_by\": \"\"}", "\"rank_by\"", SMFT_E_UNSUPPORTED},
               {"{\"frames\": 1}", "\"frames\"", SMFT_E_FORMAT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    smft_model *model;
    ck_status(make(&model, cases[i].learn), cases[i].status);
    ck_assert_msg(strstr(smft_error_message(), cases[i].name) != NULL, "%s", smft_error_message());
    ck_assert_ptr_null(model);
  }
}
END_TEST

/* Selector, learner and a NULL optimizer take them, and give them up where an option says more. */
START_TEST(those_that_are_told_nothing_take_them) {
  smft_selector_options selecting = SMFT_SELECTOR_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  smft_model *model;
  smft_patch *patch;
  smft_learner *learner;
  smft_selector *selector;
  ck_ok(make(&model, all));
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&learner, model, patch, NULL, NULL, NULL));
  const smft_selector *s = learner->selector;
  ck_assert(s->t == 64 && s->damping_by == SMFT_DAMPING_DF && s->rank_by == SMFT_RANK_WEIGHTS);
  ck_assert_double_eq(s->damping, 0.001);
  ck_assert_double_eq(s->max_df, 0.005);
  ck_assert_double_eq(learner->optimizer->options.step_length, 30);
  ck_assert_double_eq(learner->optimizer->options.momentum, 0.25);
  ck_assert_uint_eq(learner->optimizer->options.flags, SMFT_OPTIMIZER_LENGTH_BY_LOSS);
  ck_assert_double_eq(learner->options.loss_below, 0.1);
  ck_assert(learner->options.max_steps == 40 && learner->options.wordings_per_step == -1);
  smft_learner_free(learner);
  selecting.t = 5;
  selecting.damping = -1;
  selecting.max_df = -1;
  selecting.damping_by = SMFT_DAMPING_SQUARES;
  selecting.rank_by = SMFT_RANK_COUNTS;
  learning.loss_below = 0.3;
  learning.max_steps = 7;
  learning.wordings_per_step = 2;
  ck_ok(smft_selector_create(&selector, model, &selecting));
  ck_assert(selector->t == 5 && selector->damping < 0 && selector->max_df < 0);
  ck_assert_int_eq(selector->damping_by, SMFT_DAMPING_SQUARES);
  ck_assert_int_eq(selector->rank_by, SMFT_RANK_COUNTS);
  smft_optimizer *optimizer;
  ck_ok(smft_optimizer_create(&optimizer, ctx, NULL));
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, &learning));
  ck_assert_double_eq(learner->optimizer->options.step_length, 0);
  ck_assert_double_eq(learner->optimizer->options.momentum, 0);
  ck_assert_double_eq(learner->options.loss_below, 0.3);
  ck_assert(learner->options.max_steps == 7 && learner->options.wordings_per_step == 2);
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  smft_patch_free(patch);
  smft_model_free(model);
}
END_TEST

/* A draw decides: what a model says goes before the constants of that rule, too. */
START_TEST(where_a_draw_decides) {
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  learning.flags = SMFT_LEARNER_SAMPLE_DECIDES;
  for (int i = 0; i < 2; i++) {
    smft_model *model;
    smft_patch *patch;
    smft_learner *learner;
    ck_ok(make(&model, i ? "{\"loss_below\": 0.4, \"max_steps\": 12}" : NULL));
    ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_LORA));
    ck_ok(smft_learner_create(&learner, model, patch, NULL, NULL, &learning));
    ck_assert_double_eq(learner->options.loss_below, i ? 0.4 : 0.1);
    ck_assert_int_eq(learner->options.max_steps, i ? 12 : 100);
    ck_assert_int_eq(learner->optimizer->options.kind, SMFT_OPTIMIZER_ADAMW);
    smft_learner_free(learner);
    smft_patch_free(patch);
    smft_model_free(model);
  }
}
END_TEST

START_TEST(export_keeps_them) {
  smft_model *model, *again;
  ck_ok(make(&model, all));
  ck_ok(smft_model_export(model, NULL, test_file("exported"), NULL));
  ck_ok(smft_model_load(&again, ctx, test_file("exported"), NULL));
  smft_learn_defaults got = defaults_of(again);
  check(&got, said);
  smft_model_free(again);
  smft_model_free(model);
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("learn_defaults");
  TCase *cases = tcase_create("learn_defaults");
  tcase_add_checked_fixture(cases, setup, teardown);
  suite_add_tcase(suite, cases);
  tcase_add_test(cases, what_a_model_says_is_read);
  tcase_add_test(cases, what_is_wrong_is_refused_by_name);
  tcase_add_test(cases, those_that_are_told_nothing_take_them);
  tcase_add_test(cases, where_a_draw_decides);
  tcase_add_test(cases, export_keeps_them);
  return suite;
}
