/* network: loss, logits and the gradient of every tensor against PyTorch (make_network.py):
 * grouped-query heads, memory beside and in place of the FFN, a shared pool and two pools, tied and
 * separate head, f32, bf16 and f16 weights; against transformers (make_<family>.py): biases of q, k
 * and v, windows, scaled rotary positions and
 * none, norms of heads, no memory; and what must not depend on how it is asked. */
#include "test.h"

#include "base/alloc.h"
#include "data/safetensors.h"
#include "model/network.h"

/* Those with a memory first. */
static const char *const fixtures[] = {
    "tests/golden/network_beside",  "tests/golden/network_replace",
    "tests/golden/network_qwen2",   "tests/golden/network_qwen2_window",
    "tests/golden/network_mistral", "tests/golden/network_llama3",
    "tests/golden/network_linear",  "tests/golden/network_yarn",
    "tests/golden/network_smollm3", "tests/golden/network_qwen3",
    "tests/golden/network_gemma3"};
enum { WITH_MEMORY = 2, FIXTURES = sizeof fixtures / sizeof *fixtures, MOST_LOGITS = 64 * 96 };

typedef struct world {
  smft_ctx *ctx;
  smft_model *model;
  smft__source reference; /* what is known of the model */
  smft__tape *tape;
  int32_t ids[64];
  int64_t offsets[8];
  float weights[64];
  smft__sequences batch;
} world;

static const smft__tensor *reference(const world *w, const char *prefix, const char *name) {
  char full[200];
  snprintf(full, sizeof full, "%s%s", prefix, name);
  int64_t at = smft__source_find(&w->reference, full);
  ck_assert_msg(at >= 0, "%s is not in the fixture", full);
  return &w->reference.tensors[at];
}

static int64_t read_i64(const smft__tensor *tensor, int64_t i) {
  int64_t value = 0;
  memcpy(&value, (const char *)tensor->data + 8 * i, sizeof value);
  return value;
}

static world open_world(const char *fixture, int32_t n_threads) {
  world w = {0};
  char path[256];
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  options.n_threads = n_threads;
  ck_ok(smft_ctx_create(&w.ctx, &options));
  ck_ok(smft_model_load(&w.model, w.ctx, test_source(fixture), NULL));
  snprintf(path, sizeof path, "%s/reference.safetensors", fixture);
  ck_ok(smft__safetensors_open(&w.reference, w.ctx, test_source(path), 1));
  ck_ok(smft__tape_create(&w.tape, w.model));
  const smft__tensor *ids = reference(&w, "reference.", "ids");
  const smft__tensor *lengths = reference(&w, "reference.", "lengths");
  for (int64_t i = 0; i < ids->shape[0]; i++)
    w.ids[i] = (int32_t)read_i64(ids, i);
  for (int64_t s = 0; s < lengths->shape[0]; s++)
    w.offsets[s + 1] = w.offsets[s] + read_i64(lengths, s);
  smft__tensor_to_f32(reference(&w, "reference.", "token_weights"), 0, ids->shape[0], w.weights);
  w.batch = (smft__sequences){NULL, NULL, lengths->shape[0], ids->shape[0], NULL};
  return w;
}

/* The struct moved when it was returned: the views are set where it stays. */
static smft__sequences *batch(world *w) {
  w->batch.ids = w->ids;
  w->batch.offsets = w->offsets;
  w->batch.weights = w->weights;
  return &w->batch;
}

static void close_world(world *w) {
  smft__tape_free(w->tape);
  smft__source_close(&w->reference);
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

static float **make_grads(const smft_model *model) {
  float **grads = calloc((size_t)model->n_tensors, sizeof *grads);
  for (int32_t i = 0; i < model->n_tensors; i++)
    grads[i] = calloc((size_t)smft__tensor_count(&model->tensors[i]), sizeof **grads);
  return grads;
}

static void free_grads(const smft_model *model, float **grads) {
  for (int32_t i = 0; i < model->n_tensors; i++)
    free(grads[i]);
  free(grads);
}

static double forward(world *w, const smft_patch *patch, int keep) {
  double loss = 0;
  ck_ok(smft__network_forward(w->tape, smft__patch_current(patch), batch(w), keep, &loss, NULL));
  return loss;
}

static float **full_gradient(world *w, const smft_patch *patch) {
  float **tensors = make_grads(w->model);
  smft__grads grads = {.tensors = tensors};
  forward(w, patch, 1);
  ck_ok(smft__network_backward(w->tape, smft__patch_current(patch), &grads, NULL));
  return tensors;
}

/* The session's, each sequence fed in pieces of so many tokens. */
static void check_logits(world *w, int64_t piece) {
  float wanted[MOST_LOGITS], got[MOST_LOGITS];
  int64_t vocab = w->model->config.vocab, n = w->batch.n_tokens * vocab;
  smft_session *session = NULL;
  ck_assert_int_le(n, MOST_LOGITS);
  smft__tensor_to_f32(reference(w, "reference.", "logits"), 0, n, wanted);
  ck_ok(smft_session_create(&session, w->model, NULL, NULL));
  for (int64_t s = 0; s < w->batch.n_sequences; s++) {
    ck_ok(smft_session_rewind(session, 0));
    for (int64_t at = w->offsets[s]; at < w->offsets[s + 1]; at += piece) {
      int64_t left = w->offsets[s + 1] - at, n_ids = left < piece ? left : piece;
      ck_ok(smft_session_feed(session, w->ids + at, n_ids, SMFT_LOGITS_ALL, got + at * vocab,
                              n_ids * vocab));
    }
  }
  double distance = test_distance(got, wanted, n);
  /* rounding differs between instruction sets and pieces: up to 2.1e-6 */
  ck_assert_msg(distance < 4e-6, "logits in pieces of %lld: %g", (long long)piece, distance);
  smft_session_free(session);
}

START_TEST(loss_and_logits) {
  world w = open_world(fixtures[_i], 2);
  float loss = 0;
  smft__tensor_to_f32(reference(&w, "reference.", "loss"), 0, 1, &loss);
  ck_assert_double_eq_tol(forward(&w, NULL, 1), (double)loss, 2e-6);
  ck_assert_double_eq_tol(forward(&w, NULL, 0), (double)loss, 2e-6);
  check_logits(&w, 64);
  check_logits(&w, 1);
  check_logits(&w, 5);
  close_world(&w);
}
END_TEST

START_TEST(gradient_of_every_tensor) {
  world w = open_world(fixtures[_i], 2);
  smft_patch *patch = NULL;
  ck_ok(smft_patch_create(&patch, w.model, SMFT_PATCH_FULL));
  float **got = full_gradient(&w, patch);
  for (int32_t i = 0; i < w.model->n_tensors; i++) {
    int64_t n = smft__tensor_count(&w.model->tensors[i]);
    float wanted[4096], scale = 0;
    ck_assert_int_le(n, 4096);
    smft__tensor_to_f32(reference(&w, "grad.", w.model->names[i]), 0, n, wanted);
    for (int64_t j = 0; j < n; j++)
      scale = fmaxf(scale, fabsf(wanted[j]));
    /* a bias of the key norm moves all scores of a head alike: its gradient is 0 */
    scale = fmaxf(scale, 1e-2f);
    for (int64_t j = 0; j < n; j++)
      ck_assert_msg(fabsf(got[i][j] - wanted[j]) <= 2e-5f * scale,
                    "%s[%lld]: got %g, wanted %g (scale %g)", w.model->names[i], (long long)j,
                    (double)got[i][j], (double)wanted[j], (double)scale);
  }
  free_grads(w.model, got);
  smft_patch_free(patch);
  close_world(&w);
}
END_TEST

/* Whatever else is wanted, a tensor's gradient has the same bits: the way down only gets shorter.
 */
START_TEST(one_tensor_alone) {
  world w = open_world(fixtures[_i], 2);
  float **all = full_gradient(&w, NULL);
  for (int32_t i = 0; i < w.model->n_tensors; i++) {
    float **one = calloc((size_t)w.model->n_tensors, sizeof *one);
    int64_t n = smft__tensor_count(&w.model->tensors[i]);
    one[i] = calloc((size_t)n, sizeof **one);
    smft__grads grads = {.tensors = one};
    forward(&w, NULL, 1);
    ck_ok(smft__network_backward(w.tape, NULL, &grads, NULL));
    ck_assert_msg(memcmp(one[i], all[i], (size_t)n * sizeof **one) == 0,
                  "%s differs when it is wanted alone", w.model->names[i]);
    free(one[i]);
    free(one);
  }
  free_grads(w.model, all);
  close_world(&w);
}
END_TEST

/* Also when the forward pass keeps only what they need. */
START_TEST(sparse_rows_are_the_dense_rows) {
  world w = open_world(fixtures[_i / 2], 2);
  int keep = _i % 2 ? SMFT__KEEP_VALUES : SMFT__KEEP_ALL;
  float **dense = full_gradient(&w, NULL);
  int64_t dim = w.model->config.memory.value_dim;
  smft__rows rows[2], *wanted[2] = {&rows[0], &rows[1]};
  for (int32_t p = 0; p < w.model->config.n_pools; p++) {
    smft__rows_init(&rows[p], w.ctx, dim);
    ck_ok(smft__rows_reserve(&rows[p], 49));
    for (int64_t slot = 0; slot < 49; slot += 2)
      memset(smft__rows_at(&rows[p], smft__rows_add(&rows[p], slot)), 0,
             (size_t)dim * sizeof(float));
  }
  smft__grads grads = {.rows = wanted}, all = {.tensors = dense, .rows = wanted};
  forward(&w, NULL, keep);
  if (keep == SMFT__KEEP_VALUES)
    ck_status(smft__network_backward(w.tape, NULL, &all, NULL), SMFT_E_STATE);
  ck_ok(smft__network_backward(w.tape, NULL, &grads, NULL));
  if (keep == SMFT__KEEP_VALUES)
    ck_status(smft__network_backward(w.tape, NULL, &grads, NULL), SMFT_E_STATE);
  for (int32_t p = 0; p < w.model->config.n_pools; p++) {
    ck_assert_int_eq(rows[p].n, 25);
    for (int64_t i = 0; i < rows[p].n; i++)
      ck_assert_mem_eq(smft__rows_at(&rows[p], i),
                       dense[smft__pool_tensor(&w.model->config, p)] + rows[p].slots[i] * dim,
                       (size_t)dim * sizeof(float));
    smft__rows_free(&rows[p]);
  }
  free_grads(w.model, dense);
  close_world(&w);
}
END_TEST

START_TEST(values_keep_less) {
  int64_t used[3];
  for (int keep = SMFT__KEEP_NOTHING; keep <= SMFT__KEEP_VALUES; keep++) {
    world w = open_world(fixtures[_i], 1);
    forward(&w, NULL, keep);
    ck_ok(smft_ctx_memory(w.ctx, &used[keep], NULL));
    close_world(&w);
  }
  ck_assert_int_lt(used[SMFT__KEEP_NOTHING], used[SMFT__KEEP_VALUES]);
  ck_assert_int_lt(used[SMFT__KEEP_VALUES], used[SMFT__KEEP_ALL]);
}
END_TEST

/* The head keeps a row of logits and four of hidden states for each supervised token, and none for
 * the others. */
START_TEST(logits_only_where_supervised) {
  int64_t used[2], supervised[2] = {0, 0}, row = 0;
  for (int one = 0; one < 2; one++) {
    world w = open_world(fixtures[_i], 1);
    for (int64_t s = 0; s < w.batch.n_sequences; s++)
      for (int64_t i = w.offsets[s] + 1; i < w.offsets[s + 1]; i++)
        supervised[one] += (w.weights[i] = one ? i == 1 : 1) != 0;
    forward(&w, NULL, SMFT__KEEP_ALL);
    row = (w.model->config.vocab + 4 * w.model->config.hidden) * (int64_t)sizeof(float);
    ck_ok(smft_ctx_memory(w.ctx, &used[one], NULL));
    close_world(&w);
  }
  ck_assert_int_eq(supervised[1], 1);
  ck_assert_int_gt(supervised[0], 20);
  /* five pieces, in whole lines */
  ck_assert_int_ge(used[0] - used[1], (supervised[0] - 1) * row - 5 * 64);
}
END_TEST

START_TEST(threads_do_not_matter) {
  float **gradients[3];
  world worlds[3];
  for (int i = 0; i < 3; i++) {
    worlds[i] = open_world(fixtures[_i], i + 1);
    gradients[i] = full_gradient(&worlds[i], NULL);
    ck_assert(forward(&worlds[i], NULL, 1) <= forward(&worlds[0], NULL, 1) &&
              forward(&worlds[i], NULL, 1) >= forward(&worlds[0], NULL, 1));
  }
  for (int i = 0; i < 3; i++) {
    for (int32_t t = 0; i > 0 && t < worlds[0].model->n_tensors; t++)
      ck_assert_mem_eq(gradients[i][t], gradients[0][t],
                       (size_t)smft__tensor_count(&worlds[0].model->tensors[t]) * sizeof(float));
  }
  for (int i = 0; i < 3; i++) {
    free_grads(worlds[i].model, gradients[i]);
    close_world(&worlds[i]);
  }
}
END_TEST

/* A full patch that changes nothing, a slots patch without rows (where there are pools) and
 * adapters at their start give the base's numbers. */
START_TEST(empty_patches) {
  world w = open_world(fixtures[_i], 2);
  double base = forward(&w, NULL, 0);
  for (int32_t kind = SMFT_PATCH_SLOTS; kind <= SMFT_PATCH_LORA; kind++) {
    smft_patch *patch = NULL;
    if (kind == SMFT_PATCH_SLOTS && w.model->config.n_pools == 0)
      continue;
    ck_ok(smft_patch_create(&patch, w.model, kind));
    double loss = forward(&w, patch, 0);
    ck_assert_msg(loss <= base && loss >= base, "kind %d: %.17g, base %.17g", kind, loss, base);
    smft_patch_free(patch);
  }
  close_world(&w);
}
END_TEST

static void run_counting(world *w) {
  int64_t n_kept = 0, n = 0;
  int32_t n_memories = w->model->config.n_memories;
  int64_t *kept[2];
  forward(w, NULL, 1);
  for (int32_t m = 0; m < n_memories; m++) {
    const int64_t *slots = smft__tape_slots(w->tape, m, &n_kept);
    kept[m] = malloc((size_t)n_kept * sizeof *slots);
    memcpy(kept[m], slots, (size_t)n_kept * sizeof *slots);
  }
  ck_ok(smft__network_forward(w->tape, NULL, batch(w), 0, NULL, NULL));
  for (int32_t m = 0; m < n_memories; m++) {
    const int64_t *slots = smft__tape_slots(w->tape, m, &n);
    ck_assert_int_eq(n, n_kept);
    ck_assert_mem_eq(slots, kept[m], (size_t)n * sizeof *slots);
    free(kept[m]);
  }
}

START_TEST(counting_reads_the_same_slots) {
  world w = open_world(fixtures[_i], 2);
  int64_t n = 1;
  ck_assert_ptr_null(smft__tape_slots(w.tape, 0, &n)); /* nothing ran yet */
  run_counting(&w);
  ck_assert_ptr_null(smft__tape_slots(w.tape, 2, &n));
  close_world(&w);
}
END_TEST

START_TEST(refusals) {
  world w = open_world(fixtures[_i], 1);
  atomic_int cancel = 1;
  double loss = 0;
  smft__grads none = {.tensors = NULL};
  ck_status(smft__network_backward(w.tape, NULL, &none, NULL), SMFT_E_STATE);
  ck_status(smft__network_forward(w.tape, NULL, batch(&w), 1, &loss, &cancel), SMFT_E_CANCELLED);
  ck_status(smft__network_backward(w.tape, NULL, &none, NULL), SMFT_E_STATE);
  w.ids[3] = w.model->config.vocab;
  ck_status(smft__network_forward(w.tape, NULL, batch(&w), 1, &loss, NULL), SMFT_E_TOKEN);
  w.ids[3] = -1;
  ck_status(smft__network_forward(w.tape, NULL, batch(&w), 1, &loss, NULL), SMFT_E_TOKEN);
  w.ids[3] = 0;
  for (int i = 0; i < 64; i++)
    w.weights[i] = 0;
  ck_status(smft__network_forward(w.tape, NULL, batch(&w), 1, &loss, NULL), SMFT_E_INVALID);
  /* counting needs no supervised token */
  ck_ok(smft__network_forward(w.tape, NULL, batch(&w), 0, NULL, NULL));
  w.weights[1] = NAN;
  ck_status(smft__network_forward(w.tape, NULL, batch(&w), 1, &loss, NULL), SMFT_E_INVALID);
  close_world(&w);
}
END_TEST

START_TEST(non_finite_weights) {
  world w = open_world(fixtures[_i], 1);
  smft_patch *patch = NULL;
  double loss = 0;
  ck_ok(smft_patch_create(&patch, w.model, SMFT_PATCH_FULL));
  for (int32_t i = 0; i < w.model->n_tensors; i++) {
    int64_t n = smft__tensor_count(&w.model->tensors[i]);
    float *values = malloc((size_t)n * sizeof *values);
    memcpy(values, patch->full[i], (size_t)n * sizeof *values);
    for (int64_t j = 0; j < n; j++)
      patch->full[i][j] = NAN;
    if (!strstr(w.model->names[i], ".keys") &&
        !strstr(w.model->names[i], "query")) /* a NaN score is never chosen */
      ck_status(smft__network_forward(w.tape, smft__patch_current(patch), batch(&w), 1, &loss,
                                      NULL),
                SMFT_E_NONFINITE);
    memcpy(patch->full[i], values, (size_t)n * sizeof *values);
    free(values);
  }
  ck_ok(smft__network_forward(w.tape, smft__patch_current(patch), batch(&w), 1, &loss, NULL));
  smft_patch_free(patch);
  close_world(&w);
}
END_TEST

/* A GGUF's norms have their 1 in them: told so, the plan computes the same to the last bit. */
START_TEST(norms_stored_with_their_1) {
  world w = open_world("tests/golden/network_gemma3", 1);
  smft__config *c = &w.model->config;
  smft_patch *patch = NULL;
  double loss = forward(&w, NULL, 0);
  ck_ok(smft_patch_create(&patch, w.model, SMFT_PATCH_FULL));
  for (int32_t i = 0; i < w.model->n_tensors; i++)
    for (int64_t j = 0;
         strstr(w.model->names[i], "norm") && j < smft__tensor_count(&w.model->tensors[i]); j++)
      patch->full[i][j] += 1;
  ck_assert_int_eq(c->stack.final_norm, SMFT__NORM_BY_1_PLUS);
  c->stack.final_norm = SMFT__NORM_BY_WEIGHT;
  for (int32_t i = 0; i < c->n_layers; i++)
    c->blocks[i].norm = SMFT__NORM_BY_WEIGHT;
  double same = forward(&w, patch, 0);
  ck_assert(same >= loss && same <= loss);
  smft_patch_free(patch);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("golden network");
  TCase *tests = tcase_create("network");
  tcase_add_loop_test(tests, loss_and_logits, 0, FIXTURES);
  tcase_add_loop_test(tests, gradient_of_every_tensor, 0, FIXTURES);
  tcase_add_loop_test(tests, one_tensor_alone, 0, FIXTURES);
  tcase_add_loop_test(tests, sparse_rows_are_the_dense_rows, 0, 2 * WITH_MEMORY);
  tcase_add_loop_test(tests, threads_do_not_matter, 0, FIXTURES);
  tcase_add_loop_test(tests, empty_patches, 0, FIXTURES);
  tcase_add_loop_test(tests, values_keep_less, 0, WITH_MEMORY);
  tcase_add_loop_test(tests, logits_only_where_supervised, 0, FIXTURES);
  tcase_add_loop_test(tests, counting_reads_the_same_slots, 0, WITH_MEMORY);
  tcase_add_loop_test(tests, refusals, 0, FIXTURES);
  tcase_add_test(tests, norms_stored_with_their_1);
  tcase_add_loop_test(tests, non_finite_weights, 0, FIXTURES);
  suite_add_tcase(suite, tests);
  return suite;
}
