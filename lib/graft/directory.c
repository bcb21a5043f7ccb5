/* directory: see directory.h.  Owns which files there are, how a base is named, and what may be
 * replaced; what config.json says is config.c's. */
#include "graft/directory.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "data/safetensors.h"
#include "graft/config.h"

/* in the order in which they are put in place */
static const char *const files[] = {"memory.safetensors", "background.safetensors", "config.json"};
enum { N_FILES = sizeof files / sizeof *files };

/* ---- what is there ------------------------------------------------------- */

/* Whether its config.json is a graft's. */
static smft_status holds_graft(smft_ctx *ctx, const char *path, int *yes) {
  char *config = NULL;
  json_t *root = NULL;
  *yes = 0;
  SMFT__TRY(smft__path_find(&config, ctx, path, "config.json"));
  smft_status status = config ? smft__json_open(&root, ctx, config) : SMFT_OK;
  *yes = status == SMFT_OK && json_is_object(json_object_get(root, "base"));
  json_decref(root);
  smft__free(ctx, config);
  return status == SMFT_E_NOMEM ? status : SMFT_OK; /* what cannot be read is no graft's */
}

static smft_status check_place(smft__graft_directory *to) {
  if (!smft__file_exists(to->path))
    return SMFT_OK;
  if (!smft__is_directory(to->path))
    return smft__fail(SMFT_E_STATE, "%s: expected no file, or a directory to replace", to->path);
  SMFT__TRY(holds_graft(to->ctx, to->path, &to->replaces));
  if (to->replaces || smft__folder_is_empty(to->path))
    return SMFT_OK;
  return smft__fail(SMFT_E_STATE, "%s: holds something that is no graft; it stays", to->path);
}

smft_status smft__graft_directory_open(smft__graft_directory *to, smft_ctx *ctx, const char *path) {
  memset(to, 0, sizeof *to);
  to->ctx = ctx;
  smft_status status = smft__path_resolve(&to->path, ctx, path);
  if (status == SMFT_OK)
    status = check_place(to);
  if (status == SMFT_OK)
    status = smft__folder_make_beside(&to->temporary, ctx, to->path);
  if (status != SMFT_OK)
    smft__graft_directory_close(to);
  return status;
}

/* ---- writing ------------------------------------------------------------- */

/* Relative where the base is beside the directory or below it, so that both can move together;
 * else absolute.  both without symbolic links; to: freed by the caller. */
static smft_status name_base(char **to, smft_ctx *ctx, const char *directory, const char *base) {
  size_t whole = strlen(directory), parent = (size_t)(strrchr(directory, '/') - directory);
  int below = strncmp(base, directory, whole) == 0 && base[whole] == '/';
  int beside = parent > 0 && strncmp(base, directory, parent) == 0 && base[parent] == '/';
  *to = below    ? smft__strdup(ctx, base + whole + 1)
        : beside ? smft__path_join(ctx, "..", base + parent + 1)
                 : smft__strdup(ctx, base);
  return *to ? SMFT_OK : SMFT_E_NOMEM;
}

static smft_status write_config(const smft__graft_directory *to, const smft_model *base,
                                const smft__settings *settings, double step_length) {
  smft_ctx *ctx = to->ctx;
  char *real = NULL, *named = NULL, *path = NULL;
  json_t *root = NULL;
  smft_status status = smft__path_resolve(&real, ctx, base->path);
  if (status == SMFT_OK)
    status = name_base(&named, ctx, to->path, real);
  if (status == SMFT_OK)
    status = smft__graft_config(&root, base, named, settings, step_length);
  if (status == SMFT_OK) {
    path = smft__path_join(ctx, to->temporary, "config.json");
    status = path ? smft__json_save(ctx, path, root) : SMFT_E_NOMEM;
  }
  json_decref(root);
  smft__free(ctx, path);
  smft__free(ctx, named);
  smft__free(ctx, real);
  return status;
}

typedef char tensor_name[64];
enum { QUERY, QUERY_BIAS, KEYS, ALPHA, N_PARTS };

static const float one = 1;

/* tensors, names: N_PARTS of them */
static void describe(const smft__graft_layer *layer, const smft__settings *s, int32_t block,
                     int64_t d, smft__save_tensor *tensors, tensor_name *names) {
  static const char *const parts[] = {"query.weight", "query.bias", "keys", "alpha"};
  int64_t width = smft__settings_width(s);
  smft__tensor keys = {layer->keys, {s->o.heads, 2, s->o.n_keys, s->o.key_dim / 2}, 4, SMFT__F32};
  tensors[QUERY].tensor = smft__tensor_f32(layer->query, width, d);
  tensors[QUERY_BIAS].tensor = smft__tensor_f32(layer->query_bias, width, 0);
  tensors[KEYS].tensor = keys;
  tensors[ALPHA].tensor = smft__tensor_f32(&one, 1, 0);
  for (int i = 0; i < N_PARTS; i++) {
    snprintf(names[i], sizeof *names, "model.layers.%d.memory.%s", (int)block, parts[i]);
    tensors[i].name = names[i];
  }
}

static smft_status write_memory(const smft__graft_directory *to, int64_t d, const smft__settings *s,
                                const smft__graft_layer *layers) {
  static const char *const keys[] = {"format"}, *const values[] = {"pt"};
  int32_t n = N_PARTS * s->o.n_layers;
  smft__save_tensor *tensors = smft__calloc_array(to->ctx, n, sizeof *tensors);
  tensor_name *names = smft__calloc_array(to->ctx, n, sizeof *names);
  char *path = smft__path_join(to->ctx, to->temporary, "memory.safetensors");
  smft_status status = tensors && names && path ? SMFT_OK : SMFT_E_NOMEM;
  for (int32_t i = 0; status == SMFT_OK && i < s->o.n_layers; i++)
    describe(&layers[i], s, s->layers[i], d, tensors + i * N_PARTS, names + i * N_PARTS);
  if (status == SMFT_OK)
    status = smft__safetensors_write(to->ctx, path, tensors, n, keys, values, 1, NULL, NULL);
  smft__free(to->ctx, path);
  smft__free(to->ctx, names);
  smft__free(to->ctx, tensors);
  return status;
}

smft_status smft__graft_directory_write(const smft__graft_directory *to, const smft_model *base,
                                        const smft__settings *settings,
                                        const smft__graft_layer *layers, double step_length) {
  SMFT__TRY(write_memory(to, base->config.hidden, settings, layers));
  return write_config(to, base, settings, step_length);
}

/* ---- in place ------------------------------------------------------------ */

smft_status smft__graft_directory_commit(smft__graft_directory *to) {
  if (!to->replaces) {
    SMFT__TRY(smft__move(to->temporary, to->path));
    smft__free(to->ctx, to->temporary);
    to->temporary = NULL; /* it is in place */
    return SMFT_OK;
  }
  return smft__folder_move(to->temporary, to->path, files, N_FILES);
}

void smft__graft_directory_close(smft__graft_directory *to) {
  if (!to->ctx)
    return;
  if (to->temporary)
    smft__folder_remove(to->temporary, files, N_FILES);
  smft__free(to->ctx, to->temporary);
  smft__free(to->ctx, to->path);
  memset(to, 0, sizeof *to);
}
