/* lora: gradients of A and B through the whole stack against central differences of the naive
 * forward pass in double, whose weights are the base's with the factors multiplied out; and the
 * kernel alone. */
#include "naive_network.h"

#include "base/rng.h"
#include "nn/low_rank.h"

#define CHECKED 6 /* entries of each factor */

/* ---- the kernel ---------------------------------------------------------- */

typedef struct kernel_case {
  int64_t in, out, rank, n;
  float scale;
} kernel_case;

static const kernel_case kernels[] = {{24, 20, 3, 7, 2.5f},
                                      {64, 48, 16, 33, 0.5f},
                                      {5, 3, 1, 1, -1.25f},
                                      {130, 70, 9, 40, 1.0f}};

static float *numbers(smft__rng *rng, int64_t n) {
  float *x = malloc((size_t)n * sizeof *x);
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)smft__rng_normal(rng);
  return x;
}

static void close_to(const float *got, const double *wanted, int64_t n, const char *what) {
  double scale = 1e-3;
  for (int64_t i = 0; i < n; i++)
    scale = fmax(scale, fabs(wanted[i]));
  for (int64_t i = 0; i < n; i++)
    ck_assert_msg(fabs((double)got[i] - wanted[i]) <= 2e-6 * scale,
                  "%s[%lld]: got %.8g, wanted %.8g (scale %g)", what, (long long)i, (double)got[i],
                  wanted[i], scale);
}

/* By the definition, in double: what is added to y, dx, da, db, and the merged matrix. */
typedef struct by_hand {
  double *y, *dx, *da, *db, *merged;
} by_hand;

static by_hand compute(const kernel_case *c, const float *a, const float *b, const float *x,
                       const float *dy) {
  by_hand h = {calloc((size_t)(c->n * c->out), 8), calloc((size_t)(c->n * c->in), 8),
               calloc((size_t)(c->rank * c->in), 8), calloc((size_t)(c->out * c->rank), 8),
               calloc((size_t)(c->out * c->in), 8)};
  for (int64_t o = 0; o < c->out; o++)
    for (int64_t r = 0; r < c->rank; r++)
      for (int64_t i = 0; i < c->in; i++) {
        double s = (double)c->scale, av = (double)a[r * c->in + i], bv = (double)b[o * c->rank + r];
        h.merged[o * c->in + i] += s * bv * av;
        for (int64_t t = 0; t < c->n; t++) {
          double xv = (double)x[t * c->in + i], dyv = (double)dy[t * c->out + o];
          h.y[t * c->out + o] += s * bv * av * xv;
          h.dx[t * c->in + i] += s * bv * av * dyv;
          h.da[r * c->in + i] += s * bv * xv * dyv;
          h.db[o * c->rank + r] += s * av * xv * dyv;
        }
      }
  return h;
}

START_TEST(kernel) {
  const kernel_case *c = &kernels[_i];
  smft__rng rng;
  smft_ctx *ctx = NULL;
  ck_ok(smft_ctx_create(&ctx, NULL));
  smft__rng_seed(&rng, (uint64_t)_i);
  float *a = numbers(&rng, c->rank * c->in), *b = numbers(&rng, c->out * c->rank);
  float *x = numbers(&rng, c->n * c->in);
  float *dy = numbers(&rng, c->n * c->out);
  float *scratch = malloc((size_t)(2 * c->n * c->rank) * sizeof *scratch);
  float *y = calloc((size_t)(c->n * c->out), 4), *dx = calloc((size_t)(c->n * c->in), 4);
  float *da = calloc((size_t)(c->rank * c->in), 4);
  float *db = calloc((size_t)(c->out * c->rank), 4), *merged = calloc((size_t)(c->out * c->in), 4);
  smft__low_rank w = {a, b, c->rank, c->in, c->out, c->scale};
  by_hand h = compute(c, a, b, x, dy);
  smft__low_rank_forward(ctx, &w, x, c->n, scratch, y);
  smft__low_rank_backward(ctx, &w, x, dy, c->n, scratch, da, db, dx);
  smft__low_rank_merge(ctx, &w, merged);
  close_to(y, h.y, c->n * c->out, "y");
  close_to(dx, h.dx, c->n * c->in, "dx");
  close_to(da, h.da, c->rank * c->in, "da");
  close_to(db, h.db, c->out * c->rank, "db");
  close_to(merged, h.merged, c->out * c->in, "merged");
  float *once = malloc((size_t)(c->out * c->rank) * sizeof *once);
  memcpy(once, db, (size_t)(c->out * c->rank) * sizeof *once);
  /* added to; the others are not touched */
  smft__low_rank_backward(ctx, &w, x, dy, c->n, scratch, NULL, db, NULL);
  for (int64_t i = 0; i < c->out * c->rank; i++)
    ck_assert_float_eq_tol(db[i], 2 * once[i], 1e-4f * (1 + fabsf(once[i])));
  close_to(da, h.da, c->rank * c->in, "da");
  float *all[] = {a, b, x, dy, scratch, y, dx, da, db, merged, once};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    free(all[i]);
  free(h.y);
  free(h.dx);
  free(h.da);
  free(h.db);
  free(h.merged);
  smft_ctx_free(ctx);
}
END_TEST

/* ---- the whole stack ----------------------------------------------------- */

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  naive net;        /* the merged weights */
  double **base;    /* (n_tensors) of the model alone */
  double **factors; /* (parts) */
  int32_t ids[NAIVE_MOST];
  float weights[NAIVE_MOST];
  int64_t offsets[4];
} world;

/* The tensor that an adapter changes, again from its factors. */
static void multiply_out(const world *w, int32_t adapter) {
  const smft__low_rank *f = &w->patch->lora->adapters[adapter];
  int32_t tensor = w->patch->lora->tensors[adapter];
  const double *a = w->factors[2 * adapter], *b = w->factors[2 * adapter + 1];
  for (int64_t o = 0; o < f->out; o++)
    for (int64_t i = 0; i < f->in; i++) {
      double sum = 0;
      for (int64_t r = 0; r < f->rank; r++)
        sum += b[o * f->rank + r] * a[r * f->in + i];
      w->net.w[tensor][o * f->in + i] =
          w->base[tensor][o * f->in + i] + smft__lora_scale(&w->patch->lora->options) * sum;
    }
}

static double *as_doubles(const smft__tensor *tensor) {
  int64_t n = smft__tensor_count(tensor);
  double *out = malloc((size_t)n * sizeof *out);
  for (int64_t i = 0; i < n; i++) {
    float value;
    smft__tensor_to_f32(tensor, i, 1, &value);
    out[i] = (double)value;
  }
  return out;
}

/* The embedding's rows are far from each other, so that gradients are not lost among rounding. */
static void enlarge(const smft_model *model) {
  const smft__tensor *embed = &model->tensors[model->config.stack.at[SMFT__EMBED].tensor];
  float *values = (float *)(uintptr_t)embed->data; /* smft_model_init's weights are in memory */
  for (int64_t i = 0; i < smft__tensor_count(embed); i++)
    values[i] *= 20;
}

static world open_world(tiny shape, const smft_lora_options *options, uint64_t seed) {
  world w = {.offsets = {0, 9, 10, 24}};
  smft__rng rng;
  ck_ok(smft_ctx_create(&w.ctx, NULL));
  w.model = tiny_model(w.ctx, "tiny", shape, 5);
  enlarge(w.model);
  ck_ok(smft_patch_create_lora(&w.patch, w.model, options));
  smft__rng_seed(&rng, seed);
  w.net = (naive){w.model, calloc((size_t)w.model->n_tensors, sizeof(double *))};
  w.base = calloc((size_t)w.model->n_tensors, sizeof *w.base);
  for (int32_t i = 0; i < w.model->n_tensors; i++) {
    w.net.w[i] = as_doubles(&w.model->tensors[i]);
    w.base[i] = as_doubles(&w.model->tensors[i]);
  }
  w.factors = calloc((size_t)(2 * w.patch->lora->n), sizeof *w.factors);
  for (int32_t i = 0; i < 2 * w.patch->lora->n; i++) {
    smft__tensor part = smft__lora_part(w.patch->lora, i);
    for (int64_t j = 0; j < smft__tensor_count(&part); j++)
      w.patch->lora->parts[i][j] = (float)(0.25 * smft__rng_normal(&rng));
    w.factors[i] = as_doubles(&part);
  }
  for (int32_t i = 0; i < w.patch->lora->n; i++)
    multiply_out(&w, i);
  for (int i = 0; i < 24; i++) {
    w.ids[i] = (int32_t)smft__rng_below(&rng, TINY_VOCAB);
    w.weights[i] = (float)smft__rng_below(&rng, 3);
  }
  return w;
}

static void close_world(world *w) {
  for (int32_t i = 0; i < w->model->n_tensors; i++) {
    free(w->net.w[i]);
    free(w->base[i]);
  }
  for (int32_t i = 0; i < 2 * w->patch->lora->n; i++)
    free(w->factors[i]);
  free(w->factors);
  free(w->base);
  free(w->net.w);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

static double loss_with(world *w, const smft__sequences *batch, int32_t part, int64_t j,
                        double value) {
  w->factors[part][j] = value;
  multiply_out(w, part / 2);
  return naive_loss(&w->net, batch);
}

static void check_part(world *w, const smft__sequences *batch, int32_t part, const float *gradient,
                       smft__rng *rng) {
  smft__tensor shape = smft__lora_part(w->patch->lora, part);
  int64_t n = smft__tensor_count(&shape);
  double scale = 1e-2, h = 1e-6;
  for (int64_t j = 0; j < n; j++)
    scale = fmax(scale, fabs((double)gradient[j]));
  for (int k = 0; k < CHECKED; k++) {
    int64_t j = smft__rng_below(rng, n);
    double kept = w->factors[part][j];
    double above = loss_with(w, batch, part, j, kept + h);
    double below = loss_with(w, batch, part, j, kept - h);
    loss_with(w, batch, part, j, kept);
    double wanted = (above - below) / (2 * h);
    ck_assert_msg(fabs((double)gradient[j] - wanted) <= 5e-5 * scale,
                  "%s, %c[%lld]: got %.8g, differences give %.8g (scale %g)",
                  w->model->names[w->patch->lora->tensors[part / 2]], "AB"[part % 2], (long long)j,
                  (double)gradient[j], wanted, scale);
  }
}

static const tiny shapes[] = {{8, 20, 0, 0}, {8, 20, 1, 1}, {6, 24, 0, 2}};
static const smft_lora_options options[] = {
    {sizeof(smft_lora_options), 3, 5, 0, 0, 1},
    {sizeof(smft_lora_options), 2, 0, SMFT_LORA_K | SMFT_LORA_O | SMFT_LORA_UP,
     SMFT_LORA_RANK_STABILIZED, 2},
    {sizeof(smft_lora_options), 1, 0.75,
     SMFT_LORA_Q | SMFT_LORA_V | SMFT_LORA_GATE | SMFT_LORA_DOWN, 0, 3},
};

START_TEST(differences) {
  world w = open_world(shapes[_i % 3], &options[_i / 3], 100 + (uint64_t)_i);
  smft__sequences batch = {w.ids, w.offsets, 3, 24, w.weights};
  int32_t n = 2 * w.patch->lora->n;
  float **gradient = calloc((size_t)n, sizeof *gradient);
  smft__grads grads = {.adapters = gradient};
  smft__tape *tape = NULL;
  smft__rng rng;
  double loss = 0;
  smft__rng_seed(&rng, (uint64_t)_i);
  for (int32_t i = 0; i < n; i++) {
    smft__tensor part = smft__lora_part(w.patch->lora, i);
    gradient[i] = calloc((size_t)smft__tensor_count(&part), sizeof **gradient);
  }
  ck_ok(smft__tape_create(&tape, w.model));
  ck_ok(smft__network_forward(tape, smft__patch_current(w.patch), &batch, SMFT__KEEP_ALL, &loss,
                              NULL));
  ck_assert_double_eq_tol(loss, naive_loss(&w.net, &batch), 1e-5);
  ck_ok(smft__network_backward(tape, smft__patch_current(w.patch), &grads, NULL));
  for (int32_t i = 0; i < n; i++)
    check_part(&w, &batch, i, gradient[i], &rng);
  /* not the patch of the forward pass */
  ck_status(smft__network_backward(tape, NULL, &grads, NULL), SMFT_E_STATE);
  for (int32_t i = 0; i < n; i++)
    free(gradient[i]);
  free(gradient);
  smft__tape_free(tape);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("grad lora");
  TCase *tests = tcase_create("lora");
  test_directory_make();
  tcase_add_loop_test(tests, kernel, 0, 4);
  tcase_add_loop_test(tests, differences, 0, 9);
  suite_add_tcase(suite, tests);
  return suite;
}
