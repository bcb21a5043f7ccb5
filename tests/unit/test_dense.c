/* dense: steps on full and LoRA patches walk only over rows of pools that a batch read or that have
 * moments: bit for bit what walking over everything gives.  Sums, bounds, warm-up, and the state of
 * LoRA patches. */
#include "test.h"
#include "tiny.h"

#include "base/rng.h"
#include "learn/learner.h"

static smft_ctx *ctx;
static smft_model *model;

/* 4096 rows of 20 floats: blocks begin and end in the middle of rows, and no row begins on a
 * multiple of 8. */
static void open_model(int32_t n_threads) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&ctx, &options));
  model = tiny_model(ctx, "model", (tiny){64, 20, 1, 2}, 3);
}

static void close_model(void) {
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* ---- sums and maxima ----------------------------------------------------- */

START_TEST(sums_in_pieces) {
  enum { N = 203 };
  float x[N];
  double whole[8] = {0}, pieces[8] = {0};
  smft__rng rng;
  smft__rng_seed(&rng, 1);
  for (int i = 0; i < N; i++) {
    x[i] = (float)smft__rng_normal(&rng);
    whole[(i + 3) & 7] += (double)x[i] * (double)x[i];
  }
  for (int64_t at = 0; at < N;) {
    int64_t n = smft__rng_below(&rng, 40);
    n = n < N - at ? n : N - at;
    smft__add_squares(pieces, x + at, n, at + 3);
    at += n;
  }
  ck_assert_mem_eq(whole, pieces, sizeof whole);
  double sum = 0, got = smft__sum_squares(x, N);
  for (int i = 0; i < N; i++)
    sum += (double)x[i] * (double)x[i];
  ck_assert_double_eq_tol(got, sum, 1e-9);
}
END_TEST

START_TEST(largest_number) {
  float x[19] = {0};
  ck_assert(smft__largest(x, 19) <= 0 && smft__largest(x, 0) <= 0);
  x[7] = 2;
  x[18] = -3.5f;
  ck_assert(smft__largest(x, 19) >= 3.5 && smft__largest(x, 19) <= 3.5 &&
            smft__largest(x, 18) <= 2);
  for (int i = 0; i < 3; i++) {
    x[18] = (float[]){NAN, INFINITY, -INFINITY}[i];
    ck_assert(isinf(smft__largest(x, 19)));
  }
}
END_TEST

/* ---- bounds -------------------------------------------------------------- */

static smft_optimizer_options random_options(smft__rng *rng) {
  smft_optimizer_options o = SMFT_OPTIMIZER_OPTIONS_INIT;
  o.kind = smft__rng_below(rng, 2) ? SMFT_OPTIMIZER_ADAMW : SMFT_OPTIMIZER_SGD;
  o.weight_decay = smft__rng_below(rng, 2) ? smft__rng_uniform(rng) : 0;
  o.momentum = smft__rng_below(rng, 2) ? 0.9 : 0;
  o.lr = pow(10, smft__rng_uniform(rng) * 6 - 5);
  return o;
}

/* Ten updates of random numbers never leave the bounds. */
START_TEST(bounds_hold) {
  enum { N = 40 };
  smft__rng rng;
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft__rng_seed(&rng, (uint64_t)_i);
  smft_optimizer_options options = random_options(&rng);
  smft_optimizer *optimizer = NULL;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
  int32_t moments = smft__optimizer_moments(optimizer);
  float w[N], m[N] = {0}, v[N] = {0}, g[N];
  for (int i = 0; i < N; i++)
    w[i] = (float)smft__rng_normal(&rng);
  smft__bounds bounds = {smft__largest(w, N), 0, 0};
  for (int64_t step = 1; step <= 10; step++) {
    for (int i = 0; i < N; i++)
      g[i] = (float)(smft__rng_normal(&rng) * pow(10, smft__rng_uniform(&rng) * 8 - 4));
    smft__update_rule rule = smft__optimizer_rule(optimizer, options.lr, 0, step, 0.5);
    bounds = smft__update_bounds(&rule, &bounds, sqrt(smft__sum_squares(g, N)));
    ck_assert(
        smft__update(&rule, w, g, moments > 0 ? m : NULL, moments > 1 ? v : NULL, N, w, m, v));
    ck_assert(isfinite(bounds.w) && smft__largest(w, N) <= bounds.w);
    ck_assert(smft__largest(m, N) <= bounds.m && smft__largest(v, N) <= bounds.v);
  }
  smft_optimizer_free(optimizer);
  smft_ctx_free(ctx);
}
END_TEST

/* What could overflow is never called safe. */
START_TEST(bounds_that_prove_nothing) {
  ck_ok(smft_ctx_create(&ctx, NULL));
  for (int32_t kind = SMFT_OPTIMIZER_SGD; kind <= SMFT_OPTIMIZER_ADAMW; kind++)
    for (int what = 0; what < 5; what++) {
      smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
      smft_optimizer *optimizer = NULL;
      options.kind = kind;
      options.momentum = kind == SMFT_OPTIMIZER_SGD ? 0.9 : 0;
      options.eps = what == 4 ? 1e-60 : 0; /* 0 as a float: 0 / 0 */
      ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
      double lr = what == 0 ? 1e300 : what == 1 ? 1e36 : 0.1;
      double gradient = what == 2 ? 1e30 : what == 3 ? 1e39 : 1000;
      smft__bounds before = {what == 1 ? 1e37 : 1, what == 2 ? 1e38 : 0, 0};
      smft__update_rule rule = smft__optimizer_rule(optimizer, lr, 0, 1, 1);
      smft__bounds after = smft__update_bounds(&rule, &before, gradient);
      int safe = isfinite(after.w) && isfinite(after.m) && isfinite(after.v);
      ck_assert_msg(!safe || (what == 4 && kind == SMFT_OPTIMIZER_SGD) ||
                        (what == 2 && kind == SMFT_OPTIMIZER_SGD),
                    "kind %d, case %d", (int)kind, what);
      smft_optimizer_free(optimizer);
    }
  smft_ctx_free(ctx);
}
END_TEST

/* ---- skipping rows ------------------------------------------------------- */

/* kind, flags, 0, lr, momentum, decay, 0, 0, 0, clip, pool lr, pool clip, pool decay, warm-up */
static const smft_optimizer_options rules[] = {
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_ADAMW, 0, 0, 1e-2, 0, 0.1, 0, 0, 0, 0.1, 3e-2,
     0, 0, 3, 0},
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_ADAMW, 0, 0, 1e-2, 0, 0.1, 0, 0, 0, 0.1, 0,
     0.01, 0.1, 0, 0},
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_ADAMW, SMFT_OPTIMIZER_LAZY_POOLS, 0, 1e-2, 0, 0,
     0, 0, 0, 0, 0, 0, 0.1, 0, 0},
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_SGD, 0, 0, 0.1, 0, 0.01, 0, 0, 0, 0.1, 0, 0, 0,
     0, 0},
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_SGD, 0, 0, 0.1, 0.9, 0.01, 0, 0, 0, 0, 0, 0, 0,
     2, 0},
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_SGD, 0, 0, 0.1, 0.9, 0, 0, 0, 0, 0, 0, 0, 0.01,
     0, 0},
    {sizeof(smft_optimizer_options), SMFT_OPTIMIZER_SGD, 0, 0, 0.1, 0, 0, 0, 0, 0, 0, 0, 0, 0.01, 0,
     0},
};
#define N_RULES (int)(sizeof rules / sizeof *rules)

typedef struct trainer {
  smft_patch *patch;
  smft_optimizer *optimizer;
  smft_learner *learner;
} trainer;

static trainer start(smft_patch *patch, const smft_optimizer_options *options) {
  trainer t = {patch, NULL, NULL};
  ck_ok(smft_optimizer_create(&t.optimizer, ctx, options));
  ck_ok(smft_learner_create(&t.learner, model, patch, NULL, t.optimizer, NULL));
  return t;
}

static void finish(trainer *t) {
  smft_learner_free(t->learner);
  smft_optimizer_free(t->optimizer);
  smft_patch_free(t->patch);
}

static smft_patch *make_patch(int32_t kind) {
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create(&patch, model, kind));
  return patch;
}

/* Step i of a run: other tokens, and so other rows, every second time. */
static smft_report step(trainer *t, int i) {
  int32_t ids[12];
  int64_t lengths[] = {5, 7};
  smft_batch batch = SMFT_BATCH_INIT;
  smft_report report = SMFT_REPORT_INIT;
  for (int j = 0; j < 12; j++)
    ids[j] = (i / 2 * 31 + j * j * 7 + 3) % TINY_VOCAB;
  batch.ids = ids;
  batch.lengths = lengths;
  batch.n_sequences = 2;
  ck_ok(smft_learner_step_batch(t->learner, &batch, &report));
  return report;
}

typedef struct everything { /* w, m and v of every number, updated without leaving anything out */
  float **w;
  float *m, *v;
} everything;

static double whole_norm(const smft__dense *layout, const float *gradient, double sums[2]) {
  sums[0] = sums[1] = 0;
  for (int32_t i = 0; i < layout->n_parts; i++)
    for (int64_t at = 0; at < layout->count[i]; at += 16384) {
      int64_t n = layout->count[i] - at < 16384 ? layout->count[i] - at : 16384;
      sums[layout->parts[i].pool >= 0] += smft__sum_squares(gradient + layout->begin[i] + at, n);
    }
  return sqrt(sums[0] + sums[1]);
}

static void update_everything(const trainer *t, everything *all, const smft_report *report,
                              int64_t number) {
  const smft_optimizer_options *o = &t->optimizer->options;
  const smft__dense *layout = &t->learner->dense.layout;
  const float *gradient = t->learner->dense.gradient;
  double sums[2], norm = whole_norm(layout, gradient, sums);
  double warm = smft__optimizer_warmup(t->optimizer, number);
  ck_assert(norm <= report->gradient_norm && norm >= report->gradient_norm); /* the same bits */
  int apart = o->pool_clip_norm > 0, lazy = (o->flags & SMFT_OPTIMIZER_LAZY_POOLS) != 0;
  for (int32_t i = 0; i < layout->n_parts; i++) {
    int pool = layout->parts[i].pool >= 0;
    double scale = smft__clip_scale(apart ? sqrt(sums[pool]) : norm,
                                    apart && pool ? o->pool_clip_norm : o->clip_norm);
    double lr = (pool && o->pool_lr > 0 ? o->pool_lr : o->lr) * warm;
    smft__update_rule rule = smft__optimizer_rule(t->optimizer, lr, pool, number, scale);
    int64_t dim = pool && lazy ? layout->row_floats : layout->count[i];
    const uint64_t *read = smft__dense_rows_of(layout, t->learner->dense.read, i);
    for (int64_t at = 0; at < layout->count[i]; at += dim) {
      int64_t row = at / dim, from = layout->begin[i] + at;
      if (pool && lazy && !(read[row >> 6] >> (row & 63) & 1))
        continue;
      ck_assert(smft__update(&rule, all->w[i] + at, gradient + from, all->m ? all->m + from : NULL,
                             all->v ? all->v + from : NULL, dim, all->w[i] + at,
                             all->m ? all->m + from : NULL, all->v ? all->v + from : NULL));
    }
  }
}

static everything begin_everything(const trainer *t) {
  const smft__dense *layout = &t->learner->dense.layout;
  int32_t moments = smft__optimizer_moments(t->optimizer);
  everything all = {calloc((size_t)layout->n_parts, sizeof(float *)), NULL, NULL};
  for (int32_t i = 0; i < layout->n_parts; i++) {
    all.w[i] = malloc((size_t)layout->count[i] * sizeof(float));
    memcpy(all.w[i], t->learner->dense.weights[i], (size_t)layout->count[i] * sizeof(float));
  }
  all.m = moments > 0 ? calloc((size_t)layout->total, sizeof(float)) : NULL;
  all.v = moments > 1 ? calloc((size_t)layout->total, sizeof(float)) : NULL;
  return all;
}

static void end_everything(const trainer *t, everything *all) {
  for (int32_t i = 0; i < t->learner->dense.layout.n_parts; i++)
    free(all->w[i]);
  free(all->w);
  free(all->m);
  free(all->v);
}

static void same_everything(const trainer *t, const everything *all, int number) {
  const smft__dense *layout = &t->learner->dense.layout;
  for (int32_t i = 0; i < layout->n_parts; i++) {
    size_t size = (size_t)layout->count[i] * sizeof(float);
    const char *name = layout->parts[i].name;
    ck_assert_msg(memcmp(all->w[i], t->learner->dense.weights[i], size) == 0, "step %d: %s differs",
                  number, name);
    int same_m =
        !all->m || memcmp(all->m + layout->begin[i], t->optimizer->m + layout->begin[i], size) == 0;
    int same_v =
        !all->v || memcmp(all->v + layout->begin[i], t->optimizer->v + layout->begin[i], size) == 0;
    ck_assert_msg(same_m && same_v, "step %d: moments of %s differ", number, name);
  }
}

START_TEST(skipped_rows_change_nothing) {
  open_model(2);
  trainer t = start(make_patch(_i % 2 ? SMFT_PATCH_LORA : SMFT_PATCH_FULL), &rules[_i / 2]);
  everything all = begin_everything(&t);
  for (int i = 0; i < 8; i++) {
    smft_report report = step(&t, i);
    update_everything(&t, &all, &report, i + 1);
    same_everything(&t, &all, i + 1);
  }
  if (t.optimizer->touched && t.learner->dense.layout.n_pools > 0) { /* and rows were left out */
    int64_t n = 0, words = t.learner->dense.layout.n_pools * t.learner->dense.layout.words;
    for (int64_t i = 0; i < words; i++)
      n += __builtin_popcountll(t.optimizer->touched[i]);
    ck_assert_msg(n > 100 && n < 2 * 4096 - 100, "%lld rows", (long long)n);
  }
  end_everything(&t, &all);
  finish(&t);
  close_model();
}
END_TEST

static void same_weights(const trainer *a, const trainer *b) {
  const smft__dense *layout = &a->learner->dense.layout;
  for (int32_t i = 0; i < layout->n_parts; i++)
    ck_assert_msg(memcmp(a->learner->dense.weights[i], b->learner->dense.weights[i],
                         (size_t)layout->count[i] * sizeof(float)) == 0,
                  "%s", layout->parts[i].name);
}

/* Saved after two steps, loaded, and six more: rows that only the first two read move on by their
 * moments. */
START_TEST(a_resumed_state_knows_its_rows) {
  open_model(1);
  int32_t kind = _i % 2 ? SMFT_PATCH_LORA : SMFT_PATCH_FULL;
  const smft_optimizer_options *options = &rules[_i / 2];
  trainer whole = start(make_patch(kind), options), first = start(make_patch(kind), options);
  smft_patch *patch = NULL;
  for (int i = 0; i < 8; i++)
    step(&whole, i);
  for (int i = 0; i < 2; i++)
    step(&first, i);
  ck_ok(smft_optimizer_save(first.optimizer, test_file("state.safetensors")));
  ck_ok(smft_patch_copy(&patch, first.patch));
  finish(&first);
  trainer second = start(patch, options);
  ck_ok(smft_optimizer_load(second.optimizer, model, test_file("state.safetensors")));
  for (int i = 2; i < 8; i++)
    step(&second, i);
  same_weights(&whole, &second);
  finish(&second);
  finish(&whole);
  close_model();
}
END_TEST

/* Someone else changes the patch between two steps: what was known of its numbers is not believed
 * any more.  2e38 - 3 * 2e38 overflows. */
START_TEST(weights_changed_from_outside) {
  open_model(1);
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  options.lr = 1e-3;
  options.pool_lr = 3;
  options.pool_weight_decay = 1;
  trainer t = start(make_patch(SMFT_PATCH_FULL), &options);
  step(&t, 0);
  int64_t row = 0;
  while (t.learner->dense.read[row >> 6] >> (row & 63) & 1) /* pool 0 */
    row++;
  ck_ok(smft__patch_begin_write(t.patch));
  t.patch->full[smft__pool_tensor(&model->config, 0)][row * 20] = 2e38f;
  smft__patch_end_write(t.patch, smft__patch_current(t.patch));
  smft_batch batch = SMFT_BATCH_INIT;
  int32_t ids[] = {0, 1, 2};
  int64_t length = 3;
  batch.ids = ids;
  batch.lengths = &length;
  batch.n_sequences = 1;
  smft_patch *before = NULL;
  ck_ok(smft_patch_copy(&before, t.patch));
  ck_status(smft_learner_step_batch(t.learner, &batch, NULL), SMFT_E_NONFINITE);
  ck_assert_msg(strstr(smft_error_message(), "new weight") != NULL, "%s", smft_error_message());
  for (int32_t i = 0; i < model->n_tensors; i++)
    ck_assert_mem_eq(before->full[i], t.patch->full[i],
                     (size_t)smft__tensor_count(&model->tensors[i]) * sizeof(float));
  smft_patch_free(before);
  finish(&t);
  close_model();
}
END_TEST

/* ---- warm-up ------------------------------------------------------------- */

START_TEST(the_rate_rises) {
  open_model(1);
  smft_optimizer_options options = rules[0];
  options.warmup_steps = 4;
  trainer t = start(make_patch(_i ? SMFT_PATCH_LORA : SMFT_PATCH_FULL), &options);
  const double wanted[] = {0.25, 0.5, 0.75, 1, 1, 1};
  for (int i = 0; i < 6; i++) {
    if (i == 2) { /* a checkpoint goes on in the middle of it */
      ck_ok(smft_optimizer_save(t.optimizer, test_file("warm.safetensors")));
      ck_ok(smft_optimizer_reset(t.optimizer));
      ck_ok(smft_optimizer_load(t.optimizer, model, test_file("warm.safetensors")));
    }
    ck_assert_double_eq_tol(step(&t, i).lr, options.lr * wanted[i], 1e-12);
  }
  ck_ok(smft_optimizer_reset(t.optimizer));
  ck_assert_double_eq_tol(step(&t, 0).lr, options.lr * 0.25, 1e-12);
  finish(&t);
  options.warmup_steps = -1;
  ck_status(smft_optimizer_create(&t.optimizer, ctx, &options), SMFT_E_INVALID);
  close_model();
}
END_TEST

/* Slots: the count begins anew with every fact, unless the state is kept. */
START_TEST(the_rate_rises_for_every_fact) {
  open_model(1);
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options learning = SMFT_LEARNER_OPTIONS_INIT;
  smft_learner *learner = NULL;
  smft_optimizer *optimizer = NULL;
  smft_patch *patch = make_patch(SMFT_PATCH_SLOTS);
  int keep = _i % 2;
  options.kind = _i < 2 ? SMFT_OPTIMIZER_SGD : SMFT_OPTIMIZER_ADAMW;
  options.flags = keep ? SMFT_OPTIMIZER_KEEP_STATE : 0;
  options.lr = 0.1;
  options.warmup_steps = 4;
  learning.loss_below = -1;
  learning.max_steps = 3;
  learning.flags = SMFT_LEARNER_KEEP_GIVEN_UP;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &options));
  smft_selector *selector = tiny_selector(model, SMFT_RULE_ALL, 0);
  ck_ok(smft_learner_create(&learner, model, patch, selector, optimizer, &learning));
  smft_selector_free(selector);
  tiny_push(learner, "first", "one");
  tiny_push(learner, "second", "two");
  const double afresh[] = {0.25, 0.5, 0.75, 0.25, 0.5, 0.75}, kept[] = {0.25, 0.5, 0.75, 1, 1, 1};
  for (int i = 0; i < 6; i++) {
    smft_report report = SMFT_REPORT_INIT;
    ck_ok(smft_step(learner, &report));
    ck_assert_double_eq_tol(report.lr, 0.1 * (keep ? kept : afresh)[i], 1e-12);
  }
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
  smft_patch_free(patch);
  close_model();
}
END_TEST

/* ---- the state of LoRA patches ------------------------------------------- */

static smft_patch *make_lora(int32_t rank, uint32_t targets) {
  smft_lora_options options = {sizeof options, rank, 0, targets, 0, 1};
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create_lora(&patch, model, &options));
  return patch;
}

static const int moments_of_rules[] = {0, 3, 4}; /* AdamW, plain SGD, momentum */

START_TEST(state_of_another_layout_is_refused) {
  open_model(1);
  const smft_optimizer_options *options = &rules[moments_of_rules[_i]];
  trainer t = start(make_lora(3, 0), options);
  step(&t, 0);
  ck_ok(smft_optimizer_save(t.optimizer, test_file("lora.safetensors")));
  for (int from_file = 0; from_file < 2; from_file++) {
    smft_patch *others[] = {make_lora(4, 0), make_lora(3, SMFT_LORA_Q), make_patch(SMFT_PATCH_FULL),
                            make_lora(3, 0)};
    if (from_file) {
      ck_ok(smft_optimizer_reset(t.optimizer));
      ck_ok(smft_optimizer_load(t.optimizer, model, test_file("lora.safetensors")));
    }
    for (int i = 0; i < 4; i++) {
      smft_learner *learner = NULL;
      smft_batch batch = SMFT_BATCH_INIT;
      int32_t ids[] = {1, 2, 3};
      int64_t length = 3;
      batch.ids = ids;
      batch.lengths = &length;
      batch.n_sequences = 1;
      ck_ok(smft_learner_create(&learner, model, others[i], NULL, t.optimizer, NULL));
      ck_status(smft_learner_step_batch(learner, &batch, NULL), i < 3 ? SMFT_E_MISMATCH : SMFT_OK);
      smft_learner_free(learner);
      smft_patch_free(others[i]);
    }
  }
  finish(&t);
  close_model();
}
END_TEST

START_TEST(groups_by_the_names_of_factors) {
  open_model(1);
  trainer t = start(make_lora(3, 0), &rules[0]);
  ck_ok(smft_optimizer_set_group(t.optimizer, "lora_B", 0));
  ck_ok(smft_optimizer_set_group(t.optimizer, "layers.0.self_attn.q_proj.lora_B", 1));
  step(&t, 0);
  step(&t, 1);
  for (int32_t i = 0; i < t.learner->dense.layout.n_parts; i++) {
    const smft__dense *layout = &t.learner->dense.layout;
    if (strstr(layout->parts[i].name, "lora_B"))
      ck_assert_int_eq(smft__largest(t.learner->dense.weights[i], layout->count[i]) > 0,
                       strstr(layout->parts[i].name, "layers.0.self_attn.q_proj") != NULL);
  }
  finish(&t);
  close_model();
}
END_TEST

START_TEST(hostile_states) {
  open_model(1);
  trainer t = start(make_lora(3, SMFT_LORA_Q), &rules[0]);
  size_t n;
  static const struct {
    const char *from, *to;
    smft_status status;
  } changes[] = {{"\"rank\":\"3\"", "\"rank\":\"4\"", SMFT_E_MISMATCH},
                 {"\"rank\":\"3\"", "\"rank\":\"0\"", SMFT_E_FORMAT},
                 {"\"rank\":\"3\"", "\"rank\":\"x\"", SMFT_E_FORMAT},
                 {"m.base_model", "m.case_model", SMFT_E_UNSUPPORTED},
                 {"v.base_model", "v.case_model", SMFT_E_MISMATCH},
                 {"lora_B", "lora_C", SMFT_E_FORMAT},
                 {"\"parts\":\"", "\"parks\":\"", SMFT_OK},
                 {"\"patch\":\"lora\"", "\"patch\":\"full\"", SMFT_E_MISMATCH},
                 {"\"patch\":\"lora\"", "\"patch\":\"lore\"", SMFT_E_FORMAT}};
  step(&t, 0);
  ck_ok(smft_optimizer_save(t.optimizer, test_file("hostile.safetensors")));
  char *bytes = test_read(test_file("hostile.safetensors"), &n);
  for (size_t c = 0; c < sizeof changes / sizeof *changes; c++) {
    char *changed = malloc(n);
    size_t length = strlen(changes[c].from), found = 0;
    memcpy(changed, bytes, n);
    for (size_t i = 0; i + length <= n; i++)
      if (memcmp(changed + i, changes[c].from, length) == 0) {
        memcpy(changed + i, changes[c].to, length);
        found++;
      }
    ck_assert_uint_gt(found, 0);
    test_write("changed.safetensors", changed, n);
    free(changed);
    int64_t steps = t.optimizer->steps;
    ck_status(smft_optimizer_load(t.optimizer, model, test_file("changed.safetensors")),
              changes[c].status);
    ck_assert(t.optimizer->steps == steps && t.optimizer->m != NULL); /* still there */
  }
  free(bytes);
  finish(&t);
  close_model();
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("dense");
  TCase *tests = tcase_create("dense");
  test_directory_make();
  tcase_add_test(tests, sums_in_pieces);
  tcase_add_test(tests, largest_number);
  tcase_add_loop_test(tests, bounds_hold, 0, 40);
  tcase_add_test(tests, bounds_that_prove_nothing);
  tcase_add_loop_test(tests, skipped_rows_change_nothing, 0, 2 * N_RULES);
  tcase_add_loop_test(tests, a_resumed_state_knows_its_rows, 0, 2 * N_RULES);
  tcase_add_test(tests, weights_changed_from_outside);
  tcase_add_loop_test(tests, the_rate_rises, 0, 2);
  tcase_add_loop_test(tests, the_rate_rises_for_every_fact, 0, 4);
  tcase_add_loop_test(tests, state_of_another_layout_is_refused, 0, 3);
  tcase_add_test(tests, groups_by_the_names_of_factors);
  tcase_add_test(tests, hostile_states);
  suite_add_tcase(suite, tests);
  return suite;
}
