/* chat_read: where a chat template is found: tokenizer_config.json and chat_template.jinja beside a
 * tokenizer.json, in transformers' order; its hash, and the renderer that stands for it. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/hash.h"
#include "data/json.h"
#include "data/tokenizer/chat.h"
#include <string.h>

/* ---- setting ------------------------------------------------------------- */

static void hash_text(const char *text, int64_t length, char hex[65]) {
  smft__sha256 hash;
  int64_t used = length - (length > 0 && text[length - 1] == '\n');
  smft__sha256_start(&hash);
  smft__sha256_add(&hash, text, (size_t)used);
  smft__sha256_hex(&hash, hex);
}

smft_status smft__chat_set(smft__chat *chat, smft_ctx *ctx, const char *text, int64_t length) {
  char *copy = smft__alloc_array(ctx, length + 1, 1);
  if (!copy)
    return SMFT_E_NOMEM;
  memcpy(copy, text, (size_t)length);
  copy[length] = '\0';
  smft__free(ctx, chat->template_text);
  chat->template_text = copy;
  chat->length = (size_t)length;
  hash_text(text, length, chat->hash);
  chat->style = smft__chat_style_of(chat->hash);
  return SMFT_OK;
}

static smft_status set_string(char **own, smft_ctx *ctx, const char *text) {
  char *copy = text ? smft__strdup(ctx, text) : NULL;
  if (text && !copy)
    return SMFT_E_NOMEM;
  smft__free(ctx, *own);
  *own = copy;
  return SMFT_OK;
}

smft_status smft__chat_set_tokens(smft__chat *chat, smft_ctx *ctx, const char *bos,
                                  const char *eos) {
  SMFT__TRY(set_string(&chat->bos, ctx, bos));
  return set_string(&chat->eos, ctx, eos);
}

void smft__chat_free(smft__chat *chat, smft_ctx *ctx) {
  smft__free(ctx, chat->template_text);
  smft__free(ctx, chat->bos);
  smft__free(ctx, chat->eos);
  memset(chat, 0, sizeof *chat);
}

/* ---- tokenizer_config.json ------------------------------------------------ */

/* "<s>", or {"content": "<s>", ...}; NULL: it is not there. */
static const char *token_text(const json_t *root, const char *key) {
  const json_t *token = json_object_get(root, key);
  return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

/* "chat_template": a text, or a list of {"name", "template"} with a "default". */
static const json_t *find_template(const json_t *root) {
  const json_t *value = json_object_get(root, "chat_template");
  for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++) {
    const json_t *item = json_array_get(value, i);
    const char *name = json_string_value(json_object_get(item, "name"));
    if (name && strcmp(name, "default") == 0)
      return json_object_get(item, "template");
  }
  return value;
}

static smft_status read_config(smft__chat *chat, smft_ctx *ctx, const json_t *root) {
  const json_t *text = find_template(root);
  if (!json_is_object(root))
    return smft__fail(SMFT_E_FORMAT, "expected an object");
  SMFT__TRY(smft__chat_set_tokens(chat, ctx, token_text(root, "bos_token"),
                                  token_text(root, "eos_token")));
  if (!json_is_string(text)) /* none, or a list without a default */
    return SMFT_OK;
  return smft__chat_set(chat, ctx, json_string_value(text), (int64_t)json_string_length(text));
}

static smft_status read_config_file(smft__chat *chat, smft_ctx *ctx, const char *path) {
  json_t *root = NULL;
  SMFT__TRY(smft__json_open_loose(&root, ctx, path));
  smft_status status = read_config(chat, ctx, root);
  json_decref(root);
  return status == SMFT_OK ? status : smft__fail_within(status, "%s", path);
}

/* ---- chat_template.jinja --------------------------------------------------- */

static smft_status read_template_file(smft__chat *chat, smft_ctx *ctx, const char *path) {
  smft__file file = {0};
  SMFT__TRY(smft__file_open(&file, ctx, path, 0));
  smft_status status = SMFT_OK;
  if (!smft__utf8_valid((const char *)file.data, (size_t)file.size, NULL))
    status = smft__fail(SMFT_E_ENCODING, "%s: not valid UTF-8", path);
  else
    status = smft__chat_set(chat, ctx, (const char *)file.data, file.size);
  smft__file_close(&file);
  return status;
}

static smft_status read_from(smft__chat *chat, smft_ctx *ctx, const char *directory,
                             const char *name,
                             smft_status (*read)(smft__chat *, smft_ctx *, const char *)) {
  char *path = NULL;
  SMFT__TRY(smft__path_find(&path, ctx, directory, name));
  smft_status status = path ? read(chat, ctx, path) : SMFT_OK;
  smft__free(ctx, path);
  return status;
}

smft_status smft__chat_read(smft__chat *chat, smft_ctx *ctx, const char *directory) {
  SMFT__TRY(read_from(chat, ctx, directory, "tokenizer_config.json", read_config_file));
  return read_from(chat, ctx, directory, "chat_template.jinja", read_template_file);
}

smft_status smft__chat_read_beside(smft__chat *chat, smft_ctx *ctx, const char *file) {
  const char *slash = strrchr(file, '/');
  char *directory = smft__strdup(ctx, slash ? file : ".");
  if (!directory)
    return SMFT_E_NOMEM;
  if (slash)
    directory[slash - file + (slash == file)] = '\0';
  smft_status status = smft__chat_read(chat, ctx, directory);
  smft__free(ctx, directory);
  return status;
}
