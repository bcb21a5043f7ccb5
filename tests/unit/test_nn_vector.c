/* test_nn_vector: the row operations at every instruction set of this machine, against plain loops
 * in double, for every length around the width of a vector; exp to its promised accuracy; nothing
 * written behind a row. */
#include "test.h"
#include "base/rng.h"
#include "base/cpu.h"
#include "nn/ffn.h"
#include "nn/vector.h"

enum { MOST = 140 };
static float a[MOST], b[MOST], c[MOST], y[MOST + 1], z[MOST + 1];

static void fill(void) {
  smft__rng rng;
  smft__rng_seed(&rng, 11);
  for (int i = 0; i < MOST; i++) {
    a[i] = (float)smft__rng_normal(&rng);
    b[i] = (float)smft__rng_normal(&rng);
    c[i] = (float)smft__rng_normal(&rng);
  }
}

static void restart(void) {
  memcpy(y, a, sizeof a);
  memcpy(z, b, sizeof b);
  y[MOST] = z[MOST] = 77;
}

#define near(got, wanted)                                                                          \
  ck_assert_msg(fabs((double)(got) - (double)(wanted)) <= 1e-5 * (1 + fabs((double)(wanted))),     \
                "n %d i %d: %.8g, wanted %.8g", n, i, (double)(got), (double)(wanted))
/* y was a, z was b before the call: element i is `wanted` below n and untouched from there on. */
#define check_row(call, wanted)                                                                    \
  do {                                                                                             \
    restart();                                                                                     \
    call;                                                                                          \
    for (int i = 0; i < MOST; i++)                                                                 \
      if (i < n)                                                                                   \
        near(y[i], wanted);                                                                        \
      else                                                                                         \
        ck_assert(y[i] == a[i]);                                                                   \
    ck_assert(y[MOST] == 77);                                                                      \
  } while (0)

static double gelu_argument(double g) {
  return 0.79788456080286535588 * (g + 0.044715 * g * g * g);
}

static double gelu(double g) { return g / 2 * (1 + tanh(gelu_argument(g))); }

static double gelu_slope(double g) {
  double t = tanh(gelu_argument(g));
  return (1 + t) / 2 + g / 2 * (1 - t * t) * 0.79788456080286535588 * (1 + 3 * 0.044715 * g * g);
}

static void check_rows(const smft__vector_ops *v, int n) {
  check_row(v->scale(y, b, 0.5f, n), 0.5 * (double)b[i]);
  check_row(v->add_scaled(y, b, 0.5f, n), (double)a[i] + 0.5 * (double)b[i]);
  check_row(v->scale_weighted(y, b, c, 0.5f, n), 0.5 * (double)b[i] * (double)c[i]);
  check_row(v->norm_back(y, b, c, b, 2, 3, n),
            (double)a[i] + 2 * (double)c[i] * (double)b[i] - 3 * (double)b[i]);
  check_row(v->softmax_back(y, b, 0.3f, 2, n), 2 * (double)b[i] * ((double)a[i] - 0.3));
  check_row(v->rotate(y, z, c, b, n), (double)a[i] * (double)c[i] - (double)b[i] * (double)b[i]);
  check_row(v->swiglu(y, b, c, n), (double)b[i] / (1 + exp(-(double)b[i])) * (double)c[i]);
  check_row(v->geglu(y, b, c, n), gelu((double)b[i]) * (double)c[i]);
  check_row(v->geglu_back(y, z, b, c, c, n),
            gelu_slope((double)b[i]) * (double)c[i] * (double)c[i]);
  check_row(v->to_f32(b, SMFT__F32, n, y), b[i]);
  check_row(v->exp_sum(b, 2, 1, n, y), exp(2 * (double)b[i] - 1));
}

static void check_sums(const smft__vector_ops *v, int n) {
  double dot = 0, exponentials = 0;
  float most = -INFINITY;
  for (int i = 0; i < n; i++) {
    dot += (double)a[i] * (double)b[i];
    exponentials += exp((double)a[i]);
    most = fmaxf(most, a[i]);
  }
  ck_assert(v->maximum(a, n) == most);
  ck_assert_double_eq_tol((double)v->dot(a, b, n), dot, 1e-4);
  ck_assert_double_eq_tol(v->dot_double(a, b, n), dot, 1e-12);
  ck_assert_double_eq_tol(v->exp_sum(a, 1, 0, n, y), exponentials, 1e-5 * (1 + exponentials));
}

static void check_finite(const smft__vector_ops *v, int n) {
  static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
  ck_assert(v->all_finite(a, 1, n, n) && v->all_finite(a, n, 1, 1) &&
            v->all_finite(a, 2, n / 2, n / 2));
  for (int i = 0; i < n; i++) {
    float was = a[i];
    a[i] = bad[i % 4];
    ck_assert_msg(!v->all_finite(a, 1, n, n) && !v->all_finite(a, n, 1, 1), "%d of %d is %g", i, n,
                  (double)a[i]);
    /* the number behind the second row is not looked at */
    ck_assert(v->all_finite(a, 2, n / 2, n / 2) == (i >= n / 2 * 2));
    a[i] = was;
  }
}

START_TEST(test_rows) {
  if (smft__cpu_limit(_i) != _i)
    return;
  fill();
  for (int n = 0; n <= MOST; n++) {
    check_rows(smft__vector(), n);
    check_sums(smft__vector(), n);
    check_finite(smft__vector(), n);
  }
}
END_TEST

/* Every 2-byte value, at an odd address. */
START_TEST(test_conversion) {
  enum { ALL = 65536 };
  static char bytes[ALL * 2 + 1];
  static float wide[ALL];
  if (smft__cpu_limit(_i) != _i)
    return;
  for (int i = 0; i < ALL; i++) {
    uint16_t half = (uint16_t)i;
    memcpy(bytes + 1 + 2 * i, &half, 2);
  }
  for (int dtype = SMFT__F16; dtype <= SMFT__BF16; dtype++) {
    smft__vector()->to_f32(bytes + 1, dtype, ALL, wide);
    for (int i = 0; i < ALL; i++) {
      float wanted =
          dtype == SMFT__BF16 ? smft__bf16_to_f32((uint16_t)i) : smft__f16_to_f32((uint16_t)i);
      ck_assert_msg(isnan(wanted) ? isnan(wide[i]) : !memcmp(&wanted, &wide[i], 4),
                    "dtype %d %04x: %g, wanted %g", dtype, (unsigned)i, (double)wide[i],
                    (double)wanted);
    }
  }
}
END_TEST

START_TEST(test_exp) {
  static float x[4001], e[4001];
  if (smft__cpu_limit(_i) != _i)
    return;
  for (int i = 0; i < 4001; i++)
    x[i] = -87.0f + (float)i * (88.7f + 87.0f) / 4000;
  smft__vector()->exp_sum(x, 1, 0, 4001, e);
  for (int i = 0; i < 4001; i++)
    ck_assert_msg(fabs((double)e[i] / exp((double)x[i]) - 1) < 2.4e-7,
                  "exp(%.9g) = %.9g, wanted %.9g", (double)x[i], (double)e[i], exp((double)x[i]));
  float odd[8] = {0, -200, 200, NAN, INFINITY, -INFINITY, -95, -0.0f}, got[8];
  smft__vector()->exp_sum(odd, 1, 0, 8, got);
  ck_assert(got[0] == 1 && got[1] < 1e-44f && isinf(got[2]) && isnan(got[3]) && isinf(got[4]) &&
            got[5] < 1e-44f && got[7] == 1);
  ck_assert_double_eq_tol((double)got[6], exp(-95), 2e-45); /* subnormal */
}
END_TEST

/* GELU and its slope from -40 to 40, to a few units of the last place of what they are made of;
 * far out they are 0 or the line, and NaN stays. */
START_TEST(test_gelu) {
  enum { ALL = 8001 };
  static float x[ALL], one[ALL], got[ALL], slope[ALL], d_up[ALL];
  if (smft__cpu_limit(_i) != _i)
    return;
  for (int i = 0; i < ALL; i++) {
    x[i] = -40.0f + (float)i * 0.01f;
    one[i] = 1;
  }
  smft__vector()->geglu(got, x, one, ALL);
  smft__vector()->geglu_back(slope, d_up, x, one, one, ALL);
  for (int i = 0; i < ALL; i++) {
    double g = (double)x[i];
    ck_assert_msg(fabs((double)got[i] - gelu(g)) <= 4e-7 * fmax(fabs(gelu(g)), 0.2),
                  "gelu(%.9g) = %.9g, wanted %.9g", g, (double)got[i], gelu(g));
    ck_assert_msg(fabs((double)d_up[i] - gelu(g)) <= 4e-7 * fmax(fabs(gelu(g)), 0.2),
                  "for up, gelu(%.9g) = %.9g", g, (double)d_up[i]);
    ck_assert_msg(fabs((double)slope[i] - gelu_slope(g)) <= 6e-7, "gelu'(%.9g) = %.9g, wanted %.9g",
                  g, (double)slope[i], gelu_slope(g));
  }
  float odd[4] = {1e30f, -1e30f, NAN, 3e38f};
  smft__vector()->geglu(got, odd, one, 4);
  smft__vector()->geglu_back(slope, d_up, odd, one, one, 4);
  ck_assert(got[0] == 1e30f && got[1] == 0 && isnan(got[2]) && got[3] == 3e38f);
  ck_assert(slope[0] == 1 && fabsf(slope[1]) < 1e-30f && isnan(slope[2]) && slope[3] == 1);
}
END_TEST

START_TEST(test_long_dot) {
  enum { N = 3000001 };
  smft_ctx *ctx = NULL;
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  float *x = malloc(N * sizeof *x);
  double wanted = 0;
  options.n_threads = 2;
  ck_ok(smft_ctx_create(&ctx, &options));
  for (int i = 0; i < N; i++) {
    x[i] = (float)(i % 1000) * 1e-3f;
    wanted += (double)x[i] * (double)x[i];
  }
  ck_assert_double_eq_tol(smft__dot(ctx, x, x, N), wanted, 1e-9 * wanted);
  ck_assert(smft__dot(ctx, x, x, 0) == 0);
  free(x);
  smft_ctx_free(ctx);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("nn_vector");
  TCase *tests = tcase_create("vector");
  tcase_add_loop_test(tests, test_rows, SMFT__CPU_PORTABLE, SMFT__CPU_AVX512 + 1);
  tcase_add_loop_test(tests, test_conversion, SMFT__CPU_PORTABLE, SMFT__CPU_AVX512 + 1);
  tcase_add_loop_test(tests, test_exp, SMFT__CPU_PORTABLE, SMFT__CPU_AVX512 + 1);
  tcase_add_loop_test(tests, test_gelu, SMFT__CPU_PORTABLE, SMFT__CPU_AVX512 + 1);
  tcase_add_test(tests, test_long_dot);
  suite_add_tcase(suite, tests);
  return suite;
}
