/* lora: adapters that stand on disk as PEFT writes them (make_lora.py), and as PEFT itself wrote
 * them (make_<family>.py), against PyTorch: what they are read as, loss and logits, the gradient of
 * every factor, three AdamW steps; merged weights; and what must not depend on how it is asked. */
#include "test.h"
#include "files.h"

#include "base/alloc.h"
#include "data/safetensors.h"
#include "learn/learner.h"

/* Of the largest number of a factor.  The instruction sets' rounding differs: up to 2.1e-5 in a
 * gradient, 3.4e-5 after three steps. */
#define GRADIENT_TOLERANCE 5e-5
#define STEP_TOLERANCE 1e-4

static const struct fixture {
  const char *adapters, *model;
  smft_lora_options options; /* what the config says */
  int32_t n;                 /* adapters */
  double tolerance;          /* of logits and gradients */
} fixtures[] = {
    {"tests/golden/lora_peft",
     "tests/golden/network_beside",
     {sizeof(smft_lora_options), 5, 12, SMFT_LORA_ALL, 0, 0},
     21,
     5e-6},
    {"tests/golden/lora_peft_rs",
     "tests/golden/network_replace",
     {sizeof(smft_lora_options), 3, 2, SMFT_LORA_Q | SMFT_LORA_V | SMFT_LORA_DOWN,
      SMFT_LORA_RANK_STABILIZED, 0},
     5,
     5e-6},
    {"tests/golden/lora_qwen2",
     "tests/golden/network_qwen2",
     {sizeof(smft_lora_options), 4, 8, SMFT_LORA_ALL, 0, 0},
     21,
     5e-6},
    {"tests/golden/lora_mistral",
     "tests/golden/network_mistral",
     {sizeof(smft_lora_options), 4, 8, SMFT_LORA_ALL, 0, 0},
     14,
     5e-6},
    {"tests/golden/lora_gemma3",
     "tests/golden/network_gemma3",
     {sizeof(smft_lora_options), 4, 8, SMFT_LORA_ALL, 0, 0},
     21,
     5e-6},
    {"tests/golden/lora_smollm3",
     "tests/golden/network_smollm3",
     {sizeof(smft_lora_options), 4, 8, SMFT_LORA_ALL, 0, 0},
     28,
     5e-6},
    {"tests/golden/lora_qwen3",
     "tests/golden/network_qwen3",
     {sizeof(smft_lora_options), 4, 8, SMFT_LORA_ALL, 0, 0},
     14,
     5e-6},
};
enum { FIXTURES = sizeof fixtures / sizeof *fixtures, MOST_LOGITS = 64 * 96 };

typedef struct world {
  const struct fixture *fixture;
  smft_ctx *ctx;
  smft_model *model;
  smft_patch *patch;
  smft__source reference, expected; /* without the adapter, and with it */
  int32_t ids[64];
  int64_t offsets[8], lengths[8];
  float weights[64];
  int64_t n_sequences, n_tokens;
} world;

static const smft__tensor *tensor_of(const smft__source *file, const char *prefix,
                                     const char *name) {
  char full[256];
  snprintf(full, sizeof full, "%s%s", prefix, name);
  int64_t at = smft__source_find(file, full);
  ck_assert_msg(at >= 0, "%s is not in the fixture", full);
  return &file->tensors[at];
}

static void read_batch(world *w) {
  const smft__tensor *ids = tensor_of(&w->reference, "reference.", "ids");
  const smft__tensor *lengths = tensor_of(&w->reference, "reference.", "lengths");
  w->n_tokens = ids->shape[0];
  w->n_sequences = lengths->shape[0];
  for (int64_t i = 0; i < w->n_tokens; i++) {
    int64_t id;
    memcpy(&id, (const char *)ids->data + 8 * i, 8);
    w->ids[i] = (int32_t)id;
  }
  for (int64_t s = 0; s < w->n_sequences; s++) {
    memcpy(&w->lengths[s], (const char *)lengths->data + 8 * s, 8);
    w->offsets[s + 1] = w->offsets[s] + w->lengths[s];
  }
  smft__tensor_to_f32(tensor_of(&w->reference, "reference.", "token_weights"), 0, w->n_tokens,
                      w->weights);
}

static world open_world(int i, int32_t n_threads) {
  world w = {.fixture = &fixtures[i]};
  char path[256];
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&w.ctx, &options));
  ck_ok(smft_model_load(&w.model, w.ctx, test_source(w.fixture->model), NULL));
  ck_ok(smft_patch_load(&w.patch, w.model, test_source(w.fixture->adapters)));
  snprintf(path, sizeof path, "%s/reference.safetensors", w.fixture->model);
  ck_ok(smft__safetensors_open(&w.reference, w.ctx, test_source(path), 1));
  snprintf(path, sizeof path, "%s/expected.safetensors", w.fixture->adapters);
  ck_ok(smft__safetensors_open(&w.expected, w.ctx, test_source(path), 1));
  read_batch(&w);
  return w;
}

static void close_world(world *w) {
  smft__source_close(&w->expected);
  smft__source_close(&w->reference);
  smft_patch_free(w->patch);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

static smft__sequences batch(const world *w) {
  return (smft__sequences){w->ids, w->offsets, w->n_sequences, w->n_tokens, w->weights};
}

/* Each sequence fed in pieces of so many tokens. */
static void check_logits(const world *w, smft_patch *patch, int64_t piece) {
  float wanted[MOST_LOGITS], got[MOST_LOGITS];
  int64_t vocab = w->model->config.vocab, n = w->n_tokens * vocab;
  smft_session *session = NULL;
  ck_assert_int_le(n, MOST_LOGITS);
  smft__tensor_to_f32(tensor_of(&w->expected, "", "logits"), 0, n, wanted);
  ck_ok(smft_session_create(&session, w->model, patch, NULL));
  for (int64_t s = 0; s < w->n_sequences; s++) {
    ck_ok(smft_session_rewind(session, 0));
    for (int64_t at = w->offsets[s]; at < w->offsets[s + 1]; at += piece) {
      int64_t left = w->offsets[s + 1] - at, n_ids = left < piece ? left : piece;
      ck_ok(smft_session_feed(session, w->ids + at, n_ids, SMFT_LOGITS_ALL, got + at * vocab,
                              n_ids * vocab));
    }
  }
  double distance = test_distance(got, wanted, n);
  ck_assert_msg(distance < w->fixture->tolerance, "logits in pieces of %lld: %g", (long long)piece,
                distance);
  smft_session_free(session);
}

START_TEST(read_as_peft_means_it) {
  world w = open_world(_i, 1);
  smft_lora_options got = SMFT_LORA_OPTIONS_INIT;
  const smft__lora *lora = w.patch->lora;
  ck_assert_int_eq(smft_patch_kind(w.patch), SMFT_PATCH_LORA);
  ck_ok(smft_patch_get_lora(w.patch, &got));
  ck_assert_mem_eq(&got, &w.fixture->options, sizeof got);
  ck_assert_int_eq(lora->n, w.fixture->n);
  for (int32_t i = 0; i < w.model->n_tensors; i++)
    ck_assert(lora->of[i] < 0 || lora->tensors[lora->of[i]] == i);
  close_world(&w);
}
END_TEST

START_TEST(loss_and_logits) {
  world w = open_world(_i, 2);
  smft__tape *tape = NULL;
  smft__sequences sequences = batch(&w);
  smft_patch *merged = NULL;
  float wanted = 0;
  double loss = 0;
  smft__tensor_to_f32(tensor_of(&w.expected, "", "loss"), 0, 1, &wanted);
  ck_ok(smft__tape_create(&tape, w.model));
  for (int keep = 0; keep < 2; keep++) {
    ck_ok(smft__network_forward(tape, smft__patch_current(w.patch), &sequences, keep, &loss, NULL));
    ck_assert_double_eq_tol(loss, (double)wanted, 5e-6);
  }
  check_logits(&w, w.patch, 64);
  check_logits(&w, w.patch, 1);
  check_logits(&w, w.patch, 5);
  ck_ok(smft_patch_merge(&merged, w.patch));
  ck_assert_int_eq(smft_patch_kind(merged), SMFT_PATCH_FULL);
  check_logits(&w, merged, 64);
  smft_patch_free(merged);
  smft__tape_free(tape);
  close_world(&w);
}
END_TEST

/* Room for a gradient of every part. */
static float **make_grads(const world *w) {
  float **grads = calloc((size_t)(2 * w->fixture->n), sizeof *grads);
  for (int32_t i = 0; i < 2 * w->fixture->n; i++) {
    smft__tensor part = smft__lora_part(w->patch->lora, i);
    grads[i] = calloc((size_t)smft__tensor_count(&part), sizeof **grads);
  }
  return grads;
}

static void free_grads(const world *w, float **grads) {
  for (int32_t i = 0; i < 2 * w->fixture->n; i++)
    free(grads[i]);
  free(grads);
}

static void backward(const world *w, float **adapters) {
  smft__tape *tape = NULL;
  smft__sequences sequences = batch(w);
  smft__grads grads = {.adapters = adapters};
  double loss = 0;
  ck_ok(smft__tape_create(&tape, w->model));
  ck_ok(smft__network_forward(tape, smft__patch_current(w->patch), &sequences, SMFT__KEEP_ALL,
                              &loss, NULL));
  ck_ok(smft__network_backward(tape, smft__patch_current(w->patch), &grads, NULL));
  smft__tape_free(tape);
}

static void check_part(const world *w, int32_t i, const char *prefix, const float *got,
                       double tolerance) {
  char name[SMFT__PART_NAME];
  float wanted[1024], scale = 0;
  smft__tensor part = smft__lora_part(w->patch->lora, i);
  int64_t n = smft__tensor_count(&part);
  ck_assert_int_le(n, 1024);
  smft__lora_factor_name(w->model, w->patch->lora->tensors[i / 2], i % 2, "", name);
  const smft__tensor *expected = tensor_of(&w->expected, prefix, name);
  ck_assert(expected->shape[0] == part.shape[0] && expected->shape[1] == part.shape[1]);
  smft__tensor_to_f32(expected, 0, n, wanted);
  for (int64_t j = 0; j < n; j++)
    scale = fmaxf(scale, fabsf(wanted[j]));
  for (int64_t j = 0; j < n; j++)
    ck_assert_msg(fabs((double)got[j] - (double)wanted[j]) <= tolerance * (double)scale,
                  "%s%s[%lld]: got %g, wanted %g (scale %g)", prefix, name, (long long)j,
                  (double)got[j], (double)wanted[j], (double)scale);
}

START_TEST(gradient_of_every_factor) {
  world w = open_world(_i, 2);
  float **got = make_grads(&w);
  backward(&w, got);
  for (int32_t i = 0; i < 2 * w.fixture->n; i++)
    check_part(&w, i, "grad.", got[i], GRADIENT_TOLERANCE);
  free_grads(&w, got);
  close_world(&w);
}
END_TEST

/* Whatever else is wanted, a factor's gradient has the same bits: the way down only gets shorter.
 */
START_TEST(one_factor_alone) {
  world w = open_world(_i, 2);
  float **all = make_grads(&w);
  backward(&w, all);
  for (int32_t i = 0; i < 2 * w.fixture->n; i++) {
    float **one = calloc((size_t)(2 * w.fixture->n), sizeof *one);
    smft__tensor part = smft__lora_part(w.patch->lora, i);
    size_t size = (size_t)smft__tensor_count(&part) * sizeof **one;
    one[i] = calloc(1, size);
    backward(&w, one);
    ck_assert_mem_eq(one[i], all[i], size);
    free(one[i]);
    free(one);
  }
  free_grads(&w, all);
  close_world(&w);
}
END_TEST

static void three_steps(world *w) {
  smft_optimizer_options options = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  smft_learner *learner;
  smft_report report = SMFT_REPORT_INIT;
  smft_batch given = SMFT_BATCH_INIT;
  options.kind = SMFT_OPTIMIZER_ADAMW;
  options.lr = 1e-2; /* make_lora.py's SETTINGS */
  options.weight_decay = 0.1;
  options.eps = 1e-6;
  options.clip_norm = 0.5;
  given.ids = w->ids;
  given.lengths = w->lengths;
  given.n_sequences = w->n_sequences;
  given.token_weights = w->weights;
  ck_ok(smft_optimizer_create(&optimizer, w->ctx, &options));
  ck_ok(smft_learner_create(&learner, w->model, w->patch, NULL, optimizer, NULL));
  for (int i = 0; i < 3; i++) {
    ck_ok(smft_learner_step_batch(learner, &given, &report));
    ck_assert(report.gradient_norm > 0.5);
    if (w->model->config.n_memories > 0)
      ck_assert(report.rows_selected > 0 && report.slots_read > 0 && report.reads > 0);
  }
  smft_learner_free(learner);
  smft_optimizer_free(optimizer);
}

START_TEST(three_steps_of_adamw) {
  world w = open_world(_i, 2);
  three_steps(&w);
  for (int32_t i = 0; i < 2 * w.fixture->n; i++)
    check_part(&w, i, "step.", w.patch->lora->parts[i], STEP_TOLERANCE);
  close_world(&w);
}
END_TEST

START_TEST(threads_do_not_matter) {
  world one = open_world(_i, 1), two = open_world(_i, 2);
  three_steps(&one);
  three_steps(&two);
  for (int32_t i = 0; i < 2 * one.fixture->n; i++) {
    smft__tensor part = smft__lora_part(one.patch->lora, i);
    ck_assert_mem_eq(one.patch->lora->parts[i], two.patch->lora->parts[i],
                     (size_t)smft__tensor_count(&part) * sizeof(float));
  }
  close_world(&two);
  close_world(&one);
}
END_TEST

/* What this library saves has PEFT's tensors and nothing else, and reads back bit for bit. */
START_TEST(saved_as_peft_saves_it) {
  world w = open_world(_i, 1);
  smft_patch *back = NULL;
  smft__source ours = {0}, theirs = {0};
  char path[256];
  ck_ok(smft_patch_save(w.patch, test_file("saved"), 0));
  ck_ok(smft_patch_load(&back, w.model, test_file("saved")));
  for (int32_t i = 0; i < 2 * w.fixture->n; i++) {
    smft__tensor part = smft__lora_part(w.patch->lora, i);
    ck_assert_mem_eq(back->lora->parts[i], part.data,
                     (size_t)smft__tensor_count(&part) * sizeof(float));
  }
  ck_assert_mem_eq(&back->lora->options, &w.patch->lora->options, sizeof back->lora->options);
  snprintf(path, sizeof path, "%s/adapter_model.safetensors", w.fixture->adapters);
  ck_ok(smft__safetensors_open(&ours, w.ctx, test_file("saved/adapter_model.safetensors"), 1));
  ck_ok(smft__safetensors_open(&theirs, w.ctx, test_source(path), 1));
  ck_assert_int_eq(ours.n, theirs.n);
  ck_assert_str_eq(smft__source_metadata(&ours, "format"),
                   smft__source_metadata(&theirs, "format"));
  for (int64_t i = 0; i < ours.n; i++) {
    ck_assert_str_eq(ours.names[i], theirs.names[i]);
    ck_assert_mem_eq(ours.tensors[i].shape, theirs.tensors[i].shape, 2 * sizeof(int64_t));
  }
  smft__source_close(&theirs);
  smft__source_close(&ours);
  smft_patch_free(back);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("golden lora");
  TCase *tests = tcase_create("lora");
  test_directory_make();
  tcase_add_loop_test(tests, read_as_peft_means_it, 0, FIXTURES);
  tcase_add_loop_test(tests, loss_and_logits, 0, FIXTURES);
  tcase_add_loop_test(tests, gradient_of_every_factor, 0, FIXTURES);
  tcase_add_loop_test(tests, one_factor_alone, 0, FIXTURES);
  tcase_add_loop_test(tests, three_steps_of_adamw, 0, FIXTURES);
  tcase_add_loop_test(tests, threads_do_not_matter, 0, FIXTURES);
  tcase_add_loop_test(tests, saved_as_peft_saves_it, 0, FIXTURES);
  suite_add_tcase(suite, tests);
  return suite;
}
