/* kept: steps on a fact with its lower layers kept against the same steps with it made anew each
 * time, and against plain passes from the embedding; that nothing below it runs, that no patch
 * changes it, and who may not use it. */
#include "test.h"
#include "tiny.h"
#include "learn/learner.h"

#define WORDINGS 6
#define STEPS 4 /* on each fact */

static smft_ctx *ctx;
static smft_model *model;
static smft_selector *selector;
/* Lowest memory in block 1 alone; in blocks 0 and 2 on one pool; beside the FFN, on two pools. */
static const tiny shapes[] = {{0, 0, 0, 0}, {0, 0, 0, 1}, {0, 0, 1, 2}};
#define N_SHAPES 3

static void open_model(int shape) {
  smft_ctx_options options = SMFT_CTX_OPTIONS_INIT;
  char name[32];
  options.n_threads = 2;
  snprintf(name, sizeof name, "model%d", shape);
  ck_ok(smft_ctx_create(&ctx, &options));
  model = tiny_model(ctx, name, shapes[shape], 7);
  selector = tiny_selector(model, SMFT_RULE_TFIDF, 24);
}

static void close_model(void) {
  smft_selector_free(selector);
  smft_model_free(model);
  smft_ctx_free(ctx);
}

/* ---- a learner and its facts --------------------------------------------- */

typedef struct pupil {
  smft_patch *patch;
  smft_learner *learner;
} pupil;

static pupil open_pupil(int32_t kind, int32_t optimizer_kind, int32_t wordings_per_step,
                        uint32_t flags) {
  pupil p = {NULL, NULL};
  smft_optimizer_options rate = SMFT_OPTIMIZER_OPTIONS_INIT;
  smft_learner_options options = SMFT_LEARNER_OPTIONS_INIT;
  smft_optimizer *optimizer;
  rate.kind = optimizer_kind;
  rate.lr = optimizer_kind == SMFT_OPTIMIZER_ADAMW ? 0.02 : 5;
  options.wordings_per_step = wordings_per_step;
  options.flags = flags | SMFT_LEARNER_KEEP_GIVEN_UP;
  options.loss_below = -1;
  options.max_steps = STEPS;
  ck_ok(smft_optimizer_create(&optimizer, ctx, &rate));
  ck_ok(smft_patch_create(&p.patch, model, kind));
  ck_ok(smft_learner_create(&p.learner, model, p.patch, kind == SMFT_PATCH_SLOTS ? selector : NULL,
                            optimizer, &options));
  smft_optimizer_free(optimizer);
  return p;
}

static void close_pupil(pupil *p) {
  smft_learner_free(p->learner);
  smft_patch_free(p->patch);
}

/* Wordings of 6, 9, 12 ... tokens. */
static void push_fact(smft_learner *learner, int number) {
  int32_t ids[WORDINGS][32];
  smft_ids_wording wordings[WORDINGS];
  char id[32];
  for (int w = 0; w < WORDINGS; w++) {
    for (int i = 0; i < 32; i++)
      ids[w][i] = (number * 31 + w * 41 + i * 17 + i * w) % TINY_VOCAB;
    wordings[w] =
        (smft_ids_wording){sizeof wordings[w], 0, ids[w], 3 + 3 * w, ids[w] + 3 + 3 * w, 3};
  }
  snprintf(id, sizeof id, "fact %d", number);
  ck_ok(smft_learner_push_ids(learner, id, wordings, WORDINGS));
}

static void same_rows(const smft_patch *a, const smft_patch *b) {
  for (int32_t p = 0; p < model->config.n_pools; p++) {
    const smft__snapshot *left = smft__patch_current(a)->pools[p];
    const smft__snapshot *right = smft__patch_current(b)->pools[p];
    int64_t n = smft__snapshot_count(left), *slots = calloc((size_t)n + 1, sizeof *slots);
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(n, smft__snapshot_count(right));
    smft__snapshot_slots(left, slots);
    for (int64_t i = 0; i < n; i++)
      ck_assert_mem_eq(smft__snapshot_find(left, slots[i]), smft__snapshot_find(right, slots[i]),
                       (size_t)model->config.memory.value_dim * sizeof(float));
    free(slots);
  }
}

/* ---- steps --------------------------------------------------------------- */

/* One learner keeps the layers while its patch changes; the other makes it anew for every step.
 * Reports and rows agree to the bit. */
START_TEST(kept_layers_change_no_bit) {
  int kind = _i / N_SHAPES % 2 ? SMFT_OPTIMIZER_ADAMW : SMFT_OPTIMIZER_SGD;
  uint32_t flags = _i >= 2 * N_SHAPES ? SMFT_LEARNER_ROWS_PER_STEP : 0;
  open_model(_i % N_SHAPES);
  pupil keeps = open_pupil(SMFT_PATCH_SLOTS, kind, 3, flags),
        forgets = open_pupil(SMFT_PATCH_SLOTS, kind, 3, flags);
  for (int number = 0; number < 3; number++) {
    push_fact(keeps.learner, number);
    push_fact(forgets.learner, number);
    for (int step = 0; step < STEPS; step++) {
      smft_report a = SMFT_REPORT_INIT, b = SMFT_REPORT_INIT;
      ck_assert_int_eq(keeps.learner->kept.serial, step ? number + 1 : number);
      forgets.learner->kept.serial = 0;
      ck_ok(smft_step(keeps.learner, &a));
      ck_ok(smft_step(forgets.learner, &b));
      ck_assert(memcmp(&a.loss, &b.loss, sizeof a.loss) == 0 && a.rows_selected > 0);
      ck_assert(memcmp(&a.gradient_norm, &b.gradient_norm, sizeof a.gradient_norm) == 0);
      ck_assert(a.reads == b.reads && a.slots_read == b.slots_read &&
                a.rows_selected == b.rows_selected);
    }
  }
  same_rows(keeps.patch, forgets.patch);
  close_pupil(&keeps);
  close_pupil(&forgets);
  close_model();
}
END_TEST

/* The loss of a step against a forward pass over its batch from the embedding: the same bits where
 * a step takes every wording, and as close as rounding lets it be where the layers were made in a
 * larger batch. */
START_TEST(steps_agree_with_plain_passes) {
  int all = _i / N_SHAPES;
  open_model(_i % N_SHAPES);
  pupil p = open_pupil(SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_SGD, all ? -1 : 2, 0);
  smft__tape *tape;
  ck_ok(smft__tape_create(&tape, model));
  for (int number = 0; number < 2; number++) {
    push_fact(p.learner, number);
    for (int step = 0; step < STEPS; step++) {
      smft_report report = SMFT_REPORT_INIT;
      smft_patch *before;
      double loss = 0;
      ck_ok(smft_patch_copy(&before, p.patch));
      ck_ok(smft_step(p.learner, &report));
      smft__sequences drawn = {p.learner->batch.ids, p.learner->batch.offsets, all ? WORDINGS : 2,
                               report.tokens, p.learner->batch.weights};
      ck_ok(smft__network_forward(tape, smft__patch_current(before), &drawn, SMFT__KEEP_NOTHING,
                                  &loss, NULL));
      ck_assert_double_eq_tol(report.loss, loss, 2e-6);
      ck_assert(!all || memcmp(&report.loss, &loss, sizeof loss) == 0);
      smft_patch_free(before);
    }
  }
  smft__tape_free(tape);
  close_pupil(&p);
  close_model();
}
END_TEST

/* ---- passes -------------------------------------------------------------- */

typedef struct passes { /* the sequences of a fact on a tape of their own, and their layers */
  pupil owner;
  smft__tape *tape;
  smft__kept layers;
  smft__sequences all;
  smft__kept_batch kept;
} passes;

static void open_passes(passes *p) {
  p->owner = open_pupil(SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_SGD, 1, 0);
  push_fact(p->owner.learner, 5);
  const smft__fact *fact = p->owner.learner->queue.first;
  p->all = (smft__sequences){fact->ids.data, fact->offsets, fact->n_wordings, fact->n_tokens,
                             fact->weights};
  p->kept = (smft__kept_batch){&p->layers, fact->offsets, NULL, {NULL, NULL}};
  smft__kept_init(&p->layers, model);
  ck_ok(smft__tape_create(&p->tape, model));
  ck_ok(smft__network_keep(p->tape, &p->all, &p->layers, NULL));
}

static void close_passes(passes *p) {
  smft__kept_free(&p->layers);
  smft__tape_free(p->tape);
  close_pupil(&p->owner);
}

static void disturb(smft_patch *patch) { /* every row of every pool */
  float row[64];
  int64_t dim = model->config.memory.value_dim;
  for (int32_t p = 0; p < model->config.n_pools; p++)
    for (int64_t slot = 0; slot < smft__n_slots(model); slot++) {
      for (int64_t i = 0; i < dim; i++)
        /* the rest of the network has small weights */
        row[i] = 30 * sinf((float)(slot * 7 + i * i + p));
      ck_ok(smft_patch_set_row(patch, p, slot, row, dim));
    }
}

/* Everything that a pass leaves: loss, reads, and the gradient of every row. */
typedef struct outcome {
  double loss;
  int64_t n_reads[2];
  int64_t *slots[2];
  float *weights[2];
  smft__rows rows[2];
} outcome;

static outcome run(passes *p, const smft__kept_batch *kept, int keep) {
  outcome o = {0};
  smft__rows *wanted[2] = {&o.rows[0], &o.rows[1]};
  smft__grads grads = {.rows = wanted};
  ck_ok(smft__network_forward_kept(p->tape, smft__patch_current(p->owner.patch), &p->all, kept,
                                   keep, keep ? &o.loss : NULL, NULL));
  for (int32_t m = 0; m < model->config.n_memories; m++) {
    const int64_t *slots = smft__tape_slots(p->tape, m, &o.n_reads[m]);
    const float *weights = smft__tape_weights(p->tape, m, &o.n_reads[m]);
    o.slots[m] = memcpy(malloc((size_t)o.n_reads[m] * sizeof *slots), slots,
                        (size_t)o.n_reads[m] * sizeof *slots);
    o.weights[m] = memcpy(malloc((size_t)o.n_reads[m] * sizeof *weights), weights,
                          (size_t)o.n_reads[m] * sizeof *weights);
  }
  for (int32_t i = 0; keep && i < model->config.n_pools; i++) {
    smft__rows_init(&o.rows[i], ctx, model->config.memory.value_dim);
    ck_ok(smft__rows_reserve(&o.rows[i], smft__n_slots(model)));
    for (int64_t slot = 0; slot < smft__n_slots(model); slot++)
      memset(smft__rows_at(&o.rows[i], smft__rows_add(&o.rows[i], slot)), 0,
             (size_t)o.rows[i].dim * sizeof(float));
  }
  if (keep)
    ck_ok(smft__network_backward(p->tape, smft__patch_current(p->owner.patch), &grads, NULL));
  return o;
}

static void free_outcome(outcome *o) {
  for (int i = 0; i < 2; i++) {
    free(o->slots[i]);
    free(o->weights[i]);
    if (o->rows[i].ctx)
      smft__rows_free(&o->rows[i]);
  }
}

static void same_outcome(const outcome *a, const outcome *b) {
  ck_assert(memcmp(&a->loss, &b->loss, sizeof a->loss) == 0);
  for (int32_t m = 0; m < model->config.n_memories; m++) {
    ck_assert(a->n_reads[m] > 0 && a->n_reads[m] == b->n_reads[m]);
    ck_assert_mem_eq(a->slots[m], b->slots[m], (size_t)a->n_reads[m] * sizeof *a->slots[m]);
    ck_assert_mem_eq(a->weights[m], b->weights[m], (size_t)a->n_reads[m] * sizeof *a->weights[m]);
  }
  for (int32_t p = 0; a->rows[0].ctx && p < model->config.n_pools; p++)
    ck_assert_mem_eq(a->rows[p].values, b->rows[p].values,
                     (size_t)(a->rows[p].n * a->rows[p].dim) * sizeof(float));
}

/* The layers were made before the patch held anything. */
START_TEST(no_patch_changes_it) {
  passes p;
  const int keeps[] = {SMFT__KEEP_NOTHING, SMFT__KEEP_VALUES};
  open_model(_i);
  open_passes(&p);
  outcome empty = run(&p, NULL, SMFT__KEEP_VALUES);
  disturb(p.owner.patch);
  for (int i = 0; i < 2; i++) {
    outcome plain = run(&p, NULL, keeps[i]), kept = run(&p, &p.kept, keeps[i]);
    same_outcome(&kept, &plain);
    /* the patch does something */
    ck_assert(keeps[i] == SMFT__KEEP_NOTHING || fabs(plain.loss - empty.loss) > 1e-3);
    free_outcome(&plain);
    free_outcome(&kept);
  }
  free_outcome(&empty);
  close_passes(&p);
  close_model();
}
END_TEST

static void poison(int32_t tensor) { /* smft_model_init's weights are in memory */
  float *data = tensor < 0 ? NULL : (float *)(uintptr_t)model->tensors[tensor].data;
  for (int64_t i = 0; data && i < smft__tensor_count(&model->tensors[tensor]); i++)
    data[i] = NAN;
}

/* Blocks below the lowest memory layer, and that one's attention, queries and keys. */
static void poison_below(void) {
  int32_t lowest = model->config.memories[0].layer;
  for (int32_t layer = 0; layer <= lowest; layer++) {
    const smft__where *at = model->config.blocks[layer].at;
    for (int i = 0; i < (layer < lowest ? SMFT__N_BLOCK_PARAMS : SMFT__ATTENTION_END); i++)
      poison(at[i].tensor);
  }
  for (int i = SMFT__M_QUERY; i <= SMFT__M_QUERY_BIAS; i++)
    poison(model->config.memories[0].at[i].tensor);
  poison(model->config.memories[0].at[SMFT__M_KEYS].tensor);
}

/* Of a learner's steps, only the first on a fact runs the blocks below. */
START_TEST(later_steps_run_nothing_below) {
  open_model(_i);
  pupil p = open_pupil(SMFT_PATCH_SLOTS, SMFT_OPTIMIZER_SGD, 3, 0);
  push_fact(p.learner, 0);
  push_fact(p.learner, 1);
  ck_ok(smft_step(p.learner, NULL));
  poison_below();
  for (int step = 1; step < STEPS; step++)
    ck_ok(smft_step(p.learner, NULL));
  ck_status(smft_step(p.learner, NULL), SMFT_E_NONFINITE); /* the next fact */
  close_pupil(&p);
  close_model();
}
END_TEST

START_TEST(nothing_below_runs) {
  passes p;
  open_model(_i);
  open_passes(&p);
  outcome before = run(&p, &p.kept, SMFT__KEEP_VALUES);
  poison_below();
  outcome after = run(&p, &p.kept, SMFT__KEEP_VALUES);
  same_outcome(&before, &after);
  ck_status(smft__network_forward(p.tape, smft__patch_current(p.owner.patch), &p.all,
                                  SMFT__KEEP_VALUES, NULL, NULL),
            SMFT_E_NONFINITE);
  free_outcome(&before);
  free_outcome(&after);
  close_passes(&p);
  close_model();
}
END_TEST

/* Where only reads are wanted, the highest memory layer's pool is not touched: it stands where no
 * memory is. */
START_TEST(reads_need_no_values_of_the_highest_layer) {
  passes p;
  open_model(_i); /* 0 or 2: that pool is its own */
  open_passes(&p);
  smft__tensor *pool =
      &model->tensors[smft__pool_tensor(&model->config, model->config.n_pools - 1)];
  outcome before = run(&p, NULL, SMFT__KEEP_NOTHING);
  const void *values = pool->data;
  pool->data = (const void *)(uintptr_t)4096;
  outcome plain = run(&p, NULL, SMFT__KEEP_NOTHING), kept = run(&p, &p.kept, SMFT__KEEP_NOTHING);
  pool->data = values;
  same_outcome(&before, &plain);
  same_outcome(&before, &kept);
  free_outcome(&before);
  free_outcome(&plain);
  free_outcome(&kept);
  close_passes(&p);
  close_model();
}
END_TEST

START_TEST(sequences_in_another_order) {
  passes p;
  open_model(_i);
  open_passes(&p);
  disturb(p.owner.patch);
  const smft__fact *fact = p.owner.learner->queue.first;
  const int64_t order[] = {4, 0, 2, 4};
  int32_t ids[4 * 32];
  float weights[4 * 32];
  int64_t offsets[5] = {0}, begins[4];
  for (int s = 0; s < 4; s++) {
    int64_t begin = begins[s] = fact->offsets[order[s]], n = fact->offsets[order[s] + 1] - begin;
    memcpy(ids + offsets[s], fact->ids.data + begin, (size_t)n * sizeof *ids);
    memcpy(weights + offsets[s], fact->weights + begin, (size_t)n * sizeof *weights);
    offsets[s + 1] = offsets[s] + n;
  }
  smft__sequences batch = {ids, offsets, 4, offsets[4], weights};
  smft__kept_batch kept = {&p.layers, begins, NULL, {NULL, NULL}};
  double plain = 0, from_kept = 0;
  ck_ok(smft__network_forward(p.tape, smft__patch_current(p.owner.patch), &batch,
                              SMFT__KEEP_NOTHING, &plain, NULL));
  ck_ok(smft__network_forward_kept(p.tape, smft__patch_current(p.owner.patch), &batch, &kept,
                                   SMFT__KEEP_NOTHING, &from_kept, NULL));
  ck_assert_double_eq_tol(from_kept, plain, 2e-6);
  begins[0] = fact->offsets[3]; /* another wording's states */
  ck_ok(smft__network_forward_kept(p.tape, smft__patch_current(p.owner.patch), &batch, &kept,
                                   SMFT__KEEP_NOTHING, &from_kept, NULL));
  ck_assert_double_gt(fabs(from_kept - plain), 1e-4);
  close_passes(&p);
  close_model();
}
END_TEST

/* ---- who keeps none ------------------------------------------------------ */

START_TEST(other_patches_keep_none) {
  int32_t kind = _i ? SMFT_PATCH_LORA : SMFT_PATCH_FULL;
  passes p;
  open_model(0);
  open_passes(&p);
  pupil other = open_pupil(kind, SMFT_OPTIMIZER_ADAMW, 2, 0);
  push_fact(other.learner, 1);
  ck_ok(smft_step(other.learner, NULL));
  ck_assert_int_eq(other.learner->kept.serial, 0);
  ck_assert_ptr_null(other.learner->kept.layers.block);
  ck_status(smft__network_forward_kept(p.tape, smft__patch_current(other.patch), &p.all, &p.kept,
                                       SMFT__KEEP_VALUES, NULL, NULL),
            SMFT_E_INVALID);
  close_pupil(&other);
  close_passes(&p);
  close_model();
}
END_TEST

START_TEST(refusals) {
  passes p;
  int64_t begins[WORDINGS];
  atomic_int cancel = 1;
  open_model(0);
  open_passes(&p);
  smft__kept_batch kept = {&p.layers, begins, NULL, {NULL, NULL}};
  memcpy(begins, p.kept.begins, sizeof begins);
  ck_status(smft__network_forward_kept(p.tape, NULL, &p.all, &kept, SMFT__KEEP_ALL, NULL, NULL),
            SMFT_E_INVALID);
  begins[WORDINGS - 1]++; /* one token past the end */
  ck_status(smft__network_forward_kept(p.tape, NULL, &p.all, &kept, SMFT__KEEP_NOTHING, NULL, NULL),
            SMFT_E_INVALID);
  begins[WORDINGS - 1] = -1;
  ck_status(smft__network_forward_kept(p.tape, NULL, &p.all, &kept, SMFT__KEEP_NOTHING, NULL, NULL),
            SMFT_E_INVALID);
  ck_status(smft__network_keep(p.tape, &p.all, &p.layers, &cancel), SMFT_E_CANCELLED);
  ck_assert_int_eq(p.layers.n_tokens, 0); /* and is not taken for one */
  ck_status(smft__network_forward_kept(p.tape, NULL, &p.all, &p.kept, SMFT__KEEP_NOTHING, NULL,
                                       NULL),
            SMFT_E_INVALID);
  close_passes(&p);
  close_model();
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("kept");
  TCase *cases = tcase_create("kept");
  test_directory_make();
  tcase_add_loop_test(cases, kept_layers_change_no_bit, 0, 3 * N_SHAPES);
  tcase_add_loop_test(cases, steps_agree_with_plain_passes, 0, 2 * N_SHAPES);
  tcase_add_loop_test(cases, no_patch_changes_it, 0, N_SHAPES);
  tcase_add_loop_test(cases, later_steps_run_nothing_below, 0, N_SHAPES);
  tcase_add_loop_test(cases, nothing_below_runs, 0, N_SHAPES);
  tcase_add_loop_test(cases, reads_need_no_values_of_the_highest_layer, 0, 1);
  tcase_add_loop_test(cases, reads_need_no_values_of_the_highest_layer, 2, 3);
  tcase_add_loop_test(cases, sequences_in_another_order, 0, N_SHAPES);
  tcase_add_loop_test(cases, other_patches_keep_none, 0, 2);
  tcase_add_test(cases, refusals);
  suite_add_tcase(suite, cases);
  return suite;
}
