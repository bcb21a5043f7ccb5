/* locale: the whole pipeline (init, export, load, count, learn, save, load, measure, report) under
 * locales with a decimal comma, other digits and other rules of case, and under other
 * floating-point modes: files and numbers are the same, and the process's state is as it was. */
#include <fenv.h>
#include <fcntl.h>
#include <locale.h>
#include "test.h"
#include "tiny.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

extern char **environ;

typedef struct outcome {
  double loss, gradient_norm, lr, nll, f1, kl, mean;
  double match, score;
  char text[200];
} outcome;

static smft_patch *learn(smft_model *model, outcome *o) {
  static const char facts[] =
      "{\"id\": \"a\", \"wordings\": [{\"prompt\": \"The mass is\", \"answer\": \" 1.008\"}]}\n";
  smft_learner *learner = NULL;
  smft_patch *patch = NULL;
  smft_report report = SMFT_REPORT_INIT;
  smft_selector *selector = tiny_selector(model, 0, 8);
  ck_ok(smft_selector_save(selector, test_file("m/background.safetensors")));
  ck_ok(smft_selector_load(selector, test_file("m/background.safetensors")));
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&learner, model, patch, selector, NULL, NULL));
  ck_ok(smft_learner_push_file(learner, test_write("facts.jsonl", facts, sizeof facts - 1), NULL));
  tiny_push(learner, "second", "two");
  ck_ok(smft_step(learner, &report));
  ck_ok(smft_learner_run(learner, NULL, NULL, NULL));
  o->loss = report.loss;
  o->gradient_norm = report.gradient_norm;
  o->lr = report.lr;
  smft_learner_free(learner);
  smft_selector_free(selector);
  return patch;
}

static void measure(smft_ctx *ctx, smft_session *session, smft_patch *patch, outcome *o) {
  static const char items[] = "{\"id\": \"q\", \"question\": \"I?\", \"answers\": [\"I AM 1.5\"]}\n"
                              "{\"id\": \"t\", \"text\": \"some text\"}\n";
  smft_probe *probe = NULL;
  smft_probe_report report = SMFT_PROBE_REPORT_INIT;
  ck_ok(smft_probe_create(&probe, ctx, NULL));
  ck_ok(smft_probe_add_file(probe, test_write("items.jsonl", items, sizeof items - 1), NULL));
  ck_ok(smft_probe_baseline(probe, session, NULL, NULL));
  ck_ok(smft_session_set_patch(session, patch));
  ck_ok(smft_probe_measure(probe, session, NULL, NULL, &report));
  ck_ok(smft_probe_save_report(probe, test_file("report.json")));
  o->nll = report.nll;
  o->f1 = report.f1;
  o->kl = report.kl;
  smft_probe_free(probe);
}

static outcome pipeline(void) {
  static const char *const accepted[] = {"TITANIC, 1.5"};
  outcome o;
  memset(&o, 0, sizeof o);
  smft_ctx *ctx = NULL;
  smft_model *model = NULL;
  smft_patch *patch = NULL;
  smft_session *session = NULL;
  const char *text = NULL;
  int32_t ids[] = {5, 6, 7, 8};
  ck_ok(smft_ctx_create(&ctx, NULL));
  remove(test_file("m/background.safetensors")); /* else the next selector would begin with it */
  model = tiny_model(ctx, "m", (tiny){0}, 11);
  ck_ok(smft_model_export(model, NULL, test_file("m"), NULL));
  smft_model_free(model);
  ck_ok(smft_model_load(&model, ctx, test_file("m"), NULL));
  patch = learn(model, &o);
  ck_ok(smft_patch_save(patch, test_file("p"), 0));
  smft_patch_free(patch);
  ck_ok(smft_patch_load(&patch, model, test_file("p")));
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  measure(ctx, session, patch, &o);
  ck_ok(smft_session_nll(session, ids, 4, NULL, &o.mean));
  ck_ok(smft_session_generate(session, "The mass is", 11, NULL, &text, NULL));
  snprintf(o.text, sizeof o.text, "%s", text);
  ck_ok(smft_score_answer("Titanic 1.5", accepted, 1, &o.match, &o.score));
  smft_session_free(session);
  smft_patch_free(patch);
  smft_model_free(model);
  smft_ctx_free(ctx);
  return o;
}

static const char *const files[] = {"m/config.json", "m/model.safetensors",
                                    "m/background.safetensors", "p"};

static void keep_files(char **kept, size_t *sizes) {
  for (int i = 0; i < 4; i++)
    kept[i] = test_read(test_file(files[i]), &sizes[i]);
}

static void same_files(char **kept, const size_t *sizes) {
  for (int i = 0; i < 4; i++) {
    size_t n;
    char *now = test_read(test_file(files[i]), &n);
    ck_assert_msg(n == sizes[i] && memcmp(now, kept[i], n) == 0, "%s is another file", files[i]);
    free(now);
    free(kept[i]);
  }
}

/* The report's times differ; all its numbers have points, or it is no JSON. */
static void report_has_points(void) {
  char *text = test_read(test_file("report.json"), NULL), *at = strstr(text, "\"nll\": ");
  ck_assert_ptr_nonnull(at);
  ck_assert_msg(at[7] >= '0' && at[7] <= '9' &&
                    strchr(at + 7, '.') == at + 7 + strspn(at + 7, "0123456789"),
                "%.30s", at);
  free(text);
}

static void same_outcome(const outcome *a, const outcome *b) {
  ck_assert_msg(memcmp(a, b, sizeof *a) == 0,
                "loss %.17g/%.17g, norm %.17g/%.17g, lr %.17g/%.17g, nll %.17g/%.17g, kl "
                "%.17g/%.17g, score %g/%g",
                a->loss, b->loss, a->gradient_norm, b->gradient_norm, a->lr, b->lr, a->nll, b->nll,
                a->kl, b->kl, a->score, b->score);
}

START_TEST(locales) {
  static const char *const names[] = {"de_DE", "tr_TR", "ps_AF"}; /* 1,5 - dotless i - 1٫5 */
  char *kept[4], locale[256];
  size_t sizes[4];
  outcome plain = pipeline();
  ck_assert(plain.match == 1 && plain.loss > 0 && plain.nll > 0);
  keep_files(kept, sizes);
  if (test_locale(names[_i])) {
    ck_assert(_i == 1 || localeconv()->decimal_point[0] != '.');
    snprintf(locale, sizeof locale, "%s", setlocale(LC_ALL, NULL));
    outcome foreign = pipeline();
    ck_assert_str_eq(setlocale(LC_ALL, NULL), locale);
    same_outcome(&plain, &foreign);
    report_has_points();
  }
  same_files(kept, sizes);
  setlocale(LC_ALL, "C");
}
END_TEST

/* ---- floating-point modes ------------------------------------------------ */

#if defined(__x86_64__)
static unsigned modes(void) {
  return _mm_getcsr() & ~0x3fu;
} /* without the sticky exception flags */
#else
static unsigned modes(void) { return 0; }
#endif

/* As the host has them: plain, and with other modes (flush to zero, denormals are zero, rounding
 * up), which are the host's business. */
START_TEST(floating_point_modes_stay) {
#if defined(__x86_64__)
  if (_i == 1)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
  if (_i == 2)
    ck_assert_int_eq(fesetround(FE_UPWARD), 0);
  unsigned before = modes();
  int rounding = fegetround();
  pipeline();
  ck_assert_uint_eq(modes(), before);
  ck_assert_int_eq(fegetround(), rounding);
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() & ~0x8040u);
#endif
  fesetround(FE_TONEAREST);
}
END_TEST

/* ---- silence ------------------------------------------------------------- */

START_TEST(nothing_is_printed_or_set) {
  int out = dup(1), err = dup(2);
  int sink = open(test_file("printed"), O_RDWR | O_CREAT | O_TRUNC, 0600);
  char environment[65536] = "", now[65536] = "";
  smft_model *none;
  smft_ctx *ctx = NULL;
  for (char **one = environ; *one; one++)
    strncat(environment, *one, sizeof environment - strlen(environment) - 1);
  ck_assert(out >= 0 && err >= 0 && sink >= 0);
  fflush(NULL);
  dup2(sink, 1);
  dup2(sink, 2);
  pipeline();
  smft_status created = smft_ctx_create(&ctx, NULL);
  /* errors are silent too */
  smft_status status = smft_model_load(&none, ctx, "/nowhere/at/all", NULL);
  smft_ctx_free(ctx);
  fflush(NULL);
  dup2(out, 1);
  dup2(err, 2);
  ck_assert(created == SMFT_OK && status == SMFT_E_NOT_FOUND);
  ck_assert_int_eq(lseek(sink, 0, SEEK_END), 0);
  for (char **one = environ; *one; one++)
    strncat(now, *one, sizeof now - strlen(now) - 1);
  ck_assert_str_eq(environment, now);
  close(out);
  close(err);
  close(sink);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("locale");
  TCase *tests = tcase_create("locale");
  test_directory_make();
  tcase_set_timeout(tests, 120);
  tcase_add_loop_test(tests, locales, 0, 3);
  tcase_add_loop_test(tests, floating_point_modes_stay, 0, 3);
  tcase_add_test(tests, nothing_is_printed_or_set);
  suite_add_tcase(suite, tests);
  return suite;
}
