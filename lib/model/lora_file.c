/* lora_file: LoRA adapters as a directory in PEFT's layout: adapter_config.json (how) and
 * adapter_model.safetensors (A and B by PEFT's names), so that either side reads what the other
 * wrote.  Whatever would change results and is not done here is refused by name. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/folder.h"
#include "base/staged.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "model/arch.h"
#include "model/lora.h"
#include "model/order.h"

#define CONFIG "adapter_config.json"
#define WEIGHTS "adapter_model.safetensors"

/* ---- metadata: what PEFT does not keep ----------------------------------- */

typedef struct metadata { /* written beside PEFT's own "format"; a file of PEFT's has none of it */
  char alpha[40], flags[16], seed[24];
} metadata;

static metadata metadata_of(const smft_lora_options *o) {
  metadata texts;
  smft__format_double(o->alpha, texts.alpha);
  snprintf(texts.flags, sizeof texts.flags, "%u", (unsigned)o->flags);
  snprintf(texts.seed, sizeof texts.seed, "%llu", (unsigned long long)o->seed);
  return texts;
}

static int differs(const smft__source *file, const char *key, const char *wanted) {
  const char *found = smft__source_metadata(file, key);
  return found && strcmp(found, wanted) != 0;
}

static smft_status check_metadata(const smft__source *file, const smft_model *model,
                                  const smft_lora_options *o) {
  metadata wanted = metadata_of(o);
  if (differs(file, "model_hash", model->hash))
    return smft__fail(SMFT_E_MISMATCH,
                      WEIGHTS ": adapters of another model: expected hash %.16s..., got %.16s...",
                      model->hash, smft__source_metadata(file, "model_hash"));
  if (differs(file, "lora_alpha", wanted.alpha) || differs(file, "lora_flags", wanted.flags))
    return smft__fail(SMFT_E_MISMATCH, WEIGHTS
                      " and " CONFIG " were not saved together: lora_alpha or use_rslora differ");
  return SMFT_OK;
}

/* 0 where there is none, or no number. */
static uint64_t seed_of(const smft__source *file) {
  const char *text = smft__source_metadata(file, "seed");
  uint64_t seed = 0;
  for (; text && *text; text++) {
    if (*text < '0' || *text > '9' || __builtin_mul_overflow(seed, (uint64_t)10, &seed) ||
        __builtin_add_overflow(seed, (uint64_t)(*text - '0'), &seed))
      return 0;
  }
  return seed;
}

/* ---- save: adapter_config.json ------------------------------------------- */

/* "q_proj" of "model.layers.%d.self_attn.q_proj.weight": the family's name of a SMFT_LORA_* kind.
 */
static json_t *module_name(const smft_model *model, uint32_t target) {
  int32_t line = 0;
  while (smft__params[line].lora != target)
    line++;
  const char *name = model->config.arch->names[line], *end = strrchr(name, '.'), *begin = end;
  while (begin > name && begin[-1] != '.')
    begin--;
  return json_stringn(begin, (size_t)(end - begin));
}

/* Whether every matrix of the adapted kinds has its adapter, so that the kinds alone say which. */
static int is_regular(const smft__lora *lora, const smft_model *model) {
  for (int32_t i = 0; i < model->n_tensors; i++)
    if (lora->of[i] < 0 && (smft__lora_target(model, i) & lora->options.targets))
      return 0;
  return 1;
}

/* PEFT takes the ends of module names, or whole ones. */
static json_t *target_modules(const smft__lora *lora, const smft_model *model) {
  json_t *list = json_array();
  int failed = 0;
  if (is_regular(lora, model)) {
    for (int bit = 0; bit < 7; bit++)
      if (lora->options.targets >> bit & 1)
        failed |= json_array_append_new(list, module_name(model, 1u << bit));
  } else {
    for (int32_t i = 0; i < lora->n; i++) {
      const char *name = model->names[lora->tensors[i]];
      failed |= json_array_append_new(list, json_stringn(name, strlen(name) - strlen(".weight")));
    }
  }
  if (!failed)
    return list;
  json_decref(list);
  return NULL;
}

static json_t *number(double value) { /* as PEFT does: a whole number without a fraction */
  return value < 1e15 && value - (double)(int64_t)value <= 0 ? json_integer((int64_t)value)
                                                             : json_real(value);
}

static json_t *text_or_null(const char *text) {
  json_t *value = text ? json_string(text) : NULL; /* NULL, too, where it is not UTF-8 */
  return value ? value : json_null();
}

/* The keys of PEFT 0.7, in its order: later versions take them all, and their own at their
 * defaults. */
static json_t *make_config(const smft__lora *lora, const smft_model *model) {
  const smft_lora_options *o = &lora->options;
  const struct {
    const char *key;
    json_t *value;
  } all[] = {
      {"alpha_pattern", json_object()},
      {"auto_mapping", json_null()},
      {"base_model_name_or_path", text_or_null(smft__model_texts(model))},
      {"bias", json_string("none")},
      {"fan_in_fan_out", json_false()},
      {"inference_mode", json_true()},
      {"init_lora_weights", json_true()},
      {"layers_pattern", json_null()},
      {"layers_to_transform", json_null()},
      {"loftq_config", json_object()},
      {"lora_alpha", number(o->alpha)},
      {"lora_dropout", json_real(0)},
      {"megatron_config", json_null()},
      {"megatron_core", json_string("megatron.core")},
      {"modules_to_save", json_null()},
      {"peft_type", json_string("LORA")},
      {"r", json_integer(o->rank)},
      {"rank_pattern", json_object()},
      {"revision", json_null()},
      {"target_modules", target_modules(lora, model)},
      {"task_type", json_string("CAUSAL_LM")},
      {"use_rslora", json_boolean(o->flags & SMFT_LORA_RANK_STABILIZED)},
  };
  json_t *config = json_object();
  int failed = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    failed |= json_object_set_new(config, all[i].key, all[i].value);
  if (!failed)
    return config;
  json_decref(config);
  return NULL;
}

static smft_status save_config(const smft__lora *lora, const smft_model *model, smft__staged *to) {
  json_t *config = make_config(lora, model);
  if (!config)
    return smft__fail(SMFT_E_NOMEM, "%s: no memory for its JSON", CONFIG);
  smft_status status = smft__json_stage(to, CONFIG, config);
  json_decref(config);
  return status;
}

/* ---- save: adapter_model.safetensors ------------------------------------- */

/* B's rows are the matrix's: a copy of one whose order is another in the model. */
static smft_status part_to_write(const smft__lora *lora, const smft_model *model, int32_t part,
                                 smft__tensor *tensor, float **copy) {
  int32_t of = lora->tensors[part / 2];
  *tensor = smft__lora_part(lora, part);
  if (part % 2 == 0 || !smft__order_is_other(model, of))
    return SMFT_OK;
  int64_t n = smft__tensor_count(tensor);
  *copy = smft__alloc_array(model->ctx, n, sizeof **copy);
  if (!*copy)
    return SMFT_E_NOMEM;
  smft__tensor_to_f32(tensor, 0, n, *copy);
  smft__order_to_hf(model, of, *copy, tensor->shape[1] * (int64_t)sizeof **copy);
  tensor->data = *copy;
  return SMFT_OK;
}

typedef struct written { /* what the two factors of each adapter become */
  smft__save_tensor *tensors;
  char (*names)[SMFT__PART_NAME];
  float **copies;
} written;

static smft_status make_written(written *out, const smft__lora *lora, const smft_model *model,
                                int32_t dtype) {
  int32_t n = 2 * lora->n;
  out->tensors = smft__alloc_array(model->ctx, n, sizeof *out->tensors);
  out->names = smft__alloc_array(model->ctx, n, sizeof *out->names);
  out->copies = smft__calloc_array(model->ctx, n, sizeof *out->copies);
  if (!out->tensors || !out->names || !out->copies)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < n; i++) {
    smft__lora_factor_name(model, lora->tensors[i / 2], i % 2, "", out->names[i]);
    out->tensors[i] = (smft__save_tensor){.name = out->names[i], .dtype = dtype};
    SMFT__TRY(part_to_write(lora, model, i, &out->tensors[i].tensor, &out->copies[i]));
  }
  return SMFT_OK;
}

static void free_written(written *out, const smft__lora *lora, smft_ctx *ctx) {
  for (int32_t i = 0; out->copies && i < 2 * lora->n; i++)
    smft__free(ctx, out->copies[i]);
  smft__free(ctx, out->copies);
  smft__free(ctx, out->names);
  smft__free(ctx, out->tensors);
}

/* config: the text of adapter_config.json; NULL: it has a file of its own. */
static smft_status save_weights(const smft__lora *lora, const smft_model *model, smft__writer *file,
                                int32_t dtype, const char *config) {
  static const char *const keys[] = {"format",     "model_hash", "lora_alpha",
                                     "lora_flags", "seed",       CONFIG};
  metadata texts = metadata_of(&lora->options);
  const char *values[] = {"pt", model->hash, texts.alpha, texts.flags, texts.seed, config};
  written out = {0};
  smft_status status = make_written(&out, lora, model, dtype);
  if (status == SMFT_OK)
    status = smft__safetensors_put(file, model->ctx, out.tensors, 2 * lora->n, keys, values,
                                   config ? 6 : 5, NULL, NULL);
  free_written(&out, lora, model->ctx);
  return status;
}

/* The weights last, so that until then no other reader finds an adapter in a new directory. */
smft_status smft__lora_save(const smft__lora *lora, const smft_model *model, const char *directory,
                            int32_t dtype) {
  smft__staged to = {0};
  smft__writer *file = NULL;
  smft_status status = smft__staged_open(&to, model->ctx, directory);
  if (status == SMFT_OK)
    status = save_config(lora, model, &to);
  if (status == SMFT_OK)
    status = smft__staged_add(&to, WEIGHTS, &file);
  if (status == SMFT_OK)
    status = save_weights(lora, model, file, dtype, NULL);
  if (status == SMFT_OK)
    status = smft__staged_commit(&to);
  smft__staged_close(&to);
  return status;
}

smft_status smft__lora_save_whole(const smft__lora *lora, const smft_model *model, smft__target *to,
                                  int32_t dtype) {
  smft__buffer text = {model->ctx, NULL, 0, 0};
  smft__writer file;
  json_t *config = make_config(lora, model);
  smft__writer_open_memory(&file, model->ctx, to->memory, to->capacity);
  smft_status status = config
                           ? smft__json_put(&text, config, JSON_COMPACT)
                           : smft__fail(SMFT_E_NOMEM, "a patch in memory: no memory for its JSON");
  if (status == SMFT_OK)
    status = smft__buffer_put(&text, "", 1); /* a C string */
  if (status == SMFT_OK)
    status = save_weights(lora, model, &file, dtype, text.data);
  to->size = file.written;
  json_decref(config);
  smft__buffer_free(&text);
  return status;
}

/* ---- load: adapter_config.json ------------------------------------------- */

/* Keys that say where an adapter came from or how it was made, not what it does: which matrices
 * have one is what the tensors say.  And those that are read one by one. */
/* clang-format off */
static const char *const ignored[] = {
    "auto_mapping", "base_model_name_or_path", "revision",        "task_type",
    "megatron_core", "peft_version",           "target_modules",  "exclude_modules",
    "loftq_config", "eva_config",              "corda_config",    "qalora_group_size",
    "inference_mode", "lora_dropout",          "layers_to_transform", "layers_pattern",
    "peft_type",    "r",                       "lora_alpha",      "use_rslora",
    "bias",         "init_lora_weights",
};
/* clang-format on */

static int is_ignored(const char *key) {
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
    if (strcmp(key, ignored[i]) == 0)
      return 1;
  return 0;
}

static int says_nothing(const json_t *value) {
  return json_is_null(value) || json_is_false(value) ||
         (json_is_object(value) && json_object_size(value) == 0) ||
         (json_is_array(value) && json_array_size(value) == 0);
}

/* Any other key, known to us (use_dora, modules_to_save, rank_pattern, ...) or not, must be off:
 * PEFT has no other way to say that a file needs something new. */
static smft_status check_rest(json_t *config) {
  const char *key;
  json_t *value;
  json_object_foreach(
      config, key,
      value) if (!is_ignored(key) &&
                 !says_nothing(value)) return smft__fail(SMFT_E_UNSUPPORTED,
                                                         CONFIG
                                                         ": \"%s\" is set, and is not supported",
                                                         key);
  return SMFT_OK;
}

/* Starts that PEFT makes by changing the base weights (pissa, olora, corda, loftq, ...) leave
 * adapters that do not fit the base as it is. */
static smft_status check_start(const json_t *config) {
  static const char *const harmless[] = {"gaussian", "eva", "orthogonal"};
  const json_t *value = json_object_get(config, "init_lora_weights");
  if (!value || json_is_null(value) || json_is_boolean(value))
    return SMFT_OK;
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
    if (json_is_string(value) && strcmp(json_string_value(value), harmless[i]) == 0)
      return SMFT_OK;
  return smft__fail(
      SMFT_E_UNSUPPORTED,
      CONFIG ": \"init_lora_weights\": %s is not supported: it may have changed the base's weights",
      json_is_string(value) ? json_string_value(value) : "a value of this type");
}

static smft_status check_kind(const json_t *config) {
  const char *type = NULL, *bias = NULL;
  SMFT__TRY(smft__json_string(config, "peft_type", NULL, &type, CONFIG));
  if (!type)
    return smft__fail(SMFT_E_FORMAT, CONFIG ": \"peft_type\" is missing");
  if (strcmp(type, "LORA") != 0)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      CONFIG ": \"peft_type\" is \"%s\"; only \"LORA\" is supported", type);
  SMFT__TRY(smft__json_string(config, "bias", "none", &bias, CONFIG));
  if (strcmp(bias, "none") != 0)
    return smft__fail(SMFT_E_UNSUPPORTED, CONFIG ": \"bias\" is \"%s\"; only \"none\" is supported",
                      bias);
  return check_start(config);
}

static smft_status read_config(json_t *config, smft_lora_options *options) {
  smft_lora_options own = SMFT_LORA_OPTIONS_INIT;
  int64_t rank = 0;
  int stabilized = 0;
  SMFT__TRY(check_kind(config));
  SMFT__TRY(check_rest(config));
  SMFT__TRY(smft__json_i64(config, "r", 8, &rank, CONFIG)); /* defaults: PEFT's */
  SMFT__TRY(smft__json_double(config, "lora_alpha", 8, &own.alpha, CONFIG));
  SMFT__TRY(smft__json_bool(config, "use_rslora", 0, &stabilized, CONFIG));
  if (rank < 1 || rank > INT32_MAX || !(own.alpha > 0))
    return smft__fail(SMFT_E_FORMAT, CONFIG ": \"r\" and \"lora_alpha\" must be positive");
  own.rank = (int32_t)rank;
  own.flags = stabilized ? SMFT_LORA_RANK_STABILIZED : 0;
  smft_status status = smft__lora_options(options, &own);
  return status == SMFT_OK ? SMFT_OK : smft__fail_within(SMFT_E_FORMAT, CONFIG);
}

static smft_status load_config(smft_ctx *ctx, const char *path, smft_lora_options *options) {
  json_t *config = NULL;
  SMFT__TRY(smft__json_open(&config, ctx, path));
  smft_status status = read_config(config, options);
  json_decref(config);
  return status;
}

/* ---- load: tensors ------------------------------------------------------- */

typedef struct search { /* factors of a model's matrices in a file */
  const smft_model *model;
  const smft__source *file;
  const char *prefix;
  int64_t rank;
  char *wanted; /* (n_tensors) */
  char *known;  /* (file->n) the tensors that are factors */
} search;

/* The file's tensor for one factor of a matrix (0: A, 1: B), or -1. */
static int64_t find_part(const search *s, int32_t tensor, int part, char name[SMFT__PART_NAME]) {
  smft__lora_factor_name(s->model, tensor, part, s->prefix, name);
  return smft__source_find(s->file, name);
}

static smft_status check_part(const search *s, int32_t tensor, int part, const smft__tensor *found,
                              const char *name) {
  const int64_t *whole = s->model->tensors[tensor].shape;
  int64_t rows = part ? whole[0] : s->rank, columns = part ? s->rank : whole[1];
  if (!smft__is_weight(found->dtype))
    return smft__fail(SMFT_E_FORMAT, "tensor %s: expected floats, found %s", name,
                      smft__dtype_name(found->dtype));
  if (found->n_dims != 2 || found->shape[0] != rows || found->shape[1] != columns)
    return smft__fail(SMFT_E_MISMATCH,
                      "tensor %s: expected shape (%lld, %lld), found (%lld, %lld) of %d dimensions",
                      name, (long long)rows, (long long)columns,
                      (long long)(found->n_dims > 0 ? found->shape[0] : 0),
                      (long long)(found->n_dims > 1 ? found->shape[1] : 0), (int)found->n_dims);
  return SMFT_OK;
}

static smft_status find_adapter(search *s, int32_t tensor) {
  char names[2][SMFT__PART_NAME];
  int64_t at[2] = {find_part(s, tensor, 0, names[0]), find_part(s, tensor, 1, names[1])};
  if (at[0] < 0 && at[1] < 0)
    return SMFT_OK;
  for (int part = 0; part < 2; part++) {
    if (at[part] < 0)
      return smft__fail(SMFT_E_FORMAT,
                        "tensor %s is missing: the other factor of its matrix is there",
                        names[part]);
    SMFT__TRY(check_part(s, tensor, part, &s->file->tensors[at[part]], names[part]));
    s->known[at[part]] = 1;
  }
  s->wanted[tensor] = 1;
  return SMFT_OK;
}

static smft_status find_adapters(search *s) {
  int64_t n = 0;
  for (int32_t i = 0; i < s->model->n_tensors; i++)
    if (smft__lora_target(s->model, i))
      SMFT__TRY(find_adapter(s, i));
  for (int64_t i = 0; i < s->file->n; i++) {
    n += s->known[i];
    if (!s->known[i] && strncmp(s->file->names[i], s->prefix, strlen(s->prefix)) == 0)
      return smft__fail(
          SMFT_E_UNSUPPORTED,
          "tensor %s: not a low-rank factor of an attention or FFN matrix of this model",
          s->file->names[i]);
  }
  return n > 0 ? SMFT_OK : smft__fail(SMFT_E_FORMAT, "no tensor of it is a low-rank factor");
}

static smft_status read_parts(const search *s, smft__lora *lora) {
  char name[SMFT__PART_NAME];
  for (int32_t i = 0; i < 2 * lora->n; i++)
    SMFT__TRY(
        smft__tensor_read_finite(&s->file->tensors[find_part(s, lora->tensors[i / 2], i % 2, name)],
                                 name, lora->parts[i]));
  return SMFT_OK;
}

smft_status smft__lora_from_tensors(smft__lora **out, const smft_model *model,
                                    const smft_lora_options *options, const smft__source *file,
                                    const char *prefix) {
  search s = {model, file, prefix, options->rank, NULL, NULL};
  smft__lora *lora = NULL;
  s.wanted = smft__calloc_array(model->ctx, model->n_tensors, 1);
  s.known = smft__calloc_array(model->ctx, file->n, 1);
  smft_status status = s.wanted && s.known ? find_adapters(&s) : SMFT_E_NOMEM;
  if (status == SMFT_OK)
    status = smft__lora_create(&lora, model, options, s.wanted);
  if (status == SMFT_OK)
    status = read_parts(&s, lora);
  smft__free(model->ctx, s.known);
  smft__free(model->ctx, s.wanted);
  if (status == SMFT_OK)
    *out = lora;
  else
    smft__lora_free(lora, model->ctx);
  return status;
}

/* PEFT's files have Hugging Face's order. */
static void order_parts(smft__lora *lora, const smft_model *model) {
  for (int32_t i = 0; i < lora->n; i++)
    smft__order_from_hf(model, lora->tensors[i], lora->parts[2 * i + 1],
                        lora->options.rank * (int64_t)sizeof(float));
}

static smft_status read_weights(smft__lora **out, const smft_model *model,
                                smft_lora_options *options, const smft__source *file) {
  SMFT__TRY(check_metadata(file, model, options));
  options->seed = seed_of(file);
  SMFT__TRY(smft__lora_from_tensors(out, model, options, file, ""));
  order_parts(*out, model);
  return SMFT_OK;
}

static smft_status load_weights(smft__lora **out, const smft_model *model,
                                smft_lora_options *options, const char *path) {
  smft__source file = {0};
  SMFT__TRY(smft__safetensors_open(&file, model->ctx, path, 1));
  smft_status status = read_weights(out, model, options, &file);
  smft__source_close(&file);
  return status;
}

smft_status smft__lora_load_whole(smft__lora **out, const smft_model *model,
                                  const smft__source *file) {
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  const char *text = smft__source_metadata(file, CONFIG);
  json_t *config = NULL;
  if (!text)
    return smft__fail(SMFT_E_FORMAT, "its metadata lacks \"" CONFIG "\"");
  SMFT__TRY(smft__json_parse(&config, text, (int64_t)strlen(text), CONFIG));
  smft_status status = read_config(config, &options);
  json_decref(config);
  return status == SMFT_OK ? read_weights(out, model, &options, file) : status;
}

smft_status smft__lora_load(smft__lora **out, const smft_model *model, const char *directory) {
  smft_lora_options options = SMFT_LORA_OPTIONS_INIT;
  SMFT__TRY(smft__folder_check(directory));
  char *config = smft__path_join(model->ctx, directory, CONFIG);
  char *weights = smft__path_join(model->ctx, directory, WEIGHTS);
  smft_status status = config && weights ? load_config(model->ctx, config, &options) : SMFT_E_NOMEM;
  if (status == SMFT_OK)
    status = load_weights(out, model, &options, weights);
  smft__free(model->ctx, weights);
  smft__free(model->ctx, config);
  return status;
}
