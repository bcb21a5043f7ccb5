/* levels: the instruction sets that kernels are compiled for, compared with the portable one: the
 * processor's best is chosen, any lesser one can be; updates have the same bits with all of them; a
 * whole network, learner and session the same numbers up to rounding, but not the same bits, which
 * shows that other kernels ran.  (Each kernel against its naive reference at every level: nn/ and
 * memory/.) */
#include "test.h"
#include "tiny.h"
#include "learn/learner.h"
#include "base/cpu.h"

static int best; /* level that the processor has */

static void at_each_level(void (*run)(int level)) {
  for (int level = SMFT__CPU_PORTABLE; level <= best; level++) {
    ck_assert_int_eq(smft__cpu_limit(level), level);
    ck_assert_int_eq(smft__cpu_level(), level < SMFT__CPU_TILES ? level : SMFT__CPU_AVX512);
    ck_assert_int_eq(smft__cpu_has_tiles(0), level == SMFT__CPU_TILES);
    run(level);
  }
  smft__cpu_limit(best);
}

static float number(int i) { return sinf((float)(i * i + 1)); }

START_TEST(choosing) {
  ck_assert_int_eq(smft__cpu_limit(SMFT__CPU_TILES), best); /* no more than there is */
  ck_assert_int_eq(smft__cpu_limit(SMFT__CPU_PORTABLE), SMFT__CPU_PORTABLE);
  ck_assert_int_eq(smft__cpu_level(), SMFT__CPU_PORTABLE);
  smft__cpu_limit(best);
#if defined(__x86_64__)
  __builtin_cpu_init();
  ck_assert(best >= SMFT__CPU_AVX2 || !__builtin_cpu_supports("avx2") ||
            !__builtin_cpu_supports("fma"));
#else
  ck_assert_int_eq(best, SMFT__CPU_PORTABLE);
#endif
}
END_TEST

/* ---- updates ------------------------------------------------------------- */

enum { MOST = 83 };

typedef struct updated {
  float w[MOST], m[MOST], v[MOST];
  double square, largest;
} updated;

static updated updates[3][MOST + 1]; /* of the portable level, by rule and length */

static updated run_update(const smft__update_rule *rule, int n) {
  updated u;
  float g[MOST];
  for (int i = 0; i < MOST; i++) {
    u.w[i] = number(i);
    u.m[i] = number(i + 100);
    u.v[i] = fabsf(number(i + 200));
    g[i] = number(i + 300);
  }
  ck_assert(smft__update(rule, u.w, g, rule->adamw || rule->momentum > 0 ? u.m : NULL,
                         rule->adamw ? u.v : NULL, n, u.w, u.m, u.v));
  u.square = smft__sum_squares(g, n);
  u.largest = smft__largest(g, n);
  return u;
}

static void check_updates(int level) {
  const smft__update_rule rules[3] = {{.scale = 0.7f, .lr = 0.03f, .decay = 0.1f},
                                      {.scale = 0.7f, .lr = 0.03f, .decay = 0.1f, .momentum = 0.9f},
                                      {.adamw = 1,
                                       .scale = 0.7f,
                                       .lr = 0.03f,
                                       .decay = 0.999f,
                                       .beta1 = 0.9f,
                                       .one_minus_beta1 = 0.1f,
                                       .beta2 = 0.99f,
                                       .one_minus_beta2 = 0.01f,
                                       .eps = 1e-8f,
                                       .root_bias2 = 0.3f}};
  for (int r = 0; r < 3; r++)
    for (int n = 0; n <= MOST; n++) {
      updated u = run_update(&rules[r], n);
      if (level == SMFT__CPU_PORTABLE)
        updates[r][n] = u;
      ck_assert_msg(memcmp(&u, &updates[r][n], sizeof u) == 0, "rule %d of %d numbers at level %d",
                    r, n, level);
    }
}

START_TEST(updates_have_the_same_bits) { at_each_level(check_updates); }
END_TEST

/* ---- whole passes -------------------------------------------------------- */

#define TOKENS 60
#define STEPS 6

typedef struct pass { /* of one level: what a network, a learner and a session make */
  double loss, losses[STEPS];
  float **gradient; /* (n_tensors) */
  float *logits;    /* (TOKENS, V) */
} pass;

static smft_ctx *ctx;
static smft_model *model;
static pass portable;

static void run_network(pass *p) {
  int32_t ids[TOKENS];
  int64_t offsets[] = {0, 7, 24, TOKENS};
  smft__sequences batch = {ids, offsets, 3, TOKENS, NULL};
  smft__tape *tape;
  smft_session *session;
  for (int i = 0; i < TOKENS; i++)
    ids[i] = (i * 37 + 5) % TINY_VOCAB;
  p->gradient = calloc((size_t)model->n_tensors, sizeof *p->gradient);
  for (int32_t i = 0; i < model->n_tensors; i++)
    p->gradient[i] = calloc((size_t)smft__tensor_count(&model->tensors[i]), sizeof **p->gradient);
  smft__grads grads = {.tensors = p->gradient};
  ck_ok(smft__tape_create(&tape, model));
  ck_ok(smft__network_forward(tape, NULL, &batch, SMFT__KEEP_ALL, &p->loss, NULL));
  ck_ok(smft__network_backward(tape, NULL, &grads, NULL));
  smft__tape_free(tape);
  p->logits = malloc(TOKENS * TINY_VOCAB * sizeof *p->logits);
  ck_ok(smft_session_create(&session, model, NULL, NULL));
  ck_ok(
      smft_session_feed(session, ids, TOKENS / 2, SMFT_LOGITS_ALL, p->logits, TOKENS * TINY_VOCAB));
  for (int64_t i = TOKENS / 2; i < TOKENS; i++)
    ck_ok(smft_session_feed(session, ids + i, 1, SMFT_LOGITS_LAST, p->logits + i * TINY_VOCAB,
                            TINY_VOCAB));
  smft_session_free(session);
}

static void run_learner(pass *p) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector *selector = tiny_selector(model, SMFT_RULE_TFIDF, 30);
  smft_patch *patch;
  smft_learner *learner;
  options.wordings_per_step = 2;
  options.loss_below = -1;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&learner, model, patch, selector, NULL, &options));
  tiny_push(learner, "fact", " one");
  for (int step = 0; step < STEPS; step++) {
    smft_report report = SMFT_REPORT_INIT;
    ck_ok(smft_step(learner, &report));
    p->losses[step] = report.loss;
  }
  smft_learner_free(learner);
  smft_selector_free(selector);
  smft_patch_free(patch);
}

static void free_pass(pass *p) {
  for (int32_t i = 0; i < model->n_tensors; i++)
    free(p->gradient[i]);
  free(p->gradient);
  free(p->logits);
}

/* max |a - b| by the larger of max |b| and `floor` */
static double distance(const float *a, const float *b, int64_t n, double floor) {
  double worst = 0, scale = floor;
  for (int64_t i = 0; i < n; i++) {
    worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    scale = fmax(scale, fabs((double)b[i]));
  }
  return worst / scale;
}

static void check_pass(int level) {
  pass p;
  int same = 1;
  run_network(&p);
  run_learner(&p);
  if (level == SMFT__CPU_PORTABLE) {
    portable = p;
    return;
  }
  ck_assert_double_eq_tol(p.loss, portable.loss, 1e-6);
  for (int32_t i = 0; i < model->n_tensors; i++) {
    int64_t n = smft__tensor_count(&model->tensors[i]);
    double far = distance(p.gradient[i], portable.gradient[i], n, 1e-4);
    ck_assert_msg(far < 2e-5, "level %d: the gradient of %s is %g away", level, model->names[i],
                  far);
    same &= memcmp(p.gradient[i], portable.gradient[i], (size_t)n * sizeof(float)) == 0;
  }
  double far = distance(p.logits, portable.logits, TOKENS * TINY_VOCAB, 1e-3);
  ck_assert_msg(far < 2e-5, "level %d: the logits are %g away", level, far);
  for (int step = 0; step < STEPS; step++)
    ck_assert_double_eq_tol(p.losses[step], portable.losses[step], 2e-5);
  ck_assert_msg(!same, "level %d has the portable level's bits: it is not another level", level);
  free_pass(&p);
}

START_TEST(passes_agree) {
  static const tiny shapes[] = {{0, 20, 0, 1}, {12, 24, 1, 2}};
  char name[32];
  snprintf(name, sizeof name, "model%d", _i);
  ck_ok(smft_ctx_create(&ctx, NULL));
  model = tiny_model(ctx, name, shapes[_i], 11);
  at_each_level(check_pass);
  free_pass(&portable);
  smft_model_free(model);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("levels");
  TCase *cases = tcase_create("levels");
  test_directory_make();
  best = smft__cpu_limit(SMFT__CPU_TILES);
  tcase_add_test(cases, choosing);
  tcase_add_test(cases, updates_have_the_same_bits);
  tcase_add_loop_test(cases, passes_agree, 0, 2);
  suite_add_tcase(suite, cases);
  return suite;
}
