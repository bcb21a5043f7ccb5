/* safetensors: the reader: headers checked to the byte before anything is used, one file or shards
 * with an index. Does not own: writing (safetensors_write.c), what the tensors are for. */
#include "data/safetensors.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include "data/json.h"
#include <stdlib.h>

#define HEADER_MOST 100000000 /* as in the reference implementation */
#define METADATA_MOST 10000   /* pairs: they are looked up one by one */

/* One tensor while files are read; split into the arrays of the source at the end. */
typedef struct entry {
  char *name;
  smft__tensor tensor;
  int32_t file;
} entry;

typedef struct span { /* of the data part, in bytes */
  int64_t begin, end;
  const char *name;
} span;

/* All that grows while files are read. */
typedef struct reading {
  smft_ctx *ctx;
  smft__source *out;
  entry *entries;
  int64_t n, capacity;
  int64_t keys_capacity, values_capacity;
} reading;

/* One file's header in hand. */
typedef struct header {
  const char *path;
  const smft__file *file;
  int32_t file_index;
  const unsigned char *data; /* behind the header */
  int64_t data_size;
  json_t *json;
} header;

/* ---- one tensor of a header ---------------------------------------------- */

static smft_status read_dtype(const header *head, const char *name, const json_t *info,
                              smft__tensor *tensor) {
  const json_t *value = json_object_get(info, "dtype");
  if (!json_is_string(value))
    return smft__fail(SMFT_E_FORMAT, "%s: tensor %s: dtype is missing or not a string", head->path,
                      name);
  const char *dtype = json_string_value(value);
  tensor->dtype = smft__dtype_from_name(dtype);
  if (tensor->dtype)
    return SMFT_OK;
  int known = strncmp(dtype, "F8_", 3) == 0 || strncmp(dtype, "F6_", 3) == 0 ||
              strcmp(dtype, "F4") == 0 || strcmp(dtype, "C64") == 0;
  return smft__fail(known ? SMFT_E_UNSUPPORTED : SMFT_E_FORMAT,
                    "%s: tensor %s: dtype %s is %s; expected F32, F16, BF16 or an integer type",
                    head->path, name, dtype, known ? "not supported" : "unknown");
}

/* *bytes = the product of the shape and the element's size. */
static smft_status read_shape(const header *head, const char *name, const json_t *info,
                              smft__tensor *tensor, int64_t *bytes) {
  const json_t *shape = json_object_get(info, "shape");
  if (!json_is_array(shape))
    return smft__fail(SMFT_E_FORMAT, "%s: tensor %s: shape is missing or not an array", head->path,
                      name);
  if (json_array_size(shape) > SMFT__MAX_DIMS)
    return smft__fail(SMFT_E_UNSUPPORTED,
                      "%s: tensor %s: %llu dimensions; at most %d are supported", head->path, name,
                      (unsigned long long)json_array_size(shape), SMFT__MAX_DIMS);
  tensor->n_dims = (int32_t)json_array_size(shape);
  *bytes = smft__row_bytes(tensor->dtype, 1);
  for (int32_t i = 0; i < tensor->n_dims; i++) {
    const json_t *dimension = json_array_get(shape, (size_t)i);
    if (!json_is_integer(dimension) || json_integer_value(dimension) < 0)
      return smft__fail(SMFT_E_FORMAT,
                        "%s: tensor %s: dimension %d is not a whole number from 0 up", head->path,
                        name, i);
    tensor->shape[i] = (int64_t)json_integer_value(dimension);
    if (!smft__mul_i64(*bytes, tensor->shape[i], bytes))
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s: the product of its shape overflows",
                        head->path, name);
  }
  return SMFT_OK;
}

static smft_status read_offsets(const header *head, const char *name, const json_t *info,
                                int64_t bytes, span *where) {
  const json_t *offsets = json_object_get(info, "data_offsets");
  const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
    return smft__fail(SMFT_E_FORMAT,
                      "%s: tensor %s: data_offsets is missing or not two whole numbers", head->path,
                      name);
  where->begin = (int64_t)json_integer_value(begin);
  where->end = (int64_t)json_integer_value(end);
  where->name = name;
  if (where->begin < 0 || where->end < where->begin)
    return smft__fail(SMFT_E_FORMAT,
                      "%s: tensor %s: data_offsets [%lld, %lld] run backwards or are negative",
                      head->path, name, (long long)where->begin, (long long)where->end);
  if (where->end - where->begin != bytes)
    return smft__fail(
        SMFT_E_FORMAT,
        "%s: tensor %s: its shape needs %lld bytes, its data_offsets [%lld, %lld] hold %lld",
        head->path, name, (long long)bytes, (long long)where->begin, (long long)where->end,
        (long long)(where->end - where->begin));
  return SMFT_OK;
}

static smft_status add_entry(reading *in, const header *head, const char *name,
                             const smft__tensor *tensor) {
  SMFT__TRY(smft__grow(in->ctx, &in->entries, &in->capacity, in->n + 1, sizeof *in->entries));
  entry *one = &in->entries[in->n];
  one->name = smft__strdup(in->ctx, name);
  if (!one->name)
    return SMFT_E_NOMEM;
  one->tensor = *tensor;
  one->file = head->file_index;
  in->n++;
  return SMFT_OK;
}

static smft_status read_tensor(reading *in, const header *head, const char *name,
                               const json_t *info, span *where) {
  smft__tensor tensor = {0};
  int64_t bytes = 0;
  if (!json_is_object(info))
    return smft__fail(SMFT_E_FORMAT,
                      "%s: tensor %s: expected an object with dtype, shape and data_offsets",
                      head->path, name);
  SMFT__TRY(read_dtype(head, name, info, &tensor));
  SMFT__TRY(read_shape(head, name, info, &tensor, &bytes));
  SMFT__TRY(read_offsets(head, name, info, bytes, where));
  if (where->end <= head->data_size) /* else the file is refused by check_spans, which knows how
                                        much is missing */
    tensor.data = head->data + where->begin;
  return add_entry(in, head, name, &tensor);
}

/* ---- the data part ------------------------------------------------------- */

static int compare_spans(const void *a, const void *b) {
  const span *x = a, *y = b;
  if (x->begin != y->begin)
    return x->begin < y->begin ? -1 : 1;
  return x->end < y->end ? -1 : x->end > y->end;
}

/* In order of place the tensors must fill the data part, each starting where the one before it
 * ends. */
static smft_status check_spans(const header *head, span *spans, int64_t n) {
  int64_t end = 0, last = 0;
  qsort(spans, (size_t)n, sizeof *spans, compare_spans);
  for (int64_t i = 0; i < n; i++)
    last = spans[i].end > last ? spans[i].end : last;
  for (int64_t i = 0; i < n; end = spans[i].end, i++)
    if (spans[i].begin != end)
      return smft__fail(
          SMFT_E_FORMAT,
          "%s: tensor %s %s: it begins at byte %lld of the data, the one before it ends at %lld",
          head->path, spans[i].name, spans[i].begin < end ? "overlaps another" : "follows a hole",
          (long long)spans[i].begin, (long long)end);
  if (last > head->data_size)
    return smft__fail(SMFT_E_FORMAT,
                      "%s: truncated: %lld bytes are missing (the header promises %lld bytes of "
                      "data, %lld are there)",
                      head->path, (long long)(last - head->data_size), (long long)last,
                      (long long)head->data_size);
  if (last < head->data_size)
    return smft__fail(SMFT_E_FORMAT,
                      "%s: %lld bytes too many behind the last tensor (the header promises %lld "
                      "bytes, %lld are there)",
                      head->path, (long long)(head->data_size - last), (long long)last,
                      (long long)head->data_size);
  return SMFT_OK;
}

/* ---- metadata: string to string ------------------------------------------ */

static smft_status add_metadata(reading *in, const header *head, const char *key,
                                const char *value) {
  smft__source *out = in->out;
  if (head->file_index > 0 && smft__source_metadata(out, key)) /* the first shard's stays */
    return SMFT_OK;
  if (out->n_metadata >= METADATA_MOST)
    return smft__fail(SMFT_E_UNSUPPORTED, "%s: __metadata__ has more than %d entries", head->path,
                      METADATA_MOST);
  int64_t needed = out->n_metadata + 1;
  SMFT__TRY(smft__grow(in->ctx, &out->metadata_keys, &in->keys_capacity, needed,
                       sizeof *out->metadata_keys));
  SMFT__TRY(smft__grow(in->ctx, &out->metadata_values, &in->values_capacity, needed,
                       sizeof *out->metadata_values));
  char *own_key = smft__strdup(in->ctx, key), *own_value = smft__strdup(in->ctx, value);
  if (!own_key || !own_value) {
    smft__free(in->ctx, own_key);
    smft__free(in->ctx, own_value);
    return SMFT_E_NOMEM;
  }
  out->metadata_keys[out->n_metadata] = own_key;
  out->metadata_values[out->n_metadata++] = own_value;
  return SMFT_OK;
}

static smft_status read_metadata(reading *in, const header *head, json_t *metadata) {
  const char *key;
  json_t *value;
  if (!json_is_object(metadata))
    return smft__fail(SMFT_E_FORMAT, "%s: __metadata__ is not an object", head->path);
  json_object_foreach(metadata, key, value) {
    if (!json_is_string(value))
      return smft__fail(SMFT_E_FORMAT, "%s: __metadata__: the value of \"%s\" is not a string",
                        head->path, key);
    SMFT__TRY(add_metadata(in, head, key, json_string_value(value)));
  }
  return SMFT_OK;
}

/* ---- one file ------------------------------------------------------------ */

static smft_status fail_not_safetensors(const header *head, const char *why) {
  const char *kind = smft__source_wrong_kind(head->file->data, head->file->size);
  if (kind)
    return smft__fail(SMFT_E_FORMAT, "%s: not a safetensors file but %s", head->path, kind);
  return smft__fail(SMFT_E_FORMAT, "%s: not a safetensors file, or damaged: %s", head->path, why);
}

static smft_status parse_header(header *head) {
  const smft__file *file = head->file;
  if (file->size == 0)
    return smft__fail(SMFT_E_FORMAT, "%s: the file is empty; expected safetensors", head->path);
  if (file->size < 8)
    return fail_not_safetensors(head, "it is shorter than the 8 bytes of the header's length");
  uint64_t length = smft__read_u64le(file->data);
  if (length > HEADER_MOST)
    return fail_not_safetensors(head, "the header's length is over 100 MB");
  if (file->size > 8 && length > 0 && file->data[8] != '{')
    return fail_not_safetensors(head, "the header does not begin with {");
  if ((int64_t)length > file->size - 8) {
    if (file->size > 8 || !smft__source_wrong_kind(file->data, file->size))
      return smft__fail(
          SMFT_E_FORMAT,
          "%s: truncated: %lld bytes of its header are missing (it has %llu, %lld are there)",
          head->path, (long long)length - (file->size - 8), (unsigned long long)length,
          (long long)(file->size - 8));
    return fail_not_safetensors(head, "");
  }
  head->data = file->data + 8 + length;
  head->data_size = file->size - 8 - (int64_t)length;
  smft_status status =
      smft__json_parse(&head->json, (const char *)file->data + 8, (int64_t)length, "header");
  if (status != SMFT_OK)
    return smft__fail_within(status == SMFT_E_NOMEM ? SMFT_E_NOMEM : SMFT_E_FORMAT, "%s",
                             head->path);
  return json_is_object(head->json) ? SMFT_OK
                                    : fail_not_safetensors(head, "the header is not a JSON object");
}

static smft_status read_header(reading *in, header *head) {
  const char *name;
  json_t *info;
  int64_t n = 0;
  span *spans = smft__alloc_array(in->ctx, (int64_t)json_object_size(head->json), sizeof *spans);
  smft_status status = spans ? SMFT_OK : SMFT_E_NOMEM;
  SMFT__TRY_GOTO(done, status);
  json_object_foreach(head->json, name, info) {
    if (strcmp(name, "__metadata__") == 0)
      SMFT__TRY_GOTO(done, read_metadata(in, head, info));
    else
      SMFT__TRY_GOTO(done, read_tensor(in, head, name, info, &spans[n++]));
  }
  status = check_spans(head, spans, n);
done:
  smft__free(in->ctx, spans);
  return status;
}

/* The file that was opened last. */
static smft_status read_opened(reading *in, const char *path) {
  smft__source *out = in->out;
  header head = {path, &out->files[out->n_files], out->n_files, NULL, 0, NULL};
  out->n_files++;
  smft_status status = parse_header(&head);
  if (status == SMFT_OK)
    status = read_header(in, &head);
  json_decref(head.json);
  return status;
}

static smft_status read_file(reading *in, const char *path, int copy) {
  SMFT__TRY(smft__file_open(&in->out->files[in->out->n_files], in->ctx, path, copy));
  return read_opened(in, path);
}

/* ---- putting files together ---------------------------------------------- */

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* Sorts, refuses a name that two shards have, and hands the names over. */
static smft_status finish(reading *in, const char *path) {
  smft__source *out = in->out;
  if (in->n > 0)
    qsort(in->entries, (size_t)in->n, sizeof *in->entries, compare_entries);
  for (int64_t i = 1; i < in->n; i++)
    if (strcmp(in->entries[i - 1].name, in->entries[i].name) == 0)
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s is in two shards", path, in->entries[i].name);
  out->names = smft__alloc_array(in->ctx, in->n, sizeof *out->names);
  out->tensors = smft__alloc_array(in->ctx, in->n, sizeof *out->tensors);
  out->file_of = smft__alloc_array(in->ctx, in->n, sizeof *out->file_of);
  if (!out->names || !out->tensors || !out->file_of)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < in->n; i++) {
    out->names[i] = in->entries[i].name;
    out->tensors[i] = in->entries[i].tensor;
    out->file_of[i] = in->entries[i].file;
  }
  out->n = in->n;
  in->n = 0;
  return SMFT_OK;
}

static smft_status begin(reading *in, smft__source *out, smft_ctx *ctx, int64_t n_files) {
  memset(out, 0, sizeof *out);
  out->ctx = ctx;
  memset(in, 0, sizeof *in);
  in->ctx = ctx;
  in->out = out;
  out->files = smft__calloc_array(ctx, n_files, sizeof *out->files);
  return out->files ? SMFT_OK : SMFT_E_NOMEM;
}

static void end(reading *in, smft_status status) {
  for (int64_t i = 0; i < in->n; i++)
    smft__free(in->ctx, in->entries[i].name);
  smft__free(in->ctx, in->entries);
  if (status != SMFT_OK)
    smft__source_close(in->out);
}

smft_status smft__safetensors_open(smft__source *file, smft_ctx *ctx, const char *path, int copy) {
  reading in;
  smft_status status = begin(&in, file, ctx, 1);
  if (status == SMFT_OK)
    status = read_file(&in, path, copy);
  if (status == SMFT_OK)
    status = finish(&in, path);
  end(&in, status);
  return status;
}

smft_status smft__safetensors_open_buffer(smft__source *file, smft_ctx *ctx, const void *data,
                                          int64_t size, const char *what) {
  reading in;
  smft_status status = begin(&in, file, ctx, 1);
  if (status == SMFT_OK) {
    file->files[0] = (smft__file){NULL, data, size, 0}; /* not ours to free */
    status = read_opened(&in, what);
  }
  if (status == SMFT_OK)
    status = finish(&in, what);
  end(&in, status);
  return status;
}

/* ---- shards -------------------------------------------------------------- */

typedef struct shards {
  const char *directory, *index_path;
  const json_t *map;  /* tensor name -> file name */
  const char **names; /* (n) distinct file names, sorted */
  int64_t n;
} shards;

static int compare_strings(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct file names of the index, which may not leave the directory. */
static smft_status list_shards(smft_ctx *ctx, shards *set) {
  const char *tensor;
  json_t *value;
  int64_t n = 0;
  if (!json_is_object(set->map) || json_object_size(set->map) == 0)
    return smft__fail(SMFT_E_FORMAT, "%s: \"weight_map\" is missing, empty or not an object",
                      set->index_path);
  set->names = smft__alloc_array(ctx, (int64_t)json_object_size(set->map), sizeof *set->names);
  if (!set->names)
    return SMFT_E_NOMEM;
  json_object_foreach((json_t *)(uintptr_t)set->map, tensor, value) {
    const char *name = json_string_value(value);
    if (!name || !*name || strpbrk(name, "/\\") || strstr(name, ".."))
      return smft__fail(
          SMFT_E_FORMAT,
          "%s: tensor %s: expected the name of a file in the same directory, got \"%s\"",
          set->index_path, tensor, name ? name : "(no string)");
    set->names[n++] = name;
  }
  qsort(set->names, (size_t)n, sizeof *set->names, compare_strings);
  for (int64_t i = 0; i < n; i++)
    if (i == 0 || strcmp(set->names[set->n - 1], set->names[i]) != 0)
      set->names[set->n++] = set->names[i];
  return SMFT_OK;
}

/* Every tensor must be where the index says. */
static smft_status check_index(const smft__source *file, const shards *set) {
  const char *tensor;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)set->map, tensor, value) {
    int64_t at = smft__source_find(file, tensor);
    const char *shard = json_string_value(value);
    if (at < 0 || strcmp(set->names[file->file_of[at]], shard) != 0)
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s should be in %s, but is %s", set->index_path,
                        tensor, shard, at < 0 ? "in no shard" : set->names[file->file_of[at]]);
  }
  return SMFT_OK;
}

static smft_status read_shards(reading *in, const shards *set, int copy, smft_progress_fn progress,
                               void *user) {
  for (int64_t i = 0; i < set->n; i++) {
    SMFT__TRY(smft__source_progress(progress, user, i, set->n));
    char *path = smft__path_join(in->ctx, set->directory, set->names[i]);
    smft_status status = path ? read_file(in, path, copy) : SMFT_E_NOMEM;
    smft__free(in->ctx, path);
    if (status == SMFT_E_NOT_FOUND)
      smft__fail_within(status, "%s names a shard that is not there", set->index_path);
    SMFT__TRY(status);
  }
  SMFT__TRY(smft__source_progress(progress, user, set->n, set->n));
  SMFT__TRY(finish(in, set->index_path));
  return check_index(in->out, set);
}

static smft_status open_sharded(smft__source *file, smft_ctx *ctx, const char *directory,
                                const char *index_path, int copy, smft_progress_fn progress,
                                void *user) {
  json_t *index = NULL;
  reading in = {0};
  shards set = {directory, index_path, NULL, NULL, 0};
  SMFT__TRY(smft__json_open(&index, ctx, index_path));
  set.map = json_object_get(index, "weight_map");
  smft_status status = list_shards(ctx, &set);
  if (status == SMFT_OK) {
    status = begin(&in, file, ctx, set.n);
    if (status == SMFT_OK)
      status = read_shards(&in, &set, copy, progress, user);
    end(&in, status);
  }
  smft__free(ctx, set.names);
  json_decref(index);
  return status;
}

static smft_status open_whole(smft__source *file, smft_ctx *ctx, const char *path, int copy,
                              smft_progress_fn progress, void *user) {
  SMFT__TRY(smft__source_progress(progress, user, 0, 1));
  SMFT__TRY(smft__safetensors_open(file, ctx, path, copy));
  smft_status status = smft__source_progress(progress, user, 1, 1);
  if (status != SMFT_OK)
    smft__source_close(file);
  return status;
}

static smft_status fail_no_weights(smft_ctx *ctx, const char *directory) {
  char *pytorch = smft__path_join(ctx, directory, "pytorch_model.bin");
  int there = pytorch && smft__file_exists(pytorch);
  smft__free(ctx, pytorch);
  if (!smft__file_exists(directory))
    return smft__fail(SMFT_E_NOT_FOUND, "%s: no such directory", directory);
  return smft__fail(
      SMFT_E_NOT_FOUND,
      "%s: expected model.safetensors or model.safetensors.index.json, found neither%s", directory,
      there ? " (pytorch_model.bin is there, but must be converted to safetensors)" : "");
}

smft_status smft__safetensors_open_model(smft__source *file, smft_ctx *ctx, const char *directory,
                                         int copy, smft_progress_fn progress, void *progress_user) {
  memset(file, 0, sizeof *file);
  char *whole = smft__path_join(ctx, directory, "model.safetensors");
  char *index = smft__path_join(ctx, directory, "model.safetensors.index.json");
  smft_status status = SMFT_E_NOMEM;
  if (whole && index) {
    if (smft__file_exists(whole))
      status = open_whole(file, ctx, whole, copy, progress, progress_user);
    else if (smft__file_exists(index))
      status = open_sharded(file, ctx, directory, index, copy, progress, progress_user);
    else
      status = fail_no_weights(ctx, directory);
  }
  smft__free(ctx, whole);
  smft__free(ctx, index);
  return status;
}
