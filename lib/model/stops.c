/* stops: the ids at which generation ends: config.json's end-of-text, what generation_config.json
 * adds (the end of a turn, in chat models), and what a GGUF file's tokenizer says.  Does not own:
 * when a generation ends (generate.c). */
#include "model/stops.h"

#include "base/alloc.h"
#include "base/file.h"
#include "model/model.h"

#define MOST ((int32_t)(sizeof((smft__config *)0)->stops / sizeof(int32_t)))

int smft__stops_at(const smft__config *config, int32_t id) {
  for (int32_t i = 0; i < config->n_stops; i++)
    if (config->stops[i] == id)
      return 1;
  return 0;
}

smft_status smft__stops_add(smft__config *config, int64_t id, const char *where) {
  if (id < 0 || id >= config->vocab)
    return smft__fail(SMFT_E_FORMAT, "%s: \"eos_token_id\" must hold token ids from 0 to %d", where,
                      config->vocab - 1);
  if (smft__stops_at(config, (int32_t)id))
    return SMFT_OK;
  if (config->n_stops == MOST)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: more than %d end-of-text ids are not supported",
                      where, MOST);
  config->stops[config->n_stops++] = (int32_t)id;
  return SMFT_OK;
}

static smft_status add_value(smft__config *config, const json_t *value, const char *where) {
  return smft__stops_add(config, json_is_integer(value) ? json_integer_value(value) : -1, where);
}

smft_status smft__stops_add_json(smft__config *config, const json_t *value, const char *where) {
  if (!value || json_is_null(value))
    return SMFT_OK;
  if (!json_is_array(value))
    return add_value(config, value, where);
  for (size_t i = 0; i < json_array_size(value); i++)
    SMFT__TRY(add_value(config, json_array_get(value, i), where));
  return SMFT_OK;
}

static smft_status read_file(smft__config *config, smft_ctx *ctx, const char *path) {
  json_t *root = NULL;
  SMFT__TRY(smft__json_open(&root, ctx, path));
  smft_status status = smft__stops_add_json(config, json_object_get(root, "eos_token_id"), path);
  json_decref(root);
  return status;
}

smft_status smft__stops_read(smft__config *config, smft_ctx *ctx, const char *directory) {
  char *path = NULL;
  SMFT__TRY(smft__path_find(&path, ctx, directory, "generation_config.json"));
  smft_status status = path ? read_file(config, ctx, path) : SMFT_OK;
  smft__free(ctx, path);
  return status;
}

smft_status smft__stops_of(smft__config *config, const smft_tokenizer *tokenizer) {
  const int32_t *ids = NULL;
  int64_t n = 0;
  if (tokenizer)
    smft__tokenizer_stops(tokenizer, &ids, &n);
  for (int64_t i = 0; i < n; i++)
    SMFT__TRY(smft__stops_add(config, ids[i], "the tokenizer"));
  return SMFT_OK;
}

smft_status smft_model_stop_ids(const smft_model *model, int32_t *ids, int64_t capacity,
                                int64_t *n_ids) {
  SMFT__REQUIRE(model && n_ids, "smft_model_stop_ids: model or n_ids is NULL");
  SMFT__REQUIRE(capacity >= 0 && (ids || capacity == 0),
                "smft_model_stop_ids: ids is NULL or capacity negative");
  const smft__config *c = &model->config;
  smft__ids list = {model->ctx, (int32_t *)(uintptr_t)c->stops, c->n_stops, c->n_stops};
  return smft__ids_copy(&list, ids, capacity, n_ids, "smft_model_stop_ids");
}
