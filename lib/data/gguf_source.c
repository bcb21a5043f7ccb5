/* gguf_source: see gguf_source.h.  Owns which files are one model, and the table of their tensors;
 * headers are gguf.c's, their meaning gguf_config.c's. */
#include "data/gguf_source.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "data/gguf_config.h"

#define SUFFIX ".gguf"
#define SPLIT_SUFFIX 20 /* bytes of "-00001-of-00002.gguf" */

/* ---- names of split files ------------------------------------------------ */

static int five_digits(const char *text, int32_t *number) {
  *number = 0;
  for (int i = 0; i < 5; i++) {
    if (text[i] < '0' || text[i] > '9')
      return 0;
    *number = *number * 10 + (text[i] - '0');
  }
  return 1;
}

/* "NAME-00001-of-00003.gguf": 1 and the numbers, or 0. */
static int is_split_name(const char *path, int32_t *part, int32_t *n) {
  size_t length = strlen(path);
  if (length <= SPLIT_SUFFIX)
    return 0;
  const char *end = path + length - SPLIT_SUFFIX;
  return end[0] == '-' && five_digits(end + 1, part) && strncmp(end + 6, "-of-", 4) == 0 &&
         five_digits(end + 10, n) && strcmp(end + 15, SUFFIX) == 0 && *part >= 1 && *part <= *n;
}

/* The path of another part, to be freed. */
static char *part_path(smft_ctx *ctx, const char *path, int32_t part) {
  char *other = smft__strdup(ctx, path), digits[16];
  if (!other)
    return NULL;
  snprintf(digits, sizeof digits, "%05d", part);
  memcpy(other + strlen(path) - SPLIT_SUFFIX + 1, digits, 5);
  return other;
}

/* ---- opening ------------------------------------------------------------- */

typedef struct opening {
  smft_ctx *ctx;
  smft__source *out;
  smft__gguf *parts; /* (n_parts) */
  char **paths;      /* (n_parts) the headers' paths */
  int32_t n_parts;
  const smft__gguf_arch *arch;
} opening;

static smft_status begin(opening *in, smft_ctx *ctx, smft__source *out, int32_t n_parts) {
  memset(out, 0, sizeof *out);
  memset(in, 0, sizeof *in);
  in->ctx = out->ctx = ctx;
  in->out = out;
  out->files = smft__calloc_array(ctx, n_parts, sizeof *out->files);
  in->parts = smft__calloc_array(ctx, n_parts, sizeof *in->parts);
  in->paths = smft__calloc_array(ctx, n_parts, sizeof *in->paths);
  if (!out->files || !in->parts || !in->paths)
    return SMFT_E_NOMEM;
  in->n_parts = n_parts;
  return SMFT_OK;
}

static void end(opening *in, smft_status status) {
  for (int32_t i = 0; i < in->n_parts; i++) {
    smft__gguf_free(&in->parts[i]);
    smft__free(in->ctx, in->paths[i]);
  }
  smft__free(in->ctx, in->parts);
  smft__free(in->ctx, in->paths);
  if (status != SMFT_OK)
    smft__source_close(in->out);
}

static smft_status read_part(opening *in, int32_t i) {
  const smft__file *file = &in->out->files[i];
  const char *path = in->paths[i] ? in->paths[i] : "GGUF in memory", *kind = NULL;
  if (!smft__gguf_is(file->data, file->size))
    kind = smft__source_wrong_kind(file->data, file->size);
  if (kind)
    return smft__fail(SMFT_E_FORMAT, "%s: not a GGUF file but %s", path, kind);
  return smft__gguf_read(&in->parts[i], in->ctx, file->data, file->size, path);
}

/* ---- what belongs together ----------------------------------------------- */

static smft_status expect(const smft__gguf *gguf, const char *key, int64_t fallback,
                          int64_t wanted) {
  int64_t value = 0;
  SMFT__TRY(smft__gguf_i64(gguf, key, fallback, &value));
  return value == wanted ? SMFT_OK
                         : smft__fail(SMFT_E_MISMATCH, "%s: key \"%s\": expected %lld, got %lld",
                                      gguf->path, key, (long long)wanted, (long long)value);
}

static smft_status check_parts(const opening *in) {
  int64_t n = 0;
  for (int32_t i = 0; i < in->n_parts; i++) {
    SMFT__TRY(expect(&in->parts[i], "split.no", 0, i));
    SMFT__TRY(expect(&in->parts[i], "split.count", 1, in->n_parts));
    n += in->parts[i].n_tensors;
  }
  for (int32_t i = 0; i < in->n_parts; i++)
    SMFT__TRY(expect(&in->parts[i], "split.tensors.count", n, n));
  return SMFT_OK;
}

/* A split model's file under another name: where are the others? */
static smft_status check_alone(const opening *in) {
  int64_t n = 0;
  SMFT__TRY(smft__gguf_i64(&in->parts[0], "split.count", 1, &n));
  return n <= 1 ? SMFT_OK
                : smft__fail(SMFT_E_MISMATCH,
                             "%s: one of %lld parts of a model (key \"split.count\"); expected its "
                             "name to end in \"-00001-of-%05lld.gguf\"",
                             in->parts[0].path, (long long)n, (long long)n);
}

/* ---- the table of tensors ------------------------------------------------ */

typedef struct entry {
  char name[SMFT__HF_NAME];
  smft__tensor tensor;
  int32_t file;
} entry;

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* ggml's names are ours; 0: a type that is not read here. */
static int32_t dtype_of(const smft__gguf_type *type) {
  for (int32_t i = 1; i < SMFT__N_DTYPES; i++)
    if (smft__dtypes[i].name && strcmp(smft__dtypes[i].name, type->name) == 0)
      return smft__dtypes[i].block == type->block && smft__dtypes[i].bytes == type->bytes ? i : 0;
  return 0;
}

static smft_status make_entry(const opening *in, int32_t part, const smft__gguf_tensor *from,
                              entry *one) {
  smft__gguf_hf_name(in->arch, from->name, one->name);
  one->file = part;
  one->tensor.data = from->data;
  one->tensor.n_dims = from->n_dims;
  for (int32_t i = 0; i < from->n_dims; i++)
    one->tensor.shape[i] = from->dims[from->n_dims - 1 - i];
  one->tensor.dtype = dtype_of(from->type);
  return one->tensor.dtype
             ? SMFT_OK
             : smft__fail(SMFT_E_UNSUPPORTED, "%s: tensor %s: its type %s is not supported",
                          in->parts[part].path, from->name, from->type->name);
}

/* What is read while the config is translated is no tensor of the model. */
static int is_weight(const smft__gguf_tensor *tensor) {
  return strcmp(tensor->name, "rope_freqs.weight") != 0;
}

static smft_status make_entries(const opening *in, entry *entries, int64_t *n) {
  for (int32_t p = 0; p < in->n_parts; p++)
    for (int64_t i = 0; i < in->parts[p].n_tensors; i++)
      if (is_weight(&in->parts[p].tensors[i]))
        SMFT__TRY(make_entry(in, p, &in->parts[p].tensors[i], &entries[(*n)++]));
  if (*n > 0)
    qsort(entries, (size_t)*n, sizeof *entries, compare_entries);
  for (int64_t i = 1; i < *n; i++)
    if (strcmp(entries[i - 1].name, entries[i].name) == 0)
      return smft__fail(SMFT_E_FORMAT, "%s: tensor %s is there twice", in->parts[0].path,
                        entries[i].name);
  return SMFT_OK;
}

static smft_status hand_over(smft__source *out, const entry *entries, int64_t n) {
  out->names = smft__alloc_array(out->ctx, n, sizeof *out->names);
  out->tensors = smft__alloc_array(out->ctx, n, sizeof *out->tensors);
  out->file_of = smft__alloc_array(out->ctx, n, sizeof *out->file_of);
  if (!out->names || !out->tensors || !out->file_of)
    return SMFT_E_NOMEM;
  for (int64_t i = 0; i < n; i++) {
    out->names[i] = smft__strdup(out->ctx, entries[i].name);
    if (!out->names[i])
      return SMFT_E_NOMEM;
    out->n = i + 1;
    out->tensors[i] = entries[i].tensor;
    out->file_of[i] = entries[i].file;
  }
  return SMFT_OK;
}

static smft_status list_tensors(opening *in) {
  int64_t n = 0;
  for (int32_t p = 0; p < in->n_parts; p++)
    n += in->parts[p].n_tensors;
  entry *entries = smft__calloc_array(in->ctx, n, sizeof *entries);
  n = 0;
  smft_status status = entries ? make_entries(in, entries, &n) : SMFT_E_NOMEM;
  if (status == SMFT_OK)
    status = hand_over(in->out, entries, n);
  smft__free(in->ctx, entries);
  return status;
}

/* The first header stays with the source, for the tokenizer. */
static smft_status keep_header(opening *in) {
  smft__source *out = in->out;
  out->gguf = smft__calloc_array(in->ctx, 1, sizeof *out->gguf);
  if (!out->gguf)
    return SMFT_E_NOMEM;
  *out->gguf = in->parts[0];
  out->gguf->path = "GGUF"; /* the path is the opening's */
  memset(&in->parts[0], 0, sizeof in->parts[0]);
  return SMFT_OK;
}

static smft_status finish(opening *in) {
  SMFT__TRY(smft__gguf_config(in->parts, in->n_parts, &in->arch, &in->out->config));
  SMFT__TRY(list_tensors(in));
  return keep_header(in);
}

/* ---- files --------------------------------------------------------------- */

static smft_status open_part(opening *in, const char *path, int32_t i, int copy) {
  int alone = in->n_parts == 1;
  in->paths[i] = alone ? smft__strdup(in->ctx, path) : part_path(in->ctx, path, i + 1);
  if (!in->paths[i])
    return SMFT_E_NOMEM;
  smft_status status = smft__file_open(&in->out->files[i], in->ctx, in->paths[i], copy);
  if (status == SMFT_E_NOT_FOUND && !alone)
    return smft__fail_within(status, "part %d of %d is missing", i + 1, in->n_parts);
  SMFT__TRY(status);
  in->out->n_files = i + 1;
  return read_part(in, i);
}

static smft_status open_parts(opening *in, const char *path, int copy, smft_progress_fn progress,
                              void *user) {
  for (int32_t i = 0; i < in->n_parts; i++) {
    SMFT__TRY(smft__source_progress(progress, user, i, in->n_parts));
    SMFT__TRY(open_part(in, path, i, copy));
  }
  SMFT__TRY(smft__source_progress(progress, user, in->n_parts, in->n_parts));
  SMFT__TRY(in->n_parts > 1 ? check_parts(in) : check_alone(in));
  return finish(in);
}

smft_status smft__gguf_open(smft__source *out, smft_ctx *ctx, const char *path, int copy,
                            smft_progress_fn progress, void *progress_user) {
  opening in;
  int32_t part = 1, n = 1;
  if (!is_split_name(path, &part, &n))
    n = 1;
  smft_status status = begin(&in, ctx, out, n);
  if (status == SMFT_OK)
    status = open_parts(&in, path, copy, progress, progress_user);
  end(&in, status);
  return status;
}

/* Without a copy, the file has no context: its bytes are not ours to free. */
static smft_status take_buffer(opening *in, const void *data, int64_t size, int copy) {
  smft__file *file = &in->out->files[0];
  in->out->n_files = 1;
  file->data = data;
  file->size = size;
  if (copy) {
    void *own = smft__alloc_array(in->ctx, size, 1);
    if (!own)
      return SMFT_E_NOMEM;
    memcpy(own, data, (size_t)size);
    file->data = own;
    file->ctx = in->ctx;
  }
  return read_part(in, 0);
}

smft_status smft__gguf_open_buffer(smft__source *out, smft_ctx *ctx, const void *data, int64_t size,
                                   int copy) {
  opening in;
  smft_status status = begin(&in, ctx, out, 1);
  if (status == SMFT_OK)
    status = take_buffer(&in, data, size, copy);
  if (status == SMFT_OK)
    status = check_alone(&in);
  if (status == SMFT_OK)
    status = finish(&in);
  end(&in, status);
  return status;
}

/* ---- a directory --------------------------------------------------------- */

typedef struct found { /* GGUF files of a directory */
  smft_ctx *ctx;
  char **names; /* (n) sorted */
  int64_t n, capacity;
} found;

static int compare_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static smft_status add_name(found *all, const char *name) {
  size_t length = strlen(name), suffix = strlen(SUFFIX);
  if (length <= suffix || strcmp(name + length - suffix, SUFFIX) != 0)
    return SMFT_OK;
  SMFT__TRY(smft__grow(all->ctx, &all->names, &all->capacity, all->n + 1, sizeof *all->names));
  all->names[all->n] = smft__strdup(all->ctx, name);
  return all->names[all->n++] ? SMFT_OK : SMFT_E_NOMEM;
}

static smft_status scan(found *all, const char *directory) {
  DIR *handle = opendir(directory);
  smft_status status = SMFT_OK;
  if (!handle)
    return SMFT_OK; /* who looks for config.json there says why */
  for (struct dirent *one = readdir(handle); one && status == SMFT_OK; one = readdir(handle))
    status = add_name(all, one->d_name);
  closedir(handle);
  if (status == SMFT_OK && all->n > 0)
    qsort(all->names, (size_t)all->n, sizeof *all->names, compare_names);
  return status;
}

/* Whether the sorted names are the parts of one model (some may be missing: opening says which). */
static int are_parts(const found *all) {
  int32_t part = 0, n = 0, first = 0;
  size_t length = strlen(all->names[0]);
  for (int64_t i = 0; i < all->n; i++) {
    const char *name = all->names[i];
    if (strlen(name) != length || !is_split_name(name, &part, &n) || (i > 0 && n != first) ||
        strncmp(name, all->names[0], length - SPLIT_SUFFIX) != 0)
      return 0;
    first = n;
  }
  return 1;
}

static smft_status fail_several(const found *all, const char *directory) {
  char list[512];
  size_t used = 0;
  for (int64_t i = 0; i < all->n && used < sizeof list; i++)
    used += (size_t)snprintf(list + used, sizeof list - used, i ? ", %s" : "%s", all->names[i]);
  return smft__fail(SMFT_E_UNSUPPORTED, "%s: expected one GGUF file, found %lld; name one of: %s",
                    directory, (long long)all->n, list);
}

smft_status smft__gguf_find_file(smft_ctx *ctx, const char *directory, char **path) {
  found all = {ctx, NULL, 0, 0};
  *path = NULL;
  smft_status status = scan(&all, directory);
  if (status == SMFT_OK && all.n > 1 && !are_parts(&all))
    status = fail_several(&all, directory);
  if (status == SMFT_OK && all.n > 0) {
    *path = smft__path_join(ctx, directory, all.names[0]);
    status = *path ? SMFT_OK : SMFT_E_NOMEM;
  }
  for (int64_t i = 0; i < all.n; i++)
    smft__free(ctx, all.names[i]);
  smft__free(ctx, all.names);
  return status;
}
