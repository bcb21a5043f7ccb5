/* params: the one list of parameters, walked over every fixture: what a model has of it loads,
 * starts, is exported, has a gradient equal to finite differences, is refused by name when missing,
 * and has its adapter.  All checks are loops over lines, so that a new one is tried as soon as a
 * fixture has it. */
#include "tiny.h"

#include "base/hash.h"
#include "base/rng.h"
#include "data/safetensors.h"
#include "model/arch.h"
#include "model/network.h"
#include "model/weights.h"

/* ---- fixtures ------------------------------------------------------------ */

typedef struct fixture {
  const char *golden; /* a directory of the tree; NULL: a tiny model made on the spot */
  tiny shape;
  const char *query_norm, *key_norm;
  int gate, bias;
  const char *family; /* keys of config.json in place of tiny.h's "model_type"; NULL: that */
  const char *more;   /* keys of the memory; NULL: none */
} fixture;

#define QWEN3 "\"model_type\": \"qwen3\", \"head_dim\": 10"
#define GEMMA3                                                                                     \
  "\"model_type\": \"gemma3_text\", \"head_dim\": 10, \"sliding_window\": 2, "                     \
  "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"sliding_attention\"], "          \
  "\"query_pre_attn_scalar\": 7, \"rope_local_base_freq\": 20"

#define IDENTITY ", \"out\": \"identity\""

/* A new family, and a new line, comes with a fixture here. */
static const fixture fixtures[] = {
    {.golden = "tests/golden/network_replace"},
    {.golden = "tests/golden/network_beside"},
    {.golden = "tests/golden/network_qwen2"},
    {.golden = "tests/golden/network_qwen2_window"},
    {.golden = "tests/golden/network_mistral"},
    {NULL, {6, 20, 0, 0}, "layernorm", "none", 1, 1, NULL, NULL},
    {NULL, {7, 24, 1, 0}, "none", "rmsnorm", 1, 0, NULL, NULL},
    {NULL, {5, 32, 0, 1}, "rmsnorm", "l2", 0, 1, NULL, NULL},
    {NULL, {6, 20, 1, 1}, "l2", "layernorm", 1, 1, NULL, NULL},
    {NULL, {7, 16, 0, 2}, "layernorm", "rmsnorm", 1, 0, NULL, NULL},
    {NULL, {5, 20, 1, 2}, "rmsnorm", "layernorm", 0, 0, NULL, NULL},
    {.golden = "tests/golden/network_qwen3"},
    {.golden = "tests/golden/network_gemma3"},
    {NULL, {7, 24, 0, 1}, "none", "rmsnorm", 1, 0, QWEN3, NULL},
    {NULL, {6, 20, 0, 1}, "layernorm", "none", 1, 1, GEMMA3, NULL},
    {NULL, {7, 24, 1, 2}, "rmsnorm", "layernorm", 0, 0, GEMMA3, NULL},
    {.golden = "tests/golden/network_llama3"},
    {.golden = "tests/golden/network_yarn"},
    {.golden = "tests/golden/network_smollm3"},
    {NULL, {6, 32, 1, 1}, "rmsnorm", "none", 0, 1, NULL, IDENTITY},
    {NULL, {5, 32, 0, 0}, "layernorm", "l2", 1, 1, QWEN3, IDENTITY},
};
enum { N_FIXTURES = sizeof fixtures / sizeof *fixtures };

/* No loss depends on it: it moves all scores of a head alike, which no softmax sees. */
static const int32_t without_effect[] = {SMFT__LINE_M_KEY_NORM_BIAS};

typedef struct world {
  const fixture *fixture;
  smft_ctx *ctx;
  smft_model *model; /* loaded from the directory */
  char directory[1024];
} world;

/* config.json of tiny.h with other norms, its last keys, and of another family, its first. */
static void write_tiny(const fixture *f) {
  char text[4096];
  mkdir(test_file("tiny"), 0700);
  tiny_config("tiny", f->shape);
  tiny_tokenizer("tiny");
  char *whole = test_read(test_file("tiny/config.json"), NULL);
  char *end = strstr(whole, "\"query_norm\"");
  ck_assert_ptr_nonnull(end);
  *end = '\0';
  const char *rest = strstr(whole, "\"llama\"");
  ck_assert_ptr_nonnull(rest);
  int n =
      snprintf(text, sizeof text,
               "{%s%s\"query_norm\": \"%s\", \"key_norm\": \"%s\", \"gate\": %s, \"bias\": %s%s}}",
               f->family ? f->family : "\"model_type\": \"llama\"", rest + strlen("\"llama\""),
               f->query_norm, f->key_norm, f->gate ? "true" : "false", f->bias ? "true" : "false",
               f->more ? f->more : "");
  test_write("tiny/config.json", text, (size_t)n);
  free(whole);
}

/* Numbers in which every parameter is seen: none is all alike, none small. */
static void fill(smft_patch *patch, smft__rng *rng) {
  for (int32_t i = 0; i < patch->model->n_tensors; i++) {
    const smft__tensor *tensor = &patch->model->tensors[i];
    smft__start start = smft__param_start(&patch->model->config, patch->model->origin[i].line);
    int constant = start.kind == SMFT__INIT_CONSTANT;
    double scale = constant ? 0.5 : 1.8 / sqrt((double)tensor->shape[tensor->n_dims - 1]);
    for (int64_t j = 0; j < smft__tensor_count(tensor); j++)
      patch->full[i][j] = (float)((constant ? start.scale : 0) + scale * smft__rng_normal(rng));
  }
}

static void make_tiny(world *w) {
  smft_model *model = NULL;
  smft_patch *patch = NULL;
  smft__rng rng;
  write_tiny(w->fixture);
  ck_ok(smft_model_init(&model, w->ctx, w->directory, 1));
  ck_ok(smft_patch_create(&patch, model, SMFT_PATCH_FULL));
  smft__rng_seed(&rng, 5);
  fill(patch, &rng);
  ck_ok(smft_model_export(model, patch, w->directory, NULL));
  smft_patch_free(patch);
  smft_model_free(model);
}

static void open_world(world *w, int number) {
  memset(w, 0, sizeof *w);
  w->fixture = &fixtures[number];
  ck_ok(smft_ctx_create(&w->ctx, NULL));
  snprintf(w->directory, sizeof w->directory, "%s",
           w->fixture->golden ? test_source(w->fixture->golden) : test_file("tiny"));
  if (!w->fixture->golden)
    make_tiny(w);
  ck_ok(smft_model_load(&w->model, w->ctx, w->directory, NULL));
}

static void close_world(world *w) {
  smft_model_free(w->model);
  smft_ctx_free(w->ctx);
}

static const smft__param *line_of(const smft_model *model, int32_t tensor) {
  return &smft__params[model->origin[tensor].line];
}

static int64_t count_of(const smft_model *model, int32_t tensor) {
  return smft__tensor_count(&model->tensors[tensor]);
}

/* ---- it loads ------------------------------------------------------------ */

static int has(const smft_model *model, smft__origin origin) {
  return model->config.arch->names[origin.line] &&
         smft__param_is_there(&model->config, origin.line, origin.place);
}

static void check_present(const smft_model *model, smft__origin origin, int32_t tensor) {
  const smft__config *c = &model->config;
  const char *id = smft__params[origin.line].id;
  int memory = smft__params[origin.line].scope == SMFT__OF_MEMORY;
  char name[SMFT__TENSOR_NAME];
  int64_t shape[4] = {0};
  ck_assert_msg(tensor >= 0 && tensor < model->n_tensors, "%s: tensor %d", id, tensor);
  snprintf(name, sizeof name, c->arch->names[origin.line],
           memory ? c->memories[origin.place].layer : origin.place);
  ck_assert_str_eq(model->names[tensor], name);
  ck_assert_int_eq(model->tensors[tensor].n_dims, smft__param_shape(c, origin.line, shape));
  for (int32_t d = 0; d < model->tensors[tensor].n_dims; d++)
    ck_assert_msg(model->tensors[tensor].shape[d] == shape[d], "%s: size %d", name, d);
  ck_assert_ptr_nonnull(model->tensors[tensor].data);
  ck_assert_int_eq(model->origin[tensor].line, origin.line);
  ck_assert_int_eq(model->origin[tensor].place, origin.place);
}

START_TEST(loads) {
  world w;
  int64_t n = 0;
  open_world(&w, _i);
  for (int32_t line = 0; line < SMFT__N_PARAMS; line++)
    for (int32_t i = 0; i < smft__n_places(&w.model->config, smft__params[line].scope); i++) {
      smft__origin origin = {line, i};
      int32_t tensor = smft__weights_where(w.model, origin)->tensor;
      if (has(w.model, origin))
        check_present(w.model, origin, tensor);
      else
        ck_assert_int_eq(tensor, -1);
      n += has(w.model, origin);
    }
  /* each parameter has its own tensor (its origin says so), and no tensor is left */
  ck_assert_int_eq(n, w.model->n_tensors);
  ck_assert_int_eq(n, w.model->source.n);
  close_world(&w);
}
END_TEST

START_TEST(every_line_is_met) {
  int met[SMFT__N_PARAMS] = {0};
  for (int f = 0; f < N_FIXTURES; f++) {
    world w;
    open_world(&w, f);
    for (int32_t i = 0; i < w.model->n_tensors; i++)
      met[w.model->origin[i].line]++;
    close_world(&w);
  }
  for (int32_t line = 0; line < SMFT__N_PARAMS; line++)
    ck_assert_msg(met[line] > 0, "no fixture has parameter %s: add one", smft__params[line].id);
}
END_TEST

/* ---- it starts ----------------------------------------------------------- */

typedef struct moments {
  double mean, deviation, least, most;
} moments;

static moments measure(const float *values, int64_t n) {
  moments m = {0, 0, INFINITY, -INFINITY};
  for (int64_t j = 0; j < n; j++) {
    m.mean += (double)values[j] / (double)n;
    m.least = fmin(m.least, (double)values[j]);
    m.most = fmax(m.most, (double)values[j]);
  }
  for (int64_t j = 0; j < n; j++)
    m.deviation += pow((double)values[j] - m.mean, 2) / (double)n;
  m.deviation = sqrt(m.deviation);
  return m;
}

/* Within five standard errors; all seeds are fixed. */
static void check_spread(const char *name, const moments *m, double deviation, double bound,
                         int64_t n) {
  double error = deviation / sqrt((double)n);
  ck_assert_msg(fabs(m->mean) <= 5 * error && fabs(m->deviation - deviation) <= 5 * error,
                "%s: mean %g, deviation %g; wanted 0, %g (error %g)", name, m->mean, m->deviation,
                deviation, error);
  ck_assert_msg(m->least >= -bound && m->most <= bound, "%s: from %g to %g, bound %g", name,
                m->least, m->most, bound);
}

static void check_start(const smft_model *model, int32_t i) {
  smft__start start = smft__param_start(&model->config, model->origin[i].line);
  const char *name = model->names[i];
  int64_t n = count_of(model, i);
  moments m = measure(model->tensors[i].data, n);
  ck_assert_msg(isfinite(m.deviation), "%s starts with values that are not finite", name);
  if (start.kind == SMFT__INIT_NORMAL)
    check_spread(name, &m, start.scale, 7 * start.scale, n);
  else if (start.kind == SMFT__INIT_UNIFORM)
    check_spread(name, &m, start.scale / sqrt(3), start.scale, n);
  else
    ck_assert_msg(m.least >= (double)(float)start.scale && m.most <= (double)(float)start.scale,
                  "%s: from %g to %g, wanted %g", name, m.least, m.most, start.scale);
}

START_TEST(starts) {
  world w;
  smft_model *models[3];
  const uint64_t seeds[3] = {7, 7, 8};
  open_world(&w, _i);
  for (int k = 0; k < 3; k++)
    ck_ok(smft_model_init(&models[k], w.ctx, w.directory, seeds[k]));
  ck_assert_int_eq(models[0]->n_tensors, w.model->n_tensors);
  for (int32_t i = 0; i < w.model->n_tensors; i++) {
    size_t size = (size_t)count_of(models[0], i) * sizeof(float);
    int32_t kind = smft__param_start(&w.model->config, w.model->origin[i].line).kind;
    const void *values = models[0]->tensors[i].data;
    check_start(models[0], i);
    ck_assert_msg(memcmp(values, models[1]->tensors[i].data, size) == 0,
                  "%s: the same seed, other numbers", w.model->names[i]);
    ck_assert_msg((memcmp(values, models[2]->tensors[i].data, size) == 0) ==
                      (kind == SMFT__INIT_CONSTANT),
                  "%s: numbers of another seed", w.model->names[i]);
  }
  for (int k = 0; k < 3; k++)
    smft_model_free(models[k]);
  close_world(&w);
}
END_TEST

/* ---- it is exported ------------------------------------------------------ */

static void check_exported(const smft_model *model, const smft_patch *patch, int32_t i,
                           const smft__source *file) {
  int64_t at = smft__source_find(file, model->names[i]);
  smft__tensor weight = smft__weight(model, smft__patch_current(patch), i);
  ck_assert_msg(at >= 0, "%s is not exported", model->names[i]);
  ck_assert_int_eq(file->tensors[at].dtype, weight.dtype);
  ck_assert_int_eq(smft__tensor_bytes(&file->tensors[at]), smft__tensor_bytes(&weight));
  ck_assert_msg(memcmp(file->tensors[at].data, weight.data, (size_t)smft__tensor_bytes(&weight)) ==
                    0,
                "%s is exported with other values", model->names[i]);
}

static void export_and_load(const world *w, smft_patch *patch) {
  smft_model *copy = NULL;
  remove(test_file("out/tokenizer.json")); /* of a fixture before */
  ck_ok(smft_model_export(w->model, patch, test_file("out"), NULL));
  ck_ok(smft_model_load(&copy, w->ctx, test_file("out"), NULL));
  ck_assert_int_eq(copy->source.n, w->model->n_tensors);
  for (int32_t i = 0; i < w->model->n_tensors; i++)
    check_exported(w->model, patch, i, &copy->source);
  ck_assert_int_eq(strcmp(smft_model_hash(copy), smft_model_hash(w->model)) != 0, patch != NULL);
  smft_model_free(copy);
}

/* The model, and what a patch that changes every tensor makes of it. */
START_TEST(is_exported) {
  world w;
  smft_patch *patch = NULL;
  smft__rng rng;
  open_world(&w, _i);
  export_and_load(&w, NULL);
  ck_ok(smft_patch_create(&patch, w.model, SMFT_PATCH_FULL));
  smft__rng_seed(&rng, 6);
  fill(patch, &rng);
  export_and_load(&w, patch);
  smft_patch_free(patch);
  close_world(&w);
}
END_TEST

/* ---- it has a gradient --------------------------------------------------- */

/* Against the library's own forward pass, which is float, but knows every parameter: a step along a
 * random direction changes the loss by its product with the gradient, if both ends read the same
 * slots. */
#define N_TOKENS 7
#define CALM 4         /* shakes that a batch must stand */
#define DIRECTIONS 3   /* of each tensor */
#define TRIES 300      /* of either, at most */
#define LONGEST 4e-3   /* step, of what the numbers are */
#define NOISE 2e-6     /* of a difference of two losses in float: measured 7e-7 */
#define TOLERANCE 0.01 /* of the change that is usual for such a step */
#define SEEN 5         /* so many times the noise a change must be to mean anything: measured 10 */

typedef struct probe { /* a patch whose numbers are moved, and what reads the loss */
  smft__tape *tape;
  smft_patch *patch;
  int32_t ids[N_TOKENS];
  int64_t offsets[4];
  float weights[N_TOKENS];
  uint64_t chosen; /* the slots, where it stands */
  smft__rng rng;
} probe;

typedef struct piece { /* numbers that have a gradient: a tensor, a factor of an adapter */
  const char *name;
  float *values;
  const float *gradient;
  int64_t n;
} piece;

/* Which slots are read, whatever their order. */
static uint64_t chosen_slots(const probe *p) {
  const smft__config *c = &p->tape->model->config;
  uint64_t sum = 0;
  int64_t n = 0;
  for (int32_t m = 0; m < c->n_memories; m++) {
    const int64_t *slots = smft__tape_slots(p->tape, m, &n);
    for (int64_t i = 0; i < n; i++)
      sum += smft__mix64(((uint64_t)m << 48) + ((uint64_t)(i / c->memory.top_k) << 32) +
                         (uint64_t)slots[i]);
  }
  return sum;
}

static double read_loss(const probe *p, int keep, uint64_t *chosen) {
  smft__sequences batch = {p->ids, p->offsets, 3, N_TOKENS, p->weights};
  double loss = 0;
  ck_ok(smft__network_forward(p->tape, smft__patch_current(p->patch), &batch, keep, &loss, NULL));
  *chosen = chosen_slots(p);
  return loss;
}

static void draw_batch(probe *p, int32_t vocab) {
  for (int i = 0; i < N_TOKENS; i++) {
    p->ids[i] = (int32_t)smft__rng_below(&p->rng, vocab);
    p->weights[i] = (float)(1 + smft__rng_below(&p->rng, 2));
  }
  read_loss(p, SMFT__KEEP_NOTHING, &p->chosen);
}

/* Whether the batch reads the same slots when all numbers of the patch change a little. */
static int is_calm(probe *p) {
  smft_patch *kept = p->patch, *shaken = NULL;
  uint64_t chosen = 0;
  ck_ok(smft_patch_copy(&shaken, kept));
  for (int32_t i = 0; i < smft__patch_n_parts(shaken); i++) {
    smft__part part;
    smft__patch_part(shaken, i, &part);
    for (int64_t j = 0; j < smft__tensor_count(&part.shape); j++)
      part.values[j] *= (float)(1 + LONGEST / 2 * smft__rng_normal(&p->rng));
  }
  p->patch = shaken;
  read_loss(p, SMFT__KEEP_NOTHING, &chosen);
  p->patch = kept;
  smft_patch_free(shaken);
  return chosen == p->chosen;
}

/* With a batch none of whose slots is near the edge of its choice. */
static void begin_probe(probe *p, smft_patch *patch, uint64_t seed) {
  int calm = 0;
  memset(p, 0, sizeof *p);
  ck_ok(smft__tape_create(&p->tape, patch->model));
  p->patch = patch;
  smft__rng_seed(&p->rng, seed);
  p->offsets[1] = 3;
  p->offsets[2] = 4;
  p->offsets[3] = N_TOKENS;
  for (int k = 0; k < TRIES && calm < CALM; k++) {
    draw_batch(p, patch->model->config.vocab);
    for (calm = 0; calm < CALM && is_calm(p);)
      calm++;
  }
  ck_assert_msg(calm == CALM, "all of %d batches have a slot near an edge", TRIES);
}

typedef struct change { /* of the loss, between the two ends of a step */
  double loss, predicted, usual;
  int smooth; /* both ends read the slots that the middle reads */
} change;

static void move(const piece *one, const float *kept, const float *direction, double h) {
  for (int64_t j = 0; j < one->n; j++)
    one->values[j] = (float)((double)kept[j] + h * (double)direction[j]);
}

/* What the gradient makes of the step, as float rounded it. */
static void predict(const piece *one, const float *above, change *c) {
  for (int64_t j = 0; j < one->n; j++) {
    double part = (double)one->gradient[j] * ((double)above[j] - (double)one->values[j]);
    c->predicted += part;
    c->usual += part * part;
  }
  c->usual = sqrt(c->usual);
}

static change step(const probe *p, const piece *one, const float *direction, double h) {
  size_t size = (size_t)one->n * sizeof(float);
  float *kept = malloc(size), *above = malloc(size);
  change c = {0};
  uint64_t left = 0, right = 0;
  memcpy(kept, one->values, size);
  move(one, kept, direction, h);
  memcpy(above, one->values, size);
  c.loss = read_loss(p, SMFT__KEEP_NOTHING, &right);
  move(one, kept, direction, -h);
  c.loss -= read_loss(p, SMFT__KEEP_NOTHING, &left);
  c.smooth = left == p->chosen && right == p->chosen;
  predict(one, above, &c);
  memcpy(one->values, kept, size);
  free(kept);
  free(above);
  return c;
}

/* Normal numbers as large as the values. */
static void draw(smft__rng *rng, const piece *one, float *direction) {
  double squares = 0;
  for (int64_t j = 0; j < one->n; j++)
    squares += (double)one->values[j] * (double)one->values[j] / (double)one->n;
  for (int64_t j = 0; j < one->n; j++)
    direction[j] = (float)(sqrt(squares) * smft__rng_normal(rng));
}

static change try_direction(probe *p, const piece *one) {
  float *direction = malloc((size_t)one->n * sizeof *direction);
  change c = {0};
  draw(&p->rng, one, direction);
  for (double h = LONGEST; !c.smooth && h > LONGEST / 20; h /= 2)
    c = step(p, one, direction, h);
  free(direction);
  return c;
}

/* A forgotten gradient shows in a loss that changes where no change was predicted: so it has to
 * change. Where a slot is near the edge of its choice, another direction is tried. */
static void check_piece(probe *p, const piece *one, int has_effect) {
  double most = 0;
  int done = 0;
  for (int k = 0; k < TRIES && done < DIRECTIONS; k++) {
    change c = try_direction(p, one);
    if (!c.smooth)
      continue;
    ck_assert_msg(fabs(c.predicted - c.loss) <= TOLERANCE * c.usual + NOISE,
                  "%s: the gradient makes it %g, the loss changes by %g (usual: %g)", one->name,
                  c.predicted, c.loss, c.usual);
    most = fmax(most, fabs(c.loss) / NOISE);
    done++;
  }
  ck_assert_msg(done == DIRECTIONS, "%s: steps in %d directions change the slots", one->name,
                TRIES - done);
  ck_assert_msg(has_effect == (most > SEEN), "%s: the loss changes by %g times its noise",
                one->name, most);
}

static int is_without_effect(int32_t line) {
  int found = 0;
  for (size_t i = 0; i < sizeof without_effect / sizeof *without_effect; i++)
    found |= without_effect[i] == line;
  return found;
}

static float **make_gradients(const smft_patch *patch) {
  int32_t n = smft__patch_n_parts(patch);
  ck_assert_int_gt(n, 0);
  float **gradients = calloc((size_t)n, sizeof *gradients);
  for (int32_t i = 0; i < n; i++) {
    smft__part part;
    smft__patch_part(patch, i, &part);
    gradients[i] = calloc((size_t)smft__tensor_count(&part.shape), sizeof **gradients);
  }
  return gradients;
}

/* Of all that training the patch changes. */
static void check_gradients(smft_patch *patch, uint64_t seed) {
  float **gradients = make_gradients(patch);
  smft__grads wanted = {.tensors = patch->full ? gradients : NULL,
                        .adapters = patch->full ? NULL : gradients};
  probe p;
  begin_probe(&p, patch, seed);
  read_loss(&p, SMFT__KEEP_ALL, &p.chosen);
  ck_ok(smft__network_backward(p.tape, smft__patch_current(patch), &wanted, NULL));
  for (int32_t i = 0; i < smft__patch_n_parts(patch); i++) {
    smft__part part;
    smft__patch_part(patch, i, &part);
    piece one = {part.name, part.values, gradients[i], smft__tensor_count(&part.shape)};
    check_piece(&p, &one, !patch->full || !is_without_effect(patch->model->origin[i].line));
  }
  for (int32_t i = 0; i < smft__patch_n_parts(patch); i++)
    free(gradients[i]);
  smft__tape_free(p.tape);
  free(gradients);
}

START_TEST(has_a_gradient) {
  world w;
  smft_patch *patch = NULL;
  open_world(&w, _i);
  ck_ok(smft_patch_create(&patch, w.model, SMFT_PATCH_FULL));
  check_gradients(patch, 20 + (uint64_t)_i);
  smft_patch_free(patch);
  close_world(&w);
}
END_TEST

/* ---- it is refused by name when missing ---------------------------------- */

static void write_without(const smft_model *model, int32_t missing) {
  smft__save_tensor *tensors = calloc((size_t)model->n_tensors, sizeof *tensors);
  int64_t n = 0;
  for (int32_t i = 0; i < model->n_tensors; i++)
    if (i != missing)
      tensors[n++] = (smft__save_tensor){model->names[i], model->tensors[i], 0};
  ck_ok(smft__safetensors_write(model->ctx, test_file("less/model.safetensors"), tensors, n, NULL,
                                NULL, 0, NULL, NULL));
  free(tensors);
}

START_TEST(is_refused_by_name) {
  world w;
  smft_model *model = NULL;
  size_t size = 0;
  char path[1100], needle[SMFT__TENSOR_NAME + 32];
  open_world(&w, _i);
  mkdir(test_file("less"), 0700);
  snprintf(path, sizeof path, "%s/config.json", w.directory);
  char *text = test_read(path, &size);
  test_write("less/config.json", text, size);
  free(text);
  write_without(w.model, -1);
  ck_ok(smft_model_load(&model, w.ctx, test_file("less"), NULL));
  smft_model_free(model);
  for (int32_t i = 0; i < w.model->n_tensors; i++) {
    write_without(w.model, i);
    ck_status(smft_model_load(&model, w.ctx, test_file("less"), NULL), SMFT_E_MISMATCH);
    snprintf(needle, sizeof needle, "tensor %s is missing", w.model->names[i]);
    ck_assert_msg(strstr(smft_error_message(), needle) != NULL, "without %s: %s", w.model->names[i],
                  smft_error_message());
  }
  close_world(&w);
}
END_TEST

/* ---- it has its adapter -------------------------------------------------- */

/* Every target is one line's, and every line that is one is a matrix. */
START_TEST(each_target_is_one_line) {
  uint32_t all = 0;
  for (int32_t line = 0; line < SMFT__N_PARAMS; line++) {
    const smft__param *p = &smft__params[line];
    ck_assert_msg((p->lora & (p->lora - 1)) == 0 && !(all & p->lora), "%s: target %u", p->id,
                  (unsigned)p->lora);
    ck_assert_msg(!p->lora || (p->bias_of < 0 && p->dims[0] && p->dims[1] && !p->dims[2]),
                  "%s has a target, but is no matrix", p->id);
    all |= p->lora;
  }
  ck_assert_uint_eq(all, SMFT_LORA_ALL);
}
END_TEST

static int count_targets(const smft_model *model, uint32_t targets) {
  int n = 0;
  for (int32_t i = 0; i < model->n_tensors; i++)
    n += (line_of(model, i)->lora & targets) != 0;
  return n;
}

static void check_adapters(const smft_model *model, uint32_t targets) {
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  smft_patch *patch = NULL;
  int n = count_targets(model, targets);
  options.rank = 2;
  options.targets = targets;
  ck_status(smft_patch_create_lora(&patch, model, &options), n ? SMFT_OK : SMFT_E_UNSUPPORTED);
  for (int32_t i = 0; patch && i < model->n_tensors; i++)
    ck_assert_msg((smft__patch_adapter(smft__patch_current(patch), i) != NULL) ==
                      ((line_of(model, i)->lora & targets) != 0),
                  "%s and targets %u", model->names[i], (unsigned)targets);
  ck_assert_int_eq(patch ? patch->lora->n : 0, n);
  smft_patch_free(patch);
}

START_TEST(has_its_adapter) {
  world w;
  open_world(&w, _i);
  for (int32_t i = 0; i < w.model->n_tensors; i++)
    ck_assert_uint_eq(smft__lora_target(w.model, i), line_of(w.model, i)->lora);
  for (int32_t line = 0; line < SMFT__N_PARAMS; line++)
    if (smft__params[line].lora)
      check_adapters(w.model, smft__params[line].lora);
  check_adapters(w.model, SMFT_LORA_ALL);
  close_world(&w);
}
END_TEST

static smft_patch *make_adapters(const smft_model *model, smft__rng *rng) {
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  smft_patch *patch = NULL;
  options.rank = 3;
  ck_ok(smft_patch_create_lora(&patch, model, &options));
  for (int32_t i = 0; i < 2 * patch->lora->n; i++) { /* B, which starts as zeros, too */
    smft__tensor part = smft__lora_part(patch->lora, i);
    for (int64_t j = 0; j < smft__tensor_count(&part); j++)
      patch->lora->parts[i][j] = (float)(0.2 * smft__rng_normal(rng));
  }
  return patch;
}

START_TEST(adapters_have_gradients) {
  world w;
  smft__rng rng;
  open_world(&w, _i);
  smft__rng_seed(&rng, 9);
  smft_patch *patch = make_adapters(w.model, &rng);
  check_gradients(patch, 40 + (uint64_t)_i);
  smft_patch_free(patch);
  close_world(&w);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("unit params");
  TCase *tests = tcase_create("params");
  test_directory_make();
  tcase_add_loop_test(tests, loads, 0, N_FIXTURES);
  tcase_add_test(tests, every_line_is_met);
  tcase_add_loop_test(tests, starts, 0, N_FIXTURES);
  tcase_add_loop_test(tests, is_exported, 0, N_FIXTURES);
  tcase_add_loop_test(tests, has_a_gradient, 0, N_FIXTURES);
  tcase_add_loop_test(tests, is_refused_by_name, 0, N_FIXTURES);
  tcase_add_test(tests, each_target_is_one_line);
  tcase_add_loop_test(tests, has_its_adapter, 0, N_FIXTURES);
  tcase_add_loop_test(tests, adapters_have_gradients, 0, N_FIXTURES);
  suite_add_tcase(suite, tests);
  return suite;
}
