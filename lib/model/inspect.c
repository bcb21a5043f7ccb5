/* inspect: what a model on disk is and whether it can be run here, without its weights: config or
 * keys, and the tables of tensors.  Does not own how it is opened (model.c). */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "data/gguf_source.h"
#include "data/json.h"
#include "model/arch.h"
#include "model/grafted.h"
#include "model/model.h"

static void copy_text(char *to, size_t size, const char *text, int64_t length) {
  size_t n = text && length > 0 ? (size_t)length : 0;
  n = n < size - 1 ? n : size - 1;
  if (n > 0)
    memcpy(to, text, n);
  to[n] = '\0';
  while (n > 0 && !smft__utf8_valid(to, n, NULL)) /* cut within a character, or not UTF-8 */
    to[--n] = '\0';
}

/* ---- the tensors --------------------------------------------------------- */

static void add_tensors(smft_model_inspection *out, const smft__source *source,
                        int64_t of_type[SMFT__N_DTYPES]) {
  for (int64_t i = 0; i < source->n; i++) {
    const smft__tensor *tensor = &source->tensors[i];
    int64_t n = smft__tensor_count(tensor);
    out->n_parameters += n;
    out->weight_bytes += smft__tensor_bytes(tensor);
    of_type[tensor->dtype] += n;
  }
}

/* The type that most weights have, and what all of them are. */
static void count_tensors(smft_model_inspection *out, const smft_model *model) {
  int64_t of_type[SMFT__N_DTYPES] = {0};
  add_tensors(out, &model->source, of_type);
  add_tensors(out, &model->graft, of_type);
  for (int32_t i = 1; i < SMFT__N_DTYPES; i++)
    if (of_type[i] > of_type[out->dtype])
      out->dtype = i;
  const char *name = model->source.n ? smft__dtype_name(out->dtype) : "";
  copy_text(out->quantization, sizeof out->quantization, name, (int64_t)strlen(name));
}

static void from_model(smft_model_inspection *out, const smft_model *model) {
  const smft__config *c = &model->config;
  if (c->arch)
    copy_text(out->family, sizeof out->family, c->arch->model_type,
              (int64_t)strlen(c->arch->model_type));
  if (c->arch) {
    out->n_layers = c->n_layers;
    out->hidden_size = c->hidden;
    out->n_heads = c->n_heads;
    out->n_kv_heads = c->n_kv_heads;
    out->vocab_size = c->vocab;
    out->context_length = c->context;
    out->cache_bytes = 2 * (int64_t)sizeof(float) * c->n_layers * smft__kv_width(c);
  }
  count_tensors(out, model);
}

/* ---- what a header says of a model that is not read here ----------------- */

static int32_t size_of(int64_t value) {
  return value > 0 && value <= INT32_MAX ? (int32_t)value : 0;
}

static int32_t key_size(const smft__gguf *gguf, const char *arch, const char *name) {
  char key[160];
  int64_t value = 0;
  snprintf(key, sizeof key, "%s.%s", arch, name);
  return smft__gguf_i64(gguf, key, 0, &value) == SMFT_OK ? size_of(value) : 0;
}

static void from_header(smft_model_inspection *out, const smft__gguf *gguf) {
  const char *text = NULL;
  int64_t length = 0;
  if (smft__gguf_string(gguf, "general.architecture", &text, &length) == SMFT_OK)
    copy_text(out->family, sizeof out->family, text, length);
  if (smft__gguf_string(gguf, "general.license", &text, &length) == SMFT_OK)
    copy_text(out->license, sizeof out->license, text, length);
  out->n_layers = key_size(gguf, out->family, "block_count");
  out->hidden_size = key_size(gguf, out->family, "embedding_length");
  out->n_heads = key_size(gguf, out->family, "attention.head_count");
  out->n_kv_heads = key_size(gguf, out->family, "attention.head_count_kv");
  out->context_length = key_size(gguf, out->family, "context_length");
  const smft__gguf_value *tokens = smft__gguf_find(gguf, "tokenizer.ggml.tokens");
  out->vocab_size = tokens ? size_of(tokens->n) : 0;
  for (int64_t i = 0; i < gguf->n_tensors; i++)
    out->weight_bytes += gguf->tensors[i].bytes;
}

static smft_status read_header(smft_model_inspection *out, smft_ctx *ctx, const char *path) {
  smft__file file = {0};
  smft__gguf gguf = {0};
  SMFT__TRY(smft__file_open(&file, ctx, path, 0));
  smft_status status = smft__gguf_read(&gguf, ctx, file.data, file.size, path);
  if (status == SMFT_OK)
    from_header(out, &gguf);
  smft__gguf_free(&gguf);
  smft__file_close(&file);
  return status == SMFT_E_NOMEM ? status : SMFT_OK;
}

static int32_t json_size(const json_t *root, const char *key) {
  return size_of((int64_t)json_integer_value(json_object_get(root, key)));
}

static smft_status read_config(smft_model_inspection *out, smft_ctx *ctx, const char *path) {
  json_t *root = NULL;
  SMFT__TRY(smft__json_open(&root, ctx, path));
  const char *type = json_string_value(json_object_get(root, "model_type"));
  copy_text(out->family, sizeof out->family, type, type ? (int64_t)strlen(type) : 0);
  out->n_layers = json_size(root, "num_hidden_layers");
  out->hidden_size = json_size(root, "hidden_size");
  out->n_heads = json_size(root, "num_attention_heads");
  out->n_kv_heads = json_size(root, "num_key_value_heads");
  out->vocab_size = json_size(root, "vocab_size");
  out->context_length = json_size(root, "max_position_embeddings");
  json_decref(root);
  return SMFT_OK;
}

/* A directory with config.json is Hugging Face's. */
static smft_status look_at(smft_model_inspection *out, smft_ctx *ctx, const char *path) {
  char *config = smft__path_join(ctx, path, "config.json"), *found = NULL;
  smft_status status = config ? SMFT_OK : SMFT_E_NOMEM;
  int plain = config && smft__file_exists(config);
  if (status == SMFT_OK && !plain && smft__is_directory(path))
    status = smft__gguf_find_file(ctx, path, &found);
  if (status == SMFT_OK && (found || (!plain && !smft__is_directory(path)))) {
    out->format = SMFT_FORMAT_GGUF;
    status = read_header(out, ctx, found ? found : path);
  } else if (status == SMFT_OK) {
    out->format = SMFT_FORMAT_HUGGING_FACE;
    status = read_config(out, ctx, config);
  }
  smft__free(ctx, config);
  smft__free(ctx, found);
  return status;
}

/* A grafted model is what its base is. */
static smft_status look(smft_model_inspection *out, smft_ctx *ctx, const char *path) {
  smft__grafted graft = {0};
  smft_status status = smft__grafted_read(&graft, ctx, path);
  if (status == SMFT_OK)
    status = look_at(out, ctx, graft.root ? graft.path : path);
  else
    out->format = SMFT_FORMAT_HUGGING_FACE;
  smft__grafted_free(&graft, ctx);
  return status;
}

static int is_of_files(smft_status status) {
  return status == SMFT_E_NOMEM || status == SMFT_E_NOT_FOUND || status == SMFT_E_IO;
}

smft_status smft_model_inspect(smft_ctx *ctx, const char *path, smft_model_inspection *out) {
  smft_model_inspection own = {0}, seen = {0};
  smft_model *model = NULL;
  SMFT__REQUIRE(ctx && path && out, "smft_model_inspect: ctx, path or out is NULL");
  SMFT__TRY(smft__report_check(out, sizeof own, "smft_model_inspection"));
  smft_status status = look(&own, ctx, path);
  if (is_of_files(status))
    return status;
  if (status == SMFT_OK)
    status = smft__model_open(&model, ctx, path);
  if (status == SMFT_E_NOMEM)
    return status;
  own.can_run = status == SMFT_OK;
  if (own.can_run) {
    seen.format = own.format;
    memcpy(seen.license, own.license, sizeof seen.license);
    own = seen;
    own.can_run = 1;
    from_model(&own, model);
  } else {
    copy_text(own.why, sizeof own.why, smft_error_message(), (int64_t)strlen(smft_error_message()));
  }
  smft_model_free(model);
  return smft__report_write(out, &own, sizeof own, sizeof own, "smft_model_inspection");
}
