/* quants: blocks of every type as the PyPI package gguf decodes them (quants.safetensors, made by
 * make_quants.py), bit for bit. */
#include <math.h>

#include "data/quant.h"
#include "data/safetensors.h"
#include "fixture.h"

static const int32_t types[] = {SMFT__Q4_0, SMFT__Q4_1, SMFT__Q5_0, SMFT__Q5_1,
                                SMFT__Q8_0, SMFT__Q4_K, SMFT__Q5_K, SMFT__Q6_K};
enum { N_TYPES = sizeof types / sizeof *types, MOST = 2 * 768 };

typedef struct blocks { /* of one type: the fixture's, and as a tensor of the library's */
  const smft__dtype *traits;
  smft__source file;
  smft__tensor tensor;
  const float *values;
  int64_t n; /* numbers of both rows */
} blocks;

static const smft__tensor *find(const smft__source *file, const char *type, const char *what) {
  char name[32];
  snprintf(name, sizeof name, "%s.%s", type, what);
  int64_t at = smft__source_find(file, name);
  ck_assert_msg(at >= 0, "%s is not in the fixture", name);
  return &file->tensors[at];
}

static blocks of_type(int32_t dtype) {
  blocks b = {.traits = smft__dtype_traits(dtype)};
  ck_ok(smft__safetensors_open(&b.file, ctx, test_source("tests/golden/quants.safetensors"), 1));
  const smft__tensor *bytes = find(&b.file, b.traits->name, "blocks");
  const smft__tensor *values = find(&b.file, b.traits->name, "values");
  b.tensor = *values;
  b.tensor.data = bytes->data;
  b.tensor.dtype = dtype;
  b.values = values->data;
  b.n = smft__tensor_count(values);
  ck_assert_int_le(b.n, MOST);
  ck_assert_int_eq(smft__tensor_bytes(&b.tensor), smft__tensor_count(bytes));
  return b;
}

static void ck_bits(const float *got, const float *wanted, int64_t n, const char *type) {
  for (int64_t i = 0; i < n; i++)
    ck_assert_msg(memcmp(&got[i], &wanted[i], sizeof *got) == 0, "%s: value %lld is %a, not %a",
                  type, (long long)i, (double)got[i], (double)wanted[i]);
}

START_TEST(every_bit_is_gguf_s) {
  blocks b = of_type(types[_i]);
  float out[MOST];
  smft__tensor_to_f32(&b.tensor, 0, b.n, out);
  ck_bits(out, b.values, b.n, b.traits->name);
  smft__source_close(&b.file);
}
END_TEST

/* Ranges that begin and end inside a block, in one block or over several, at any address. */
START_TEST(any_range_of_a_tensor_is_read) {
  static const int64_t begins[] = {0, 1, 31, 32, 37, 255, 256, 300};
  static const int64_t counts[] = {0, 1, 3, 32, 64, 70, 84};
  blocks b = of_type(types[_i]);
  char *moved = malloc((size_t)smft__tensor_bytes(&b.tensor) + 1);
  float out[MOST];
  memcpy(moved + 1, b.tensor.data, (size_t)smft__tensor_bytes(&b.tensor));
  b.tensor.data = moved + 1;
  for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
    for (size_t j = 0; j < sizeof counts / sizeof *counts; j++) {
      out[counts[j]] = 7;
      smft__tensor_to_f32(&b.tensor, begins[i], counts[j], out);
      ck_bits(out, b.values + begins[i], counts[j], b.traits->name);
      ck_assert(out[counts[j]] == 7);
    }
  free(moved);
  smft__source_close(&b.file);
}
END_TEST

/* To blocks: every bit is that package's, too; what is not finite has no place in one. */
START_TEST(q8_0_is_made_as_gguf_does) {
  smft__source file;
  ck_ok(smft__safetensors_open(&file, ctx, test_source("tests/golden/quants.safetensors"), 1));
  const smft__tensor *from = find(&file, "Q8_0", "from"), *made = find(&file, "Q8_0", "made");
  int64_t n = smft__tensor_count(from), size = smft__tensor_count(made);
  unsigned char *out = malloc((size_t)size);
  float bad[32] = {0};
  ck_assert_int_eq(size, smft__row_bytes(SMFT__Q8_0, n));
  ck_assert(smft__q8_0_from_f32(from->data, n, out));
  for (int64_t i = 0; i < size; i++)
    ck_assert_msg(out[i] == ((const unsigned char *)made->data)[i], "byte %lld", (long long)i);
  bad[7] = NAN;
  ck_assert(!smft__q8_0_from_f32(bad, 32, out));
  bad[7] = -INFINITY;
  ck_assert(!smft__q8_0_from_f32(bad, 32, out));
  bad[7] = 65520.0f * 127; /* its d rounds to infinity */
  ck_assert(!smft__q8_0_from_f32(bad, 32, out));
  free(out);
  smft__source_close(&file);
}
END_TEST

/* A safetensors file that uses such a name is refused. */
START_TEST(safetensors_has_no_such_type) {
  ck_assert_int_eq(smft__dtype_from_name(smft__dtype_name(types[_i])), 0);
  ck_assert_int_eq(smft__dtype_from_name("unknown"), 0);
  ck_assert_int_eq(smft__dtype_from_name("BF16"), SMFT__BF16);
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("quants");
  TCase *c = tcase_create("types");
  tcase_add_checked_fixture(c, set_up, tear_down);
  tcase_add_loop_test(c, every_bit_is_gguf_s, 0, N_TYPES);
  tcase_add_loop_test(c, any_range_of_a_tensor_is_read, 0, N_TYPES);
  tcase_add_loop_test(c, safetensors_has_no_such_type, 0, N_TYPES);
  tcase_add_test(c, q8_0_is_made_as_gguf_does);
  suite_add_tcase(suite, c);
  return suite;
}
