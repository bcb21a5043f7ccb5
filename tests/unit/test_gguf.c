/* gguf: what a right header says is read; every lie of one is refused by name; files cut anywhere.
 */
#include "data/gguf.h"
#include "failing.h"
#include "fixture.h"
#include "make_gguf.h"

/* In a block of exactly its size, so that a sanitizer sees a byte too far. */
static unsigned char *exact(const gguf_bytes *made, size_t size) {
  unsigned char *copy = malloc(size ? size : 1);
  memcpy(copy, made->bytes, size);
  return copy;
}

/* ---- right files --------------------------------------------------------- */

static void put_scalars(gguf_bytes *to) {
  static const struct {
    const char *key;
    uint32_t type, bytes;
    uint64_t value;
  } all[] = {{"u8", 0, 1, 200},
             {"i8", 1, 1, 0xFF},
             {"u16", 2, 2, 60000},
             {"i16", 3, 2, 0x8000},
             {"u32", 4, 4, 4000000000u},
             {"i32", 5, 4, 0xFFFFFFFEu},
             {"bool", 7, 1, 1},
             {"u64", 10, 8, 1ull << 62},
             {"i64", 11, 8, 0xFFFFFFFFFFFFFFFDull},
             {"huge", 10, 8, 1ull << 63},
             {"f64", 12, 8, 0x3FF8000000000000ull}};
  for (size_t i = 0; i < 11; i++) {
    put_key(to, all[i].key, all[i].type);
    put_number(to, all[i].value, (int)all[i].bytes);
  }
}

START_TEST(every_type_is_read) {
  static const struct {
    const char *key;
    int64_t value;
  } wanted[] = {{"u8", 200},         {"i8", -1},  {"u16", 60000},     {"i16", -32768},
                {"u32", 4000000000}, {"i32", -2}, {"u64", 1ll << 62}, {"i64", -3}};
  gguf_bytes made;
  smft__gguf gguf;
  put_header(&made, (uint32_t)_i, 0, 13);
  put_scalars(&made);
  put_key_text(&made, "text", "some text");
  put_key_f32(&made, "f32", 2.5f);
  unsigned char *bytes = exact(&made, made.size);
  ck_ok(smft__gguf_read(&gguf, ctx, bytes, (int64_t)made.size, "here"));
  ck_assert_int_eq(gguf.version, _i);
  ck_assert_int_eq(gguf.alignment, 32);
  int64_t number = 0, length = 0;
  double real = 0;
  int yes = 0;
  const char *text = NULL;
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    ck_ok(smft__gguf_i64(&gguf, wanted[i].key, 0, &number));
    ck_assert_int_eq(number, wanted[i].value);
    ck_ok(smft__gguf_double(&gguf, wanted[i].key, 0, &real));
    ck_assert(real == (double)wanted[i].value);
  }
  ck_ok(smft__gguf_double(&gguf, "f32", 0, &real));
  ck_assert(real == 2.5);
  ck_ok(smft__gguf_double(&gguf, "f64", 0, &real));
  ck_assert(real == 1.5);
  ck_ok(smft__gguf_double(&gguf, "huge", 0, &real));
  ck_assert(real == 0x1p63);
  ck_ok(smft__gguf_bool(&gguf, "bool", 0, &yes));
  ck_assert_int_eq(yes, 1);
  ck_ok(smft__gguf_string(&gguf, "text", &text, &length));
  ck_assert(length == 9 && memcmp(text, "some text", 9) == 0);
  ck_ok(smft__gguf_i64(&gguf, "none", 7, &number));
  ck_ok(smft__gguf_bool(&gguf, "none", 1, &yes));
  ck_ok(smft__gguf_double(&gguf, "none", 8, &real));
  ck_ok(smft__gguf_string(&gguf, "none", &text, &length));
  ck_assert(number == 7 && yes == 1 && real == 8 && !text);
  ck_status(smft__gguf_i64(&gguf, "text", 0, &number), SMFT_E_FORMAT);
  ck_assert_str_eq(smft_error_message(), "here: key \"text\": expected a whole number, got string");
  ck_status(smft__gguf_i64(&gguf, "bool", 0, &number), SMFT_E_FORMAT);
  ck_status(smft__gguf_i64(&gguf, "f32", 0, &number), SMFT_E_FORMAT);
  ck_status(smft__gguf_i64(&gguf, "huge", 0, &number), SMFT_E_FORMAT);
  ck_status(smft__gguf_double(&gguf, "bool", 0, &real), SMFT_E_FORMAT);
  ck_status(smft__gguf_bool(&gguf, "u8", 0, &yes), SMFT_E_FORMAT);
  ck_status(smft__gguf_string(&gguf, "u8", &text, &length), SMFT_E_FORMAT);
  smft__gguf_free(&gguf);
  smft__gguf_free(&gguf);
  free(bytes);
}
END_TEST

static void put_arrays(gguf_bytes *to) {
  put_header(to, 3, 2, 4);
  put_key(to, "texts", 9);
  put_u32(to, 8);
  put_u64(to, 3);
  put_text(to, "one");
  put_text(to, "");
  put_text(to, "three");
  put_key(to, "numbers", 9);
  put_u32(to, 3);
  put_u64(to, 2);
  put_number(to, 5, 2);
  put_number(to, 0xFFFF, 2);
  put_key(to, "empty", 9);
  put_u32(to, 8);
  put_u64(to, 0);
  put_key_u32(to, "general.alignment", 64);
  put_tensor(to, "b", 32, 3, 8, 64);
  put_tensor(to, "a", 5, 0, 0, 0);
  put_padding(to, 64);
  put_data(to, 64 + 3 * 34);
}

START_TEST(arrays_and_tensors_are_read) {
  gguf_bytes made;
  smft__gguf gguf;
  put_arrays(&made);
  unsigned char *bytes = exact(&made, made.size);
  ck_ok(smft__gguf_read(&gguf, ctx, bytes, (int64_t)made.size, "here"));
  const smft__gguf_value *texts = smft__gguf_find(&gguf, "texts");
  const unsigned char *at = texts->data;
  const char *text = NULL;
  int64_t length = 0, n = 0;
  while (smft__gguf_next_string(texts, &at, &text, &length))
    ck_assert_int_eq(length, n++ == 0 ? 3 : n == 2 ? 0 : 5);
  ck_assert(n == 3 && texts->n == 3 && memcmp(text, "three", 5) == 0);
  const smft__gguf_value *numbers = smft__gguf_find(&gguf, "numbers");
  ck_assert_int_eq(numbers->n, 2);
  ck_assert_int_eq(smft__gguf_item_i64(numbers, 0), 5);
  ck_assert_int_eq(smft__gguf_item_i64(numbers, 1), -1);
  at = numbers->data;
  ck_assert(!smft__gguf_next_string(numbers, &at, &text, &length));
  const smft__gguf_value *empty = smft__gguf_find(&gguf, "empty");
  at = empty->data;
  ck_assert(empty->n == 0 && !smft__gguf_next_string(empty, &at, &text, &length));
  const smft__gguf_tensor *a = smft__gguf_find_tensor(&gguf, "a");
  const smft__gguf_tensor *b = smft__gguf_find_tensor(&gguf, "b");
  ck_assert(a->n_dims == 1 && a->dims[0] == 5 && a->bytes == 20 && *a->data == 0);
  ck_assert(b->n_dims == 2 && b->dims[0] == 32 && b->dims[1] == 3 && b->bytes == 102);
  ck_assert(b->data == a->data + 64 && (a->data - bytes) % 64 == 0);
  ck_assert_str_eq(b->type->name, "Q8_0");
  ck_assert_ptr_null(smft__gguf_find_tensor(&gguf, "c"));
  smft__gguf_free(&gguf);
  free(bytes);
}
END_TEST

/* ---- lies ---------------------------------------------------------------- */

static void a_key_twice(gguf_bytes *to) {
  put_header(to, 3, 0, 2);
  put_key_u32(to, "same", 1);
  put_key_u32(to, "same", 1);
}
static void a_tensor_twice(gguf_bytes *to) {
  put_header(to, 3, 2, 0);
  put_tensor(to, "same", 4, 0, 0, 0);
  put_tensor(to, "same", 4, 0, 0, 32);
  put_padding(to, 32);
  put_data(to, 48);
}
static void an_overlap(gguf_bytes *to) {
  put_header(to, 3, 2, 0);
  put_tensor(to, "first", 9, 0, 0, 0);
  put_tensor(to, "second", 4, 0, 0, 32);
  put_padding(to, 32);
  put_data(to, 48);
}
static void the_same_place(gguf_bytes *to) {
  put_header(to, 3, 2, 0);
  put_tensor(to, "first", 1, 0, 0, 0);
  put_tensor(to, "second", 1, 0, 0, 0);
  put_padding(to, 32);
  put_data(to, 4);
}
static void one_tensor(gguf_bytes *to, uint64_t columns, uint64_t rows, uint32_t type,
                       uint64_t offset) {
  put_header(to, 3, 1, 0);
  put_tensor(to, "one", columns, rows, type, offset);
  put_padding(to, 32);
  put_data(to, 64);
}
static void an_odd_offset(gguf_bytes *to) { one_tensor(to, 4, 0, 0, 16); }
static void a_far_offset(gguf_bytes *to) { one_tensor(to, 4, 0, 0, 64); }
static void a_farther_offset(gguf_bytes *to) { one_tensor(to, 4, 0, 0, 0xFFFFFFFFFFFFFFE0ull); }
static void a_farthest_offset(gguf_bytes *to) { one_tensor(to, 4, 0, 0, 0x7FFFFFFFFFFFFFE0ull); }
static void too_many_elements(gguf_bytes *to) { one_tensor(to, 1ull << 40, 1ull << 40, 0, 0); }
static void too_many_bytes(gguf_bytes *to) { one_tensor(to, 1ull << 62, 1, 0, 0); }
static void a_negative_dimension(gguf_bytes *to) { one_tensor(to, 1ull << 63, 1, 0, 0); }
static void no_columns(gguf_bytes *to) { one_tensor(to, 0, 0, 0, 0); }
static void no_whole_block(gguf_bytes *to) { one_tensor(to, 33, 1, 8, 0); }
static void a_withdrawn_type(gguf_bytes *to) { one_tensor(to, 32, 1, 4, 0); }
static void a_type_from_nowhere(gguf_bytes *to) { one_tensor(to, 32, 1, 0x80000000u, 0); }
static void five_dimensions(gguf_bytes *to) {
  put_header(to, 3, 1, 0);
  put_text(to, "one");
  put_u32(to, 5);
  put_data(to, 100);
}
static void no_dimensions(gguf_bytes *to) {
  put_header(to, 3, 1, 0);
  put_text(to, "one");
  put_u32(to, 0);
  put_data(to, 100);
}
static void a_tensor_without_a_name(gguf_bytes *to) {
  put_header(to, 3, 1, 0);
  put_tensor(to, "", 4, 0, 0, 0);
  put_data(to, 100);
}
static void a_long_name(gguf_bytes *to) {
  char name[66] = {0};
  memset(name, 'x', 65);
  put_header(to, 3, 1, 0);
  put_tensor(to, name, 4, 0, 0, 0);
  put_data(to, 100);
}
static void a_name_with_a_nul(gguf_bytes *to) {
  put_header(to, 3, 0, 1);
  put_u64(to, 3);
  put_bytes(to, "a\0b", 3);
  put_u32(to, 4);
  put_u32(to, 4);
}
static void a_name_in_latin1(gguf_bytes *to) {
  put_header(to, 3, 0, 1);
  put_key_u32(to, "caf\xE9", 1);
}
static void a_long_string(gguf_bytes *to) {
  put_header(to, 3, 0, 1);
  put_key(to, "key", 8);
  put_u64(to, 0xFFFFFFFFFFFFFFFFull);
  put_data(to, 30);
}
static void an_array_of_arrays(gguf_bytes *to) {
  put_header(to, 3, 0, 1);
  put_key(to, "key", 9);
  put_u32(to, 9);
  put_data(to, 30);
}
static void an_array(gguf_bytes *to, uint32_t type, uint64_t n) {
  put_header(to, 3, 0, 1);
  put_key(to, "key", 9);
  put_u32(to, type);
  put_u64(to, n);
  put_data(to, 30);
}
static void a_long_array(gguf_bytes *to) { an_array(to, 4, 8); }
static void a_longer_array(gguf_bytes *to) { an_array(to, 12, 0x2000000000000000ull); }
static void many_strings(gguf_bytes *to) { an_array(to, 8, 3); }
static void an_array_of_nothing(gguf_bytes *to) { an_array(to, 13, 3); }
static void an_unknown_value(gguf_bytes *to) {
  put_header(to, 3, 0, 1);
  put_key(to, "key", 13);
  put_data(to, 30);
}
static void a_bool_of_two(gguf_bytes *to) {
  put_header(to, 3, 0, 1);
  put_key(to, "key", 7);
  put_number(to, 2, 1);
}
static void many_keys(gguf_bytes *to) { put_header(to, 3, 0, 1ull << 60); }
static void too_many_keys(gguf_bytes *to) { put_header(to, 3, 0, 100); }
static void many_tensors(gguf_bytes *to) { put_header(to, 3, 1ull << 60, 0); }
static void too_many_tensors(gguf_bytes *to) { put_header(to, 3, 1, 0); }
static void an_alignment(gguf_bytes *to, uint32_t alignment) {
  put_header(to, 3, 0, 1);
  put_key_u32(to, "general.alignment", alignment);
}
static void alignment_3(gguf_bytes *to) { an_alignment(to, 3); }
static void alignment_0(gguf_bytes *to) { an_alignment(to, 0); }
static void alignment_128k(gguf_bytes *to) { an_alignment(to, 1u << 17); }
static void alignment_text(gguf_bytes *to) {
  put_header(to, 3, 0, 1);
  put_key_text(to, "general.alignment", "32");
}
static void version_1(gguf_bytes *to) { put_header(to, 1, 0, 0); }
static void version_4(gguf_bytes *to) { put_header(to, 4, 0, 0); }
static void version_0(gguf_bytes *to) { put_header(to, 0, 0, 0); }
static void big_endian(gguf_bytes *to) { put_header(to, 0x03000000, 0, 0); }
static void another_file(gguf_bytes *to) {
  to->size = 0;
  put_bytes(to, "GGML and more of it", 19);
}
static void an_empty_file(gguf_bytes *to) { to->size = 0; }

static const struct lie {
  void (*make)(gguf_bytes *);
  const char *says;
  smft_status status;
} lies[] = {
    {a_key_twice, "key \"same\": it is there twice", SMFT_E_FORMAT},
    {a_tensor_twice, "tensor same is there twice", SMFT_E_FORMAT},
    {an_overlap, "tensor second overlaps tensor first", SMFT_E_FORMAT},
    {the_same_place, "overlaps tensor", SMFT_E_FORMAT},
    {an_odd_offset, "its offset 16 is no multiple of the alignment 32", SMFT_E_FORMAT},
    {a_far_offset, "tensor one has 16 bytes at 64 of the data, which has 64", SMFT_E_FORMAT},
    {a_farther_offset, "tensor one has 16 bytes at 18446744073709551584", SMFT_E_FORMAT},
    {a_farthest_offset, "tensor one has 16 bytes at 9223372036854775776", SMFT_E_FORMAT},
    {too_many_elements, "the product of its dimensions overflows", SMFT_E_FORMAT},
    {too_many_bytes, "its size overflows", SMFT_E_FORMAT},
    {a_negative_dimension, "dimension 0 is 9223372036854775808", SMFT_E_FORMAT},
    {no_columns, "dimension 0 is 0", SMFT_E_FORMAT},
    {no_whole_block, "rows of 33 elements are no whole blocks of Q8_0 (32)", SMFT_E_FORMAT},
    {a_withdrawn_type, "its type 4 is not known", SMFT_E_UNSUPPORTED},
    {a_type_from_nowhere, "its type 2147483648 is not known", SMFT_E_UNSUPPORTED},
    {five_dimensions, "tensor one: 5 dimensions; expected 1 to 4", SMFT_E_FORMAT},
    {no_dimensions, "tensor one: 0 dimensions; expected 1 to 4", SMFT_E_FORMAT},
    {a_tensor_without_a_name, "has 0 bytes; expected 1 to 64", SMFT_E_FORMAT},
    {a_long_name, "has 65 bytes; expected 1 to 64", SMFT_E_FORMAT},
    {a_name_with_a_nul, "a key at byte 24 has 3 bytes; expected 1 to 65535 of UTF-8",
     SMFT_E_FORMAT},
    {a_name_in_latin1, "a key at byte 24 has 4 bytes", SMFT_E_FORMAT},
    {a_long_string, "a string at byte", SMFT_E_FORMAT},
    {an_array_of_arrays, "key \"key\": an array of arrays is not supported", SMFT_E_UNSUPPORTED},
    {a_long_array, "an array at byte", SMFT_E_FORMAT},
    {a_longer_array, "an array at byte", SMFT_E_FORMAT},
    {many_strings, "a string of an array at byte", SMFT_E_FORMAT},
    {an_array_of_nothing, "key \"key\": its type 13 is not known", SMFT_E_FORMAT},
    {an_unknown_value, "key \"key\": its type 13 is not known", SMFT_E_FORMAT},
    {a_bool_of_two, "key \"key\": a bool that is neither 0 nor 1", SMFT_E_FORMAT},
    {many_keys, "promises 1152921504606846976 keys", SMFT_E_FORMAT},
    {too_many_keys, "a key at byte 24", SMFT_E_FORMAT},
    {many_tensors, "promises 1152921504606846976 tensors, 0 bytes are left", SMFT_E_FORMAT},
    {too_many_tensors, "promises 1 tensors, 0 bytes are left", SMFT_E_FORMAT},
    {alignment_3, "expected a power of two up to 65536, got 3", SMFT_E_FORMAT},
    {alignment_0, "expected a power of two up to 65536, got 0", SMFT_E_FORMAT},
    {alignment_128k, "expected a power of two up to 65536, got 131072", SMFT_E_FORMAT},
    {alignment_text, "key \"general.alignment\": expected a whole number", SMFT_E_FORMAT},
    {version_1, "GGUF version 1 is not supported; expected 2 or 3", SMFT_E_UNSUPPORTED},
    {version_4, "GGUF version 4 is not supported", SMFT_E_UNSUPPORTED},
    {version_0, "GGUF version 0 is not supported", SMFT_E_UNSUPPORTED},
    {big_endian, "a big-endian GGUF file is not supported", SMFT_E_UNSUPPORTED},
    {another_file, "not a GGUF file", SMFT_E_FORMAT},
    {an_empty_file, "not a GGUF file", SMFT_E_FORMAT},
};

START_TEST(lies_are_refused) {
  gguf_bytes made;
  smft__gguf gguf;
  lies[_i].make(&made);
  unsigned char *bytes = exact(&made, made.size);
  ck_status(smft__gguf_read(&gguf, ctx, bytes, (int64_t)made.size, "here"), lies[_i].status);
  ck_assert_msg(strncmp(smft_error_message(), "here: ", 6) == 0 &&
                    strstr(smft_error_message(), lies[_i].says),
                "expected \"%s\": %s", lies[_i].says, smft_error_message());
  ck_assert(!gguf.values && !gguf.tensors);
  free(bytes);
}
END_TEST

START_TEST(every_truncation_is_refused) {
  gguf_bytes made;
  smft__gguf gguf;
  put_arrays(&made);
  for (size_t size = 0; size < made.size; size++) {
    unsigned char *bytes = exact(&made, size);
    ck_status(smft__gguf_read(&gguf, ctx, bytes, (int64_t)size, "here"), SMFT_E_FORMAT);
    free(bytes);
  }
}
END_TEST

START_TEST(each_failing_allocation_is_survived) {
  gguf_bytes made;
  smft_ctx *plain = ctx;
  smft_status status = SMFT_E_NOMEM;
  put_arrays(&made);
  for (long long k = 1; status != SMFT_OK; k++) {
    failing host = {0};
    smft__gguf gguf;
    ctx = failing_ctx(&host, 1);
    host.fail_at = host.calls + k;
    status = smft__gguf_read(&gguf, ctx, made.bytes, (int64_t)made.size, "here");
    smft__gguf_free(&gguf);
    smft_ctx_free(ctx);
    ck_assert_int_eq(host.live, 0);
    ck_assert(status == SMFT_OK || status == SMFT_E_NOMEM);
    ck_assert_int_lt(k, 20);
  }
  ctx = plain;
}
END_TEST

Suite *make_suite(void) {
  Suite *suite = suite_create("gguf");
  TCase *tests = tcase_create("gguf");
  tcase_add_checked_fixture(tests, set_up, tear_down);
  tcase_add_loop_test(tests, every_type_is_read, 2, 4);
  tcase_add_test(tests, arrays_and_tensors_are_read);
  tcase_add_loop_test(tests, lies_are_refused, 0, (int)(sizeof lies / sizeof *lies));
  tcase_add_test(tests, every_truncation_is_refused);
  tcase_add_test(tests, each_failing_allocation_is_survived);
  suite_add_tcase(suite, tests);
  return suite;
}
