/* grafted: makes the directory of a grafted model on any base, with random queries and keys, for
 * tests that need one.  Call test_directory_make() in make_suite first. */
#ifndef SMFT_TEST_GRAFTED_H
#define SMFT_TEST_GRAFTED_H
#include "test.h"
#include "tiny.h"

#include "base/rng.h"
#include "data/safetensors.h"
#include "data/tensor_write.h"

/* sizes of its memories: in the first block and the last, each with its own pool of n_keys^2 slots
 * (0: GRAFTED_KEYS) */
enum { GRAFTED_KEYS = 16, GRAFTED_HEADS = 2, GRAFTED_TOP = 4, GRAFTED_DIM = 16, GRAFTED_MOST = 8 };

typedef struct grafted_tensors { /* what goes into memory.safetensors */
  smft__save_tensor saved[GRAFTED_MOST];
  char names[GRAFTED_MOST][96];
  float *numbers[GRAFTED_MOST];
  int n;
} grafted_tensors;

static inline void grafted_add(grafted_tensors *to, int layer, const char *name, int n_dims,
                               const int64_t *shape, double scale, smft__rng *rng) {
  smft__tensor tensor = {.n_dims = n_dims, .dtype = SMFT__F32};
  memcpy(tensor.shape, shape, (size_t)n_dims * sizeof *shape);
  int64_t n = smft__tensor_count(&tensor);
  float *numbers = malloc((size_t)n * sizeof *numbers);
  ck_assert_ptr_nonnull(numbers);
  for (int64_t i = 0; i < n; i++)
    numbers[i] = (float)(scale * smft__rng_normal(rng));
  if (strcmp(name, "alpha") == 0)
    numbers[0] = 1;
  tensor.data = to->numbers[to->n] = numbers;
  snprintf(to->names[to->n], sizeof to->names[0], "model.layers.%d.memory.%s", layer, name);
  to->saved[to->n] = (smft__save_tensor){to->names[to->n], tensor, 0};
  to->n++;
}

static inline void grafted_layer(grafted_tensors *to, int layer, int64_t d, int n_keys,
                                 smft__rng *rng) {
  int64_t width = GRAFTED_HEADS * GRAFTED_DIM;
  const int64_t query[] = {width, d}, one[] = {1};
  const int64_t keys[] = {GRAFTED_HEADS, 2, n_keys, GRAFTED_DIM / 2};
  grafted_add(to, layer, "query.weight", 2, query, 1, rng);
  grafted_add(to, layer, "query.bias", 1, &width, 0.5, rng);
  grafted_add(to, layer, "keys", 4, keys, 1, rng);
  grafted_add(to, layer, "alpha", 1, one, 1, rng);
}

/* config.json of the directory `name`; more: further keys of its memory, as ", \"learn\": {}", or
 * "". */
static inline void grafted_config(const char *name, const char *base, const char *hash,
                                  const smft_model_info *info, int n_keys, const char *more) {
  char path[600], text[4096];
  int n = snprintf(text, sizeof text,
                   "{\"base\": {\"path\": \"%s\", \"hash\": \"%s\"}, \"memory\": {"
                   "\"layers\": [0, %d], \"pools\": [0, 1], \"placement\": \"beside\", "
                   "\"n_keys\": %d, \"heads\": %d, \"top_k\": %d, \"key_dim\": %d, "
                   "\"value_dim\": %d, \"gate\": false, \"bias\": true, \"out\": \"identity\", "
                   "\"values\": \"zero\"%s}}",
                   base, hash, info->n_layers - 1, n_keys, GRAFTED_HEADS, GRAFTED_TOP, GRAFTED_DIM,
                   info->hidden_size, more);
  ck_assert_int_lt(n, (int)sizeof text);
  snprintf(path, sizeof path, "%s/config.json", name);
  test_write(path, text, (size_t)n);
}

/* A plain base in the test's own directory: tiny.h's model of three blocks without its memory, with
 * its tokenizer and random weights.  Returns its path, until the next call. */
static inline const char *grafted_base(smft_ctx *ctx, const char *name, uint64_t seed) {
  static char base[1024];
  smft_model *model = NULL;
  char path[600];
  mkdir(test_file(name), 0700);
  tiny_config(name, (tiny){.shared = 1});
  tiny_tokenizer(name);
  snprintf(path, sizeof path, "%s/config.json", name);
  char *text = test_read(test_file(path), NULL), *end = strstr(text, ", \"memory\"");
  ck_assert_ptr_nonnull(end);
  memcpy(end, "}", 2);
  test_write(path, text, strlen(text));
  free(text);
  ck_ok(smft_model_init(&model, ctx, test_file(name), seed));
  ck_ok(smft_model_export(model, NULL, test_file(name), NULL));
  smft_model_free(model);
  snprintf(base, sizeof base, "%s", test_file(name));
  return base;
}

/* Puts memories onto the model at `base` (any path that smft_model_load takes, of two blocks or
 * more): the directory `name` in the test's own. */
static inline void grafted_write(smft_ctx *ctx, const char *name, const char *base, int n_keys,
                                 const char *more) {
  smft_model *model = NULL;
  smft_model_info info = SMFT_MODEL_INFO_INIT;
  grafted_tensors tensors = {.n = 0};
  smft__rng rng;
  char path[600];
  smft__rng_seed(&rng, 11);
  n_keys = n_keys ? n_keys : GRAFTED_KEYS;
  ck_ok(smft_model_load(&model, ctx, base, NULL));
  ck_ok(smft_model_get_info(model, &info));
  mkdir(test_file(name), 0700);
  grafted_config(name, base, smft_model_hash(model), &info, n_keys, more);
  grafted_layer(&tensors, 0, info.hidden_size, n_keys, &rng);
  grafted_layer(&tensors, info.n_layers - 1, info.hidden_size, n_keys, &rng);
  snprintf(path, sizeof path, "%s/memory.safetensors", name);
  ck_ok(smft__safetensors_write(ctx, test_file(path), tensors.saved, tensors.n, NULL, NULL, 0, NULL,
                                NULL));
  for (int i = 0; i < tensors.n; i++)
    free(tensors.numbers[i]);
  smft_model_free(model);
}

static inline smft_model *grafted_model(smft_ctx *ctx, const char *name, const char *base,
                                        int n_keys, const char *more) {
  smft_model *model = NULL;
  grafted_write(ctx, name, base, n_keys, more);
  ck_ok(smft_model_load(&model, ctx, test_file(name), NULL));
  return model;
}
#endif
