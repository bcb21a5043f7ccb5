/* export: model + patch as a Hugging Face directory: config.json, model.safetensors, and the files
 * of text that the model came with.  They are replaced together. */
#include <string.h>

#include "base/alloc.h"
#include "base/staged.h"
#include "data/safetensors.h"
#include "model/export.h"
#include "model/order.h"
#include "model/view.h"

static const char *torch_name(int32_t dtype) {
  return dtype == SMFT__BF16 ? "bfloat16" : dtype == SMFT__F16 ? "float16" : "float32";
}

/* Hugging Face's files have no blocks: those become bf16 where no type is asked for. */
static int32_t written_as(int32_t asked, int32_t dtype) {
  return asked || !smft__is_block(dtype) ? asked : SMFT__BF16;
}

/* ---- config.json and files of text ----------------------------------------- */

/* Divisors of rotary frequencies as a GGUF has them: no key of Hugging Face's says that. */
static int has_factors(const json_t *root) {
  const json_t *type = json_object_get(json_object_get(root, "rope_scaling"), "rope_type");
  return json_is_string(type) && strcmp(json_string_value(type), "factors") == 0;
}

/* Pools of zeros are written whole, or, if nothing was learnt, not at all. */
static smft_status say_values(json_t *root, int whole) {
  json_t *memory = json_object_get(root, "memory");
  return whole && memory && json_object_get(memory, "values") &&
                 json_object_del(memory, "values") != 0
             ? smft__fail(SMFT_E_NOMEM, "config.json: no memory for its \"values\"")
             : SMFT_OK;
}

/* The type under the key that all know, and under the newer one where that is used. */
static smft_status say_dtype(json_t *root, int32_t dtype) {
  int failed = json_object_set_new(root, "torch_dtype", json_string(torch_name(dtype)));
  if (json_object_get(root, "dtype"))
    failed |= json_object_set_new(root, "dtype", json_string(torch_name(dtype)));
  return failed ? smft__fail(SMFT_E_NOMEM, "config.json: no memory for its torch_dtype") : SMFT_OK;
}

static smft_status export_config(const smft_model *model, smft__staged *to, int32_t dtype,
                                 int whole) {
  json_t *root = NULL;
  SMFT__TRY(smft__json_parse(&root, model->config.json, (int64_t)strlen(model->config.json),
                             "config.json"));
  smft_status status = SMFT_OK;
  if (has_factors(root))
    status = smft__fail(SMFT_E_UNSUPPORTED,
                        "%s: its rotary factors (rope_freqs.weight) cannot be said in config.json",
                        model->path);
  if (status == SMFT_OK)
    status = say_dtype(root, dtype);
  if (status == SMFT_OK)
    status = say_values(root, whole);
  if (status == SMFT_OK)
    status = smft__json_stage(to, "config.json", root);
  json_decref(root);
  return status;
}

static smft_status copy_file(const smft_model *model, smft__staged *to, const char *name) {
  smft__file file = {0};
  char *path = NULL;
  SMFT__TRY(smft__path_find(&path, model->ctx, smft__model_texts(model), name));
  if (!path)
    return SMFT_OK;
  smft_status status = smft__file_open(&file, model->ctx, path, 0);
  if (status == SMFT_OK)
    status = smft__staged_put(to, name, file.data, file.size);
  smft__file_close(&file);
  smft__free(model->ctx, path);
  return status;
}

/* What a model's text needs, and where its answers end. */
static smft_status copy_text_files(const smft_model *model, smft__staged *to) {
  static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                      "special_tokens_map.json", "chat_template.jinja",
                                      "generation_config.json"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    SMFT__TRY(copy_file(model, to, names[i]));
  return SMFT_OK;
}

/* ---- weights ------------------------------------------------------------- */

typedef struct export_set { /* tensors to write, and copies that only exist for that */
  smft_ctx *ctx;
  smft__save_tensor *tensors; /* (n) */
  void **copies;              /* (n) */
  int64_t n;
} export_set;

static void free_set(export_set *set) {
  for (int64_t i = 0; set->copies && i < set->n; i++)
    smft__free(set->ctx, set->copies[i]);
  smft__free(set->ctx, set->copies);
  smft__free(set->ctx, set->tensors);
}

/* What a patch changed, and norms that Hugging Face has otherwise: as f32. */
static smft_status copy_values(export_set *set, const smft_model *model,
                               const smft__version *version, int32_t i) {
  smft__tensor *tensor = &set->tensors[i].tensor;
  float *values = smft__alloc_array(set->ctx, smft__tensor_count(tensor), sizeof *values);
  set->copies[i] = values;
  if (!values)
    return SMFT_E_NOMEM;
  SMFT__TRY(smft__patch_values(model, version, i, values));
  smft__order_values(model, i, values);
  tensor->data = values;
  tensor->dtype = SMFT__F32;
  return SMFT_OK;
}

/* Rows in another order: as they are. */
static smft_status copy_rows(export_set *set, const smft_model *model, int32_t i) {
  smft__tensor *tensor = &set->tensors[i].tensor;
  int64_t bytes = smft__tensor_bytes(tensor);
  set->copies[i] = smft__alloc_array(set->ctx, bytes, 1);
  if (!set->copies[i])
    return SMFT_E_NOMEM;
  memcpy(set->copies[i], tensor->data, (size_t)bytes);
  smft__order_to_hf(model, i, set->copies[i], bytes / tensor->shape[0]);
  tensor->data = set->copies[i];
  return SMFT_OK;
}

/* Most tensors are written from where they are. */
static smft_status add_tensor(export_set *set, const smft_model *model,
                              const smft__version *version, int32_t i, int32_t dtype) {
  smft__save_tensor *save = &set->tensors[set->n++];
  save->name = model->names[i];
  save->tensor = smft__weight(model, version, i);
  save->dtype = dtype;
  int merged = smft__patch_changes(model, version, i) && !version->full;
  if (merged || smft__order_offset(model, i) != 0 || !save->tensor.data)
    return copy_values(set, model, version, i);
  save->dtype = written_as(dtype, save->tensor.dtype);
  return smft__order_is_other(model, i) ? copy_rows(set, model, i) : SMFT_OK;
}

static smft_status make_set(export_set *set, const smft_model *model, const smft__version *version,
                            int32_t dtype, int whole) {
  set->ctx = model->ctx;
  set->tensors = smft__calloc_array(set->ctx, model->n_tensors, sizeof *set->tensors);
  set->copies = smft__calloc_array(set->ctx, model->n_tensors, sizeof *set->copies);
  if (!set->tensors || !set->copies)
    return SMFT_E_NOMEM;
  for (int32_t i = 0; i < model->n_tensors; i++)
    if (whole || smft__weight(model, version, i).data)
      SMFT__TRY(add_tensor(set, model, version, i, dtype));
  return SMFT_OK;
}

static smft_status export_weights(const smft_model *model, const smft__version *version,
                                  smft__staged *to, const smft_export_options *options, int whole) {
  static const char *const keys[] = {"format"}, *const values[] = {"pt"};
  export_set set = {0};
  smft__writer *file = NULL;
  smft_status status = make_set(&set, model, version, options->dtype, whole);
  if (status == SMFT_OK)
    status = smft__staged_add(to, "model.safetensors", &file);
  smft__pools_expect(model, SMFT__READ_IN_ORDER);
  if (status == SMFT_OK)
    status = smft__safetensors_put(file, model->ctx, set.tensors, set.n, keys, values, 1,
                                   options->progress, options->progress_user);
  smft__pools_expect(model, SMFT__READ_ROWS);
  free_set(&set);
  return status;
}

/* Of pools of zeros: whether something was learnt that must be written with them. */
static int zeros_changed(const smft_model *model, const smft__version *version) {
  int changed = 0;
  for (int32_t pool = 0; pool < model->config.n_pools; pool++)
    changed |= smft__patch_changes(model, version, smft__pool_tensor(&model->config, pool));
  return changed && model->config.zero_values;
}

/* Which slots are read follows from weights that patches of slots leave alone, but for what the
 * values of one memory layer are to the next; other patches change it. */
static int keeps_counts(const smft__version *version) {
  return !version || version->kind == SMFT_PATCH_SLOTS;
}

/* Weights behind the rest: until they are there, a new directory looks finished to nobody. */
static smft_status stage_all(const smft_model *model, const smft__version *version,
                             smft__staged *to, const smft_export_options *options, int whole) {
  int32_t own = smft__model_dtype(model, version), dtype = written_as(options->dtype, own);
  SMFT__TRY(export_config(model, to, dtype ? dtype : own, whole));
  SMFT__TRY(copy_text_files(model, to));
  SMFT__TRY(export_weights(model, version, to, options, whole));
  return keeps_counts(version) ? smft__export_counts(model, to, to->files[0].temporary,
                                                     to->files[to->n - 1].temporary)
                               : SMFT_OK;
}

static smft_status export_all(const smft_model *model, const smft__version *version,
                              const char *directory, const smft_export_options *options) {
  smft__staged to = {0};
  int whole = zeros_changed(model, version);
  if (whole)
    SMFT__TRY(smft__zeros_fit(model, directory));
  smft_status status = smft__staged_open(&to, model->ctx, directory);
  if (status == SMFT_OK)
    status = stage_all(model, version, &to, options, whole);
  if (status == SMFT_OK)
    status = smft__staged_commit(&to);
  smft__staged_close(&to);
  return status;
}

static smft_status check_options(const smft_export_options *own) {
  int gguf = own->format == SMFT_FORMAT_GGUF;
  SMFT__REQUIRE(gguf || own->format == SMFT_FORMAT_HUGGING_FACE || own->format == 0,
                "smft_export_options: format must be SMFT_FORMAT_*, got %d", own->format);
  SMFT__TRY(smft__reserved_check(own->reserved, "smft_export_options"));
  SMFT__REQUIRE((own->dtype >= 0 && own->dtype <= SMFT_DTYPE_BF16) ||
                    (gguf && own->dtype == SMFT_DTYPE_Q8_0),
                "smft_export_options: dtype must be SMFT_DTYPE_F32, F16%s, got %d",
                gguf ? ", BF16 or Q8_0" : " or BF16", own->dtype);
  return SMFT_OK;
}

smft_status smft_model_export(const smft_model *model, smft_patch *patch, const char *path,
                              const smft_export_options *options) {
  smft_export_options own = SMFT_EXPORT_OPTIONS_INIT;
  const smft__version *version;
  SMFT__REQUIRE(model && path, "smft_model_export: model or path is NULL");
  SMFT__REQUIRE(!patch || patch->model == model,
                "smft_model_export: the patch is of another model");
  SMFT__TRY(smft__options_read(&own, options, sizeof own, offsetof(smft_export_options, format),
                               "smft_export_options"));
  SMFT__TRY(check_options(&own));
  SMFT__TRY(smft__patch_begin_read(patch, &version));
  smft_status status = own.format == SMFT_FORMAT_GGUF
                           ? smft__export_gguf(model, version, path, &own)
                           : export_all(model, version, path, &own);
  smft__patch_end_read(patch, version);
  return status;
}
