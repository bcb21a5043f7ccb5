/* export_gguf: model + patch as one GGUF file that llama.cpp loads.  A model that came from one
 * keeps its keys, the order of its rows and, where no type is asked for, its blocks bit for bit.
 * One from Hugging Face is turned into what llama.cpp's converter would make of it; what llama.cpp
 * computes otherwise is refused by name.  Does not own: the file (data/gguf_write.h), the
 * tokenizer's keys (data/tokenizer/gguf_write.c). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/gguf_names.h"
#include "data/gguf_write.h"
#include "model/arch.h"
#include "model/export.h"
#include "model/order.h"
#include "model/view.h"

#define KEY_SIZE 128
#define QUANTIZATION_VERSION 2
#define ROPE_FREQS "rope_freqs.weight"
/* blocks between those that see all (Gemma 3) or know no positions (SmolLM3), in llama.cpp */
#define GEMMA3_PERIOD 6
#define SMOLLM3_PERIOD 4

typedef struct gguf_export {
  smft_ctx *ctx;
  const smft_model *model;
  const smft__version *version;
  const smft__gguf_arch *arch;
  int32_t dtype; /* of matrices; 0: as they are */
  json_t *config;
  smft__gguf_keys keys;
  int64_t n;                  /* tensors */
  smft__save_tensor *tensors; /* (n) */
  char (*names)[SMFT__GGUF_NAME];
  int64_t **orders; /* (n) of rows; NULL: as they are */
  float **copies;   /* (n) values that only exist for this */
} gguf_export;

static smft_status refuse(const gguf_export *e, const char *what) {
  return smft__fail(SMFT_E_UNSUPPORTED, "%s: %s, which GGUF's \"%s\" does not have", e->model->path,
                    what, e->arch ? e->arch->name : "models");
}

/* ---- what llama.cpp has -------------------------------------------------- */

static int same(float a, float b) { return fabsf(a - b) <= 1e-6f * fabsf(b); }

static smft_status check_scales(const gguf_export *e) {
  const smft__config *c = &e->model->config;
  int by_hidden = e->arch->kind == SMFT__GGUF_GEMMA3 && c->n_layers == 62;
  int32_t scalar = by_hidden ? c->hidden / c->n_heads : c->head_dim;
  for (int32_t i = 0; i < c->n_layers; i++)
    if (!same(c->blocks[i].attention_scale, 1 / sqrtf((float)scalar)))
      return refuse(e, "its scale of attention (query_pre_attn_scalar)");
  return SMFT_OK;
}

/* Every how manieth block of Gemma 3 sees all; 0: there is no such number. */
static int32_t window_period(const smft__config *c) {
  int32_t periods[2] = {GEMMA3_PERIOD, 1}, window = 0;
  while (periods[1] < c->n_layers && c->blocks[periods[1] - 1].window)
    periods[1]++;
  for (int32_t i = 0; i < c->n_layers; i++)
    window = c->blocks[i].window ? c->blocks[i].window : window;
  for (int p = 0; p < 2; p++) {
    int fits = 1;
    for (int32_t i = 0; i < c->n_layers; i++)
      fits = fits && c->blocks[i].window == ((i + 1) % periods[p] ? window : 0);
    if (fits)
      return periods[p];
  }
  return 0;
}

static smft_status check_windows(const gguf_export *e) {
  const smft__config *c = &e->model->config;
  if (e->arch->kind == SMFT__GGUF_GEMMA3)
    return window_period(c) ? SMFT_OK : refuse(e, "its order of windows (layer_types)");
  for (int32_t i = 0; i < c->n_layers; i++) {
    if (e->arch->kind == SMFT__GGUF_LLAMA && c->blocks[i].window != c->blocks[0].window)
      return refuse(e, "windows in some blocks only");
    if (e->arch->kind != SMFT__GGUF_LLAMA && c->blocks[i].window)
      return refuse(e, "windows of attention");
    int turns = e->arch->kind != SMFT__GGUF_SMOLLM3 || (i + 1) % SMOLLM3_PERIOD;
    if ((c->blocks[i].rope >= 0) != turns)
      return refuse(e, "its order of blocks without positions (no_rope_layers)");
  }
  return SMFT_OK;
}

static smft_status find_arch(gguf_export *e) {
  const smft__config *c = &e->model->config;
  if (c->n_memories > 0)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "%s: a model with memory (%d layers) has no GGUF: llama.cpp knows no memory "
                      "layers; export it for Hugging Face",
                      e->model->path, c->n_memories);
  e->arch = smft__gguf_arch_of(c->arch->model_type);
  if (!e->arch)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: model_type \"%s\" has no GGUF here", e->model->path,
                      c->arch->model_type);
  if (c->gguf)
    return SMFT_OK;
  SMFT__TRY(check_scales(e));
  return check_windows(e);
}

/* ---- keys ---------------------------------------------------------------- */

static const char *key_of(const gguf_export *e, const char *name, char key[KEY_SIZE]) {
  snprintf(key, KEY_SIZE, "%s.%s", e->arch->name, name);
  return key;
}

static smft_status put_u32(gguf_export *e, const char *name, int64_t value) {
  char key[KEY_SIZE];
  return smft__gguf_put_i64(&e->keys, key_of(e, name, key), SMFT__GGUF_U32, value);
}

static smft_status put_f32(gguf_export *e, const char *name, double value) {
  char key[KEY_SIZE];
  return smft__gguf_put_f32(&e->keys, key_of(e, name, key), value);
}

static smft_status put_text(gguf_export *e, const char *key, const char *text) {
  return smft__gguf_put_string(&e->keys, key, text, (int64_t)strlen(text));
}

static smft_status put_sizes(gguf_export *e) {
  const smft__config *c = &e->model->config;
  const struct {
    const char *name;
    int64_t value;
  } sizes[] = {{"block_count", c->n_layers},
               {"context_length", c->context},
               {"embedding_length", c->hidden},
               {"feed_forward_length", c->ffn},
               {"vocab_size", c->vocab},
               {"attention.head_count", c->n_heads},
               {"attention.head_count_kv", c->n_kv_heads},
               {"attention.key_length", c->head_dim},
               {"attention.value_length", c->head_dim},
               {"rope.dimension_count", c->head_dim}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    SMFT__TRY(put_u32(e, sizes[i].name, sizes[i].value));
  SMFT__TRY(put_f32(e, "attention.layer_norm_rms_epsilon", (double)c->norm_eps));
  return put_f32(e, "rope.freq_base", c->rope_theta);
}

static smft_status put_windows(gguf_export *e) {
  const smft__config *c = &e->model->config;
  const json_t *sliding =
      json_object_get(json_object_get(e->config, "rope_parameters"), "sliding_attention");
  int32_t window = 0, period = window_period(c);
  double theta = 10000;
  for (int32_t i = 0; i < c->n_layers; i++)
    window = c->blocks[i].window ? c->blocks[i].window : window;
  if (window)
    SMFT__TRY(put_u32(e, "attention.sliding_window", window));
  if (e->arch->kind != SMFT__GGUF_GEMMA3)
    return SMFT_OK;
  if (period != GEMMA3_PERIOD)
    SMFT__TRY(put_u32(e, "attention.sliding_window_pattern", period));
  SMFT__TRY(smft__json_double(e->config, "rope_local_base_freq", theta, &theta, "config.json"));
  if (sliding)
    SMFT__TRY(smft__json_double(sliding, "rope_theta", theta, &theta, "config.json"));
  return put_f32(e, "rope.freq_base_swa", theta);
}

/* What config.json says of scaling; "" where nothing. */
static const char *scaling_of(const gguf_export *e, const json_t **object) {
  const json_t *scaling = json_object_get(e->config, "rope_scaling");
  if (!json_is_object(scaling))
    scaling = json_object_get(e->config, "rope_parameters");
  if (json_is_object(json_object_get(scaling, "full_attention")))
    scaling = json_object_get(scaling, "full_attention");
  const json_t *type = json_object_get(scaling, "rope_type");
  if (!type)
    type = json_object_get(scaling, "type");
  *object = scaling;
  return json_is_string(type) ? json_string_value(type) : "";
}

/* llama.cpp multiplies YaRN's usual magnitude by attn_factor. */
static smft_status put_yarn(gguf_export *e, const json_t *scaling, double factor) {
  double usual = 1 + 0.1 * log(factor), magnitude = usual, fast = 32, slow = 1;
  int64_t context = 0;
  int truncate = 1;
  SMFT__TRY(smft__json_bool(scaling, "truncate", 1, &truncate, "config.json"));
  if (!truncate)
    return refuse(e, "YaRN without \"truncate\"");
  if (json_object_get(scaling, "mscale") || json_object_get(scaling, "mscale_all_dim"))
    return refuse(e, "YaRN with \"mscale\"");
  SMFT__TRY(smft__json_i64(scaling, "original_max_position_embeddings", e->model->config.context,
                           &context, "config.json"));
  SMFT__TRY(smft__json_double(scaling, "attention_factor", usual, &magnitude, "config.json"));
  SMFT__TRY(smft__json_double(scaling, "beta_fast", 32, &fast, "config.json"));
  SMFT__TRY(smft__json_double(scaling, "beta_slow", 1, &slow, "config.json"));
  SMFT__TRY(put_u32(e, "rope.scaling.original_context_length", context));
  if (fast < 32 || fast > 32)
    SMFT__TRY(put_f32(e, "rope.scaling.yarn_beta_fast", fast));
  if (slow < 1 || slow > 1)
    SMFT__TRY(put_f32(e, "rope.scaling.yarn_beta_slow", slow));
  return same((float)magnitude, (float)usual)
             ? SMFT_OK
             : put_f32(e, "rope.scaling.attn_factor", magnitude / usual);
}

static int has_factors(const char *type) {
  return strcmp(type, "llama3") == 0 || strcmp(type, "factors") == 0;
}

static smft_status put_scaling(gguf_export *e) {
  const json_t *scaling = NULL;
  const char *type = scaling_of(e, &scaling);
  char key[KEY_SIZE];
  double factor = 0;
  int yarn = strcmp(type, "yarn") == 0;
  if (!*type || strcmp(type, "default") == 0 || has_factors(type))
    return SMFT_OK;
  if (!yarn && strcmp(type, "linear") != 0)
    return refuse(e, "its scaling of rotary positions");
  SMFT__TRY(smft__json_double(scaling, "factor", 1, &factor, "config.json"));
  SMFT__TRY(put_text(e, key_of(e, "rope.scaling.type", key), type));
  SMFT__TRY(put_f32(e, "rope.scaling.factor", factor));
  return yarn ? put_yarn(e, scaling, factor) : SMFT_OK;
}

/* ---- the tokenizer's keys ------------------------------------------------ */

static smft_status put_tokenizer(gguf_export *e) {
  const smft_model *model = e->model;
  const smft__config *c = &model->config;
  if (!model->tokenizer)
    return put_text(e, "tokenizer.ggml.model", "none");
  char *path = smft__path_join(e->ctx, model->path, "tokenizer.json");
  if (!path)
    return SMFT_E_NOMEM;
  smft_status status = smft__tokenizer_put_gguf(&e->keys, model->tokenizer, path, c->vocab, c->bos,
                                                c->stops, c->n_stops);
  smft__free(e->ctx, path);
  int64_t pad = -1;
  if (status == SMFT_OK)
    status = smft__json_i64(e->config, "pad_token_id", -1, &pad, "config.json");
  if (status == SMFT_OK && pad >= 0 && pad < c->vocab)
    status = smft__gguf_put_i64(&e->keys, "tokenizer.ggml.padding_token_id", SMFT__GGUF_U32, pad);
  return status;
}

/* ---- all keys ------------------------------------------------------------ */

/* llama.cpp's numbers of "mostly" a type; -1: as another file says. */
static int32_t file_type(const gguf_export *e) {
  int32_t dtype = e->dtype ? e->dtype : smft__model_dtype(e->model, e->version);
  return dtype == SMFT__F32    ? 0
         : dtype == SMFT__F16  ? 1
         : dtype == SMFT__BF16 ? 32
         : dtype == SMFT__Q8_0 ? 7
                               : -1;
}

/* The last part of the path. */
static smft_status put_name(gguf_export *e) {
  const char *path = e->model->path;
  size_t end = strlen(path), begin;
  while (end > 1 && path[end - 1] == '/')
    end--;
  for (begin = end; begin > 0 && path[begin - 1] != '/';)
    begin--;
  return smft__gguf_put_string(&e->keys, "general.name", path + begin, (int64_t)(end - begin));
}

static smft_status put_own_keys(gguf_export *e) {
  SMFT__TRY(put_text(e, "general.architecture", e->arch->name));
  SMFT__TRY(put_text(e, "general.type", "model"));
  SMFT__TRY(put_name(e));
  SMFT__TRY(put_sizes(e));
  SMFT__TRY(put_windows(e));
  SMFT__TRY(put_scaling(e));
  return put_tokenizer(e);
}

static int is_key(const smft__gguf_value *value, const char *key) {
  return value->key_length == (int64_t)strlen(key) &&
         memcmp(value->key, key, (size_t)value->key_length) == 0;
}

/* Of the file that the model came from: all but what is said anew. */
static smft_status copy_keys(gguf_export *e, int own_type) {
  const smft__gguf *gguf = e->model->source.gguf;
  for (int64_t i = 0; i < gguf->n_values; i++) {
    const smft__gguf_value *value = &gguf->values[i];
    int split = value->key_length > 6 && memcmp(value->key, "split.", 6) == 0;
    if (split || is_key(value, "general.alignment") ||
        is_key(value, "general.quantization_version"))
      continue;
    if (own_type || !is_key(value, "general.file_type"))
      SMFT__TRY(smft__gguf_put_value(&e->keys, value));
  }
  return SMFT_OK;
}

static smft_status put_keys(gguf_export *e) {
  int copied = e->model->config.gguf, type = file_type(e), own_type = copied && !e->dtype;
  SMFT__TRY(copied ? copy_keys(e, own_type) : put_own_keys(e));
  if (!own_type && type >= 0)
    SMFT__TRY(smft__gguf_put_i64(&e->keys, "general.file_type", SMFT__GGUF_U32, type));
  return smft__gguf_put_i64(&e->keys, "general.quantization_version", SMFT__GGUF_U32,
                            QUANTIZATION_VERSION);
}

/* ---- tensors ------------------------------------------------------------- */

/* llama.cpp wants vectors as f32; rows that are no whole blocks cannot be Q8_0. */
static int32_t written_as(const gguf_export *e, const smft__tensor *tensor, int32_t base,
                          int changed) {
  int32_t dtype = e->dtype ? e->dtype : tensor->dtype;
  if (tensor->n_dims < 2)
    return SMFT__F32;
  if (!e->dtype && changed && smft__is_block(base))
    return SMFT__BF16;
  return dtype == SMFT__Q8_0 && tensor->shape[1] % 32 ? SMFT__F16 : dtype;
}

static smft_status copy_values(gguf_export *e, int32_t i, float offset) {
  smft__tensor *tensor = &e->tensors[i].tensor;
  int64_t n = smft__tensor_count(tensor);
  float *values = e->copies[i] = smft__alloc_array(e->ctx, n, sizeof *values);
  if (!values)
    return SMFT_E_NOMEM;
  SMFT__TRY(smft__patch_values(e->model, e->version, i, values));
  for (int64_t j = 0; j < n && offset != 0; j++)
    values[j] += offset;
  tensor->data = values;
  tensor->dtype = SMFT__F32;
  return SMFT_OK;
}

static smft_status order_rows(gguf_export *e, int32_t i) {
  if (!smft__order_turns_for_gguf(e->model, i))
    return SMFT_OK;
  int64_t n = e->tensors[i].tensor.shape[0], *order = smft__alloc_array(e->ctx, n, sizeof *order);
  if (!order)
    return SMFT_E_NOMEM;
  for (int64_t row = 0; row < n; row++)
    order[row] = smft__order_hf_row(row, e->model->config.head_dim);
  e->orders[i] = order;
  return SMFT_OK;
}

static smft_status add_tensor(gguf_export *e, int32_t i) {
  const smft_model *model = e->model;
  smft__save_tensor *save = &e->tensors[i];
  int changed = smft__patch_changes(model, e->version, i);
  float offset = smft__order_gguf_offset(model, i);
  if (!smft__gguf_name(e->arch, model->names[i], e->names[i], SMFT__GGUF_NAME))
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: tensor %s has no name in GGUF's \"%s\"", model->path,
                      model->names[i], e->arch->name);
  save->name = e->names[i];
  save->tensor = smft__weight(model, e->version, i);
  if ((changed && !e->version->full) || offset != 0)
    SMFT__TRY(copy_values(e, i, offset));
  save->dtype = written_as(e, &save->tensor, model->tensors[i].dtype, changed);
  return order_rows(e, i);
}

/* Llama 3's scaling of rotary positions: what the frequencies are divided by. */
static smft_status add_factors(gguf_export *e) {
  const smft__config *c = &e->model->config;
  const smft__rope_table *rope = &c->stack.ropes[0];
  const json_t *scaling = NULL;
  smft__save_tensor *save = &e->tensors[e->n];
  int32_t n = rope->dims / 2;
  if (!has_factors(scaling_of(e, &scaling)))
    return SMFT_OK;
  float *factors = e->copies[e->n] = smft__alloc_array(e->ctx, n, sizeof *factors);
  double *plain = smft__alloc_array(e->ctx, n, sizeof *plain);
  if (factors && plain)
    smft__rope_frequencies(plain, rope->dims, c->rope_theta);
  for (int32_t i = 0; factors && plain && i < n; i++)
    factors[i] = (float)(plain[i] / rope->frequency[i]);
  smft__free(e->ctx, plain);
  if (!factors || !plain)
    return SMFT_E_NOMEM;
  save->name = ROPE_FREQS;
  save->tensor = smft__tensor_f32(factors, n, 0);
  e->n++;
  return SMFT_OK;
}

static smft_status make_tensors(gguf_export *e) {
  int64_t most = e->model->n_tensors + 1;
  e->tensors = smft__calloc_array(e->ctx, most, sizeof *e->tensors);
  e->names = smft__calloc_array(e->ctx, most, sizeof *e->names);
  e->orders = smft__calloc_array(e->ctx, most, sizeof *e->orders);
  e->copies = smft__calloc_array(e->ctx, most, sizeof *e->copies);
  if (!e->tensors || !e->names || !e->orders || !e->copies)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < e->model->n_tensors; i++) {
    e->n = i + 1;
    SMFT__TRY(add_tensor(e, i));
  }
  return add_factors(e);
}

/* ---- whole --------------------------------------------------------------- */

static void end(gguf_export *e) {
  for (int64_t i = 0; i <= e->model->n_tensors; i++) {
    if (e->orders)
      smft__free(e->ctx, e->orders[i]);
    if (e->copies)
      smft__free(e->ctx, e->copies[i]);
  }
  smft__free(e->ctx, e->tensors);
  smft__free(e->ctx, e->names);
  smft__free(e->ctx, e->orders);
  smft__free(e->ctx, e->copies);
  smft__gguf_keys_free(&e->keys);
  json_decref(e->config);
}

static smft_status export_all(gguf_export *e, const char *path,
                              const smft_export_options *options) {
  const char *config = e->model->config.json;
  if (smft__is_directory(path))
    return smft__fail(SMFT_E_INVALID,
                      "smft_model_export: %s is a directory; a GGUF is one file: name it", path);
  SMFT__TRY(find_arch(e));
  SMFT__TRY(smft__json_parse(&e->config, config, (int64_t)strlen(config), "config.json"));
  SMFT__TRY(put_keys(e));
  SMFT__TRY(make_tensors(e));
  return smft__gguf_write(e->ctx, path, &e->keys, e->tensors, (const int64_t *const *)e->orders,
                          e->n, options->progress, options->progress_user);
}

smft_status smft__export_gguf(const smft_model *model, const smft__version *version,
                              const char *path, const smft_export_options *options) {
  gguf_export e = {.ctx = model->ctx,
                   .model = model,
                   .version = version,
                   .dtype = options->dtype,
                   .keys = {{model->ctx, NULL, 0, 0}, 0}};
  smft_status status = export_all(&e, path, options);
  end(&e);
  return status;
}
