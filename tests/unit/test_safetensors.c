/* safetensors: what is written is read back; every lie of a header, every wrong kind of file,
 * shards and their index; element types. */
#include "data/safetensors.h"
#include "base/bytes.h"
#include "failing.h"
#include "files.h"
#include "fixture.h"
#include <signal.h>
#include <sys/resource.h>

/* A file of this header and so many bytes of data (0, 1, 2, ...). */
static const char *made(const char *name, const char *header, size_t data_size) {
  size_t length = strlen(header);
  char *bytes = malloc(8 + length + data_size);
  smft__write_u64le(bytes, length);
  memcpy(bytes + 8, header, length);
  for (size_t i = 0; i < data_size; i++)
    bytes[8 + length + i] = (char)i;
  const char *path = test_write(name, bytes, 8 + length + data_size);
  free(bytes);
  return path;
}

/* ---- good files ---------------------------------------------------------- */

START_TEST(a_plain_file_is_read) {
  smft__source file;
  const char *path = made("good",
                          "{\"__metadata__\":{\"format\":\"pt\",\"k\":\"v\"},"
                          "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[4,28]},"
                          "\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                          "\"none\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[28,28]},"
                          "\"c\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[28,29]}}   ",
                          29);
  ck_ok(smft__safetensors_open(&file, ctx, path, _i));
  ck_assert_int_eq(file.n, 4);
  ck_assert_int_eq(file.files[0].mapped, !_i);
  const smft__tensor *a = &file.tensors[smft__source_find(&file, "a")];
  const smft__tensor *b = &file.tensors[smft__source_find(&file, "b")];
  const smft__tensor *c = &file.tensors[smft__source_find(&file, "c")];
  const smft__tensor *none = &file.tensors[smft__source_find(&file, "none")];
  ck_assert(a->dtype == SMFT__BF16 && a->n_dims == 1 && a->shape[0] == 2 &&
            smft__tensor_count(a) == 2);
  ck_assert(b->dtype == SMFT__F32 && b->n_dims == 2 && b->shape[0] == 2 && b->shape[1] == 3);
  ck_assert(none->n_dims == 2 && smft__tensor_count(none) == 0 && none->data);
  ck_assert(c->n_dims == 0 && smft__tensor_count(c) == 1 && *(const unsigned char *)c->data == 28);
  ck_assert_ptr_eq((const char *)b->data, (const char *)a->data + 4);
  ck_assert_int_eq(smft__source_find(&file, "d"), -1);
  ck_assert_int_eq(smft__source_find(&file, ""), -1);
  ck_assert_str_eq(smft__source_metadata(&file, "format"), "pt");
  ck_assert_str_eq(smft__source_metadata(&file, "k"), "v");
  ck_assert_ptr_null(smft__source_metadata(&file, "x"));
  smft__source_close(&file);
  smft__source_close(&file);
}
END_TEST

START_TEST(a_file_without_tensors_is_read) {
  smft__source file;
  ck_ok(smft__safetensors_open(&file, ctx, made("bare", "{}", 0), 0));
  ck_assert_int_eq(file.n, 0);
  ck_assert_int_eq(smft__source_find(&file, "x"), -1);
  smft__source_close(&file);
}
END_TEST

/* ---- headers that lie ---------------------------------------------------- */

#define A(dtype, shape, offsets)                                                                   \
  "\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define B(dtype, shape, offsets)                                                                   \
  "\"b\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
static const struct lie {
  const char *header;
  size_t data;
  const char *says;
  smft_status status;
} lies[] = {
    {"{" A("\"F32\"", "[2]", "[0,4]") "}", 4, "its shape needs 8 bytes", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[0,8]") "}", 8, "its shape needs 4 bytes", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[4,0]") "}", 4, "backwards", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[-4,0]") "}", 4, "negative", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[-1]", "[0,4]") "}", 4, "dimension 0", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1.0]", "[0,4]") "}", 4, "dimension 0", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[\"1\"]", "[0,4]") "}", 4, "dimension 0", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[0,4.0]") "}", 4, "two whole numbers", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[0]") "}", 4, "two whole numbers", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[0,4,4]") "}", 4, "two whole numbers", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "{}") "}", 4, "two whole numbers", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[4294967296,4294967296]", "[0,4]") "}", 4, "overflows", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[9223372036854775807,2]", "[0,4]") "}", 4, "overflows", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[4611686018427387904]", "[0,0]") "}", 0, "overflows", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[2305843009213693951]", "[0,9223372036854775804]") "}", 4,
     "truncated: 9223372036854775800 bytes", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[99999999999999999999]", "[0,4]") "}", 4, "JSON", SMFT_E_FORMAT},
    {"{" A("\"F33\"", "[1]", "[0,4]") "}", 4, "dtype F33 is unknown", SMFT_E_FORMAT},
    {"{" A("\"F8_E4M3\"", "[4]", "[0,4]") "}", 4, "F8_E4M3 is not supported", SMFT_E_UNSUPPORTED},
    {"{" A("7", "[1]", "[0,4]") "}", 4, "dtype is missing", SMFT_E_FORMAT},
    {"{" A("\"U8\"", "[1,1,1,1,1,1,1,1,4]", "[0,4]") "}", 4, "9 dimensions", SMFT_E_UNSUPPORTED},
    {"{" A("\"F32\"", "4", "[0,16]") "}", 16, "shape is missing", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[0,4]") "," B("\"F32\"", "[1]", "[0,4]") "}", 4, "overlaps",
     SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[2]", "[0,8]") "," B("\"F32\"", "[1]", "[4,8]") "}", 8, "overlaps",
     SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[0,4]") "," B("\"F32\"", "[1]", "[8,12]") "}", 12, "follows a hole",
     SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[4,8]") "}", 8, "follows a hole", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[4]", "[0,16]") "}", 9, "truncated: 7 bytes are missing", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[0,4]") "}", 6, "2 bytes too many", SMFT_E_FORMAT},
    {"{}", 1, "1 bytes too many", SMFT_E_FORMAT},
    {"{" A("\"F32\"", "[1]", "[0,4]") "," A("\"F32\"", "[1]", "[4,8]") "}", 8, "duplicate",
     SMFT_E_FORMAT},
    {"{\"a\":7}", 0, "expected an object", SMFT_E_FORMAT},
    {"{\"a\":{}}", 0, "dtype is missing", SMFT_E_FORMAT},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object", SMFT_E_FORMAT},
    {"{\"__metadata__\":{\"k\":1}}", 0, "not a string", SMFT_E_FORMAT},
    {"{\"a\":", 0, "JSON", SMFT_E_FORMAT},
    {"{\"\xFF\":1}", 0, "JSON", SMFT_E_FORMAT},
    {"{} {}", 0, "JSON", SMFT_E_FORMAT},
    {"[]", 0, "does not begin with {", SMFT_E_FORMAT},
    {" {}", 0, "does not begin with {", SMFT_E_FORMAT},
    {"", 4, "JSON", SMFT_E_FORMAT},
};

START_TEST(lies_are_refused) {
  smft__source file;
  const char *path = made("lie", lies[_i].header, lies[_i].data);
  ck_status(smft__safetensors_open(&file, ctx, path, 0), lies[_i].status);
  ck_assert_msg(strstr(smft_error_message(), path) && strstr(smft_error_message(), lies[_i].says),
                "%s: %s", lies[_i].header, smft_error_message());
  ck_assert_int_eq(file.n, 0);
  smft__source_close(&file);
}
END_TEST

/* ---- files that are something else --------------------------------------- */

START_TEST(wrong_files_are_named) {
  static const struct {
    const char *bytes;
    size_t size;
    const char *says;
  } wrong[] = {
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 7\n", 66,
       "Git LFS pointer"},
      {"<!DOCTYPE html>\n<html><body>404</body></html>", 44, "HTML page"},
      {"\n  <HTML><head>", 15, "HTML page"},
      {"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00\x00\x00", 14, "zip archive"},
      {"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", 16, "pickle"},
      {"GGUF\x03\x00\x00\x00\x22\x01\x00\x00", 12, "GGUF"},
      {"\x89HDF\r\n\x1a\n\x00\x00", 10, "HDF5"},
      {"\x93NUMPY\x01\x00v\x00{'descr'", 18, "NumPy"},
      {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10, "gzip"},
      {"{\"weight_map\": {}}", 18, "JSON text"},
      {"random text that is nothing", 27, "not a safetensors file"},
      {"", 0, "empty"},
      {"1234567", 7, "shorter than the 8 bytes"},
      {"\x10\0\0\0\0\0\0\0", 8, "16 bytes of its header are missing"},
      {"\x10\0\0\0\0\0\0\0{\"a\"", 12, "12 bytes of its header are missing"},
      {"\x10\0\0\0\0\0\0\0 [1234567890123", 23, "does not begin with {"},
      {"\x01\xe1\xf5\x05\0\0\0\0{}", 10, "over 100 MB"},
      {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "over 100 MB"},
      {"\xf8\xff\xff\xff\xff\xff\xff\x7f{}", 10, "over 100 MB"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    smft__source file;
    const char *path = test_write("wrong.safetensors", wrong[i].bytes, wrong[i].size);
    ck_status(smft__safetensors_open(&file, ctx, path, (int)(i & 1)), SMFT_E_FORMAT);
    ck_assert_msg(strstr(smft_error_message(), path) && strstr(smft_error_message(), wrong[i].says),
                  "%s, wanted: %s", smft_error_message(), wrong[i].says);
    smft__source_close(&file);
  }
  smft__source file;
  ck_status(smft__safetensors_open(&file, ctx, test_file("missing.safetensors"), 0),
            SMFT_E_NOT_FOUND);
}
END_TEST

/* Every length of a good file but the full one is refused. */
START_TEST(every_truncation_is_refused) {
  size_t size;
  char *bytes =
      test_read(made("whole", "{" A("\"F32\"", "[2]", "[0,8]") "," B("\"U8\"", "[3]", "[8,11]") "}",
                     11),
                &size);
  for (size_t cut = 0; cut < size; cut++) {
    smft__source file;
    ck_status(smft__safetensors_open(&file, ctx, test_write("cut", bytes, cut), 1), SMFT_E_FORMAT);
  }
  free(bytes);
}
END_TEST

/* ---- writing ------------------------------------------------------------- */

static smft_status save(const char *path, const smft__save_tensor *tensors, int64_t n) {
  static const char *const keys[] = {"key \"1\"", "empty"}, *const values[] = {"v\xC3\xA9\n", ""};
  return smft__safetensors_write(ctx, path, tensors, n, keys, values, 2, NULL, NULL);
}

START_TEST(what_is_written_is_read_back) {
  enum { N = 70000 };
  float *numbers = malloc(N * sizeof *numbers), *back = malloc(N * sizeof *back);
  for (int i = 0; i < N; i++)
    numbers[i] = (float)(i - N / 2) * 0.37f;
  unsigned char odd[3] = {1, 2, 3};
  smft__tensor bytes = {odd, {3}, 1, SMFT__U8};
  smft__save_tensor tensors[] = {{"z", smft__tensor_f32(numbers, N, 0), 0},
                                 {"odd", bytes, 0},
                                 {"b", smft__tensor_f32(numbers, 7, N / 7), SMFT__BF16},
                                 {"a", smft__tensor_f32(numbers, 10, 0), SMFT__F16},
                                 {"", {0, {0, 5}, 2, SMFT__F32}, 0}};
  const char *path = test_file("written");
  ck_ok(save(path, tensors, 5));
  smft__source file, again;
  ck_ok(smft__safetensors_open(&file, ctx, path, 0));
  ck_assert_int_eq(file.n, 5);
  ck_assert_str_eq(smft__source_metadata(&file, "key \"1\""), "v\xC3\xA9\n");
  const smft__tensor *z = &file.tensors[smft__source_find(&file, "z")];
  const smft__tensor *b = &file.tensors[smft__source_find(&file, "b")];
  ck_assert_int_eq(((const char *)z->data - (const char *)file.files[0].data) % 64, 0);
  ck_assert_mem_eq(z->data, numbers, N * sizeof *numbers);
  ck_assert(b->dtype == SMFT__BF16 && b->n_dims == 2 && b->shape[1] == N / 7);
  smft__tensor_to_f32(b, 0, N, back);
  for (int i = 0; i < N; i++)
    ck_assert(back[i] == smft__bf16_to_f32(smft__f32_to_bf16(numbers[i])));
  smft__save_tensor wide[] = {{"b", *b, SMFT__F32},
                              {"a", file.tensors[smft__source_find(&file, "a")], SMFT__BF16}};
  ck_ok(save(test_file("wide"), wide, 2));
  ck_ok(smft__safetensors_open(&again, ctx, test_file("wide"), 0));
  ck_assert_mem_eq(again.tensors[smft__source_find(&again, "b")].data, back, N * sizeof *back);
  smft__source_close(&again);
  ck_ok(save(path, wide, 2)); /* over the file that is mapped: the old pages stay */
  ck_assert_mem_eq(z->data, numbers, N * sizeof *numbers);
  smft__source_close(&file);
  free(numbers);
  free(back);
}
END_TEST

START_TEST(what_cannot_be_written_is_refused) {
  float x[4] = {0};
  smft__tensor good = smft__tensor_f32(x, 4, 0), integers = {x, {4}, 1, SMFT__I32};
  smft__tensor odd = {x, {4}, 1, 99}, gone = {NULL, {4}, 1, SMFT__F32};
  smft__tensor minus = {x, {-4}, 1, SMFT__F32}, huge = {x, {INT64_MAX, 4}, 2, SMFT__F32};
  smft__tensor dims = {x, {4}, 9, SMFT__F32};
  smft__save_tensor bad[] = {{NULL, good, 0},
                             {"__metadata__", good, 0},
                             {"a", integers, SMFT__F32},
                             {"a", good, SMFT__I32},
                             {"a", odd, 0},
                             {"a", good, 99},
                             {"a", gone, 0},
                             {"a", minus, 0},
                             {"a", huge, 0},
                             {"a", dims, 0}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_status(save(test_file("refused"), &bad[i], 1), SMFT_E_INVALID);
  smft__save_tensor twice[] = {{"a", good, 0}, {"b", good, 0}, {"a", good, 0}};
  smft__save_tensor bytes = {"\xFF", good, 0};
  ck_status(save(test_file("refused"), twice, 3), SMFT_E_INVALID);
  ck_status(save(test_file("refused"), &bytes, 1), SMFT_E_ENCODING);
  ck_assert(!smft__file_exists(test_file("refused")));
}
END_TEST

static int32_t stop_half_way(void *user, const char *stage, int64_t done, int64_t total) {
  ck_assert_str_eq(stage, "saving");
  ck_assert(done > 0 && done <= total);
  ++*(int *)user;
  return done > total / 2;
}

START_TEST(cancelled_or_full_leaves_the_old_file) {
  enum { N = 1 << 20 };
  float *numbers = calloc(N, sizeof *numbers);
  smft__save_tensor small = {"old", smft__tensor_f32(numbers, 4, 0), 0};
  smft__save_tensor large = {"new", smft__tensor_f32(numbers, N, 0), SMFT__BF16};
  ck_assert_int_eq(mkdir(test_file("old"), 0700), 0);
  const char *path = test_file("old/file");
  smft__source file;
  int calls = 0;
  ck_ok(save(path, &small, 1));
  ck_status(smft__safetensors_write(ctx, path, &large, 1, NULL, NULL, 0, stop_half_way, &calls),
            SMFT_E_CANCELLED);
  ck_assert_int_gt(calls, 3);
  struct rlimit before, limit;
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &before);
  limit = before;
  limit.rlim_cur = 1000000;
  setrlimit(RLIMIT_FSIZE, &limit);
  smft_status status = save(path, &large, 1);
  setrlimit(RLIMIT_FSIZE, &before);
  ck_assert_int_eq(status, SMFT_E_IO);
  ck_ok(smft__safetensors_open(&file, ctx, path, 0));
  ck_assert_int_eq(smft__source_find(&file, "old"), 0);
  smft__source_close(&file);
  ck_assert_int_eq(test_count_files(test_file("old")), 1);
  free(numbers);
}
END_TEST

/* ---- shards -------------------------------------------------------------- */

#define ONE(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}"

static const char *model_directory(const char *name, const char *index, const char *first,
                                   const char *second) {
  char path[300];
  mkdir(test_file(name), 0700);
  snprintf(path, sizeof path, "%s/model.safetensors.index.json", name);
  test_write(path, index, strlen(index));
  snprintf(path, sizeof path, "%s/one.safetensors", name);
  made(path, first, 2);
  snprintf(path, sizeof path, "%s/two.safetensors", name);
  made(path, second, 2);
  return test_file(name);
}

START_TEST(shards_are_put_together) {
  smft__source file;
  const char *directory = model_directory("sharded",
                                          "{\"metadata\":{\"total_size\":4},\"weight_map\":{\"b\":"
                                          "\"one.safetensors\",\"a\":\"two.safetensors\"}}",
                                          ONE("b"), ONE("a"));
  ck_ok(smft__safetensors_open_model(&file, ctx, directory, 0, NULL, NULL));
  ck_assert(file.n == 2 && file.n_files == 2);
  ck_assert_str_eq(file.names[0], "a");
  ck_assert_str_eq(file.names[1], "b");
  ck_assert(file.file_of[0] == 1 && file.file_of[1] == 0);
  smft__source_close(&file);
}
END_TEST

START_TEST(bad_indexes_are_refused) {
  static const struct {
    const char *index, *says;
    smft_status status;
  } bad[] = {
      {"{\"weight_map\":{\"a\":\"../two.safetensors\"}}", "same directory", SMFT_E_FORMAT},
      {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "same directory", SMFT_E_FORMAT},
      {"{\"weight_map\":{\"a\":\"sub/two.safetensors\"}}", "same directory", SMFT_E_FORMAT},
      {"{\"weight_map\":{\"a\":\"..\"}}", "same directory", SMFT_E_FORMAT},
      {"{\"weight_map\":{\"a\":\"\"}}", "same directory", SMFT_E_FORMAT},
      {"{\"weight_map\":{\"a\":7}}", "same directory", SMFT_E_FORMAT},
      {"{\"weight_map\":{}}", "weight_map", SMFT_E_FORMAT},
      {"{\"weight_map\":[]}", "weight_map", SMFT_E_FORMAT},
      {"{}", "weight_map", SMFT_E_FORMAT},
      {"[]", "weight_map", SMFT_E_FORMAT},
      {"{", "JSON", SMFT_E_FORMAT},
      {"{\"weight_map\":{\"b\":\"one.safetensors\",\"a\":\"three.safetensors\"}}",
       "three.safetensors", SMFT_E_NOT_FOUND},
      {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}", "should be in",
       SMFT_E_FORMAT},
      {"{\"weight_map\":{\"b\":\"one.safetensors\",\"c\":\"two.safetensors\"}}", "in no shard",
       SMFT_E_FORMAT},
  };
  smft__source file;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *directory = model_directory("badindex", bad[i].index, ONE("b"), ONE("a"));
    ck_status(smft__safetensors_open_model(&file, ctx, directory, 0, NULL, NULL), bad[i].status);
    ck_assert_msg(strstr(smft_error_message(), bad[i].says), "%s: %s", bad[i].index,
                  smft_error_message());
    smft__source_close(&file);
  }
  const char *directory =
      model_directory("twice",
                      "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}",
                      ONE("a"), ONE("a"));
  ck_status(smft__safetensors_open_model(&file, ctx, directory, 0, NULL, NULL), SMFT_E_FORMAT);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "two shards"));
}
END_TEST

static int32_t count_and_stop(void *user, const char *stage, int64_t done, int64_t total) {
  int *left = user;
  ck_assert_str_eq(stage, "weights");
  ck_assert_int_le(done, total);
  return --*left < 0;
}

START_TEST(directories_without_weights_and_cancelling) {
  smft__source file;
  mkdir(test_file("nothing"), 0700);
  ck_status(smft__safetensors_open_model(&file, ctx, test_file("nothing"), 0, NULL, NULL),
            SMFT_E_NOT_FOUND);
  test_write("nothing/pytorch_model.bin", "x", 1);
  ck_status(smft__safetensors_open_model(&file, ctx, test_file("nothing"), 0, NULL, NULL),
            SMFT_E_NOT_FOUND);
  ck_assert_ptr_nonnull(strstr(smft_error_message(), "pytorch_model.bin"));
  ck_status(smft__safetensors_open_model(&file, ctx, test_file("nowhere"), 0, NULL, NULL),
            SMFT_E_NOT_FOUND);
  const char *directory =
      model_directory("cancel",
                      "{\"weight_map\":{\"b\":\"one.safetensors\",\"a\":\"two.safetensors\"}}",
                      ONE("b"), ONE("a"));
  for (int calls = 0; calls < 4; calls++) {
    int left = calls;
    smft_status status =
        smft__safetensors_open_model(&file, ctx, directory, 0, count_and_stop, &left);
    ck_assert_int_eq(status, calls < 3 ? SMFT_E_CANCELLED : SMFT_OK);
    smft__source_close(&file);
  }
  made("cancel/model.safetensors", ONE("whole"), 2); /* the whole file comes before the index */
  int left = 2;
  ck_ok(smft__safetensors_open_model(&file, ctx, directory, 1, count_and_stop, &left));
  ck_assert_str_eq(file.names[0], "whole");
  smft__source_close(&file);
  left = 1;
  ck_status(smft__safetensors_open_model(&file, ctx, directory, 1, count_and_stop, &left),
            SMFT_E_CANCELLED);
}
END_TEST

/* ---- each allocation fails once ------------------------------------------ */

START_TEST(each_failing_allocation_is_survived) {
  float x[4] = {1, 2, 3, 4};
  smft_ctx *plain = ctx;
  smft__save_tensor tensors[] = {{"a", smft__tensor_f32(x, 4, 0), SMFT__BF16},
                                 {"b", smft__tensor_f32(x, 2, 2), 0}};
  model_directory("fails", "{\"weight_map\":{\"b\":\"one.safetensors\",\"a\":\"two.safetensors\"}}",
                  ONE("b"), ONE("a"));
  smft_status status = SMFT_E_NOMEM;
  for (long long k = 1; status != SMFT_OK; k++) {
    failing host = {0};
    smft__source file = {0};
    ctx = failing_ctx(&host, 1);
    host.fail_at = host.calls + k;
    status = save(test_file("fails/saved"), tensors, 2);
    if (status == SMFT_OK)
      status = smft__safetensors_open(&file, ctx, test_file("fails/saved"), 1);
    smft__source_close(&file);
    if (status == SMFT_OK)
      status = smft__safetensors_open_model(&file, ctx, test_file("fails"), 1, NULL, NULL);
    smft__source_close(&file);
    smft_ctx_free(ctx);
    ck_assert_int_eq(host.live, 0);
    ck_assert_msg(status == SMFT_OK || status == SMFT_E_NOMEM, "allocation %lld: %d: %s", k, status,
                  smft_error_message());
    ck_assert_int_lt(k, 200);
  }
  ctx = plain;
}
END_TEST

/* ---- element types ------------------------------------------------------- */

START_TEST(names_and_sizes) {
  ck_assert_int_eq(smft__dtype_traits(SMFT__F32)->bytes, 4);
  ck_assert_int_eq(smft__dtype_traits(SMFT__BOOL)->bytes, 1);
  ck_assert_int_eq(smft__dtype_traits(0)->bytes, 0);
  ck_assert_int_eq(smft__dtype_traits(-1)->bytes, 0);
  ck_assert_int_eq(smft__dtype_traits(14)->bytes, 0);
  for (int32_t i = 1; i <= SMFT__U64; i++) {
    ck_assert_int_gt(smft__dtype_traits(i)->bytes, 0);
    ck_assert_int_eq(smft__dtype_from_name(smft__dtype_name(i)), i);
  }
  ck_assert_int_eq(smft__dtype_from_name("f32"), 0);
}
END_TEST

/* All 65536 halves there and back; rounding against the two neighbours, ties to even. */
START_TEST(halves_are_exact) {
  for (uint32_t i = 0; i < 65536; i++) {
    float f = smft__f16_to_f32((uint16_t)i), b = smft__bf16_to_f32((uint16_t)i);
    if (isnan(f))
      ck_assert(isnan(smft__f16_to_f32(smft__f32_to_f16(f))));
    else
      ck_assert_uint_eq(smft__f32_to_f16(f), i);
    if (isnan(b))
      ck_assert(isnan(smft__bf16_to_f32(smft__f32_to_bf16(b))));
    else
      ck_assert_uint_eq(smft__f32_to_bf16(b), i);
  }
  for (uint32_t i = 0; i < 0x7BFF; i++) {
    float low = smft__f16_to_f32((uint16_t)i), high = smft__f16_to_f32((uint16_t)(i + 1));
    float middle = (low + high) / 2;
    ck_assert_uint_eq(smft__f32_to_f16(middle), i & 1 ? i + 1 : i);
    ck_assert_uint_eq(smft__f32_to_f16(nextafterf(middle, 0)), i);
    ck_assert_uint_eq(smft__f32_to_f16(-nextafterf(middle, 1e9f)), (i + 1) | 0x8000);
  }
  ck_assert_uint_eq(smft__f32_to_f16(65519.99f), 0x7BFF);
  ck_assert_uint_eq(smft__f32_to_f16(65520), 0x7C00);
  ck_assert_uint_eq(smft__f32_to_f16(1e-30f), 0);
  ck_assert_uint_eq(smft__f32_to_bf16(1.00390625f), 0x3F80); /* 1 + 2^-8: a tie, to even */
  ck_assert_uint_eq(smft__f32_to_bf16(1.01171875f), 0x3F82);
  ck_assert_uint_eq(smft__f32_to_bf16(3.4028235e38f), 0x7F80);
}
END_TEST

START_TEST(views_become_f32_at_any_address) {
  uint16_t halves[3] = {0x3C00, 0xC000, 0x0001};
  float numbers[3] = {1.5f, -2, 3}, out[3];
  char odd[32];
  smft__tensor tensor = {odd + 1, {3}, 1, SMFT__F16};
  memcpy(odd + 1, halves, sizeof halves);
  smft__tensor_to_f32(&tensor, 0, 3, out);
  ck_assert(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f);
  tensor.dtype = SMFT__BF16;
  smft__tensor_to_f32(&tensor, 1, 1, out);
  ck_assert(out[0] == -2);
  memcpy(odd + 1, numbers, sizeof numbers);
  tensor.dtype = SMFT__F32;
  smft__tensor_to_f32(&tensor, 1, 2, out);
  ck_assert(out[0] == -2 && out[1] == 3);
}
END_TEST

/* ---- real files ---------------------------------------------------------- */

START_TEST(real_models_are_read_and_rewritten) {
  static const char *const names[] = {"models/stories260K", "models/tinymem_replace",
                                      "models/tinymem_shared"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *directory = test_shared(names[i]);
    if (!directory)
      continue;
    smft__source file, again;
    ck_ok(smft__safetensors_open_model(&file, ctx, directory, 0, NULL, NULL));
    ck_assert_int_gt(file.n, 5);
    smft__save_tensor *tensors = calloc((size_t)file.n, sizeof *tensors);
    for (int64_t t = 0; t < file.n; t++)
      tensors[t] = (smft__save_tensor){file.names[t], file.tensors[t], 0};
    ck_ok(save(test_file("rewritten"), tensors, file.n));
    ck_ok(smft__safetensors_open(&again, ctx, test_file("rewritten"), 0));
    ck_assert_int_eq(again.n, file.n);
    for (int64_t t = 0; t < file.n; t++)
      ck_assert_mem_eq(again.tensors[t].data, file.tensors[t].data,
                       (size_t)smft__tensor_bytes(&file.tensors[t]));
    smft__source_close(&again);
    smft__source_close(&file);
    free(tensors);
  }
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("safetensors");
  TCase *tests = tcase_create("safetensors");
  test_directory_make();
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_loop_test(tests, a_plain_file_is_read, 0, 2);
  tcase_add_test(tests, a_file_without_tensors_is_read);
  tcase_add_loop_test(tests, lies_are_refused, 0, (int)(sizeof lies / sizeof *lies));
  tcase_add_test(tests, wrong_files_are_named);
  tcase_add_test(tests, every_truncation_is_refused);
  tcase_add_test(tests, what_is_written_is_read_back);
  tcase_add_test(tests, what_cannot_be_written_is_refused);
  tcase_add_test(tests, cancelled_or_full_leaves_the_old_file);
  tcase_add_test(tests, shards_are_put_together);
  tcase_add_test(tests, bad_indexes_are_refused);
  tcase_add_test(tests, directories_without_weights_and_cancelling);
  tcase_add_test(tests, each_failing_allocation_is_survived);
  tcase_add_test(tests, names_and_sizes);
  tcase_add_test(tests, halves_are_exact);
  tcase_add_test(tests, views_become_f32_at_any_address);
  tcase_add_test(tests, real_models_are_read_and_rewritten);
  suite_add_tcase(suite, tests);
  return suite;
}
