/* grafted: see grafted.h.  Owns what such a config.json may say and where its base is; what the
 * memory object says is config.c's, opening the two model.c's. */
#include "model/grafted.h"

#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"

#define WHAT "config.json"
#define HASH_LENGTH 64

/* ---- fields -------------------------------------------------------------- */

/* Sizes, family and the rest are the base's: whatever else is said here would not be heard. */
static smft_status check_keys(const json_t *object, const char *const *known, const char *why) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)object, key, value) {
    if (strcmp(key, known[0]) != 0 && strcmp(key, known[1]) != 0)
      return smft__fail(SMFT_E_UNSUPPORTED, WHAT ": \"%s\" is not known %s", key, why);
  }
  return SMFT_OK;
}

static smft_status read_text(const json_t *base, const char *key, const char **text) {
  SMFT__TRY(smft__json_string(base, key, "", text, WHAT ": \"base\""));
  if (**text)
    return SMFT_OK;
  return smft__fail(SMFT_E_FORMAT, WHAT ": \"base\": \"%s\" is missing or empty", key);
}

static smft_status check_hash(const char *hash) {
  if (strlen(hash) == HASH_LENGTH && strspn(hash, "0123456789abcdef") == HASH_LENGTH)
    return SMFT_OK;
  return smft__fail(SMFT_E_FORMAT,
                    WHAT ": \"base\": \"hash\" must be %d hexadecimal digits, got \"%.80s\"",
                    HASH_LENGTH, hash);
}

/* A relative path is so to the directory. */
static smft_status find_base(smft__grafted *out, smft_ctx *ctx, const char *directory,
                             const char *path) {
  out->path = path[0] == '/' ? smft__strdup(ctx, path) : smft__path_join(ctx, directory, path);
  return out->path ? SMFT_OK : SMFT_E_NOMEM;
}

static smft_status read_base(smft__grafted *out, smft_ctx *ctx, const char *directory,
                             const json_t *base) {
  static const char *const whole[] = {"base", "memory"}, *const parts[] = {"path", "hash"};
  const char *path = NULL;
  SMFT__TRY(check_keys(out->root, whole, "beside \"base\": it is the base's to say"));
  if (!json_is_object(base))
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"base\" must be an object");
  SMFT__TRY(check_keys(base, parts, "in \"base\""));
  SMFT__TRY(read_text(base, "path", &path));
  SMFT__TRY(read_text(base, "hash", &out->hash));
  SMFT__TRY(check_hash(out->hash));
  if (!json_is_object(out->memory))
    return smft__fail(SMFT_E_FORMAT, WHAT ": \"memory\" must be an object: \"base\" is there");
  return find_base(out, ctx, directory, path);
}

/* ---- whole --------------------------------------------------------------- */

/* Keeps root if it has a base. */
static smft_status take_root(smft__grafted *out, smft_ctx *ctx, const char *directory,
                             json_t *root) {
  const json_t *base = json_object_get(root, "base");
  if (!base || json_is_null(base)) {
    json_decref(root);
    return SMFT_OK;
  }
  out->root = root;
  out->memory = json_object_get(root, "memory");
  smft_status status = read_base(out, ctx, directory, base);
  if (status == SMFT_OK)
    return status;
  smft__grafted_free(out, ctx);
  return smft__fail_within(status, "%s", directory);
}

smft_status smft__grafted_read(smft__grafted *out, smft_ctx *ctx, const char *path) {
  char *config = NULL;
  json_t *root = NULL;
  memset(out, 0, sizeof *out);
  if (!smft__is_directory(path))
    return SMFT_OK;
  SMFT__TRY(smft__folder_check(path));
  SMFT__TRY(smft__path_find(&config, ctx, path, "config.json"));
  smft_status status = config ? smft__json_open(&root, ctx, config) : SMFT_OK;
  smft__free(ctx, config);
  return status == SMFT_OK && root ? take_root(out, ctx, path, root) : status;
}

void smft__grafted_free(smft__grafted *grafted, smft_ctx *ctx) {
  json_decref(grafted->root);
  smft__free(ctx, grafted->path);
  memset(grafted, 0, sizeof *grafted);
}
