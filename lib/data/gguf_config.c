/* gguf_config: see gguf_config.h.  What a key means is llama.cpp's; whatever would change results
 * and cannot be said in config.json is refused by name. */
#include "data/gguf_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "data/json.h"

#define KEY_SIZE 128
#define MOST_LAYERS 65536
#define ROPE_FREQS "rope_freqs.weight"

typedef struct translation {
  const smft__gguf *gguf;  /* the first part */
  const smft__gguf *parts; /* (n_parts) */
  int32_t n_parts;
  const smft__gguf_arch *arch;
  int64_t hidden, heads, head_dim, layers; /* as far as they are read */
  json_t *root;
  int failed; /* no memory for a value */
} translation;

/* ---- reading and putting ------------------------------------------------- */

static const char *key_of(const translation *t, const char *name, char key[KEY_SIZE]) {
  snprintf(key, KEY_SIZE, "%s.%s", t->arch->name, name);
  return key;
}

static int has(const translation *t, const char *name) {
  char key[KEY_SIZE];
  return smft__gguf_find(t->gguf, key_of(t, name, key)) != NULL;
}

static smft_status read_i64(const translation *t, const char *name, int64_t fallback,
                            int64_t *out) {
  char key[KEY_SIZE];
  return smft__gguf_i64(t->gguf, key_of(t, name, key), fallback, out);
}

static smft_status read_double(const translation *t, const char *name, double fallback,
                               double *out) {
  char key[KEY_SIZE];
  SMFT__TRY(smft__gguf_double(t->gguf, key_of(t, name, key), fallback, out));
  return isfinite(*out) ? SMFT_OK
                        : smft__fail(SMFT_E_FORMAT, "%s: key \"%s\": expected a finite number",
                                     t->gguf->path, key);
}

static smft_status refuse(const translation *t, const char *name, const char *why) {
  return smft__fail(SMFT_E_UNSUPPORTED, "%s: key \"%s.%s\": %s", t->gguf->path, t->arch->name, name,
                    why);
}

static void put(translation *t, const char *key, json_t *value) {
  t->failed |= json_object_set_new(t->root, key, value) != 0;
}

/* A size that must be there, from 1. */
static smft_status put_size(translation *t, const char *name, const char *key, int64_t *out) {
  SMFT__TRY(read_i64(t, name, 0, out));
  if (*out < 1)
    return smft__fail(SMFT_E_FORMAT, "%s: key \"%s.%s\" is missing or not positive", t->gguf->path,
                      t->arch->name, name);
  put(t, key, json_integer((json_int_t)*out));
  return SMFT_OK;
}

static const smft__gguf_tensor *find_tensor(const translation *t, const char *name) {
  const smft__gguf_tensor *found = NULL;
  for (int32_t i = 0; i < t->n_parts && !found; i++)
    found = smft__gguf_find_tensor(&t->parts[i], name);
  return found;
}

/* ---- sizes --------------------------------------------------------------- */

static smft_status put_heads(translation *t) {
  int64_t kv = 0, value = 0, rotary = 0;
  SMFT__TRY(put_size(t, "attention.head_count", "num_attention_heads", &t->heads));
  SMFT__TRY(read_i64(t, "attention.head_count_kv", t->heads, &kv));
  SMFT__TRY(read_i64(t, "attention.key_length", t->hidden / t->heads, &t->head_dim));
  SMFT__TRY(read_i64(t, "attention.value_length", t->head_dim, &value));
  SMFT__TRY(read_i64(t, "rope.dimension_count", t->head_dim, &rotary));
  if (value != t->head_dim)
    return refuse(t, "attention.value_length", "other than attention.key_length");
  if (rotary != t->head_dim)
    return refuse(t, "rope.dimension_count", "only whole heads are turned here");
  put(t, "num_key_value_heads", json_integer((json_int_t)kv));
  put(t, "head_dim", json_integer((json_int_t)t->head_dim));
  return SMFT_OK;
}

/* Rows of the embedding, where it is there: a vocabulary may be padded, or cut. */
static smft_status put_vocab(translation *t) {
  const smft__gguf_tensor *embedding = find_tensor(t, "token_embd.weight");
  const smft__gguf_value *tokens = smft__gguf_find(t->gguf, "tokenizer.ggml.tokens");
  int64_t n = 0;
  SMFT__TRY(read_i64(t, "vocab_size", tokens ? tokens->n : 0, &n));
  if (embedding && embedding->n_dims == 2)
    n = embedding->dims[1];
  put(t, "vocab_size", json_integer((json_int_t)n));
  put(t, "tie_word_embeddings", json_boolean(!find_tensor(t, "output.weight")));
  return SMFT_OK;
}

static smft_status put_sizes(translation *t) {
  int64_t value = 0;
  double eps = 0;
  SMFT__TRY(put_size(t, "embedding_length", "hidden_size", &t->hidden));
  SMFT__TRY(put_size(t, "feed_forward_length", "intermediate_size", &value));
  SMFT__TRY(put_size(t, "block_count", "num_hidden_layers", &t->layers));
  SMFT__TRY(put_size(t, "context_length", "max_position_embeddings", &value));
  SMFT__TRY(put_heads(t));
  SMFT__TRY(put_vocab(t));
  if (!has(t, "attention.layer_norm_rms_epsilon"))
    return smft__fail(SMFT_E_FORMAT, "%s: key \"%s.attention.layer_norm_rms_epsilon\" is missing",
                      t->gguf->path, t->arch->name);
  SMFT__TRY(read_double(t, "attention.layer_norm_rms_epsilon", 0, &eps));
  put(t, "rms_norm_eps", json_real(eps));
  return SMFT_OK;
}

/* ---- special tokens ------------------------------------------------------ */

/* An answer ends with the end of text, of a turn or of a message. */
static smft_status put_ends(translation *t) {
  static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"};
  json_t *list = json_array();
  int64_t ids[3];
  smft_status status = SMFT_OK;
  for (int i = 0; i < 3 && status == SMFT_OK; i++) {
    status = smft__gguf_i64(t->gguf, keys[i], -1, &ids[i]);
    if (status != SMFT_OK || ids[i] < 0 || (i > 0 && ids[i] == ids[0]) ||
        (i > 1 && ids[i] == ids[1]))
      continue;
    t->failed |= json_array_append_new(list, json_integer((json_int_t)ids[i])) != 0;
  }
  if (status != SMFT_OK || json_array_size(list) == 0) {
    json_decref(list);
    return status;
  }
  put(t, "eos_token_id",
      json_array_size(list) == 1 ? json_incref(json_array_get(list, 0)) : json_incref(list));
  json_decref(list);
  return SMFT_OK;
}

static smft_status put_specials(translation *t) {
  int64_t bos = -1;
  SMFT__TRY(smft__gguf_i64(t->gguf, "tokenizer.ggml.bos_token_id", -1, &bos));
  if (bos >= 0)
    put(t, "bos_token_id", json_integer((json_int_t)bos));
  return put_ends(t);
}

/* ---- rotary positions ---------------------------------------------------- */

static smft_status scaling_type(const translation *t, char type[16]) {
  char key[KEY_SIZE];
  const char *text = NULL;
  int64_t length = 0;
  SMFT__TRY(smft__gguf_string(t->gguf, key_of(t, "rope.scaling.type", key), &text, &length));
  snprintf(type, 16, "%.*s", text ? (int)(length < 15 ? length : 15) : 6, text ? text : "linear");
  return SMFT_OK;
}

/* llama.cpp multiplies YaRN's own magnitude by attn_factor; Hugging Face's attention_factor stands
 * instead of it. */
static smft_status put_yarn(translation *t, json_t *scaling, double factor) {
  double attention = 1, fast = 32, slow = 1;
  int64_t context = 0;
  SMFT__TRY(read_double(t, "rope.scaling.attn_factor", 1, &attention));
  SMFT__TRY(read_double(t, "rope.scaling.yarn_beta_fast", 32, &fast));
  SMFT__TRY(read_double(t, "rope.scaling.yarn_beta_slow", 1, &slow));
  SMFT__TRY(read_i64(t, "rope.scaling.original_context_length", 0, &context));
  if (context > 0)
    t->failed |= json_object_set_new(scaling, "original_max_position_embeddings",
                                     json_integer((json_int_t)context));
  if (has(t, "rope.scaling.attn_factor"))
    t->failed |= json_object_set_new(scaling, "attention_factor",
                                     json_real(attention * (1 + 0.1 * log(factor))));
  t->failed |= json_object_set_new(scaling, "beta_fast", json_real(fast));
  t->failed |= json_object_set_new(scaling, "beta_slow", json_real(slow));
  return SMFT_OK;
}

/* llama.cpp multiplies by it whatever the type is; only YaRN has a word for it here. */
static smft_status check_plain_factor(const translation *t) {
  double attention = 1;
  SMFT__TRY(read_double(t, "rope.scaling.attn_factor", 1, &attention));
  return attention < 1 || attention > 1
             ? refuse(t, "rope.scaling.attn_factor", "only \"yarn\" scales by it here")
             : SMFT_OK;
}

static smft_status put_scaling(translation *t) {
  char type[16];
  double factor = 0;
  SMFT__TRY(scaling_type(t, type));
  SMFT__TRY(read_double(t, "rope.scale_linear", 0, &factor));
  SMFT__TRY(read_double(t, "rope.scaling.factor", factor, &factor));
  int yarn = strcmp(type, "yarn") == 0;
  if (strcmp(type, "none") != 0 && strcmp(type, "linear") != 0 && !yarn)
    return refuse(t, "rope.scaling.type", "expected \"none\", \"linear\" or \"yarn\"");
  if (!yarn)
    SMFT__TRY(check_plain_factor(t));
  if (strcmp(type, "none") == 0 || (!yarn && (factor == 0 || factor == 1)))
    return SMFT_OK;
  if (factor < 1)
    return refuse(t, "rope.scaling.factor", "expected 1 or more");
  json_t *scaling = json_object();
  t->failed |= json_object_set_new(scaling, "rope_type", json_string(type));
  t->failed |= json_object_set_new(scaling, "factor", json_real(factor));
  smft_status status = yarn ? put_yarn(t, scaling, factor) : SMFT_OK;
  put(t, "rope_scaling", scaling);
  return status;
}

/* Llama 3's scaling comes as a tensor of divisors. */
static smft_status put_factors(translation *t, const smft__gguf_tensor *tensor) {
  if (json_object_get(t->root, "rope_scaling"))
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: tensor %s beside key \"%s.rope.scaling.factor\"",
                      t->gguf->path, ROPE_FREQS, t->arch->name);
  if (strcmp(tensor->type->name, "F32") != 0 || tensor->n_dims != 1 ||
      tensor->dims[0] != t->head_dim / 2)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: tensor %s: expected %lld numbers of type F32",
                      t->gguf->path, ROPE_FREQS, (long long)(t->head_dim / 2));
  json_t *scaling = json_object(), *list = json_array();
  t->failed |= json_object_set_new(scaling, "rope_type", json_string("factors")) != 0;
  t->failed |= json_object_set_new(scaling, "factors", list) != 0;
  put(t, "rope_scaling", scaling);
  for (int64_t i = 0; i < tensor->dims[0]; i++) {
    float factor = 0;
    memcpy(&factor, tensor->data + 4 * i, sizeof factor);
    if (!isfinite(factor) || factor <= 0)
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s: number %lld is not positive", t->gguf->path,
                        ROPE_FREQS, (long long)i);
    t->failed |= json_array_append_new(list, json_real((double)factor)) != 0;
  }
  return SMFT_OK;
}

static smft_status put_rope(translation *t) {
  const smft__gguf_tensor *factors = find_tensor(t, ROPE_FREQS);
  double theta = 0;
  SMFT__TRY(read_double(t, "rope.freq_base", 10000, &theta));
  put(t, "rope_theta", json_real(theta));
  SMFT__TRY(put_scaling(t));
  return factors ? put_factors(t, factors) : SMFT_OK;
}

/* ---- what families have of their own ------------------------------------- */

/* Which blocks see a window only: every sixth (or so) sees all, or a list says it of each. */
static smft_status put_layer_types(translation *t, int64_t window) {
  char key[KEY_SIZE];
  const smft__gguf_value *list =
      smft__gguf_find(t->gguf, key_of(t, "attention.sliding_window_pattern", key));
  int64_t period = 6;
  if (!list || list->type != SMFT__GGUF_ARRAY) {
    list = NULL;
    SMFT__TRY(read_i64(t, "attention.sliding_window_pattern", 6, &period));
  }
  if (t->layers > MOST_LAYERS || period < 1 || (list && list->n != t->layers))
    return refuse(t, "attention.sliding_window_pattern", "does not fit the number of blocks");
  json_t *types = json_array();
  for (int64_t i = 0; i < t->layers; i++) {
    int slides = list ? smft__gguf_item_i64(list, i) != 0 : (i + 1) % period != 0;
    const char *type = slides && window > 0 ? "sliding_attention" : "full_attention";
    t->failed |= json_array_append_new(types, json_string(type)) != 0;
  }
  put(t, "layer_types", types);
  return SMFT_OK;
}

/* Blocks with a window have a theta of their own. */
static smft_status put_windows(translation *t) {
  int64_t window = 0;
  double theta = 0;
  SMFT__TRY(read_i64(t, "attention.sliding_window", 0, &window));
  SMFT__TRY(read_double(t, "rope.freq_base_swa", 10000, &theta));
  SMFT__TRY(put_layer_types(t, window));
  put(t, "rope_local_base_freq", json_real(theta));
  if (window > 0)
    put(t, "sliding_window", json_integer((json_int_t)window));
  return SMFT_OK;
}

/* As llama.cpp has it: the model of 62 blocks scales by hidden / heads, the others by the head;
 * unless the file says it. */
static smft_status put_gemma3(translation *t) {
  int64_t scalar = t->layers == 62 ? t->hidden / t->heads : t->head_dim;
  double scale = 0;
  SMFT__TRY(read_double(t, "attention.scale", 0, &scale));
  put(t, "hidden_activation", json_string("gelu_pytorch_tanh"));
  put(t, "query_pre_attn_scalar",
      scale > 0 ? json_real(1 / (scale * scale)) : json_integer((json_int_t)scalar));
  return put_windows(t);
}

/* A Llama with a window is a Mistral. */
static smft_status put_llama(translation *t) {
  int64_t window = 0;
  SMFT__TRY(read_i64(t, "attention.sliding_window", 0, &window));
  put(t, "hidden_act", json_string("silu"));
  if (window <= 0)
    return SMFT_OK;
  put(t, "architectures", json_pack("[s]", "MistralForCausalLM"));
  put(t, "model_type", json_string("mistral"));
  put(t, "sliding_window", json_integer((json_int_t)window));
  return SMFT_OK;
}

static smft_status put_family(translation *t) {
  if (t->arch->kind == SMFT__GGUF_GEMMA3)
    return put_gemma3(t);
  if (t->arch->kind == SMFT__GGUF_LLAMA)
    return put_llama(t);
  put(t, "hidden_act", json_string("silu"));
  if (t->arch->kind == SMFT__GGUF_SMOLLM3) /* in no key: llama.cpp has the number in its source */
    put(t, "no_rope_layer_interval", json_integer(4));
  return SMFT_OK;
}

/* ---- keys that are not read ---------------------------------------------- */

#define EVERY 0x1Fu
#define ONLY(kind) (1u << (kind))

/* Keys that are read above, by which families; and those that mean nothing here. */
static const struct {
  const char *name;
  uint32_t kinds;
} known[] = {
    {"block_count", EVERY},
    {"context_length", EVERY},
    {"embedding_length", EVERY},
    {"feed_forward_length", EVERY},
    {"vocab_size", EVERY},
    {"attention.head_count", EVERY},
    {"attention.head_count_kv", EVERY},
    {"attention.key_length", EVERY},
    {"attention.value_length", EVERY},
    {"attention.layer_norm_rms_epsilon", EVERY},
    {"attention.sliding_window", ONLY(SMFT__GGUF_LLAMA) | ONLY(SMFT__GGUF_GEMMA3)},
    {"attention.sliding_window_pattern", ONLY(SMFT__GGUF_GEMMA3)},
    {"attention.scale", ONLY(SMFT__GGUF_GEMMA3)},
    {"rope.freq_base", EVERY},
    {"rope.freq_base_swa", ONLY(SMFT__GGUF_GEMMA3)},
    {"rope.dimension_count", EVERY},
    {"rope.scale_linear", EVERY},
    {"rope.scaling.type", EVERY},
    {"rope.scaling.factor", EVERY},
    {"rope.scaling.original_context_length", EVERY},
    {"rope.scaling.attn_factor", EVERY},
    {"rope.scaling.yarn_beta_fast", EVERY},
    {"rope.scaling.yarn_beta_slow", EVERY},
    {"rope.scaling.finetuned", EVERY},
    {"tensor_data_layout", EVERY},
};

/* And those that may be there if they change nothing. */
static const struct {
  const char *name;
  double value;
} neutral[] = {
    {"attention.sliding_window", 0},
    {"attention.causal", 1},
    {"attention.scale", 0},
    {"attention.clamp_kqv", 0},
    {"attention.max_alibi_bias", 0},
    {"attention.shared_kv_layers", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"logit_scale", 1},
    {"residual_scale", 1},
    {"embedding_scale", 1},
    {"expert_count", 0},
    {"expert_used_count", 0},
    {"leading_dense_block_count", 0},
    {"nextn_predict_layers", 0},
    {"pooling_type", 0},
    {"use_parallel_residual", 0},
    {"rope.scaling.yarn_log_multiplier", 0},
    {"rope.scaling.yarn_ext_factor", 1},
    {"rope.scaling.yarn_attn_factor", 1},
};

static int is_known(const translation *t, const char *name) {
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].name, name) == 0 && known[i].kinds & ONLY(t->arch->kind))
      return 1;
  return 0;
}

static smft_status check_neutral(const translation *t, const smft__gguf_value *value,
                                 const char *name) {
  size_t i = 0;
  while (i < sizeof neutral / sizeof *neutral && strcmp(neutral[i].name, name) != 0)
    i++;
  if (i == sizeof neutral / sizeof *neutral)
    return refuse(t, name, "is not known");
  double number = smft__gguf_item_double(value, 0);
  int plain = value->type != SMFT__GGUF_ARRAY && value->type != SMFT__GGUF_STRING;
  return plain && number == neutral[i].value ? SMFT_OK : refuse(t, name, "is not supported");
}

static smft_status check_keys(const translation *t) {
  size_t prefix = strlen(t->arch->name);
  for (int64_t i = 0; i < t->gguf->n_values; i++) {
    const smft__gguf_value *value = &t->gguf->values[i];
    char name[KEY_SIZE];
    int64_t rest = value->key_length - (int64_t)prefix - 1;
    if (rest < 0 || memcmp(value->key, t->arch->name, prefix) != 0 || value->key[prefix] != '.')
      continue;
    snprintf(name, sizeof name, "%.*s", (int)(rest < KEY_SIZE ? rest : KEY_SIZE - 1),
             value->key + prefix + 1);
    if (!is_known(t, name))
      SMFT__TRY(check_neutral(t, value, name));
  }
  return SMFT_OK;
}

/* ---- whole --------------------------------------------------------------- */

/* general.type says what else a file may be: an adapter, a projector, a vocabulary. */
static smft_status find_arch(translation *t) {
  const char *type = NULL, *name = NULL;
  int64_t type_length = 0, length = 0;
  char list[256];
  SMFT__TRY(smft__gguf_string(t->gguf, "general.type", &type, &type_length));
  if (type && !(type_length == 5 && memcmp(type, "model", 5) == 0))
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "%s: key \"general.type\": expected \"model\", got \"%.*s\"", t->gguf->path,
                      (int)(type_length < 64 ? type_length : 64), type);
  SMFT__TRY(smft__gguf_string(t->gguf, "general.architecture", &name, &length));
  if (!name)
    return smft__fail(SMFT_E_FORMAT, "%s: key \"general.architecture\" is missing", t->gguf->path);
  t->arch = smft__gguf_arch_find(name, length);
  if (t->arch)
    return SMFT_OK;
  smft__gguf_arch_list(list, sizeof list);
  return smft__fail(SMFT_E_UNSUPPORTED,
                    "%s: key \"general.architecture\": expected %s, got \"%.*s\"", t->gguf->path,
                    list, (int)(length < 64 ? length : 64), name);
}

static smft_status translate(translation *t) {
  SMFT__TRY(check_keys(t));
  put(t, "architectures", json_pack("[s]", t->arch->class_name));
  put(t, "model_type", json_string(t->arch->model_type));
  SMFT__TRY(put_sizes(t));
  SMFT__TRY(put_specials(t));
  SMFT__TRY(put_rope(t));
  SMFT__TRY(put_family(t));
  return t->failed ? smft__fail(SMFT_E_NOMEM, "%s: no memory for its config", t->gguf->path)
                   : SMFT_OK;
}

smft_status smft__gguf_config(const smft__gguf *parts, int32_t n, const smft__gguf_arch **arch,
                              char **text) {
  translation t = {.gguf = parts, .parts = parts, .n_parts = n};
  smft__buffer buffer = {parts->ctx, NULL, 0, 0};
  *text = NULL;
  SMFT__TRY(find_arch(&t));
  *arch = t.arch;
  t.root = json_object();
  t.failed = !t.root;
  smft_status status = translate(&t);
  if (status == SMFT_OK)
    status = smft__json_text(&buffer, t.root);
  json_decref(t.root);
  if (status == SMFT_OK)
    *text = buffer.data;
  else
    smft__buffer_free(&buffer);
  return status;
}
