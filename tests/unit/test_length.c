/* steps of a length: one step against an oracle in double, from the gradient as a plain step shows
 * it, with both restraints; what never moves; that results do not depend on threads; refusals. */
#include "test.h"
#include "tiny.h"
#include "learn/learner.h"
#include "learn/rates.h"

enum { SLOTS = 256, DIM = 20, POOLS = 2 };
#define PLAIN_RATE 1000.0 /* so large that the rounding of the new rows hides nothing */

static smft_ctx *ctx;
static smft_model *model; /* two memory layers on two pools of 256 slots */
static float base[POOLS][SLOTS][DIM];
static uint32_t df[POOLS][SLOTS];

typedef struct recipe {
  double step_length, lr, damping, max_df, momentum;
  int32_t damping_by, rank_by;
  int64_t warmup;
  uint32_t flags;
} recipe;

static void open_model(int32_t n_threads) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&ctx, &options));
  model = tiny_model(ctx, "model", (tiny){0, 0, 0, 2}, 3);
}

static void close_model(void) {
  smft_model_free(model);
  smft_ctx_free(ctx);
}

static smft_selector *make_selector(const recipe *r) {
  smft_selector_options options = SMFT_SELECTOR_OPTIONS_INIT;
  smft_selector *selector, *counted = tiny_selector(model, 0, 0); /* 24 sequences */
  ck_ok(smft_selector_save(counted, test_file("counts.safetensors")));
  smft_selector_free(counted);
  options.rule = SMFT_RULE_ALL;
  options.damping = r->damping;
  options.max_df = r->max_df;
  options.damping_by = r->damping_by;
  options.rank_by = r->rank_by;
  ck_ok(smft_selector_create(&selector, model, &options));
  ck_ok(smft_selector_load(selector, test_file("counts.safetensors")));
  return selector;
}

static smft_optimizer *make_optimizer(const recipe *r) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  options.lr = r->lr;
  options.step_length = r->step_length;
  options.warmup_steps = r->warmup;
  options.momentum = r->momentum;
  options.flags = r->flags;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
  return optimizer;
}

/* So many steps on all wordings of a fact; the patch with what they changed. */
static smft_patch *steps(const recipe *r, int n, smft_report *report) {
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_selector *selector = make_selector(r);
  smft_optimizer *optimizer = make_optimizer(r);
  smft_learner *learner;
  smft_patch *patch;
  options.loss_below = -1;
  options.wordings_per_step = -1;
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, &options));
  tiny_push(learner, "first", "one");
  for (int i = 0; i < n; i++)
    ck_ok(smft_step(learner, report));
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_selector_free(selector);
  return patch;
}

static smft_patch *step(const recipe *r, smft_report *report) { return steps(r, 1, report); }

/* change (POOLS, SLOTS, DIM): what a step added to every row */
static void changes(smft_patch *patch, double change[POOLS][SLOTS][DIM]) {
  float row[DIM];
  for (int32_t p = 0; p < POOLS; p++)
    for (int64_t slot = 0; slot < SLOTS; slot++) {
      ck_ok(smft_patch_row(patch, p, slot, row, DIM));
      for (int i = 0; i < DIM; i++)
        change[p][slot][i] = (double)row[i] - (double)base[p][slot][i];
    }
}

static void read_base(void) {
  smft_patch *empty;
  ck_ok(smft_patch_create(&empty, model, SMFT_PATCH_SLOTS));
  for (int32_t p = 0; p < POOLS; p++)
    for (int64_t slot = 0; slot < SLOTS; slot++)
      ck_ok(smft_patch_row(empty, p, slot, base[p][slot], DIM));
  smft_patch_free(empty);
}

/* What may move, and how far, from public values: df, and (by squares) the counts' file. */
static double restraint(const recipe *r, const smft_selector *selector, int32_t p, int64_t slot) {
  const smft__stats *stats = &selector->stats;
  double use = (double)df[p][slot] / 24;
  if (r->max_df > 0 && (double)df[p][slot] > r->max_df * 24)
    return 0;
  if (r->damping_by != SMFT_DAMPING_DF) {
    double sum = 0;
    for (int64_t i = 0; i < POOLS * SLOTS; i++)
      sum += (double)stats->square[i];
    use = (double)stats->square[p * SLOTS + slot] / (sum / (double)stats->n_reads) / 24;
  }
  return r->damping > 0 ? 1 / (1 + use / r->damping) : 1;
}

static const recipe recipes[] = {
    {.step_length = 3, .damping = -1},
    {.step_length = 0.5, .damping = 0.05},
    {.step_length = 3, .damping = 0.05, .damping_by = SMFT_DAMPING_DF},
    {.step_length = 30, .damping = 0.05, .damping_by = SMFT_DAMPING_DF, .max_df = 0.25},
    {.step_length = 30, .damping = -1, .max_df = 0.25, .rank_by = SMFT_RANK_WEIGHTS},
    {.step_length = 8, .damping = 0.2, .max_df = 0.5, .warmup = 4},
    {.step_length = 3, .damping = 0.05, .flags = SMFT_OPTIMIZER_LENGTH_BY_LOSS}};

START_TEST(a_step_is_the_damped_gradient_at_a_length) {
  static double gradient[POOLS][SLOTS][DIM], change[POOLS][SLOTS][DIM];
  static const recipe plain = {.lr = PLAIN_RATE, .damping = -1};
  const recipe *r = &recipes[_i];
  smft_report report = SMFT_REPORT_INIT;
  open_model(2);
  read_base();
  smft_selector *selector = make_selector(r);
  for (int32_t p = 0; p < POOLS; p++)
    ck_ok(smft_selector_df(selector, p, df[p], SLOTS, NULL));
  smft_patch *patch = step(&plain, &report);
  changes(patch, gradient);
  smft_patch_free(patch);
  patch = step(r, &report);
  changes(patch, change);
  double square = 0, length = r->step_length / (r->warmup ? (double)r->warmup : 1), moved = 0;
  if (r->flags)
    length *= report.loss > 3 ? 3 : report.loss < 0.5 ? 0.5 : report.loss;
  int64_t n = 0, held = 0;
  for (int32_t p = 0; p < POOLS; p++)
    for (int64_t slot = 0; slot < SLOTS; slot++) {
      double factor = restraint(r, selector, p, slot), row = 0;
      for (int i = 0; i < DIM; i++) {
        gradient[p][slot][i] *= -factor / PLAIN_RATE;
        row += gradient[p][slot][i] * gradient[p][slot][i];
      }
      square += row;
      n += row > 0;
      held += factor <= 0;
    }
  for (int32_t p = 0; p < POOLS; p++)
    for (int64_t slot = 0; slot < SLOTS; slot++)
      for (int i = 0; i < DIM; i++) {
        double wanted = -length * gradient[p][slot][i] / sqrt(square), got = change[p][slot][i];
        ck_assert_double_eq_tol(got, wanted, 2e-6 * length);
        moved += got * got;
        ck_assert(restraint(r, selector, p, slot) > 0 || (got <= 0 && got >= 0));
      }
  ck_assert_double_eq_tol(sqrt(moved), length, 1e-5 * length);
  ck_assert_double_eq_tol(report.lr, length / sqrt(square), 1e-4 * report.lr);
  ck_assert_int_ge(report.rows_selected, n);         /* some of them have no part in the loss */
  ck_assert(n > 20 && (r->max_df <= 0 || held > 5)); /* or it shows nothing */
  smft_patch_free(patch);
  smft_selector_free(selector);
  close_model();
}
END_TEST

static int are_near(const double *a, const double *b, double slack) {
  double most = 0;
  for (int i = 0; i < DIM; i++)
    most = fmax(most, fabs(a[i] - b[i]));
  return most < slack;
}

/* The second step begins where it does without momentum; the rows that it reads go on by a share of
 * the first.  (A row that stays without momentum is either not read, or has no gradient.) */
START_TEST(momentum_adds_up_steps) {
  static double once[POOLS][SLOTS][DIM], twice[POOLS][SLOTS][DIM], change[POOLS][SLOTS][DIM];
  static const struct {
    double momentum;
    int steps;
    double (*to)[SLOTS][DIM];
  } each[] = {{0, 1, once}, {0, 2, twice}, {0.5, 2, change}};
  smft_report report = SMFT_REPORT_INIT;
  double moved = 0, slack = 2e-6 * recipes[_i].step_length;
  open_model(2);
  read_base();
  for (int k = 0; k < 3; k++) {
    recipe r = recipes[_i];
    r.momentum = each[k].momentum;
    smft_patch *patch = steps(&r, each[k].steps, &report);
    changes(patch, each[k].to);
    smft_patch_free(patch);
  }
  for (int32_t p = 0; p < POOLS; p++)
    for (int64_t slot = 0; slot < SLOTS; slot++) {
      const double *first = once[p][slot], *both = twice[p][slot], *got = change[p][slot];
      int stays = are_near(got, first, slack) && are_near(both, first, slack);
      for (int i = 0; i < DIM; i++) {
        ck_assert_double_eq_tol(got[i], both[i] + (stays ? 0 : 0.5 * first[i]), slack);
        moved += fabs(got[i] - both[i]);
      }
    }
  ck_assert(moved > 0.1 * recipes[_i].step_length); /* or it shows nothing */
  close_model();
}
END_TEST

START_TEST(threads_make_no_difference) {
  static float rows[2][POOLS][SLOTS][DIM];
  smft_report report = SMFT_REPORT_INIT;
  for (int k = 0; k < 2; k++) {
    open_model(k ? 5 : 1);
    smft_patch *patch = step(&recipes[_i], &report);
    for (int32_t p = 0; p < POOLS; p++)
      for (int64_t slot = 0; slot < SLOTS; slot++)
        ck_ok(smft_patch_row(patch, p, slot, rows[k][p][slot], DIM));
    smft_patch_free(patch);
    close_model();
  }
  ck_assert(memcmp(rows[0], rows[1], sizeof rows[0]) == 0);
}
END_TEST

/* Values of zero, or an output that multiplies them with zero: there is no gradient. */
static void zero(int32_t parameter) {
  const smft__tensor *tensor = &model->tensors[parameter];
  memset((void *)(uintptr_t)tensor->data, 0, (size_t)(tensor->shape[0] * tensor->shape[1] * 4));
}

START_TEST(without_a_gradient_there_is_no_step) {
  smft_report report = SMFT_REPORT_INIT;
  open_model(1);
  for (int32_t m = 0; m < 2; m++)
    zero(model->config.memories[m].at[SMFT__M_OUT].tensor);
  smft_patch *patch = step(&recipes[0], &report);
  int64_t n = -1;
  ck_ok(smft_patch_slots(patch, 0, NULL, 0, &n));
  ck_assert(n == 0 && report.rows_selected == 0 && report.gradient_norm <= 0 && report.lr <= 0);
  ck_assert(report.fact_state == SMFT_FACT_GAVE_UP && report.reason == SMFT_REASON_NO_ROWS);
  smft_patch_free(patch);
  close_model();
  ck_assert(smft__length_lr(30, 0) <= 0 && smft__length_lr(30, 1e-40) <= 0);
  ck_assert_double_eq_tol(smft__length_lr(30, 1e-3), 3e4, 1e-9);
}
END_TEST

START_TEST(the_loss_bounds_a_length) {
  static const double of[][2] = {{0, 0.5},   {0.3, 0.5}, {0.5, 0.5},    {0.8, 0.8},
                                 {2.9, 2.9}, {3.2, 3},   {INFINITY, 3}, {-1, 0.5}};
  for (size_t i = 0; i < sizeof of / sizeof *of; i++)
    ck_assert_double_eq(smft__length_by_loss(of[i][0]), of[i][1]);
  ck_assert(smft__length_by_loss(NAN) >= 0.5 && smft__length_by_loss(NAN) <= 3);
}
END_TEST

/* The default rate goes by the values: of zeros it says so, a length or a rate does without. */
START_TEST(zero_values_need_a_length_or_a_rate) {
  smft_learner *learner;
  smft_patch *patch;
  smft_report report = SMFT_REPORT_INIT;
  static const recipe rate = {.lr = 5, .damping = -1};
  open_model(1);
  for (int32_t p = 0; p < POOLS; p++)
    zero(smft__pool_tensor(&model->config, p));
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_SLOTS));
  smft_selector *selector = tiny_selector(model, SMFT_RULE_ALL, 0);
  ck_ok(smft_learner_create(&learner, model, patch, selector, NULL, NULL));
  tiny_push(learner, "first", "one");
  ck_status(smft_step(learner, &report), SMFT_E_UNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "step_length"));
  ck_assert_int_eq(smft_learner_pending(learner), 1);
  smft_learner_free(learner);
  smft_selector_free(selector);
  smft_patch_free(patch);
  for (int i = 0; i < 2; i++) {
    patch = step(i ? &rate : &recipes[3], &report);
    ck_assert_int_gt(report.rows_selected, 0);
    smft_patch_free(patch);
  }
  close_model();
}
END_TEST

START_TEST(what_contradicts_a_length_is_refused) {
  smft_optimizer_options good = SMFT_OPTIMIZER_OPTIONS_INIT, bad;
  smft_optimizer *optimizer;
  smft_learner *learner;
  smft_patch *patch;
  good.step_length = 30;
  open_model(1);
#define REFUSED(field, value)                                                                      \
  bad = good;                                                                                      \
  bad.field = value;                                                                               \
  ck_status(smft_optimizer_create(&optimizer, ctx, &bad), SMFT_E_INVALID);                         \
  ck_assert_ptr_null(optimizer)
  REFUSED(step_length, -1);
  REFUSED(step_length, NAN);
  REFUSED(step_length, INFINITY);
  REFUSED(kind, SMFT_OPTIMIZER_ADAMW);
  REFUSED(lr, 1);
  REFUSED(pool_lr, 1);
  REFUSED(momentum, 1);
  REFUSED(weight_decay, 0.1);
  REFUSED(clip_norm, 1);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "clip_norm"));
  REFUSED(flags, 8);
  good.step_length = 0;
  REFUSED(flags, SMFT_OPTIMIZER_LENGTH_BY_LOSS);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "set step_length"));
  good.step_length = 30;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &good));
  ck_status(smft_optimizer_set_lr(optimizer, 1, 0), SMFT_E_INVALID);
  ck_status(smft_optimizer_set_lr(optimizer, 0, 1), SMFT_E_INVALID);
  ck_ok(smft_optimizer_set_lr(optimizer, 0, 0));
  for (int i = 0; i < 2; i++) {
    ck_ok(smft_patch_create(&patch, model, i ? SMFT_PATCH_FULL : SMFT_PATCH_LORA));
    ck_status(smft_learner_create(&learner, model, patch, NULL, optimizer, NULL),
              SMFT_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(smft_error_message(), "step_length"));
    smft_patch_free(patch);
  }
  smft_optimizer_free(optimizer);
  close_model();
}
END_TEST

Suite *make_suite(void) {
  test_directory_make();
  Suite *suite = suite_create("length");
  TCase *cases = tcase_create("length");
  int n = (int)(sizeof recipes / sizeof *recipes);
  suite_add_tcase(suite, cases);
  tcase_add_loop_test(cases, a_step_is_the_damped_gradient_at_a_length, 0, n);
  tcase_add_loop_test(cases, momentum_adds_up_steps, 0, n);
  tcase_add_loop_test(cases, threads_make_no_difference, 0, n);
  tcase_add_test(cases, without_a_gradient_there_is_no_step);
  tcase_add_test(cases, the_loss_bounds_a_length);
  tcase_add_test(cases, zero_values_need_a_length_or_a_rate);
  tcase_add_test(cases, what_contradicts_a_length_is_refused);
  return suite;
}
