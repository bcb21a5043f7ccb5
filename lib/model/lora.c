/* lora: which matrices of a model have low-rank adapters, and the numbers in them.  Owns the
 * options, the order and names of the parts and their start. */
#include "model/lora.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/rng.h"

#define DEFAULT_RANK 16
#define MOST_RANK 65536

/* ---- options ------------------------------------------------------------- */

double smft__lora_scale(const smft_lora_options *o) {
  return o->alpha /
         (o->flags & SMFT_LORA_RANK_STABILIZED ? sqrt((double)o->rank) : (double)o->rank);
}

static smft_status check_options(const smft_lora_options *o) {
  SMFT__REQUIRE(o->rank >= 1 && o->rank <= MOST_RANK,
                "smft_lora_options.rank: expected 1 to %d, got %d", MOST_RANK, (int)o->rank);
  SMFT__REQUIRE((o->targets & ~SMFT_LORA_ALL) == 0,
                "smft_lora_options.targets: unknown bits in 0x%x", (unsigned)o->targets);
  SMFT__REQUIRE((o->flags & ~SMFT_LORA_RANK_STABILIZED) == 0,
                "smft_lora_options.flags: unknown bits in 0x%x", (unsigned)o->flags);
  SMFT__REQUIRE(
      o->alpha > 0 && isfinite((float)smft__lora_scale(o)) && (float)smft__lora_scale(o) > 0,
      "smft_lora_options.alpha: expected a positive number whose quotient by the rank is one too");
  return SMFT_OK;
}

smft_status smft__lora_options(smft_lora_options *own, const smft_lora_options *options) {
  smft_lora_options read = SMFT_LORA_OPTIONS_INIT;
  SMFT__TRY(smft__options_read(&read, options, sizeof read, sizeof read, "smft_lora_options"));
  read.rank = read.rank ? read.rank : DEFAULT_RANK;
  read.alpha = read.alpha == 0 ? 2.0 * (double)read.rank : read.alpha;
  read.targets = read.targets ? read.targets : SMFT_LORA_ALL;
  SMFT__TRY(check_options(&read));
  *own = read;
  return SMFT_OK;
}

/* ---- which tensors ------------------------------------------------------- */

uint32_t smft__lora_target(const smft_model *model, int32_t tensor) {
  return smft__params[model->origin[tensor].line].lora;
}

/* ---- life ---------------------------------------------------------------- */

static void place(smft__lora **lora, smft__arena *arena, const smft_model *model, int32_t n) {
  smft__lora *at = smft__arena_take(arena, 1, sizeof *at);
  int32_t *tensors = smft__arena_take(arena, n, sizeof *tensors);
  int32_t *of = smft__arena_take(arena, model->n_tensors, sizeof *of);
  smft__low_rank *adapters = smft__arena_take(arena, n, sizeof *adapters);
  float **parts = smft__arena_take(arena, 2 * (int64_t)n, sizeof *parts);
  if (!at)
    return;
  *at = (smft__lora){.n = n, .tensors = tensors, .of = of, .adapters = adapters, .parts = parts};
  *lora = at;
}

static void list_adapters(smft__lora *lora, const smft_model *model, const char *wanted) {
  int32_t n = 0;
  for (int32_t i = 0; i < model->n_tensors; i++) {
    lora->of[i] = wanted[i] ? n : -1;
    if (!wanted[i])
      continue;
    lora->options.targets |= smft__lora_target(model, i);
    lora->tensors[n++] = i;
  }
}

/* A and B of every wanted tensor; lora NULL: only measures. */
static void place_parts(smft__lora *lora, smft__arena *arena, const smft_model *model,
                        const char *wanted, int64_t rank) {
  for (int32_t i = 0, n = 0; i < model->n_tensors; i++) {
    if (!wanted[i])
      continue;
    /* widths are at most 2^24: no overflow */
    int64_t out = model->tensors[i].shape[0], in = model->tensors[i].shape[1];
    float *a = smft__arena_take(arena, rank * in, sizeof *a);
    float *b = smft__arena_take(arena, out * rank, sizeof *b);
    if (!lora)
      continue;
    lora->parts[2 * n] = a;
    lora->parts[2 * n + 1] = b;
    lora->adapters[n++] =
        (smft__low_rank){a, b, rank, in, out, (float)smft__lora_scale(&lora->options)};
  }
}

smft_status smft__lora_create(smft__lora **out, const smft_model *model,
                              const smft_lora_options *options, const char *wanted) {
  smft__arena arena = {0};
  smft__lora *lora = NULL;
  int32_t n = 0;
  for (int32_t i = 0; i < model->n_tensors; i++)
    n += wanted[i] != 0;
  place(&lora, &arena, model, n);
  place_parts(NULL, &arena, model, wanted, options->rank);
  if (arena.used < 0)
    return smft__fail(SMFT_E_NOMEM, "the size of all low-rank factors overflows");
  char *block = smft__alloc_array(model->ctx, arena.used, 1);
  if (!block)
    return SMFT_E_NOMEM;
  arena = (smft__arena){block, 0, arena.used};
  place(&lora, &arena, model, n);
  lora->options = *options;
  lora->options.targets = 0;
  list_adapters(lora, model, wanted);
  place_parts(lora, &arena, model, wanted, options->rank);
  *out = lora;
  return SMFT_OK;
}

void smft__lora_free(smft__lora *lora, smft_ctx *ctx) {
  smft__free(ctx, lora); /* the block begins with it */
}

smft_status smft__lora_create_for_targets(smft__lora **out, const smft_model *model,
                                          const smft_lora_options *options) {
  int found = 0;
  char *wanted = smft__alloc_array(model->ctx, model->n_tensors, 1);
  if (!wanted)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < model->n_tensors; i++) {
    wanted[i] = (smft__lora_target(model, i) & options->targets) != 0;
    found |= wanted[i];
  }
  smft_status status =
      found ? smft__lora_create(out, model, options, wanted)
            : smft__fail(SMFT_E_UNSUPPORTED,
                         "smft_lora_options.targets 0x%x: the model has none of these matrices",
                         (unsigned)options->targets);
  smft__free(model->ctx, wanted);
  return status;
}

static void start_a(smft__lora *lora, const smft_model *model, int32_t adapter) {
  const smft__low_rank *w = &lora->adapters[adapter];
  float *a = lora->parts[2 * adapter];
  double bound = 1 / sqrt((double)w->in);
  const char *name = model->names[lora->tensors[adapter]];
  smft__rng rng;
  smft__rng_seed(&rng, smft__mix64(lora->options.seed) ^ smft__hash_bytes(name, strlen(name)));
  for (int64_t i = 0; i < w->rank * w->in; i++)
    a[i] = (float)(bound * (2 * smft__rng_uniform(&rng) - 1));
}

void smft__lora_start(smft__lora *lora, const smft_model *model) {
  for (int32_t i = 0; i < lora->n; i++) {
    start_a(lora, model, i);
    memset(lora->parts[2 * i + 1], 0,
           (size_t)(lora->adapters[i].out * lora->adapters[i].rank) * sizeof(float));
  }
}

smft_status smft__lora_copy(smft__lora **out, const smft_model *model, const smft__lora *from) {
  char *wanted = smft__calloc_array(model->ctx, model->n_tensors, 1);
  if (!wanted)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < from->n; i++)
    wanted[from->tensors[i]] = 1;
  smft_status status = smft__lora_create(out, model, &from->options, wanted);
  smft__free(model->ctx, wanted);
  for (int32_t i = 0; status == SMFT_OK && i < 2 * from->n; i++) {
    smft__tensor part = smft__lora_part(from, i);
    memcpy((*out)->parts[i], part.data, (size_t)smft__tensor_count(&part) * sizeof(float));
  }
  return status;
}

/* ---- parts --------------------------------------------------------------- */

/* "model.layers.0.self_attn.q_proj.weight" ->
 * "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" */
void smft__lora_factor_name(const smft_model *model, int32_t tensor, int factor, const char *prefix,
                            char name[SMFT__PART_NAME]) {
  const char *matrix = model->names[tensor];
  size_t length = strlen(matrix) - strlen(".weight"); /* every matrix's name ends so */
  snprintf(name, SMFT__PART_NAME, "%sbase_model.model.%.*s.lora_%c.weight", prefix, (int)length,
           matrix, "AB"[factor]);
}

smft__tensor smft__lora_part(const smft__lora *lora, int32_t part) {
  const smft__low_rank *w = &lora->adapters[part / 2];
  return part % 2 ? smft__tensor_f32(w->b, w->out, w->rank)
                  : smft__tensor_f32(w->a, w->rank, w->in);
}

const smft__low_rank *smft__lora_adapter(const smft__lora *lora, int32_t tensor) {
  return lora && tensor >= 0 && lora->of[tensor] >= 0 ? &lora->adapters[lora->of[tensor]] : NULL;
}
